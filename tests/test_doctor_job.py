"""`predictd doctor --job`: what a job has on each platform, and what is missing there."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from commands import call_predictd
from in_stores import use
from predictd import launcher
from predictd.workflows import doctor
from sagemaker_hosts import give_host


@pytest.fixture(autouse=True)
def no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a platform's variables that this machine may have."""
    for name in ("PREDICTD_PLATFORM", "SPARK_REMOTE", *(variable for _, variable in launcher._PLATFORMS)):
        monkeypatch.delenv(name, raising=False)
    for name in launcher.ARRAY_VARIABLES:
        monkeypatch.delenv(name, raising=False)


def told(cwd: Path, *words: object) -> tuple[int, dict[str, str]]:
    """Exit code, and what is printed, by what it is about."""
    done = call_predictd("doctor", "--job", *words, cwd=cwd)
    assert not done.stderr
    lines = (line.split(maxsplit=1) for line in done.stdout.splitlines())
    return done.returncode, {what: found.strip() for what, found in lines}


@pytest.mark.parametrize(
    ("variables", "name", "part"),
    [
        ({}, "none that predictd knows by its variables", "no task of a job array"),
        (
            {"AWS_BATCH_JOB_ID": "i", "AWS_BATCH_JOB_ARRAY_INDEX": "2", "AWS_BATCH_JOB_ARRAY_SIZE": "9"},
            "AWS Batch",
            "task 2 of 9, counted from 0",
        ),
        (
            {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "0"},
            "Kubernetes",
            "task 0, counted from 0",
        ),
        (
            {"KUBERNETES_SERVICE_HOST": "10.0.0.1"},
            "Kubernetes",
            "no task of a job array (completionMode: Indexed would make it one)",
        ),
        ({"SLURM_JOB_ID": "7"}, "Slurm", "no task of a job array"),
        ({"DATAPROC_IMAGE_VERSION": "2.2"}, "Dataproc", "no task of a job array"),
        ({"SAGEMAKER_BASE_DIR": "host"}, "Amazon SageMaker", "task 1 of 2, counted from 0"),
        ({"PREDICTD_PLATFORM": "EMR Serverless"}, "EMR Serverless", "no task of a job array"),
    ],
)
def test_each_platform_is_told(variables, name, part, tmp_path, monkeypatch):
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    if "SAGEMAKER_BASE_DIR" in variables:
        give_host(tmp_path / "host", 1, 2)
    code, lines = told(tmp_path)
    assert (lines["platform"], lines["part"]) == (name, part)
    assert code == 0, lines
    assert {path.name for path in tmp_path.iterdir()} <= {"host"}


def test_sagemaker_is_told_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", "host")
    give_host(tmp_path / "host", 0, 2)
    failures = [tmp_path / "host" / place for place in launcher._SAGEMAKER.values()]
    assert told(tmp_path)[0] == 0 and not any(path.exists() for path in failures)
    assert told(tmp_path, tmp_path / "nowhere")[0] == 1
    (failure,) = [path.read_text() for path in failures if path.exists()]
    assert failure == f"data at {tmp_path / 'nowhere'}: MISSING: it does not exist"


def test_memory_that_is_too_little(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "memory_limit", lambda: 3 * 2**29)
    monkeypatch.setattr(doctor, "usable_cpus", lambda: 4)
    code, lines = told(tmp_path)
    assert code == 1 and lines["memory"].startswith(
        "MISSING: 1.5 GiB for a worker of up to 1 GiB on each CPU (4): ask for more"
    )
    monkeypatch.setattr(doctor, "usable_cpus", lambda: 1)
    assert told(tmp_path)[1]["memory"] == "1.5 GiB, enough for a worker of up to 1 GiB on each CPU (1)"


def test_places_that_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    code, lines = told(tmp_path, tmp_path / "nowhere")
    assert code == 1
    assert lines["scratch"].endswith(
        "MISSING: NOT WRITABLE: No such file or directory; set TMPDIR to a directory that is writable"
    )
    assert lines["data"].endswith("MISSING: it does not exist")
    assert lines["HDF5"].endswith("not tried: it does not exist")
    (tmp_path / "file").touch()
    code, lines = told(tmp_path, tmp_path / "file")
    assert code == 1 and lines["data"].endswith("MISSING: Not a directory")
    assert lines["HDF5"].endswith("not tried: NOT WRITABLE: Not a directory")


def test_spark_connect_and_a_spark_that_is_not_there(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("SPARK_REMOTE", "sc://localhost")
        code, lines = told(tmp_path)
        assert code == 1 and lines["spark"].startswith("MISSING: SPARK_REMOTE asks for Spark Connect")
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    assert doctor._job_spark("AWS Batch") == "none, which only the spark engine needs"
    assert doctor._job_spark("EMR Serverless").startswith("MISSING: no pyspark")


def test_a_store(s3, tmp_path, monkeypatch):
    use(monkeypatch, s3.environment())
    code, lines = told(tmp_path, f"{s3.url}/job")
    assert code == 0 and lines["data"].endswith("can be read and written")
    use(monkeypatch, s3.environment(wrong_key=True))
    code, lines = told(tmp_path, f"{s3.url}/job")
    assert code == 1 and "MISSING: cannot write s3://" in lines["data"] and "denies access" in lines["data"]
    # Without --job it looks at this machine's disks.
    done = call_predictd("doctor", f"{s3.url}/job", cwd=tmp_path)
    assert done.returncode == 2 and "PATH has to be a directory of this machine" in done.stderr
