"""`predictd network stats`."""

from __future__ import annotations

from pathlib import Path

import click

from predictd.cli.command import Command
from predictd.cli.options import OUTPUT_DIRECTORY, PATH, SEED, make_engine, on_engine


@click.command(
    cls=Command,
    examples=[
        "predictd network stats net -o stats",
    ],
)
@click.argument("network", type=PATH)
@OUTPUT_DIRECTORY
@click.option(
    "--hubs", "n_hubs", type=click.IntRange(min=1), default=20, show_default=True, help="Hubs to list."
)
@click.option(
    "--clusters",
    "n_clusters",
    type=click.IntRange(min=2),
    help="Clusters of targets to make.  [default: by their number]",
)
@click.option(
    "--degrees", is_flag=True, help="Only degrees and strengths, of a list that need not fit in memory."
)
@SEED
@on_engine
def command(
    network: Path,
    output: Path,
    n_hubs: int,
    n_clusters: int | None,
    degrees: bool,
    seed: int | None,
    engine_name: str | None,
    workers: int | None,
) -> None:
    """Measure the genes of NETWORK: a directory of 'network infer', or any list of regulator, target and weight.

    Writes tables of genes (degrees, strengths, PageRank, betweenness, component, community, cluster), hubs,
    communities, clusters, and how degrees are distributed. With --engine spark a list need not fit in memory; then only
    degrees, strengths, PageRank and connected components are measured.
    """
    from predictd.workflows.network.stats import describe_degrees, describe_network

    with make_engine(engine_name, workers) as engine:
        if degrees:
            report = describe_degrees(network, output, engine)
        else:
            report = describe_network(
                network, output, engine, n_hubs=n_hubs, n_clusters=n_clusters, seed=seed or 0
            )
    click.echo(f"{output}: {report.n_genes} genes, {report.n_links} links")
    if report.leading:
        groups = f"{report.n_communities} communities; " if report.n_communities else ""
        click.echo(f"{groups}the most significant genes: {', '.join(report.leading)}")
