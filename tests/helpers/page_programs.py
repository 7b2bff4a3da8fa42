"""Programs that pages name and that do not run in a test: why, and what reads their words in their place."""

from __future__ import annotations

import ast
import shlex
import shutil
import subprocess
import venv
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import click
import pytest

from desk import Asked, put_shim
from places import ROOT
from predictd.cli import cli
from predictd.config import tomllib

FOLDERS = ("bench", "cloud", "containers", "slurm", "workflow")
# What a batch script calls, with the words behind its name.
SCRIPTS = {
    "train.sbatch": ["train"],
    "cv-array.sbatch": ["cv"],
    "impute-array.sbatch": ["impute"],
    "finish.sbatch": [],
}


def lay_out(folder: Path) -> None:
    """Put into a folder what a clone of the repository has and pages name."""
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name)
    # The workflow's page stands in the folder above a clone.
    shutil.copytree(ROOT / "workflow", folder / "predictd" / "workflow")
    (folder / ".ci").mkdir()
    shutil.copyfile(ROOT / "pyproject.toml", folder / "pyproject.toml")
    for program in CHECKED:
        if "/" in program:
            assert (ROOT / program).is_file()
            put_shim(folder / program)


def parse_predictd(words: list[str]) -> None:
    """See that predictd has this command and these options."""
    name, command = "predictd", cli
    with click.Context(cli, **cli.context_settings) as context:
        while isinstance(command, click.Group) and words and words[0][0] != "-":
            name, command, words = command.resolve_command(context, words)
        # A command keeps the names of its option for help that its first parent gave it.
        with suppress(click.MissingParameter, click.exceptions.Exit):
            command.make_context(name, list(words), parent=context)


def parse_inner(words: list[str]) -> None:
    """Read what is behind `predictd` in words that begin with programs that start it."""
    parse_predictd(words[words.index("predictd") + 1 :])


def files_exist(asked: Asked) -> None:
    """See that paths of the repository are there."""
    for word in asked.words:
        path = word.removeprefix("file://")
        if path.startswith(tuple(f"{name}/" for name in FOLDERS)):
            assert (asked.cwd / path).is_file(), f"{path} is not in the repository"


def pip(asked: Asked) -> str:
    commands = pytest.importorskip("pip._internal.commands")
    name, *words = asked.words
    options, wanted = commands.create_command(name).parser.parse_args(words)
    if name == "wheel":
        (asked.cwd / options.wheel_dir).mkdir()
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for requirement in wanted:
        own, bracket, extras = requirement.partition("[")
        if bracket and Path(own).name in ("", "predictd"):
            assert set(extras.rstrip("]").split(",")) <= set(known), f"no such extra: {extras}"
    return ""


def python(asked: Asked) -> str:
    if asked.words[:2] == ["-m", "venv"]:
        venv.create(asked.cwd / asked.words[2])
    else:
        ast.parse((asked.cwd / asked.words[0]).read_text())
    return ""


def test_runner(asked: Asked) -> str:
    """See that what it is to run, and the markers, are there."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"][
        "markers"
    ]
    markers = {line.partition(":")[0] for line in declared} | {"not", "and"}
    for option, word in zip(["", *asked.words], asked.words, strict=False):
        if option == "-m":
            assert set(word.split()) <= markers, word
        elif word[0] != "-" and option != "-n":
            assert (ROOT / word).exists(), word
    return ""


def docker(asked: Asked) -> str:
    words = asked.words
    files_exist(asked)
    if words[0] == "run":
        rest = words[words.index("predictd") + 1 :]
        parse_inner(rest) if "--entrypoint" in words else parse_predictd(rest)
    elif words[:1] == ["compose"] and "client" in words and words[-1] != "client":
        parse_predictd(words[words.index("client") + 1 :])
    elif words[0] == "build" and "--target" in words:
        stage = words[words.index("--target") + 1]
        assert f" AS {stage}\n" in (asked.cwd / "containers" / "Dockerfile").read_text()
    return ""


def launcher(asked: Asked) -> str:
    parse_inner(asked.words)
    return ""


def apptainer(asked: Asked) -> str:
    parse_predictd(asked.words[asked.words.index("predictd.sif") + 1 :])
    return ""


def check_posix(script: str) -> None:
    """See that any shell takes what `sbatch --wrap` hands to /bin/sh."""
    command = ["shellcheck", "-s", "sh", "-S", "warning", "-"]
    if shutil.which(command[0]) is None:
        command = ["sh", "-n"]
    done = subprocess.run(command, input=script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def sbatch(asked: Asked) -> str:
    words = asked.words
    if "--wrap" in words:
        script = words[words.index("--wrap") + 1]
        check_posix(script)
        parse_inner(shlex.split(script))
    else:
        files_exist(asked)
        place = next(index for index, word in enumerate(words) if word.endswith(".sbatch"))
        parse_predictd([*SCRIPTS[Path(words[place]).name], *words[place + 1 :]])
    return "17\n"


def words_only(asked: Asked) -> str:
    files_exist(asked)
    return ""


def aws(asked: Asked) -> str:
    """Held against botocore's description of the API, but for what the program has beside it (s3, default roles)."""
    files_exist(asked)
    service, operation, *words = asked.words
    if service == "s3api":
        loader = pytest.importorskip("botocore.session").get_session().get_service_model("s3")
        name = "".join(part.title() for part in operation.split("-"))
        known = {member.lower() for member in loader.operation_model(name).input_shape.members}
        given = {word[2:].replace("-", "") for word in words if word.startswith("--")} - {"region"}
        assert given <= known, given - known
    return ""


# In each line why it does not run here.
CHECKED: dict[str, Callable[[Asked], str]] = {
    "pip": pip,  # It would change the environment of the tests; .ci/run installs with it. Read by pip's own parser.
    "python": python,  # Benchmarks take minutes.
    "python3": python,  # Environments are made without pip, which takes seconds.
    "pytest": test_runner,  # It is running.
    ".ci/run": words_only,  # It runs this.
    "pre-commit": words_only,  # It loads its hooks from the network.
    "docker": docker,  # It needs a daemon: containers/test.sh runs the same commands.
    "apptainer": apptainer,  # As Docker.
    "containers/build-sif.sh": words_only,  # As Docker.
    "mpiexec": launcher,  # As Docker, before `apptainer exec`; the page of MPI runs on real launchers.
    "srun": launcher,  # As mpiexec.
    "sbatch": sbatch,  # In containers and clouds; the page of Slurm runs on a real one.
    "aws": aws,  # An account is needed; what is not read is `aws s3` and `emr create-default-roles`.
    "gcloud": words_only,  # As az.
    "kubectl": words_only,  # A cluster is needed; test_arrays reads what it applies.
    "az": words_only,  # An account is needed, and its program is no dependency.
    "pcluster": words_only,  # An account is needed; test_cloud reads the file of the cluster with its own schema.
    "conda": words_only,  # It is no package of Python.
    "cloud/pack.sh": words_only,  # test_spark_submit runs it.
    "pyscenic": words_only,  # It needs versions of NumPy and pandas that predictd's do not go with.
    "java": words_only,  # ChromHMM is not distributed with anything.
    "multiqc": words_only,  # test_report reads the files by its rules.
    "ssh": words_only,  # There is no other machine.
    "snakemake": words_only,  # test_workflow runs the workflow.
}
