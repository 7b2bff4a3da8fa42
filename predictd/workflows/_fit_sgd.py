"""SGD for the workflows: a search that validation stops, and a refit that repeats it on all experiments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from predictd.config import TrainSettings
from predictd.engine import Engine, LocalEngine
from predictd.errors import DataError
from predictd.io.checkpoint import Checkpoint
from predictd.io.store import Tensor
from predictd.model.factors import CPModel
from predictd.model.folds import Fold
from predictd.model.sgd import Stage
from predictd.pairs import Experiment
from predictd.provenance import RunRecord
from predictd.workflows._sample import plan_sample
from predictd.workflows._settings import Setting
from predictd.workflows._sgd import SgdProblem, SgdResult, descend


def sgd_problem(
    tensor: Tensor, fold: Fold, setting: Setting, settings: TrainSettings, *, seed: int, checkpoint: Path
) -> SgdProblem:
    """The search on a fold's training experiments."""
    wanted = max(settings.sgd.min_bins, round(settings.sgd.bin_fraction * tensor.n_bins))
    return SgdProblem(
        sample=plan_sample(tensor, wanted, seed),
        train=fold.train,
        valid=fold.valid,
        names=tuple(tensor.experiments),
        rank=setting.rank,
        regularisation=setting.regularisation,
        lambda_g=settings.lambda_g,
        paper_constants=settings.predictd_constants,
        settings=settings.sgd,
        seed=seed,
        schedule=(),
        checkpoint=checkpoint,
        phase="train",
    )


def fit_sgd(
    problem: SgdProblem,
    everything: Sequence[Experiment] | None,
    engine: Engine,
    checkpoint: Checkpoint,
    record: RunRecord,
) -> tuple[CPModel, list[float]]:
    """Search, then refit.

    Parameters
    ----------
    problem
        The search.
    everything
        Experiments to refit; None: the search's model is the result.
    engine
        Whose workers share the bins.
    checkpoint
        Begun; what the search came to is kept there while the refit goes on.
    record
        Where stages are timed.

    Returns
    -------
    model, history
        The model, and the search's validation errors.
    """
    search = checkpoint.load_result()
    if search is None or everything is None:
        with record.stage("train"):
            result = _run(engine, problem, checkpoint)
        search = {"history": list(result.history), "schedule": [list(s) for s in result.schedule]}
        if everything is None:
            return result.model, search["history"]
        checkpoint.save_result(search)
    # As many passes over more experiments take more evaluations.
    longer = len(everything) / len(problem.train)
    schedule = tuple(Stage(rate, beta1, max(1, round(n * longer))) for rate, beta1, n in search["schedule"])
    refit = replace(problem, train=tuple(sorted(everything)), valid=(), schedule=schedule, phase="refit")
    with record.stage("refit"):
        result = _run(engine, refit, checkpoint)
    return result.model, search["history"]


def fit_fold_sgd(
    tensor: Tensor, fold: Fold, setting: Setting, settings: TrainSettings, *, checkpoint: Path, seed: int
) -> tuple[CPModel, list[float]]:
    """One fold on one worker, within the calling process: a task of a cross-validation."""
    problem = sgd_problem(tensor, fold, setting, settings, seed=seed, checkpoint=checkpoint)
    saved = Checkpoint(checkpoint)
    with LocalEngine(1) as engine:
        fitted = fit_sgd(problem, None, engine, saved, RunRecord([]))
    saved.remove()
    return fitted


def _run(engine: Engine, problem: SgdProblem, checkpoint: Checkpoint) -> SgdResult:
    try:
        return engine.spmd(descend, [], problem)[0]
    except DataError:
        # What was saved leads there again, and would stand in the way of the settings that the error asks for.
        checkpoint.remove()
        raise
