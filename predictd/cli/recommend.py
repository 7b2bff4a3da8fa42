"""`predictd recommend`."""

from __future__ import annotations

from pathlib import Path

import click

from predictd.cli.command import Command
from predictd.cli.options import OUTPUT_FILE, PATH, TENSOR, make_engine, on_engine


@click.command(
    cls=Command,
    examples=[
        "predictd recommend tensor -o next.tsv -k 3",
        "predictd recommend tensor -o next.tsv --cost costs.tsv --for E003",
    ],
)
@TENSOR
@OUTPUT_FILE
@click.option(
    "-k", "k", type=click.IntRange(min=1), default=5, show_default=True, help="How many experiments."
)
@click.option(
    "--cost",
    "costs",
    type=PATH,
    help="Table of costs, columns assay and cost, or cell_type, assay and cost: the choice is then by gain per dollar.",
)
@click.option(
    "--for",
    "focus",
    metavar="CELL|ASSAY",
    help="Only the missing experiments of this cell type or assay count.  [default: all]",
)
@click.option("--moments", type=PATH, help="Moments file.  [default: in TENSOR]")
@on_engine
def command(
    tensor: Path,
    output: Path,
    k: int,
    costs: Path | None,
    focus: str | None,
    moments: Path | None,
    engine_name: str | None,
    workers: int | None,
) -> None:
    """Recommend the next experiments: those that lower the expected error of TENSOR's missing pairs the most."""
    from predictd.workflows.tensor.recommend import recommend

    with make_engine(engine_name, workers) as engine:
        report = recommend(
            tensor,
            output,
            engine,
            k=k,
            costs=costs,
            focus=focus,
            moments=moments,
        )
    width = max(len(str(row.pair)) for row in report.rows)
    for row in report.rows:
        per_dollar = "" if row.gain_per_dollar is None else f"  {row.gain_per_dollar:.4g} per dollar"
        click.echo(f"{row.rank:3}  {row.pair!s:{width}}  {row.gain:.4g}{per_dollar}")
    click.echo(
        f"{output}: {len(report.rows)} of {report.candidates} experiments that could be run; the expected squared "
        f"error, summed over {report.targets} missing pairs, falls from {report.before:.4g} to {report.after:.4g}"
    )
