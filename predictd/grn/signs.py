"""Whether a regulator raises or lowers its target: the sign of its effect among the target's other regulators.

A correlation has the sign of what all regulators do together: where two of them vary alike and one raises the target,
the other seems to raise it, too. So the sign is that of a coefficient in a regression on all leading regulators.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from predictd.grn.linear import PENALTIES, standardised
from predictd.matrix import Values

# How many regulators of a target, the most important first, are regressed on together.
LEADING = 100


def effect_signs(values: Values, gene: int, regulators: NDArray[np.integer]) -> NDArray[np.int8]:
    """Signs of the effects of some regulators on a gene, by ridge regression on the first `LEADING` of them.

    All are standardised; the penalty is the one of `predictd.grn.linear.PENALTIES` with the least generalised
    cross-validation error (Golub, Heath & Wahba 1979). Regulators after the first `LEADING` have the sign of their
    correlation. Everything comes from correlations, so that sparse values stay sparse.

    Parameters
    ----------
    values
        (n_genes, n_samples) expression.
    gene
        Position of the target.
    regulators
        (n,) positions of its regulators among the genes, the most important first; the target is not among them.

    Returns
    -------
    ndarray
        (n,) int8: 1 raises, −1 lowers, 0 neither.
    """
    if not regulators.size:
        return np.zeros(0, np.int8)
    correlations = _correlations(values, np.append(regulators, gene))
    with_target = correlations[-1, :-1]
    leading = with_target[:LEADING]
    effects = _coefficients(correlations[: leading.size, : leading.size], leading, values.shape[1])
    return np.sign(np.concatenate([effects, with_target[LEADING:]])).astype(np.int8)


def _coefficients(
    within: NDArray[np.float64], with_target: NDArray[np.float64], n_samples: int
) -> NDArray[np.float64]:
    """Coefficients of a ridge regression from correlations: (n, n) of the regulators, (n,) with the target."""
    eigenvalues, vectors = np.linalg.eigh(within)
    eigenvalues = np.maximum(eigenvalues, 0.0)
    projected = with_target @ vectors
    # The mean eigenvalue of correlations is 1: the penalties are in its units.
    shrunk = projected / (eigenvalues + PENALTIES[:, np.newaxis])
    unexplained = 1.0 - 2.0 * shrunk @ projected + np.square(shrunk) @ eigenvalues
    used = 1.0 + (eigenvalues / (eigenvalues + PENALTIES[:, np.newaxis])).sum(axis=1)
    error = unexplained / np.square(np.maximum(1.0 - used / n_samples, 1e-9))
    coefficients: NDArray[np.float64] = vectors @ shrunk[int(np.argmin(error))]
    return coefficients


def _correlations(values: Values, genes: NDArray[np.integer]) -> NDArray[np.float64]:
    """Correlations of some genes, (n, n); 0 with a gene that does not vary."""
    n_samples = values.shape[1]
    if not isinstance(values, csr_array):
        own = standardised(values[genes])
        return own @ own.T / n_samples
    some = values[genes].astype(np.float64)
    mean = np.asarray(some.sum(axis=1)) / n_samples
    covariance = (some @ some.T).toarray() / n_samples - np.outer(mean, mean)
    sd = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    products = np.outer(sd, sd)
    return np.divide(covariance, products, out=np.zeros_like(covariance), where=products > 0)
