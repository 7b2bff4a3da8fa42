"""`predictd network regulons`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from predictd.cli.command import Command
from predictd.cli.options import OUTPUT_DIRECTORY, PATH, verbosity


@click.command(
    cls=Command,
    examples=[
        "predictd network regulons net -o regulons",
        "predictd network regulons net -o tested --gold gold.tsv",
    ],
)
@click.argument("network", type=PATH)
@OUTPUT_DIRECTORY
@click.option(
    "--top-per-regulator",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="Targets to keep of each regulator and sign.",
)
@click.option(
    "--min-size",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="Leave out regulons of fewer targets.",
)
@click.option(
    "--min-importance",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Leave out links of lower importance.",
)
@click.option(
    "--gold", "gold_path", type=PATH, help="Known links, as of 'network evaluate', to test each regulon for."
)
@click.option(
    "--background",
    type=PATH,
    help="Genes that were measured, one a line, for the test.  [default: the targets of NETWORK]",
)
@verbosity
def command(
    network: Path, output: Path, gold_path: Path | None, background: Path | None, **limits: Any
) -> None:
    """Write the strongest targets of each regulator in NETWORK as gene sets.

    NETWORK is what 'predictd network infer' wrote, or any list of regulator, target and weight. Writes regulons.gmt,
    for 'network aucell', 'network enrich' and other tools, and regulons.tsv, a table. Where links have signs, TF(+) has
    the targets that TF raises, TF(-) those that it lowers.
    """
    from predictd.workflows.network.regulons import write_regulons

    regulons, known = write_regulons(network, output, gold_path=gold_path, background=background, **limits)
    click.echo(f"{output}: {len(regulons)} regulons of {len({one.regulator for one in regulons})} regulators")
    if gold_path is not None:
        tested = [one for one in known if one is not None]
        significant = sum(one.q < 0.05 for one in tested)
        click.echo(
            f"{significant} of {len(tested)} have more known targets than by chance, at a false discovery rate under "
            "0.05"
        )
