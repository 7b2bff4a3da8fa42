"""Temporary files and folders: no name is used twice, and what a killed process has left is found and removed.

Who makes one holds a shared lock on it (flock) for as long as it is in use. The lock ends with its process, however
that ends. So what is not locked any more is nobody's. HDF5's readers take shared locks too: a file may be read as soon
as it has its last name. Where a file system has no locks, what has not changed for a day is nobody's. Locks on folders
of a network file system (NFS) are seen on the machine only that took them. So each name says on which machine it was
drawn, and a folder of another one is nobody's when it has not changed for a week.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from predictd.constants import PARTIAL

_PREFIX = "predictd-temporary-"
_DAY_SECONDS = 86_400
_FOREIGN_DAYS = 7
# Open as long as the temporary file or folder of that name is in use.
_LOCKS: dict[Path, int] = {}


def unique_name(path: Path, suffix: str = "") -> Path:
    """A hidden name in the directory of `path` that no other process on any machine takes; `remove_left` knows it."""
    drawn = f"{_machine()}{uuid.uuid4().hex[:10]}"
    return path.with_name(f".{path.name.lstrip('.')}{PARTIAL}-{drawn}{suffix}")


def new_file(path: Path, suffix: str = "") -> Path:
    """Make an empty file in which `path` can grow, and hold it; see `unique_name`."""
    while True:
        partial = unique_name(path, suffix)
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        if _hold(partial):
            return partial


def new_folder(path: Path) -> Path:
    """Make a folder in which the folder `path` can grow, and hold it; see `unique_name`."""
    while True:
        partial = unique_name(path)
        partial.mkdir(parents=True)
        if _hold(partial):
            return partial


def make_temporary_folder(place: Path | None = None) -> Path:
    """Make a folder in the system's temporary directory (TMPDIR), or in `place`, and hold it."""
    place = Path(tempfile.gettempdir()) if place is None else place
    _tidy(place)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{_machine()}", dir=place))
        if _hold(folder):
            return folder


@contextmanager
def temporary_folder(place: Path | None = None) -> Iterator[Path]:
    """`make_temporary_folder` for a block; it is removed with all that is in it."""
    folder = make_temporary_folder(place)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        release(folder)


def release(partial: Path) -> None:
    """Hold a temporary file or folder no longer: it has its last name, or is removed."""
    if (lock := _LOCKS.pop(partial, None)) is not None:
        os.close(lock)


def hold_alone(path: Path, waiting: Callable[[], None]) -> None:
    """Lock a file, which is made where it is not there, until `release`, or until the process ends.

    Parameters
    ----------
    path
        The file.
    waiting
        Called again and again while another process has it; what it raises ends the waiting.
    """
    while path not in _LOCKS:
        lock = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            waiting()
            continue
        except OSError:
            # Where there are no locks, nobody waits.
            pass
        if _is_of(lock, path):
            _LOCKS[path] = lock
        else:
            # Whoever had it has removed it.
            os.close(lock)


def remove_left(folder: Path, name: str = "") -> None:
    """Remove what killed processes have left of the file `name` in a folder, or of all files in it and below."""
    beginning = f".{name.lstrip('.')}{PARTIAL}-" if name else "."
    with suppress(OSError):
        for entry in list(os.scandir(folder)):
            if entry.name.startswith(beginning) and f"{PARTIAL}-" in entry.name:
                _remove(Path(entry.path))
            elif not name and entry.is_dir(follow_symlinks=False):
                remove_left(Path(entry.path))


@cache
def _machine() -> str:
    """Six digits for the running system of this machine, whose processes see each other's locks; in any container."""
    try:
        system = Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:
        system = platform.node()
    return hashlib.sha256(system.encode()).hexdigest()[:6]


@cache
def _tidy(place: Path) -> None:
    """Remove the temporary folders of killed processes, once in a process."""
    with suppress(OSError):
        for entry in list(os.scandir(place)):
            if entry.name.startswith(_PREFIX):
                _remove(Path(entry.path))


def _hold(path: Path) -> bool:
    """Lock a temporary file or folder; False where another process has taken it for left and removed it."""
    try:
        lock = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    # Where there are no locks, its age tells.
    with suppress(OSError):
        fcntl.flock(lock, fcntl.LOCK_SH)
    if not _is_of(lock, path):
        os.close(lock)
        return False
    _LOCKS[path] = lock
    return True


def _is_of(lock: int, path: Path) -> bool:
    """Whether what is open is what has that name now."""
    try:
        return os.path.samestat(os.fstat(lock), path.stat())
    except FileNotFoundError:
        return False


def _remove(path: Path) -> None:
    """Remove a temporary file or folder, unless a process holds it."""
    with suppress(OSError):
        # A network file system gives exclusive locks only of files that are open for writing.
        lock = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
        try:
            if _is_left(lock, foreign=path.is_dir() and f"-{_machine()}" not in path.name):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        finally:
            os.close(lock)


def _is_left(lock: int, *, foreign: bool) -> bool:
    days = _FOREIGN_DAYS if foreign else 0
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        days = days or 1
    return not days or time.time() - os.fstat(lock).st_mtime > days * _DAY_SECONDS
