"""Kernels of scoring against their meaning in NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from predictd import kernels
from predictd.kernels import COMPARED, JOINT, AssayMeans, KeyRule, Positive, RankTables

pytestmark = pytest.mark.numeric
RNG = np.random.default_rng(0)
# Vectors, their rest, and what products are taken about.
SIZES = [1, 31, 32, 1023, 5000]
UNSIGNED, SIGNED = KeyRule(11), KeyRule(12, True, 2**19)
# So few keys that they can be listed: 1/2, 1, 2, … to 2^127, by the exponent alone.
COARSE, N_COARSE = KeyRule(23), 2**8


def track(n: int, dtype: type = np.float32) -> np.ndarray:
    return np.maximum(RNG.normal(0.5, 1, n), 0).round(1).astype(dtype)


@pytest.mark.parametrize("n", SIZES)
def test_keys_are_rounded_bits(n):
    values = RNG.normal(0, 10 ** RNG.uniform(-44, 38, n)).astype(np.float32)
    magnitudes = np.abs(values).view(np.uint32).astype(np.int64)
    # Half of the least bit that is left is added before the rest is cut off; no key goes beyond the largest.
    assert np.array_equal(kernels.find_keys(values, UNSIGNED), (magnitudes + 2**10) >> 11)
    signed = (2**19 + np.where(values < 0, -1, 1) * ((magnitudes + 2**11) >> 12)).astype(np.int32)
    assert np.array_equal(kernels.find_keys(values, SIGNED), signed)
    beyond = np.array([np.nan, -np.nan, np.inf], dtype=np.float32)
    for rule in (UNSIGNED, SIGNED):
        keys = kernels.find_keys(beyond, rule)
        assert keys.min() >= 0 and keys.max() < 2**20


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", SIZES)
# Fewer than are counted in turns, as many, and more.
@pytest.mark.parametrize("t", [1, 4, 6])
def test_counts_of_keys(n, t, dtype):
    tracks = RNG.normal(0, 3, (t, n)).astype(dtype)
    for rule in (UNSIGNED, SIGNED):
        counts = np.ones((t, 2**20), dtype=np.uint32)
        kernels.tally(tracks, rule, counts)
        for own, track in zip(counts, tracks.astype(np.float32), strict=True):
            assert np.array_equal(own, 1 + np.bincount(kernels.find_keys(track, rule), minlength=2**20))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", SIZES)
def test_joint_moments_and_weighted_errors(n, dtype):
    tracks = np.stack([1e3 + track(2 * n, dtype), 1e3 - track(2 * n, dtype), track(2 * n, dtype)])
    states = np.zeros((2, len(JOINT)))
    states[:, -4:] = np.inf, np.inf, -np.inf, -np.inf
    for part in (slice(0, n // 3), slice(n // 3, None)):
        kernels.joint(np.ascontiguousarray(tracks[:, part]), states)
    weights, sums = RNG.random(2 * n).astype(np.float32), np.array([[1.0, 2.0], [3.0, 4.0]])
    kernels.weighted(tracks, weights, sums)
    a, *others = tracks.astype(np.float64)
    for b, state, own, before in zip(others, states, sums, ([1, 2], [3, 4]), strict=True):
        dy, dx = a - a.mean(), b - b.mean()
        expected = [2 * n, a.mean(), b.mean(), dy @ dx, dy @ dy, dx @ dx, np.square(a - b).sum()]
        # A mean of numbers near 1000 rounds to 1e-13, each bin's distance from it with it.
        assert state[:7] == pytest.approx(expected, rel=1e-12, abs=1e-9)
        assert state[7:].tolist() == [a.min(), b.min(), a.max(), b.max()]
        added = [weights.sum(dtype=float), weights.astype(float) @ np.square(a - b)]
        assert own == pytest.approx(np.add(before, added), rel=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", SIZES)
def test_comparison_of_ranked_tracks(n, dtype):
    tracks = (2.0 ** RNG.integers(-3, 3, (3, n))).astype(dtype)
    keys = np.stack([kernels.find_keys(own.astype(np.float32), COARSE) for own in tracks])
    # 7 places of the observed track, then 5 and 4 of the others.
    low, high = np.array([0, 7, 12]), np.array([7, 12, 16])
    places = RNG.integers(low, high, (N_COARSE, 3)).T.astype(np.int32).copy()
    # Ranks of the keys from `below` on: the track's keys lie in 124 to 129, those beyond have the last rank.
    below, starts = (
        np.array([0, 123, 125], dtype=np.int32),
        np.array([0, N_COARSE, N_COARSE + 9, N_COARSE + 13]),
    )
    tables = RankTables(COARSE, places, 16, 7, RNG.integers(-99, 99, starts[-1]).astype(float), starts, below)
    # The top 1 % is within the top 5 %: two thresholds, and ties of which some belong to it.
    tops = np.tile([127, 5, 126, 9], (3, 1))
    top = [[_first(own, threshold, ties) for threshold, ties in ((127, 5), (126, 9))] for own in keys]
    peaks = RNG.random(n) < 0.5
    sums, positive = np.zeros((2, len(COMPARED))), Positive.none(tables)
    half = n // 2
    for part in (slice(0, half), slice(half, None)):
        kernels.compare(np.ascontiguousarray(tracks[:, part]), peaks[part], tables, tops, sums, positive)
    own_places = [own[key] for own, key in zip(places, keys, strict=True)]
    ranks = [
        tables.ranks[start:stop][np.clip(own - low, 0, stop - start - 1)]
        for own, low, start, stop in zip(keys, below, starts, starts[1:], strict=False)
    ]
    a, (y1, y5) = ranks[0], top[0]
    for index in (1, 2):
        b, (x1, x5) = ranks[index], top[index]
        errors = np.square(tracks[0].astype(float) - tracks[index])
        expected = [a @ b, a.sum(), b.sum(), a @ a, b @ b]
        expected += [y1.sum(), errors[y1].sum(), b[y1].sum(), x1.sum(), errors[x1].sum(), a[x1].sum()]
        expected += [(y1 & x1).sum(), (y1 & x5).sum(), (x1 & y5).sum(), peaks.sum(), b[peaks].sum()]
        assert sums[index - 1] == pytest.approx(expected, rel=1e-12)
        counts = np.bincount(own_places[0][x1], minlength=7)
        assert np.array_equal(positive.imputed[index - 1], counts)
    for found, chosen in ((positive.observed, y1), (positive.peaks, peaks)):
        every = np.concatenate([own[chosen] for own in own_places[1:]])
        assert np.array_equal(found, np.bincount(every, minlength=16))
    assert (tops[:, [1, 3]] >= 0).all()


def _first(keys: np.ndarray, threshold: int, ties: int) -> np.ndarray:
    """Which keys exceed a threshold, or are the first that come with just that one."""
    return (keys > threshold) | np.isin(np.arange(keys.size), np.flatnonzero(keys == threshold)[:ties])


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("n", SIZES)
def test_columns_as_rows_with_their_ends(n, dtype):
    values = RNG.normal(size=(n, 6)).astype(dtype)
    values[n // 2, :4] = np.nan, -np.nan, np.inf, -np.inf
    columns = np.array([4, 0, 1, 5, 2, 3])
    rows = np.empty((6, n), dtype=np.float32)
    low, high = kernels.columns_as_rows(values, columns, rows)
    assert np.array_equal(rows, values[:, columns].T, equal_nan=True)
    for ends in ((low, high), kernels.ends_of(rows)):
        assert np.array_equal(ends, [rows.min(axis=1), rows.max(axis=1)], equal_nan=True)


@pytest.mark.parametrize("n", SIZES)
def test_means_of_assays(n):
    rows = RNG.normal(size=(4, n)).astype(np.float32)
    rows[RNG.random((4, n)) < 0.3] = np.nan
    chosen, factors = [np.array(own, dtype=np.int64) for own in ([0, 2, 3], [1], [])], [0.7, -2.0, 1.0]
    # Rows of other things lie between those of the means.
    out = np.full((3, 5, n), 9, dtype=np.float32)
    means = AssayMeans(chosen, factors)
    means.write(rows, out[:, 2:], variance=True)
    assert (out[:, :2] == 9).all()
    for own, factor, found in zip(chosen, factors, out[:, 2:], strict=True):
        values = np.ma.masked_invalid(rows[own].astype(float))
        mean, variance = values.mean(axis=0), values.var(axis=0)
        # Sums of three numbers about 1 in float32.
        for got, expected, unknown in zip(
            found, (mean, factor * mean, variance), (np.nan, np.nan, 0.0), strict=True
        ):
            assert got == pytest.approx(np.ma.filled(expected, unknown), rel=1e-5, abs=1e-6, nan_ok=True)
    without = np.full_like(out, 9)
    means.write(rows, without[:, 2:], variance=False)
    assert np.array_equal(without[:, 2:4], out[:, 2:4], equal_nan=True) and (without[:, 4] == 9).all()


@pytest.mark.parametrize("n", SIZES)
def test_rows_within_bounds(n):
    rows = RNG.normal(size=(3, n)).astype(np.float32)
    rows[0, n // 2] = np.nan
    added, low, high = np.array([[0.5, -3, 2], [-np.inf, -3.5, -1], [0.7, np.inf, 1]], dtype=np.float32)
    expected = np.clip(rows + added[:, np.newaxis], low[:, np.newaxis], high[:, np.newaxis])
    kernels.bound(rows, added, low, high)
    assert np.array_equal(rows, expected, equal_nan=True)


def tables_of(places: np.ndarray, starts: list[int]) -> RankTables:
    return RankTables(COARSE, places, 3, 2, np.zeros(3), np.array(starts), np.zeros(2, dtype=np.int32))


def test_what_does_not_fit_is_refused():
    tracks = np.zeros((2, 3), dtype=np.float32)
    for rule, message in ((UNSIGNED, "the largest key"), (SIGNED, "middle"), (KeyRule(0), "dropped")):
        with pytest.raises(ValueError, match=f"{message} must lie in"):
            kernels.tally(tracks, rule, np.zeros((2, 2**19), dtype=np.uint32))
    with pytest.raises(ValueError, match=r"keys must lie in \[0, 2\)"):
        tables_of(np.full((2, N_COARSE), 2, dtype=np.int32), [0, 1, 3])
    with pytest.raises(ValueError, match="every track must have ranks"):
        tables_of(np.zeros((2, N_COARSE), dtype=np.int32), [0, 3, 3])
    with pytest.raises(TypeError, match="tracks must be float32, not float16"):
        kernels.joint(np.zeros((2, 3), dtype=np.float16), np.zeros((1, len(JOINT))))
    with pytest.raises(ValueError, match="states must have the shape"):
        kernels.joint(tracks, np.zeros((2, len(JOINT))))
    with pytest.raises(ValueError, match="dropped must lie in"):
        kernels.find_keys(np.zeros(3, dtype=np.float32), KeyRule(0))
    with pytest.raises(ValueError, match=r"keys must lie in \[0, 2\)"):
        kernels.columns_as_rows(
            np.zeros((3, 2), dtype=np.float32), np.array([2]), np.zeros((1, 3), dtype=np.float32)
        )
    for n_rows, step, message in ((1, 1, r"keys must lie in \[0, 1\)"), (2, 2, "out must be C-contiguous")):
        out = np.zeros((1, 3, 3 * step), dtype=np.float32)[..., ::step]
        with pytest.raises(ValueError, match=message):
            AssayMeans([np.array([1])], [1.0]).write(
                np.zeros((n_rows, 3), dtype=np.float32), out, variance=True
            )
