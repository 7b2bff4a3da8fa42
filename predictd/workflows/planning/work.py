"""The work of a job, stage by stage: tasks, their seconds on one core, and the memory of whoever does them.

Each formula follows the workflow of the same name; constants that decide there are imported from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import ceil, log2
from typing import Literal

from predictd.config import TrainSettings
from predictd.constants import BLOCK_BINS, CHUNK_BYTES
from predictd.errors import ConfigError
from predictd.workflows.evaluation.score import CASE_BYTES, KEPT_BYTES, MOST_CASES
from predictd.workflows.planning.rates import Rates
from predictd.workflows.planning.shape import Pairs, Shape, impute_parts
from predictd.workflows.training.folds import FOLDS_WITH_MANY, MANY_EXPERIMENTS
from predictd.workflows.training.settings import default_rank
from predictd.workflows.training.solvers import SOLVERS
from predictd.workflows.training.solvers.cp import CPSolver, ranks_for

JobKind = Literal["cv", "train"]

TESTS, VALIDS = 5, 8
# Of what test folds and single models leave to train on.
_CV_TRAIN, _CV_VALID, _HELD_OUT = 0.7, 0.1, 1 / 8
_SELECTION_FOLDS = 8
_METHODS = 3
# A bigWig that grows: pyBigWig's buffers, and the index of what is written.
_WRITER_BYTES = 2**20


@dataclass(frozen=True)
class Tasks:
    """Equal tasks: how many, and what one takes on one core."""

    count: int
    seconds: float


@dataclass(frozen=True)
class Stage:
    """One stage of a job.

    Attributes
    ----------
    name, command
        What it is, and the command that it belongs to.
    waves
        Groups of tasks; a group begins when the one before it has ended.
    memory
        Bytes that one worker holds at most.
    reads
        Bytes that all tasks read, where nothing is copied to scratch.
    source
        Bytes of what they read, taken once.
    writes
        Bytes that they write.
    joined
        Bytes of a partial sum that workers send each other; 0 where they send nothing to speak of.
    starts
        Whether workers are started for it: the first stage of a command.
    """

    name: str
    command: str
    waves: tuple[tuple[Tasks, ...], ...]
    memory: float
    reads: float = 0.0
    source: float = 0.0
    writes: float = 0.0
    joined: float = 0.0
    starts: bool = False

    @property
    def core_seconds(self) -> float:
        return sum(tasks.count * tasks.seconds for wave in self.waves for tasks in wave)

    @property
    def tasks(self) -> int:
        """Tasks that can run at once."""
        return max((sum(tasks.count for tasks in wave) for wave in self.waves), default=0)


@dataclass(frozen=True)
class Job:
    """What is to be done to a tensor.

    Attributes
    ----------
    kind
        cv: ingest, cross-validation, imputing by its models; train: a single model in place of the cross-validation.
    settings
        Solver, rank and penalty.
    pairs
        What is imputed.
    ingested
        Whether the tensor stands already.
    tests
        Test folds; 1: a part of the cross-validation.
    """

    kind: JobKind = "cv"
    settings: TrainSettings = field(default_factory=TrainSettings)
    pairs: Pairs = "missing"
    ingested: bool = False
    tests: int = TESTS

    def __post_init__(self) -> None:
        if self.settings.solver == "kriging":
            raise ConfigError("no rates are known of the solver kriging; plan with --solver em, als or sgd")
        if self.settings.solver == "auto":
            # What it also tries with few experiments is not counted.
            object.__setattr__(self, "settings", self.settings.model_copy(update={"solver": "em"}))

    def n_train(self, observed: int) -> int:
        """Experiments that a model is trained on while others decide when to stop."""
        share = _CV_TRAIN if self.kind == "cv" else 1 - _HELD_OUT
        return max(1, round(share * observed))

    def n_valid(self, observed: int) -> int:
        return max(1, round((_CV_VALID if self.kind == "cv" else _HELD_OUT) * observed))

    def rank(self, observed: int) -> int:
        """The rank that is given, or SGD's default in place of one that validation would choose."""
        given = self.settings.rank
        return default_rank(self.n_train(observed)) if given == "auto" else given

    @property
    def models(self) -> int:
        """That impute together."""
        return self.tests * VALIDS if self.kind == "cv" else 1


def stages(shape: Shape, rates: Rates, job: Job) -> list[Stage]:
    """All stages of a job in their order."""
    found = [] if job.ingested else [_ingest(shape, rates)]
    if job.kind == "cv" or job.settings.solver != "sgd":
        found.append(_moments(shape, rates, job))
    if job.settings.solver != "sgd":
        choosing = _choose(shape, rates, job)
        found += [choosing] if choosing.waves else []
    found.append(_fit(shape, rates, job))
    if job.kind == "cv":
        found.append(_score(shape, rates, job))
    if shape.targets(job.pairs):
        found.append(_impute(shape, rates, job))
    commands = [stage.command for stage in found]
    return [replace(stage, starts=stage.command not in commands[:i]) for i, stage in enumerate(found)]


def tensor_bytes(shape: Shape, rates: Rates) -> float:
    """Size of the shards."""
    return shape.values * shape.itemsize / rates.compression


def storage(shape: Shape, rates: Rates, job: Job) -> dict[str, float]:
    """Bytes of what the job reads and leaves, by what it is."""
    rows = (shape.cells + shape.assays) * (job.rank(shape.observed) + 1)
    return {
        "tracks": shape.values * rates.track_bytes,
        "tensor": tensor_bytes(shape, rates) + 8.0 * (shape.observed + 1) ** 2,
        "models": 8.0 * rows * job.models,
        "imputed": shape.bins * shape.targets(job.pairs) * rates.imputed_bytes,
    }


def fit_operations(
    n: int, rank: int, cells: int, assays: int, n_valid: int, observed: int, evaluate_every: int
) -> float:
    """Multiplications and additions of a sweep of ALS or EM, with its share of an evaluation.

    Parameters
    ----------
    n, n_valid, observed
        Experiments that are trained on, that validate, and in all.
    rank, cells, assays
        L and the rows of C and A.
    evaluate_every
        Sweeps between evaluations.
    """
    genome = rank * n**2 + 5.0 * n * rank**2
    rows = (cells + assays) * (n * rank + rank**3 / 6 + 3.0 * rank**2) + 2.0 * cells * assays * rank**2
    evaluation = 3.0 * n * rank**2 + n_valid * rank * n + float(n_valid) * observed**2
    return genome + rows + evaluation / evaluate_every


def block_rows(shape: Shape) -> int:
    """Bins that streaming passes hold at once: whole chunks of a shard, see `write_shard`."""
    rows = 2 ** max(6, int(log2(CHUNK_BYTES / (shape.itemsize * shape.observed))))
    return min(shape.largest_shard, max(BLOCK_BINS, rows))


def _ingest(shape: Shape, rates: Rates) -> Stage:
    seconds = shape.values * rates.ingest / shape.shards
    held = shape.largest_shard * (shape.observed * shape.itemsize + 48.0)
    source = shape.values * rates.track_bytes
    return Stage(
        "ingest",
        "ingest",
        ((Tasks(shape.shards, seconds),),),
        rates.process_bytes + held + _block_bytes(shape),
        reads=source,
        source=source,
        writes=tensor_bytes(shape, rates),
    )


def _moments(shape: Shape, rates: Rates, job: Job) -> Stage:
    n = shape.observed
    seconds = shape.values * (rates.read + rates.moments * n / 2) / shape.shards
    sums = 8.0 * (n + 1) ** 2
    size = tensor_bytes(shape, rates)
    return Stage(
        "moments",
        job.kind,
        ((Tasks(shape.shards, seconds),),),
        rates.process_bytes + _block_bytes(shape) + sums * (3 + ceil(log2(shape.shards + 1))),
        reads=size,
        source=size,
        writes=sums,
        joined=sums,
    )


def _fit_seconds(shape: Shape, rates: Rates, job: Job, rank: int, n: int, *, validated: bool = True) -> float:
    als = job.settings.als
    n_valid = job.n_valid(shape.observed) if validated else 0
    operations = fit_operations(
        n, rank, shape.cells, shape.assays, n_valid, shape.observed, als.evaluate_every
    )
    return min(rates.sweeps, als.starts * als.start_sweeps + als.max_sweeps) * (
        rates.sweep + operations * rates.fit
    )


def _choose(shape: Shape, rates: Rates, job: Job) -> Stage:
    """Coordinate search: all ranks, all penalties for the best, and the ranks once more."""
    n = job.n_train(shape.observed)
    settings = job.settings
    folds = VALIDS if job.kind == "cv" else _SELECTION_FOLDS
    if n > MANY_EXPERIMENTS:
        folds = FOLDS_WITH_MANY
    ranks: Sequence[int] = ranks_for(n)
    if settings.rank != "auto":
        ranks = (settings.rank,)
    solver = SOLVERS[settings.solver]
    assert isinstance(solver, CPSolver)
    penalties = len(solver.penalties) if settings.regularisation == "auto" else 1
    chosen = job.rank(shape.observed)

    def fits(some: Sequence[int]) -> tuple[Tasks, ...]:
        return tuple(Tasks(folds, _fit_seconds(shape, rates, job, rank, n)) for rank in some)

    turns = [fits(ranks)] if len(ranks) > 1 or penalties > 1 else []
    if penalties > 1:
        turns.append(fits([chosen] * (penalties - 1)))
        turns += [fits(ranks[:-1])] if len(ranks) > 1 else []
    # A cross-validation chooses for one test fold after the other.
    repeats = job.tests if job.kind == "cv" else 1
    return Stage("choose", job.kind, tuple(turns) * repeats, _fit_memory(shape, rates, max(ranks)))


def _fit(shape: Shape, rates: Rates, job: Job) -> Stage:
    n, observed = job.n_train(shape.observed), shape.observed
    rank, count = job.rank(observed), job.models if job.kind == "cv" else 1
    name = "models" if job.kind == "cv" else "model"
    if job.settings.solver == "sgd":
        return _descend(shape, rates, job, name)
    seconds = _fit_seconds(shape, rates, job, rank, n)
    waves = [(Tasks(count, seconds),)]
    if job.kind == "train":
        waves.append((Tasks(1, _fit_seconds(shape, rates, job, rank, observed, validated=False)),))
    return Stage(name, job.kind, tuple(waves), _fit_memory(shape, rates, rank))


def _descend(shape: Shape, rates: Rates, job: Job, name: str) -> Stage:
    """SGD on a sample of the bins, which are drawn from everywhere: each descent reads the tensor once."""
    n, sgd, size = job.n_train(shape.observed), job.settings.sgd, tensor_bytes(shape, rates)
    rank, n_valid = job.rank(shape.observed), job.n_valid(shape.observed)
    bins = min(shape.bins, max(sgd.min_bins, round(sgd.bin_fraction * shape.bins)))
    rounds = min(sgd.max_rounds, ceil(rates.epochs * bins * n / sgd.least_updates))
    evaluation = 3.0 * n * rank**2 + n_valid * rank * n + float(n_valid) * shape.observed**2
    # A worker's round, with its share of an evaluation, which all workers make.
    a_round = (
        sgd.least_updates * rates.update * (rank + 1)
        + (rates.sweep + evaluation * rates.fit) / sgd.rounds_per_evaluation
    )
    # Twice the factors of the bins and their optimiser's state: the best are kept.
    memory = rates.process_bytes + bins * (4.0 * shape.observed + 24.0 * (rank + 1)) + _block_bytes(shape)
    reading = shape.values * rates.read
    if job.kind == "cv":
        waves = ((Tasks(job.models, reading + rounds * a_round),),)
        return Stage(name, "cv", waves, memory, reads=size * job.models, source=size)
    # The refit repeats the search over more experiments.
    rounds = ceil(rounds * (1 + shape.observed / n))
    read = Tasks(shape.shards, 2 * reading / shape.shards)
    two_waves = ((read,), (Tasks(rounds, a_round),))
    return Stage(name, "train", two_waves, memory, reads=2 * size, source=size)


def _score(shape: Shape, rates: Rates, job: Job) -> Stage:
    """Every experiment by the models of its test fold, beside two baselines."""
    held = max(1, ceil(shape.observed / TESTS))
    groups = ceil(held / MOST_CASES)
    most = ceil(held / groups)
    features = shape.observed - held
    preparing = _preparing(shape, rates, job, VALIDS)

    def task(pairs: float) -> float:
        sweeps = 1 if 12 * pairs * shape.bins <= KEPT_BYTES else 2
        a_bin = shape.observed * rates.read + pairs * (
            features * rates.multiply + features / shape.assays * rates.baseline
        )
        comparing = pairs * _METHODS * (rates.ranking + shape.bins * rates.compare)
        return preparing + shape.bins * sweeps * a_bin + comparing

    tasks = Tasks(job.tests * groups, task(held / groups))
    n_bytes = tensor_bytes(shape, rates)
    return Stage(
        "score",
        "cv",
        ((tasks,),),
        rates.process_bytes
        + most * CASE_BYTES
        + min(KEPT_BYTES, 12.0 * most * shape.bins)
        + _block_bytes(shape)
        + _imputer_bytes(shape, job, VALIDS, most),
        reads=tasks.count * n_bytes * (1 if 12 * most * shape.bins <= KEPT_BYTES else 2),
        source=n_bytes,
    )


def _impute(shape: Shape, rates: Rates, job: Job) -> Stage:
    """Parts of up to 64 pairs, each over all shards."""
    targets, n, rank = shape.targets(job.pairs), shape.observed, job.rank(shape.observed)
    parts = impute_parts(targets)
    pairs = ceil(targets / parts)
    products = pairs * n if job.kind == "cv" else min(pairs * n, (rank + 1) * (pairs + n))
    a_bin = n * rates.read + products * rates.multiply + targets / parts * rates.bigwig
    size = tensor_bytes(shape, rates)
    return Stage(
        "impute",
        "impute",
        ((Tasks(parts, _preparing(shape, rates, job, job.models) + shape.bins * a_bin),),),
        rates.process_bytes
        + _block_bytes(shape)
        + pairs * (_WRITER_BYTES + 8.0 * block_rows(shape))
        + _imputer_bytes(shape, job, job.models, pairs),
        reads=parts * size,
        source=size,
        writes=shape.bins * targets * rates.imputed_bytes,
    )


def _preparing(shape: Shape, rates: Rates, job: Job, models: int) -> float:
    """Seconds to make imputers of models: the closed form, and how inputs fill each other."""
    n, rank = job.n_train(shape.observed), job.rank(shape.observed)
    return models * rates.fit * (n**2 * rank + 3.0 * n * rank**2)


def _imputer_bytes(shape: Shape, job: Job, models: int, pairs: int) -> float:
    n, rank = job.n_train(shape.observed), job.rank(shape.observed)
    return 8.0 * models * (n**2 + 2.0 * n * (rank + 1)) + 12.0 * pairs * shape.observed


def _fit_memory(shape: Shape, rates: Rates, rank: int) -> float:
    systems = 16.0 * (shape.cells + shape.assays) * (rank + 1) ** 2
    return rates.process_bytes + 24.0 * shape.observed**2 + systems + 100.0 * rank * shape.observed


def _block_bytes(shape: Shape) -> float:
    """Stored signal of a block, widened, shifted, and its NaN."""
    return block_rows(shape) * shape.observed * (shape.itemsize + 9.0)
