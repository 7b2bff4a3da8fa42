"""SGD for the workflows: a search that validation stops, and a refit that repeats it on all experiments."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from predictd import interrupt
from predictd.config import TrainSettings
from predictd.engine import Engine
from predictd.errors import ConfigError, DataError
from predictd.io.checkpoint import Checkpoint
from predictd.io.tensor.store import Tensor
from predictd.model.cp.sgd import RateStage
from predictd.model.folds import Fold
from predictd.pairs import Experiment
from predictd.provenance import RunRecord, Stage
from predictd.workflows.tensor.sample import plan_sample
from predictd.workflows.training.sgd.descent import DescentResult, SgdProblem, descend
from predictd.workflows.training.sgd.rounds import enough_updates, exchange_advice, probe

log = logging.getLogger(__name__)


def sgd_problem(
    tensor: Tensor, fold: Fold, settings: TrainSettings, *, seed: int, checkpoint: Path
) -> SgdProblem:
    """The search on a fold's training experiments, with a rank and a penalty that were chosen."""
    if settings.rank == "auto" or settings.regularisation == "auto":
        raise ConfigError("a descent needs a rank and a penalty; choose them first")
    return SgdProblem(
        sample=plan_sample(tensor, settings.sgd.sampled_bins(tensor.n_bins), seed),
        train=fold.train,
        valid=fold.valid,
        names=tuple(tensor.experiments),
        rank=settings.rank,
        regularisation=settings.regularisation,
        lambda_g=settings.lambda_g,
        paper_constants=settings.predictd_constants,
        settings=settings.sgd,
        updates_per_round=settings.sgd.least_updates,
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
) -> tuple[DescentResult, int]:
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
    result, updates_per_round
        What the last descent came to, with the errors of the search; the size of the rounds.
    """
    if problem.settings.updates_per_round == "auto" and engine.workers > 1:
        problem = _with_round_size(problem, engine, checkpoint, record)
    search = checkpoint.kept("search")
    if search is None or everything is None:
        with record.stage("train") as stage:
            result = _run(engine, problem, checkpoint, stage)
        search = {"history": list(result.history), "schedule": [list(s) for s in result.schedule]}
        if everything is None:
            return replace(result, history=tuple(search["history"])), problem.updates_per_round
        checkpoint.keep("search", search)
    # As many passes over more experiments take more evaluations.
    longer = len(everything) / len(problem.train)
    schedule = tuple(
        RateStage(rate, beta1, max(1, round(n * longer))) for rate, beta1, n in search["schedule"]
    )
    refit = replace(problem, train=tuple(sorted(everything)), valid=(), schedule=schedule, phase="refit")
    with record.stage("refit") as stage:
        result = _run(engine, refit, checkpoint, stage)
    return replace(result, history=tuple(search["history"])), problem.updates_per_round


def _with_round_size(
    problem: SgdProblem, engine: Engine, checkpoint: Checkpoint, record: RunRecord
) -> SgdProblem:
    """The problem with rounds whose size is measured once, and kept for whoever goes on."""
    found = checkpoint.kept("rounds")
    if found is None:
        with record.stage("measure") as stage:
            result = _run(engine, probe(problem), checkpoint, stage)
        updates = enough_updates(result.update_seconds, result.exchange_seconds, problem.updates_per_round)
        found = {"updates_per_round": updates}
        checkpoint.keep("rounds", found)
        log.info("each worker makes %d updates per round, so that merging takes little time", updates)
    return replace(problem, updates_per_round=int(found["updates_per_round"]))


def _run(engine: Engine, problem: SgdProblem, checkpoint: Checkpoint, stage: Stage) -> DescentResult:
    """Result of the first worker, with the seconds that workers spent on average."""
    try:
        with interrupt.after("this round of updates"):
            results = engine.spmd(descend, [], problem)
    except DataError:
        # What was saved leads there again, and would prevent the settings that the error asks for.
        checkpoint.remove()
        raise
    update_seconds = fmean(result.update_seconds for result in results)
    exchange_seconds = fmean(result.exchange_seconds for result in results)
    stage.exchange_seconds = round(exchange_seconds, 3)
    advice = exchange_advice(update_seconds, exchange_seconds, problem.updates_per_round)
    if advice is not None and problem.settings.updates_per_round != "auto":
        log.warning("%s: %s", problem.phase, advice)
    elif len(results) > 1:
        log.info("%s: %.1f s of updates, %.1f s of exchange", problem.phase, update_seconds, exchange_seconds)
    return replace(results[0], update_seconds=update_seconds, exchange_seconds=exchange_seconds)
