"""Whether executors see the files that their tasks are to open: those of the driver, at the same paths."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from socket import gethostname

from predictd.engine.base import Key
from predictd.errors import EngineError

_READ_BYTES = 1 << 16
# File systems of networks may take a moment to show a new file.
_PATIENCE_SECONDS = 5.0
_POLL_SECONDS = 0.2
# What this process has seen: its next tasks need not look again.
_seen: set[MarkerFile] = set()


@dataclass(frozen=True)
class MarkerFile:
    """A file that shows executors whether a path means to them what it means to the driver.

    Attributes
    ----------
    path
        Absolute, or in an object store.
    digest
        Of its size and its first bytes.
    """

    path: Path
    digest: str

    @classmethod
    def of(cls, path: Path) -> MarkerFile:
        """Read the size and the first bytes of a file."""
        with path.open("rb") as file:
            content = f"{path.stat().st_size} ".encode() + file.read(_READ_BYTES)
        return cls(path.absolute(), hashlib.sha256(content).hexdigest())


def marker_files(files: Iterable[Path]) -> tuple[MarkerFile, ...]:
    """Of the files that are there: a job that has ended has removed its own."""
    return tuple(MarkerFile.of(file) for file in files if file.is_file())


def require_absolute(files: Iterable[Path]) -> None:
    """Refuse relative paths where the driver runs in a directory that the cluster made for it, and will remove."""
    for file in files:
        if not file.is_absolute():
            raise EngineError(
                f"{file} is relative to {Path.cwd()}, which the cluster removes when the application ends "
                "(spark.submit.deployMode is cluster): give absolute paths on a file system that all executors share, "
                "or URLs of a store"
            )


def look(marker_file: MarkerFile) -> None:
    """Raise EngineError unless this process sees what the driver sees."""
    if marker_file in _seen:
        return
    end = time.monotonic() + _PATIENCE_SECONDS
    problem = ""
    while True:
        try:
            if MarkerFile.of(marker_file.path) == marker_file:
                _seen.add(marker_file)
                return
            problem = "has another file there"
        except OSError as err:
            problem = f"says: {err.strerror}"
        if time.monotonic() > end:
            break
        time.sleep(_POLL_SECONDS)
    raise EngineError(
        f"the executor on {gethostname()} does not see {marker_file.path} as the driver does ({problem}): put input "
        "and output on a file system that all executors share, or name URLs of a store"
    )


def nothing(key: Key, shared: None) -> None:
    """A task of which the beginning is what matters."""
