"""What the settings of a Spark session bring about; `spark_job.py` runs this file, all in one Java process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from pyspark import SparkConf, SparkContext

import engine_tasks as tasks
from predictd.engine import LocalEngine
from predictd.engine.spark import SparkEngine
from predictd.errors import EngineError, WorkerError

LIMIT_BYTES = 400_000_000


@contextmanager
def session(master: str = "local[1]", **settings: object) -> Iterator[None]:
    """A session of others, as in a notebook; in names `_` stands for the dot."""
    # Java would keep the settings that it is started with.
    SparkContext._ensure_initialized()
    conf = SparkConf().setMaster(master).setAppName("settings").set("spark.ui.showConsoleProgress", "false")
    for name, value in settings.items():
        conf.set(name.replace("_", "."), str(value))
    context = SparkContext(conf=conf)
    context.setLogLevel("ERROR")
    try:
        yield
    finally:
        context.stop()


def test_speculation_is_refused():
    with session(spark_speculation="true"), pytest.raises(EngineError, match=r"^spark.speculation is on: "):
        SparkEngine()


def test_executors_that_come_and_go_do_everything_but_programs():
    dynamic = {
        "spark_dynamicAllocation_enabled": "true",
        "spark_dynamicAllocation_shuffleTracking_enabled": "true",
        "spark_dynamicAllocation_minExecutors": 0,
    }
    keys = list(range(9))
    with session(os.environ["MASTER"], **dynamic), SparkEngine(2) as engine:
        assert engine.map(tasks.power, keys, 2) == [key**2 for key in keys]
        np.testing.assert_array_equal(
            engine.reduce(tasks.ill_conditioned, keys, (4, 5)),
            LocalEngine(1).reduce(tasks.ill_conditioned, keys, (4, 5)),
        )
        with pytest.raises(EngineError) as caught:
            engine.spmd(tasks.describe, [], {})
    assert str(caught.value).endswith("set spark.dynamicAllocation.enabled to false, or use the `solver` em")


def other_python() -> str | None:
    """A Python of another minor version that Spark 3.5 runs on."""
    for minor in (10, 12, 9):
        name = f"python3.{minor}"
        places = [shutil.which(name), *Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/{name}")]
        for place in filter(None, places):
            # A pyenv's own name for a version that is not chosen does not run.
            if (
                minor != sys.version_info[1]
                and subprocess.run([place, "-c", ""], check=False).returncode == 0
            ):
                return str(place)
    return None


def test_executors_with_another_python_are_refused(monkeypatch):
    if (python := other_python()) is None:
        pytest.skip("no other Python from 3.9 to 3.12 is here")
    monkeypatch.setenv("PYSPARK_PYTHON", python)
    with session(), pytest.raises(EngineError) as caught:
        SparkEngine()
    message = str(caught.value)
    assert message.startswith(f"the executors do not run this Python ({sys.executable}, ")
    assert "Python in worker has different version (3, " in message
    assert "\n" not in message and len(message) < 500, message


@pytest.fixture
def memory_group(tmp_path: Path) -> Iterator[Path]:
    """A control group whose processes the kernel kills when they take more than the limit."""
    root = Path("/sys/fs/cgroup")
    first = (root / "memory").is_dir()
    group = (root / "memory" if first else root) / f"predictd-test-{os.getpid()}"
    limit = group / ("memory.limit_in_bytes" if first else "memory.max")
    try:
        group.mkdir()
    except OSError as err:
        pytest.skip(f"no control group can be made here: {err}")
    try:
        try:
            limit.write_text(str(LIMIT_BYTES))
        except OSError as err:
            pytest.skip(f"the memory of a control group cannot be limited here: {err}")
        yield group
    finally:

        def gone() -> bool:
            try:
                group.rmdir()
            except OSError:
                return False
            return True

        tasks.wait_until(gone, "the processes of the control group to end")


def test_a_task_that_takes_too_much_memory_is_told_in_one_line(memory_group, tmp_path, monkeypatch):
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\necho $$ > {memory_group}/cgroup.procs\nexec {sys.executable} "$@"\n', encoding="utf-8"
    )
    python.chmod(0o755)
    monkeypatch.setenv("PYSPARK_PYTHON", str(python))
    with session("local[1,2]"), SparkEngine() as engine:
        assert engine.map(tasks.take_memory, [0], LIMIT_BYTES // 10) == [LIMIT_BYTES // 10]
        with pytest.raises(WorkerError) as caught:
            engine.map(tasks.take_memory, [0], 3 * LIMIT_BYTES)
    message = str(caught.value)
    assert message.startswith("Spark gave up on take_memory: ") and "\n" not in message and len(message) < 500
    assert "it may have run out of memory: give executors more" in message, message


def test_on_the_cluster_itself_paths_are_absolute(tmp_path):
    with session(spark_submit_deployMode="cluster"), SparkEngine() as engine:
        engine.check_shared_paths(tmp_path / "cv")
        with pytest.raises(EngineError, match=r"^cv is relative to .*: give absolute paths on a file system"):
            engine.check_shared_paths(Path("cv"))
