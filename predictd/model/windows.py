"""Means over windows along the genome."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]


def window_means(signal: Float32, run_lengths: Sequence[int], half_width: int) -> Float32:
    """Means over ±half_width bins of the run.

    Parameters
    ----------
    signal
        float32 (bins × k): whole runs of consecutive bins, one after the other; NaN is not observed.
    run_lengths
        Lengths of these runs; they add up to the bins.
    half_width
        In bins; 0: the signal itself.

    Returns
    -------
    float32 (bins × k)
        Means of what is observed in the window, which a run's ends cut; NaN where nothing is.
    """
    # Where every run is one bin, such as a region, a window has nothing but that.
    if half_width == 0 or max(run_lengths, default=1) == 1:
        return signal
    return window_means_at(signal, run_lengths, (half_width,), np.arange(len(signal)))[0]


def window_means_at(
    signal: Float32, run_lengths: Sequence[int], half_widths: Sequence[int], rows: npt.NDArray[np.intp]
) -> Float32:
    """Means over several windows around some bins, as of `window_means`: float32 (windows × rows × k).

    Parameters
    ----------
    signal, run_lengths
        See `window_means`.
    half_widths
        In bins.
    rows
        The bins, ascending.
    """
    means = np.empty((len(half_widths), len(rows), signal.shape[1]), dtype=np.float32)
    if max(run_lengths, default=1) == 1:
        means[:] = signal[rows]
        return means
    nothing = np.zeros((1, signal.shape[1]))
    start = 0
    for length in run_lengths:
        own = slice(*np.searchsorted(rows, [start, start + length]).tolist())
        if own.start < own.stop:
            values, places = signal[start : start + length], rows[own] - start
            observed = ~np.isnan(values)
            complete = bool(observed.all())
            known = values if complete else np.where(observed, values, np.float32(0.0))
            sums = np.concatenate([nothing, np.cumsum(known, axis=0, dtype=np.float64)])
            counts = None if complete else np.concatenate([nothing, np.cumsum(observed, axis=0)])
            for index, half_width in enumerate(half_widths):
                if half_width == 0:
                    means[index, own] = values[places]
                    continue
                low, high = np.maximum(places - half_width, 0), np.minimum(places + half_width + 1, length)
                count = (
                    (high - low)[:, np.newaxis].astype(np.float64)
                    if counts is None
                    else counts[high] - counts[low]
                )
                means[index, own] = (sums[high] - sums[low]) / np.where(count, count, np.nan)
        start += length
    return means
