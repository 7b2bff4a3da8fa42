"""ALS and EM for the CP model from the full data, in plain NumPy: what `als` does on moments is tested against it.

Nothing is eliminated here: each bin has its own G and r, each row of cell types and assays is a least-squares
problem over all bins of its experiments, and the Gaussian likelihood has its n × n covariance matrix.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from predictd.model.cp import reference
from predictd.model.cp.reference import closed_form_genome

Array = NDArray[np.float64]


@dataclass(frozen=True)
class FullData:
    """Training experiments and the fixed numbers of a fit.

    Attributes
    ----------
    y
        (B, n) signal.
    cells, assays
        (n,) rows of C and of A.
    mu
        μ.
    regularisation
        λ = λ_C = λ_A; for EM the strength of the prior.
    """

    y: Array
    cells: NDArray[np.intp]
    assays: NDArray[np.intp]
    mu: float
    regularisation: float


@dataclass(frozen=True)
class Parameters:
    """Rows [C_c ; p_c] and [A_a ; q_a], and λ_G, which is σ² for EM."""

    c: Array
    a: Array
    lambda_g: float


@dataclass(frozen=True)
class Genome:
    """Rows [G_g ; r_g] (B, L + 1), and the posterior covariance of each (L + 1, L + 1), which is zero for ALS."""

    rows: Array
    covariance: Array


def design(data: FullData, at: Parameters) -> tuple[Array, Array]:
    """Return Z (L + 1, n) and o (n,)."""
    z = np.vstack([(at.c[data.cells, :-1] * at.a[data.assays, :-1]).T, np.ones(data.y.shape[1])])
    return z, data.mu + at.c[data.cells, -1] + at.a[data.assays, -1]


def solve_genome(data: FullData, at: Parameters, *, em: bool) -> Genome:
    """Solve every bin: the minimum of J, or the posterior given the others (G ~ N(0, I), r flat, noise σ²)."""
    z, o = design(data, at)
    precision = (z @ z.T + at.lambda_g * np.diag([*[1.0] * (len(z) - 1), 0.0])) / at.lambda_g
    covariance = np.linalg.inv(precision) if em else np.zeros_like(precision)
    return Genome(closed_form_genome(z, at.lambda_g, data.y - o), covariance)


def rebalance(data: FullData, at: Parameters, genome: Genome) -> tuple[Parameters, Genome]:
    """Scale the components such that λ‖c_l‖² = λ‖a_l‖² = λ_G‖g_l‖² / B; their products stay."""
    c, a, g = at.c.copy(), at.a.copy(), genome.rows.copy()
    for component in range(c.shape[1] - 1):
        columns = c[:, component], a[:, component], g[:, component]
        weights = data.regularisation, data.regularisation, at.lambda_g / len(g)
        sizes = [np.sqrt(w * np.sum(x**2)) for w, x in zip(weights, columns, strict=True)]
        for x, size in zip(columns, sizes, strict=True):
            x *= np.prod(sizes) ** (1 / 3) / size
    return Parameters(c, a, at.lambda_g), Genome(g, genome.covariance)


def penalised_error(data: FullData, at: Parameters, genome: Genome) -> float:
    """Return J."""
    x = reference.Parameters(
        mu=data.mu,
        cells=at.c[:, :-1],
        assays=at.a[:, :-1],
        genome=genome.rows[:, :-1],
        cell_biases=at.c[:, -1],
        assay_biases=at.a[:, -1],
        bin_biases=genome.rows[:, -1],
    )
    lambdas = reference.Lambdas(data.regularisation, data.regularisation, at.lambda_g)
    return reference.objective(data.y, data.cells, data.assays, x, lambdas)


def sweep(data: FullData, at: Parameters, genome: Genome, *, em: bool) -> Parameters:
    """Update cell types, then assays, then (EM) σ², each to the best given all others."""
    penalty = data.regularisation * (at.lambda_g if em else 1.0)
    c = _update_rows(data, at.c, at.a, data.cells, data.assays, genome, penalty, to_mean=em)
    a = _update_rows(data, at.a, c, data.assays, data.cells, genome, penalty, to_mean=em)
    moved = replace(at, c=c, a=a)
    return replace(moved, lambda_g=_expected_error(data, moved, genome)) if em else moved


def deviance(data: FullData, at: Parameters) -> float:
    """Return −2 log-likelihood a bin plus the prior's penalty, G and r integrated out; what EM lowers.

    With r flat only contrasts of the experiments tell anything, n − 1 of them (restricted likelihood: Patterson &
    Thompson 1971). They are Gaussian with covariance Qᵀ(Σ_l z_l z_lᵀ + σ² I)Q, the columns of Q orthonormal and
    Qᵀ1 = 0.
    """
    z, o = design(data, at)
    n = len(o)
    contrasts = np.linalg.svd(np.eye(n) - 1.0 / n)[0][:, : n - 1]
    covariance = contrasts.T @ (z[:-1].T @ z[:-1] + at.lambda_g * np.eye(n)) @ contrasts
    residuals = (data.y - o) @ contrasts
    distance = np.sum(residuals * np.linalg.solve(covariance, residuals.T).T) / len(residuals)
    spread = sum(np.sum((x - x.mean(axis=0)) ** 2) for x in (at.c[:, :-1], at.a[:, :-1]))
    constant = (n - 1) * np.log(2 * np.pi)
    return float(constant + np.linalg.slogdet(covariance)[1] + distance + data.regularisation * spread)


def _update_rows(
    data: FullData,
    rows: Array,
    others: Array,
    row_of: NDArray[np.intp],
    other_of: NDArray[np.intp],
    genome: Genome,
    penalty: float,
    *,
    to_mean: bool,
) -> Array:
    """Least squares for each row of one mode, over all bins of its experiments.

    The expected squared error of a bin is that at the posterior mean plus hᵀVh with h = [C_c ∘ A_a ; 1], the
    squared length of h under any root of V: a few more rows of the same least-squares problem. Of several solutions
    the nearest to the old row is taken.
    """
    n_bins, rank = len(data.y), rows.shape[1] - 1
    root = np.linalg.cholesky(genome.covariance).T if genome.covariance.any() else genome.covariance
    mean = rows[:, :-1].mean(axis=0) if to_mean else np.zeros(rank)
    updated = np.empty_like(rows)
    for row in range(len(rows)):
        left, right = [np.sqrt(n_bins * penalty) * np.eye(rank, rank + 1)], [np.sqrt(n_bins * penalty) * mean]
        for experiment in np.flatnonzero(row_of == row):
            other = others[other_of[experiment]]
            left.append(np.column_stack([other[:-1] * genome.rows[:, :-1], np.ones(n_bins)]))
            right.append(data.y[:, experiment] - data.mu - other[-1] - genome.rows[:, -1])
            scaled = np.sqrt(n_bins) * root
            left.append(np.column_stack([other[:-1] * scaled[:, :-1], np.zeros(rank + 1)]))
            right.append(-scaled[:, -1])
        matrix = np.vstack(left)
        change = np.linalg.lstsq(matrix, np.concatenate(right) - matrix @ rows[row], rcond=1e-7)[0]
        updated[row] = rows[row] + change
    return updated


def _expected_error(data: FullData, at: Parameters, genome: Genome) -> float:
    """Expected squared error a bin and experiment: the σ² of EM's maximisation."""
    z, o = design(data, at)
    errors = data.y - o - genome.rows @ z
    spread = np.sum(z * (genome.covariance @ z))
    return float((np.sum(errors**2) / len(errors) + spread) / len(o))
