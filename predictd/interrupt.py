"""Stopping on request: a signal asks, the work stops at its next safe point.

SIGINT, SIGTERM and SIGUSR1 (what batch systems send ahead of a time limit) only set a flag, and a line says what
is finished first. Long work looks at `requested()` between tasks or rounds, saves what it has and raises `Interrupted`.
A second SIGINT stops at once. Tasks that take minutes look at `gives_up()` in their midst: SIGINT and SIGTERM end them
there, SIGUSR1 lets them finish.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from predictd.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
# Exit code where a second SIGINT stopped everything, as shells have it.
STOPPED_NOW = 130
_HASTY = (signal.SIGINT, signal.SIGTERM)


def _nothing_heard() -> int:
    return 0


_received: signal.Signals | None = None
_heard: Callable[[], int] = _nothing_heard
_tell: Callable[[str], None] | None = None
_followers: list[Callable[[int], None]] = []
_unit = _soon = ""


def requested() -> bool:
    """True once a stop has been asked for."""
    return _received is not None


def number() -> int:
    """Number of the signal that asked; 0 for none."""
    return int(_received or 0)


def asked() -> int:
    """Number of the signal that asked, this process or the one that leads it; 0 for none."""
    return number() or _heard()


def received() -> str:
    """Name of the signal that asked, for messages."""
    return _received.name if _received else "no signal"


def stopped_by(name: str) -> Interrupted:
    """The error of work that was not begun, or not ended, since a signal asked to stop."""
    return Interrupted(f"stopped by {name}; run the same command again to go on from here")


def stop_if_asked() -> None:
    """Raise Interrupted once a stop was asked for."""
    if requested():
        raise stopped_by(received())


def give_up_if_asked() -> None:
    """In the midst of a long task: raise Interrupted once SIGINT or SIGTERM asked, whose senders do not wait."""
    found = asked()
    if found in _HASTY:
        raise stopped_by(signal.Signals(found).name)


def listen(heard: Callable[[], int]) -> None:
    """Have `asked` look at what another process has heard: the number of a signal, or 0."""
    global _heard
    _heard = heard


@contextmanager
def passed_on(follow: Callable[[int], None]) -> Iterator[None]:
    """While the block runs, `follow` is called with the number of a signal at once, before that is acknowledged."""
    _followers.append(follow)
    try:
        yield
    finally:
        _followers.remove(follow)


@contextmanager
def after(unit: str = "", *, soon: str = "") -> Iterator[None]:
    """While the block runs, a signal is acknowledged with what is still finished.

    Parameters
    ----------
    unit
        What is finished, in the words of the message: "the models at work".
    soon
        The same for SIGINT and SIGTERM, where these end tasks in their midst.
    """
    global _unit, _soon
    before = _unit, _soon
    _unit, _soon = unit or _unit, soon or _soon
    try:
        yield
    finally:
        _unit, _soon = before


@contextmanager
def at_once() -> Iterator[None]:
    """While the block runs, a signal ends it with nothing left to finish, and is not acknowledged."""
    global _tell
    before, _tell = _tell, None
    try:
        yield
    finally:
        _tell = before


def acknowledge(number: int) -> None:
    """Tell, once, what is still finished before this stops."""
    global _tell
    tell, _tell = _tell, None
    if tell is not None:
        unit = (_soon if number in _HASTY else "") or _unit or "the current step"
        if number == signal.SIGINT:
            tell(f"stopping after {unit}; Ctrl-C again to stop now")
        else:
            tell(f"{signal.Signals(number).name}: stopping after {unit}; SIGINT to stop now")


@contextmanager
def catching(tell: Callable[[str], None] | None = None) -> Iterator[None]:
    """Turn the stop signals into requests while the block runs; only for the main thread.

    Parameters
    ----------
    tell
        Called by the handler of the first signal with one line for the user; it must not wait for any lock.
    """
    global _received, _tell
    _received, _tell = None, tell
    previous = {number: signal.signal(number, _note) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        _received = _tell = None


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
    if _received is None or number in _HASTY:
        _received = signal.Signals(number)
        for follow in _followers:
            follow(number)
    acknowledge(number)
