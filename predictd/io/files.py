"""Small file operations that everything else relies on: atomic replacement, checksums, JSON."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import resource
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from predictd.constants import NETWORK_H5, PARTIAL, RUN_JSON
from predictd.errors import InputError, OutputError
from predictd.io.remote import RemotePath
from predictd.io.temporary import make_temporary_folder, new_file, release, remove_left

# Rights, locks, and failing disks, servers and machines.
_NOT_CONTENT = (
    *(errno.EACCES, errno.EPERM, errno.EAGAIN, errno.ENOLCK, errno.EIO, errno.ESTALE, errno.ETIMEDOUT),
    *(errno.ENOTCONN, errno.EHOSTDOWN, errno.EMFILE, errno.ENFILE, errno.ENOMEM),
)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary file, empty, that takes the place of `path` when the block ends well; see `staging`.

    Whoever looks at `path` sees the old file or the whole new one. Several processes, perhaps on several machines, may
    write the file at once.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    OutputError
        If the file cannot be written or renamed.
    RemoteError
        If an object store does not take it.
    """
    partial = path
    try:
        partial = staging(path)
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        put_in_place(partial, path)
    except BaseException as err:
        give_up(partial, path)
        if isinstance(err, OSError):
            raise cannot_write(path, err) from err
        raise


def staging(path: Path, *, suffix: str = "") -> Path:
    """A new file on a file system that can grow until it is whole and `put_in_place` makes it `path`.

    It is next to `path`, under a name that no other process has; what a killed process has left is removed when the
    file is put in place. For an object it is in a directory of its own in the system's temporary directory (TMPDIR).

    Parameters
    ----------
    path
        The file that is made.
    suffix
        What the name has to end with.
    """
    if isinstance(path, RemotePath):
        return make_temporary_folder() / f"{path.name}{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    return new_file(path, suffix)


def put_in_place(partial: Path, path: Path) -> None:
    """Make the whole file that grew in `staging` what it is to be: renamed, or uploaded and removed."""
    if isinstance(path, RemotePath):
        path.upload(partial)
        give_up(partial, path)
    else:
        # First: who is killed in between has to come by again.
        remove_left(path.parent, path.name)
        partial.replace(path)
        release(partial)


def give_up(partial: Path, path: Path) -> None:
    """Remove what `staging` has made, if it is there."""
    if partial == path:
        return
    # Where nothing can be written, nothing can be removed either.
    with suppress(OSError):
        partial.unlink(missing_ok=True)
        if partial.parent != path.parent:
            partial.parent.rmdir()
    release(partial)
    release(partial.parent)


def cannot_write(path: Path, err: OSError) -> OutputError:
    """The one-line error for an output that the system does not let us write."""
    reason = os.strerror(err.errno) if err.errno else str(err).splitlines()[0]
    if (place := _grows_in(path)) != path.parent:
        return OutputError(
            f"cannot write {path}: {reason} in {place}, where files are kept until they are uploaded; "
            "free some space, or name another directory with TMPDIR"
        )
    return OutputError(f"cannot write {path}: {reason}; free some space or name a place you may write to")


def _grows_in(path: Path) -> Path:
    """The directory whose disk takes the file that `staging` names."""
    return Path(tempfile.gettempdir()) if isinstance(path, RemotePath) else path.parent


def require_space(path: Path, n_bytes: int) -> None:
    """See that the disk has room for so much more where `path` grows; see `staging`.

    Raises
    ------
    OutputError
        If it has not.
    """
    try:
        disk = os.statvfs(_grows_in(path))
    except OSError as err:
        raise cannot_write(path, err) from err
    if disk.f_bavail * disk.f_frsize < n_bytes:
        if _grows_in(path) != path.parent:
            raise cannot_write(path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        raise OutputError(f"cannot write {path}: the disk is full; free some space and run the command again")


def require_size(file: Path, path: Path, n_bytes: int) -> None:
    """See that `file`, which is to become `path`, may grow by so much: shells and batch systems limit sizes of files.

    Raises
    ------
    OutputError
        If it may not.
    """
    most, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    if most != resource.RLIM_INFINITY and file.stat().st_size + n_bytes > most:
        raise OutputError(
            f"cannot write {path}: the largest file allowed here has {most:,} bytes (ulimit -f), which is too little; "
            "raise the limit"
        )


def copy(source: Path, target: Path) -> None:
    """Copy a file or an object to a file."""
    if isinstance(source, RemotePath):
        source.download(target)
    else:
        shutil.copyfile(source, target)


def unreadable(path: Path | str, err: Exception) -> InputError | None:
    """The error of a file that the system does not let us read, whatever is in it; None where it may be damaged."""
    if not isinstance(err, OSError) or err.errno not in _NOT_CONTENT:
        return None
    what = "run the command again when the file system works, or give a copy of the file"
    if err.errno in (errno.EACCES, errno.EPERM):
        what = "see that you may read it"
    elif err.errno == errno.EAGAIN:
        what = "it is locked: run the command again when no program writes it"
    return InputError(f"{path} cannot be read: {os.strerror(err.errno)}; {what}")


def refuse_unreadable(path: Path, err: Exception) -> None:
    """Raise the error that `unreadable` gives, if it gives one."""
    if (error := unreadable(path, err)) is not None:
        raise error from err


def exists(path: Path) -> bool:
    """Whether there is a file or directory; False also where nobody may look, or under an impossible name."""
    try:
        return path.exists()
    except OSError:
        return False


def standing(directory: Path, names: Sequence[str]) -> list[str]:
    """Those of some names below a directory that are there."""
    if isinstance(directory, RemotePath) and len(names) > 1:
        # One listing instead of a question for each.
        there = directory.names()
        return [name for name in names if name in there]
    return [name for name in names if (directory / name).exists()]


def state_of(path: Path) -> dict[str, Any]:
    """What changes when a file is replaced, as plain values.

    Raises
    ------
    OSError
        If it is not there or cannot be looked at.
    """
    if isinstance(path, RemotePath):
        return path.state()
    stat = path.stat()
    return {"bytes": stat.st_size, "modified": stat.st_mtime_ns}


def write_text(path: Path, text: str) -> None:
    """Replace `path` by `text` in UTF-8; see `replacing`."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Replace `path` by indented JSON with sorted keys; see `replacing`."""
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n"
    write_text(path, text)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(2**20):
            digest.update(piece)
    return digest.hexdigest()


def checksums(*files: Path | None) -> dict[str, str]:
    """SHA-256 of each file that was given, by its path, as run.json has its inputs."""
    return {str(file): sha256_of(file) for file in files if file is not None}


def sha256_of_json(value: Any) -> str:
    """SHA-256 of a value's canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, allow_nan=False).encode()).hexdigest()


def make_directory(path: Path) -> Path:
    """Make `path` and its parents, and see that files can be made in it; of an object store, that the bucket is there.

    Raises
    ------
    OutputError
        If it is a file, or cannot be made or written to.
    RemoteError
        If there is no such bucket, or it cannot be looked into.
    """
    if isinstance(path, RemotePath):
        path.require_container()
        return path
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".writable{PARTIAL}"
        probe.touch()
        probe.unlink(missing_ok=True)  # Another process may be looking at the same time.
    except OSError as err:
        raise cannot_write(path, err) from err
    return path


def check_file(path: Path) -> None:
    """See that a file can be written, before anything is: that it is no directory, and can be made.

    Raises
    ------
    OutputError
        If it cannot.
    """
    if path.is_dir():
        raise OutputError(f"cannot write {path}: it is a directory; name a file")
    make_directory(path.parent)


def refuse_overwriting(outputs: Sequence[Path], inputs: Sequence[Path]) -> None:
    """See that no output is an input, belongs to one, or is another output.

    An output belongs to an input where it is in its directory and no earlier output, whose `OUTPUT.run.json` is next to
    it.

    Raises
    ------
    OutputError
        If one is.
    """
    for place, output in enumerate(outputs):
        if any(_same(output, other) for other in outputs[:place]):
            raise OutputError(f"{output} is named for two outputs; name another file for one of them")
        for own in inputs:
            if _same(output, own):
                raise OutputError(f"{output} is an input, too, and would be overwritten; name another output")
            if _belongs(output, own):
                raise OutputError(f"{output} belongs to {own} and would be overwritten; name another output")


def _same(one: Path, other: Path) -> bool:
    """Whether two paths lead to the same place, also through links."""
    if not isinstance(one, RemotePath) and not isinstance(other, RemotePath):
        with suppress(OSError):
            return one.samefile(other)
    return one.resolve() == other.resolve()


def _belongs(output: Path, own: Path) -> bool:
    """Whether an output is a file in an input's directory, or in that of its network.h5, and no earlier output."""
    directory = own.parent if own.name == NETWORK_H5 else own
    earlier = output.with_name(f"{output.name}.{RUN_JSON}")
    return _same(output.parent, directory) and output.is_file() and not exists(earlier)


def remove_tree(path: Path) -> None:
    """Remove a directory that may be absent."""
    if isinstance(path, RemotePath):
        path.remove_tree()
        return
    shutil.rmtree(path, ignore_errors=True)
