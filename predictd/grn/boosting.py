"""Gradient boosting as in GRNBoost2 (Moerman et al. 2019), by scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LEARNING_RATE = 0.01
FEATURES = 0.1
SUBSAMPLE = 0.9
# Boosting ends when so many trees on end, in the mean, no longer improve the samples that they were not grown on.
WINDOW = 25


def boosting_importances(
    regulators: NDArray[np.floating], target: NDArray[np.floating], *, excluded: int, n_trees: int, seed: int
) -> NDArray[np.float64]:
    """Importance of every regulator for one target: its share of what the trees explain, times their number.

    Parameters
    ----------
    regulators, target
        (n_regulators, n_samples) and (n_samples,) expression; the target is standardised.
    excluded
        Position of the target among the regulators; −1: it is none.
    n_trees
        Trees at most.
    seed
        A non-negative number.

    Returns
    -------
    ndarray
        (n_regulators,) float64, 0 for the target itself.
    """
    from sklearn.ensemble import GradientBoostingRegressor

    importances = np.zeros(len(regulators))
    candidates = np.flatnonzero(np.arange(len(regulators)) != excluded)
    if not candidates.size:
        return importances
    boosting = GradientBoostingRegressor(
        learning_rate=LEARNING_RATE,
        n_estimators=n_trees,
        max_features=FEATURES,
        subsample=SUBSAMPLE,
        random_state=seed % 2**32,
    )
    boosting.fit(np.asarray(regulators[candidates].T, np.float32), target, monitor=_no_longer_improves)
    importances[candidates] = boosting.feature_importances_ * len(boosting.estimators_)
    return importances


def _no_longer_improves(tree: int, boosting: Any, _: object) -> bool:
    recent = boosting.oob_improvement_[max(0, tree - WINDOW + 1) : tree + 1]
    return len(recent) == WINDOW and float(np.mean(recent)) < 0
