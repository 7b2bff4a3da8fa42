"""Expression matrices of pandas: Parquet files, and DataFrames in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from predictd.errors import TableError
from predictd.io.extras import needed_for
from predictd.io.network.expression import Expression, MatrixChoice, Orientation, check_expression
from predictd.io.network.h5ad import EXTRA, expression_of_anndata
from predictd.io.network.text import layout_of
from predictd.io.tables import is_number

# Names of an index, or of a first column, that has genes.
_GENE_NAMES = ("gene", "genes", "gene_id", "gene_name", "symbol")


def expression_of(data: Any, choice: MatrixChoice) -> Expression:
    """Make the matrix of a DataFrame (samples × genes, unless its index is named gene) or of an AnnData object.

    Raises
    ------
    TableError
        If it is neither, or `check_expression` refuses it.
    """
    if hasattr(data, "obs_names") and hasattr(data, "X"):
        return expression_of_anndata(data, choice)
    if not hasattr(data, "columns"):
        raise TableError(
            f"`expression` is a {type(data).__name__}: give a DataFrame (samples × genes), AnnData, or a path"
        )
    choice.check("`expression`", "a DataFrame")
    frame = data
    first = str(frame.columns[0]) if len(frame.columns) else ""
    if first.casefold() in _GENE_NAMES and frame.index.name is None:
        frame = frame.set_index(frame.columns[0])
    # As files of expression say where they have their genes.
    own: Orientation = "rows" if str(frame.index.name).casefold() in _GENE_NAMES else "columns"
    return _of_frame(frame, choice.orientation or own, "the matrix")


def read_parquet(path: Path, choice: MatrixChoice) -> Expression:
    """Read a Parquet file as `predictd.io.network.text.read_expression` reads tables; names may be pandas' index.

    Raises
    ------
    TableError
        If it is no such matrix, or leaves open where its genes are.
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
    if not frame.size:
        raise TableError(f"{path} holds no expression: it needs a row for each gene or sample")
    columns, unnamed = list(map(str, frame.columns)), isinstance(frame.index, pandas.RangeIndex)
    numeric = unnamed and getattr(frame.dtypes.iloc[0], "kind", "O") in "biuf"
    header = columns if unnamed else [str(frame.index.name or ""), *columns]
    first = ["0" if numeric else "name", *["0"] * (len(header) - 1)]
    layout = layout_of(path, header, first, choice.orientation)
    if unnamed and layout.labelled:
        frame = frame.set_index(frame.columns[0])
    return _of_frame(frame, layout.genes, str(path), named=layout.labelled)


def _of_frame(frame: Any, orientation: Orientation, source: str, *, named: bool = True) -> Expression:
    # As text, numbers are read by the rule of tables.
    for texts in frame.select_dtypes(exclude="number").to_numpy().T:
        if wrong := [text for text in texts if isinstance(text, str) and not is_number(text)]:
            raise _not_numbers(source, f"such as '{wrong[0]}'")
    try:
        values = frame.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as err:
        raise _not_numbers(source, err) from err
    rows, columns = (tuple(map(str, names)) for names in (frame.index, frame.columns))
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
