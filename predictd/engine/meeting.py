"""Programs on threads that meet to exchange arrays, within one process or through a link to others."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, Protocol

from numpy import stack

from predictd.engine.base import Array, Key, Program, Result, one_blas_thread
from predictd.errors import PredictdError, WorkerError
from predictd.wording import one_line

# What a process says ahead of each exchange of a program: it goes on, has come to its end, or has failed.
GOES_ON, ENDED, FAILED = range(3)


class Link(Protocol):
    """How the threads of several processes, of each the same number, reach each other.

    Attributes
    ----------
    rank, size
        Of this process among the processes.
    """

    rank: int
    size: int

    def allgather(self, arrays: Array) -> Array:
        """From (threads, …) of this process to (workers, …) of all, by rank."""
        ...

    def alltoall(self, arrays: Array) -> Array:
        """From (threads, workers, …), what each thread here sends to each worker, to (workers, threads, …)."""
        ...

    def barrier(self) -> None:
        """Wait for all processes."""
        ...


class EndedElsewhere(PredictdError):
    """Another process has failed, and reports why."""


def check_agreement(own: int, *, most: int, least: int) -> None:
    """Raise unless all processes said the same ahead of an exchange: the highest and the lowest that was said."""
    if most == FAILED and own != FAILED:
        raise EndedElsewhere("another rank has failed")
    if most == ENDED and least == GOES_ON:
        raise WorkerError("the program came to its end on some ranks while others wanted to exchange arrays")


def as_reported(err: Exception) -> Exception:
    """An error as another process can have it: one that cannot travel comes as text."""
    try:
        pickle.loads(pickle.dumps(err))
    except Exception:
        return WorkerError(f"{type(err).__name__}: {one_line(err)}")
    return err


class NoLink:
    """The link of a process that is alone."""

    rank = 0
    size = 1

    def allgather(self, arrays: Array) -> Array:
        """Give the arrays back, (threads, …): there are no other processes."""
        return arrays

    def alltoall(self, arrays: Array) -> Array:
        """Give the arrays back, (threads, threads, …): there are no other processes."""
        return arrays

    def barrier(self) -> None:
        """Return at once: there is nobody to wait for."""


class _Meeting:
    """Where the threads of one process lay their arrays down; the first takes them to the others."""

    def __init__(self, threads: int, link: Link) -> None:
        self.threads = threads
        self.link = link
        self.gate = threading.Barrier(threads)
        self.slots: list[Array | None] = [None] * threads
        self.result: Array | None = None

    def exchange(self, thread: int, array: Array, through: Callable[[Array], Array]) -> Array:
        """What comes of all threads' arrays, stacked, through the link; the same object for all, not to be changed."""
        self.slots[thread] = array
        self.gate.wait()
        if thread == 0:
            self.result = through(stack([slot for slot in self.slots if slot is not None]))
            self.result.flags.writeable = False
        # The next exchange overwrites the result only when all have come to it, and so have this one.
        self.gate.wait()
        assert self.result is not None
        return self.result

    def barrier(self, thread: int) -> None:
        self.gate.wait()
        if thread == 0:
            self.link.barrier()
        self.gate.wait()


class _ThreadCommunicator:
    """One worker's end; see `Communicator`."""

    def __init__(self, meeting: _Meeting, thread: int) -> None:
        self._meeting = meeting
        self._thread = thread
        self.rank = meeting.link.rank * meeting.threads + thread
        self.size = meeting.link.size * meeting.threads
        self.bytes_sent = 0

    def allgather(self, array: Array) -> Array:
        gathered = self._meeting.exchange(self._thread, array, self._meeting.link.allgather)
        self.bytes_sent += array.nbytes * (self.size - 1)
        return gathered

    def alltoall(self, array: Array) -> Array:
        if len(array) != self.size:
            raise ValueError(f"{len(array)} pieces for {self.size} workers")
        received = self._meeting.exchange(self._thread, array, self._meeting.link.alltoall)[:, self._thread]
        self.bytes_sent += array.nbytes // self.size * (self.size - 1)
        return received

    def barrier(self) -> None:
        self._meeting.barrier(self._thread)


def run_program(
    program: Program[Result], keys: Sequence[Key], shared: Any, *, threads: int, link: Link | None = None
) -> tuple[list[Result], int]:
    """Run a program on the threads of this process: their results, and the bytes that they sent to other workers.

    Raises
    ------
    Exception
        The error of the first thread that failed on its own account; the others end at their next exchange.
    """
    meeting = _Meeting(threads, link or NoLink())
    communicators = [_ThreadCommunicator(meeting, thread) for thread in range(threads)]

    def work(communicator: _ThreadCommunicator) -> Result:
        try:
            return program(communicator, keys, shared)
        except threading.BrokenBarrierError:
            raise
        except BaseException:
            meeting.gate.abort()
            raise

    with one_blas_thread(), ThreadPoolExecutor(threads, thread_name_prefix="predictd") as pool:
        futures = [pool.submit(work, communicator) for communicator in communicators]
        try:
            wait(futures)
        except KeyboardInterrupt:
            # Threads cannot be killed; none goes on beyond its next exchange.
            meeting.gate.abort()
            raise
    errors = [error for future in futures if (error := future.exception()) is not None]
    for error in sorted(errors, key=lambda error: isinstance(error, threading.BrokenBarrierError)):
        raise error
    return [future.result() for future in futures], sum(comm.bytes_sent for comm in communicators)
