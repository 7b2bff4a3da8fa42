"""Stochastic gradient descent with Nadam."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from operator import index
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from predictd.kernels import compiled
from predictd.kernels.checks import check_array

# Rows are padded with zeros to a multiple of so many values, so that the inner loops are whole vectors.
BLOCK = 16


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
            check_array(name, pairs, np.int32, (n_pairs,))
            if pairs.min() < 0 or pairs.max() >= n_rows:
                raise ValueError(f"{name} must lie in [0, {n_rows}), not in [{pairs.min()}, {pairs.max()}]")
        check_array("pen_cells", self.pen_cells, np.float64, (n_cells,))
        check_array("pen_assays", self.pen_assays, np.float64, (n_assays,))


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
        compiled.sgd.sgd_updates(
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
    check_array("y", y, np.float32, (None, None))
    n_bins, n_pairs = y.shape
    if not (0 < n_pairs < 2**32 and 0 < n_bins < 2**32):
        raise ValueError(f"y must have 1 to 2^32 − 1 rows and columns, not {n_bins} and {n_pairs}")
    sets = (("cells", cells, None), ("assays", assays, None), ("bins", bins, n_bins))
    for name, rows, n_rows in sets:
        check_array(f"{name}.values", rows.values, dtype, (n_rows, 3, row_width(rank)), written=True)
        check_array(f"{name}.scalars", rows.scalars, np.float64, (len(rows.values), 3), written=True)
    for (one, one_rows, _), (other, other_rows, _) in (sets[:2], sets[1:], sets[::2]):
        if np.may_share_memory(one_rows.values, other_rows.values):
            raise ValueError(f"{one}.values and {other}.values share memory; they are changed independently")


@lru_cache(maxsize=8)
def _decay_powers(decay: float) -> NDArray[np.float64]:
    """Return (4, 256) float64: [k, i] = (1 − decay)^(i·256^k); any power below 2^32 is a product of four."""
    powers = (1.0 - decay) ** (np.arange(256.0) * 256.0 ** np.arange(4)[:, np.newaxis])
    powers.flags.writeable = False
    return powers
