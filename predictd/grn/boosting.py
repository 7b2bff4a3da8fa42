"""Gradient boosting as in GRNBoost2 (Moerman et al. 2019, Bioinformatics 35:2159)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from predictd import kernels
from predictd.grn.genie3 import in_whole_units

RATE = 0.01
# Shares of the regulators that a node looks at, and of the samples that a tree is grown on.
REGULATORS, SAMPLES = 0.1, 0.9
DEPTH = 3
# Boosting ends when so many trees on end, in the mean, no longer improve the samples that they were not grown on.
WINDOW = 25


def boosting_importances(
    codes: kernels.TreeFeatures | NDArray[np.uint8],
    target: NDArray[np.floating],
    *,
    excluded: int,
    n_trees: int,
    seed: int,
) -> NDArray[np.float64]:
    """Importance of every regulator for one target: its share of what the trees explain, times their number.

    Parameters
    ----------
    codes
        (n_regulators, n_samples) the regulators' expression, coded by `predictd.grn.features.code_features`. For
        many targets `predictd.kernels.TreeFeatures.of` it, made once.
    target
        (n_samples,) the target's expression, not constant.
    excluded
        Position of the target among the regulators; −1: it is not among them.
    n_trees
        Trees at most.
    seed
        Below 2^64; see `predictd.grn.genie3.target_seed`.

    Returns
    -------
    ndarray
        (n_regulators,) float64, 0 for the target itself.
    """
    features = kernels.TreeFeatures.of(codes)
    n_regulators = len(features.values) - (excluded >= 0)
    if not n_regulators:
        return np.zeros(len(features.values))
    y, _ = in_whole_units(target)
    rule = kernels.BoostingRule(RATE, max(1, int(SAMPLES * len(y))), DEPTH, WINDOW)
    explained, n_grown = kernels.boosting_importances(
        features,
        y,
        rule,
        excluded=excluded,
        n_candidates=max(1, int(REGULATORS * n_regulators)),
        n_trees=n_trees,
        seed=seed,
    )
    # Nothing is explained where all regulators are constant.
    return np.asarray(explained * (n_grown / max(explained.sum(), 1e-300)))
