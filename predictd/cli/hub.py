"""`predictd hub`."""

from __future__ import annotations

from pathlib import Path

import click

from predictd.cli.command import Command
from predictd.cli.options import OUTPUT_DIRECTORY, PATH, verbosity


@click.command(
    cls=Command,
    examples=[
        "predictd hub imputed -o hub --observed tracks.tsv --email you@example.org",
    ],
)
@click.argument("source", type=PATH)
@OUTPUT_DIRECTORY
@click.option("--observed", type=PATH, help="Table, or directory, of observed tracks to add.")
@click.option("--genome", help="UCSC's name of the assembly.  [default: as the imputed tracks say]")
@click.option("--name", default="predictd", show_default=True, help="What the hub is called.")
@click.option(
    "--email",
    default="nobody@example.org",
    show_default=True,
    help="Address that readers of the hub can write to.",
)
@click.option("--copy", is_flag=True, help="Copy the bigWigs instead of hard-linking them.")
@verbosity
def command(
    source: Path,
    output: Path,
    observed: Path | None,
    genome: str | None,
    name: str,
    email: str,
    copy: bool,
) -> None:
    """Write a UCSC track hub of the tracks of SOURCE: a directory with a tracks.tsv, or a table of tracks.

    OUTPUT holds hub.txt and the bigWigs: put it on a web server and give UCSC the address of hub.txt.
    """
    from predictd.workflows.tracks.hub import HubOptions, make_hub

    options = HubOptions(genome, name, email, "copy" if copy else "link")
    report = make_hub(source, output, options, observed=observed)
    click.echo(
        f"{output / 'hub.txt'}: {report.imputed} imputed tracks, {report.sd} standard deviations, {report.observed} "
        f"observed tracks on {report.genome}"
    )
