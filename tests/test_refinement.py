"""Networks that add what kriging leaves: what they read, how they learn, how they are applied; each by definition."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from made_moments import exact
from made_tensors import small_tensor, stored_signal, with_gaps
from predictd.config import TrainSettings
from predictd.errors import ModelFormatError, OutputError
from predictd.io.models import ModelFile, write_model
from predictd.io.tensor.store import Tensor
from predictd.model.ensemble import Ensemble
from predictd.model.imputer import Feature, build_features
from predictd.model.intervals.spread import Spread
from predictd.model.kriging.fit_refinement import FEWEST, TRACKS, ContextSample, drawn_bins, fit_refinement
from predictd.model.kriging.kriging import REGRESSORS, KrigingModel, fit_kriging
from predictd.model.kriging.refinement import SCALES, Neighbours, Refinement, n_inputs
from predictd.pairs import Experiment, axes
from predictd.workflows.imputing.estimators import load_estimator, load_model
from predictd.workflows.tensor.context import ensure_context_sample, read_context_sample
from predictd.workflows.training.train import train
from refusals import refused

CELLS, ASSAYS = 6, 3
PAIRS = [Experiment(f"C{c}", f"A{a}") for c in range(CELLS) for a in range(ASSAYS)]
HELD = [Experiment("C1", "A2"), Experiment("C4", "A2")]
TRAIN = tuple(pair for pair in PAIRS if pair not in HELD)
N_BINS = 6000


def column(pair: Experiment) -> int:
    return PAIRS.index(pair)


@pytest.fixture(scope="module")
def signal() -> np.ndarray:
    """A2 is high where just one of A0 and A1 of its cell type is: no weighted sum of tracks says so."""
    rng = np.random.default_rng(0)
    state = np.repeat(rng.random((CELLS, 2, N_BINS // 20)) < 0.5, 20, axis=2)
    tracks = np.empty((N_BINS, len(PAIRS)))
    for cell in range(CELLS):
        one, other = state[cell]
        for assay, high in enumerate((one, other, one ^ other)):
            tracks[:, column(Experiment(f"C{cell}", f"A{assay}"))] = 2.0 * high
    return (tracks + rng.gamma(1.0, 0.2, tracks.shape)).astype(np.float32)


def sampled(signal: np.ndarray) -> ContextSample:
    """All bins, as one run."""
    features = [Feature(pair, *scale) for scale in SCALES for pair in PAIRS]
    built = build_features(signal, [len(signal)], features, np.tile(np.arange(len(PAIRS)), len(SCALES)))
    return ContextSample(tuple(PAIRS), built.reshape(len(signal), len(SCALES), -1).transpose(1, 0, 2))


def kriged(signal: np.ndarray, train: tuple[Experiment, ...]) -> KrigingModel:
    features = [Feature(pair, *regressor) for regressor in REGRESSORS for pair in PAIRS]
    built = build_features(signal, [len(signal)], features, np.tile(np.arange(len(PAIRS)), len(REGRESSORS)))
    return fit_kriging(exact(built.astype(np.float64)), PAIRS, train, nugget=0.3)


def refined(signal: np.ndarray, seed: int = 0, n_networks: int = 6) -> KrigingModel:
    model = kriged(signal, TRAIN)
    networks = fit_refinement(
        model,
        sampled(signal),
        lambda some: kriged(signal, some),
        n_networks=n_networks,
        rng=np.random.default_rng(seed),
    )
    return replace(model, refinement=networks)


@pytest.fixture(scope="module")
def model(signal: np.ndarray) -> KrigingModel:
    return refined(signal)


def built_for(model: KrigingModel, targets: list[Experiment], signal: np.ndarray) -> np.ndarray:
    features = model.imputer(targets).features
    return build_features(
        signal, [len(signal)], features, np.array([column(feature.experiment) for feature in features])
    )


def inputs_by_definition(
    model: KrigingModel, target: Experiment, signal: np.ndarray, bin_: int, predicted: float
) -> list[float]:
    """What networks read of one bin, one number after the other."""
    (cell,), (assay,) = model.indices([target])
    mean, sd = model.means[cell, assay], np.exp(model.log_sds[cell, assay])
    others = [pair for pair in model.train if pair != target]
    scale_of = {
        pair: (m, s)
        for pair, m, s in zip(model.train, model.feature_means[0], model.feature_sds[0], strict=True)
    }
    cell_types, assays = axes(PAIRS)
    same = [pair for pair in others if pair.assay == target.assay]
    row = cell_types.index(target.cell_type)
    nearest = sorted(same, key=lambda pair: -model.likeness[row, cell_types.index(pair.cell_type)])
    read = [(predicted - mean) / sd]
    flags = []
    for half_width, _ in SCALES:
        low, high = max(bin_ - half_width, 0), bin_ + half_width + 1

        def z(pair: Experiment, low: int = low, high: int = high) -> float:
            m, s = scale_of[pair]
            return (signal[low:high, column(pair)].astype(np.float64).mean() - m) / s

        groups = [[p for p in others if p == (target.cell_type, name)] for name in assays]
        groups += [[p for p in others if p.assay == name and p[0] != target.cell_type] for name in assays]
        flags = [float(not group) for group in groups]
        groups += [same, nearest[:1], nearest[1:2] or same]
        read += [float(np.mean([z(pair) for pair in group])) if group else 0.0 for group in groups]
        values = [z(pair) for pair in same]
        read += [max(values), min(values)] if same else [0.0, 0.0]
    return [*(np.sign(value) * np.log1p(abs(value)) for value in read), *flags]


def given_by_definition(refinement: Refinement, inputs: list[float], cell: int, assay: int) -> float:
    """What all networks give for one bin, weighted."""
    given, weights = [], []
    for r, learned in enumerate(refinement.learned):
        hidden = np.maximum(np.array(inputs) @ refinement.first[r] + refinement.first_bias[r], 0)
        hidden = np.maximum(hidden @ refinement.second[r] + refinement.second_bias[r], 0)
        given.append(hidden @ refinement.last[r] + refinement.last_bias[r])
        weights.append(sum(1 + 8 * (c == cell) + 30 * (a == assay) for c, a in learned.tolist()))
    return float(np.average(given, weights=weights))


# -- what networks read and give --------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [HELD[0], TRAIN[7]], ids=["missing", "trained on"])
def test_predictions_are_what_networks_add_to_kriging(target, model, signal):
    bare, whole = replace(model, refinement=None).imputer([target]), model.imputer([target])
    values = built_for(model, [target], signal)
    plain = bare.affine(built_for(replace(model, refinement=None), [target], signal))
    found = whole.before_output(values)
    (cell,), (assay,) = model.indices([target])
    sd = np.exp(model.log_sds[cell, assay])
    for bin_ in (0, 3, 777, 2050, N_BINS - 1):
        inputs = inputs_by_definition(model, target, signal, bin_, float(plain[bin_, 0]))
        assert len(inputs) == n_inputs(ASSAYS)
        wanted = plain[bin_, 0] + sd * given_by_definition(model.refinement, inputs, int(cell), int(assay))
        assert found[bin_, 0] == pytest.approx(wanted, rel=1e-3, abs=1e-3)
    assert np.abs(found - plain).max() > 0.1


def test_what_is_not_there_is_flagged():
    places = np.array([0, 1, 1]), np.array([0, 0, 1])
    around = Neighbours.of(0, 0, places, np.eye(2), 3, itself=0)
    # Of its own cell type nothing is left; other cell types have A0 and A1, none has A2.
    np.testing.assert_array_equal(around.flags, [1, 1, 1, 0, 0, 1])
    np.testing.assert_array_equal(around.same_assay, [1])
    alone = Neighbours.of(0, 2, places, np.eye(2), 3)
    np.testing.assert_array_equal(alone.flags, [0, 1, 1, 0, 0, 1])
    assert alone.same_assay.size == 0
    z = [np.ones((4, 3), dtype=np.float32)] * len(SCALES)
    read = alone.padded(alone.inputs(np.zeros(4, dtype=np.float32), z))
    assert read.shape == (4, n_inputs(3))
    assert read[0, :-6].sum() == pytest.approx(3 * len(SCALES) * np.log(2))


def test_the_nearest_cell_types_are_read_by_themselves(signal):
    # Tracks of C3 are made like those of C1.
    alike = signal.copy()
    for assay in range(ASSAYS):
        name = f"A{assay}"
        alike[:, column(Experiment("C3", name))] = (
            alike[:, column(Experiment("C1", name))] + 0.01 * signal[:, 0]
        )
    model = kriged(alike, TRAIN)
    row = 1
    assert np.argsort(-model.likeness[row])[:2].tolist() == [1, 3]
    cells, assays = model.indices(list(TRAIN))
    around = Neighbours.of(row, 2, (cells, assays), model.likeness, ASSAYS)
    assert TRAIN[int(np.flatnonzero(around.averages[:, -2])[0])] == ("C3", "A2")
    for i, j in ((0, 1), (2, 5)):
        both = [f"A{a}" for a in range(ASSAYS) if {(f"C{i}", f"A{a}"), (f"C{j}", f"A{a}")} <= set(TRAIN)]
        wanted = [
            np.corrcoef(alike[:, column(Experiment(f"C{i}", a))], alike[:, column(Experiment(f"C{j}", a))])[
                0, 1
            ]
            for a in both
        ]
        assert model.likeness[i, j] == pytest.approx(np.mean(wanted), abs=1e-6)


# -- learning ---------------------------------------------------------------------------------------------------------


def test_networks_learn_what_no_weighted_sum_says(model, signal):
    bare = replace(model, refinement=None)
    plain = bare.imputer(HELD).before_output(built_for(bare, HELD, signal))
    found = model.imputer(HELD).before_output(built_for(model, HELD, signal))
    for index, pair in enumerate(HELD):
        y = signal[:, column(pair)]
        assert np.square(found[:, index] - y).mean() < 0.4 * np.square(plain[:, index] - y).mean()


def test_held_out_tracks_are_not_looked_at(model, signal):
    other = signal.copy()
    other[:, [column(pair) for pair in HELD]] = other[::-1, [column(pair) for pair in HELD]] ** 2
    again = refined(other)
    for name, array in model.refinement.to_arrays().items():
        np.testing.assert_array_equal(again.refinement.to_arrays()[name], array)


def test_what_never_changed_while_learning_is_not_read(model):
    weights = np.abs(model.refinement.first).max(axis=2)
    assert (weights[:, 0] > 0).all()
    # Other cell types have every assay, whichever track is learned from.
    np.testing.assert_array_equal(weights[:, -ASSAYS:], 0)


def test_other_draws_give_other_networks_the_same_draws_the_same(model, signal):
    np.testing.assert_array_equal(refined(signal, 0).refinement.first, model.refinement.first)
    assert not np.array_equal(refined(signal, 1).refinement.first, model.refinement.first)
    # Every track is learned from before one is again.
    names = axes(PAIRS)
    learned = [Experiment(names[0][c], names[1][a]) for c, a in model.refinement.learned.reshape(-1, 2)]
    assert len(learned) == 6 * TRACKS and set(learned[: len(TRAIN)]) == set(TRAIN)


def test_the_strongest_bins_are_learned_from_twice(signal):
    sample = sampled(signal)
    track = TRAIN[3]
    rows = drawn_bins(track, sample, 4000, np.random.default_rng(0))
    times = np.bincount(rows, minlength=N_BINS)
    y = signal[:, column(track)]
    strong = y >= np.quantile(y, 0.99)
    assert np.bincount(times[~strong]).tolist()[2:] == [] and set(times[strong]) == {0, 2}
    assert (times > 0).sum() == 4000 and strong.sum() == 60
    everything = drawn_bins(track, sample, N_BINS, np.random.default_rng(0))
    assert len(everything) == N_BINS + 60


def test_few_tracks_have_no_networks(signal):
    few = TRAIN[: FEWEST - 1]
    for some, n_networks in ((few, 4), (TRAIN, 0)):
        found = fit_refinement(
            kriged(signal, some),
            sampled(signal),
            lambda tracks: kriged(signal, tracks),
            n_networks=n_networks,
            rng=np.random.default_rng(0),
        )
        assert found is None


def test_a_constant_track_is_not_learned_from(signal):
    flat = signal.copy()
    flat[:, column(TRAIN[0])] = 1.0
    model = refined(flat)
    features = model.imputer(HELD).features
    assert TRAIN[0] not in {feature.experiment for feature in features}
    assert np.isfinite(model.imputer(HELD)(built_for(model, HELD, flat))).all()


# -- ensembles, gaps, files -------------------------------------------------------------------------------------------


def test_an_ensemble_gives_the_mean_and_the_spread_of_its_members(model, signal):
    members = (model, replace(refined(signal, 1), lift=0.5), replace(model, refinement=None, lift=0.5))
    together = Ensemble(members).imputer(HELD)
    gaps = signal[:500].copy()
    gaps[100:140, [0, 4]] = np.nan
    gaps[200, 1:] = np.nan
    values = build_features(
        gaps,
        [500],
        together.features,
        np.array([column(feature.experiment) for feature in together.features]),
    )
    each = np.array([m.imputer(HELD).before_output(built_for(m, HELD, gaps)) for m in members])
    np.testing.assert_allclose(together.before_output(values), each.mean(axis=0), rtol=1e-4, atol=1e-4)
    predicted, spread = Spread(together, values[:100]).predict(values)
    np.testing.assert_allclose(predicted, together(values), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(spread, each.std(axis=0, ddof=1), rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(Spread(together, values[:100])(values), spread)
    assert np.isnan(predicted[200]).all() and np.isfinite(predicted[100:140]).all()
    # What stands around a bin does not make it observed.
    assert np.isnan(each[:, 200]).all()


def test_a_model_file_gives_the_networks_back(model, tmp_path):
    path = tmp_path / "m.h5"
    parts = model.to_arrays()
    write_model(path, ModelFile("kriging", parts, {}))
    again = load_model(path)[0].refinement
    for name, array in model.refinement.to_arrays().items():
        np.testing.assert_array_equal(again.to_arrays()[name], array)
    earlier = {name: part for name, part in parts.items() if not name.startswith(("networks_", "likeness"))}
    assert KrigingModel.from_arrays(earlier).refinement is None
    for name, wrong in (
        ("networks_first", parts["networks_first"][:, :-1]),
        ("networks_last", np.full_like(parts["networks_last"], np.nan)),
        ("networks_learned", parts["networks_learned"] + np.array([CELLS, 0])),
        ("networks_learned", parts["networks_learned"] + np.array([0, ASSAYS])),
        ("networks_learned", parts["networks_learned"][:, :, 0]),
        ("networks_learned", parts["networks_learned"][:2]),
        ("likeness", parts["likeness"][:2]),
    ):
        write_model(path, ModelFile("kriging", {**parts, name: wrong}, {}))
        with pytest.raises(ModelFormatError, match="is no whole model"):
            load_estimator(path)


# -- the sample -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gaps", [False, True], ids=["complete", "with gaps"])
def test_the_sample_has_complete_bins_with_their_context(gaps, tensor_path, engine, tmp_path):
    tensor = Tensor(with_gaps(tensor_path, tmp_path / "gaps", 0.1) if gaps else tensor_path)
    path = ensure_context_sample(tensor, engine, tmp_path / "m.features.h5", named=True)
    assert path == tmp_path / "m.sample.h5"
    sample = read_context_sample(path)
    assert sample.experiments == tuple(tensor.experiments)
    features = [Feature(e, *scale) for scale in SCALES for e in tensor.experiments]
    columns = np.tile(np.arange(len(tensor.experiments)), len(SCALES))
    wanted = []
    for name in tensor.shard_names:
        with tensor.open_shard(name) as shard:
            signal = shard.read()
            built = build_features(signal, shard.runs[:, 1].tolist(), features, columns)
            wanted.append(built[~np.isnan(signal).any(axis=1)])
    # There are fewer complete bins than would be drawn: all are.
    found = sample.values.transpose(1, 0, 2).reshape(sample.values.shape[1], -1)
    np.testing.assert_allclose(found, np.concatenate(wanted), rtol=1e-5, atol=1e-6)


def test_a_large_tensor_is_sampled_whatever_the_number_of_workers(engine, tmp_path, single):
    rng = np.random.default_rng(3)
    tensor = small_tensor(tmp_path / "t", rng.gamma(1, 1, (120_000, 4)), n_shards=3)
    path = ensure_context_sample(tensor, engine, tmp_path / "m.features.h5", named=False)
    before = path.stat().st_mtime_ns
    assert (
        ensure_context_sample(tensor, engine, tmp_path / "m.features.h5", named=False).stat().st_mtime_ns
        == before
    )
    sample = read_context_sample(path)
    assert sample.values.shape == (len(SCALES), 2**15, 4)
    whole = stored_signal(tensor)
    order = {row.tobytes(): index for index, row in enumerate(whole)}
    rows = np.array([order[row.tobytes()] for row in sample.values[0]])
    assert (np.diff(rows) > 0).all() and np.bincount(rows // 40_000).tolist() == [10923, 10923, 10922]
    inside = rows[(rows % 40_000 > 400) & (rows % 40_000 < 39_600)][::500]
    for row in inside.tolist():
        wanted = whole[row - 400 : row + 401].astype(np.float64).mean(axis=0)
        np.testing.assert_allclose(sample.values[-1, rows == row][0], wanted, rtol=1e-5)
    other = ensure_context_sample(tensor, single, tmp_path / "o.features.h5", named=False)
    assert other.read_bytes() == path.read_bytes()
    path.write_bytes(b"no sample")
    with refused(OutputError, "m.sample.h5 cannot be read as sample"):
        ensure_context_sample(tensor, engine, tmp_path / "m.features.h5", named=True)
    assert (
        ensure_context_sample(tensor, engine, tmp_path / "m.features.h5", named=False).read_bytes()
        == other.read_bytes()
    )


@pytest.mark.parametrize(("given", "lift"), [("auto", 0.0), (0.3, 0.3)])
def test_models_with_networks_are_made_steeper_only_where_asked(given, lift, tensor_path, engine, tmp_path):
    settings = TrainSettings(solver="kriging", networks=1, lift=given)
    train(tensor_path, tmp_path / "m.h5", settings, engine, moments=tmp_path / "moments.h5")
    model = load_model(tmp_path / "m.h5")[0]
    assert model.lift == lift and model.refinement.first.shape[0] == 1


def test_networks_are_left_out_where_none_are_wanted(tensor_path, engine, tmp_path):
    settings = TrainSettings(solver="kriging", networks=0)
    moments = tmp_path / "m.h5"
    train(tensor_path, tmp_path / "model.h5", settings, engine, moments=moments)
    model = load_model(tmp_path / "model.h5")[0]
    assert model.refinement is None and model.lift == 0.6
    assert sorted(path.name for path in Path(tmp_path).glob("m.*")) == ["m.features.h5"]
