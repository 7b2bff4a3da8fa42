"""Cheap baselines: Pearson correlation, and ridge regression of each gene on all regulators."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Penalties that are tried, in units of the kernel matrix's mean eigenvalue.
PENALTIES = np.logspace(-3, 3, 25)


def mean_and_sd(
    expression: NDArray[np.floating], weights: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of each row, (…, 1) float64 each; of equal values the deviation is exactly 0.

    `weights` are those of the values in a row, (n,); None: all count alike.
    """
    if weights is None:
        mean = np.mean(expression, axis=-1, keepdims=True, dtype=np.float64)
        sd = np.sqrt(np.mean(np.square(expression - mean), axis=-1, keepdims=True))
    else:
        mean = np.average(expression, axis=-1, weights=weights, keepdims=True)
        sd = np.sqrt(np.average(np.square(expression - mean), axis=-1, weights=weights, keepdims=True))
    # The mean of equal values is rounded, so that they seem to vary.
    return np.asarray(mean), np.where(np.ptp(expression, axis=-1, keepdims=True) > 0, sd, 0.0)


def standardised(
    expression: NDArray[np.floating], weights: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Rows less their mean, over their standard deviation, see `mean_and_sd`; a constant row is zeros."""
    mean, sd = mean_and_sd(expression, weights)
    centred = np.asarray(expression, np.float64) - mean
    return np.ascontiguousarray(np.divide(centred, sd, out=np.zeros_like(centred), where=sd > 0))


def pearson_importances(
    regulators: NDArray[np.float64], target: NDArray[np.float64], *, excluded: int
) -> NDArray[np.float64]:
    """Magnitude of each regulator's correlation with a target.

    Parameters
    ----------
    regulators, target
        (n_regulators, n_samples) and (n_samples,), standardised.
    excluded
        Position of the target among the regulators; −1: it is not among them.

    Returns
    -------
    ndarray
        (n_regulators,) float64 from 0 to 1, 0 for the target itself.
    """
    importances = np.abs(regulators @ target) / target.size
    if excluded >= 0:
        importances[excluded] = 0.0
    return importances


class Ridge:
    """Ridge regression with a penalty for each target by leave-one-out cross-validation, in closed form.

    All targets share one eigendecomposition of K = ZᵀZ, Z (n_regulators, n_samples) standardised, in its basis V of
    k ≤ n_regulators, n_samples vectors; a target that is a regulator itself takes its own row out by a rank-one update
    (Sherman & Morrison 1950). With G = (K + λI)⁻¹ and y centred, the residuals are λGy, those of leaving a sample out
    λGy / (λ diag G − 1/n), the intercept included, and the coefficients ZGy. Where samples have weights or batches, Z
    and y are as `predictd.grn.design.SampleDesign.scaled` has them, and shares of the batches' weights take the place
    of 1/n: the errors are those of leaving out a sample with all its weight.

    Parameters
    ----------
    regulators
        (n_regulators, n_samples) float64, standardised.
    eigenvalues, basis
        What `eigenbasis` says of them.
    leverages
        (n_samples,) what each sample adds to its own prediction by the intercept; None: 1 / n_samples.
    """

    def __init__(
        self,
        regulators: NDArray[np.float64],
        eigenvalues: NDArray[np.float64],
        basis: NDArray[np.float64],
        leverages: NDArray[np.float64] | None = None,
    ) -> None:
        self._z, self._basis = regulators, basis
        self._leverages = 1.0 / regulators.shape[1] if leverages is None else leverages
        n_samples = regulators.shape[1]
        self._whole = len(eigenvalues) == n_samples
        mean = float(eigenvalues.sum()) / n_samples
        self._penalties = PENALTIES * (mean if mean > 0 else 1.0)
        # (n_penalties, k), by eigenvector, then by sample.
        self._shrunk = 1.0 / (eigenvalues + self._penalties[:, np.newaxis])
        squares = np.square(basis)
        self._diagonal = self._shrunk @ squares.T
        if not self._whole:
            self._diagonal += (1.0 - squares.sum(axis=1)) / self._penalties[:, np.newaxis]

    @staticmethod
    def eigenbasis(regulators: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Eigenvalues of K (k,) and their vectors (n_samples, k); those of 0 are left out where samples are many.

        It takes memory for the square of the regulators or of the samples, whichever are fewer.
        """
        n_regulators, n_samples = regulators.shape
        if n_samples <= n_regulators:
            eigenvalues, basis = np.linalg.eigh(regulators.T @ regulators)
            return np.maximum(eigenvalues, 0.0), basis
        eigenvalues, vectors = np.linalg.eigh(regulators @ regulators.T)
        known = eigenvalues > max(float(eigenvalues[-1]), 0.0) * n_regulators * np.finfo(float).eps
        eigenvalues = eigenvalues[known]
        return eigenvalues, np.ascontiguousarray(regulators.T @ (vectors[:, known] / np.sqrt(eigenvalues)))

    def coefficients(
        self, target: NDArray[np.float64], *, excluded: int
    ) -> tuple[NDArray[np.float64], float]:
        """Coefficients of a target and the penalty that was chosen.

        Parameters
        ----------
        target
            (n_samples,) float64, standardised.
        excluded
            Position of the target among the regulators; −1: it is not among them.

        Returns
        -------
        coefficients, penalty
            (n_regulators,) float64, 0 for the target itself; λ.
        """
        gy, diagonal = self._solved(target), self._diagonal
        if excluded >= 0:
            own = self._z[excluded]
            gz = self._solved(own)
            rest = (1.0 - gz @ own)[:, np.newaxis]
            gy = gy + gz * ((gz @ target)[:, np.newaxis] / rest)
            diagonal = diagonal + np.square(gz) / rest
        penalties = self._penalties[:, np.newaxis]
        left_out = penalties * gy / (penalties * diagonal - self._leverages)
        best = int(np.argmin(np.square(left_out).mean(axis=1)))
        coefficients = self._z @ gy[best]
        if excluded >= 0:
            coefficients[excluded] = 0.0
        return coefficients, float(self._penalties[best])

    def importances(self, target: NDArray[np.float64], *, excluded: int) -> NDArray[np.float64]:
        """Magnitudes of the coefficients; see `coefficients`."""
        return np.abs(self.coefficients(target, excluded=excluded)[0])

    def _solved(self, vector: NDArray[np.float64]) -> NDArray[np.float64]:
        """Gv for all penalties: (n_penalties, n_samples)."""
        within = vector @ self._basis
        solved: NDArray[np.float64] = (self._shrunk * within) @ self._basis.T
        if not self._whole:
            solved += (vector - self._basis @ within) / self._penalties[:, np.newaxis]
        return solved
