"""Second moments of the tensor: under squared error, all that training sees of the data.

S = [Y 1]ᵀ[Y 1] over complete bins, (n+1) × (n+1): sums of products of experiments, sums of experiments, and the bin
count in the last corner.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.linalg.blas import ssyrk

from predictd.constants import BLOCK_BINS

Array = npt.NDArray[np.float64]
# A variance that is a smaller share of the mean square is rounding: the signal is constant.
CONSTANT = 1e-12


def moments(signal: npt.NDArray[np.float32], shift: npt.NDArray[np.float32] | None = None) -> Array:
    """Moments of complete bins.

    Products are taken in float32 over blocks of at most 4096 bins of y − shift, one symmetric product a block, and
    added up in float64; the shift is undone exactly. The error is below 2e-6 Σ (|d_i| √S_ii)² for any quadratic
    form d.

    Parameters
    ----------
    signal
        float32 (bins × n), without NaN.
    shift
        float32 (n,): a constant for each track, near its mean; None: the means of this signal.

    Returns
    -------
    float64 (n+1 × n+1)
    """
    n_bins, n = signal.shape
    total = np.zeros((n + 1, n + 1))
    if n_bins == 0:
        return total
    c = signal.mean(axis=0, dtype=np.float64).astype(np.float32) if shift is None else shift
    products = np.zeros((n, n), order="F")
    sums = np.zeros(n)
    for start in range(0, n_bins, BLOCK_BINS):
        block = signal[start : start + BLOCK_BINS] - c
        # The transpose of a C-ordered block is the F-ordered matrix that BLAS wants: no copy is made.
        products += ssyrk(1.0, block.T, lower=True)
        sums += block.sum(axis=0, dtype=np.float64)
    products += np.tril(products, -1).T
    constants = c.astype(np.float64)
    cross = np.outer(sums, constants)
    total[:n, :n] = products + (cross + cross.T) + n_bins * np.outer(constants, constants)
    total[n, :n] = total[:n, n] = sums + n_bins * constants
    total[n, n] = n_bins
    return total


def squared_errors(
    s: Array, weights: Array, intercept: Array, inputs: npt.NDArray[np.intp], targets: npt.NDArray[np.intp]
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

    Returns
    -------
    float64 (m,)
        (w − u)ᵀ S (w − u) / bins with w padded by the intercept and u the target's unit vector; at least 0.
    """
    difference = _padded(s, weights, intercept, inputs)
    difference[np.arange(len(targets)), targets] -= 1.0
    return np.maximum(np.einsum("ij,ij->i", difference @ s, difference) / s[-1, -1], 0.0)


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


def _padded(s: Array, weights: Array, intercept: Array, inputs: npt.NDArray[np.intp]) -> Array:
    """Weights over all experiments and the constant: (m × n+1)."""
    padded = np.zeros((len(weights), len(s)))
    padded[:, inputs] = weights
    padded[:, -1] = intercept
    return padded
