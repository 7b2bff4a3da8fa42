"""Kriging: pooled correlations, the system, what it must not see; each against a plain solution."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from commands import call_predictd
from folders import names
from made_folds import write_fold
from made_moments import assert_moments, exact
from made_tensors import rewritten, small_tensor, stored_signal, with_gaps
from places import SHARED
from predictd.config import AlsSettings, TrainSettings, load_config
from predictd.constants import FEATURE_MOMENTS
from predictd.engine import Engine
from predictd.errors import ConfigError, DataError, ModelFormatError
from predictd.io.models import ModelFile, read_model, write_model
from predictd.io.tensor.store import Tensor
from predictd.model.ensemble import Ensemble
from predictd.model.imputer import Feature, build_features
from predictd.model.kriging.effects import NEITHER, SAME_ASSAY, SAME_CELL, fit_correlations, fit_grid, relate
from predictd.model.kriging.kriging import REGRESSORS, KrigingModel, fit_kriging
from predictd.pairs import Experiment, axes, rows_of
from predictd.workflows.evaluation.factors import explain_factors
from predictd.workflows.imputing.apply import Application
from predictd.workflows.imputing.estimators import load_estimator, load_model
from predictd.workflows.imputing.impute import impute
from predictd.workflows.tensor.folds import write_folds
from predictd.workflows.tensor.moments import ensure_moments, read_moments
from predictd.workflows.tensor.windows import wide_blocks
from predictd.workflows.training.crossval import Crossval, crossval
from predictd.workflows.training.extend import extend
from predictd.workflows.training.solvers import auto
from predictd.workflows.training.train import train
from refusals import refused

PAIRS = [Experiment(f"C{c}", f"A{a}") for c in range(5) for a in range(3)]
HELD = [PAIRS[4], PAIRS[9]]
TRAIN = [pair for pair in PAIRS if pair not in HELD]


def features_of(signal: np.ndarray, run_lengths: list[int]) -> np.ndarray:
    """All regressors of all columns, float64 (bins × k·n), in the order of the moments."""
    n = signal.shape[1]
    names = [Feature(Experiment("c", str(i)), *regressor) for regressor in REGRESSORS for i in range(n)]
    columns = np.tile(np.arange(n), len(REGRESSORS))
    return build_features(signal, run_lengths, names, columns).astype(np.float64)


@pytest.fixture(scope="module")
def tensor_path(tmp_path_factory: pytest.TempPathFactory, tensor_path: Path) -> Path:
    """A copy, beside which the moments of features come to stand."""
    return Path(shutil.copytree(tensor_path, tmp_path_factory.mktemp("own") / "tensor"))


@pytest.fixture(scope="module")
def signal() -> np.ndarray:
    """Tracks that share peaks of their assay and of their cell type."""
    rng = np.random.default_rng(0)
    shared = {name: rng.gamma(0.3, 1.0, 3000) for name in (*"ABCDE", *(f"A{a}" for a in range(3)))}
    tracks = [
        0.6 * shared[pair.assay] + 0.3 * shared["ABCDE"[int(pair.cell_type[1])]] + rng.gamma(0.5, 0.2, 3000)
        for pair in PAIRS
    ]
    scales = rng.uniform(0.5, 2.0, len(PAIRS))
    return (np.stack(tracks, axis=1) * scales).astype(np.float32)


@pytest.fixture(scope="module")
def features(signal: np.ndarray) -> np.ndarray:
    return features_of(signal, [1000, 2000])


@pytest.fixture(scope="module")
def model(features: np.ndarray) -> KrigingModel:
    return fit_kriging(exact(features), PAIRS, TRAIN, nugget=0.2)


def columns_of(features: Sequence[Feature]) -> np.ndarray:
    return np.array([PAIRS.index(feature.experiment) for feature in features])


def by_definition(model: KrigingModel, target: Experiment, seen: list[Feature]) -> tuple[np.ndarray, float]:
    """Weights and intercept of the simple kriging of a target from these features, one correlation after the other."""
    place = {experiment: index for index, experiment in enumerate(model.train)}
    pooled = model.correlations

    def rho(one: Feature, other: Feature) -> float:
        g, h = (REGRESSORS.index(feature[1:]) for feature in (one, other))
        e, f = one.experiment, other.experiment
        if e == f:
            return float(model.own[place[e], g, h])
        kind = SAME_ASSAY if e.assay == f.assay else SAME_CELL if e.cell_type == f.cell_type else NEITHER
        (c1, c2), (a1, a2) = model.indices([e, f])
        return float(
            pooled.mean[kind, g, h]
            + pooled.assays[kind, a1, a2, g, h]
            + pooled.cells[kind, c1, g, h]
            + pooled.cells[kind, c2, h, g]
        )

    everything = [Feature(e, *regressor) for regressor in REGRESSORS for e in model.train]
    whole = np.array([[rho(one, other) for other in everything] for one in everything])
    values, vectors = np.linalg.eigh((whole + whole.T) / 2)
    whole = vectors @ np.diag(np.maximum(values, 0)) @ vectors.T + model.nugget * np.eye(len(whole))
    some = [everything.index(feature) for feature in seen]
    right = np.array([rho(Feature(target), feature) for feature in seen])
    w = np.linalg.solve(whole[np.ix_(some, some)], right)
    cell, assay = (int(rows[0]) for rows in model.indices([target]))
    sds = model.feature_sds.ravel()[some]
    weights = np.exp(model.log_sds[cell, assay]) * w / sds
    return weights, float(model.means[cell, assay] - weights @ model.feature_means.ravel()[some])


@pytest.mark.numeric
def test_weights_are_those_of_the_kriging_system(model):
    imputer = model.imputer(HELD)
    assert set(imputer.features) == {Feature(e, *r) for e in TRAIN for r in REGRESSORS}
    assert imputer.context == 20
    for row, target in enumerate(HELD):
        weights, intercept = by_definition(model, target, list(imputer.features))
        np.testing.assert_allclose(imputer.affine.weights[row], weights, rtol=1e-7, atol=1e-10)
        assert imputer.affine.intercept[row] == pytest.approx(intercept)


@pytest.mark.numeric
def test_a_pair_that_was_trained_on_is_predicted_from_the_others(model):
    target = TRAIN[3]
    imputer = model.imputer([target, HELD[0]])
    others = [feature for feature in imputer.features if feature.experiment != target]
    weights, intercept = by_definition(model, target, others)
    own = np.array([feature.experiment == target for feature in imputer.features])
    np.testing.assert_allclose(imputer.affine.weights[0, own], 0, atol=1e-12)
    np.testing.assert_allclose(imputer.affine.weights[0, ~own], weights, rtol=1e-7, atol=1e-10)
    assert imputer.affine.intercept[0] == pytest.approx(intercept)


@pytest.mark.numeric
def test_incomplete_bins_are_as_if_the_rest_were_all_there_is(model, signal):
    gaps = signal[:60].copy()
    rng = np.random.default_rng(1)
    gaps[rng.random(gaps.shape) < 0.15] = np.nan
    imputer = model.imputer(HELD)
    columns = np.array([PAIRS.index(feature.experiment) for feature in imputer.features])
    built = build_features(gaps, [60], imputer.features, columns)
    found = imputer(built)
    incomplete = np.flatnonzero(np.isnan(built).any(axis=1))
    assert incomplete.size > 20
    for row in incomplete[:8].tolist():
        known = np.flatnonzero(~np.isnan(built[row]))
        for index, target in enumerate(HELD):
            weights, intercept = by_definition(model, target, [imputer.features[i] for i in known])
            assert found[row, index] == pytest.approx(built[row, known] @ weights + intercept, abs=2e-4)


@pytest.mark.numeric
def test_strong_predictions_are_made_steeper(model, signal, features):
    lifted = replace(model, lift=0.5)
    plain, steeper = model.imputer(HELD), lifted.imputer(HELD)
    values = build_features(signal, [1000, 2000], plain.features, columns_of(plain.features))
    before, after = plain(values).astype(float), steeper(values).astype(float)
    np.testing.assert_array_equal(steeper.before_output(values), plain(values))
    for row, target in enumerate(HELD):
        cell, assay = (int(rows[0]) for rows in model.indices([target]))
        mean, sd = model.means[cell, assay], np.exp(model.log_sds[cell, assay])
        z = (before[:, row] - mean) / sd
        assert (z < 0.5).any() and (z > 0.5).any()
        expected = before[:, row] + 0.5 * sd * (np.clip(z, 0.5, 3.0) - 0.5)
        np.testing.assert_allclose(after[:, row], expected, rtol=1e-5, atol=1e-5)
    # Members agree on where it is steeper when they agree on mean and scale.
    together = Ensemble((lifted, model)).imputer(HELD)
    found = together(values[:, [plain.features.index(feature) for feature in together.features]])
    np.testing.assert_allclose(found, (before + after) / 2, rtol=1e-4, atol=1e-4)
    gaps = values.copy()
    gaps[::3, 0] = np.nan
    alone, mean_of = steeper(gaps), Ensemble((lifted, lifted)).imputer(HELD)
    found = mean_of(gaps[:, [plain.features.index(feature) for feature in mean_of.features]])
    np.testing.assert_allclose(found, alone, rtol=1e-4, atol=1e-4)


@pytest.mark.numeric
def test_it_beats_the_same_assay_mean(model, features):
    imputer = model.imputer(HELD)
    columns = [REGRESSORS.index(f[1:]) * len(PAIRS) + PAIRS.index(f.experiment) for f in imputer.features]
    predicted = features[:, columns] @ imputer.affine.weights.T + imputer.affine.intercept
    for index, pair in enumerate(HELD):
        y = features[:, PAIRS.index(pair)]
        same = [PAIRS.index(e) for e in TRAIN if e.assay == pair.assay]
        mean = features[:, same].mean(axis=1)
        assert np.square(predicted[:, index] - y).mean() < 0.8 * np.square(mean - y).mean()
        assert np.corrcoef(predicted[:, index], y)[0, 1] > np.corrcoef(mean, y)[0, 1]


@pytest.mark.numeric
def test_pooled_correlations_are_a_ridge_regression():
    rng = np.random.default_rng(2)
    k, n = 2, len(PAIRS)
    observed = rng.normal(size=(k, n, k, n))
    observed = observed + observed.transpose(2, 3, 0, 1)
    observed[:, 5] = np.nan
    observed[:, :, :, 5] = np.nan
    cells, assays = axes(PAIRS)
    places = rows_of(PAIRS, cells, assays)
    found = fit_correlations(observed, PAIRS, places, (len(cells), len(assays)))
    relation = relate(PAIRS, PAIRS)
    between = found.between(places, places, relation, first=k)
    for kind, (g, h) in itertools.product((SAME_ASSAY, SAME_CELL, NEITHER), np.ndindex(k, k)):
        pairs = [
            (i, j)
            for i in range(n)
            for j in range(n)
            if i != j and 5 not in (i, j) and relation[i, j] == kind
        ]
        labels = [("m",), *itertools.product("a", range(3), range(3)), *itertools.product("lr", range(5))]
        design = np.zeros((len(pairs), len(labels)))
        for row, (i, j) in enumerate(pairs):
            a1, a2, c1, c2 = places[1][i], places[1][j], places[0][i], places[0][j]
            for label in (("m",), ("a", a1, a2), ("l", c1), ("r", c2)):
                design[row, labels.index(label)] = 1
        roots = np.sqrt([{"m": 0.01, "a": 0.5, "l": 5.0, "r": 5.0}[label[0]] for label in labels])
        y = np.array([observed[g, i, h, j] for i, j in pairs])
        effects = np.linalg.lstsq(
            np.vstack([design, np.diag(roots)]), np.append(y, np.zeros(len(labels))), rcond=None
        )[0]
        np.testing.assert_allclose([between[g, i, h, j] for i, j in pairs], design @ effects, atol=1e-10)
    np.testing.assert_allclose(between, between.transpose(2, 3, 0, 1), atol=1e-12)


@pytest.mark.numeric
def test_main_effects_fill_the_grid():
    places = np.array([0, 0, 1, 1, 2]), np.array([0, 1, 0, 1, 0])
    grid = fit_grid(np.array([1.0, 2.0, 3.0, 4.0, 7.0]), places, (3, 2))
    # C2 is 4 to 6 above the others, A1 1 above A0, both drawn in a little.
    assert 7 < grid[2, 1] < 8
    np.testing.assert_allclose(grid[:, 1] - grid[:, 0], grid[0, 1] - grid[0, 0])


def test_a_constant_track_is_not_read(features):
    flat = features.copy()
    flat[:, PAIRS.index(TRAIN[0]) :: len(PAIRS)] = 2.0
    model = fit_kriging(exact(flat), PAIRS, TRAIN, nugget=0.2)
    imputer = model.imputer([TRAIN[0], *HELD])
    assert TRAIN[0] not in {feature.experiment for feature in imputer.features}
    assert np.isfinite(imputer.affine.weights).all()
    with refused(DataError, "nothing to learn"):
        fit_kriging(exact(np.ones_like(features)), PAIRS, TRAIN, nugget=0.2)


def test_a_model_file_gives_the_model_back(model, tmp_path):
    path = tmp_path / "m.h5"
    write_model(path, ModelFile(model.kind, model.to_arrays(), {}))
    again, file = load_model(path)
    assert file.kind == "kriging" and again.train == model.train and again.regressors == model.regressors
    one, other = model.imputer(PAIRS), again.imputer(PAIRS)
    np.testing.assert_array_equal(one.affine.weights, other.affine.weights)
    np.testing.assert_array_equal(one.affine.intercept, other.affine.intercept)
    parts = replace(model, lift=0.5).to_arrays()
    assert KrigingModel.from_arrays(parts).lift == 0.5
    earlier = {name: part for name, part in parts.items() if name != "lift"}
    assert KrigingModel.from_arrays(earlier).lift == 0.0
    for name, wrong in (
        ("means", parts["means"][:2]),
        ("own", np.full_like(parts["own"], np.nan)),
        ("bases", np.array(["value", "value", "cube", "log"])),
        ("train", np.array(["C0:A9"] * len(TRAIN))),
        ("nugget", np.float64(0.0)),
        ("lift", np.float64(-0.1)),
    ):
        write_model(path, ModelFile("kriging", {**parts, name: wrong}, {}))
        with pytest.raises(ModelFormatError, match="is no whole model"):
            load_estimator(path)


@pytest.mark.parametrize("cell", ["C0", "nobody"])
def test_pairs_that_the_model_knows_not(cell, model):
    with refused(DataError, "the model has no"):
        model.imputer([Experiment(cell, "A9" if cell == "C0" else "A0")])


# -- over the shards --------------------------------------------------------------------------------------------------


@pytest.mark.numeric
def test_windows_reach_over_the_borders_of_blocks(tmp_path):
    rng = np.random.default_rng(3)
    tensor = small_tensor(tmp_path / "t", rng.gamma(1, 1, (140_000, 4)), n_shards=1)
    whole = stored_signal(tensor)
    features = [Feature(e, *r) for r in REGRESSORS for e in tensor.experiments]
    columns = np.tile(np.arange(4), len(REGRESSORS))
    wanted = build_features(whole, [len(whole)], features, columns)
    with tensor.open_shard(tensor.shard_names[0]) as shard:
        blocks = list(wide_blocks(shard, 20))
        assert len(blocks) > 1
        found = [build_features(b.wide, b.run_lengths, features, columns)[b.inner] for b in blocks]
        np.testing.assert_array_equal(np.concatenate([b.signal for b in blocks]), whole)
        with pytest.raises(ValueError, match="more than a block"):
            next(wide_blocks(shard, 5000))
    np.testing.assert_allclose(np.concatenate(found), wanted, rtol=1e-5)


@pytest.mark.numeric
@pytest.mark.parametrize("gaps", [False, True], ids=["complete", "with gaps"])
def test_moments_of_features(gaps, tensor_path, engine, tmp_path):
    tensor = Tensor(with_gaps(tensor_path, tmp_path / "gaps", 0.1) if gaps else tensor_path)
    built, whole = [], []
    for name in tensor.shard_names:
        with tensor.open_shard(name) as shard:
            signal = shard.read()
            whole.append(~np.isnan(signal).any(axis=1))
            built.append(features_of(signal, shard.runs[:, 1].tolist()))
    path = ensure_moments(tensor, engine, tmp_path / "m.h5", REGRESSORS)
    assert path == tmp_path / "m.features.h5"
    data = read_moments(path)
    wanted = np.concatenate(built)[np.concatenate(whole)]
    assert_moments(data.features, exact(wanted))
    assert_moments(data.s, exact(wanted[:, : len(tensor.experiments)]))
    # Another file than that of the values, each used again.
    values = read_moments(ensure_moments(tensor, engine, tmp_path / "m.h5"))
    assert values.features is values.s and values.s.shape == data.s.shape
    before = path.stat().st_mtime_ns
    assert ensure_moments(tensor, engine, tmp_path / "m.h5", REGRESSORS).stat().st_mtime_ns == before


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, engine: Engine, tensor_path: Path) -> Path:
    path = tmp_path_factory.mktemp("kriging") / "m.h5"
    report = train(tensor_path, path, TrainSettings(solver="kriging", networks=3, lift=0.2), engine)
    assert (report.rank, report.chosen, report.refitted) == (0, "kriging, nugget 0.3", True)
    return path


def test_imputed_tracks_are_what_the_model_says(trained, tensor, engine, tmp_path, single):
    train(
        tensor.path,
        tmp_path / "m.h5",
        TrainSettings(solver="kriging", networks=3, lift=0.2),
        single,
    )
    assert (tmp_path / "m.h5").read_bytes() == trained.read_bytes()
    assert (tensor.path / FEATURE_MOMENTS).is_file()
    estimator = load_estimator(trained).estimator
    assert estimator.everyone.train == tuple(tensor.experiments)
    report = impute(trained, tensor.path, tmp_path / "imputed", engine)
    assert len(list((tmp_path / "imputed").glob("*.bw"))) == len(report.pairs) == 6
    pairs = list(report.pairs)
    imputer = load_model(trained)[0].imputer(pairs)
    columns = tensor.columns([feature.experiment for feature in imputer.features])
    with tensor.open_shard(tensor.shard_names[1]) as shard:
        found = np.concatenate([block for _, _, block in Application(estimator, pairs, tensor).blocks(shard)])
        built = build_features(shard.read(), shard.runs[:, 1].tolist(), imputer.features, columns)
    wanted = built.astype(np.float64) @ imputer.affine.weights.T + imputer.affine.intercept
    wanted = wanted.astype(np.float32)
    added = imputer.refiner(built, wanted)
    assert np.abs(added).max() > 0.01
    np.testing.assert_allclose(found, imputer.output(wanted + added), rtol=1e-3, atol=1e-3)


def test_what_needs_factors_says_so(trained, tensor, engine, tmp_path):
    told = "a model of kind 'kriging', which has no factors; train one with `solver` em, als or sgd"
    with refused(DataError, told):
        explain_factors(trained, tmp_path / "out")
    with refused(DataError, told):
        extend(trained, tensor.path, None, tmp_path / "wider.h5", engine)
    assert not list(tmp_path.iterdir())


def test_test_experiments_remain_unseen(tensor_path, engine, tmp_path):
    tensor = Tensor(tensor_path)
    fold = write_fold(tensor, tmp_path / "folds.json")
    hidden = [tensor.experiments.index(e) for e in fold.test]

    def change(_number: int, _chrom: str, signal: np.ndarray) -> None:
        signal[:, hidden] = 3.0 * signal[::-1, hidden] + 1.0

    other = rewritten(tensor_path, tmp_path / "other", change)
    models = []
    for path in (tensor_path, other):
        output = tmp_path / f"{path.name}.h5"
        settings = TrainSettings(solver="auto", rank=2, networks=1)
        report = train(path, output, settings, engine, folds=tmp_path / "folds.json", fold_name="0.0")
        models.append((read_model(output), report))
    assert models[0][0].kind == models[1][0].kind and models[0][1].chosen == models[1][1].chosen
    for name, array in models[0][0].parameters.items():
        np.testing.assert_array_equal(models[1][0].parameters[name], array)


def test_auto_takes_what_validates_better(tensor_path, engine, tmp_path):
    reports = {
        settings.solver: train(tensor_path, tmp_path / f"{settings.solver}.h5", settings, engine)
        for settings in (
            TrainSettings(solver="em", rank=3),
            TrainSettings(solver="auto", rank=3, networks=1),
        )
    }
    # Simulated tracks follow the CP model.
    chosen = reports["auto"].chosen
    assert chosen.startswith("em, rank 3, prior strength ")
    assert "; kriging (nugget 0.3) " in chosen
    one, other = (read_model(tmp_path / f"{solver}.h5") for solver in ("em", "auto"))
    assert other.kind == "cp" and other.info["solver"] == "em"
    np.testing.assert_allclose(other.parameters["C"], one.parameters["C"], rtol=1e-3, atol=1e-4)


def test_auto_leaves_kriging_out_with_many_experiments(tensor_path, engine, tmp_path, monkeypatch):
    monkeypatch.setattr(auto, "MOST_KRIGED", 10)
    moments = tmp_path / "moments.h5"
    settings = TrainSettings(solver="auto", rank=2, als=AlsSettings(starts=1, max_sweeps=10))
    report = train(tensor_path, tmp_path / "m.h5", settings, engine, moments=moments)
    assert report.chosen.startswith("em, rank 2, prior strength ")
    assert report.chosen.endswith("; rank given; kriging is for at most 10 experiments")
    assert (
        moments.is_file() and [path.name for path in tmp_path.glob("*.h5")].count("moments.features.h5") == 0
    )


def test_cross_validation_by_kriging_on_the_command_line(tensor, tmp_path):
    write_folds(tensor, tmp_path / "folds.json", tests=2, valids=2, seed=0)
    (tmp_path / "kriging.toml").write_text('[train]\nsolver = "kriging"\nnetworks = 1\n')
    options = ("--config", "kriging.toml", "--folds", "folds.json", "--workers", 1)
    done = call_predictd("cv", tensor.path, "-o", "cv", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "test fold 0: kriging, nugget 0.3\n" in done.stdout
    done = call_predictd("impute", "cv", tensor.path, "-o", "imputed", "--workers", 1, cwd=tmp_path)
    assert done.returncode == 0 and "6 imputed tracks" in done.stdout, done.stderr
    done = call_predictd("impute", "cv", tensor.path, "-o", "with-sd", "--sd", "--workers", 1, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    tracks = sorted(path.name for path in (tmp_path / "imputed").glob("*.bw"))
    for name in tracks:
        assert (tmp_path / "with-sd" / name).read_bytes() == (tmp_path / "imputed" / name).read_bytes()
    assert len(list((tmp_path / "with-sd").glob("*.sd.bw"))) == len(tracks) == 6
    done = call_predictd("plan", tensor.path, "--config", "kriging.toml", cwd=tmp_path)
    assert done.returncode == 1 and "no rates are known of the solver kriging" in done.stderr


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"solver": "kriging", "rank": 3}, "a rank belongs to the solvers em, als and sgd"),
        ({"solver": "kriging", "lambda": 0.0}, "needs a `regularisation`"),
        ({"solver": "auto", "lambda": 0.1}, "name the `solver`"),
    ],
)
def test_settings_that_mean_nothing(wrong, message, tensor_path, engine, tmp_path):
    settings = load_config(None, {"train": wrong}).train
    with refused(ConfigError, message):
        train(tensor_path, tmp_path / "m.h5", settings, engine)
    with refused(ConfigError, message):
        Crossval(tensor_path, tmp_path / "cv", settings)
    assert names(tmp_path) == []


@pytest.mark.skipif(not (SHARED / "data" / "roadmap-pilot").is_dir(), reason="the pilot tracks are not here")
def test_real_tracks_are_predicted_better_than_by_their_assays_mean(tmp_path, engine):
    """The first 100,000 bins of the 20 pilot tracks, as one chromosome."""
    files = sorted((SHARED / "data" / "roadmap-pilot").glob("*.npz"))
    signal = np.stack([np.load(file)["signal"][:100_000] for file in files], axis=1)
    pairs = [Experiment(*file.stem.split("-")) for file in files]
    tensor = small_tensor(tmp_path / "t", signal, experiments=pairs, n_shards=2)
    settings = TrainSettings(solver="kriging", networks=3)
    report = crossval(tensor.path, tmp_path / "cv", settings, engine)
    means = {
        method: [
            np.mean([row[name] for row in report.rows if row["method"] == method])
            for name in ("MSEglobal", "GWcorrasinh", "GWspear", "MSE1obs")
        ]
        for method in ("model", "assay_mean")
    }
    assert means["model"][0] < 0.85 * means["assay_mean"][0]
    assert means["model"][1] > means["assay_mean"][1] + 0.03
    assert means["model"][2] > means["assay_mean"][2] + 0.1
    assert means["model"][3] < means["assay_mean"][3]
