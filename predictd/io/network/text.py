"""Expression matrices and lists of genes in plain text."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from predictd.errors import TableError
from predictd.io.network.expression import Expression, Orientation, check_expression
from predictd.io.network.lines import comment_above, hidden_header
from predictd.io.results import write_rows
from predictd.io.tables import (
    UNREADABLE_TEXT,
    check_tabs,
    fields_of,
    is_number,
    is_plain,
    no_number,
    open_text,
    reason,
    separator,
)
from predictd.matrix import blocks
from predictd.wording import commented, plain

log = logging.getLogger(__name__)

# Headings of a first column that names samples, and of one that names genes.
SAMPLE_HEADINGS = frozenset(
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
GENE_HEADINGS = frozenset(
    ("gene", "genes", "geneid", "genename", "genesymbol", "symbol", "ensemblgeneid", "ensemblid")
)
# Headings of a first column of names that say nothing of them.
UNCLEAR = frozenset(("id", "index", "unnamed0", "rowname", "rownames", "level0", "obsname", "obsnames"))
# A first column of so many numbers, each one more than the last, is an index.
_FEWEST_COUNTED = 8
TIMES = frozenset(("time", "times", "timepoint"))
# Columns that are not genes, wherever they are; `id` could be one.
_NO_GENES = SAMPLE_HEADINGS | TIMES | UNCLEAR - {"id"}
# Columns that say something of genes, and are not samples: of featureCounts, Salmon, RSEM, BioMart and others.
_OF_GENES = (
    "chr chrom chromosome chromosomename seqname seqnames start end stop genestart geneend strand length genelength "
    "effectivelength efflength transcriptlength width exoncount entrez entrezid entrezgene entrezgeneid ncbigeneid "
    "ensembl ensemblid hgncid hgncsymbol mgisymbol transcriptid description genedescription biotype genebiotype "
    "genetype"
)
_NO_SAMPLES = GENE_HEADINGS | set(_OF_GENES.split())


@dataclass(frozen=True)
class Layout:
    """Where a table has its genes, and whether its first column holds names."""

    genes: Orientation
    labelled: bool


def read_expression(path: Path, *, orientation: Orientation | None = None) -> Expression:
    """Read a matrix of numbers, separated by tabs, commas or semicolons (.gz allowed), with a header.

    Between semicolons a comma is the decimal mark.

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
        If it is not such a matrix, leaves open where its genes are, or has names twice, dates for names, or no number
        where one belongs.
    """
    mark = _separator(path)
    lines = _lines(path, mark)
    _, header = next(lines, (0, []))
    first = next(lines, (0, []))
    width = len(first[1])
    if not width:
        raise TableError(f"{path} holds no expression: it needs a header and a line for each gene or sample")
    if width < 2:
        raise TableError(f"{path} has one column: separate its columns by tabs or commas")
    # Decimal commas would pass for names.
    if mark == "\t" and any(map(no_number, first[1][1:])):
        _numbers(path, first[0], first[1][1:])
    if mark == "," and len(first[1]) > len(header) + 1:
        raise TableError(
            f"{path}: the header has {len(header)} fields, the line below {len(first[1])}; do numbers have decimal "
            "commas? write points, as in 0.5, or separate the columns by semicolons"
        )
    _refuse_hidden(path, header, width, mark)
    layout = layout_of(path, header, first[1], orientation)
    columns = tuple(header[layout.labelled and len(header) == width :])
    refuse_others(path, columns, layout.genes)
    labels, rows, numbers = [], [], []
    # Line by line: as text a matrix takes many times the memory of its numbers.
    for number, fields in chain([first], lines):
        if len(fields) != width:
            raise TableError(
                f"{path}, line {number}: {len(fields)} fields where the lines before have {width}"
            )
        if layout.labelled:
            labels.append(fields[0])
        texts = fields[layout.labelled :]
        if mark == ";":
            texts = [text.replace(",", ".") for text in texts]
        rows.append(_numbers(path, number, texts))
        numbers.append(number)
    values = np.array(rows)
    if not layout.labelled:
        refuse_numbered(path, header[0], values)
    samples: tuple[str, ...] | None
    if layout.genes == "rows":
        genes, samples = tuple(labels), columns
    else:
        genes, samples, values = columns, tuple(labels) if layout.labelled else None, values.T
    expression = Expression(genes, samples, np.ascontiguousarray(values), layout.genes)
    check_expression(path, expression, numbers)
    return expression


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


def _separator(path: Path) -> str:
    return separator("\n".join(head(path, 1)))


def head(path: Path, n_lines: int) -> list[str]:
    """Read the first lines of a text file that are neither blank nor comments.

    Raises
    ------
    TableError
        If it cannot be read.
    """
    try:
        with open_text(path) as file:
            return list(islice((line for line in file if _counts(line)), n_lines))
    except UNREADABLE_TEXT as err:
        raise TableError(f"cannot read {path}: {reason(err)}") from err


def _counts(line: str) -> bool:
    return bool(line.strip()) and not line.startswith("#")


def _lines(path: Path, mark: str) -> Iterator[tuple[int, list[str]]]:
    """(line number, fields) of the header and of what follows; raises TableError for a row that begins with #."""
    try:
        with open_text(path) as file:
            # How many fields a row has: as many as the header, or one more, which names it.
            widths: tuple[int, ...] = ()
            for number, line in enumerate(file, 1):
                fields = fields_of(line, mark)
                if _counts(line):
                    widths = (len(fields),) if widths else (len(fields), len(fields) + 1)
                    yield number, fields
                elif line.startswith("#") and len(fields) > 1 and len(fields) in widths:
                    raise TableError(f"{path}, line {number}: {commented(fields[0])}")
    except UNREADABLE_TEXT as err:
        raise TableError(f"cannot read {path}: {reason(err)}") from err


def layout_of(
    path: Path | str, header: Sequence[str], first: Sequence[str], orientation: Orientation | None
) -> Layout:
    """Where a table has its genes, by its header and the line below.

    Raises
    ------
    TableError
        If these leave it open.
    """
    if len(header) not in (len(first), len(first) - 1):
        raise TableError(
            f"{path}: the header has {len(header)} fields, the line below {len(first)}; give each column a name"
        )
    short = len(header) < len(first)
    heading = "" if short else plain(header[0])
    if heading in TIMES:
        raise TableError(f"{path}: the first column is called {header[0]}; leave it out, as it is not a gene")
    labelled = (
        short
        or orientation == "rows"
        or heading in {"", *UNCLEAR, *GENE_HEADINGS, *SAMPLE_HEADINGS}
        or not is_number(first[0])
    )
    if orientation is None:
        if heading in GENE_HEADINGS:
            orientation = "rows"
        elif not labelled or heading in SAMPLE_HEADINGS:
            orientation = "columns"
        else:
            raise TableError(
                f"cannot tell whether the rows of {path} are genes or samples: give `orientation` rows or columns, "
                "or call the column of names 'gene' or 'sample'"
            )
    return Layout(orientation, labelled)


def refuse_others(path: Path | str, columns: Sequence[str], genes: Orientation) -> None:
    """Raise TableError where a column is neither a gene nor a sample, by the name that tools of the field give it.

    Parameters
    ----------
    path
        The file, for messages.
    columns
        Names of the columns, without that of the names of rows.
    genes
        Whether columns are genes, or genes are in rows.
    """
    strange = _NO_GENES if genes == "columns" else _NO_SAMPLES
    if others := [name for name in columns if plain(name) in strange]:
        raise TableError(
            f"{path} has the column {others[0]}, which is not a gene; leave it out, or let it name the rows"
            if genes == "columns"
            else f"{path} has the column {others[0]}, which describes genes; leave it out, or rename it if it is a "
            "sample"
        )


def _refuse_hidden(path: Path, header: Sequence[str], width: int, mark: str) -> None:
    """Refuse a first line of values below a comment that has as many fields: the comment is the header."""
    if any(map(is_number, header[1:])):
        hidden = fields_of(comment_above(path), mark)
        if len(hidden) in (width - 1, width) and len(hidden) > 1 and not all(map(is_number, hidden)):
            raise hidden_header(path, hidden)


def refuse_numbered(path: Path | str, first: str, values: NDArray[np.float64]) -> None:
    """Raise TableError where the first column, of this name, numbers the lines; `values`: (n_lines, n_columns)."""
    if _counts_lines(values[:, 0]) or _numbers_lines(values):
        raise TableError(
            f"{path}: the first column, {first}, holds the numbers of lines and not a gene; call it 'sample', or "
            "leave it out"
        )


def _counts_lines(values: NDArray[np.float64]) -> bool:
    return len(values) >= _FEWEST_COUNTED and np.array_equal(values - values[0], np.arange(len(values)))


def _numbers_lines(values: NDArray[np.float64]) -> bool:
    """Whether the first column holds whole numbers, all of them distinct, and the others do not."""
    first, others = values[:, 0], values[:, 1:]
    whole = np.array_equal(first, np.rint(first)) and len(np.unique(first)) == len(first)
    return len(first) >= _FEWEST_COUNTED and whole and bool((others != np.rint(others)).any())


def _numbers(path: Path, number: int, fields: list[str]) -> NDArray[np.float64]:
    try:
        if not is_plain("".join(fields)):
            raise ValueError
        return np.array(fields, np.float64)
    except ValueError as err:
        wrong = next((field for field in fields if not is_number(field)), "")
        raise TableError(
            f"{path}, line {number}: '{wrong}' is not a number"
            + no_number(wrong, "; leave the gene out, or fill in a value")
        ) from err
