"""What solvers share that read second moments: a search, then a refit of all experiments, in this process."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from predictd import interrupt
from predictd.engine import Engine
from predictd.engine.base import one_blas_thread
from predictd.model.folds import Fold
from predictd.pairs import Experiment
from predictd.provenance import RunRecord
from predictd.workflows.tensor.moments import TensorMoments, read_moments
from predictd.workflows.training.solvers.solver import Choice, Fit, FitData, Solver, Training, TrainJob


class MomentsSolver(Solver):
    """A solver whose fits read moments, and take seconds."""

    @abstractmethod
    def fit_moments(
        self,
        data: TensorMoments,
        fold: Fold,
        choice: Choice,
        *,
        seed: int,
        sweeps: int | None = None,
    ) -> Fit:
        """Fit a fold's training experiments; its validation experiments, where it has any, decide when to stop.

        Parameters
        ----------
        data
            Moments of the tensor.
        fold, choice, seed
            Experiments; what they are fitted with; of everything random.
        sweeps
            How many to make where nothing validates.
        """

    def fit(
        self, data: FitData, fold: Fold, choice: Choice, *, seed: int, checkpoint: Path | None = None
    ) -> Fit:
        """See `Solver.fit`; it takes seconds and keeps no checkpoint."""
        return self.fit_moments(moments_of(data), fold, choice, seed=seed)

    def train(self, job: TrainJob, engine: Engine, record: RunRecord) -> Training:
        """See `Solver.train`; a search on the fold, then the refit of all experiments where the job asks for it."""
        data, tensor = job.data, job.data.tensor
        with record.stage("train"), one_blas_thread():
            moments = moments_of(data)
            # Where all experiments are fitted in the end, the search only tells how many sweeps are best.
            found = self.fit_moments(moments, job.fold, job.choice, seed=job.seed)
            if job.refit:
                interrupt.stop_if_asked()
                refitted = self.fit_moments(
                    moments,
                    everything(tensor.experiments, job.fold.name),
                    job.choice,
                    seed=job.seed,
                    sweeps=found.sweeps,
                )
                found = replace(found, model=refitted.model)
        return Training(found, job.choice.settings, tensor.n_complete)


def moments_of(data: FitData) -> TensorMoments:
    """The moments that fits read."""
    assert data.moments is not None
    return read_moments(data.moments, data.tensor)


def everything(experiments: Sequence[Experiment], name: str) -> Fold:
    """A fold of all experiments, of which none validates."""
    return Fold(name=name, test=(), valid=(), train=tuple(sorted(experiments)))
