"""Expression matrices and lists of genes: plain text, checked."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from predictd.errors import TableError
from predictd.io.results import write_rows
from predictd.io.tables import UNREADABLE_TEXT, check_tabs, open_text, reason
from predictd.matrix import Values, blocks, not_finite
from predictd.wording import some

log = logging.getLogger(__name__)

Orientation = Literal["rows", "columns"]
_MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|sept|oct|nov|dec"
# What spreadsheets make of names such as MARCH1 and SEPT2: 1-Mar, Sep-02, 2021-03-01, 3/1/2021.
_DATE = re.compile(
    rf"\d{{1,2}}[-/. ](?i:{_MONTHS})([-/. ]\d{{2,4}})?|(?=[A-Z])(?i:{_MONTHS})[-/. ](\d\d|\d{{4}})"
    r"|\d{4}-\d\d-\d\d( .*)?|\d{1,2}/\d{1,2}/\d{2,4}"
)
# Such as jun-1 and dec-7, which are genes of Caenorhabditis elegans.
_PERHAPS_DATE = re.compile(rf"({_MONTHS})[-/. ]\d{{1,4}}", re.IGNORECASE)
# Headings of a first column that names samples, and of one that names genes.
_SAMPLES = frozenset(
    (
        "sample",
        "samples",
        "sampleid",
        "samplename",
        "cell",
        "cells",
        "cellid",
        "cellname",
        "barcode",
        "barcodes",
    )
)
_GENES = frozenset(["gene", "genes", "geneid", "genename", "genesymbol", "symbol"])
_UNCLEAR = frozenset(("id", "index"))
# A first column of so many numbers, each one more than the last, is an index.
_FEWEST_COUNTED = 8
_TIMES = frozenset(("time", "times", "timepoint"))


@dataclass(frozen=True)
class Expression:
    """An expression matrix.

    Attributes
    ----------
    genes
        Names, all distinct.
    samples
        Names, all distinct; None where the file gives none.
    values
        (n_genes, n_samples) finite: dense float64, or sparse.
    orientation
        Where the file has its genes: rows or columns.
    """

    genes: tuple[str, ...]
    samples: tuple[str, ...] | None
    values: Values
    orientation: Orientation


def read_expression(path: Path, *, orientation: Orientation | None = None) -> Expression:
    """Read a matrix of numbers, separated by tabs (.gz allowed), with a header.

    Parameters
    ----------
    path
        The file. A first column headed `gene` (or gene_id, symbol, …) means genes in rows; one headed `sample` (or
        cell, barcode, …), or a header over numbers alone, samples in rows.
    orientation
        Where genes are, whatever the header says.

    Raises
    ------
    TableError
        If it is no such matrix, leaves open where its genes are, or has names twice, dates for names, or no number
        where one belongs.
    """
    lines = _lines(path)
    _, header = next(lines, (0, []))
    first = next(lines, (0, []))
    width = len(first[1])
    if not width:
        raise TableError(f"{path} holds no expression: it needs a header and a line for each gene or sample")
    if width < 2:
        check_tabs(path, first[1][0])
        raise TableError(f"{path} has one column: separate its columns by tabs")
    layout = _layout(path, header, first[1], orientation)
    labels, rows, numbers = [], [], []
    # Line by line: as text a matrix takes many times the memory of its numbers.
    for number, fields in chain([first], lines):
        if len(fields) != width:
            raise TableError(
                f"{path}, line {number}: {len(fields)} fields where the lines before have {width}"
            )
        if layout.labelled:
            labels.append(fields[0])
        rows.append(_numbers(path, number, fields[layout.labelled :]))
        numbers.append(number)
    columns = tuple(header[layout.labelled and len(header) == width :])
    values = np.array(rows)
    if not layout.labelled and _counts_lines(values[:, 0]):
        raise TableError(
            f"{path}: the first column, {header[0]}, counts the lines, which no gene does; head it 'sample', or leave "
            "it out"
        )
    samples: tuple[str, ...] | None
    if layout.genes == "rows":
        genes, samples = tuple(labels), columns
    else:
        genes, samples, values = columns, tuple(labels) if layout.labelled else None, values.T
    expression = Expression(genes, samples, np.ascontiguousarray(values), layout.genes)
    check_expression(path, expression, numbers)
    return expression


def check_expression(path: Path | str, expression: Expression, lines: Sequence[int] = ()) -> None:
    """Refuse names that are empty, occur twice or were changed to dates, and values that are no finite numbers.

    Parameters
    ----------
    path
        The file, for messages.
    expression
        What it holds.
    lines
        Where samples have no names: the line of each.

    Raises
    ------
    TableError
        If there are such.
    """
    genes, samples = expression.genes, expression.samples
    _check_names(path, "gene", genes)
    _check_gene_names(path, genes)
    if samples is not None:
        _check_names(path, "sample", samples)
    bad = not_finite(expression.values)
    if len(bad):
        gene, sample = bad[0]
        where = f"sample {samples[sample]}" if samples else f"line {lines[sample]}"
        raise TableError(
            f"{path}: gene {genes[gene]} has no finite number in {where} ({len(bad)} such values in all); leave "
            "the gene out, or fill in a value"
        )


def write_expression(path: Path, expression: Expression) -> None:
    """Write a matrix with genes in rows, as `read_expression` reads it; values in full."""
    assert expression.samples is not None
    by_gene = chain.from_iterable(block for _, block in blocks(expression.values))
    rows = zip(expression.genes, by_gene, strict=True)
    columns = ("gene", *expression.samples)
    write_rows(path, columns, ((gene, *map(repr, values.tolist())) for gene, values in rows))


def read_names(path: Path) -> list[str]:
    """Distinct names of a list, one a line, in file order; blank lines and lines that begin with # are skipped.

    Raises
    ------
    TableError
        If it cannot be read, or is empty.
    """
    try:
        with open_text(path) as file:
            names = [line.split("\t")[0].strip().strip('"') for line in file if not line.startswith("#")]
    except UNREADABLE_TEXT as err:
        raise TableError(f"cannot read {path}: {reason(err)}") from err
    distinct = list(dict.fromkeys(name for name in names if name))
    if distinct and all("," in name or ";" in name for name in distinct):
        check_tabs(path, distinct[0])
    if not distinct:
        raise TableError(f"{path} lists no genes: it needs a name a line")
    return distinct


def numeric_names(genes: Sequence[str]) -> list[str]:
    """Genes whose names read as numbers, where others' do not: spreadsheets write 2310009E13 as 2.31E+13."""
    numeric = [gene for gene in genes if is_number(gene)]
    return [] if len(numeric) == len(genes) else numeric


@dataclass(frozen=True)
class _Layout:
    genes: Orientation
    labelled: bool


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line number, fields) of the header and of what follows."""
    try:
        with open_text(path) as file:
            for number, line in enumerate(file, 1):
                if line.strip() and not line.startswith("#"):
                    yield number, [field.strip().strip('"') for field in line.rstrip("\r\n").split("\t")]
    except UNREADABLE_TEXT as err:
        raise TableError(f"cannot read {path}: {reason(err)}") from err


def _layout(path: Path, header: list[str], first: list[str], orientation: Orientation | None) -> _Layout:
    if len(header) not in (len(first), len(first) - 1):
        raise TableError(
            f"{path}: the header has {len(header)} fields, the line below {len(first)}; give each column a name"
        )
    short = len(header) < len(first)
    heading = "" if short else "".join(letter for letter in header[0].casefold() if letter.isalnum())
    if heading in _TIMES:
        raise TableError(f"{path}: the first column is called {header[0]}; leave it out, for it is no gene")
    labelled = (
        short
        or orientation == "rows"
        or heading in {"", *_UNCLEAR, *_GENES, *_SAMPLES}
        or not is_number(first[0])
    )
    if orientation is None:
        if heading in _GENES:
            orientation = "rows"
        elif not labelled or heading in _SAMPLES:
            orientation = "columns"
        else:
            raise TableError(
                f"cannot tell whether the rows of {path} are genes or samples: give `orientation` rows or columns, "
                "or head the column of names 'gene' or 'sample'"
            )
    if orientation not in get_args(Orientation):
        raise ValueError(f"orientation must be rows or columns, not {orientation}")
    return _Layout(orientation, labelled)


def _counts_lines(values: NDArray[np.float64]) -> bool:
    return len(values) >= _FEWEST_COUNTED and np.array_equal(values - values[0], np.arange(len(values)))


def _numbers(path: Path, number: int, fields: list[str]) -> NDArray[np.float64]:
    try:
        return np.array(fields, np.float64)
    except ValueError as err:
        wrong = next((field for field in fields if not is_number(field)), "")
        raise TableError(
            f"{path}, line {number}: '{wrong}' is not a number; leave the gene out, or fill in a value"
        ) from err


def is_number(text: str) -> bool:
    """Whether a text reads as a number, finite or not."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _check_names(path: Path | str, what: str, names: tuple[str, ...]) -> None:
    """Raise TableError where names are empty or not distinct."""
    if "" in names:
        raise TableError(f"{path}: {what} {names.index('') + 1} has no name")
    if len(set(names)) < len(names):
        seen: set[str] = set()
        twice = sorted({name for name in names if name in seen or seen.add(name)})  # type: ignore[func-returns-value]
        raise TableError(f"{path} has {what}s twice: {some(twice)}; keep one of each, or join them")


def _check_gene_names(path: Path | str, genes: tuple[str, ...]) -> None:
    dates = [gene for gene in genes if _DATE.fullmatch(gene)]
    if dates:
        raise TableError(
            f"{path}: gene names read as dates ({some(dates)}): a spreadsheet has changed them; restore the names"
        )
    perhaps = [gene for gene in genes if _PERHAPS_DATE.fullmatch(gene)]
    if perhaps:
        log.warning(
            "%s: gene names that could be dates (%s): see that no spreadsheet has changed them",
            path,
            some(perhaps),
        )
    if all(is_number(gene) for gene in genes) and not all(
        math.isfinite(float(gene)) and float(gene).is_integer() for gene in genes
    ):
        raise TableError(
            f"{path}: the names of genes read as numbers ({some(genes)}): has it a header, and is `orientation` right?"
        )
