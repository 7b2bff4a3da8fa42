"""Features of tracks: their moments, the member that reads them, and what they add, each against a plain solution."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from made_tensors import small_tensor, stored_signal
from predictd.errors import ModelFormatError
from predictd.io.models import ModelFile, read_model, write_model
from predictd.model.ensemble import Committee
from predictd.model.moments import moments
from predictd.model.stack import members
from predictd.model.stack.features import WINDOW, sampled_moments, with_features
from predictd.model.stack.inputs import HALF_WIDTHS, CurveScales, Guide, related_assays
from predictd.model.stack.networks import Lesson, Networks, WindowSample, exercise
from predictd.model.stack.pooling import Pooled, pooled_features
from predictd.model.stack.scales import Scales
from predictd.model.stack.stack import TOGETHER, StackModel
from predictd.model.stack.tracks import Tracks
from predictd.model.stack.weights import Weights
from predictd.model.windows import window_means
from predictd.pairs import Experiment
from predictd.workflows.imputing.apply import Application
from predictd.workflows.imputing.estimators import load_estimator, load_model
from predictd.workflows.tensor.moments import TensorMoments

pytestmark = pytest.mark.numeric

CELLS, ASSAYS = tuple(f"C{c}" for c in range(4)), ("A0", "A1", "A2")
PAIRS = [Experiment(cell, assay) for cell in CELLS for assay in ASSAYS]
HELD = [PAIRS[4], PAIRS[9]]
TRAIN = tuple(pair for pair in PAIRS if pair not in HELD)
N = len(TRAIN)
# Stretches that windows do not leave.
RUNS = [2500, 1, 1499]


@pytest.fixture(scope="module")
def signal() -> np.ndarray:
    """Tracks that share peaks and, over domains, a level: float32 (4000 × 12)."""
    rng = np.random.default_rng(0)
    names = (*CELLS, *ASSAYS)
    shared = {x: rng.gamma(0.3, 1.0, 4000) + np.repeat(rng.gamma(0.5, 1.0, 80), 50) for x in names}
    tracks = [0.5 * shared[c] + 0.5 * shared[a] + rng.gamma(0.5, 0.4, 4000) for c, a in PAIRS]
    return np.stack(tracks, axis=1).astype(np.float32)


def derived(signal: np.ndarray) -> np.ndarray:
    """Signal and its features, kind by kind, in float64: (bins × 4n)."""
    sds = signal.astype(np.float64).std(axis=0)
    y = signal.astype(np.float64)
    window = np.empty_like(y)
    start = 0
    for length in RUNS:
        for i in range(length):
            window[start + i] = y[start + max(0, i - 20) : start + min(length, i + 21)].mean(axis=0)
        start += length
    return np.concatenate([y, window, np.log(np.maximum(y, 0) + 0.1 * sds), y**2], axis=1)


@pytest.fixture(scope="module")
def every(signal: np.ndarray) -> np.ndarray:
    return derived(signal)


@pytest.fixture(scope="module")
def sampled(signal: np.ndarray) -> np.ndarray:
    return sampled_moments(moments(signal), signal, window_means(signal, RUNS, [WINDOW])[0])


def model_of(s: np.ndarray, sampled: np.ndarray, train: tuple[Experiment, ...] = TRAIN) -> StackModel:
    tracks = Tracks.of(s, PAIRS, train, CELLS, ASSAYS, sampled=sampled)
    weights = Weights(np.tile([0.3, 0.6], (4, 1)), np.ones(4))
    names = ("assay_mean", "kriging_features")
    return StackModel(CELLS, ASSAYS, train, tracks, Scales.of(tracks), names, weights)


@pytest.fixture(scope="module")
def model(signal: np.ndarray, sampled: np.ndarray) -> StackModel:
    return model_of(moments(signal), sampled)


def test_moments_of_features(signal, every, sampled):
    """Of all bins they are the features' own."""
    padded = np.concatenate([every, np.ones((len(every), 1))], axis=1)
    np.testing.assert_allclose(sampled, padded.T @ padded / 4000, rtol=2e-4)
    s, columns = moments(signal), np.array([3, 0, 7])
    found = with_features(s, sampled, columns)
    own = np.r_[columns, 12 + columns, 24 + columns, 36 + columns, 48]
    np.testing.assert_allclose(found, (padded.T @ padded)[np.ix_(own, own)], rtol=2e-4)
    kept = np.r_[columns, 12]
    assert np.array_equal(found[np.ix_([0, 1, 2, -1], [0, 1, 2, -1])], s[np.ix_(kept, kept)])


def test_moments_of_features_from_a_sample(signal, every):
    """Near to those of all bins; where a sample has more signal than the genome, regression makes good for it."""
    strong = signal.sum(axis=1) > np.quantile(signal.sum(axis=1), 0.5)
    rows = np.flatnonzero(strong | (np.random.default_rng(1).random(4000) < 0.6))
    window = window_means(signal, RUNS, [WINDOW])[0]
    s = moments(signal)
    found = with_features(s, sampled_moments(s, signal[rows], window[rows]), np.arange(12))
    means, plain = found[-1, 12:48] / 4000, every[rows, 12:].mean(axis=0)
    true = every[:, 12:].mean(axis=0)
    assert np.abs(means - true).sum() < 0.35 * np.abs(plain - true).sum()
    values = np.linalg.eigvalsh(found)
    assert values.min() > -1e-9 * values.max()


def test_the_member_solves_pooled_correlations(model, every, sampled):
    """Those between features are pooled as those between tracks are; those of one track are its own."""
    tracks = model.tracks
    own = every[:, [k * 12 + PAIRS.index(e) for k in range(4) for e in TRAIN]]
    r = np.corrcoef(own.T)
    np.testing.assert_allclose(tracks.features.correlations, r, rtol=0, atol=2e-4)
    places = model.indices(HELD)
    pooled = {
        (x, y): Pooled.of(replace(tracks, correlations=r.reshape(4, N, 4, N)[x, :, y]))
        for x in range(4)
        for y in range(x, 4)
    }
    system, right = np.empty((4 * N, 4 * N)), np.empty((2, 4 * N))
    for (x, y), one in pooled.items():
        block = one.between(tracks.places, tracks.places)
        for i in range(N):
            block[i, i] = r[x * N + i, y * N + i]
        system[x * N : (x + 1) * N, y * N : (y + 1) * N] = block
        if x != y:
            system[y * N : (y + 1) * N, x * N : (x + 1) * N] = block.T
        if x == 0:
            right[:, y * N : (y + 1) * N] = one.between(places, tracks.places)
    values, vectors = np.linalg.eigh((system + system.T) / 2)
    whole = vectors @ np.diag(np.maximum(values, 0)) @ vectors.T + 0.6 * np.eye(4 * N)
    wanted = np.linalg.solve(whole, right.T).T
    for row, own_right in zip(wanted, right, strict=True):
        told = own_right @ row
        row /= max(1.0, told, row @ r @ row / told)
    found = members.kriging_features(tracks, places, pooled_features(tracks))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-3)
    assert np.abs(found[:, N:]).sum() > 0.1


def test_it_reads_the_nearest_tracks_and_none_of_the_pair_itself(model, monkeypatch):
    monkeypatch.setattr(members, "_FEATURED_NEAREST", 4)
    places = model.indices(list(TRAIN))
    found = members.kriging_features(model.tracks, places, pooled_features(model.tracks)).reshape(N, 4, N)
    correlations = np.abs(model.pooled.between(places, model.tracks.places))
    for row in range(N):
        correlations[row, row] = -1
        assert set(np.flatnonzero(found[row].any(axis=0))) == set(np.argsort(-correlations[row])[:4])


def test_features_that_do_not_vary_are_not_read(signal):
    """Where negative signal is all there is, logarithms are constant."""
    changed = signal.copy()
    changed[:, 0] -= 100
    window = window_means(changed, RUNS, [WINDOW])[0]
    found = model_of(moments(changed), sampled_moments(moments(changed), changed, window))
    assert np.flatnonzero(found.tracks.features.sds == 0).tolist() == [2 * N]
    maps, _ = found.maps(found.indices(HELD))
    assert (maps[:, :, 2 * N] == 0).all() and np.isfinite(maps).all()
    imputer = found.imputer(HELD)
    assert np.isfinite(imputer(changed[:, [PAIRS.index(e) for e in imputer.inputs]], RUNS)).all()


def plainly(model: StackModel, every: np.ndarray) -> np.ndarray:
    """Predictions of the stack for HELD, from its weights of standardised columns: (bins × 2)."""
    own = every[:, [k * 12 + PAIRS.index(e) for k in range(4) for e in TRAIN]]
    z = (own - model.tracks.features.means) / model.tracks.features.sds
    places = model.indices(HELD)
    maps, _ = model.maps(places)
    combined = 0.3 * maps[0] + 0.6 * maps[1]
    assert np.abs(combined[:, N:]).sum() > 0.1
    return model.scales.means[places] + model.scales.sds[places] * (z @ combined.T)


def test_predictions_are_weighted_sums_of_tracks_and_features(model, signal, every):
    imputer = model.imputer(HELD)
    own = signal[:, [PAIRS.index(e) for e in imputer.inputs]]
    wanted = plainly(model, every)
    found = imputer(own, RUNS)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4)
    # Of some bins, with what is around them as far as the halo.
    inner = imputer(own[200:1000], [800], slice(imputer.halo, 500, 3))
    np.testing.assert_allclose(inner, wanted[220:700:3], rtol=0, atol=1e-4)


def test_errors_by_moments_are_those_of_predictions(model, signal, every, sampled):
    data = TensorMoments(moments(signal), tuple(PAIRS), sampled)
    errors = data.errors(model.alone(HELD)[TOGETHER], model.imputer(HELD).inputs, tuple(HELD))
    truth = signal[:, [PAIRS.index(e) for e in HELD]]
    np.testing.assert_allclose(errors, ((plainly(model, every) - truth) ** 2).mean(axis=0), rtol=1e-3)


def test_rows_of_a_tensor_with_what_is_around_them(model, signal, tmp_path):
    """Windows reach beyond the rows, and not from shard to shard."""
    tensor = small_tensor(tmp_path / "t", signal, experiments=PAIRS, n_shards=2)
    stored, imputer = stored_signal(tensor), model.imputer(HELD)
    wanted = imputer(stored[:, [PAIRS.index(e) for e in imputer.inputs]], [2000, 2000])
    application = Application(Committee((model,)), HELD, tensor)
    for first, name in zip((0, 2000), tensor.shard_names, strict=True):
        with tensor.open_shard(name) as shard:
            for start, stop in ((0, 10), (10, 1500), (1500, 2000)):
                _, found = application.rows(shard, start, stop)
                np.testing.assert_allclose(found, wanted[first + start : first + stop], rtol=0, atol=1e-4)


def test_networks_read_and_add_to_predictions_with_features(model, signal, every):
    """Of a bin they read the stack's prediction as it is with features."""
    places = model.indices(HELD)
    maps, offsets = model.maps(places)
    related = related_assays(model.pooled)
    guide = Guide.of(
        model.tracks, places, model.stacked(places, maps, offsets)[0], maps, model.pooled, related
    )
    rng = np.random.default_rng(5)
    shapes = ((1, guide.n_inputs, 32), (1, 32), (1, 32, 32), (1, 32), (1, 32), (1,))
    networks = Networks(
        *(0.3 * rng.normal(size=shape).astype(np.float32) for shape in shapes), np.full((1, 3, 2), -1)
    )
    columns = [PAIRS.index(e) for e in TRAIN]
    own = signal[:, columns]
    refined = replace(model, networks=networks, related=related, curve_scales=CurveScales.of(own))
    sample = WindowSample(tuple(PAIRS), window_means(signal, RUNS, HALF_WIDTHS))
    truth = signal[:, [PAIRS.index(e) for e in HELD]].astype(np.float64)
    known = Tracks.of(moments(signal), PAIRS, HELD, CELLS, ASSAYS)
    none = np.zeros((2, len(model.members))), np.zeros(2)
    lesson = Lesson(model.tracks, tuple(HELD), known.places, known.means, known.sds, guide, *none)
    # In known and in predicted means and deviations.
    predicted = (plainly(model, every) - model.scales.means[places]) / model.scales.sds[places]
    added = np.empty((4000, 2))
    for row in (0, 1):
        read, residual = exercise(lesson, row, sample, np.arange(4000))
        along = np.sign(read[:, 0]) * np.expm1(np.abs(read[:, 0]))
        np.testing.assert_allclose(along, predicted[:, row], rtol=0, atol=2e-3)
        left = (truth[:, row] - known.means[row]) / known.sds[row] - predicted[:, row]
        np.testing.assert_allclose(residual, np.clip(left, -8, 8), rtol=0, atol=2e-3)
        added[:, row] = networks(read, np.ones(1, dtype=np.float32)) * model.scales.sds[places][row]
    found = refined.imputer(HELD)(own, RUNS)
    np.testing.assert_allclose(found, plainly(model, every) + added, rtol=0, atol=5e-3)


def test_a_model_file_gives_features_back(model, signal, tmp_path):
    path = tmp_path / "m.h5"
    write_model(path, ModelFile(model.kind, model.to_arrays(), {}))
    again = load_model(path)[0]
    own = signal[:, [PAIRS.index(e) for e in TRAIN]]
    np.testing.assert_allclose(again.imputer(HELD)(own, RUNS), model.imputer(HELD)(own, RUNS), atol=1e-3)
    parts = read_model(path).parameters
    for name in ("feature_means", "feature_sds", "feature_correlations"):
        for wrong in (parts[name][1:], np.full_like(parts[name], np.nan)):
            write_model(path, ModelFile(model.kind, {**parts, name: wrong}, {}))
            with pytest.raises(ModelFormatError, match="is not a whole model"):
                load_estimator(path)
