"""Genes sorted into known classes by their place in a network (by scikit-learn)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from predictd.errors import DataError

N_TREES = 300


@dataclass(frozen=True)
class Classified:
    """Probabilities of classes.

    Attributes
    ----------
    classes
        Their names, sorted.
    probabilities
        (n_genes, n_classes) float64: of a labelled gene by a forest that did not see it, of another by one that saw all
        labelled genes.
    importances
        (n_features,) float64: of each feature in that forest, in all 1.
    """

    classes: tuple[str, ...]
    probabilities: NDArray[np.float64]
    importances: NDArray[np.float64]


@dataclass(frozen=True)
class ClassScores:
    """How well a class is distinguished from the others, on unseen genes; see scikit-learn for the measures."""

    label: str
    n_genes: int
    auroc: float
    aupr: float
    precision: float
    recall: float


def classify(
    features: NDArray[np.float64], labels: Sequence[str | None], *, n_folds: int = 5, seed: int = 0
) -> Classified:
    """Classify genes by random forests of 300 trees, whose classes weigh the same.

    Parameters
    ----------
    features
        (n_genes, n_features) float64.
    labels
        Class of each gene; None where it is not known.
    n_folds
        Of the cross-validation, stratified by class.
    seed
        Of folds and forests.

    Raises
    ------
    DataError
        If there are fewer than two classes, or a class has fewer genes than there are folds.
    """
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import StratifiedKFold

    known = np.flatnonzero([label is not None for label in labels])
    names = np.array([labels[i] for i in known.tolist()], dtype=str)
    classes, y, counts = np.unique(names, return_inverse=True, return_counts=True)
    if classes.size < 2:
        raise DataError(f"the labelled genes are of {classes.size} class; classification needs two")
    if counts.min() < n_folds:
        raise DataError(
            f"the class {classes[np.argmin(counts)]} has {counts.min()} genes in the network, fewer than the {n_folds} "
            "folds: lower `n_folds`, or join classes"
        )
    random_state = seed % 2**32

    def fitted(rows: NDArray[np.int64]) -> RandomForestClassifier:
        forest = RandomForestClassifier(N_TREES, class_weight="balanced", random_state=random_state)
        return forest.fit(features[known[rows]], y[rows])

    probabilities = np.zeros((len(labels), classes.size))
    with threadpool_limits(1):
        for train, test in StratifiedKFold(n_folds, shuffle=True, random_state=random_state).split(
            features[known], y
        ):
            probabilities[known[test]] = fitted(train).predict_proba(features[known[test]])
        whole = fitted(np.arange(y.size))
        rest = np.setdiff1d(np.arange(len(labels)), known)
        if rest.size:
            probabilities[rest] = whole.predict_proba(features[rest])
    return Classified(tuple(classes.tolist()), probabilities, whole.feature_importances_)


def score_classes(found: Classified, labels: Sequence[str | None]) -> list[ClassScores]:
    """Scores of each class on the labelled genes; the most probable class is the one that is predicted."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    known = np.flatnonzero([label is not None for label in labels])
    y = np.array([labels[i] for i in known.tolist()], dtype=str)
    p = found.probabilities[known]
    predicted = np.array(found.classes)[np.argmax(p, axis=1)]
    scores = []
    for column, label in enumerate(found.classes):
        true, said = y == label, predicted == label
        right = int((true & said).sum())
        scores.append(
            ClassScores(
                label,
                int(true.sum()),
                float(roc_auc_score(true, p[:, column])),
                float(average_precision_score(true, p[:, column])),
                right / said.sum() if said.any() else 0.0,
                right / true.sum(),
            )
        )
    return scores
