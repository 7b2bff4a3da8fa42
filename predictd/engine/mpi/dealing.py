"""Which rank does what: keys dealt out beforehand by their sizes."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from predictd.engine.base import subtrees


def deal(sizes: Sequence[int], ranks: int) -> list[list[int]]:
    """Positions of the keys of each rank, of about the same size: the largest first, each to whoever has least."""
    shares: list[list[int]] = [[] for _ in range(ranks)]
    loads = [0] * ranks
    for index in sorted(range(len(sizes)), key=lambda index: -sizes[index]):
        rank = loads.index(min(loads))
        shares[rank].append(index)
        loads[rank] += sizes[index]
    return [sorted(share) for share in shares]


def divide(sizes: Sequence[int], ranks: int) -> list[int]:
    """Borders (ranks + 1) of consecutive keys of about the same size for each rank; rank 0 has at least one key.

    They are borders of subtrees as far as balance allows, so that a rank's sums are few and little is sent.
    """
    ends = [0, *accumulate(sizes)]
    candidates = [stop for _, stop in subtrees(0, len(sizes), 8 * ranks)]
    loads = [ends[stop] for stop in candidates]
    borders = [0]
    for rank in range(1, ranks):
        wanted = ends[-1] * rank / ranks
        place = bisect(loads, wanted)
        near = [candidates[i] for i in (place - 1, place) if 0 <= i < len(candidates)]
        borders.append(max(borders[-1], 1, min(near, key=lambda stop: abs(ends[stop] - wanted))))
    return [*borders, len(sizes)]


@dataclass
class KeyShares:
    """Which rank sums which keys of a reduction.

    Attributes
    ----------
    n_keys
        Leaves of the tree.
    borders
        Of the ranks' consecutive keys (ranks + 1).
    """

    n_keys: int
    borders: list[int]

    def owner(self, key: int) -> int:
        """Rank that has the key; it also has the sums of subtrees that begin there."""
        return bisect(self.borders, key) - 1

    def own(self, rank: int, start: int, stop: int) -> list[tuple[int, int]]:
        """Largest whole subtrees of the range that lie within a rank's keys."""
        low, high = self.borders[rank : rank + 2]
        if stop <= low or start >= high:
            return []
        if low <= start and stop <= high:
            return [(start, stop)]
        middle = (start + stop) // 2
        return self.own(rank, start, middle) + self.own(rank, middle, stop)
