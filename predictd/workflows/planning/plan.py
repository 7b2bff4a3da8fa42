"""`predictd plan`: what a job will take here, on a Slurm cluster or in the cloud, before it is begun."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import ceil, inf
from pathlib import Path
from typing import Any, Literal

from predictd.config import TrainSettings
from predictd.engine.base import usable_cpus
from predictd.io.tensor.manifest import read_manifest
from predictd.model.folds import TESTS
from predictd.provenance import physical_memory
from predictd.workflows.planning.places import GIB, Offer, Site, Wanted, offers
from predictd.workflows.planning.prices import Prices
from predictd.workflows.planning.rates import Rates
from predictd.workflows.planning.shape import Pairs, Shape, parse_shape, shape_of
from predictd.workflows.planning.stages import stages_of
from predictd.workflows.planning.work import JobKind, PlannedJob, PlannedStage, Wave, Workload

Place = Literal["local", "slurm", "emr"]
# Asked of a batch system beyond the estimate.
_TIME_MARGIN, _MEMORY_MARGIN = 2.0, 1.25
_INGEST_CPUS = 8


@dataclass(frozen=True)
class StageEstimate:
    """One stage: tasks that can run at once, seconds of one core, seconds on the clock, memory of a worker."""

    name: str
    command: str
    tasks: int
    core_seconds: float
    seconds: float
    workers: int
    worker_bytes: float


@dataclass(frozen=True)
class Submission:
    """What a Slurm script is to be asked for: sizes of the array and of a task, with margins in time and memory.

    `seconds` is the estimate for one task, `time_minutes` and `mem_per_cpu_mb` what to ask for.
    """

    script: str
    array: int
    cpus: int
    seconds: float
    time_minutes: int
    mem_per_cpu_mb: int


@dataclass(frozen=True)
class Plan:
    """What a job will take; `to_dict` gives plain values: bytes, seconds, and prices in the currency of the prices.

    Attributes
    ----------
    solver, rank
        Given or assumed.
    models
        That are trained.
    stages, seconds, memory_bytes, storage_bytes
        The stages; all of them on the clock; memory of a machine at most; what is read and left.
    submissions
        slurm: what to ask for.
    offers
        emr: clusters by price, the cheapest first.
    warnings
        What is not counted, and locally, what does not fit on this machine.
    """

    on: Place
    shape: Shape
    job: PlannedJob
    solver: str
    rank: int
    models: int
    stages: tuple[StageEstimate, ...]
    seconds: float
    memory_bytes: float
    storage_bytes: dict[str, float]
    submissions: tuple[Submission, ...]
    offers: tuple[Offer, ...]
    warnings: tuple[str, ...]
    rates: Rates
    prices: Prices

    @property
    def core_seconds(self) -> float:
        """Seconds of all workers of all stages in all."""
        return sum(stage.core_seconds for stage in self.stages)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "estimate": True,
            **asdict(self),
            "job": {"kind": self.job.kind, "solver": self.solver, "targets": self.job.targets},
            "core_seconds": self.core_seconds,
            "rates": self.rates.model_dump(),
            "prices": {key: getattr(self.prices, key) for key in ("date", "source", "region", "currency")},
        }


def shape_and_job(
    source: Path | str, kind: JobKind, settings: TrainSettings, pairs: Pairs, *, sd: bool = False
) -> tuple[Shape, PlannedJob]:
    """The shape of a tensor that exists (a path) or is described (see `parse_shape`), and what is to be done to it."""
    ingested = isinstance(source, Path)
    shape = shape_of(read_manifest(source)) if isinstance(source, Path) else parse_shape(source)
    return shape, PlannedJob(kind, settings, shape.targets(pairs), ingested, sd=sd)


def make_plan(shape: Shape, job: PlannedJob, on: Place, wanted: Wanted, rates: Rates, prices: Prices) -> Plan:
    """Estimate a job.

    Parameters
    ----------
    shape, job
        The tensor, and what is done to it.
    on, wanted
        Where, and what is asked for.
    rates, prices
        How fast and for how much.

    Raises
    ------
    ConfigError
        If a machine has no price, the job fits into none, or no cluster is quick enough.
    """
    cpus = wanted.workers or (2 if on == "slurm" else usable_cpus())
    load = Workload(shape, rates, replace(job, workers=None if on == "emr" else cpus))
    work, stored = stages_of(load), load.storage()
    site, offered = Site(1, cpus), []
    if on == "emr":
        offered = offers(work, stored, wanted, prices, rates)
        site = Site.rented(offered[0].machine, offered[0].count, prices)
    estimates = tuple(
        StageEstimate(
            stage.name,
            stage.command,
            stage.tasks,
            stage.core_seconds,
            site.seconds([stage], rates),
            site.workers(stage) * site.machines,
            stage.memory,
        )
        for stage in work
    )
    return Plan(
        on,
        shape,
        job,
        load.solver,
        load.rank,
        load.models,
        estimates,
        site.seconds(work, rates),
        max(min(site.workers(stage), stage.tasks) * stage.memory for stage in work),
        stored,
        submissions(load, cpus) if on == "slurm" else (),
        tuple(offered),
        tuple(_misfits(work, site)) if on == "local" else (),
        rates,
        prices,
    )


def submissions(load: Workload, cpus: int) -> tuple[Submission, ...]:
    """What to ask Slurm for, script by script."""
    whole = stages_of(load)
    # Every part of a cross-validation makes the moments itself, unless they exist.
    part = stages_of(Workload(load.shape, load.rates, replace(load.job, tests=1)))
    one_group = [
        replace(stage, waves=tuple(Wave.of(1, wave.longest) for wave in stage.waves)) for stage in whole
    ]
    groups = max([stage.tasks for stage in whole if stage.command == "impute"], default=0)
    by_script = (
        ("ingest", "ingest", whole, 1, max(cpus, _INGEST_CPUS)),
        ("cv-array.sbatch", "cv", part, TESTS, cpus),
        ("train.sbatch", "train", whole, 1, cpus),
        ("impute-array.sbatch", "impute", one_group, groups, 1),
    )
    found = []
    for script, command, work, array, width in by_script:
        own = [stage for stage in work if stage.command == command]
        if own:
            seconds = Site(1, width).seconds(own, load.rates)
            memory = max(min(width, stage.tasks) * stage.memory for stage in own) / width
            minutes = 15 * max(1, ceil(_TIME_MARGIN * seconds / 900))
            megabytes = 256 * max(4, ceil(_MEMORY_MARGIN * memory / 2**28))
            found.append(Submission(script, array, width, seconds, minutes, megabytes))
    return tuple(found)


def _misfits(work: Sequence[PlannedStage], site: Site) -> list[str]:
    """What of a job does not fit on this machine."""
    found = []
    here, free = physical_memory() or inf, shutil.disk_usage(Path()).free
    for stage in work:
        busy = min(site.cores, stage.tasks)
        if busy * stage.memory > here:
            most = int(here // stage.memory)
            remedy = f"take {most} workers" if most else "use a machine with more"
            taken = f"{busy * stage.memory / GIB:.1f} GiB of the {here / GIB:.1f} GiB here"
            found.append(f"{stage.name}: {busy} workers take {taken}; {remedy}")
    written = sum(stage.writes for stage in work)
    if written > free:
        found.append(
            f"the job writes {written / 1e9:,.1f} GB, and {free / 1e9:,.1f} GB are free in this directory"
        )
    return found
