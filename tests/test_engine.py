"""What every engine must do, then what is peculiar to the local one: its processes, and signals."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import predictd
from predictd import interrupt
from predictd.engine import Engine, LocalEngine
from predictd.engine.base import subtrees, tree_sum, usable_cpus
from predictd.errors import DataError, Interrupted, WorkerError

# Workers import tasks by name, which pytest's importlib mode gives no file of tests.
sys.path.append(str(Path(__file__).parent))
import engine_tasks as tasks

ENGINES: dict[str, Callable[[], Engine]] = {f"local-{n}": partial(LocalEngine, n) for n in (1, 2, 3)}


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with ENGINES[request.param]() as engine:
        yield engine


# -- map --------------------------------------------------------------------------------------------------------------


def test_map_keeps_the_order_of_the_keys(engine):
    keys = np.random.default_rng(0).permutation(200).tolist()
    assert engine.map(tasks.power, keys, 3) == [key**3 for key in keys]
    assert engine.map(tasks.power, [], 3) == []
    assert engine.map(tasks.power, [5, 5], 2) == [25, 25]


def test_map_runs_as_many_tasks_at_once_as_there_are_workers(engine, tmp_path):
    pids = engine.map(tasks.meet, list(range(engine.workers)), (tmp_path, engine.workers))
    assert len(set(pids)) == engine.workers


def test_an_error_names_task_key_and_cause_in_one_line(engine):
    cause = OSError("cannot read\n  the file")
    with pytest.raises(WorkerError) as caught:
        engine.map(tasks.fail_at, list(range(50)), (17, cause))
    assert str(caught.value) == "fail_at failed at 17: OSError: cannot read the file"
    assert engine.map(tasks.power, [3], 2) == [9]


def test_a_long_key_is_cut_and_made_one_line(engine):
    key = np.arange(300).reshape(30, 10)
    with pytest.raises(WorkerError) as caught:
        engine.map(tasks.fail, [key], "no")
    message = str(caught.value)
    assert message.startswith("fail failed at [[ 0 1 2 3") and message.endswith("…: ValueError: no")
    assert "\n" not in message and len(message) < 120


def test_predictd_errors_come_as_they_are(engine):
    with pytest.raises(DataError) as caught:
        engine.map(tasks.refuse, [1], None)
    assert str(caught.value) == "cell type C7 has no training experiment; name another"
    with pytest.raises(DataError, match="C7"):
        engine.reduce(tasks.refuse, [1, 2, 3], None)


@pytest.mark.parametrize("how", ["exit", "kill"])
def test_a_dead_worker_is_told_and_the_engine_goes_on(engine, how):
    with pytest.raises(WorkerError) as caught:
        engine.map(tasks.die, list(range(30)), (11, how))
    message = str(caught.value)
    assert "worker process died in die" in message and "fewer --workers" in message and "\n" not in message
    # The system does not tell which task it was; the keys that were at work are told.
    told = message.partition("at work: ")[2].partition(")")[0]
    assert "11" in told.split(", ") and len(told.split(", ")) <= engine.workers
    assert engine.map(tasks.power, list(range(30)), 2) == [key**2 for key in range(30)]


def test_tasks_run_under_one_blas_thread(engine):
    for threads in engine.map(tasks.blas_threads, list(range(engine.workers)), None):
        assert threads and set(threads) == {1}


def test_workers_run_the_installed_package(engine, tmp_path, monkeypatch):
    # A predictd/ in the current folder, as in a checkout of the sources, must not get in before it.
    (tmp_path / "predictd").mkdir()
    (tmp_path / "predictd" / "__init__.py").write_text("raise RuntimeError('not this one')")
    monkeypatch.chdir(tmp_path)
    with ENGINES["local-1"]() as fresh:
        assert fresh.map(tasks.path_of_predictd, [0], None) == [predictd.__file__]
    assert set(engine.map(tasks.environment, ["PYTHONSAFEPATH"], None)) == {"1"}


def test_nothing_is_begun_once_a_stop_was_asked_for(engine, tmp_path):
    with interrupt.catching():
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted, match="stopped by SIGTERM; run the same command again"):
            engine.map(tasks.touch, ["a", "b"], tmp_path)
    assert not list(tmp_path.iterdir())
    engine.map(tasks.touch, ["a", "b"], tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


# -- reduce -----------------------------------------------------------------------------------------------------------


def halved(arrays: list[np.ndarray]) -> np.ndarray:
    """The sum as it is specified: of the sums of both halves."""
    middle = len(arrays) // 2
    return arrays[0] if len(arrays) == 1 else halved(arrays[:middle]) + halved(arrays[middle:])


@pytest.mark.parametrize("n", [1, 2, 3, 7, 16, 37])
def test_reduce_gives_the_bits_of_the_tree(engine, n):
    keys = list(range(n))
    arrays = [tasks.ill_conditioned(key, (4, 5)) for key in keys]
    shuffled = np.random.default_rng(n).permutation(n).tolist()
    total = engine.reduce(tasks.ill_conditioned, shuffled, (4, 5))
    np.testing.assert_array_equal(total, halved(arrays))
    if n > 7:
        # These sums can tell: one after the other gives other bits.
        assert (total != sum(arrays)).any()


def test_reduce_runs_tasks_under_one_blas_thread(engine):
    n = 5
    assert set((engine.reduce(tasks.blas_threads_as_array, list(range(n)), None) / n).tolist()) == {1.0}


def test_reduce_of_nothing_is_refused(engine):
    with pytest.raises(ValueError, match="no keys"):
        engine.reduce(tasks.ill_conditioned, [], (1, 1))


def test_errors_in_a_sum_name_the_task_and_its_own_key(engine):
    with pytest.raises(WorkerError, match=r"^fail_at failed at 5: ValueError: bad$"):
        engine.reduce(tasks.fail_at, list(range(9)), (5, ValueError("bad")))
    with pytest.raises(WorkerError, match=r"^a worker process died in die "):
        engine.reduce(tasks.die, list(range(9)), (5, "exit"))


def test_a_tree_sum_holds_few_arrays():
    leaf_bytes, n_leaves = 80_000, 300

    def leaf(index: int) -> np.ndarray:
        return np.full(leaf_bytes // 8, float(index))

    tracemalloc.start()
    try:
        total = tree_sum(leaf, 0, n_leaves)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert total[0] == n_leaves * (n_leaves - 1) / 2
    # Nine levels, and the leaf itself.
    assert peak < 12 * leaf_bytes


@pytest.mark.parametrize("n_keys", [1, 2, 5, 12, 64, 100])
@pytest.mark.parametrize("wanted", [1, 3, 8, 200])
def test_subtrees_are_nodes_of_the_tree_in_order(n_keys, wanted):
    def nodes(start: int, stop: int) -> set[tuple[int, int]]:
        middle = (start + stop) // 2
        below = nodes(start, middle) | nodes(middle, stop) if stop - start > 1 else set()
        return {(start, stop)} | below

    ranges = subtrees(n_keys, wanted)
    assert set(ranges) <= nodes(0, n_keys)
    assert [start for start, _ in ranges] == [0, *(stop for _, stop in ranges[:-1])] and ranges[-1][
        1
    ] == n_keys
    assert len(ranges) >= min(wanted, n_keys)


# -- spmd -------------------------------------------------------------------------------------------------------------


def test_programs_know_who_they_are_and_results_come_by_rank(engine):
    results = engine.spmd(tasks.describe, ["a", "b"], {"x": 1})
    assert results == [(rank, engine.workers, ["a", "b"], {"x": 1}) for rank in range(engine.workers)]


def test_allgather_stacks_by_rank_and_takes_a_copy(engine):
    steps = 25
    expected = np.empty((steps, engine.workers, 2, 3), np.float32)
    expected[:] = (100 * np.arange(steps)[:, np.newaxis] + np.arange(engine.workers))[:, :, None, None]
    for seen in engine.spmd(tasks.exchange, [], steps):
        assert seen.dtype == np.float32
        np.testing.assert_array_equal(seen, expected)


def test_allgather_takes_any_shape_and_type(engine):
    size = engine.workers
    for flags, ranks, empty, large in engine.spmd(tasks.gather_kinds, [], None):
        assert flags.dtype == bool and flags.tolist() == [[rank > 0, True] for rank in range(size)]
        assert ranks.tolist() == list(range(size))
        assert empty.shape == (size, 0, 4)
        assert large.tolist() == [[1 << 60, -rank] for rank in range(size)]


def test_a_barrier_waits_for_all(engine, tmp_path):
    for attempt in range(10):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        assert engine.spmd(tasks.all_arrived, [], folder) == [engine.workers] * engine.workers


@pytest.mark.parametrize("error", [DataError("the descent diverged"), ZeroDivisionError("by zero")])
def test_one_failing_worker_ends_all_with_its_own_error(engine, error):
    with pytest.raises(type(error), match=str(error)):
        engine.spmd(tasks.fail_alone, [], error)
    assert len(engine.spmd(tasks.describe, [], {})) == engine.workers


def test_programs_run_under_one_blas_thread(engine):
    for threads in engine.spmd(tasks.blas_threads_inside, [], None):
        assert threads and set(threads) == {1}


# -- the local engine's processes -------------------------------------------------------------------------------------


def test_all_usable_cpus_work_unless_told_otherwise():
    with LocalEngine() as engine:
        assert engine.workers == usable_cpus() >= 1


def test_closing_ends_the_workers_and_an_engine_can_be_used_again(tmp_path):
    engine = LocalEngine(2)
    before = set(multiprocessing.active_children())
    engine.map(tasks.meet, [0, 1], (tmp_path, 2))
    assert len(set(multiprocessing.active_children()) - before) == 2
    engine.close()
    assert not set(multiprocessing.active_children()) - before
    assert engine.map(tasks.power, [4], 2) == [16]
    engine.close()
    engine.close()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("victim", [0, 1])
def test_a_worker_that_dies_idle_costs_nothing(victim, tmp_path):
    # One of two idle workers holds the lock of the tasks' queue: dying with it must not keep the other.
    with LocalEngine(2) as engine:
        before = set(multiprocessing.active_children())
        engine.map(tasks.meet, [0, 1], (tmp_path, 2))
        own = sorted(set(multiprocessing.active_children()) - before, key=lambda process: process.pid or 0)
        own[victim].kill()
        own[victim].join()
        assert engine.map(tasks.power, list(range(8)), 2) == [key**2 for key in range(8)]
    assert not set(multiprocessing.active_children()) - before


# -- signals ----------------------------------------------------------------------------------------------------------


def test_signals_become_requests_and_handlers_come_back():
    before = [signal.getsignal(number) for number in interrupt.SIGNALS]
    with interrupt.catching():
        assert not interrupt.requested() and interrupt.received() == "no signal"
        for number in (signal.SIGUSR1, signal.SIGTERM):
            os.kill(os.getpid(), number)
            assert interrupt.requested() and interrupt.received() == number.name
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert not interrupt.requested()
    assert [signal.getsignal(number) for number in interrupt.SIGNALS] == before


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Start engine_tasks.py as a process group of its own, which is ended with the test."""
    started = []

    def start(what: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, str(tasks.__file__), what, str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            start_new_session=True,
            env={**os.environ, "PYTHONSAFEPATH": "1"},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def begun(folder: Path, n: int) -> list[int]:
    """Wait for n tasks to begin; the processes that they are in."""
    marks = [folder / f"begun-{key}" for key in range(n)]
    tasks.wait_until(lambda: all(mark.exists() and mark.read_text() for mark in marks), f"{n} tasks to begin")
    return [int(mark.read_text()) for mark in marks]


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has asked after does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except FileNotFoundError:
        return not Path("/proc").is_dir()


@pytest.mark.parametrize("number", interrupt.SIGNALS)
def test_a_signal_lets_tasks_finish_and_ends_with_75(number, start, tmp_path):
    process = start("map")
    begun(tmp_path, 2)
    # To all processes, as a terminal and batch systems send it.
    os.killpg(process.pid, number)
    tasks.wait_until((tmp_path / "asked").exists, "the signal to be noted")
    (tmp_path / "go").touch()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 75, err
    assert out == f"stopped by {number.name}; run the same command again to go on from here\n" and not err
    assert {path.name for path in tmp_path.glob("done-*")} == {"done-0", "done-1"}
    assert not (tmp_path / "begun-2").exists()
    process = start("map")
    assert process.wait(timeout=60) == 0
    assert len(list(tmp_path.glob("done-*"))) == 5


@pytest.mark.parametrize("what", ["map", "spmd"])
def test_a_second_interrupt_stops_at_once(what, start, tmp_path):
    process = start(what)
    pids = begun(tmp_path, 2)
    os.kill(process.pid, signal.SIGINT)
    tasks.wait_until((tmp_path / "asked").exists, "the first signal to be noted")
    os.kill(process.pid, signal.SIGINT)
    assert "KeyboardInterrupt" in process.communicate(timeout=60)[1]
    assert not list(tmp_path.glob("done-*"))
    tasks.wait_until(lambda: not any(map(alive, pids)), "the workers to end")


def test_a_killed_parent_leaves_no_workers_behind(start, tmp_path):
    process = start("map")
    pids = begun(tmp_path, 2)
    assert len({process.pid, *pids}) == 3 and all(map(alive, pids))
    process.kill()
    process.wait()
    tasks.wait_until(lambda: not any(map(alive, pids)), "the workers to end")
    assert not list(tmp_path.glob("done-*"))


def test_signals_do_not_hit_workers_that_are_starting(start, tmp_path):
    out, err = start("fire").communicate(timeout=60)
    assert out == "[4, 9, 16]\n" and not err
