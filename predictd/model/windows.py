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
    means = np.empty_like(signal)
    observed = ~np.isnan(signal)
    complete = bool(observed.all())
    start = 0
    nothing = np.zeros((1, signal.shape[1]))
    for length in run_lengths:
        run = slice(start, start + length)
        low = np.maximum(np.arange(length) - half_width, 0)
        high = np.minimum(np.arange(length) + half_width + 1, length)
        values = signal[run] if complete else np.where(observed[run], signal[run], np.float32(0.0))
        sums = np.concatenate([nothing, np.cumsum(values, axis=0, dtype=np.float64)])
        if complete:
            count = (high - low)[:, np.newaxis].astype(np.float64)
        else:
            counts = np.concatenate([nothing, np.cumsum(observed[run], axis=0)])
            count = counts[high] - counts[low]
        means[run] = (sums[high] - sums[low]) / np.where(count, count, np.nan)
        start += length
    return means
