"""All stages of a job in their order, corrected by what past runs took."""

from __future__ import annotations

from dataclasses import replace

from predictd.workflows.planning.fits import fitting
from predictd.workflows.planning.predictions import impute, score
from predictd.workflows.planning.work import PlannedStage, Wave, Workload

# Share of a bigWig that is signal; the rest are zoom levels.
_SIGNAL_SHARE = 0.77


def stages_of(load: Workload) -> list[PlannedStage]:
    """All stages of a job; the first of each command has the start of its processes."""
    found = [] if load.job.ingested else [ingest(load)]
    found += fitting(load)
    if load.job.kind == "cv":
        found.append(score(load))
    if load.job.targets:
        found.append(impute(load))
    commands = [stage.command for stage in found]
    return [
        _corrected(load, stage, starts=stage.command not in commands[:i]) for i, stage in enumerate(found)
    ]


def ingest(load: Workload) -> PlannedStage:
    """A task is a shard, which is held whole; tracks and shards are also read for their checksums."""
    shape, rates = load.shape, load.rates
    source = shape.values * rates.track_bytes
    wave = Wave.of(shape.shards, shape.values * rates.ingest / shape.shards)
    memory = load.streaming_bytes() + shape.largest_shard * (shape.observed * shape.itemsize + 48.0)
    reads = (1 + _SIGNAL_SHARE) * source + load.tensor_bytes
    return PlannedStage(
        "ingest", "ingest", (wave,), memory, reads=reads, source=source, writes=load.tensor_bytes
    )


def _corrected(load: Workload, stage: PlannedStage, *, starts: bool) -> PlannedStage:
    """The stage as past runs had it, of the same solver or of any, with the start of its processes."""
    names, rates = (f"{stage.name} {stage.solver}", stage.name), load.rates
    factor, memory = (
        next((table[name] for name in names if name in table), 1.0) for table in (rates.seconds, rates.memory)
    )
    waves = tuple(Wave(wave.tasks, wave.seconds * factor, wave.longest * factor) for wave in stage.waves)
    found = replace(stage, waves=waves, memory=stage.memory * memory)
    if not starts:
        return found
    processes = 1 + (load.job.workers or 0)
    reads = stage.reads + processes * rates.start_bytes
    return replace(found, start=rates.start * factor, processes=processes, reads=reads)
