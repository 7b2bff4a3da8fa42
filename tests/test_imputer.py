"""Imputers: filling gaps, affine maps, output maps; means over windows."""

from __future__ import annotations

import numpy as np
import pytest

from predictd.model.cp.factors import CPModel
from predictd.model.cp.reference import closed_form_genome
from predictd.model.imputer import AffineMap, Completion, Imputer, Joined
from predictd.model.ranges import Bounds, Ranges
from predictd.pairs import Experiment

pytestmark = pytest.mark.numeric

CELLS, ASSAYS = tuple("vwxyz"), tuple("abcd")
PAIRS = [Experiment(cell, assay) for cell in CELLS for assay in ASSAYS]


def model(n_train: int = 12) -> CPModel:
    rng = np.random.default_rng(3)
    train = tuple(PAIRS[i] for i in rng.permutation(len(PAIRS))[:n_train])
    c, a = rng.normal(size=(5, 3)), rng.normal(size=(4, 3))
    return CPModel(CELLS, ASSAYS, c, a, rng.normal(size=5), rng.normal(size=4), 0.3, 0.4, train)


def solved_on_the_observed(fitted: CPModel, y: np.ndarray, targets: list[Experiment]) -> np.ndarray:
    """Each bin by itself: the model solved on what was observed there, as if nothing else existed."""
    z, o = fitted.design(fitted.train)
    z_targets, o_targets = fitted.design(targets)
    predicted = np.empty((len(y), len(targets)))
    for row, values in enumerate(y):
        seen = ~np.isnan(values)
        g = closed_form_genome(z[:, seen], fitted.lambda_g, (values - o)[np.newaxis, seen])[0]
        predicted[row] = z_targets.T @ g + o_targets
    return predicted


def gaps_at_random(rng, shape):
    return rng.random(shape) < 0.25


def gaps_in_blocks(rng, shape):
    """Stretches without some of the tracks, as where a chromosome or a region is uncovered."""
    gaps = np.zeros(shape, dtype=bool)
    for start in range(0, shape[0], 10):
        gaps[start : start + 7, rng.permutation(shape[1])[: start % 6]] = True
    return gaps


@pytest.mark.parametrize("gaps", [gaps_at_random, gaps_in_blocks])
def test_gaps_are_filled_as_if_solved_on_what_was_observed(gaps):
    fitted = model()
    rng = np.random.default_rng(4)
    y = rng.normal(size=(80, 12))
    missing = gaps(rng, y.shape)
    missing[missing.mean(axis=1) > 0.5] = False
    assert missing.any() and len(np.unique(missing, axis=0)) > 5
    y[missing] = np.nan
    imputer = fitted.imputer(PAIRS)
    filled = imputer.completion.fill(y)
    np.testing.assert_array_equal(filled[~missing], y[~missing])
    np.testing.assert_allclose(
        filled[missing], solved_on_the_observed(fitted, y, list(fitted.train))[missing], rtol=1e-9, atol=1e-9
    )
    assert np.isnan(y[missing]).all()
    imputed = imputer(y.astype(np.float32))
    assert imputed.dtype == np.float32
    np.testing.assert_allclose(imputed, solved_on_the_observed(fitted, y, PAIRS), atol=1e-4)


def test_bins_with_under_half_observed_stay_empty():
    fitted = model(n_train=12)
    y = np.random.default_rng(5).normal(size=(3, 12)).astype(np.float32)
    y[0, :6] = np.nan
    y[1, :7] = np.nan
    imputer = fitted.imputer(PAIRS[:4])
    filled, imputed = imputer.completion.fill(y), imputer(y)
    assert np.isfinite(filled[[0, 2]]).all() and np.isnan(filled[1]).all()
    assert np.isfinite(imputed[[0, 2]]).all() and np.isnan(imputed[1]).all()
    # A gap in one bin changes nothing in another.
    np.testing.assert_array_equal(imputed[2], imputer(y[2:])[0])


def test_complete_bins_are_not_touched():
    completion = Completion(np.eye(3), np.zeros(3))
    y = np.random.default_rng(6).normal(size=(5, 3)).astype(np.float32)
    np.testing.assert_array_equal(completion.fill(y), y)


def test_without_completion_bins_with_gaps_stay_empty():
    pairs = (Experiment("x", "a"), Experiment("x", "b"))
    imputer = Imputer(pairs, pairs[:1], AffineMap(np.array([[1.0, 2.0]]), None, np.array([0.5])))
    imputed = imputer(np.array([[1, 2], [1, np.nan]], np.float32))
    assert imputed[0, 0] == 5.5 and np.isnan(imputed[1, 0])


# -- maps -------------------------------------------------------------------------------------------------------------


# Through the factors it costs r(m + k) operations a bin, at once mk.
@pytest.mark.parametrize(("m", "k", "r"), [(60, 50, 4), (3, 50, 10), (20, 20, 10), (1, 1, 1)])
def test_low_rank_and_dense_maps_agree(m, k, r):
    rng = np.random.default_rng(7)
    left, right, intercept = rng.normal(size=(m, r)), rng.normal(size=(r, k)) / k, rng.normal(size=m)
    x = rng.normal(size=(40, k)).astype(np.float32)
    expected = x.astype(float) @ (left @ right).T + intercept
    low_rank, dense = AffineMap(left, right, intercept), AffineMap(left @ right, None, intercept)
    for affine in (low_rank, dense):
        np.testing.assert_allclose(affine.weights, left @ right, rtol=1e-14)
        before = x.copy()
        value = affine(x)
        assert value.dtype == np.float32 and value.shape == (40, m)
        np.testing.assert_allclose(value, expected, atol=2e-5)
        np.testing.assert_array_equal(x, before)


def test_predictions_and_inputs_stay_within_bounds():
    pairs = (Experiment("x", "a"), Experiment("x", "b"))
    bounds = Bounds(np.array([-np.inf, -1], np.float32), np.array([2, 3], np.float32))
    limits = Bounds(np.array([-np.inf, 0], np.float32), np.array([60, 4], np.float32))
    imputer = Imputer(pairs, pairs, AffineMap(np.eye(2), None, np.zeros(2)), bounds, limits)
    x = np.array([[-50, -50], [0.5, 0.25], [90, 9], [np.nan, np.nan]], np.float32)
    before = x.copy()
    np.testing.assert_array_equal(imputer(x), [[-50, 0], [0.5, 0.25], [2, 3], [np.nan, np.nan]])
    limited = [[-50, 0], [0.5, 0.25], [60, 4], [np.nan, np.nan]]
    np.testing.assert_array_equal(imputer.unbounded(x), limited)
    np.testing.assert_array_equal(imputer.limited(x), limited)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("gap", [None, 0, 1])
def test_imputers_joined_predict_as_each_alone(gap):
    # Of six tracks one imputer reads all but the first, the other all but the second, through factors.
    rng = np.random.default_rng(8)
    pairs = [Experiment("x", f"a{i}") for i in range(6)]
    within = Bounds(np.array([-0.5, -np.inf], np.float32), np.array([0.5, np.inf], np.float32))
    limits = Bounds(np.full(5, -np.inf, np.float32), np.full(5, 2, np.float32))
    parts = []
    for held_out, left, right, bounds in (
        (0, rng.normal(size=(2, 5)), None, within),
        (1, rng.normal(size=(30, 2)), rng.normal(size=(2, 5)), None),
    ):
        columns = np.delete(np.arange(6), held_out)
        affine = AffineMap(left, right, rng.normal(size=len(left)))
        assert len(affine.applied[0]) == (1 if right is None else 2)
        inputs = tuple(pairs[column] for column in columns)
        parts.append(Imputer(inputs, (pairs[0],) * len(left), affine, bounds, limits))
    columns = [np.delete(np.arange(6), held_out) for held_out in (0, 1)]
    places = [np.array([31, 3]), np.delete(np.arange(32), [3, 31])]
    joined = Joined(list(zip(parts, columns, places, strict=True)), 6, 32)
    signal = rng.normal(size=(6, 50)).clip(-9, 2).astype(np.float32)
    if gap is not None:
        signal[gap, 7] = np.nan
    # The second time one track has an artefact, which is cut off.
    for high in (2, 40):
        signal[4, 9] = high
        out = np.full((32, 50), 9, dtype=np.float32)
        joined(signal, signal.min(axis=1), signal.max(axis=1), out)
        for imputer, own, place in zip(parts, columns, places, strict=True):
            alone = imputer(np.ascontiguousarray(signal[own].T)).T
            assert np.isnan(alone).any() == (gap in own)
            np.testing.assert_allclose(out[place], alone, atol=1e-5)


def test_an_average_stays_within_the_widest_bounds_of_its_members():
    one = Bounds(np.array([0, -2], np.float32), np.array([3, 1], np.float32))
    other = Bounds(np.array([-1, -1], np.float32), np.array([2, 2], np.float32))
    widest = Bounds.widest([one, other], [np.array([0, 2]), np.array([2, 1])], 3)
    np.testing.assert_array_equal([widest.low, widest.high], [[0, -1, -2], [3, 2, 2]])
    assert Bounds.widest([one, None], [np.arange(2)] * 2, 2) is None


# -- ranges of assays -------------------------------------------------------------------------------------------------


def summary_of(*tracks: np.ndarray) -> np.ndarray:
    return np.array([[np.isfinite(t).sum(), np.nansum(t), np.nansum(t**2), np.nanmax(t)] for t in tracks])


def test_the_range_of_an_assay_is_that_of_its_sound_tracks():
    rng = np.random.default_rng(0)
    tracks = [scale * rng.gamma(0.5, 1.0, 5000) for scale in (1.0, 1.0, 9.0, 1.0)]
    with_artefact = tracks[1].copy()
    with_artefact[7] = 1e6
    train = [Experiment(*names) for names in ("xa", "ya", "za", "xb", "xc", "xd")]
    given = [tracks[0], with_artefact, np.full(5000, 4.0), tracks[2], with_artefact, tracks[3]]
    transforms = ["arcsinh", "arcsinh", "none", "none", "arcsinh"]
    ranges = Ranges.of([*"abcde"], transforms, train, summary_of(*given))
    means = [track.mean() for track in tracks]
    reach = [track.max() - track.mean() for track in tracks]
    # b is the strongest of its transform; a is so weak that its own tracks decide.
    assert 1.5 * reach[2] > 5 * reach[0]
    assert ranges.high[0] == pytest.approx(means[0] + 5 * reach[0])
    assert ranges.high[1] == pytest.approx(means[2] + 1.5 * reach[2])
    # Of an assay whose only track has an artefact, or that has none, the others of its transform tell.
    rest = np.delete(with_artefact, 7).mean()
    assert ranges.high[2] == pytest.approx(rest + 1.5 * reach[3])
    assert ranges.high[3] == pytest.approx(means[3] + 1.5 * reach[3])
    assert ranges.high[4] == ranges.high[1]
    assert (ranges.low == -np.inf).all()
    # Artefacts count as the highest value of their assay's other tracks, or of the transform's.
    ends = [ranges.high[0], tracks[0].max(), *ranges.high[:2], rest + reach[3], ranges.high[3]]
    assert ranges.ends == pytest.approx(ends)
    arrays = ranges.to_arrays()
    again = Ranges.from_arrays(arrays, 5, 6)
    assert all(np.array_equal(array, again.to_arrays()[name]) for name, array in arrays.items())
    assert Ranges.from_arrays({}, 5, 6) is None
    for wrong in (arrays["ranges"][::-1], np.full((2, 5), np.nan), np.zeros((2, 3))):
        with pytest.raises(ValueError, match=r"does not begin below|cannot reshape"):
            Ranges.from_arrays(arrays | {"ranges": wrong}, 5, 6)


def test_constant_tracks_lie_within_the_range_of_their_assay():
    track = np.random.default_rng(0).gamma(0.5, 1.0, 500)
    pairs = [Experiment(*names) for names in ("xa", "ya", "xb")]
    summary = summary_of(track, np.full(500, 90.0), np.full(500, -700.0))
    ranges = Ranges.of([*"ab"], ["none", "none"], pairs, summary)
    assert ranges.high[0] > 90 and ranges.high[1] > 90
    assert ranges.ends.tolist() == ranges.high[[0, 0, 1]].tolist()
    # Of a transform of which no track varies, the others tell.
    other = Ranges.of([*"ab"], ["log1p", "none"], [Experiment("x", "b")], summary_of(track))
    reach = track.max() - track.mean()
    assert other.high.tolist() == pytest.approx([track.mean() + 1.5 * reach] * 2)
    nothing = Ranges.of([*"a"], ["none"], pairs[:1], summary_of(np.zeros(9)))
    assert nothing.low[0] == -np.inf and nothing.high[0] == np.inf


def test_a_track_of_few_peaks_has_no_artefact():
    """Its peaks are as high as those of others, though a single bin is most of its variance."""
    rng = np.random.default_rng(0)
    track, sparse = np.where(rng.random(5000) < 0.05, rng.gamma(9.0, 0.5, 5000), 0.0), np.zeros(5000)
    sparse[[5, 900]] = 5.0, 2.0
    for assay in "ab":
        pairs = [Experiment("x", "a"), Experiment("y", assay)]
        ranges = Ranges.of([*"ab"], ["arcsinh"] * 2, pairs, summary_of(track, sparse))
        assert ranges.ends[1] >= 5.0
