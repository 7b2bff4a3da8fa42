"""Amazon SageMaker: definitions against schemas, the page's commands, and hosts as SageMaker runs them."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import page_programs
from aws_cloud import VARIABLES, aws_program, client, needs_aws_program, needs_emulator, problems
from commands import call_predictd
from desk import Asked, Desk, put_program, put_shim
from folders import contents, names
from in_stores import stored_contents, use
from object_stores import clean
from pages import functions, in_prose, scripts
from places import PYTHONPATH, ROOT
from predictd import launcher
from predictd.io.remote import as_path
from sagemaker_hosts import give_host

CLOUD = ROOT / "cloud" / "sagemaker"
PAGE = "docs/sagemaker.md"
FIVE_DAYS = 432_000
WORDS = {
    "Words": "cv s3://lab/T -o s3://lab/cv",
    "Infer": "s3://lab/expression.tsv --trees 50",
    "Network": "s3://lab/net",
}


@pytest.fixture(autouse=True)
def no_array(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without variables of other platforms that this machine may have."""
    for name in ("FIRST_PART", *launcher.ARRAY_VARIABLES):
        monkeypatch.delenv(name, raising=False)


# -- hosts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "hosts", "first", "told"),
    [
        (0, 2, "", "parts 0,2 of 3 are made"),
        (1, 2, "", "part 1 of 3 is made"),
        (3, 4, "", "none of the 3 parts is left for this host"),
        (0, 4, "2", "part 2 of 3 is made"),
    ],
)
def test_hosts_divide_the_parts(host, hosts, first, told, model_path, tensor_path, tmp_path, monkeypatch):
    for name, value in (*give_host(tmp_path / "ml", host, hosts).items(), ("FIRST_PART", first)):
        monkeypatch.setenv(name, value)
    words = ("impute", model_path, tensor_path, "-o", "out", "--pairs", "C1:A1,C1:A2,C2:A1")
    done = call_predictd(*words, "--part", "array", cwd=tmp_path)
    assert done.returncode == 0 and told in done.stdout, done.stderr


def test_the_one_host_of_a_processing_job_makes_all(tmp_path):
    variables = give_host(tmp_path, 0, 1, "config")
    task = launcher.ArrayTask("Amazon SageMaker", 0, 1, divides=True)
    assert launcher.array_task(variables) == task and launcher.platform(variables) == "Amazon SageMaker"
    (tmp_path / "config" / "resourceconfig.json").write_text("{")
    assert launcher.array_task(variables) is None


@pytest.mark.parametrize(
    ("config", "place"), [("input/config", "output/failure"), ("config", "output/message")]
)
def test_reasons_are_left_where_sagemaker_looks(config, place, tmp_path, monkeypatch):
    for name, value in give_host(tmp_path, 0, 1, config).items():
        monkeypatch.setenv(name, value)
    reason = tmp_path / place
    assert call_predictd("config", cwd=tmp_path).returncode == 0 and not reason.exists()
    assert call_predictd("info", "nothing", cwd=tmp_path).returncode == 1
    assert reason.read_text() == "nothing is not a directory; make one with 'predictd ingest'"
    assert call_predictd("cv", "T", "--part", "first", cwd=tmp_path).returncode == 2
    assert "'first' is not a valid integer" in reason.read_text()
    launcher.report_failure("µ" * 1000)
    assert reason.read_text() == "µ" * 512
    # As root alone may write there.
    reason.unlink()
    reason.mkdir()
    assert call_predictd("info", "nothing", cwd=tmp_path).returncode == 1


# -- definitions against schemas -------------------------------------------------------------------------------------


def pipeline(name: str, **given: object) -> dict[str, dict[str, Any]]:
    """Requests of the steps of a pipeline, by their names, with its parameters."""
    read = json.loads((CLOUD / f"{name}.json").read_text())
    values = {one["Name"]: one.get("DefaultValue") for one in read["Parameters"]} | given
    assert set(given) <= set(values) and None not in values.values()

    def fill(value: Any) -> Any:
        if isinstance(value, list):
            return [fill(one) for one in value]
        if not isinstance(value, dict):
            return value
        if set(value) == {"Std:Join"}:
            return value["Std:Join"]["On"].join(fill(value["Std:Join"]["Values"]))
        if set(value) == {"Get"}:
            return values[value["Get"].removeprefix("Parameters.")]
        return {key: fill(one) for key, one in value.items()}

    before: list[str] = []
    for step in read["Steps"]:
        assert step.get("DependsOn", []) == before[-1:]
        before.append(step["Name"])
    return {step["Name"]: {"Type": step["Type"], **fill(step["Arguments"])} for step in read["Steps"]}


def parameters(name: str) -> dict[str, str]:
    known = {one["Name"] for one in json.loads((CLOUD / f"{name}.json").read_text())["Parameters"]}
    return {key: words for key, words in WORDS.items() if key in known}


def command(step: dict[str, Any]) -> list[str]:
    """What a step's container is started with."""
    told = step.get("AlgorithmSpecification") or step["AppSpecification"]
    return [*told["ContainerEntrypoint"], *told["ContainerArguments"]]


def predictd_words(step: dict[str, Any]) -> list[str]:
    """The words of predictd, as the step's shell makes them."""
    *shell, script = command(step)
    assert shell == ["sh", "-c"] and script.startswith("exec predictd ")
    asked = [*shell, script.replace("exec predictd", "printf '%s\\n'", 1)]
    return subprocess.run(
        asked, env=step.get("Environment", {}), capture_output=True, text=True, check=True
    ).stdout.split("\n")[:-1]


@needs_emulator
@pytest.mark.parametrize("name", ["parts", "network"])
def test_the_api_takes_the_steps(name):
    for step in pipeline(name, **parameters(name)).values():
        kind = step.pop("Type")
        if kind == "Training":
            limits = step["StoppingCondition"]
            assert limits["MaxWaitTimeInSeconds"] >= limits["MaxRuntimeInSeconds"] == FIVE_DAYS
        sent = {f"{kind}JobName": "any", **step, "RoleArn": "arn:aws:iam::123456789012:role/any"}
        assert problems("sagemaker", f"Create{kind}Job", sent) == []
        assert all(len(word) <= 256 for word in (*command(step), *step.get("Environment", {}).values()))
        place = step["ResourceConfig"] if kind == "Training" else step["ProcessingResources"]["ClusterConfig"]
        place["InstanceType"], place["Disk"] = "m5.xlarge", 1
        found = " ".join(problems("sagemaker", f"Create{kind}Job", sent))
        assert "m5.xlarge is not one of" in found and '"Disk"' in found


def test_steps_are_commands_of_predictd(tmp_path, monkeypatch):
    for name, value in give_host(tmp_path, 0, 2).items():
        monkeypatch.setenv(name, value)
    made = {
        name: {step: predictd_words(asked) for step, asked in pipeline(name, **parameters(name)).items()}
        for name in ("parts", "network")
    }
    for words in (words for steps in made.values() for words in steps.values()):
        page_programs.parse_predictd(words)
    assert made["parts"] == {
        "parts": [*WORDS["Words"].split(), "--part", "array"],
        "finish": [*WORDS["Words"].split(), "--finish"],
    }
    assert [words[:2] for words in made["network"].values()] == [
        ["network", step] for step in ("infer", "infer", "filter", "stats")
    ]


def test_the_pipelines_differ_in_their_commands_alone():
    def bare(name: str) -> list[dict[str, Any]]:
        steps = list(pipeline(name, **parameters(name)).values())
        for step in steps:
            for own in ("Environment", "ProcessingInputs", "ProcessingOutputConfig"):
                step.pop(own, None)
            (step.get("AlgorithmSpecification") or step["AppSpecification"])["ContainerArguments"] = []
        return steps

    one, two = bare("parts"), bare("network")
    assert two == [*one, one[1], one[1]]


def test_cloudformation_takes_the_stack():
    lint_all = pytest.importorskip(
        "cfnlint.api", reason="cfn-lint, which moto brings, is not installed"
    ).lint_all
    found = lint_all((CLOUD / "stack.yaml").read_text())
    assert [str(match) for match in found if match.rule.id[0] in "EW"] == []


# -- the page ---------------------------------------------------------------------------------------------------------


def answer(line: str, states: list[str], folder: Path) -> tuple[list[Asked], str]:
    """Run a line after the page's functions; `aws` fails when no state is left. The commands, and what is printed."""
    left = iter(states)

    def program(asked: Asked) -> str:
        query = asked.words[asked.words.index("--query") + 1] if "--query" in asked.words else ""
        if query.endswith("Status"):
            return f"{next(left)}\n"
        return {"PipelineExecutionArn": "the:arn\n", "[ExitMessage,FailureReason]": "it has\tfailed\n"}.get(
            query, ""
        )

    desk = Desk(folder / "bin", {"aws": program, "sleep": lambda asked: ""})
    desk.run(
        "bash",
        f"{functions(ROOT / PAGE)}\n{line} && echo went on || echo stayed",
        folder,
        I="image",
        R="role",
    )
    assert next(left, None) is None
    return desk.taken, (desk.folder / "told").read_text()


def given(asked: Asked, option: str) -> Any:
    return json.loads(asked.words[asked.words.index(option) + 1])


ENDS = [
    (["InProgress", "Stopping", "Completed"], True),
    (["InProgress", "Failed"], False),
    (["Stopped"], False),
    (["None"], False),
    (["InProgress"], False),  # `aws` fails then.
]


@pytest.mark.parametrize(("states", "good"), ENDS)
def test_a_job_is_waited_for(states, good, tmp_path):
    words = ["network", "filter", "s3://lab/net", "--pairs", "A:B,C:D", 'a "b" \\c', "", "$x&", "H3=log1p"]
    (asked, *more), told = answer(f"one {shlex.join(words)}", states, tmp_path)
    assert asked.words[:2] == ["sagemaker", "create-processing-job"]
    assert given(asked, "--app-specification") == {"ImageUri": "image", "ContainerArguments": words}
    assert asked.words[asked.words.index("--stopping-condition") + 1] == f"MaxRuntimeInSeconds={FIVE_DAYS}"
    assert told.splitlines()[-1] == ("went on" if good else "stayed")
    assert ("it has\tfailed" in told) != good
    waits = sum(state in ("InProgress", "Stopping") for state in states)
    assert sum(Path(one.program).name == "sleep" for one in more) == waits


@pytest.mark.parametrize(
    ("states", "good"),
    [
        (["Executing", "Succeeded"], True),
        (["Executing", "Failed"], False),
        (["Stopping", "Stopped"], False),
        (["CompletedWithFailures"], False),
        (["Executing"], False),
    ],
)
def test_a_pipeline_is_waited_for(states, good, tmp_path):
    words = 'cv T --pairs A:B,C:D --transform H3=log1p "a\\b"'
    (asked, *_), told = answer(f"run any {shlex.quote(f'Words={words}')} Hosts=8", states, tmp_path)
    assert asked.words[:4] == ["sagemaker", "start-pipeline-execution", "--pipeline-name", "any"]
    assert given(asked, "--pipeline-parameters") == [
        {"Name": "Words", "Value": words},
        {"Name": "Hosts", "Value": "8"},
    ]
    assert told.splitlines()[-1] == ("went on" if good else "stayed")
    assert states[-1] == "Executing" or states[-1] in told.splitlines()


def test_nothing_is_waited_for_that_was_not_started(tmp_path):
    def program(asked: Asked) -> str:
        raise OSError("ExpiredToken")

    for name, line in (("job", "one doctor --job s3://lab"), ("pipeline", "run any Hosts=8")):
        desk = Desk(tmp_path / name, {"aws": program})
        desk.run("bash", f"{functions(ROOT / PAGE)}\nI=image R=role\n{line} && exit 1 || exit 0", tmp_path)
        assert len(desk.taken) == 1


def test_jobs_in_the_text_have_words_that_exist():
    named = [shlex.split(told)[1:] for told in in_prose(ROOT / PAGE, "one")]
    assert [words[:2] for words in named] == [
        ["network", "filter"],
        ["network", "stats"],
        ["network", "stats"],
    ]
    for words in named:
        page_programs.parse_predictd(words)


@needs_emulator
@needs_aws_program
def test_commands_of_the_page_run_as_printed(aws, tmp_path, monkeypatch):
    """By the AWS command line, which compares them with the API's description, on the emulator, which runs no job."""
    waited: list[Asked] = []
    first = {"ProcessingJobStatus": "InProgress\n", "PipelineExecutionStatus": "Executing\n"}

    def program(asked: Asked) -> str:
        query = asked.words[asked.words.index("--query") + 1] if "--query" in asked.words else ""
        return first.pop(query, "") or aws_program(asked)

    def sleep(asked: Asked) -> str:
        waited.append(asked)
        return ""

    page_programs.lay_out(tmp_path)
    (tmp_path / "tracks").mkdir()
    (tmp_path / "expression.tsv").write_text("gene\ts1\n")
    desk = Desk(tmp_path / "bin", {**page_programs.CHECKED, "aws": program, "sleep": sleep})
    put_shim(desk.folder / "sleep")
    # The page's region is taken, and not that of the user.
    own = VARIABLES | {"AWS_DEFAULT_REGION": "eu-west-1", "AWS_ENDPOINT_URL": aws}
    for shell, text in scripts(ROOT / PAGE):
        desk.run(shell, text, tmp_path, **own)

    monkeypatch.setenv("SAGEMAKER_BASE_DIR", give_host(tmp_path / "ml", 0, 2)["SAGEMAKER_BASE_DIR"])
    made = client("sagemaker", aws)
    jobs = [
        made.describe_processing_job(ProcessingJobName=job["ProcessingJobName"])
        for job in made.list_processing_jobs()["ProcessingJobSummaries"]
    ]
    (role,), (image,) = (
        {job["RoleArn"] for job in jobs},
        {job["AppSpecification"]["ImageUri"] for job in jobs},
    )
    assert role.startswith("arn:aws:iam::") and image.endswith("/predictd-sagemaker")
    assert ".us-east-1." in image
    (built,) = (
        one.words
        for one in desk.taken
        if Path(one.program).name == "docker" and "--provenance=false" in one.words
    )
    assert (
        built[0] == "build"
        and "type=image,oci-mediatypes=false" in built
        and built[-3:] == ["-t", image, "."]
    )
    words = [job["AppSpecification"]["ContainerArguments"] for job in jobs]
    assert sorted(words) == [
        ["doctor", "--job", "s3://lab-tracks"],
        ["ingest", "s3://lab-tracks/tracks/tracks.tsv", "s3://lab-tracks/T", "--genome", "hg38"],
    ]
    for line in words:
        page_programs.parse_predictd(line)
    given_values = []
    for name, runs in (("parts", 2), ("network", 1)):
        told = made.describe_pipeline(PipelineName=f"predictd-{name}")["PipelineDefinition"]
        text = (CLOUD / f"{name}.json").read_text()
        filled = text.replace("IMAGE", image).replace("ROLE", role).replace("BUCKET", "lab-tracks")
        assert json.loads(told) == json.loads(filled)
        executions = made.list_pipeline_executions(PipelineName=f"predictd-{name}")
        found = executions["PipelineExecutionSummaries"]
        assert len(found) == runs
        for execution in found:
            arn = execution["PipelineExecutionArn"]
            told = made.list_pipeline_parameters_for_execution(PipelineExecutionArn=arn)
            values = {one["Name"]: one["Value"] for one in told["PipelineParameters"]}
            given_values.append(values)
            for step in pipeline(name, **values).values():
                page_programs.parse_predictd(predictd_words(step))
    assert {"Infer": "s3://lab-tracks/expression.tsv", "Network": "s3://lab-tracks/net"} in given_values
    assert {"Words": "cv s3://lab-tracks/T -o s3://lab-tracks/cv", "Hosts": "8"} in given_values
    client("s3", aws).head_object(Bucket="lab-tracks", Key="expression.tsv")
    assert len(waited) == 2 and first == {}


# -- hosts, as SageMaker runs them ------------------------------------------------------------------------------------


def write_expression(path: Path) -> None:
    values = np.random.default_rng(0).normal(6, 1, (48, 40)).round(4)
    lines = ["\t".join(["gene", *(f"s{sample}" for sample in range(values.shape[1]))])]
    lines += ["\t".join([f"G{gene}", *map(str, row)]) for gene, row in enumerate(values)]
    path.write_text("\n".join(lines) + "\n")


def test_two_hosts_one_of_which_is_interrupted_and_what_comes_after_them(s3, tmp_path, monkeypatch):
    use(monkeypatch, s3.environment())
    room = as_path(f"{s3.url}/sagemaker")
    write_expression(tmp_path / "expression.tsv")
    (room / "expression.tsv").upload(tmp_path / "expression.tsv")
    put_program(tmp_path / "bin" / "predictd", f"#!{sys.executable}\nfrom predictd.cli import main\nmain()\n")
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    own = {"PATH": path, "PYTHONPATH": PYTHONPATH, "PYTHONSAFEPATH": "1"}
    infer = f"{room}/expression.tsv --trees 200 --workers 1"
    steps = pipeline("network", Infer=infer, Network=f"{room}/net", Filter="--top-per-target 3")
    hosts = [give_host(tmp_path / name, number, 2) for number, name in enumerate(("one", "two"))]

    def start(host: int) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command(steps["parts"]),
            cwd=tmp_path,
            env=clean() | s3.environment() | steps["parts"]["Environment"] | hosts[host] | own,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def blocks() -> list[str]:
        return [name for name in (room / "net").names() if "/blocks/" in name]

    with start(1) as taken:
        while taken.poll() is None and not blocks():
            time.sleep(0.1)
        taken.send_signal(signal.SIGTERM)
        told, _ = taken.communicate()
    assert taken.returncode == 75, told
    assert "run the same command again" in (tmp_path / "two" / "output" / "failure").read_text()
    assert 1 <= len(blocks()) < 16
    # The job is started again, with all its hosts.
    both = [start(0), start(1)]
    told = "".join(host.communicate()[0] for host in both)
    assert [host.returncode for host in both] == [0, 0], told
    assert "parts 0,2,4," in told
    assert "parts 1,3,5," in told

    one = call_predictd("network", "infer", "expression.tsv", "-o", "net", "--trees", 200, cwd=tmp_path)
    assert one.returncode == 0, one.stderr
    done = call_predictd(*predictd_words(steps["finish"]), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert stored_contents(room / "net") == contents(tmp_path / "net")

    # SageMaker copies files and starts the next step, here on another engine: that Spark's makes the same of lists is
    # tested where it stands.
    (tmp_path / "ml" / "processing" / "network").mkdir(parents=True)
    (room / "net" / "links.tsv").download(tmp_path / "ml" / "processing" / "network" / "links.tsv")
    for name in ("filter", "stats"):
        words = [
            word.replace("/opt/ml", str(tmp_path / "ml")).replace("spark", "local")
            for word in predictd_words(steps[name])
        ]
        done = call_predictd(*words, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    made = tmp_path / "ml" / "processing"
    assert len((made / "strongest" / "links.tsv").read_text().splitlines()) == 1 + 3 * 48
    assert "genes.tsv" in names(made / "stats")
    copied = [
        (told["LocalPath"].removeprefix("/opt/ml/processing/"), told["S3Uri"])
        for step in (steps["filter"], steps["stats"])
        for told in (
            step["ProcessingInputs"][0]["S3Input"],
            step["ProcessingOutputConfig"]["Outputs"][0]["S3Output"],
        )
    ]
    assert copied == [
        ("network", f"{room}/net/links.tsv"),
        ("strongest", f"{room}/net-strongest"),
        ("strongest", f"{room}/net-strongest/links.tsv"),
        ("stats", f"{room}/net-stats"),
    ]
