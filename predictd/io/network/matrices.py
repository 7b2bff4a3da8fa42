"""Files and folders of expression, read by what they are; what is none is named as what it is."""

from __future__ import annotations

from pathlib import Path

import h5py

from predictd.errors import TableError
from predictd.io.hdf5 import UNREADABLE, reading
from predictd.io.network.columns import named_columns
from predictd.io.network.expression import Expression, MatrixChoice
from predictd.io.network.foreign import no_matrix, refuse_content, refuse_folder, refuse_suffix
from predictd.io.network.frames import read_parquet
from predictd.io.network.h5ad import read_h5ad
from predictd.io.network.loom import read_loom
from predictd.io.network.tenx import matrix_files, read_mtx, read_tenx_h5, tenx_group
from predictd.io.network.text import head, read_expression
from predictd.io.tables import fields_of, is_number, reason, separator

_HDF5, _PARQUET = b"\x89HDF\r\n\x1a\n", b"PAR1"
_MTX = (".mtx", ".mtx.gz")
_IN_HDF5 = (".h5ad", ".loom", ".h5", ".hdf5")


def read_matrix(path: Path, choice: MatrixChoice) -> Expression:
    """Read a matrix: a table (tabs, commas, semicolons), AnnData, loom, 10x (.h5, a folder, .mtx) or Parquet.

    Parameters
    ----------
    path
        The file or folder. HDF5 and Parquet files are recognised by their content, whatever their names.
    choice
        Which matrix of it.

    Raises
    ------
    TableError
        If it is of another kind, damaged, or holds what a matrix may not hold.
    ConfigError
        If something is chosen that it cannot have, or a library is missing that reads it.
    """
    refuse_suffix(path)
    if path.is_dir() or path.name.lower().endswith(_MTX):
        if path.is_dir():
            refuse_folder(path)
        return read_mtx(path, choice)
    try:
        with path.open("rb") as file:
            start = file.read(len(_HDF5))
    except OSError as err:
        raise TableError(f"cannot read {path}: {reason(err)}") from err
    if start == _HDF5:
        return _read_hdf5(path, choice)
    if start.startswith(_PARQUET):
        return read_parquet(path, choice)
    if path.name.lower().endswith(_IN_HDF5):
        raise TableError(
            f"{path} has the name of an HDF5 file, but is not one; correct the name, or make it again"
        )
    refuse_content(path, start)
    choice.check(path, "a table")
    _refuse_links(path)
    return read_expression(path, orientation=choice.orientation)


def files_of(path: Path) -> tuple[Path, ...]:
    """Files that a matrix is read from."""
    return matrix_files(path) if path.is_dir() or path.name.lower().endswith(_MTX) else (path,)


def _read_hdf5(path: Path, choice: MatrixChoice) -> Expression:
    try:
        with reading(path) as file:
            if "obs" in file and "var" in file:
                return read_h5ad(path, file, choice)
            if "row_attrs" in file and "col_attrs" in file and isinstance(file.get("matrix"), h5py.Dataset):
                return read_loom(path, file, choice)
            group = tenx_group(path, file)
            if group is None:
                raise no_matrix(path, file)
            return read_tenx_h5(path, file[group], choice)
    except UNREADABLE as err:
        raise TableError(f"{path} is truncated or damaged ({err}); make or download it again") from err


def _refuse_links(path: Path) -> None:
    """Refuse a list of links, by its header or, without one, by two names and a number."""
    lines = head(path, 1)
    if not lines:
        return
    header = fields_of(lines[0], separator(lines[0]))
    headless = len(header) == 3 and [is_number(field) for field in header] == [False, False, True]
    if headless or (len(header) <= 6 and named_columns(header) is not None):
        raise TableError(
            f"{path} is a list of links, not of expression: give the matrix of genes and samples that it was inferred "
            "from"
        )
