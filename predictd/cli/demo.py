"""`predictd demo`."""

from __future__ import annotations

import time
from pathlib import Path

import click

from predictd.cli.options import PATH, SEED, make_engine, on_engine
from predictd.cli.tables import measures_table


@click.command()
@click.option(
    "-o",
    "--output",
    type=PATH,
    default=Path("predictd-demo"),
    show_default=True,
    help="Directory to write; must be new.",
)
@SEED
@on_engine
def command(output: Path, seed: int | None, engine_name: str | None, workers: int | None) -> None:
    """Run the whole job on a small simulated genome: simulate, ingest, folds, train, impute, evaluate."""
    from predictd.errors import OutputError
    from predictd.workflows.demo import demo

    if output.exists():
        raise OutputError(f"{output} exists already: remove it, or name another directory with -o")
    started = time.monotonic()

    def say(what: str, how: str) -> None:
        click.echo(f"[{time.monotonic() - started:5.1f} s] {what}\n          $ {how}")

    with make_engine(engine_name, workers) as engine:
        report = demo(output, engine, say, seed=seed or 0)
    click.echo(f"[{time.monotonic() - started:5.1f} s] done\n")
    click.echo(f"How well the missing experiments were imputed (means over {len(report.missing) // 3}):\n")
    click.echo(measures_table(report.missing))
    click.echo(
        f"\nMSEglobal and MSE1obs: smaller is better; the others: larger is better. The files are in {output}:\n"
        f"  {output}/data/tracks.tsv     the measured tracks (bigWig)\n"
        f"  {output}/tensor              the same, binned\n"
        f"  {output}/model.h5            the model\n"
        f"  {output}/imputed/tracks.tsv  the imputed tracks (bigWig, for any genome browser)\n"
        f"  {output}/metrics.tsv         all measures of every imputed experiment"
    )
