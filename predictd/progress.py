"""What long work has come to: bars on terminals and in notebooks, elsewhere a line in the log now and then.

One process shows either: tasks are silent, and what waits for them reports all.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from predictd.errors import ConfigError
from predictd.interrupt import SIGNALS
from predictd.wording import duration

if TYPE_CHECKING:
    from tqdm import tqdm

log = logging.getLogger(__name__)


@dataclass
class Pace:
    """How often lines come, in seconds.

    Attributes
    ----------
    first
        After the beginning of work, at most.
    often, seldom
        After another line, in the first minutes and later.
    minutes
        How many these are.
    """

    first: float = 10.0
    often: float = 30.0
    seldom: float = 60.0
    minutes: float = 5.0


# Variable of the environment with other seconds.
PACE_VARIABLE = "PREDICTD_LOG_SECONDS"
_pace = Pace()
_quiet = False
# Within tasks, which another bar shows.
_within_task = False


def set_quiet(quiet: bool) -> None:
    """Switch bars and lines of this process off (or on again)."""
    global _quiet
    _quiet = quiet


def set_pace(seconds: str | None) -> None:
    """Write a line every so many seconds, given as text; None: as often as `Pace` says.

    Raises
    ------
    ConfigError
        If that is not a number of seconds.
    """
    global _pace
    try:
        every = None if seconds is None else float(seconds)
    except ValueError:
        every = -1.0
    if every is not None and not every >= 0:
        raise ConfigError(f"{PACE_VARIABLE}={seconds}: give the seconds between two lines, such as 300")
    _pace = Pace() if every is None else Pace(every, every, every)


def is_quiet() -> bool:
    """Whether bars and lines are switched off."""
    return _quiet


@dataclass
class _Activity:
    """What is going on: a stage, or with a total something that is counted."""

    label: str
    counted: bool = False
    total: int | None = None
    done: int = 0
    # Of steps that have begun.
    part: float = 0.0
    note: str = ""
    before: int = 0
    begun: float = field(default_factory=lambda: time.monotonic())

    def how_far(self) -> str:
        """Share done, time so far and time left."""
        seconds = time.monotonic() - self.begun
        parts = []
        done = self.done + self.part
        if self.counted and self.total:
            # All of it only where nothing is at work any more.
            share = 100 if self.done == self.total else min(99, round(100 * done / self.total))
            parts.append(f"{self.label} {self.done}/{self.total} ({share} %)")
        elif self.counted:
            parts.append(f"{self.done} {self.label}")
        parts += [self.note] if self.note else []
        parts.append(f"{duration(seconds)} so far")
        if self.total and self.before < done < self.total:
            parts.append(f"about {duration(seconds / (done - self.before) * (self.total - done))} left")
        return ", ".join(parts)


class _Lines:
    """Writes the lines of all that is going on, from a thread of its own, since work may take long to move on."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._at_work: list[_Activity] = []
        self._due = self._begun = 0.0
        self._ended = threading.Event()
        self._written = False

    def begin(self, activity: _Activity) -> None:
        with self._lock:
            now = time.monotonic()
            if not self._at_work:
                self._written = _no_bars_show() and log.isEnabledFor(logging.INFO)
                self._begun, self._ended = now, threading.Event()
                # Short stages one after the other are not silent for long either.
                first = now + _pace.first
                self._due = min(self._due, first) if self._due > now else first
                if self._written:
                    threading.Thread(target=self._watch, args=(self._ended,), daemon=True).start()
            self._at_work.append(activity)
            self.look()

    def end(self, activity: _Activity) -> None:
        with self._lock:
            self._at_work = [one for one in self._at_work if one is not activity]
            if not self._at_work:
                self._ended.set()

    def look(self) -> None:
        """Write a line if it is time."""
        with self._lock:
            now = time.monotonic()
            if self._written and self._at_work and now >= self._due:
                early = now - self._begun < 60 * _pace.minutes
                self._due = now + (_pace.often if early else _pace.seldom)
                log.info("%s", self._line())

    def writes_of(self, activity: _Activity) -> bool:
        """Whether lines report something."""
        with self._lock:
            return self._written and any(one is activity for one in self._at_work)

    def within(self) -> str:
        """The stages that go on, the outermost first."""
        with self._lock:
            return ", ".join(dict.fromkeys(one.label for one in self._at_work if not one.counted))

    def _line(self) -> str:
        within = self.within()
        return f"{within}: {self._at_work[-1].how_far()}" if within else self._at_work[-1].how_far()

    def _watch(self, ended: threading.Event) -> None:
        # The main thread is to be interrupted by them.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        while not ended.wait(max(self._due - time.monotonic(), 0.01)):
            self.look()


_lines = _Lines()


class Bar:
    """How far something has come."""

    def __init__(self, shown: tqdm[Any], activity: _Activity) -> None:
        self._shown, self._activity = shown, activity

    @property
    def n(self) -> int:
        """How many steps are done."""
        return self._activity.done

    @property
    def watched(self) -> bool:
        """Whether anyone sees it: a bar that nobody sees need not be moved."""
        return not self._shown.disable or _lines.writes_of(self._activity)

    def update(self, n: int = 1) -> None:
        """So many more steps are done."""
        self._activity.done += n
        self._shown.update(n)
        _lines.look()

    def partly(self, part: float) -> None:
        """How many steps the shares of those that have begun come to."""
        self._activity.part = part

    def note(self, text: str) -> None:
        """What else is to be known."""
        self._activity.note = text
        self._shown.set_postfix_str(text, refresh=False)


def _in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and type(shell).__name__ == "ZMQInteractiveShell"


def _bar_class() -> type[tqdm[Any]]:
    """The widget of notebooks where this is a notebook that has them, else a line of text."""
    if not (_in_notebook() and find_spec("ipywidgets")):
        from tqdm import tqdm

        return tqdm
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tqdm.notebook import tqdm as widget
    return widget


def _no_bars_show() -> bool:
    """Whether this is neither a notebook nor a terminal."""
    with suppress(AttributeError, ValueError):
        return not (_in_notebook() or sys.stderr.isatty())
    return True


@contextmanager
def _going_on(activity: _Activity) -> Iterator[None]:
    if _quiet or _within_task:
        yield
        return
    _lines.begin(activity)
    try:
        yield
    finally:
        _lines.end(activity)


@contextmanager
def progress_bar(
    label: str, total: int | None = None, *, unit: str = "it", shown: bool = True, initial: int = 0
) -> Iterator[Bar]:
    """Yield a bar for something that is counted; see the module.

    Parameters
    ----------
    label
        What is counted.
    total
        How many there are, where that is known.
    unit
        Of the bar.
    shown
        Nothing is shown otherwise.
    initial
        How many were done before.
    """
    silent = True if _quiet or _within_task or not shown else False if _in_notebook() else None
    with _bar_class()(
        desc=label, total=total, unit=unit, disable=silent, leave=False, initial=initial
    ) as bar:
        activity = _Activity(label if total else unit.strip(), True, total, initial, before=initial)
        with _going_on(activity) if shown else nullcontext():
            yield Bar(bar, activity)


@contextmanager
def stage(label: str) -> Iterator[None]:
    """Name, in the lines of the log, what goes on in the block."""
    with _going_on(_Activity(label)):
        yield


def tell(message: str, *arguments: object) -> None:
    """Log what was found on the way, with the stages that go on."""
    if not (_quiet or _within_task):
        within = _lines.within()
        log.info(f"{within}: {message}" if within else message, *arguments)


def _nobody(share: float) -> None:
    pass


_reported_to: Callable[[float], None] = _nobody


def task_share(share: float) -> None:
    """In a task that may take long: how much of it is done, from 0 to 1."""
    _reported_to(share)


@contextmanager
def reported_to(follow: Callable[[float], None]) -> Iterator[None]:
    """While a task runs, `follow` is called with how much of it is done."""
    global _reported_to
    before, _reported_to = _reported_to, follow
    try:
        yield
    finally:
        _reported_to = before


@contextmanager
def within_task() -> Iterator[None]:
    """Show nothing while a task runs: its bars would write over the one that counts the tasks."""
    global _within_task
    before = _within_task
    _within_task = True
    try:
        yield
    finally:
        _within_task = before
