"""The paper's stochastic gradient descent on all workers of an engine."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from predictd.config import TrainSettings
from predictd.engine import Engine, LocalEngine
from predictd.io.checkpoint import Checkpoint
from predictd.io.temporary import temporary_folder
from predictd.model.folds import Fold
from predictd.provenance import RunRecord
from predictd.workflows.training.settings import DEFAULT_RANK, check_rank, default_rank
from predictd.workflows.training.sgd.descent import DescentResult
from predictd.workflows.training.sgd.fit import fit_sgd, sgd_problem
from predictd.workflows.training.solvers.solver import Choice, Fit, FitData, Solver, Training, TrainJob

log = logging.getLogger(__name__)

PENALTY = 1e-3


class Sgd(Solver):
    """PREDICTD's descent (Durham et al. 2018). It reads a sample of bins itself, and saves its state as it goes."""

    name = "sgd"
    objective = "J"
    penalty_range = (1e-5, 1e-1)
    tunes_starts = False
    searches = False
    reads_moments = False
    saves = True

    def objective_of(self, settings: TrainSettings) -> str:
        """Name the objective: with the paper's penalties it is another one."""
        return "predictd-constants" if settings.predictd_constants else self.objective

    def check(self, settings: TrainSettings, n_train: int) -> None:
        """See `Solver.check`; ranks that are too high are refused."""
        if settings.rank != "auto":
            check_rank(settings.rank, n_train)

    def choose(
        self, data: FitData, folds: Sequence[Fold], settings: TrainSettings, engine: Engine, *, seed: int
    ) -> Choice:
        """The paper's rank, lowered where there are few training experiments, which is warned of."""
        n_train = min(len(fold.train) for fold in folds)
        self.check(settings, n_train)
        rank, penalty = settings.rank, settings.regularisation
        if rank == "auto":
            rank = default_rank(n_train)
            if rank < DEFAULT_RANK:
                log.warning(
                    "%d training experiments are too few for rank %d: using a `rank` of %d",
                    n_train,
                    DEFAULT_RANK,
                    rank,
                )
        penalty = PENALTY if penalty == "auto" else penalty
        chosen = settings.model_copy(update={"rank": rank, "regularisation": penalty})
        if settings.predictd_constants:
            return Choice(chosen, f"rank {rank}, the paper's own penalties")
        return Choice(chosen, f"rank {rank}, lambda {penalty:g}")

    def fit(
        self, data: FitData, fold: Fold, choice: Choice, *, seed: int, checkpoint: Path | None = None
    ) -> Fit:
        """One fold on one worker."""
        if checkpoint is None:
            with temporary_folder() as folder:
                return self.fit(data, fold, choice, seed=seed, checkpoint=folder / "state")
        problem = sgd_problem(data.tensor, fold, choice.settings, seed=seed, checkpoint=checkpoint)
        saved = Checkpoint(checkpoint)
        saved.hold()
        try:
            saved.begin(_describe(data, fold, choice, seed=seed, workers=1))
            with LocalEngine(1) as engine:
                found, _ = fit_sgd(problem, None, engine, saved, RunRecord("train"))
            saved.remove()
        finally:
            saved.release()
        return _fit(found)

    def train(self, job: TrainJob, engine: Engine, record: RunRecord) -> Training:
        """See `Solver.train`; the state is saved at the job's checkpoint, and a run goes on from there."""
        tensor, checkpoint, settings = job.data.tensor, job.checkpoint, job.choice.settings
        checkpoint.hold()
        description = _describe(job.data, job.fold, job.choice, seed=job.seed, workers=engine.workers)
        record.resumed = checkpoint.begin(description)
        engine.check_shared_paths(checkpoint.marker_file, tensor.marker_file)
        problem = sgd_problem(tensor, job.fold, settings, seed=job.seed, checkpoint=checkpoint.path)
        found, updates_per_round = fit_sgd(
            problem, tensor.experiments if job.refit else None, engine, checkpoint, record
        )
        # As they were used: auto finds another number on another network.
        used = settings.sgd.model_copy(update={"updates_per_round": updates_per_round})
        settings = settings.model_copy(update={"sgd": used})
        return Training(_fit(found), settings, problem.sample.n_bins, engine.workers)


def _describe(data: FitData, fold: Fold, choice: Choice, *, seed: int, workers: int) -> dict[str, Any]:
    """Everything that the states of a descent depend on."""
    return {
        "command": "train",
        "tensor": data.tensor.manifest.checksum,
        "settings": choice.settings.model_dump(mode="json", by_alias=True),
        "seed": seed,
        "workers": workers,
        "train": [str(e) for e in fold.train],
        "valid": [str(e) for e in fold.valid],
    }


def _fit(found: DescentResult) -> Fit:
    return Fit(found.model, min(found.history), found.history)
