"""`predictd network infer`."""

from __future__ import annotations

from pathlib import Path

import click

from predictd.cli.options import (
    CONFIG,
    OUTPUT_DIRECTORY,
    PATH,
    SEED,
    Steps,
    in_parts,
    make_engine,
    make_record,
    on_engine,
)
from predictd.config import load_config


@click.command()
@click.argument("expression", type=PATH)
@OUTPUT_DIRECTORY
@click.option("--regulators", type=PATH, help="Genes that may regulate, a name a line.  [default: all]")
@click.option(
    "--method",
    type=click.Choice(["rf", "et", "grnboost", "ridge", "clr", "pearson"]),
    help="Random forests, extra trees, gradient boosting, or a cheap baseline.  [default: rf]",
)
@click.option(
    "--trees", type=click.IntRange(min=1), help="Trees a target.  [default: 1000; grnboost: 5000 at most]"
)
@click.option("--top", type=click.IntRange(min=1), help="Links to keep a target.  [default: 100]")
@click.option("--min-importance", type=click.FloatRange(min=0), help="Leave out links of less.  [default: 0]")
@click.option(
    "--genes",
    type=click.Choice(["rows", "columns"]),
    help="Where EXPRESSION has its genes.  [default: by header]",
)
@SEED
@CONFIG
@in_parts
@on_engine
def command(
    expression: Path,
    output: Path,
    regulators: Path | None,
    method: str | None,
    trees: int | None,
    top: int | None,
    min_importance: float | None,
    genes: str | None,
    seed: int | None,
    config: Path | None,
    steps: Steps,
    engine_name: str | None,
    workers: int | None,
) -> None:
    """Infer a network from EXPRESSION, a table of numbers by tabs, of genes and samples (.gz allowed).

    A first column headed 'gene' means genes in rows; a header over numbers alone, samples in rows. Writes links.tsv,
    the links from the most important on, and network.h5.
    """
    from predictd.workflows.network_infer import Inference

    given = {"method": method, "trees": trees, "top": top, "min_importance": min_importance}
    settings = load_config(config, {"seed": seed, "network": given})
    with make_engine(engine_name, workers) as engine:
        plan = Inference(
            expression,
            output,
            settings.network,
            regulators_path=regulators,
            orientation=genes,  # type: ignore[arg-type]
            seed=settings.seed,
        )
        record = make_record(engine, settings.network.model_dump(mode="json"), seed=settings.seed)
        report = steps.take(plan, engine, record)
    if report is not None:
        listed = f", listed in {output / 'links.tsv'}" if report.listed else ""
        click.echo(
            f"{output}: {report.n_links} links from {report.n_regulators} regulators to {report.n_targets} genes"
            f"{listed}"
        )
