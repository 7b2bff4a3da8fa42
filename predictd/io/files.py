"""Small file operations that everything else relies on: atomic replacement, checksums, JSON."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from predictd.constants import PARTIAL
from predictd.errors import OutputError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path` that is renamed onto it when the block ends well.

    Whoever looks at `path` sees the old file or the whole new one. The temporary name is the same every time,
    so that what a killed process leaves is overwritten by the next try.

    Raises
    ------
    OutputError
        If the file cannot be written or renamed.
    """
    partial = path.with_name(f".{path.name}{PARTIAL}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as err:
        partial.unlink(missing_ok=True) if path.parent.is_dir() else None
        raise cannot_write(path, err) from err
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def cannot_write(path: Path, err: OSError) -> OutputError:
    """The one-line error for an output that the system does not let us write."""
    reason = os.strerror(err.errno) if err.errno else str(err).splitlines()[0]
    return OutputError(f"cannot write {path}: {reason}; free some space or name a place you may write to")


def write_text(path: Path, text: str) -> None:
    """Replace `path` by `text` in UTF-8."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Replace `path` by indented JSON with sorted keys."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


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
        probe.unlink()
    except OSError as err:
        raise cannot_write(path, err) from err
    return path


def remove_tree(path: Path) -> None:
    """Remove a directory that may be absent."""
    shutil.rmtree(path, ignore_errors=True)
