"""Progress bars: on a terminal and in a notebook they show, in a log they stay quiet."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
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


def _in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and type(shell).__name__ == "ZMQInteractiveShell"


def _bar_class() -> type[tqdm[Any]]:
    """The widget of notebooks where this is a notebook that has them, else a line of text."""
    if not (_in_notebook() and find_spec("ipywidgets")):
        return tqdm
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tqdm.notebook import tqdm as widget
    return widget


@contextmanager
def progress_bar(
    label: str, total: int | None = None, *, unit: str = "it", shown: bool = True
) -> Iterator[tqdm[Any]]:
    """Yield a bar; it is silent unless it is to be `shown` and this is a notebook, or standard error a terminal."""
    # None: as standard error is.
    silent = True if _quiet or not shown else False if _in_notebook() else None
    with _bar_class()(desc=label, total=total, unit=unit, disable=silent, leave=False) as bar:
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
