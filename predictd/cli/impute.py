"""`predictd impute`."""

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
    in_parts,
    make_engine,
    on_engine,
)


@click.command(
    cls=Command,
    examples=[
        "predictd impute cv tensor -o imputed",
        "predictd impute cv tensor -o chosen --pairs E003:H3K27ac,E017:H3K27ac --sd",
    ],
)
@click.argument("model", type=PATH)
@TENSOR
@OUTPUT_DIRECTORY
@click.option(
    "--pairs",
    default="missing",
    show_default=True,
    metavar="all|missing|observed|CELL:ASSAY,…",
    help="What to impute.",
)
@click.option(
    "--sd",
    is_flag=True,
    help="Write CELL-ASSAY.sd.bw, too: the standard deviation of each track, in the same unit. MODEL has to be a "
    "cross-validation.",
)
@SCRATCH
@in_parts
@on_engine
def command(
    model: Path,
    tensor: Path,
    output: Path,
    pairs: str,
    sd: bool,
    scratch: Path | None,
    steps: Steps,
    engine_name: str | None,
    workers: int | None,
) -> None:
    """Impute tracks with MODEL from the experiments in TENSOR.

    Writes a bigWig a pair, in the unit of the input tracks, and tracks.tsv, which lists them.
    """
    from predictd.workflows.imputing.impute import Imputation

    with make_engine(engine_name, workers) as engine:
        plan = Imputation(model, tensor, output, pairs=pairs, sd=sd, scratch=scratch)
        report = steps.take(plan, engine)
    if report is not None:
        click.echo(f"{output}: {len(report.pairs)} imputed tracks, listed in {output / 'tracks.tsv'}")
