"""`predictd network enrich`: which gene sets the groups of a network's genes hold more of than by chance."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
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
from predictd.workflows.network.background import choose_background
from predictd.workflows.network.links import is_whole, links_checksum, load_links

GeneSets = Mapping[str, Collection[str]]
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
    background: Path | None = None,
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
        Sizes of the sets that are tested, counted in genes of the background.
    seed
        Of communities and clusters.
    background
        Names of the genes that could have been in a group, one a line; None: the genes of the network.

    Raises
    ------
    PredictdError
        If a file cannot be read, no set has enough genes in the network, or no group has any.
    """
    settings = {"groups": str(by), "hubs": n_hubs, "min_size": least, "max_size": most}
    record = RunRecord("network enrich", seed=seed, settings=settings)
    links, _ = load_links(network)
    sets = read_gmt(sets_path)
    groups = read_gmt(by) if isinstance(by, Path) else by
    chosen = choose_background(background, links.genes, network, whole=is_whole(network))
    with record.stage("enrich"):
        found, counts = find_enriched(
            links,
            sets,
            groups,
            n_hubs=n_hubs,
            sizes=(least, most),
            seed=seed,
            called=(network, sets_path, by),
            background=chosen,
        )
    write_rows(output, COLUMNS, enriched_rows(found))
    record.inputs = {
        str(sets_path): sha256_of(sets_path),
        str(network): links_checksum(network),
    }
    for path in (by, background):
        if isinstance(path, Path):
            record.inputs[str(path)] = sha256_of(path)
    record.results = counts
    write_run_json(record, output, sidecar=True)
    return found


def find_enriched(
    links: Links,
    sets: GeneSets,
    by: str | GeneSets,
    *,
    n_hubs: int,
    sizes: tuple[int, int],
    seed: int,
    called: tuple[Path | str, Path | str, Path | str],
    background: Collection[str] | None = None,
) -> tuple[list[Enrichment], dict[str, int]]:
    """Test groups of a network's genes for gene sets; see `enrich_network`.

    Parameters
    ----------
    links, sets
        The network, and genes by name of the set.
    by
        What groups are: `targets`, `communities` or `clusters`; or genes by name of the group.
    n_hubs, seed
        See `enrich_network`.
    sizes
        Least and most genes of a set.
    called
        What messages call the network, the sets and the groups.
    background
        Genes that could have been in a group; None: those of the network.

    Returns
    -------
    found, counts
        What groups and sets have genes in common, and how many groups, tested sets and genes of the background there
        are.
    """
    edges, (network, sets_name, groups_name) = Edges.of(links), called
    known = set(edges.genes if background is None else background)
    whose = network if background is None else "the background"
    found = [len(known.intersection(genes)) for genes in sets.values()]
    n_tested = sum(sizes[0] <= size <= sizes[1] for size in found)
    if not n_tested:
        raise DataError(
            f"no set of {sets_name} has {sizes[0]} to {sizes[1]} of the genes of {whose} (the most are "
            f"{max(found, default=0)}): use the same names, or other sizes"
        )
    groups = _groups(links, edges, by, n_hubs, seed) if isinstance(by, str) else by
    if not isinstance(by, str) and known.isdisjoint(set().union(*groups.values())):
        raise DataError(f"no group of {groups_name} has a gene of {whose}; use the same names")
    enriched = enrich(groups, sets, known, least=sizes[0], most=sizes[1])
    return enriched, {"groups": len(groups), "sets": n_tested, "background": len(known)}


def enriched_rows(found: Iterable[Enrichment]) -> Iterator[list[str | int | float]]:
    """A row of `COLUMNS` for each group and set that have genes in common."""
    for one in found:
        yield [getattr(one, column) for column in COLUMNS[:-1]] + [",".join(one.genes)]


def _groups(links: Links, edges: Edges, by: str, n_hubs: int, seed: int) -> GeneSets:
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
