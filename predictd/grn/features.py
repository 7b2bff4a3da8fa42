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

    Best cuts depend on the order of values alone, and a byte a value keeps all features in cache.

    Parameters
    ----------
    expression
        (n_features, n_samples), finite.

    Returns
    -------
    ndarray
        (n_features, n_samples) uint8. With up to 256 distinct values nothing is lost; of more, each code holds about as
        many samples. Equal values have one code.
    """
    n_features, n_samples = expression.shape
    codes = np.zeros((n_features, n_samples), np.uint8)
    for feature, row in enumerate(expression):
        distinct, ranks, counts = np.unique(row, return_inverse=True, return_counts=True)
        if distinct.size > CODES:
            # The rank of a value's middle sample decides.
            middle = np.cumsum(counts) - (counts + 1) // 2
            ranks = (middle * CODES // n_samples)[ranks]
        codes[feature] = ranks
    return codes
