"""Second moments of the tensor: under squared error, all that training sees of the data.

S = [Y 1]ᵀ[Y 1] over complete bins, (n+1) × (n+1): sums of products of experiments, sums of experiments, and the bin
count in the last corner.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from predictd.constants import BLOCK_BINS

Array = npt.NDArray[np.float64]


def moments(signal: npt.NDArray[np.float32]) -> Array:
    """Moments of complete bins.

    Parameters
    ----------
    signal
        float32 (bins × n), without NaN.

    Returns
    -------
    float64 (n+1 × n+1)
    """
    n_bins, n = signal.shape
    total = np.zeros((n + 1, n + 1))
    for start in range(0, n_bins, BLOCK_BINS):
        block = np.ones((min(BLOCK_BINS, n_bins - start), n + 1))
        block[:, :n] = signal[start : start + BLOCK_BINS]
        total += block.T @ block
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
        (w − u)ᵀ S (w − u) / bins with w padded by the intercept and u the target's unit vector.
    """
    n = s.shape[0] - 1
    difference = np.zeros((len(targets), n + 1))
    difference[:, inputs] = weights
    difference[:, n] = intercept
    difference[np.arange(len(targets)), targets] -= 1.0
    return np.einsum("ij,ij->i", difference @ s, difference) / s[n, n]
