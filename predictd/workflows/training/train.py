"""`predictd train`: fit a model to a tensor."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from predictd.config import TrainSettings
from predictd.engine import Engine
from predictd.io.checkpoint import Checkpoint
from predictd.io.files import make_directory
from predictd.io.models import ModelFile, write_model
from predictd.io.results import write_run_json
from predictd.io.tensor.store import Tensor
from predictd.model.cp.factors import CPModel
from predictd.model.folds import Fold
from predictd.provenance import RunRecord
from predictd.wording import some
from predictd.workflows.tensor.coverage import require_complete, warn_same_signal
from predictd.workflows.tensor.moments import ensure_moments, read_moments
from predictd.workflows.tensor.ranges import ranges_of
from predictd.workflows.training.folds import check_folds, choose_fold, selection_folds
from predictd.workflows.training.settings import model_info
from predictd.workflows.training.solvers import SOLVERS
from predictd.workflows.training.solvers.solver import Choice, FitData, Training, TrainJob


@dataclass(frozen=True)
class TrainReport:
    """The result of training.

    Attributes
    ----------
    solver
        That fitted the model.
    rank
        Components of the saved model; 0 where it has none.
    validation_mse
        Mean over the validation experiments, before clipping, over the bins trained on.
    fold
        What was trained, validated and left out.
    refitted
        Whether all experiments were trained on in the end.
    chosen
        What was chosen, and why.
    """

    solver: str
    rank: int
    validation_mse: float
    fold: Fold
    refitted: bool
    chosen: str

    def summary(self) -> str:
        """The model and its error in a line."""
        fitted = f"rank {self.rank}" if self.rank else self.solver
        error = f"validation MSE {self.validation_mse:.4f} over {len(self.fold.valid)} experiments"
        held_out = f"fold {self.fold.name}, {len(self.fold.test)} left out"
        ending = "refitted to all experiments" if self.refitted else held_out
        return f"{fitted}, {error} ({some(self.fold.valid, 4)}); {ending}"


def train(
    tensor_path: Path,
    output: Path,
    settings: TrainSettings,
    engine: Engine,
    *,
    seed: int = 0,
    folds: Path | None = None,
    fold_name: str | None = None,
    moments: Path | None = None,
    scratch: Path | None = None,
) -> TrainReport:
    """Fit a model and write it.

    Parameters
    ----------
    tensor_path, output
        Directory of the tensor; model file to write. SGD keeps its state in `OUTPUT.checkpoint` meanwhile; the other
        solvers take seconds.
    settings
        Solver, rank, penalties.
    engine
        What runs it.
    seed
        Of everything random.
    folds, fold_name
        A fold to train; without them a seeded eighth of the experiments validates, then all are refitted.
    moments
        Moments file of the solvers that read one; None: in the tensor's directory.
    scratch
        Directory of each node for copies of shards; None: they are read where they are.

    Raises
    ------
    PredictdError
        If data and settings do not allow it.
    Interrupted
        If a stop was asked for; the same command goes on.
    """
    record = RunRecord.of(
        "train", engine, seed=seed, settings=settings.model_dump(mode="json", by_alias=True)
    )
    tensor = Tensor(tensor_path, scratch=scratch)
    require_complete(tensor)
    fold = choose_fold(tensor, folds, fold_name, seed)
    check_folds([fold], SOLVERS[settings.solver])
    SOLVERS[settings.solver].check(settings, len(fold.train))
    refit = folds is None
    make_directory(output.parent)
    data, choice = _choose(tensor, fold, settings, engine, record, seed=seed, moments=moments, refit=refit)
    checkpoint = Checkpoint(output.with_name(f"{output.name}.checkpoint"))
    job = TrainJob(data, fold, choice, seed, refit, checkpoint)
    solver = SOLVERS[choice.settings.solver]
    trained = solver.train(job, engine, record)
    _write(output, tensor, job, solver.objective_of(choice.settings), trained)
    rank = trained.fit.model.rank if isinstance(trained.fit.model, CPModel) else 0
    record.train = [str(e) for e in trained.fit.model.train]
    record.inputs = {str(tensor_path): tensor.manifest.checksum}
    record.results = {
        "rank": rank,
        "validation_mse": trained.fit.validation_mse,
        "bins_trained_on": trained.n_bins,
        "chosen": choice.why,
    }
    write_run_json(record, output, sidecar=True)
    checkpoint.remove()
    return TrainReport(solver.name, rank, trained.fit.validation_mse, fold, refit, choice.why)


def _choose(
    tensor: Tensor,
    fold: Fold,
    settings: TrainSettings,
    engine: Engine,
    record: RunRecord,
    *,
    seed: int,
    moments: Path | None,
    refit: bool,
) -> tuple[FitData, Choice]:
    """What the fit reads, and what it is made with."""
    solver = SOLVERS[settings.solver]
    data = FitData(tensor, named=moments is not None)
    if solver.reads_moments:
        with record.stage("moments"):
            path = ensure_moments(tensor, engine, moments)
        warn_same_signal(tensor, read_moments(path))
        data = replace(data, moments=path)
    with record.stage("choose") if solver.searches else nullcontext():
        deciding = selection_folds(tensor.experiments, seed) if refit and solver.searches else [fold]
        return data, solver.choose(data, deciding, settings, engine, seed=seed)


def _write(output: Path, tensor: Tensor, job: TrainJob, objective: str, trained: Training) -> None:
    """Write the model with how it was made."""
    info = model_info(trained.settings, job.fold, job.seed) | {
        "objective": objective,
        "workers": trained.workers,
        "refitted": job.refit,
        "validation_mse": trained.fit.validation_mse,
        "history": trained.fit.history_json(),
        "tensor": tensor.manifest.checksum,
        "genome": tensor.manifest.genome.name,
        "bin_size": tensor.manifest.bin_size,
    }
    model = trained.fit.model
    model = model.within(ranges_of(tensor, model.assays, model.train))
    write_model(output, ModelFile(model.kind, model.to_arrays(), info))
