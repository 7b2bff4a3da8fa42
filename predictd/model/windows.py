"""Means over windows along the genome."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from predictd.kernels import run_means

Float32 = npt.NDArray[np.float32]


def window_means(
    signal: Float32,
    run_lengths: Sequence[int],
    half_widths: Sequence[int],
    rows: npt.NDArray[np.intp] | slice = slice(None),
) -> Float32:
    """Means over several windows around some bins, as far as a window lies in their run.

    Parameters
    ----------
    signal
        float32 (bins × k): whole runs of consecutive bins, one after the other; NaN is not observed.
    run_lengths
        Lengths of these runs; they add up to the bins.
    half_widths
        Of the windows: how many bins to either side belong to them. 0: the signal itself.
    rows
        The bins, ascending.

    Returns
    -------
    float32 (windows × rows × k)
        Means of what is observed in the window; NaN where nothing is.

    Raises
    ------
    ValueError
        If the runs do not add up to the bins.
    """
    if sum(run_lengths) != len(signal):
        raise ValueError(f"runs of {sum(run_lengths)} bins in all, and signal of {len(signal)}")
    if isinstance(rows, slice):
        rows = np.arange(*rows.indices(len(signal)))
    means = np.empty((len(half_widths), len(rows), signal.shape[1]), dtype=np.float32)
    # Where every run is one bin, such as a region, a window has nothing but that.
    alone = max(run_lengths, default=1) == 1
    signal, ends = np.ascontiguousarray(signal), np.cumsum(run_lengths)
    for index, half_width in enumerate(half_widths):
        if half_width == 0 or alone:
            means[index] = signal[rows]
            continue
        for end, length, own in zip(ends.tolist(), run_lengths, _rows_of_runs(rows, ends), strict=True):
            start = end - length
            run_means(signal[start:end], rows[own] - start, half_width, means[index, own])
    return means


def _rows_of_runs(rows: npt.NDArray[np.intp], ends: npt.NDArray[np.intp]) -> list[slice]:
    """Which of some ascending rows lie in each of some runs, by where these end."""
    stops = np.searchsorted(rows, ends).tolist()
    return [slice(start, stop) for start, stop in pairwise([0, *stops])]
