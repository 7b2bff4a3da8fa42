"""How much CPU time the control groups of this process allow: Linux, versions 1 and 2."""

from __future__ import annotations

from contextlib import suppress
from math import inf
from pathlib import Path


def cpu_quota(mounts: Path = Path("/sys/fs/cgroup"), groups: Path = Path("/proc/self/cgroup")) -> float:
    """CPUs' worth of time: the least that the group of this process and those above it allow; inf without a limit.

    Parameters
    ----------
    mounts
        Where the control groups are.
    groups
        The file that names those of this process. A container may name groups that it does not see; then its own is
        where the others would be.
    """
    found = [inf]
    for line in _lines(groups) or ["0::/"]:
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        # Version 2; both at once; version 1, whose controllers are mounted together and linked by their single names.
        for place in (
            (mounts, mounts / "unified") if not controllers else (mounts / "cpu", mounts / controllers)
        ):
            own = place / group.lstrip("/")
            found += [_quota(folder) for folder in (own, *own.parents) if folder.is_relative_to(place)]
    return min(found)


def _quota(folder: Path) -> float:
    limits = (_lines(folder / name) for name in ("cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us"))
    words = " ".join(line for lines in limits for line in lines).split()
    # `max 100000`; -1 and 100000.
    with suppress(ValueError):
        most, period = map(int, words)
        return most / period if most > 0 < period else inf
    return inf


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []
