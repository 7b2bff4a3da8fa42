"""What the viewer shows at first: pairs that say how good the imputation is, where all of them have signal."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from predictd.errors import ConfigError, DataError, TableError
from predictd.io.remote import is_remote
from predictd.io.tables import Interval
from predictd.io.tracks.bigwig import BigWigReader
from predictd.io.tracks.genes import Gene
from predictd.io.tracks.genomes import Genome, built_in_blacklist
from predictd.pairs import Experiment
from predictd.wording import some

# Pairs that are drawn from the start.
SHOWN = 3
# In looking for signal: tracks that are read, at up to a third of a second each; width of a window in bp, and how many
# the longest chromosome has at least.
_READ = 12
_WINDOW = 10_000
_WINDOWS = 200
# Bases on either side of the strongest signal, and of a single position.
_VIEW = 25_000
_AROUND = 500
_PLACE = re.compile(r"(.+):([\d,]*\d[\d,]*)(?:-([\d,]*\d[\d,]*))?")
_EXAMPLE = "chr1:1,000-2,000 (counted from 1, both ends within, as browsers do)"

Places = Mapping[Experiment, Mapping[str, str]]


def first_pairs(places: Places) -> list[Experiment]:
    """Pairs to draw at first, from the files of each by kind: imputed ones whose observed signal is there to compare.

    Where none was observed, each is followed by an observed track of the same assay, else of the same cell type.
    """
    both = [pair for pair in sorted(places) if {"imputed", "observed"} <= places[pair].keys()]
    observed = [pair for pair in sorted(places) if "observed" in places[pair]]
    if both or not observed:
        return (both or sorted(places))[:SHOWN]
    chosen: list[Experiment] = []
    for pair in [pair for pair in sorted(places) if "imputed" in places[pair]][: SHOWN - 1]:
        near = [other for other in observed if other.assay == pair.assay]
        near += [other for other in observed if other.cell_type == pair.cell_type]
        chosen += [pair, *near[:1]]
    return list(dict.fromkeys(chosen))


def chosen_pairs(text: str, places: Places, source: Path) -> list[Experiment]:
    """The pairs of `CELL:ASSAY,…`; raises DataError where one is not there."""
    chosen = list(dict.fromkeys(Experiment.parse(part.strip()) for part in text.split(",") if part.strip()))
    for pair in chosen:
        if pair not in places:
            raise DataError(f"`pairs` {pair}: {source} has no such track, e.g. {min(places)}")
    return chosen or first_pairs(places)


def locus_of(text: str, chromosomes: Mapping[str, int], genes: Iterable[Gene]) -> str:
    """A place as igv.js takes it, of a place or the name of a gene.

    Raises
    ------
    ConfigError
        If it is none that is on the tracks' chromosomes.
    """
    text = text.strip()
    if text in chromosomes:
        return text
    found = _PLACE.fullmatch(text)
    chrom = found[1] if found else text
    if chrom not in chromosomes:
        genes = list(genes)
        named = [gene for gene in genes if gene.name.casefold() == text.casefold()]
        if named:
            gene = max(named, key=lambda one: (one.name == text, one.end - one.start))
            around = max(_AROUND, (gene.end - gene.start) // 2)
            first, last = gene.start + 1 - around, gene.end + around
            return f"{gene.chrom}:{max(1, first)}-{min(chromosomes[gene.chrom], last)}"
        other = next(
            (name for name in chromosomes if name.removeprefix("chr") == chrom.removeprefix("chr")), ""
        )
        none = f", and no gene '{text}' is known" if genes and not found else ""
        raise ConfigError(
            f"`locus` {text}: the tracks have no chromosome '{chrom}'"
            + (
                f", but '{other}'"
                if other
                else f", only {some(chromosomes)}{none}; write a place, as {_EXAMPLE}"
            )
        )
    if found is None:
        raise ConfigError(f"`locus` {text} is not a place: write {_EXAMPLE}")
    start, end = (int(number.replace(",", "")) for number in (found[2], found[3] or found[2]))
    if not 1 <= start <= end <= chromosomes[chrom]:
        raise ConfigError(f"`locus` {text} is not within {chrom}:1-{chromosomes[chrom]}: write {_EXAMPLE}")
    if found[3] is None:
        start, end = max(1, start - _AROUND), min(chromosomes[chrom], end + _AROUND)
    return f"{chrom}:{start}-{end}"


def strongest(paths: Sequence[str], chromosomes: Mapping[str, int], genome: Genome | None) -> str:
    """A place where the signal of all tracks, or of as many as possible of the first twelve, is strong.

    Strong is what few windows of the track exceed. Regions of the genome's blacklist are left out, where it is known.
    In object stores, only the first chromosome that all tracks have is looked at.
    """
    readers = [BigWigReader(path) for path in paths[:_READ]]
    try:
        avoided = built_in_blacklist(genome) if genome is not None else []
    except TableError:
        avoided = []
    size = max(1, min(_WINDOW, max(chromosomes.values()) // _WINDOWS))
    windows: list[tuple[str, int]] = []
    parts = []
    try:
        for chrom, length in chromosomes.items():
            n = length // size
            mine = [reader if chrom in reader.chromosomes else None for reader in readers]
            if not n or not any(mine):
                continue
            means = np.full((len(readers), n), np.nan)
            for row, reader in zip(means, mine, strict=True):
                if reader is not None:
                    row[:] = reader.rough_means(chrom, n, bin_size=size)
            means[:, _inside(avoided, chrom, size, n)] = np.nan
            parts.append(means)
            windows.append((chrom, n))
            if any(map(is_remote, paths)) and not np.isnan(means).all(axis=1).any():
                break
    finally:
        for reader in readers:
            reader.close()
    if not parts:
        return next(iter(chromosomes))
    best = int(_shared_strength(np.hstack(parts)).argmax())
    ends = np.cumsum([n for _, n in windows])
    chrom, n = windows[int(np.searchsorted(ends, best, side="right"))]
    middle = (best - int(ends[windows.index((chrom, n))]) + n) * size + size // 2
    half = max(size, _VIEW)
    return f"{chrom}:{max(1, middle - half)}-{min(chromosomes[chrom], middle + half)}"


def _shared_strength(means: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """How strong signal is in a window in as many tracks as possible, from the means (tracks × windows)."""
    ranks = np.zeros_like(means)
    for rank, values in zip(ranks, means, strict=True):
        covered = np.sort(values[~np.isnan(values)])
        rank[:] = np.searchsorted(covered, np.nan_to_num(values, nan=-np.inf)) / max(1, covered.size)
    # The number of tracks that have signal at all decides, then the weakest of these, the mean, and what is covered.
    with_signal = np.where(ranks > 0, ranks, 1)
    return (
        (ranks > 0).sum(axis=0)
        + with_signal.min(axis=0)
        + ranks.mean(axis=0) / 1e3
        + (~np.isnan(means)).mean(axis=0) / 1e6
    )


def _inside(intervals: Collection[Interval], chrom: str, size: int, n: int) -> npt.NDArray[np.bool_]:
    """Which of the first n windows of a chromosome overlap intervals."""
    inside = np.zeros(n, dtype=bool)
    for interval in intervals:
        if interval.chrom == chrom:
            inside[interval.start // size : -(-interval.end // size)] = True
    return inside
