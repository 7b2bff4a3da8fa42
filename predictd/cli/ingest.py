"""`predictd ingest`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from predictd.cli.command import Command
from predictd.cli.options import GENOMES, PATH, make_engine, on_engine
from predictd.cli.track_options import UNCOVERED
from predictd.constants import MAX_SHARD_BINS


@click.command(
    cls=Command,
    examples=[
        "predictd ingest tracks.tsv tensor --genome hg19",
        "predictd ingest tracks.tsv part --genome hg19 --regions regions.bed",
        "predictd ingest signal-in-peaks.tsv.gz peaks-tensor --genome hg38",
    ],
)
@click.argument("source", type=PATH, metavar="TRACKS|MATRIX")
@click.argument("tensor", type=PATH)
@click.option("--genome", required=True, help=f"{GENOMES} or a chromosome-sizes file.")
@click.option("--regions", type=PATH, help="BED file: keep only bins that overlap it.")
@click.option(
    "--exclude",
    metavar="BED|auto",
    help="Leave out bins that overlap this BED; auto: the genome's blacklist.",
)
@UNCOVERED
@click.option(
    "--bin-size",
    type=click.IntRange(min=1),
    help="Width of a bin in bp.  [default: 25; not used with MATRIX]",
)
@click.option(
    "--dtype",
    type=click.Choice(["float16", "float32"]),
    default="float16",
    show_default=True,
    help="Stored precision.",
)
@click.option("--merge", type=click.Choice(["mean"]), help="Average several tracks of one pair.")
@click.option("--bins", type=PATH, help="MATRIX: BED file of its regions, if it does not name them itself.")
@click.option(
    "--transform",
    multiple=True,
    metavar="[ASSAY=]NAME",
    help="MATRIX: arcsinh, log1p, logit or none, for all assays or for one.  [default: what MATRIX says, or arcsinh]",
)
@click.option(
    "--output-type",
    multiple=True,
    default=["signal p-value"],
    show_default="signal p-value",
    help="Which files of ENCODE's or Roadmap's tables to take; may be repeated.",
)
@click.option(
    "--shard-bins",
    type=click.IntRange(64, MAX_SHARD_BINS),
    default=MAX_SHARD_BINS,
    show_default=True,
    help="Largest number of bins in a shard.",
)
@on_engine
def command(source: Path, tensor: Path, engine_name: str | None, workers: int | None, **options: Any) -> None:
    """Turn the signal tracks listed in TRACKS (a table with the columns cell_type, assay, path) into TENSOR.

    TRACKS may also be ENCODE's metadata.tsv, or Roadmap's table of epigenomes, in the directory of the
    downloaded files.

    Tracks are bigWig (.bw, .bigWig), bedGraph (.bedGraph, .bedGraph.gz) or wiggle (.wig). An interrupted ingest
    goes on where it was when the same command is run again.

    MATRIX is signal over regions, such as peaks or promoters: a table (.tsv, .csv, also .gz, .parquet) with columns
    named CELL:ASSAY and rows named chr1:1000-2000, or with columns chrom, start and end; or AnnData (.h5ad).
    """
    from predictd.workflows.tensor.ingest import IngestOptions, ingest

    with make_engine(engine_name, workers) as engine:
        made = ingest(source, tensor, IngestOptions(**options), engine)
    rows = "regions" if made.manifest.bin_size is None else "bins"
    click.echo(
        f"{tensor}: {len(made.experiments)} experiments, {made.n_bins:,} {rows} "
        f"({made.n_complete / made.n_bins:.1%} complete), {len(made.shard_names)} shards"
    )
