"""`predictd network classify`: classes of genes, learned from their place in a network."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from predictd.errors import DataError
from predictd.grn.classification import Classified, ClassScores, classify, score_classes
from predictd.grn.clusters import regulation_profiles
from predictd.grn.graph import Edges, centralities
from predictd.grn.links import Links
from predictd.io.files import make_directory, sha256_of
from predictd.io.network.genesets import read_labels
from predictd.io.results import write_rows, write_run_json
from predictd.provenance import RunRecord
from predictd.wording import some
from predictd.workflows.network.links import links_checksum, load_links, refuse_finished

log = logging.getLogger(__name__)

# What genes are classified by, before the components of their regulation.
FEATURES = ("in_degree", "out_degree", "in_strength", "out_strength", "pagerank", "betweenness")
PREDICTIONS_TSV, SCORES_TSV, FEATURES_TSV = "predictions.tsv", "scores.tsv", "features.tsv"


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
    refuse_finished(output)
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
    _write_classes(output, edges.genes, labels, classified, scores)
    importance = sorted(
        zip(names, classified.importances.tolist(), strict=True), key=lambda pair: (-pair[1], pair[0])
    )
    write_rows(output / FEATURES_TSV, ("feature", "importance"), importance)
    record.inputs = {
        str(labels_path): sha256_of(labels_path),
        str(network): links_checksum(network),
    }
    record.results = {"classes": list(classified.classes), "labelled": len(known) - len(absent)}
    write_run_json(record, output)
    return scores


def _write_classes(
    output: Path,
    genes: Sequence[str],
    labels: Sequence[str | None],
    classified: Classified,
    scores: Sequence[ClassScores],
) -> None:
    """Write the predictions, and how far to trust them."""
    make_directory(output)
    write_rows(
        output / PREDICTIONS_TSV,
        ("gene", "label", "predicted", *(f"p_{label}" for label in classified.classes)),
        (
            (gene, label or "", classified.classes[int(np.argmax(p))], *p.tolist())
            for gene, label, p in zip(genes, labels, classified.probabilities, strict=True)
        ),
    )
    columns = ("label", "n_genes", "auroc", "aupr", "precision", "recall")
    write_rows(output / SCORES_TSV, columns, ([getattr(one, c) for c in columns] for one in scores))


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
