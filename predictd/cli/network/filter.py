"""`predictd network filter`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from predictd.cli.command import Command
from predictd.cli.messages import as_usage
from predictd.cli.options import PATH, make_engine, on_engine

if TYPE_CHECKING:
    from predictd.io.network.forms import Form


@click.command(
    cls=Command,
    examples=[
        "predictd network filter net -o strongest.tsv --top 1000",
        "predictd network filter net -o adjacencies.csv --format pyscenic",
        "predictd network filter net -o strongest.sif --top-per-target 5",
    ],
)
@click.argument("network", type=PATH)
@click.option(
    "-o",
    "--output",
    type=PATH,
    required=True,
    help="A list where the name ends with .tsv, .txt or .csv, a graph with .sif or .graphml (all may have .gz); else a "
    "network's directory.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["list", "pyscenic", "sif", "graphml"]),
    help="How to write OUTPUT; pyscenic: adjacencies as pySCENIC reads them.  [default: by its name]",
)
@click.option("--min-importance", type=float, help="Keep links of at least this importance.")
@click.option("--top-per-target", type=click.IntRange(min=1), help="Links to keep of each target.")
@click.option("--top", type=click.IntRange(min=1), help="Links to keep in all.")
@on_engine
def command(
    network: Path,
    output: Path,
    form: Form | None,
    min_importance: float | None,
    top_per_target: int | None,
    top: int | None,
    engine_name: str | None,
    workers: int | None,
) -> None:
    """Keep the strongest links of NETWORK: a directory of 'network infer', or any list of regulator, target and weight.

    Several limits are applied one after the other, in the order of the options. Without a limit, all
    links are written. Lists may be larger than memory:
    with --engine spark the executors sort them, else they are sorted on disk.
    """
    from predictd.workflows.network.filter import Limits, check_request, filter_network

    limits = Limits(min_importance, top_per_target, top)
    with as_usage():
        check_request(output, limits, form)
    with make_engine(engine_name, workers) as engine:
        count = filter_network(network, output, limits, engine, form=form)
    click.echo(f"{output}: {count} links")
