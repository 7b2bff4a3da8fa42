"""Options of commands that average signal of tracks over bins."""

from __future__ import annotations

import click

UNCOVERED = click.option(
    "--uncovered",
    type=click.Choice(["missing", "zero"]),
    default="missing",
    show_default=True,
    help="What positions are that a file does not cover.",
)
