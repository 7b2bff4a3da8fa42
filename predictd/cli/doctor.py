"""`predictd doctor`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from predictd.cli.command import Command
from predictd.cli.options import PATH, verbosity
from predictd.io.remote import is_remote
from predictd.launcher import report_failure


@click.command(
    cls=Command,
    examples=[
        "predictd doctor",
        "predictd doctor --job .",
    ],
)
@click.argument("path", type=PATH, default=Path())
@click.option(
    "--job",
    is_flag=True,
    help="Show what this job has, and what is missing; PATH may be an address, such as s3://bucket.",
)
@verbosity
def command(path: Path, job: bool) -> None:
    """Show versions, CPUs, BLAS threads and engines of this machine, and try HDF5's locks in the directory PATH.

    With --job, show on which platform this runs, which part of an array, CPUs, whether memory is enough for them, free
    scratch space, whether PATH can be read and written with the credentials that there are, and Spark; started by
    spark-submit, also whether its executors have this predictd and see PATH. What is missing begins with "MISSING:",
    and the exit code is then 1.
    """
    from predictd.workflows.doctor import examine, examine_job

    if not job and is_remote(str(path)):
        raise click.UsageError("PATH has to be a directory of this machine, unless with --job")
    missing = []
    for what, found in (examine_job if job else examine)(path):
        click.echo(f"{what:14} {found}")
        if job and found.startswith("MISSING"):
            missing.append(f"{what}: {found}")
    if missing:
        report_failure("; ".join(missing))
        sys.exit(1)
