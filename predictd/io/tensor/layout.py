"""How a genome is cut into bins, runs and shards.

A bin is `bin_size` bp, 0-based half-open, aligned to multiples of it; the last one of a chromosome may be shorter.
Where a tensor was made from a matrix, its bins are the regions of the matrix instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from predictd.constants import MAX_SHARD_VALUES
from predictd.errors import DataError
from predictd.io.tables import Interval
from predictd.io.tracks.genomes import Genome
from predictd.wording import even_parts_of_at_most

Runs = npt.NDArray[np.int64]
Spans = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Places:
    """Where rows of a tensor lie on a chromosome: bins of one size, or regions that have a start and an end each.

    Attributes
    ----------
    chrom, length
        Chromosome, and its length in bp.
    bin_size
        Width of a bin in bp; None: rows are regions.
    runs
        int64 (k × 2): first bin and length of each run, ascending. A region is a run of its own: its number among the
        regions of the chromosome, and 1.
    regions
        int64 (n × 2): start and end of each region in bp; None where rows are bins.
    """

    chrom: str
    length: int
    bin_size: int | None
    runs: Runs
    regions: Spans | None = None

    def bins(self) -> npt.NDArray[np.int64]:
        """Bin of every row, or number of every region: int64 (n,)."""
        return np.concatenate([np.arange(first, first + length) for first, length in self.runs.tolist()])

    def spans(self) -> Spans:
        """Start and end of every row in bp, 0-based half-open: int64 (n × 2)."""
        if self.bin_size is None:
            assert self.regions is not None
            return self.regions
        starts = self.bins() * self.bin_size
        return np.column_stack([starts, np.minimum(starts + self.bin_size, self.length)])

    def stretches(self, start: int, stop: int) -> Iterator[tuple[int, slice]]:
        """Consecutive bins among the rows [start, stop): (first bin, the rows they are, counted from `start`)."""
        ends = np.cumsum(self.runs[:, 1])
        some = slice(np.searchsorted(ends, start, side="right"), np.searchsorted(ends, stop) + 1)
        for (first, length), end in zip(self.runs[some].tolist(), ends[some].tolist(), strict=True):
            low, high = max(start, end - length), min(stop, end)
            if low < high:
                yield first + low - (end - length), slice(low - start, high - start)

    def take(self, rows: npt.NDArray[np.int64] | slice) -> Places:
        """The same of some rows, ascending."""
        regions = None if self.regions is None else self.regions[rows]
        return replace(self, runs=_runs_of(self.bins()[rows], joined=regions is None), regions=regions)


def _runs_of(bins: npt.NDArray[np.int64], *, joined: bool) -> Runs:
    """Ascending bins as runs; neighbours are one run where they are `joined`."""
    if not joined:
        return np.column_stack([bins, np.ones_like(bins)])
    starts = np.flatnonzero(np.diff(bins, prepend=-2) > 1)
    return np.column_stack([bins[starts], np.diff(starts, append=bins.size)])


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
        int64 (k × 2): first bin and length of each run, ascending, disjoint; see `Places`.
    regions
        int64 (n × 2): start and end in bp of each region; None where rows are bins.
    """

    name: str
    chrom: str
    runs: Runs
    regions: Spans | None = None

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


def plan_regions(genome: Genome, regions: Sequence[Interval], *, max_bins: int) -> list[ShardPlan]:
    """Cut regions into shards of at most `max_bins` regions.

    Parameters
    ----------
    genome
        Names and order of the chromosomes.
    regions
        In the order of the genome, disjoint.
    max_bins
        Most regions of a shard; a chromosome's shards are of about equal size.
    """
    by_chromosome: dict[str, list[tuple[int, int]]] = {chrom: [] for chrom in genome.chromosomes}
    for region in regions:
        by_chromosome[region.chrom].append((region.start, region.end))
    plans = []
    for chrom, own in by_chromosome.items():
        spans = np.array(own, dtype=np.int64).reshape(-1, 2)
        parts = even_parts_of_at_most(len(own), max_bins) if own else []
        for index, (low, high) in enumerate(parts):
            runs = _runs_of(np.arange(low, high), joined=False)
            plans.append(ShardPlan(f"{chrom}.{index:04d}", chrom, runs, spans[low:high]))
    return plans


class Coverage:
    """Which places overlap some intervals, to be asked shard by shard.

    Parameters
    ----------
    intervals
        Of any chromosomes, in any order.
    """

    def __init__(self, intervals: Iterable[Interval]) -> None:
        by_chromosome: dict[str, list[Interval]] = {}
        for interval in intervals:
            by_chromosome.setdefault(interval.chrom, []).append(interval)
        self._starts = {chrom: np.sort([i.start for i in own]) for chrom, own in by_chromosome.items()}
        self._ends = {chrom: np.sort([i.end for i in own]) for chrom, own in by_chromosome.items()}

    def mask(self, chrom: str, spans: Spans) -> npt.NDArray[np.bool_]:
        """Which places of a chromosome (int64, n × 2: start and end) overlap an interval: bool (n,)."""
        return self.counts(chrom, spans) > 0

    def counts(self, chrom: str, spans: Spans) -> npt.NDArray[np.int64]:
        """How many intervals each of a chromosome's places (int64, n × 2) overlaps: int64 (n,)."""
        if chrom not in self._starts:
            return np.zeros(len(spans), dtype=np.int64)
        begun = np.searchsorted(self._starts[chrom], spans[:, 1], side="left")
        over = np.searchsorted(self._ends[chrom], spans[:, 0], side="right")
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
