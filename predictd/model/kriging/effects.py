"""Random effects over cell types and assays: of single experiments, and of pairs of experiments.

Both are ridge regressions on indicators: an effect that few observations determine is drawn to 0, that is to what
experiments have in common.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from predictd.pairs import Experiment

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]
Places = tuple[Index, Index]

# How two experiments are related: of the same assay, of the same cell type, or neither.
SAME_ASSAY, SAME_CELL, NEITHER = range(3)
# Ridge penalties, in numbers of observations: of the mean, of a pair of assays, of a cell type. Correlations differ
# more between assays than between cell types of the same assays.
_MEAN, _ASSAYS, _CELL = 0.01, 0.5, 5.0
# Of the main effects of single experiments.
_MAIN = 0.1


def fit_grid(values: Array, places: Places, shape: tuple[int, int]) -> Array:
    """Mean plus effects of cell type and assay, for every pair.

    Parameters
    ----------
    values
        float64 (n,): one of each experiment.
    places
        Cell type and assay row of each experiment, intp (n,) each.
    shape
        Numbers of cell types and assays.

    Returns
    -------
    float64 (n_cells × n_assays)
    """
    cells, assays = places
    n = len(values)
    design = np.zeros((n, 1 + sum(shape)))
    design[:, 0] = 1.0
    design[np.arange(n), 1 + cells] = 1.0
    design[np.arange(n), 1 + shape[0] + assays] = 1.0
    penalties = np.full(design.shape[1], _MAIN)
    penalties[0] = 0.0
    effects = np.linalg.solve(design.T @ design + np.diag(penalties), design.T @ values)
    grid: Array = effects[0] + np.add.outer(effects[1 : 1 + shape[0]], effects[1 + shape[0] :])
    return grid


def relate(one: Sequence[Experiment], other: Sequence[Experiment]) -> npt.NDArray[np.int8]:
    """How experiments are related: int8 (len(one) × len(other)) of SAME_ASSAY, SAME_CELL, NEITHER."""
    assays, cells = (
        np.array([e[axis] for e in one])[:, np.newaxis] == np.array([e[axis] for e in other])
        for axis in (1, 0)
    )
    return np.where(assays, SAME_ASSAY, np.where(cells, SAME_CELL, NEITHER)).astype(np.int8)


@dataclass(frozen=True)
class Correlations:
    """Correlations between k regressors of one experiment and those of another, pooled over pairs of experiments.

    Regressor g of experiment i and h of j, in relation t, correlate by
    mean[t,g,h] + assays[t,a_i,a_j,g,h] + cells[t,c_i,g,h] + cells[t,c_j,h,g].

    Attributes
    ----------
    mean
        float64 (3 × k × k).
    assays
        float64 (3 × n_assays × n_assays × k × k).
    cells
        float64 (3 × n_cells × k × k).
    """

    mean: Array
    assays: Array
    cells: Array

    def between(self, one: Places, other: Places, relation: npt.NDArray[np.int8], *, first: int) -> Array:
        """Correlations of the first `first` regressors of experiments with all those of others.

        Parameters
        ----------
        one, other
            Cell type and assay rows of m and of n experiments.
        relation
            What `relate` says of them: (m × n).
        first
            Regressors of `one`, from the first.

        Returns
        -------
        float64 (first × m × k × n)
        """
        (c1, a1), (c2, a2) = one, other
        k = self.mean.shape[-1]
        found = np.empty((first, len(c1), k, len(c2)))
        pair = relation, a1[:, np.newaxis], a2
        for g in range(first):
            for h in range(k):
                found[g, :, h] = (
                    self.mean[:, g, h][relation]
                    + self.assays[..., g, h][pair]
                    + self.cells[..., g, h][relation, c1[:, np.newaxis]]
                    + self.cells[..., h, g][relation, c2]
                )
        return found


def fit_correlations(
    observed: Array, experiments: Sequence[Experiment], places: Places, shape: tuple[int, int]
) -> Correlations:
    """Pool correlations over pairs of experiments in the same relation.

    Parameters
    ----------
    observed
        float64 (k × n × k × n): of all regressors of all experiments; NaN is not known.
    experiments, places, shape
        The n experiments, their cell type and assay rows, and the numbers of these.
    """
    k, n = observed.shape[:2]
    n_cells, n_assays = shape
    cells, assays = places
    relation = relate(experiments, experiments)
    known = ~(np.isnan(observed).any(axis=(0, 2)) | np.eye(n, dtype=bool))
    mean = np.zeros((3, k, k))
    of_assays = np.zeros((3, n_assays, n_assays, k, k))
    of_cells = np.zeros((3, n_cells, k, k))
    penalties = np.concatenate([[_MEAN], np.full(n_assays**2, _ASSAYS), np.full(2 * n_cells, _CELL)])
    starts = np.array([0, 1, 1 + n_assays**2, 1 + n_assays**2 + n_cells])
    for kind in (SAME_ASSAY, SAME_CELL, NEITHER):
        i, j = np.nonzero((relation == kind) & known)
        if not i.size:
            continue
        columns = np.stack([0 * i, assays[i] * n_assays + assays[j], cells[i], cells[j]], axis=1) + starts
        rows = np.arange(0, columns.size + 1, 4)
        design = csr_matrix((np.ones(columns.size), columns.ravel(), rows), shape=(i.size, penalties.size))
        system = (design.T @ design).toarray() + np.diag(penalties)
        right = design.T @ observed[:, i, :, j].reshape(i.size, k * k)
        effects = np.linalg.solve(system, right).reshape(-1, k, k)
        mean[kind] = effects[0]
        of_assays[kind] = effects[1 : starts[2]].reshape(n_assays, n_assays, k, k)
        of_cells[kind] = effects[starts[2] : starts[3]]
    return Correlations(mean, of_assays, of_cells)
