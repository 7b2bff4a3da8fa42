"""The definition of a cluster of EMR, held against the API's own description and sent to an emulator by cluster.py."""

from __future__ import annotations

import copy
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import page_programs
from aws_cloud import VARIABLES, client, emulator, needs_emulator, problems
from desk import Asked, Desk
from pages import scripts
from places import ROOT
from quotas import requests
from spark_cluster import JAVA, environment, needs_spark

CLOUD = Path(__file__).resolve().parents[1] / "cloud"
SCRIPT = CLOUD / "emr" / "cluster.py"
FILLED = (CLOUD / "emr" / "cluster.toml").read_text().replace("subnet-CHANGE-ME", "subnet-1")
FILLED = FILLED.replace('"CHANGE-ME"', '"lab"')

pytestmark = needs_emulator


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("predictd_emr_cluster", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "cluster.toml"
    path.write_text(FILLED)
    return path


@pytest.fixture
def request_of(script: ModuleType, file: Path) -> dict[str, Any]:
    sent: dict[str, Any] = script.Definition(file).request
    return sent


# -- held against what botocore knows of the API ----------------------------------------------------------------------


def test_the_api_takes_request_and_step(script, file, request_of):
    assert problems("emr", "RunJobFlow", request_of) == []
    step = script.step(script.Definition(file), ["cv", "s3://lab/T", "-o", "s3://lab/cv"])
    assert problems("emr", "AddJobFlowSteps", {"JobFlowId": "j-1", "Steps": [step]}) == []


def fleet(sent: dict[str, Any], kind: str) -> dict[str, Any]:
    (found,) = [one for one in sent["Instances"]["InstanceFleets"] if one["InstanceFleetType"] == kind]
    return found


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda sent: fleet(sent, "TASK").update(InstanceFleetType="WORKER"), "WORKER is not one of"),
        (
            lambda sent: fleet(sent, "TASK")["LaunchSpecifications"]["SpotSpecification"].update(
                AllocationStrategy="cheapest"
            ),
            "cheapest is not one of",
        ),
        (lambda sent: sent.update(ScaleDown="NOW"), "ScaleDown"),
        (lambda sent: sent["AutoTerminationPolicy"].update(IdleTimeout="1h"), "IdleTimeout"),
    ],
)
def test_what_the_api_does_not_take_is_found(spoil, problem, request_of):
    spoiled = copy.deepcopy(request_of)
    spoil(spoiled)
    assert problem in " ".join(problems("emr", "RunJobFlow", spoiled))


def test_nothing_is_open_or_left_running(request_of):
    instances = request_of["Instances"]
    assert "Ec2KeyName" not in instances and instances["Ec2SubnetIds"] == ["subnet-1"]
    assert not any("SecurityGroup" in name for name in instances)
    assert (
        not instances["TerminationProtected"] and request_of["AutoTerminationPolicy"]["IdleTimeout"] <= 3600
    )
    assert "ManagedScalingPolicy" not in request_of
    security = json.loads((CLOUD / "emr" / "security.json").read_text())
    assert security["InstanceMetadataServiceConfiguration"]["MinimumInstanceMetadataServiceVersion"] == 2


# -- Spark's settings -------------------------------------------------------------------------------------------------


def test_executors_fill_fleets_that_encrypt_their_traffic(script, request_of, aws):
    spark = script.settings(request_of)
    cores = int(spark["spark.executor.cores"])
    assert int(spark["spark.executor.instances"]) * cores == 32
    gib = sum(
        int(spark[name].removesuffix("g"))
        for name in ("spark.executor.memory", "spark.executor.memoryOverhead")
    )
    described = client("ec2", aws)
    driver = fleet(request_of, "MASTER")["InstanceTypeConfigs"][0]["InstanceType"]
    (told,) = described.describe_instance_types(InstanceTypes=[driver])["InstanceTypes"]
    spot = fleet(request_of, "TASK")["TargetSpotCapacity"]
    on_demand = told["VCpuInfo"]["DefaultVCpus"] + fleet(request_of, "CORE")["TargetOnDemandCapacity"]
    # Spot machines may be replaced by machines on demand.
    assert requests(ROOT / "docs/emr.md") == [
        ("ec2", "L-34B43A08", spot),
        ("ec2", "L-1216C47A", on_demand + spot),
    ]
    text = " ".join((ROOT / "docs/emr.md").read_text().split())
    assert f"needs {spot} on spot machines" in text and f"and {on_demand} on demand" in text
    for kind in ("CORE", "TASK"):
        for one in fleet(request_of, kind)["InstanceTypeConfigs"]:
            (told,) = described.describe_instance_types(InstanceTypes=[one["InstanceType"]])["InstanceTypes"]
            assert told["VCpuInfo"]["DefaultVCpus"] == one["WeightedCapacity"]
            assert told["NetworkInfo"]["EncryptionInTransitSupported"]
            # YARN gives out three quarters of a node of 16 GiB, and a larger share of larger ones.
            assert gib * one["WeightedCapacity"] / cores <= 0.75 * told["MemoryInfo"]["SizeInMiB"] / 1024


APPLICATION = "from predictd.cli import main\nmain()\n"


@needs_spark
def test_predictd_runs_with_these_settings(script, request_of, tensor_path, tmp_path):
    import pyspark

    # On this machine: without YARN, and with this Python.
    settings = script.settings(request_of)
    assert not settings.keys() & JAVA.keys()
    settings |= {**JAVA, "spark.master": "local[2]", "spark.driver.host": "127.0.0.1"}
    settings |= dict.fromkeys(("spark.pyspark.python", "spark.pyspark.driver.python"), sys.executable)
    (tmp_path / "spark-defaults.conf").write_text("".join(f"{n} {v}\n" for n, v in settings.items()))
    (tmp_path / "application.py").write_text(APPLICATION)
    submit = Path(pyspark.__file__).parent / "bin" / "spark-submit"
    done = subprocess.run(
        [submit, tmp_path / "application.py", "info", tensor_path, "--verify", "--engine", "spark"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=environment(SPARK_CONF_DIR=str(tmp_path)),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    plain = subprocess.run(
        [sys.executable, "-m", "predictd", "info", tensor_path, "--verify"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=environment(),
        check=True,
    )
    assert done.stdout == plain.stdout


def test_hdinsight_runs_alike(script, request_of):
    """What predictd needs of Spark is the same on both."""
    with (CLOUD / "hdinsight" / "spark.toml").open("rb") as read:
        batch = script.tomllib.load(read)["batch"]
    emr, own = script.settings(request_of), batch["conf"]
    shared = emr.keys() & own.keys()
    assert {name: emr[name] for name in shared} == {name: own[name] for name in shared}
    for name in ("spark.dynamicAllocation.enabled", "spark.speculation", "spark.pyspark.python"):
        assert name in shared
    assert (str(batch["executorCores"]), batch["executorMemory"]) == (
        emr["spark.executor.cores"],
        emr["spark.executor.memory"],
    )


# -- a cluster's life, in an emulator ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def aws() -> Iterator[str]:
    """URL of an emulator of AWS on a port of its own."""
    with emulator() as url:
        yield url


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(aws: str, file: Path, tmp_path: Path) -> Run:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    own = {
        **inherited,
        **VARIABLES,
        "AWS_ENDPOINT_URL": aws,
        "HOME": str(tmp_path),
        "PYTHONSAFEPATH": "1",
    }

    def run(*words: object, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(SCRIPT), "--file", str(file), *map(str, words)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={name: value for name, value in {**own, **variables}.items() if value},
            check=False,
        )

    return run


def error(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("cluster.py: error: ")
    return done.stderr


def test_a_cluster_from_start_to_end(aws, run, request_of, tmp_path):
    from moto.emr.models import emr_backends

    client("s3", aws).create_bucket(Bucket="lab")
    emr = client("emr", aws)
    (tmp_path / "env.tar.gz").write_bytes(b"packed")
    (tmp_path / "spark_submit.py").touch()
    up = run("upload", "env.tar.gz")
    if (CLOUD / "spark_submit.py").exists():
        assert up.returncode == 0, up.stderr
        assert up.stdout.split() == [
            f"s3://lab/predictd/{n}" for n in ("env.tar.gz", "unpack.sh", "spark_submit.py")
        ]

    shown = run("show")
    assert json.loads(shown.stdout) == request_of
    created = run("create")
    assert created.returncode == 0, created.stderr
    cluster = created.stdout.strip()
    told = emr.describe_cluster(ClusterId=cluster)["Cluster"]
    assert (told["Name"], told["ReleaseLabel"]) == ("predictd", request_of["ReleaseLabel"])
    (action,) = emr.list_bootstrap_actions(ClusterId=cluster)["BootstrapActions"]
    assert action["ScriptPath"] == "s3://lab/predictd/unpack.sh"

    # No shell reads the words on their way.
    words = ["cv", "s3://lab/T", "-o", "s3://lab/a b; $(c)", "--workers", "32"]
    first = run("submit", cluster, *words).stdout.strip()
    second = run("submit", cluster, "info", "s3://lab/T").stdout.strip()
    steps = {one["Id"]: one for one in emr.list_steps(ClusterId=cluster)["Steps"]}
    assert steps[first]["Config"]["Args"] == ["spark-submit", "s3://lab/predictd/spark_submit.py", *words]
    assert steps[first]["ActionOnFailure"] == "CONTINUE"

    (backend,) = [region["us-east-1"] for _, region in emr_backends.items()]
    at_work = {one.id: one for one in backend.clusters[cluster].steps}
    at_work[first].state = "COMPLETED"
    waited = run("wait", cluster, first)
    assert (waited.returncode, waited.stderr) == (0, "")
    assert waited.stdout.splitlines()[-1] == f"{first} predictd cv: COMPLETED"
    at_work[second].state = "FAILED"
    assert f"{second} (predictd info): failed; predictd's own message is in s3://lab/predictd/logs/" in error(
        run("wait", cluster)
    )
    # Its words submitted again: what the first try came to does not count; that of other words does.
    again = run("submit", cluster, "info", "s3://lab/T").stdout.strip()
    at_work = {one.id: one for one in backend.clusters[cluster].steps}
    at_work[again].state = "COMPLETED"
    waited = run("wait", cluster)
    assert (waited.returncode, waited.stderr) == (0, "")
    assert f"{second} predictd info: FAILED" in waited.stdout
    assert f"{second} (predictd info): failed" in error(run("wait", cluster, second))
    at_work[first].state = "FAILED"
    assert f"{first} (predictd cv): failed" in error(run("wait", cluster))
    at_work[first].state = "COMPLETED"
    at_work[again].state = "FAILED"
    assert f"{again} (predictd info): failed" in error(run("wait", cluster))
    at_work[second].state = "RUNNING"

    ended = run("terminate", cluster)
    assert ended.stdout.strip() == "TERMINATED", ended.stderr
    assert f"{cluster} ends before its steps" in error(run("wait", cluster, second))


def test_errors_are_one_line(run, file, tmp_path):
    assert "j-NONE" in error(run("wait", "j-NONE"))
    assert "submit: give a command of predictd" in error(run("submit", "j-NONE"))
    assert "there is no file absent.tar.gz" in error(run("upload", "absent.tar.gz"))
    nobody = dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "")
    assert "credentials" in error(run("create", **nobody))
    assert "127.0.0.1:1/" in error(run("create", AWS_ENDPOINT_URL="http://127.0.0.1:1"))


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('"lab"', '"CHANGE-ME"', "bucket is still CHANGE-ME"),
        ("subnet-1", "subnet-CHANGE-ME", "subnets is still CHANGE-ME"),
        ("\n[account]", "\n[account", "cluster.toml: "),
        ('region = "us-east-1"', "", "region is missing"),
        ('"spark.executor.cores" = "4"', '"spark.executor.cores" = "64"', "an executor takes 64"),
        ('"spark.executor.cores" = "4"', '"spark.executor.cores" = "four"', "'four'"),
    ],
)
def test_a_file_that_cannot_be_is_told(old, new, problem, run, file):
    assert FILLED.count(old) == 1
    file.write_text(FILLED.replace(old, new))
    assert problem in error(run("show"))


def test_commands_run_as_printed(aws, tmp_path):
    """Those of the page, on the emulator; steps are said to have ended once they are waited for."""
    from moto.emr.models import emr_backends

    client("s3", aws).create_bucket(Bucket="lab-tracks")
    page_programs.lay_out(tmp_path)
    own = FILLED.replace('"lab"', '"lab-tracks"')
    (tmp_path / "cloud" / "emr" / "cluster.toml").write_text(own)

    def pack(asked: Asked) -> str:
        (tmp_path / asked.words[asked.words.index("-o") + 1]).write_bytes(b"packed")
        return ""

    def python(asked: Asked) -> str:
        if asked.words[1] == "wait":
            for one in emr_backends[next(iter(emr_backends))]["us-east-1"].clusters[asked.words[2]].steps:
                one.state = "COMPLETED"
        if asked.words[1] == "submit":
            page_programs.parse_predictd(asked.words[3:])
        done = subprocess.run(
            [sys.executable, *asked.words], cwd=asked.cwd, env=dict(asked.variables), capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    desk = Desk(tmp_path / "bin", {**page_programs.CHECKED, "python": python, "cloud/pack.sh": pack})
    variables = {**VARIABLES, "AWS_ENDPOINT_URL": aws}
    for shell, text in scripts(ROOT / "docs/emr.md"):
        desk.run(shell, text, tmp_path, **variables)
