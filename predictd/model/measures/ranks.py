"""Ranks and top sets of tracks too long to sort: of rank keys, which are counted block by block.

A rank key is a value rounded to 12 binary digits after the leading one, or to 11 where signal can be negative. The bits
of a non-negative float32, read as a whole number, ascend with the value, so the upper 20 of them (8 of exponent, 12 of
mantissa) name the rounded values in order: 2^20 keys whatever the scale, finer than the float16 (10 binary digits) in
which tensors store signal. Where signal can be negative, half of the keys are for negative values. Values of one key
are ties. All else is exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

N_KEYS = 2**20
_MIDDLE = N_KEYS // 2
# Bits of a float32's magnitude that a key leaves out: of non-negative signal, and of signal with a sign.
_DROPPED_BITS = {False: 11, True: 12}

Keys = NDArray[np.intp]


def rank_keys(values: NDArray[np.floating], *, signed: bool = False) -> Keys:
    """Return the rank keys of values, in the same order: intp, under `N_KEYS`.

    Values are rounded to the nearest, not down: a stored float16 then shares its key with what arithmetic in float32
    makes of it.

    Parameters
    ----------
    values
        Finite.
    signed
        Whether values may be negative; without it the sign is not looked at.
    """
    dropped = _DROPPED_BITS[signed]
    narrow = values.astype(np.float32)
    # Without the sign of -0.
    bits = narrow.view(np.uint32) & np.uint32(2**31 - 1)
    bits += np.uint32(2 ** (dropped - 1))
    bits >>= np.uint32(dropped)
    keys = bits.astype(np.intp)
    if signed:
        np.negative(keys, out=keys, where=narrow < 0)
        keys += _MIDDLE
    return keys


def key_values(keys: Keys, *, signed: bool = False) -> NDArray[np.float32]:
    """Return the values that rank keys stand for: float32, the inverse of `rank_keys` up to its rounding."""
    places = keys - _MIDDLE if signed else keys
    bits = np.abs(places).astype(np.uint32) << np.uint32(_DROPPED_BITS[signed])
    return np.copysign(bits.view(np.float32), places.astype(np.float32)).astype(np.float32)


@dataclass
class TopSet:
    """The bins with the largest keys, found block by block in genome order.

    Attributes
    ----------
    threshold
        Smallest key of the set.
    ties
        Bins with just that key which are still to be taken: the first ones that come.
    """

    threshold: int
    ties: int

    def take(self, keys: Keys) -> NDArray[np.bool_]:
        """Return which bins of the next block belong to the set."""
        top = keys > self.threshold
        if self.ties:
            tied = np.flatnonzero(keys == self.threshold)[: self.ties]
            top[tied] = True
            self.ties -= tied.size
        return top


@dataclass(frozen=True)
class Ranking:
    """Ranks of a whole track.

    Attributes
    ----------
    keys
        (k,) the keys that bins have, ascending.
    up_to
        (k,) int64: how many bins have this key or a smaller one.
    centred
        (N_KEYS,) signed integers by key: 2r − (n + 1) with r the rank from 1, averaged over ties; they sum to 0 over
        the n bins. 0 for keys that no bin has.
    """

    keys: Keys
    up_to: NDArray[np.int64]
    centred: NDArray[np.signedinteger]

    @property
    def squares(self) -> float:
        """Sum of the centred ranks' squares over the bins; 0 if all are tied."""
        ranks = self.centred[self.keys].astype(np.float64)
        return float((np.diff(self.up_to, prepend=0) * np.square(ranks)).sum())

    def top(self, size: int, *, all_ties: bool = False) -> TopSet:
        """Return the set of so many bins (1 to n) with the largest keys; `all_ties`: and all that tie with the last."""
        n = int(self.up_to[-1])
        place = int(np.searchsorted(self.up_to, n - size, side="right"))
        ties = n if all_ties else size - (n - int(self.up_to[place]))
        return TopSet(int(self.keys[place]), ties)

    def counts(self, keys: Keys) -> NDArray[np.int64]:
        """Return how many of some bins have each of `self.keys`, (k,)."""
        return np.bincount(np.searchsorted(self.keys, keys), minlength=self.keys.size)

    def average_precision(self, positive: NDArray[np.int64]) -> float:
        """Return the area under the precision-recall curve, as a step function; NaN without a positive bin.

        Parameters
        ----------
        positive
            Positive bins by key, as of `counts`.
        """
        if not positive.any():
            return np.nan
        bins = self.up_to[-1] - np.concatenate([[0], self.up_to[:-1]])
        precision = np.cumsum(positive[::-1])[::-1] / bins
        return float((precision * positive).sum() / positive.sum())


class KeyCounts:
    """How many bins of a track have each key; 4 MB, for fewer than 2^32 bins."""

    def __init__(self) -> None:
        self._counts = np.zeros(N_KEYS, dtype=np.uint32)

    def add(self, keys: Keys) -> None:
        """Count a block."""
        np.add.at(self._counts, keys, np.uint32(1))

    def rank(self) -> Ranking:
        """Rank the bins counted so far."""
        # Few of the keys occur: the logarithm of signal spans some octaves, the keys span all of float32's.
        keys = np.flatnonzero(self._counts != 0)
        counts = self._counts[keys].astype(np.int64)
        up_to = np.cumsum(counts)
        n = int(counts.sum())
        # int32 up to 2^31 bins, so that a ranking takes no more memory than the counts.
        centred = np.zeros(N_KEYS, dtype=np.min_scalar_type(-n))
        centred[keys] = 2 * up_to - counts - n
        return Ranking(keys, up_to, centred)


def distribution_map(track: KeyCounts, wanted: KeyCounts, *, signed: bool = False) -> NDArray[np.float32]:
    """Return what gives a track the distribution of another of as many bins: float32 (N_KEYS,), by the track's keys.

    The bins of each key become the mean of the values that bins of their ranks have in the other track. It is
    quantile normalisation to that track (Bolstad et al. 2003, Bioinformatics 19:185).
    """
    own, other = track.rank(), wanted.rank()
    sizes = np.diff(other.up_to, prepend=0)
    sums = np.concatenate([[0], np.cumsum(sizes * key_values(other.keys, signed=signed).astype(np.float64))])
    # Sum of the r smallest values.
    lowest = np.interp(own.up_to, np.concatenate([[0], other.up_to]), sums)
    values = np.zeros(N_KEYS, dtype=np.float32)
    values[own.keys] = np.diff(lowest, prepend=0) / np.diff(own.up_to, prepend=0)
    return values
