"""`predictd export`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from predictd.cli.command import Command
from predictd.cli.options import PATH, verbosity


@click.command(
    cls=Command,
    examples=[
        "predictd export tensor tensor.zarr",
        "predictd export imputed imputed.h5ad --regions promoters.bed",
        "predictd export tensor promoters.tsv.gz --pairs E003:H3K4me3,E017:H3K4me3",
    ],
)
@click.argument("source", type=PATH)
@click.argument("output", type=PATH)
@click.option("--pairs", metavar="CELL:ASSAY,…", help="Experiments to write.  [default: all]")
@click.option("--regions", type=PATH, help="BED file: only bins that overlap it.")
@click.option("--region", metavar="CHROM:START-END", help="Only bins that overlap this, 0-based half-open.")
@click.option(
    "--tensor",
    type=PATH,
    help="Tensor whose bins are used for tracks.  [default: the one they were imputed from, or exported of]",
)
@verbosity
def command(source: Path, output: Path, **selection: Any) -> None:
    """Write the signal of SOURCE, a tensor or a directory of imputed tracks, for other tools.

    The suffix of OUTPUT decides: .zarr for xarray, .h5ad for scanpy and muon (experiments in obs, bins in var), .tsv,
    .tsv.gz and .parquet for a matrix with chrom, start and end; without a suffix, of a tensor, a directory of bigWigs.
    Signal is in the unit of the tracks.
    """
    from predictd.workflows.tracks.export import Selection, export

    report = export(source, output, Selection(**selection))
    click.echo(f"{output}: {report.experiments} experiments × {report.bins:,} bins")
