"""The paper's stochastic gradient descent as one program on all workers of an engine.

Every worker updates its own bins with its own copy of the factors of cell types and assays; these copies are averaged
after each round (Durham et al. 2018, Methods).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import Signals
from typing import Any

import numpy as np
import numpy.typing as npt

from predictd import interrupt
from predictd.config import SgdSettings
from predictd.engine import Communicator
from predictd.errors import DataError, Interrupted
from predictd.io.checkpoint import Checkpoint
from predictd.kernels import UpdateRule, sgd_updates
from predictd.model.cp.factors import CPModel
from predictd.model.cp.sgd import (
    MainEffects,
    Penalties,
    RateStage,
    Rows,
    StoppingRule,
    Verdict,
    draw_stream,
    initial_factors,
    main_effects,
    paper_penalties,
    penalties,
)
from predictd.model.moments import moments, squared_errors
from predictd.pairs import Experiment, axes, rows_of
from predictd.progress import progress_bar
from predictd.workflows.tensor.sample import SamplePlan, read_sample
from predictd.workflows.training.sgd.average import add_up, average_rows

log = logging.getLogger(__name__)

CHECKPOINT_SECONDS = 600.0
# λ_G of the closed form after the paper's own penalties (its ri2).
PAPER_LAMBDA_G = 2.9


@dataclass(frozen=True)
class SgdProblem:
    """What is fitted to what.

    Attributes
    ----------
    sample
        The bins.
    train, valid
        Experiments; without validation experiments the `schedule` is followed instead of the stopping rule.
    names
        All pairs of the tensor: they span the rows of C and A.
    rank, regularisation, lambda_g, paper_constants
        L, λ_C = λ_A, λ_G, and whether the paper's own penalties replace them.
    settings, updates_per_round, seed
        Of the descent.
    schedule
        Stages of an earlier descent to repeat.
    checkpoint
        Directory for saved state.
    phase
        Which of the descents of one checkpoint this is; names the progress bar too.
    """

    sample: SamplePlan
    train: tuple[Experiment, ...]
    valid: tuple[Experiment, ...]
    names: tuple[Experiment, ...]
    rank: int
    regularisation: float
    lambda_g: float
    paper_constants: bool
    settings: SgdSettings
    updates_per_round: int
    seed: int
    schedule: tuple[RateStage, ...]
    checkpoint: Path
    phase: str


@dataclass(frozen=True)
class DescentResult:
    """What a descent found.

    Attributes
    ----------
    model
        In the gauge of section 3.
    history
        Validation MSE at each evaluation that was kept.
    schedule
        Stages that led to the best.
    rounds, updates
        Made in all, by all workers.
    update_seconds, exchange_seconds
        What this worker spent its rounds with since it began or went on: its own updates; averaging the factors, with
        the wait for others.
    """

    model: CPModel
    history: tuple[float, ...]
    schedule: tuple[RateStage, ...]
    rounds: int
    updates: int
    update_seconds: float
    exchange_seconds: float

    @property
    def validation_mse(self) -> float | None:
        """The smallest validation MSE; None where nothing validates."""
        return min(self.history) if self.history else None


@dataclass
class _State:
    """Everything that an update changes."""

    cells: Rows
    assays: Rows
    bins: Rows

    def copy(self) -> _State:
        return _State(self.cells.copy(), self.assays.copy(), self.bins.copy())

    def to_arrays(self, prefix: str) -> dict[str, npt.NDArray[Any]]:
        return {
            f"{prefix}/{part}/{kind}": getattr(getattr(self, part), kind)
            for part in ("cells", "assays", "bins")
            for kind in ("values", "scalars")
        }

    @classmethod
    def from_arrays(cls, prefix: str, arrays: dict[str, npt.NDArray[Any]]) -> _State:
        parts = (
            Rows(arrays[f"{prefix}/{part}/values"], arrays[f"{prefix}/{part}/scalars"]).copy()
            for part in ("cells", "assays", "bins")
        )
        return cls(*parts)


def descend(comm: Communicator, keys: Sequence[Any], problem: SgdProblem) -> DescentResult:
    """The program of one worker; see `Engine.spmd`.

    Raises
    ------
    DataError
        If the descent diverges.
    Interrupted
        If a stop was asked for; all workers have saved the same round.
    """
    return _Worker(comm, problem).run()


class _Worker:
    """One worker's part of a descent."""

    def __init__(self, comm: Communicator, problem: SgdProblem) -> None:
        self.comm = comm
        self.problem = problem
        self.settings = problem.settings
        self.cell_types, self.assays = axes(problem.names)
        self.pair_cells, self.pair_assays = (
            rows.astype(np.int32) for rows in rows_of(problem.train, self.cell_types, self.assays)
        )
        y = read_sample(problem.sample, problem.train + problem.valid, comm.rank, comm.size)
        self.moments = add_up(comm, moments(y))
        self.y = np.ascontiguousarray(y[:, : len(problem.train)])
        means = self.moments[-1, : len(problem.train)] / self.moments[-1, -1]
        self.effects: MainEffects = main_effects(
            means[np.newaxis], self.pair_cells, self.pair_assays, len(self.cell_types), len(self.assays)
        )
        self.penalties = self._penalties()
        self.rounds = 0
        self.update_seconds = self.exchange_seconds = 0.0
        self.saved = time.monotonic()
        self.rule = StoppingRule(self.settings)
        self.checkpoint = Checkpoint(problem.checkpoint)

    def run(self) -> DescentResult:
        self.state, self.best = self._resume() or self._start()
        if self.problem.schedule:
            self._follow()
        else:
            self._search()
        return DescentResult(
            self._model(self.best).canonical().with_genome(self.moments, np.arange(len(self.problem.train))),
            tuple(self.rule.history),
            tuple(self.rule.schedule),
            self.rounds,
            self.rounds * self.problem.updates_per_round * self.comm.size,
            self.update_seconds,
            self.exchange_seconds,
        )

    # -- the two ways down ----------------------------------------------------------------------------------------

    def _search(self) -> None:
        """Descend until the stopping rule has enough; `best` is the result."""
        with progress_bar(self.problem.phase, unit=" evaluations", shown=self.comm.rank == 0) as bar:
            while self.rounds < self.settings.max_rounds:
                self._save_if_asked()
                for _ in range(self.settings.rounds_per_evaluation):
                    self._round(self.rule.learning_rate, self.rule.beta1)
                mse = self._validation_mse()
                verdict = self.rule.add(mse)
                if self.comm.rank == 0:
                    log.info("%s, round %d: validation MSE %.6f", self.problem.phase, self.rounds, mse)
                if verdict is Verdict.BEST:
                    self.best = self.state.copy()
                elif verdict is Verdict.RESTORE:
                    self.state = self.best.copy()
                elif verdict is Verdict.STOP:
                    break
                bar.note(f"validation MSE {self.rule.best:.4f}")
                bar.update()

    def _follow(self) -> None:
        """Repeat the stages of an earlier descent."""
        ends = np.cumsum([stage.evaluations for stage in self.problem.schedule])
        ends *= self.settings.rounds_per_evaluation
        with progress_bar(
            "rounds", int(ends[-1]), unit=" rounds", shown=self.comm.rank == 0, initial=self.rounds
        ) as bar:
            while self.rounds < ends[-1]:
                self._save_if_asked()
                stage = self.problem.schedule[int(np.searchsorted(ends, self.rounds, side="right"))]
                self._round(stage.learning_rate, stage.beta1)
                bar.update()
        self.best = self.state

    def _save_if_asked(self) -> None:
        """Save the state from time to time and when a stop is asked for; then stop."""
        overdue = time.monotonic() - self.saved > CHECKPOINT_SECONDS
        # A signal may have come to some workers only.
        stop, save = self.comm.allgather(np.array([interrupt.asked(), overdue])).max(axis=0).tolist()
        if stop or save:
            self._save()
            self.saved = time.monotonic()
        if stop:
            raise Interrupted(
                f"stopped by {Signals(stop).name} after round {self.rounds}; the state is saved, run the same command "
                "again to go on from here"
            )

    # -- one round ------------------------------------------------------------------------------------------------

    def _round(self, learning_rate: float, beta1: float) -> None:
        """Update own bins, then average the factors over the workers."""
        self.rounds += 1
        state, count = self.state, self.problem.updates_per_round
        if self.comm.size == 1:
            self._update(state, self.y, count, learning_rate, beta1)
            return
        start = time.perf_counter()
        before = (state.cells.copy(), state.assays.copy())
        self._update(state, self.y, count, learning_rate, beta1)
        updated = time.perf_counter()
        state.cells, state.assays = average_rows(self.comm, (state.cells, state.assays), before)
        self.update_seconds += updated - start
        self.exchange_seconds += time.perf_counter() - updated

    def _update(
        self, state: _State, y: npt.NDArray[np.float32], count: int, learning_rate: float, beta1: float
    ) -> None:
        error = sgd_updates(
            state.cells,
            state.assays,
            state.bins,
            y,
            UpdateRule(
                rank=self.problem.rank,
                pair_cells=self.pair_cells,
                pair_assays=self.pair_assays,
                pen_cells=self.penalties.cells,
                pen_assays=self.penalties.assays,
                pen_bins=self.penalties.bins,
                mu=self.effects.mu,
                learning_rate=learning_rate,
                beta1=beta1,
                beta2=self.settings.beta2,
                epsilon=self.settings.epsilon,
                decay=self.settings.decay,
            ),
            stream=draw_stream(self.problem.seed, self.comm.rank, self.rounds),
            first=0,
            count=count,
        )
        if not np.isfinite(error):
            raise self._diverged()

    def _diverged(self) -> DataError:
        return DataError(
            f"the descent diverged in round {self.rounds}; lower the learning rate ([train.sgd] learning_rate in "
            "the settings) or raise `penalty`"
        )

    # -- start, evaluation, result --------------------------------------------------------------------------------

    def _start(self) -> tuple[_State, _State]:
        """Random factors and main effects, then the burn-in of the first worker for all."""
        rank, init, dtype = self.problem.rank, self.settings.init, self.settings.dtype
        offsets = (
            self.effects.mu + self.effects.cells[self.pair_cells] + self.effects.assays[self.pair_assays]
        )
        r = self.y.mean(axis=1, dtype=np.float64) - offsets.mean()
        everywhere = np.random.default_rng([self.problem.seed, 0])
        here = np.random.default_rng([self.problem.seed, 1, self.comm.rank])
        state = _State(
            Rows.from_factors(
                initial_factors(len(self.cell_types), rank, init, everywhere), self.effects.cells, dtype
            ),
            Rows.from_factors(
                initial_factors(len(self.assays), rank, init, everywhere), self.effects.assays, dtype
            ),
            Rows.from_factors(initial_factors(len(r), rank, init, here), r, dtype),
        )
        if self.comm.rank == 0:
            n = min(self.settings.burn_in_bins, len(r))
            part = _State(state.cells, state.assays, Rows(state.bins.values[:n], state.bins.scalars[:n]))
            count = int(self.settings.burn_in_epochs * n * len(self.problem.train))
            self._update(part, self.y[:n], count, self.settings.learning_rate, self.settings.beta1)
        for rows in (state.cells, state.assays):
            rows.values[:] = self.comm.allgather(rows.values)[0]
            rows.scalars[:] = self.comm.allgather(rows.scalars)[0]
        return state, state.copy()

    def _penalties(self) -> Penalties:
        shape = (len(self.cell_types), len(self.assays))
        if self.problem.paper_constants:
            return paper_penalties(self.problem.rank, *shape, self.problem.sample.n_bins)
        factor_penalty = self.problem.regularisation
        return penalties(
            factor_penalty, factor_penalty, self.problem.lambda_g, self.pair_cells, self.pair_assays, *shape
        )

    def _model(self, state: _State) -> CPModel:
        rank = self.problem.rank
        # The last update of a row is seen by no error.
        if not (np.isfinite(state.cells.values).all() and np.isfinite(state.assays.values).all()):
            raise self._diverged()
        return CPModel(
            cell_types=tuple(self.cell_types),
            assays=tuple(self.assays),
            c=state.cells.factors(rank).astype(np.float64),
            a=state.assays.factors(rank).astype(np.float64),
            p=state.cells.biases(rank).astype(np.float64),
            q=state.assays.biases(rank).astype(np.float64),
            mu=self.effects.mu,
            lambda_g=PAPER_LAMBDA_G if self.problem.paper_constants else self.problem.lambda_g,
            train=self.problem.train,
        )

    def _validation_mse(self) -> float:
        """Mean over the validation experiments of the closed form's error on the sample, the first worker's word."""
        n, m = len(self.problem.train), len(self.problem.valid)
        try:
            left, solution, intercept = self._model(self.state).affine(self.problem.valid)
        except np.linalg.LinAlgError as err:
            raise self._diverged() from err
        errors = squared_errors(
            self.moments, left, intercept, np.arange(n), np.arange(n, n + m), basis=solution
        )
        mse = float(self.comm.allgather(np.array([errors.mean()]))[0, 0])
        if not np.isfinite(mse):
            raise self._diverged()
        return mse

    # -- checkpoints ----------------------------------------------------------------------------------------------

    def _save(self) -> None:
        name = str(self.rounds)
        header = {"rounds": self.rounds, "rule": self.rule.state(), "phase": self.problem.phase}
        arrays = self.state.to_arrays("state") | self.best.to_arrays("best")
        self.checkpoint.save(name, self.comm.rank, header, arrays)
        self.comm.barrier()
        if self.comm.rank == 0:
            self.checkpoint.commit(name)
        self.comm.barrier()

    def _resume(self) -> tuple[_State, _State] | None:
        saved = self.checkpoint.load(self.comm.rank)
        if saved is None or saved[0]["phase"] != self.problem.phase:
            return None
        header, arrays = saved
        self.rounds = int(header["rounds"])
        self.rule = StoppingRule.from_state(self.settings, header["rule"])
        return _State.from_arrays("state", arrays), _State.from_arrays("best", arrays)
