"""`predictd network stats`: tables of a network's genes, hubs, communities and clusters."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from predictd.engine import Engine
from predictd.errors import ConfigError
from predictd.grn.clusters import cluster_targets
from predictd.grn.graph import (
    DAMPING,
    SOURCES,
    Centralities,
    Edges,
    centralities,
    communities,
    components,
    hubs,
)
from predictd.grn.links import Links
from predictd.io.files import make_directory
from predictd.io.network.link_lists import Units, no_links
from predictd.io.network.networks import find_network
from predictd.io.results import as_text, write_rows, write_run_json
from predictd.provenance import RunRecord
from predictd.workflows.network.links import (
    LinkTable,
    links_checksum,
    load_links,
    open_graph,
    open_list,
    refuse_finished,
)

log = logging.getLogger(__name__)

GENES_TSV, DEGREES_TSV = "genes.tsv", "degrees.tsv"
HUBS_TSV, COMMUNITIES_TSV, CLUSTERS_TSV = "hubs.tsv", "communities.tsv", "clusters.tsv"
DISTRIBUTION_TSV = "distribution.tsv"
DEGREES = ("gene", "in_degree", "out_degree", "in_strength", "out_strength")
GENES = ("rank", *DEGREES, "pagerank", "betweenness", "hub", "component", "community", "cluster")
# What Spark measures of a list.
GRAPH = ("rank", *DEGREES, "pagerank", "component")
_SHOWN = 10


@dataclass(frozen=True)
class StatsReport:
    """What measuring came to.

    Attributes
    ----------
    n_genes, n_links, n_communities
        Of the network.
    leading
        The most significant genes, the first one first.
    """

    n_genes: int
    n_links: int
    n_communities: int
    leading: list[str]


@dataclass(frozen=True)
class Measured:
    """A network with all that is measured of its genes, by position in `edges.genes`; `cluster` by target."""

    links: Links
    edges: Edges
    central: Centralities
    component: NDArray[np.int64]
    community: NDArray[np.int64]
    modularity: float
    cluster: NDArray[np.int64]


def measure(links: Links, *, n_clusters: int | None = None, seed: int = 0) -> Measured:
    """All measures of a network."""
    edges = Edges.of(links)
    found, modularity = communities(edges, seed=seed)
    cluster = cluster_targets(links, n_clusters=n_clusters, seed=seed)
    central = centralities(edges, seed=seed)
    return Measured(links, edges, central, components(edges), found, modularity, cluster)


def gene_rows(measured: Measured, n_hubs: int) -> list[tuple[str | int | float, ...]]:
    """A row for each gene, the most significant first; see `GENES`."""
    hub = set(hubs(measured.edges, n_hubs).tolist())
    return list(_gene_rows(measured, _by_significance(measured), hub))


def describe_network(
    network: Path,
    output: Path,
    engine: Engine,
    *,
    n_hubs: int = 20,
    n_clusters: int | None = None,
    seed: int = 0,
) -> StatsReport:
    """Write tables of a network's genes, hubs, communities and clusters.

    Parameters
    ----------
    network
        Directory or file of `predictd network infer`, or a list of regulator, target and weight.
    output
        Directory to write.
    engine
        What runs it; of a list, which need not fit in memory then, Spark's executors measure what `GRAPH` names.
    n_hubs, n_clusters
        How many hubs are listed; how many clusters are made, None: by the number of targets.
    seed
        Of communities, clusters, and of the sources of betweenness.

    Raises
    ------
    PredictdError
        If the network cannot be read, a library is missing, or the output cannot be written.
    """
    record = RunRecord.of(
        "network stats",
        engine,
        seed=seed,
        settings={"hubs": n_hubs, "clusters": n_clusters, "degrees": False},
    )
    refuse_finished(output)
    if engine.has_tables and find_network(network) is None:
        if n_clusters is not None:
            raise ConfigError("Spark makes no clusters; leave `n_clusters` out, or use another engine")
        return _describe_graph(network, output, engine, record)
    links, _ = load_links(network)
    with record.stage("measure"):
        measured = measure(links, n_clusters=n_clusters, seed=seed)
    edges, central = measured.edges, measured.central
    if not central.exact:
        log.warning("betweenness of %d genes is estimated from %d of them", len(edges.genes), SOURCES)
    order = _by_significance(measured)
    _write_tables(output, measured, order, n_hubs)
    n_communities = int(measured.community.max(initial=0))
    record.results = {
        "genes": len(edges.genes),
        "links": len(links),
        "communities": n_communities,
        # There is none where all links weigh nothing, or are of genes to themselves.
        "modularity": round(measured.modularity, 6) if math.isfinite(measured.modularity) else None,
        "clusters": int(measured.cluster.max(initial=0)),
        "betweenness": "exact" if central.exact else f"estimated from {SOURCES} sources",
    }
    record.inputs = {str(network): links_checksum(network)}
    write_run_json(record, output)
    first = [edges.genes[i] for i in order[:_SHOWN].tolist()]
    return StatsReport(len(edges.genes), len(links), n_communities, first)


def _describe_graph(network: Path, output: Path, engine: Engine, record: RunRecord) -> StatsReport:
    """Write what Spark measures of the genes of a list."""
    log.warning(
        "Spark measures degrees, PageRank and connected components of a list; betweenness, hubs, communities and "
        "clusters need another engine, and the list in memory"
    )
    first: list[str] = []
    n_genes = n_components = 0
    with record.stage("measure"):
        table = open_graph(network, engine)
        count, units = _extent(table, network)
        make_directory(output)

        def rows() -> Iterator[tuple[str | int | float, ...]]:
            nonlocal n_genes, n_components
            for gene, into, out, *sums, rank, component in table.graph(units, damping=DAMPING):
                n_genes, n_components = n_genes + 1, max(n_components, component)
                first.extend([gene] if n_genes <= _SHOWN else [])
                yield n_genes, gene, into, out, *map(units.weight, sums), rank, component

        write_rows(output / GENES_TSV, GRAPH, rows())
    record.results = {"genes": n_genes, "links": count, "components": n_components}
    record.inputs = {str(network): links_checksum(network)}
    write_run_json(record, output)
    return StatsReport(n_genes, count, 0, first)


def _extent(table: LinkTable, network: Path) -> tuple[int, Units]:
    """How many links there are, and in what sums of their weights are exact."""
    count, largest = table.extent()
    if not count:
        raise no_links(network)
    return count, Units.of(count, largest)


def describe_degrees(network: Path, output: Path, engine: Engine) -> StatsReport:
    """Write the degrees and strengths of the genes of a list that need not fit in memory; see `describe_network`."""
    if find_network(network) is not None:
        raise ConfigError(f"{network} is not a list and fits in memory: leave `degrees` out")
    record = RunRecord.of("network stats", engine, settings={"degrees": True})
    refuse_finished(output)
    with record.stage("measure"):
        table = open_list(network, engine)
        count, units = _extent(table, network)
        make_directory(output)
        found = 0

        def rows() -> Iterator[tuple[str | int | float, ...]]:
            nonlocal found
            for gene, into, out, *sums in table.degrees(units):
                found += 1
                yield gene, into, out, *map(units.weight, sums)

        write_rows(output / DEGREES_TSV, DEGREES, rows())
    record.results = {"genes": found, "links": count}
    record.inputs = {str(network): links_checksum(network)}
    write_run_json(record, output)
    return StatsReport(found, count, 0, [])


def _write_tables(output: Path, measured: Measured, order: NDArray[np.int64], n_hubs: int) -> None:
    """Write all that is measured; `order`: genes from the most significant on."""
    make_directory(output)
    edges = measured.edges
    leading = hubs(edges, n_hubs)
    write_rows(output / GENES_TSV, GENES, _gene_rows(measured, order, set(leading.tolist())))
    write_rows(output / HUBS_TSV, ("gene", "targets", "strength", "strongest"), _hub_rows(edges, leading))
    names = ("community", "genes", "links_inside", "links_across", "leading")
    write_rows(output / COMMUNITIES_TSV, names, _community_rows(measured, order))
    write_rows(output / CLUSTERS_TSV, ("cluster", "genes", "regulators"), _cluster_rows(measured))
    write_rows(output / DISTRIBUTION_TSV, ("degree", "genes_in", "genes_out"), _distribution(edges))


def _by_significance(measured: Measured) -> NDArray[np.int64]:
    """Genes from the most significant on; equals to six digits by name."""
    genes, pagerank = measured.edges.genes, measured.central.pagerank
    rounded = [float(as_text(value)) for value in pagerank.tolist()]
    return np.array(sorted(range(len(genes)), key=lambda i: (-rounded[i], genes[i])), np.int64)


def _gene_rows(
    measured: Measured, order: NDArray[np.int64], hub: set[int]
) -> Iterator[tuple[str | int | float, ...]]:
    edges = measured.edges
    cluster = np.zeros(len(edges.genes), np.int64)
    cluster[: measured.cluster.size] = measured.cluster
    columns = [
        column.tolist()
        for column in (
            edges.in_degree(),
            edges.out_degree(),
            edges.in_strength(),
            edges.out_strength(),
            measured.central.pagerank,
            measured.central.betweenness,
        )
    ]
    for place, gene in enumerate(order.tolist(), 1):
        values = (column[gene] for column in columns)
        groups = (int(own[gene]) for own in (measured.component, measured.community, cluster))
        yield place, edges.genes[gene], *values, int(gene in hub), *groups


def _hub_rows(edges: Edges, leading: NDArray[np.int64]) -> Iterator[tuple[str | int | float, ...]]:
    for gene in leading.tolist():
        own = np.flatnonzero(edges.sources == gene)
        strongest = own[np.argsort(-edges.weights[own], kind="stable")][:_SHOWN]
        names = ",".join(edges.genes[i] for i in edges.targets[strongest].tolist())
        yield edges.genes[gene], own.size, float(edges.weights[own].sum()), names


def _community_rows(measured: Measured, order: NDArray[np.int64]) -> Iterator[tuple[str | int | float, ...]]:
    community, edges = measured.community, measured.edges
    at_source, at_target = community[edges.sources], community[edges.targets]
    for number in range(1, int(community.max(initial=0)) + 1):
        inside = int(((at_source == number) & (at_target == number)).sum())
        across = int(((at_source == number) ^ (at_target == number)).sum())
        own = order[community[order] == number]
        names = ",".join(edges.genes[i] for i in own[:_SHOWN].tolist())
        yield number, own.size, inside, across, names


def _cluster_rows(measured: Measured) -> Iterator[tuple[str | int | float, ...]]:
    links, of_link = measured.links, measured.cluster[measured.links.rows()]
    for number in range(1, int(measured.cluster.max(initial=0)) + 1):
        own = of_link == number
        shares = np.bincount(links.indices[own], np.abs(links.importances[own]), len(links.regulators))
        first = np.argsort(-shares, kind="stable")[:_SHOWN]
        names = ",".join(links.regulators[i] for i in first.tolist() if shares[i] > 0)
        yield number, int((measured.cluster == number).sum()), names


def _distribution(edges: Edges) -> Iterator[tuple[int, int, int]]:
    """How many genes have each degree."""
    into, out = np.bincount(edges.in_degree()), np.bincount(edges.out_degree())
    for degree in range(max(into.size, out.size)):
        counts = [int(found[degree]) if degree < found.size else 0 for found in (into, out)]
        if any(counts):
            yield degree, counts[0], counts[1]
