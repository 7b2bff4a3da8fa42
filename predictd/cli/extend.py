"""`predictd extend`."""

from __future__ import annotations

from pathlib import Path

import click

from predictd.cli.command import Command
from predictd.cli.options import OUTPUT_FILE, PATH, SCRATCH, TENSOR, make_engine, on_engine


@click.command(
    cls=Command,
    examples=[
        "predictd extend model.h5 tensor new-tracks.tsv -o extended.h5",
    ],
)
@click.argument("model", type=PATH)
@TENSOR
@click.argument("tracks", type=PATH, required=False)
@OUTPUT_FILE
@click.option(
    "--lambda",
    "penalty",
    type=click.FloatRange(min=0),
    help="Penalty of the new rows; em: strength of their prior.  [default: that of MODEL]",
)
@click.option("--moments", type=PATH, help="Moments file, where no TRACKS are given.  [default: in TENSOR]")
@SCRATCH
@on_engine
def command(
    model: Path,
    tensor: Path,
    tracks: Path | None,
    output: Path,
    penalty: float | None,
    moments: Path | None,
    scratch: Path | None,
    engine_name: str | None,
    workers: int | None,
) -> None:
    """Give MODEL the cell types that it does not know, from a few of their tracks, without training again.

    TENSOR has the model's training experiments. TRACKS is a track table of the new cell types. Without it, TENSOR holds
    the new tracks as well: its experiments of unknown cell types or assays are added, and their signal is read when the
    model imputes.
    """
    from predictd.workflows.training.extend import extend

    with make_engine(engine_name, workers) as engine:
        report = extend(
            model,
            tensor,
            tracks,
            output,
            engine,
            penalty=penalty,
            moments=moments,
            scratch=scratch,
        )
    names = ", ".join([*report.cell_types, *report.assays])
    click.echo(f"{output}: added {names}, by {len(report.new)} experiments over {report.bins:,} bins")
