"""Job arrays of AWS Batch and Kubernetes: definitions against schemas, pages, and tasks as these platforms run them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

import page_programs
from aws_cloud import VARIABLES, aws_program, client, needs_aws_program, needs_emulator, problems
from commands import call_predictd
from desk import Asked, Desk, put_program
from folders import contents
from in_stores import copied, stored_contents, use
from made_folds import few_folds
from object_stores import clean
from pages import scripts
from places import PYTHONPATH, ROOT
from predictd.io.remote import as_path
from predictd.io.tensor.store import Tensor
from predictd.launcher import ArrayTask, array_task

yaml = pytest.importorskip("yaml")

CLOUD = ROOT / "cloud"
STACK = CLOUD / "batch" / "stack.yaml"
JOB = CLOUD / "kubernetes" / "job.yaml"
SCHEMAS = os.environ.get("PREDICTD_CLOUDS_PYTHON", "")
PAGES = {"batch": "docs/batch.md", "kubernetes": "docs/kubernetes.md"}


# -- which part ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "task"),
    [
        ({}, None),
        ({"AWS_BATCH_JOB_ARRAY_INDEX": "3", "AWS_BATCH_JOB_ARRAY_SIZE": "9"}, ArrayTask("AWS Batch", 3, 9)),
        ({"JOB_COMPLETION_INDEX": "0"}, ArrayTask("Kubernetes", 0, None)),
        ({"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_COUNT": "8"}, ArrayTask("Slurm", 7, 8)),
        ({"JOB_COMPLETION_INDEX": "first"}, None),
        ({"JOB_COMPLETION_INDEX": "1", "AWS_BATCH_JOB_ARRAY_INDEX": "2"}, ArrayTask("AWS Batch", 2, None)),
    ],
)
def test_the_task_of_an_array(variables, task):
    assert array_task(variables) == task


@pytest.mark.parametrize(
    ("variables", "code", "told"),
    [
        (
            {"JOB_COMPLETION_INDEX": "8", "FIRST_PART": "100"},
            1,
            "there is no part 108: parts are numbered from 0 to",
        ),
        (
            {"JOB_COMPLETION_INDEX": "1", "FIRST_PART": "-1"},
            2,
            "FIRST_PART=-1 in the environment is not the number",
        ),
        (
            {},
            2,
            "no scheduler has set AWS_BATCH_JOB_ARRAY_INDEX, JOB_COMPLETION_INDEX, SLURM_ARRAY_TASK_ID, and no job",
        ),
    ],
)
def test_a_part_that_no_task_has(variables, code, told, tensor_path, model_path, tmp_path, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    done = call_predictd("impute", model_path, tensor_path, "-o", "out", "--part", "array", cwd=tmp_path)
    assert done.returncode == code and told in done.stderr and not (tmp_path / "out").exists()


# -- definitions against schemas -------------------------------------------------------------------------------------


def filled(**values: object) -> dict[str, Any]:
    """The Job of Kubernetes as the page fills it in."""
    text = JOB.read_text()
    for name, value in values.items():
        text = "\n".join(line.replace(name, str(value), 1) for line in text.splitlines())
    job: dict[str, Any] = yaml.safe_load(text)
    return job


def properties(name: str) -> dict[str, Any]:
    """Of a resource of the stack."""
    found: dict[str, Any] = yaml.safe_load(STACK.read_text())["Resources"][name]["Properties"]
    return found


def as_request(value: Any) -> Any:
    """Properties as the API calls them; references, which CloudFormation resolves, as any text."""
    if isinstance(value, list):
        return [as_request(one) for one in value]
    if not isinstance(value, dict):
        return value
    if set(value) <= {"Ref", "Fn::Sub", "Fn::GetAtt"}:
        return "text"
    return {name[0].lower() + name[1:]: as_request(one) for name, one in value.items()}


@needs_emulator
@pytest.mark.parametrize(
    ("name", "operation"),
    [("Definition", "RegisterJobDefinition"), ("Queue", "CreateJobQueue"), ("Environment", "CreateComputeEnvironment")],
)  # fmt: skip
def test_the_api_takes_what_the_stack_makes(name, operation):
    sent = {"computeEnvironmentName": "any"} if name == "Environment" else {}
    sent |= as_request(properties(name))
    if name == "Environment":
        sent["computeResources"]["subnets"] = ["subnet-1"]
    assert problems("batch", operation, sent) == []
    sent["type" if "type" in sent else "priority"] = "any"
    assert len(problems("batch", operation, sent)) == 1


def test_cloudformation_takes_the_stack():
    lint_all = pytest.importorskip(
        "cfnlint.api", reason="cfn-lint, which moto brings, is not installed"
    ).lint_all

    def found(text: str) -> list[str]:
        return [str(match) for match in lint_all(text) if match.rule.id[0] in "EW"]

    text = STACK.read_text()
    assert found(text) == []
    assert len(found(text.replace("FARGATE_SPOT", "FARGATE_CHEAP").replace("VCPU, ", "CPU, "))) == 2


KUBERNETES = """
import json, sys
import kubernetes_validate
job = json.load(sys.stdin)
for version in ("1.29", kubernetes_validate.latest_version()):
    kubernetes_validate.validate(job, version, strict=True)
"""


@pytest.mark.skipif(not SCHEMAS, reason="PREDICTD_CLOUDS_PYTHON names no Python that has kubernetes-validate")
def test_kubernetes_takes_the_job():
    def validate(job: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [SCHEMAS, "-c", KUBERNETES], input=json.dumps(job), capture_output=True, text=True,
            check=False,
        )  # fmt: skip

    job = filled(NAME="cv", IMAGE="registry/predictd:1", PARTS=5, WORDS="cv gs://lab/T -o gs://lab/cv")
    done = validate(job)
    assert done.returncode == 0, done.stderr
    job["spec"]["podFailurePolicy"]["rules"][0]["onCondition"] = []
    assert "onCondition" in validate(job).stderr


def test_what_a_schema_does_not_say():
    """Kubernetes refuses these together with an index' own limit, or a policy, otherwise."""
    spec = filled(PARTS=2)["spec"]
    assert (spec["completionMode"], spec["template"]["spec"]["restartPolicy"]) == ("Indexed", "Never")
    assert "podReplacementPolicy" not in spec
    (container,) = spec["template"]["spec"]["containers"]
    rules = spec["podFailurePolicy"]["rules"]
    assert {rule["onExitCodes"]["containerName"] for rule in rules if "onExitCodes" in rule} == {
        container["name"]
    }
    assert container["resources"]["requests"] == container["resources"]["limits"]


# -- what is tried again ---------------------------------------------------------------------------------------------


def batch_tries_again(exit_code: int | None, status_reason: str = "", reason: str = "") -> bool:
    """What RetryStrategy's documentation says: the first rule counts whose patterns all match; where none does, yes."""
    told = {
        "OnExitCode": "" if exit_code is None else str(exit_code),
        "OnStatusReason": status_reason,
        "OnReason": reason,
    }
    for rule in properties("Definition")["RetryStrategy"]["EvaluateOnExit"]:
        patterns = {name: pattern for name, pattern in rule.items() if name != "Action"}
        if all(told[name] and fnmatchcase(told[name], pattern) for name, pattern in patterns.items()):
            return bool(rule["Action"] == "RETRY")
    return True


def kubernetes_tries_again(exit_code: int, *conditions: str) -> bool:
    """What the documentation of podFailurePolicy says: the first rule that matches counts."""
    for rule in filled()["spec"]["podFailurePolicy"]["rules"]:
        if "onPodConditions" in rule:
            matches = any(one["type"] in conditions for one in rule["onPodConditions"])
        else:
            listed = exit_code in rule["onExitCodes"]["values"]
            matches = listed == (rule["onExitCodes"]["operator"] == "In")
        if matches:
            return bool(rule["action"] == "Ignore")
    return True


def test_what_was_interrupted_is_tried_again_and_errors_are_not():
    exited = "Essential container in task exited"
    assert batch_tries_again(75, exited)
    assert batch_tries_again(None, "Host EC2 (instance i-0123) terminated.")
    assert batch_tries_again(137, "Your Spot Task was interrupted.")
    assert not batch_tries_again(1, exited) and not batch_tries_again(2, exited)
    assert not batch_tries_again(137, exited, "OutOfMemoryError: Container killed due to memory usage")
    assert not batch_tries_again(None, "Task failed to start", "CannotPullContainerError: not found")
    assert kubernetes_tries_again(75) and kubernetes_tries_again(137, "DisruptionTarget")
    assert not any(map(kubernetes_tries_again, (1, 2, 137)))


# -- pages ------------------------------------------------------------------------------------------------------------


def counted(asked: Asked) -> str:
    """Commands of predictd are read: they name buckets of others. What they do is below, on a store that is here."""
    page_programs.parse_predictd(asked.words)
    return "5\n" if "--parts" in asked.words else ""


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    page_programs.lay_out(tmp_path)
    return Desk(tmp_path / "bin", {**page_programs.CHECKED, "predictd": counted})


@needs_emulator
@needs_aws_program
def test_commands_of_batch_run_as_printed(aws, desk, tmp_path, monkeypatch):
    """By the AWS command line, which compares them with the API's description, on the emulator."""
    (tmp_path / "tracks").mkdir()
    (tmp_path / "expression.tsv").touch()
    # The emulator asks for what AWS has by itself.
    stack = tmp_path / STACK.relative_to(ROOT)
    role = "ServiceRole: {'Fn::GetAtt': [JobRole, Arn]}"
    stack.write_text(
        STACK.read_text().replace("      Type: MANAGED\n", f"      Type: MANAGED\n      {role}\n")
    )

    desk.programs = {**desk.programs, "aws": aws_program}
    for shell, text in scripts(ROOT / PAGES["batch"]):
        desk.run(shell, text, tmp_path, **VARIABLES, AWS_ENDPOINT_URL=aws)
    batch = client("batch", aws)
    ids = [
        job["jobId"]
        for job in batch.list_jobs(jobQueue="predictd", filters=[{"name": "JOB_NAME", "values": ["*"]}])[
            "jobSummaryList"
        ]
    ]
    jobs = {job["jobName"]: job for job in batch.describe_jobs(jobs=ids)["jobs"]}
    arrays = ["cv", "impute", "network"]
    assert list(jobs) == ["doctor", "ingest", *(f"{name}{end}" for name in arrays for end in ("", "-finish"))]
    monkeypatch.setenv("AWS_BATCH_JOB_ARRAY_INDEX", "0")
    for job in jobs.values():
        page_programs.parse_predictd(job["container"]["command"])
    for name in arrays:
        *words, option, which = jobs[name]["container"]["command"]
        assert jobs[name]["arrayProperties"]["size"] == 5 and (option, which) == ("--part", "array")
        assert jobs[f"{name}-finish"]["container"]["command"] == [*words, "--finish"]
        assert jobs[f"{name}-finish"]["dependsOn"] == [{"jobId": jobs[name]["jobId"]}]


def test_commands_of_kubernetes_run_as_printed(desk, tmp_path):
    applied, asked_for = [], []

    def kubectl(asked: Asked) -> str:
        if asked.words[:2] == ["apply", "-f"]:
            applied.append(yaml.safe_load((asked.cwd / asked.words[2]).read_text()))
        if asked.words[0] == "run":
            page_programs.parse_predictd(asked.words[asked.words.index("--") + 1 :])
            (pod,) = (json.loads(word) for word in asked.words if word[0] == "{")
            asked_for.append(pod["spec"]["serviceAccountName"])
        return "SuccessCriteriaMet Complete\n" if asked.words[:2] == ["get", "job"] else ""

    desk.programs = {**desk.programs, "kubectl": kubectl}
    for shell, text in scripts(ROOT / PAGES["kubernetes"]):
        desk.run(shell, text, tmp_path)
    image = "europe-west1-docker.pkg.dev/lab/lab/predictd"
    lines = [
        "cv gs://lab-tracks/T -o gs://lab-tracks/cv",
        "impute gs://lab-tracks/cv gs://lab-tracks/T -o gs://lab-tracks/imputed",
        "network infer gs://lab-tracks/expression.tsv -o gs://lab-tracks/net",
    ]
    assert applied == [filled(NAME=words.split()[0], IMAGE=image, PARTS=5, WORDS=words) for words in lines]
    assert applied[0]["metadata"]["name"] == "predictd-cv" and applied[0]["spec"]["completions"] == 5
    assert asked_for == [applied[0]["spec"]["template"]["spec"]["serviceAccountName"]]


# -- tasks, as the platforms run them --------------------------------------------------------------------------------

SLOW = "[train]\nrank = 4\nlambda = 0.1\n[train.als]\nstarts = 1\nmax_sweeps = 60\npatience = 60\ntolerance = 0\n"


def container(platform: str, words: str, index: int) -> tuple[list[str], dict[str, str]]:
    """What is started in the container of a task, behind tini, and the variables that the platform adds."""
    if platform == "batch":
        (entry,) = (
            line
            for line in (ROOT / "containers" / "Dockerfile").read_text().splitlines()
            if "ENTRYPOINT" in line
        )
        command = [*json.loads(entry.partition(" ")[2]), *words.split(), "--part", "array"]
        variables = {
            "AWS_BATCH_JOB_ARRAY_INDEX": str(index),
            "AWS_BATCH_JOB_ARRAY_SIZE": "3",
            "AWS_BATCH_JOB_ATTEMPT": "1",
        }
    else:
        (one,) = filled(WORDS=words)["spec"]["template"]["spec"]["containers"]
        command, variables = [*one["command"], *one["args"]], {"JOB_COMPLETION_INDEX": str(index)}
    assert command[:2] == ["tini", "--"]
    return command[2:], variables


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, tensor_path: Path) -> Path:
    """A folder with settings and folds, and what one command makes of them."""
    path = tmp_path_factory.mktemp("whole")
    few_folds(Tensor(tensor_path), path / "folds.json")
    (path / "slow.toml").write_text(SLOW)
    done = call_predictd(
        "cv", tensor_path, "-o", "cv", "--folds", "folds.json", "--config", "slow.toml", cwd=path
    )
    assert done.returncode == 0, done.stderr
    return path


@pytest.mark.parametrize("platform", PAGES)
def test_an_array_one_of_whose_tasks_is_interrupted(platform, s3, tensor_path, whole, tmp_path, monkeypatch):
    use(monkeypatch, s3.environment())
    room = as_path(f"{s3.url}/arrays/{platform}")
    copied(tensor_path, room / "T")
    (room / "folds.json").upload(whole / "folds.json")
    words = f"cv {room}/T -o {room}/cv --folds {room}/folds.json --config {whole}/slow.toml --workers 1"
    put_program(tmp_path / "bin" / "predictd", f"#!{sys.executable}\nfrom predictd.cli import main\nmain()\n")
    (tmp_path / "work").mkdir()

    command, variables = container(platform, words, 1)
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    own = {"PATH": path, "PYTHONPATH": PYTHONPATH, "PYTHONSAFEPATH": "1"}
    with subprocess.Popen(
        command,
        cwd=tmp_path / "work",
        env=clean() | s3.environment() | variables | own,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as task:
        assert task.stdout is not None
        while task.poll() is None and not any(name.startswith("models/") for name in (room / "cv").names()):
            time.sleep(0.2)
        task.send_signal(signal.SIGTERM)
        told = task.stdout.read()
    assert task.returncode == 75, told
    assert (batch_tries_again if platform == "batch" else kubernetes_tries_again)(task.returncode)
    # The next try; then what one command, without parts, makes of the rest.
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for more, told in ((["--part", "array"], "part 1 of 3 is made"), ([], "6 models; all measures")):
        done = call_predictd(*words.split(), *more, cwd=tmp_path)
        assert done.returncode == 0 and told in done.stdout, done.stderr
    assert stored_contents(room / "cv") == contents(whole / "cv")
    assert not list((tmp_path / "work").iterdir())
