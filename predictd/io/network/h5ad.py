"""Expression matrices of AnnData files (.h5ad): samples in /obs, genes in /var, values in /X, dense or sparse.

What is sparse stays so, in the precision that it has in the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from scipy.sparse import csc_array, csr_array

from predictd.errors import TableError
from predictd.io.hdf5 import UNREADABLE, reading
from predictd.io.network.expression import Expression, Orientation, check_expression
from predictd.matrix import Values

SUFFIX = ".h5ad"


def read_h5ad(path: Path, *, orientation: Orientation | None = None) -> Expression:
    """Read the matrix /X of an AnnData file.

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
        genes, samples = samples, genes
    else:
        values = values.T
    expression = Expression(genes, samples, _by_gene(values), orientation or "columns")
    check_expression(path, expression)
    return expression


def _matrix(item: Any) -> Any:
    """/X, (n_obs, n_var)."""
    if isinstance(item, h5py.Dataset):
        return np.asarray(item[()], np.float64)
    # Older versions name it otherwise.
    kind = str(item.attrs.get("encoding-type", item.attrs.get("h5sparse_format")))
    shape = tuple(int(n) for n in item.attrs.get("shape", item.attrs.get("h5sparse_shape")))
    make = {"csr_matrix": csr_array, "csr": csr_array, "csc_matrix": csc_array, "csc": csc_array}[kind]
    return make(tuple(item[name][()] for name in ("data", "indices", "indptr")), shape=shape)


def _by_gene(values: Any) -> Values:
    """Values (n_genes, n_samples), stored gene by gene."""
    if isinstance(values, np.ndarray):
        return np.ascontiguousarray(values)
    if values.dtype.kind != "f":
        values = values.astype(np.float64)
    found = csr_array(values)
    found.sum_duplicates()
    return found


def _names(frame: Any) -> tuple[str, ...]:
    """The index of /obs or /var."""
    index = frame[frame.attrs["_index"]]
    if isinstance(index, h5py.Group):
        index = index["values"]
    return tuple(index.asstr()[()].tolist())
