"""The compiled kernels behind checks: the only module that imports `predictd._ext`.

The kernels themselves check nothing and release the GIL. What they compute is specified by
`predictd.model.cp.reference`, and by `predictd.grn.reference` for trees.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from operator import index
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from predictd.errors import ExtensionError

try:
    import predictd._ext.half as _half
    import predictd._ext.sgd as _sgd
    import predictd._ext.trees as _trees
except ImportError as err:
    raise ExtensionError(
        f"the compiled kernels of the predictd package in {Path(__file__).resolve().parent} do not load "
        f"({' '.join(str(err).split())}): run `pip install .` in predictd's source directory, "
        "and start Python elsewhere"
    ) from err

# Rows are padded with zeros to a multiple of so many values, so that the inner loops are whole vectors.
BLOCK = 16
# So many samples a forest takes, and so deep boosted trees grow.
MAX_SAMPLES = 2**20
MAX_DEPTH: int = _trees.DEEPEST


class RowArrays(Protocol):
    """Factor rows with their optimiser state, e.g. `predictd.model.cp.sgd.Rows`.

    Attributes
    ----------
    values
        (n_rows, 3, width) float32 or float64, C-contiguous: [:, 0] the factors with the bias at index L,
        [:, 1] and [:, 2] Nadam's m and v. width is `row_width(L)`; what follows the bias is zero.
    scalars
        (n_rows, 3) float64, C-contiguous: Nadam's d1, d2 and t, the number of updates of the row.
    """

    @property
    def values(self) -> NDArray[Any]:
        """Factors, biases and moments: (n_rows, 3, width), see the class."""
        ...

    @property
    def scalars(self) -> NDArray[np.float64]:
        """Nadam's d1, d2 and t: float64 (n_rows, 3), see the class."""
        ...


def row_width(rank: int) -> int:
    """Return the padded length of a row of `rank` factors and one bias."""
    return (rank // BLOCK + 1) * BLOCK


@dataclass(frozen=True)
class UpdateRule:
    """What every update of a descent has in common.

    Attributes
    ----------
    rank
        L, the number of factors.
    pair_cells, pair_assays
        (n_pairs,) int32: the cell and the assay row of each column of y.
    pen_cells, pen_assays, pen_bins
        Penalties a draw: (n_cells,) and (n_assays,) float64, and one number for all bins.
    mu
        The mean that the prediction starts from.
    learning_rate, beta1, beta2, epsilon, decay
        Nadam's settings; learning rate and beta1 fall by the factor (1 − decay) an update of the row.
    """

    rank: int
    pair_cells: NDArray[np.int32]
    pair_assays: NDArray[np.int32]
    pen_cells: NDArray[np.float64]
    pen_assays: NDArray[np.float64]
    pen_bins: float
    mu: float
    learning_rate: float
    beta1: float
    beta2: float
    epsilon: float
    decay: float

    def check(self, n_pairs: int, n_cells: int, n_assays: int) -> None:
        """Raise TypeError or ValueError for what does not fit so many pairs, cell types and assays."""
        for name in ("beta1", "beta2", "decay"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1), not {getattr(self, name)}")
        if not self.epsilon > 0:
            raise ValueError(f"epsilon must be positive, not {self.epsilon}")
        for name in ("mu", "learning_rate", "epsilon", "pen_bins"):
            if not np.isfinite(getattr(self, name)):
                raise ValueError(f"{name} must be finite, not {getattr(self, name)}")
        for name, pairs, n_rows in (
            ("pair_cells", self.pair_cells, n_cells),
            ("pair_assays", self.pair_assays, n_assays),
        ):
            _check(name, pairs, np.int32, (n_pairs,))
            if pairs.min() < 0 or pairs.max() >= n_rows:
                raise ValueError(f"{name} must lie in [0, {n_rows}), not in [{pairs.min()}, {pairs.max()}]")
        _check("pen_cells", self.pen_cells, np.float64, (n_cells,))
        _check("pen_assays", self.pen_assays, np.float64, (n_assays,))


def sgd_updates(
    cells: RowArrays,
    assays: RowArrays,
    bins: RowArrays,
    y: NDArray[np.float32],
    rule: UpdateRule,
    *,
    stream: int,
    first: int,
    count: int,
) -> float:
    """Make `count` updates of stochastic gradient descent with Nadam, in place and without the GIL.

    Durham et al. 2018 (Nat. Commun. 9:1402), Methods; Nadam: Dozat 2016. Specified by
    `predictd.model.cp.reference.sgd_updates`. The result has the same bits on every x86-64 processor.

    Parameters
    ----------
    cells, assays, bins
        The three sets of rows, of one dtype and sharing no memory; changed in place. A row of bins for each
        row of y.
    y
        (n_bins, n_pairs) float32, C-contiguous, finite (not checked here): the training experiments' signal.
    rule
        What all updates have in common.
    stream
        Which stream of draws, a number below 2^64.
    first, count
        The draws to make: a call of 2k from `first` equals two calls of k, the second from `first + k`.

    Returns
    -------
    float
        Sum over the draws of the squared error before the update; not finite where the descent diverged.

    Raises
    ------
    TypeError, ValueError
        If a dtype, shape, memory layout, row number or setting is not what it must be. Nothing is changed.
    """
    stream, first, count = index(stream), index(first), index(count)
    for name, number in (("stream", stream), ("first", first), ("count", count)):
        if not 0 <= number < 2**64:
            raise ValueError(f"{name} must lie in [0, 2^64), not {number}")
    _check_rows(cells, assays, bins, y, rule.rank)
    rule.check(y.shape[1], len(cells.values), len(assays.values))
    return float(
        _sgd.sgd_updates(
            cells.values,
            cells.scalars,
            assays.values,
            assays.scalars,
            bins.values,
            bins.scalars,
            y,
            rule.pair_cells,
            rule.pair_assays,
            rule.pen_cells,
            rule.pen_assays,
            _decay_powers(float(rule.decay)),
            index(rule.rank),
            rule.pen_bins,
            rule.mu,
            rule.learning_rate,
            rule.beta1,
            rule.beta2,
            rule.epsilon,
            rule.decay,
            stream,
            first,
            count,
        )
    )


def _check_rows(
    cells: RowArrays, assays: RowArrays, bins: RowArrays, y: NDArray[np.float32], rank: int
) -> None:
    """Raise TypeError or ValueError for rows and signal that do not fit together."""
    if index(rank) < 1:
        raise ValueError(f"rank must be at least 1, not {rank}")
    dtype = cells.values.dtype
    if dtype not in (np.float32, np.float64):
        raise TypeError(f"cells.values must be float32 or float64, not {dtype}")
    _check("y", y, np.float32, (None, None))
    n_bins, n_pairs = y.shape
    if not (0 < n_pairs < 2**32 and 0 < n_bins < 2**32):
        raise ValueError(f"y must have 1 to 2^32 − 1 rows and columns, not {n_bins} and {n_pairs}")
    sets = (("cells", cells, None), ("assays", assays, None), ("bins", bins, n_bins))
    for name, rows, n_rows in sets:
        _check(f"{name}.values", rows.values, dtype, (n_rows, 3, row_width(rank)), written=True)
        _check(f"{name}.scalars", rows.scalars, np.float64, (len(rows.values), 3), written=True)
    for (one, one_rows, _), (other, other_rows, _) in (sets[:2], sets[1:], sets[::2]):
        if np.may_share_memory(one_rows.values, other_rows.values):
            raise ValueError(f"{one}.values and {other}.values share memory; they are changed independently")


def widen(half: NDArray[np.float16], out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """Convert float16 to float32 exactly, many times faster than `astype`, without the GIL.

    Parameters
    ----------
    half
        float16, C-contiguous, of any shape. Subnormals and infinities keep their value, NaN stays NaN.
    out
        Where to write to: float32, C-contiguous, of the same shape, sharing no memory with `half`.

    Returns
    -------
    ndarray
        `out`, or a new array.

    Raises
    ------
    TypeError, ValueError
        If a dtype, shape or memory layout is not what it must be.
    """
    _check("half", half, np.float16, None)
    if out is None:
        out = np.empty(half.shape, np.float32)
    else:
        _check("out", out, np.float32, half.shape, written=True)
        if np.may_share_memory(half, out):
            raise ValueError("half and out share memory")
    _half.widen(half.reshape(-1).view(np.uint16), out.reshape(-1))
    return out


def forest_limit(n_samples: int) -> int:
    """Return what the magnitudes of a forest's target must stay below, so that all sums are exact."""
    bits = n_samples.bit_length()
    return int(2 ** min(52, 61 - bits)) // n_samples


def forest_importances(
    features: NDArray[np.uint8] | NDArray[np.float32],
    y: NDArray[np.int64],
    *,
    excluded: int,
    n_candidates: int,
    n_trees: int,
    seed: int,
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
        checked here); at most 2^20 samples.
    y
        (n_samples,) int64: the target, below `forest_limit(n_samples)` in magnitude.
    excluded
        A feature that is no candidate; −1: all are.
    n_candidates
        Features that a node looks at; more, if none of them varies.
    n_trees
        Trees.
    seed
        A number below 2^64.

    Returns
    -------
    ndarray
        (n_features,) float64, in squared units of y, summed over trees.

    Raises
    ------
    TypeError, ValueError
        If a dtype, shape, memory layout or setting is not what it must be.
    """
    extra = features.dtype == np.float32
    _check_trees(features, np.float32 if extra else np.uint8, y, excluded, n_candidates, n_trees, seed)
    importances = np.zeros(len(features))
    codes = None if extra else features
    values = features if extra else None
    bits = len(y).bit_length()
    _trees.forest_importances(codes, values, y, importances, excluded, n_candidates, n_trees, bits, seed)
    return importances


@dataclass(frozen=True)
class BoostingRule:
    """How trees are boosted.

    Attributes
    ----------
    rate
        What a tree's prediction counts, above 0 and at most 1.
    n_drawn
        Samples that each tree is grown on, drawn anew for each: at least 1, and fewer than there are.
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
    codes: NDArray[np.uint8],
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
        (n_features, n_samples) uint8, C-contiguous: values by their order; 2 to 2^20 samples.
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
    _check_trees(codes, np.uint8, y, excluded, n_candidates, n_trees, seed)
    if not 0 < rule.rate <= 1:
        raise ValueError(f"rate must lie in (0, 1], not {rule.rate}")
    _check_range("n_drawn", rule.n_drawn, 1, len(y))
    _check_range("depth", rule.depth, 1, MAX_DEPTH + 1)
    _check_range("window", rule.window, 1, 2**20)
    importances = np.zeros(len(codes))
    grown = _trees.boosting_importances(
        codes,
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
    dtype: Any,
    y: NDArray[np.int64],
    excluded: int,
    n_candidates: int,
    n_trees: int,
    seed: int,
) -> None:
    """Raise TypeError or ValueError for what trees cannot grow on."""
    _check("features", features, dtype, (None, None))
    n_features, n_samples = features.shape
    if not (0 < n_samples <= MAX_SAMPLES and 0 < n_features < 2**31):
        raise ValueError(
            f"features must have 1 to {MAX_SAMPLES} columns and 1 to 2^31 − 1 rows, not {n_samples} and {n_features}"
        )
    _check("y", y, np.int64, (n_samples,))
    if max(int(y.max()), -int(y.min())) >= forest_limit(n_samples):
        raise ValueError(f"y must stay below {forest_limit(n_samples)} in magnitude")
    _check_range("excluded", excluded, -1, n_features)
    _check_range("n_candidates", n_candidates, 1, 2**31)
    _check_range("n_trees", n_trees, 0, 2**31)
    _check_range("seed", seed, 0, 2**64)


def _check_range(name: str, number: int, low: int, high: int) -> None:
    """Raise ValueError for a number below `low`, or not below `high`."""
    if not low <= index(number) < high:
        raise ValueError(f"{name} must lie in [{low}, {high}), not {number}")


@lru_cache(maxsize=8)
def _decay_powers(decay: float) -> NDArray[np.float64]:
    """Return (4, 256) float64: [k, i] = (1 − decay)^(i·256^k); any power below 2^32 is a product of four."""
    powers = (1.0 - decay) ** (np.arange(256.0) * 256.0 ** np.arange(4)[:, np.newaxis])
    powers.flags.writeable = False
    return powers


def _check(
    name: str, array: NDArray[Any], dtype: Any, shape: tuple[int | None, ...] | None, *, written: bool = False
) -> None:
    """Raise unless `array` is C-contiguous, of this dtype and shape; None: any length, or any shape."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} must be a NumPy array, not {type(array).__name__}")
    if array.dtype != dtype:
        raise TypeError(f"{name} must be {np.dtype(dtype)}, not {array.dtype}")
    if shape is not None and (
        array.ndim != len(shape)
        or any(want not in (None, got) for want, got in zip(shape, array.shape, strict=True))
    ):
        wanted = ", ".join("any" if length is None else str(length) for length in shape)
        raise ValueError(f"{name} must have the shape ({wanted}), not {array.shape}")
    if not array.flags.c_contiguous:
        raise ValueError(f"{name} must be C-contiguous")
    if written and not array.flags.writeable:
        raise ValueError(f"{name} must be writeable")
