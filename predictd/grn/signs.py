"""Whether a regulator raises or lowers its target: the sign of its effect among the target's other regulators.

A correlation has the sign of what all regulators do together: where two of them vary alike and one raises the target,
the other seems to raise it, too. So the sign is that of a coefficient in a regression on all leading regulators.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array

from predictd.grn.design import ALIKE, SampleDesign
from predictd.grn.linear import PENALTIES
from predictd.matrix import Values

# How many regulators of a target, the most important first, are regressed on together.
LEADING = 100


def effect_signs(
    values: Values,
    target: NDArray[np.float64],
    regulators: NDArray[np.integer],
    design: SampleDesign = ALIKE,
) -> NDArray[np.int8]:
    """Signs of the effects of some regulators on a gene, by ridge regression on the first `LEADING` of them.

    All are standardised; the penalty is the one of `predictd.grn.linear.PENALTIES` with the least generalised
    cross-validation error (Golub, Heath & Wahba 1979). Regulators after the first `LEADING` have the sign of their
    correlation. Everything comes from correlations, so that sparse values stay sparse.

    Parameters
    ----------
    values
        (n_genes, n_samples) expression.
    target
        (n_samples,) what is to be predicted of the gene, centred by batch.
    regulators
        (n,) positions of its regulators among the genes, the most important first; the target is not among them.
    design
        Batches and weights of the samples.

    Returns
    -------
    ndarray
        (n,) int8: 1 raises, −1 lowers, 0 neither.
    """
    if not regulators.size:
        return np.zeros(0, np.int8)
    correlations = _correlations(values, target, regulators, design)
    with_target = correlations[-1, :-1]
    leading = with_target[:LEADING]
    within = correlations[: leading.size, : leading.size]
    effects = _coefficients(within, leading, values.shape[1], design.n_batches)
    return np.sign(np.concatenate([effects, with_target[LEADING:]])).astype(np.int8)


def _coefficients(
    within: NDArray[np.float64], with_target: NDArray[np.float64], n_samples: int, n_means: int
) -> NDArray[np.float64]:
    """Coefficients of a ridge regression from correlations: (n, n) of the regulators, (n,) with the target."""
    eigenvalues, vectors = np.linalg.eigh(within)
    eigenvalues = np.maximum(eigenvalues, 0.0)
    projected = with_target @ vectors
    # The mean eigenvalue of correlations is 1: the penalties are in its units.
    shrunk = projected / (eigenvalues + PENALTIES[:, np.newaxis])
    unexplained = 1.0 - 2.0 * shrunk @ projected + np.square(shrunk) @ eigenvalues
    used = n_means + (eigenvalues / (eigenvalues + PENALTIES[:, np.newaxis])).sum(axis=1)
    error = unexplained / np.square(np.maximum(1.0 - used / n_samples, 1e-9))
    coefficients: NDArray[np.float64] = vectors @ shrunk[int(np.argmin(error))]
    return coefficients


def _correlations(
    values: Values, target: NDArray[np.float64], regulators: NDArray[np.integer], design: SampleDesign
) -> NDArray[np.float64]:
    """Correlations of some genes and, last, a target, (n + 1, n + 1); 0 with what does not vary."""
    n_samples = values.shape[1]
    y = design.scaled(target)
    if not isinstance(values, csr_array):
        own = np.vstack([design.scaled(design.centred(values[regulators])), y])
        return own @ own.T / n_samples
    some = values[regulators].astype(np.float64)
    weighted = some @ diags_array(np.ones(n_samples) if design.weights is None else design.weights)
    batches = np.zeros(n_samples, np.int64) if design.batches is None else design.batches
    sums = weighted @ csr_array((np.ones(n_samples), batches, np.arange(n_samples + 1)))
    totals = np.bincount(batches, design.weights)
    covariance = (weighted @ some.T).toarray() - (sums / totals @ sums.T).toarray()
    covariance /= n_samples
    sd = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    products = np.outer(sd, sd)
    within = np.divide(covariance, products, out=np.zeros_like(covariance), where=products > 0)
    roots = y if design.weights is None else y * np.sqrt(design.weights)
    with_target = np.divide(some @ roots / n_samples, sd, out=np.zeros_like(sd), where=sd > 0)
    return np.block([[within, with_target[:, np.newaxis]], [with_target, np.ones(1)]])
