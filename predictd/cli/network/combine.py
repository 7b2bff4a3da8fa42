"""`predictd network combine`."""

from __future__ import annotations

from pathlib import Path

import click

from predictd.cli.command import Command
from predictd.cli.messages import as_usage
from predictd.cli.options import OUTPUT_FILE, PATH, verbosity


@click.command(cls=Command, examples=["predictd network combine net sc -o together.tsv"])
@click.argument("networks", type=PATH, nargs=-1, required=True)
@OUTPUT_FILE
@verbosity
def command(networks: tuple[Path, ...], output: Path) -> None:
    """Combine NETWORKS, of several data sets, methods or seeds, into one list by the mean rank of each link.

    Each is what 'predictd network infer' wrote, or any list of regulator, target and weight. A link that one of them
    does not list counts there as tied for the last place.
    """
    from predictd.workflows.network.combine import check_combination, combine_networks

    with as_usage():
        check_combination(networks, output)
    click.echo(f"{output}: {combine_networks(networks, output)} links")
