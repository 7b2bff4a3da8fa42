"""Genes of a region, of BED and GTF files, to be drawn."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from predictd.errors import TableError
from predictd.io.tables import UNREADABLE_TEXT, Interval, open_text, read_bed_lines, reason

_GTF_SUFFIXES = (".gtf", ".gtf.gz")
_NAME = re.compile(r'gene_name "([^"]+)"')
_IDENTIFIER = re.compile(r'gene_id "([^"]+)"')


class Gene(NamedTuple):
    """A gene: its name, its place in bp (0-based, half-open), and its strand: `+`, `-`, or another text for none."""

    name: str
    start: int
    end: int
    strand: str


def read_genes(path: Path, place: Interval) -> list[Gene]:
    """The genes of a file that overlap a place, by their starts.

    Parameters
    ----------
    path
        GTF, by its suffix (.gz allowed): its lines of genes. Or BED, with the name in the fourth column and the strand
        in the sixth, as far as it has them.
    place
        Where.

    Raises
    ------
    TableError
        If it cannot be read.
    """
    if path.name.endswith(_GTF_SUFFIXES):
        found = _gtf(path, place)
    else:
        found = [
            Gene(more[0] if more else "", interval.start, interval.end, more[2] if len(more) > 2 else "")
            for interval, more in read_bed_lines(path)
            if interval.chrom == place.chrom and interval.start < place.end and interval.end > place.start
        ]
    return sorted(found, key=lambda gene: (gene.start, gene.end, gene.name))


def _gtf(path: Path, place: Interval) -> list[Gene]:
    genes = []
    try:
        with open_text(path) as file:
            for number, line in enumerate(file, start=1):
                fields = line.rstrip("\n").split("\t")
                if line.startswith("#") or len(fields) < 9 or fields[2] != "gene" or fields[0] != place.chrom:
                    continue
                if not (fields[3].isdecimal() and fields[4].isdecimal()):
                    raise TableError(f"{path}, line {number}: expected a start and an end")
                # GTF counts from 1, and its ends are inside.
                start, end = int(fields[3]) - 1, int(fields[4])
                if start < place.end and end > place.start:
                    name = _NAME.search(fields[8]) or _IDENTIFIER.search(fields[8])
                    genes.append(Gene(name[1] if name else "", start, end, fields[6]))
    except UNREADABLE_TEXT as err:
        raise TableError(f"cannot read {path}: {reason(err)}") from err
    return genes
