"""The page of AWS Batch: what its functions send, on made-up answers, and what it has its reader ask for.

`test_arrays` runs its commands by the AWS command line, on an emulator.
"""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

import page_programs
from aws_cloud import needs_emulator, problems
from desk import Asked, Desk
from pages import functions, prose
from places import ROOT
from quotas import requests

yaml = pytest.importorskip("yaml")

PAGE = ROOT / "docs" / "batch.md"
STACK = ROOT / "cloud" / "batch" / "stack.yaml"
PAIRS = ["impute", "s3://lab/cv", "s3://lab/T", "-o", "s3://lab/o", "--pairs", "A:B,C:D"]
ODD = ["impute", "--targets", "G1,G2", 'a "b" \\c', "", "$x&", "x=1"]

pytestmark = needs_emulator


def submitted(line: str, folder: Path) -> list[dict[str, str]]:
    """The options of the jobs that a line submits after the page's functions."""

    def program(asked: Asked) -> str:
        assert asked.words[:2] == ["batch", "submit-job"]
        return f"job-{len(desk.taken)}\n"

    desk = Desk(folder / "bin", {"aws": program, "predictd": lambda asked: "5\n"})
    desk.run("bash", f"{functions(PAGE)}\n{line}", folder)
    jobs = [asked.words[2:] for asked in desk.taken if Path(asked.program).name == "aws"]
    return [dict(zip(words[::2], words[1::2], strict=True)) for words in jobs]


def overrides(job: dict[str, str]) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(job["--container-overrides"])
    sent = {"jobName": "any", "jobQueue": "any", "jobDefinition": "any", "containerOverrides": read}
    assert problems("batch", "SubmitJob", sent) == []
    return read


@pytest.mark.parametrize("words", [ODD, PAIRS])
def test_words_reach_the_containers_as_the_shell_has_them(words, tmp_path):
    array, finish = submitted(f"in_parts {shlex.join(words)}", tmp_path)
    assert array["--array-properties"] == "size=5" and array["--job-name"] == "impute"
    assert overrides(array) == {"command": [*words, "--part", "array"]}
    assert overrides(finish) == {"command": [*words, "--finish"]}
    assert finish["--job-name"] == "impute-finish" and finish["--depends-on"].startswith("jobId=job-")
    if words == PAIRS:
        page_programs.parse_predictd(overrides(finish)["command"])


def test_what_the_page_adds_to_jobs(tmp_path):
    more = [" ".join(found.split()) for found in re.findall(r"`(more=[^`]*)`", prose(PAGE))]
    assert len(more) == 3 and more.pop(1) == "more="
    submit = 'submit --job-name any --container-overrides "$(words info s3://lab/T)"'
    first, size, without = submitted("\n".join(f"{line}\n{submit}" for line in (*more, "more=")), tmp_path)
    command = {"command": ["info", "s3://lab/T"]}
    assert overrides(first) == command | {"environment": [{"name": "FIRST_PART", "value": "10000"}]}
    resources = {one["type"]: one["value"] for one in overrides(size)["resourceRequirements"]}
    # Fargate takes 8 to 30 GiB, in whole ones, with four CPUs.
    assert resources == {"VCPU": "4", "MEMORY": str(16 * 1024)}
    assert overrides(without) == command


def test_nothing_is_submitted_when_the_parts_are_not_known(tmp_path):
    def program(asked: Asked) -> str:
        raise ValueError(f"it is not to be called: {asked}")

    desk = Desk(tmp_path / "bin", {"aws": program, "predictd": program})
    desk.run("bash", f"{functions(PAGE)}\nin_parts cv s3://lab/T && echo next || echo stop", tmp_path)
    assert [Path(asked.program).name for asked in desk.taken] == ["predictd"]
    assert (desk.folder / "told").read_text().splitlines()[-1] == "stop"


def test_more_tasks_at_a_time_are_asked_for():
    resources = yaml.safe_load(STACK.read_text())["Resources"]
    properties = {name: resources[name]["Properties"] for name in ("Environment", "Definition")}
    asked_for = 64
    container = properties["Definition"]["ContainerProperties"]
    (cpus,) = (int(one["Value"]) for one in container["ResourceRequirements"] if one["Type"] == "VCPU")
    assert requests(PAGE) == [("fargate", "L-36FBB829", asked_for * cpus)]
    text = " ".join(prose(PAGE).split())
    # What an account may use before it has asked for more.
    assert f"{6 // cpus} tasks run" in text and f"e.g. for {asked_for} tasks" in text
    most = properties["Environment"]["ComputeResources"]["MaxvCpus"]
    assert f"up to {most} (`MaxvCpus`)" in text and most >= asked_for * cpus
    # 20 GB cost nothing.
    assert f"+ {container['EphemeralStorage']['SizeInGiB'] - 20} × price of a GB of ephemeral" in text
