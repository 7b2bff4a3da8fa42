"""How much CPU time and memory the control groups of this process allow: Linux, versions 1 and 2."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from math import inf
from pathlib import Path

_MOUNTS, _GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def cpu_quota(mounts: Path = _MOUNTS, groups: Path = _GROUPS) -> float:
    """CPUs' worth of time: the least that the group of this process and those above it allow; inf without a limit.

    Parameters
    ----------
    mounts
        Where the control groups are.
    groups
        The file that names those of this process. A container may name groups that it does not see; then its own is
        where the others would be.
    """
    return _least("cpu", _quota, mounts, groups)


def memory_limit(mounts: Path = _MOUNTS, groups: Path = _GROUPS) -> float:
    """Bytes of memory, as `cpu_quota`; version 1 has a huge number in place of no limit."""
    return _least("memory", _limit, mounts, groups)


def _least(controller: str, limit: Callable[[Path], float], mounts: Path, groups: Path) -> float:
    return min(map(limit, _folders(controller, mounts, groups)), default=inf)


def _folders(controller: str, mounts: Path, groups: Path) -> Iterator[Path]:
    """Where the limits of a controller are: the group of this process and those above it."""
    for line in _lines(groups) or ["0::/"]:
        _, controllers, group = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        # Version 2; both at once; version 1, whose controllers are mounted together and linked by their single names.
        for place in (
            (mounts, mounts / "unified") if not controllers else (mounts / controller, mounts / controllers)
        ):
            own = place / group.lstrip("/")
            yield from (folder for folder in (own, *own.parents) if folder.is_relative_to(place))


def _quota(folder: Path) -> float:
    limits = (_lines(folder / name) for name in ("cpu.max", "cpu.cfs_quota_us", "cpu.cfs_period_us"))
    words = " ".join(line for lines in limits for line in lines).split()
    # `max 100000`; -1 and 100000.
    with suppress(ValueError):
        most, period = map(int, words)
        return most / period if most > 0 < period else inf
    return inf


def _limit(folder: Path) -> float:
    found = [*_lines(folder / "memory.max"), *_lines(folder / "memory.limit_in_bytes")]
    return float(found[0]) if found and found[0].isdigit() else inf


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []
