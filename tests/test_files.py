"""Atomic replacement, checksums, and directories that cannot be written."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from commands import run_python
from disks import MIB, small_disk, unwritable
from folders import names
from predictd.errors import OutputError
from predictd.io import files, temporary
from predictd.io.files import (
    cannot_write,
    exists,
    make_directory,
    remove_tree,
    replacing,
    require_space,
    sha256_of,
    sha256_of_json,
    write_json,
    write_text,
)
from predictd.io.kept import MOST_BYTES, kept
from predictd.io.locking import check_hdf5_locking
from predictd.io.temporary import remove_left
from refusals import refused


def test_replacing_makes_parents_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "a" / "b" / "file"
    with replacing(path) as partial:
        partial.write_bytes(b"new")
        assert partial.parent == path.parent
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert names(path.parent) == ["file"]


def test_the_old_file_stands_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with replacing(path) as partial:
        partial.write_bytes(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, OutputError])
def test_an_error_leaves_the_old_file_and_no_partial(tmp_path, error):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(error, match="reason"), replacing(path) as partial:
        partial.write_bytes(b"half")
        raise error("reason")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_an_os_error_is_told_as_one_of_writing(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with (
        refused(OutputError, f"cannot write {path}", "No space left on device", "free some space"),
        replacing(path),
    ):
        raise OSError(errno.ENOSPC, "whatever")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_a_block_that_loses_its_file_is_an_error(tmp_path):
    with refused(OutputError, "No such file"), replacing(tmp_path / "file") as partial:
        partial.unlink()


@pytest.mark.processes
def test_what_a_killed_process_left_is_removed(tmp_path):
    path = tmp_path / "file"
    for name in ("file", "file.run.json"):
        kill_while_it_writes(tmp_path / name)
    assert [name[:14] for name in names(tmp_path)] == [".file.partial-", ".file.run.json"]
    write_text(path, "new")
    assert path.read_text() == "new"
    assert [name[:14] for name in names(tmp_path)] == [".file.run.json", "file"]
    remove_left(tmp_path.parent)
    assert names(tmp_path) == ["file"]


def test_many_writers_do_not_meet(tmp_path):
    path = tmp_path / "file"
    with replacing(path) as first, replacing(path) as second:
        first.write_bytes(b"first")
        second.write_bytes(b"second")
    # The block of the first ends last; what it had was not taken for left.
    assert path.read_bytes() == b"first"
    assert names(tmp_path) == ["file"]


def test_what_another_process_writes_is_not_taken_for_left(tmp_path):
    with writing_elsewhere(tmp_path / "file") as go_on:
        write_text(tmp_path / "file", "own")
        remove_left(tmp_path)
        assert len(names(tmp_path)) == 2
        go_on()
    assert (tmp_path / "file").read_text() == "theirs"
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("error", [errno.ENOLCK, errno.ENOSYS])
def test_without_locks_what_is_a_day_old_is_left(tmp_path, monkeypatch, error):
    def refuse(*arguments: object) -> None:
        raise OSError(error, "no locks")

    kill_while_it_writes(tmp_path / "file")
    monkeypatch.setattr(temporary.fcntl, "flock", refuse)
    write_text(tmp_path / "file", "new")
    (left, _) = names(tmp_path)
    os.utime(tmp_path / left, (0, 0))
    write_text(tmp_path / "file", "new")
    assert names(tmp_path) == ["file"]


@pytest.mark.processes
def test_temporary_folders_of_killed_processes_are_removed_by_the_next(tmp_path):
    script = """
import os, sys
from pathlib import Path
from predictd.io.temporary import temporary_folder
with temporary_folder(Path(sys.argv[1])) as folder:
    (folder / "file").touch()
    os.kill(os.getpid(), int(sys.argv[2]))
"""
    killed = run_python(script, tmp_path, signal.SIGKILL.value, cwd=tmp_path)
    assert killed.returncode == -signal.SIGKILL and len(names(tmp_path)) == 1
    assert run_python(script, tmp_path, 0, cwd=tmp_path).returncode == 0
    assert names(tmp_path) == []


def test_temporary_folders_of_another_machine_are_left_when_a_week_old(tmp_path, monkeypatch):
    """Locks on folders are not seen through NFS; those on files are."""
    with monkeypatch.context() as patch:
        patch.setattr(temporary, "_machine", lambda: "another")
        there, inside, file = (
            temporary.make_temporary_folder(tmp_path),
            temporary.new_folder(tmp_path / "out"),
            temporary.new_file(tmp_path / "file"),
        )
    for path in (there, inside, file):
        temporary.release(path)

    def tidy() -> list[str]:
        temporary._tidy.cache_clear()
        temporary._tidy(tmp_path)
        remove_left(tmp_path)
        return names(tmp_path)

    assert tidy() == sorted([there.name, inside.name])
    for path in (there, inside):
        os.utime(path, times=(time.time() - 8 * 86_400,) * 2)
    assert tidy() == []


WRITING = """
import os, signal, sys
from pathlib import Path
from predictd.io.files import replacing
with replacing(Path(sys.argv[1])) as partial:
    partial.write_text("theirs")
    print("writing", flush=True)
    if not sys.stdin.readline():
        os.kill(os.getpid(), signal.SIGKILL)
"""


def kill_while_it_writes(path: Path) -> None:
    done = run_python(WRITING, path, cwd=path.parent)
    assert done.returncode == -signal.SIGKILL, done.stderr


@contextmanager
def writing_elsewhere(path: Path) -> Iterator[Callable[[], None]]:
    """Another process that has begun to write; yields what lets it end."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITING, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        assert process.stdout.readline() == "writing\n"

        def go_on() -> None:
            process.communicate("go on\n")
            assert process.returncode == 0

        yield go_on


def test_a_failing_disk_shows_when_the_file_is_finished(tmp_path, monkeypatch):
    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "whatever")

    path = tmp_path / "file"
    path.write_bytes(b"old")
    monkeypatch.setattr(files.os, "fsync", fail)
    with refused(OutputError, str(path), "Input/output error"):
        write_text(path, "new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_unwritable_places_are_told_in_one_line(tmp_path):
    for place in unwritable(tmp_path):
        with refused(OutputError, f"cannot write {place}", "name a place you may write to"):
            write_text(place, "text")
        with refused(OutputError, f"cannot write {place}", "name a place you may write to"):
            make_directory(place)


def test_a_directory_where_a_file_shall_stand(tmp_path):
    (tmp_path / "name").mkdir()
    with refused(OutputError, str(tmp_path / "name"), "Is a directory"):
        write_text(tmp_path / "name", "text")
    assert names(tmp_path) == ["name"]


def test_a_read_only_file_system(tmp_path):
    with small_disk(tmp_path / "disk", "1m", options="ro"):
        with refused(OutputError, "Read-only file system"):
            write_text(tmp_path / "disk" / "file", "text")
        with refused(OutputError, "Read-only file system"):
            make_directory(tmp_path / "disk" / "directory")


def test_a_full_disk_keeps_the_old_file(tmp_path):
    with small_disk(tmp_path / "disk", "256k"):
        path = tmp_path / "disk" / "file"
        write_text(path, "old")
        with refused(OutputError, f"cannot write {path}", "No space left", "free some space"):
            write_text(path, "x" * MIB)
        assert path.read_text() == "old"
        assert names(path.parent) == ["file"]


def test_room_on_the_disk(tmp_path):
    with small_disk(tmp_path / "disk", "1m"):
        path = tmp_path / "disk" / "file"
        require_space(path, MIB // 2)
        with refused(OutputError, f"cannot write {path}", "the disk is full", "run the command again"):
            require_space(path, 2 * MIB)
    with refused(OutputError, f"cannot write {tmp_path / 'absent' / 'file'}"):
        require_space(tmp_path / "absent" / "file", 1)


def test_errors_of_libraries_without_a_number_become_one_line(tmp_path):
    assert str(cannot_write(tmp_path, OSError("first\nsecond"))) == (
        f"cannot write {tmp_path}: first; free some space or name a place you may write to"
    )


def test_json_is_the_same_bytes_for_the_same_value(tmp_path):
    write_json(tmp_path / "one", {"b": [1, 2.5, None], "a": {"y": "é", "x": True}})
    write_json(tmp_path / "two", {"a": {"x": True, "y": "é"}, "b": [1, 2.5, None]})
    text = (tmp_path / "one").read_bytes()
    assert text == (tmp_path / "two").read_bytes()
    assert json.loads(text) == {"a": {"x": True, "y": "é"}, "b": [1, 2.5, None]}
    assert text.endswith(b"}\n")


def test_json_knows_no_nan(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "file", {"a": float("nan")})
    assert names(tmp_path) == []


def test_checksums(tmp_path):
    data = bytes(range(256)) * 9000
    (tmp_path / "file").write_bytes(data)
    assert sha256_of(tmp_path / "file") == hashlib.sha256(data).hexdigest()
    assert sha256_of_json({"b": 1, "a": 2}) == hashlib.sha256(b'{"a": 2, "b": 1}').hexdigest()


def test_directories_are_made_once_and_removed_whole(tmp_path):
    path = tmp_path / "a" / "b"
    assert make_directory(path) == make_directory(path) == path
    assert names(path) == []
    (path / "file").write_text("")
    remove_tree(path)
    remove_tree(path)
    assert not path.exists()


LOCKING = """
import sys
from pathlib import Path
from predictd.io.kept import MOST_BYTES, kept
from predictd.io.locking import check_hdf5_locking
from predictd.io.temporary import remove_left, temporary_folder

print(check_hdf5_locking(Path(sys.argv[1])))
"""


@pytest.mark.parametrize("mode", ["TRUE", "FALSE"])
def test_whether_locks_work(tmp_path, monkeypatch, mode):
    monkeypatch.setenv("HDF5_USE_FILE_LOCKING", mode)
    done = run_python(LOCKING, tmp_path, cwd=tmp_path)
    told = {"TRUE": "work", "FALSE": "files can be read while they are written (locks are off, or absent)"}[
        mode
    ]
    if mode == "TRUE" and done.returncode != 0:
        pytest.skip("this file system has no locks")
    assert (done.returncode, done.stdout, done.stderr) == (0, told + "\n", "")
    assert names(tmp_path) == []


def test_locks_where_nothing_can_be_written(tmp_path):
    for place in unwritable(tmp_path):
        with pytest.raises(OSError):
            check_hdf5_locking(place)


def test_exists_says_no_where_one_cannot_look(tmp_path):
    (tmp_path / "file").write_text("")
    assert exists(tmp_path / "file")
    assert exists(tmp_path)
    for place in unwritable(tmp_path):
        assert not exists(place)


def test_a_process_keeps_what_it_read_last_as_long_as_the_file_stays_the_same(tmp_path):
    read: list[Path] = []

    @kept(len)
    def content(path: Path) -> bytes:
        read.append(path)
        return path.read_bytes()

    one, other = tmp_path / "one", tmp_path / "other"
    write_text(one, "a")
    write_text(other, "b")
    assert content(one) is content(one) and read == [one]
    # Replaced by a file of the same size and time.
    time = one.stat().st_mtime_ns
    write_text(one, "c")
    os.utime(one, ns=(time, time))
    assert content(one) == b"c" and read == [one, one]
    # Only the last is kept.
    assert [content(path) for path in (other, other, one)] == [b"b", b"b", b"c"]
    assert read == [one, one, other, one]
    one.unlink()
    with pytest.raises(FileNotFoundError):
        content(one)


def test_a_process_does_not_keep_what_is_very_large(tmp_path):
    read: list[Path] = []

    @kept(lambda found: found)
    def size(path: Path) -> int:
        read.append(path)
        return int(path.read_text())

    path = tmp_path / "file"
    for n_bytes, times in ((MOST_BYTES, 1), (MOST_BYTES + 1, 2)):
        write_text(path, str(n_bytes))
        read.clear()
        assert size(path) == size(path) == n_bytes and len(read) == times
