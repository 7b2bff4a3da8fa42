"""Scores of gene sets in cells, written as tables of cells and sets or as AnnData."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from predictd.errors import ConfigError, TableError
from predictd.io.extras import needed_for
from predictd.io.files import replacing
from predictd.io.hdf5 import plain
from predictd.io.names import has_suffix
from predictd.io.network.forms import packed
from predictd.io.network.h5ad import EXTRA
from predictd.io.results import as_text
from predictd.wording import some

# Heading of the cells, by which `predictd.io.network.text` knows that they are rows.
_CELL = "cell"
_TABLES, _PARQUET, _H5AD = (".tsv", ".txt", ".csv"), ".parquet", ".h5ad"


def check_cells(path: Path) -> None:
    """Raise ConfigError unless `write_cells` knows what to write by the name, and has the libraries for it."""
    if has_suffix(path, _TABLES, packed=True):
        return
    if not has_suffix(path, (_PARQUET, _H5AD)):
        raise ConfigError(f"{path}: let `output` end with {', '.join((*_TABLES, _PARQUET))} or {_H5AD}")
    with needed_for(f"{path}", extra=EXTRA):
        import anndata  # noqa: F401
        import pyarrow  # noqa: F401


def write_cells(
    path: Path, cells: Sequence[str], sets: Sequence[str], values: NDArray[np.float64], sizes: Sequence[int]
) -> None:
    """Replace `path` by a table or AnnData, as its name ends; same values, same bytes.

    Parameters
    ----------
    path
        See `check_cells`.
    cells, sets
        Names.
    values
        (n_cells, n_sets).
    sizes
        Genes of each set, for AnnData's `var`.

    Raises
    ------
    TableError
        If a name holds what separates columns.
    """
    if has_suffix(path, (_H5AD,)):
        _write_h5ad(path, cells, sets, values, sizes)
    elif has_suffix(path, (_PARQUET,)):
        _write_parquet(path, cells, sets, values)
    else:
        _write_text(path, cells, sets, values)


def _write_text(path: Path, cells: Sequence[str], sets: Sequence[str], values: NDArray[np.float64]) -> None:
    mark = "," if has_suffix(path, (".csv",), packed=True) else "\t"
    if bad := [name for name in (*sets, *cells) if mark in name or '"' in name]:
        what = "a comma or a quotation mark" if mark == "," else "a tab or a quotation mark"
        raise TableError(f"{path}: {what} in the names {some(bad)}; write .h5ad or .parquet")
    with packed(path) as file:
        file.write(mark.join((_CELL, *sets)) + "\n")
        for cell, row in zip(cells, values, strict=True):
            file.write(mark.join((cell, *map(as_text, row.tolist()))) + "\n")


def _write_parquet(
    path: Path, cells: Sequence[str], sets: Sequence[str], values: NDArray[np.float64]
) -> None:
    import pyarrow
    from pyarrow import parquet

    columns = [pyarrow.array(cells, pyarrow.string()), *map(pyarrow.array, values.T)]
    with replacing(path) as partial:
        parquet.write_table(pyarrow.Table.from_arrays(columns, names=[_CELL, *sets]), partial)


def _write_h5ad(
    path: Path, cells: Sequence[str], sets: Sequence[str], values: NDArray[np.float64], sizes: Sequence[int]
) -> None:
    import pandas
    from anndata import AnnData
    from anndata.io import write_elem

    obs = pandas.DataFrame(index=pandas.Index(cells, dtype=object))
    var = pandas.DataFrame({"n_genes": list(sizes)}, index=pandas.Index(sets, dtype=object))
    with replacing(path) as partial, plain(partial) as file:
        write_elem(file, "/", AnnData(values, obs=obs, var=var))
