"""What is computed once of a tensor and kept in a file: in its directory, or elsewhere where that is named."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from predictd.engine import Engine
from predictd.errors import OutputError
from predictd.io.hdf5 import Arrays, ForeignFileError, read_arrays, write_arrays
from predictd.io.kept import kept
from predictd.io.tensor.store import Tensor
from predictd.pairs import Experiment

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Kind:
    """A kind of file: what its header calls it, and what messages do."""

    format: str
    version: int
    name: str

    @cached_property
    def header(self) -> Callable[[Path], dict[str, Any]]:
        """What reads the header of a whole file: once, as long as the file stays the same."""
        return kept()(lambda path: read_arrays(path, format=self.format, version=self.version)[0])


def header_of(tensor: Tensor) -> dict[str, Any]:
    """What every such file says of its tensor."""
    return {"tensor": tensor.manifest.checksum, "experiments": [str(e) for e in tensor.experiments]}


def ensure_sidecar(
    target: Path,
    kind: Kind,
    header: Mapping[str, Any],
    compute: Callable[[], Arrays],
    tensor: Tensor,
    engine: Engine,
    *,
    named: bool,
) -> Path:
    """See that a file with this header exists, and return it; where it has to be made, `compute` gives its arrays.

    Parameters
    ----------
    target, kind, header
        The file.
    compute
        Called where it does not exist.
    tensor, engine
        What it is of, and whose tasks read both.
    named
        Whether a user named it: what cannot be read, or is of another tensor, is then not overwritten.

    Raises
    ------
    OutputError
        If the file has to be written and cannot be, or a named one is not such a file, or is of another tensor.
    """
    if not _is_current(target, kind, header, tensor, named=named):
        engine.check_shared_paths(tensor.marker_file)
        arrays = compute()
        # Another process may have been quicker, and may be reading: some file systems take a replaced file from its
        # readers. Or it wrote there what it has of another tensor.
        if not _is_current(target, kind, header, tensor, named=named, tell=False):
            _write(target, kind, header, arrays)
    # Tasks open it.
    engine.check_shared_paths(target)
    return target


def read_sidecar(path: Path, kind: Kind) -> tuple[dict[str, Any], tuple[Experiment, ...], Arrays]:
    """Header, experiments and arrays, read-only, of a file that `ensure_sidecar` made.

    Raises
    ------
    OutputError
        If it is gone or damaged.
    """
    try:
        header, arrays = read_arrays(path, format=kind.format, version=kind.version)
        for array in arrays.values():
            array.setflags(write=False)
        return header, tuple(Experiment.parse(text) for text in header["experiments"]), arrays
    except (FileNotFoundError, ForeignFileError, KeyError) as err:
        raise OutputError(
            f"{path} cannot be read as {kind.name} ({err}); remove it and run the command again"
        ) from err


def is_sidecar(target: Path, kind: Kind, header: Mapping[str, Any]) -> bool:
    """Whether a whole file with this header exists."""
    with suppress(FileNotFoundError, ForeignFileError):
        return kind.header(target) == header
    return False


def of_another_tensor(path: Path, tensor: Tensor) -> OutputError:
    """What is said where the file that was named is of another tensor."""
    return OutputError(f"`moments` {path} is not of {tensor.path} but of another tensor; name another file")


def _is_current(
    target: Path, kind: Kind, header: Mapping[str, Any], tensor: Tensor, *, named: bool, tell: bool = True
) -> bool:
    """Whether the file can be used as it is; logs why not, and refuses to go on where it is somebody's."""
    try:
        found = kind.header(target)
    except FileNotFoundError:
        return False
    except ForeignFileError as err:
        if named:
            # What somebody named may be anything of theirs: it is not overwritten.
            raise OutputError(
                f"`moments` {target} cannot be read as {kind.name}: {err}; remove it, or name another file"
            ) from err
        if tell:
            log.warning("%s is made again: %s", target, err)
        return False
    if found == header:
        return True
    if named and found.get("tensor") != header["tensor"]:
        raise of_another_tensor(target, tensor)
    if tell:
        log.info("%s does not fit the tensor: made again", target)
    return False


def _write(target: Path, kind: Kind, header: Mapping[str, Any], arrays: Arrays) -> None:
    try:
        write_arrays(
            target,
            format=kind.format,
            version=kind.version,
            header=dict(header),
            arrays=arrays,
        )
    except OutputError as err:
        raise OutputError(f"{err} (`moments` keeps the {kind.name} in a file elsewhere)") from err
