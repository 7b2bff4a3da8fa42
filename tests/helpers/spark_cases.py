"""What Spark alone can do to a job; `tests/helpers/spark_job.py` runs this file on a cluster of two workers."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest

import engine_tasks as tasks
from made_tensors import small_tensor
from predictd import interrupt
from predictd.engine import Engine, LocalEngine
from predictd.engine.spark import SparkEngine, session
from predictd.errors import EngineError, Interrupted, TensorFormatError, WorkerError


@pytest.fixture(scope="module")
def engine(spark_engine: Engine) -> Engine:
    return spark_engine


def signalled(number: int, *marks: Path) -> threading.Thread:
    """Send this process a signal once files are there."""

    def send() -> None:
        tasks.wait_until(lambda: all(mark.exists() for mark in marks), "tasks to begin")
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


def test_an_executor_lost_in_a_map_changes_nothing(engine, tmp_path):
    keys = list(range(12))
    assert engine.map(tasks.lose_executor_in_map, keys, (tmp_path, 5)) == [key**2 for key in keys]
    assert (tmp_path / "killed").exists()


def test_an_executor_lost_in_a_sum_changes_no_bit(engine, tmp_path):
    keys = list(range(19))
    before = engine.bytes_sent
    total = engine.reduce(tasks.lose_executor_in_sum, keys, (tmp_path, 17))
    assert (tmp_path / "killed").exists()
    np.testing.assert_array_equal(total, LocalEngine(1).reduce(tasks.ill_conditioned, keys, (4, 5)))
    # Eight sums to the executors that join them, two to the driver.
    assert engine.bytes_sent - before >= 10 * total.nbytes


def test_an_executor_lost_in_a_program_starts_it_again(engine, tmp_path):
    assert engine.spmd(tasks.lose_executor_in_program, [], tmp_path) == [1, 1]
    assert (tmp_path / "killed").exists()


def test_a_task_that_dies_again_and_again_is_told_in_one_line(engine):
    with pytest.raises(WorkerError) as caught:
        engine.map(tasks.die, [0, 1, 2], (1, "exit"))
    message = str(caught.value)
    assert message.startswith("Spark gave up on die: ") and "\n" not in message and len(message) < 300, (
        message
    )


def test_a_shard_that_vanishes_is_told_as_everywhere(engine, tmp_path):
    tensor = small_tensor(tmp_path / "T", np.zeros((90, 4)), n_shards=2)
    first, victim = tensor.shard_names
    with pytest.raises(TensorFormatError, match=rf"{victim}") as caught:
        engine.map(tasks.verify_while_one_goes, [first, victim], (tensor.path, victim, tmp_path))
    assert "\n" not in str(caught.value)


def test_a_signal_ends_a_map(engine, tmp_path):
    with interrupt.catching():
        thread = signalled(signal.SIGTERM, tmp_path / "begun-0", tmp_path / "begun-1")
        with pytest.raises(Interrupted, match="stopped by SIGTERM; run the same command again"):
            engine.map(tasks.leave_mark, list(range(5)), tmp_path)
        thread.join()
    assert not (tmp_path / "begun-4").exists() and not list(tmp_path.glob("done-*"))


def test_a_signal_reaches_the_workers_of_a_program(engine, tmp_path):
    with interrupt.catching():
        thread = signalled(signal.SIGUSR1, tmp_path / "begun-0", tmp_path / "begun-1")
        with pytest.raises(Interrupted, match="stopped by SIGUSR1"):
            engine.spmd(tasks.run_until_asked, [], tmp_path)
        thread.join()
    assert len(list(tmp_path.glob("saved-*"))) == 2
    # The processes of the executors, which stay, have forgotten it.
    assert engine.spmd(tasks.describe, [], {}) == [(0, 2, [], {}), (1, 2, [], {})]


def test_an_active_session_is_used_and_left_as_it_is(engine):
    with SparkEngine() as guest:
        assert guest.workers == 2 and guest.map(tasks.power, [3], 2) == [9]
    assert engine.map(tasks.power, [3], 2) == [9]
    with pytest.raises(EngineError, match=r"a Spark session on spark://.* is active"):
        SparkEngine(master="spark://127.0.0.1:1")


def test_programs_need_room_for_all_workers(engine, monkeypatch):
    # Nobody was lost whose place would be taken.
    monkeypatch.setattr(session, "_REPLACED_SECONDS", 0.5)
    with SparkEngine(2) as guest:
        guest.workers = 3
        with pytest.raises(
            EngineError, match="3 were asked for, and the executors have room for 2; set `workers` to 2"
        ):
            guest.spmd(tasks.describe, [], {})
