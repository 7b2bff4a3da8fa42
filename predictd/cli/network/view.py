"""`predictd network view`."""

from __future__ import annotations

from pathlib import Path

import click

from predictd.cli.command import Command
from predictd.cli.options import OUTPUT_DIRECTORY, PATH, SEED, verbosity


@click.command(
    cls=Command,
    examples=[
        "predictd network view net -o page",
    ],
)
@click.argument("network", type=PATH)
@OUTPUT_DIRECTORY
@click.option(
    "--hubs", "n_hubs", type=click.IntRange(min=1), default=20, show_default=True, help="Hubs to begin with."
)
@click.option(
    "--links",
    "n_links",
    type=click.IntRange(min=1),
    default=5000,
    show_default=True,
    help="How many of the strongest links the page holds.",
)
@SEED
@verbosity
def command(network: Path, output: Path, n_hubs: int, n_links: int, seed: int | None) -> None:
    """Show NETWORK: an interactive page that needs no other file and no connection, GraphML, a figure of degrees."""
    from predictd.workflows.network.view import NETWORK_HTML, view_network

    report = view_network(network, output, n_hubs=n_hubs, n_links=n_links, seed=seed or 0)
    click.echo(
        f"{output / NETWORK_HTML}: {report.n_genes} genes and {report.n_links} links; open it in a browser"
    )
