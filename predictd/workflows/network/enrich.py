"""`predictd network enrich`: which gene sets the groups of a network's genes hold more of than by chance."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from predictd.errors import DataError
from predictd.grn.clusters import cluster_targets
from predictd.grn.enrichment import Enrichment, enrich
from predictd.grn.graph import Edges, communities, hubs
from predictd.grn.links import Links
from predictd.io.files import sha256_of
from predictd.io.network.genesets import read_gmt
from predictd.io.results import write_rows, write_run_json
from predictd.provenance import RunRecord
from predictd.workflows.network.links import links_checksum, load_links

COLUMNS = ("group", "gene_set", "n_group", "n_set", "n_both", "n_background", "fold", "p", "q", "genes")


def enrich_network(
    network: Path,
    sets_path: Path,
    output: Path,
    *,
    by: str | Path = "targets",
    n_hubs: int = 20,
    least: int = 5,
    most: int = 500,
    seed: int = 0,
) -> list[Enrichment]:
    """Test groups of a network's genes for gene sets, and write a table of those that have genes in common.

    Parameters
    ----------
    network
        Directory or file of `predictd network infer`, or a list of regulator, target and weight.
    sets_path
        Gene sets (GMT).
    output
        Table to write; `OUTPUT.run.json` is written next to it.
    by
        What groups are: the `targets` of each hub, the `communities`, or the `clusters` of targets; or a file of
        groups (GMT), such as regulons.
    n_hubs
        How many hubs.
    least, most
        Sizes of the sets that are tested, counted in genes of the network.
    seed
        Of communities and clusters.

    Raises
    ------
    PredictdError
        If a file cannot be read, no set has enough genes in the network, or no group has any.
    """
    settings = {"groups": str(by), "hubs": n_hubs, "min_size": least, "max_size": most}
    record = RunRecord("network enrich", seed=seed, settings=settings)
    links, _ = load_links(network)
    edges, sets = Edges.of(links), read_gmt(sets_path)
    known = set(edges.genes)
    sizes = [len(genes & known) for genes in sets.values()]
    n_tested = sum(least <= size <= most for size in sizes)
    if not n_tested:
        raise DataError(
            f"no set of {sets_path} has {least} to {most} of the genes of {network} (the most are {max(sizes)}): use "
            "the same names, or other sizes"
        )
    with record.stage("enrich"):
        groups = (
            _listed(by, edges, network) if isinstance(by, Path) else _groups(links, edges, by, n_hubs, seed)
        )
        found = enrich(groups, sets, edges.genes, least=least, most=most)
    rows = ([getattr(one, column) for column in COLUMNS[:-1]] + [",".join(one.genes)] for one in found)
    write_rows(output, COLUMNS, rows)
    record.inputs = {
        str(sets_path): sha256_of(sets_path),
        str(network): links_checksum(network),
    }
    if isinstance(by, Path):
        record.inputs[str(by)] = sha256_of(by)
    record.results = {"groups": len(groups), "sets": n_tested, "background": len(known)}
    write_run_json(record, output, sidecar=True)
    return found


def _listed(path: Path, edges: Edges, network: Path) -> Mapping[str, Collection[str]]:
    """Groups of a file, of which one has to have genes in the network."""
    groups = read_gmt(path)
    if set(edges.genes).isdisjoint(set().union(*groups.values())):
        raise DataError(f"no group of {path} has a gene of {network}; use the same names")
    return groups


def _groups(links: Links, edges: Edges, by: str, n_hubs: int, seed: int) -> dict[str, list[str]]:
    """Genes by group."""
    if by == "targets":
        return {
            edges.genes[hub]: [edges.genes[i] for i in edges.targets[edges.sources == hub].tolist()]
            for hub in hubs(edges, n_hubs).tolist()
        }
    if by == "communities":
        genes, numbers = edges.genes, communities(edges, seed=seed)[0]
    else:
        genes, numbers = links.targets, cluster_targets(links, seed=seed)
    groups: dict[str, list[str]] = {str(n): [] for n in range(1, int(numbers.max(initial=0)) + 1)}
    for gene, number in zip(genes, numbers.tolist(), strict=True):
        if number:
            groups[str(number)].append(gene)
    return groups
