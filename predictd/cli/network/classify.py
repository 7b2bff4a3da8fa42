"""`predictd network classify`."""

from __future__ import annotations

from pathlib import Path

import click

from predictd.cli.command import Command
from predictd.cli.options import OUTPUT_DIRECTORY, PATH, SEED, verbosity


@click.command(
    cls=Command,
    examples=[
        "predictd network classify net labels.tsv -o classes",
    ],
)
@click.argument("network", type=PATH)
@click.argument("labels_path", metavar="LABELS", type=PATH)
@OUTPUT_DIRECTORY
@click.option(
    "--folds", "n_folds", type=click.IntRange(min=2), default=5, show_default=True, help="Folds of the test."
)
@SEED
@verbosity
def command(network: Path, labels_path: Path, output: Path, n_folds: int, seed: int | None) -> None:
    """Predict classes of genes from their place in NETWORK, given LABELS of some, a table of gene and label.

    Writes the predictions, how well each class is distinguished from the others on genes that were not seen, and which
    features decide.
    """
    from predictd.workflows.network.classify import classify_genes

    scores = classify_genes(network, labels_path, output, n_folds=n_folds, seed=seed or 0)
    for one in scores:
        click.echo(f"{one.label}: AUROC {one.auroc:.3f}, AUPR {one.aupr:.3f} ({one.n_genes} genes)")
    click.echo(f"{output}: predictions, scores and features")
