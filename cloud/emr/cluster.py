#!/usr/bin/env python3
"""Start a cluster of Amazon EMR for predictd, give it work, and end it.

    cluster.py upload env.tar.gz                 programs into the bucket, where the nodes take them from
    cluster.py create                            prints the cluster's id
    cluster.py submit ID cv s3://B/T -o s3://B/cv    the words of `predictd`; prints the step's id
    cluster.py wait ID [STEP]                    until its steps, or this one, have ended
    cluster.py terminate ID
    cluster.py show                              what create sends to RunJobFlow, as JSON

Everything about the cluster is in cluster.toml, beside this file or named with --file. Credentials are those that the
AWS command line uses. It needs boto3: pip install boto3.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

try:
    import tomllib
except ModuleNotFoundError:
    import tomli as tomllib

HERE = Path(__file__).resolve().parent
# Besides the packed environment.
PROGRAMS = (HERE.parent / "unpack.sh", HERE.parent / "spark_submit.py")
UNFILLED = "CHANGE-ME"
ENDED = ("COMPLETED", "CANCELLED", "FAILED", "INTERRUPTED")


class Problem(Exception):
    """What ends a command, told in one line."""


class Definition:
    """A cluster as a file describes it.

    Parameters
    ----------
    path
        A file like cluster.toml.

    Attributes
    ----------
    region, bucket
        Where the cluster and its files are.
    files
        URL of the programs' folder.
    request
        Parameters of RunJobFlow, complete.
    """

    def __init__(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                read = tomllib.load(file)
        except OSError as err:
            raise Problem(f"{path}: {err.strerror}") from err
        except tomllib.TOMLDecodeError as err:
            raise Problem(f"{path}: {err}") from err
        try:
            account, request = read["account"], read["request"]
            self.region, self.bucket = account["region"], account["bucket"]
            self.prefix, subnets = account["prefix"].strip("/"), account["subnets"]
            request["Instances"]["Ec2SubnetIds"] = subnets
            spark = settings(request)
            workers = units(request)
            cores = int(spark["spark.executor.cores"])
        except KeyError as err:
            raise Problem(f"{path}: {err.args[0]} is missing") from err
        except (AttributeError, TypeError, ValueError) as err:
            raise Problem(f"{path}: {err}") from err
        for name, value in (("bucket", self.bucket), ("subnets", str(subnets))):
            if UNFILLED in value:
                raise Problem(f"{path}: {name} is still {UNFILLED}; give your own")
        if workers < cores:
            raise Problem(
                f"{path}: the fleets CORE and TASK have {workers} vCPUs together, an executor takes {cores} "
                "(spark.executor.cores): raise their capacities"
            )
        self.files = f"s3://{self.bucket}/{self.prefix}"
        spark["spark.executor.instances"] = str(workers // cores)
        self.request: dict[str, Any] = filled(
            request, {"{files}": self.files, "{logs}": f"{self.files}/logs/"}
        )


def settings(request: dict[str, Any]) -> dict[str, str]:
    """Spark's own settings in a request, which may be changed."""
    for configuration in request["Configurations"]:
        if configuration["Classification"] == "spark-defaults":
            properties: dict[str, str] = configuration["Properties"]
            return properties
    raise KeyError("a configuration of spark-defaults")


def units(request: dict[str, Any]) -> int:
    """VCPUs that executors run on."""
    return sum(
        fleet.get("TargetOnDemandCapacity", 0) + fleet.get("TargetSpotCapacity", 0)
        for fleet in request["Instances"]["InstanceFleets"]
        if fleet["InstanceFleetType"] != "MASTER"
    )


def filled(value: Any, places: dict[str, str]) -> Any:
    """A copy in which the names of places have become URLs."""
    if isinstance(value, dict):
        return {name: filled(part, places) for name, part in value.items()}
    if isinstance(value, list):
        return [filled(part, places) for part in value]
    if isinstance(value, str):
        for name, url in places.items():
            value = value.replace(name, url)
    return value


def step(definition: Definition, words: Sequence[str]) -> dict[str, Any]:
    """A step that runs predictd with these words: a list from here to the program, which no shell reads."""
    return {
        "Name": f"predictd {words[0]}",
        "ActionOnFailure": "CONTINUE",
        "HadoopJarStep": {
            "Jar": "command-runner.jar",
            "Args": ["spark-submit", f"{definition.files}/spark_submit.py", *words],
        },
    }


def upload(definition: Definition, archive: Path) -> None:
    for path in (archive, *PROGRAMS):
        if not path.is_file():
            raise Problem(f"there is no file {path}")
    store = client("s3", definition)
    for path, name in ((archive, "env.tar.gz"), *((path, path.name) for path in PROGRAMS)):
        store.upload_file(str(path), definition.bucket, f"{definition.prefix}/{name}")
        print(f"{definition.files}/{name}")


def create(definition: Definition) -> None:
    print(client("emr", definition).run_job_flow(**definition.request)["JobFlowId"])


def submit(definition: Definition, cluster: str, words: Sequence[str]) -> None:
    steps = [step(definition, words)]
    print(client("emr", definition).add_job_flow_steps(JobFlowId=cluster, Steps=steps)["StepIds"][0])


def wait(definition: Definition, cluster: str, wanted: str | None, seconds: float) -> None:
    """Tell each change of state, until nothing is left to wait for; Problem if a step, or the cluster, has failed.

    A failed step whose words were submitted again is no failure.
    """
    emr = client("emr", definition)
    told: dict[str, str] = {}
    while True:
        # First the cluster: it may end after a look at its steps.
        status = emr.describe_cluster(ClusterId=cluster)["Cluster"]["Status"]
        pages = emr.get_paginator("list_steps").paginate(ClusterId=cluster)
        steps = [one for page in pages for one in page["Steps"] if wanted in (None, one["Id"])]
        if wanted is not None and not steps:
            raise Problem(f"{cluster} has no step {wanted}")
        for one in [{"Id": cluster, "Name": "cluster", "Status": status}, *steps]:
            if told.get(one["Id"]) != (state := one["Status"]["State"]):
                told[one["Id"]] = state
                print(f"{one['Id']} {one['Name']}: {state}", flush=True)
        bad = [one for one in steps if one["Status"]["State"] in ENDED[1:] and not resubmitted(one, steps)]
        if bad:
            raise Problem(f"{bad[0]['Id']} ({bad[0]['Name']}): {why_step(bad[0], definition, cluster)}")
        if all(one["Status"]["State"] in ENDED for one in steps):
            return
        if status["State"].startswith("TERMINAT"):
            reason = status.get("StateChangeReason", {}).get("Message") or "no reason given"
            raise Problem(
                f"{cluster} ends before its steps ({reason}); logs: {definition.files}/logs/{cluster}/"
            )
        time.sleep(seconds)


def resubmitted(one: dict[str, Any], steps: Sequence[dict[str, Any]]) -> bool:
    """Whether the same words were submitted after a step: what it came to does not matter any more."""
    return any(
        other["Config"]["Args"] == one["Config"]["Args"] and submitted(other) > submitted(one)
        for other in steps
    )


def submitted(one: dict[str, Any]) -> Any:
    return one["Status"]["Timeline"]["CreationDateTime"]


def why_step(one: dict[str, Any], definition: Definition, cluster: str) -> str:
    details = one["Status"].get("FailureDetails", {})
    reason = details.get("Message") or details.get("Reason") or one["Status"]["State"].lower()
    log = details.get("LogFile") or f"{definition.files}/logs/{cluster}/steps/{one['Id']}/stderr.gz"
    return f"{reason}; predictd's own message is in {log}; the same words submitted again go on from there"


def terminate(definition: Definition, cluster: str) -> None:
    emr = client("emr", definition)
    emr.terminate_job_flows(JobFlowIds=[cluster])
    print(emr.describe_cluster(ClusterId=cluster)["Cluster"]["Status"]["State"])


def client(service: str, definition: Definition) -> Any:
    try:
        import boto3
    except ModuleNotFoundError as err:
        raise Problem("boto3 is not installed: pip install boto3") from err
    return boto3.client(service, region_name=definition.region)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--file", type=Path, default=HERE / "cluster.toml", help="default: %(default)s")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("show")
    commands.add_parser("create")
    commands.add_parser("upload").add_argument("archive", type=Path, help="what pack.sh has made")
    commands.add_parser("terminate").add_argument("cluster")
    waiting = commands.add_parser("wait")
    waiting.add_argument("cluster")
    waiting.add_argument("step", nargs="?")
    waiting.add_argument("--every", type=float, default=15, metavar="SECONDS")
    submitting = commands.add_parser("submit")
    submitting.add_argument("cluster")
    submitting.add_argument("words", nargs=argparse.REMAINDER, help="predictd's command and its options")
    return parser


def run(given: argparse.Namespace) -> None:
    definition = Definition(given.file)
    match given.command:
        case "show":
            print(json.dumps(definition.request, indent=4))
        case "upload":
            upload(definition, given.archive)
        case "create":
            create(definition)
        case "submit":
            if not given.words:
                raise Problem("submit: give a command of predictd after the cluster's id")
            submit(definition, given.cluster, given.words)
        case "wait":
            wait(definition, given.cluster, given.step, given.every)
        case "terminate":
            terminate(definition, given.cluster)


def main() -> None:
    given = arguments().parse_args()
    try:
        run(given)
    except Problem as err:
        stop(str(err))
    except Exception as err:
        # boto3 raises classes of its own making; all of them come from these two modules.
        if type(err).__module__.partition(".")[0] not in ("boto3", "botocore"):
            raise
        stop(" ".join(str(err).split()))


def stop(message: str) -> NoReturn:
    print(f"cluster.py: error: {message}", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    main()
