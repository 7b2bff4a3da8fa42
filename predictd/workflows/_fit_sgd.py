"""SGD for the workflows: a search that validation stops, and a refit that repeats it on all experiments."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

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
from predictd.provenance import Stage as TimedStage
from predictd.workflows._sample import plan_sample
from predictd.workflows._settings import Setting
from predictd.workflows._sgd import SgdProblem, SgdResult, descend

log = logging.getLogger(__name__)

_EXCHANGE_SHARE = 0.1
# Less is not worth a word.
_WASTE_SECONDS = 10.0


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
        with record.stage("train") as stage:
            result = _run(engine, problem, checkpoint, stage)
        search = {"history": list(result.history), "schedule": [list(s) for s in result.schedule]}
        if everything is None:
            return result.model, search["history"]
        checkpoint.save_result(search)
    # As many passes over more experiments take more evaluations.
    longer = len(everything) / len(problem.train)
    schedule = tuple(Stage(rate, beta1, max(1, round(n * longer))) for rate, beta1, n in search["schedule"])
    refit = replace(problem, train=tuple(sorted(everything)), valid=(), schedule=schedule, phase="refit")
    with record.stage("refit") as stage:
        result = _run(engine, refit, checkpoint, stage)
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


def exchange_advice(update_seconds: float, exchange_seconds: float, updates_per_round: int) -> str | None:
    """What to set where workers spend too much of their rounds with exchanging; None where they do not.

    The number of updates a round decides what the descent comes to, so that it is not chosen by the speed of a network.

    Parameters
    ----------
    update_seconds, exchange_seconds
        Of a worker's rounds; see `SgdResult`.
    updates_per_round
        As it is set.
    """
    total = update_seconds + exchange_seconds
    if exchange_seconds < _WASTE_SECONDS or exchange_seconds <= _EXCHANGE_SHARE * total:
        return None
    enough = updates_per_round * exchange_seconds / update_seconds * (1 / _EXCHANGE_SHARE - 1)
    return (
        f"the workers spent {exchange_seconds / total:.0%} of their rounds exchanging factors and waiting for each "
        f"other; set updates_per_round to {math.ceil(enough / 1000) * 1000} under [train.sgd] in --config, which is "
        "another descent, or take fewer --workers"
    )


def _run(engine: Engine, problem: SgdProblem, checkpoint: Checkpoint, stage: TimedStage) -> SgdResult:
    try:
        results = engine.spmd(descend, [], problem)
    except DataError:
        # What was saved leads there again, and would stand in the way of the settings that the error asks for.
        checkpoint.remove()
        raise
    update_seconds = fmean(result.update_seconds for result in results)
    exchange_seconds = fmean(result.exchange_seconds for result in results)
    stage.exchange_seconds = round(exchange_seconds, 3)
    advice = exchange_advice(update_seconds, exchange_seconds, problem.settings.updates_per_round)
    if advice is not None:
        log.warning("%s: %s", problem.phase, advice)
    elif len(results) > 1:
        log.info("%s: %.1f s of updates, %.1f s of exchange", problem.phase, update_seconds, exchange_seconds)
    return results[0]
