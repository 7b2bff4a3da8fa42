"""`predictd peaks`."""

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
        "predictd peaks imputed -o peaks --threshold 2",
    ],
)
@click.argument("source", type=PATH)
@OUTPUT_DIRECTORY
@click.option(
    "--threshold",
    type=float,
    default=2.0,
    show_default=True,
    help="Least signal of a bin in a peak; 2 of -log10 p is p = 0.01.",
)
@click.option(
    "--gap",
    type=click.IntRange(min=0),
    default=30,
    show_default=True,
    help="Largest gap in bp within a peak: closer stretches are merged.",
)
@click.option(
    "--min-length",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    help="Least length of a peak in bp, after merging.",
)
@click.option(
    "--bin-size",
    type=click.IntRange(min=1),
    help="Width in bp over which signal is averaged.  [default: as the tracks were imputed or exported, or 25]",
)
@UNCOVERED
@click.option(
    "--unit",
    type=click.Choice(["p", "other"]),
    default="p",
    show_default=True,
    help="p: signal is -log10 p, and the column pValue the highest of a peak; other: pValue is -1.",
)
@on_engine
def command(
    source: Path,
    output: Path,
    threshold: float,
    gap: int,
    min_length: int,
    bin_size: int | None,
    uncovered: Uncovered,
    unit: str,
    engine_name: str | None,
    workers: int | None,
) -> None:
    """Call peaks in the tracks of SOURCE: a directory with a tracks.tsv, a table of tracks, or a bigWig.

    Writes CELL-ASSAY.narrowPeak.gz for each track, and peaks.tsv, which lists them.
    """
    from predictd.model.peaks import PeakRule
    from predictd.workflows.tracks.peaks import PeakCalling

    rule = PeakRule(threshold, gap, min_length)
    with make_engine(engine_name, workers) as engine:
        plan = PeakCalling(source, output, rule, bin_size=bin_size, p_values=unit == "p", uncovered=uncovered)
        report = plan.make_all(engine)
    click.echo(
        f"{output}: {sum(report.n_peaks.values()):,} peaks of {len(report.n_peaks)} tracks, listed in "
        f"{output / 'peaks.tsv'}"
    )
