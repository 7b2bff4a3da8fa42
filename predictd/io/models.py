"""Model files: kind, parameters, hyper-parameters, history, fold and provenance in one HDF5 file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from predictd.constants import MODEL_FORMAT, MODEL_VERSION
from predictd.errors import ModelFormatError
from predictd.io.hdf5 import Arrays, ForeignFileError, read_arrays, write_arrays


@dataclass(frozen=True)
class ModelFile:
    """What a model file holds.

    Attributes
    ----------
    kind
        `cp`, …: says how the parameters are meant.
    parameters
        Named arrays.
    info
        Plain values: solver, settings, fold, seed, tensor checksum, history, software.
    """

    kind: str
    parameters: Arrays
    info: dict[str, Any]


def write_model(path: Path, model: ModelFile) -> None:
    """Write a model file, whole or not at all."""
    write_arrays(
        path,
        format=MODEL_FORMAT,
        version=MODEL_VERSION,
        header={"kind": model.kind, "info": model.info},
        arrays=model.parameters,
    )


def read_model(path: Path) -> ModelFile:
    """Read a model file.

    Raises
    ------
    ModelFormatError
        If it is missing, damaged or foreign.
    """
    try:
        header, parameters = read_arrays(path, format=MODEL_FORMAT, version=MODEL_VERSION)
        return ModelFile(str(header["kind"]), parameters, dict(header["info"]))
    except FileNotFoundError as err:
        if path.is_dir():
            raise ModelFormatError(f"{path} is a directory; name the model file") from err
        raise ModelFormatError(f"{path} does not exist; make a model with 'predictd train'") from err
    except (ForeignFileError, KeyError, TypeError, ValueError) as err:
        raise ModelFormatError(f"{path} is not a model that can be read: {err}; train it again") from err
