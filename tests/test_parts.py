"""Outputs made in parts: the same bytes as in one go, by processes that know nothing of each other."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from commands import PREDICTD, call_predictd
from folders import contents, names
from made_folds import FEWEST_SWEEPS, FEWEST_SWEEPS_TOML, SHORT_SGD, few_folds, models_of
from predictd.config import TrainSettings
from predictd.engine import Engine
from predictd.errors import AlreadyFinished, ConfigError, OutputError
from predictd.io.files import write_json
from predictd.io.tensor.store import Tensor
from predictd.model.folds import folds_to_json, make_folds
from predictd.workflows.evaluation.regions import Regions
from predictd.workflows.imputing.impute import Imputation, impute, track_name
from predictd.workflows.parts import InParts
from predictd.workflows.training.crossval import Crossval, crossval
from predictd.workflows.training.train import train
from refusals import refused

# The rank is chosen, for each part.
SETTINGS = TrainSettings(regularisation=0.1, als=FEWEST_SWEEPS)
OPTIONS = ("--lambda", 0.1, "--folds", "folds.json", "--config", "few.toml")


@pytest.fixture(scope="module")
def tensor_path(short_path: Path) -> Path:
    return short_path


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory, engine: Engine, tensor_path: Path) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.h5"
    train(tensor_path, path, SHORT_SGD, engine)
    return path


@pytest.fixture
def folds(tensor: Tensor, tmp_path: Path) -> Path:
    """3 × 2 folds, with few.toml beside them."""
    few_folds(tensor, tmp_path / "folds.json")
    (tmp_path / "few.toml").write_text(FEWEST_SWEEPS_TOML)
    return tmp_path / "folds.json"


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory, tensor_path: Path, model_path: Path, engine: Engine
) -> dict[str, dict[str, bytes]]:
    """What one command makes of it all."""
    path = tmp_path_factory.mktemp("whole")
    few_folds(Tensor(tensor_path), path / "folds.json")
    crossval(tensor_path, path / "cv", SETTINGS, engine, folds=path / "folds.json")
    impute(model_path, tensor_path, path / "imputed", engine)
    return {"cv": contents(path / "cv"), "impute": contents(path / "imputed")}


@pytest.fixture(params=["cv", "impute"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def plan(kind: str, tensor_path: Path, model_path: Path, folds: Path, tmp_path: Path) -> InParts:
    """Of a job with the parts 0, 1, 2 (cv) or 0 to 5 (impute)."""
    if kind == "cv":
        return Crossval(tensor_path, tmp_path / "out", SETTINGS, folds=folds)
    return Imputation(model_path, tensor_path, tmp_path / "out")


def command(kind: str, tensor: Path, model: Path) -> list[object]:
    """The same jobs for the command line, in a directory with folds.json and few.toml."""
    return ["cv", tensor, "-o", "out", *OPTIONS] if kind == "cv" else ["impute", model, tensor, "-o", "out"]


def at_once(commands: Iterable[Iterable[object]], cwd: Path) -> list[tuple[int, str, str]]:
    """Run command lines in processes of their own at the same time: exit codes, outputs, errors."""
    start = PREDICTD
    processes = [
        subprocess.Popen(
            [*start, *map(str, arguments)],
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for arguments in commands
    ]
    try:
        ended = [process.communicate() for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return [(process.returncode, *texts) for process, texts in zip(processes, ended, strict=True)]


def stamps(path: Path) -> dict[str, int]:
    return {str(file): file.stat().st_mtime_ns for file in path.rglob("*") if file.is_file()}


# The same bytes


def test_parts_in_any_order_make_what_one_command_makes(kind, plan, whole, engine, tmp_path, single):
    assert plan.n_parts == {"cv": 3, "impute": 6}[kind]
    assert plan.make([2], single) == [2]
    assert plan.make([0], engine) == [0]
    # What is left is made by the command without --part.
    plan.make_all(engine)
    assert contents(tmp_path / "out") == whole[kind]
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    stages = ["moments", "choose", "train", "score"] if kind == "cv" else ["impute"]
    assert [stage["name"] for stage in run["stages"]] == stages and run["resumed"]
    found = [([s["name"] for s in r["stages"]], r["engine"], r["workers"], r["parts"]) for r in run["runs"]]
    wanted = [(1 if index == 2 else 2, [index]) for index in range(plan.n_parts)]
    assert found == [(stages, "local", workers, parts) for workers, parts in wanted]


def test_parts_of_sgd_make_what_one_command_makes(tensor_path, folds, engine, tmp_path):
    crossval(tensor_path, tmp_path / "whole", SHORT_SGD, engine, folds=folds)
    plan = Crossval(tensor_path, tmp_path / "parts", SHORT_SGD, folds=folds)
    for index in (1, 2, 0):
        plan.make([index], engine)
    report = plan.finish(engine)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")
    assert report.n_models == 6 and list(report.choices) == ["0", "1", "2"]


def test_undefined_measures_survive_their_part_file(tensor_path, folds, engine, tmp_path):
    """MSEprom is nan without promoters, which JSON has not."""
    settings = TrainSettings(rank=2, regularisation=0.1, als=FEWEST_SWEEPS)
    plan = Crossval(tensor_path, tmp_path / "out", settings, folds=folds)
    plan.make(range(3), engine)
    json.loads((plan.job.workspace / "parts" / "0.json").read_text(), parse_constant=pytest.fail)
    assert all(row["MSEprom"] != row["MSEprom"] for row in plan.finish(engine).rows)


@pytest.mark.processes
def test_parts_that_start_at_once(kind, own_tensor, model_path, folds, whole, engine, tmp_path):
    """As a job array does, on a tensor without moments."""
    (own_tensor / "moments.h5").unlink(missing_ok=True)
    run = command(kind, own_tensor, model_path)
    for code, out, err in at_once(([*run, "--part", i, "--workers", 1] for i in range(2)), tmp_path):
        assert code == 0, err
        assert re.fullmatch(r"out: part [01] of [36] is made\n", out)
    if kind == "cv":
        assert not [name for name in names(own_tensor) if name.startswith(".moments")]
        assert call_predictd(*run, "--part", 2, cwd=tmp_path).returncode == 0
        done = call_predictd(*run, "--finish", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "test fold 2: rank " in done.stdout and "out: 6 models; all measures" in done.stdout
    else:
        impute(model_path, own_tensor, tmp_path / "out", engine)
    assert contents(tmp_path / "out") == whole[kind]


# What --parts prints


def test_parts_prints_their_number_and_writes_nothing(kind, own_tensor, model_path, folds, tmp_path):
    (own_tensor / "moments.h5").unlink(missing_ok=True)
    before = stamps(tmp_path)
    done = call_predictd(*command(kind, own_tensor, model_path), "--parts", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, {"cv": "3\n", "impute": "6\n"}[kind], "")
    assert stamps(tmp_path) == before and not (tmp_path / "out").exists()


@pytest.mark.parametrize(("longest", "warned"), [(6, False), (5, True), ("none", False)])
def test_more_parts_than_slurm_takes_in_an_array(
    longest, warned, own_tensor, model_path, folds, tmp_path, monkeypatch
):
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.parent.mkdir()
    told = f"Configuration data\nMaxArraySize            = {longest}\nMaxJobCount             = 10000\n"
    scontrol.write_text(f"#!/bin/sh\n[ \"$*\" = 'show config' ] && cat <<END\n{told}END\n")
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{scontrol.parent}{os.pathsep}{os.environ['PATH']}")
    done = call_predictd(*command("impute", own_tensor, model_path), "--parts", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "6\n")
    assert (
        "allows no array of 6 tasks: the highest number of a task is 4 (MaxArraySize)" in done.stderr
    ) == warned
    assert bool(done.stderr) == warned


@pytest.mark.parametrize(
    "options", [["--parts", "--part", 0], ["--part", 1, "--finish"], ["--parts", "--finish"]]
)
def test_one_of_the_three_may_be_given(options, tmp_path):
    (tmp_path / "few.toml").touch()
    kind = "impute" if "--part" not in options else "cv"
    done = call_predictd(*command(kind, tmp_path, tmp_path), *options, cwd=tmp_path)
    assert done.returncode == 2
    assert "give one of --parts, --part and --finish" in done.stderr


# Parts that are wrong, missing, damaged, or stand already


@pytest.mark.parametrize("index", [-1, 99])
def test_a_part_that_is_not_there(index, plan, engine, tmp_path):
    with refused(ConfigError, f"there is no part {index}: parts are numbered from 0 to {plan.n_parts - 1}"):
        plan.make([index], engine)
    assert not (tmp_path / "out").exists()


def test_a_part_that_is_not_there_is_one_line(tensor_path, model_path, tmp_path):
    done = call_predictd(*command("impute", tensor_path, model_path), "--part", 6, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "predictd: error: there is no part 6: parts are numbered from 0 to 5\n"


def test_nothing_is_finished_before_all_parts_stand(plan, engine, tmp_path):
    last = plan.n_parts - 1
    with refused(OutputError, f"parts 0-{last} of {last + 1} are missing in {tmp_path / 'out'}"):
        plan.finish(engine)
    assert not (tmp_path / "out").exists()
    plan.make([1], engine)
    missing = "0,2" if last == 2 else "0,2-5"
    with refused(OutputError, f"parts {missing} of {last + 1} are missing", "`part` 0 and so on"):
        plan.finish(engine)
    assert not {"metrics.tsv", "tracks.tsv", "run.json"} & set(names(tmp_path / "out"))


def test_a_part_that_stands_is_left_and_a_damaged_one_is_made_again(kind, plan, whole, engine, tmp_path):
    plan.make(range(plan.n_parts), engine)
    before = stamps(tmp_path / "out")
    assert plan.make([1], engine) == []
    assert stamps(tmp_path / "out") == before
    part = plan.job.workspace / "parts" / "1.json"
    part.write_bytes(part.read_bytes()[:-20])
    with refused(OutputError, f"part 1 of {plan.n_parts} is missing"):
        plan.finish(engine)
    assert plan.make([1], engine) == [1]
    plan.finish(engine)
    assert contents(tmp_path / "out") == whole[kind]


def test_a_part_whose_files_have_gone_is_made_again(kind, plan, whole, engine, tensor, folds, tmp_path):
    plan.make(range(plan.n_parts), engine)
    if kind == "cv":
        models_of(tmp_path / "out", few_folds(tensor, folds))[0].unlink()
    else:
        (tmp_path / "out" / track_name(plan._groups[0][0])).unlink()
    with refused(OutputError, f"part 0 of {plan.n_parts} is missing"):
        plan.finish(engine)
    plan.make([0], engine)
    plan.finish(engine)
    assert contents(tmp_path / "out") == whole[kind]


def test_a_finished_output_takes_no_part_and_no_other_end(kind, plan, engine, tmp_path):
    plan.make_all(engine)
    assert not json.loads((tmp_path / "out" / "run.json").read_text())["resumed"]
    before = stamps(tmp_path / "out")
    for again in (lambda: plan.finish(engine), lambda: plan.make([0], engine)):
        with refused(AlreadyFinished, f"{tmp_path / 'out'} is finished already", "nothing was done"):
            again()
    assert stamps(tmp_path / "out") == before


def test_no_output_goes_into_that_of_another_command(kind, plan, tensor_path, engine, tmp_path):
    plan.job.output = Path(shutil.copytree(tensor_path, tmp_path / "tensor"))
    before = stamps(plan.job.output)
    with refused(OutputError, f"{tmp_path / 'tensor'} holds the output of another command", "name another"):
        plan.make_all(engine)
    assert stamps(plan.job.output) == before


def test_an_end_that_was_killed_is_ended_again(kind, plan, whole, engine, tmp_path, monkeypatch):
    plan.make(range(plan.n_parts), engine)

    def killed():
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(plan.job, "finish", killed)
        with pytest.raises(KeyboardInterrupt):
            plan.finish(engine)
    plan.finish(engine)
    assert contents(tmp_path / "out") == whole[kind]


def test_parts_of_another_job_are_refused(kind, plan, engine, tensor_path, model_path, folds, tmp_path):
    plan.make([0], engine)
    before = contents(tmp_path / "out")
    (tmp_path / "genes.bed").write_text("chr1\t0\t5000\n")
    others: list[tuple[InParts, str]]
    if kind == "cv":
        # Parts that are measured over other regions would not fit together.
        regions = Regions(genes=tmp_path / "genes.bed")
        others = [
            (Crossval(tensor_path, tmp_path / "out", SETTINGS, folds=folds, seed=1), "seed: 0, now 1"),
            (
                Crossval(tensor_path, tmp_path / "out", SETTINGS, folds=folds, regions=regions),
                "regions.genes: None, now ",
            ),
        ]
    else:
        others = [(Imputation(model_path, tensor_path, tmp_path / "out", pairs="all"), "pairs[0]: ")]
    for other, told in others:
        for attempt in (other.make, lambda _parts, engine, other=other: other.finish(engine)):
            with refused(OutputError, "begun differently", told):
                attempt([1], engine)
    assert contents(tmp_path / "out") == before


# Stopped


@pytest.mark.processes
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_part_that_was_stopped_goes_on(number, tensor, tmp_path):
    write_json(tmp_path / "folds.json", folds_to_json(make_folds(tensor.experiments, tests=3, valids=4)))
    # Sweeps without an end, so that there is time for the signal.
    (tmp_path / "slow.toml").write_text(
        "[train]\nrank = 4\nlambda = 0.1\n[train.als]\nstarts = 1\nmax_sweeps = 100\npatience = 100\ntolerance = 0\n"
    )
    run = f"cv {tensor.path} -o out --folds folds.json --config slow.toml --workers 1 --part 1".split()
    process = subprocess.Popen(
        [sys.executable, "-m", "predictd", *run], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    models = tmp_path / "out" / "models"
    try:
        while process.poll() is None and len(list(models.glob("fold-*.h5"))) < 2:
            time.sleep(0.002)
        process.send_signal(number)
        _, err = process.communicate()
    finally:
        process.kill()
        process.wait()
    assert process.returncode == (75 if number == signal.SIGTERM else -number), err
    made = {path: path.stat().st_mtime_ns for path in models.glob("fold-*.h5")}
    assert 2 <= len(made) < 4
    if number == signal.SIGKILL:
        # It may have ended before the job noted the last one, which is then made again.
        made.pop(max(made, key=made.__getitem__))
    for told in ("is made", "exists already"):
        assert call_predictd(*run, cwd=tmp_path).stdout == f"out: part 1 of 3 {told}\n"
    assert names(models) == [f"fold-1.{index}.h5" for index in range(4)]
    assert {path: path.stat().st_mtime_ns for path in made} == made
