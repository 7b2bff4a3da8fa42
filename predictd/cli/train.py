"""`predictd train`."""

from __future__ import annotations

from pathlib import Path

import click

from predictd.cli.command import Command
from predictd.cli.options import (
    OUTPUT_FILE,
    PATH,
    SCRATCH,
    TENSOR,
    fitting,
    make_engine,
    on_engine,
)
from predictd.config import Config


@click.command(
    cls=Command,
    examples=[
        "predictd train tensor -o model.h5 --solver em --rank auto",
        "predictd train tensor -o fold.h5 --folds folds.json --fold 0.3",
    ],
)
@TENSOR
@OUTPUT_FILE
@fitting
@click.option(
    "--folds",
    type=PATH,
    help="folds.json; without it a random eighth of the experiments validates, and then all are fitted. Settings may "
    "be chosen on these too: 'predictd cv' has held-out errors.",
)
@click.option("--fold", "fold_name", help="Which of the folds to train, e.g. 0.3.")
@SCRATCH
@on_engine
def command(
    tensor: Path,
    output: Path,
    settings: Config,
    moments: Path | None,
    folds: Path | None,
    fold_name: str | None,
    scratch: Path | None,
    engine_name: str | None,
    workers: int | None,
) -> None:
    """Fit a model to TENSOR.

    A signal (Ctrl-C, or a batch system's) saves the state; the same command goes on from there.
    """
    from predictd.workflows.training.train import train

    with make_engine(engine_name, workers) as engine:
        report = train(
            tensor,
            output,
            settings.train,
            engine,
            seed=settings.seed,
            folds=folds,
            fold_name=fold_name,
            moments=moments,
            scratch=scratch,
        )
    click.echo(report.chosen)
    click.echo(f"{output}: {report.summary()}")
