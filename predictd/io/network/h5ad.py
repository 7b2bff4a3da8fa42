"""Expression matrices of AnnData: samples in obs, genes in var, values in X, a layer or raw, dense or sparse.

Of a file only the matrix that is asked for and the names are read. What is sparse stays so, in its own precision.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from predictd.errors import TableError
from predictd.io.extras import needed_for
from predictd.io.network.expression import Expression, MatrixChoice, assembled
from predictd.io.network.memory import texts
from predictd.io.network.stored import read_dense
from predictd.wording import some

log = logging.getLogger(__name__)

EXTRA = "interchange"


def read_h5ad(path: Path, file: h5py.File, choice: MatrixChoice) -> Expression:
    """Read a matrix of an open AnnData file (.h5ad), as version 0.7 and later write it.

    Raises
    ------
    TableError
        If it lacks what was chosen, or its names or values are not what a matrix may hold.
    ConfigError
        If the library `anndata` is missing.
    """
    with needed_for(f"{path}", extra=EXTRA):
        import anndata  # noqa: F401
    if not all(isinstance(file[name], h5py.Group) for name in ("obs", "var")):
        raise TableError(
            f"{path} was written by a version of AnnData before 0.7: read it by scanpy and write it again"
        )
    layers = file.get("layers", {})
    top = file.get("raw", {}) if choice.raw else file
    item = layers.get(choice.layer) if choice.layer else top.get("X")
    if item is None or item.attrs.get("encoding-type") == "null":
        raise _lacks(path, choice, layers, has_raw="raw" in file)
    matrix = read_dense(path, item) if isinstance(item, h5py.Dataset) else _read(item)
    obs, var = file["obs"], top["var"]
    named = obs if choice.orientation == "rows" else var
    columns = sorted({*named} - {named.attrs["_index"], "__categories"})
    column = _read(named[choice.pick(path, columns, ())]) if choice.gene_column else None
    samples, genes = (_read(frame[frame.attrs["_index"]]) for frame in (obs, var))
    return _of_parts(path, matrix, samples, genes, column, choice)


def frame_of_samples(path: Path, file: h5py.File) -> Any:
    """Read `obs` of an open AnnData file, a DataFrame.

    Raises
    ------
    TableError
        If it has none.
    ConfigError
        If the library `anndata` is missing.
    """
    with needed_for(f"{path}", extra=EXTRA):
        import anndata  # noqa: F401
    if not isinstance(file.get("obs"), h5py.Group):
        raise TableError(f"{path} has no obs: it is no AnnData file of version 0.7 or later")
    return _read(file["obs"])


def expression_of_anndata(data: Any, choice: MatrixChoice, *, source: str = "the matrix") -> Expression:
    """Make the matrix of an `anndata.AnnData`, in memory or backed by a file; see `read_h5ad`."""
    top = data.raw if choice.raw else data
    if top is None or (choice.layer and choice.layer not in data.layers):
        raise _lacks(source, choice, data.layers, has_raw=data.raw is not None)
    matrix = data.layers[choice.layer] if choice.layer else top.X
    if matrix is None:
        raise _lacks(source, choice, data.layers, has_raw=data.raw is not None)
    if isinstance(matrix, h5py.Dataset):
        matrix = read_dense(source, matrix)
    elif hasattr(matrix, "to_memory"):
        matrix = matrix.to_memory()
    elif not hasattr(matrix, "tocsr"):
        matrix = np.asarray(matrix)
    named = data.obs if choice.orientation == "rows" else top.var
    column = named[choice.pick(source, named, ())] if choice.gene_column else None
    return _of_parts(source, matrix, data.obs_names, top.var_names, column, choice)


def _of_parts(
    path: Path | str,
    matrix: Any,
    samples: Iterable[object],
    genes: Iterable[object],
    column: Iterable[object] | None,
    choice: MatrixChoice,
) -> Expression:
    """Put (n_obs, n_var) values and names together; a gene without a name in the column keeps that of the index."""
    obs, var = texts(samples), texts(genes)
    if column is not None:
        index = obs if choice.orientation == "rows" else var
        given = texts(column)
        absent = [own for own, name in zip(index, given, strict=True) if not name]
        if absent:
            log.warning(
                "%s: %d genes have no name in %s and keep that of the index: %s",
                path,
                len(absent),
                choice.gene_column,
                some(absent),
            )
        index[:] = [name or own for own, name in zip(index, given, strict=True)]
    return assembled(path, matrix.T, var, obs, "columns", choice)


def _read(item: h5py.Group | h5py.Dataset) -> Any:
    """What AnnData makes of it."""
    from anndata.io import read_elem

    try:
        with warnings.catch_warnings():
            # Of encodings of earlier versions, which are read all the same.
            warnings.simplefilter("ignore")
            return read_elem(item)
    except Exception as err:
        # AnnData has errors of its own for what it does not know.
        raise ValueError(f"{item.name}: {err}") from err


def _lacks(path: Path | str, choice: MatrixChoice, layers: Iterable[str], *, has_raw: bool) -> TableError:
    """Make the error of a matrix that is not there, which names those that are."""
    wanted = f"layer {choice.layer}" if choice.layer else "raw" if choice.raw else "matrix X"
    others = [f"`layer` {name}" for name in layers] + ["`raw`"] * (has_raw and not choice.raw)
    instead = f"give {some(others)}" if others else "store the values there that links are inferred from"
    return TableError(f"{path} has no {wanted}; {instead}")
