"""Training by SGD: what is fitted, stopping and going on, what has no influence, what is refused."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from commands import call_predictd, lend_engine
from made_tensors import small_tensor, stored_signal, with_signal
from predictd import interrupt
from predictd.config import SgdSettings, TrainSettings
from predictd.engine import Engine
from predictd.errors import ConfigError, DataError, Interrupted, OutputError, PredictdError
from predictd.io.checkpoint import Checkpoint
from predictd.io.files import sha256_of
from predictd.io.tensor.store import Tensor
from predictd.kernels import UpdateRule
from predictd.model.cp import reference
from predictd.model.cp.factors import CPModel
from predictd.model.cp.sgd import (
    RateStage,
    Rows,
    draw_stream,
    initial_factors,
    merge,
    paper_penalties,
    penalties,
)
from predictd.pairs import Experiment
from predictd.provenance import RunRecord, command_line
from predictd.workflows.evaluation.evaluate import evaluate, mean_measures
from predictd.workflows.imputing.estimators import load_model
from predictd.workflows.imputing.impute import impute
from predictd.workflows.tensor.folds import write_folds
from predictd.workflows.tensor.sample import plan_sample, read_sample
from predictd.workflows.training.folds import choose_fold
from predictd.workflows.training.settings import default_rank
from predictd.workflows.training.sgd import descent
from predictd.workflows.training.sgd.descent import DescentResult, SgdProblem, descend
from predictd.workflows.training.sgd.fit import fit_sgd, sgd_problem
from predictd.workflows.training.sgd.rounds import enough_updates, exchange_advice
from predictd.workflows.training.solvers import SOLVERS
from predictd.workflows.training.solvers.solver import Choice, FitData
from predictd.workflows.training.train import train

# A descent of a second or so.
QUICK = SgdSettings(min_bins=1500, burn_in_epochs=0.1, updates_per_round=1000, patience=8, max_rounds=60)
SGD = TrainSettings(solver="sgd", rank=3, sgd=QUICK)


@pytest.fixture(scope="module")
def folds(tmp_path_factory: pytest.TempPathFactory, tensor_path: Path) -> Path:
    path = tmp_path_factory.mktemp("folds") / "folds.json"
    write_folds(Tensor(tensor_path), path, tests=4, valids=3, seed=1)
    return path


def trained(tensor: Path, output: Path, engine: Engine, settings: TrainSettings = SGD, **options) -> bytes:
    """Train; the bytes of the model file."""
    train(tensor, output, settings, engine, **options)
    return output.read_bytes()


# -- how well ---------------------------------------------------------------------------------------------------------


def test_sgd_imputes_the_missing_far_better_than_the_mean(model_path, tensor_path, data, engine, tmp_path):
    impute(model_path, tensor_path, tmp_path / "imputed", engine)
    rows = evaluate(tmp_path / "imputed", data / "truth.tsv", tmp_path / "metrics.tsv", engine).rows
    assert len(rows) == 3 * 6
    means = mean_measures(rows, ("MSEglobal", "GWcorrasinh"))
    for baseline in ("assay_mean", "assay_mean_scaled"):
        assert means["model"]["MSEglobal"] < 0.5 * means[baseline]["MSEglobal"]
        assert means["model"]["GWcorrasinh"] > means[baseline]["GWcorrasinh"] + 0.05


# -- the descent against a plain one ----------------------------------------------------------------------------------


def plain_descent(
    problem: SgdProblem, rounds: Sequence[tuple[float, float]], workers: int
) -> tuple[CPModel, float]:
    """The same descent with the reference's updates: the model, and its error on the validation experiments."""
    n, rank, options = len(problem.train), problem.rank, problem.settings
    y = [read_sample(problem.sample, problem.train + problem.valid, w, workers) for w in range(workers)]
    cells = sorted({e.cell_type for e in problem.names})
    assays = sorted({e.assay for e in problem.names})
    pair_cells = np.array([cells.index(e.cell_type) for e in problem.train], np.int32)
    pair_assays = np.array([assays.index(e.assay) for e in problem.train], np.int32)

    means = np.concatenate(y)[:, :n].mean(axis=0, dtype=np.float64)
    mu = means.mean()
    p = np.array([(means - mu)[pair_cells == c].mean() for c in range(len(cells))])
    q = np.array([(means - mu - p[pair_cells])[pair_assays == a].mean() for a in range(len(assays))])
    if problem.paper_constants:
        weights = paper_penalties(rank, len(cells), len(assays), sum(map(len, y)))
    else:
        factor = problem.regularisation
        shape = (len(cells), len(assays))
        weights = penalties(factor, factor, problem.lambda_g, pair_cells, pair_assays, *shape)

    everywhere = np.random.default_rng([problem.seed, 0])
    c = Rows.from_factors(initial_factors(len(cells), rank, options.init, everywhere), p, np.float64)
    a = Rows.from_factors(initial_factors(len(assays), rank, options.init, everywhere), q, np.float64)
    bins = []
    for worker, own in enumerate(y):
        rng = np.random.default_rng([problem.seed, 1, worker])
        r = own[:, :n].mean(axis=1, dtype=np.float64) - (mu + p[pair_cells] + q[pair_assays]).mean()
        bins.append(Rows.from_factors(initial_factors(len(r), rank, options.init, rng), r, np.float64))

    def update(c, a, g, y, count, rate, beta1, worker, round_):
        reference.sgd_updates(
            c,
            a,
            g,
            np.ascontiguousarray(y[:, :n]),
            UpdateRule(
                rank=rank,
                pair_cells=pair_cells,
                pair_assays=pair_assays,
                pen_cells=weights.cells,
                pen_assays=weights.assays,
                pen_bins=weights.bins,
                mu=mu,
                learning_rate=rate,
                beta1=beta1,
                beta2=options.beta2,
                epsilon=options.epsilon,
                decay=options.decay,
            ),
            stream=draw_stream(problem.seed, worker, round_),
            first=0,
            count=count,
        )

    burn_in = min(options.burn_in_bins, len(y[0]))
    first = Rows(bins[0].values[:burn_in], bins[0].scalars[:burn_in])
    count = int(options.burn_in_epochs * burn_in * n)
    update(c, a, first, y[0][:burn_in], count, options.learning_rate, options.beta1, 0, 0)
    for number, (rate, beta1) in enumerate(rounds, start=1):
        copies = [(c.copy(), a.copy()) for _ in range(workers)]
        for worker, (own_c, own_a) in enumerate(copies):
            update(
                own_c, own_a, bins[worker], y[worker], options.updates_per_round, rate, beta1, worker, number
            )
        if workers > 1:
            c = merge([own_c for own_c, _ in copies], c)
            a = merge([own_a for _, own_a in copies], a)
        else:
            ((c, a),) = copies

    model = CPModel(
        tuple(cells),
        tuple(assays),
        c.factors(rank),
        a.factors(rank),
        c.biases(rank),
        a.biases(rank),
        mu,
        2.9 if problem.paper_constants else problem.lambda_g,
        problem.train,
    )
    if not problem.valid:
        return model.canonical(), float("nan")
    signal = np.concatenate(y).astype(np.float64)
    z, o = model.design(problem.train)
    z_valid, o_valid = model.design(problem.valid)
    genome = reference.closed_form_genome(z, model.lambda_g, signal[:, :n] - o)
    return model.canonical(), float(((genome @ z_valid + o_valid - signal[:, n:]) ** 2).mean())


# Means are made from single precision, and Nadam's first steps have the same length however small a gradient is.
CLOSE = {"rtol": 1e-4, "atol": 1e-6}
TINY = SgdSettings(
    dtype="float64",
    bin_fraction=1e-6,
    min_bins=90,
    burn_in_bins=20,
    updates_per_round=150,
    rounds_per_evaluation=3,
    max_rounds=3,
    learning_rate=0.02,
)


def chosen(settings: TrainSettings, rank: int) -> TrainSettings:
    return settings.model_copy(update={"rank": rank, "regularisation": 1e-3})


def tiny_problem(tensor: Tensor, folder: Path, **changes) -> SgdProblem:
    fold = choose_fold(tensor, None, None, 0)
    settings = TrainSettings(solver="sgd", sgd=TINY, lambda_g=0.05)
    return replace(sgd_problem(tensor, fold, chosen(settings, 2), seed=5, checkpoint=folder / "c"), **changes)


def assert_same_model(one: CPModel, other: CPModel, **tolerance) -> None:
    assert (one.cell_types, one.assays, one.train) == (other.cell_types, other.assays, other.train)
    assert one.mu == pytest.approx(other.mu, rel=1e-6)
    assert one.lambda_g == other.lambda_g
    for name in ("c", "a", "p", "q"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), **tolerance)


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("paper", [False, True])
def test_the_search_is_the_plain_descent(tensor, tmp_path, workers, paper):
    problem = tiny_problem(tensor, tmp_path, paper_constants=paper)
    with lend_engine(workers) as engine:
        results = engine.spmd(descend, [], problem)
    model, mse = plain_descent(problem, [(0.02, 0.9)] * 3, workers)
    assert model.rank == 2 and np.abs(model.c).max() > 0.01
    for result in results:
        assert_same_model(result.model, model, **CLOSE)
        assert result.history == pytest.approx((mse,), rel=1e-5)
        assert (result.rounds, result.updates) == (3, 3 * 150 * workers)
        assert result.schedule == (RateStage(0.02, 0.9, 1),)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_schedule_is_followed_stage_by_stage(tensor, tmp_path, workers):
    schedule = (RateStage(0.02, 0.9, 1), RateStage(0.01, 0.8, 2), RateStage(0.005, 0.6, 1))
    problem = tiny_problem(tensor, tmp_path)
    problem = replace(
        problem, valid=(), schedule=schedule, settings=TINY.model_copy(update={"rounds_per_evaluation": 2})
    )
    with lend_engine(workers) as engine:
        result = engine.spmd(descend, [], problem)[0]
    rounds = [(0.02, 0.9)] * 2 + [(0.01, 0.8)] * 4 + [(0.005, 0.6)] * 2
    assert result.rounds == len(rounds)
    model, _ = plain_descent(problem, rounds, workers)
    assert_same_model(result.model, model, **CLOSE)


def test_a_refit_of_the_same_experiments_repeats_the_search(tensor, engine, tmp_path):
    fold = choose_fold(tensor, None, None, 0)
    settings = SGD.model_copy(update={"sgd": QUICK.model_copy(update={"max_restores": 0})})
    search = sgd_problem(tensor, fold, chosen(settings, 3), seed=0, checkpoint=tmp_path / "c")
    found: DescentResult = engine.spmd(descend, [], search)[0]
    best = int(np.argmin(found.history)) + 1
    assert best > 1 and found.schedule == (RateStage(0.005, 0.9, best),)
    repeated = engine.spmd(descend, [], replace(search, valid=(), schedule=found.schedule, phase="refit"))[0]
    assert repeated.rounds == 3 * best
    assert_same_model(repeated.model, found.model, **CLOSE)


def test_a_refit_trains_all_experiments_for_as_many_passes(tensor_path, engine, tmp_path, monkeypatch):
    problems = []

    def watched(comm, keys, problem):
        if comm.rank == 0:
            problems.append(problem)
        return descend(comm, keys, problem)

    monkeypatch.setattr("predictd.workflows.training.sgd.fit.descend", watched)
    report = train(tensor_path, tmp_path / "m.h5", SGD, engine)
    search, refit = problems
    tensor = Tensor(tensor_path)
    assert report.refitted and refit.valid == () and refit.train == tuple(sorted(tensor.experiments))
    assert set(search.train) | set(search.valid) == set(refit.train) and len(search.valid) == 3
    model, file = load_model(tmp_path / "m.h5")
    assert model.train == refit.train
    # 18 experiments instead of 15.
    history = file.info["history"]
    assert sum(stage.evaluations for stage in refit.schedule) == pytest.approx(
        (np.argmin(history) + 1) * 1.2, abs=2
    )
    assert file.info["validation_mse"] == min(history) == report.validation_mse


# -- the same bytes ---------------------------------------------------------------------------------------------------


def test_equal_seed_and_workers_give_equal_bytes(tensor_path, engine, tmp_path):
    once = trained(tensor_path, tmp_path / "1.h5", engine, seed=4)
    assert trained(tensor_path, tmp_path / "2.h5", engine, seed=4) == once
    assert trained(tensor_path, tmp_path / "3.h5", engine, seed=5) != once


def test_one_and_two_workers_find_models_alike(tensor_path, model_path, tmp_path, single):
    one = train(tensor_path, tmp_path / "m.h5", TrainSettings(solver="sgd", rank=3), single)
    _, two = load_model(model_path)
    assert one.validation_mse == pytest.approx(two.info["validation_mse"], rel=0.25)
    assert [str(e) for e in one.fold.valid] == two.info["fold"]["valid"]


def test_saving_now_and_then_changes_nothing(tensor_path, engine, tmp_path, monkeypatch):
    undisturbed = trained(tensor_path, tmp_path / "1.h5", engine)
    saved = []
    commit = Checkpoint.commit
    monkeypatch.setattr(descent, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(Checkpoint, "commit", lambda self, name: (saved.append(name), commit(self, name)))
    assert trained(tensor_path, tmp_path / "2.h5", engine) == undisturbed
    assert len(saved) > 20
    assert not (tmp_path / "2.h5.checkpoint").exists()


# -- stopping and going on --------------------------------------------------------------------------------------------

SLOW = """
[train]
solver = "sgd"
rank = 3
[train.sgd]
min_bins = 1500
burn_in_epochs = 0.1
updates_per_round = 1000
rounds_per_evaluation = 1
patience = 1000
max_restores = 0
max_rounds = 30
"""
# The command line, saving its state after every evaluation. Once the state of a given round of the search or the refit
# is saved, it says so and waits for leave to go on, so that a signal can meet it there.
HELD = """
import sys, time
from pathlib import Path
from predictd.cli import main
from predictd.io.checkpoint import Checkpoint
from predictd.workflows.training.sgd import descent

phase, wanted = sys.argv.pop(1), sys.argv.pop(1)

def commit(self, name, commit=Checkpoint.commit):
    commit(self, name)
    if name == wanted and (self.path / "search.json").exists() == (phase == "refit"):
        Path("reached").touch()
        end = time.monotonic() + 60
        while not Path("go").exists() and time.monotonic() < end:
            time.sleep(0.01)

descent.CHECKPOINT_SECONDS = 0.0
Checkpoint.commit = commit
main()
"""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, tensor_path: Path) -> Path:
    """A directory with slow.toml and the model that it gives."""
    path = tmp_path_factory.mktemp("undisturbed")
    (path / "slow.toml").write_text(SLOW)
    done = call_predictd(*command(tensor_path, path), cwd=path)
    assert done.returncode == 0, done.stderr
    return path


def command(tensor_path: Path, folder: Path, *more: object) -> list[object]:
    return ["train", tensor_path, "-o", "m.h5", "--config", folder / "slow.toml", "--workers", 2, *more]


@pytest.fixture
def hold(
    tensor_path: Path, undisturbed: Path, tmp_path: Path
) -> Iterator[Callable[[str, int], subprocess.Popen[str]]]:
    """Train in tmp_path up to a round, where it waits; whatever still runs is killed with the test."""
    started = []

    def hold(phase: str, round_: int) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", HELD, phase, str(round_), *map(str, command(tensor_path, undisturbed))],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONSAFEPATH": "1"},
        )
        started.append(process)
        end = time.monotonic() + 60
        while not (tmp_path / "reached").exists():
            assert process.poll() is None and time.monotonic() < end, process.communicate()
            time.sleep(0.01)
        return process

    yield hold
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.processes
@pytest.mark.parametrize(
    ("number", "phase"), [(signal.SIGUSR1, "train"), (signal.SIGTERM, "refit"), (signal.SIGINT, "train")]
)
def test_a_signal_saves_and_the_same_command_ends_with_the_same_bytes(
    number, phase, hold, undisturbed, tensor_path, tmp_path
):
    process = hold(phase, 12)
    process.send_signal(number)
    (tmp_path / "go").touch()
    out, err = process.communicate()
    assert process.returncode == 75 and not out
    stopped = re.fullmatch(
        r"predictd: .*stopping after .* to stop now\n"
        rf"predictd: error: stopped by {number.name} after round (\d+); the state is saved, run the same command again "
        r"to go on from here\n",
        err,
    )
    assert stopped and 13 <= int(stopped[1]) <= 20
    assert json.loads((tmp_path / "m.h5.checkpoint" / "latest.json").read_text())["name"] == stopped[1]
    assert not (tmp_path / "m.h5").exists()
    done = call_predictd(*command(tensor_path, undisturbed), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "m.h5").read_bytes() == (undisturbed / "m.h5").read_bytes()
    assert not (tmp_path / "m.h5.checkpoint").exists()


@pytest.mark.processes
@pytest.mark.parametrize("phase", ["train", "refit"])
def test_a_killed_run_goes_on_from_its_last_checkpoint(phase, hold, undisturbed, tensor_path, tmp_path):
    process = hold(phase, 20)
    process.kill()
    process.wait()
    done = call_predictd(*command(tensor_path, undisturbed), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "m.h5").read_bytes() == (undisturbed / "m.h5").read_bytes()
    stages = [stage["name"] for stage in json.loads((tmp_path / "m.h5.run.json").read_text())["stages"]]
    assert stages == (["refit"] if phase == "refit" else ["train", "refit"])


def interrupted(tensor_path: Path, output: Path, engine: Engine, **options) -> None:
    """Leave a checkpoint behind."""
    with interrupt.catching():
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted, match="stopped by SIGTERM after round 0; the state is saved"):
            train(tensor_path, output, SGD, engine, **options)
    assert (output.parent / f"{output.name}.checkpoint").is_dir() and not output.exists()


@pytest.mark.parametrize(
    ("settings", "options", "difference"),
    [
        ({"rank": 2}, {}, "settings.rank: 3, now 2"),
        ({"regularisation": 0.5}, {}, "settings.lambda: 0.001, now 0.5"),
        ({"sgd": QUICK.model_copy(update={"beta2": 0.99})}, {}, "settings.sgd.beta2: 0.999, now 0.99"),
        ({}, {"seed": 8}, "seed: 0, now 8"),
    ],
)
def test_another_configuration_is_not_mixed_in(tensor_path, engine, tmp_path, settings, options, difference):
    output = tmp_path / "m.h5"
    interrupted(tensor_path, output, engine)
    with pytest.raises(OutputError) as caught:
        train(tensor_path, output, SGD.model_copy(update=settings), engine, **options)
    assert f"m.h5.checkpoint holds an unfinished job that was begun differently ({difference})" in str(
        caught.value
    )
    # The state is still good for the command that it belongs to.
    train(tensor_path, output, SGD, engine)


def test_another_solver_leaves_a_stopped_descent_as_it_is(tensor_path, engine, tmp_path):
    output = tmp_path / "m.h5"
    interrupted(tensor_path, output, engine)
    with pytest.raises(
        OutputError, match="holds the state of an unfinished training of the same output; finish"
    ):
        train(tensor_path, output, SGD.model_copy(update={"solver": "em", "regularisation": 0.1}), engine)
    assert not output.exists()
    train(tensor_path, output, SGD, engine)
    assert not (tmp_path / "m.h5.checkpoint").exists()
    # Where nothing is unfinished, the model is replaced.
    train(tensor_path, output, SGD.model_copy(update={"solver": "em", "regularisation": 0.1}), engine)
    assert load_model(output)[1].info["settings"]["solver"] == "em"


def test_a_fold_goes_on_from_its_own_states_only(tensor_path, tmp_path):
    data, path = FitData(Tensor(tensor_path)), tmp_path / "fold.checkpoint"
    fold, choice = choose_fold(data.tensor, None, None, 0), Choice(chosen(SGD, 3), "")

    def history(seed: int, checkpoint: Path | None = None) -> tuple[float, ...]:
        return SOLVERS["sgd"].fit(data, fold, choice, seed=seed, checkpoint=checkpoint).history

    with interrupt.catching():
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted):
            history(1, path)
    assert (path / "latest.json").exists()
    with pytest.raises(OutputError, match=r"begun differently \(seed: 1, now 2\)"):
        history(2, path)
    # Of nobody: as whoever saved states without saying whose they are has left them.
    (path / ".partial" / "job.json").unlink()
    assert history(2, path) == history(2) != history(1)
    assert not path.exists()


def test_another_number_of_workers_or_tensor_is_not_mixed_in(tensor_path, engine, tmp_path):
    output = tmp_path / "m.h5"
    interrupted(tensor_path, output, engine)
    with (
        lend_engine(1) as alone,
        pytest.raises(OutputError, match=r"begun differently \(workers: 2, now 1\)"),
    ):
        train(tensor_path, output, SGD, alone)
    tensor = Tensor(tensor_path)
    other = with_signal(tensor, tmp_path / "other", stored_signal(tensor) + 1)
    with pytest.raises(OutputError, match=r"begun differently \(tensor: [0-9a-f]{64}, now [0-9a-f]{64}\)"):
        train(other.path, output, SGD, engine)


def test_a_damaged_checkpoint_is_told(tensor_path, engine, tmp_path):
    output = tmp_path / "m.h5"
    interrupted(tensor_path, output, engine)
    file = tmp_path / "m.h5.checkpoint" / "state-0" / "worker-1.h5"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(
        OutputError, match=r"the checkpoint in .*m.h5.checkpoint is damaged .*remove it to start"
    ):
        train(tensor_path, output, SGD, engine)


# -- folds ------------------------------------------------------------------------------------------------------------


def test_a_fold_trains_its_training_experiments_only(tensor_path, folds, engine, tmp_path):
    report = train(tensor_path, tmp_path / "m.h5", SGD, engine, folds=folds, fold_name="2.1")
    fold = next(f for f in json.loads(folds.read_text()) if f["name"] == "2.1")
    model, file = load_model(tmp_path / "m.h5")
    assert sorted(map(str, model.train)) == sorted(fold["train"])
    assert file.info["fold"] == {key: fold[key] for key in ("name", "test", "valid")}
    assert file.info["refitted"] is report.refitted is False and report.fold.name == "2.1"
    run = json.loads((tmp_path / "m.h5.run.json").read_text())
    asked = SGD.model_dump(mode="json", by_alias=True) | {"folds": str(folds), "fold_name": "2.1"}
    assert run["settings"] == asked and run["inputs"][str(folds)] == sha256_of(folds)
    # Cell types and assays that only others have keep their rows.
    tensor = Tensor(tensor_path)
    assert set(model.cell_types) == {e.cell_type for e in tensor.experiments}


def test_test_experiments_have_no_influence(tensor, folds, engine, tmp_path):
    fold = choose_fold(tensor, folds, "1.0", 0)
    signal = stored_signal(tensor)
    rng = np.random.default_rng(0)
    columns = tensor.columns(fold.test)
    signal[:, columns] = rng.gamma(2.0, 3.0, (len(signal), len(columns)))
    other = with_signal(tensor, tmp_path / "other", signal)
    models = []
    for path in (tensor.path, other.path):
        output = tmp_path / f"{path.name}.h5"
        train(path, output, SGD, engine, folds=folds, fold_name="1.0")
        models.append(load_model(output))
    (one, first), (two, second) = models
    assert first.info["tensor"] != second.info["tensor"]
    for name in ("c", "a", "p", "q"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    assert (one.mu, one.lambda_g, first.info["history"]) == (two.mu, two.lambda_g, second.info["history"])


@pytest.mark.parametrize(
    ("with_file", "name", "message"),
    [
        (True, "9.9", r"folds.json has no fold '9.9'; they are 0.0, 0.1, 0.2, 1.0, 1.1 and \d+ more$"),
        (True, None, r"folds.json needs `fold_name`: choose one of its folds; they are 0.0, "),
        (False, "0.3", r"^`fold_name` 0.3 needs `folds`: name the file that 'predictd folds' wrote$"),
    ],
)
def test_folds_that_are_not_there(tensor_path, folds, engine, tmp_path, with_file, name, message):
    with pytest.raises(ConfigError, match=message):
        train(
            tensor_path,
            tmp_path / "m.h5",
            SGD,
            engine,
            folds=folds if with_file else None,
            fold_name=name,
        )
    assert not list(tmp_path.iterdir())


def test_folds_that_leave_nothing_to_learn_from(tensor, engine, tmp_path):
    pairs = tensor.experiments
    lost = [e for e in pairs if e.cell_type == "C3"]
    kept = [e for e in pairs if e.cell_type != "C3"]

    def fold(test, valid, training):
        names = {"test": test, "valid": valid, "train": training}
        (tmp_path / "f.json").write_text(
            json.dumps([{"name": "x", **{key: [str(e) for e in value] for key, value in names.items()}}])
        )
        train(tensor.path, tmp_path / "m.h5", SGD, engine, folds=tmp_path / "f.json", fold_name="x")

    with pytest.raises(DataError, match=r"^fold x: no training experiment of cell type C3 is left"):
        fold(lost, kept[:1], kept[1:])
    with pytest.raises(DataError, match=r"^fold x: no training experiment of assay A2 is left"):
        fold([e for e in pairs if e.assay == "A2"], [pairs[0]], [e for e in pairs[1:] if e.assay != "A2"])
    with pytest.raises(
        DataError, match=r"^fold x has no validation experiments; training needs them to know when"
    ):
        fold(pairs[:1], [], pairs[1:])


# -- settings ---------------------------------------------------------------------------------------------------------


def test_the_default_rank_is_told(tensor_path, engine, tmp_path, caplog):
    report = train(tensor_path, tmp_path / "m.h5", SGD.model_copy(update={"rank": "auto"}), engine)
    assert report.rank <= default_rank(15) == 5
    assert "15 training experiments are too few for rank 100: using a `rank` of 5" in caplog.text
    assert load_model(tmp_path / "m.h5")[1].info["settings"]["rank"] == 5


@pytest.mark.parametrize(("n_train", "rank"), [(1, 1), (5, 1), (15, 5), (299, 99), (300, 100), (1000, 100)])
def test_default_ranks(n_train, rank):
    assert default_rank(n_train) == rank


def test_a_rank_too_high_is_refused_and_leaves_nothing(tensor_path, engine, tmp_path):
    with pytest.raises(
        ConfigError, match=r"^rank 15 is too high for 15 training experiments, .* use a `rank` of 5 or so$"
    ):
        train(tensor_path, tmp_path / "m.h5", TrainSettings(solver="sgd", rank=15), engine)
    assert not list(tmp_path.iterdir())


def test_the_papers_constants_are_another_objective(tensor_path, engine, tmp_path):
    settings = SGD.model_copy(update={"predictd_constants": True})
    report = train(tensor_path, tmp_path / "m.h5", settings, engine)
    model, file = load_model(tmp_path / "m.h5")
    assert model.lambda_g == 2.9
    assert file.info["objective"] == "predictd-constants" and "the paper's own penalties" in report.chosen
    train(tensor_path, tmp_path / "j.h5", SGD, engine)
    model, file = load_model(tmp_path / "j.h5")
    assert model.lambda_g == SGD.lambda_g and file.info["objective"] == "J"


@pytest.mark.parametrize(
    "changes",
    [
        {"learning_rate": 1e10},
        {"learning_rate": 1e60, "dtype": "float64"},
        # Here updates stay finite, and errors squared do not.
        {"learning_rate": 1e40, "dtype": "float64"},
    ],
)
def test_divergence_is_told_and_does_not_stand_in_the_way(tensor_path, engine, tmp_path, changes):
    wild = SGD.model_copy(update={"sgd": QUICK.model_copy(update=changes)})
    with pytest.raises(DataError, match=r"^the descent diverged in round \d+; lower the learning rate"):
        train(tensor_path, tmp_path / "m.h5", wild, engine)
    assert not list(tmp_path.iterdir())
    train(tensor_path, tmp_path / "m.h5", SGD, engine)


def test_factors_too_large_to_solve_with_have_diverged(tensor_path, engine, tmp_path, monkeypatch):
    def fail(*arguments):
        raise np.linalg.LinAlgError("3-th leading minor of the array is not positive definite")

    monkeypatch.setattr(CPModel, "affine", fail)
    with pytest.raises(DataError, match=r"^the descent diverged in round 3"):
        train(tensor_path, tmp_path / "m.h5", SGD, engine)


@pytest.mark.parametrize(
    ("update", "exchange", "told"),
    [
        (91, 10, None),
        (1, 9, None),
        (90, 30, '25% .* set updates_per_round to 15000 or "auto" in'),
        (1, 19, "855000"),
    ],
)
def test_rounds_that_exchange_too_much_are_told(update, exchange, told):
    advice = exchange_advice(update, exchange, 5000)
    assert (advice is None) if told is None else re.search(told, advice)


def with_rounds(updates: int | str) -> TrainSettings:
    """Few rounds, since those that are sized are long."""
    few = {"updates_per_round": updates, "max_rounds": 6}
    return SGD.model_copy(update={"sgd": QUICK.model_copy(update=few)})


def test_rounds_that_are_sized_give_what_the_same_size_gives(tensor_path, engine, tmp_path):
    train(tensor_path, tmp_path / "auto.h5", with_rounds("auto"), engine)
    _, file = load_model(tmp_path / "auto.h5")
    size = file.info["settings"]["sgd"]["updates_per_round"]
    assert size >= 5000 and size % 1000 == 0
    told = json.loads((tmp_path / "auto.h5.run.json").read_text())
    assert [stage["name"] for stage in told["stages"]] == ["measure", "train", "refit"]
    train(tensor_path, tmp_path / "given.h5", with_rounds(size), engine)
    assert (tmp_path / "given.h5").read_bytes() == (tmp_path / "auto.h5").read_bytes()


def test_rounds_are_sized_once(tensor_path, tmp_path):
    """Whoever goes on takes the size that was measured; a worker that is alone has nobody to exchange with."""
    tensor = Tensor(tensor_path)
    fold = choose_fold(tensor, None, None, 0)
    checkpoint = Checkpoint(tmp_path / "c")
    checkpoint.begin({})
    checkpoint.keep("rounds", {"updates_per_round": 7000})
    for workers, expected in ((2, 7000), (1, 5000)):
        problem = sgd_problem(
            tensor, fold, chosen(with_rounds("auto"), 3), seed=0, checkpoint=checkpoint.path
        )
        with lend_engine(workers) as engine:
            _, updates_per_round = fit_sgd(problem, None, engine, checkpoint, RunRecord("train"))
        assert updates_per_round == expected


@pytest.mark.parametrize(("update", "exchange", "size"), [(9, 1, 5000), (100, 1, 5000), (1, 1, 45000)])
def test_enough_updates(update, exchange, size):
    assert enough_updates(update, exchange, 5000) == size


def test_what_is_recorded(tensor_path, engine, tmp_path):
    with command_line(["predictd", "train", "a b"]):
        report = train(tensor_path, tmp_path / "m.h5", SGD, engine, seed=3)
    kept = json.loads((tmp_path / "m.h5.run.json").read_text())
    tensor = Tensor(tensor_path)
    assert (kept["command"], kept["workflow"]) == ("predictd train 'a b'", "train")
    assert kept["settings"] == SGD.model_dump(mode="json", by_alias=True)
    assert (kept["engine"], kept["workers"], kept["seed"]) == ("local", 2, 3)
    assert kept["inputs"] == {str(tensor_path): tensor.manifest.checksum}
    assert kept["train"] == [str(e) for e in tensor.experiments]
    assert kept["results"]["validation_mse"] == report.validation_mse
    assert kept["results"]["bins_trained_on"] == 1500
    assert [stage["name"] for stage in kept["stages"]] == ["train", "refit"]
    assert all(stage["seconds"] > 0 and stage["peak_memory_bytes"] > 1e7 for stage in kept["stages"])
    # Two workers exchange the rows of 6 cell types and 4 assays: 3 × 16 float32 and 3 float64 each, every round.
    rows = 10 * (3 * 16 * 4 + 3 * 8)
    rounds = 3 * len(load_model(tmp_path / "m.h5")[1].info["history"])
    assert kept["stages"][0]["bytes_exchanged"] >= 2 * rows * rounds
    assert all(0 < stage["exchange_seconds"] < stage["seconds"] for stage in kept["stages"])
    _, file = load_model(tmp_path / "m.h5")
    assert file.info["software"].items() <= kept["software"].items() and file.info["workers"] == 2
    assert file.info["software"].keys() ^ kept["software"].keys() == {"mpi4py", "pyspark"}
    assert sorted(tmp_path.iterdir()) == [tmp_path / "m.h5", tmp_path / "m.h5.run.json"]


# -- incomplete tensors -----------------------------------------------------------------------------------------------


def with_gaps(tensor: Tensor, path: Path, share: float) -> Tensor:
    """A share of the bins has no value in C2:A1, and a few of them none in C1:A1 either."""
    signal = stored_signal(tensor)
    rows = np.random.default_rng(3).permutation(len(signal))[: int(share * len(signal))]
    signal[rows, tensor.experiments.index(Experiment("C2", "A1"))] = np.nan
    signal[rows[: len(rows) // 10], 0] = np.nan
    return with_signal(tensor, path, signal)


@pytest.mark.parametrize(("share", "warned"), [(0.04, False), (0.06, True)])
def test_incomplete_bins_are_warned_of(tensor, engine, tmp_path, caplog, share, warned):
    gaps = with_gaps(tensor, tmp_path / "gaps", share)
    train(gaps.path, tmp_path / "m.h5", SGD, engine)
    told = [entry.getMessage() for entry in caplog.records if "have a value in every" in entry.getMessage()]
    assert len(told) == warned
    if warned:
        assert re.match(r"only 18,8\d\d of 20,0\d\d bins \(94.0%\) of ", told[0]) or "94.0%" in told[0]
        assert "the least covered are C2:A1 (94.0%), C1:A1 (99.4%): leave them out" in told[0]


def test_a_tensor_of_gaps_is_refused(tensor, engine, tmp_path):
    gaps = with_gaps(tensor, tmp_path / "gaps", 0.51)
    with pytest.raises(DataError) as caught:
        train(gaps.path, tmp_path / "m.h5", SGD, engine)
    message = str(caught.value)
    assert "\n" not in message and message.startswith("only 9,800 of 20,000 bins (49.0%) of ")
    assert "C2:A1 (49.0%), C1:A1 (94.9%): leave them out" in message and message.endswith(
        "at least 50% are needed"
    )
    assert not (tmp_path / "m.h5.checkpoint").exists()


# -- the sample -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def numbered(tmp_path_factory: pytest.TempPathFactory) -> Tensor:
    """A tensor whose second track numbers the bins, in shards of different completeness."""
    n = 1800
    signal = np.zeros((n, 3))
    signal[:, 1] = np.arange(n)
    rng = np.random.default_rng(0)
    signal[:600][rng.random(600) < 0.5, 0] = np.nan
    signal[600:1200][rng.random(600) < 0.1, 2] = np.nan
    return small_tensor(tmp_path_factory.mktemp("numbered") / "t", signal)


def sampled(plan, tensor: Tensor, workers: int = 1) -> list[np.ndarray]:
    return [read_sample(plan, tuple(tensor.experiments), worker, workers) for worker in range(workers)]


def test_a_sample_has_complete_bins_only_and_each_once(numbered):
    (y,) = sampled(plan_sample(numbered, 700, 1), numbered)
    assert y.shape == (700, 3) and y.dtype == np.float32 and y.flags.c_contiguous
    assert np.isfinite(y).all()
    complete = ~np.isnan(stored_signal(numbered)).any(axis=1)
    numbers = y[:, 1].astype(int)
    assert len(set(numbers)) == 700 and complete[numbers].all()


def test_a_sample_is_the_same_for_any_number_of_workers(numbered):
    plan = plan_sample(numbered, 701, 2)
    (whole,) = sampled(plan, numbered)
    for workers in (2, 3, 7):
        parts = sampled(plan, numbered, workers)
        np.testing.assert_array_equal(np.concatenate(parts), whole)
        assert {len(part) for part in parts} <= {701 // workers, 701 // workers + 1}


def test_a_sample_is_uniform(numbered):
    complete = np.flatnonzero(~np.isnan(stored_signal(numbered)).any(axis=1))
    counts = np.zeros(numbered.n_bins)
    draws, size = 100, 200
    for seed in range(draws):
        plan = plan_sample(numbered, size, seed)
        (y,) = sampled(plan, numbered)
        counts[y[:, 1].astype(int)] += 1
    # Each shard gives its share, and each complete bin is drawn with probability size / complete bins.
    per_shard = [size * entry.n_complete / len(complete) for entry in numbered.manifest.shards]
    assert all(abs(have - want) < 1 for have, want in zip(plan.per_shard, per_shard, strict=True))
    share = size / len(complete)
    deviations = (counts[complete] - draws * share) / np.sqrt(draws * share * (1 - share))
    assert abs(deviations.mean()) < 0.05 and 0.9 < deviations.std() < 1.1 and np.abs(deviations).max() < 5


def test_a_sample_is_seeded_and_takes_what_there_is(numbered):
    plan = plan_sample(numbered, 10**9, 0)
    assert plan.n_bins == numbered.n_complete
    (y,) = sampled(plan, numbered)
    complete = ~np.isnan(stored_signal(numbered)).any(axis=1)
    np.testing.assert_array_equal(y[:, 1], np.flatnonzero(complete))
    one, two = (sampled(plan_sample(numbered, 50, seed), numbered)[0] for seed in (1, 2))
    assert not np.array_equal(one, two)
    np.testing.assert_array_equal(sampled(plan_sample(numbered, 50, 1), numbered)[0], one)
    # Any columns, in the order in which they are asked for.
    wanted = (numbered.experiments[2], numbered.experiments[1])
    chosen = read_sample(plan_sample(numbered, 50, 1), wanted, 0, 1)
    np.testing.assert_array_equal(chosen, one[:, [2, 1]])


def test_training_needs_no_more_than_the_tensor(own_tensor, engine, tmp_path):
    # Neither the signal files nor what ingest recorded.
    (own_tensor / "run.json").unlink(missing_ok=True)
    shutil.move(own_tensor, tmp_path / "moved")
    train(tmp_path / "moved", tmp_path / "m.h5", SGD, engine)


def test_an_output_that_cannot_be_written(tensor_path, engine, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(PredictdError, match="cannot write") as caught:
        train(tensor_path, tmp_path / "file" / "m.h5", SGD, engine)
    assert "\n" not in str(caught.value)
