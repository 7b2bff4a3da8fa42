"""The interface of engines, and what they share."""

from __future__ import annotations

import os
import pickle
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache, wraps
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
from threadpoolctl import ThreadpoolController

from predictd.engine.quota import cpu_quota
from predictd.errors import PredictdError, WorkerError
from predictd.progress import within_task
from predictd.wording import one_line, short

Key = Any
Array = npt.NDArray[Any]
Result = TypeVar("Result")
Task = Callable[[Key, Any], Result]
# How many threads libraries of BLAS take, where it says so before they load.
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# Of processes that are started for tasks: the installed package alone, and BLAS without threads of its own.
WORKER_ENVIRONMENT = {"PYTHONSAFEPATH": "1", **dict.fromkeys(_THREAD_VARIABLES, "1")}


class Communicator(Protocol):
    """What the workers of one `spmd` program exchange their arrays through."""

    rank: int
    size: int
    bytes_sent: int

    def allgather(self, array: Array) -> Array:
        """Every worker's array, stacked by rank: (size, *array.shape), read only; shapes and dtypes agree."""
        ...

    def alltoall(self, array: Array) -> Array:
        """Send array[w] to each worker w; what they sent here, by rank: the shape of `array`, read only."""
        ...

    def barrier(self) -> None:
        """Wait until every worker is here."""
        ...


Program = Callable[[Communicator, Sequence[Key], Any], Result]


class Engine(ABC):
    """Runs tasks over keys.

    Tasks are top-level functions, keys are small, and `shared` is what all tasks of a call have in common. Tasks open
    their own files, one task alone writes a file, and every task and every program runs under one BLAS thread.

    Attributes
    ----------
    name
        As on the command line.
    workers
        How many tasks run at once.
    ranks
        Processes that were started together and share the work, each with some of the workers.
    bytes_sent
        What workers have sent each other in reductions and programs so far, in all.
    has_tables
        Whether its workers can hold one table together, as those of Spark.
    peak_memory_bytes
        The largest that any other process has been so far, a worker's or another rank's; 0 where there are none.
    """

    name: str
    workers: int
    ranks: int = 1
    bytes_sent: int = 0
    peak_memory_bytes: int = 0
    has_tables: bool = False

    @abstractmethod
    def map(
        self,
        task: Task[Result],
        keys: Sequence[Key],
        shared: Any,
        *,
        label: str = "",
        sizes: Sequence[int] | None = None,
    ) -> list[Result]:
        """Results of `task(key, shared)` in the order of the keys.

        Parameters
        ----------
        task, keys, shared
            See the class.
        label
            Name of the progress bar; none is shown without it.
        sizes
            How much work each key is, for engines that deal keys out beforehand; None: all the same.

        Raises
        ------
        PredictdError
            The first error of a task; other exceptions come as WorkerError, naming the key and the cause.
        Interrupted
            If a stop was asked for; tasks that had begun are finished first, but for those that give up (see
            `predictd.interrupt`).
        """

    @abstractmethod
    def reduce(
        self,
        task: Task[Array],
        keys: Sequence[Key],
        shared: Any,
        *,
        label: str = "",
        sizes: Sequence[int] | None = None,
    ) -> Array:
        """Sum of the tasks' arrays over a fixed balanced tree of the keys: the same bits for any number of workers."""

    @abstractmethod
    def spmd(self, program: Program[Result], keys: Sequence[Key], shared: Any) -> list[Result]:
        """Run `program(communicator, keys, shared)` on every worker; its results by rank."""

    def check_shared_paths(self, *files: Path) -> None:  # noqa: B027
        """Refuse to go on unless every worker sees these files as this process does.

        Tasks open their own files. One file is enough for a directory: the manifest of a tensor, the description of the
        job that an output is made by. Engines whose workers may be on machines that share no files override it.

        Raises
        ------
        EngineError
            If a worker does not; it names host and path.
        """

    @abstractmethod
    def close(self) -> None:
        """Let the workers go."""

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def run_task(task: Task[Result], key: Key, shared: Any) -> Result:
    """Run one task under one BLAS thread and without bars; an error of Python or a library becomes a WorkerError."""
    try:
        with one_blas_thread(), within_task():
            return task(key, shared)
    except PredictdError:
        raise
    except Exception as err:
        raise WorkerError(
            f"{task.__name__} failed at {short(key)}: {type(err).__name__}: {one_line(err)}"
        ) from err


def run_packed(task: Task[Result], key: Key, packed: bytes) -> Result:
    """As `run_task`, of pickled `shared`; what goes wrong when that is unpickled is reported the same way."""

    @wraps(task)
    def unpacking(key: Key, packed: bytes) -> Result:
        return task(key, pickle.loads(packed))

    return run_task(unpacking, key, packed)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold BLAS to one thread: parallelism is over tasks, and LAPACK's bits depend on the number of threads."""
    if any(os.environ.get(name) != "1" for name in _THREAD_VARIABLES):
        # SciPy has a BLAS of its own, which would load with more threads when it is first used.
        import scipy.linalg  # noqa: F401
    with _thread_pools(len(sys.modules)).limit(limits=1):
        yield


@lru_cache(maxsize=1)
def _thread_pools(modules: int) -> ThreadpoolController:
    """Those of the libraries that are loaded; looked for again, in 3 ms, once more modules have been imported."""
    return ThreadpoolController()


def affinity() -> set[int]:
    """Numbers of the CPUs that this process may run on, as far as the system says."""
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))


def within_quota(count: int) -> int:
    """So many CPUs, or fewer where this process's control group may take fewer: whole ones, at least one."""
    return max(1, int(min(count, cpu_quota())))


def usable_cpus() -> int:
    """CPUs that this process may use.

    The least of what Slurm says it gave the task (`SLURM_CPUS_PER_TASK`), its affinity and the quota of its control
    group: where a site binds no tasks, only the first says it.
    """
    count = within_quota(len(affinity()))
    given = os.environ.get("SLURM_CPUS_PER_TASK", "")
    return min(count, int(given)) if given.isdigit() and int(given) > 0 else count


def own_modules() -> list[str]:
    """Modules of predictd that are imported here."""
    return [name for name in sys.modules if name.startswith("predictd.")]


def import_quietly(modules: Sequence[str]) -> None:
    """Import modules; one that cannot be imported is reported by the task that needs it."""
    for name in modules:
        with suppress(Exception):
            import_module(name)


def tree_sum(leaf: Callable[[int], Array], start: int, stop: int) -> Array:
    """Sum of leaf(start) … leaf(stop − 1) over the balanced binary tree of the range, depth first.

    At most one partial sum per level of the tree is held.
    """
    if stop - start == 1:
        return np.array(leaf(start))
    middle = (start + stop) // 2
    left = tree_sum(leaf, start, middle)
    left += tree_sum(leaf, middle, stop)
    return left


def sum_subtree(keys: list[Key], task_and_shared: tuple[Task[Array], Any]) -> Array:
    """Sum of a task's arrays over keys that are the leaves of one subtree: a task itself."""
    task, shared = task_and_shared
    return tree_sum(lambda index: run_task(task, keys[index], shared), 0, len(keys))


def subtrees(start: int, stop: int, wanted: int) -> list[tuple[int, int]]:
    """Whole subtrees of a tree over the range, at least `wanted` of them where it has as many leaves."""
    ranges = [(start, stop)]
    while len(ranges) < min(wanted, stop - start):
        ranges = [
            part
            for low, high in ranges
            for part in (
                [(low, (low + high) // 2), ((low + high) // 2, high)] if high - low > 1 else [(low, high)]
            )
        ]
    return ranges


def join_subtrees(sums: dict[tuple[int, int], Array], start: int, stop: int) -> Array:
    """Sum of a whole tree from the sums of subtrees, which are used up."""
    if (start, stop) in sums:
        return sums.pop((start, stop))
    middle = (start + stop) // 2
    left = join_subtrees(sums, start, middle)
    left += join_subtrees(sums, middle, stop)
    return left
