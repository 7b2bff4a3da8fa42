"""The ranks of an MPI job and the messages between them.

Ranks other than 0 wait in `join` for orders: a function that all ranks run on one payload. Orders, keys and results are
small and travel as pickles; arrays of sums and programs travel as buffers.
"""

from __future__ import annotations

import atexit
import logging
import pickle
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from predictd import interrupt, progress
from predictd.engine.base import Array, affinity, within_quota
from predictd.engine.local import LocalEngine
from predictd.engine.meeting import GOES_ON, as_reported, check_agreement
from predictd.engine.mpi.memory import prepare as look_at_memory
from predictd.errors import EngineError, PredictdError, WorkerError
from predictd.launcher import Announced, allotted
from predictd.provenance import peak_memory
from predictd.wording import install, one_line

look_at_memory()
try:
    from mpi4py import MPI
except ImportError as err:
    raise EngineError(f"the mpi engine needs mpi4py ({err}): {install('mpi')}") from err
except RuntimeError as err:
    raise EngineError(
        f"mpi4py finds no MPI library ({one_line(err)}): load your site's MPI module, or pip install mpich"
    ) from err

log = logging.getLogger(__name__)

_ORDER, _OUTCOME, _PROGRESS, _STOP = range(4)
_LONGEST_NAP = 0.002


@dataclass
class Outcome:
    """What one rank's share of an order came to.

    Attributes
    ----------
    value
        Result; of a map: results by position of the key.
    error
        Position of the key and the error that ended the share.
    stopped_by
        Signal that asked this rank to stop.
    complete
        Whether everything was done.
    asked_to_stop
        Whether this rank asked the others to stop.
    bytes_sent, peak_memory_bytes
        By this rank in this order; of its process so far.
    """

    value: Any = None
    error: tuple[int, Exception] | None = None
    stopped_by: str | None = None
    complete: bool = True
    asked_to_stop: bool = False
    bytes_sent: int = 0
    peak_memory_bytes: int = 0


Share = Callable[["World", Any, Outcome], None]


class World:
    """All ranks of an MPI job; made once in each of them."""

    def __init__(self) -> None:
        interrupt.renew()
        self.control = MPI.COMM_WORLD.Dup()
        self.data = MPI.COMM_WORLD.Dup()
        self.rank: int = self.control.rank
        self.size: int = self.control.size
        self.busy = False
        self._pool: LocalEngine | None = None
        self._sends: list[tuple[Any, Array]] = []
        self._stop_requests: list[Any] = []
        # Signals that other ranks reported; 0: one of their tasks has failed.
        self._heard: dict[int, int] = {}
        self._hearing = threading.Lock()
        self._bar: Any = None
        self._exit_code = 1
        interrupt.listen(self.heard)

    # -- orders, on rank 0 ----------------------------------------------------------------------------------------

    def order(self, share: Share, payload: Any, *, bar: Any = None) -> list[Outcome]:
        """Have every rank do its share; their outcomes by rank."""
        self.busy = True
        self._bar = bar
        quiet, level = progress.is_quiet(), logging.getLogger("predictd").level
        order = pickle.dumps((share, payload, quiet, level))
        self._broadcast(order)
        try:
            # What this rank takes and gives is pickled as the others' is, which changes how arrays lie in memory: that
            # shows in the last bits of sums over them.
            own = self._perform(share, pickle.loads(order)[1])
            own.value = pickle.loads(pickle.dumps(own.value))
            outcomes = [own]
            for rank in range(1, self.size):
                self._wait_for_outcome(rank, outcomes[0])
                outcomes.append(self.control.recv(source=rank, tag=_OUTCOME))
        except KeyboardInterrupt:
            self._exit_code = interrupt.STOPPED_NOW
            raise
        self._hear_progress()
        self._conclude([rank for rank, outcome in enumerate(outcomes) if outcome.asked_to_stop])
        self.busy = False
        return outcomes

    def dismiss(self) -> None:
        """Let the other ranks end; where they are in the midst of something, end them."""
        if self.busy:
            self.control.Abort(self._exit_code)
        self._broadcast(pickle.dumps(None))
        self.close()

    # -- orders, on the other ranks -------------------------------------------------------------------------------

    def serve(self) -> None:
        """Carry out orders until rank 0 has no more."""
        while (order := pickle.loads(self._broadcast(None))) is not None:
            share, payload, quiet, level = order
            progress.set_quiet(quiet)
            logging.getLogger("predictd").setLevel(level)
            outcome = self._perform(share, payload)
            self.control.send(outcome, dest=0, tag=_OUTCOME)
            self._conclude(None)
        self.close()

    def close(self) -> None:
        """End this rank's own processes."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    # -- while a share is done ------------------------------------------------------------------------------------

    def stopping(self) -> bool:
        """Whether no task is to be begun any more: a signal came, here or elsewhere, or a task failed elsewhere."""
        if interrupt.requested():
            self.tell_to_stop()
        self.heard()
        return bool(self._heard) or interrupt.requested()

    def heard(self) -> int:
        """Number of a signal that came to another rank; 0 for none."""
        with self._hearing:
            while self.control.Iprobe(tag=_STOP, status=(status := MPI.Status())):
                self._hear_stop(status.Get_source())
        return max(self._heard.values(), default=0)

    def tell_to_stop(self) -> None:
        """Tell the other ranks to begin no more tasks, and the signal that asks it."""
        if not self._stop_requests:
            others = [rank for rank in range(self.size) if rank != self.rank]
            number = bytes([interrupt.number()])
            self._stop_requests = [
                self.control.Isend([number, MPI.BYTE], dest=rank, tag=_STOP) for rank in others
            ]

    def count(self) -> None:
        """Move the bar, which rank 0 has."""
        if self.rank:
            self.control.Send([b"", MPI.BYTE], dest=0, tag=_PROGRESS)
            return
        self._bar.update()
        self._hear_progress()

    def pool(self, workers: int) -> LocalEngine:
        """Processes of this rank, where it has more than one worker."""
        if self._pool is None:
            self._pool = LocalEngine(workers)
        return self._pool

    # -- arrays of sums -------------------------------------------------------------------------------------------

    def send(self, array: Array, rank: int) -> None:
        """Begin to send an array; it must stay as it is until `finish_sends`."""
        self._sends.append((self.data.Isend(array, dest=rank), array))

    def receive(self, *, like: Array, source: int) -> Array:
        """An array of the same shape and type as another one."""
        array = np.empty_like(like)
        self.data.Recv(array, source=source, status=(status := MPI.Status()))
        if status.Get_count(MPI.BYTE) != array.nbytes:
            raise WorkerError(f"ranks {self.rank} and {source} have arrays of different shapes to add")
        return array

    def finish_sends(self) -> None:
        """Wait until what was sent has left."""
        MPI.Request.Waitall([request for request, _ in self._sends])
        self._sends.clear()

    def node(self) -> tuple[int, int]:
        """CPUs that the ranks on this rank's node may run on, and how many ranks these are; a collective call."""
        node = self.control.Split_type(MPI.COMM_TYPE_SHARED)
        cpus = set().union(*node.allgather(affinity()))
        ranks: int = node.size
        node.Free()
        return within_quota(len(cpus)), ranks

    # -- messages -------------------------------------------------------------------------------------------------

    def _perform(self, share: Share, payload: Any) -> Outcome:
        outcome = Outcome()
        try:
            share(self, payload, outcome)
        except Exception as err:
            log.debug("rank %d failed", self.rank, exc_info=True)
            outcome.error = (0, as_reported(err))
        if interrupt.requested():
            outcome.stopped_by = interrupt.received()
        outcome.asked_to_stop = bool(self._stop_requests)
        outcome.peak_memory_bytes = max(peak_memory(), self._pool.peak_memory_bytes if self._pool else 0)
        return outcome

    def _broadcast(self, content: bytes | None) -> bytes:
        """What rank 0 gives; the others wait for it without using up a CPU."""
        length = np.array([0 if content is None else len(content)])
        request = self.control.Ibcast(length)
        _nap_until(request.Test)
        buffer = bytearray(content or int(length[0]))
        self.control.Bcast([buffer, MPI.BYTE])
        return bytes(buffer)

    def _wait_for_outcome(self, rank: int, own: Outcome) -> None:
        """Rank 0 has done its share: count the others' tasks meanwhile, and pass on what a signal asks."""

        def arrived() -> bool:
            self._hear_progress()
            if interrupt.requested() and not own.asked_to_stop:
                self.tell_to_stop()
                own.asked_to_stop, own.stopped_by = bool(self._stop_requests), interrupt.received()
            return bool(self.control.Iprobe(source=rank, tag=_OUTCOME))

        _nap_until(arrived)

    def _hear_progress(self) -> None:
        while self.control.Iprobe(tag=_PROGRESS, status=(status := MPI.Status())):
            self.control.Recv([bytearray(0), MPI.BYTE], source=status.Get_source(), tag=_PROGRESS)
            self._bar.update()

    def _hear_stop(self, source: int) -> None:
        number = bytearray(1)
        self.control.Recv([number, MPI.BYTE], source=source, tag=_STOP)
        self._heard[source] = number[0]
        if number[0]:
            interrupt.acknowledge(number[0])

    def _conclude(self, stoppers: list[int] | None) -> None:
        """The end of an order, on all ranks: whoever asked to stop is heard by everybody, so that nothing is left."""
        tellers = pickle.loads(self._broadcast(None if stoppers is None else pickle.dumps(stoppers)))
        for source in tellers:
            if source != self.rank and source not in self._heard:
                self._hear_stop(source)
        MPI.Request.Waitall(self._stop_requests)
        self._stop_requests.clear()
        self._heard.clear()


class MpiLink:
    """The threads of a program on this rank and those on the others; see `Link`.

    Ahead of each exchange all ranks say whether they take part: one that failed thereby ends the others, which would
    wait for it for ever.
    """

    def __init__(self, world: World, threads: int) -> None:
        self._comm = world.data
        self._threads = threads
        self.rank = world.rank
        self.size = world.size
        self._over = False

    def allgather(self, arrays: Array) -> Array:
        """See `Link.allgather`; one MPI_Allgather."""
        self._agree(GOES_ON)
        gathered = np.empty((self.size * self._threads, *arrays.shape[1:]), arrays.dtype)
        self._comm.Allgather(_bytes(arrays), _bytes(gathered))
        return gathered

    def alltoall(self, arrays: Array) -> Array:
        """See `Link.alltoall`; one MPI_Alltoall."""
        self._agree(GOES_ON)
        threads, rest = self._threads, arrays.shape[2:]
        by_rank = arrays.reshape(threads, self.size, threads, *rest)
        outgoing = np.ascontiguousarray(np.moveaxis(by_rank, 1, 0))
        received = np.empty_like(outgoing)
        self._comm.Alltoall(_bytes(outgoing), _bytes(received))
        return received.reshape(self.size * threads, threads, *rest)

    def barrier(self) -> None:
        """Wait until all ranks say that they go on."""
        self._agree(GOES_ON)

    def leave(self, how: int) -> None:
        """Say that this rank takes part no more, unless the end of another one has been its own."""
        if not self._over:
            self._agree(how)

    def _agree(self, own: int) -> None:
        said = np.array([own, -own])
        self._comm.Allreduce(MPI.IN_PLACE, said, op=MPI.MAX)
        most, least = said[0], -said[1]
        self._over = most > GOES_ON
        check_agreement(own, most=most, least=least)


def _bytes(array: Array) -> list[Any]:
    return [np.ascontiguousarray(array).view(np.uint8) if array.ndim and array.size else array, MPI.BYTE]


def _nap_until(condition: Callable[[], bool]) -> None:
    """Poll, ever more slowly: waiting in MPI would use up a CPU."""
    nap = 1e-5
    while not condition():
        time.sleep(nap)
        nap = min(2 * nap, _LONGEST_NAP)


_world: World | None = None


def join(process: Announced | None = None, prepare: Callable[[], None] | None = None) -> World:
    """Enter the MPI world of this job. On rank 0 it returns; the other ranks serve it and then exit.

    Parameters
    ----------
    process
        What the launcher announced.
    prepare
        Called on the other ranks before the first order comes.

    Raises
    ------
    EngineError
        If MPI sees another number of processes than the launcher started: each would do the whole work alone.
    """
    global _world
    if _world is not None:
        return _world
    size = MPI.COMM_WORLD.size
    if process is not None and process.size != size:
        raise EngineError(
            f"{process.size} tasks were started ({process.source}), but MPI sees {size}: the launcher and mpi4py's MPI "
            "library do not speak the same protocol. With srun try --mpi=pmi2 (MPICH, Intel MPI) or --mpi=pmix (Open "
            "MPI), or start with the mpiexec of the MPI library that mpi4py uses "
            f"({MPI.Get_library_version().split(chr(10))[0].strip()})"
        )
    if process is None and size == 1 and allotted() > 1:
        raise EngineError(
            f"the job has {allotted()} tasks, but only this one was started: start predictd with srun or mpiexec"
        )
    _world = World()
    if _world.rank:
        try:
            if prepare is not None:
                prepare()
            _world.serve()
        except KeyboardInterrupt:
            MPI.COMM_WORLD.Abort(interrupt.STOPPED_NOW)
        except BaseException as err:
            # What an order brings may open files when it is unpickled. The others may wait for this rank: end them all.
            if isinstance(err, PredictdError):
                print(f"predictd: error: {err}", file=sys.stderr)
            else:
                traceback.print_exc()
            sys.stderr.flush()
            MPI.COMM_WORLD.Abort(1)
        sys.exit(0)
    atexit.register(_world.dismiss)
    return _world
