"""`predictd qc`."""

from __future__ import annotations

from pathlib import Path

import click

from predictd.cli.command import Command
from predictd.cli.options import OUTPUT_FILE, PATH, SCRATCH, TENSOR, make_engine, on_engine

_SHOWN = 10


@click.command(
    cls=Command,
    examples=[
        "predictd qc tensor -o qc.tsv",
    ],
)
@TENSOR
@OUTPUT_FILE
@click.option("--moments", type=PATH, help="Moments file.  [default: in TENSOR]")
@SCRATCH
@on_engine
def command(
    tensor: Path,
    output: Path,
    moments: Path | None,
    scratch: Path | None,
    engine_name: str | None,
    workers: int | None,
) -> None:
    """Check the tracks in TENSOR: how well each is predicted by the others, and which look swapped or damaged."""
    from predictd.workflows.tensor.qc import qc

    with make_engine(engine_name, workers) as engine:
        rows = qc(tensor, output, engine, moments=moments, scratch=scratch)
    flagged = [row for row in rows if row.flags]
    for row in flagged[:_SHOWN]:
        match = f", like {row.best_match}" if row.best_match not in (None, row.experiment) else ""
        click.echo(f"{row.experiment}: {', '.join(row.flags)}{match}")
    if len(flagged) > _SHOWN:
        click.echo(f"… and {len(flagged) - _SHOWN} more")
    click.echo(f"{output}: {len(flagged)} of {len(rows)} tracks are flagged")
