"""Genomes: chromosome names and lengths, and the blacklists that come with predictd."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import as_file, files
from operator import index
from pathlib import Path

from predictd.errors import ConfigError, TableError, TrackError
from predictd.io.files import exists
from predictd.io.remote import as_path
from predictd.io.tables import UNREADABLE_TEXT, Interval, check_tabs, open_text, read_bed, reason
from predictd.wording import some

_INTERVAL = re.compile(r"(.+):([\d,]+)-([\d,]+)")
_DATA = files("predictd") / "data"
# Other names of assemblies, in lower case, by UCSC's.
_ASSEMBLIES = {
    "hg38": {"grch38", "grch38-minimal"},
    "hg19": {"grch37", "b37", "hs37d5"},
    "mm39": {"grcm39"},
    "mm10": {"grcm38", "mm10-minimal"},
    "mm9": {"ncbi37", "mgscv37"},
    "dm6": {"bdgp6", "dmel_r6"},
    "dm3": {"bdgp5"},
    "ce11": {"wbcel235"},
    "ce10": {"ws220"},
}
_PATCH = re.compile(r"\.p?\d+$")
_SMALL = 0.005
_LONGEST = 2**31 - 1
BUILT_IN = tuple(
    sorted(
        item.name.removesuffix(".chrom.sizes")
        for item in _DATA.iterdir()
        if item.name.endswith(".chrom.sizes")
    )
)


@dataclass(frozen=True)
class Genome:
    """A genome's name and its chromosomes.

    Attributes
    ----------
    name
        Assembly, e.g. hg19, or the stem of a chromosome-sizes file.
    chromosomes
        Lengths in bp by name, in the order that shards and imputed tracks follow.
    """

    name: str
    chromosomes: dict[str, int]

    def check_intervals(self, intervals: list[Interval], source: Path | str) -> None:
        """Raise TableError unless every interval lies on this genome."""
        for interval in intervals:
            length = self.chromosomes.get(interval.chrom)
            if length is None or interval.end > length:
                if length is not None:
                    what = f"gives it {length:,} bp"
                else:
                    other = self.other_name(interval.chrom)
                    what = "has no such chromosome" + (f", but '{other}'" if other else "")
                raise TableError(
                    f"{source}: {interval.chrom}:{interval.start}-{interval.end} does not fit {self.name}, which "
                    f"{what}; is it of another genome?"
                )

    def fitting(
        self, path: str, chromosomes: Mapping[str, int], read: Collection[str] | None = None
    ) -> dict[str, int]:
        """Those of a track's chromosomes that are this genome's.

        Others are surplus: contigs that the genome does not have (chrEBV, decoys), and small ones of another length
        (chrM of hg19 has two).

        Parameters
        ----------
        path
            The track, for messages.
        chromosomes
            Lengths in bp by name.
        read
            Which of the genome's chromosomes are read, and have to be the same; None: all.

        Raises
        ------
        TrackError
            If one that is not small has another length, or what fits is less than half of the track and of the genome.
        """
        same = {chrom: n for chrom, n in chromosomes.items() if self.chromosomes.get(chrom) == n}
        for chrom, n in chromosomes.items():
            expected = self.chromosomes.get(chrom, 0)
            if expected and expected != n and (read is None or chrom in read):
                if self.is_small(max(expected, n)):
                    continue
                raise TrackError(
                    f"{path}: {self.name} gives {chrom} {expected:,} bp, not {n:,}; is the track of another genome?"
                )
        whole = min(sum(self.chromosomes.values()), sum(chromosomes.values()))
        if 2 * sum(same.values()) < whole:
            raise TrackError(f"{path}: {self.strange(chromosomes)}")
        return same

    def is_small(self, length: int) -> bool:
        """Whether a contig is no chromosome of its own: under 0.5 % of the genome, as chrM is."""
        return length < _SMALL * self._n_bases

    @cached_property
    def _n_bases(self) -> int:
        return sum(self.chromosomes.values())

    def other_name(self, name: str) -> str | None:
        """A chromosome of the genome whose name differs by `chr` alone."""
        other = name.removeprefix("chr") if name.startswith("chr") else f"chr{name}"
        return other if other in self.chromosomes else None

    def strange(self, names: Iterable[str]) -> str:
        """What is wrong with a track of such chromosomes: the first that the genome lacks, and whether `chr` is why."""
        lacking = [name for name in names if name not in self.chromosomes]
        if not lacking:
            return (
                f"most of its chromosomes have another length in {self.name}; is the track of another genome?"
            )
        problem = f"{self.name} has no chromosome '{lacking[0]}'"
        for name in lacking:
            if other := self.other_name(name):
                return f"{problem}, but '{other}': give the track the genome's names, with or without chr"
        return f"{problem}; is the track of another genome?"


def load_genome(name: str) -> Genome:
    """A built-in genome by one of its names (hg38 is GRCh38), or another by the path of its chromosome-sizes file.

    Raises
    ------
    TableError
        If the name is neither, or the file is not two columns of names and lengths.
    """
    path = as_path(name)
    known = name if name in BUILT_IN else canonical(name)
    if name in BUILT_IN or (known in BUILT_IN and not exists(path)):
        with as_file(_DATA / f"{known}.chrom.sizes") as sizes:
            return Genome(str(known), _read_sizes(sizes))
    if not exists(path):
        raise TableError(
            f"unknown genome '{name}': use {', '.join(BUILT_IN)}, or the path of a file with a chromosome's name and "
            "length on each line"
        )
    return Genome(path.name.split(".")[0], _read_sizes(path))


def canonical(assembly: str) -> str | None:
    """UCSC's name of an assembly, by any of its names, with or without the number of a patch; None: not known."""
    name = _PATCH.sub("", assembly.lower())
    return next((ucsc for ucsc, others in _ASSEMBLIES.items() if name in (ucsc.lower(), *others)), None)


def parse_interval(region: str | tuple[str, int, int], genome: Genome) -> Interval:
    """A region of a genome.

    Parameters
    ----------
    region
        `chr1:1,000-2,000`, 0-based and half-open; the name of a chromosome alone, for all of it; or (chromosome, start,
        end).
    genome
        On which it lies.

    Raises
    ------
    ConfigError
        If it is not one of these.
    TableError
        If it does not lie on the genome.
    """
    chrom, start, end = _parts_of(region, genome)
    if chrom not in genome.chromosomes:
        bare = chrom.casefold().removeprefix("chr")
        near = [name for name in genome.chromosomes if name.casefold().removeprefix("chr") == bare]
        hint = f"did you mean {near[0]}?" if near else f"it has {some(genome.chromosomes)}"
        raise TableError(f"`region` '{region}': {genome.name} has no chromosome '{chrom}'; {hint}")
    if not 0 <= start < end:
        raise ConfigError(f"`region` {chrom}:{start}-{end} is empty: its start has to be less than its end")
    interval = Interval(chrom, start, end)
    genome.check_intervals([interval], "`region`")
    return interval


def _parts_of(region: str | tuple[str, int, int], genome: Genome) -> tuple[str, int, int]:
    """Chromosome, start and end that a region names."""
    if isinstance(region, str):
        found = _INTERVAL.fullmatch(region.strip())
        if found is not None:
            start, end = (int(text.replace(",", "") or -1) for text in found.groups()[1:])
            return found[1], start, end
        if ":" not in region or region in genome.chromosomes:
            return region.strip(), 0, genome.chromosomes.get(region.strip(), 0)
    else:
        with suppress(TypeError, ValueError):
            chrom, first, last = region
            return str(chrom), index(first), index(last)
    raise ConfigError(
        f"`region` {region!r} is not an interval: write chr1:1,000-2,000 (0-based, half-open), chr1, or "
        "('chr1', 1000, 2000)"
    )


def built_in_blacklist(genome: Genome) -> list[Interval]:
    """The blacklist (Amemiya et al. 2019) that comes with predictd for a built-in genome.

    Raises
    ------
    TableError
        If there is none for this genome.
    """
    resource = _DATA / f"{genome.name}-blacklist.v2.bed.gz"
    # A file of chromosome sizes may have the name of a built-in genome and be another.
    known = load_genome(genome.name).chromosomes if genome.name in BUILT_IN and resource.is_file() else {}
    if not known or any(known.get(chrom) != length for chrom, length in genome.chromosomes.items()):
        raise TableError(
            f"no blacklist comes with predictd for genome '{genome.name}': name a BED file as `exclude`"
        )
    with as_file(resource) as path:
        return read_bed(path)


def _read_sizes(path: Path) -> dict[str, int]:
    sizes: dict[str, int] = {}
    try:
        with open_text(path) as file:
            lines = [line.replace('"', "").split() for line in file]
    except UNREADABLE_TEXT as err:
        raise TableError(f"cannot read {path}: {reason(err)}") from err
    for number, fields in enumerate(lines, start=1):
        if not fields or fields[0].startswith("#"):
            continue
        if len(fields) < 2 or fields[0][-1] in ",;":
            check_tabs(path, fields[0])
        if len(fields) < 2 or not fields[1].isdecimal() or int(fields[1]) == 0:
            raise TableError(f"{path}, line {number}: expected a chromosome's name and its length in bp")
        if int(fields[1]) > _LONGEST:
            raise TableError(
                f"{path}, line {number}: {fields[0]} has {int(fields[1]):,} bp, and files of signal take at most "
                f"{_LONGEST:,}; divide it into pieces, here and in the tracks"
            )
        if fields[0] in sizes:
            raise TableError(f"{path}, line {number}: {fields[0]} is there twice; keep one line")
        sizes[fields[0]] = int(fields[1])
    if not sizes:
        raise TableError(f"{path} names no chromosomes: it needs a line with name and length in bp for each")
    return sizes
