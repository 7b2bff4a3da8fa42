"""What labels alone say of a track: a Gaussian model of signal by cell type and assay, fitted to second moments.

The correlation over bins of two tracks is modelled as what their assays share in all cell types and what they share in
one, ρ(ca, c'a') = Β[a, a'] + Γ[c, c'] Α[a, a'], with similarities Γ of cell types; their means and the logarithms of
their standard deviations are sums of an effect of the cell type and one of the assay. With few numbers for many pairs
of tracks, one track hardly moves the model, so that it can serve to examine tracks by, and to say what is not known
yet of pairs that nobody measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from predictd.model.moments import CONSTANT, covariance_near

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]

# A pair of assays (or cell types) of which so many correlations are known is half its own, half the average.
_SHRINKAGE = 4.0
# Least share of a track's variance that is its own.
_OWN = 0.05
# Weight of the average against an effect's own values, and where residuals count less (in robust standard deviations).
_EFFECT_SHRINKAGE, _HUBER, _HUBER_ROUNDS = 0.5, 1.5, 10
# Spread, relative to the values, under which effects are exact.
_EXACT = 1e-9
# The robust standard deviation of a normal variable is this many median absolute deviations.
MAD = 1.4826


@dataclass(frozen=True)
class Standardised:
    """Tracks in units of their own standard deviation.

    Attributes
    ----------
    means, deviations
        float64 (n,).
    correlations
        float64 (n × n); 0 for constant tracks but on the diagonal.
    constant
        (n,): tracks with the same signal everywhere.
    """

    means: Array
    deviations: Array
    correlations: Array
    constant: npt.NDArray[np.bool_]


def standardise(s: Array) -> Standardised:
    """Means, standard deviations and correlations from moments (n+1 × n+1)."""
    n_bins = s[-1, -1]
    means = s[-1, :-1] / n_bins
    squares = np.diag(s)[:-1] / n_bins
    covariance = s[:-1, :-1] / n_bins - np.outer(means, means)
    variances = np.maximum(np.diag(covariance), 0.0)
    constant = variances <= CONSTANT * squares
    deviations = np.where(constant, 0.0, np.sqrt(variances))
    scale = np.where(constant, 1.0, deviations)
    correlations = np.clip(covariance / np.outer(scale, scale), -1.0, 1.0)
    correlations[constant] = correlations[:, constant] = 0.0
    np.fill_diagonal(correlations, 1.0)
    return Standardised(means, deviations, correlations, constant)


@dataclass(frozen=True)
class Similarity:
    """What tracks share by their labels.

    Attributes
    ----------
    common
        Β (n_assays × n_assays): correlations of tracks of different cell types, on average.
    assays
        Α (n_assays × n_assays): by how much those of one cell type are higher.
    cells
        Γ (n_cells × n_cells), with a diagonal of 1: how much of that other cell types share.
    """

    common: Array
    assays: Array
    cells: Array

    def between(self, cells: Index, assays: Index, other_cells: Index, other_assays: Index) -> Array:
        """Correlations of k with m pairs, given by rows of cell type and assay: (k × m)."""
        among = np.ix_(assays, other_assays)
        return self.common[among] + self.cells[np.ix_(cells, other_cells)] * self.assays[among]

    def covariance(self, cells: Index, assays: Index) -> Array:
        """Correlations of k pairs among themselves (k × k), positive definite, with a diagonal of 1."""
        k = self.between(cells, assays, cells, assays)
        np.fill_diagonal(k, 1.0)
        return k


def fit_similarity(
    correlations: Array,
    cells: Index,
    assays: Index,
    n_cells: int,
    n_assays: int,
    *,
    weights: Array | None = None,
) -> Similarity:
    """Averages of the correlations of different tracks, each drawn to the average of its kind.

    Few numbers on purpose, positive semidefinite, so that one track hardly moves them; `stack.pooling` pools
    correlations with more effects, to predict with.

    Parameters
    ----------
    correlations
        (n × n).
    cells, assays
        (n,) cell type and assay of each track.
    n_cells, n_assays
        How many there are.
    weights
        (n,): 0 leaves a track out; None: 1.
    """
    weight = np.ones(len(cells)) if weights is None else weights
    pair_weights = np.outer(weight, weight)
    np.fill_diagonal(pair_weights, 0.0)
    same_cell = np.equal.outer(cells, cells)
    by_assay = (assays[:, np.newaxis] * n_assays + assays).ravel()
    by_cell = (cells[:, np.newaxis] * n_cells + cells).ravel()
    among = np.ix_(assays, assays)

    def average(place: Index, size: int, values: Array, weighting: Array, towards: Array | None) -> Array:
        """Σ values / Σ weighting a place, drawn to a value, or to the average of same and of different names."""
        sums = np.bincount(place, values.ravel(), size * size).reshape(size, size)
        counts = np.bincount(place, weighting.ravel(), size * size).reshape(size, size)
        if towards is None:
            same = np.eye(size, dtype=bool)
            towards = np.empty((size, size))
            for kind in (same, ~same):
                towards[kind] = sums[kind].sum() / max(counts[kind].sum(), 1e-12)
        return (sums + _SHRINKAGE * towards) / (counts + _SHRINKAGE)

    apart = pair_weights * ~same_cell
    common = _similarity(average(by_assay, n_assays, apart * correlations, apart, None), 1.0 - _OWN)
    rest = correlations - common[among]
    within = pair_weights * same_cell
    specific = average(by_assay, n_assays, within * rest, within, None)
    # Of what a track has in common with no other one nothing is known but its size.
    np.fill_diagonal(specific, 1.0 - _OWN - np.diag(common))
    specific = _similarity(specific, 1.0 - _OWN - np.diag(common))
    factor = specific[among]
    shared = average(
        by_cell, n_cells, apart * rest * factor, apart * np.square(factor), np.zeros((n_cells, n_cells))
    )
    np.fill_diagonal(shared, 1.0)
    return Similarity(common, specific, _similarity(shared, 1.0))


@dataclass(frozen=True)
class Effects:
    """Main effects of cell types and assays on one number a track.

    Attributes
    ----------
    cells, assays
        Effects (n_cells,), (n_assays,).
    mean
        Of all.
    expected
        (n,) what is expected of each track by the others.
    spread
        Robust standard deviation of the tracks from what is expected.
    """

    cells: Array
    assays: Array
    mean: float
    expected: Array
    spread: float

    def of(self, cells: Index, assays: Index) -> Array:
        """Sum of the effects on pairs (k,)."""
        return self.mean + self.cells[cells] + self.assays[assays]


def fit_effects(
    values: Array,
    cells: Index,
    assays: Index,
    n_cells: int,
    n_assays: int,
    *,
    used: npt.NDArray[np.bool_] | None = None,
) -> Effects:
    """Robust main effects (Huber's weights), each drawn to 0 a little, and what to expect of each track by the others.

    Weights and leave-one-out values are what `stack.scales` and `cp.sgd.main_effects` do without: there no
    track is examined, and a start of a descent is plain means.

    Parameters
    ----------
    values
        (n,); finite where `used`.
    cells, assays, n_cells, n_assays
        See `fit_similarity`.
    used
        (n,): the tracks that are fitted; None: all.
    """
    used = np.ones(len(values), dtype=bool) if used is None else used
    y = np.where(used, values, 0.0)
    x = np.zeros((len(y), 1 + n_cells + n_assays))
    rows = np.arange(len(y))
    x[:, 0] = x[rows, 1 + cells] = x[rows, 1 + n_cells + assays] = 1.0
    ridge = np.full(x.shape[1], _EFFECT_SHRINKAGE)
    ridge[0] = 1e-9
    weights = used.astype(np.float64)
    for _ in range(_HUBER_ROUNDS):
        inverse = np.linalg.inv((x * weights[:, np.newaxis]).T @ x + np.diag(ridge))
        effects = inverse @ (x.T @ (weights * y))
        leverage = weights * np.einsum("ij,jk,ik->i", x, inverse, x, optimize=True)
        residuals = (y - x @ effects) / (1.0 - leverage)
        spread = MAD * float(np.median(np.abs(residuals[used]))) if used.any() else 0.0
        limit = _HUBER * max(spread, _EXACT * float(np.abs(y).max()))
        if limit <= 0.0:
            break
        weights = used * np.minimum(1.0, limit / np.maximum(np.abs(residuals), limit))
    return Effects(effects[1 : 1 + n_cells], effects[1 + n_cells :], float(effects[0]), y - residuals, spread)


def _similarity(matrix: Array, most: Array | float) -> Array:
    """A symmetric positive semidefinite matrix near a given one, with a diagonal of at most `most`."""
    positive = covariance_near(matrix)
    shrink = np.sqrt(np.minimum(1.0, most / np.maximum(np.diag(positive), 1e-12)))
    return np.asarray(positive * np.outer(shrink, shrink))
