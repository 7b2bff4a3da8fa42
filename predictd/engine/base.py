"""The interface of engines, and what they share."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

Key = Any
Array = npt.NDArray[Any]
Result = TypeVar("Result")
Task = Callable[[Key, Any], Result]


class Communicator(Protocol):
    """What the workers of one `spmd` program exchange their arrays through."""

    rank: int
    size: int
    bytes_sent: int

    def allgather(self, array: Array) -> Array:
        """Every worker's array, stacked by rank: (size, *array.shape); shapes and dtypes agree."""
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
    """

    name: str
    workers: int

    @abstractmethod
    def map(self, task: Task[Result], keys: Sequence[Key], shared: Any, *, label: str = "") -> list[Result]:
        """Results of `task(key, shared)` in the order of the keys.

        Parameters
        ----------
        task, keys, shared
            See the class.
        label
            Name of the progress bar; none is shown without it.

        Raises
        ------
        PredictdError
            The first error of a task; other exceptions come as WorkerError, naming the key and the cause.
        Interrupted
            If a stop was asked for; tasks that had begun are finished first.
        """

    @abstractmethod
    def reduce(self, task: Task[Array], keys: Sequence[Key], shared: Any, *, label: str = "") -> Array:
        """Sum of the tasks' arrays over a fixed balanced tree of the keys: the same bits for any number of workers."""

    @abstractmethod
    def spmd(self, program: Program[Result], keys: Sequence[Key], shared: Any) -> list[Result]:
        """Run `program(communicator, keys, shared)` on every worker; its results by rank."""

    @abstractmethod
    def close(self) -> None:
        """Let the workers go."""

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold BLAS to one thread: parallelism is over tasks, and LAPACK's bits depend on the number of threads."""
    with threadpool_limits(limits=1):
        yield


def usable_cpus() -> int:
    """CPUs that this process may use: its affinity, and the quota of its control group where there is one."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            count = min(count, max(1, int(quota) // int(period)))
    except (OSError, ValueError):
        pass
    return count


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


def subtrees(n_keys: int, wanted: int) -> list[tuple[int, int]]:
    """Key ranges of whole subtrees, at least `wanted` of them where there are as many keys."""
    ranges = [(0, n_keys)]
    while len(ranges) < min(wanted, n_keys):
        ranges = [
            part
            for start, stop in ranges
            for part in (
                [(start, (start + stop) // 2), ((start + stop) // 2, stop)]
                if stop - start > 1
                else [(start, stop)]
            )
        ]
    return ranges
