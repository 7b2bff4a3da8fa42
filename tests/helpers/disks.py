"""Places that are full, or cannot be written."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MIB = 2**20
# A file that nobody may read, root neither (Linux).
FORBIDDEN = Path("/proc/sys/vm/drop_caches")


@contextmanager
def small_disk(path: Path, size: str, *, options: str = "") -> Iterator[Callable[[str], None]]:
    """A file system of its own at `path`; yields a function that mounts it again with other options.

    Skips the test where mounting is not allowed (root's privilege on Linux).
    """
    path.mkdir()

    def mount(options: str) -> int:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)]
        return subprocess.run(command, capture_output=True, check=False).returncode

    try:
        allowed = mount(",".join(filter(None, [f"size={size}", options]))) == 0
    except FileNotFoundError:
        allowed = False
    if not allowed:
        pytest.skip("mounting a small file system is not allowed here")
    try:
        yield lambda options: subprocess.run(["mount", "-o", f"remount,{options}", str(path)], check=True)
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def unwritable(tmp_path: Path) -> Iterator[Path]:
    """Places where not even root can make a file."""
    (tmp_path / "file").write_text("")
    yield tmp_path / "file" / "below"
    yield tmp_path / ("long" * 100)
    if Path("/proc/self").exists():
        yield Path("/proc/predictd")
