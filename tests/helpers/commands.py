"""Commands as a user types them: called in this process, or run in one of their own."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

import click

from predictd import progress
from predictd.cli import cli, main, options
from shared_engine import SharedEngine

# Not the predictd/ that may be in the current directory.
PREDICTD = (sys.executable, "-P" if sys.version_info >= (3, 11) else "-s", "-m", "predictd")


ENGINES: dict[int, SharedEngine] = {}


def lend_engine(workers: int | None = None) -> SharedEngine:
    """The shared engine of so many workers, or of two."""
    workers = workers or 2
    return ENGINES.setdefault(workers, SharedEngine(workers))


def end_engines() -> None:
    """End the workers of the shared engines; new ones start with the environment that this process has then."""
    for shared in ENGINES.values():
        shared.end()


def call_predictd(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Call the command line in this process, as if a user had typed it in that directory.

    Its tasks run on the shared engines. For exit codes as the shell sees them, signals, the environment, and what
    libraries write past Python, there is `run_predictd`.
    """
    command = ["predictd", *map(str, arguments)]
    code: object = 0
    with _as_if_started(command, cwd) as (stdout, stderr):
        try:
            main(command[1:])
        except SystemExit as end:
            code = end.code
    return subprocess.CompletedProcess(command, int(code or 0), stdout.getvalue(), stderr.getvalue())  # type: ignore[call-overload]


@contextmanager
def _as_if_started(command: list[str], cwd: Path) -> Iterator[tuple[io.StringIO, io.StringIO]]:
    """Standard output and standard error of what runs in the block; what it sets in this process is set back."""
    root = logging.getLogger()
    loggers = (root, logging.getLogger("predictd"), progress.log)
    handlers, levels = root.handlers[:], [logger.level for logger in loggers]
    quiet, pace, directory = progress.is_quiet(), progress._pace, Path.cwd()
    stdout, stderr = io.StringIO(), io.StringIO()

    def show(message, category, filename, lineno, file=None, line=None):
        # Python shows no others that come from a library.
        if not issubclass(category, (DeprecationWarning, PendingDeprecationWarning, ResourceWarning)):
            stderr.write(warnings.formatwarning(message, category, filename, lineno, line))

    root.handlers.clear()
    os.chdir(cwd)
    try:
        with (
            redirect_stdout(stdout),
            redirect_stderr(stderr),
            warnings.catch_warnings(),
            mock.patch.object(sys, "argv", command),
            mock.patch.object(options, "LocalEngine", lend_engine),
            mock.patch.object(warnings, "showwarning", show),
        ):
            yield stdout, stderr
    finally:
        os.chdir(directory)
        root.handlers[:] = handlers
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        progress.set_quiet(quiet)
        progress._pace = pace


def choices_logged(printed: str) -> str:
    """What a cross-validation logs of the choices that it prints at its end."""
    choices = [line for line in printed.splitlines() if line.startswith("test fold ")]
    return "".join(f"predictd: info: choose, {line}\n" for line in choices)


def run_predictd(*arguments: object, cwd: Path, **options: object) -> subprocess.CompletedProcess[str]:
    """Run the installed command line as a user would, in a directory that has no predictd/ of its own."""
    return subprocess.run(
        [*PREDICTD, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONSAFEPATH": "1"},
        **options,  # type: ignore[call-overload]
    )


def run_python(script: str, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a script in a process of its own, in a directory that has no predictd/ of its own."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def every_command(group: click.Group = cli, *above: str) -> dict[str, click.Command]:
    """All commands of the program but groups, by what is typed after its name."""
    context, found = click.Context(group), {}
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            found |= every_command(command, *above, name)
        else:
            found[" ".join([*above, name])] = command
    return found
