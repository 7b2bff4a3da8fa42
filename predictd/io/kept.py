"""What a process has read of a file and keeps, since the tasks that it runs one after the other read the same."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

from predictd.io.files import state_of
from predictd.io.remote import RemotePath

Value = TypeVar("Value")
# Larger things are read again whenever they are needed.
MOST_BYTES = 2**28


def kept(
    size: Callable[[Any], int] = lambda _: 0,
) -> Callable[[Callable[[Path], Value]], Callable[[Path], Value]]:
    """Have a function that reads a file keep what it read last, for as long as the file stays the same.

    Whoever calls it gets the same object again, and must not change it.

    Parameters
    ----------
    size
        Bytes of memory that an object takes: nothing is kept that takes more than MOST_BYTES. Maps of a file take none.
    """

    def keeping(read: Callable[[Path], Value]) -> Callable[[Path], Value]:
        last: list[tuple[Any, Value]] = []

        @wraps(read)
        def once(path: Path) -> Value:
            state = _identity(path)
            # Of a copy: other threads may read another file meanwhile.
            for known, value in tuple(last):
                if known == state:
                    return value
            # Memory need not hold both.
            last.clear()
            value = read(path)
            if state is not None and size(value) <= MOST_BYTES:
                last[:] = [(state, value)]
            return value

        return once

    return keeping


def _identity(path: Path) -> Any:
    """What tells a file from all others and from what it was before; None where that is not known."""
    try:
        number = None if isinstance(path, RemotePath) else path.stat().st_ino
        return path.absolute(), number, state_of(path)
    except OSError:
        # Reading it says why.
        return None
