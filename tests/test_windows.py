"""Means over windows along the genome, against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest

from predictd.kernels import run_means
from predictd.model.windows import window_means

RUNS = [1, 2, 5, 40, 3, 300]


def plain(signal: np.ndarray, runs: list[int], half_width: int, row: int, column: int) -> float:
    """The mean of what is observed around a bin, within its run."""
    end = next(end for end in np.cumsum(runs) if row < end)
    start = end - next(length for length, stop in zip(runs, np.cumsum(runs), strict=True) if stop == end)
    around = signal[max(row - half_width, start) : min(row + half_width + 1, end), column]
    seen = [float(value) for value in around if not math.isnan(value)]
    return math.fsum(seen) / len(seen) if seen else math.nan


def made_signal(n_tracks: int = 3, *, gaps: bool) -> np.ndarray:
    rng = np.random.default_rng(8)
    signal = rng.normal(size=(sum(RUNS), n_tracks)).astype(np.float32)
    if gaps:
        signal[rng.random(signal.shape) < 0.3] = np.nan
        signal[20:30, 1] = np.nan
        signal[100:250, 2] = np.nan
    return signal


# All bins; those far apart, whose windows are summed one by one; and some of both, at both ends of runs.
@pytest.mark.parametrize("rows", [None, [0, 1, 60, 200, 349], [3, 7, 8, 9, 10, 47, 48, 51, 52, 53, 130, 350]])
@pytest.mark.parametrize("gaps", [False, True], ids=["complete", "with gaps"])
def test_windows_are_means_of_what_is_observed_within_the_run(gaps, rows):
    signal, half_widths = made_signal(gaps=gaps), [1, 2, 0, 30, 1000]
    means = window_means(signal, RUNS, half_widths, slice(None) if rows is None else np.array(rows))
    assert means.dtype == np.float32
    wanted = [
        [
            [plain(signal, RUNS, half, row, column) for column in range(3)]
            for row in rows or range(len(signal))
        ]
        for half in half_widths
    ]
    # One rounding to single precision, of values of about 1; sums are in double precision.
    np.testing.assert_allclose(means, wanted, rtol=6e-8, atol=1e-13)
    assert np.isnan(means).any() == gaps


def test_an_artefact_shows_in_its_windows_alone():
    """As far as double precision says; and rounding leaves nothing of it where nothing was observed."""
    signal = np.full((3000, 1), 0.5, dtype=np.float32)
    signal[1000] = 1e6
    signal[1500:2000] = np.nan
    small, wide = window_means(signal, [len(signal)], [4, 100])[..., 0]
    np.testing.assert_allclose(np.delete(wide, np.r_[900:1101, 1600:1900]), 0.5, rtol=1e-7)
    np.testing.assert_allclose(wide[900:1101], (1e6 + 100.0) / 201, rtol=1e-7)
    assert np.isnan(small[1504:1996]).all() and np.isnan(wide[1600:1900]).all()
    assert (wide[2101:] == 0.5).all()


# Of one huge value; of some after each other, of which each is large for what is left; of placeholders below all.
@pytest.mark.parametrize(
    "huge", [[1e13], [1e20], [1e13, 1e6, 0.1], [-3.4e38], [-3.4e38, 3.4e38], [1e38, 1e-30]]
)
@pytest.mark.parametrize("rows", [slice(None), slice(2, None, 7)], ids=["all bins", "some bins"])
def test_what_has_left_a_window_leaves_no_trace(rows, huge):
    rng = np.random.default_rng(3)
    # Of the third track nothing but zeros is left.
    signal = np.array([1e-3, 1.0, 0.0], dtype=np.float32) * rng.gamma(1.0, size=(1000, 3)).astype(np.float32)
    signal[100 : 100 + len(huge)] = np.array(huge)[:, None]
    signal[700, 2] = 1.0
    for half, means in zip([5, 60], window_means(signal, [len(signal)], [5, 60])[:, rows], strict=True):
        wanted = [
            np.mean(signal[max(row - half, 0) : row + half + 1], axis=0, dtype=np.float64)
            for row in range(len(signal))
        ]
        without = np.r_[: 100 - half, 100 + len(huge) + half : len(signal)]
        shown = np.isin(np.arange(len(signal))[rows], without)
        np.testing.assert_allclose(means[shown], np.array(wanted)[rows][shown], rtol=2e-7, atol=0)


def test_runs_are_all_of_the_bins():
    with pytest.raises(ValueError, match=r"runs of 12 bins in all, and signal of 13"):
        window_means(np.zeros((13, 1), dtype=np.float32), [5, 7], [4])


def test_runs_of_one_bin_have_windows_of_one():
    signal = made_signal(gaps=True)
    for means in window_means(signal, [1] * len(signal), [0, 4, 100]):
        np.testing.assert_array_equal(means, signal)


def test_nothing_is_made_of_no_bins_and_no_tracks():
    signal = made_signal(gaps=False)
    assert window_means(signal, RUNS, [4], np.array([], dtype=np.intp)).shape == (1, 0, 3)
    assert window_means(signal[:, :0], RUNS, [4]).shape == (1, sum(RUNS), 0)
    assert window_means(signal[:0], [], [4]).shape == (1, 0, 3)


@pytest.mark.parametrize(
    ("changed", "wrong"),
    [
        ({"rows": np.array([2, 1])}, "rows must ascend"),
        (
            {"rows": np.array([0, 2**63 - 1, -2, 5]), "out": np.ones((4, 3), dtype=np.float32)},
            "rows must ascend",
        ),
        ({"rows": np.array([-1, 1])}, r"the first row must lie in \[0, 10\), not -1"),
        ({"rows": np.array([1, 10])}, r"the last row must lie in \[0, 10\), not 10"),
        ({"rows": np.array([1, 2], dtype=np.int32)}, "rows must be int64, not int32"),
        ({"signal": np.ones((10, 6), dtype=np.float32)[:, ::2]}, "signal must be C-contiguous"),
        ({"half_width": -1}, "half_width must lie in"),
        ({"out": np.ones((2, 2), dtype=np.float32)}, "out must have the shape"),
    ],
)
def test_what_the_kernel_does_not_take(changed, wrong):
    given = {
        "signal": np.ones((10, 3), dtype=np.float32),
        "rows": np.array([1, 2]),
        "half_width": 1,
        "out": np.ones((2, 3), dtype=np.float32),
    }
    with pytest.raises((TypeError, ValueError), match=wrong):
        run_means(**{**given, **changed})
