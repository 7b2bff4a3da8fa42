"""`predictd network enrich` and `classify`: what is known of genes, held against a network."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from predictd.constants import RUN_JSON
from predictd.errors import DataError, OutputError
from predictd.io.files import make_directory, sha256_of, standing
from predictd.io.network.genesets import read_gmt, read_labels
from predictd.io.network.networks import find_network
from predictd.io.results import write_rows, write_run_json
from predictd.network.classification import ClassScores, classify, score_classes
from predictd.network.clusters import cluster_targets, regulation_profiles
from predictd.network.enrichment import Enrichment, enrich
from predictd.network.graph import Edges, centralities, communities, hubs
from predictd.network.links import Links
from predictd.provenance import RunRecord
from predictd.wording import some
from predictd.workflows.network.evaluate import load_links

log = logging.getLogger(__name__)

COLUMNS = ("group", "gene_set", "n_group", "n_set", "n_both", "n_background", "fold", "p", "q", "genes")
GROUPS = ("targets", "communities", "clusters")
# What genes are classified by, before the components of their regulation.
FEATURES = ("in_degree", "out_degree", "in_strength", "out_strength", "pagerank", "betweenness")
PREDICTIONS_TSV, SCORES_TSV, FEATURES_TSV = "predictions.tsv", "scores.tsv", "features.tsv"


def enrich_network(
    network: Path,
    sets_path: Path,
    output: Path,
    *,
    by: str = "targets",
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
        Table to write; `OUTPUT.run.json` is written beside.
    by
        What groups are: the targets of each hub, the communities, or the clusters of targets.
    n_hubs
        How many hubs.
    least, most
        Sizes of the sets that are tested, counted in genes of the network.
    seed
        Of communities and clusters.

    Raises
    ------
    PredictdError
        If a file cannot be read, or no set has enough genes in the network.
    """
    settings = {"groups": by, "hubs": n_hubs, "min_size": least, "max_size": most}
    record = RunRecord("network enrich", seed=seed, settings=settings)
    links, _ = load_links(network)
    sets = read_gmt(sets_path)
    edges = Edges.of(links)
    known = set(edges.genes)
    sizes = [len(known.intersection(genes)) for genes in sets.values()]
    if not any(least <= size <= most for size in sizes):
        raise DataError(
            f"no set of {sets_path} has {least} to {most} of the genes of {network} (the most are {max(sizes)}): use "
            "the same names, or other sizes"
        )
    with record.stage("enrich"):
        groups = _groups(links, edges, by, n_hubs, seed)
        found = enrich(groups, sets, edges.genes, least=least, most=most)
    rows = ([getattr(one, column) for column in COLUMNS[:-1]] + [",".join(one.genes)] for one in found)
    write_rows(output, COLUMNS, rows)
    record.inputs = {
        str(sets_path): sha256_of(sets_path),
        str(network): sha256_of(find_network(network) or network),
    }
    record.results = {
        "groups": len(groups),
        "sets": sum(least <= size <= most for size in sizes),
        "background": len(known),
    }
    write_run_json(record, output, sidecar=True)
    return found


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


def classify_genes(
    network: Path, labels_path: Path, output: Path, *, n_folds: int = 5, seed: int = 0
) -> list[ClassScores]:
    """Learn classes of genes from their place in a network, and write predictions and how far to trust them.

    Parameters
    ----------
    network
        Directory or file of `predictd network infer`, or a list of regulator, target and weight.
    labels_path
        What is known: a table with the columns `gene` and `label`.
    output
        Directory to write.
    n_folds, seed
        Of the cross-validation; of everything random.

    Raises
    ------
    PredictdError
        If a file cannot be read, or the labels do not suffice.
    """
    if found := standing(output, (RUN_JSON,)):
        raise OutputError(f"{output} holds {found[0]} already; remove it, or name another directory")
    record = RunRecord("network classify", seed=seed, settings={"folds": n_folds})
    links, _ = load_links(network)
    known = read_labels(labels_path)
    edges = Edges.of(links)
    absent = sorted(set(known) - set(edges.genes))
    if len(absent) == len(known):
        raise DataError(
            f"no gene of {labels_path} ({some(absent)}) is in {network} ({some(edges.genes)}); use the same names"
        )
    if absent:
        log.warning("%d labelled genes are not in %s and left out: %s", len(absent), network, some(absent))
    labels = [known.get(gene) for gene in edges.genes]
    with record.stage("classify"):
        names, features = gene_features(links, edges, seed=seed)
        classified = classify(features, labels, n_folds=n_folds, seed=seed)
    scores = score_classes(classified, labels)
    make_directory(output)
    write_rows(
        output / PREDICTIONS_TSV,
        ("gene", "label", "predicted", *(f"p_{label}" for label in classified.classes)),
        (
            (gene, label or "", classified.classes[int(np.argmax(p))], *p.tolist())
            for gene, label, p in zip(edges.genes, labels, classified.probabilities, strict=True)
        ),
    )
    columns = ("label", "n_genes", "auroc", "aupr", "precision", "recall")
    write_rows(output / SCORES_TSV, columns, ([getattr(one, c) for c in columns] for one in scores))
    importance = sorted(
        zip(names, classified.importances.tolist(), strict=True), key=lambda pair: (-pair[1], pair[0])
    )
    write_rows(output / FEATURES_TSV, ("feature", "importance"), importance)
    record.inputs = {
        str(labels_path): sha256_of(labels_path),
        str(network): sha256_of(find_network(network) or network),
    }
    record.results = {"classes": list(classified.classes), "labelled": len(known) - len(absent)}
    write_run_json(record, output)
    return scores


def gene_features(links: Links, edges: Edges, *, seed: int) -> tuple[list[str], NDArray[np.float64]]:
    """What genes are classified by: `FEATURES`, and as `regulation_1` and so on `regulation_profiles`.

    Returns
    -------
    names, features
        (n_genes, n_features) float64; no label has a part in them.
    """
    central = centralities(edges, seed=seed)
    columns = [
        edges.in_degree(),
        edges.out_degree(),
        edges.in_strength(),
        edges.out_strength(),
        central.pagerank,
        central.betweenness,
    ]
    profiles = regulation_profiles(links)
    padded = np.zeros((len(edges.genes), profiles.shape[1]))
    padded[: len(profiles)] = profiles
    names = [*FEATURES, *(f"regulation_{i + 1}" for i in range(profiles.shape[1]))]
    # To six digits: the last ones differ between processors, and forests cut between values.
    features = np.column_stack([*columns, padded])
    return names, np.array([[float(f"{value:.6g}") for value in row] for row in features.tolist()])
