"""What networks read, learn and add, each against a plain loop; and the sample that they learn from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from made_tensors import small_tensor, stored_signal, with_gaps
from predictd.engine.local import LocalEngine
from predictd.errors import ModelFormatError, OutputError
from predictd.io.models import ModelFile, read_model, write_model
from predictd.io.tensor.store import Shard, Tensor
from predictd.model.ensemble import Committee
from predictd.model.moments import moments
from predictd.model.stack import maps
from predictd.model.stack.gains import errors_of_unseen, worthwhile
from predictd.model.stack.inputs import HALF_WIDTHS, CurveScales, Guide, related_assays
from predictd.model.stack.networks import (
    Lesson,
    Networks,
    WindowSample,
    fit_network,
)
from predictd.model.stack.pooling import SAME_CELL
from predictd.model.stack.scales import Scales
from predictd.model.stack.stack import StackModel
from predictd.model.stack.tracks import Tracks
from predictd.model.stack.weights import Weights
from predictd.model.windows import window_means
from predictd.pairs import Experiment, rows_of
from predictd.workflows.imputing.apply import Application
from predictd.workflows.imputing.estimators import load_estimator, load_model
from predictd.workflows.tensor import context
from predictd.workflows.tensor.context import ensure_window_sample, read_window_sample
from predictd.workflows.tensor.sample import plan_sample
from refusals import refused

pytestmark = pytest.mark.numeric

CELLS, ASSAYS = tuple(f"C{c}" for c in range(4)), ("A0", "A1", "A2")
PAIRS = [Experiment(cell, assay) for cell in CELLS for assay in ASSAYS]
HELD = [PAIRS[4], PAIRS[9]]
TRAIN = tuple(pair for pair in PAIRS if pair not in HELD)
N_BINS = 9000


@pytest.fixture(scope="module")
def signal() -> np.ndarray:
    """What is shared makes a peak only where both the cell type and the assay have it: no weighted sum can say so."""
    rng = np.random.default_rng(0)
    on = {name: rng.random(N_BINS) < 0.3 for name in (*CELLS, *ASSAYS)}
    tracks = [
        2.0 * (on[pair.assay] & on[pair.cell_type]) + 0.3 * on[pair.assay] + 0.2 * rng.random(N_BINS)
        for pair in PAIRS
    ]
    return np.stack(tracks, axis=1).astype(np.float32)


def model_of(signal: np.ndarray, train: tuple[Experiment, ...] = TRAIN) -> StackModel:
    tracks = Tracks.of(moments(signal), PAIRS, train, CELLS, ASSAYS)
    weights = Weights(np.tile([0.2, 0.6], (4, 1)), np.ones(4))
    return StackModel(CELLS, ASSAYS, train, tracks, Scales.of(tracks), ("assay_mean", "donors"), weights)


def sample_of(signal: np.ndarray) -> WindowSample:
    return WindowSample(tuple(PAIRS), window_means(signal, [len(signal)], HALF_WIDTHS))


def guide_of(model: StackModel, pairs: list[Experiment]) -> Guide:
    places = model.indices(pairs)
    maps, offsets = model.maps(places)
    stacked, _ = model.stacked(places, maps, offsets)
    return Guide.of(model.tracks, places, stacked, maps, model.pooled, related_assays(model.pooled))


def lessons_of(signal: np.ndarray) -> list[Lesson]:
    """Each training track, predicted from the others."""
    found = []
    for own in TRAIN:
        model = model_of(signal, tuple(e for e in TRAIN if e != own))
        known = Tracks.of(moments(signal), PAIRS, (own,), CELLS, ASSAYS)
        guide = guide_of(model, [own])
        none = np.zeros((1, 2)), np.zeros(1)
        found.append(Lesson(model.tracks, (own,), known.places, known.means, known.sds, guide, *none))
    return found


def refined(model: StackModel, networks: Networks, signal: np.ndarray) -> StackModel:
    own = signal[:, [PAIRS.index(e) for e in model.tracks.names]]
    scales = CurveScales.of(own)
    return replace(model, networks=networks, related=related_assays(model.pooled), curve_scales=scales)


def random_networks(n_inputs: int, n: int = 2) -> Networks:
    rng = np.random.default_rng(5)
    shapes = ((n, n_inputs, 32), (n, 32), (n, 32, 32), (n, 32), (n, 32), (n,))
    parts = [0.3 * rng.normal(size=shape).astype(np.float32) for shape in shapes]
    learned = np.full((n, 3, 2), -1)
    learned[1:] = [[0, 0], [1, 1], [3, 2]]
    return Networks(*parts, learned)


@pytest.fixture(scope="module")
def model(signal: np.ndarray) -> StackModel:
    linear = model_of(signal)
    return refined(linear, random_networks(guide_of(linear, HELD).n_inputs, 3), signal)


def plainly_added(model: StackModel, target: Experiment, signal: np.ndarray, runs: list[int]) -> np.ndarray:
    """What networks add to a pair, in standard deviations, bin by bin and input by input."""
    tracks = model.tracks
    z = (signal[:, [PAIRS.index(e) for e in tracks.names]].astype(np.float64) - tracks.means) / tracks.sds
    places = model.indices([target])
    maps = model.maps(places)[0][:, 0]
    stack = model.weights.for_targets(model.n_donors(places))[0] @ maps
    rho = model.pooled.between(places, tracks.places)[0]
    context = [i for i, e in enumerate(tracks.names) if e.cell_type == target.cell_type and e != target]
    same = [i for i, e in enumerate(tracks.names) if e.assay == target.assay and e != target]
    top = sorted(context, key=lambda i: -abs(rho[i]))[:3]
    at = {(e.cell_type, e.assay): i for i, e in enumerate(tracks.names)}

    def like(i: int) -> float:
        other = tracks.names[i].cell_type
        both = [a for a in ASSAYS if (other, a) in at and (target.cell_type, a) in at]
        return float(np.mean([tracks.correlations[at[other, a], at[target.cell_type, a]] for a in both]))

    near = sorted(same, key=lambda i: -like(i))
    everything = [i for i, e in enumerate(tracks.names) if e != target]
    blank = np.zeros(len(z))
    channels = [z @ stack, *(z @ m for m in maps)]
    channels += [np.sign(rho[i]) * z[:, i] for i in top] + [blank] * (3 - len(top))
    channels += [z[:, near[0]], z[:, near[min(1, len(near) - 1)]]]
    means = [z[:, some].mean(axis=1) for some in (same, context, everything)]
    strength = np.abs(
        model.pooled.mean[SAME_CELL] + model.pooled.assays[SAME_CELL][ASSAYS.index(target.assay)]
    )
    others = sorted((a for a in ASSAYS if a != target.assay), key=lambda a: -strength[ASSAYS.index(a)])
    flags = []
    for assay in others:
        own = [i for i, e in enumerate(tracks.names) if e == (target.cell_type, assay)]
        rest = [i for i, e in enumerate(tracks.names) if e.assay == assay and i not in own]
        means += [z[:, some].mean(axis=1) if some else blank for some in (own, rest)]
        flags += [float(bool(own)), float(bool(rest))]
    channels += means
    read = [*channels, z[:, same].max(axis=1), z[:, same].min(axis=1)]
    raw = signal[:, [PAIRS.index(e) for e in tracks.names]]
    for k, curved in enumerate((np.log(np.maximum(raw, 0) + 0.05), raw**2)):
        scales = model.curve_scales
        c = (curved - scales.means[k]) / scales.sds[k]
        read += [c @ stack, *(np.sign(rho[i]) * c[:, i] for i in top), *[blank] * (3 - len(top))]
        read += [c[:, same].mean(axis=1), c[:, context].mean(axis=1)]
    wide = np.stack([channels[0], *means], axis=1).astype(np.float32)
    for window in window_means(wide, runs, HALF_WIDTHS[1:]):
        read += list(window.T)
    inputs = np.stack(read, axis=1)
    inputs = np.sign(inputs) * np.log1p(np.abs(inputs))
    variance = stack @ tracks.correlations @ stack
    numbers = [np.log1p(len(same)), np.log1p(len(context)), np.sqrt(variance)]
    numbers += [abs(rho[i]) for i in top] + [0.0] * (3 - len(top)) + flags
    inputs = np.concatenate([inputs, np.tile(numbers, (len(z), 1))], axis=1)
    nets = model.networks
    given = []
    for r in range(len(nets.last)):
        hidden = np.maximum(inputs @ nets.first[r] + nets.first_bias[r], 0)
        hidden = np.maximum(hidden @ nets.second[r] + nets.second_bias[r], 0)
        given.append(hidden @ nets.last[r] + nets.last_bias[r])
    # The first learned from all, the others from three tracks each, which are counted by what they are to the pair.
    counts = 3.0 + np.array([0.0, 0.0])
    for r in (0, 1):
        for cell, assay in nets.learned[r + 1].tolist():
            counts[r] += 8.0 * (CELLS[cell] == target.cell_type) + 30.0 * (ASSAYS[assay] == target.assay)
    counts /= counts.sum()
    return 0.8 * (0.5 * given[0] + 0.5 * (counts[0] * given[1] + counts[1] * given[2]))


@pytest.mark.parametrize("target", [*HELD, TRAIN[2]], ids=str)
def test_predictions_are_what_networks_add_to_the_stack(target, model, signal):
    runs = [700, 1300]
    imputer, linear = model.imputer([target]), replace(model, networks=None).imputer([target])
    own = signal[:2000, [PAIRS.index(e) for e in imputer.inputs]]
    wanted = linear(own)[:, 0] + model.scales.sds[model.indices([target])] * plainly_added(
        model, target, signal[:2000], runs
    )
    whole = imputer(own, runs)
    np.testing.assert_allclose(whole[:, 0], wanted, rtol=0, atol=2e-4)
    # Of some bins, with what is around them as far as the halo.
    inner = imputer(own[:1900], [700, 1200], slice(800, 1500, 3))
    np.testing.assert_allclose(inner, whole[800:1500:3], rtol=0, atol=2e-5)


@pytest.mark.parametrize("gaps", [False, True], ids=["complete", "with gaps"])
def test_how_maps_are_applied_does_not_show(gaps, model, signal, monkeypatch):
    rows = [PAIRS.index(e) for e in model.imputer(HELD).inputs]
    own, runs = signal[:2000, rows].copy(), [700, 1300]
    if gaps:
        # Bins that lack so much that nothing is said there.
        own[100:150, :8], own[900:905] = np.nan, np.nan
    usual = model.imputer(HELD)(own, runs)
    assert np.isnan(usual).any() == gaps
    monkeypatch.setattr(maps, "_MANY_TRACKS", 1)
    monkeypatch.setattr(maps, "_SHARE", 0.5)
    np.testing.assert_allclose(model.imputer(HELD)(own, runs), usual, rtol=0, atol=1e-5)


def test_blocks_of_a_tensor_are_imputed_with_what_is_around_them(model, signal, tmp_path):
    tensor = small_tensor(tmp_path / "t", signal, experiments=PAIRS, n_shards=2)
    application = Application(Committee((model,)), HELD, tensor)
    stored = stored_signal(tensor)
    imputer = model.imputer(HELD)
    own = stored[:, [PAIRS.index(e) for e in imputer.inputs]]
    wanted = imputer(own, [N_BINS // 2, N_BINS // 2])
    start = 0
    for name in tensor.shard_names:
        with tensor.open_shard(name) as shard:
            for _, block, predicted in application.blocks(shard):
                np.testing.assert_allclose(predicted, wanted[start : start + len(block)], rtol=0, atol=1e-4)
                start += len(block)
    assert start == N_BINS


@pytest.mark.parametrize("indices", [(0,), (0, 1, 2)], ids=["of all", "and of few"])
def test_networks_learn_what_no_weighted_sum_says(indices, signal):
    """On bins that they did not learn from, of tracks that they never saw."""
    lessons, sample = lessons_of(signal[:6000]), sample_of(signal[:6000])
    networks = Networks.joined([fit_network(lessons, sample, index, 3, seed=1) for index in indices])
    linear = model_of(signal[:6000])
    rest = signal[6000:]
    for target in HELD:
        y = rest[:, PAIRS.index(target)]
        errors = []
        for model in (linear, refined(linear, networks, signal[:6000])):
            imputer = model.imputer([target])
            own = rest[:, [PAIRS.index(e) for e in imputer.inputs]]
            errors.append(np.mean((imputer(own)[:, 0] - y) ** 2))
        assert errors[1] < 0.75 * errors[0]


def test_networks_are_judged_on_tracks_that_they_did_not_learn_from(signal):
    """The errors of each track are those with the others' networks, and decide whether networks are worth it."""
    lessons, sample = lessons_of(signal), sample_of(signal[:2000])
    networks = Networks.joined([fit_network(lessons, sample, index, 4, seed=0) for index in range(4)])
    found = np.concatenate([errors_of_unseen(lesson, sample, networks, 0) for lesson in lessons])
    places = [tuple(int(a[row]) for a in one.places) for one in lessons for row in range(len(one.names))]
    usable = [place for place in places if networks.weights(*place, unseen=True).any()]
    assert len(found) == len(usable) > 4
    for place in usable:
        weights = networks.weights(*place, unseen=True)
        assert weights[0] == 0 and weights.sum() == pytest.approx(1)
        assert not any(place in map(tuple, networks.learned[i].tolist()) for i in np.flatnonzero(weights))
    assert worthwhile(found) and found[:, 1].mean() < 0.9 * found[:, 0].mean()
    # Networks that say nothing take nothing off; those that say noise add to the error.
    silent = replace(networks, last=networks.last * 0, last_bias=networks.last_bias * 0)
    same = np.concatenate([errors_of_unseen(lesson, sample, silent, 0) for lesson in lessons])
    np.testing.assert_array_equal(same[:, 0], same[:, 1])
    assert not worthwhile(same)
    assert len(errors_of_unseen(lessons[0], sample, silent, 0, every=10**6)) <= 1
    assert worthwhile(found[:1])
    # Less than a standard error, and more than nothing.
    little = np.array([[0.5, 0.4], [0.5, 0.55], [0.5, 0.48]])
    assert worthwhile(little, few=True) and not worthwhile(little) and not worthwhile(same, few=True)
    # More than a standard error, but too little for what it costs.
    sure = np.array([[0.050, 0.046], [0.051, 0.047]] * 8)
    assert worthwhile(sure, few=True) and not worthwhile(sure) and worthwhile(3 * sure)
    # One track that nothing predicts does not decide.
    assert not worthwhile(np.vstack([sure, [[30.0, 20.0]] * 8]))


def test_tracks_that_are_not_taught_are_not_looked_at(signal):
    other = signal.copy()
    for pair in HELD:
        other[:, PAIRS.index(pair)] = 7.0
    one, two = (
        fit_network(lessons_of(signal), sample_of(values), 0, 1, seed=1) for values in (signal, other)
    )
    for name, array in one.to_arrays().items():
        np.testing.assert_array_equal(array, two.to_arrays()[name])


def test_every_eighth_network_learns_from_all_and_others_from_all_in_turn(signal):
    lessons, sample = lessons_of(signal), sample_of(signal[:600])
    networks = Networks.joined([fit_network(lessons, sample, index, 9, seed=0) for index in range(9)])
    assert [bool((tracks < 0).all()) for tracks in networks.learned] == [True, *[False] * 7, True]
    learned = [tuple(row) for tracks in networks.learned[1:8] for row in tracks.tolist()]
    counts = [
        learned.count(tuple(place)) for place in np.stack(rows_of(TRAIN, CELLS, ASSAYS), axis=1).tolist()
    ]
    assert sum(counts) == 21 and min(counts) >= 1 and max(counts) <= 3


def test_other_draws_give_other_networks(signal):
    lessons, sample = lessons_of(signal)[:3], sample_of(signal)
    one, again, two = (fit_network(lessons, sample, 0, 1, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.first, again.first)
    assert np.abs(one.first - two.first).max() > 0.01
    both = Networks.joined([one, two])
    inputs = np.random.default_rng(0).normal(size=(50, one.first.shape[1])).astype(np.float32)
    alone = [net(inputs, net.weights(0, 0)) for net in (one, two)]
    np.testing.assert_allclose(both(inputs, both.weights(0, 0)), sum(alone) / 2, rtol=1e-4, atol=1e-5)


def test_what_never_changed_while_learning_is_not_read(signal):
    lessons = lessons_of(signal)[:1]
    networks = fit_network(lessons, sample_of(signal), 0, 1, seed=1)
    # Of one track, what does not change along the genome never changed.
    assert (networks.first[0, -lessons[0].guide.constants.shape[1] :] == 0).all()
    assert np.abs(networks.first[0, 0]).max() > 0.01


def test_bins_with_too_little_signal_stay_empty(model, signal):
    imputer = model.imputer(HELD)
    own = signal[:300, [PAIRS.index(e) for e in imputer.inputs]].copy()
    own[100:110, :7] = np.nan
    own[200, 2] = np.nan
    found = imputer(own)
    assert np.isnan(found[100:110]).all() and np.isfinite(np.delete(found, range(100, 110), axis=0)).all()
    # Windows are means of what is there.
    np.testing.assert_allclose(found[:100], imputer(own[:100])[:100], atol=0.5)


def test_a_model_file_gives_the_networks_back(model, tmp_path):
    path = tmp_path / "m.h5"
    write_model(path, ModelFile(model.kind, model.to_arrays(), {}))
    again = load_model(path)[0]
    for name, array in model.networks.to_arrays().items():
        np.testing.assert_array_equal(again.networks.to_arrays()[name], array)
    parts = read_model(path).parameters
    for name, wrong in (
        ("networks_first_bias", parts["networks_first_bias"][:, :-1]),
        ("networks_last", np.full_like(parts["networks_last"], np.nan)),
        ("networks_learned", parts["networks_learned"][:2]),
        ("related", parts["related"] + 1),
        ("curve_means", parts["curve_means"][:, 1:]),
    ):
        write_model(path, ModelFile(model.kind, {**parts, name: wrong}, {}))
        with pytest.raises(ModelFormatError, match="is not a whole model"):
            load_estimator(path)


# -- the sample -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gaps", [False, True], ids=["complete", "with gaps"])
def test_the_sample_has_complete_bins_with_what_is_around_them(gaps, tensor_path, engine, tmp_path):
    tensor = Tensor(with_gaps(tensor_path, tmp_path / "gaps", 0.1) if gaps else tensor_path)
    path = ensure_window_sample(tensor, engine, tmp_path / "m.h5", named=True)
    assert path == tmp_path / "m.sample.h5"
    sample = read_window_sample(path)
    assert sample.experiments == tuple(tensor.experiments)
    wanted = []
    for name in tensor.shard_names:
        with tensor.open_shard(name) as shard:
            signal = shard.read()
            built = window_means(signal, shard.places.runs[:, 1].tolist(), HALF_WIDTHS)
            wanted.append(built[:, ~np.isnan(signal).any(axis=1)])
    # There are fewer complete bins than would be drawn: all are.
    np.testing.assert_allclose(sample.values, np.concatenate(wanted, axis=1), rtol=1e-5, atol=1e-6)


def test_a_large_tensor_is_sampled_whatever_the_number_of_workers(engine, tmp_path, single, monkeypatch):
    rng = np.random.default_rng(3)
    tensor = small_tensor(tmp_path / "t", rng.gamma(1, 1, (120_000, 4)), n_shards=3)
    path = ensure_window_sample(tensor, engine, tmp_path / "m.h5", named=False)
    before = path.stat().st_mtime_ns
    assert ensure_window_sample(tensor, engine, tmp_path / "m.h5", named=False).stat().st_mtime_ns == before
    sample = read_window_sample(path)
    assert sample.values.shape == (len(HALF_WIDTHS), 2**15, 4)
    whole = stored_signal(tensor)
    order = {row.tobytes(): index for index, row in enumerate(whole)}
    rows = np.array([order[row.tobytes()] for row in sample.values[0]])
    assert (np.diff(rows) > 0).all() and np.bincount(rows // 40_000).tolist() == [10923, 10923, 10922]
    inside = rows[(rows % 40_000 > 400) & (rows % 40_000 < 39_600)][::500]
    for row in inside.tolist():
        wanted = whole[row - 400 : row + 401].astype(np.float64).mean(axis=0)
        np.testing.assert_allclose(sample.values[-1, rows == row][0], wanted, rtol=1e-5)
    other = ensure_window_sample(tensor, single, tmp_path / "o.h5", named=False)
    assert other.read_bytes() == path.read_bytes()
    path.write_bytes(b"no sample")
    with refused(OutputError, "m.sample.h5 cannot be read as sample"):
        ensure_window_sample(tensor, engine, tmp_path / "m.h5", named=True)
    again = ensure_window_sample(tensor, engine, Path(tmp_path / "m.h5"), named=False)
    assert again.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("gaps", [False, True], ids=["complete", "with gaps"])
def test_of_many_blocks_only_those_that_hold_the_sample_are_read(gaps, tmp_path, monkeypatch):
    monkeypatch.setattr("predictd.io.tensor.store.CHUNK_BYTES", 2**15)
    monkeypatch.setattr(context, "_MOST_BINS", 200)
    monkeypatch.setattr(context, "_LEAST_BINS", 1)
    values = np.random.default_rng(4).gamma(1, 1, (90_000, 4))
    if gaps:
        # All of the second shard but the end of its last block.
        values[45_000:89_900, 2] = np.nan
    tensor = small_tensor(tmp_path / "t", values, n_shards=2)
    read: list[tuple[int, int]] = []
    rows_of = Shard.read
    monkeypatch.setattr(
        Shard, "read", lambda shard, low, high: read.append((low, high)) or rows_of(shard, low, high)
    )
    here = LocalEngine(1)
    monkeypatch.setattr(here, "map", lambda task, keys, shared, **_: [task(key, shared) for key in keys])
    sample = read_window_sample(ensure_window_sample(tensor, here, tmp_path / "m.h5", named=True))
    monkeypatch.undo()
    assert sample.values.shape == (len(HALF_WIDTHS), 200, 4) and not np.isnan(sample.values).any()
    whole = stored_signal(tensor)
    order = {row.tobytes(): index for index, row in enumerate(whole)}
    rows = np.array([order[row.tobytes()] for row in sample.values[0]])
    assert len(set(rows.tolist())) == 200
    counts = np.bincount(rows[rows < 45_000] // 4096)
    if not gaps:
        assert len(read) == 8 and sorted(counts[counts > 0].tolist()) == [4, 32, 32, 32]
        assert all(high - low <= 4096 + 800 for low, high in read)
    for row, got in zip(rows.tolist(), sample.values[-1], strict=True):
        first, last = (0, 45_000) if row < 45_000 else (45_000, 90_000)
        around = whole[max(row - 400, first) : min(row + 401, last)].astype(np.float64)
        np.testing.assert_allclose(got, np.nanmean(around, axis=0), rtol=1e-5)


def test_bins_of_blocks_with_gaps_are_as_likely_as_others(tmp_path, monkeypatch):
    monkeypatch.setattr("predictd.io.tensor.store.CHUNK_BYTES", 2**15)
    rng = np.random.default_rng(8)
    values = rng.gamma(1, 1, (100_000, 4))
    # Every second block of 4096 bins has a value in one bin of sixteen.
    gappy = np.arange(len(values)) // 4096 % 2 == 1
    values[gappy & (rng.random(len(values)) > 1 / 16), 1] = np.nan
    tensor = small_tensor(tmp_path / "t", values, n_shards=1)
    complete = ~np.isnan(stored_signal(tensor)).any(axis=1)
    plans = [replace(plan_sample(tensor, 160, 0), seed=seed) for seed in range(60)]
    order = {row.tobytes(): index for index, row in enumerate(stored_signal(tensor))}
    read = list[int]()
    rows_of = Shard.read
    monkeypatch.setattr(Shard, "read", lambda shard, low, high: read.append(low) or rows_of(shard, low, high))
    drawn = np.array([[order[row.tobytes()] for row in context._shard_sample(0, plan)[0]] for plan in plans])
    assert drawn.shape == (60, 160) and complete[drawn].all()
    # Of 25 blocks, each of which holds 32 on average.
    assert 5 <= len(read) / len(plans) < 8
    share = (gappy & complete).sum() / complete.sum()
    assert 0.05 < share < 0.06
    assert gappy[drawn].mean() == pytest.approx(share, abs=0.015)
    # Nor is the last block, which is shorter, another case.
    last = np.arange(len(values)) // 4096 == len(values) // 4096
    assert last[drawn].mean() == pytest.approx((last & complete).sum() / complete.sum(), abs=0.02)


def test_many_experiments_are_sampled_at_fewer_bins():
    assert [context.sampled_bins(n) for n in (1, 256, 1014, 100_000)] == [2**15, 2**15, 8272, 2**12]
