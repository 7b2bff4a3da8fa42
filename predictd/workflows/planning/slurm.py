"""What to ask Slurm for, script by script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, inf

from predictd.workflows.planning.places import Site, job_seconds
from predictd.workflows.planning.rates import Rates
from predictd.workflows.planning.shape import Shape
from predictd.workflows.planning.work import TESTS, Job, Stage, Tasks, stages

# Asked of a batch system beyond the estimate.
_TIME_MARGIN, _MEMORY_MARGIN = 2.0, 1.25
_QUARTER = 900
_INGEST_CPUS = 8


@dataclass(frozen=True)
class Submission:
    """What a Slurm script is to be asked for: sizes of the array and of a task, with margins in time and memory.

    `seconds` is the estimate for one task, `time_minutes` and `mem_per_cpu_mb` what to ask for.
    """

    script: str
    array: int
    cpus: int
    seconds: float
    core_seconds: float
    time_minutes: int
    mem_per_cpu_mb: int


def submissions(shape: Shape, rates: Rates, job: Job, cpus: int) -> tuple[Submission, ...]:
    """What to ask Slurm for, script by script."""
    whole = stages(shape, rates, job)
    # Every part of a cross-validation makes the moments itself, unless they stand.
    part = stages(shape, rates, replace(job, tests=1))
    by_script = {
        "ingest": ([stage for stage in whole if stage.command == "ingest"], 1, max(cpus, _INGEST_CPUS)),
        "cv-array.sbatch": ([stage for stage in part if stage.command == "cv"], TESTS, cpus),
        "train.sbatch": ([stage for stage in whole if stage.command == "train"], 1, cpus),
    }
    found = [
        _submission(script, own, array, width, rates)
        for script, (own, array, width) in by_script.items()
        if own
    ]
    for stage in whole:
        if stage.command == "impute":
            one = Stage(
                stage.name,
                stage.command,
                tuple(tuple(Tasks(1, tasks.seconds) for tasks in wave) for wave in stage.waves),
                stage.memory,
                starts=True,
            )
            found.append(_submission("impute-array.sbatch", [one], stage.tasks, 1, rates))
    return tuple(found)


def _submission(script: str, work: Sequence[Stage], array: int, cpus: int, rates: Rates) -> Submission:
    site = Site(1, cpus, inf)
    seconds = job_seconds(work, site, rates)
    memory = max(min(cpus, stage.tasks) * stage.memory for stage in work) / cpus
    return Submission(
        script,
        array,
        cpus,
        seconds,
        array * sum(stage.core_seconds for stage in work),
        15 * max(1, ceil(_TIME_MARGIN * seconds / _QUARTER)),
        256 * max(4, ceil(_MEMORY_MARGIN * memory / (256 * 2**20))),
    )
