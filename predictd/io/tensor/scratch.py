"""Copies of shards on a disk of the node's own, for tensors on a slow shared file system or in an object store."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from predictd.errors import OutputError
from predictd.io import files


class Scratch:
    """A directory of the node where shards are copied to when they are first opened.

    All processes of a user on a node share the copies. They stay, so that later tasks on the node find them; batch
    systems remove what they made for a job, and otherwise the directory may be removed at any time.

    Parameters
    ----------
    path
        Where the user has room, e.g. `$TMPDIR` or `/local`; it is made where it is not there.
    tensor
        Checksum of the tensor.
    """

    def __init__(self, path: Path, tensor: str) -> None:
        self.path = path
        self._directory = path / f"predictd-{os.getuid()}-{tensor[:16]}"

    def copy_of(self, original: Path, check: Callable[[], None]) -> Path:
        """The copy of a file, which is made if need be; what `check` refuses after it was copied is not kept.

        Raises
        ------
        OutputError
            If there is no room for it, or the directory cannot be used.
        FileNotFoundError
            If the original is gone.
        InputError
            If it cannot be read.
        """
        size = original.stat().st_size
        copy = self._directory / original.name
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._directory.mkdir(mode=0o700, exist_ok=True)
            if self._directory.stat().st_uid != os.getuid():
                raise PermissionError(f"{self._directory} belongs to another user")
            # One process copies while the others that want the same shard wait.
            with copy.with_suffix(".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not (copy.is_file() and copy.stat().st_size == size):
                    _copy(original, copy, check)
        except FileNotFoundError:
            raise
        except OSError as err:
            if err.filename == str(original):
                files.refuse_unreadable(original, err)
            raise OutputError(
                f"`scratch` {self.path} cannot take a copy of {original} ({size / 1e6:.0f} MB): "
                f"{os.strerror(err.errno) if err.errno else err}; free some space, name another directory, or leave "
                "`scratch` out"
            ) from err
        return copy


def _copy(original: Path, copy: Path, check: Callable[[], None]) -> None:
    partial = copy.with_suffix(".partial")
    try:
        files.copy(original, partial)
        check()
        partial.replace(copy)
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
