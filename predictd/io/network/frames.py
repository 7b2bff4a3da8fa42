"""Expression matrices of pandas: Parquet files, and DataFrames in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from predictd.errors import TableError
from predictd.io.extras import needed_for
from predictd.io.network.expression import Expression, MatrixChoice, Orientation, check_expression
from predictd.io.network.h5ad import EXTRA, expression_of_anndata
from predictd.io.network.memory import texts
from predictd.io.network.text import (
    GENE_HEADINGS,
    TIMES,
    UNCLEAR,
    layout_of,
    refuse_numbered,
    refuse_others,
)
from predictd.io.tables import is_number, not_numbers
from predictd.wording import plain

_IN_MEMORY = "the matrix"


def expression_of(data: Any, choice: MatrixChoice) -> Expression:
    """Make the matrix of a DataFrame or of an AnnData object.

    A DataFrame is read as a file of it would be, but for one whose index has no name, or one that says nothing of what
    it names, as `index` or `time`: that is of samples × genes.

    Raises
    ------
    TableError
        If it is neither, leaves open where its genes are, or `check_expression` refuses it.
    """
    if hasattr(data, "obs_names") and hasattr(data, "X"):
        return expression_of_anndata(data, choice)
    if not hasattr(data, "columns"):
        raise TableError(
            f"`expression` is a {type(data).__name__}: give a DataFrame (samples × genes), AnnData, or a path"
        )
    choice.check("`expression`", "a DataFrame")
    _check_levels(data, _IN_MEMORY)
    index = data.index
    heading = "" if index.name is None else plain(str(index.name))
    first = plain(str(data.columns[0])) if len(data.columns) else ""
    nameless = index.name is None and (index.dtype.kind in "iu" or first in GENE_HEADINGS)
    unclear = not nameless and heading in {"", *UNCLEAR, *TIMES}
    orientation: Orientation | None = "columns" if unclear else None
    name = None if nameless else "" if unclear else str(index.name)
    return _of_table(data, name, choice.orientation or orientation, _IN_MEMORY, rows_named=True)


def read_parquet(path: Path, choice: MatrixChoice) -> Expression:
    """Read a Parquet file as `predictd.io.network.text.read_expression` reads tables; names may be pandas' index.

    Raises
    ------
    TableError
        If it is not such a matrix, or leaves open where its genes are.
    ConfigError
        If a library is missing that reads it.
    """
    choice.check(path, "a table")
    with needed_for(f"{path}", extra=EXTRA):
        import pandas
        import pyarrow  # noqa: F401
    with path.open("rb") as file:
        try:
            frame = pandas.read_parquet(file)
        except (OSError, ValueError) as err:
            raise TableError(f"{path} is damaged or no Parquet file; write it again") from err
    _check_levels(frame, str(path))
    name = None if isinstance(frame.index, pandas.RangeIndex) else str(frame.index.name or "")
    return _of_table(frame, name, choice.orientation, str(path), rows_named=name is not None)


def _check_levels(frame: Any, source: str) -> None:
    """Refuse names of several levels."""
    for where, names in (("columns", frame.columns), ("rows", frame.index)):
        if names.nlevels > 1:
            raise TableError(
                f"{source} has {names.nlevels} levels of names in its {where}; keep one, as by `droplevel` of pandas"
            )


def _check_size(frame: Any, source: str) -> None:
    if not frame.size:
        raise TableError(f"{source} holds no expression: it needs a row for each gene or sample")


def _of_table(
    frame: Any, index: str | None, orientation: Orientation | None, source: str, *, rows_named: bool
) -> Expression:
    """Make the matrix of a table, whose first column is the index of this name, or where it is None, of the frame."""
    _check_size(frame, source)
    columns = texts(frame.columns)
    header = columns if index is None else [index, *columns]
    first = "0" if index is None and _holds_numbers(frame.iloc[:, 0]) else "name"
    layout = layout_of(source, header, [first, *["0"] * (len(header) - 1)], orientation)
    labelled = index is None and layout.labelled
    if labelled:
        frame = frame.iloc[:, 1:].set_axis(frame.iloc[:, 0], axis=0)
        _check_size(frame, source)
    expression = _of_frame(frame, layout.genes, source, named=labelled or rows_named)
    if index is None and not labelled:
        refuse_numbered(source, columns[0], expression.values.T)
    return expression


def _holds_numbers(column: Any) -> bool:
    first = column.iloc[0]
    return column.dtype.kind in "biuf" or (not isinstance(first, str) and is_number(str(first)))


def _of_frame(frame: Any, orientation: Orientation, source: str, *, named: bool) -> Expression:
    rows, columns = (tuple(texts(names)) for names in (frame.index, frame.columns))
    refuse_others(source, columns, orientation)
    # As numbers, dates would be nanoseconds, and complex values lose a part.
    strange = [(name, dtype) for name, dtype in frame.dtypes.items() if dtype.kind in "cmM"]
    if strange:
        raise TableError(f"{source} has values that are not numbers: {strange[0][0]} is {strange[0][1]}")
    # As text, numbers are read by the rule of tables.
    if wrong := not_numbers(frame):
        raise _not_numbers(source, f"such as '{wrong[0]}'")
    try:
        values = frame.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as err:
        raise _not_numbers(source, err) from err
    genes, samples = (columns, rows if named else None) if orientation == "columns" else (rows, columns)
    own = np.ascontiguousarray(values.T if orientation == "columns" else values)
    expression = Expression(genes, samples, own, orientation)
    check_expression(source, expression, range(1, len(frame) + 1))
    return expression


def _not_numbers(source: str, which: object) -> TableError:
    return TableError(
        f"{source} has values that are not numbers ({which}): put the names of genes and samples into the header and "
        "the index"
    )
