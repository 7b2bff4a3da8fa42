"""What every solver is, so that workflows are loops over solvers without a branch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from predictd.config import TrainSettings
from predictd.engine import Engine
from predictd.io.checkpoint import Checkpoint
from predictd.io.tensor.store import Tensor
from predictd.model.cp.extend import RowPrior
from predictd.model.ensemble import Model
from predictd.model.folds import Fold
from predictd.provenance import RunRecord


@dataclass(frozen=True)
class FitData:
    """What fits read; small, so that it travels with tasks.

    Attributes
    ----------
    tensor
        The tensor.
    moments
        Moments file; None where the solver reads none.
    named
        Whether a user named the moments file.
    """

    tensor: Tensor
    moments: Path | None = None
    named: bool = False


@dataclass(frozen=True)
class Choice:
    """What a solver fits with.

    Attributes
    ----------
    settings
        The given settings with a solver, a rank and a penalty in place of `auto`, as far as the solver has these.
    why
        One sentence.
    learned
        Arrays by name: what else was learned on the folds, for solvers that learn such.
    """

    settings: TrainSettings
    why: str
    learned: Mapping[str, npt.NDArray[np.generic]] = field(default_factory=dict)


@dataclass(frozen=True)
class Fit:
    """The result of a fit.

    Attributes
    ----------
    model
        What was fitted.
    validation_mse
        Mean squared error over the validation experiments, before clipping; NaN without any.
    history
        How the error fell, as model files keep it.
    sweeps
        After which it was best; None for solvers without sweeps.
    """

    model: Model
    validation_mse: float
    history: tuple[Any, ...]
    sweeps: int | None = None

    def history_json(self) -> list[Any]:
        """The history as JSON has it."""
        return [list(entry) if isinstance(entry, tuple) else entry for entry in self.history]


@dataclass(frozen=True)
class Training:
    """A fit on all workers of an engine.

    Attributes
    ----------
    fit
        Its result; the validation error and the history are those of the search, where a refit followed.
    settings
        As they were used.
    n_bins
        How many bins were trained on.
    workers
        Whose number decides the bits of the result; None where it does not.
    """

    fit: Fit
    settings: TrainSettings
    n_bins: int
    workers: int | None = None


@dataclass(frozen=True)
class TrainJob:
    """One training.

    Attributes
    ----------
    data, fold, choice, seed
        What is fitted, with what.
    refit
        Whether all experiments of the tensor are fitted in the end.
    checkpoint
        For solvers that take long.
    """

    data: FitData
    fold: Fold
    choice: Choice
    seed: int
    refit: bool
    checkpoint: Checkpoint


class Solver(ABC):
    """Fits models; a registry (`predictd.workflows.training.solvers`) names its instances, which have no state.

    Attributes
    ----------
    name
        As in settings.
    objective
        What it makes small, as model files name it. Models of different objectives are compared by their errors only.
    penalty_range
        Where `tune` looks for λ; None: it does not search this solver.
    penalty_name, penalty_meaning
        What λ is called, and what it is.
    tunes_starts
        Whether `tune` searches the number of starts.
    searches
        Whether `choose` compares settings on folds; else only their sizes matter.
    reads_moments
        Whether its fits read moments.
    saves
        Whether a training saves its state, from which the same command goes on.
    holds_out
        Whether a model is needed for each validation fold, to decide when to stop. If not, validation folds serve
        `choose` alone: a test fold has one model, of all that is not tested, and so has what was never observed.
    needs_cell_types
        Whether it predicts experiments only of cell types that others are known of.
    """

    name: str
    objective: ClassVar[str]
    penalty_range: ClassVar[tuple[float, float] | None] = None
    penalty_name: ClassVar[str] = "lambda"
    penalty_meaning: ClassVar[str] = "penalty of cell and assay factors"
    tunes_starts: ClassVar[bool] = True
    searches: ClassVar[bool] = True
    reads_moments: ClassVar[bool] = True
    saves: ClassVar[bool] = False
    holds_out: ClassVar[bool] = True
    needs_cell_types: ClassVar[bool] = True

    @abstractmethod
    def check(self, settings: TrainSettings, n_train: int) -> None:
        """Raise ConfigError for settings that so many training experiments, or this solver, cannot have."""

    @abstractmethod
    def choose(
        self, data: FitData, folds: Sequence[Fold], settings: TrainSettings, engine: Engine, *, seed: int
    ) -> Choice:
        """Settings in place of `auto`, by the folds' validation experiments; test experiments are not looked at.

        Raises
        ------
        ConfigError
            If the training experiments cannot determine the given rank.
        """

    @abstractmethod
    def fit(
        self, data: FitData, fold: Fold, choice: Choice, *, seed: int, checkpoint: Path | None = None
    ) -> Fit:
        """Fit one fold within this process: a task.

        Parameters
        ----------
        data, fold, choice, seed
            What is fitted, with what.
        checkpoint
            Directory for saved state, where the solver saves any; None: none is kept.
        """

    @abstractmethod
    def train(self, job: TrainJob, engine: Engine, record: RunRecord) -> Training:
        """Fit one fold, and all experiments where a refit is wanted, with all workers of an engine."""

    def objective_of(self, settings: TrainSettings) -> str:
        """What a fit with these settings makes small; see `objective`."""
        return self.objective

    def row_prior(self, penalty: float, lambda_g: float) -> RowPrior:
        """What held the rows of cell types and assays in a fit with this λ."""
        return RowPrior(penalty, em=False)


@dataclass(frozen=True)
class Candidate:
    """Settings to be compared on a fold: the key of a task."""

    solver: Solver
    settings: TrainSettings
    fold: int


@dataclass(frozen=True)
class Comparison:
    """What candidates are compared on."""

    data: FitData
    folds: tuple[Fold, ...]
    seed: int

    def errors(
        self, candidates: Sequence[tuple[Solver, TrainSettings]], engine: Engine, *, label: str = ""
    ) -> list[float]:
        """Mean squared error of each candidate over the folds' validation experiments."""
        keys = [
            Candidate(solver, settings, fold)
            for solver, settings in candidates
            for fold in range(len(self.folds))
        ]
        sums = engine.map(validation_sum, keys, self, label=label)
        n_valid = sum(len(fold.valid) for fold in self.folds)
        n = len(self.folds)
        return [sum(sums[start : start + n]) / n_valid for start in range(0, len(sums), n)]


def validation_sum(key: Candidate, shared: Comparison) -> float:
    """Sum of the squared-error means of a fold's validation experiments."""
    fold = shared.folds[key.fold]
    fit = key.solver.fit(shared.data, fold, Choice(key.settings, ""), seed=shared.seed)
    return fit.validation_mse * len(fold.valid)
