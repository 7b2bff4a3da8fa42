"""What matrices of signal call their regions and experiments."""

from __future__ import annotations

import re
from collections.abc import Sequence
from operator import index
from pathlib import Path
from typing import Any, get_args

import numpy as np

from predictd.errors import TableError
from predictd.io.tables import Interval, Transform, read_named_bed
from predictd.pairs import Experiment, check_name
from predictd.wording import some

_PLACES = (("chrom", "chr", "chromosome", "seqnames"), ("start", "chromstart"), ("end", "chromend", "stop"))
# chr1:1,000-2,000, chr1-1000-2000 and chr1_1000_2000.
_REGION = re.compile(r"(.+):([\d,]+)-([\d,]+)|([^:]+)[_-](\d+)[_-](\d+)")


def regions_of(
    source: str, rows: list[str], n_rows: int, intervals: list[Interval] | None, bins: Path | None
) -> list[Interval]:
    """The regions of the rows: of columns of their own, of the rows' names, or of a BED file (see `read_matrix`)."""
    if intervals is not None:
        if bins is not None:
            raise TableError(
                f"{source} has columns that say where its regions are: leave them out, or `bins`"
            )
        return intervals
    # As tables have them that were written without names of rows.
    numbered = rows == [str(number) for number in range(n_rows)]
    if bins is None:
        if not rows or numbered:
            raise TableError(f"{source} does not say where its regions are: give a BED file of them (`bins`)")
        return [_named(source, name) for name in rows]
    listed = read_named_bed(bins)
    if not rows or (numbered and not set(rows) <= {name for _, name in listed}):
        if len(listed) != n_rows:
            raise TableError(
                f"{source} has {n_rows:,} rows, {bins} {len(listed):,} regions; they have to be the same"
            )
        return [interval for interval, _ in listed]
    by_name: dict[str, Interval] = {}
    for interval, name in listed:
        if by_name.setdefault(name, interval) != interval:
            raise TableError(
                f"{bins} has two regions of the name {name}; keep one, or give each its own name"
            )
    unknown = [name for name in rows if name not in by_name]
    if unknown:
        raise TableError(
            f"{len(unknown):,} of the {n_rows:,} rows of {source} are not named in the fourth column of {bins}: "
            f"{some(unknown)}"
        )
    return [by_name[name] for name in rows]


def _named(source: str, name: str) -> Interval:
    found = _REGION.fullmatch(name)
    if found is None:
        raise TableError(
            f"{source}: '{name}' is not a region: name rows as chr1:1000-2000, or give a BED file of them (`bins`)"
        )
    chrom, start, end = (part for part in found.groups() if part is not None)
    return interval_of(source, chrom, start.replace(",", ""), end.replace(",", ""))


def interval_of(where: str, chrom: Any, start: Any, end: Any) -> Interval:
    """A region of its columns, which may be text."""
    try:
        interval = Interval(str(chrom), _position(start), _position(end))
    except (ValueError, TypeError) as err:
        problem = f"{where}: {chrom}:{start}-{end} is not a region: start and end are whole numbers"
        raise TableError(problem) from err
    if not 0 <= interval.start < interval.end:
        raise TableError(f"{where}: {chrom}:{start}-{end} is empty: its start has to be less than its end")
    return interval


def _position(value: Any) -> int:
    """A whole number, also as text or as a float; ValueError or TypeError for anything else."""
    if isinstance(value, str):
        if not value.isdecimal():
            raise ValueError(value)
        return int(value)
    if isinstance(value, (float, np.floating)):
        if not value.is_integer():
            raise ValueError(value)
        return int(value)
    return index(value)


def experiment_of(source: str, name: str) -> Experiment:
    """The experiment that a column is named by."""
    if not is_pair(name):
        raise TableError(
            f"{source}: '{name}' names no experiment: call columns CELL:ASSAY, and leave others out"
        )
    pair = Experiment.parse(name)
    for text, what in zip(pair, ("cell type", "assay"), strict=True):
        check_name(text, what=what, where=source)
    return pair


def is_pair(name: str) -> bool:
    """Whether a name is CELL:ASSAY, and no region."""
    cell_type, colon, assay = name.partition(":")
    return bool(cell_type and colon and assay) and ":" not in assay and not _REGION.fullmatch(name)


def place_columns(names: Sequence[str]) -> list[int]:
    """The columns that hold chromosome, start and end; none where not all three are there."""
    lower = [name.casefold() for name in names]
    found = [next((lower.index(name) for name in known if name in lower), None) for known in _PLACES]
    return [place for place in found if place is not None] if None not in found else []


def pairs_of(axis: Any) -> list[str]:
    """Experiments as obs or var of AnnData name them; none where it does not."""
    if {"cell_type", "assay"} <= set(axis.columns):
        if axis[["cell_type", "assay"]].isna().to_numpy().any():
            raise TableError(
                "a cell type or an assay is missing in the columns cell_type and assay: name all"
            )
        return [f"{cell}:{assay}" for cell, assay in zip(axis["cell_type"], axis["assay"], strict=True)]
    names = [str(name) for name in axis.index]
    return names if names and all(map(is_pair, names)) else []


def joined(name: Any) -> str:
    """A name of a row or column; of several levels as CELL:ASSAY, or chr1:1000-2000."""
    if not isinstance(name, tuple):
        return str(name)
    return f"{name[0]}:{name[1]}-{name[2]}" if len(name) == 3 else ":".join(map(str, name))


def transforms_of(
    source: str, experiments: Sequence[Experiment], names: Sequence[Any]
) -> dict[str, Transform]:
    """Transforms by assay, of one for each experiment."""
    found: dict[str, Transform] = {}
    for pair, name in zip(experiments, names, strict=True):
        if name not in get_args(Transform):
            raise TableError(
                f"{source}: unknown transform '{name}' of {pair}: use {', '.join(get_args(Transform))}"
            )
        if found.setdefault(pair.assay, name) != name:
            raise TableError(
                f"{source}: assay {pair.assay} has transform {name} and {found[pair.assay]}; give all its experiments "
                "the same"
            )
    return found
