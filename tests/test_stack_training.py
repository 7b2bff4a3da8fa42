"""The stack as a solver: what it learns on which folds, what it must not see, and what comes of it."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from commands import call_predictd
from folders import names
from made_folds import FEWEST_SWEEPS, write_fold
from made_tensors import rewritten, small_tensor, stored_signal
from predictd.config import TrainSettings, load_config
from predictd.engine import Engine
from predictd.engine.local import LocalEngine
from predictd.errors import ConfigError, DataError
from predictd.io.models import read_model
from predictd.io.tensor.store import Tensor
from predictd.model.cp.factors import CPModel
from predictd.model.folds import Fold
from predictd.model.simulate import Simulation
from predictd.model.stack.inputs import related_assays
from predictd.model.stack.networks import exercise
from predictd.model.stack.stack import MEMBERS, StackModel
from predictd.model.stack.weights import Weights
from predictd.pairs import Experiment
from predictd.workflows.evaluation.factors import explain_factors
from predictd.workflows.imputing.estimators import fold_model_path, load_estimator, load_held_out, load_model
from predictd.workflows.imputing.impute import impute
from predictd.workflows.tensor import sidecar
from predictd.workflows.tensor.context import ensure_window_sample, read_window_sample
from predictd.workflows.tensor.folds import load_folds, write_folds
from predictd.workflows.tensor.moments import ensure_moments, read_moments
from predictd.workflows.training.crossval import Crossval, crossval
from predictd.workflows.training.extend import extend
from predictd.workflows.training.folds import selection_folds
from predictd.workflows.training.solvers import SOLVERS, stack
from predictd.workflows.training.solvers.solver import Choice, FitData
from predictd.workflows.training.train import TrainReport, train
from read_tables import fields_of
from refusals import refused

SETTINGS = TrainSettings(solver="stack", networks=1, als=FEWEST_SWEEPS)


@pytest.fixture(scope="module")
def tensor_path(short_path: Path) -> Path:
    """Bins enough for what a stack learns. Read only."""
    return short_path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, engine: Engine, tensor_path: Path) -> Path:
    path = tmp_path_factory.mktemp("stack") / "m.h5"
    report = train(tensor_path, path, SETTINGS, engine)
    assert report.refitted and report.rank == 0 and report.solver == "stack"
    assert all(f"{member} " in report.chosen for member in MEMBERS) and "; em of rank " in report.chosen
    return path


@pytest.fixture(scope="module")
def validated(tmp_path_factory: pytest.TempPathFactory, engine: Engine, tensor_path: Path) -> Path:
    path = tmp_path_factory.mktemp("stack") / "cv"
    write_folds(Tensor(tensor_path), path.parent / "folds.json", tests=2, valids=2, seed=0)
    crossval(tensor_path, path, SETTINGS, engine, folds=path.parent / "folds.json")
    return path


@pytest.fixture(scope="module")
def of_fold(
    tmp_path_factory: pytest.TempPathFactory, engine: Engine, tensor_path: Path
) -> tuple[Path, Fold, TrainReport]:
    """A model of a fold in a directory with folds.json."""
    path = tmp_path_factory.mktemp("fold")
    fold = write_fold(Tensor(tensor_path), path / "folds.json")
    options = {"folds": path / "folds.json", "fold_name": "0.0"}
    return path / "m.h5", fold, train(tensor_path, path / "m.h5", SETTINGS, engine, **options)


def runs_of(tensor: Tensor) -> list[int]:
    """Lengths of the stretches that windows do not leave."""
    found: list[int] = []
    for name in tensor.shard_names:
        with tensor.open_shard(name) as shard:
            found += shard.places.runs[:, 1].tolist()
    return found


def test_auto_is_the_stack():
    assert SOLVERS["auto"] is SOLVERS["stack"] and SOLVERS["auto"].members == MEMBERS


def test_a_model_does_not_depend_on_who_fits_it(trained, tensor, single, tmp_path):
    train(tensor.path, tmp_path / "m.h5", SETTINGS, single)
    assert (tmp_path / "m.h5").read_bytes() == trained.read_bytes()
    model = load_model(trained)[0]
    assert model.train == tuple(tensor.experiments) and model.members == MEMBERS
    assert model.networks.last.shape == (1, 32)


def test_imputed_tracks_are_the_models(trained, tensor, engine, tmp_path):
    report = impute(trained, tensor.path, tmp_path / "imputed", engine)
    assert len(list((tmp_path / "imputed").glob("*.bw"))) == len(report.pairs) == 6
    header, *rows = fields_of(tmp_path / "imputed" / "tracks.tsv")
    assert header == ["cell_type", "assay", "path", "transform", "status", "fold", "expected_error"]
    told = load_model(trained)[0].expected_errors([Experiment(*row[:2]) for row in rows])
    assert [float(row[6]) for row in rows] == pytest.approx(told.tolist(), rel=1e-2)
    assert all(0 < float(row[6]) <= 1 for row in rows)
    assert load_estimator(trained).estimator.everyone.train == tuple(tensor.experiments)


@pytest.fixture
def farthest_shift() -> float:
    """How far off a predicted mean counts."""
    return 1e9


@pytest.fixture
def attempt(tensor, engine, tmp_path, monkeypatch, farthest_shift):
    """What members make of a fold's validation experiments, and a sample of every bin, so that errors are exact."""
    monkeypatch.setattr(stack, "FARTHEST_SCALE", 1e9)
    monkeypatch.setattr(stack, "FARTHEST_SHIFT", farthest_shift)
    data = FitData(tensor, ensure_moments(tensor, engine, tmp_path / "m.h5"), named=True)
    settings = TrainSettings(solver="stack", rank=2, regularisation=0.3)
    fold = selection_folds(tensor.experiments, 0)[0]
    sample = ensure_window_sample(tensor, engine, data.moments, named=True)
    sampled = stack._sampled(sample, data.moments)
    tried = stack._try_fold(
        fold, stack._Trying(SOLVERS["stack"], data, settings, {"em": 7, "em_raw": 9}, 0, sampled)
    )
    assert tried.known.names == fold.valid
    return tried, sample


def predicted_by(tensor, attempt, weights):
    """A stack's predictions of the validation experiments, and their signal."""
    names, signal = attempt.known.names, stored_signal(tensor).astype(np.float64)
    imputer = replace(attempt.model, weights=weights).imputer(names)
    read = signal[:, tensor.columns(imputer.inputs)].astype(np.float32)
    return imputer(read, runs_of(tensor)), signal[:, tensor.columns(names)]


def assert_exact(member, tensor, tried):
    """A member's error by moments is that on the signal itself."""
    alone = (np.array(MEMBERS) == member).astype(np.float64)
    predicted, y = predicted_by(tensor, tried, Weights(np.tile(alone, (4, 1)), np.ones(4)))
    errors = np.mean((y - predicted) ** 2, axis=0) / y.var(axis=0)
    np.testing.assert_allclose(tried.trials.errors(alone), errors, rtol=2e-3)


@pytest.mark.parametrize("member", MEMBERS)
def test_members_are_tried_by_their_errors_on_validation_experiments(member, tensor, attempt):
    assert_exact(member, tensor, attempt[0])


@pytest.mark.parametrize("farthest_shift", [1e-3])
def test_errors_of_predicted_means_are_no_errors_of_em_in_the_tracks_own_units(tensor, attempt):
    """However far they count."""
    tried, _ = attempt
    assert (np.abs(tried.shifts) > 0.01).any()
    assert_exact("em_raw", tensor, tried)


@pytest.mark.parametrize("raw", [0.0, 0.4, 1.0], ids="em_raw has a weight of {}".format)
def test_networks_learn_what_the_stack_leaves(raw, tensor, attempt):
    """As if means and deviations were predicted without error, on which em in the tracks' own units does not depend."""
    tried, sample = attempt
    own = np.where(np.array(MEMBERS) == "em_raw", raw, (1 - raw) / (len(MEMBERS) - 1))
    lesson = tried.lesson(Weights(np.tile(own, (4, 1)), np.ones(4)), related_assays(tried.model.pooled))
    signal = read_window_sample(sample)
    names = lesson.names
    wanted = np.zeros((signal.values.shape[1], len(names)))
    for member, weight in zip(MEMBERS, own, strict=True):
        alone = (np.array(MEMBERS) == member).astype(np.float64)
        predicted, y = predicted_by(tensor, tried, Weights(np.tile(alone, (4, 1)), np.ones(4)))
        if member == "em_raw":
            wanted += weight * (predicted - y.mean(axis=0)) / y.std(axis=0)
        else:
            places = lesson.places
            wanted += weight * (predicted - tried.model.scales.means[places]) / tried.model.scales.sds[places]
    wanted = (y - y.mean(axis=0)) / y.std(axis=0) - wanted
    for row in range(len(names)):
        _, residual = exercise(lesson, row, signal, np.arange(len(wanted)))
        np.testing.assert_allclose(residual, np.clip(wanted[:, row], -8, 8), rtol=0, atol=5e-3)
    # Its scales and means are not the true ones.
    assert (np.abs(tried.scales - 1) > 0.01).any() and (np.abs(tried.shifts) > 0.01).any()


def test_em_stops_in_the_end_as_where_it_was_tried(tensor, engine, tmp_path, monkeypatch):
    """Not by the tracks that weights are learned from, nor where nothing validates."""
    data = FitData(tensor, ensure_moments(tensor, engine, tmp_path / "m.h5"), named=True)
    settings = TrainSettings(solver="stack", networks=0)
    folds = selection_folds(tensor.experiments, 0)
    choice = SOLVERS["stack"].choose(data, folds, settings, engine, seed=0)
    s, rank = read_moments(data.moments), choice.settings.rank
    of_em = settings.model_copy(update={"rank": rank, "regularisation": choice.settings.regularisation})
    of_em = of_em.model_copy(update={"als": settings.als.model_copy(update={"starts": 1})})
    for name, em in (("em", stack.STANDARDISED_EM), ("em_raw", SOLVERS["em"])):
        best = [em.fit_moments(s, fold, Choice(of_em, ""), seed=0).sweeps for fold in folds]
        assert choice.learned[f"{name}_sweeps"] == int(np.median(best)) and len(set(best)) > 1
    # A fold's validation experiments, if it has any, do not matter to its model.
    fold = folds[0]
    with_valid, without = (
        SOLVERS["stack"].fit_moments(s, own, choice, seed=0).model for own in (fold, replace(fold, valid=()))
    )
    wanted = _factors_of(s, fold, of_em, int(choice.learned["em_sweeps"]))
    for model in (with_valid, without):
        np.testing.assert_array_equal(model.factors.c, wanted)


def _factors_of(s, fold, settings, sweeps):
    alone = replace(fold, valid=())
    fit = stack.STANDARDISED_EM.fit_moments(s, alone, Choice(settings, ""), seed=0, sweeps=sweeps)
    return fit.model.c


def test_em_in_the_tracks_own_units_counts_where_it_helps(tensor, engine, tmp_path, monkeypatch):
    solver = SOLVERS["stack"]
    data = FitData(tensor, ensure_moments(tensor, engine, tmp_path / "m.h5"), named=True)
    settings = TrainSettings(solver="stack", networks=0, rank=2, regularisation=0.3)
    folds, raw = selection_folds(tensor.experiments, 0), MEMBERS.index("em_raw")
    of_raw = []
    # Simulated tracks follow its model; no member helps by as much as the variance.
    for least in (0.005, 1.0):
        monkeypatch.setattr("predictd.model.stack.weights.LEAST_GAIN", least)
        choice = solver.choose(data, folds, settings, engine, seed=0)
        of_raw.append(np.asarray(choice.learned["weights"])[:, raw])
    assert of_raw[0].any() and not of_raw[1].any()


def test_errors_of_each_member_on_held_out_experiments(validated, tensor):
    with (validated / "members.tsv").open(newline="") as file:
        rows = {(r["cell_type"], r["assay"], r["member"]): r for r in csv.DictReader(file, delimiter="\t")}
    assert len(rows) == (len(MEMBERS) + 2) * len(tensor.experiments)
    signal, runs = stored_signal(tensor).astype(np.float64), runs_of(tensor)
    for fold in {fold.owner: fold.whole() for fold in load_folds(validated / "folds.json")}.values():
        model = load_model(fold_model_path(validated, fold))[0]
        for k, name in enumerate((*MEMBERS, "together", "model")):
            only = Weights(np.tile(np.eye(len(MEMBERS))[min(k, len(MEMBERS) - 1)], (4, 1)), np.ones(4))
            whole = {"together": replace(model, networks=None), "model": model}
            part = whole.get(name, replace(model, networks=None, weights=only))
            imputer = part.imputer(fold.test)
            predicted = imputer(signal[:, tensor.columns(imputer.inputs)].astype(np.float32), runs)
            if name == "model":
                predicted = np.maximum(predicted, 0)
            y = signal[:, tensor.columns(fold.test)]
            for pair, errors, variance in zip(
                fold.test, ((y - predicted) ** 2).T, y.var(axis=0), strict=True
            ):
                own = rows[(*pair, name)]
                assert own["fold"] == fold.owner
                assert float(own["mse"]) == pytest.approx(errors.mean(), rel=2e-3)
                assert float(own["error"]) == pytest.approx(errors.mean() / variance, rel=2e-3)


def test_test_experiments_remain_unseen(of_fold, tensor_path, engine, tmp_path):
    path, fold, report = of_fold
    hidden = [Tensor(tensor_path).experiments.index(e) for e in fold.test]

    def change(_number: int, _chrom: str, signal: np.ndarray) -> None:
        signal[:, hidden] = 3.0 * signal[::-1, hidden] + 1.0

    other = rewritten(tensor_path, tmp_path / "other", change)
    options = {"folds": path.parent / "folds.json", "fold_name": "0.0"}
    assert train(other, tmp_path / "m.h5", SETTINGS, engine, **options).chosen == report.chosen
    parameters = read_model(tmp_path / "m.h5").parameters
    for name, array in read_model(path).parameters.items():
        np.testing.assert_array_equal(parameters[name], array)


def test_a_fold_validates_what_it_does_not_train(of_fold, tensor):
    path, fold, report = of_fold
    model = load_model(path)[0]
    assert model.train == fold.train and not set(model.tracks.names) & {*fold.valid, *fold.test}
    # Before networks, and before the end of the range cuts off what is predicted beyond it.
    linear = replace(model, networks=None, ranges=None)
    imputer = linear.imputer(fold.valid)
    signal = stored_signal(tensor)
    predicted = imputer(signal[:, tensor.columns(imputer.inputs)], runs_of(tensor))
    errors = np.mean((predicted - signal[:, tensor.columns(fold.valid)]) ** 2, axis=0)
    assert report.validation_mse == pytest.approx(errors.mean(), rel=1e-3)


def test_a_cross_validation_has_a_model_a_test_fold_and_one_of_all(validated, tensor):
    folds = json.loads((validated / "folds.json").read_text())
    assert names(validated / "models") == ["everything.h5", "fold-0.h5", "fold-1.h5"]
    for test in ("0", "1"):
        model = load_model(validated / "models" / f"fold-{test}.h5")[0]
        tested = next(fold["test"] for fold in folds if fold["name"] == f"{test}.0")
        assert {str(e) for e in model.train} == {str(e) for e in tensor.experiments} - set(tested)
    everything = load_model(validated / "models" / "everything.h5")[0]
    assert everything.train == tuple(tensor.experiments)


def test_observed_pairs_go_to_who_never_saw_them_missing_ones_to_the_model_of_all(validated, tensor):
    estimator = load_estimator(validated).estimator
    observed = list(tensor.experiments)
    missing = [
        pair
        for cell in estimator.everyone.cell_types
        for assay in estimator.everyone.assays
        if (pair := Experiment(cell, assay)) not in set(observed)
    ]
    for committee in (estimator, load_held_out(validated, [*observed, *missing])):
        for imputer, positions in committee.imputers([*observed, *missing]):
            own = [[*observed, *missing][p] for p in positions]
            if set(own) & set(missing):
                assert imputer.inputs == tuple(tensor.experiments)
            else:
                assert not set(own) & set(imputer.inputs)
    # Each is fitted to other experiments: only what is needed is read.
    folds = {fold.owner: fold.whole() for fold in load_folds(validated / "folds.json")}
    for pairs, trained in ((missing, tuple(observed)), (folds["1"].test, folds["1"].train)):
        assert [member.train for member in load_held_out(validated, pairs).members] == [trained]


def test_a_cross_validation_without_its_last_model_is_unfinished(validated, tensor, engine, tmp_path):
    plan = Crossval(tensor.path, tmp_path / "cv", SETTINGS, folds=validated.parent / "folds.json")
    plan.make([1], engine)
    assert names(tmp_path / "cv" / "models") == ["fold-1.h5"]
    plan.make([0], engine)
    assert names(tmp_path / "cv" / "models") == ["everything.h5", "fold-0.h5", "fold-1.h5"]
    report = plan.finish(engine)
    assert (tmp_path / "cv" / "metrics.tsv").read_bytes() == (validated / "metrics.tsv").read_bytes()
    assert report.n_models == 2
    for path in ("everything", "fold-0", "fold-1"):
        one, other = (folder / "models" / f"{path}.h5" for folder in (tmp_path / "cv", validated))
        assert one.read_bytes() == other.read_bytes()


def test_a_cross_validation_that_has_not_finished_scoring_says_so(validated, tensor, tmp_path):
    """Its last model is of the experiments that nobody has measured: others must not take its place."""
    shutil.copytree(validated, tmp_path / "cv")
    for name in ("metrics.tsv", "uncertainty.json"):
        (tmp_path / "cv" / name).unlink()
    impute = ("impute", "cv", tensor.path, "-o", "imputed", "--workers", 1)
    done = call_predictd(*impute, cwd=tmp_path)
    assert done.returncode == 0 and done.stderr == (
        "predictd: warning: cv has all its models, but has not finished scoring them (there is no metrics.tsv): "
        "nothing says yet how far the imputed tracks can be trusted; run the same 'predictd cv' again to finish it\n"
    )
    done = call_predictd(*impute, "--sd", cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.splitlines()[-1] == (
        "predictd: error: --sd: cv has not finished scoring, which intervals need; run the same 'predictd "
        "cv' again to finish it"
    )
    (tmp_path / "cv" / "models" / "everything.h5").unlink()
    done = call_predictd(*impute, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (
        1,
        "predictd: error: cv is unfinished: the model of all experiments is missing; run 'predictd cv' again\n",
    )


def test_a_member_by_name_on_the_command_line(tensor, tmp_path):
    write_folds(tensor, tmp_path / "folds.json", tests=2, valids=2, seed=0)
    (tmp_path / "donors.toml").write_text('[train]\nsolver = "donors"\nnetworks = 1\n')
    options = ("--config", "donors.toml", "--folds", "folds.json", "--workers", 1)
    done = call_predictd("cv", tensor.path, "-o", "cv", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "test fold 0: donors " in done.stdout
    done = call_predictd("impute", "cv", tensor.path, "-o", "imputed", "--workers", 1, cwd=tmp_path)
    assert done.returncode == 0 and "6 imputed tracks" in done.stdout, done.stderr
    done = call_predictd("impute", "cv", tensor.path, "-o", "with-sd", "--sd", "--workers", 1, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    tracks = sorted(path.name for path in (tmp_path / "imputed").glob("*.bw"))
    for name in tracks:
        assert (tmp_path / "with-sd" / name).read_bytes() == (tmp_path / "imputed" / name).read_bytes()
    assert len(list((tmp_path / "with-sd").glob("*.sd.bw"))) == len(tracks) == 6


def test_what_needs_factors_says_so(trained, tensor, engine, tmp_path):
    told = "a model of kind 'stack', which has no factors; train one with the solver em, als or sgd"
    with refused(DataError, told):
        explain_factors(trained, tmp_path / "out")
    with refused(DataError, told):
        extend(trained, tensor.path, None, tmp_path / "wider.h5", engine)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"solver": "kriging", "rank": 3}, "`rank` works only with the solvers em, als and sgd"),
        ({"solver": "auto", "lambda": 0.1}, "`penalty` works only with the solvers em, als and sgd"),
        ({"solver": "donors", "predictd_constants": True}, "`predictd_constants` are penalties of"),
    ],
)
def test_settings_that_mean_nothing(wrong, message, tensor_path, engine, tmp_path):
    settings = load_config(None, {"train": wrong}).train
    with refused(ConfigError, message):
        train(tensor_path, tmp_path / "m.h5", settings, engine)
    with refused(ConfigError, message):
        Crossval(tensor_path, tmp_path / "cv", settings)
    assert names(tmp_path) == []


def test_a_worker_reads_moments_and_sample_once_for_all_folds(tensor, engine, tmp_path, monkeypatch):
    moments = ensure_moments(tensor, engine, tmp_path / "m.h5")
    ensure_window_sample(tensor, engine, moments, named=True)
    read: list[str] = []
    whole = sidecar.read_arrays
    monkeypatch.setattr(
        sidecar, "read_arrays", lambda path, **kind: read.append(path.name) or whole(path, **kind)
    )
    worker = LocalEngine(1)
    monkeypatch.setattr(worker, "map", lambda task, keys, shared, **_: [task(key, shared) for key in keys])
    solver, data = stack.Stack("few", ("donors", stack.FEATURED)), FitData(tensor, moments, named=True)
    monkeypatch.setattr("predictd.model.stack.networks._SCHEDULE", ((1, 2e-3),))
    for seed in (0, 1):
        solver.choose(data, selection_folds(tensor.experiments, seed)[:2], SETTINGS, worker, seed=seed)
    # Of the sample, whoever gives out the tasks has seen once that the file is whole.
    assert sorted(read) == ["m.h5", "m.sample.h5", "m.sample.h5"]


@pytest.mark.parametrize("few", [True, False])
def test_features_are_read_where_experiments_are_few_and_networks_left_out_where_none_are_wanted(
    few, tensor, engine, tmp_path, monkeypatch
):
    monkeypatch.setattr(stack, "MOST_TRACKS", len(tensor.experiments) - (not few))
    settings = TrainSettings(solver="stack", networks=0, als=FEWEST_SWEEPS)
    report = train(tensor.path, tmp_path / "model.h5", settings, engine, moments=tmp_path / "m.h5")
    model = load_model(tmp_path / "model.h5")[0]
    assert model.networks is None
    assert ("kriging_features" in model.members) == few == ("kriging_features" in report.chosen)
    assert (model.tracks.features is not None) == few
    assert sorted(path.name for path in tmp_path.glob("m.*")) == ["m.h5", *["m.sample.h5"][: int(few)]]


def test_units_of_tracks_do_not_matter(engine, tmp_path):
    """An assay in another unit gets the same predictions in that unit: none counts more for its scale."""
    simulation = Simulation.for_shape(6, 4, share=0.8, rank=2, seed=1)
    signal = np.abs(simulation.signal(list(simulation.experiments), run=0, first=0, n=3000)).astype(
        np.float32
    )
    pairs = list(simulation.experiments)
    factor = np.array([64.0 if pair.assay == pairs[0].assay else 1.0 for pair in pairs], np.float32)
    models = []
    for name, own in (("one", signal), ("other", signal * factor)):
        tensor = small_tensor(tmp_path / name, own, experiments=pairs)
        settings = TrainSettings(solver="stack", networks=0, als=FEWEST_SWEEPS)
        train(tensor.path, tmp_path / f"{name}.h5", settings, engine)
        models.append(load_model(tmp_path / f"{name}.h5")[0])
    one, other = models
    assert isinstance(one, StackModel) and isinstance(one.factors, CPModel)
    places = one.indices(pairs)
    # Of all members but the one in the tracks' own units.
    np.testing.assert_allclose(other.maps(places)[0][:-1], one.maps(places)[0][:-1], rtol=0, atol=1e-3)
    assert read_moments(tmp_path / "one" / "moments.h5").experiments == tuple(pairs)
