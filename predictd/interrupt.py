"""Stopping on request: a signal asks, the work stops at its next safe point.

SIGINT, SIGTERM and SIGUSR1 (what batch systems send ahead of a time limit) only set a flag. Long work looks at
`requested()` between tasks or rounds, saves what it has and raises `Interrupted`. A second SIGINT stops at once.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
_received: signal.Signals | None = None


def requested() -> bool:
    """True once a stop has been asked for."""
    return _received is not None


def number() -> int:
    """Number of the signal that asked; 0 for none."""
    return int(_received or 0)


def received() -> str:
    """Name of the signal that asked, for messages."""
    return _received.name if _received else "no signal"


@contextmanager
def catching() -> Iterator[None]:
    """Turn the stop signals into requests while the block runs; only for the main thread."""
    global _received
    _received = None
    previous = {number: signal.signal(number, _note) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        _received = None


@contextmanager
def relayed() -> Iterator[Callable[[int], None]]:
    """Yield what notes the number of a signal that came to another process; no request outlives the block."""
    global _received

    def note(number: int) -> None:
        _note(number, None)

    _received = None
    try:
        yield note
    finally:
        _received = None


def renew() -> None:
    """Install the handlers again, after a library has put its own before them.

    MPICH hands SIGUSR1 on to the handler it finds, but has the system restart what the signal interrupts: a main thread
    that waits for others would not look at it before they end.
    """
    for number in SIGNALS:
        if signal.getsignal(number) is _note:
            signal.signal(number, _note)


def _note(number: int, frame: FrameType | None) -> None:
    global _received
    if _received is not None and number == signal.SIGINT:
        raise KeyboardInterrupt
    _received = signal.Signals(number)
