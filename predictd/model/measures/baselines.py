"""The baselines every model is compared with: the mean of the same assay, plain and at the cell type's amplitude."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from predictd.errors import DataError
from predictd.pairs import Experiment


def baseline_weights(
    experiments: Sequence[Experiment], train: Iterable[Experiment], target: Experiment
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return which experiments, with which weights, are averaged in the baseline `assay_mean`.

    Parameters
    ----------
    experiments
        All experiments, in the order of the tensor's columns.
    train
        The training experiments.
    target
        The pair that is imputed; if it is itself among `train` it is left out.

    Returns
    -------
    indices
        (k,) positions in `experiments` of the training experiments of the same assay in other cell types.
    weights
        (k,) float64, each 1/k.

    Raises
    ------
    DataError
        If no other cell type has a training experiment of the assay, or one is not in `experiments`.
    """
    column = _columns(experiments)
    indices = _same_assay(column, _known(column, train), target)
    if not indices.size:
        raise DataError(
            f"no baseline for {target}: no other cell type has a training experiment of {target.assay}"
        )
    return indices, np.full(indices.size, 1 / indices.size)


def amplitude(
    experiments: Sequence[Experiment],
    train: Iterable[Experiment],
    target: Experiment,
    *,
    moments: NDArray[np.float64],
) -> float:
    """Return the factor of the baseline `assay_mean_scaled`: how strong the tracks of a cell type are.

    The one factor by which the assay means have to be multiplied to come closest, in squared error, to
    the cell type's own training tracks of the other assays: Σ_a ⟨m_a, y_a⟩ / Σ_a ⟨m_a, m_a⟩, with m_a the
    mean of assay a over the training experiments of the other cell types.

    Parameters
    ----------
    experiments, train, target
        As in `baseline_weights`.
    moments
        (n, n) or (n+1, n+1) float64: YᵀY, or S = [Y 1]ᵀ[Y 1], of the signal Y (bins × n) of `experiments`.

    Returns
    -------
    float
        At least 0; 1.0 where the cell type has no other training assay that other cell types have, too.
    """
    column = _columns(experiments)
    if moments.shape not in {(n, n) for n in (len(column), len(column) + 1)}:
        raise DataError(f"moments of shape {moments.shape} do not belong to {len(column)} experiments")
    known = _known(column, train)
    shared = own = 0.0
    for e in known:
        if e.cell_type != target.cell_type or e.assay == target.assay:
            continue
        others = _same_assay(column, known, e)
        if others.size:
            shared += float(moments[others, column[e]].mean())
            own += float(moments[np.ix_(others, others)].mean())
    return max(shared / own, 0.0) if own > 0 else 1.0


def _columns(experiments: Sequence[Experiment]) -> dict[Experiment, int]:
    return {e: i for i, e in enumerate(experiments)}


def _known(column: Mapping[Experiment, int], train: Iterable[Experiment]) -> list[Experiment]:
    known = sorted(set(train))
    for e in known:
        if e not in column:
            raise DataError(f"training experiment {e} is not in the tensor")
    return known


def _same_assay(
    column: Mapping[Experiment, int], train: Sequence[Experiment], target: Experiment
) -> NDArray[np.intp]:
    """Return the columns of the training experiments of the target's assay in other cell types."""
    others = [e for e in train if e.assay == target.assay and e.cell_type != target.cell_type]
    return np.array([column[e] for e in others], dtype=np.intp)
