"""Peaks of a binned signal: stretches above a threshold, merged over short gaps, long enough, with their summits.

The rule of MACS's bdgpeakcall (Zhang et al., Genome Biology 9:R137, 2008), on bins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class PeakRule:
    """What counts as a peak.

    Attributes
    ----------
    threshold
        Least signal of a bin in a peak, in the track's unit; 2 of −log10 p is p = 0.01.
    gap
        Stretches that are at most so many bp apart are one peak.
    min_length
        Least length of a peak in bp, after merging.
    """

    threshold: float = 2.0
    gap: int = 30
    min_length: int = 200


def reaches(signal: npt.NDArray[np.floating], threshold: float) -> npt.NDArray[np.bool_]:
    """Where signal is at least a threshold, both in the single precision that files have; nowhere where it is NaN."""
    with np.errstate(invalid="ignore"):
        return np.asarray(signal.astype(np.float32) >= np.float32(threshold))


@dataclass(frozen=True)
class Peaks:
    """Peaks of one chromosome in ascending order.

    Attributes
    ----------
    start, end
        int64 (k,): 0-based half-open, in bp.
    summit
        int64 (k,): position of the highest signal, in bp from `start`.
    mean, highest
        float64 (k,): mean over a peak's bins that have signal, and the signal at its summit.
    """

    start: npt.NDArray[np.int64]
    end: npt.NDArray[np.int64]
    summit: npt.NDArray[np.int64]
    mean: npt.NDArray[np.float64]
    highest: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return int(self.start.size)

    @property
    def n_bases(self) -> int:
        """Bases within peaks."""
        return int((self.end - self.start).sum())


def call_peaks(signal: npt.NDArray[Any], rule: PeakRule, *, bin_size: int, length: int) -> Peaks:
    """Peaks of a chromosome.

    Parameters
    ----------
    signal
        (bins,): signal of all its bins; NaN where there is none, which is never above the threshold.
    rule
        What counts as a peak.
    bin_size, length
        Width of a bin and length of the chromosome in bp; the last bin may be cut.

    Returns
    -------
    Peaks
        A peak begins and ends with a bin that is above the threshold. Where several bins are the highest, the summit
        is in the middle one.
    """
    above = reaches(signal, rule.threshold)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], above, [False]])))
    first, last = edges[::2], edges[1::2]
    if first.size:
        apart = (first[1:] - last[:-1]) * bin_size > rule.gap
        first, last = first[np.r_[True, apart]], last[np.r_[apart, True]]
    start, end = first * bin_size, np.minimum(last * bin_size, length)
    kept = end - start >= rule.min_length
    first, last, start, end = first[kept], last[kept], start[kept], end[kept]
    if not first.size:
        none, nothing = np.empty(0, dtype=np.int64), np.empty(0)
        return Peaks(none, none, none, nothing, nothing)

    # The bins of all peaks in a row.
    sizes = last - first
    begin = np.cumsum(sizes) - sizes
    bins = np.arange(sizes.sum()) + np.repeat(first - begin, sizes)
    values = np.asarray(signal, dtype=np.float64)[bins]
    observed = ~np.isnan(values)
    mean = np.add.reduceat(np.where(observed, values, 0.0), begin) / np.add.reduceat(
        observed, begin, dtype=np.int64
    )
    highest = np.maximum.reduceat(np.where(observed, values, -np.inf), begin)
    tied = np.flatnonzero(values == np.repeat(highest, sizes))
    n_tied = np.add.reduceat(values == np.repeat(highest, sizes), begin, dtype=np.int64)
    middle = bins[tied[np.cumsum(n_tied) - n_tied + (n_tied - 1) // 2]]
    summit = (middle * bin_size + np.minimum((middle + 1) * bin_size, length)) // 2 - start
    return Peaks(start, end, summit, mean, highest)
