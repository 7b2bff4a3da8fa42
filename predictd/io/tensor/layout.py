"""How a genome is cut into bins, runs and shards.

A bin is `bin_size` bp, 0-based half-open, aligned to multiples of it; the last one of a chromosome may be shorter.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from predictd.constants import MAX_SHARD_VALUES
from predictd.errors import DataError
from predictd.io.tables import Interval
from predictd.io.tracks.genomes import Genome
from predictd.wording import even_parts_of_at_most

Runs = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ShardPlan:
    """A shard to be made.

    Attributes
    ----------
    name
        `CHROM.NNNN`, unique in the tensor.
    chrom
        The one chromosome of its runs.
    runs
        int64 (k × 2): first bin and length of each run, ascending, disjoint.
    """

    name: str
    chrom: str
    runs: Runs

    @property
    def n_bins(self) -> int:
        """Number of bins in all of its runs."""
        return int(self.runs[:, 1].sum())


def most_bins(n_experiments: int, limit: int) -> int:
    """Most bins of a shard of so many experiments: as many as memory allows, and no more than `limit`."""
    return min(limit, max(1, MAX_SHARD_VALUES // n_experiments))


def plan_shards(
    genome: Genome,
    *,
    bin_size: int,
    max_bins: int,
    chromosomes: Iterable[str],
    regions: list[Interval] | None = None,
    exclude: list[Interval] | None = None,
) -> list[ShardPlan]:
    """Cut chromosomes into shards of at most `max_bins` bins.

    Parameters
    ----------
    genome
        Names, lengths and order of the chromosomes.
    bin_size
        Width of a bin in bp.
    max_bins
        Most bins of a shard; a chromosome's shards are of about equal size.
    chromosomes
        Those that have signal; the others are left out.
    regions
        Where given, only bins that overlap one of them; each gives one run, regions that share bins are joined.
    exclude
        Bins that overlap one of these are left out.

    Raises
    ------
    DataError
        If no bin is left.
    """
    wanted = set(chromosomes)
    plans = []
    for chrom in genome.chromosomes:
        if chrom not in wanted:
            continue
        n_bins = -(-genome.chromosomes[chrom] // bin_size)
        if regions is None:
            runs = np.array([[0, n_bins]], dtype=np.int64)
        else:
            runs = _as_runs(regions, chrom, bin_size, joined=False)
        if exclude is not None:
            runs = _without(runs, _as_runs(exclude, chrom, bin_size, joined=True))
        pieces = _cut(runs, max_bins)
        plans += [ShardPlan(f"{chrom}.{index:04d}", chrom, piece) for index, piece in enumerate(pieces)]
    if not plans:
        raise DataError(
            "no bins are left: the regions, the excluded intervals and the tracks leave nothing in common"
        )
    return plans


class Coverage:
    """Which bins overlap some intervals; kept as runs of bins, to be asked shard by shard.

    Parameters
    ----------
    intervals
        Of any chromosomes, in any order.
    bin_size
        Width of a bin in bp.
    """

    def __init__(self, intervals: Iterable[Interval], bin_size: int) -> None:
        by_chromosome: dict[str, list[Interval]] = {}
        for interval in intervals:
            by_chromosome.setdefault(interval.chrom, []).append(interval)
        self._runs = {
            chrom: _as_runs(own, chrom, bin_size, joined=True) for chrom, own in by_chromosome.items()
        }
        self._starts = {
            chrom: np.sort([i.start // bin_size for i in own]) for chrom, own in by_chromosome.items()
        }
        self._ends = {
            chrom: np.sort([-(-i.end // bin_size) for i in own]) for chrom, own in by_chromosome.items()
        }

    def mask(self, chrom: str, bins: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Which of a chromosome's bins (int64, ascending) overlap an interval: bool (len(bins),)."""
        runs = self._runs.get(chrom)
        if runs is None:
            return np.zeros(bins.size, dtype=bool)
        index = np.searchsorted(runs[:, 0], bins, side="right") - 1
        return (index >= 0) & (bins < runs.sum(axis=1)[index])

    def counts(self, chrom: str, bins: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """How many intervals each of a chromosome's bins (int64) overlaps: int64 (len(bins),)."""
        if chrom not in self._starts:
            return np.zeros(bins.size, dtype=np.int64)
        begun, over = (
            np.searchsorted(places[chrom], bins, side="right") for places in (self._starts, self._ends)
        )
        return begun - over


def _as_runs(intervals: list[Interval], chrom: str, bin_size: int, *, joined: bool) -> Runs:
    """Bins that the intervals of a chromosome overlap; intervals that share a bin (or touch: `joined`) are one run."""
    spans = sorted((i.start // bin_size, -(-i.end // bin_size)) for i in intervals if i.chrom == chrom)
    merged: list[list[int]] = []
    for first, end in spans:
        if merged and first < merged[-1][1] + joined:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([first, end])
    return np.array([[first, end - first] for first, end in merged], dtype=np.int64).reshape(-1, 2)


def _without(runs: Runs, holes: Runs) -> Runs:
    """Runs less the bins of the holes."""
    kept: list[tuple[int, int]] = []
    hole_ends = holes.sum(axis=1)
    for first, length in runs.tolist():
        cursor, end = first, first + length
        for hole_first, hole_length in holes[np.searchsorted(hole_ends, first, side="right") :].tolist():
            if hole_first >= end:
                break
            if hole_first > cursor:
                kept.append((cursor, hole_first - cursor))
            cursor = hole_first + hole_length
        if cursor < end:
            kept.append((cursor, end - cursor))
    return np.array(kept, dtype=np.int64).reshape(-1, 2)


def _cut(runs: Runs, max_bins: int) -> list[Runs]:
    """Divide runs into groups of about equal numbers of bins, at most `max_bins` each, cutting runs where needed."""
    total = int(runs[:, 1].sum())
    if total == 0:
        return []
    borders = [end for _, end in even_parts_of_at_most(total, max_bins)]
    pieces: list[Runs] = []
    current: list[tuple[int, int]] = []
    done = 0
    for first, length in runs.tolist():
        while length > 0:
            take = min(length, borders[len(pieces)] - done)
            current.append((first, take))
            first, length, done = first + take, length - take, done + take
            if done == borders[len(pieces)]:
                pieces.append(np.array(current, dtype=np.int64))
                current = []
    return pieces
