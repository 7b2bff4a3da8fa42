"""`predictd tune`."""

from __future__ import annotations

from pathlib import Path

import click

from predictd.cli.command import Command
from predictd.cli.options import CONFIG, OUTPUT_FILE, PATH, SEED, TENSOR, make_engine, on_engine
from predictd.config import load_config


@click.command(
    cls=Command,
    examples=[
        "predictd tune tensor -o best.toml",
    ],
)
@TENSOR
@OUTPUT_FILE
@click.option(
    "--trials", type=click.IntRange(min=1), default=40, show_default=True, help="Number of trials in all."
)
@click.option("--solvers", default="em,als", show_default=True, help="Solvers to compare: em, als, sgd.")
@click.option(
    "--folds",
    type=PATH,
    help="folds.json; without it trials are compared on eight folds over all experiments.",
)
@click.option(
    "--test-fold", help="Test fold of --folds that stays unseen: trials are compared on its validation folds."
)
@click.option(
    "--storage", help="Database URL or journal file that processes share.  [default: OUTPUT.journal]"
)
@click.option("--moments", type=PATH, help="Moments file.  [default: in TENSOR]")
@SEED
@CONFIG
@on_engine
def command(
    tensor: Path,
    output: Path,
    trials: int,
    solvers: str,
    folds: Path | None,
    test_fold: str | None,
    storage: str | None,
    moments: Path | None,
    seed: int | None,
    config: Path | None,
    engine_name: str | None,
    workers: int | None,
) -> None:
    """Search solver, rank, penalty and starts on validation experiments of TENSOR, and write the best as settings.

    'predictd train --config OUTPUT' and 'predictd cv --config OUTPUT' take them. The errors of cv are then no held-out
    errors, but for the test fold of --test-fold: its other experiments chose the settings. Several processes that run
    the same command on the same storage share the work.
    """
    from predictd.workflows.training.tune import TuneOptions, tune

    names = [name.strip() for name in solvers.split(",") if name.strip()]
    options = TuneOptions(trials, names, folds, test_fold, storage)
    options.check()
    settings = load_config(config, {"seed": seed})
    with make_engine(engine_name, workers) as engine:
        report = tune(tensor, output, settings.train, engine, options, seed=settings.seed, moments=moments)
    best = report.settings
    click.echo(
        f"{output}: {best.solver}, rank {best.rank}, lambda {best.regularisation:.3g}, {best.als.starts} starts: "
        f"validation MSE {report.validation_mse:.4f}, the best of {report.trials} trials (no held-out error: they were "
        "compared on these experiments)"
    )
