"""Context likelihood of relatedness (Faith et al. 2007): mutual information against the background of both genes.

The mutual information is −½ log(1 − ρ²), that of two Gaussian variables, with Spearman's ρ for ρ: it needs no bins.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from predictd.grn.design import ALIKE, SampleDesign
from predictd.grn.scaling import ranks
from predictd.matrix import Values, blocks

# Of two genes with the same ranks the information would be infinite.
_MOST_SQUARED = 1 - 1e-12


def standard_ranks(expression: NDArray[np.floating], design: SampleDesign = ALIKE) -> NDArray[np.float64]:
    """Ranks of values along the last axis, averaged over ties, by weight, as `SampleDesign.scaled` has them."""
    return design.scaled(ranks(expression, design.weights))


def information(regulators: NDArray[np.float64], genes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mutual information in nats from standard ranks: (n_regulators, n_samples) and (…, n_samples)."""
    correlation = regulators @ genes.T / regulators.shape[1]
    return -0.5 * np.log1p(-np.minimum(np.square(correlation), _MOST_SQUARED))


def background(
    regulators: NDArray[np.float64],
    values: Values,
    own: NDArray[np.int64],
    design: SampleDesign = ALIKE,
) -> NDArray[np.float64]:
    """Mean and standard deviation of each regulator's information about all genes but itself.

    Parameters
    ----------
    regulators
        Standard ranks, (n_regulators, n_samples).
    values
        Expression of all genes, (n_genes, n_samples).
    own
        (n_regulators,) position of each regulator among the genes.
    design
        Batches and weights of the samples.

    Returns
    -------
    ndarray
        (2, n_regulators) float64.
    """
    sums = np.zeros((2, len(regulators)))
    for some, expression in blocks(values):
        block = information(regulators, standard_ranks(design.centred(expression), design))
        inside = np.flatnonzero((own >= some.start) & (own < some.stop))
        block[inside, own[inside] - some.start] = 0.0
        sums += block.sum(axis=1), np.square(block).sum(axis=1)
    mean, square = sums / max(1, values.shape[0] - 1)
    return np.stack([mean, np.sqrt(np.maximum(square - mean**2, 0.0))])


def clr_importances(
    regulators: NDArray[np.float64],
    target: NDArray[np.float64],
    regulators_background: NDArray[np.float64],
    *,
    excluded: int,
) -> NDArray[np.float64]:
    """√(z_r² + z_t²): how far the information is above that of the regulator, and of the target, with others.

    Parameters
    ----------
    regulators, target
        Standard ranks, (n_regulators, n_samples) and (n_samples,).
    regulators_background
        See `background`.
    excluded
        Position of the target among the regulators; −1: it is not among them.

    Returns
    -------
    ndarray
        (n_regulators,) float64, 0 for the target itself; z below 0 count as 0.
    """
    own = information(regulators, target)
    others = np.delete(own, excluded) if excluded >= 0 else own
    by_regulator = _above(own, *regulators_background)
    by_target = _above(own, others.mean() if others.size else 0.0, others.std() if others.size else 0.0)
    importances = np.hypot(by_regulator, by_target)
    if excluded >= 0:
        importances[excluded] = 0.0
    return importances


def _above(
    values: NDArray[np.float64], mean: NDArray[np.float64] | float, sd: NDArray[np.float64] | float
) -> NDArray[np.float64]:
    """z-scores, at least 0; 0 where nothing varies."""
    away = np.maximum(values - mean, 0.0)
    return np.divide(away, sd, out=np.zeros_like(values), where=np.asarray(sd) > 0)
