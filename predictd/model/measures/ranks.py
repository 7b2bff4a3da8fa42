"""Ranks and top sets of tracks too long to sort: of rank keys, which are counted block by block.

A rank key is a value rounded to 12 binary digits after the leading one. The bits of a non-negative float32, read as a
whole number, ascend with the value, so the upper 20 of them (8 of exponent, 12 of mantissa) name the rounded values in
order: 2^20 keys whatever the scale, finer than the float16 (10 binary digits) in which tensors store signal. Values of
one key are ties. All else is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

N_KEYS = 2**20
_DROPPED_BITS = 11

Keys = NDArray[np.intp]


def rank_keys(values: NDArray[np.floating]) -> Keys:
    """Return the rank keys of non-negative values, in the same order: intp, under `N_KEYS`.

    Values are rounded to the nearest, not down: a stored float16 then shares its key with what arithmetic in float32
    makes of it.
    """
    bits = values.astype(np.float32).view(np.uint32)
    # The sign of -0.
    bits &= np.uint32(2**31 - 1)
    bits += np.uint32(2 ** (_DROPPED_BITS - 1))
    bits >>= np.uint32(_DROPPED_BITS)
    return bits.astype(np.intp)


@dataclass
class TopSet:
    """The bins with the largest keys, found block by block in genome order.

    Attributes
    ----------
    size
        Number of bins in the set.
    threshold
        Smallest key of the set.
    ties
        Bins with just that key which are still to be taken: the first ones that come.
    """

    size: int
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
    centred
        (N_KEYS,) signed integers by key: 2r − (n + 1) with r the rank from 1, averaged over ties; they sum to 0 over
        the n bins. 0 for keys that no bin has.
    squares
        Sum of their squares over the bins; 0 if all are tied.
    tops
        The top sets that were asked for.
    """

    centred: NDArray[np.signedinteger]
    squares: float
    tops: tuple[TopSet, ...]


class KeyCounts:
    """How many bins of a track have each key; 4 MB, for fewer than 2^32 bins."""

    def __init__(self) -> None:
        self._counts = np.zeros(N_KEYS, dtype=np.uint32)

    def add(self, keys: Keys) -> None:
        """Count a block."""
        np.add.at(self._counts, keys, np.uint32(1))

    def rank(self, sizes: Sequence[int]) -> Ranking:
        """Rank the bins counted so far, and find the top sets of these sizes (each from 1 to the number of bins)."""
        # Few of the keys occur: the logarithm of signal spans some octaves, the keys span all of float32's.
        keys = np.flatnonzero(self._counts != 0)
        counts = self._counts[keys].astype(np.int64)
        up_to = np.cumsum(counts)
        n = int(up_to[-1])
        places = [int(np.searchsorted(up_to, n - size, side="right")) for size in sizes]
        tops = tuple(
            TopSet(size, int(keys[place]), size - (n - int(up_to[place])))
            for size, place in zip(sizes, places, strict=True)
        )
        ranks = 2 * up_to - counts - n
        squares = float((counts * np.square(ranks, dtype=np.float64)).sum())
        # int32 up to 2^31 bins, so that a ranking takes no more memory than the counts.
        centred = np.zeros(N_KEYS, dtype=np.min_scalar_type(-n))
        centred[keys] = ranks
        return Ranking(centred, squares, tops)
