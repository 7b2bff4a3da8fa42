"""What every engine must do.

`tests/helpers/mpi_job.py` runs this file on rank 0 of an MPI job, where the engine is the one of that job, and
`tests/helpers/spark_job.py` on the Spark cluster that its environment names.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest

import engine_tasks as tasks
import predictd
from predictd import interrupt
from predictd.engine import Engine, LocalEngine
from predictd.errors import DataError, Interrupted, WorkerError

ENGINES: dict[str, Callable[[], Engine]] = {f"local-{n}": partial(LocalEngine, n) for n in (1, 2, 3)}
if "predictd.engine.mpi" in sys.modules:
    from predictd.engine.mpi import MpiEngine

    ENGINES = {f"mpi-of-{n}": partial(MpiEngine, n) for n in (1, 2)}
elif "predictd.engine.spark" in sys.modules:
    ENGINES = {}


@pytest.fixture(scope="module", params=ENGINES or ["spark"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    if not ENGINES:
        # Other files use it as well.
        yield request.getfixturevalue("spark_engine")
        return
    with ENGINES[request.param]() as engine:
        yield engine


# -- map --------------------------------------------------------------------------------------------------------------


def test_map_keeps_the_order_of_the_keys(engine):
    keys = np.random.default_rng(0).permutation(60).tolist()
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


def test_tasks_run_under_one_blas_thread(engine):
    for threads in engine.map(tasks.blas_threads, list(range(engine.workers)), None):
        assert threads and set(threads) == {1}


def test_arrays_lie_in_memory_alike_whoever_runs_a_task(engine):
    """In the last bits, sums depend on it."""
    shared = np.arange(48.0).reshape(6, 8)[::2, ::2]
    found = engine.map(tasks.every_other, list(range(2 * engine.workers)), shared)
    assert all(came and given.flags.c_contiguous for came, given in found)
    np.testing.assert_array_equal(found[0][1], shared[:, ::2])


def test_workers_run_the_installed_package(engine, tmp_path, monkeypatch):
    # A predictd/ in the current folder, as in a checkout of the sources, must not get in before it.
    (tmp_path / "predictd").mkdir()
    (tmp_path / "predictd" / "__init__.py").write_text("raise RuntimeError('not this one')")
    monkeypatch.chdir(tmp_path)
    engine.close()
    assert engine.map(tasks.path_of_predictd, [0], None) == [predictd.__file__]


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


def test_alltoall_brings_each_worker_what_was_meant_for_it(engine):
    steps = 25
    for rank, seen in enumerate(engine.spmd(tasks.scatter, [], steps)):
        assert seen.shape == (steps, engine.workers, 3)
        np.testing.assert_array_equal(
            seen[:, :, 0], np.arange(steps)[:, np.newaxis].repeat(engine.workers, 1)
        )
        np.testing.assert_array_equal(seen[:, :, 1], [list(range(engine.workers))] * steps)
        assert (seen[:, :, 2] == rank).all()


def test_allgather_takes_any_shape_and_type(engine):
    size = engine.workers
    for flags, ranks, empty, large in engine.spmd(tasks.gather_kinds, [], None):
        assert flags.dtype == bool and flags.tolist() == [[rank > 0, True] for rank in range(size)]
        assert ranks.tolist() == list(range(size))
        assert empty.shape == (size, 0, 4)
        assert large.tolist() == [[1 << 60, -rank] for rank in range(size)]


def test_a_barrier_waits_for_all(engine, tmp_path):
    for attempt in range(5):
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
