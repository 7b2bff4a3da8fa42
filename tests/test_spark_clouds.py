"""EMR Serverless and Dataproc: definitions against what the clouds' clients know of them, and the pages' commands."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

import page_programs
from aws_cloud import VARIABLES, aws_program, client, needs_aws_program, needs_emulator, problems
from desk import Asked, Desk, put_shim
from pages import functions, prose, scripts
from places import ROOT
from predictd.config import tomllib
from quotas import requests

yaml = pytest.importorskip("yaml")

CLOUD = ROOT / "cloud"
APPLICATION = CLOUD / "emr-serverless" / "application.json"
CLUSTER = CLOUD / "dataproc" / "cluster.yaml"
PAGE = "docs/emr-serverless.md"
SEVEN_DAYS = 10_080  # Minutes.
SCHEMAS = os.environ.get("PREDICTD_CLOUDS_PYTHON", "")


def application() -> dict[str, Any]:
    read: dict[str, Any] = json.loads(APPLICATION.read_text())
    return read


def serverless() -> dict[str, str]:
    (defaults,) = application()["runtimeConfiguration"]
    settings: dict[str, str] = defaults["properties"]
    return settings


def dataproc() -> dict[str, str]:
    properties = yaml.safe_load(CLUSTER.read_text())["config"]["softwareConfig"]["properties"]
    return {name.removeprefix("spark:"): value for name, value in properties.items()}


# -- definitions ------------------------------------------------------------------------------------------------------


@needs_emulator
def test_the_api_takes_the_application():
    # The token is added by whoever sends it.
    sent = {"clientToken": "any", **application()}
    assert problems("emr-serverless", "CreateApplication", sent) == []
    sent["architecture"], sent["autoStopConfiguration"]["idle"] = "X86", 5
    found = " ".join(problems("emr-serverless", "CreateApplication", sent))
    assert "X86 is not one of" in found and '"idle"' in found


DATAPROC = """
import json, sys
from google.cloud.dataproc_v1 import Cluster
Cluster.from_json(sys.stdin.read(), ignore_unknown_fields=False)
"""


@pytest.mark.skipif(
    not SCHEMAS, reason="PREDICTD_CLOUDS_PYTHON names no Python that has google-cloud-dataproc"
)
@pytest.mark.parametrize("spoilt", ["", "SPOTTY", "instances"])
def test_google_takes_the_cluster(spoilt):
    cluster = yaml.safe_load(CLUSTER.read_text())
    if spoilt == "SPOTTY":
        cluster["config"]["secondaryWorkerConfig"]["preemptibility"] = spoilt
    elif spoilt:
        cluster["config"]["workerConfig"][spoilt] = 2
    done = subprocess.run(
        [SCHEMAS, "-c", DATAPROC],
        input=json.dumps(cluster),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) == (not spoilt) and spoilt in done.stderr, done.stderr


@pytest.mark.parametrize("settings", [serverless, dataproc])
def test_what_predictd_needs_of_spark_is_as_on_emr(settings):
    """Where they ran in a real Spark."""
    defaults = tomllib.loads((CLOUD / "emr" / "cluster.toml").read_text())["request"]["Configurations"]
    (emr,) = (one["Properties"] for one in defaults if one["Classification"] == "spark-defaults")
    own = settings()
    apart = {"spark.pyspark.python", "spark.submit.deployMode"}
    shared = (emr.keys() & own.keys()) - apart
    assert {name: emr[name] for name in shared} == {name: own[name] for name in shared}
    assert {"spark.dynamicAllocation.enabled", "spark.speculation", "spark.executor.memoryOverhead"} <= shared
    assert all(isinstance(value, str) for value in own.values())


def test_executors_fit_where_they_run():
    def number(text: str) -> int:
        return int(text.rstrip("g vCPUGB"))

    own, most = serverless(), application()["maximumCapacity"]
    executors, cores = int(own["spark.executor.instances"]), int(own["spark.executor.cores"])
    page = prose(ROOT / PAGE)
    memory = [
        number(own[f"spark.{kind}.memory"]) + number(own[f"spark.{kind}.memoryOverhead"])
        for kind in ("executor", "driver")
    ]
    # A worker of 4 vCPUs has 8 to 30 GB.
    assert cores == int(own["spark.driver.cores"]) == 4 and all(8 <= gb <= 30 for gb in memory)
    assert executors * cores + 4 == number(most["cpu"]) and executors * memory[0] + memory[1] == number(
        most["memory"]
    )
    # What an account may use before it has asked for more.
    assert number(most["cpu"]) == 16 and f"{most['cpu']}s and {most['memory']} together" in page
    assert re.findall(r"--workers (\d+)", page) == [str(executors * cores), "32"]
    # What the page has changed when there is more.
    assert "`spark.executor.instances` to 8" in page
    assert f"`maximumCapacity` to {8 * cores + 4} vCPU and {8 * memory[0] + memory[1]} GB" in page
    config = yaml.safe_load(CLUSTER.read_text())["config"]
    nodes = sum(config[kind]["numInstances"] for kind in ("workerConfig", "secondaryWorkerConfig"))
    assert int(dataproc()["spark.executor.instances"]) == nodes - 1


# -- pages ------------------------------------------------------------------------------------------------------------


def packed(asked: Asked) -> str:
    (asked.cwd / asked.words[asked.words.index("-o") + 1]).write_bytes(b"packed")
    return ""


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    page_programs.lay_out(tmp_path)
    (tmp_path / "tracks").mkdir()
    return Desk(tmp_path / "bin", {**page_programs.CHECKED, "cloud/pack.sh": packed})


@needs_emulator
@needs_aws_program
def test_commands_of_emr_serverless_run_as_printed(aws, desk, tmp_path):
    started: list[dict[str, Any]] = []
    waited: list[Asked] = []

    def program(asked: Asked) -> str:
        assert asked.variables["AWS_REGION"] == asked.variables["AWS_DEFAULT_REGION"] == "us-east-1"
        if "start-job-run" in asked.words:
            told = aws_program(asked)
            application = asked.words[asked.words.index("--application-id") + 1]
            run = client("emr-serverless", aws).get_job_run(applicationId=application, jobRunId=told.strip())[
                "jobRun"
            ]
            started.append(run["jobDriver"]["sparkSubmit"])
            assert run["executionTimeoutMinutes"] == SEVEN_DAYS
            return told
        if "get-job-run" in asked.words:
            # The emulator's jobs have ended at once.
            told = aws_program(asked)
            return told if waited else "RUNNING\n"
        if "delete-application" in asked.words:
            client("emr-serverless", aws).stop_application(applicationId=asked.words[-1])
        return aws_program(asked)

    def sleep(asked: Asked) -> str:
        waited.append(asked)
        assert len(waited) == 1, "a job that has ended is waited for"
        return ""

    put_shim(desk.folder / "sleep")
    desk.programs = {**desk.programs, "aws": program, "sleep": sleep}
    # The page names the region, whatever is configured.
    elsewhere = {**VARIABLES, "AWS_DEFAULT_REGION": "eu-west-1", "AWS_ENDPOINT_URL": aws}
    for shell, text in scripts(ROOT / PAGE):
        desk.run(shell, text, tmp_path, **elsewhere)
    assert len(waited) == 1
    assert [run["entryPointArguments"][0] for run in started] == ["doctor", "ingest", "cv", "impute"]
    for run in started:
        page_programs.parse_predictd(run["entryPointArguments"])
    stored = client("s3", aws)
    (place,) = {run["entryPoint"] for run in started}
    for url in (place, serverless()["spark.archives"].replace("CHANGE-ME", "lab-tracks").partition("#")[0]):
        bucket, _, key = url.removeprefix("s3://").partition("/")
        stored.head_object(Bucket=bucket, Key=key)


ENDS = [
    (["SUBMITTED", "SCHEDULED", "RUNNING", "SUCCESS"], 3, True),
    (["QUEUED", "FAILED"], 1, False),
    (["CANCELLING", "CANCELLED"], 1, False),
    (["RUNNING"], 1, False),  # `aws` fails then.
]


@needs_emulator
@pytest.mark.parametrize(("states", "waits", "good"), ENDS)
def test_a_job_of_emr_serverless_is_waited_for(states, waits, good, tmp_path):
    """On made-up answers; words reach it as the shell has them."""
    left = iter(states)
    sent: list[dict[str, Any]] = []

    def program(asked: Asked) -> str:
        if "start-job-run" in asked.words:
            sent.append(json.loads(asked.words[asked.words.index("--job-driver") + 1]))
            return "job\n"
        return f"{next(left)}\n"

    desk = Desk(tmp_path / "bin", {"aws": program, "sleep": lambda asked: ""})
    words = ["impute", "--pairs", "A:B,C:D", "--targets", "G1,G2", 'a "b" \\c', "", "$x&"]
    desk.run(
        "sh",
        f"{functions(ROOT / PAGE)}\nsubmit {shlex.join(words)} && echo next || echo stop",
        tmp_path,
        A="a",
        R="r",
    )
    (driver,) = sent
    assert driver["sparkSubmit"]["entryPointArguments"] == words
    request = {"applicationId": "a", "clientToken": "any", "executionRoleArn": "arn:aws:iam::1:role/r"}
    assert problems("emr-serverless", "StartJobRun", {**request, "jobDriver": driver}) == []
    told = (desk.folder / "told").read_text().splitlines()
    assert told[-1] == ("next" if good else "stop") and next(left, None) is None
    assert (states[-1] in told) == (states[-1] != "RUNNING")
    assert sum(Path(one.program).name == "sleep" for one in desk.taken) == waits


@needs_emulator
def test_more_workers_are_asked_for():
    assert requests(ROOT / PAGE) == [("emr-serverless", "L-D05C8A75", 8 * 4 + 4)]


def test_commands_of_dataproc_run_as_printed(desk, tmp_path):
    submitted = []

    def gcloud(asked: Asked) -> str:
        if "--source" in asked.words:
            made = (asked.cwd / asked.words[asked.words.index("--source") + 1]).read_text()
            assert "gs://lab-tracks/predictd/env.tar.gz#env" in made
        if "--" in asked.words:
            submitted.append(asked.words[asked.words.index("--") + 1 :])
            page_programs.parse_predictd(submitted[-1])
        return page_programs.words_only(asked)

    desk.programs = {**desk.programs, "gcloud": gcloud}
    for shell, text in scripts(ROOT / "docs/dataproc.md"):
        desk.run(shell, text, tmp_path)
    assert [words[0] for words in submitted] == ["doctor", "ingest", "cv", "impute"]
