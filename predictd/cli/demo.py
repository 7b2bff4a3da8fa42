"""`predictd demo`."""

from __future__ import annotations

import time
from pathlib import Path

import click

from predictd.cli.command import Command
from predictd.cli.options import PATH, SEED, make_engine, on_engine
from predictd.cli.tables import measures_table

_ARGUMENTS = {
    "simulate": "{d}/data --cells {cells} --assays {assays} --share {share} --bins {bins} --rank {rank} --seed {seed}",
    "ingest": "{d}/data/tracks.tsv {d}/tensor --genome {d}/data/genome.chrom.sizes",
    "folds": "{d}/tensor -o {d}/folds.json --seed {seed}",
    "train": "{d}/tensor -o {d}/model.h5 --rank {rank} --seed {seed}",
    "impute": "{d}/model.h5 {d}/tensor -o {d}/imputed --pairs missing",
    "evaluate": "{d}/imputed {d}/data/truth.tsv -o {d}/metrics.tsv",
}

_FILES = """
MSEglobal and MSE1obs: smaller is better; the others: larger is better. The files are in {d}:
  {d}/data/tracks.tsv     the measured tracks (bigWig)
  {d}/tensor              the same, binned
  {d}/model.h5            the model
  {d}/imputed/tracks.tsv  the imputed tracks (bigWig, for any genome browser)
  {d}/metrics.tsv         all measures of every imputed experiment

Look at them next, on one page (which needs matplotlib: {report}) and in a genome browser:
          $ predictd report {d}/imputed --metrics {d}/metrics.tsv -o {d}/report.html
          $ predictd view {d}/imputed --observed {d}/data/tracks.tsv --open"""


@click.command(
    cls=Command,
    examples=[
        "predictd demo -o predictd-demo",
    ],
)
@click.option(
    "-o",
    "--output",
    type=PATH,
    default=Path("predictd-demo"),
    show_default=True,
    help="Directory to write: a new one, or that of this demo.",
)
@SEED
@on_engine
def command(output: Path, seed: int | None, engine_name: str | None, workers: int | None) -> None:
    """Run the whole job on a small simulated genome: simulate, ingest, folds, train, impute, evaluate.

    A demo that was stopped goes on when it is run again; of one that is finished the result is shown again.
    """
    from predictd.wording import install
    from predictd.workflows.demo import ASSAYS, BINS, CELLS, RANK, SHARE, demo

    started = time.monotonic()

    size = {"cells": CELLS, "assays": ASSAYS, "share": SHARE, "bins": BINS, "rank": RANK}

    def say(step: str, what: str) -> None:
        arguments = _ARGUMENTS[step].format(d=output, seed=seed or 0, **size)
        click.echo(f"[{time.monotonic() - started:5.1f} s] {what}\n          $ predictd {step} {arguments}")

    with make_engine(engine_name, workers) as engine:
        report = demo(output, engine, say, seed=seed or 0)
    if report.done_before:
        click.echo(f"{output} is finished already: nothing was done\n")
    else:
        click.echo(f"[{time.monotonic() - started:5.1f} s] done\n")
    click.echo(f"How well the missing experiments were imputed (means over {len(report.missing) // 3}):\n")
    click.echo(measures_table(report.missing))
    click.echo(_FILES.format(d=output, report=install("report")))
