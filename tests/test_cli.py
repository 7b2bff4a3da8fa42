"""The command line as users meet it: exit codes, one-line errors, help, and the whole job."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from unittest import mock

import click
import numpy as np
import pytest
from click.testing import CliRunner

from commands import call_predictd, run_predictd
from folders import contents
from made_tensors import stored_signal
from predictd import __version__
from predictd.cli import COMMANDS, cli
from predictd.errors import Interrupted
from predictd.io.tensor.store import Tensor
from predictd.model.folds import folds_from_json, make_folds
from predictd.provenance import software

# A descent of less than a second.
QUICK = """
[train]
solver = "sgd"
[train.sgd]
min_bins = 1000
burn_in_epochs = 0.1
updates_per_round = 500
max_rounds = 30
"""


def told(done: subprocess.CompletedProcess[str], code: int = 1) -> str:
    """The error of a command that failed as it should: one line on stderr and nothing else."""
    assert done.returncode == code, done.stderr
    assert not done.stdout
    assert done.stderr.startswith("predictd: error: ") and done.stderr.count("\n") == 1, done.stderr
    return done.stderr.removeprefix("predictd: error: ").rstrip("\n")


# -- help and usage ---------------------------------------------------------------------------------------------------


@pytest.mark.processes
def test_help_in_the_shell(tmp_path):
    done = run_predictd("--help", cwd=tmp_path)
    assert done.returncode == 0 and not done.stderr
    assert done.stdout.startswith("Usage: predictd ") and all(
        f"\n  {name} " in done.stdout for name in COMMANDS
    )
    assert call_predictd("--version", cwd=tmp_path).stdout == f"predictd, version {__version__}\n"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help(name):
    done = CliRunner().invoke(cli, [name, "--help"], prog_name="predictd")
    assert done.exit_code == 0 and done.stdout.startswith(f"Usage: predictd {name} ")
    command = import_module(f"predictd.cli.{name}").command
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{name} {parameter.opts} has no help"
            assert parameter.opts[-1] in done.stdout


def test_a_command_tells_of_itself(tmp_path):
    done = call_predictd("train", "-h", cwd=tmp_path)
    assert done.returncode == 0 and not done.stderr
    assert re.match(r"Usage: .*predictd train \[OPTIONS\] TENSOR\n", done.stdout)


@pytest.mark.parametrize(
    "arguments",
    [
        ["fly"],
        ["train", "t"],
        ["train", "t", "-o", "m.h5", "--workers", "0"],
        ["train", "t", "-o", "m.h5", "--solver", "magic"],
        ["train", "t", "-o", "m.h5", "--rank", "-3"],
        ["info", "t", "--colour"],
    ],
)
def test_wrong_usage_ends_with_2(arguments, tmp_path):
    done = call_predictd(*arguments, cwd=tmp_path)
    assert done.returncode == 2 and not done.stdout
    assert "Usage: " in done.stderr and "Error: " in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.processes
def test_wrong_usage_ends_with_2_in_the_shell(tmp_path):
    done = run_predictd("info", cwd=tmp_path)
    assert done.returncode == 2 and not done.stdout and "Error: " in done.stderr


def test_no_command_shows_help(tmp_path):
    done = call_predictd(cwd=tmp_path)
    assert "Usage: " in done.stdout + done.stderr and "Traceback" not in done.stderr


# -- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["info", "t"], "t is not a directory; make one with 'predictd ingest'"),
        (
            ["train", ".", "-o", "m.h5"],
            ". holds no tensor (no manifest.json); make one with 'predictd ingest'",
        ),
        (["folds", "t", "-o", "f.json"], "t is not a directory; make one with 'predictd ingest'"),
        (["impute", "m.h5", "t", "-o", "d"], "m.h5 does not exist; make a model with 'predictd train'"),
        (["evaluate", ".", "t.tsv", "-o", "m.tsv"], ". has no tracks.tsv: list its tracks there"),
        (["ingest", "t.tsv", "t", "--genome", "hg19"], "cannot read t.tsv: No such file or directory"),
        (["cv", "t", "-o", "d"], "t is not a directory; make one with 'predictd ingest'"),
    ],
)
def test_errors_are_one_line(arguments, message, tmp_path):
    assert told(call_predictd(*arguments, cwd=tmp_path)).startswith(message)


def test_debug_shows_where_an_error_comes_from(tmp_path):
    done = run_predictd("info", "t", "--debug", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last):") and "read_manifest" in done.stderr
    assert done.stderr.endswith("predictd: error: t is not a directory; make one with 'predictd ingest'\n")


@pytest.mark.parametrize(
    ("error", "options", "code", "last"),
    [
        ("Interrupted('saved')", [], 75, "predictd: error: saved"),
        # Whoever watches for 75 need not know how much is told.
        ("Interrupted('saved')", ["--debug"], 75, "predictd: error: saved"),
        ("KeyboardInterrupt()", [], 130, "predictd: stopped"),
    ],
)
def test_a_stop_has_an_exit_code_of_its_own(error, options, code, last, tmp_path):
    script = (
        "import predictd.io.tensor.store as store\nfrom predictd.errors import Interrupted\n"
        f"def stop(path): raise {error}\nstore.Tensor = stop\nfrom predictd.cli import main\nmain()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "info", "t", *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONSAFEPATH": "1"},
    )
    assert done.returncode == code and done.stderr.splitlines()[-1] == last
    assert ("Traceback" in done.stderr) == bool(options)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sede = 3\n", "settings in c.toml: 'sede': extra inputs are not permitted"),
        ("[train.sgd]\nlearning_rat = 1\n", "settings in c.toml: 'train.sgd.learning_rat': extra inputs"),
        ("train = 3\n", "settings in c.toml: 'train'"),
        ("[train\n", "cannot read settings in c.toml: "),
    ],
)
def test_settings_that_are_none(text, message, tensor_path, tmp_path):
    (tmp_path / "c.toml").write_text(text)
    done = call_predictd("train", tensor_path, "-o", "m.h5", "--config", "c.toml", cwd=tmp_path)
    assert told(done).startswith(message)
    assert {path.name for path in tmp_path.iterdir()} == {"c.toml"}


def test_quiet_and_verbose(tensor_path, tmp_path):
    (tmp_path / "c.toml").write_text(QUICK)

    def stderr(*options: str) -> list[str]:
        done = call_predictd("train", tensor_path, "-o", "m.h5", "--config", "c.toml", *options, cwd=tmp_path)
        assert done.returncode == 0 and "m.h5: rank " in done.stdout
        return done.stderr.splitlines()

    warning = "predictd: warning: 15 training experiments are too few for rank 100: using a --rank of 5"
    assert stderr() == [warning]
    assert stderr("--quiet") == []
    # No progress bars where nobody watches.
    verbose = [
        re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (predictd: .*)", line) for line in stderr("--verbose")
    ]
    assert all(verbose) and warning in [line[1] for line in verbose if line]


def test_the_command_line_wins_over_the_file(tensor_path, tmp_path):
    (tmp_path / "c.toml").write_text("seed = 5\n" + QUICK + "[train.als]\nstarts = 2\n")
    done = call_predictd(
        "train",
        tensor_path,
        "-o",
        "m.h5",
        "--config",
        "c.toml",
        "--rank",
        2,
        "--lambda",
        0.01,
        "--workers",
        1,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("rank 2, lambda 0.01\nm.h5: rank 2, validation MSE 0.")
    assert done.stdout.endswith("); refitted to all experiments\n")
    kept = json.loads((tmp_path / "m.h5.run.json").read_text())
    # Nobody should report it as the error of experiments that nothing has seen.
    assert (
        kept["results"]["validation"].startswith("no held-out error") and "no held-out error" in done.stdout
    )
    assert (kept["seed"], kept["workers"]) == (5, 1)
    settings = kept["settings"]
    assert (settings["rank"], settings["lambda"], settings["sgd"]["min_bins"]) == (2, 0.01, 1000)
    assert (settings["als"]["starts"], settings["solver"]) == (2, "sgd")
    assert kept["command"].split()[:2] == ["predictd", "train"] and "--rank 2" in kept["command"]


# -- commands ---------------------------------------------------------------------------------------------------------


def test_info_tells_what_the_signal_is(tensor, tmp_path):
    done = call_predictd("info", tensor.path, "--json", cwd=tmp_path)
    assert done.returncode == 0 and not done.stderr
    told = json.loads(done.stdout)
    signal = stored_signal(tensor).astype(np.float64)
    assert (told["cell_types"], told["assays"], told["shards"]) == (6, 4, 6)
    assert (told["bins"], told["complete_bins"], told["bin_size"]) == (20_000, 20_000, 25)
    assert told["checksum"] == tensor.manifest.checksum and told["dtype"] == "float16"
    assert told["bytes"] == sum(path.stat().st_size for path in (tensor.path / "shards").iterdir())
    assert [(e["cell_type"], e["assay"]) for e in told["experiments"]] == [
        tuple(e) for e in tensor.experiments
    ]
    for column, entry in zip(signal.T, told["experiments"], strict=True):
        assert entry["observed"] == 1 and entry["transform"] == "arcsinh"
        assert entry["mean"] == pytest.approx(column.mean(), rel=1e-9)
        assert entry["sd"] == pytest.approx(column.std(), rel=1e-6)
        assert entry["max"] == column.max()
    done = call_predictd("info", tensor.path, "--verify", cwd=tmp_path)
    assert done.returncode == 0
    _, bins, _, header, *rows = done.stdout.splitlines()
    assert bins.startswith("20,000 bins of 25 bp on genome, 100.0% complete, in 6 shards (")
    assert len(rows) == 18
    # Right-aligned numbers end below their names.
    ends = {header.index(name) + len(name) for name in ("observed", "mean", "sd", "max")}
    assert all({len(row), row.index("%") + 1} <= ends for row in rows)


def test_verify_finds_damage(own_tensor, tmp_path):
    shard = own_tensor / "shards" / "chr1.0001.h5"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(bytes(content))
    assert "chr1.0001.h5 is missing or not as it was written" in told(
        call_predictd("info", own_tensor, "--verify", cwd=tmp_path)
    )
    shard.unlink()
    assert "chr1.0001.h5 is missing" in told(call_predictd("info", own_tensor, "--verify", cwd=tmp_path))


def test_folds_are_those_of_the_seed(tensor, tmp_path):
    command = ["folds", tensor.path, "--tests", 4, "--valids", 3, "--seed", 2]
    done = call_predictd(*command, "-o", "new/f.json", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout == "new/f.json: 12 folds, 4 test sets of about 5 experiments\n"
    data = json.loads((tmp_path / "new" / "f.json").read_text())
    assert folds_from_json(data) == make_folds(tensor.experiments, tests=4, valids=3, seed=2)
    call_predictd(*command, "-o", "g.json", cwd=tmp_path)
    assert (tmp_path / "g.json").read_bytes() == (tmp_path / "new" / "f.json").read_bytes()


def test_a_fold_is_trained_by_name(tensor_path, tmp_path):
    (tmp_path / "c.toml").write_text(QUICK)
    call_predictd("folds", tensor_path, "-o", "f.json", cwd=tmp_path)
    command = ["train", tensor_path, "-o", "m.h5", "--config", "c.toml", "--rank", 2, "--folds", "f.json"]
    done = call_predictd(*command, "--fold", "0.3", cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.endswith("; fold 0.3, 4 left out\n")
    assert "f.json has no fold 'x'" in told(call_predictd(*command, "--fold", "x", cwd=tmp_path))


def test_doctor_tells_what_there_is(tmp_path):
    done = run_predictd("doctor", cwd=tmp_path)
    assert done.returncode == 0 and not done.stderr
    lines = dict(
        line.split(maxsplit=1) for line in done.stdout.splitlines() if not line.startswith(("disk", "HDF5"))
    )
    assert lines["predictd"].startswith(f"{__version__} in ") and lines["kernels"].startswith("compiled, ")
    assert "MISSING" not in lines["packages"] and "numpy" in lines["packages"]
    blas = [line.split(maxsplit=1)[1] for line in done.stdout.splitlines() if line.startswith("blas")]
    assert blas and {line.partition(",")[0] for line in blas} == set(software()["blas"])
    assert "GiB free" in done.stdout and "HDF5 locks at . " in done.stdout
    assert not list(tmp_path.iterdir())
    done = call_predictd("doctor", "nowhere", cwd=tmp_path)
    assert (
        done.returncode == 0
        and "NOT WRITABLE: No such file or directory" in done.stdout
        and "not tried: it does not exist" in done.stdout
    )


# -- the whole job ----------------------------------------------------------------------------------------------------


def small(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A small demo."""
    sizes = {"CELLS": 8, "ASSAYS": 5, "BINS": 3000, "RANK": 3}
    with mock.patch.multiple("predictd.workflows.demo", **sizes):
        return call_predictd(*arguments, cwd=cwd)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder in which the demo has run on few bins, was stopped and went on, and what it said at last."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / "d").mkdir()
    with mock.patch("predictd.workflows.demo.train", side_effect=Interrupted("stopped")):
        assert small("demo", "-o", "d", cwd=folder).returncode == 75
    done = small("demo", "-o", "d", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_the_demo_beats_both_baselines(demo):
    _, said = demo
    rows = {
        line.split()[0]: line.split()[1:]
        for line in said.splitlines()
        if line.startswith(("method", "model", "assay"))
    }
    columns = {
        name: {method: float(rows[method][i]) for method in rows if method != "method"}
        for i, name in enumerate(rows["method"])
    }
    assert set(columns["MSEglobal"]) == {"model", "assay_mean", "assay_mean_scaled"}
    for baseline in ("assay_mean", "assay_mean_scaled"):
        for measure in ("MSEglobal", "MSE1obs"):
            assert columns[measure]["model"] < 0.5 * columns[measure][baseline]
        for measure in ("GWcorrasinh", "GWspear", "AucObs1"):
            assert columns[measure]["model"] > columns[measure][baseline]


def test_the_demo_leaves_what_it_names(demo):
    folder, said = demo
    named = [line.split()[0] for line in said.splitlines() if line.startswith("  d/")]
    assert len(named) == 5 and all((folder / name).exists() for name in named)
    assert len(list((folder / "d" / "imputed").glob("*.bw"))) == 16


def test_a_demo_that_is_run_again_shows_its_result(demo):
    folder, said = demo
    before = contents(folder / "d")
    again = small("demo", "-o", "d", cwd=folder)
    assert (again.returncode, again.stderr) == (0, "")
    first, _, rest = again.stdout.partition("\n")
    assert first == "d is finished already: nothing was done"
    assert said.endswith(rest) and rest.count("assay_mean") == 2
    assert contents(folder / "d") == before
    told_of = told(small("demo", "-o", "d", "--seed", 3, cwd=folder))
    assert told_of.startswith(
        "d holds a demo that was made differently (seed: 0, now 3): remove it, or name another"
    )
    assert told(small("demo", "-o", ".", cwd=folder)).startswith(". exists already, and holds no demo")


def test_what_a_demo_lacks_is_made_again(demo, tmp_path):
    folder, _ = demo
    shutil.copytree(folder / "d", tmp_path / "d")
    (tmp_path / "d" / "model.h5").unlink()
    with mock.patch("predictd.workflows.demo.simulate", side_effect=Interrupted("stopped")):
        assert small("demo", "-o", "d", cwd=tmp_path).returncode == 75


def test_the_demos_commands_do_without_a_stop_what_it_did_with_one(demo, tmp_path, blank_figures):
    folder, said = demo
    commands = [shlex.split(line.split("$ ", 1)[1]) for line in said.splitlines() if "$ predictd " in line]
    assert [command[1] for command in commands] == [
        "simulate",
        "ingest",
        "folds",
        "train",
        "impute",
        "evaluate",
        "report",
        "view",
    ]
    for _, *arguments in commands[:-1]:
        # What comes out is the same for any number of workers.
        alone = ["--workers", "1"] if arguments[0] not in ("folds", "report") else []
        done = call_predictd(*arguments, *alone, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    for name in ("metrics.tsv", "model.h5", "folds.json", "tensor/shards/chr1.0000.h5"):
        assert (tmp_path / "d" / name).read_bytes() == (folder / "d" / name).read_bytes(), name
    tensors = [Tensor(path / "d" / "tensor").manifest.checksum for path in (tmp_path, folder)]
    assert tensors[0] == tensors[1]
