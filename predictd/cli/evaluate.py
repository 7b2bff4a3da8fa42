"""`predictd evaluate`."""

from __future__ import annotations

from pathlib import Path

import click

from predictd.cli.options import LOCAL, OUTPUT_FILE, PATH, make_engine, on_engine
from predictd.cli.tables import measures_table


@click.command()
@click.argument("directory", type=PATH)
@click.argument("tracks", type=PATH)
@OUTPUT_FILE
@click.option(
    "--tensor", type=PATH, help="Bins and baselines.  [default: the tensor that DIRECTORY's run.json names]"
)
@click.option(
    "--name", default="model", show_default=True, help="What the imputed tracks are called in the output."
)
@click.option("--promoters", type=PATH, help="BED file for MSEprom.")
@click.option("--genes", type=PATH, help="BED file for MSEgene.")
@click.option("--enhancers", type=PATH, help="BED file for MSEenh.")
@click.option("--scratch", type=LOCAL, help="Directory for temporary files.")
@on_engine
def command(
    directory: Path,
    tracks: Path,
    output: Path,
    tensor: Path | None,
    name: str,
    promoters: Path | None,
    genes: Path | None,
    enhancers: Path | None,
    scratch: Path | None,
    engine_name: str | None,
    workers: int | None,
) -> None:
    """Score the imputed tracks in DIRECTORY (it has a tracks.tsv) against the observed ones listed in TRACKS.

    The same-assay mean, as it is and rescaled to the cell type's amplitude, is scored, too.
    """
    from predictd.workflows.evaluation.evaluate import Regions, evaluate

    with make_engine(engine_name, workers) as engine:
        rows = evaluate(
            directory,
            tracks,
            output,
            engine,
            tensor=tensor,
            name=name,
            regions=Regions(promoters, genes, enhancers),
            scratch=scratch,
        )
    click.echo(measures_table(rows))
    click.echo(f"{output}: all measures of {len({(r['cell_type'], r['assay']) for r in rows})} experiments")
