"""Files of genes as they are downloaded: BED, GTF, GFF3 and the tables of UCSC, recognised by what is in them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from predictd.errors import TableError
from predictd.io.tables import UNREADABLE_TEXT, open_text, read_bed_lines, reason

Stretch = tuple[int, int]
_GFF_ATTRIBUTE = re.compile(r"(?:^|;)\s*(ID|Parent|Name|gene_name|gene)=([^;]*)")
# Columns of a GTF or GFF3 file before its attributes.
_BEFORE = 8
_PARTS = ("exon", "CDS")
_STRANDS = ("+", "-", ".", "?")


class Transcript(NamedTuple):
    """A line or some lines of a file of genes; in bp, 0-based, half-open.

    Attributes
    ----------
    gene
        Identifier of its gene, or the gene's name.
    name
        The gene's name; empty where there is none.
    chrom, start, end, strand
        Where.
    exons
        By their starts; none where they are not known.
    coding
        From start codon to stop codon; None: none.
    identified
        Whether the file itself says which transcripts are a gene.
    """

    gene: str
    name: str
    chrom: str
    start: int
    end: int
    strand: str
    exons: tuple[Stretch, ...] = ()
    coding: Stretch | None = None
    identified: bool = False


def read_transcripts(path: Path, chrom: str | None = None) -> list[Transcript]:
    """The transcripts of a file of genes, in its order.

    Parameters
    ----------
    path
        BED with three to twelve columns, GTF, GFF3, or a table of UCSC (genePred: refGene, ncbiRefSeq, knownGene,
        refFlat, with or without its column of bins); .gz allowed.
    chrom
        Only those on this chromosome; None: all.

    Raises
    ------
    TableError
        If it cannot be read, or is not one of these.
    """
    try:
        with open_text(path) as file:
            lines = ((number, line.rstrip("\r\n")) for number, line in enumerate(file, start=1))
            first = next(((n, line) for n, line in lines if line.strip() and not _is_remark(line)), None)
            if first is None:
                raise TableError(f"{path} lists no genes: it needs a line for each")
            read = _reader(first[1])
            if read is not None:
                return list(read(path, chain([first], lines), chrom))
    except UNREADABLE_TEXT as err:
        raise TableError(f"cannot read {path}: {reason(err)}") from err
    return list(_bed(path, chrom))


def _is_remark(line: str) -> bool:
    return line.startswith("#") or line.split(None, 1)[0] in ("track", "browser")


_Lines = Iterator[tuple[int, str]]
_Reader = Callable[[Path, _Lines, str | None], Iterator[Transcript]]


def _reader(line: str) -> _Reader | None:
    """What reads a file with such a line; None: BED."""
    fields = line.split("\t")
    if len(fields) > _BEFORE and fields[3].isdecimal() and fields[4].isdecimal() and fields[6] in _STRANDS:
        return _gff if re.match(r"\s*[\w-]+=", fields[_BEFORE]) else _gtf
    return _gene_pred if _strand_column(fields) is not None else None


def _strand_column(fields: list[str]) -> int | None:
    """Where a table of genePred has the strand, before three pairs of numbers; None: it is none."""
    for column in (2, 3):
        numbers = fields[column + 1 : column + 6]
        if len(fields) > column + 7 and fields[column] in ("+", "-") and all(map(str.isdecimal, numbers)):
            return column
    return None


def _bed(path: Path, chrom: str | None) -> Iterator[Transcript]:
    for interval, more in read_bed_lines(path):
        if chrom is not None and interval.chrom != chrom:
            continue
        name, strand = more[0] if more else "", more[2] if len(more) > 2 else ""
        exons: tuple[Stretch, ...] = ()
        coding = None
        if len(more) > 8:
            try:
                sizes, starts = (_numbers(text) for text in more[7:9])
                exons = tuple(
                    (interval.start + start, interval.start + start + size)
                    for start, size in zip(starts, sizes, strict=True)
                )
                coding = _coding(int(more[3]), int(more[4]))
            except ValueError as err:
                raise TableError(
                    f"{path}: {interval.chrom}:{interval.start}-{interval.end}: columns 7 to 12 are not blocks of BED; "
                    "correct them, or leave them out"
                ) from err
        yield Transcript(name, name, interval.chrom, interval.start, interval.end, strand, exons, coding)


def _gene_pred(path: Path, lines: _Lines, chrom: str | None) -> Iterator[Transcript]:
    for number, line in lines:
        if not line or line.startswith("#"):
            continue
        fields = line.split("\t")
        strand = _strand_column(fields)
        try:
            if strand is None:
                raise ValueError("no strand")
            start, end, first, last = (int(text) for text in fields[strand + 1 : strand + 5])
            exons = tuple(zip(_numbers(fields[strand + 6]), _numbers(fields[strand + 7]), strict=True))
        except ValueError as err:
            raise TableError(
                f"{path}, line {number}: expected a transcript as UCSC's tables have them (strand, start, end, exons)"
            ) from err
        # refFlat has the gene's name before, refGene and the like behind the exons; others name the transcript alone.
        name = fields[strand - 2]
        if strand == 3 and not fields[0].isdecimal():
            name = fields[0]
        elif len(fields) >= strand + 13:
            name = fields[strand + 9]
        if chrom is None or fields[strand - 1] == chrom:
            yield Transcript(
                name, name, fields[strand - 1], start, end, fields[strand], exons, _coding(first, last)
            )


@dataclass
class _Entry:
    """What the lines of a GTF or GFF3 file say of a gene."""

    chrom: str
    start: int
    end: int
    strand: str
    name: str = ""
    exons: defaultdict[str, list[Stretch]] = field(default_factory=lambda: defaultdict(list))
    coding: defaultdict[str, list[Stretch]] = field(default_factory=lambda: defaultdict(list))

    def add(self, kind: str, transcript: str, place: Stretch) -> None:
        self.start, self.end = min(self.start, place[0]), max(self.end, place[1])
        if kind in _PARTS:
            (self.exons if kind == "exon" else self.coding)[transcript].append(place)

    def transcripts(self, gene: str) -> Iterator[Transcript]:
        for one in dict.fromkeys((*self.exons, *self.coding)) or [""]:
            # Files of bacteria have coding sequences alone.
            exons = tuple(sorted(self.exons.get(one) or self.coding.get(one) or ()))
            ends = [edge for stretch in self.coding.get(one, ()) for edge in stretch]
            yield Transcript(
                gene,
                self.name or gene.removeprefix("gene:"),
                self.chrom,
                self.start,
                self.end,
                self.strand,
                exons,
                (min(ends), max(ends)) if ends else None,
                True,
            )


def _gtf(path: Path, lines: _Lines, chrom: str | None) -> Iterator[Transcript]:
    genes: dict[tuple[str, str], _Entry] = {}
    for kind, fields, place in _features(path, lines, chrom):
        if kind not in ("gene", "transcript", *_PARTS):
            continue
        attributes = fields[_BEFORE]
        gene = _attribute(attributes, "gene_id") or _attribute(attributes, "gene_name")
        # The same identifier is on X and on Y in older files.
        entry = genes.get((fields[0], gene))
        if entry is None:
            name = _attribute(attributes, "gene_name") or _attribute(attributes, "gene")
            entry = genes[fields[0], gene] = _Entry(fields[0], *place, fields[6], name)
        entry.add(kind, _attribute(attributes, "transcript_id"), place)
    for (_, gene), entry in genes.items():
        yield from entry.transcripts(gene)


def _gff(path: Path, lines: _Lines, chrom: str | None) -> Iterator[Transcript]:
    genes: dict[str, _Entry] = {}
    parents: dict[str, str] = {}
    # What comes before the lines of its transcript and gene.
    early: list[tuple[str, str, str, str, Stretch]] = []

    def add(kind: str, parent: str, chrom: str, strand: str, place: Stretch) -> None:
        gene = parents.get(parent, parent)
        if gene not in genes:
            genes[gene] = _Entry(chrom, *place, strand)
        genes[gene].add(kind, parent, place)

    for kind, fields, place in _features(path, lines, chrom):
        attributes = dict(_GFF_ATTRIBUTE.findall(fields[_BEFORE]))
        own, above = attributes.get("ID", ""), attributes.get("Parent", "")
        if kind in _PARTS:
            for parent in filter(None, above.split(",")):
                part = (kind, parent, fields[0], fields[6], place)
                if parents.get(parent) in genes:
                    add(*part)
                else:
                    early.append(part)
        elif above:
            parents[own] = above.split(",")[0]
        elif kind.endswith("gene") and own:
            name = unquote(
                attributes.get("gene_name") or attributes.get("Name") or attributes.get("gene", "")
            )
            genes[own] = _Entry(fields[0], *place, fields[6], name)
    for part in early:
        add(*part)
    for gene, entry in genes.items():
        yield from entry.transcripts(gene)


def _features(path: Path, lines: _Lines, chrom: str | None) -> Iterator[tuple[str, list[str], Stretch]]:
    """Kind, fields and place of the lines of a GTF or GFF3 file, which count from 1 with both ends within."""
    for number, line in lines:
        if line.startswith("##FASTA"):
            return
        fields = line.split("\t")
        if not line or line[0] == "#" or (chrom is not None and fields[0] != chrom):
            continue
        if len(fields) <= _BEFORE or not (fields[3].isdecimal() and fields[4].isdecimal()):
            raise TableError(f"{path}, line {number}: expected a start and an end")
        yield fields[2], fields, (int(fields[3]) - 1, int(fields[4]))


def _attribute(attributes: str, name: str) -> str:
    """An attribute of a line of GTF; files have millions of lines."""
    return attributes.partition(f'{name} "')[2].partition('"')[0]


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",") if number]


def _coding(first: int, last: int) -> Stretch | None:
    return (first, last) if first < last else None
