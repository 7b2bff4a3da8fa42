"""Dense matrices in HDF5 files: read some rows at a time, and kept sparse where most values are zero."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from scipy.sparse import csr_array, vstack

from predictd.errors import TableError

# Rows of so many bytes are read at once.
_BYTES = 32 * 2**20
# A matrix is kept sparse where less than this share of its first rows is other than zero.
_SPARSE = 0.25


def read_dense(path: Path | str, dataset: h5py.Dataset) -> Any:
    """Read a matrix, in the order of the file: a csr_array where most of it is zero, else an array of float64.

    Raises
    ------
    TableError
        If it is not a matrix of numbers.
    """
    if dataset.ndim != 2 or dataset.dtype.kind not in "biuf":
        raise TableError(f"{path}: {dataset.name} is not a matrix of numbers; write the file again")
    n_rows, width = dataset.shape
    # Whole chunks: one that is cut is unpacked twice.
    chunk = dataset.chunks[0] if dataset.chunks else 1
    step = max(1, _BYTES // (8 * max(1, width)) // chunk) * chunk
    single = dataset.dtype == np.float32
    first = dataset[:step]
    sparse = np.count_nonzero(first) < _SPARSE * first.size
    found: Any = [] if sparse else np.empty(dataset.shape)
    for start in range(0, n_rows, step):
        block = dataset[start : start + step]
        if sparse:
            found.append(csr_array(block if single else block.astype(np.float64)))
        else:
            found[start : start + step] = block
    return vstack(found, format="csr") if sparse else found


def texts(dataset: h5py.Dataset) -> list[str]:
    """Names of a column: text of any kind, or whole numbers."""
    values = dataset.asstr()[()] if h5py.check_string_dtype(dataset.dtype) else dataset[()]
    return [str(value) for value in values.tolist()]
