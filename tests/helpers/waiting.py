"""Waiting for what other processes do."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Value = TypeVar("Value")
POLL_SECONDS = 0.1
# Ends what hangs, a little before pytest would, and measures no speed: machines differ, and so does what runs beside.
PATIENCE_SECONDS = 800


def until(look: Callable[[], Value | None], what: str, seconds: float = PATIENCE_SECONDS) -> Value:
    """The first true value that `look` gives; AssertionError when the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        value = look()
        if value:
            return value
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain for {what}"
        time.sleep(POLL_SECONDS)


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has asked after does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except FileNotFoundError:
        return not Path("/proc").is_dir()
