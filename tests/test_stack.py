"""The stack's members, scales and weights, each against a plain solution; and the model that they make."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from predictd.config import AlsSettings
from predictd.errors import DataError, ModelFormatError
from predictd.io.models import ModelFile, read_model, write_model
from predictd.model.cp.als import CPProblem
from predictd.model.cp.factors import CPModel
from predictd.model.cp.fit import fit
from predictd.model.moments import moments, squared_errors
from predictd.model.stack import members
from predictd.model.stack import scales as scales_module
from predictd.model.stack.pooling import NEITHER, SAME_ASSAY, SAME_CELL, Pooled
from predictd.model.stack.scales import Scales
from predictd.model.stack.stack import FEATURED, MEMBERS, StackModel
from predictd.model.stack.tracks import Tracks
from predictd.model.stack.weights import Trials, Weights, pool_of
from predictd.pairs import Experiment, rows_of
from predictd.workflows.imputing.estimators import load_estimator, load_model
from refusals import refused

pytestmark = pytest.mark.numeric

N_CELLS, N_ASSAYS = 5, 4
CELLS, ASSAYS = tuple(f"C{c}" for c in range(N_CELLS)), tuple(f"A{a}" for a in range(N_ASSAYS))
PAIRS = [Experiment(cell, assay) for cell in CELLS for assay in ASSAYS]
HELD = [PAIRS[5], PAIRS[14]]
TRAIN = tuple(pair for pair in PAIRS if pair not in HELD)
# Those that read no features, which tests/test_stack_features.py are about.
PLAIN = tuple(name for name in MEMBERS if name != FEATURED)


@pytest.fixture(scope="module")
def signal() -> np.ndarray:
    """Tracks that share peaks of their assay and of their cell type, on scales of their own."""
    rng = np.random.default_rng(0)
    shared = {name: rng.gamma(0.3, 1.0, 3000) for name in (*CELLS, *ASSAYS)}
    tracks = [
        0.6 * shared[pair.assay] + 0.3 * shared[pair.cell_type] + rng.gamma(0.5, 0.2, 3000) for pair in PAIRS
    ]
    scales = rng.uniform(0.5, 2.0, len(PAIRS))
    return (np.stack(tracks, axis=1) * scales).astype(np.float32)


@pytest.fixture(scope="module")
def s(signal: np.ndarray) -> np.ndarray:
    return moments(signal)


def tracks_of(s: np.ndarray, train: tuple[Experiment, ...] = TRAIN) -> Tracks:
    return Tracks.of(s, PAIRS, train, CELLS, ASSAYS)


def factors_of(s: np.ndarray, train: tuple[Experiment, ...], *, raw: bool) -> CPModel:
    """EM's factors of the tracks as they are, or standardised."""
    own = s
    if not raw:
        n = s[-1, -1]
        means = s[-1, :-1] / n
        covariance = s[:-1, :-1] / n - np.outer(means, means)
        sds = np.sqrt(np.diag(covariance))
        own = np.zeros_like(s)
        own[:-1, :-1] = n * covariance / np.outer(sds, sds)
        own[-1, -1] = n
    problem = CPProblem(own, list(PAIRS), train, regularisation=0.1, em=True)
    found = fit(problem, 3, AlsSettings(starts=1, max_sweeps=60), seed=0, lambda_g=3.0)
    return problem.model(found.point).canonical()


def model_of(s: np.ndarray, train: tuple[Experiment, ...] = TRAIN, names=PLAIN) -> StackModel:
    tracks = tracks_of(s, train)
    weights = Weights(
        np.tile([0.1, 0.3, 0.2, 0.3, 0.1][: len(names)], (4, 1)), np.array([1.0, 0.8, 0.6, 0.5])
    )
    factors, raw = (
        factors_of(s, train, raw=name == "em_raw") if name in names else None for name in ("em", "em_raw")
    )
    return StackModel(CELLS, ASSAYS, train, tracks, Scales.of(tracks), tuple(names), weights, factors, raw)


@pytest.fixture(scope="module")
def model(s: np.ndarray) -> StackModel:
    return model_of(s)


# -- tracks -----------------------------------------------------------------------------------------------------------


def test_tracks_are_standardised_and_constant_ones_left_out(signal):
    changed = signal.copy()
    changed[:, 3] = 2.0
    tracks = Tracks.of(moments(changed), PAIRS, TRAIN, CELLS, ASSAYS)
    assert tracks.names == tuple(e for e in TRAIN if e != PAIRS[3])
    own = changed[:, [PAIRS.index(e) for e in tracks.names]].astype(np.float64)
    np.testing.assert_allclose(tracks.means, own.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(tracks.sds, own.std(axis=0), rtol=1e-5)
    np.testing.assert_allclose(tracks.correlations, np.corrcoef(own.T), atol=2e-5)
    assert tracks.donors(0, 3).tolist() == [i for i, e in enumerate(tracks.names) if e.assay == "A3"]
    assert [tracks.names[i].cell_type for i in tracks.donors(2, 1)] == ["C0", "C3", "C4"]
    assert [tracks.names[i].assay for i in tracks.context(0, 1)] == ["A0", "A2"]


def test_nothing_to_learn_from():
    with refused(DataError, "every training experiment is constant over the 50 complete bins"):
        Tracks.of(moments(np.ones((50, len(PAIRS)), np.float32)), PAIRS, TRAIN, CELLS, ASSAYS)
    with refused(DataError, "there is no complete bin to learn from"):
        Tracks.of(np.zeros((len(PAIRS) + 1,) * 2), PAIRS, TRAIN, CELLS, ASSAYS)


# -- members ----------------------------------------------------------------------------------------------------------


def places_of(pairs):
    return rows_of(pairs, CELLS, ASSAYS)


def test_the_mean_of_the_same_assay(s):
    tracks = tracks_of(s)
    maps = members.assay_mean(tracks, places_of([*HELD, TRAIN[0]]))
    for row, pair in zip(maps, [*HELD, TRAIN[0]], strict=True):
        same = [e.assay == pair.assay and e != pair for e in tracks.names]
        np.testing.assert_allclose(row, np.array(same) / sum(same))


def test_donors_are_ridge_regressions_on_signal(signal, s):
    """Each donor's regression solved on the standardised signal itself, bin by bin."""
    tracks = tracks_of(s)
    own = signal[:, [PAIRS.index(e) for e in tracks.names]].astype(np.float64)
    z = (own - own.mean(axis=0)) / own.std(axis=0)
    place = {e: i for i, e in enumerate(tracks.names)}
    for target, row in zip(HELD, members.donors(tracks, places_of(HELD)), strict=True):
        donors = [
            cell for cell in CELLS if cell != target.cell_type and Experiment(cell, target.assay) in place
        ]
        mean_of = np.mean([z[:, place[Experiment(d, target.assay)]] for d in donors], axis=0)
        expected = np.zeros(len(z))
        for donor in donors:
            shared = [
                b
                for b in ASSAYS
                if b != target.assay
                and Experiment(donor, b) in place
                and Experiment(target.cell_type, b) in place
            ]
            others = [z[:, place[Experiment(d, target.assay)]] for d in donors if d != donor]
            x = np.stack(
                [*(z[:, place[Experiment(donor, b)]] for b in shared), np.mean(others, axis=0)], axis=1
            )
            y = z[:, place[Experiment(donor, target.assay)]]
            n = len(z)
            w = np.linalg.solve(x.T @ x / n + 0.05 * np.eye(x.shape[1]), x.T @ y / n)
            read = [*(z[:, place[Experiment(target.cell_type, b)]] for b in shared), mean_of]
            expected += np.stack(read, axis=1) @ w / len(donors)
        np.testing.assert_allclose(z @ row, expected, rtol=0, atol=1e-3)


def test_donors_without_anything_in_common(s):
    """A cell type of one track has no context: the mean of the other donors is all that is read; a lone donor, none."""
    train = (*(e for e in TRAIN if e.cell_type != "C1"), Experiment("C1", "A0"))
    tracks = tracks_of(s, tuple(sorted(e for e in train if e.assay != "A3" or e.cell_type == "C0")))
    lone = members.donors(tracks, places_of([Experiment("C1", "A3")]))
    assert [tracks.names[i] for i in np.flatnonzero(lone[0])] == [Experiment("C1", "A0")]
    nothing = tracks_of(s, (Experiment("C0", "A0"), Experiment("C1", "A1")))
    assert not members.donors(nothing, places_of([Experiment("C0", "A1")])).any()


def test_pooled_correlations_are_a_ridge_regression(s):
    tracks = tracks_of(s)
    pooled = Pooled.of(tracks)
    cells, assays = tracks.places
    n = len(tracks.names)
    for kind in (SAME_ASSAY, SAME_CELL, NEITHER):
        pairs = [
            (i, j)
            for i in range(n)
            for j in range(n)
            if i != j
            and kind
            == (SAME_ASSAY if assays[i] == assays[j] else SAME_CELL if cells[i] == cells[j] else NEITHER)
        ]
        design = np.zeros((len(pairs), 1 + N_ASSAYS**2 + 2 * N_CELLS))
        for row, (i, j) in enumerate(pairs):
            design[row, 0] = 1
            design[row, 1 + N_ASSAYS * assays[i] + assays[j]] = 1
            design[row, 1 + N_ASSAYS**2 + cells[i]] = 1
            design[row, 1 + N_ASSAYS**2 + N_CELLS + cells[j]] = 1
        penalties = np.diag([0.01, *[0.5] * N_ASSAYS**2, *[5.0] * 2 * N_CELLS])
        y = np.array([tracks.correlations[i, j] for i, j in pairs])
        effects = np.linalg.solve(design.T @ design + penalties, design.T @ y)
        found = pooled.between(tracks.places, tracks.places)
        np.testing.assert_allclose([found[i, j] for i, j in pairs], design @ effects, rtol=0, atol=2e-3)


def test_kriging_solves_its_system(s):
    tracks = tracks_of(s)
    pooled = Pooled.of(tracks)
    targets = [*HELD, TRAIN[2]]
    maps = members.kriging(tracks, places_of(targets), pooled)
    among = pooled.between(tracks.places, tracks.places)
    np.fill_diagonal(among, 1.0)
    among = (among + among.T) / 2
    for target, row in zip(targets, maps, strict=True):
        own = pooled.between(places_of([target]), tracks.places)[0]
        others = np.array([e != target for e in tracks.names])
        assert (row[~others] == 0).all()
        # As if the target's own track were not there.
        values, vectors = np.linalg.eigh(among[np.ix_(others, others)])
        right = own[others]
        weights = (vectors / (np.maximum(values, 0) + 0.3)) @ (vectors.T @ right)
        np.testing.assert_allclose(row[others], weights / max(1.0, right @ weights), atol=1e-12)


def test_kriging_reads_the_most_related_tracks(s, monkeypatch):
    monkeypatch.setattr(members, "_NEAREST", 6)
    tracks = tracks_of(s)
    pooled = Pooled.of(tracks)
    maps = members.kriging(tracks, places_of(HELD), pooled)
    for target, row in zip(HELD, maps, strict=True):
        own = np.abs(pooled.between(places_of([target]), tracks.places)[0])
        assert set(np.flatnonzero(row)) == set(np.argsort(-own)[:6])


# -- scales -----------------------------------------------------------------------------------------------------------


def made_tracks(means: np.ndarray, sds: np.ndarray, train: list[Experiment]) -> Tracks:
    """Tracks that correlate by 0.3, with these means and deviations (cells × assays)."""
    places = places_of(train)
    correlations = np.full((len(train),) * 2, 0.3)
    np.fill_diagonal(correlations, 1.0)
    return Tracks(tuple(train), places, (N_CELLS, N_ASSAYS), means[places], sds[places], correlations)


def test_scales_follow_cell_types_and_assays():
    cell, assay = np.array([0.5, 1.0, 1.5, 2.0, 1.0]), np.array([1.0, 10.0, 0.01, 3.0])
    sds = np.outer(cell, assay)
    means = 0.4 * sds
    scales = Scales.of(made_tracks(means, sds, list(TRAIN)))
    held = places_of(HELD)
    # Effects of so few tracks are drawn to what all have in common.
    np.testing.assert_allclose(np.log(scales.sds[held]), np.log(sds[held]), atol=0.25)
    np.testing.assert_allclose(scales.means / scales.sds, 0.4, rtol=1e-6)


def test_one_odd_track_hardly_sets_a_scale(monkeypatch):
    sds = np.outer(np.ones(N_CELLS), [1.0, 10.0, 0.01, 3.0])
    odd = sds.copy()
    odd[3, 1] = 1000.0

    def moved() -> float:
        plain, with_odd = (Scales.of(made_tracks(x, x, list(TRAIN))) for x in (sds, odd))
        return float(np.log(with_odd.sds / plain.sds)[1, 1])

    robust = moved()
    monkeypatch.setattr(scales_module, "_FAR", np.inf)
    # The mean of four logarithms would be moved by a quarter of log 100.
    assert moved() == pytest.approx(np.log(100) / 4, rel=0.15)
    assert robust < 0.7 * moved()


def test_scales_stay_within_reach_of_the_assay():
    cell = np.array([0.01, 1.0, 1.0, 1.0, 100.0])
    sds = np.outer(cell, np.ones(N_ASSAYS))
    train = [e for e in PAIRS if not (e.assay == "A2" and e.cell_type in ("C0", "C4"))]
    scales = Scales.of(made_tracks(sds, sds, train))
    assert scales.sds[:, 2].min() >= 1 / 1.5 - 1e-9 and scales.sds[:, 2].max() <= 1.5 + 1e-9


def test_means_follow_an_offset():
    """What is added to all tracks, where it is far beyond their deviations, is added to what is predicted."""
    cell, assay = np.array([0.5, 1.0, 1.5, 2.0, 1.0]), np.array([1.0, 10.0, 0.01, 3.0])
    sds = np.outer(cell, assay)
    for offset in (1e3, -1e3):
        few, many = (Scales.of(made_tracks(0.4 * sds + k * offset, sds, list(TRAIN))) for k in (1, 2))
        np.testing.assert_allclose(many.means - few.means, offset, rtol=1e-9)
        np.testing.assert_allclose(few.means - offset, 0.4 * sds, atol=1.5 * sds.max())
        np.testing.assert_allclose(((few.means - offset - 0.4 * sds) / sds)[places_of(HELD)], 0.0, atol=2.0)


def test_a_track_that_hardly_varies_does_not_set_means():
    """Its mean is a thousand of its deviations; those of its assay and of its cell type stay where others are."""
    sds = np.ones((N_CELLS, N_ASSAYS))
    means, odd, flat = 0.4 * sds, 0.4 * sds, sds.copy()
    odd[3, 1], flat[3, 1] = 3.0, 0.003
    plain, with_odd = (
        Scales.of(made_tracks(means, sds, list(TRAIN))),
        Scales.of(made_tracks(odd, flat, list(TRAIN))),
    )
    others = np.delete(np.arange(N_CELLS), 3)
    np.testing.assert_allclose(with_odd.means[others], plain.means[others], atol=0.5)
    np.testing.assert_allclose(with_odd.means[3, [0, 2, 3]], 0.4, atol=1.5)


# -- weights ----------------------------------------------------------------------------------------------------------


def test_trials_are_errors_on_signal(signal, s):
    tracks = tracks_of(s)
    known = Tracks.of(s, PAIRS, tuple(HELD), CELLS, ASSAYS)
    maps = np.stack([members.assay_mean(tracks, known.places), members.donors(tracks, known.places)])
    own = signal[:, [PAIRS.index(e) for e in (*tracks.names, *HELD)]].astype(np.float64)
    z = (own - own.mean(axis=0)) / own.std(axis=0)
    n = len(tracks.names)
    correlations = np.corrcoef(z.T)
    beta, shifts, offsets = np.array([0.3, 0.6]), np.array([0.2, -0.4]), np.array([[0.1, 0.0], [-0.3, 0.2]])
    trials = Trials.of(maps, offsets, tracks.correlations, correlations[n:, :n], shifts, np.array([4, 4]))
    for t in range(2):
        # By how much the truth is above its predicted mean, in its own deviations.
        truth = z[:, n + t] + shifts[t]
        predicted = z[:, :n] @ (beta @ maps[:, t]) + beta @ offsets[:, t]
        assert trials.errors(beta)[t] == pytest.approx(np.mean((truth - predicted) ** 2), rel=1e-3)


def test_weights_are_the_best_that_are_not_negative():
    rng = np.random.default_rng(1)
    half = rng.normal(size=(40, 3, 6))
    gram = half @ half.transpose(0, 2, 1) / 6
    cross = np.einsum("tij,j->ti", gram, [0.5, 0.0, 0.3]) + 0.02 * rng.normal(size=(40, 3))
    cross[:, 1] -= 0.2
    trials = Trials(gram, cross, np.ones(40), np.full(40, 2))
    weights = Weights.of(trials)
    best = weights.for_targets(np.array([2]))[0]
    assert (best >= 0).all() and best[1] == 0
    left = trials.errors(best).mean()
    for step in 0.01 * np.vstack([np.eye(3), -np.eye(3)]):
        assert trials.errors(np.maximum(best + step, 0)).mean() >= left - 1e-9
    assert weights.expected(np.array([2]))[0] == pytest.approx(min(1.0, left))
    assert weights.expected(np.array([0]))[0] == 1.0


def test_a_doubtful_member_has_to_help_by_more_than_chance():
    rng = np.random.default_rng(3)
    gram = np.tile(np.eye(3), (60, 1, 1))
    cross = np.column_stack([np.full(60, 0.6), np.full(60, 0.3), 0.3 + 0.1 * rng.normal(size=60)])
    for helps in (True, False):
        if not helps:
            # On average it lowers the error by 0.03² alone, which is less than 0.005.
            cross[:, 2] += 0.03 - cross[:, 2].mean()
        trials = Trials(gram, cross, np.ones(60), np.full(60, 2))
        weights = Weights.with_doubtful(trials, 2)
        every, spared = Weights.of(trials), Weights.of(trials.without(2))
        if helps:
            assert np.array_equal(weights.of_pools, every.of_pools)
        else:
            assert every.of_pools[2, 2] > 0 and (weights.of_pools[:, 2] == 0).all()
            assert np.array_equal(weights.of_pools[:, :2], spared.of_pools)
            assert np.array_equal(weights.errors, spared.errors)
    # Of one track nothing is known; a member that is alone stays.
    assert (
        Weights.with_doubtful(Trials(gram[:1], cross[:1], np.ones(1), np.array([2])), 0).of_pools[:, 0] == 0
    ).all()
    alone = Trials(gram[:, :1, :1], cross[:, :1], np.ones(60), np.full(60, 2))
    assert np.array_equal(Weights.with_doubtful(alone, 0).of_pools, Weights.of(alone).of_pools)
    # A large gain on one track of many is chance as well.
    cross[:, 2] = np.where(np.arange(60) == 0, 30.0, 0.0)
    trials = Trials(gram, cross, np.ones(60), np.full(60, 2))
    assert (Weights.with_doubtful(trials, 2).of_pools[:, 2] == 0).all()


def test_pools_go_by_donors_and_are_drawn_to_all():
    assert pool_of(np.array([0, 1, 2, 3, 4, 50])).tolist() == [0, 1, 2, 2, 3, 3]
    gram = np.ones((30, 1, 1))
    cross = np.where(np.arange(30) < 20, 0.9, 0.1)[:, np.newaxis]
    trials = Trials(gram, cross, np.ones(30), np.where(np.arange(30) < 20, 5, 1))
    one, many = Weights.of(trials).for_targets(np.array([1, 5]))[:, 0]
    common = cross.mean()
    assert one == pytest.approx((10 * 0.1 + 8 * common) / 18, rel=1e-4)
    assert many == pytest.approx((20 * 0.9 + 8 * common) / 28, rel=1e-4)


# -- the model --------------------------------------------------------------------------------------------------------


def test_a_stack_is_the_weighted_sum_of_its_members(model, signal):
    imputer = model.imputer(HELD)
    tracks, places = model.tracks, places_of(HELD)
    own = signal[:, [PAIRS.index(e) for e in imputer.inputs]]
    z = (own - tracks.means) / tracks.sds
    maps, offsets = model.maps(places)
    weights = model.weights.for_targets(model.n_donors(places))
    for column in range(len(HELD)):
        combined = sum(w * (z @ maps[k, column] + offsets[k, column]) for k, w in enumerate(weights[column]))
        row = places[0][column], places[1][column]
        wanted = model.scales.means[row] + model.scales.sds[row] * combined
        np.testing.assert_allclose(imputer(own)[:, column], wanted, rtol=0, atol=2e-5)


def test_it_beats_the_same_assay_mean(model, s):
    def error(imputer):
        columns = np.array([PAIRS.index(e) for e in imputer.inputs])
        targets = np.array([PAIRS.index(e) for e in HELD])
        return squared_errors(s, imputer.affine.weights, imputer.affine.intercept, columns, targets)

    mean = replace(model, members=("assay_mean",), weights=Weights.even(1), factors=None, raw_factors=None)
    assert (error(model.imputer(HELD)) < error(mean.imputer(HELD))).all()


@pytest.mark.parametrize("name", PLAIN)
def test_a_pair_that_was_trained_on_is_predicted_from_the_others(name, s):
    model = model_of(s, names=(name,))
    weights = model.imputer(list(TRAIN)).affine.weights
    assert (np.diag(weights) == 0).all() and (np.abs(weights).sum(axis=1) > 0.01).all()


def test_em_without_itself_is_em_on_the_track_told_by_the_others(model):
    """The missing input is replaced by its best prediction from the others under the ridge of `filling`."""
    tracks = model.tracks
    places = places_of([TRAIN[4]])
    with_itself = members.em(tracks, places, model.factors)[0]
    found = model.maps(places)[0][PLAIN.index("em"), 0]
    rest = np.delete(np.arange(len(tracks.names)), 4)
    r = tracks.correlations
    told = np.linalg.solve(r[np.ix_(rest, rest)] + 0.1 * np.eye(len(rest)), r[rest, 4])
    np.testing.assert_allclose(found[rest], with_itself[rest] + with_itself[4] * told, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("flat", [False, True], ids=["all vary", "one is constant"])
def test_em_in_the_tracks_own_units_is_that_model(flat, signal):
    own = signal.copy()
    if flat:
        own[:, 2] = 1.25
    moments_of_it = moments(own)
    model = model_of(moments_of_it, names=("em_raw",))
    model = replace(model, weights=Weights.even(1))
    assert list(model.tracks.flat) == ([PAIRS[2]] if flat else [])
    wanted = model.raw_factors.imputer(HELD)(own[:200, [PAIRS.index(e) for e in TRAIN]])
    imputer = model.imputer(HELD)
    found = imputer(own[:200, [PAIRS.index(e) for e in imputer.inputs]])
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4)


def test_em_in_the_tracks_own_units_does_not_spoil_an_assay_of_small_scale(signal):
    """FAIRE-seq of ENCODE has a thousandth of the others' scale, and errors in units of the others ruin it."""
    own = signal.copy()
    small = [PAIRS.index(e) for e in PAIRS if e.assay == HELD[0].assay]
    own[:, small] *= 1e-3
    model = model_of(moments(own), names=("em_raw",))
    places = model.indices(HELD)
    maps, offsets = model.maps(places)
    varied = np.sqrt(np.einsum("mn,nk,mk->m", maps[0], model.tracks.correlations, maps[0]))
    assert (varied <= 2.5 + 1e-9).all() and (np.abs(offsets) <= 2.5).all()
    free = model.raw_factors.imputer(HELD)
    predicted = free(own[:, [PAIRS.index(e) for e in free.inputs]])
    assert (predicted.std(axis=0) > 10 * model.scales.sds[places]).any()


def test_incomplete_bins_are_filled_from_what_is_there(model, signal):
    imputer = model.imputer(HELD)
    own = signal[:60, [PAIRS.index(e) for e in imputer.inputs]].copy()
    gaps = np.random.default_rng(2).random(own.shape) < 0.2
    gaps[:5] = False
    gaps[5, :12] = True
    own[gaps] = np.nan
    found = imputer(own)
    tracks = model.tracks
    z = (own - tracks.means) / tracks.sds
    for row in range(60):
        seen = ~gaps[row]
        if seen.mean() < 0.5:
            assert np.isnan(found[row]).all()
            continue
        r = tracks.correlations
        system = r[np.ix_(seen, seen)] + 0.1 * np.eye(seen.sum())
        filled = z[row].copy()
        filled[~seen] = r[np.ix_(~seen, seen)] @ np.linalg.solve(system, z[row, seen])
        whole = (filled * tracks.sds + tracks.means).astype(np.float32)
        np.testing.assert_allclose(found[row], imputer(whole[np.newaxis])[0], rtol=0, atol=1e-4)


def test_expected_errors_go_by_donors(model):
    assert model.expected_errors([HELD[0]]).tolist() == [0.5]
    few = model_of_few()
    assert few.expected_errors([Experiment("C0", "A1")]).tolist() == [0.8]


def model_of_few() -> StackModel:
    train = [Experiment("C0", "A0"), Experiment("C1", "A0"), Experiment("C1", "A1")]
    tracks = made_tracks(np.ones((N_CELLS, N_ASSAYS)), np.ones((N_CELLS, N_ASSAYS)), train)
    weights = Weights(np.full((4, 1), 0.5), np.array([1.0, 0.8, 0.6, 0.5]))
    return StackModel(CELLS, ASSAYS, tuple(train), tracks, Scales.of(tracks), ("donors",), weights)


def test_a_model_file_gives_the_model_back(model, tmp_path):
    path = tmp_path / "m.h5"
    write_model(path, ModelFile(model.kind, model.to_arrays(), {}))
    again = load_model(path)[0]
    assert isinstance(again, StackModel)
    assert (again.train, again.members, again.cell_types) == (model.train, model.members, model.cell_types)
    np.testing.assert_allclose(again.tracks.correlations, model.tracks.correlations, atol=1e-7)
    one, other = (m.imputer(HELD).affine for m in (again, model))
    np.testing.assert_allclose(one.weights, other.weights, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(one.intercept, other.intercept, rtol=1e-4, atol=1e-6)
    parts = read_model(path).parameters
    for name, wrong in (
        ("correlations", parts["correlations"][1:]),
        ("means", parts["means"][:, :2]),
        ("sds", np.zeros_like(parts["sds"])),
        ("weights", np.full_like(parts["weights"], np.nan)),
        ("members", np.array(["assay_mean", "donors", "kriging", "em", "trees"])),
        ("members", np.array(["assay_mean", "donors", "kriging", "donors", "em_raw"])),
        ("members", np.array(["assay_mean", "donors", "kriging_features", "em", "em_raw"])),
        ("tracks", np.array(["C0:A0", "C9:A0"])),
        ("em_C", parts["em_C"][:, :1]),
        ("raw_A", parts["raw_A"][1:]),
        ("flat", np.array(["C1:A1"])),
    ):
        write_model(path, ModelFile(model.kind, {**parts, name: wrong}, {}))
        with pytest.raises(ModelFormatError, match="is not a whole model"):
            load_estimator(path)


@pytest.mark.parametrize("cell", [True, False])
def test_pairs_that_the_model_knows_not(cell, model):
    with refused(DataError, "the model has no cell type 'X'" if cell else "the model has no assay 'X'"):
        model.imputer([Experiment("X", "A0") if cell else Experiment("C0", "X")])
