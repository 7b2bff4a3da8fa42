"""New cell types and assays for a fitted model, in closed form: their rows of C or of A, and their biases.

All that a model says of the genome, [G ; r] = K⁻¹ Z (y − o), follows from its training experiments. The row of a new
cell type is then the one unknown in its tracks, and the cell step of alternating least squares solves for it, once:

    (M1 ∘ Σ_a d_a d_aᵀ + λ D) [C_c ; p_c] = Σ_a d_a ∘ (E[[G;1] y_ca] − (μ + q_a) E[G;1] − E[[G;1] r]) + λ [C̄ ; 0]

with d_a = [A_a ; 1] and M1 the second moments of [G ; 1]; an assay alike, with C and A exchanged. The data enter
through the second moments of [G r Y_new 1] alone. For models of EM the moments of G have its posterior covariance, and
the row is drawn towards the mean row, as in training; for the others λ is the penalty of J and C̄ is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy

from predictd.errors import DataError
from predictd.model.cp.factors import CPModel, solve_genome
from predictd.pairs import Experiment, axes

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RowPrior:
    """What holds a new row besides its tracks.

    Attributes
    ----------
    penalty
        λ of the equations above: that of J; for EM σ² times the strength of the prior.
    em
        Whether the model was fitted by EM: the row is drawn to the mean row, and G is uncertain.
    """

    penalty: float
    em: bool


def genome_map(model: CPModel) -> tuple[Array, Array]:
    """M (L+1 × n) and −M o (L+1,): [G ; r] = M y − M o of the training experiments' signal y."""
    z, o = model.design(model.train)
    solution = solve_genome(z, model.lambda_g)
    return solution, -solution @ o


def genome_moments(model: CPModel, s: Array, train: npt.NDArray[np.intp], new: npt.NDArray[np.intp]) -> Array:
    """Moments of [G r Y_new 1] from those of signal.

    Parameters
    ----------
    model
        Gives the map to G and r.
    s
        (N+1 × N+1) moments [Y 1]ᵀ[Y 1].
    train, new
        Columns of the model's training experiments and of the k new ones.

    Returns
    -------
    float64 (L+2+k × L+2+k)
    """
    solution, intercept = genome_map(model)
    mapped = np.zeros((len(solution) + len(new) + 1, len(s)))
    mapped[: len(solution), train] = solution
    mapped[: len(solution), -1] = intercept
    mapped[len(solution) + np.arange(len(new)), new] = 1.0
    mapped[-1, -1] = 1.0
    return np.asarray(mapped @ s @ mapped.T)


def new_names(model: CPModel, new: Sequence[Experiment]) -> tuple[list[str], list[str]]:
    """New cell types and new assays among experiments, sorted.

    Raises
    ------
    DataError
        If both names of an experiment are known to the model, or neither.
    """
    for experiment in new:
        cell_known, assay_known = experiment.cell_type in model.cell_types, experiment.assay in model.assays
        if cell_known and assay_known:
            raise DataError(
                f"{experiment}: the model has the cell type {experiment.cell_type} and the assay {experiment.assay} "
                "already; give a new cell type another name, or train again with the tracks of known ones"
            )
        if not cell_known and not assay_known:
            raise DataError(
                f"{experiment}: the model has neither the cell type {experiment.cell_type} nor the assay "
                f"{experiment.assay}; leave such tracks out, or train again with them"
            )
    cells, assays = axes(new)
    return (
        [name for name in cells if name not in model.cell_types],
        [name for name in assays if name not in model.assays],
    )


def extended(
    model: CPModel, s: Array, new: Sequence[Experiment], prior: RowPrior, *, regressors: bool
) -> CPModel:
    """The model with rows for new cell types and assays; what it had stays as it was.

    Parameters
    ----------
    model
        Before.
    s
        float64 (L+2+k × L+2+k) moments of [G r Y_new 1]; see `genome_moments`.
    new
        The k new experiments.
    prior
        What holds the new rows.
    regressors
        Whether the new experiments are among those that the model reads when it imputes.

    Raises
    ------
    DataError
        If the names do not fit (see `new_names`), or a row is not determined.
    """
    cells, assays = new_names(model, new)
    genome = _Genome.of(s, model, prior, len(new))
    c_rows = _rows(genome, new, prior, cells, 0, model)
    a_rows = _rows(genome, new, prior, assays, 1, model)
    cell_types, c = _inserted(model.cell_types, np.column_stack([model.c, model.p]), cells, c_rows)
    assay_names, a = _inserted(model.assays, np.column_stack([model.a, model.q]), assays, a_rows)
    larger = replace(
        model,
        cell_types=cell_types,
        assays=assay_names,
        c=c[:, :-1],
        p=c[:, -1],
        a=a[:, :-1],
        q=a[:, -1],
        ranges=None,
    )
    if not regressors:
        return larger
    return replace(larger, train=tuple(sorted({*model.train, *new})), g_moments=_g_moments(larger, s, new))


def _g_moments(larger: CPModel, s: Array, new: Sequence[Experiment]) -> Array:
    """Mean of g gᵀ (L × L) when the new experiments are read as well.

    K [G ; r] = Z (y − o) of the experiments before, so that K' [G' ; r'] = K [G ; r] + Z_new (y_new − o_new).
    """
    rank = larger.rank
    z, _ = larger.design(larger.train)
    z_new, o_new = larger.design(new)
    k = z @ z.T
    k[np.arange(rank), np.arange(rank)] += larger.lambda_g
    mapped = scipy.linalg.solve(
        k + z_new @ z_new.T, np.column_stack([k, z_new, -z_new @ o_new]), assume_a="pos"
    )[:rank]
    return np.asarray(mapped @ s @ mapped.T / s[-1, -1])


@dataclass(frozen=True)
class _Genome:
    """Moments of the genome's factors and biases, by which new rows are determined.

    Attributes
    ----------
    m1
        E[[G;1][G;1]ᵀ]: (L+1 × L+1).
    ones, with_r
        E[[G;1]] and E[[G;1] r]: (L+1,).
    with_y
        E[[G;1] y] of each new experiment: (n × L+1).
    """

    m1: Array
    ones: Array
    with_r: Array
    with_y: Array

    @classmethod
    def of(cls, s: Array, model: CPModel, prior: RowPrior, n_new: int) -> _Genome:
        rank = model.rank
        moments = s / s[-1, -1]
        ones = np.append(moments[:rank, -1], 1.0)
        m1 = np.empty((rank + 1, rank + 1))
        m1[:-1, :-1] = moments[:rank, :rank]
        m1[-1], m1[:, -1] = ones, ones
        with_r = np.append(moments[:rank, rank], moments[-1, rank])
        if prior.em:
            # G is uncertain: its posterior covariance counts, too.
            z, _ = model.design(model.train)
            k = z @ z.T
            k[np.arange(rank), np.arange(rank)] += model.lambda_g
            posterior = model.lambda_g * scipy.linalg.cho_solve(
                scipy.linalg.cho_factor(k, lower=True), np.eye(rank + 1)
            )
            m1[:-1, :-1] += posterior[:-1, :-1]
            with_r[:-1] += posterior[:-1, -1]
        columns = range(rank + 1, rank + 1 + n_new)
        with_y = [np.append(moments[:rank, column], moments[-1, column]) for column in columns]
        return cls(m1, ones, with_r, np.array(with_y))


def _rows(
    genome: _Genome,
    new: Sequence[Experiment],
    prior: RowPrior,
    names: Sequence[str],
    side: int,
    model: CPModel,
) -> Array:
    """Rows [C_c ; p_c] or [A_a ; q_a] of new names, (len(names) × L+1), given those of the other side.

    `side` is 0 for cell types and 1 for assays.
    """
    rank = model.rank
    known = (model.c, model.a)[side]
    other_names = (model.assays, model.cell_types)[side]
    others = (np.column_stack([model.a, model.q]), np.column_stack([model.c, model.p]))[side]
    rows = np.empty((len(names), rank + 1))
    for index, name in enumerate(names):
        system, right = np.zeros_like(genome.m1), np.zeros(rank + 1)
        for experiment, with_y in zip(new, genome.with_y, strict=True):
            if experiment[side] != name:
                continue
            other = others[other_names.index(experiment[1 - side])]
            d = np.append(other[:-1], 1.0)
            system += np.outer(d, d)
            right += d * (with_y - (model.mu + other[-1]) * genome.ones - genome.with_r)
        system *= genome.m1
        system[np.arange(rank), np.arange(rank)] += prior.penalty
        if prior.em:
            right[:-1] += prior.penalty * known.mean(axis=0)
        try:
            rows[index] = scipy.linalg.cho_solve(scipy.linalg.cho_factor(system, lower=True), right)
        except scipy.linalg.LinAlgError as err:
            raise DataError(
                f"the tracks of {name} do not determine its factors; give more of its tracks, or a `penalty`"
            ) from err
    return rows


def _inserted(
    names: tuple[str, ...], rows: Array, new: Sequence[str], new_rows: Array
) -> tuple[tuple[str, ...], Array]:
    """Names and rows with new ones in their place of the alphabet."""
    every = [*names, *new]
    order = sorted(range(len(every)), key=every.__getitem__)
    return tuple(every[i] for i in order), np.vstack([rows, new_rows])[order]
