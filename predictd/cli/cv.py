"""`predictd cv`."""

from __future__ import annotations

from pathlib import Path

import click

from predictd.cli.command import Command
from predictd.cli.options import (
    OUTPUT_DIRECTORY,
    PATH,
    SCRATCH,
    TENSOR,
    Steps,
    fitting,
    in_parts,
    make_engine,
    on_engine,
)
from predictd.cli.tables import measures_table, members_table
from predictd.config import Config


@click.command(
    cls=Command,
    examples=[
        "predictd cv tensor -o cv",
        "predictd cv tensor -o cv-tuned --config best.toml --workers 2",
    ],
)
@TENSOR
@OUTPUT_DIRECTORY
@fitting
@click.option("--folds", type=PATH, help="folds.json; without it 5 test × 8 validation folds are made.")
@click.option("--promoters", type=PATH, help="BED file for MSEprom.")
@click.option("--genes", type=PATH, help="BED file for MSEgene.")
@click.option("--enhancers", type=PATH, help="BED file for MSEenh.")
@SCRATCH
@in_parts
@on_engine
def command(
    tensor: Path,
    output: Path,
    settings: Config,
    moments: Path | None,
    folds: Path | None,
    promoters: Path | None,
    genes: Path | None,
    enhancers: Path | None,
    scratch: Path | None,
    steps: Steps,
    engine_name: str | None,
    workers: int | None,
) -> None:
    """Train all folds of TENSOR and score every experiment by models that never saw it.

    The models of a test fold are averaged. 'predictd impute OUTPUT TENSOR' then imputes observed pairs by the models of
    their test fold, and all others by all models (by default: by the one model of all experiments).
    """
    from predictd.workflows.evaluation.regions import Regions
    from predictd.workflows.training.crossval import Crossval

    with make_engine(engine_name, workers) as engine:
        plan = Crossval(
            tensor,
            output,
            settings.train,
            seed=settings.seed,
            folds=folds,
            moments=moments,
            regions=Regions(promoters, genes, enhancers),
            scratch=scratch,
        )
        report = steps.take(plan, engine)
    if report is None:
        return
    for test, why in report.choices.items():
        click.echo(f"test fold {test}: {why}")
    click.echo(f"\n{measures_table(report.rows)}\n")
    if len({row["member"] for row in report.members}) > 3:
        click.echo(f"{members_table(report.members)}\n")
    click.echo(f"{output}: {report.n_models} models; all measures in {output / 'metrics.tsv'}")
