"""Second moments of the tensor: under squared error, all that training sees of the data.

S = [Y 1]ᵀ[Y 1] over complete bins, (n+1) × (n+1): sums of products of experiments, sums of experiments, and the bin
count in the last corner.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy

Array = npt.NDArray[np.float64]
# Bins of a product in float32, and bins after which sums go on in float64. However a BLAS orders them, a sum passes
# through at most 64 roundings in a product, and 2048 / 64 = 32 between products.
PRODUCT_BINS = 64
SUM_BINS = 2048
# A variance that is a smaller share of the mean square is rounding: the signal is constant.
CONSTANT = 1e-12


class MomentSums:
    """Moments of complete bins, added up block by block in memory that is used again.

    Symmetric products of y − shift are taken in float32 over 64 bins, added up in float32 over 2048 bins, and from
    there in float64; the shift is undone exactly. Each sum in float32 thus passes through at most 96 roundings, and the
    error of any quadratic form d is below 2e-6 Σ (|d_i| √S_ii)²: three times √96 · 2⁻²⁴, what 96 roundings come to that
    fall as often up as down. (All to one side they would come to 96 · 2⁻²⁴ = 5.7e-6.)

    Parameters
    ----------
    shift
        float32 (n,): a constant for each track, as `shift_of` gives it.
    """

    def __init__(self, shift: npt.NDArray[np.float32]) -> None:
        n = len(shift)
        self._shift = shift
        self._n_bins = 0
        self._sums = np.zeros(n)
        self._products = np.zeros((n, n), order="F")
        self._block_products = np.zeros((n, n), dtype=np.float32, order="F")
        self._shifted = np.empty((0, n), dtype=np.float32)

    def add(self, signal: npt.NDArray[np.float32]) -> None:
        """Add bins: float32 (bins × n). Those with a NaN are left out."""
        if len(self._shifted) < min(len(signal), SUM_BINS):
            self._shifted = np.empty((min(len(signal), SUM_BINS), len(self._shift)), dtype=np.float32)
        for start in range(0, len(signal), SUM_BINS):
            block = signal[start : start + SUM_BINS]
            shifted = np.subtract(block, self._shift, out=self._shifted[: len(block)])
            sums = shifted.sum(axis=0, dtype=np.float64)
            if np.isnan(sums).any():
                shifted = shifted[~np.isnan(shifted).any(axis=1)]
                sums = shifted.sum(axis=0, dtype=np.float64)
            if not len(shifted):
                continue
            for first in range(0, len(shifted), PRODUCT_BINS):
                # The transpose of C-ordered bins is the F-ordered matrix that BLAS wants: no copy is made.
                self._block_products = scipy.linalg.blas.ssyrk(
                    1.0,
                    shifted[first : first + PRODUCT_BINS].T,
                    beta=float(first > 0),
                    c=self._block_products,
                    lower=True,
                    overwrite_c=True,
                )
            self._products += self._block_products
            self._sums += sums
            self._n_bins += len(shifted)

    def total(self) -> Array:
        """Moments of all that was added: float64 (n+1 × n+1)."""
        n = len(self._shift)
        constants = self._shift.astype(np.float64)
        cross = np.outer(self._sums, constants)
        total = np.empty((n + 1, n + 1))
        products = np.tril(self._products)
        products += np.tril(products, -1).T
        total[:n, :n] = products + (cross + cross.T) + self._n_bins * np.outer(constants, constants)
        total[n, :n] = total[:n, n] = self._sums + self._n_bins * constants
        total[n, n] = self._n_bins
        return total


def shift_of(counts: Array, sums: Array, squares: Array) -> npt.NDArray[np.float32]:
    """The constant to take from each track before `MomentSums`: its mean, or 0 where that is below its deviation.

    There it would gain nothing, and cost: where most bins are 0, as in tracks of peaks, a shift makes them all the same
    small number, whose sum rounds to one side.

    Parameters
    ----------
    counts, sums, squares
        (n,): values of each track, their sum and the sum of their squares.
    """
    means = np.divide(sums, counts, out=np.zeros(len(sums)), where=counts > 0)
    return np.where(2 * means * sums > squares, means, 0.0).astype(np.float32)


def moments(signal: npt.NDArray[np.float32], shift: npt.NDArray[np.float32] | None = None) -> Array:
    """Moments of complete bins; see `MomentSums`.

    Parameters
    ----------
    signal
        float32 (bins × n), without NaN.
    shift
        float32 (n,): a constant for each track; None: what `shift_of` makes of this signal.

    Returns
    -------
    float64 (n+1 × n+1)
    """
    if shift is None:
        shift = shift_of(
            np.full(signal.shape[1], float(len(signal))),
            signal.sum(axis=0, dtype=np.float64),
            np.einsum("ij,ij->j", signal, signal, dtype=np.float64),
        )
    found = MomentSums(shift)
    found.add(signal)
    return found.total()


def squared_errors(
    s: Array,
    weights: Array,
    intercept: Array,
    inputs: npt.NDArray[np.intp],
    targets: npt.NDArray[np.intp],
    basis: Array | None = None,
) -> Array:
    """Mean squared error of affine predictions, before clipping, as exact functions of the moments.

    Parameters
    ----------
    s
        (n+1 × n+1) moments.
    weights, intercept
        (m × k) and (m,): prediction j is weights[j] · y[inputs] + intercept[j].
    inputs, targets
        Columns of the k inputs and of the m experiments that are predicted.
    basis
        (r × k): weights are (m × r) of its rows, whose products with the moments then serve all predictions.

    Returns
    -------
    float64 (m,)
        (w − u)ᵀ S (w − u) / bins with w padded by the intercept and u the target's unit vector; at least 0.
    """
    difference = _padded(s, weights if basis is None else weights @ basis, intercept, inputs)
    difference[np.arange(len(targets)), targets] -= 1.0
    if basis is not None and len(basis) < len(weights):
        shared = _padded(s, basis, np.zeros(len(basis)), inputs) @ s
        through = weights @ shared + np.outer(intercept, s[-1]) - s[targets]
    else:
        through = difference @ s
    return np.maximum(np.einsum("ij,ij->i", through, difference) / s[-1, -1], 0.0)


def correlations(
    s: Array, weights: Array, intercept: Array, inputs: npt.NDArray[np.intp], targets: npt.NDArray[np.intp]
) -> Array:
    """Pearson correlations of affine predictions with the experiments that they predict, before clipping.

    Parameters are those of `squared_errors`.

    Returns
    -------
    float64 (m,)
        wᵀ S_c u / √(wᵀ S_c w · S_c,ee) with S_c = S − mmᵀ; NaN where the prediction or the experiment is constant.
    """
    means = s[-1] / s[-1, -1]
    centred = s / s[-1, -1] - np.outer(means, means)
    padded = _padded(s, weights, intercept, inputs)
    mapped = padded @ centred
    covariances = mapped[np.arange(len(targets)), targets]
    predicted, observed = np.einsum("ij,ij->i", mapped, padded), np.diag(centred)[targets]
    squares = np.diag(s)[:-1] / s[-1, -1]
    largest = np.square(np.abs(padded[:, :-1]) @ np.sqrt(squares))
    varies = (predicted > CONSTANT * largest) & (observed > CONSTANT * squares[targets])
    return np.divide(
        covariances,
        np.sqrt(np.maximum(predicted, 0.0) * np.maximum(observed, 0.0)),
        out=np.full(len(targets), np.nan),
        where=varies,
    )


def covariance_near(matrix: Array) -> Array:
    """The symmetric positive semidefinite matrix nearest to a square one: negative eigenvalues are set to 0.

    Higham 1988, Linear Algebra and its Applications 103:103.
    """
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return np.asarray((vectors * np.maximum(values, 0.0)) @ vectors.T)


def _padded(s: Array, weights: Array, intercept: Array, inputs: npt.NDArray[np.intp]) -> Array:
    """Weights over all experiments and the constant: (m × n+1)."""
    padded = np.zeros((len(weights), len(s)))
    padded[:, inputs] = weights
    padded[:, -1] = intercept
    return padded
