"""What a command takes, with all of its processes: time, memory, and the bytes that they read and write. Linux only.

Seconds of the processor and bytes are the kernel's own sums over every process that has ended, so that none is missed,
however short it was. Memory is looked up while processes run, as the largest that each has had so far: what one gains
in its last moments, a fifth of a second, is missed.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

# Processes that lose their parent become this one's, which then waits for them: linux/prctl.h.
_PR_SET_CHILD_SUBREAPER = 36
_LOOK_SECONDS = 0.2
_COUNTED = ("rchar", "wchar", "read_bytes", "write_bytes")


@dataclass
class Usage:
    """What processes took.

    Attributes
    ----------
    seconds, cpu_seconds
        On the clock, and of processors, in user and system mode.
    main_bytes
        Largest resident set of the command itself.
    worker_bytes
        That of each process below it, the largest first.
    read_bytes, written_bytes
        That were asked of the system, whether or not they were in its cache. What is mapped into memory is not counted.
    disk_read_bytes, disk_written_bytes
        That went to and from disks.
    tries
        How often it was begun: figures are of all of them.
    """

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    main_bytes: int = 0
    worker_bytes: list[int] = field(default_factory=list)
    read_bytes: int = 0
    written_bytes: int = 0
    disk_read_bytes: int = 0
    disk_written_bytes: int = 0
    tries: int = 0

    def __add__(self, other: Usage) -> Usage:
        """Of two tries, one after the other."""
        sums = {name: getattr(self, name) + getattr(other, name) for name in _SUMMED}
        workers = sorted(self.worker_bytes + other.worker_bytes, reverse=True)
        return Usage(**sums, main_bytes=max(self.main_bytes, other.main_bytes), worker_bytes=workers)


_SUMMED = tuple(name for name in vars(Usage()) if name not in ("main_bytes", "worker_bytes"))


def run(
    command: Sequence[str], log: Path, *, cwd: Path, env: Mapping[str, str] | None = None
) -> tuple[Usage, int, bool]:
    """Run a command to its end, and measure it. Call it from one thread only, with no other children at work.

    Parameters
    ----------
    command
        Program and arguments.
    log
        To which its output is added.
    cwd, env
        Its directory, and what is added to its environment.

    Returns
    -------
    What it took; its exit status, negative where a signal ended it; and whether SIGINT or SIGTERM came to this process,
    which are passed on to it.
    """
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    before, start = _totals(), time.perf_counter()
    memory: dict[int, int] = {}
    with log.open("ab") as out:
        process = subprocess.Popen(
            command,
            stdout=out,
            stderr=out,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )
    with _passed_on(process.pid) as asked:
        while _anything_runs(process):
            for child in _children(os.getpid()):
                _look(child, memory)
            time.sleep(_LOOK_SECONDS)
    seconds, after = time.perf_counter() - start, _totals()
    taken = [new - old for new, old in zip(after, before, strict=True)]
    main = memory.pop(process.pid, 0)
    workers = sorted(memory.values(), reverse=True)
    counts = [int(n) for n in taken[1:]]
    usage = Usage(seconds, taken[0], main, workers, *counts, tries=1)
    return usage, process.returncode, bool(asked)


def _totals() -> list[float]:
    """CPU seconds and the counted bytes of children that have ended: all of this process without its own threads'."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    everything = _io(Path("/proc/self/io"))
    own = [_io(task / "io") for task in Path("/proc/self/task").iterdir()]
    counts = [everything[name] - sum(one[name] for one in own) for name in _COUNTED]
    return [used.ru_utime + used.ru_stime, *counts]


def _io(path: Path) -> dict[str, int]:
    return {name: int(value) for name, value in (line.split(": ") for line in path.read_text().splitlines())}


def _anything_runs(process: subprocess.Popen[bytes]) -> bool:
    """Collect children that have ended; whether any has not, of the command or of what it left behind."""
    try:
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return True
            if pid == process.pid:
                process.returncode = os.waitstatus_to_exitcode(status)
    except ChildProcessError:
        pass
    return False


def _look(pid: int, memory: dict[int, int]) -> None:
    """Note the largest resident set, so far, of a process and of all below it."""
    with suppress(OSError, ValueError):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        peak = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)
        memory[pid] = max(memory.get(pid, 0), peak)
        for child in _children(pid):
            _look(child, memory)


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


@contextmanager
def _passed_on(pid: int) -> Iterator[list[int]]:
    """Within the block, signals to stop are passed on to a process; those that came."""
    asked: list[int] = []

    def pass_on(number: int, _: object) -> None:
        asked.append(number)
        with suppress(ProcessLookupError):
            os.kill(pid, number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
