"""Kernels of scoring against their meaning in NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from predictd import kernels
from predictd.kernels import COMPARED, JOINT, PEAK, Ranked

pytestmark = pytest.mark.numeric
RNG = np.random.default_rng(0)
# Vectors, their rest, and what products are taken about.
SIZES = [1, 31, 32, 1023, 5000]


def track(n: int, dtype: type = np.float32) -> np.ndarray:
    return np.maximum(RNG.normal(0.5, 1, n), 0).round(1).astype(dtype)


@pytest.mark.parametrize("n", SIZES)
def test_keys_are_rounded_bits(n):
    values = RNG.normal(0, 10 ** RNG.uniform(-44, 38, n)).astype(np.float32)
    magnitudes = np.abs(values).view(np.uint32).astype(np.int64)
    # Half of the least bit that is left is added before the rest is cut off; no key goes beyond the largest.
    assert np.array_equal(kernels.find_keys(values, 11, None), (magnitudes + 2**10) >> 11)
    signed = (2**19 + np.where(values < 0, -1, 1) * ((magnitudes + 2**11) >> 12)).astype(np.int32)
    assert np.array_equal(kernels.find_keys(values, 12, 2**19), signed)
    beyond = np.array([np.nan, -np.nan, np.inf], dtype=np.float32)
    for dropped, middle in ((11, None), (12, 2**19)):
        keys = kernels.find_keys(beyond, dropped, middle)
        assert keys.min() >= 0 and keys.max() < 2**20


@pytest.mark.parametrize("n", SIZES)
def test_counts_classes_and_ranks(n):
    keys = RNG.integers(0, 9, n).astype(np.int32)
    counts = np.ones(9, dtype=np.uint32)
    kernels.tally(keys, counts)
    assert np.array_equal(counts, 1 + np.bincount(keys, minlength=9))
    tops = np.array([7, 3, 5, 0])
    classes = kernels.classify(keys, tops)
    seventh = np.flatnonzero(keys == 7)[:3]
    first = (keys > 7) | np.isin(np.arange(n), seventh)
    assert np.array_equal(classes, first + 2 * (keys > 5))
    assert tops.tolist() == [7, 3 - seventh.size, 5, 0]
    places, centred = np.arange(9, dtype=np.int32)[::-1].copy(), RNG.normal(size=9)
    ranks, own = kernels.find_ranks(keys, places, centred)
    assert np.array_equal(own, places[keys]) and np.array_equal(ranks, centred[places[keys]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", SIZES)
def test_joint_moments_and_weighted_errors(n, dtype):
    y, x = 1e3 + track(2 * n, dtype), 1e3 - track(2 * n, dtype)
    state = np.zeros(len(JOINT))
    state[-4:] = np.inf, np.inf, -np.inf, -np.inf
    for part in (slice(0, n // 3), slice(n // 3, None)):
        kernels.joint(y[part], x[part], state)
    a, b = y.astype(np.float64), x.astype(np.float64)
    dy, dx = a - a.mean(), b - b.mean()
    expected = [2 * n, a.mean(), b.mean(), dy @ dx, dy @ dy, dx @ dx, np.square(a - b).sum()]
    # A mean of numbers near 1000 rounds to 1e-13, each bin's distance from it with it.
    assert state[:7] == pytest.approx(expected, rel=1e-12, abs=1e-9)
    assert state[7:].tolist() == [a.min(), b.min(), a.max(), b.max()]
    weights, sums = RNG.random(2 * n).astype(np.float32), np.array([1.0, 2.0])
    kernels.weighted(y, x, weights, sums)
    assert sums == pytest.approx(
        [1 + weights.sum(dtype=float), 2 + weights.astype(float) @ np.square(a - b)], rel=1e-12
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", SIZES)
def test_comparison_of_ranked_tracks(n, dtype):
    y, x = track(n, dtype), track(n, dtype)

    def ranked(peaks: int) -> Ranked:
        # The top 1 % is within the top 5 %.
        top = RNG.choice(np.array([0, 0, 0, 0, 2, 3], dtype=np.uint8), n)
        classes = (top | peaks * RNG.integers(0, 2, n)).astype(np.uint8)
        return Ranked(classes, RNG.integers(-99, 99, n).astype(float), RNG.integers(0, 7, n).astype(np.int32))

    of_y, of_x = ranked(PEAK), ranked(0)
    sums, positive = np.zeros(len(COMPARED)), tuple(np.zeros(7, dtype=np.int64) for _ in range(3))
    kernels.compare(y, x, (of_y, of_x), sums, positive)
    errors = np.square(y.astype(float) - x)
    y1, x1, peaks = ((own & bit) > 0 for own, bit in ((of_y[0], 1), (of_x[0], 1), (of_y[0], PEAK)))
    a, b = of_y.ranks, of_x.ranks
    expected = [a @ b, a.sum(), b.sum(), a @ a, b @ b]
    expected += [y1.sum(), errors[y1].sum(), b[y1].sum(), x1.sum(), errors[x1].sum(), a[x1].sum()]
    expected += [(y1 & x1).sum(), (y1 & (of_x[0] > 1)).sum(), (x1 & (of_y[0] & 2 > 0)).sum()]
    expected += [peaks.sum(), b[peaks].sum()]
    assert sums == pytest.approx(expected, rel=1e-12)
    for counts, places in zip(positive, (of_x[2][y1], of_y[2][x1], of_x[2][peaks]), strict=True):
        assert np.array_equal(counts, np.bincount(places, minlength=7))


@pytest.mark.parametrize("n", SIZES)
def test_mean_and_variance_of_columns(n):
    values = RNG.normal(size=(n, 6)).astype(np.float32)
    values[RNG.random((n, 6)) < 0.3] = np.nan
    columns = np.array([4, 0, 1, 5])
    rows = kernels.columns_of(values, columns)
    assert np.array_equal(rows, values[:, columns].T, equal_nan=True)
    out = tuple(np.empty((3, n), dtype=np.float32))
    for chosen in ([0, 2, 3], [1]):
        kernels.mean_and_variance(rows, np.array(chosen), 0.7, out)
        own = np.ma.masked_invalid(rows[chosen].astype(float))
        mean, variance = own.mean(axis=0).filled(np.nan), own.var(axis=0).filled(0.0)
        # Sums of three numbers about 1 in float32.
        for got, expected in zip(out, (mean, 0.7 * mean, variance), strict=True):
            assert got == pytest.approx(expected, rel=1e-5, abs=1e-6, nan_ok=True)


def test_what_does_not_fit_is_refused():
    keys = np.array([0, 5], dtype=np.int32)
    with pytest.raises(ValueError, match=r"keys must lie in \[0, 5\)"):
        kernels.tally(keys, np.zeros(5, dtype=np.uint32))
    with pytest.raises(TypeError, match="x must be float32, not float64"):
        kernels.joint(np.zeros(3, dtype=np.float32), np.zeros(3), np.zeros(len(JOINT)))
    with pytest.raises(ValueError, match="dropped must lie in"):
        kernels.find_keys(np.zeros(3, dtype=np.float32), 0, None)
    with pytest.raises(ValueError, match=r"keys must lie in \[0, 2\)"):
        kernels.columns_of(np.zeros((3, 2), dtype=np.float32), np.array([2]))
