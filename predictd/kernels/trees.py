"""Random forests, extremely randomised trees and boosted trees for one target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictd.kernels import compiled
from predictd.kernels.checks import check_array, check_range
from predictd.kernels.features import TreeFeatures

# So many samples a forest takes, and so deep boosted trees grow.
MAX_SAMPLES = 2**20
# How often extra trees may have a sample where they look at what differs only: a byte holds it.
_MOST_DRAWN = 255
MAX_DEPTH: int = compiled.trees.DEEPEST


def forest_limit(n_samples: int) -> int:
    """Return what the magnitudes of a forest's target must stay below, so that all sums are exact."""
    bits = n_samples.bit_length()
    return int(2 ** min(52, 61 - bits)) // n_samples


def forest_importances(
    features: TreeFeatures | NDArray[np.uint8] | NDArray[np.float32],
    y: NDArray[np.int64],
    *,
    excluded: int,
    n_candidates: int,
    n_trees: int,
    seed: int,
    drawn: NDArray[np.int64] | None = None,
) -> NDArray[np.float64]:
    """Grow regression trees and sum what each feature's cuts reduce the sum of squares by, without the GIL.

    Of uint8 features a random forest (Breiman 2001): the best cut of each candidate, on a bootstrap sample a tree. Of
    float32 features extremely randomised trees (Geurts, Ernst & Wehenkel 2006): one random cut of each candidate,
    uniform between its least and its greatest value in the node, on all samples. Both grow until nodes are pure or no
    feature varies. Specified by `predictd.grn.reference.forest_importances`. As y is whole numbers, sums are exact
    in any order, and the result has the same bits on every processor.

    Parameters
    ----------
    features
        (n_features, n_samples) uint8 or float32, C-contiguous: values by their order, or values, finite (not
        checked here); at most 2^20 samples. For many targets `TreeFeatures.of` them, made once.
    y
        (n_samples,) int64: the target, below `forest_limit(n_samples)` in magnitude.
    excluded
        A feature that is not a candidate; −1: all are.
    n_candidates
        Features that a node looks at; more, if none of them varies.
    n_trees
        Trees.
    seed
        A number below 2^64.
    drawn
        (n_samples,) int64: positions of the samples that trees are grown on, one perhaps several times, as if each time
        it were another sample of the same values; None: each once.

    Returns
    -------
    ndarray
        (n_features,) float64, in squared units of y, summed over trees.

    Raises
    ------
    TypeError, ValueError
        If a dtype, shape, memory layout or setting is not what it must be.
    """
    features = TreeFeatures.of(features)
    _check_trees(features.values, y, excluded, n_candidates, n_trees, seed)
    if drawn is not None:
        check_array("drawn", drawn, np.int64, (len(y),))
        check_range("drawn", int(drawn.min()), 0, len(y))
        check_range("drawn", int(drawn.max()), 0, len(y))
        if features.values.dtype == np.float32 and np.bincount(drawn).max() > _MOST_DRAWN:
            features = TreeFeatures(features.values)
    importances = np.zeros(len(features.values))
    compiled.trees.forest_importances(
        features.compiled(),
        y,
        importances,
        excluded,
        n_candidates,
        n_trees,
        len(y).bit_length(),
        seed,
        drawn,
    )
    return importances


@dataclass(frozen=True)
class BoostingRule:
    """How trees are boosted.

    Attributes
    ----------
    rate
        What a tree's prediction counts, above 0 and at most 1.
    n_drawn
        Samples that each tree is grown on, drawn again for each: at least 1, and fewer than there are.
    depth
        Cuts at most between the root and a leaf, 1 to `MAX_DEPTH`.
    window
        Trees stop where the samples that so many in a row were not grown on came no nearer, in their sum.
    """

    rate: float
    n_drawn: int
    depth: int
    window: int


def boosting_importances(
    codes: TreeFeatures | NDArray[np.uint8],
    y: NDArray[np.int64],
    rule: BoostingRule,
    *,
    excluded: int,
    n_candidates: int,
    n_trees: int,
    seed: int,
) -> tuple[NDArray[np.float64], int]:
    """Boost regression trees and sum what each feature's cuts reduce the sum of squares by, without the GIL.

    Stochastic gradient boosting of squared errors (Friedman 2002, Computational Statistics & Data Analysis 38:367):
    each tree is grown on some of the samples, with the best cut of each candidate, and a part of what it predicts is
    taken from all residuals. Specified by `predictd.grn.reference.boosting_importances`. Residuals are whole numbers,
    so that sums are exact in any order, and the result has the same bits on every processor.

    Parameters
    ----------
    codes
        (n_features, n_samples) uint8, C-contiguous: values by their order; 2 to 2^20 samples. For many targets
        `TreeFeatures.of` them, made once.
    y
        (n_samples,) int64: the target less its mean, below `forest_limit(n_samples)` in magnitude; residuals that would
        pass that limit are held there.
    rule
        How trees are boosted.
    excluded, n_candidates, n_trees, seed
        As of `forest_importances`; `n_trees` are the most that grow.

    Returns
    -------
    importances : ndarray
        (n_features,) float64, in squared units of y, summed over trees.
    n_grown : int
        How many trees have grown.

    Raises
    ------
    TypeError, ValueError
        If a dtype, shape, memory layout or setting is not what it must be.
    """
    features = TreeFeatures.of(codes)
    check_array("codes", features.values, np.uint8, (None, None))
    _check_trees(features.values, y, excluded, n_candidates, n_trees, seed)
    if not 0 < rule.rate <= 1:
        raise ValueError(f"rate must lie in (0, 1], not {rule.rate}")
    check_range("n_drawn", rule.n_drawn, 1, len(y))
    check_range("depth", rule.depth, 1, MAX_DEPTH + 1)
    check_range("window", rule.window, 1, 2**20)
    importances = np.zeros(len(features.values))
    grown = compiled.trees.boosting_importances(
        features.compiled(),
        y,
        importances,
        excluded,
        n_candidates,
        n_trees,
        len(y).bit_length(),
        rule.rate,
        rule.n_drawn,
        rule.depth,
        rule.window,
        forest_limit(len(y)) - 1,
        seed,
    )
    return importances, int(grown)


def _check_trees(
    features: NDArray[Any],
    y: NDArray[np.int64],
    excluded: int,
    n_candidates: int,
    n_trees: int,
    seed: int,
) -> None:
    """Raise TypeError or ValueError for what trees cannot grow on."""
    n_features, n_samples = features.shape
    if not (0 < n_samples <= MAX_SAMPLES and 0 < n_features < 2**31):
        raise ValueError(
            f"features must have 1 to {MAX_SAMPLES} columns and 1 to 2^31 − 1 rows, not {n_samples} and {n_features}"
        )
    check_array("y", y, np.int64, (n_samples,))
    if max(int(y.max()), -int(y.min())) >= forest_limit(n_samples):
        raise ValueError(f"y must stay below {forest_limit(n_samples)} in magnitude")
    check_range("excluded", excluded, -1, n_features)
    check_range("n_candidates", n_candidates, 1, 2**31)
    check_range("n_trees", n_trees, 0, 2**31)
    check_range("seed", seed, 0, 2**64)
