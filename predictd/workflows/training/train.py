"""`predictd train`: fit a model to a tensor."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from predictd.config import TrainSettings
from predictd.engine import Engine
from predictd.io.checkpoint import Checkpoint
from predictd.io.files import checksums, make_directory
from predictd.io.models import ModelFile, write_model
from predictd.io.results import write_run_json
from predictd.io.tensor.store import Tensor
from predictd.model.cp.factors import CPModel
from predictd.model.folds import Fold
from predictd.provenance import RunRecord, given
from predictd.wording import some
from predictd.workflows.tensor.coverage import require_complete, warn_suspicious
from predictd.workflows.tensor.moments import ensure_moments, read_moments
from predictd.workflows.tensor.ranges import ranges_of
from predictd.workflows.training.folds import check_folds, choose_fold, selection_folds
from predictd.workflows.training.settings import NOT_HELD_OUT, model_info
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
        Mean over the validation experiments, before clipping, over the bins trained on. It is not a held-out error:
        settings, or when to stop, may have been chosen on the same experiments. `crossval` has held-out errors.
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
        return f"{fitted}, {error} ({some(self.fold.valid, 4)}; {NOT_HELD_OUT}); {ending}"


@dataclass(frozen=True)
class Trained:
    """A trained model that is not written yet.

    Attributes
    ----------
    file
        What its file is to hold.
    record
        How it was made.
    report
        The result in short.
    """

    file: ModelFile
    record: RunRecord
    report: TrainReport

    def write(self, output: Path) -> None:
        """Write the model, and `OUTPUT.run.json` next to it."""
        make_directory(output.parent)
        write_model(output, self.file)
        write_run_json(self.record, output, sidecar=True)


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
    make_directory(output.parent)
    state = Checkpoint(output.with_name(f"{output.name}.checkpoint"))
    tensor = Tensor(tensor_path, scratch=scratch)
    if not SOLVERS[settings.solver].saves:
        state.refuse_unfinished()
    try:
        trained = fit(
            tensor,
            settings,
            engine,
            state,
            seed=seed,
            folds=folds,
            fold_name=fold_name,
            moments=moments,
        )
        trained.write(output)
        state.remove()
    finally:
        state.release()
    return trained.report


def fit(
    tensor: Tensor,
    settings: TrainSettings,
    engine: Engine,
    checkpoint: Checkpoint,
    *,
    seed: int = 0,
    folds: Path | None = None,
    fold_name: str | None = None,
    moments: Path | None = None,
) -> Trained:
    """Fit a model to an open tensor; see `train`.

    Parameters
    ----------
    checkpoint
        For what SGD saves; it is held, and the caller releases it.
    tensor, settings, engine, seed, folds, fold_name, moments
        See `train`.
    """
    record = RunRecord.of(
        "train",
        engine,
        seed=seed,
        settings=settings.model_dump(mode="json", by_alias=True)
        | given(folds=folds, fold_name=fold_name, moments=moments),
    )
    require_complete(tensor)
    fold = choose_fold(tensor, folds, fold_name, seed)
    record.inputs = {str(tensor.path): tensor.manifest.checksum, **checksums(folds)}
    check_folds([fold], SOLVERS[settings.solver])
    SOLVERS[settings.solver].check(settings, len(fold.train))
    refit = folds is None
    data, choice = _choose(tensor, fold, settings, engine, record, seed=seed, moments=moments, refit=refit)
    job = TrainJob(data, fold, choice, seed, refit, checkpoint)
    solver = SOLVERS[choice.settings.solver]
    training = solver.train(job, engine, record)
    file = _file(tensor, job, solver.objective_of(choice.settings), training)
    model = training.fit.model
    rank = model.rank if isinstance(model, CPModel) else 0
    record.train = [str(e) for e in model.train]
    record.results = {
        "rank": rank,
        "validation_mse": training.fit.validation_mse,
        "validation": NOT_HELD_OUT,
        "bins_trained_on": training.n_bins,
        "chosen": choice.why,
    }
    report = TrainReport(solver.name, rank, training.fit.validation_mse, fold, refit, choice.why)
    return Trained(file, record, report)


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
        warn_suspicious(tensor, read_moments(path, tensor))
        data = replace(data, moments=path)
    with record.stage("choose") if solver.searches else nullcontext():
        deciding = selection_folds(tensor.experiments, seed) if refit and solver.searches else [fold]
        return data, solver.choose(data, deciding, settings, engine, seed=seed)


def _file(tensor: Tensor, job: TrainJob, objective: str, training: Training) -> ModelFile:
    """The model with how it was made."""
    info = model_info(tensor, training.settings, job.fold, job.seed) | {
        "objective": objective,
        "workers": training.workers,
        "refitted": job.refit,
        "validation_mse": training.fit.validation_mse,
        "history": training.fit.history_json(),
        "tensor": tensor.manifest.checksum,
    }
    model = training.fit.model
    model = model.within(ranges_of(tensor, model.assays, model.train))
    return ModelFile(model.kind, model.to_arrays(), info)
