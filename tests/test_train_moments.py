"""`predictd train` by EM and ALS: what is chosen, what is fitted, and what it must not see."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from commands import call_predictd
from folders import names
from made_folds import FEWEST_SWEEPS, write_fold
from made_tensors import read_signal, rewritten, with_gaps
from predictd.config import AlsSettings, TrainSettings
from predictd.constants import MOMENTS
from predictd.engine import Engine
from predictd.errors import ConfigError, DataError
from predictd.io.files import write_json
from predictd.io.models import read_model
from predictd.io.tensor.store import Tensor
from predictd.model.cp.reference import closed_form_genome
from predictd.model.folds import Fold, folds_to_json, validation_split
from predictd.model.measures.metrics import MEASURES
from predictd.pairs import Experiment
from predictd.workflows.evaluation.evaluate import evaluate, mean_measures
from predictd.workflows.imputing.impute import impute
from predictd.workflows.tensor.folds import write_folds
from predictd.workflows.tensor.moments import ensure_moments, read_moments
from predictd.workflows.training.crossval import Crossval
from predictd.workflows.training.folds import selection_folds
from predictd.workflows.training.solvers import SOLVERS as REGISTRY
from predictd.workflows.training.solvers.cp import RANKS
from predictd.workflows.training.solvers.solver import Choice
from predictd.workflows.training.train import train
from refusals import refused

SOLVERS = ("em", "als")
# Enough for errors that rise on both sides of what is chosen.
CHOOSING = AlsSettings(starts=2, start_sweeps=3, max_sweeps=15)
LAMBDA = {"em": 0.1, "als": 1e-2}


def predict(path: Path, pairs: list[Experiment], tensor: Tensor, signal: np.ndarray) -> np.ndarray:
    """Predictions (bins × pairs) of a model file for complete bins, by the reference's closed form in float64."""
    part = read_model(path).parameters
    cells, assays = list(part["cell_types"]), list(part["assays"])

    def design(some: list[Experiment]) -> tuple[np.ndarray, np.ndarray]:
        c = [cells.index(e.cell_type) for e in some]
        a = [assays.index(e.assay) for e in some]
        z = np.vstack([(part["C"][c] * part["A"][a]).T, np.ones(len(some))])
        return z, part["mu"] + part["p"][c] + part["q"][a]

    inputs = [Experiment.parse(str(text)) for text in part["train"]]
    z, o = design(inputs)
    columns = [tensor.experiments.index(e) for e in inputs]
    genome = closed_form_genome(z, float(part["lambda_G"]), signal[:, columns] - o)
    z_pairs, o_pairs = design(pairs)
    return o_pairs + genome @ z_pairs


@pytest.fixture(scope="module")
def chosen(
    tmp_path_factory: pytest.TempPathFactory, engine: Engine, tensor_path: Path
) -> dict[str, tuple[Path, str]]:
    """Models by EM and ALS with rank and penalty chosen, and why. Read only."""
    folder = tmp_path_factory.mktemp("chosen")
    return {
        solver: (
            folder / f"{solver}.h5",
            train(
                tensor_path, folder / f"{solver}.h5", TrainSettings(solver=solver, als=CHOOSING), engine
            ).chosen,
        )
        for solver in SOLVERS
    }


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_same_bytes_whatever_the_number_of_workers(solver, chosen, tensor_path, tmp_path, single):
    report = train(tensor_path, tmp_path / "m.h5", TrainSettings(solver=solver, als=CHOOSING), single)
    assert (tmp_path / "m.h5").read_bytes() == chosen[solver][0].read_bytes()
    assert report.chosen == chosen[solver][1]
    assert names(tmp_path) == ["m.h5", "m.h5.run.json"]


@pytest.mark.parametrize("solver", SOLVERS)
def test_what_is_chosen_is_told_and_kept(solver, chosen, tensor, engine):
    path, why = chosen[solver]
    name = {"em": "prior strength", "als": "lambda"}[solver]
    told = re.fullmatch(
        rf"rank (\d+), {name} (\S+): the smallest validation MSE, ([\d.]+), of (\d+) settings tried", why
    )
    assert told
    rank, penalty, score, tried = int(told[1]), float(told[2]), float(told[3]), int(told[4])
    info = read_model(path).info
    assert (info["settings"]["rank"], info["settings"]["lambda"]) == (rank, penalty)
    assert rank in RANKS and penalty in REGISTRY[solver].penalties
    assert 4 <= tried <= 6 * 6
    run = json.loads(Path(f"{path}.run.json").read_text())
    assert run["results"]["chosen"] == why

    # The score is that of eight folds in which every experiment that can be held out validates once.
    folds = selection_folds(tensor.experiments, 0)
    assert sorted(e for fold in folds for e in fold.valid) == sorted(tensor.experiments)
    data = read_moments(ensure_moments(tensor, engine))
    settings = TrainSettings(solver=solver, als=CHOOSING)

    def mse(rank: int, penalty: float) -> float:
        tried = settings.model_copy(update={"rank": rank, "regularisation": penalty})
        fits = [(fold, REGISTRY[solver].fit_moments(data, fold, Choice(tried, ""), seed=0)) for fold in folds]
        return sum(fit.validation_mse * len(fold.valid) for fold, fit in fits) / len(tensor.experiments)

    best = mse(rank, penalty)
    assert best == pytest.approx(score, abs=6e-5)
    others = [
        (RANKS[RANKS.index(rank) + 1], penalty),
        *((rank, x) for x in REGISTRY[solver].penalties if x != penalty),
    ]
    assert all(mse(*other) >= best for other in others)


@pytest.mark.parametrize("solver", SOLVERS)
def test_what_is_given_stays(solver, tensor_path, engine, tmp_path):
    penalty = LAMBDA[solver]
    name = {"em": "prior strength", "als": "lambda"}[solver]

    def run(**given: object) -> tuple[str, dict]:
        report = train(
            tensor_path, tmp_path / "m.h5", TrainSettings(solver=solver, als=FEWEST_SWEEPS, **given), engine
        )
        return report.chosen, read_model(tmp_path / "m.h5").info["settings"]

    why, kept = run(rank=3, regularisation=0.123)
    assert why == f"rank 3, {name} 0.123 (given)"
    assert (kept["rank"], kept["lambda"]) == (3, 0.123)
    why, kept = run(rank=2)
    assert kept["rank"] == 2 and kept["lambda"] in REGISTRY[solver].penalties
    assert why.endswith(f"of {len(REGISTRY[solver].penalties)} settings tried; rank given")
    why, kept = run(regularisation=penalty)
    # Ranks go up to half of the training experiments.
    assert kept["lambda"] == penalty and kept["rank"] in RANKS[:6]
    assert why.endswith(f"; {name} given")


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("gaps", [False, True], ids=["complete", "with gaps"])
def test_the_validation_error_is_that_of_the_signal(solver, gaps, tensor_path, engine, tmp_path):
    path = with_gaps(tensor_path, tmp_path / "gaps", 0.1) if gaps else tensor_path
    tensor = Tensor(path)
    fold = write_fold(tensor, tmp_path / "folds.json")
    settings = TrainSettings(solver=solver, rank=3, regularisation=LAMBDA[solver])
    report = train(
        path,
        tmp_path / "m.h5",
        settings,
        engine,
        folds=tmp_path / "folds.json",
        fold_name="0.0",
        moments=tmp_path / "moments.h5",
    )
    signal = read_signal(tensor)
    signal = signal[~np.isnan(signal).any(axis=1)]
    observed = signal[:, [tensor.experiments.index(e) for e in fold.valid]]
    wanted = np.square(predict(tmp_path / "m.h5", list(fold.valid), tensor, signal) - observed).mean()
    assert report.validation_mse == pytest.approx(wanted, rel=1e-5)
    info = read_model(tmp_path / "m.h5").info
    assert info["validation_mse"] == report.validation_mse
    assert min(entry[2] for entry in info["history"]) == report.validation_mse
    assert info["fold"] == {
        "name": "0.0",
        "test": [str(e) for e in fold.test],
        "valid": [str(e) for e in fold.valid],
    }
    assert not report.refitted and not info["refitted"]
    trained = [Experiment.parse(str(t)) for t in read_model(tmp_path / "m.h5").parameters["train"]]
    assert trained == list(fold.train)


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_refit_trains_on_all(solver, tensor_path, engine, tmp_path):
    tensor = Tensor(tensor_path)
    settings = TrainSettings(solver=solver, rank=3, regularisation=LAMBDA[solver])
    report = train(tensor_path, tmp_path / "all.h5", settings, engine)
    split = validation_split(tensor.experiments, seed=0)
    assert report.fold == split and report.refitted
    everyone = sorted(map(str, tensor.experiments))
    assert list(read_model(tmp_path / "all.h5").parameters["train"]) == everyone
    assert json.loads((tmp_path / "all.h5.run.json").read_text())["train"] == everyone
    # The error is that of the search, which saw the validation experiments only to know when to stop.
    write_json(tmp_path / "folds.json", folds_to_json([split]))
    alone = train(
        tensor_path,
        tmp_path / "fold.h5",
        settings,
        engine,
        folds=tmp_path / "folds.json",
        fold_name=split.name,
    )
    assert alone.validation_mse == report.validation_mse
    # As many sweeps on all experiments.
    data = read_moments(ensure_moments(tensor, engine))
    chosen = settings.model_copy(update={"rank": 3, "regularisation": LAMBDA[solver]})
    found = REGISTRY[solver].fit_moments(data, split, Choice(chosen, ""), seed=0)
    everything = Fold("all", (), (), tuple(tensor.experiments))
    refit = (
        REGISTRY[solver].fit_moments(data, everything, Choice(chosen, ""), seed=0, sweeps=found.sweeps).model
    )
    saved = read_model(tmp_path / "all.h5").parameters
    np.testing.assert_allclose(saved["C"], refit.c, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(saved["A"], refit.a, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("solver", SOLVERS)
def test_test_experiments_remain_unseen(solver, tensor_path, engine, tmp_path):
    tensor = Tensor(tensor_path)
    fold = write_fold(tensor, tmp_path / "folds.json")
    hidden = [tensor.experiments.index(e) for e in fold.test]

    def change(_number: int, _chrom: str, signal: np.ndarray) -> None:
        signal[:, hidden] = 3.0 * signal[::-1, hidden] + 1.0

    other = rewritten(tensor_path, tmp_path / "other", change)
    models = []
    for path in (tensor_path, other):
        output = tmp_path / f"{path.name}.h5"
        # Rank and penalty are chosen, too.
        train(
            path,
            output,
            TrainSettings(solver=solver, als=FEWEST_SWEEPS),
            engine,
            folds=tmp_path / "folds.json",
            fold_name="0.0",
        )
        models.append(read_model(output))
    for name in ("C", "A", "p", "q", "mu", "lambda_G"):
        np.testing.assert_array_equal(models[0].parameters[name], models[1].parameters[name])
    assert models[0].info["settings"] == models[1].info["settings"]
    assert models[0].info["tensor"] != models[1].info["tensor"]


def test_another_seed_is_another_model(tensor_path, engine, tmp_path):
    settings = TrainSettings(rank=2, regularisation=0.1)
    for seed in (0, 1):
        train(tensor_path, tmp_path / f"{seed}.h5", settings, engine, seed=seed)
    first, second = (read_model(tmp_path / f"{seed}.h5").info["fold"]["valid"] for seed in (0, 1))
    assert first != second


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_rank_that_is_too_high_is_refused_before_anything_is_made(solver, tensor_path, engine, tmp_path):
    with refused(ConfigError, "rank 15 is too high for 15 training experiments", "`rank` of 5"):
        train(tensor_path, tmp_path / "m.h5", TrainSettings(solver=solver, rank=15), engine)
    assert names(tmp_path) == []


def test_a_fold_that_does_not_validate_is_refused(tensor, engine, tmp_path):
    fold = validation_split(tensor.experiments)
    write_json(tmp_path / "folds.json", folds_to_json([Fold("0.0", fold.valid, (), fold.train)]))
    with refused(DataError, "fold 0.0", "no validation experiments"):
        train(
            tensor.path,
            tmp_path / "m.h5",
            TrainSettings(rank=2),
            engine,
            folds=tmp_path / "folds.json",
            fold_name="0.0",
        )


def test_the_papers_penalties_belong_to_sgd(tensor_path, engine, tmp_path):
    for solver in (*SOLVERS, "kriging", "auto"):
        settings = TrainSettings(solver=solver, predictd_constants=True)
        with refused(ConfigError, "are penalties of the `solver` sgd"):
            train(tensor_path, tmp_path / "m.h5", settings, engine)
        with refused(ConfigError, "are penalties of the `solver` sgd"):
            Crossval(tensor_path, tmp_path / "cv", settings)


def test_moments_may_stand_elsewhere(own_tensor, engine, tmp_path):
    (own_tensor / MOMENTS).unlink(missing_ok=True)
    settings = TrainSettings(rank=2, regularisation=0.1)
    train(own_tensor, tmp_path / "a.h5", settings, engine, moments=tmp_path / "moments.h5")
    assert (tmp_path / "moments.h5").is_file() and not (own_tensor / MOMENTS).exists()
    train(own_tensor, tmp_path / "b.h5", settings, engine)
    assert (own_tensor / MOMENTS).read_bytes() == (tmp_path / "moments.h5").read_bytes()
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_few_experiments_still_choose():
    """Three experiments in an L make one split, and no nested folds."""
    corner = [Experiment("C1", "A1"), Experiment("C1", "A2"), Experiment("C2", "A1")]
    folds = selection_folds(corner, 0)
    assert [(fold.valid, fold.test) for fold in folds] == [((corner[0],), ())]
    assert folds[0].train == tuple(corner[1:])
    with refused(DataError, "none of the 2 experiments can be held out"):
        selection_folds([Experiment("C1", "A1"), Experiment("C2", "A2")], 0)


def test_missing_pairs_are_imputed_better_than_by_the_assay_mean(chosen, tensor_path, data, engine, tmp_path):
    impute(chosen["em"][0], tensor_path, tmp_path / "imputed", engine, pairs="missing")
    rows = evaluate(
        tmp_path / "imputed",
        data / "truth.tsv",
        tmp_path / "metrics.tsv",
        engine,
        tensor=tensor_path,
    ).rows
    means = mean_measures(rows, MEASURES[:4])
    assert len([row for row in rows if row["method"] == "model"]) == 6
    assert means["model"]["MSEglobal"] < 0.35 * means["assay_mean"]["MSEglobal"]
    assert means["model"]["MSEglobal"] < 0.5 * means["assay_mean_scaled"]["MSEglobal"]
    assert means["model"]["GWcorrasinh"] > means["assay_mean"]["GWcorrasinh"]


def test_the_command_line(tensor, tmp_path):
    write_folds(tensor, tmp_path / "folds.json", tests=3, valids=2, seed=0)
    common = ("train", tensor.path, "-o", tmp_path / "m.h5", "--workers", 1)
    done = call_predictd(
        *common, "--rank", 2, "--lambda", 0.2, "--folds", "folds.json", "--fold", "1.1", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("rank 2, prior strength 0.2 (given)\n")
    assert "fold 1.1, 6 left out" in done.stdout
    assert read_model(tmp_path / "m.h5").info["solver"] == "em"
    done = call_predictd(*common, "--predictd-constants", cwd=tmp_path)
    assert (
        done.returncode == 1
        and "penalties of the --solver sgd" in done.stderr
        and done.stderr.count("\n") == 1
    )
