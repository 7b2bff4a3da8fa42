"""`predictd doctor`."""

from __future__ import annotations

from pathlib import Path

import click

from predictd.cli.command import Command
from predictd.cli.options import LOCAL, verbosity


@click.command(
    cls=Command,
    examples=[
        "predictd doctor",
    ],
)
@click.argument("path", type=LOCAL, default=Path())
@verbosity
def command(path: Path) -> None:
    """Show versions, CPUs, BLAS threads and engines of this machine, and try HDF5's locks in the directory PATH."""
    from predictd.workflows.doctor import examine

    for what, found in examine(path):
        click.echo(f"{what:14} {found}")
