"""Mean and standard deviation of a missing track, from those of the tracks that are known.

Both are taken for normally distributed (the standard deviation by its logarithm, the mean in standard deviations above
the level of its assay: 0, unless all its signal is far from 0, as with an offset). Their covariance has a part for
tracks of the same assay, one for tracks of the same cell type, and one that also asks how alike the assays are: what
makes a cell type's tracks stronger or weaker, such as another peak caller, does so for assays alike. The prediction is
the conditional mean (kriging of the scales; Rasmussen & Williams 2006, Gaussian Processes for Machine Learning, chapter
2). A track that is far from what the others say counts less.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from predictd.model.moments import covariance_near
from predictd.model.stack.tracks import Array, Index, Places, Tracks

# Variances of the parts, in units of the noise-free whole: of an assay, of a cell type, of a cell type in assays
# alike, and of what a track has for itself.
_ASSAY, _CELL, _ALIKE, _OWN = 3.0, 0.1, 0.3, 0.03
# A track counts less from so many of its predicted deviations on; how often weights are computed again.
_FAR = 3.0
_ROUNDS = 3
# What assays have in common counts as so many observations of their similarity.
_PRIOR = 0.5
# Predicted deviations stay within those of the known tracks of the assay, times this; predicted means within their
# means, give or take so many deviations.
_BEYOND = 1.5
# Means so many standard deviations from 0, or from the level of the assay, are usual; others count as if they were so
# many times as far as most, so that a track that hardly varies does not decide.
_USUAL, _FARTHEST = 1.0, 3.0


@dataclass(frozen=True)
class Scales:
    """Predicted mean and standard deviation of every pair's signal: float64 (n_cells × n_assays) each."""

    means: Array
    sds: Array

    @classmethod
    def of(cls, tracks: Tracks) -> Scales:
        """From the training tracks."""
        n_cells, n_assays = tracks.shape
        alike = _similarity(tracks)
        grid = np.repeat(np.arange(n_cells), n_assays), np.tile(np.arange(n_assays), n_cells)

        def predicted(values: Array) -> Array:
            return _conditional(values, tracks.places, grid, alike).reshape(n_cells, n_assays)

        logs, assays = np.log(tracks.sds), tracks.places[1]
        low, high = _reach(logs, np.log(_BEYOND), assays, n_assays)
        sds = np.exp(np.clip(predicted(logs), low, high))
        low, high = _reach(tracks.means, _USUAL * tracks.sds, assays, n_assays)
        levels = np.maximum(low, 0.0) + np.minimum(high, 0.0)
        above = (tracks.means - levels[assays]) / tracks.sds
        farthest = _FARTHEST * max(_USUAL, float(np.median(np.abs(above))))
        means = levels + predicted(np.clip(above, -farthest, farthest)) * sds
        return cls(np.clip(means, *_reach(tracks.means, _BEYOND * tracks.sds, assays, n_assays)), sds)


def _reach(values: Array, margins: Array | float, assays: Index, n_assays: int) -> tuple[Array, Array]:
    """Least and greatest value of each assay's tracks, with a margin; of all tracks where an assay has none."""
    low, high = np.full(n_assays, np.inf), np.full(n_assays, -np.inf)
    np.minimum.at(low, assays, values - margins)
    np.maximum.at(high, assays, values + margins)
    none = np.isinf(low)
    low[none], high[none] = low.min(), high.max()
    return low, high


def _covariance(one: Places, other: Places, alike: Array) -> Array:
    (c1, a1), (c2, a2) = one, other
    same_cell = c1[:, np.newaxis] == c2
    same_assay = a1[:, np.newaxis] == a2
    return np.asarray(_ASSAY * same_assay + same_cell * (_CELL + _ALIKE * alike[np.ix_(a1, a2)]))


def _conditional(values: Array, places: Places, targets: Places, alike: Array) -> Array:
    """Conditional means of targets, given the values of tracks."""
    among = _covariance(places, places, alike)
    noise = np.full(len(values), _OWN)
    for _ in range(_ROUNDS):
        precision = np.linalg.inv(among + np.diag(noise))
        weights = precision.sum(axis=0)
        mean = weights @ values / weights.sum()
        solved = precision @ (values - mean)
        # What each track is off from what the others say of it, in predicted deviations of a common unit.
        off = solved / np.sqrt(np.diag(precision))
        unit = max(float(np.median(np.abs(off))) / 0.6745, 1e-300)
        noise = _OWN * np.maximum(1.0, (off / (_FAR * unit)) ** 2)
    return np.asarray(mean + _covariance(targets, places, alike) @ solved)


def _similarity(tracks: Tracks) -> Array:
    """How alike assays are: mean correlation of their tracks within cell types, drawn to that of all; (n_assays²)."""
    cells, assays = tracks.places
    n_assays = tracks.shape[1]
    i, j = np.nonzero((cells[:, np.newaxis] == cells) & (assays[:, np.newaxis] != assays))
    values = np.maximum(tracks.correlations[i, j], 0.0)
    common = float(values.mean()) if values.size else 0.0
    group = assays[i] * n_assays + assays[j]
    sums = np.bincount(group, values, minlength=n_assays**2) + _PRIOR * common
    alike = (sums / (np.bincount(group, minlength=n_assays**2) + _PRIOR)).reshape(n_assays, n_assays)
    np.fill_diagonal(alike, 1.0)
    alike = covariance_near(alike)
    diagonal = np.sqrt(np.diag(alike))
    return np.asarray(alike / np.outer(diagonal, diagonal))
