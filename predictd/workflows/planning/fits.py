"""Stages that fit models, solver by solver: their tasks, how long these take, and what they hold and read."""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch
from math import ceil, log2

from predictd.errors import ConfigError
from predictd.model.cp.fit import choose
from predictd.model.folds import VALIDS
from predictd.model.stack.features import KINDS
from predictd.model.stack.gains import TESTED_BINS
from predictd.model.stack.inputs import HALF_WIDTHS
from predictd.model.stack.networks import learned_bins
from predictd.workflows.planning.work import PlannedStage, Wave, Workload
from predictd.workflows.tensor.context import blocks_read
from predictd.workflows.training.folds import n_deciding
from predictd.workflows.training.solvers import SOLVERS, Solver
from predictd.workflows.training.solvers.cp import CPSolver
from predictd.workflows.training.solvers.sgd import Sgd
from predictd.workflows.training.solvers.stack import (
    FEWEST_TESTED,
    STANDARDISED_EM,
    TESTED_TRACKS,
    Stack,
)

# Maps of the tracks that lead networks at a pair; about as many are of features, where these are read.
_MAPS = 28


def fitting(load: Workload) -> list[PlannedStage]:
    """Stages of a solver, from the tensor to its models."""
    return _fitting(SOLVERS[load.solver], load)


def moments(load: Workload) -> PlannedStage:
    """A task is a shard; a worker holds some sums of (n + 1)² numbers, n experiments."""
    shape, rates, n, size = load.shape, load.rates, load.shape.observed, load.tensor_bytes
    seconds = shape.values * rates.read + shape.bins * rates.moments * n**2 / 2
    memory = load.streaming_bytes() + 8.0 * (n + 1) ** 2 * (3 + ceil(log2(shape.shards + 1)))
    wave = Wave.of(shape.shards, seconds / shape.shards)
    return PlannedStage(
        "moments", load.job.kind, (wave,), memory, reads=size, source=size, solver=load.solver
    )


@singledispatch
def _fitting(solver: Solver, load: Workload) -> list[PlannedStage]:
    """What fits of a solver of some class take; here, since a solver knows nothing of rates and waves."""
    raise ConfigError(f"the fits of the solver {solver.name} cannot be planned: nothing says what they take")


@_fitting.register
def _by_moments(solver: CPSolver, load: Workload) -> list[PlannedStage]:
    """Sweeps over moments: rank and penalty are chosen, then all models are fitted."""
    found = [moments(load)]
    turns = _turns(load, solver)
    if turns:
        # One test fold after the other.
        waves = tuple(_searching(load, turns) * load.choices)
        memory = _fit_bytes(load, max(max(ranks) for ranks in turns))
        found.append(PlannedStage("choose", load.job.kind, waves, memory, solver=load.solver))
    seconds = _fit_seconds(load, load.rank)
    return [*found, _training(load, seconds, seconds)]


@_fitting.register
def _by_stack(stack: Stack, load: Workload) -> list[PlannedStage]:
    """Members are weighed on validation folds, and networks learn the rest; for each test fold and for all."""
    shape, rates = load.shape, load.rates
    n, bins, folds = shape.observed, load.sampled, n_deciding(VALIDS, load.n_train)
    # EM is fitted to standardised tracks, and to tracks as they are.
    fits = len({"em", "em_raw"} & set(stack.members))
    # Validation tells how many sweeps are best, and all later fits make as many.
    searched = fits * _fit_seconds(load, load.rank)
    fitted = searched + 2 * rates.model
    turns = _turns(load, STANDARDISED_EM) if "em" in stack.members else []
    waves = _searching(load, turns) + ([Wave.of(folds, searched)] if fits else [])
    if load.featured:
        waves.append(Wave.of(1, bins * n * (rates.curve + KINDS**2 * n * rates.feature)))
    waves.append(Wave.of(folds, fitted))
    learning = _learning(load, folds)
    # Each network, each fold that tests them, features and scales of curves need the sample; workers keep it.
    tasks = load.choices * sum(wave.tasks for wave in learning)
    times = tasks + load.choices * (load.featured + bool(load.networks))
    workers = load.job.workers or load.networks
    if load.keeps_sample:
        times = min(times, workers)
    # What all tasks share is sent to each: of every fold the correlations of its tracks, and maps to known ones. They
    # come from tasks as well, with about as much again of models.
    kinds, maps = (KINDS, 2 * _MAPS) if load.featured else (1, _MAPS)
    shared = folds * 8.0 * load.n_train * (kinds**2 * load.n_train + load.n_valid * maps)
    share = min(1.0, blocks_read(bins) * 1.5 * load.block_rows / shape.bins)
    drawn = Wave.of(shape.shards, 3 * share * shape.values * rates.read / shape.shards)
    # The sample comes from tasks, too.
    reads = share * load.tensor_bytes + (times + 1) * load.sample_bytes + (tasks + 2 * load.choices) * shared
    memory = _fit_bytes(load, max([load.rank, *(rank for turn in turns for rank in turn)]))
    if load.networks:
        learned = max(learned_bins(folds * load.n_valid, bins, load.networks))
        memory = max(memory, rates.process_bytes + 2 * load.sample_bytes + learned * rates.learned_bytes)
    every = (drawn, *(waves + learning) * load.choices)
    source = share * load.tensor_bytes + load.sample_bytes
    choose = PlannedStage(
        "choose", load.job.kind, every, memory, reads=reads, source=source, solver=load.solver
    )
    return [moments(load), choose, _training(load, fitted, fitted)]


def _learning(load: Workload, folds: int) -> list[Wave]:
    """Networks are fitted to known tracks at a sample of bins, and tested at those of some."""
    rates, bins, known = load.rates, load.sampled, folds * load.n_valid
    if not load.networks:
        return []
    read = rates.exercise + len(HALF_WIDTHS) * load.n_train * rates.window
    fitted = [own * (read + rates.learn) for own in learned_bins(known, bins, load.networks)]
    waves = [Wave(load.networks, sum(fitted), max(fitted))]
    if load.networks >= FEWEST_TESTED:
        seconds = min(known, TESTED_TRACKS) * min(bins, TESTED_BINS) * (read + load.networks * rates.refine)
        waves.append(Wave.of(folds, seconds / folds))
    return waves


@_fitting.register
def _by_descent(solver: Sgd, load: Workload) -> list[PlannedStage]:
    """SGD on a sample of the bins, for which the tensor is read once a descent."""
    shape, job, sgd, rates = load.shape, load.job, load.settings.sgd, load.rates
    bins = sgd.sampled_bins(shape.bins)
    rounds = min(sgd.max_rounds, ceil(rates.epochs * bins * load.n_train / sgd.least_updates))
    # A worker's round, with its share of an evaluation, which all workers make.
    evaluating = (rates.sweep + _evaluation(load, load.rank) * rates.fit) / sgd.rounds_per_evaluation
    a_round = sgd.least_updates * rates.update * (load.rank + 1) + evaluating
    # Twice the factors of the bins and their optimiser's state: the best are kept.
    memory = load.streaming_bytes() + bins * (4.0 * shape.observed + 24.0 * (load.rank + 1))
    reading, size = shape.values * rates.read, load.tensor_bytes
    if job.kind == "cv":
        waves: tuple[Wave, ...] = (Wave.of(load.models, reading + rounds * a_round),)
        found = [moments(load)]
    else:
        # The refit repeats the search with more experiments. Workers share the bins, and with them the rounds.
        rounds = ceil(rounds * (1 + shape.observed / load.n_train))
        waves = (Wave.of(shape.shards, 2 * reading / shape.shards), Wave.of(rounds, a_round))
        found = []
    reads = size * (load.models if job.kind == "cv" else 2)
    train = PlannedStage("train", job.kind, waves, memory, reads=reads, source=size, solver=load.solver)
    return [*found, train]


def _training(load: Workload, fitted: float, refitted: float) -> PlannedStage:
    """Fits of so many seconds: all models; of a single one, that which decides and that of all experiments."""
    waves = [Wave.of(load.models, fitted if load.holds_out else refitted)]
    if load.job.kind == "train":
        waves = [Wave.of(1, fitted), Wave.of(1, refitted * load.shape.observed / load.n_train)]
    memory = _fit_bytes(load, load.rank)
    return PlannedStage("train", load.job.kind, tuple(waves), memory, solver=load.solver)


def _turns(load: Workload, solver: CPSolver) -> list[list[int]]:
    """Ranks that are fitted at once, turn by turn, while rank and penalty are chosen.

    It is assumed that the default rank wins, and another penalty than the first.
    """
    ranks, penalties, first = solver.grid(load.settings, load.n_train)
    turns: list[list[int]] = []

    def score(candidates: Sequence[tuple[int, float]]) -> list[float]:
        turns.append([rank for rank, _ in candidates])
        return [abs(rank - load.rank) + 0.5 * (penalty == first) for rank, penalty in candidates]

    if len(ranks) * len(penalties) > 1:
        choose(score, ranks, penalties, first)
    return turns


def _searching(load: Workload, turns: Sequence[Sequence[int]]) -> list[Wave]:
    """Waves of the turns, on all folds that decide."""
    folds = n_deciding(VALIDS, load.n_train)
    fits = [[_fit_seconds(load, rank) for rank in ranks] for ranks in turns]
    return [Wave(folds * len(turn), folds * sum(turn), max(turn)) for turn in fits]


def _fit_seconds(load: Workload, rank: int) -> float:
    """Sweeps until validation stops a fit.

    The operations of a sweep are those of section "Closed form" of docs/method.md.
    """
    als, n, shape, rates = load.settings.als, load.n_train, load.shape, load.rates
    genome = n * rank * (n + 5.0 * rank)
    rows = (shape.cells + shape.assays) * rank * (n + rank * (rank / 6 + 3.0))
    operations = genome + rows + 2.0 * shape.cells * shape.assays * rank**2
    operations += _evaluation(load, rank) / als.evaluate_every
    most = als.starts * als.start_sweeps + als.max_sweeps
    return min(rates.sweeps, most) * (rates.sweep + operations * rates.fit)


def _evaluation(load: Workload, rank: int) -> float:
    """Operations of the error of validation experiments."""
    n = load.n_train
    return 3.0 * n * rank**2 + load.n_valid * (rank * n + load.shape.observed**2)


def _fit_bytes(load: Workload, rank: int) -> float:
    """A worker's memory while it fits."""
    shape = load.shape
    rows = 16.0 * (shape.cells + shape.assays) * (rank + 1) ** 2
    return load.rates.process_bytes + shape.observed * (24.0 * shape.observed + 100.0 * rank) + rows
