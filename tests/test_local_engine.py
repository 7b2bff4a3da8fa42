"""What is peculiar to the local engine: its processes, and signals; and the tree of sums."""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import engine_tasks as tasks
from commands import lend_engine
from made_tensors import small_tensor
from places import HELPERS, PYTHONPATH
from predictd import interrupt
from predictd.engine import LocalEngine, base
from predictd.engine.base import subtrees, tree_sum, usable_cpus
from predictd.engine.quota import cpu_quota, memory_limit
from predictd.errors import Interrupted, TensorFormatError, WorkerError
from waiting import alive

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module", params=[1, 2, 3])
def engine(request: pytest.FixtureRequest) -> Iterator[LocalEngine]:
    with LocalEngine(request.param) as engine:
        yield engine


# -- the tree ---------------------------------------------------------------------------------------------------------


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

    ranges = subtrees(0, n_keys, wanted)
    assert set(ranges) <= nodes(0, n_keys)
    assert [start for start, _ in ranges] == [0, *(stop for _, stop in ranges[:-1])] and ranges[-1][
        1
    ] == n_keys
    assert len(ranges) >= min(wanted, n_keys)


# -- the local engine's processes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["exit", "kill"])
def test_a_dead_worker_is_told_and_the_engine_goes_on(engine, how):
    with pytest.raises(WorkerError) as caught:
        engine.map(tasks.die, list(range(30)), (11, how))
    message = str(caught.value)
    assert "worker process died in die" in message and "fewer `workers`" in message and "\n" not in message
    # The system does not tell which task it was; the keys that were at work are told.
    told = message.partition("at work: ")[2].partition(")")[0]
    assert "11" in told.split(", ") and len(told.split(", ")) <= engine.workers
    assert engine.map(tasks.power, list(range(30)), 2) == [key**2 for key in range(30)]


def test_a_dead_worker_is_told_in_a_sum(engine):
    with pytest.raises(WorkerError, match=r"^a worker process died in die "):
        engine.reduce(tasks.die, list(range(9)), (5, "exit"))


def test_workers_are_told_to_import_nothing_from_the_current_folder(engine):
    assert set(engine.map(tasks.environment, ["PYTHONSAFEPATH"], None)) == {"1"}


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


def send(number: int, mark: Path) -> None:
    """Send this process a signal once a file is there."""
    tasks.wait_until(mark.exists, mark.name)
    os.kill(os.getpid(), number)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Start engine_jobs.py as a process group of its own, which is ended with the test."""
    started = []

    def start(what: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, str(HELPERS / "engine_jobs.py"), what, str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            start_new_session=True,
            env={**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": PYTHONPATH},
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


@pytest.mark.parametrize("number", interrupt.SIGNALS)
def test_a_signal_lets_tasks_finish_and_ends_with_75(number, start, tmp_path):
    process = start("map")
    begun(tmp_path, 2)
    # To all processes, as a terminal and batch systems send it.
    os.killpg(process.pid, number)
    # The tasks wait for leave to go on.
    told = f"{number.name}: stopping after the tasks at work; SIGINT to stop now"
    if number == signal.SIGINT:
        told = "stopping after the tasks at work; Ctrl-C again to stop now"
    assert process.stderr.readline() == f"predictd: {told}\n"
    (tmp_path / "go").touch()
    out, err = process.communicate()
    assert process.returncode == 75, err
    assert out == f"stopped by {number.name}; run the same command again to go on from here\n" and not err
    assert {path.name for path in tmp_path.glob("done-*")} == {"done-0", "done-1"}
    assert not (tmp_path / "begun-2").exists()
    lend_engine(2).map(tasks.leave_mark, list(range(5)), tmp_path)
    assert len(list(tmp_path.glob("done-*"))) == 5


def test_a_task_gives_up_for_those_who_do_not_wait(tmp_path):
    """Signals to a process are passed on to its workers, whose tasks look for them."""
    for number, done in ((signal.SIGUSR1, True), (signal.SIGTERM, False)):
        folder = tmp_path / number.name
        folder.mkdir()
        with interrupt.catching(lambda _, go=folder / "go": go.touch()), LocalEngine(1) as engine:
            thread = threading.Thread(target=send, args=(number, folder / "begun-0"))
            thread.start()
            with pytest.raises(Interrupted, match=f"stopped by {number.name}"):
                engine.map(tasks.leave_mark_unless_given_up, [0, 1], folder)
            thread.join()
        assert (folder / "done-0").exists() == done and not (folder / "begun-1").exists()
        # What comes later knows nothing of it.
        lend_engine(1).map(tasks.leave_mark_unless_given_up, [0, 1], folder)
        assert (folder / "done-0").exists() and (folder / "done-1").exists()


@pytest.mark.parametrize("what", ["map", "spmd"])
def test_a_second_interrupt_stops_at_once(what, start, tmp_path):
    process = start(what)
    pids = begun(tmp_path, 2)
    os.kill(process.pid, signal.SIGINT)
    tasks.wait_until((tmp_path / "asked").exists, "the first signal to be noted")
    os.kill(process.pid, signal.SIGINT)
    err = process.communicate()[1]
    assert err.count("Ctrl-C again to stop now\n") == 1 and "KeyboardInterrupt" in err
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
    out, err = start("fire").communicate()
    assert out == "[4, 9, 16]\n" and not err


@pytest.mark.skipif(not Path("/proc/self/oom_score_adj").exists(), reason="needs Linux")
def test_a_worker_is_ended_for_want_of_memory_before_its_parent():
    with LocalEngine(2) as engine:
        scores = engine.map(tasks.how_soon_ended, [0, 1], None)
    assert min(scores) > tasks.how_soon_ended(0, None)


def test_the_memory_of_workers_is_known_while_they_stay():
    with LocalEngine(1) as engine:
        for n_bytes in (100_000_000, 300_000_000):
            engine.map(tasks.take_memory, [0], n_bytes)
            assert n_bytes < engine.peak_memory_bytes < n_bytes + 180_000_000


def test_threads_that_share_an_engine_take_turns():
    with LocalEngine(2) as engine, ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda n: engine.map(tasks.power, list(range(5)), n), range(1, 9)))
    assert found == [[key**n for key in range(5)] for n in range(1, 9)]


# -- how many CPUs there are ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("groups", "files", "quota"),
    [
        # Version 2: in a container its own group is the root; in a batch job groups above it may say less.
        ("0::/\n", {"cpu.max": "150000 100000"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000"}, math.inf),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "400000 100000"}, 4),
        # Version 1: a container that sees its own group only, whatever it is called outside; a batch job; no limit.
        (
            "5:cpu,cpuacct:/docker/9f\n3:cpuset:/docker/9f\n0::/\n",
            {"cpu/cpu.cfs_quota_us": "250000", "cpu/cpu.cfs_period_us": "100000"},
            2.5,
        ),
        (
            "1:cpu:/slurm/job_7/step_0\n",
            {
                "cpu/slurm/job_7/cpu.cfs_quota_us": "100000",
                "cpu/slurm/job_7/cpu.cfs_period_us": "50000",
                "cpu/slurm/job_7/step_0/cpu.cfs_quota_us": "-1",
                "cpu/slurm/job_7/step_0/cpu.cfs_period_us": "100000",
            },
            2,
        ),
        (
            "4:cpuacct,cpu:/x\n",
            {"cpuacct,cpu/x/cpu.cfs_quota_us": "50000", "cpuacct,cpu/x/cpu.cfs_period_us": "100000"},
            0.5,
        ),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, math.inf),
        # Both at once, as systemd's hybrid hierarchy; the names of groups may hold colons.
        ("1:name=systemd:/a:b\n0::/a:b\n", {"unified/a:b/cpu.max": "300000 100000"}, 3),
        ("", {"cpu.max": "200000 100000"}, 2),
        ("0::/\n", {"cpu.max": "no number"}, math.inf),
        ("0::/../../x\n", {}, math.inf),
    ],
)
def test_quotas_of_control_groups(groups, files, quota, tmp_path):
    for name, text in files.items():
        (tmp_path / "mounts" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mounts" / name).write_text(f"{text}\n")
    if groups:
        (tmp_path / "groups").write_text(groups)
    assert cpu_quota(tmp_path / "mounts", tmp_path / "groups") == quota


@pytest.mark.parametrize(
    ("groups", "files", "limit"),
    [
        ("0::/pod/c\n", {"pod/c/memory.max": "max", "pod/memory.max": "8589934592"}, 8 * 2**30),
        (
            "9:memory:/docker/x\n0::/\n",
            {"memory/memory.limit_in_bytes": "1048576", "memory.max": "max"},
            2**20,
        ),
        ("0::/\n", {"memory.max": "max"}, math.inf),
        ("0::/\n", {"cpu.max": "200000 100000"}, math.inf),
    ],
)
def test_memory_of_control_groups(groups, files, limit, tmp_path):
    for name, text in files.items():
        (tmp_path / "mounts" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mounts" / name).write_text(f"{text}\n")
    (tmp_path / "groups").write_text(groups)
    assert memory_limit(tmp_path / "mounts", tmp_path / "groups") == limit


@pytest.mark.parametrize(("quota", "expected"), [(math.inf, 8), (20, 8), (2.9, 2), (0.5, 1)])
def test_a_quota_leaves_whole_cpus(quota, expected, monkeypatch):
    monkeypatch.setattr(base, "cpu_quota", lambda: quota)
    assert base.within_quota(8) == expected


# -- what is wrong with what tasks have in common ---------------------------------------------------------------------


def test_what_fails_when_a_worker_takes_up_its_task_is_told_as_that(engine, tmp_path, capfd):
    tensor = small_tensor(tmp_path / "own", np.ones((6, 4)))
    (tensor.path / "manifest.json").unlink()
    for run in (engine.map, engine.reduce):
        with pytest.raises(TensorFormatError, match=r"own holds no tensor \(no manifest\.json\)"):
            run(tasks.power, [1, 2, 3], tensor)
    assert engine.map(tasks.power, [2, 3], 2) == [4, 9]
    assert capfd.readouterr() == ("", "")
