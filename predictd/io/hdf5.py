"""Named arrays with a JSON header in one HDF5 file: the ground of model files and checkpoints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from predictd.io.files import replacing

Arrays = dict[str, npt.NDArray[Any]]


class ForeignFileError(Exception):
    """The file is damaged, or of another format or version; the message says which."""


def write_arrays(path: Path, *, format: str, version: int, header: dict[str, Any], arrays: Arrays) -> None:
    """Write a file, whole or not at all; the same content gives the same bytes."""
    with replacing(path) as partial, h5py.File(partial, "w", libver="v110") as file:
        file.attrs["format"] = format
        file.attrs["version"] = version
        file.create_dataset("header", data=json.dumps(header, sort_keys=True), dtype=h5py.string_dtype())
        for name, array in sorted(arrays.items()):
            text = array.dtype.kind == "U"
            file.create_dataset(
                name,
                data=array.astype(object) if text else array,
                dtype=h5py.string_dtype() if text else None,
            )


def read_arrays(path: Path, *, format: str, version: int) -> tuple[dict[str, Any], Arrays]:
    """Header and arrays of a file.

    Raises
    ------
    ForeignFileError
        If it is not a whole file of this format and version.
    FileNotFoundError
        If there is none.
    """
    if not path.is_file():
        raise FileNotFoundError(path)
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("format") != format:
                raise ForeignFileError(f"it is no {format}")
            if file.attrs["version"] != version:
                raise ForeignFileError(
                    f"it has version {file.attrs['version']}, this predictd reads version {version}"
                )
            header = json.loads(file["header"][()])
            arrays: Arrays = {}

            def collect(name: str, item: Any) -> None:
                if isinstance(item, h5py.Dataset) and name != "header":
                    value = item.asstr()[()] if h5py.check_string_dtype(item.dtype) else item[()]
                    arrays[name] = np.asarray(value)

            file.visititems(collect)
    except (OSError, KeyError, ValueError, RuntimeError) as err:
        raise ForeignFileError("it is truncated or damaged") from err
    return header, arrays
