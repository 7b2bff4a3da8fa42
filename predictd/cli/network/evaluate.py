"""`predictd network evaluate`."""

from __future__ import annotations

from pathlib import Path

import click

from predictd.cli.command import Command
from predictd.cli.options import OUTPUT_FILE, PATH, SEED, verbosity


@click.command(
    cls=Command,
    examples=[
        "predictd network evaluate net gold.tsv -o eval.tsv",
    ],
    more_by="name more networks with --beside.",
)
@click.argument("network", type=PATH)
@click.argument("gold_path", metavar="GOLD", type=PATH)
@OUTPUT_FILE
@click.option("--name", help="What the method is called in the output.  [default: as NETWORK says]")
@click.option(
    "--beside",
    type=PATH,
    multiple=True,
    help="Another network to score and to compare with NETWORK; may be repeated.",
)
@click.option(
    "--consensus", type=PATH, help="List to write: the links of all networks by mean rank; it is scored, too."
)
@SEED
@verbosity
def command(
    network: Path,
    gold_path: Path,
    output: Path,
    name: str | None,
    beside: tuple[Path, ...],
    consensus: Path | None,
    seed: int | None,
) -> None:
    """Score NETWORK against GOLD, a table of known links (regulator, target).

    NETWORK is what 'predictd network infer' wrote, or any list of regulator, target and weight. Candidates are all
    pairs of GOLD's regulators and targets, or, where GOLD also lists pairs that are not links (0), the pairs that it
    lists. With other networks (--beside), for example of other
    seeds or methods, OUTPUT.agreement.tsv says how far they agree.
    """
    from predictd.workflows.network.evaluate import evaluate_network

    scores = evaluate_network(
        network, gold_path, output, name=name, seed=seed or 0, beside=beside, consensus=consensus
    )
    for label, own in scores.items():
        click.echo(
            f"{label}: AUPR {own.aupr:.4f} ({own.aupr_low:.4f} to {own.aupr_high:.4f}), AUROC {own.auroc:.4f}, "
            f"early precision {own.early_precision:.4f}: {own.n_gold} known links among {own.n_candidates} candidates"
        )
    which = (
        "the pairs that {} lists, links or not"
        if own.candidates == "listed"
        else "all pairs of the regulators and targets of {}"
    )
    click.echo(f"candidates: {which.format(gold_path)}")
    click.echo(f"{output}: all scores")
