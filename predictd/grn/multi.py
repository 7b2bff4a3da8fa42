"""One forest for targets that vary alike: extra trees with several outputs, and what each output owes to a regulator.

Targets that regulate nothing are put in groups by k-means of their standardised expression. The trees of a group are
grown for all of its targets at once, so that cuts which serve many of them stand out, and cost is shared. A regulator's
importance for one target is the variance of that target which its cuts explain, as in GENIE3; the others of its group
have a part in the choice of cuts alone. A target that is a regulator itself has a forest of its own, as it may be no
candidate there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictd.grn.clusters import k_means
from predictd.grn.genie3 import target_seed

# Targets of a group, on average and at most.
GROUP = 16
MOST = 64
_MOST_CLUSTERS = 256
# Trees that are held at once: each has a mean of every target at every node.
_BATCH = 50


def group_targets(
    expression: NDArray[np.float64], regulators: NDArray[np.int64], *, seed: int
) -> list[NDArray[np.int64]]:
    """Groups of the genes.

    Parameters
    ----------
    expression
        (n_genes, n_samples), standardised; rows of zeros are constant genes.
    regulators
        Positions of the regulators.
    seed
        Of the k-means.

    Returns
    -------
    list of ndarray
        Positions of each group's genes, ascending; every gene is in one group. Regulators and constant genes are alone.
    """
    alone = np.array(~expression.any(axis=1), np.bool_)
    alone[regulators] = True
    members = np.flatnonzero(~alone)
    groups = [np.array([gene]) for gene in np.flatnonzero(alone).tolist()]
    if members.size:
        n_clusters = min(_MOST_CLUSTERS, -(-members.size // GROUP))
        labels = k_means(expression[members], n_clusters, seed)
        for label in np.unique(labels).tolist():
            own = members[labels == label]
            groups += [own[start : start + MOST] for start in range(0, own.size, MOST)]
    return sorted(groups, key=lambda group: int(group[0]))


def group_importances(
    regulators: NDArray[np.floating],
    targets: NDArray[np.float64],
    *,
    excluded: int,
    n_trees: int,
    seed: int,
    names: tuple[str, ...],
    weights: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Importance of every regulator for every target of a group.

    Parameters
    ----------
    regulators, targets
        (n_regulators, n_samples) and (n_targets, n_samples) expression; targets are standardised.
    excluded
        Position of the one target among the regulators; −1: none is.
    n_trees
        Trees.
    seed, names
        Of the run, and of the targets: nothing else decides.
    weights
        (n_samples,) of the samples, with a mean of 1; None: all count alike.

    Returns
    -------
    ndarray
        (n_targets, n_regulators) float64: explained shares of each target's variance.
    """
    from sklearn.ensemble import ExtraTreesRegressor

    importances = np.zeros((len(targets), len(regulators)))
    candidates = np.flatnonzero(np.arange(len(regulators)) != excluded)
    if not candidates.size:
        return importances
    x, y = np.asarray(regulators[candidates].T, np.float32), targets.T
    own = target_seed(seed, "\t".join(names))
    sums = np.zeros((candidates.size, len(targets)))
    for batch, start in enumerate(range(0, n_trees, _BATCH)):
        forest = ExtraTreesRegressor(
            min(_BATCH, n_trees - start), max_features="sqrt", random_state=(own + batch) % 2**32
        ).fit(x, y if len(targets) > 1 else y[:, 0], sample_weight=weights)
        for estimator in forest.estimators_:
            _add_explained(sums, estimator.tree_)
    importances[:, candidates] = sums.T / (n_trees * x.shape[0])
    return importances


def _add_explained(sums: NDArray[np.float64], tree: Any) -> None:
    """Add the sum of squares that each cut explains of each target to that of its regulator."""
    cuts = np.flatnonzero(tree.children_left >= 0)
    size, mean = tree.weighted_n_node_samples, tree.value[:, :, 0]
    squares = size[:, np.newaxis] * np.square(mean)
    explained = squares[tree.children_left[cuts]] + squares[tree.children_right[cuts]] - squares[cuts]
    np.add.at(sums, tree.feature[cuts], np.maximum(explained, 0.0))
