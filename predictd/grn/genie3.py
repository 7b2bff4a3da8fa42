"""GENIE3 (Huynh-Thu, Irrthum, Wehenkel & Geurts 2010): the regulators of a gene by a forest that predicts it.

A target's expression, scaled to unit variance, is regressed on that of the regulators, itself excluded. A regulator's
importance is the variance that its cuts explain, in the mean over trees.
"""

from __future__ import annotations

import hashlib
import math
from functools import partial

import numpy as np
from numpy.typing import NDArray

from predictd import kernels

# Of samples with weights, trees that are grown on the same draw of them.
TREES_A_DRAW = 10


def target_seed(seed: int, gene: str) -> int:
    """Seed of a target's forest, below 2^64: of the run's seed and the gene's name, so that nothing else decides."""
    digest = hashlib.blake2b(f"{seed}\t{gene}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def forest_importances(
    features: kernels.TreeFeatures | NDArray[np.uint8] | NDArray[np.float32],
    target: NDArray[np.floating],
    *,
    excluded: int,
    n_trees: int,
    seed: int,
    n_candidates: int | None = None,
    weights: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Importance of every regulator for one target.

    Parameters
    ----------
    features
        (n_regulators, n_samples) the regulators' expression: coded by `code_features` for a random forest, float32 for
        extra trees. For many targets `predictd.kernels.TreeFeatures.of` it, made once.
    target
        (n_samples,) the target's expression, not constant.
    excluded
        Position of the target among the regulators; −1: it is not among them.
    n_trees
        Trees.
    seed
        Below 2^64; see `target_seed`.
    n_candidates
        K, regulators that a node looks at; None: the square root of their number.
    weights
        (n_samples,) of the samples, with a mean of 1; None: all count alike. See `drawn_by_weight`.

    Returns
    -------
    ndarray
        (n_regulators,) float64: explained shares of the target's variance, 0 for the target itself.
    """
    features = kernels.TreeFeatures.of(features)
    n_regulators = len(features.values) - (excluded >= 0)
    if not n_regulators:
        return np.zeros(len(features.values))
    y, variance = in_whole_units(target, weights)
    grown = partial(
        kernels.forest_importances,
        excluded=excluded,
        n_candidates=n_candidates or math.isqrt(n_regulators),
    )
    if weights is None:
        total = grown(features, y, n_trees=n_trees, seed=seed)
    else:
        total = np.zeros(len(features.values))
        for number, start in enumerate(range(0, n_trees, TREES_A_DRAW)):
            own = (seed + number) % 2**64
            trees = min(TREES_A_DRAW, n_trees - start)
            total += grown(features, y, n_trees=trees, seed=own, drawn=drawn_by_weight(weights, own))
    return total / (variance * len(y) * n_trees)


def drawn_by_weight(weights: NDArray[np.float64], seed: int) -> NDArray[np.int64]:
    """Draw as many samples as there are, each as often as its weight says, up to less than one; (n_samples,) positions.

    This is systematic sampling (Madow & Madow 1944) in a random order. A sample of weight 2.3 is drawn twice or three
    times, 2.3 times in the mean. Where all weights are 1, each is drawn once, so that trees on what is drawn are those
    on all samples.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(weights.size)
    ends = np.cumsum(weights[order])
    points = (rng.random() + np.arange(weights.size)) * (ends[-1] / weights.size)
    return np.sort(order[np.searchsorted(ends, points, side="right").clip(max=weights.size - 1)])


def in_whole_units(
    target: NDArray[np.floating], weights: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.int64], float]:
    """A target less its mean, in the smallest units whose sums are exact, and its variance in them."""
    mean = np.mean(target, dtype=np.float64) if weights is None else np.average(target, weights=weights)
    centred = target - mean
    largest = float(np.abs(centred).max())
    # A power of two scales without rounding; half of the limit, as logarithms are rounded.
    exponent = math.floor(math.log2(kernels.forest_limit(len(target))) - math.log2(largest)) - 1
    whole = np.rint(np.ldexp(centred, exponent))
    if weights is None:
        return whole.astype(np.int64), float(np.var(whole))
    return whole.astype(np.int64), float(np.average(np.square(whole), weights=weights))
