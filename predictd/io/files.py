"""Small file operations that everything else relies on: atomic replacement, checksums, JSON."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from predictd.constants import PARTIAL
from predictd.errors import OutputError


@contextmanager
def replacing(path: Path, *, many_writers: bool = False) -> Iterator[Path]:
    """Yield a temporary name beside `path` that is renamed onto it when the block ends well.

    Whoever looks at `path` sees the old file or the whole new one. The temporary name is the same every time,
    so that what a killed process leaves is overwritten by the next try.

    Parameters
    ----------
    path
        The file.
    many_writers
        Several processes, perhaps on several machines, may write the file at once: each takes a name of its own.

    Raises
    ------
    OutputError
        If the file cannot be written or renamed.
    """
    partial = path.with_name(f".{path.name}{PARTIAL}")
    if many_writers:
        partial = unique_name(partial)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException as err:
        # Where nothing can be written, nothing can be removed either.
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        if isinstance(err, OSError):
            raise cannot_write(path, err) from err
        raise


def unique_name(path: Path) -> Path:
    """A name beside `path` that no other process on any machine takes."""
    return path.with_name(f"{path.name}-{uuid.uuid4().hex}")


def cannot_write(path: Path, err: OSError) -> OutputError:
    """The one-line error for an output that the system does not let us write."""
    reason = os.strerror(err.errno) if err.errno else str(err).splitlines()[0]
    return OutputError(f"cannot write {path}: {reason}; free some space or name a place you may write to")


def require_space(path: Path, n_bytes: int) -> None:
    """See that the disk has room for so much more in the directory of `path`.

    Raises
    ------
    OutputError
        If it has not.
    """
    try:
        disk = os.statvfs(path.parent)
    except OSError as err:
        raise cannot_write(path, err) from err
    if disk.f_bavail * disk.f_frsize < n_bytes:
        raise OutputError(f"cannot write {path}: the disk is full; free some space and run the command again")


def exists(path: Path) -> bool:
    """Whether there is a file or directory; False also where nobody may look, or under an impossible name."""
    try:
        return path.exists()
    except OSError:
        return False


def write_text(path: Path, text: str, *, many_writers: bool = False) -> None:
    """Replace `path` by `text` in UTF-8; see `replacing`."""
    with replacing(path, many_writers=many_writers) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any, *, many_writers: bool = False) -> None:
    """Replace `path` by indented JSON with sorted keys; see `replacing`."""
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n"
    write_text(path, text, many_writers=many_writers)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(2**20):
            digest.update(piece)
    return digest.hexdigest()


def sha256_of_json(value: Any) -> str:
    """SHA-256 of a value's canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, allow_nan=False).encode()).hexdigest()


def make_directory(path: Path) -> Path:
    """Make `path` and its parents, and see that files can be made in it.

    Raises
    ------
    OutputError
        If it is a file, or cannot be made or written to.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".writable{PARTIAL}"
        probe.touch()
        probe.unlink(missing_ok=True)  # Another process may be looking at the same time.
    except OSError as err:
        raise cannot_write(path, err) from err
    return path


def remove_tree(path: Path) -> None:
    """Remove a directory that may be absent."""
    shutil.rmtree(path, ignore_errors=True)
