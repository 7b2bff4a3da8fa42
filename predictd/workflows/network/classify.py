"""`predictd network classify`: classes of genes, learned from their place in a network."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
Table = tuple[Sequence[str], Sequence[tuple[str | int | float, ...]]]


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
    with record.stage("classify"):
        found = find_classes(links, known, n_folds=n_folds, seed=seed, called=(network, labels_path))
    make_directory(output)
    for name, table in found.tables().items():
        write_rows(output / name, *table)
    record.inputs = {
        str(labels_path): sha256_of(labels_path),
        str(network): links_checksum(network),
    }
    record.results = {"classes": list(found.classified.classes), "labelled": found.n_labelled}
    write_run_json(record, output)
    return found.scores


@dataclass(frozen=True)
class GeneClasses:
    """Classes of a network's genes.

    Attributes
    ----------
    genes, labels
        Names, and what was known of each; None: nothing.
    classified, scores
        What was learned, and how far to trust it.
    features
        What genes were classified by.
    """

    genes: tuple[str, ...]
    labels: list[str | None]
    classified: Classified
    scores: list[ClassScores]
    features: list[str]

    @property
    def n_labelled(self) -> int:
        """How many genes have a label."""
        return sum(label is not None for label in self.labels)

    def tables(self) -> dict[str, Table]:
        """Columns and rows of predictions, scores and importances of features, by the names of their files."""
        classes = self.classified.classes
        columns = ("label", "n_genes", "auroc", "aupr", "precision", "recall")
        features = list(zip(self.features, self.classified.importances.tolist(), strict=True))
        features.sort(key=lambda pair: (-pair[1], pair[0]))
        predictions = [
            (gene, label or "", classes[int(np.argmax(p))], *p.tolist())
            for gene, label, p in zip(self.genes, self.labels, self.classified.probabilities, strict=True)
        ]
        return {
            PREDICTIONS_TSV: (
                ("gene", "label", "predicted", *(f"p_{label}" for label in classes)),
                predictions,
            ),
            SCORES_TSV: (columns, [tuple(getattr(one, c) for c in columns) for one in self.scores]),
            FEATURES_TSV: (("feature", "importance"), features),
        }


def find_classes(
    links: Links,
    known: Mapping[str, str],
    *,
    n_folds: int,
    seed: int,
    called: tuple[Path | str, Path | str],
) -> GeneClasses:
    """Learn classes of genes from their place in a network; see `classify_genes`.

    Parameters
    ----------
    links, known
        The network, and labels of some of its genes by name.
    n_folds, seed
        Of the cross-validation; of everything random.
    called
        What messages call the network and the labels.

    Raises
    ------
    DataError
        If the labels do not suffice.
    """
    edges, (network, labels_name) = Edges.of(links), called
    absent = sorted(set(known) - set(edges.genes))
    if len(absent) == len(known):
        raise DataError(
            f"no gene of {labels_name} ({some(absent)}) is in {network} ({some(edges.genes)}); use the same names"
        )
    if absent:
        log.warning("%d labelled genes are not in %s and left out: %s", len(absent), network, some(absent))
    labels = [known.get(gene) for gene in edges.genes]
    names, features = gene_features(links, edges, seed=seed)
    classified = classify(features, labels, n_folds=n_folds, seed=seed)
    return GeneClasses(edges.genes, labels, classified, score_classes(classified, labels), names)


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
