"""What makes importances of different targets, and of different methods, comparable; and values robust to outliers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# Quantiles stay so far from 0 and 1, which tiny weights would come to: their normal scores are infinite.
_FARTHEST = 1e-12


def ranks(values: NDArray[np.floating], weights: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Ranks along the last axis from 1 on, averaged over ties.

    With weights (n,), the weight of all lower values, half of that of equal ones, and ½: ranks where all weights are 1.
    """
    return np.asarray(np.apply_along_axis(_ranks, -1, values, weights))


def normal_scores(
    values: NDArray[np.floating], weights: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Normal quantiles of the ranks along the last axis: Φ⁻¹((rank − ½) / n); those of equal values are equal.

    `weights` are as of `ranks`, with a mean of 1.
    """
    from scipy.special import ndtri

    quantiles = (ranks(values, weights) - 0.5) / np.shape(values)[-1]
    return np.asarray(ndtri(np.clip(quantiles, _FARTHEST, 1 - _FARTHEST)))


def scaled_mean(importances: Sequence[NDArray[np.float64]], *, excluded: int) -> NDArray[np.float64]:
    """Mean of several methods' importances for one target, each over its root mean square.

    A regulator that stands out from the others of its target ranks high among all targets, however much of the target
    all of them explain.

    Parameters
    ----------
    importances
        (n_regulators,) float64 each, at least 0; 0 for the target itself.
    excluded
        Position of the target among the regulators; −1: it is not among them. It does not count in the mean square.

    Returns
    -------
    ndarray
        (n_regulators,) float64; of a method whose importances are all 0 there is no part in it.
    """
    n_candidates = max(1, importances[0].size - (excluded >= 0))
    total = np.zeros(importances[0].size)
    for own in importances:
        size = float(np.sqrt(np.square(own).sum() / n_candidates))
        if size > 0:
            total += own / size
    return total / len(importances)


def _ranks(values: NDArray[np.floating], weights: NDArray[np.float64] | None) -> NDArray[np.float64]:
    _, groups = np.unique(values, return_inverse=True)
    sums = np.bincount(groups, weights)
    middles: NDArray[np.float64] = np.cumsum(sums) - (sums - 1) / 2
    return middles[groups]
