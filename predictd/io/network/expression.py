"""Expression matrices, checked, and what is read of a file that has several."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from scipy.sparse import csr_array

from predictd.errors import ConfigError, TableError
from predictd.io.tables import is_number
from predictd.matrix import Values, not_finite
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
# What to do where names occur twice, as some symbols do that have several Ensembl numbers.
_TWICE = "keep one of each, or add them up"
_OTHER_COLUMN = (
    "name genes by a column without repeats (`gene_column`, e.g. of Ensembl numbers), or keep one of each"
)


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


@dataclass(frozen=True)
class MatrixChoice:
    """What is read of a file, or of an object, that may hold several matrices and names of genes.

    Attributes
    ----------
    orientation
        Where genes are; None: as the file says.
    layer
        Name of a layer, of AnnData and loom; None: the main matrix.
    raw
        Whether to take AnnData's `raw`.
    gene_column
        Column, of AnnData's `var`, loom's row attributes or 10x's features, that names genes; None: the usual one.

    Raises
    ------
    ConfigError
        If the orientation is none, or it is both a layer and raw.
    """

    orientation: Orientation | None = None
    layer: str | None = None
    raw: bool = False
    gene_column: str | None = None

    def __post_init__(self) -> None:
        if self.orientation not in (None, *get_args(Orientation)):
            raise ConfigError(f"`orientation` {self.orientation!r}: give rows or columns, or leave it out")
        if self.raw and self.layer is not None:
            raise ConfigError("raw has no layers; give `layer` or `raw`")

    @property
    def named(self) -> dict[str, str | bool]:
        """What was chosen but for the orientation, by its name."""
        own = {"layer": self.layer, "raw": self.raw, "gene_column": self.gene_column}
        return {name: value for name, value in own.items() if value}

    def check(self, path: Path | str, kind: str, *allowed: str) -> None:
        """Raise ConfigError where something is chosen that this kind of file does not have."""
        for name in self.named:
            if name not in allowed:
                raise ConfigError(f"{path} is {kind}, which has no `{name}`; leave `{name}` out")

    def pick(self, path: Path | str, columns: Iterable[str], usual: Sequence[str]) -> str:
        """Name of the column that names genes, out of these: the chosen one, or the first that is usual.

        Raises
        ------
        TableError
            If there is none.
        """
        names = list(columns)
        found = [name for name in ([self.gene_column] if self.gene_column else usual) if name in names]
        if not found:
            wanted = self.gene_column or " or ".join(usual)
            raise TableError(f"{path} has no column {wanted} of genes; give `gene_column`: {some(names, 10)}")
        return found[0]


def assembled(
    path: Path | str,
    values: Any,
    genes: Sequence[str],
    samples: Sequence[str],
    orientation: Orientation,
    choice: MatrixChoice,
) -> Expression:
    """Make a checked matrix of what a file or an object holds that has a place for genes.

    Parameters
    ----------
    path
        The file, for messages.
    values
        (n_genes, n_samples): a NumPy array or a SciPy sparse matrix; it is not changed.
    genes, samples
        Their names.
    orientation
        Where the format has its genes.
    choice
        Its orientation wins: with the other one, what are called genes here are samples.

    Raises
    ------
    TableError
        If it is not a matrix of numbers, or `check_expression` refuses it.
    """
    if values.dtype.kind not in "biuf":
        raise TableError(f"{path} holds {values.dtype} in its matrix; give numbers")
    if values.shape != (len(genes), len(samples)):
        raise TableError(
            f"{path}: the matrix is of {values.shape[0]} genes and {values.shape[1]} samples, but {len(genes)} genes "
            f"and {len(samples)} samples are named; write the file again"
        )
    if choice.orientation not in (None, orientation):
        values, genes, samples = values.T, samples, genes
    if isinstance(values, np.ndarray):
        own: Values = np.ascontiguousarray(values, np.float64)
    else:
        own = csr_array(values if values.dtype.kind == "f" else values.astype(np.float64))
        if not own.has_canonical_format:
            own = own.copy()
            own.sum_duplicates()
    expression = Expression(tuple(genes), tuple(samples), own, choice.orientation or orientation)
    check_expression(path, expression, columns=True)
    return expression


def check_expression(
    path: Path | str, expression: Expression, lines: Sequence[int] = (), *, columns: bool = False
) -> None:
    """Refuse names that are empty, occur twice or were changed to dates, and values that are no finite numbers.

    Parameters
    ----------
    path
        The file, for messages.
    expression
        What it holds.
    lines
        Where samples have no names: the line of each.
    columns
        Whether genes may be named by another column.

    Raises
    ------
    TableError
        If there are such.
    """
    genes, samples = expression.genes, expression.samples
    _check_names(path, "gene", genes, _OTHER_COLUMN if columns else _TWICE)
    _check_gene_names(path, genes)
    if samples is not None:
        _check_names(path, "sample", samples, "name them apart, or keep one of each")
        if expression.orientation == "rows":
            _refuse_numbers(path, "samples", samples)
    bad = not_finite(expression.values)
    if len(bad):
        gene, sample = bad[0]
        where = f"sample {samples[sample]}" if samples else f"line {lines[sample]}"
        raise TableError(
            f"{path}: gene {genes[gene]} has no finite number in {where} ({len(bad)} such values in all); leave "
            "the gene out, or fill in a value"
        )


def numeric_names(genes: Sequence[str]) -> list[str]:
    """Genes whose names read as numbers, where others' do not: spreadsheets write 2310009E13 as 2.31E+13."""
    numeric = [gene for gene in genes if is_number(gene)]
    return [] if len(numeric) == len(genes) else numeric


def _check_names(path: Path | str, what: str, names: tuple[str, ...], twice_then: str) -> None:
    """Raise TableError where names are empty or not distinct."""
    if "" in names:
        raise TableError(f"{path}: {what} {names.index('') + 1} has no name")
    if len(set(names)) < len(names):
        seen: set[str] = set()
        twice = sorted({name for name in names if name in seen or seen.add(name)})  # type: ignore[func-returns-value]
        raise TableError(f"{path} has {what}s twice: {some(twice)}; {twice_then}")


def _check_gene_names(path: Path | str, genes: tuple[str, ...]) -> None:
    dates = [gene for gene in genes if _DATE.fullmatch(gene)]
    if dates:
        raise TableError(
            f"{path}: gene names look like dates ({some(dates)}): a spreadsheet has changed them; restore the names"
        )
    perhaps = [gene for gene in genes if _PERHAPS_DATE.fullmatch(gene)]
    if perhaps:
        log.warning(
            "%s: gene names that could be dates (%s): check that no spreadsheet has changed them",
            path,
            some(perhaps),
        )
    _refuse_numbers(path, "genes", genes)


def _refuse_numbers(path: Path | str, what: str, names: Sequence[str]) -> None:
    """Raise TableError where all names are numbers and some are not whole, as of a table without a header."""
    if all(is_number(name) for name in names) and not all(
        math.isfinite(float(name)) and float(name).is_integer() for name in names
    ):
        raise TableError(
            f"{path}: the names of {what} look like numbers ({some(names)}): is there a header, and is `orientation` "
            "right?"
        )
