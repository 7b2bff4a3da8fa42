"""Progress bars: on a terminal they show, in a log they stay quiet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

_quiet = False


def set_quiet(quiet: bool) -> None:
    """Switch all bars of this process off (or on again, where standard error is a terminal)."""
    global _quiet
    _quiet = quiet


def is_quiet() -> bool:
    """Whether bars are switched off."""
    return _quiet


@contextmanager
def progress_bar(
    label: str, total: int | None = None, *, unit: str = "it", shown: bool = True
) -> Iterator[tqdm[Any]]:
    """Yield a bar on standard error; it is silent unless that is a terminal and it is to be `shown`."""
    with tqdm(
        desc=label, total=total, unit=unit, disable=None if shown and not _quiet else True, leave=False
    ) as bar:
        yield bar


@contextmanager
def no_bars() -> Iterator[None]:
    """Show no bars while the block runs: those of tasks would write over the one that counts them."""
    before = _quiet
    set_quiet(True)
    try:
        yield
    finally:
        set_quiet(before)
