"""The local engine: spawned processes for tasks, threads for programs around kernels that release the GIL."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any

import numpy as np

from predictd import interrupt
from predictd.engine.base import (
    Array,
    Engine,
    Key,
    Program,
    Result,
    Task,
    one_blas_thread,
    subtrees,
    tree_sum,
    usable_cpus,
)
from predictd.errors import Interrupted, PredictdError, WorkerError
from predictd.progress import progress_bar, set_quiet

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_POLL_SECONDS = 0.2
_spawning = threading.Lock()


class LocalEngine(Engine):
    """One machine.

    Parameters
    ----------
    workers
        Processes or threads at once; None: as many as there are usable CPUs.
    """

    name = "local"

    def __init__(self, workers: int | None = None) -> None:
        self.workers = workers or usable_cpus()
        self._context = _WorkerContext()
        self._pool: ProcessPoolExecutor | None = None

    def map(self, task: Task[Result], keys: Sequence[Key], shared: Any, *, label: str = "") -> list[Result]:
        return self._map(task, keys, shared, label, task.__name__)

    def _map(
        self, task: Task[Result], keys: Sequence[Key], shared: Any, label: str, name: str
    ) -> list[Result]:
        """`map`, with the name of the task in messages."""
        results: list[Any] = [None] * len(keys)
        running: dict[Future[Result], int] = {}
        waiting = iter(range(len(keys)))
        if not all(process.is_alive() for process in self._context.started):
            # One has died with nothing to do, so that nothing is lost; the pool may not have noticed yet.
            self._kill()
        with progress_bar(label, len(keys), shown=bool(label)) as bar:
            try:
                while True:
                    stopping = interrupt.requested()
                    while (
                        not stopping
                        and len(running) < self.workers
                        and (index := next(waiting, None)) is not None
                    ):
                        running[self._submit(task, keys[index], shared)] = index
                    if not running:
                        break
                    done, _ = wait(running, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
                    for future in done:
                        results[running[future]] = future.result()
                        del running[future]
                        bar.update()
            except BrokenProcessPool as err:
                at_work = [keys[index] for index in sorted(running.values())]
                self._kill()
                raise WorkerError(
                    f"a worker process died in {name} (at work: {_some(at_work)}): it was killed, ran out of "
                    "memory or could not write; run the command again to go on, with fewer --workers if memory "
                    "is short"
                ) from err
            except KeyboardInterrupt:
                self._kill()
                raise
            finally:
                wait(running)
        if interrupt.requested():
            raise Interrupted(
                f"stopped by {interrupt.received()}; run the same command again to go on from here"
            )
        return results

    def reduce(self, task: Task[Array], keys: Sequence[Key], shared: Any, *, label: str = "") -> Array:
        ordered = sorted(keys)
        if not ordered:
            raise ValueError("nothing to sum: no keys")
        ranges = subtrees(len(ordered), 4 * self.workers)
        parts = [ordered[start:stop] for start, stop in ranges]
        sums = self._map(_sum_subtree, parts, (task, shared), label, task.__name__)
        by_range = dict(zip(ranges, sums, strict=True))
        return _join(by_range, 0, len(ordered))

    def spmd(self, program: Program[Result], keys: Sequence[Key], shared: Any) -> list[Result]:
        meeting = _Meeting(self.workers)

        def work(rank: int) -> Result:
            try:
                return program(_ThreadCommunicator(meeting, rank), keys, shared)
            except threading.BrokenBarrierError:
                raise
            except BaseException:
                meeting.barrier.abort()
                raise

        with one_blas_thread(), ThreadPoolExecutor(self.workers, thread_name_prefix="predictd") as pool:
            futures = [pool.submit(work, rank) for rank in range(self.workers)]
            try:
                wait(futures)
            except KeyboardInterrupt:
                # Threads cannot be killed; none goes on beyond its next exchange.
                meeting.barrier.abort()
                raise
        errors = [error for future in futures if (error := future.exception()) is not None]
        for error in sorted(errors, key=lambda error: isinstance(error, threading.BrokenBarrierError)):
            raise error
        return [future.result() for future in futures]

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def _submit(self, task: Task[Result], key: Key, shared: Any) -> Future[Result]:
        try:
            if self._pool is None:
                with _inherited():
                    self._pool = ProcessPoolExecutor(
                        self.workers, mp_context=self._context, initializer=_start_worker
                    )
            with _inherited():
                return self._pool.submit(_run, task, key, shared)
        except BrokenProcessPool:
            # One has died just now. If it was at work, its task's future tells.
            self._kill()
            return self._submit(task, key, shared)

    def _kill(self) -> None:
        """End the workers whatever they do; the next task starts new ones."""
        for process in self._context.started:
            if process.is_alive():
                process.kill()
        self._context.started.clear()
        self._pool = None


class _WorkerProcess(SpawnProcess):
    """A process that ignores the stop signals, so that only a kill ends it against its will."""

    def terminate(self) -> None:
        self.kill()


class _WorkerContext(SpawnContext):
    """Starts workers, and knows them."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[_WorkerProcess] = []

    def Process(self, *args: Any, **kwargs: Any) -> _WorkerProcess:  # type: ignore[override]
        process = _WorkerProcess(*args, **kwargs)
        self.started.append(process)
        return process


@contextmanager
def _inherited() -> Iterator[None]:
    """What processes inherit that are started meanwhile.

    One BLAS thread, no folder before the installed package, and stop signals held back: they would end a process
    that has not got as far as ignoring them, multiprocessing's resource tracker among them.
    """
    wanted = {"PYTHONSAFEPATH": "1", **dict.fromkeys(_THREAD_VARIABLES, "1")}
    with _spawning:
        saved = {name: os.environ.get(name) for name in wanted}
        os.environ.update(wanted)
        held_back = signal.pthread_sigmask(signal.SIG_BLOCK, interrupt.SIGNALS)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, held_back)
            for name, value in saved.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


def _start_worker() -> None:
    """In a fresh worker: leave stop signals and progress bars to the parent, and end with it."""
    set_quiet(True)
    for number in interrupt.SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, interrupt.SIGNALS)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end_with_parent() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


def _run(task: Task[Result], key: Key, shared: Any) -> Result:
    try:
        with one_blas_thread():
            return task(key, shared)
    except PredictdError:
        raise
    except Exception as err:
        raise WorkerError(
            f"{task.__name__} failed at {_short(key)}: {type(err).__name__}: {_one_line(err)}"
        ) from err


def _sum_subtree(keys: list[Key], task_and_shared: tuple[Task[Array], Any]) -> Array:
    task, shared = task_and_shared
    return tree_sum(lambda index: _run(task, keys[index], shared), 0, len(keys))


def _join(sums: dict[tuple[int, int], Array], start: int, stop: int) -> Array:
    if (start, stop) in sums:
        return sums.pop((start, stop))
    middle = (start + stop) // 2
    left = _join(sums, start, middle)
    left += _join(sums, middle, stop)
    return left


def _one_line(value: object) -> str:
    return " ".join(str(value).split())


def _short(key: Key) -> str:
    text = _one_line(key)
    return text if len(text) <= 80 else text[:77] + "…"


def _some(keys: Sequence[Key]) -> str:
    shown = ", ".join(_short(key) for key in keys[:3])
    return shown + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")


class _Meeting:
    """Where the threads of one program lay their arrays down."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.barrier = threading.Barrier(size)
        self.slots: list[Array | None] = [None] * size


class _ThreadCommunicator:
    """A worker thread's end of a meeting."""

    def __init__(self, meeting: _Meeting, rank: int) -> None:
        self._meeting = meeting
        self.rank = rank
        self.size = meeting.size
        self.bytes_sent = 0

    def allgather(self, array: Array) -> Array:
        self._meeting.slots[self.rank] = array
        self._meeting.barrier.wait()
        gathered = np.stack([slot for slot in self._meeting.slots if slot is not None])
        # Nobody may change an array that another worker is still copying.
        self._meeting.barrier.wait()
        self.bytes_sent += array.nbytes * (self.size - 1)
        return gathered

    def barrier(self) -> None:
        self._meeting.barrier.wait()
