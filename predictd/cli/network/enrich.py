"""`predictd network enrich`."""

from __future__ import annotations

from pathlib import Path

import click

from predictd.cli.command import Command
from predictd.cli.options import OUTPUT_FILE, PATH, SEED, verbosity


@click.command(
    cls=Command,
    examples=[
        "predictd network enrich net sets.gmt -o enriched.tsv --groups communities",
    ],
)
@click.argument("network", type=PATH)
@click.argument("sets_path", metavar="SETS", type=PATH)
@OUTPUT_FILE
@click.option(
    "--groups",
    "by",
    type=click.Choice(["targets", "communities", "clusters"]),
    default="targets",
    show_default=True,
    help="What is tested: each hub's targets, communities, or clusters of targets that are regulated alike.",
)
@click.option(
    "--hubs", "n_hubs", type=click.IntRange(min=1), default=20, show_default=True, help="How many hubs."
)
@click.option(
    "--min-size",
    "least",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="Smallest set to test.",
)
@click.option(
    "--max-size",
    "most",
    type=click.IntRange(min=1),
    default=500,
    show_default=True,
    help="Largest set to test.",
)
@SEED
@verbosity
def command(
    network: Path,
    sets_path: Path,
    output: Path,
    by: str,
    n_hubs: int,
    least: int,
    most: int,
    seed: int | None,
) -> None:
    """Test which gene SETS (GMT) groups of NETWORK's genes hold more of than by chance."""
    from predictd.workflows.network.enrich import enrich_network

    found = enrich_network(
        network, sets_path, output, by=by, n_hubs=n_hubs, least=least, most=most, seed=seed or 0
    )
    significant = sum(one.q < 0.05 for one in found)
    click.echo(
        f"{output}: {significant} of {len(found)} pairs of group and set at a false discovery rate under 0.05"
    )
