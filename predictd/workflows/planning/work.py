"""What a job is made of: stages with their tasks, and the amounts that these depend on.

Workflows themselves say how many tasks there are and what is tried.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from predictd.config import TrainSettings
from predictd.constants import BLOCK_BINS
from predictd.io.kept import MOST_BYTES
from predictd.io.tensor.store import chunk_rows
from predictd.model.folds import TESTS, VALIDS
from predictd.model.stack.features import KINDS, MOST_TRACKS
from predictd.model.stack.inputs import HALF_WIDTHS
from predictd.model.stack.stack import FEATURED
from predictd.workflows.planning.rates import Rates
from predictd.workflows.planning.shape import Shape
from predictd.workflows.tensor.context import sampled_bins
from predictd.workflows.training.settings import default_rank
from predictd.workflows.training.solvers import SOLVERS
from predictd.workflows.training.solvers.stack import STANDARDISED_EM, Stack

# Of a model's file.
_NETWORK_BYTES = 20_000.0

JobKind = Literal["cv", "train"]


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
class PlannedStage:
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
    start, processes
        Of the first stage of a command: seconds until its processes have started, and how many they are.
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
    processes: int = 0
    solver: str = ""

    @property
    def core_seconds(self) -> float:
        """Seconds of all its tasks and of processes that start, on one core each."""
        return sum(wave.seconds for wave in self.waves) + self.processes * self.start

    @property
    def tasks(self) -> int:
        """Tasks that can run at once."""
        return max(wave.tasks for wave in self.waves)


@dataclass(frozen=True)
class PlannedJob:
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
        Test folds of the cross-validation; fewer: a part of it.
    everything
        Whether the model of all experiments is among its models, where the solver has one.
    sd
        Whether a track of standard deviations is written next to each imputed one.
    workers
        Of which a few score several groups of experiments together; None: one for every task.
    """

    kind: JobKind = "cv"
    settings: TrainSettings = field(default_factory=TrainSettings)
    targets: int = 0
    ingested: bool = False
    tests: int = TESTS
    everything: bool = True
    sd: bool = False
    workers: int | None = None


class Workload:
    """A job on a tensor at some rates, and the amounts that all its stages depend on.

    Attributes
    ----------
    solver
        That is planned; `auto` is another name of one of them.
    stack
        The same where it is a stack; None: another.
    models, choices
        That are trained, and how often settings are chosen for them.
    n_train, n_valid
        Experiments that a model is trained on while others decide when to stop.
    rank
        The one that is given, or in place of one that validation would choose the default of sgd.
    networks
        Of each model.
    featured
        Whether features of tracks are read as well as their signal.
    sampled, sample_bytes, keeps_sample
        Bins of the sample that networks and features are learned from; its size; whether processes keep it.
    tensor_bytes, block_rows
        Of the tensor; bins that are read at a time.
    """

    def __init__(self, shape: Shape, rates: Rates, job: PlannedJob) -> None:
        self.shape, self.rates, self.job = shape, rates, job
        solver = SOLVERS[job.settings.solver]
        self.solver, self.settings, self.holds_out = solver.name, job.settings, solver.holds_out
        self.stack = solver if isinstance(solver, Stack) else None
        # Where no model is trained for each validation fold, the last one is of all experiments.
        self.choices = 1 if job.kind == "train" else job.tests + (job.everything and not self.holds_out)
        self.models = job.tests * VALIDS if job.kind == "cv" and self.holds_out else self.choices
        kept = shape.observed * (1 - 1 / TESTS) if job.kind == "cv" else shape.observed
        self.n_valid = max(1, round(kept / VALIDS))
        self.n_train = max(1, round(kept) - self.n_valid)
        given = job.settings.rank
        self.rank = default_rank(self.n_train) if given == "auto" else given
        if self.stack is not None:
            ranks, _, _ = STANDARDISED_EM.grid(job.settings, self.n_train)
            self.rank = min(ranks, key=lambda rank: abs(rank - self.rank))
        self.networks = 0 if self.stack is None else job.settings.networks
        members = () if self.stack is None else self.stack.members
        self.featured = FEATURED in members and shape.observed <= MOST_TRACKS
        self.sampled = min(shape.bins, sampled_bins(shape.observed))
        self.sample_bytes = 4.0 * len(HALF_WIDTHS) * self.sampled * shape.observed
        self.keeps_sample = bool(self.networks or self.featured) and self.sample_bytes <= MOST_BYTES
        self.tensor_bytes = shape.values * shape.itemsize / rates.compression
        self.block_rows = min(
            shape.largest_shard, max(BLOCK_BINS, chunk_rows(shape.itemsize, shape.observed))
        )

    def streaming_bytes(self) -> float:
        """Memory of a process that reads blocks of a shard: one, widened, shifted, and its NaN."""
        return self.rates.process_bytes + self.block_rows * self.shape.observed * (self.shape.itemsize + 9.0)

    def model_bytes(self) -> float:
        """Of a model's file: its factors, and of a stack the correlations of its tracks."""
        factors = 8.0 * (self.shape.cells + self.shape.assays) * (self.rank + 1)
        if self.stack is None:
            return factors
        read = self.shape.observed * (KINDS if self.featured else 1)
        return 2 * factors + 2.0 * read**2 + self.networks * _NETWORK_BYTES

    def storage(self) -> dict[str, float]:
        """Bytes of what the job reads and leaves, by what it is."""
        shape = self.shape
        return {
            "tracks": shape.values * self.rates.track_bytes,
            "tensor": self.tensor_bytes,
            "models": self.models * self.model_bytes(),
            "imputed": shape.bins * self.job.targets * (1 + self.job.sd) * self.rates.imputed_bytes,
        }
