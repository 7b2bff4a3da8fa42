"""Messages of the library as the command line shows them: its options in place of the names of parameters."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

import click

from predictd.errors import ConfigError

_NAMED = re.compile(r"`([a-z_]+)`")


def as_options(text: str, command: click.Command) -> str:
    """The text with each parameter in backquotes as this command calls it: `folds` → --folds; others as they are."""
    shown = {parameter.name: _shown(parameter) for parameter in command.params}
    return _NAMED.sub(lambda found: shown.get(found[1], found[0]), text)


def _shown(parameter: click.Parameter) -> str:
    if isinstance(parameter, click.Option):
        return max(parameter.opts, key=len)
    return parameter.human_readable_name


@contextmanager
def as_usage() -> Iterator[None]:
    """Show settings that do not fit together as wrong usage."""
    try:
        yield
    except ConfigError as err:
        raise click.UsageError(as_options(str(err), click.get_current_context().command)) from err


class Formatter(logging.Formatter):
    """Log messages in the words of the running command, with the time where the command is to say more."""

    def __init__(self) -> None:
        super().__init__("predictd: %(levelname)s: %(message)s", "%Y-%m-%d %H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """Write a record with the command's options where the library names parameters."""
        text = super().format(record)
        if logging.getLogger("predictd").isEnabledFor(logging.INFO):
            text = f"{self.formatTime(record, self.datefmt)} {text}"
        context = click.get_current_context(silent=True)
        return text if context is None else as_options(text, context.command)
