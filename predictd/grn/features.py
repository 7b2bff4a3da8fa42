"""What trees see of the regulators' expression, once for all targets."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from predictd.grn.linear import standardised

CODES = 256


def float_features(expression: NDArray[np.floating]) -> NDArray[np.float32]:
    """Values as extra trees take them: standardised, (n_features, n_samples) float32, C-contiguous.

    Cuts between the least and the greatest value depend on neither scale nor place; single precision does.
    """
    return standardised(expression).astype(np.float32)


def code_features(expression: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Code each feature's values: by their rank where they are up to 256, else by quantiles.

    Best cuts depend on the order of values alone, and a byte a value keeps all features in cache. Of more than 256
    distinct values, each code holds about as many samples, but that a value which many samples have, such as the zeros
    of single cells, has a code for itself and leaves the others to the rest.

    Parameters
    ----------
    expression
        (n_features, n_samples), finite.

    Returns
    -------
    ndarray
        (n_features, n_samples) uint8. With up to 256 distinct values nothing is lost. Equal values have one code.
    """
    codes = np.zeros(expression.shape, np.uint8)
    for feature, row in enumerate(expression):
        distinct, ranks, counts = np.unique(row, return_inverse=True, return_counts=True)
        codes[feature] = (_spread(counts) if distinct.size > CODES else np.arange(distinct.size))[ranks]
    return codes


def _spread(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Codes of more than 256 distinct values in ascending order, by how many samples each has."""
    # A value counts as two codes' samples at most: so its middle is at least a code away from its neighbours'.
    capped, most = counts, int(counts.max())
    while capped.max() > (most := -(-2 * int(capped.sum()) // CODES)):
        capped = np.minimum(counts, most)
    # The rank of a value's middle sample decides.
    middle = np.cumsum(capped) - (capped + 1) // 2
    return np.asarray(middle * CODES // capped.sum())
