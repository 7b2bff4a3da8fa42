"""Expression matrices of AnnData files (.h5ad): samples in /obs, genes in /var, values in /X, dense or sparse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_matrix, csr_matrix

from predictd.errors import TableError
from predictd.io.hdf5 import UNREADABLE, reading
from predictd.io.network.expression import Expression, Orientation, check_expression

SUFFIX = ".h5ad"


def read_h5ad(path: Path, *, orientation: Orientation | None = None) -> Expression:
    """Read the matrix /X of an AnnData file, as numbers of double precision.

    Parameters
    ----------
    path
        The file, as AnnData 0.7 and later write it.
    orientation
        Where genes are; None: in /var, which is `columns`.

    Raises
    ------
    TableError
        If the file is no such file, or its names or values are not what a matrix may hold.
    """
    try:
        with reading(path) as file:
            if "X" not in file:
                raise TableError(
                    f"{path} has no matrix /X; store the values there that links are inferred from"
                )
            values = _matrix(file["X"])
            samples, genes = _names(file["obs"]), _names(file["var"])
    except FileNotFoundError as err:
        raise TableError(f"cannot read {path}: there is no such file; correct the path") from err
    except UNREADABLE as err:
        raise TableError(
            f"{path} is damaged or no AnnData file of version 0.7 or later; write it again with AnnData"
        ) from err
    if values.shape != (len(samples), len(genes)):
        raise TableError(
            f"{path}: /X is {values.shape[0]} × {values.shape[1]}, but there are {len(samples)} names in /obs and "
            f"{len(genes)} in /var; write it again with AnnData"
        )
    if orientation == "rows":
        genes, samples, values = samples, genes, values.T
    expression = Expression(genes, samples, np.ascontiguousarray(values.T), orientation or "columns")
    check_expression(path, expression)
    return expression


def _matrix(item: Any) -> NDArray[np.float64]:
    """/X, (n_obs, n_var) float64."""
    if isinstance(item, h5py.Dataset):
        return np.asarray(item[()], np.float64)
    # Older versions name it otherwise.
    kind = str(item.attrs.get("encoding-type", item.attrs.get("h5sparse_format")))
    shape = tuple(int(n) for n in item.attrs.get("shape", item.attrs.get("h5sparse_shape")))
    make = {"csr_matrix": csr_matrix, "csr": csr_matrix, "csc_matrix": csc_matrix, "csc": csc_matrix}[kind]
    arrays = tuple(item[name][()] for name in ("data", "indices", "indptr"))
    dense: NDArray[np.float64] = make(arrays, shape=shape).astype(np.float64).toarray()
    return dense


def _names(frame: Any) -> tuple[str, ...]:
    """The index of /obs or /var."""
    index = frame[frame.attrs["_index"]]
    if isinstance(index, h5py.Group):
        index = index["values"]
    return tuple(index.asstr()[()].tolist())
