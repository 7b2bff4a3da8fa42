"""Named arrays with a JSON header in one HDF5 file: the ground of model files and checkpoints."""

from __future__ import annotations

import gc
import io
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from predictd.io.files import refuse_unreadable, replacing
from predictd.io.remote import RemotePath

Arrays = dict[str, npt.NDArray[Any]]
# What reading raises, by way of the HDF5 library or of plain Python, where a file is not what it should be.
UNREADABLE = (OSError, KeyError, IndexError, ValueError, TypeError, AttributeError, RuntimeError)

# Smaller arrays are not worth a map.
_MAPPED_BYTES = 2**20


class ForeignFileError(Exception):
    """The file is damaged, or of another format or version; the message says which."""


class _Sink:
    """A new file that tells HDF5 of no failed write.

    HDF5 does not survive a failed write: it goes on without telling, or crashes. Here the first failure is kept,
    what follows is dropped, and whoever gave the file to HDF5 asks for `error` afterwards.
    """

    def __init__(self, path: Path) -> None:
        self.error: OSError | None = None
        self._file = path.open("w+b", buffering=0)

    def write(self, data: Any) -> int:
        rest = memoryview(data).cast("B")
        size = len(rest)
        try:
            while self.error is None and rest:
                rest = rest[self._file.write(rest) :]
        except OSError as err:
            self.error = err
        return size

    def truncate(self, size: int) -> None:
        try:
            if self.error is None:
                self._file.truncate(size)
        except OSError as err:
            self.error = err

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: Any) -> int | None:
        return self._file.readinto(buffer)

    def read(self, size: int = -1) -> bytes | None:
        return self._file.read(size)

    def flush(self) -> None:
        """Nothing is held back here."""

    def close(self) -> None:
        try:
            self._file.close()
        except OSError as err:
            self.error = self.error or err


@contextmanager
def creating(path: Path, *, format: str, version: int) -> Iterator[h5py.File]:
    """Yield a new HDF5 file that takes its name when the block ends well; see `replacing`.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    with (
        replacing(path) as partial,
        writing(partial, format=format, version=version) as file,
    ):
        yield file


@contextmanager
def writing(path: Path, *, format: str, version: int) -> Iterator[h5py.File]:
    """Yield a new HDF5 file of a file system, of a format of ours.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    with plain(path) as file:
        file.attrs["format"] = format
        file.attrs["version"] = version
        yield file


@contextmanager
def plain(path: Path) -> Iterator[h5py.File]:
    """Yield a new HDF5 file of a file system, without anything in it; see `writing`."""
    sink = _Sink(path)
    try:
        with h5py.File(sink, "w", libver="v110") as file:
            yield file
    except UNREADABLE:
        # HDF5 trips over what it could not write.
        if sink.error is None:
            raise
    finally:
        sink.close()
    if sink.error is not None:
        raise sink.error


@contextmanager
def reading(path: Path, *, by_ranges: bool = False) -> Iterator[h5py.File]:
    """Yield an HDF5 file for reading.

    An object is first read into memory, which is faster than reading it piece by piece (docs/benchmarks.md).

    Parameters
    ----------
    path
        The file.
    by_ranges
        Little of it is needed: of an object, only that is read.

    Raises
    ------
    FileNotFoundError
        If there is none.
    OSError
        If it is no HDF5 file.
    InputError
        If the system does not let us read it, whatever it is.
    RemoteError
        If an object cannot be read.
    """
    if not isinstance(path, RemotePath):
        try:
            opened = h5py.File(path, "r")
        except OSError as err:
            refuse_unreadable(path, err)
            raise
        with opened as file:
            yield file
    elif not by_ranges:
        with h5py.File(io.BytesIO(path.read_bytes()), "r") as file:
            yield file
    else:
        with path.ranges() as ranges, _garbage_kept():
            try:
                with h5py.File(ranges, "r") as file:
                    yield file
            except Exception:
                # HDF5 takes what the store said for damage.
                if ranges.error is not None:
                    raise ranges.error from None
                raise


@contextmanager
def _garbage_kept() -> Iterator[None]:
    """Collect no garbage while HDF5 waits for a store.

    It holds h5py's lock then. The store's client has a thread of its own; if that collected what is left of an open
    file, it would wait for this lock, and both for ever.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def check_format(file: h5py.File, *, format: str, version: int, oldest: int | None = None) -> None:
    """Raise ForeignFileError unless the file says that it is of this format and version, or of one since `oldest`."""
    if str(file.attrs.get("format")) != format:
        raise ForeignFileError(f"it is no {format}")
    found = file.attrs["version"]
    if not (version if oldest is None else oldest) <= found <= version:
        raise ForeignFileError(f"it has version {found}, this predictd reads version {version}")


def write_arrays(
    path: Path,
    *,
    format: str,
    version: int,
    header: dict[str, Any],
    arrays: Arrays,
) -> None:
    """Write a file, whole or not at all; the same content gives the same bytes."""
    text = json.dumps(header, sort_keys=True)
    with creating(path, format=format, version=version) as file:
        file.attrs["crc32"] = _checksum(text, arrays)
        file.create_dataset("header", data=text, dtype=h5py.string_dtype())
        for name, array in sorted(arrays.items()):
            if array.dtype.kind == "U":
                file.create_dataset(name, data=array.astype(object), dtype=h5py.string_dtype())
            else:
                file.create_dataset(name, data=array)


def read_arrays(
    path: Path, *, format: str, version: int, oldest: int | None = None, mapped: bool = False
) -> tuple[dict[str, Any], Arrays]:
    """Header and arrays of a file; see `check_format` for `oldest`.

    With `mapped` large arrays of a file on disk are read-only maps of it: processes of a machine share their memory.

    Raises
    ------
    ForeignFileError
        If it is not a whole file of this format and version.
    FileNotFoundError
        If there is none.
    """
    arrays: Arrays = {}

    def collect(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and name != "header":
            text = h5py.check_string_dtype(item.dtype) is not None
            if text:
                arrays[name] = np.asarray(item.asstr()[()], dtype=str)
            else:
                own = _map_of(path, item) if mapped else None
                arrays[name] = np.asarray(item[()]) if own is None else own

    try:
        with reading(path) as file:
            check_format(file, format=format, version=version, oldest=oldest)
            text = file["header"][()].decode()
            header: dict[str, Any] = json.loads(text)
            file.visititems(collect)
            whole = int(file.attrs["crc32"]) == _checksum(text, arrays)
    except FileNotFoundError:
        raise
    except UNREADABLE as err:
        if not path.is_file():
            raise FileNotFoundError(path) from err
        raise ForeignFileError("it is truncated or damaged") from err
    if not whole:
        raise ForeignFileError("it is damaged")
    return header, arrays


def _map_of(path: Path, item: h5py.Dataset) -> npt.NDArray[Any] | None:
    """A read-only map of an array in a file; None where it is small, not in one piece, or not in a file system."""
    place = item.id.get_offset()
    if (
        isinstance(path, RemotePath)
        or item.nbytes < _MAPPED_BYTES
        or place is None
        or place % item.dtype.itemsize
    ):
        return None
    return np.asarray(np.memmap(path, item.dtype, "r", place, item.shape))


def _checksum(header: str, arrays: Arrays) -> int:
    """CRC-32 of the content; numbers in HDF5 carry no checksum of their own."""
    crc = zlib.crc32(header.encode())
    for name, array in sorted(arrays.items()):
        text = array.dtype.kind == "U"
        crc = zlib.crc32(f"{name} {'text' if text else array.dtype.str} {array.shape}".encode(), crc)
        data: Any = json.dumps(array.tolist()).encode() if text else np.ascontiguousarray(array)
        crc = zlib.crc32(data, crc)
    return crc
