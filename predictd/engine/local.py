"""The local engine: spawned processes for tasks, threads for programs around kernels that release the GIL."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, nullcontext, suppress
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.sharedctypes import RawArray, RawValue
from pathlib import Path
from types import ModuleType
from typing import Any

from predictd import interrupt
from predictd.engine.base import (
    WORKER_ENVIRONMENT,
    Array,
    Engine,
    Key,
    Program,
    Result,
    Task,
    join_subtrees,
    run_packed,
    short,
    subtrees,
    sum_subtree,
    usable_cpus,
)
from predictd.engine.meeting import run_program
from predictd.errors import ConfigError, Interrupted, WorkerError
from predictd.launcher import LAUNCHER_PREFIXES
from predictd.progress import progress_bar, reported_to
from predictd.provenance import peak_memory
from predictd.wording import some

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
        if workers is not None and workers < 1:
            raise ConfigError(f"`workers` {workers}: give at least 1, or leave it out for all CPUs")
        self.workers = workers or usable_cpus()
        self._context = _WorkerContext()
        self._pool: ProcessPoolExecutor | None = None
        # Threads that share an engine take turns.
        self._turn = threading.Lock()
        # The signal that asked to stop, for the workers; how much each has done of its task, and its peak memory.
        self._asked = RawValue("i", 0)
        self._shares = RawArray("d", self.workers)
        self._peaks = RawArray("q", self.workers)

    def map(
        self,
        task: Task[Result],
        keys: Sequence[Key],
        shared: Any,
        *,
        label: str = "",
        sizes: Sequence[int] | None = None,
    ) -> list[Result]:
        """See `Engine.map`; tasks run in spawned processes, which stay for the next call."""
        results = self._map(task, keys, shared, label, task.__name__)
        return [results[index] for index in range(len(keys))]

    def _map(
        self, task: Task[Result], keys: Sequence[Key], shared: Any, label: str, name: str
    ) -> dict[int, Result]:
        with (
            self._turn,
            progress_bar(label, len(keys), shown=bool(label)) as bar,
            interrupt.after(f"the {label or 'tasks'} at work"),
            interrupt.passed_on(self._ask),
        ):
            results = self.run(
                task,
                keys,
                shared,
                name=name,
                stopping=interrupt.requested,
                done=lambda: bar.update(),
                partly=bar.partly,
            )
        interrupt.stop_if_asked()
        return results

    def run(
        self,
        task: Task[Result],
        keys: Sequence[Key],
        shared: Any,
        *,
        name: str,
        stopping: Callable[[], bool],
        done: Callable[[], object],
        partly: Callable[[float], object] = lambda part: None,
    ) -> dict[int, Result]:
        """Run tasks until all are done or none is to be begun any more: results by position of the key.

        A task that gave up, since a stop was asked for, has none.

        Parameters
        ----------
        task, keys, shared
            As of `map`.
        name
            Of the task, in messages.
        stopping
            Asked again and again; when it says so, no task is begun.
        done, partly
            Called after each task, and with how many tasks the shares of those come to that have begun.
        """
        # They may open files when they are unpickled: what goes wrong then is the task's error, and no worker's death.
        packed = pickle.dumps(shared)
        results: dict[int, Result] = {}
        running: dict[Future[Result], tuple[int, int]] = {}
        places = list(range(self.workers))
        waiting = iter(range(len(keys)))
        if not all(process.is_alive() for process in self._context.started):
            # One has died with nothing to do, so that nothing is lost; the pool may not have noticed yet.
            self._kill()
        try:
            while True:
                stop = stopping()
                self._ask(interrupt.asked())
                while not stop and len(running) < self.workers and (index := next(waiting, None)) is not None:
                    place = places.pop()
                    self._shares[place] = 0.0
                    running[self._submit(place, task, keys[index], packed)] = index, place
                if not running:
                    return results
                finished, _ = wait(running, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
                for future in finished:
                    index, place = running[future]
                    with suppress(Interrupted) if stopping() else nullcontext():
                        results[index] = future.result()
                    del running[future]
                    places.append(place)
                    partly(self._begun(running.values()))
                    if index in results:
                        done()
                partly(self._begun(running.values()))
        except BrokenProcessPool as err:
            at_work = [keys[index] for index, _ in sorted(running.values())]
            self._kill()
            raise WorkerError(
                f"a worker process died in {name} (at work: {some(map(short, at_work), 3)}): it was killed, ran out of "
                "memory or could not write; run the command again to go on, with fewer `workers` if memory "
                "is short"
            ) from err
        except KeyboardInterrupt:
            self._kill()
            raise
        finally:
            wait(running)
            self.peak_memory_bytes = max(self.peak_memory_bytes, *self._peaks)

    def reduce(
        self,
        task: Task[Array],
        keys: Sequence[Key],
        shared: Any,
        *,
        label: str = "",
        sizes: Sequence[int] | None = None,
    ) -> Array:
        """See `Engine.reduce`; each process sums whole subtrees, and this one joins their sums."""
        ordered = sorted(keys)
        if not ordered:
            raise ValueError("nothing to sum: no keys")
        ranges = subtrees(0, len(ordered), 4 * self.workers)
        parts = [ordered[start:stop] for start, stop in ranges]
        sums = self._map(sum_subtree, parts, (task, shared), label, task.__name__)
        return join_subtrees({ranges[index]: total for index, total in sums.items()}, 0, len(ordered))

    def spmd(self, program: Program[Result], keys: Sequence[Key], shared: Any) -> list[Result]:
        """See `Engine.spmd`; every worker is a thread of this process."""
        results, sent = run_program(program, keys, shared, threads=self.workers)
        self.bytes_sent += sent
        return results

    def close(self) -> None:
        """End the processes; tasks that have not begun are dropped."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def _begun(self, running: Iterable[tuple[int, int]]) -> float:
        """How many tasks the shares of those come to that run at some places."""
        return sum(self._shares[place] for _, place in running)

    def _ask(self, number: int) -> None:
        """Tell the workers of a signal; 0: of none."""
        self._asked.value = number

    def _submit(self, place: int, task: Task[Result], key: Key, packed: bytes) -> Future[Result]:
        try:
            if self._pool is None:
                with _inherited():
                    self._pool = ProcessPoolExecutor(
                        self.workers,
                        mp_context=self._context,
                        initializer=_start_worker,
                        initargs=(self._asked, self._shares, self._peaks),
                    )
            with _inherited():
                return self._pool.submit(_run_in_place, place, task, key, packed)
        except BrokenProcessPool:
            # One has died just now. If it was at work, its task's future says so.
            self._kill()
            return self._submit(place, task, key, packed)

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

    One BLAS thread, no folder before the installed package, no place in an MPI job, and stop signals held back: they
    would end a process that has not got as far as ignoring them, multiprocessing's resource tracker among them. Nor do
    they run the program again that started them, as multiprocessing would: tasks are predictd's own, so that a script
    needs no `if __name__ == "__main__"`.
    """
    with _spawning:
        unwanted = [name for name in os.environ if name.startswith(LAUNCHER_PREFIXES)]
        saved = {name: os.environ.get(name) for name in [*WORKER_ENVIRONMENT, *unwanted]}
        os.environ.update(WORKER_ENVIRONMENT)
        for name in unwanted:
            del os.environ[name]
        program = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        held_back = signal.pthread_sigmask(signal.SIG_BLOCK, interrupt.SIGNALS)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, held_back)
            sys.modules["__main__"] = program
            for name, value in saved.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


# Of a worker: where all say how much they have done of their tasks, and how large they have been.
_shares: Any = None
_peaks: Any = None


def _run_in_place(place: int, task: Task[Result], key: Key, packed: bytes) -> Result:
    """Run a task, and say at a place how much of it is done, and how much memory this process has taken."""
    try:
        with reported_to(lambda share: _shares.__setitem__(place, share)):
            return run_packed(task, key, packed)
    finally:
        _peaks[place] = max(_peaks[place], peak_memory())


def _start_worker(asked: Any, shares: Any, peaks: Any) -> None:
    """In a fresh worker: leave stop signals to the parent, who says what they ask (`asked`), and end with it."""
    global _shares, _peaks
    _shares, _peaks = shares, peaks
    interrupt.listen(lambda: int(asked.value))
    for number in interrupt.SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, interrupt.SIGNALS)
    # Where memory runs out, Linux is to end a worker, which the parent can report, before the parent.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end_with_parent() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
