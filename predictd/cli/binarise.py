"""`predictd binarise`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from predictd.cli.command import Command
from predictd.cli.options import OUTPUT_DIRECTORY, PATH, make_engine, on_engine
from predictd.cli.track_options import UNCOVERED

if TYPE_CHECKING:
    from predictd.io.tracks.bigwig import Uncovered


@click.command(
    cls=Command,
    examples=[
        "predictd binarise imputed -o chromhmm",
    ],
)
@click.argument("source", type=PATH)
@OUTPUT_DIRECTORY
@click.option(
    "--threshold",
    type=float,
    default=2.0,
    show_default=True,
    help="A mark is present where its mean over a bin is at least this.",
)
@click.option(
    "--bin-size", type=click.IntRange(min=1), default=200, show_default=True, help="Width of a bin in bp."
)
@UNCOVERED
@click.option("--gzip", "zipped", is_flag=True, help="Write CELL_CHROMOSOME_binary.txt.gz.")
@on_engine
def command(
    source: Path,
    output: Path,
    threshold: float,
    bin_size: int,
    uncovered: Uncovered,
    zipped: bool,
    engine_name: str | None,
    workers: int | None,
) -> None:
    """Binarise the tracks of SOURCE for ChromHMM: SOURCE is a directory with a tracks.tsv, or a table of tracks.

    Writes CELL_CHROMOSOME_binary.txt with a column for each assay: 1 present, 0 absent, 2 missing.
    """
    from predictd.workflows.tracks.binarise import Binarisation

    with make_engine(engine_name, workers) as engine:
        plan = Binarisation(
            source, output, threshold=threshold, bin_size=bin_size, zipped=zipped, uncovered=uncovered
        )
        report = plan.make_all(engine)
    click.echo(
        f"{output}: {report.cell_types} cell types, {report.marks} marks, {report.chromosomes} chromosomes for ChromHMM"
    )
