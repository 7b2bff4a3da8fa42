"""`predictd train`: fit a model to a tensor."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from predictd.config import TrainSettings
from predictd.engine import Engine
from predictd.errors import ConfigError, DataError
from predictd.io.checkpoint import Checkpoint
from predictd.io.files import make_directory, write_json
from predictd.io.models import ModelFile, write_model
from predictd.io.store import Tensor
from predictd.model.folds import Fold, validation_split
from predictd.model.sgd import Stage
from predictd.provenance import RunRecord, software
from predictd.workflows._coverage import require_complete
from predictd.workflows._sample import plan_sample
from predictd.workflows._sgd import SgdProblem, SgdResult, descend
from predictd.workflows.folds import read_folds

log = logging.getLogger(__name__)

DEFAULT_RANK = 100
DEFAULT_PENALTY = 1e-3


@dataclass(frozen=True)
class TrainReport:
    """What training came to.

    Attributes
    ----------
    rank
        Components of the saved model.
    validation_mse
        Mean over the validation experiments, before clipping, on the bins trained on.
    fold
        What was trained, validated and left out.
    refitted
        Whether all experiments were trained on in the end.
    """

    rank: int
    validation_mse: float
    fold: Fold
    refitted: bool


def default_rank(n_train: int) -> int:
    """Rank that the paper uses, lowered to a quarter of the training experiments.

    Each bin's L + 1 numbers are estimated from its n values; beyond about n/4 of them the closed form spends the data
    on noise whatever the penalty.
    """
    return max(1, min(DEFAULT_RANK, n_train // 4))


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
    record: RunRecord,
    *,
    seed: int = 0,
    folds: Path | None = None,
    fold_name: str | None = None,
) -> TrainReport:
    """Fit a model and write it.

    Parameters
    ----------
    tensor_path, output
        Directory of the tensor; model file to write. State is kept in `OUTPUT.checkpoint` meanwhile.
    settings
        Solver, rank, penalties.
    engine, record
        What runs it; where stages are timed.
    seed
        Of everything random.
    folds, fold_name
        A fold to train; without them a seeded eighth of the experiments validates, then all are refitted.

    Raises
    ------
    PredictdError
        If data and settings do not allow it.
    Interrupted
        If a stop was asked for; the same command goes on.
    """
    tensor = Tensor(tensor_path)
    require_complete(tensor)
    fold = choose_fold(tensor, folds, fold_name, seed)
    if not fold.valid:
        raise DataError(f"fold {fold.name} has no validation experiments, which decide when to stop")
    rank = _rank(settings, len(fold.train))
    refit = folds is None
    make_directory(output.parent)
    checkpoint = Checkpoint(output.with_name(f"{output.name}.checkpoint"))
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
    problem = _problem(tensor, fold, rank, settings, seed, checkpoint.path)

    search = checkpoint.load_result()
    if search is None:
        with record.stage("train") as stage:
            result = _run(engine, problem, checkpoint)
            stage.bytes_exchanged = result.bytes_sent * engine.workers
        search = {
            "history": list(result.history),
            "schedule": [list(s) for s in result.schedule],
            "rounds": result.rounds,
        }
        if refit:
            checkpoint.save_result(search)
    if refit:
        schedule = _lengthened(search["schedule"], len(tensor.experiments) / len(fold.train))
        with record.stage("refit") as stage:
            result = _run(engine, _refit(problem, tensor, schedule), checkpoint)
            stage.bytes_exchanged = result.bytes_sent * engine.workers
    validation_mse = float(min(search["history"]))

    info: dict[str, Any] = {
        "solver": settings.solver,
        "objective": "predictd-constants" if settings.predictd_constants else "J",
        "settings": settings.model_dump(mode="json", by_alias=True) | {"rank": rank},
        "seed": seed,
        "workers": engine.workers,
        "fold": {
            "name": fold.name,
            "test": [str(e) for e in fold.test],
            "valid": [str(e) for e in fold.valid],
        },
        "refitted": refit,
        "validation_mse": validation_mse,
        "history": search["history"],
        "tensor": tensor.manifest.checksum,
        "software": software(),
    }
    write_model(output, ModelFile("cp", result.model.to_arrays(), info))
    record.train = [str(e) for e in result.model.train]
    record.inputs = {str(tensor_path): tensor.manifest.checksum}
    record.results = {
        "rank": result.model.rank,
        "validation_mse": validation_mse,
        "bins_trained_on": problem.sample.n_bins,
        "rounds": search["rounds"],
    }
    write_json(output.with_name(f"{output.name}.run.json"), record.to_dict())
    checkpoint.remove()
    return TrainReport(result.model.rank, validation_mse, fold, refit)


def _run(engine: Engine, problem: SgdProblem, checkpoint: Checkpoint) -> SgdResult:
    try:
        return engine.spmd(descend, [], problem)[0]
    except DataError:
        # What was saved leads there again, and would stand in the way of the settings that the error asks for.
        checkpoint.remove()
        raise


def _rank(settings: TrainSettings, n_train: int) -> int:
    if settings.rank != "auto":
        if settings.rank >= n_train:
            raise ConfigError(
                f"rank {settings.rank} is too high for {n_train} training experiments, which determine fewer factors "
                f"a bin; use --rank {default_rank(n_train)} or so"
            )
        return settings.rank
    rank = default_rank(n_train)
    if rank < DEFAULT_RANK:
        log.warning(
            "%d training experiments carry no rank of %d: using --rank %d", n_train, DEFAULT_RANK, rank
        )
    return rank


def _problem(
    tensor: Tensor, fold: Fold, rank: int, settings: TrainSettings, seed: int, checkpoint: Path
) -> SgdProblem:
    wanted = max(settings.sgd.min_bins, round(settings.sgd.bin_fraction * tensor.n_bins))
    return SgdProblem(
        sample=plan_sample(tensor, wanted, seed),
        train=fold.train,
        valid=fold.valid,
        names=tuple(tensor.experiments),
        rank=rank,
        regularisation=DEFAULT_PENALTY if settings.regularisation == "auto" else settings.regularisation,
        lambda_g=settings.lambda_g,
        paper_constants=settings.predictd_constants,
        settings=settings.sgd,
        seed=seed,
        schedule=(),
        checkpoint=checkpoint,
        phase="train",
    )


def _refit(problem: SgdProblem, tensor: Tensor, schedule: tuple[Stage, ...]) -> SgdProblem:
    """The same descent on all experiments: the schedule that served the search decides when to stop."""
    return replace(
        problem, train=tuple(sorted(tensor.experiments)), valid=(), schedule=schedule, phase="refit"
    )


def _lengthened(schedule: list[list[float]], factor: float) -> tuple[Stage, ...]:
    """As many passes over more experiments take more evaluations."""
    return tuple(Stage(rate, beta1, max(1, round(n * factor))) for rate, beta1, n in schedule)
