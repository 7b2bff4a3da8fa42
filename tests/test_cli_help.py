"""What the command line says of itself: groups, examples, near names, and the completion of shells."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess

import pytest
from click.testing import CliRunner

from commands import PREDICTD, call_predictd, every_command
from desk import QUICK, cheaper, quickened
from example_folder import make_examples
from made_expression import write_layer
from made_networks import simulate_expression
from predictd.cli import COMMANDS, SECTIONS, cli
from predictd.cli.command import Command
from predictd.cli.options import GENOMES
from predictd.io.tracks.genomes import BUILT_IN

EVERY = every_command()


def shown_help(name: str) -> str:
    done = CliRunner().invoke(cli, [*name.split(), "--help"], prog_name="predictd")
    assert done.exit_code == 0
    return done.stdout


def section(text: str, heading: str) -> list[str]:
    """The lines below a heading of a help text."""
    return text.partition(f"\n{heading}:\n")[2].partition("\n\n")[0].splitlines()


def examples_of(name: str) -> list[str]:
    return [line.strip() for line in section(shown_help(name), "Examples")]


# -- groups and examples ----------------------------------------------------------------------------------------------


def test_commands_are_listed_in_groups():
    text = shown_help("")
    for heading, lines in SECTIONS.items():
        listed = section(text, heading)
        assert [line.split()[0] for line in listed] == list(lines)  # One line each.
        assert [line.split(maxsplit=1)[1] for line in listed] == list(lines.values())
    assert sorted(COMMANDS) == sorted({name.split()[0] for name in EVERY})


@pytest.mark.parametrize("name", EVERY)
def test_options_are_in_groups_and_engines_apart(name):
    command = EVERY[name]
    assert isinstance(command, Command)
    text = shown_help(name)
    told = section(text, "Messages and help")
    assert [line.split()[0] for line in told[:3]] == ["--quiet", "--verbose", "--debug"]
    apart = {"--engine", "--master", "--scratch", "--parts", "--part", "--finish"}
    own = "\n".join(section(text, "Options")).split()
    assert not apart & set(own)
    if any("--engine" in parameter.opts for parameter in command.params):
        engines = "\n".join(section(text, "Workers and engines")).split()
        assert {"--engine", "--workers", "--master"} <= set(engines)


@pytest.mark.parametrize("name", EVERY)
def test_every_command_has_examples_that_fit_on_a_line(name):
    examples = examples_of(name)
    assert examples and tuple(examples) == EVERY[name].examples
    for example in examples:
        assert example.split()[: 1 + len(name.split())] == ["predictd", *name.split()]
        assert len(example) <= 78


# What an example reads is made by one above it.
ORDER = [
    *("simulate", "demo", "ingest", "folds", "tune", "train", "cv", "impute", "extend"),
    *(
        "info",
        "qc",
        "recommend",
        "evaluate",
        "report",
        "view",
        "export",
        "hub",
        "peaks",
        "binarise",
        "factors",
    ),
    *("plan", "doctor", "config"),
    *(
        f"network {name}"
        for name in (
            "infer",
            "filter",
            "combine",
            "evaluate",
            "stats",
            "regulons",
            "aucell",
            "enrich",
            "classify",
            "view",
        )
    ),
]


@pytest.mark.docs
def test_all_examples_run(tmp_path, engine):
    for module in ("anndata", "xarray", "zarr"):
        pytest.importorskip(module)
    make_examples(tmp_path, engine)
    write_layer(tmp_path / "cells.h5ad", *simulate_expression()[:2], layer="logs")
    (tmp_path / "quick.toml").write_text(QUICK)
    assert sorted(ORDER) == sorted(EVERY)
    with quickened() as opened:
        for name in ORDER:
            for example in examples_of(name):
                line, _, file = example.partition(" > ")
                words = shlex.split(line)[1:]
                done = call_predictd(*words, *cheaper(words), cwd=tmp_path)
                assert done.returncode == 0 and done.stdout, (example, done.stderr)
                if file:
                    (tmp_path / file).write_text(done.stdout)
    opened.assert_called_once()


@pytest.mark.parametrize("name", ["ingest", "simulate", "view"])
def test_genomes_that_help_names_are_those_that_there_are(name):
    text = " ".join(shown_help(name).split())
    assert f"{GENOMES} or a chromosome-" in text
    assert sorted(GENOMES.split(", ")) == sorted(BUILT_IN)


# -- near names -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        (["imputt"], "Did you mean 'predictd impute'?"),
        (["Ingest"], "Did you mean 'predictd ingest'?"),
        (["network", "fliter"], "Did you mean 'predictd network filter'?"),
        (["infer"], "Did you mean 'predictd network infer'?"),
        (["network", "ingest"], "Did you mean 'predictd ingest'?"),
        (["network", "evalute"], "Did you mean 'predictd network evaluate' or 'predictd evaluate'?"),
        (["xyz"], "'predictd --help' lists them."),
        (["network", "xyz"], "'predictd network --help' lists them."),
    ],
)
def test_near_names_of_commands(typed, hint, tmp_path):
    done = call_predictd(*typed, cwd=tmp_path)
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.splitlines()[-1] == f"Error: There is no command '{typed[-1]}'. {hint}"


# -- completion -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("predictd im", {"impute"}),
        ("predictd network e", {"evaluate", "enrich"}),
        ("predictd train tensor --sol", {"--solver"}),
        ("predictd train tensor --solver k", {"kriging"}),
    ],
)
def test_completion(words, found):
    shell = {"_PREDICTD_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = CliRunner(env=shell).invoke(cli, prog_name="predictd")
    assert done.exit_code == 0
    assert {line.partition(",")[2] for line in done.stdout.splitlines()} == found


@pytest.mark.parametrize("words", ["predictd info ten", "predictd train t -o mod", "predictd factors m -o f"])
def test_completion_of_files_is_left_to_the_shell(words):
    shell = {"_PREDICTD_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = CliRunner(env=shell).invoke(cli, prog_name="predictd")
    assert done.stdout.startswith("file,")


@pytest.mark.parametrize(
    ("shell", "word"), [("bash", "complete "), ("zsh", "compdef"), ("fish", "complete --")]
)
def test_scripts_of_shells(shell, word):
    done = CliRunner(env={"_PREDICTD_COMPLETE": f"{shell}_source"}).invoke(cli, prog_name="predictd")
    assert (
        done.exit_code == 0 and word in done.stdout and f"_PREDICTD_COMPLETE={shell}_complete" in done.stdout
    )


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes(tmp_path):
    """As documented: its completion reads the script that predictd prints."""
    program = tmp_path / "predictd"
    program.write_text(f'#!/bin/sh\nexec {shlex.join(PREDICTD)} "$@"\n')
    program.chmod(0o755)
    script = (
        'eval "$(_PREDICTD_COMPLETE=bash_source predictd)"\n'
        "COMP_WORDS=(predictd im) COMP_CWORD=1\n"
        '_predictd_completion predictd im predictd && echo "${COMPREPLY[@]}"'
    )
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("impute\n", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("network infer e.tsv -o net --tf_names t.txt", "Did you mean --regulators?"),
        ("network infer e.tsv -o net --n_estimators 9", "Did you mean --trees?"),
        ("network infer e.tsv -o net --regulater t.txt", "Did you mean"),
        ("network evaluate a b gold -o e.tsv", "extra argument (gold): name more networks with --beside."),
        ("network regulons net -o r --min-importance nan", "'--min-importance': nan is not a number."),
    ],
)
def test_wrong_usage_says_what_is_meant(arguments, message, tmp_path):
    done = call_predictd(*arguments.split(), cwd=tmp_path)
    assert done.returncode == 2 and message in done.stderr
