"""Correlations pooled over similar tracks, from which those of a track that was never observed can be predicted.

A missing track was never observed, so its correlations with the others have to be learned from other tracks. The
correlation of tracks i and j is explained by

    ρ(i, j) = μ + α(assay i, assay j) + l(cell type i) + r(cell type j),

with one such model for pairs of the same assay, of the same cell type, and of neither. Effects are drawn to 0, that is
to what pairs have in common (ridge regression). They are group means, fitted in turns until they settle (Gauss-Seidel),
so that memory and time grow with the number of pairs of tracks and no faster.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from predictd.model.stack.features import KINDS
from predictd.model.stack.tracks import Array, Index, Places, Tracks

# How two tracks are related: of the same assay, of the same cell type, or neither.
SAME_ASSAY, SAME_CELL, NEITHER = range(3)
# Ridge penalties, in numbers of observations: of the mean, of a pair of assays, of a cell type. Correlations differ
# more between assays than between cell types of the same assays.
_MEAN, _ASSAYS, _CELL = 0.01, 0.5, 5.0
_TURNS = 20


@dataclass(frozen=True)
class Pooled:
    """The effects on a correlation, by relation.

    Attributes
    ----------
    mean
        float64 (3,).
    assays
        float64 (3 × n_assays × n_assays).
    left, right
        Of the cell types of the first and of the second track: float64 (3 × n_cells).
    """

    mean: Array
    assays: Array
    left: Array
    right: Array

    @classmethod
    def of(cls, tracks: Tracks) -> Pooled:
        """Pool the correlations between tracks."""
        cells, assays = tracks.places
        n_cells, n_assays = tracks.shape
        relation = _relation(tracks.places, tracks.places)
        np.fill_diagonal(relation, -1)
        found = cls(
            np.zeros(3),
            np.zeros((3, n_assays, n_assays)),
            np.zeros((3, n_cells)),
            np.zeros((3, n_cells)),
        )
        for kind in (SAME_ASSAY, SAME_CELL, NEITHER):
            i, j = np.nonzero(relation == kind)
            if not i.size:
                continue
            values = tracks.correlations[i, j]
            groups = (
                (np.zeros(i.size, dtype=np.intp), 1, _MEAN),
                (assays[i] * n_assays + assays[j], n_assays**2, _ASSAYS),
                (cells[i], n_cells, _CELL),
                (cells[j], n_cells, _CELL),
            )
            mean, of_assays, left, right = _ridge(values, groups)
            found.mean[kind] = mean[0]
            found.assays[kind] = of_assays.reshape(n_assays, n_assays)
            found.left[kind], found.right[kind] = left, right
        return found

    def between(self, one: Places, other: Places) -> Array:
        """Correlations of m tracks with n others, (m × n), by their cell types and assays."""
        relation = _relation(one, other)
        (c1, a1), (c2, a2) = one, other
        return np.asarray(
            self.mean[relation]
            + self.assays[relation, a1[:, np.newaxis], a2]
            + self.left[relation, c1[:, np.newaxis]]
            + self.right[relation, c2]
        )


def pooled_features(tracks: Tracks) -> dict[tuple[int, int], Pooled]:
    """Pooled correlations of each kind of column with each later one; see `features.columns_of`."""
    assert tracks.features is not None
    n = len(tracks.names)
    blocks = tracks.features.correlations.reshape(KINDS, n, KINDS, n)
    return {
        (x, y): Pooled.of(replace(tracks, correlations=blocks[x, :, y]))
        for x in range(KINDS)
        for y in range(x, KINDS)
    }


def _relation(one: Places, other: Places) -> npt.NDArray[np.int8]:
    (c1, a1), (c2, a2) = one, other
    same_cell = np.where(c1[:, np.newaxis] == c2, SAME_CELL, NEITHER)
    return np.where(a1[:, np.newaxis] == a2, SAME_ASSAY, same_cell).astype(np.int8)


def _ridge(values: Array, groups: tuple[tuple[Index, int, float], ...]) -> list[Array]:
    """Effects of several groupings on values; a grouping is each value's group, how many there are, and the penalty."""
    effects = [np.zeros(size) for _, size, _ in groups]
    counts = [np.bincount(group, minlength=size) for group, size, _ in groups]
    rest = values.copy()
    for _ in range(_TURNS):
        for k, (group, size, penalty) in enumerate(groups):
            sums = np.bincount(group, rest, minlength=size) + counts[k] * effects[k]
            changed = sums / (counts[k] + penalty)
            rest -= (changed - effects[k])[group]
            effects[k] = changed
    return effects
