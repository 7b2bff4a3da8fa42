"""`predictd folds`."""

from __future__ import annotations

from pathlib import Path

import click

from predictd.cli.command import Command
from predictd.cli.options import OUTPUT_FILE, SEED, TENSOR, verbosity


@click.command(
    cls=Command,
    examples=[
        "predictd folds tensor -o folds.json --tests 5 --valids 8",
    ],
)
@TENSOR
@OUTPUT_FILE
@click.option("--tests", type=click.IntRange(min=2), default=5, show_default=True, help="Test folds.")
@click.option(
    "--valids", type=click.IntRange(min=2), default=8, show_default=True, help="Validation folds in each."
)
@SEED
@verbosity
def command(tensor: Path, output: Path, tests: int, valids: int, seed: int | None) -> None:
    """Divide the experiments of TENSOR for cross-validation.

    Every cell type and every assay keeps training experiments in every fold; where all experiments are of one assay,
    only assays do.
    """
    from predictd.io.tensor.store import Tensor
    from predictd.workflows.tensor.folds import write_folds

    folds = write_folds(Tensor(tensor), output, tests=tests, valids=valids, seed=seed or 0)
    n_tests = len({fold.test for fold in folds})
    click.echo(f"{output}: {len(folds)} folds, {n_tests} test sets of about {len(folds[0].test)} experiments")
