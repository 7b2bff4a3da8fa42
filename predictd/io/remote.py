"""Paths in object stores: `s3://…`, `gs://…` and `abfs://…` where a path of the file system would do.

A `RemotePath` is a `Path`, so that whoever joins, names and opens files need not know which it has. Stores have no
directories, no renaming and no appending: an object is written whole, by `upload` or `create`, and a directory is there
as long as something is in it. What would need more raises TypeError.

Those of universal_pathlib would not do: they are no `Path`, take an absent bucket for an absent file, and create no
object so that of several processes one succeeds.
"""

from __future__ import annotations

import io
import os
import posixpath
import re
import stat as modes
from collections.abc import Generator, Iterator
from fnmatch import fnmatchcase
from pathlib import Path, PosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from predictd.errors import ConfigError, RemoteError
from predictd.io.clients import SCHEMES, client, explained, require_client

# What precedes a path that is an address.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
# Other names of schemes: Hadoop's for S3, and gcsfs' own.
_ALIASES = {"s3a": "s3", "s3n": "s3", "gcs": "gs"}
# What pathlib makes of an address, what is typed in haste, and what Hadoop and Databricks write.
_ONE_SLASH = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/(?!/)")
# Keys may hold question marks; what follows one in an address does not belong to a key.
_PARAMETERS = re.compile(r"\?[^/]*=")
# Bytes asked for at a time: of an object that is read from beginning to end, and of one that is read here and there.
_AHEAD = 8 * 2**20
_RANGE = 2**20


def scheme_of(text: str) -> str | None:
    """What an address begins with, in lower case and by one name for each store; None for a path."""
    found = _SCHEME.match(text)
    return _ALIASES.get(found[1].lower(), found[1].lower()) if found else None


def is_remote(text: str) -> bool:
    """Whether a path is the URL of an object in a store."""
    return scheme_of(text) in SCHEMES


def as_path(text: str) -> Path:
    """A path of the file system, or of an object store where it is such a URL.

    Raises
    ------
    ConfigError
        If the client of the store is not installed, or the URL names no bucket, or holds more than a path; if it is an
        address of another kind.
    """
    hasty = _ONE_SLASH.match(text)
    scheme = hasty[1].lower() if hasty else scheme_of(text)
    if scheme is None:
        return Path(text)
    if scheme == "file":
        return _local(text)
    named = f", or ./{scheme}:/ for a directory of that name" if hasty else ""
    if hasty and scheme in (*SCHEMES, *_ALIASES):
        raise ConfigError(
            f"{scheme}:/ has one slash where an address has two: write {scheme}://BUCKET/PATH, as a text (a "
            f"pathlib.Path drops one){named}"
        )
    if scheme not in SCHEMES:
        raise ConfigError(_unknown(scheme) + named)
    rest = text.partition("://")[2]
    place = rest.partition("/")[0]
    # Neither is repeated in the message: both may be secrets.
    if _PARAMETERS.search(rest) or (":" in place.partition("@")[0] and "@" in place):
        raise ConfigError(
            f"a {scheme}:// path is only bucket and key: put credentials into the environment or a profile "
            "(docs/stores.md)"
        )
    if not place:
        raise ConfigError(f"{text} names no bucket or container: use {scheme}://BUCKET/PATH")
    require_client(scheme)
    return RemotePath(f"{scheme}://{rest}")


def _local(text: str) -> Path:
    parts = urlsplit(text)
    if parts.netloc not in ("", "localhost"):
        raise ConfigError(
            "file:// is followed by a path of this machine: write file:///PATH, or the path alone"
        )
    return Path(unquote(parts.path))


def _unknown(scheme: str) -> str:
    """What to do with an address that is not read; it is not repeated, since it may hold secrets."""
    known = "a path of this machine's file systems, or s3://, gs:// or abfs:// (docs/stores.md)"
    if scheme in ("http", "https"):
        return (
            f"{scheme}:// addresses are read as tracks of a table only: download the file, and give {known}"
        )
    return f"{scheme}:// addresses are not read or written: copy the files, and give {known}"


class RemotePath(PosixPath):
    """An object, or what keys begin with, in a store.

    It travels to other processes as its URL alone; each makes a client of its own.
    """

    def __str__(self) -> str:
        return super().__str__().replace(":/", "://", 1)

    def __fspath__(self) -> str:
        raise TypeError(f"{self} is in an object store, which is not a file system")

    @property
    def _key(self) -> str:
        """Bucket and key, as fsspec wants them."""
        if len(self.parts) < 2:
            raise RemoteError(f"{self} names no bucket; give a path in one")
        return "/".join([self.parts[1].partition("@")[0], *self.parts[2:]])

    @property
    def _client(self) -> Any:
        return client(self.parts[0].rstrip(":"), self.parts[1])

    # -- paths ----------------------------------------------------------------------------------------------------

    def is_absolute(self) -> bool:
        """Tell whether it begins at a root; a URL always does."""
        return True

    def absolute(self) -> RemotePath:
        """Give the same path: a URL is absolute."""
        return self

    def resolve(self, strict: bool = False) -> RemotePath:
        """Take `.` and `..` out of the key; stores have no links to follow."""
        return type(self)(self.parts[0], posixpath.normpath("/".join(self.parts[1:])))

    # -- looking --------------------------------------------------------------------------------------------------

    def _info(self) -> dict[str, Any] | None:
        try:
            with explained(f"look at {self}"):
                return dict(self._client.info(self._key))
        except FileNotFoundError:
            return None

    def exists(self, *, follow_symlinks: bool = True) -> bool:
        """Ask the store for an object or a prefix of that name."""
        return self._info() is not None

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        """Ask the store whether it is an object."""
        info = self._info()
        return info is not None and info["type"] == "file"

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """Ask the store whether keys begin with it; raises RemoteError where there is no such container."""
        info = self._info()
        if info is None:
            self.require_container()
        return info is not None and info["type"] == "directory"

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Size and kind; stores know no more that a file system does."""
        info = self._known()
        kind = modes.S_IFREG if info["type"] == "file" else modes.S_IFDIR
        return os.stat_result((kind, 0, 0, 1, 0, 0, info["size"] or 0, 0, 0, 0))

    def state(self) -> dict[str, Any]:
        """Size of the object, and the store's tag of what it holds now; see `predictd.io.files.state_of`."""
        info = self._known()
        tag = str(info.get("ETag") or info.get("etag") or "").strip('"')
        return {"bytes": info["size"], "modified": tag}

    def _known(self) -> dict[str, Any]:
        info = self._info()
        if info is None:
            raise self._absent()
        return info

    def require_container(self) -> None:
        """Raise RemoteError unless the bucket is there and lets us look into it."""
        top = type(self)(*self.parts[:2])
        with explained(f"use {top}"):
            try:
                self._client.info(top._key)
            except FileNotFoundError as err:
                raise RemoteError(
                    f"cannot use {self}: there is no such bucket or container; make it, or correct its name"
                ) from err

    def _absent(self) -> FileNotFoundError:
        self.require_container()
        return FileNotFoundError(2, os.strerror(2), str(self))

    def names(self) -> set[str]:
        """Keys of all objects below, relative to this one."""
        start = f"{self._key}/"
        try:
            with explained(f"list {self}"):
                return {found.removeprefix(start) for found in self._client.find(self._key)} - {self._key, ""}
        except FileNotFoundError:
            return set()

    def iterdir(self) -> Generator[RemotePath, None, None]:
        """List what is directly below, sorted by name."""
        for name in sorted({name.partition("/")[0] for name in self.names()}):
            yield self / name

    def glob(self, pattern: str, **options: Any) -> Iterator[RemotePath]:  # type: ignore[override]
        """What is directly in this directory and has such a name."""
        return (path for path in self.iterdir() if fnmatchcase(path.name, pattern))

    # -- reading --------------------------------------------------------------------------------------------------

    def read_bytes(self) -> bytes:
        """The whole object, by one request or by several at once, as the client does it."""
        try:
            with explained(f"read {self}"):
                return bytes(self._client.cat_file(self._key))
        except FileNotFoundError as err:
            raise self._absent() from err

    def read_text(self, encoding: str | None = None, errors: str | None = None, **options: Any) -> str:
        """Read the whole object as text, UTF-8 unless an encoding is given."""
        return self.read_bytes().decode(encoding or "utf-8", errors or "strict")

    def open(  # type: ignore[override]
        self, mode: str = "r", buffering: int = -1, *, encoding: str | None = None, **options: Any
    ) -> Any:
        """Open for reading, from beginning to end; without buffering see `ranges`."""
        if set(mode) - set("rbt"):
            raise TypeError(f"{self} is in an object store: objects are uploaded whole")
        if not buffering:
            return self.ranges()
        file = io.BufferedReader(self._reader("readahead", _AHEAD))
        return file if "b" in mode else io.TextIOWrapper(file, encoding=encoding)

    def ranges(self) -> RangeReader:
        """Open for reading here and there: what has been read is kept, up to some blocks of a megabyte."""
        return self._reader("blockcache", _RANGE)

    def _reader(self, cache: str, size: int) -> RangeReader:
        try:
            with explained(f"read {self}"):
                return RangeReader(
                    self, self._client.open(self._key, "rb", cache_type=cache, block_size=size)
                )
        except FileNotFoundError as err:
            raise self._absent() from err

    def download(self, target: Path) -> None:
        """Copy the object to a file."""
        try:
            with explained(f"read {self}"):
                self._client.get_file(self._key, str(target))
        except FileNotFoundError as err:
            raise self._absent() from err

    # -- writing --------------------------------------------------------------------------------------------------

    def upload(self, source: Path) -> None:
        """Put a file here, in parts where it is large; it replaces what is there once it is whole.

        Rights and encryption are those that the bucket gives.
        """
        try:
            with explained(f"write {self}"):
                self._client.put_file(str(source), self._key)
        except FileNotFoundError as err:
            raise self._absent() from err

    def create(self, data: bytes) -> None:
        """Put an object here.

        Raises
        ------
        FileExistsError
            If there is one; of several processes that try at once one succeeds.
        """
        try:
            with explained(f"write {self}"):
                self._client.pipe_file(self._key, data, mode="create")
        except FileNotFoundError as err:
            raise self._absent() from err

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Nothing: whatever is written makes its directory."""

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the object; raises FileNotFoundError where there is none, unless `missing_ok`."""
        try:
            with explained(f"remove {self}"):
                self._client.rm_file(self._key)
        except FileNotFoundError as err:
            if not missing_ok:
                raise self._absent() from err

    def remove_tree(self) -> None:
        """Remove all objects below; there may be none."""
        for name in sorted(self.names()):
            (self / name).unlink(missing_ok=True)


class RangeReader(io.RawIOBase):
    """An object as a file for libraries that ask for pieces of it, and that may turn errors into their own.

    Attributes
    ----------
    error
        The first thing that went wrong, for whoever gave the file to a library.
    """

    def __init__(self, path: RemotePath, file: Any) -> None:
        self.error: Exception | None = None
        self._path = path
        self._file = file

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that any byte can be read next."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a byte; the new position."""
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        """Position of the next byte that is read."""
        return int(self._file.tell())

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer; how many bytes were read, 0 at the end. An error is kept in `error` as well."""
        try:
            with explained(f"read {self._path}"):
                data = self._file.read(len(buffer))
        except FileNotFoundError as err:
            self.error = self.error or RemoteError(f"{self._path} is gone; was it removed while it was read?")
            raise self.error from err
        except Exception as err:
            self.error = self.error or err
            raise
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the connection to the object."""
        if not self.closed:
            self._file.close()
        super().close()
