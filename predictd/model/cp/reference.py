"""The mathematics in plain NumPy: slow, readable, and what the fast code is tested against."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from predictd.kernels import RowArrays, UpdateRule

Array = NDArray[np.float64]


def draws(
    stream: int, first: int, count: int, n_pairs: int, n_bins: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return what draws first … first + count − 1 of a stream choose.

    Draw k is number k of splitmix64 (Steele, Lea & Flood 2014) from the state `stream`, made from k alone.
    Its high 32 bits choose the training experiment and its low 32 bits the bin: u·n / 2^32, rounded down.

    Returns
    -------
    pairs, bins
        (count,) int64 each, uniform in [0, n_pairs) and [0, n_bins); n_pairs, n_bins < 2^32.
    """
    k = np.arange(count, dtype=np.uint64) + np.uint64(first)
    z = np.uint64(stream) + (k + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    high, low = z >> np.uint64(32), z & np.uint64(0xFFFFFFFF)
    pairs = (high * np.uint64(n_pairs)) >> np.uint64(32)
    bins = (low * np.uint64(n_bins)) >> np.uint64(32)
    return pairs.astype(np.int64), bins.astype(np.int64)


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
    """Make `count` updates of stochastic gradient descent in place; `predictd.kernels.sgd_updates` in NumPy.

    Durham et al. 2018 (Nat. Commun. 9:1402), Methods. The arithmetic is float64; rows of float32 are rounded
    when they are written.
    """
    total = 0.0
    nadam_settings = (rule.learning_rate, rule.beta1, rule.beta2, rule.epsilon, rule.decay)
    for pair, g in zip(*draws(stream, first, count, len(rule.pair_cells), len(bins.values)), strict=True):
        c, a = rule.pair_cells[pair], rule.pair_assays[pair]
        cell, cell_bias = _split(cells.values[c, 0], rule.rank)
        assay, assay_bias = _split(assays.values[a, 0], rule.rank)
        bin_, bin_bias = _split(bins.values[g, 0], rule.rank)
        error = rule.mu + cell_bias + assay_bias + bin_bias + np.sum(cell * assay * bin_) - y[g, pair]
        total += error**2

        # All gradients come from the values before the step; a bias has gradient e and no penalty.
        cell_gradient = np.append(error * assay * bin_ + rule.pen_cells[c] * cell, error)
        assay_gradient = np.append(error * cell * bin_ + rule.pen_assays[a] * assay, error)
        bin_gradient = np.append(error * cell * assay + rule.pen_bins * bin_, error)
        nadam_step(cells.values[c], cells.scalars[c], cell_gradient, *nadam_settings)
        nadam_step(assays.values[a], assays.scalars[a], assay_gradient, *nadam_settings)
        nadam_step(bins.values[g], bins.scalars[g], bin_gradient, *nadam_settings)
    return float(total)


def nadam_step(
    values: NDArray[np.floating],
    scalars: Array,
    gradient: Array,
    learning_rate: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    decay: float,
) -> None:
    """Make one step of Nadam (Dozat 2016) on one row, in place.

    Parameters
    ----------
    values
        (3, at least L + 1): x, m, v.
    scalars
        (3,) float64: d1, d2, t.
    gradient
        (L + 1,) float64.
    """
    n = len(gradient)
    x, m, v = values[:, :n].astype(np.float64)
    d1, d2, t = scalars
    t += 1
    beta1_now = beta1 * (1 - decay) ** (t - 1)
    beta1_next = beta1 * (1 - decay) ** t
    rate = learning_rate * (1 - decay) ** (t - 1)

    m = beta1_now * m + (1 - beta1_now) * gradient
    v = beta2 * v + (1 - beta2) * gradient**2
    d1 = beta1_now * d1 + (1 - beta1_now)
    d2 = beta2 * d2 + (1 - beta2)
    g_hat = gradient / d1
    m_hat = m / (1 - beta1_next * (1 - d1))
    v_hat = v / d2
    x = x - rate * ((1 - beta1_now) * g_hat + beta1_next * m_hat) / (np.sqrt(v_hat) + epsilon)

    values[:, :n] = x, m, v
    scalars[:] = d1, d2, t


class Parameters(NamedTuple):
    """Factors (n_cells, L), (n_assays, L), (B, L), and the biases of each."""

    mu: float
    cells: Array
    assays: Array
    genome: Array
    cell_biases: Array
    assay_biases: Array
    bin_biases: Array


class Lambdas(NamedTuple):
    """Penalties of the objective."""

    cells: float
    assays: float
    genome: float


def objective(
    y: NDArray[np.floating],
    pair_cells: NDArray[np.integer],
    pair_assays: NDArray[np.integer],
    x: Parameters,
    lambdas: Lambdas,
) -> float:
    """Return J = (1/B) Σ_g [Σ_train e² + λ_G‖G_g‖²] + λ_C‖C‖² + λ_A‖A‖².

    Parameters
    ----------
    y
        (B, n_pairs): the training experiments.
    pair_cells, pair_assays
        (n_pairs,): rows of each of them.
    """
    products = x.cells[pair_cells] * x.assays[pair_assays]
    offsets = x.mu + x.cell_biases[pair_cells] + x.assay_biases[pair_assays]
    errors = x.genome @ products.T + x.bin_biases[:, np.newaxis] + offsets - y
    fit = np.sum(errors**2) + lambdas.genome * np.sum(x.genome**2)
    return float(fit / len(y) + lambdas.cells * np.sum(x.cells**2) + lambdas.assays * np.sum(x.assays**2))


def closed_form_genome(z: Array, lambda_g: float, residuals: Array) -> Array:
    """Return the rows [G_g, r_g] that minimise the objective, given the other factors.

    Parameters
    ----------
    z
        (L + 1, n): for each training experiment its column [C_c∘A_a ; 1].
    lambda_g
        λ_G; the bias r is free.
    residuals
        (n_bins, n): y − o, with o = μ + p_c + q_a.

    Returns
    -------
    ndarray
        (n_bins, L + 1): K⁻¹ Z (y − o) with K = Z Zᵀ + λ_G diag(1, …, 1, 0).
    """
    penalised = np.ones(len(z))
    penalised[-1] = 0
    k = z @ z.T + lambda_g * np.diag(penalised)
    return np.linalg.solve(k, z @ residuals.T).T


def _split(row: NDArray[np.floating], rank: int) -> tuple[Array, float]:
    """Return the factors of a padded row, and its bias, as float64."""
    return row[:rank].astype(np.float64), float(row[rank])
