"""GENIE3 (Huynh-Thu, Irrthum, Wehenkel & Geurts 2010): the regulators of a gene by a forest that predicts it.

A target's expression, scaled to unit variance, is regressed on that of the regulators, itself excluded. A regulator's
importance is the variance that its cuts explain, in the mean over trees.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
from numpy.typing import NDArray

from predictd import kernels


def target_seed(seed: int, gene: str) -> int:
    """Seed of a target's forest, below 2^64: of the run's seed and the gene's name, so that nothing else decides."""
    digest = hashlib.blake2b(f"{seed}\t{gene}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def forest_importances(
    features: NDArray[np.uint8] | NDArray[np.float32],
    target: NDArray[np.floating],
    *,
    excluded: int,
    n_trees: int,
    seed: int,
    n_candidates: int | None = None,
) -> NDArray[np.float64]:
    """Importance of every regulator for one target.

    Parameters
    ----------
    features
        (n_regulators, n_samples) the regulators' expression: coded by `code_features` for a random forest, float32 for
        extra trees.
    target
        (n_samples,) the target's expression, not constant.
    excluded
        Position of the target among the regulators; −1: it is none.
    n_trees
        Trees.
    seed
        Below 2^64; see `target_seed`.
    n_candidates
        K, regulators that a node looks at; None: the square root of their number.

    Returns
    -------
    ndarray
        (n_regulators,) float64: explained shares of the target's variance, 0 for the target itself.
    """
    n_regulators = len(features) - (excluded >= 0)
    if not n_regulators:
        return np.zeros(len(features))
    y, variance = in_whole_units(target)
    total = kernels.forest_importances(
        features,
        y,
        excluded=excluded,
        n_candidates=n_candidates or math.isqrt(n_regulators),
        n_trees=n_trees,
        seed=seed,
    )
    return total / (variance * len(y) * n_trees)


def in_whole_units(target: NDArray[np.floating]) -> tuple[NDArray[np.int64], float]:
    """A target less its mean, in the smallest units whose sums are exact, and its variance in them."""
    centred = target - np.mean(target, dtype=np.float64)
    largest = float(np.abs(centred).max())
    # A power of two scales without rounding; half of the limit, as logarithms are rounded.
    exponent = math.floor(math.log2(kernels.forest_limit(len(target))) - math.log2(largest)) - 1
    whole = np.rint(np.ldexp(centred, exponent))
    return whole.astype(np.int64), float(np.var(whole))
