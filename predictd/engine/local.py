"""The local engine: spawned processes for tasks, threads for programs around kernels that release the GIL."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
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
from predictd.progress import progress_bar

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_POLL_SECONDS = 0.2


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
        self._pool: ProcessPoolExecutor | None = None

    def map(self, task: Task[Result], keys: Sequence[Key], shared: Any, *, label: str = "") -> list[Result]:
        results: list[Any] = [None] * len(keys)
        running: dict[Future[Result], int] = {}
        waiting = iter(range(len(keys)))
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
                        index = running.pop(future)
                        results[index] = self._result(future, task, keys[index])
                        bar.update()
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
        sums = self.map(
            _sum_subtree, [ordered[start:stop] for start, stop in ranges], (task, shared), label=label
        )
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
        errors = [error for future in futures if (error := future.exception()) is not None]
        for error in sorted(errors, key=lambda error: isinstance(error, threading.BrokenBarrierError)):
            raise error
        return [future.result() for future in futures]

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def _submit(self, task: Task[Result], key: Key, shared: Any) -> Future[Result]:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                self.workers, mp_context=multiprocessing.get_context("spawn"), initializer=_start_worker
            )
        with _inherited_environment():
            return self._pool.submit(_run, task, key, shared)

    def _result(self, future: Future[Result], task: Task[Result], key: Key) -> Result:
        try:
            return future.result()
        except BrokenProcessPool as err:
            self._pool = None
            raise WorkerError(
                f"a worker process died in {task.__name__} (about {_short(key)}): it was killed, ran out of memory or "
                "could not write; run the command again to go on, with fewer --workers if memory is short"
            ) from err


class _inherited_environment:
    """What spawned workers find in their environment: one BLAS thread, and no folder before the installed package."""

    _lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()
        wanted = {"PYTHONSAFEPATH": "1", **dict.fromkeys(_THREAD_VARIABLES, "1")}
        self._saved = {name: os.environ.get(name) for name in wanted}
        os.environ.update(wanted)

    def __exit__(self, *error: object) -> None:
        for name, value in self._saved.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        self._lock.release()


def _start_worker() -> None:
    """In a fresh worker: leave stop signals to the parent, and end with it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
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
        raise WorkerError(f"{task.__name__} failed at {_short(key)}: {type(err).__name__}: {err}") from err


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


def _short(key: Key) -> str:
    text = str(key)
    return text if len(text) <= 80 else text[:77] + "…"


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
        if self.size == 1:
            return np.array(array)[np.newaxis]
        self._meeting.slots[self.rank] = array
        self._meeting.barrier.wait()
        gathered = np.stack([slot for slot in self._meeting.slots if slot is not None])
        # Nobody may change an array that another worker is still copying.
        self._meeting.barrier.wait()
        self.bytes_sent += array.nbytes * (self.size - 1)
        return gathered

    def barrier(self) -> None:
        self._meeting.barrier.wait()
