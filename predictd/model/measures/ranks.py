"""Ranks and top sets of tracks too long to sort: of rank keys, which are counted block by block.

A rank key is a value rounded to 12 binary digits after the leading one, or to 11 where signal can be negative. The bits
of a non-negative float32, read as a whole number, ascend with the value, so the upper 20 of them (8 of exponent, 12 of
mantissa) name the rounded values in order: 2^20 keys whatever the scale, finer than the float16 (10 binary digits) in
which tensors store signal. Where signal can be negative, half of the keys are for negative values. Values of one key
are ties. All else is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from predictd.kernels import KeyRule, RankTables, find_keys, tally

N_KEYS = 2**20
_MIDDLE = N_KEYS // 2
# Of non-negative signal, and of signal with a sign.
_RULES = {False: KeyRule(11), True: KeyRule(12, True, _MIDDLE)}

Keys = NDArray[np.int32]


def rank_keys(values: NDArray[np.floating], *, signed: bool = False) -> Keys:
    """Return the rank keys of values, in the same order: int32, under `N_KEYS`.

    Values are rounded to the nearest, not down: a stored float16 then shares its key with what arithmetic in float32
    makes of it.

    Parameters
    ----------
    values
        Finite.
    signed
        Whether values may be negative; without it the sign is not looked at.
    """
    narrow = np.ascontiguousarray(values, dtype=np.float32)
    return find_keys(narrow, _RULES[signed])


def key_values(keys: NDArray[np.integer], *, signed: bool = False) -> NDArray[np.float32]:
    """Return the values that belong to rank keys: float32, the inverse of `rank_keys` up to its rounding."""
    places = keys - _MIDDLE if signed else keys
    bits = np.abs(places).astype(np.uint32) << np.uint32(_RULES[signed].dropped)
    return np.copysign(bits.view(np.float32), places.astype(np.float32)).astype(np.float32)


@dataclass(frozen=True)
class Ranking:
    """Ranks of a whole track of n bins.

    Attributes
    ----------
    keys
        (k,) the keys that bins have, ascending.
    up_to
        (k,) int64: how many bins have this key or a smaller one.
    centred
        float64 (k,), whole numbers: 2r − (n + 1) with r the rank from 1, averaged over ties; they sum to 0 over the n
        bins.
    """

    keys: NDArray[np.intp]
    up_to: NDArray[np.int64]
    centred: NDArray[np.float64]

    @property
    def squares(self) -> float:
        """Sum of the centred ranks' squares over the bins; 0 if all are tied."""
        return float((np.diff(self.up_to, prepend=0) * np.square(self.centred)).sum())

    def top(self, size: int, *, all_ties: bool = False) -> tuple[int, int]:
        """Return the set of so many bins (1 to n) with the largest keys.

        It is the key that all of it exceed, and how many bins with just that key belong to it: those nearest to the
        start. With `all_ties` all that tie with the last belong to it.
        """
        n = int(self.up_to[-1])
        place = int(np.searchsorted(self.up_to, n - size, side="right"))
        threshold = int(self.keys[place])
        return (threshold - 1, 0) if all_ties else (threshold, size - (n - int(self.up_to[place])))

    def average_precision(self, positive: NDArray[np.int64]) -> float:
        """Return the area under the precision-recall curve, as a step function; NaN without a positive bin.

        Parameters
        ----------
        positive
            Positive bins of each of `keys`, (k,).
        """
        if not positive.any():
            return np.nan
        bins = self.up_to[-1] - np.concatenate([[0], self.up_to[:-1]])
        precision = np.cumsum(positive[::-1])[::-1] / bins
        return float((precision * positive).sum() / positive.sum())


class KeyCounts:
    """How many bins of each of some tracks have each key; 4 MB a track, for fewer than 2^32 bins."""

    def __init__(self, n_tracks: int, *, signed: bool = False) -> None:
        self._rule = _RULES[signed]
        self._counts = np.zeros((n_tracks, N_KEYS), dtype=np.uint32)

    def add(self, tracks: NDArray[np.floating]) -> None:
        """Count the next bins, float32 or float64 (tracks × bins)."""
        tally(tracks, self._rule, self._counts)

    def rank(self) -> list[Ranking]:
        """Rank the bins counted so far, of each track."""
        return [_rank(own) for own in self._counts]

    def tables(self, rankings: Sequence[Ranking]) -> RankTables:
        """What looks up the ranks of bins, in the room of the counts, which are lost."""
        places = self._counts.view(np.int32)
        sizes = [ranking.keys.size for ranking in rankings]
        first = 0
        for own, ranking, size in zip(places, rankings, sizes, strict=True):
            own[ranking.keys] = np.arange(first, first := first + size)
        # 0, which is common, is far below the other keys: it comes just before them.
        firsts = [ranking.keys[ranking.keys > 0][:1].sum() for ranking in rankings]
        below = np.array([max(0, int(first) - 1) for first in firsts])
        widths = [
            int(ranking.keys[-1]) - low + 1 for ranking, low in zip(rankings, below.tolist(), strict=True)
        ]
        starts = np.cumsum([0, *widths], dtype=np.int64)
        ranks = np.zeros(starts[-1])
        for ranking, low, start in zip(rankings, below.tolist(), starts.tolist(), strict=False):
            ranks[start + np.maximum(ranking.keys - low, 0)] = ranking.centred
        return RankTables(self._rule, places, sum(sizes), sizes[0], ranks, starts, below.astype(np.int32))


def _rank(counts: NDArray[np.uint32]) -> Ranking:
    """Rank the bins of a track by how many have each key."""
    # Few of the keys occur: the logarithm of signal spans some octaves, the keys span all of float32's.
    keys = np.flatnonzero(counts != 0)
    sizes = counts[keys].astype(np.int64)
    up_to = np.cumsum(sizes)
    return Ranking(keys, up_to, (2 * up_to - sizes - sizes.sum()).astype(np.float64))


def distribution_map(own: Ranking, other: Ranking, *, signed: bool = False) -> NDArray[np.float32]:
    """Return what gives a track the distribution of another of as many bins: float32 (N_KEYS,), by the track's keys.

    The bins of each key become the mean of the values that bins of their ranks have in the other track. It is
    quantile normalisation to that track (Bolstad et al. 2003, Bioinformatics 19:185).
    """
    sizes = np.diff(other.up_to, prepend=0)
    sums = np.concatenate([[0], np.cumsum(sizes * key_values(other.keys, signed=signed).astype(np.float64))])
    # Sum of the r smallest values.
    lowest = np.interp(own.up_to, np.concatenate([[0], other.up_to]), sums)
    values = np.zeros(N_KEYS, dtype=np.float32)
    values[own.keys] = np.diff(lowest, prepend=0) / np.diff(own.up_to, prepend=0)
    return values
