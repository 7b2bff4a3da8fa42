"""Jobs in processes of their own that are killed, or held, when they make, rename or remove a file.

A process is a copy of that of the tests, so that nothing has to be imported again: not even what
commands import late. Tasks run in it, one by one.
"""

from __future__ import annotations

import logging
import multiprocessing.synchronize  # noqa: F401
import os
import re
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import scipy.signal  # noqa: F401
import tqdm.std  # noqa: F401

from here import Here
from predictd.errors import AlreadyFinished

Job = Callable[[Path, Here], object]
# Names that are drawn.
_DRAWN = re.compile(r"(?<=\.partial-)[0-9a-f]{16}|(?<=predictd-temporary-)\w+")
_CREATING = os.O_CREAT
needs_fork = pytest.mark.skipif(sys.platform != "linux", reason="copies of this process are made on Linux")


def event_of(name: str, arguments: tuple[Any, ...]) -> str | None:
    """What a process is about to do to a file, where it is something that changes a folder."""
    if name == "open" and (not isinstance(arguments[2], int) or not arguments[2] & _CREATING):
        return None
    if name not in ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir"):
        return None
    path = arguments[1] if name == "os.rename" else arguments[0]
    if not isinstance(path, (str, Path)) or str(path).startswith(("/dev", "/proc")):
        return None
    return f"{name} {_DRAWN.sub('*', str(path))}"


@dataclass
class Apart:
    """A job in a process of its own; `told` is what it prints.

    Attributes
    ----------
    number
        Of the process.
    told
        File of what it prints.
    """

    number: int
    told: Path

    def wait(self) -> int:
        """Its exit code, or the number of the signal that ended it, negative."""
        return os.waitstatus_to_exitcode(os.waitpid(self.number, 0)[1])

    def must_end_well(self) -> None:
        assert self.wait() == 0, self.told.read_text()


def start(job: Job, folder: Path, hook: Callable[[str], None] | None = None) -> Apart:
    """Start a job in a folder, with a folder for temporary files besides; `hook` is called before each event."""
    for place in (folder, temporary := folder.with_name(f"{folder.name}-temporary")):
        place.mkdir(exist_ok=True)
    told = folder.with_name(f"{folder.name}-told-{time.monotonic_ns()}")
    told.touch()
    if number := os.fork():
        return Apart(number, told)
    code = 1
    try:
        sys.stdout = sys.stderr = told.open("w", buffering=1)
        logging.getLogger().handlers[:] = [logging.StreamHandler()]
        os.chdir(folder)
        tempfile.tempdir = str(temporary)
        if hook is not None:

            def audited(name: str, arguments: tuple[Any, ...]) -> None:
                if (event := event_of(name, arguments)) is not None:
                    hook(event)

            sys.addaudithook(audited)
        with suppress(AlreadyFinished):
            job(Path(), Here(1))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def kill_at_every_event(job: Job, folder: Path) -> list[str]:
    """Run a job again and again, and kill it at the first event at which it was not killed before, until it ends."""
    seen: list[str] = []
    while True:
        reading, writing = os.pipe()

        def die(event: str, writing: int = writing) -> None:
            if event not in seen:
                os.write(writing, event.encode())
                os.kill(os.getpid(), signal.SIGKILL)

        apart = start(job, folder, die)
        os.close(writing)
        code = apart.wait()
        event = os.read(reading, 10_000).decode()
        os.close(reading)
        if code != -signal.SIGKILL:
            assert code == 0, (seen[-1:], apart.told.read_text())
            return seen
        seen.append(event)


@dataclass
class Held:
    """A job that is held at an event.

    Attributes
    ----------
    apart
        The job.
    go_on
        Lets it go on, until it ends.
    event
        Where it is held; empty where it has ended before.
    """

    apart: Apart
    go_on: Callable[[], object]
    event: str


def hold_at(job: Job, folder: Path, number: int) -> Held:
    """Run a job up to the event of this number."""
    reading, writing = os.pipe()
    waiting, signalling = os.pipe()
    left = number

    def hold(event: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.write(writing, event.encode())
            os.read(waiting, 1)

    apart = start(job, folder, hold)
    os.close(writing)
    event = os.read(reading, 10_000).decode()
    os.close(reading)
    return Held(apart, lambda: os.write(signalling, b"."), event)


def everything(folder: Path) -> dict[str, bytes | None]:
    """Folders and files with their bytes, but for those that tell of times; wherever the folder is."""
    return {
        str(path.relative_to(folder)): None
        if path.is_dir() or path.name.endswith("run.json")
        else path.read_bytes().replace(bytes(folder), b"")
        for path in sorted(folder.rglob("*"))
    }
