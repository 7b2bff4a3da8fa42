"""Alternating least squares and EM for the CP model on second moments alone.

With G and r eliminated, a sweep costs O(n²L + nL² + (n_c + n_a)L³), whatever the number of bins: the data enter
only through S = [Y 1]ᵀ[Y 1]. `CPProblem.genome` solves G in closed form and gives the moments of [G ; r];
`CPProblem.sweep` updates cell types, then assays, from them. (Carroll, Pruzansky & Kruskal 1980 compress a tensor
along its long mode the same way.)

ALS minimises the penalised objective J. EM maximises the likelihood of probabilistic CP (G ~ N(0, I), noise σ², r
flat), for which the same equations hold with λ_G = σ² and the posterior covariance V added to the moments; λ is
then the strength, a bin, of a prior that draws the rows of C and of A towards their means, C_c ~ N(C̄, I/λ). A row
that few experiments determine is so imputed like the average one, which is what a tensor of few experiments needs;
λ = 0 is plain maximum likelihood.

`reference_als` has both from the full data.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import scipy

from predictd.errors import DataError
from predictd.model.cp.factors import DEAD, CPModel
from predictd.model.cp.sgd import main_effects
from predictd.model.moments import CONSTANT
from predictd.pairs import Experiment, axes, positions, rows_of

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]
# Largest step of the extrapolation, as a share of the last one.
_MAX_MOMENTUM = 0.95
# Share of the signal's energy (over σ² for EM) by which rounding may lift the objective.
_ROUNDING = 1e-13
# Share of the signal's variance under which noise cannot be distinguished from the rounding of float32 moments; EM
# stops there.
_LEAST_NOISE = 1e-8
# Eigenvalue, relative to the largest, under which a direction of a row is left open by its least-squares system.
_SINGULAR = 1e-13


@dataclass(frozen=True)
class Point:
    """Parameters of cell types and assays.

    Attributes
    ----------
    c, a
        Rows [C_c ; p_c] and [A_a ; q_a]: float64 (n_cells × L+1), (n_assays × L+1).
    lambda_g
        λ_G of the closed form; for EM the noise σ².
    """

    c: Array
    a: Array
    lambda_g: float

    def towards(self, earlier: Point, momentum: float) -> Point:
        """The point beyond this one, as seen from an earlier one; positive λ_G on a logarithmic scale."""
        return Point(
            self.c + momentum * (self.c - earlier.c),
            self.a + momentum * (self.a - earlier.a),
            self.lambda_g * (self.lambda_g / earlier.lambda_g) ** momentum,
        )


@dataclass(frozen=True)
class GenomeMoments:
    """What is known of [G ; r] given the parameters of cell types and assays.

    Attributes
    ----------
    point
        Those parameters, rebalanced.
    value
        For ALS J of `point` and this G; for EM −2 log-posterior a bin of `point`, less its constant (n − 1) log 2π
        + log n.
    rounding
        How far `value` may be off.
    mean
        E [G ; r]: (L+1,).
    products
        E [G ; r] (y − E y)ᵀ: (L+1 × n).
    squares
        E [G ; r] [G ; r]ᵀ, for EM with the posterior covariance: (L+1 × L+1).
    """

    point: Point
    value: float
    rounding: float
    mean: Array
    products: Array
    squares: Array


@dataclass(frozen=True)
class _Mode:
    """Cell types, or assays.

    Attributes
    ----------
    members
        1 where a training experiment is of a cell type (or assay), otherwise 0: float64 (cell types × n experiments).
    observed
        1 where a cell type was observed in an assay: float64 (cell types × assays); transposed for assays.
    other_of
        Assay (or cell type) of each training experiment: intp (n,).
    """

    members: Array
    observed: Array
    other_of: Index

    @classmethod
    def of(cls, row_of: Index, n_rows: int, other_of: Index, n_others: int) -> _Mode:
        observed = np.zeros((n_rows, n_others))
        observed[row_of, other_of] = 1.0
        return cls(np.equal.outer(np.arange(n_rows), row_of).astype(np.float64), observed, other_of)


class CPProblem:
    """Fit of cell types and assays to the moments of training experiments.

    Parameters
    ----------
    s
        (N+1 × N+1) moments of all experiments of a tensor.
    experiments
        The N experiments in the order of `s`.
    train
        Those that are fitted.
    regularisation
        λ = λ_C = λ_A of J; for EM the strength of the prior.
    em
        Whether the likelihood is maximised instead of J minimised.

    Raises
    ------
    DataError
        If a cell type or assay has no training experiment, there is no complete bin, or all signal is constant.
    """

    def __init__(
        self,
        s: Array,
        experiments: list[Experiment],
        train: tuple[Experiment, ...],
        *,
        regularisation: float = 0.0,
        em: bool = False,
    ) -> None:
        n_bins = s[-1, -1]
        if n_bins < 1:
            raise DataError("there is no complete bin to learn from")
        self.cell_types, self.assays = axes(experiments)
        self.train = train
        self.regularisation = regularisation
        self.em = em
        columns = positions(train, experiments)
        # Centred, so that a mean far from 0 costs no digits in the sweeps.
        self.means: Array = s[-1, columns] / n_bins
        squares = s[columns, columns] / n_bins
        self.covariance: Array = s[np.ix_(columns, columns)] / n_bins - np.outer(self.means, self.means)
        self.cells, self.assay_rows = rows_of(train, self.cell_types, self.assays)
        self.mu = float(self.means.mean())
        self._buffers: dict[tuple[str, int, int], Array] = {}
        self._modes = (
            _Mode.of(self.cells, len(self.cell_types), self.assay_rows, len(self.assays)),
            _Mode.of(self.assay_rows, len(self.assays), self.cells, len(self.cell_types)),
        )
        for names, mode, what in zip(
            (self.cell_types, self.assays), self._modes, ("cell type", "assay"), strict=True
        ):
            counts = mode.observed.sum(axis=1)
            if not counts.all():
                raise DataError(f"{what} {names[int(np.argmin(counts))]} has no training experiment")
        variances = np.diag(self.covariance)
        if (variances <= CONSTANT * squares).all():
            raise DataError(
                f"every training experiment is constant over the {n_bins:.0f} complete bins: there is nothing to learn"
            )
        self.variance = float(variances.mean())
        self._total_variance = float(np.trace(self.covariance))
        self._least_noise = _LEAST_NOISE * self.variance

    @property
    def n(self) -> int:
        """Number of training experiments."""
        return len(self.train)

    @property
    def scale(self) -> float:
        """What changes of the objective are compared with: J has the signal's unit squared, a likelihood none."""
        return float(self.n) if self.em else self.n * self.variance

    def start(self, rank: int, rng: np.random.Generator, *, lambda_g: float) -> Point:
        """Random factors of the size of the signal, biases from main effects.

        With G of unit variance the n signals' variance beyond the main effects is spread evenly over the components.
        """
        effects = main_effects(
            self.means[np.newaxis], self.cells, self.assay_rows, len(self.cell_types), len(self.assays)
        )
        scale = (self.variance / rank) ** 0.25
        c = np.column_stack([rng.normal(0.0, scale, (len(self.cell_types), rank)), effects.cells])
        a = np.column_stack([rng.normal(0.0, scale, (len(self.assays), rank)), effects.assays])
        return Point(c, a, 0.5 * self.variance if self.em else lambda_g)

    def genome(self, point: Point) -> GenomeMoments:
        """Solve [G ; r] in closed form, rebalance (ALS), and take its moments.

        Raises
        ------
        DataError
            If the factors have grown so large in comparison with λ_G that float64 cannot solve for the genome.
        """
        if self.em:
            point = replace(point, lambda_g=max(point.lambda_g, self._least_noise))
        z, o = self.design(point)
        rank = len(z) - 1
        k = z @ z.T
        k[np.arange(rank), np.arange(rank)] += point.lambda_g
        # What SciPy's cho_factor and cho_solve call: on matrices this small they take longer than LAPACK.
        factor, failed = scipy.linalg.lapack.dpotrf(k, lower=True, clean=False)
        if failed or not np.isfinite(k).all():
            raise DataError(
                f"rank {rank} cannot be fitted to {self.n} training experiments with lambda {self.regularisation:g}: "
                "the equations for the genome cannot be solved; use a smaller `rank` or a larger `penalty`"
            )
        solution, _ = scipy.linalg.lapack.dpotrs(factor, z, lower=True)
        left = self.means - o
        mean = solution @ left
        products = solution @ self.covariance
        squares = products @ solution.T + mean[:, np.newaxis] * mean
        total = self._total(left)
        # (y − o)ᵀ(I − Zᵀ K⁻¹ Z)(y − o): squared errors and the penalty of G at its best.
        energy = max(total - float(np.einsum("ij,ij->", z, products)) - float(mean @ z @ left), 0.0)
        if self.em:
            log_k = 2.0 * float(np.log(np.diag(factor)).sum())
            value = (self.n - rank - 1) * np.log(point.lambda_g) + log_k + energy / point.lambda_g
            value += self.regularisation * (_spread(point.c[:, :-1]) + _spread(point.a[:, :-1]))
            squares += point.lambda_g * scipy.linalg.lapack.dpotrs(factor, np.eye(rank + 1), lower=True)[0]
            return GenomeMoments(point, value, _ROUNDING * total / point.lambda_g, mean, products, squares)
        solved = GenomeMoments(point, energy, _ROUNDING * total, mean, products, squares)
        return self._rebalanced(solved) if self.regularisation > 0 else solved

    def sweep(self, genome: GenomeMoments) -> Point:
        """Update cell types, then assays, then (EM) the noise."""
        point = genome.point
        c = self._rows(genome, point.c, point.a, self._modes[0])
        a = self._rows(genome, point.a, c, self._modes[1])
        moved = Point(c, a, point.lambda_g)
        return replace(moved, lambda_g=self._noise(genome, moved)) if self.em else moved

    def model(self, point: Point) -> CPModel:
        """The model at a point."""
        return CPModel(
            cell_types=tuple(self.cell_types),
            assays=tuple(self.assays),
            c=point.c[:, :-1],
            a=point.a[:, :-1],
            p=point.c[:, -1],
            q=point.a[:, -1],
            mu=self.mu,
            lambda_g=point.lambda_g,
            train=self.train,
        )

    def design(self, point: Point) -> tuple[Array, Array]:
        """Z (L+1 × n), columns [C_c ∘ A_a ; 1], and o = μ + p_c + q_a (n,) of the training experiments."""
        c, a = point.c[self.cells], point.a[self.assay_rows]
        z = (c * a).T
        z[-1] = 1.0
        return z, self.mu + c[:, -1] + a[:, -1]

    # -- pieces ---------------------------------------------------------------------------------------------------

    def _total(self, left: Array) -> float:
        """E ‖y − o‖² with left = E y − o."""
        return self._total_variance + float(left @ left)

    def _rebalanced(self, genome: GenomeMoments) -> GenomeMoments:
        """Scale each component so that λ‖c_l‖² = λ‖a_l‖² = λ_G E g_l²: the cheapest way to write the same product."""
        point, penalty = genome.point, self.regularisation
        g_size = np.sqrt(np.maximum(np.diag(genome.squares)[:-1], 0.0))
        sizes = np.stack([*(np.linalg.norm(rows[:, :-1], axis=0) for rows in (point.c, point.a)), g_size])
        alive = sizes.min(axis=0) > DEAD
        sizes *= np.sqrt([[penalty], [penalty], [point.lambda_g]])
        scales = np.divide(np.cbrt(sizes.prod(axis=0)), sizes, out=np.ones_like(sizes), where=alive)
        # The value holds the penalty of G as it was, and none yet of C and A.
        value = genome.value + float(np.square(scales * sizes).sum() - np.square(sizes[2]).sum())
        c_scale, a_scale, g_scale = np.column_stack([scales, np.ones(3)])
        return GenomeMoments(
            Point(point.c * c_scale, point.a * a_scale, point.lambda_g),
            value,
            genome.rounding,
            genome.mean * g_scale,
            genome.products * g_scale[:, np.newaxis],
            genome.squares * np.outer(g_scale, g_scale),
        )

    def _rows(self, genome: GenomeMoments, rows: Array, others: Array, mode: _Mode) -> Array:
        """Least squares for the rows of one mode given those of the other.

        (M1 ∘ Σ_a d_a d_aᵀ + λD) [C_c ; p_c] = Σ_a d_a ∘ (E[[G;1] y_ca] − (μ + q_a) E[G;1] − E[[G;1] r]), with d_a =
        [A_a ; 1] and M1 = E [G;1][G;1]ᵀ (y and μ + q_a less E y here); the same with cell types and assays
        exchanged. For EM λ is σ² times the prior's strength, and λ C̄ is added on the right.

        Without a penalty a system is singular where a component has died or the rank is beyond the experiments: the
        row with the smallest change is taken then, so that what the data leave open stays as it is.
        """
        squares, mean = genome.squares, genome.mean
        rank = len(squares) - 1
        m1 = squares.copy()
        m1[-1, :-1] = m1[:-1, -1] = mean[:-1]
        m1[-1, -1] = 1.0
        with_r = squares[:, -1].copy()
        with_r[-1] = mean[-1]
        with_y = genome.products.copy()
        with_y[-1] = 0.0
        d = others.copy()
        d[:, -1] = 1.0
        offsets = self.mu + others[mode.other_of, -1] - self.means
        right = d[mode.other_of] * (with_y - m1[-1][:, np.newaxis] * offsets - with_r[:, np.newaxis]).T
        target = mode.members @ right
        outer, systems = self._buffer("outer", len(d), rank), self._buffer("systems", len(rows), rank)
        np.multiply(d[:, :, np.newaxis], d[:, np.newaxis, :], out=outer)
        np.matmul(mode.observed, outer.reshape(len(d), -1), out=systems.reshape(len(rows), -1))
        systems *= m1
        penalty = self.regularisation
        if self.em:
            penalty *= genome.point.lambda_g
            target[:, :-1] += penalty * _mean_row(rows[:, :-1])
        diagonals = systems.reshape(len(rows), -1)[:, :: rank + 2]
        diagonals[:, :-1] += penalty
        # No entry of a positive definite matrix is larger than the largest of its diagonal.
        if penalty > _SINGULAR * float(diagonals.max()):
            return _solve_positive(systems, target)
        change = target - np.einsum("kij,kj->ki", systems, rows)
        inverses = np.linalg.pinv(systems, rcond=_SINGULAR, hermitian=True)
        return rows + np.einsum("kij,kj->ki", inverses, change)

    def _buffer(self, role: str, n_rows: int, rank: int) -> Array:
        """Scratch of n_rows matrices; allocating these again would take longer than filling them."""
        key = (role, n_rows, rank)
        if key not in self._buffers:
            self._buffers[key] = np.empty((n_rows, rank + 1, rank + 1))
        return self._buffers[key]

    def _noise(self, genome: GenomeMoments, point: Point) -> float:
        """σ² at which the expected complete-data likelihood is highest."""
        z, o = self.design(point)
        left = self.means - o
        cross = np.einsum("ij,ij->", z, genome.products) + genome.mean @ z @ left
        fit = np.einsum("ij,ij->", z @ z.T, genome.squares)
        return max(float(self._total(left) - 2 * cross + fit) / self.n, self._least_noise)


def descend(problem: CPProblem, start: Point) -> Iterator[GenomeMoments]:
    """Sweep on and on with extrapolation; the objective of what is yielded never rises.

    x ← x_k + β (x_k − x_{k−1}) with β = min(0.95, k/(k+3)); where the objective rose, back to x_k and k from 0.
    """
    current = previous = start
    last = np.inf
    k = 0
    while True:
        momentum = min(_MAX_MOMENTUM, k / (k + 3))
        genome = problem.genome(current.towards(previous, momentum))
        if k and genome.value > last + genome.rounding:
            k = 0
            genome = problem.genome(current)
        last = genome.value
        yield genome
        k += 1
        previous, current = current, problem.sweep(genome)


def _solve_positive(systems: Array, right: Array) -> Array:
    """Solve positive definite systems (k × m × m) for vectors (k × m): half the work of NumPy's batched solve."""
    solved = np.empty_like(right)
    for index, (system, vector) in enumerate(zip(systems, right, strict=True)):
        # The transpose of a symmetric matrix in C order is itself in the order that LAPACK reads without a copy.
        _, solved[index], failed = scipy.linalg.lapack.dposv(system.T, vector, lower=True)
        if failed:
            raise DataError("the equations for cell types and assays are singular; use a larger `penalty`")
    return solved


def _spread(factors: Array) -> float:
    """Sum of squared distances of rows from their mean."""
    return float(np.square(factors - _mean_row(factors)).sum())


def _mean_row(rows: Array) -> Array:
    """As `rows.mean(axis=0)`, which takes several times as long where rows are few."""
    return np.asarray(np.add.reduce(rows, axis=0) / len(rows))
