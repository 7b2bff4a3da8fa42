"""How a genome is cut into bins, runs and shards.

A bin is `bin_size` bp, 0-based half-open, aligned to multiples of it; the last one of a chromosome may be shorter.
Where a tensor was made from a matrix, its bins are the regions of the matrix instead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from predictd.constants import MAX_LONE_CONTIGS, MAX_SHARD_VALUES
from predictd.errors import DataError
from predictd.io.tables import Interval
from predictd.io.tracks.genomes import Genome
from predictd.wording import even_parts_of_at_most

# What names of files cannot have.
_IN_FILE_NAMES = str.maketrans({"/": "%2F", "\\": "%5C"})
Runs = npt.NDArray[np.int64]
Spans = npt.NDArray[np.int64]


class Contig(NamedTuple):
    """A chromosome, or another sequence of the genome.

    Attributes
    ----------
    chrom, length
        Name, and length in bp.
    runs
        int64 (k × 2): first bin and length of each run, ascending, disjoint. A region is a run of its own: its number
        among the regions of the chromosome, and 1.
    """

    chrom: str
    length: int
    runs: Runs

    @property
    def n_bins(self) -> int:
        """Number of bins in all of its runs."""
        return sum(self.runs[:, 1].tolist())


@dataclass(frozen=True)
class Places:
    """Where rows of a tensor lie: bins of one size, or regions that have a start and an end each.

    Attributes
    ----------
    contigs
        Whose rows follow each other, in the order of the genome; most places lie on one.
    bin_size
        Width of a bin in bp; None: rows are regions.
    regions
        int64 (n × 2): start and end of each region in bp; None where rows are bins.
    """

    contigs: tuple[Contig, ...]
    bin_size: int | None
    regions: Spans | None = None

    @classmethod
    def of(
        cls, chrom: str, length: int, bin_size: int | None, runs: Runs, regions: Spans | None = None
    ) -> Places:
        """Places on one chromosome."""
        return cls((Contig(chrom, length, runs),), bin_size, regions)

    @property
    def chroms(self) -> tuple[str, ...]:
        """Names of the chromosomes."""
        return tuple(contig.chrom for contig in self.contigs)

    @property
    def chrom(self) -> str:
        """The one chromosome; ValueError where there are several."""
        (contig,) = self.contigs
        return contig.chrom

    @property
    def length(self) -> int:
        """Length in bp of the one chromosome; ValueError where there are several."""
        (contig,) = self.contigs
        return contig.length

    @cached_property
    def runs(self) -> Runs:
        """First bin, on its chromosome, and length of each run: int64 (k × 2)."""
        return np.concatenate([np.zeros((0, 2), dtype=np.int64), *(contig.runs for contig in self.contigs)])

    @property
    def n_bins(self) -> int:
        """Number of rows."""
        return int(self.runs[:, 1].sum())

    def parts(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[slice, Places]]:
        """The rows of each chromosome, and where they lie; of those that have some of the rows [start, stop)."""
        end, stop = 0, self.n_bins if stop is None else stop
        for contig in self.contigs:
            begin, end = end, end + contig.n_bins
            if max(begin, start) < min(end, stop):
                regions = None if self.regions is None else self.regions[begin:end]
                yield slice(begin, end), Places((contig,), self.bin_size, regions)

    def names(self) -> npt.NDArray[np.str_]:
        """Chromosome of every row: str (n,)."""
        return np.repeat(self.chroms, [contig.n_bins for contig in self.contigs])

    def bins(self) -> npt.NDArray[np.int64]:
        """Bin of every row on its chromosome, or number of every region: int64 (n,)."""
        firsts, lengths = self.runs.T
        return np.repeat(firsts - np.cumsum(lengths) + lengths, lengths) + np.arange(self.n_bins)

    def spans(self) -> Spans:
        """Start and end of every row in bp, 0-based half-open: int64 (n × 2)."""
        if self.bin_size is None:
            assert self.regions is not None
            return self.regions
        starts = self.bins() * self.bin_size
        lengths = np.repeat(
            [contig.length for contig in self.contigs], [contig.n_bins for contig in self.contigs]
        )
        return np.column_stack([starts, np.minimum(starts + self.bin_size, lengths)])

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
        rows = np.arange(self.n_bins)[rows] if isinstance(rows, slice) else rows
        regions = None if self.regions is None else self.regions[rows]
        contigs = []
        for own, places in self.parts():
            low, high = np.searchsorted(rows, [own.start, own.stop])
            if low < high:
                runs = _runs_of(places.bins()[rows[low:high] - own.start], joined=regions is None)
                contigs.append(places.contigs[0]._replace(runs=runs))
        return Places(tuple(contigs), self.bin_size, regions)


def _runs_of(bins: npt.NDArray[np.int64], *, joined: bool) -> Runs:
    """Ascending bins as runs; neighbours are one run where they are `joined`."""
    if not joined:
        return np.column_stack([bins, np.ones_like(bins)])
    starts = np.flatnonzero(np.diff(bins, prepend=-2) > 1)
    return np.column_stack([bins[starts], np.diff(starts, append=bins.size)])


@dataclass(frozen=True)
class ShardPlan:
    """A shard to be made: its name, `CHROM.NNNN` by its first chromosome, unique in the tensor, and where it lies."""

    name: str
    places: Places


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
    kept, left_out = _by_chromosome(regions or []), _by_chromosome(exclude or [])
    contigs = []
    for chrom, length in genome.chromosomes.items():
        if chrom not in wanted:
            continue
        if regions is None:
            runs = np.array([[0, -(-length // bin_size)]], dtype=np.int64)
        else:
            runs = _as_runs(kept.get(chrom, []), bin_size, joined=False)
        if chrom in left_out:
            runs = _without(runs, _as_runs(left_out[chrom], bin_size, joined=True))
        contigs.append(Contig(chrom, length, runs))
    plans = _shards(contigs, bin_size, max_bins)
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
    sizes = Counter(region.chrom for region in regions)
    contigs = [
        Contig(chrom, length, _runs_of(np.arange(sizes[chrom]), joined=False))
        for chrom, length in genome.chromosomes.items()
    ]
    spans = np.array([(region.start, region.end) for region in regions], dtype=np.int64).reshape(-1, 2)
    return _shards(contigs, None, max_bins, spans)


def _shards(
    contigs: Iterable[Contig], bin_size: int | None, max_bins: int, regions: Spans | None = None
) -> list[ShardPlan]:
    """Contigs cut into shards of at most `max_bins`; where there are many, neighbours that fit in together share one.

    Each shard costs opening every track, and a file, so that thousands of short contigs would take minutes.
    """
    contigs = [contig for contig in contigs if contig.n_bins]
    shared = len(contigs) > MAX_LONE_CONTIGS
    groups: list[list[Contig]] = []
    room = 0
    for contig in contigs:
        if not shared or contig.n_bins > room:
            groups.append([])
            room = max_bins
        groups[-1].append(contig)
        room -= contig.n_bins
    plans, done = [], 0
    for group in groups:
        name = group[0].chrom.translate(_IN_FILE_NAMES)
        pieces = [tuple(group)] if len(group) > 1 else [(piece,) for piece in _cut(group[0], max_bins)]
        for index, piece in enumerate(pieces):
            n_bins = sum(contig.n_bins for contig in piece)
            own = None if regions is None else regions[done : done + n_bins]
            plans.append(ShardPlan(f"{name}.{index:04d}", Places(piece, bin_size, own)))
            done += n_bins
    return plans


class Coverage:
    """Which places overlap some intervals, to be asked shard by shard.

    Parameters
    ----------
    intervals
        Of any chromosomes, in any order.
    """

    def __init__(self, intervals: Iterable[Interval]) -> None:
        by_chromosome = _by_chromosome(intervals)
        self._starts = {chrom: np.sort([i.start for i in own]) for chrom, own in by_chromosome.items()}
        self._ends = {chrom: np.sort([i.end for i in own]) for chrom, own in by_chromosome.items()}

    def mask(self, places: Places) -> npt.NDArray[np.bool_]:
        """Which places overlap an interval: bool (n,)."""
        return self.counts(places) > 0

    def counts(self, places: Places) -> npt.NDArray[np.int64]:
        """How many intervals each of the places overlaps: int64 (n,)."""
        found = [self.counts_on(own.chrom, own.spans()) for _, own in places.parts()]
        return np.concatenate([np.zeros(0, dtype=np.int64), *found])

    def counts_on(self, chrom: str, spans: Spans) -> npt.NDArray[np.int64]:
        """How many intervals each of some stretches of a chromosome overlaps: (n × 2: start and end) → int64 (n,)."""
        if chrom not in self._starts:
            return np.zeros(len(spans), dtype=np.int64)
        begun = np.searchsorted(self._starts[chrom], spans[:, 1], side="left")
        over = np.searchsorted(self._ends[chrom], spans[:, 0], side="right")
        return begun - over


def _by_chromosome(intervals: Iterable[Interval]) -> dict[str, list[Interval]]:
    found: dict[str, list[Interval]] = {}
    for interval in intervals:
        found.setdefault(interval.chrom, []).append(interval)
    return found


def _as_runs(intervals: list[Interval], bin_size: int, *, joined: bool) -> Runs:
    """Bins that intervals of a chromosome overlap; intervals that share a bin (or touch: `joined`) are one run."""
    spans = sorted((i.start // bin_size, -(-i.end // bin_size)) for i in intervals)
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


def _cut(contig: Contig, max_bins: int) -> list[Contig]:
    """Divide runs into groups of about equal numbers of bins, at most `max_bins` each, cutting runs where needed."""
    runs = contig.runs
    ends = np.cumsum(runs[:, 1])
    begins = ends - runs[:, 1]
    pieces = []
    for low, high in even_parts_of_at_most(contig.n_bins, max_bins):
        own = slice(np.searchsorted(ends, low, side="right"), np.searchsorted(ends, high) + 1)
        start, stop = np.maximum(begins[own], low), np.minimum(ends[own], high)
        pieces.append(
            contig._replace(runs=np.column_stack([runs[own, 0] + start - begins[own], stop - start]))
        )
    return pieces
