"""The work of a job, stage by stage: tasks, their seconds on one core, and the memory of whoever does them.

Stages have the names that run.json gives them. Workflows themselves say how many tasks there are and what is tried.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import ceil, log2
from typing import Literal

from predictd.config import TrainSettings
from predictd.constants import BLOCK_BINS, MAX_OPEN_TRACKS
from predictd.io.tensor.store import chunk_rows
from predictd.model.cp.fit import choose
from predictd.model.folds import TESTS, VALIDS
from predictd.model.stack.inputs import HALF_WIDTHS
from predictd.workflows.evaluation.score import CASE_BYTES, KEPT_BYTES, group_cases
from predictd.workflows.imputing.impute import track_groups
from predictd.workflows.planning.rates import Rates
from predictd.workflows.planning.shape import Shape
from predictd.workflows.tensor.context import blocks_read, sampled_bins
from predictd.workflows.training.folds import n_deciding
from predictd.workflows.training.settings import default_rank
from predictd.workflows.training.solvers import SOLVERS
from predictd.workflows.training.solvers.cp import CPSolver
from predictd.workflows.training.solvers.solver import Solver
from predictd.workflows.training.solvers.stack import STANDARDISED_EM, Stack

JobKind = Literal["cv", "train"]
# The model, and two baselines beside it.
_METHODS = 3
# A bigWig that grows: pyBigWig's buffers, and the index of what is written.
_WRITER_BYTES = 2**20
_SIGNAL_BYTES = 12


@dataclass(frozen=True)
class Wave:
    """Tasks that can run at once: how many, their seconds on one core in all, and those of the longest."""

    tasks: int
    seconds: float
    longest: float

    @classmethod
    def of(cls, tasks: int, seconds: float) -> Wave:
        """Equal tasks of so many seconds each."""
        return cls(tasks, tasks * seconds, seconds)


@dataclass(frozen=True)
class Stage:
    """One stage of a job.

    Attributes
    ----------
    name, command
        As in run.json, and the command that it belongs to.
    waves
        One begins when the one before it has ended.
    memory
        Bytes that one worker holds at most.
    reads, source, writes
        Bytes that all tasks read, of what they read, taken once, and that they write.
    start
        Seconds until workers have started: of the first stage of a command.
    solver
        Of the models that are fitted; empty where it makes no difference.
    """

    name: str
    command: str
    waves: tuple[Wave, ...]
    memory: float
    reads: float = 0.0
    source: float = 0.0
    writes: float = 0.0
    start: float = 0.0
    solver: str = ""

    @property
    def core_seconds(self) -> float:
        """Seconds of all its tasks in all, on one core each."""
        return sum(wave.seconds for wave in self.waves)

    @property
    def tasks(self) -> int:
        """Tasks that can run at once."""
        return max(wave.tasks for wave in self.waves)


@dataclass(frozen=True)
class Job:
    """What is to be done to a tensor.

    Attributes
    ----------
    kind
        cv: a cross-validation, whose models impute together; train: a single model.
    settings
        Solver, rank and penalty.
    targets
        How many pairs are imputed.
    ingested
        Whether the tensor exists already.
    tests
        Test folds of the cross-validation; 1: a part of it.
    sd
        Whether a track of standard deviations is written beside each imputed one.
    """

    kind: JobKind = "cv"
    settings: TrainSettings = field(default_factory=TrainSettings)
    targets: int = 0
    ingested: bool = False
    tests: int = TESTS
    sd: bool = False


class Workload:
    """A job on a tensor, at some rates; a method gives each stage.

    Attributes
    ----------
    n_train, n_valid
        Experiments that a model is trained on while others decide when to stop.
    rank
        The one that is given, or in place of one that validation would choose the default of sgd.
    solver
        That is planned.
    models
        That are trained.

    """

    def __init__(self, shape: Shape, rates: Rates, job: Job) -> None:
        self.shape, self.rates, self.job = shape, rates, job
        # auto is another name of one of them.
        solver = SOLVERS[job.settings.solver]
        self.solver, self.settings = solver.name, job.settings
        if solver.holds_out:
            self.models = job.tests * VALIDS if job.kind == "cv" else 1
        else:
            # The last one is of all experiments.
            self.models = job.tests + 1 if job.kind == "cv" else 1
        kept = shape.observed * (1 - 1 / TESTS) if job.kind == "cv" else shape.observed
        self.n_valid = max(1, round(kept / VALIDS))
        self.n_train = max(1, round(kept) - self.n_valid)
        given = job.settings.rank
        self.rank = default_rank(self.n_train) if given == "auto" else given
        self.tensor_bytes = shape.values * shape.itemsize / rates.compression
        # A block of a shard, widened, shifted, and its NaN.
        rows = min(shape.largest_shard, max(BLOCK_BINS, chunk_rows(shape.itemsize, shape.observed)))
        self._block_rows = rows
        self._streaming = rates.process_bytes + rows * shape.observed * (shape.itemsize + 9.0)

    def stages(self) -> list[Stage]:
        """All stages of the job in their order, corrected by what past runs took."""
        found = [] if self.job.ingested else [self.ingest()]
        found += _FITTING[self.solver](self)
        if self.job.kind == "cv":
            found.append(self.score())
        if self.job.targets:
            found.append(self.impute())
        commands = [stage.command for stage in found]
        return [
            self._corrected(stage, starts=stage.command not in commands[:i]) for i, stage in enumerate(found)
        ]

    def storage(self) -> dict[str, float]:
        """Bytes of what the job reads and leaves, by what it is."""
        shape = self.shape
        return {
            "tracks": shape.values * self.rates.track_bytes,
            "tensor": self.tensor_bytes,
            "models": self.models * self._model_bytes(),
            "imputed": shape.bins * self.job.targets * (1 + self.job.sd) * self.rates.imputed_bytes,
        }

    def _corrected(self, stage: Stage, *, starts: bool) -> Stage:
        """The stage as past runs had it, of the same solver or of any, with the start of workers."""
        names, rates = (f"{stage.name} {stage.solver}", stage.name), self.rates
        factor, memory = (
            next((table[name] for name in names if name in table), 1.0)
            for table in (rates.seconds, rates.memory)
        )
        waves = tuple(Wave(wave.tasks, wave.seconds * factor, wave.longest * factor) for wave in stage.waves)
        return replace(stage, waves=waves, memory=stage.memory * memory, start=rates.start if starts else 0.0)

    def ingest(self) -> Stage:
        """A task is a shard, which is held whole."""
        shape, source = self.shape, self.shape.values * self.rates.track_bytes
        wave = Wave.of(shape.shards, shape.values * self.rates.ingest / shape.shards)
        memory = self._streaming + shape.largest_shard * (shape.observed * shape.itemsize + 48.0)
        return Stage(
            "ingest", "ingest", (wave,), memory, reads=source, source=source, writes=self.tensor_bytes
        )

    def moments(self) -> Stage:
        """A task is a shard; a worker holds some sums of (n + 1)² numbers, n experiments."""
        shape, n, size = self.shape, self.shape.observed, self.tensor_bytes
        seconds = shape.values * self.rates.read + shape.bins * self.rates.moments * n**2 / 2
        memory = self._streaming + 8.0 * (n + 1) ** 2 * (3 + ceil(log2(shape.shards + 1)))
        wave = Wave.of(shape.shards, seconds / shape.shards)
        return Stage("moments", self.job.kind, (wave,), memory, reads=size, source=size, solver=self.solver)

    def by_moments(self) -> list[Stage]:
        """Solvers that make sweeps over moments: rank and penalty are chosen, then all models are fitted."""
        job, solver = self.job, self.solver
        found = [self.moments()]
        turns = self._turns(SOLVERS[self.solver])
        if turns:
            folds = n_deciding(VALIDS, self.n_train)
            fits = [[self._fit_seconds(rank) for rank in ranks] for ranks in turns]
            waves = [Wave(folds * len(turn), folds * sum(turn), max(turn)) for turn in fits]
            # One test fold after the other.
            waves *= job.tests if job.kind == "cv" else 1
            memory = self._fit_bytes(max(max(ranks) for ranks in turns))
            found.append(Stage("choose", job.kind, tuple(waves), memory, solver=solver))
        seconds = self._fit_seconds(self.rank)
        train = [Wave.of(self.models, seconds)]
        if job.kind == "train":
            train.append(Wave.of(1, seconds * self.shape.observed / self.n_train))
        memory = self._fit_bytes(self.rank)
        return [*found, Stage("train", job.kind, tuple(train), memory, solver=solver)]

    def by_stack(self) -> list[Stage]:
        """Members are weighed on validation folds, and networks learn the rest; for each test fold and for all."""
        job, rates, solver = self.job, self.rates, SOLVERS[self.solver]
        assert isinstance(solver, Stack)
        choices = self.models if job.kind == "cv" else 1
        folds = n_deciding(VALIDS, self.n_train)
        turns = self._turns(STANDARDISED_EM) if "em" in solver.members else []
        fits = [[self._fit_seconds(rank) for rank in ranks] for ranks in turns]
        waves = [Wave(folds * len(turn), folds * sum(turn), max(turn)) for turn in fits]
        # EM is a member on standardised tracks, and on tracks as they are.
        seconds = self._fit_seconds(self.rank) * max(1, len({"em", "em_raw"} & set(solver.members)))
        waves.append(Wave.of(folds, seconds))
        if self.settings.networks:
            waves.append(Wave.of(self.settings.networks, rates.network))
        # The sample is read with the bins around it, where there are many blocks from some of them.
        bins = min(self.shape.bins, sampled_bins(self.shape.observed))
        share = min(1.0, blocks_read(bins) * 1.5 * self._block_rows / self.shape.bins)
        reading = 3 * share * self.shape.values * rates.read
        sample = Wave.of(self.shape.shards, reading / self.shape.shards)
        most = max([self.rank, *(rank for turn in turns for rank in turn)])
        memory = self._fit_bytes(most) + 4.0 * len(HALF_WIDTHS) * bins * self.shape.observed
        size = share * self.tensor_bytes
        choose = Stage(
            "choose",
            job.kind,
            (sample, *waves * choices),
            memory,
            reads=size,
            source=size,
            solver=self.solver,
        )
        train = Stage(
            "train", job.kind, (Wave.of(self.models, seconds),), self._fit_bytes(most), solver=self.solver
        )
        return [self.moments(), choose, train]

    def by_descent(self) -> list[Stage]:
        """SGD on a sample of the bins, for which the tensor is read once a descent."""
        shape, job, sgd, rates = self.shape, self.job, self.settings.sgd, self.rates
        bins = sgd.sampled_bins(shape.bins)
        rounds = min(sgd.max_rounds, ceil(rates.epochs * bins * self.n_train / sgd.least_updates))
        # A worker's round, with its share of an evaluation, which all workers make.
        evaluating = (rates.sweep + self._evaluation(self.rank) * rates.fit) / sgd.rounds_per_evaluation
        a_round = sgd.least_updates * rates.update * (self.rank + 1) + evaluating
        # Twice the factors of the bins and their optimiser's state: the best are kept.
        memory = self._streaming + bins * (4.0 * shape.observed + 24.0 * (self.rank + 1))
        reading, size = shape.values * rates.read, self.tensor_bytes
        if job.kind == "cv":
            waves: tuple[Wave, ...] = (Wave.of(self.models, reading + rounds * a_round),)
            found = [self.moments()]
        else:
            # The refit repeats the search with more experiments. Workers share the bins, and with them the rounds.
            rounds = ceil(rounds * (1 + shape.observed / self.n_train))
            waves = (Wave.of(shape.shards, 2 * reading / shape.shards), Wave.of(rounds, a_round))
            found = []
        reads = size * (self.models if job.kind == "cv" else 2)
        train = Stage("train", job.kind, waves, memory, reads=reads, source=size, solver="sgd")
        return [*found, train]

    def score(self) -> Stage:
        """Every experiment by the models of its test fold, beside two baselines, a group of them at a time.

        Few workers take several groups at a time, and read less.
        """
        shape, rates = self.shape, self.rates
        held = max(1, ceil(shape.observed / TESTS))
        groups = [len(group) for group in group_cases(range(held), 1)]
        pairs, n_inputs = held / len(groups), shape.observed - held
        kept = _SIGNAL_BYTES * max(groups) * shape.bins <= KEPT_BYTES
        a_bin = shape.observed * rates.read + pairs * n_inputs * (
            rates.multiply + rates.baseline / shape.assays
        )
        a_bin += pairs * self._refining()
        comparing = pairs * _METHODS * (rates.ranking + shape.bins * rates.compare)
        seconds = shape.bins * a_bin * (1 if kept else 2) + comparing
        memory = (
            self._imputing_bytes(VALIDS if SOLVERS[self.solver].holds_out else 1, max(groups))
            + max(groups) * CASE_BYTES
        )
        memory += min(KEPT_BYTES, _SIGNAL_BYTES * max(groups) * shape.bins)
        tasks = self.job.tests * len(groups)
        reads = tasks * self.tensor_bytes * (1 if kept else 2)
        return Stage("score", "cv", (Wave.of(tasks, seconds),), memory, reads=reads, source=self.tensor_bytes)

    def impute(self) -> Stage:
        """A part is some pairs over all shards, by all models at once or by the factors of a single one."""
        shape, rates, targets, n = self.shape, self.rates, self.job.targets, self.shape.observed
        written = 1 + self.job.sd
        groups = [len(group) for group in track_groups(range(targets), MAX_OPEN_TRACKS // written)]
        pairs = max(groups)
        products = pairs * n
        if self.job.kind == "train" and SOLVERS[self.solver].holds_out:
            products = min(products, (self.rank + 1) * (pairs + n))
        a_bin = (
            n * rates.read
            + products * rates.multiply
            + targets / len(groups) * (written * rates.bigwig + self._refining())
        )
        wave = Wave.of(len(groups), shape.bins * a_bin)
        memory = self._imputing_bytes(self.models if SOLVERS[self.solver].holds_out else 1, pairs)
        memory += pairs * written * (_WRITER_BYTES + 8.0 * self._block_rows)
        reads, writes = len(groups) * self.tensor_bytes, self.storage()["imputed"]
        return Stage(
            "impute", "impute", (wave,), memory, reads=reads, source=self.tensor_bytes, writes=writes
        )

    def _turns(self, solver: Solver) -> list[list[int]]:
        """Ranks that are fitted at once, turn by turn, while rank and penalty are chosen.

        It is assumed that the default rank wins, and another penalty than the first.
        """
        assert isinstance(solver, CPSolver)
        ranks, penalties, first = solver.grid(self.settings, self.n_train)
        turns: list[list[int]] = []

        def score(candidates: Sequence[tuple[int, float]]) -> list[float]:
            turns.append([rank for rank, _ in candidates])
            return [abs(rank - self.rank) + 0.5 * (penalty == first) for rank, penalty in candidates]

        if len(ranks) * len(penalties) > 1:
            choose(score, ranks, penalties, first)
        return turns

    def _fit_seconds(self, rank: int) -> float:
        """Sweeps until a fit stops; the operations of a sweep are those of section "Closed form" of docs/method.md."""
        als, n, shape = self.settings.als, self.n_train, self.shape
        genome = n * rank * (n + 5.0 * rank)
        rows = (shape.cells + shape.assays) * rank * (n + rank * (rank / 6 + 3.0))
        operations = genome + rows + 2.0 * shape.cells * shape.assays * rank**2
        operations += self._evaluation(rank) / als.evaluate_every
        sweeps = min(self.rates.sweeps, als.starts * als.start_sweeps + als.max_sweeps)
        return sweeps * (self.rates.sweep + operations * self.rates.fit)

    def _evaluation(self, rank: int) -> float:
        """Operations of the error of validation experiments."""
        n = self.n_train
        return 3.0 * n * rank**2 + self.n_valid * (rank * n + self.shape.observed**2)

    def _fit_bytes(self, rank: int) -> float:
        shape = self.shape
        rows = 16.0 * (shape.cells + shape.assays) * (rank + 1) ** 2
        return self.rates.process_bytes + shape.observed * (24.0 * shape.observed + 100.0 * rank) + rows

    def _refining(self) -> float:
        """Seconds a bin of what networks add to a pair."""
        return 0.0 if SOLVERS[self.solver].holds_out else self.settings.networks * self.rates.refine

    def _model_bytes(self) -> float:
        """Of a model's file: its factors, and of a stack the correlations of its tracks."""
        shape = self.shape
        factors = 8.0 * (shape.cells + shape.assays) * (self.rank + 1)
        return factors if SOLVERS[self.solver].holds_out else factors + 2.0 * self.n_train**2

    def _imputing_bytes(self, models: int, pairs: int) -> float:
        """A block, the imputers of models, and their weights for pairs."""
        n = self.n_train
        imputers = 8.0 * models * n * (n + 2.0 * (self.rank + 1))
        return self._streaming + imputers + 12.0 * pairs * self.shape.observed


# The one place that knows solvers apart: the stages that fit by each.
_FITTING: dict[str, Callable[[Workload], list[Stage]]] = {
    "stack": Workload.by_stack,
    "donors": Workload.by_stack,
    "kriging": Workload.by_stack,
    "em": Workload.by_moments,
    "als": Workload.by_moments,
    "sgd": Workload.by_descent,
}
