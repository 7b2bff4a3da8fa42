"""Fits of the CP model from second moments: several starts, early stopping, and the choice of rank and penalty."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
import numpy.typing as npt

from predictd.config import AlsSettings
from predictd.interrupt import give_up_if_asked
from predictd.model.cp.als import CPProblem, GenomeMoments, Point, descend
from predictd.model.cp.factors import solve_genome
from predictd.model.moments import squared_errors

Index = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Validation:
    """Experiments that decide when to stop.

    Attributes
    ----------
    s
        (N+1 × N+1) moments of all experiments.
    inputs, targets
        Columns of the training and of the validation experiments.
    cells, assays
        Cell type and assay row of each validation experiment.
    """

    s: npt.NDArray[np.float64]
    inputs: Index
    targets: Index
    cells: Index
    assays: Index

    def mse(self, problem: CPProblem, point: Point) -> float:
        """Mean squared error over the validation experiments, before clipping, over all complete bins.

        It is that of the model at `point`. A descent's own weights will not do: they are solved before rebalancing.
        """
        z_train, o = problem.design(point)
        c, a = point.c[self.cells], point.a[self.assays]
        z = c * a
        z[:, -1] = 1.0
        solution = solve_genome(z_train, point.lambda_g)
        intercept = problem.mu + c[:, -1] + a[:, -1] - z @ (solution @ o)
        errors = squared_errors(self.s, z, intercept, self.inputs, self.targets, basis=solution)
        return float(errors.mean())


@dataclass(frozen=True)
class BestPoint:
    """What a descent came to.

    Attributes
    ----------
    point
        The best parameters.
    value
        Objective there.
    validation_mse
        Mean squared error on the validation experiments; NaN without any.
    sweeps
        Made until the best.
    history
        (sweep, objective, validation MSE) at each evaluation of the start that was kept.
    """

    point: Point
    value: float
    validation_mse: float
    sweeps: int
    history: tuple[tuple[int, float, float], ...]


def fit(
    problem: CPProblem,
    rank: int,
    settings: AlsSettings,
    *,
    seed: int,
    lambda_g: float,
    validation: Validation | None = None,
    sweeps: int | None = None,
) -> BestPoint:
    """Descend from several starts, go on with the best of them, and stop early.

    Parameters
    ----------
    problem
        Moments, training experiments, objective.
    rank
        L.
    settings
        Starts, sweeps, tolerances.
    seed
        Of the starts.
    lambda_g
        λ_G of ALS; EM estimates σ² instead.
    validation
        Decides when to stop; None: the objective does.
    sweeps
        Without validation, how many to make (what an earlier search found); None: until the objective settles.

    Returns
    -------
    BestPoint
        Of the start with the lowest objective after `start_sweeps`.
    """
    runs = []
    for start in range(settings.starts):
        point = problem.start(rank, np.random.default_rng([seed, start]), lambda_g=lambda_g)
        run = _Run(problem, descend(problem, point), settings, validation)
        run.advance(min(settings.start_sweeps, sweeps or settings.start_sweeps) if settings.starts > 1 else 0)
        runs.append(run)
    best = min(runs, key=lambda run: run.value)
    best.advance((sweeps or settings.max_sweeps) - best.done, until_settled=sweeps is None)
    return best.result()


class _Run:
    """One descent: advances, evaluates, remembers its best."""

    def __init__(
        self,
        problem: CPProblem,
        path: Iterator[GenomeMoments],
        settings: AlsSettings,
        validation: Validation | None,
    ) -> None:
        self.problem = problem
        self.path = path
        self.settings = settings
        self.validation = validation
        self.done = 0
        self.value = np.inf
        self.history: list[tuple[int, float, float]] = []
        self.best: tuple[float, int, GenomeMoments] | None = None

    def advance(self, sweeps: int, *, until_settled: bool = False) -> None:
        """Make so many sweeps, or fewer if the descent settles or its best grows old."""
        last = self.done + sweeps
        while self.done < last:
            # Of thousands of experiments a fit takes minutes.
            give_up_if_asked()
            genome = next(self.path)
            self.done += 1
            change = abs(self.value - genome.value)
            self.value = genome.value
            settled = change < self.settings.tolerance * (abs(genome.value) + self.problem.scale)
            if settled or self.done == last or self.done % self.settings.evaluate_every == 0:
                stale = self._evaluate(genome)
                if until_settled and (settled or stale):
                    return

    def _evaluate(self, genome: GenomeMoments) -> bool:
        """Take note of a point; true when the best is so old that going on is in vain."""
        mse = self.validation.mse(self.problem, genome.point) if self.validation else np.nan
        score = mse if self.validation else genome.value
        self.history.append((self.done, genome.value, mse))
        if self.best is None or score < self.best[0]:
            self.best = (score, self.done, genome)
        return self.done - self.best[1] >= self.settings.patience

    def result(self) -> BestPoint:
        assert self.best is not None
        score, sweeps, genome = self.best
        mse = score if self.validation else np.nan
        return BestPoint(genome.point, genome.value, mse, sweeps, tuple(self.history))


@dataclass(frozen=True)
class GridChoice:
    """Rank and penalty with the score that chose them, and all that were tried."""

    rank: int
    regularisation: float
    score: float
    tried: tuple[tuple[int, float, float], ...]


def choose(
    score: Callable[[Sequence[tuple[int, float]]], Sequence[float]],
    ranks: Sequence[int],
    regularisations: Sequence[float],
    start: float,
) -> GridChoice:
    """Coordinate search over rank and penalty: the best rank, the best penalty for it, and so on until nothing moves.

    Parameters
    ----------
    score
        Scores of several (rank, λ), smaller is better; called with those not tried yet.
    ranks, regularisations
        The grid, ascending.
    start
        The penalty with which the ranks are first compared; one of the grid.

    Returns
    -------
    GridChoice
        Of equal scores the smaller rank, then the larger penalty.
    """
    known: dict[tuple[int, float], float] = {}

    def compare(candidates: list[tuple[int, float]]) -> tuple[int, float]:
        new = [candidate for candidate in candidates if candidate not in known]
        if new:
            known.update(zip(new, score(new), strict=True))
        return min(candidates, key=lambda candidate: (known[candidate], candidate[0], -candidate[1]))

    best = (-1, start)
    for turn in count():
        line = (
            [(rank, best[1]) for rank in ranks] if turn % 2 == 0 else [(best[0], x) for x in regularisations]
        )
        found = compare(line)
        if turn > 0 and found == best:
            break
        best = found
    return GridChoice(*best, known[best], tuple((*key, value) for key, value in sorted(known.items())))
