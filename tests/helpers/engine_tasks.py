"""Tasks and programs for the tests of engines, whose workers import them by name.

What few of them need is imported by these: many workers are started.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import scipy
from threadpoolctl import threadpool_info

from predictd import interrupt, progress
from predictd.engine import Communicator
from predictd.errors import DataError, Interrupted

if TYPE_CHECKING:
    from predictd.model.cp.sgd import Rows

DEADLINE_SECONDS = 60.0


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Poll until something holds; an error after the deadline."""
    end = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"waited in vain for {what}")
        time.sleep(0.005)


# -- tasks ------------------------------------------------------------------------------------------------------------


def how_soon_ended(key: int, shared: None) -> int:
    """What Linux adds to this process's score when it looks for one to end for want of memory."""
    return int(Path("/proc/self/oom_score_adj").read_text())


def power(key: int, shared: int) -> int:
    return key**shared


def fail_at(key: int, shared: tuple[int, Exception]) -> int:
    if key == shared[0]:
        raise shared[1]
    return key


def fail(key: Any, shared: str) -> None:
    raise ValueError(shared)


def refuse(key: int, shared: None) -> None:
    raise DataError("cell type C7 has no training experiment; name another")


def die(key: int, shared: tuple[int, str]) -> int:
    """End the worker at one key, as the system's memory killer or a crash in native code does."""
    victim, how = shared
    if key == victim:
        if how == "exit":
            os._exit(3)
        os.kill(os.getpid(), signal.SIGKILL)
    return key


def blas_threads(key: int, shared: None) -> list[int]:
    np.ones((64, 64)) @ np.ones((64, 64))
    scipy.linalg.inv(np.eye(4))
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


def environment(key: str, shared: None) -> str | None:
    return os.environ.get(key)


def path_of_predictd(key: int, shared: None) -> str:
    import predictd

    return str(predictd.__file__)


def meet(key: int, shared: tuple[Path, int]) -> int:
    """Return this process's number once so many tasks are at work at the same time."""
    folder, wanted = shared
    (folder / f"met-{key}").touch()
    wait_until(lambda: len(list(folder.glob("met-*"))) >= wanted, f"{wanted} tasks at once")
    return os.getpid()


def touch(key: str, shared: Path) -> None:
    (shared / key).touch()


def ill_conditioned(key: int, shared: tuple[int, int]) -> np.ndarray:
    """Values of any magnitude and sign, so that another order of adding them gives other bits."""
    rng = np.random.default_rng([7, key])
    return rng.normal(size=shared) * 10.0 ** rng.uniform(-12, 12, shared)


def blas_threads_as_array(key: int, shared: None) -> np.ndarray:
    # Processes may have loaded several libraries.
    return np.array([max(blas_threads(key, None))])


def leave_mark(key: int, folder: Path) -> int:
    """Say that the task has begun and in which process, wait for leave to go on, and say that it is done."""
    (folder / f"begun-{key}").write_text(str(os.getpid()))
    wait_until((folder / "go").exists, "leave to go on")
    (folder / f"done-{key}").touch()
    return key


def half_done(key: int, folder: Path) -> int:
    """Say that half of the task is done, and wait for leave to do the rest."""
    progress.task_share(0.5)
    wait_until((folder / "go").exists, "leave to go on")
    return key


def leave_mark_unless_given_up(key: int, folder: Path) -> int:
    """The same for a task that looks for signals in its midst."""
    (folder / f"begun-{key}").touch()
    wait_until((folder / "go").exists, "leave to go on")
    interrupt.give_up_if_asked()
    (folder / f"done-{key}").touch()
    return key


# -- programs ---------------------------------------------------------------------------------------------------------


def describe(comm: Communicator, keys: Sequence[str], shared: dict[str, int]) -> tuple[Any, ...]:
    return comm.rank, comm.size, list(keys), dict(shared)


def exchange(comm: Communicator, keys: Sequence[Any], shared: int) -> np.ndarray:
    """Gather an array again and again, and change it as soon as it has been gathered."""
    own = np.empty((2, 3), np.float32)
    seen = []
    for step in range(shared):
        own[:] = 100 * step + comm.rank
        seen.append(comm.allgather(own))
        own[:] = -1
    assert comm.bytes_sent == shared * 24 * (comm.size - 1)
    return np.stack(seen)


def scatter(comm: Communicator, keys: Sequence[Any], shared: int) -> np.ndarray:
    """Send every worker pieces of one's own, again and again."""
    own = np.empty((comm.size, 3), np.int64)
    seen = []
    for step in range(shared):
        own[:, 0], own[:, 1], own[:, 2] = step, comm.rank, np.arange(comm.size)
        seen.append(comm.alltoall(own))
        own[:] = -1
    assert comm.bytes_sent == shared * 24 * (comm.size - 1)
    return np.stack(seen)


def rows_of_workers(
    size: int, n_cells: int, n_assays: int, rank: int, dtype: Any
) -> tuple[list[Rows], list[list[Rows]]]:
    """Rows that all workers start from, cells and assays, and what each makes of them; some nobody touches."""
    from predictd.model.cp.sgd import Rows

    rng = np.random.default_rng([size, n_cells])
    before = [
        Rows.from_factors(rng.normal(size=(n, rank)), rng.normal(size=n), dtype) for n in (n_cells, n_assays)
    ]
    made = []
    for _ in range(size):
        own = [rows.copy() for rows in before]
        for rows in own:
            touches = rng.integers(0, 3, len(rows)) * (np.arange(len(rows)) != 1)
            rows.scalars[:, 2] += touches
            rows.scalars[:, :2] += touches[:, np.newaxis] * rng.normal(size=(len(rows), 2))
            rows.values[touches > 0] += rng.normal(size=rows.values[touches > 0].shape)
        made.append(own)
    return before, made


def average(
    comm: Communicator, keys: Sequence[Any], shared: tuple[int, int, int, Any]
) -> tuple[list[Rows], int]:
    from predictd.workflows.training.sgd.average import average_rows

    before, made = rows_of_workers(comm.size, *shared)
    return average_rows(comm, made[comm.rank], before), comm.bytes_sent


def add(
    comm: Communicator, keys: Sequence[Any], shared: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], int]:
    from predictd.workflows.training.sgd.average import add_up

    return add_up(comm, shared[comm.rank]), comm.bytes_sent


def gather_kinds(comm: Communicator, keys: Sequence[Any], shared: None) -> list[np.ndarray]:
    return [
        comm.allgather(np.array(value))
        for value in ([comm.rank > 0, True], comm.rank, np.zeros((0, 4)), [1 << 60, -comm.rank])
    ]


def all_arrived(comm: Communicator, keys: Sequence[Any], shared: Path) -> int:
    """Count who has come to the barrier by the time that it opens."""
    (shared / f"rank-{comm.rank}").touch()
    comm.barrier()
    return len(list(shared.glob("rank-*")))


def fail_alone(comm: Communicator, keys: Sequence[Any], shared: Exception) -> None:
    """The last worker fails while the others wait for it."""
    comm.barrier()
    if comm.rank == comm.size - 1:
        raise shared
    comm.allgather(np.zeros(1))
    raise AssertionError("gathered without the failed worker")


def blas_threads_inside(comm: Communicator, keys: Sequence[Any], shared: None) -> list[int]:
    comm.barrier()
    return blas_threads(0, None)


def never_ending(comm: Communicator, keys: Sequence[Any], shared: Path) -> None:
    (shared / f"begun-{comm.rank}").write_text(str(os.getpid()))
    while True:
        comm.allgather(np.zeros(1))
        time.sleep(0.001)


# -- on Spark ---------------------------------------------------------------------------------------------------------


def kill_executor_once(folder: Path) -> None:
    """The first to come here ends the Java process whose task this is, and all its Python processes with it."""
    try:
        (folder / "killed").touch(exist_ok=False)
    except FileExistsError:
        return
    with Path(f"/proc/{os.getppid()}/stat").open() as daemon:
        os.kill(int(daemon.read().rpartition(")")[2].split()[1]), signal.SIGKILL)
    time.sleep(DEADLINE_SECONDS)


def take_memory(key: int, n_bytes: int) -> int:
    return int(np.ones(n_bytes, np.uint8).sum(dtype=np.int64))


def verify_while_one_goes(key: str, shared: tuple[Path, str, Path]) -> None:
    """Check a shard of a tensor, while the first task removes one that another task has yet to read."""
    from predictd.io.tensor.store import Tensor

    tensor, victim, folder = shared
    if key == victim:
        wait_until((folder / "gone").exists, "the shard to vanish")
    else:
        (tensor / "shards" / f"{victim}.h5").unlink()
        (folder / "gone").touch()
    Tensor(tensor).verify(key)


def lose_executor_in_map(key: int, shared: tuple[Path, int]) -> int:
    folder, victim = shared
    if key == victim:
        kill_executor_once(folder)
    return key**2


def lose_executor_in_sum(key: int, shared: tuple[Path, int]) -> np.ndarray:
    folder, victim = shared
    if key == victim:
        kill_executor_once(folder)
    return ill_conditioned(key, (4, 5))


def lose_executor_in_program(comm: Communicator, keys: Sequence[Any], shared: Path) -> int:
    comm.barrier()
    if comm.rank == 1:
        kill_executor_once(shared)
    return int(comm.allgather(np.array(comm.rank)).sum())


def descend_and_lose_executor(comm: Communicator, keys: Sequence[Any], problem: Any) -> Any:
    """The program of sgd, which saves at every evaluation and tells from which round a worker goes.

    Rank 1 is lost with its executor after round 20, once.
    """
    from predictd.workflows.training.sgd import descent

    folder = problem.checkpoint.parent
    descent.CHECKPOINT_SECONDS = 0.0

    class Worker(descent._Worker):
        def _resume(self) -> Any:
            state = super()._resume()
            (folder / f"{self.problem.phase}-{self.comm.rank}-from-{self.rounds}").touch()
            return state

        def _round(self, *rates: float) -> None:
            super()._round(*rates)
            if (self.rounds, self.comm.rank) == (20, 1):
                kill_executor_once(folder)

    return Worker(comm, problem).run()


def run_until_asked(comm: Communicator, keys: Sequence[Any], shared: Path) -> None:
    """A program that ends when a signal came to any worker, and has something to do before."""
    (shared / f"begun-{comm.rank}").touch()
    while not (number := comm.allgather(np.array(interrupt.number())).max()):
        time.sleep(0.01)
    (shared / f"saved-{comm.rank}").touch()
    raise Interrupted(f"stopped by {signal.Signals(number).name}")


def every_other(key: int, shared: np.ndarray) -> tuple[bool, np.ndarray]:
    """Whether an array came in one piece, and one that is not."""
    return shared.flags.c_contiguous, shared[:, ::2]
