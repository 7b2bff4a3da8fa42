"""`predictd network enrich`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from predictd.cli.command import Command
from predictd.cli.options import OUTPUT_FILE, PATH, SEED, PathOrUrl, verbosity
from predictd.constants import GENE_GROUPS
from predictd.io.names import has_suffix


class GroupsOrFile(PathOrUrl):
    """What groups are made by, or the path of a GMT file that has them."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Make a path of what ends as such a file does."""
        if value in GENE_GROUPS:
            return value
        if not has_suffix(value, (".gmt",), packed=True):
            self.fail(f"'{value}' is not one of {', '.join(GENE_GROUPS)}, and not a .gmt file", param, ctx)
        return super().convert(value, param, ctx)


@click.command(
    cls=Command,
    examples=[
        "predictd network enrich net sets.gmt -o enriched.tsv --groups communities",
        "predictd network enrich net sets.gmt -o e.tsv --groups regulons/regulons.gmt",
    ],
)
@click.argument("network", type=PATH)
@click.argument("sets_path", metavar="SETS", type=PATH)
@OUTPUT_FILE
@click.option(
    "--groups",
    "by",
    type=GroupsOrFile(),
    metavar=f"{'|'.join(GENE_GROUPS)}|FILE.gmt",
    default="targets",
    show_default=True,
    help="What is tested: each hub's targets, communities, clusters of targets that are regulated alike, or the groups "
    "of a GMT file, such as regulons.",
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
@click.option(
    "--background",
    type=PATH,
    help="Genes that were measured, one a line: what counts are compared with.  [default: the genes of NETWORK]",
)
@SEED
@verbosity
def command(
    network: Path,
    sets_path: Path,
    output: Path,
    by: str | Path,
    n_hubs: int,
    least: int,
    most: int,
    seed: int | None,
    background: Path | None,
) -> None:
    """Test which gene SETS (GMT) are more frequent in groups of NETWORK's genes than by chance."""
    from predictd.workflows.network.enrich import enrich_network

    found = enrich_network(
        network,
        sets_path,
        output,
        by=by,
        n_hubs=n_hubs,
        least=least,
        most=most,
        seed=seed or 0,
        background=background,
    )
    significant = sum(one.q < 0.05 for one in found)
    click.echo(
        f"{output}: {significant} of {len(found)} pairs of group and set at a false discovery rate under 0.05"
    )
