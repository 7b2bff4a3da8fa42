"""`predictd ingest`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from predictd.cli.command import Command
from predictd.cli.options import PATH, make_engine, on_engine
from predictd.constants import BIN_SIZE, MAX_SHARD_BINS


@click.command(
    cls=Command,
    examples=[
        "predictd ingest tracks.tsv tensor --genome hg19",
        "predictd ingest tracks.tsv part --genome hg19 --regions regions.bed",
    ],
)
@click.argument("tracks", type=PATH)
@click.argument("tensor", type=PATH)
@click.option("--genome", required=True, help="hg19, hg38, or a chromosome-sizes file.")
@click.option("--regions", type=PATH, help="BED file: keep only bins that overlap it.")
@click.option(
    "--exclude",
    metavar="BED|auto",
    help="Leave out bins that overlap this BED; auto: the genome's blacklist.",
)
@click.option(
    "--uncovered",
    type=click.Choice(["missing", "zero"]),
    default="missing",
    show_default=True,
    help="What positions without signal mean.",
)
@click.option(
    "--bin-size",
    type=click.IntRange(min=1),
    default=BIN_SIZE,
    show_default=True,
    help="Width of a bin in bp.",
)
@click.option(
    "--dtype",
    type=click.Choice(["float16", "float32"]),
    default="float16",
    show_default=True,
    help="Stored precision.",
)
@click.option("--merge", type=click.Choice(["mean"]), help="Average several tracks of one pair.")
@click.option(
    "--output-type",
    default="signal p-value",
    show_default=True,
    help="Which files of ENCODE's or Roadmap's tables to take.",
)
@click.option(
    "--shard-bins",
    type=click.IntRange(64, MAX_SHARD_BINS),
    default=MAX_SHARD_BINS,
    show_default=True,
    help="Most bins of one shard.",
)
@on_engine
def command(tracks: Path, tensor: Path, engine_name: str | None, workers: int | None, **options: Any) -> None:
    """Turn the signal tracks listed in TRACKS (a table with the columns cell_type, assay, path) into TENSOR.

    TRACKS may also be ENCODE's metadata.tsv, or Roadmap's table of epigenomes, in the directory of the
    downloaded files.

    Tracks are bigWig (.bw, .bigWig) or bedGraph (.bedGraph, .bedGraph.gz). An interrupted ingest goes on where it was
    when the same command is run again.
    """
    from predictd.workflows.tensor.ingest import IngestOptions, ingest

    with make_engine(engine_name, workers) as engine:
        made = ingest(tracks, tensor, IngestOptions(**options), engine)
    click.echo(
        f"{tensor}: {len(made.experiments)} experiments, {made.n_bins:,} bins "
        f"({made.n_complete / made.n_bins:.1%} complete), {len(made.shard_names)} shards"
    )
