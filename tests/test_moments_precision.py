"""Second moments and what is computed from them, to the precision that docs/method.md states."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from made_moments import SINGLE, exact
from predictd.constants import BLOCK_BINS
from predictd.model.moments import correlations, moments, shift_of, squared_errors

pytestmark = pytest.mark.numeric

hypothesis = pytest.importorskip("hypothesis")
given, settings = hypothesis.given, hypothesis.settings
st = hypothesis.strategies

# What float64 moments keep of Σ(|d_i| √S_ii)²; what those of float32 sums keep is SINGLE.
DOUBLE = 1e-10
R_SINGLE, R_DOUBLE = 1e-5, 1e-10


def signal(n, n_bins, *, mean=0.3, seed=0):
    """Heavy-tailed, correlated float32 tracks about means of different size."""
    rng = np.random.default_rng(seed)
    shared = rng.standard_exponential((n_bins, 1)) ** 2
    own = rng.standard_exponential((n_bins, n)) ** 3 * rng.gamma(1.0, 1.0, n)
    return (shared + own + mean * rng.random(n)).astype(np.float32)


def forms(n, *, mean, seed=0):
    """Sparse and dense differences d, with an intercept of the size of the signal."""
    rng = np.random.default_rng(seed)
    d = rng.normal(size=(60, n + 1)) * (rng.random((60, 1)) < rng.random((60, n + 1)))
    d[:, -1] *= mean
    return np.concatenate([d, np.eye(n + 1), np.eye(n + 1)[:-1] - np.eye(n + 1)[1:]])


def bounds(d, s):
    return np.square(np.abs(d) @ np.sqrt(np.diag(s)))


def quadratic(d, s):
    return np.einsum("ij,ij->i", d @ s, d)


def imputers(n, n_targets, seed=0):
    """Random affine maps whose weights sum to about 1, from the first n columns to the next ones."""
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.full(n, 0.3), n_targets) + 0.05 * rng.normal(size=(n_targets, n))
    return weights, rng.normal(size=n_targets), np.arange(n), np.arange(n, n + n_targets)


# Moments


@pytest.mark.parametrize("n", [5, 60])
@pytest.mark.parametrize("mean", [0.3, 50.0, 3000.0])
@pytest.mark.parametrize("n_bins", [1, 300, BLOCK_BINS, 3 * BLOCK_BINS + 17])
@pytest.mark.parametrize("shift", ["own", "near", "none"])
def test_quadratic_forms_are_within_the_bound(n, mean, n_bins, shift):
    y = signal(n, n_bins, mean=mean)
    shifts = {"own": None, "near": (1.1 * y.mean(axis=0)).astype(np.float32), "none": np.zeros(n, np.float32)}
    s, wanted = moments(y, shifts[shift]), exact(y)
    assert s.dtype == np.float64
    np.testing.assert_array_equal(s, s.T)
    assert s[-1, -1] == n_bins
    d = forms(n, mean=mean)
    assert (np.abs(quadratic(d, s) - quadratic(d, wanted)) <= SINGLE * bounds(d, wanted)).all()
    np.testing.assert_allclose(s[-1], wanted[-1], rtol=SINGLE, atol=SINGLE * np.sqrt(n_bins * wanted.max()))


@given(
    n=st.integers(1, 8), n_bins=st.integers(1, 400), exponent=st.integers(-12, 12), seed=st.integers(0, 2**31)
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_moments_of_any_shape_and_size(n, n_bins, exponent, seed):
    rng = np.random.default_rng(seed)
    y = (10.0**exponent * rng.standard_cauchy((n_bins, n)) + rng.normal(size=n)).astype(np.float32)
    s, wanted = moments(y), exact(y)
    sizes = np.sqrt(np.diag(wanted))
    assert (np.abs(s - wanted) <= SINGLE * np.outer(sizes, sizes)).all()


def test_small_integers_are_exact():
    y = np.random.default_rng(0).integers(0, 9, (9000, 4)).astype(np.float32)
    np.testing.assert_array_equal(moments(y, np.zeros(4, np.float32)), exact(y))
    np.testing.assert_array_equal(moments(y, np.array([4, 3, 1, 0], np.float32)), exact(y))


@pytest.mark.parametrize("n", [5, 60])
def test_signal_stored_in_half_precision(n):
    y = np.arcsinh(signal(n, 10_000)).astype(np.float16).astype(np.float32)
    s, wanted, d = moments(y), exact(y), forms(n, mean=0.3)
    assert (np.abs(quadratic(d, s) - quadratic(d, wanted)) <= SINGLE * bounds(d, wanted)).all()


@pytest.mark.parametrize("order", ["scattered", "first"])
@pytest.mark.parametrize("level", [0.0, 0.1, 1.0])
def test_tracks_whose_bins_are_nearly_all_the_same(level, order):
    """Sums of one value, again and again, round to one side."""
    rng = np.random.default_rng(2)
    peaks = rng.random((3 * BLOCK_BINS, 40)) < 0.02
    y = (level + np.where(peaks, rng.gamma(2, 2, peaks.shape), 0)).astype(np.float32)
    if order == "first":
        y = y[np.argsort(~peaks.any(axis=1), kind="stable")]
    s, wanted, d = moments(y), exact(y), forms(40, mean=0.3)
    assert (np.abs(quadratic(d, s) - quadratic(d, wanted)) <= SINGLE * bounds(d, wanted)).all()


def test_the_shift_is_the_mean_where_that_is_larger_than_the_deviation():
    y = np.array([[0, 1, np.nan, -5], [0, 3, np.nan, -5], [3, 2, np.nan, -5]])
    counts, sums, squares = (~np.isnan(y)).sum(axis=0), np.nansum(y, axis=0), np.nansum(y**2, axis=0)
    np.testing.assert_array_equal(shift_of(counts, sums, squares), np.array([0, 2, 0, -5], np.float32))


def test_moments_add_up():
    y = signal(6, 3 * BLOCK_BINS)
    shift = y.mean(axis=0, dtype=np.float64).astype(np.float32)
    whole, wanted, d = moments(y, shift), exact(y), forms(6, mean=0.3)
    cut = 2 * BLOCK_BINS
    # Blocks are the same when the cut is one of theirs; what is left is the order of float64 sums.
    np.testing.assert_allclose(moments(y[:cut], shift) + moments(y[cut:], shift), whole, rtol=1e-13)
    for cut in (1, 1000, 2 * BLOCK_BINS + 1):
        for shifts in ((shift, shift), (None, None)):
            parts = moments(y[:cut], shifts[0]) + moments(y[cut:], shifts[1])
            assert (np.abs(quadratic(d, parts - wanted)) <= SINGLE * bounds(d, wanted)).all()
            assert parts[-1, -1] == len(y)


@pytest.mark.parametrize("shift", [None, np.ones(3, np.float32)])
def test_no_bins_have_no_moments(shift):
    s = moments(np.empty((0, 3), np.float32), shift)
    np.testing.assert_array_equal(s, np.zeros((4, 4)))


def test_any_memory_layout_gives_the_same_and_the_signal_stays():
    y = signal(7, 5000)
    before, wanted = y.copy(), moments(y)
    scattered = np.empty((10_000, 14), np.float32)[::2, ::2]
    scattered[:] = y
    for layout in (np.asfortranarray(y), scattered):
        np.testing.assert_allclose(moments(layout), wanted, rtol=1e-6)
    np.testing.assert_array_equal(y, before)


def test_constant_tracks_have_exact_moments():
    y = signal(4, 5000)
    y[:, 1], y[:, 2] = np.float32(0.1), 0.0
    s = moments(y)
    assert s[1, 1] / 5000 == pytest.approx(float(np.float32(0.1)) ** 2, rel=1e-14)
    assert not s[2].any()


# What moments tell of imputers


@pytest.mark.parametrize("n", [5, 60])
@pytest.mark.parametrize("mean", [0.3, 3000.0])
@pytest.mark.parametrize("single", [True, False], ids=["float32", "float64"])
def test_errors_and_correlations_are_those_of_the_data(n, mean, single):
    y = signal(n + 4, 20_000, mean=mean, seed=1)
    weights, intercept, inputs, targets = imputers(n, 4)
    s, wanted = moments(y) if single else exact(y), exact(y)
    data = y.astype(np.float64)
    predicted = data[:, inputs] @ weights.T + intercept
    d = np.zeros((4, n + 5))
    d[:, inputs], d[:, -1] = weights, intercept
    d[np.arange(4), targets] = -1.0

    errors = squared_errors(s, weights, intercept, inputs, targets)
    bound = bounds(d, wanted) / len(y)
    direct = np.mean((predicted - data[:, targets]) ** 2, axis=0)
    assert (np.abs(errors - direct) <= (SINGLE if single else DOUBLE) * bound).all()

    r = correlations(s, weights, intercept, inputs, targets)
    direct = [np.corrcoef(predicted[:, j], data[:, target])[0, 1] for j, target in enumerate(targets)]
    # A mean 1000 times the spread leaves float64 moments fewer digits of a correlation.
    assert np.abs(r - direct).max() <= (R_SINGLE if single else R_DOUBLE if mean < 1 else 1e-8)


@pytest.mark.parametrize("rank", [1, 3, 4, 7])
def test_errors_of_weights_that_share_a_basis(rank):
    y = signal(12, 20_000, seed=2)
    rng = np.random.default_rng(rank)
    left, basis, intercept = rng.normal(size=(4, rank)), rng.normal(size=(rank, 8)), rng.normal(size=4)
    s, inputs, targets = exact(y), np.arange(8), np.arange(8, 12)
    d = np.zeros((4, 13))
    d[:, inputs], d[:, -1] = left @ basis, intercept
    d[np.arange(4), targets] = -1.0
    direct = np.square(y.astype(np.float64) @ d[:, :-1].T + intercept).mean(axis=0)
    errors = squared_errors(s, left, intercept, inputs, targets, basis=basis)
    assert (np.abs(errors - direct) <= DOUBLE * bounds(d, s) / len(y)).all()


def test_inputs_in_any_order_and_a_target_among_them():
    y = signal(6, 3000)
    weights, inputs, targets = np.array([[0.2, 0.5, 0.3]]), np.array([4, 0, 2]), np.array([2])
    s, data = exact(y), y.astype(np.float64)
    predicted = data[:, inputs] @ weights[0] - 0.1
    error = squared_errors(s, weights, np.array([-0.1]), inputs, targets)
    assert error[0] == pytest.approx(np.mean((predicted - data[:, 2]) ** 2), rel=1e-11)
    r = correlations(s, weights, np.array([-0.1]), inputs, targets)
    assert r[0] == pytest.approx(np.corrcoef(predicted, data[:, 2])[0, 1], rel=1e-11)


def test_a_perfect_prediction():
    y = signal(3, 5000, mean=100.0)
    weights, intercept, inputs = np.eye(3), np.zeros(3), np.arange(3)
    errors = squared_errors(moments(y), weights, intercept, inputs, inputs)
    assert (errors == 0).all()
    np.testing.assert_allclose(correlations(moments(y), weights, intercept, inputs, inputs), 1, rtol=1e-12)
    np.testing.assert_allclose(correlations(moments(y), -weights, intercept, inputs, inputs), -1, rtol=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_rounding_never_makes_an_error_negative(seed):
    y = signal(4, 3000, mean=100.0, seed=seed).astype(np.float64)
    y[:, 3] = y[:, :3].mean(axis=1)
    error = squared_errors(exact(y), np.full((1, 3), 1 / 3), np.zeros(1), np.arange(3), np.array([3]))
    assert 0 <= error[0] < 1e-9


@pytest.mark.parametrize("n_bins", [1000, 7001])
@pytest.mark.parametrize("make", [moments, exact], ids=["float32", "float64"])
def test_what_is_constant_has_no_correlation(n_bins, make):
    y, inputs = signal(4, n_bins), np.arange(4)
    weights = np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, -1]])
    targets = np.array([1, 0, 1, 2, 3])
    # Of many constants: whether rounding leaves them a variance above or below 0 is chance.
    for constant in (0.0, 2.5, *np.random.default_rng(0).gamma(0.5, 100.0, 40)):
        y[:, 1] = constant
        s = make(y)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            r = correlations(s, weights, np.zeros(5), inputs, targets)
            errors = squared_errors(s, weights, np.zeros(5), inputs, targets)
        # A constant target, a constant prediction, both, no weights at all; the last has its correlation.
        np.testing.assert_array_equal(np.isnan(r), [True, True, True, True, False])
        assert errors[2] == pytest.approx(0, abs=1e-9 * (1 + constant**2))
        data = y.astype(np.float64)
        assert r[4] == pytest.approx(np.corrcoef(data[:, 2] - data[:, 3], data[:, 3])[0, 1], abs=1e-5)
        assert np.isfinite(errors).all()
