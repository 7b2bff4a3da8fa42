"""`predictd view`."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import click

from predictd import interrupt
from predictd.cli.command import Command
from predictd.cli.options import GENOMES, PATH, verbosity


@click.command(
    cls=Command,
    examples=[
        "predictd view imputed --observed tracks.tsv --open",
    ],
)
@click.argument("source", type=PATH)
@click.option(
    "--observed",
    type=PATH,
    help="Table, or directory, of observed tracks to draw as well.  [default: those of the tensor, where they still "
    "exist]",
)
@click.option(
    "--regions", type=PATH, multiple=True, help="BED, narrowPeak or GTF file to draw above; may be repeated."
)
@click.option(
    "--genes",
    type=PATH,
    help="Genes to draw, and to search for by name: BED, GTF, GFF3 or a table of UCSC.  [default: for hg19, hg38 and "
    "mm10, those that come with predictd]",
)
@click.option(
    "--pairs",
    metavar="CELL:ASSAY,…",
    help="What to draw from the start.  [default: the first few that are imputed and observed]",
)
@click.option(
    "--locus",
    metavar="CHR:START-END|GENE",
    help="Where to begin.  [default: where all tracks that are drawn have signal]",
)
@click.option("--genome", help=f"{GENOMES} or a chromosome-sizes file.  [default: as the tracks say]")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="Port on this machine.  [default: any that is free]",
)
@click.option("--open", "open_browser", is_flag=True, help="Open the page in a browser.")
@verbosity
def command(
    source: Path,
    observed: Path | None,
    regions: tuple[Path, ...],
    genes: Path | None,
    pairs: str | None,
    locus: str | None,
    genome: str | None,
    port: int,
    open_browser: bool,
) -> None:
    """Look at the tracks of SOURCE in a browser: a directory with a tracks.tsv, a table of tracks, or a bigWig.

    Serves igv.js and the tracks on this machine until Ctrl-C, for everyone who has the address that is printed.
    """
    from predictd.io.tracks.serve import RangeServer, open_in_browser
    from predictd.workflows.tracks.view import make_view

    view = make_view(
        source, observed=observed, regions=regions, genes=genes, pairs=pairs, locus=locus, genome=genome
    )
    with RangeServer(port, view.served) as server:
        click.echo(f"{server.url} shows {view.n_pairs} pairs of {source}; Ctrl-C ends it")
        with interrupt.at_once(), open_in_browser(server.url) if open_browser else nullcontext():
            server.serve_until(interrupt.requested)
