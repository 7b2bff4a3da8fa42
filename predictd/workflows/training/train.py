"""`predictd train`: fit a model to a tensor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from predictd.config import TrainSettings
from predictd.engine import Engine
from predictd.engine.base import one_blas_thread
from predictd.errors import ConfigError, DataError
from predictd.io.checkpoint import Checkpoint
from predictd.io.files import make_directory
from predictd.io.models import ModelFile, write_model
from predictd.io.results import write_run_json
from predictd.io.tensor.store import Tensor
from predictd.model.cp.factors import CPModel
from predictd.model.ensemble import Model
from predictd.model.folds import Fold, validation_split
from predictd.provenance import RunRecord
from predictd.workflows.tensor.coverage import require_complete
from predictd.workflows.tensor.folds import read_folds
from predictd.workflows.tensor.moments import ensure_moments, read_moments
from predictd.workflows.training.fit_moments import selection_folds
from predictd.workflows.training.settings import check_rank, model_info, sgd_setting
from predictd.workflows.training.sgd.fit import fit_sgd, sgd_problem
from predictd.workflows.training.solvers import (
    choose_solver,
    fit_by_moments,
    regressors_of,
    resolved,
    sample_for,
)

# What the solvers make small; models of different objectives are compared by their errors only.
_OBJECTIVES = {
    "sgd": "J",
    "als": "J",
    "em": "likelihood",
    "kriging": "kriging variance",
    "constants": "predictd-constants",
}


@dataclass(frozen=True)
class TrainReport:
    """What training came to.

    Attributes
    ----------
    rank
        Components of the saved model; 0 for kriging.
    validation_mse
        Mean over the validation experiments, before clipping, over the bins trained on.
    fold
        What was trained, validated and left out.
    refitted
        Whether all experiments were trained on in the end.
    chosen
        Rank and penalty, and why.
    """

    rank: int
    validation_mse: float
    fold: Fold
    refitted: bool
    chosen: str


def choose_fold(tensor: Tensor, folds: Path | None, name: str | None, seed: int) -> Fold:
    """The named fold of a file, or a seeded eighth of the experiments for validation.

    Raises
    ------
    ConfigError
        If only one of file and name is given, or the file has no such fold.
    """
    if folds is None:
        if name is not None:
            raise ConfigError(f"--fold {name} needs --folds: name the file that 'predictd folds' wrote")
        return validation_split(tensor.experiments, seed=seed)
    known = read_folds(folds, tensor)
    if name not in known:
        wanted = f"has no fold '{name}'" if name else "needs --fold: choose one of its folds"
        shown = ", ".join(list(known)[:5]) + (", …" if len(known) > 5 else "")
        raise ConfigError(f"{folds} {wanted}; they are {shown}")
    return known[name]


def train(
    tensor_path: Path,
    output: Path,
    settings: TrainSettings,
    engine: Engine,
    *,
    seed: int = 0,
    folds: Path | None = None,
    fold_name: str | None = None,
    moments_path: Path | None = None,
    scratch: Path | None = None,
) -> TrainReport:
    """Fit a model and write it.

    Parameters
    ----------
    tensor_path, output
        Directory of the tensor; model file to write. SGD keeps its state in `OUTPUT.checkpoint` meanwhile; als and em
        take seconds.
    settings
        Solver, rank, penalties.
    engine
        What runs it.
    seed
        Of everything random.
    folds, fold_name
        A fold to train; without them a seeded eighth of the experiments validates, then all are refitted.
    moments_path
        Moments file of the solvers but sgd; None: beside the tensor.
    scratch
        Directory of each node for copies of shards; None: they are read where they stand.

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
    if not fold.valid:
        raise DataError(f"fold {fold.name} has no validation experiments, which decide when to stop")
    if settings.solver == "sgd":
        setting, why = sgd_setting(settings, len(fold.train))
    elif settings.rank != "auto":
        check_rank(settings.rank, len(fold.train))
    refit = folds is None
    make_directory(output.parent)
    checkpoint = Checkpoint(output.with_name(f"{output.name}.checkpoint"))
    history: list[Any]
    model: Model
    if settings.solver == "sgd":
        checkpoint.begin(
            {
                "command": "train",
                "tensor": tensor.manifest.checksum,
                "settings": settings.model_dump(mode="json", by_alias=True),
                "seed": seed,
                "workers": engine.workers,
                "train": [str(e) for e in fold.train],
                "valid": [str(e) for e in fold.valid],
            }
        )
        engine.require_sight(checkpoint.witness, tensor.witness)
        problem = sgd_problem(tensor, fold, setting, settings, seed=seed, checkpoint=checkpoint.path)
        everything = tensor.experiments if refit else None
        model, history, updates = fit_sgd(problem, everything, engine, checkpoint, record)
        # As they were used: auto comes to another number on another network.
        used = settings.sgd.model_copy(update={"updates_per_round": updates})
        settings = settings.model_copy(update={"sgd": used})
        validation_mse, n_bins = min(history), problem.sample.n_bins
    else:
        with record.stage("moments"):
            regressors = regressors_of(settings.solver, len(tensor.experiments))
            moments = ensure_moments(tensor, engine, moments_path, regressors)
        with record.stage("choose"):
            deciding = selection_folds(tensor.experiments, seed) if refit else [fold]
            setting, why = choose_solver(moments, deciding, settings, engine, seed=seed)
            settings = resolved(settings, setting)
            sample = sample_for(settings, [setting], tensor, engine, moments, named=moments_path is not None)
        with record.stage("train"), one_blas_thread():
            data = read_moments(moments)
            model, found = fit_by_moments(
                data, fold.train, fold.valid, setting, settings, seed=seed, sample=None if refit else sample
            )
            if refit:
                everyone = tuple(sorted(tensor.experiments))
                model, _ = fit_by_moments(
                    data, everyone, (), setting, settings, seed=seed, sweeps=found.sweeps, sample=sample
                )
        history = [list(entry) for entry in found.history]
        validation_mse, n_bins = found.validation_mse, tensor.n_complete

    info = model_info(settings, setting, fold, seed) | {
        "objective": _OBJECTIVES["constants" if settings.predictd_constants else settings.solver],
        "workers": engine.workers if settings.solver == "sgd" else None,
        "refitted": refit,
        "validation_mse": validation_mse,
        "history": history,
        "tensor": tensor.manifest.checksum,
        "genome": tensor.manifest.genome.name,
        "bin_size": tensor.manifest.bin_size,
    }
    write_model(output, ModelFile(model.kind, model.to_arrays(), info))
    rank = model.rank if isinstance(model, CPModel) else 0
    record.train = [str(e) for e in model.train]
    record.inputs = {str(tensor_path): tensor.manifest.checksum}
    record.results = {
        "rank": rank,
        "validation_mse": validation_mse,
        "bins_trained_on": n_bins,
        "chosen": why,
    }
    write_run_json(record, output, sidecar=True)
    checkpoint.remove()
    return TrainReport(rank, validation_mse, fold, refit, why)
