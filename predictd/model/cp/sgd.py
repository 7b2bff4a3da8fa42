"""Parts of the paper's stochastic gradient descent: rows, starting values, merging of workers, stopping.

Durham et al. 2018 (Nat. Commun. 9:1402), Methods. The updates themselves are `predictd.kernels.sgd_updates`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from predictd.config import SgdSettings
from predictd.kernels import row_width

Array = NDArray[np.float64]

_ALIGNMENT = 64
# Penalties a draw of the paper's implementation, before they are divided by the number of values they act on.
_PAPER_CELLS, _PAPER_ASSAYS, _PAPER_BINS = 3.66, 1.23e-7, 1.23e-5


@dataclass(frozen=True, eq=False)
class Rows:
    """Factor rows with their biases and Nadam's state; the arrays may be changed, not replaced.

    Attributes
    ----------
    values
        (n_rows, 3, width) float32 or float64, C-contiguous: [:, 0] is x = [factors ; bias], [:, 1] is m and
        [:, 2] is v, padded with zeros to a multiple of 16.
    scalars
        (n_rows, 3) float64, C-contiguous: d1, d2, t, where t counts the updates of the row.
    """

    values: NDArray[Any]
    scalars: Array

    def __post_init__(self) -> None:
        if self.values.ndim != 3 or self.values.shape[1] != 3 or self.scalars.shape != (len(self.values), 3):
            raise ValueError(
                "rows need values (n_rows, 3, width) and scalars (n_rows, 3), "
                f"not {self.values.shape} and {self.scalars.shape}"
            )

    def __len__(self) -> int:
        return len(self.values)

    @classmethod
    def zeros(cls, n_rows: int, rank: int, dtype: DTypeLike = np.float32) -> Rows:
        """Return rows of zeros that were never updated."""
        return cls._allocate((n_rows, 3, row_width(rank)), dtype)

    @classmethod
    def from_factors(cls, factors: NDArray[Any], biases: NDArray[Any], dtype: DTypeLike = np.float32) -> Rows:
        """Return rows that were never updated.

        Parameters
        ----------
        factors
            (n_rows, L), finite.
        biases
            (n_rows,), finite.
        """
        n_rows, rank = factors.shape
        if biases.shape != (n_rows,):
            raise ValueError(f"{n_rows} rows need as many biases, not an array of shape {biases.shape}")
        if not (np.isfinite(factors).all() and np.isfinite(biases).all()):
            raise ValueError("factors and biases must be finite")
        rows = cls.zeros(n_rows, rank, dtype)
        rows.factors(rank)[:] = factors
        rows.biases(rank)[:] = biases
        return rows

    def factors(self, rank: int) -> NDArray[Any]:
        """Return the factors, (n_rows, L), as a view."""
        return self.values[:, 0, :rank]

    def biases(self, rank: int) -> NDArray[Any]:
        """Return the biases, (n_rows,), as a view."""
        return self.values[:, 0, rank]

    def touches_since(self, before: Rows) -> NDArray[np.int64]:
        """Return how often each row was updated since `before`, (n_rows,)."""
        return (self.scalars[:, 2] - before.scalars[:, 2]).astype(np.int64)

    def copy(self) -> Rows:
        """Return rows of their own."""
        rows = self._allocate(self.values.shape, self.values.dtype)
        rows.values[:] = self.values
        rows.scalars[:] = self.scalars
        return rows

    @classmethod
    def _allocate(cls, shape: tuple[int, ...], dtype: DTypeLike) -> Rows:
        return cls(_aligned_zeros(shape, dtype), _aligned_zeros((shape[0], 3), np.float64))


def _aligned_zeros(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Return zeros that start at a cache line, so that no vector of a row lies across two."""
    n_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.zeros(n_bytes + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + n_bytes].view(dtype).reshape(shape)


def draw_stream(seed: int, worker: int, round_: int) -> int:
    """Return the stream of draws of one worker in one round, a number below 2^64."""
    return int(np.random.SeedSequence([seed, worker, round_]).generate_state(1, np.uint64)[0])


def initial_factors(n_rows: int, rank: int, init: float, rng: np.random.Generator) -> Array:
    """Return factors uniform in (−init, init), (n_rows, L)."""
    return rng.uniform(-init, init, (n_rows, rank))


class MainEffects(NamedTuple):
    """μ and the biases: p (n_cells,), q (n_assays,), r (n_bins,), all float64."""

    mu: float
    cells: Array
    assays: Array
    bins: Array


def main_effects(
    y: NDArray[np.floating],
    pair_cells: NDArray[np.signedinteger],
    pair_assays: NDArray[np.signedinteger],
    n_cells: int,
    n_assays: int,
) -> MainEffects:
    """Return sequential main effects: each is the mean of what those before it leave.

    Cell types and assays without a training experiment get 0.

    Parameters
    ----------
    y
        (n_bins, n_pairs), finite.
    pair_cells, pair_assays
        (n_pairs,): the cell type and the assay of each column.
    """
    # No value is missing, so that effects of experiments are effects of the columns' means.
    means = y.mean(axis=0, dtype=np.float64)
    mu = float(means.mean())
    cells = _group_means(means - mu, pair_cells, n_cells)
    assays = _group_means(means - mu - cells[pair_cells], pair_assays, n_assays)
    bins = y.mean(axis=1, dtype=np.float64) - np.mean(mu + cells[pair_cells] + assays[pair_assays])
    return MainEffects(mu, cells, assays, bins)


def _group_means(values: Array, groups: NDArray[np.signedinteger], n_groups: int) -> Array:
    """Return the mean of each group's values; 0 for an empty group."""
    sums = np.bincount(groups, weights=values, minlength=n_groups)
    return sums / np.maximum(np.bincount(groups, minlength=n_groups), 1)


class Penalties(NamedTuple):
    """What a draw adds to the gradient per unit of the factor: (n_cells,), (n_assays,), one for all bins."""

    cells: Array
    assays: Array
    bins: float


def penalties(
    lambda_c: float,
    lambda_a: float,
    lambda_g: float,
    pair_cells: NDArray[np.int32],
    pair_assays: NDArray[np.int32],
    n_cells: int,
    n_assays: int,
) -> Penalties:
    """Return the penalties a draw whose expectation is the objective's: λ_C/n_c, λ_A/n_a, λ_G/n.

    n_c and n_a count the training experiments of a cell type and of an assay, n all of them; a row without
    any is never drawn and gets 0.
    """
    cell_counts = np.bincount(pair_cells, minlength=n_cells)
    assay_counts = np.bincount(pair_assays, minlength=n_assays)
    return Penalties(
        np.where(cell_counts > 0, lambda_c / np.maximum(cell_counts, 1), 0.0),
        np.where(assay_counts > 0, lambda_a / np.maximum(assay_counts, 1), 0.0),
        lambda_g / len(pair_cells),
    )


def paper_penalties(rank: int, n_cells: int, n_assays: int, n_bins: int) -> Penalties:
    """Return the paper's own penalties a draw, the same whatever a row's number of experiments.

    They belong to another objective than `penalties`. `n_bins` counts the bins trained on by all workers.
    """
    return Penalties(
        np.full(n_cells, _PAPER_CELLS / (rank * n_cells)),
        np.full(n_assays, _PAPER_ASSAYS / (rank * n_assays)),
        _PAPER_BINS / (rank * n_bins),
    )


def merge(parts: Sequence[Rows], before: Rows) -> Rows:
    """Average what the workers made of the same rows, weighted by how often each worker updated the row.

    x, m, v, d1 and d2 are averaged with weights touches_w / Σ touches, in the order given and in float64; a
    row that nobody updated stays; t grows by the most updates that one worker made.

    Parameters
    ----------
    parts
        Each worker's rows, in the order of ranks. Stacked arrays, (n_workers, n_rows, 3, width) and
        (n_workers, n_rows, 3), give them without copying: `[Rows(v, s) for v, s in zip(values, scalars)]`.
    before
        The rows that every worker started from.
    """
    if not parts:
        raise ValueError("nothing to merge: no worker gave rows")
    for rank, part in enumerate(parts):
        if part.values.shape != before.values.shape or part.values.dtype != before.values.dtype:
            raise ValueError(
                f"worker {rank} has rows {part.values.shape} of {part.values.dtype}, "
                f"but all started from {before.values.shape} of {before.values.dtype}"
            )
    touches = np.stack([part.touches_since(before) for part in parts])
    if touches.min(initial=0) < 0:
        raise ValueError("a worker's rows are older than those that all started from")
    total = touches.sum(axis=0)
    weights = touches / np.maximum(total, 1)

    values = np.zeros(before.values.shape)
    scalars = np.zeros((len(before), 2))
    for part, weight in zip(parts, weights, strict=True):
        values += weight[:, np.newaxis, np.newaxis] * part.values
        scalars += weight[:, np.newaxis] * part.scalars[:, :2]

    merged = before.copy()
    touched = total > 0
    merged.values[touched] = values[touched]
    merged.scalars[touched, :2] = scalars[touched]
    merged.scalars[:, 2] += touches.max(axis=0)
    return merged


class Verdict(Enum):
    """What to do after an evaluation."""

    CONTINUE = "continue"
    BEST = "best"
    """Go on, after keeping a copy of all state: it is the best so far."""
    RESTORE = "restore"
    """Go back to the copy last kept, and on from there with the rule's new learning rate and beta1."""
    STOP = "stop"
    """End with the copy last kept."""


class RateStage(NamedTuple):
    """Evaluations made with one learning rate and beta1, up to the best of them."""

    learning_rate: float
    beta1: float
    evaluations: int


class StoppingRule:
    """Decides after each evaluation how the descent goes on (Durham et al. 2018, Methods).

    Two windows of the history of validation errors, `window` evaluations each and `window_shift` apart, are
    compared by a one-sided rank-sum test: is the later one, with `min_improvement` added, greater? If so,
    there is no improvement any more: back to the best, with half the learning rate and less momentum
    (beta1 ← beta1 − (1 − beta1)), at most `max_restores` times. The history is cut back to the best too, and
    the test waits until both windows hold evaluations made since. The descent ends when the best is more than
    `patience` evaluations old.

    An evaluation at which the test says so is not taken as the best, even where it is the lowest by a trifle:
    what is restored is always the copy that the caller last kept.

    Attributes
    ----------
    learning_rate, beta1
        What to go on with.
    history
        The validation errors that were kept.
    """

    def __init__(self, settings: SgdSettings) -> None:
        self._settings = settings
        self.learning_rate = settings.learning_rate
        self.beta1 = settings.beta1
        self.history: list[float] = []
        self._best = -1
        self._stage_start = 0
        self._stages: list[RateStage] = []

    def add(self, mse: float) -> Verdict:
        """Take the next evaluation's mean squared error.

        Raises
        ------
        ValueError
            If it is not finite: the descent diverged.
        """
        if not np.isfinite(mse):
            raise ValueError(f"the validation error is {mse}: the descent diverged; lower the learning rate")
        self.history.append(float(mse))
        if len(self._stages) < self._settings.max_restores and self._stagnates():
            self._restore()
            return Verdict.RESTORE
        if self._best < 0 or mse < self.history[self._best]:
            self._best = len(self.history) - 1
            return Verdict.BEST
        if len(self.history) - 1 - self._best > self._settings.patience:
            return Verdict.STOP
        return Verdict.CONTINUE

    @property
    def best(self) -> float:
        """The lowest error kept; infinite before the first evaluation."""
        return self.history[self._best] if self._best >= 0 else float("inf")

    @property
    def schedule(self) -> list[RateStage]:
        """The stages that led to the best, for a refit to repeat; those that gave nothing are left out."""
        stages = [*self._stages, self._current_stage()]
        return [stage for stage in stages if stage.evaluations > 0]

    def state(self) -> dict[str, Any]:
        """Return all state as numbers and lists, for a checkpoint."""
        return {
            "learning_rate": self.learning_rate,
            "beta1": self.beta1,
            "history": list(self.history),
            "best": self._best,
            "stage_start": self._stage_start,
            "stages": [list(stage) for stage in self._stages],
        }

    @classmethod
    def from_state(cls, settings: SgdSettings, state: dict[str, Any]) -> StoppingRule:
        """Return the rule whose `state()` was kept."""
        rule = cls(settings)
        rule.learning_rate = float(state["learning_rate"])
        rule.beta1 = float(state["beta1"])
        rule.history = [float(mse) for mse in state["history"]]
        rule._best = int(state["best"])
        rule._stage_start = int(state["stage_start"])
        rule._stages = [RateStage(float(rate), float(beta1), int(n)) for rate, beta1, n in state["stages"]]
        return rule

    def _stagnates(self) -> bool:
        window, shift = self._settings.window, self._settings.window_shift
        recent = self.history[self._stage_start :]
        if len(recent) < window + shift:
            return False
        earlier = np.array(recent[-window - shift : -shift])
        later = np.array(recent[-window:]) + self._settings.min_improvement
        return rank_sum_p(later, earlier) < self._settings.significance

    def _restore(self) -> None:
        self._stages.append(self._current_stage())
        del self.history[self._best + 1 :]
        self._stage_start = len(self.history)
        self.learning_rate /= 2
        self.beta1 = max(self.beta1 - (1 - self.beta1), 0.0)

    def _current_stage(self) -> RateStage:
        return RateStage(self.learning_rate, self.beta1, max(self._best + 1 - self._stage_start, 0))


def rank_sum_p(values: Array, others: Array) -> float:
    """One-sided p of the Wilcoxon rank-sum test that `values` are greater than `others`.

    By the normal approximation, without correction for ties: what `scipy.stats.ranksums` gives, whose import takes half
    a second. Half the difference of wins and losses over all pairs is the rank sum less its expectation.
    """
    excess = np.sign(np.subtract.outer(values, others)).sum() / 2
    sd = math.sqrt(values.size * others.size * (values.size + others.size + 1) / 12)
    return math.erfc(excess / sd / math.sqrt(2)) / 2
