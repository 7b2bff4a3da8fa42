"""Rates of this machine: what past runs took compared with what was planned for them, or a small run of its own."""

from __future__ import annotations

import json
import logging
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from predictd.config import TrainSettings
from predictd.constants import MANIFEST, MODELS, RUN_JSON
from predictd.engine import Engine
from predictd.engine.base import one_blas_thread, tree_sum
from predictd.errors import ConfigError
from predictd.io.files import cannot_write
from predictd.io.temporary import temporary_folder
from predictd.io.tensor.manifest import read_manifest
from predictd.model.folds import TESTS
from predictd.model.simulate import Simulation
from predictd.provenance import Stage, cpu_model
from predictd.workflows.imputing.impute import impute
from predictd.workflows.planning.places import Site
from predictd.workflows.planning.rates import Rates, load_rates
from predictd.workflows.planning.shape import shape_of
from predictd.workflows.planning.stages import stages_of
from predictd.workflows.planning.work import JobKind, PlannedJob, Workload
from predictd.workflows.tensor.ingest import IngestOptions, ingest
from predictd.workflows.tensor.simulate import SimulatedGenome, simulate
from predictd.workflows.training.crossval import crossval

log = logging.getLogger(__name__)

# Stages of a plan that run.json calls by other names.
_RECORDED = {"ingest": ("read headers", "make shards"), "train": ("train", "refit")}
# Of the time that was planned: a stage that took less found its results made already.
_DONE_BEFORE = 0.1
_CELLS, _ASSAYS, _BINS = 12, 8, 100_000
_SETTINGS = TrainSettings(solver="em", rank=4, regularisation=0.1)


def rates_of(paths: Sequence[Path]) -> Rates:
    """Rates by files: a TOML file of rates at most, the packaged ones without one, corrected by past runs.

    Parameters
    ----------
    paths
        TOML file; run.json of `ingest`, `train`, `cv` or `impute`, or a directory that has one. Those that say nothing
        of their time, since they were resumed, are warned of and left out.

    Raises
    ------
    ConfigError
        If a file cannot be read, or the tensor of a run is gone.
    """
    files = [path for path in paths if path.suffix == ".toml"]
    rates = load_rates(files[0] if files else None)
    runs = [path for path in paths if path not in files[:1]]
    for path in runs:
        rates = corrected(rates, path if path.is_file() else path / RUN_JSON)
    return rates


def corrected(rates: Rates, path: Path, busy: float = 1.0) -> Rates:
    """Rates with what the stages of a run took, / what is planned for the same work without corrections.

    Parameters
    ----------
    rates
        To be corrected.
    path
        run.json.
    busy
        Share of the run's time in which it had a processor.
    """
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
        shape = shape_of(read_manifest(_tensor_of(run, path.parent)))
        made = _made_of(run)
    except (OSError, LookupError, ValueError, TypeError) as err:
        raise ConfigError(
            f"{path} cannot be used as a past run of ingest, train, cv or impute: {err!r}"
        ) from err
    if not made:
        log.warning("%s was stopped and resumed: its times are those of the last try, and are left out", path)
        return rates
    plain = rates.model_copy(update={"seconds": {}, "memory": {}})
    took, planned = defaultdict[str, float](float), defaultdict[str, float](float)
    memory = dict(rates.memory)
    for part in made:
        modelled = pending = 0.0
        for stage in stages_of(Workload(shape, plain, part.job)):
            # Processes start in the first stage that is not found made.
            pending = stage.start or pending
            names = _RECORDED.get(stage.name, (stage.name,))
            found = [own for own in part.stages if own.name in names]
            if not found:
                continue
            # A peak is that of all that was done so far, and can only say that more is needed.
            modelled = max(modelled, stage.memory)
            site, share = Site(1, part.job.workers or 1), part.share or 1.0
            seconds = busy * sum(own.seconds for own in found)
            work = (site.seconds([stage], plain) - stage.start) * share
            # Processes of a faster machine start sooner as well: of a short run, the start would be most of the error.
            start = 0.0 if part.share else pending
            if seconds - start > _DONE_BEFORE * work:
                pending = 0.0
                key = f"{stage.name} {stage.solver}".strip()
                took[key] += seconds
                planned[key] += start + work
                peak = max(own.peak_memory_bytes for own in found)
                memory[key] = max(memory.get(key, 1.0), peak / modelled)
    factors = {key: took[key] / planned[key] for key in took}
    return rates.model_copy(
        update={
            "source": f"{rates.source}; {path}",
            "seconds": {**rates.seconds, **factors},
            "memory": memory,
        }
    )


@dataclass(frozen=True)
class _Made:
    """What was made, and timed, in one go.

    Attributes
    ----------
    job
        As what it is planned.
    stages
        As run.json has them.
    share
        Of the job, where it is a task that timed itself alone; None: the start of processes was timed, too.
    """

    job: PlannedJob
    stages: list[Stage]
    share: float | None = None


def _made_of(run: dict[str, Any]) -> list[_Made]:
    """All that was made of a run, by one command or by several that made parts; nothing where it cannot be told."""
    results, parts = run["results"], run["runs"]
    names = {stage["name"] for made in (run, *parts) for stage in made["stages"]}
    imputed = "impute" in names
    given = results.get("models", {}) if imputed else run["settings"]
    if imputed and "solver" not in given:
        raise ValueError("it does not say by which models it imputed")
    known = TrainSettings().model_dump(by_alias=True)
    settings = TrainSettings.model_validate({k: v for k, v in given.items() if k in known})
    tests = len(results.get("held_out" if imputed else "choices", ()))
    single = not tests if imputed else "train" in names and "score" not in names
    kind: JobKind = "train" if single else "cv"
    pairs, sd = int(results.get("pairs", 0)), bool(run["settings"].get("sd"))
    job = PlannedJob(kind, settings, pairs, tests=tests or TESTS, sd=sd)
    resumed = bool(run.get("resumed"))
    if resumed and not imputed:
        return []
    if run["stages"] and not resumed:
        return [_Made(replace(job, workers=int(run["workers"])), _stages(run))]
    if imputed:
        # Each part is one task, however many workers its command had.
        n_parts = sum(len(part["parts"]) for part in parts)
        return [_Made(replace(job, workers=1), _stages(part), len(part["parts"]) / n_parts) for part in parts]
    return [_Made(_of_folds(job, part), _stages(part)) for part in parts]


def _of_folds(job: PlannedJob, part: dict[str, Any]) -> PlannedJob:
    """A job of some of the test folds; the first makes the model of all experiments as well."""
    numbers = part["parts"]
    return replace(job, tests=len(numbers), everything=0 in numbers, workers=int(part["workers"]))


def _stages(made: dict[str, Any]) -> list[Stage]:
    return [Stage(**stage) for stage in made["stages"]]


def _tensor_of(run: dict[str, Any], folder: Path) -> Path:
    """The tensor of a run: where run.json is, or what it names."""
    for path in (folder, Path(str(run["results"].get("tensor"))), *map(Path, run["inputs"])):
        if (path / MANIFEST).is_file():
            return path
    raise ValueError("its tensor is gone")


class _Here(Engine):
    """Runs tasks one by one in this process, so that its seconds are theirs."""

    name, workers = "here", 1

    def map(self, task: Any, keys: Sequence[Any], shared: Any, **options: Any) -> list[Any]:
        return [task(key, shared) for key in keys]

    def reduce(self, task: Any, keys: Sequence[Any], shared: Any, **options: Any) -> Any:
        return tree_sum(lambda index: task(keys[index], shared), 0, len(keys))

    def spmd(self, program: Any, keys: Sequence[Any], shared: Any) -> list[Any]:
        raise NotImplementedError("calibration runs no programs")

    def close(self) -> None:
        pass


def calibrate() -> Rates:
    """Run a small simulated job on one core, from tracks to imputed tracks, and correct the packaged rates by it.

    What counts is the processor's time: waiting for disks does not show, nor does most other work on the machine.
    Nothing is left on disk.

    Raises
    ------
    OutputError
        If there is no place or room for some MB of temporary files.
    """
    packaged = load_rates()
    try:
        with temporary_folder() as folder, one_blas_thread():
            # No worker has to start.
            rates = _small_job(folder, packaged.model_copy(update={"start": 1e-9}))
    except OSError as err:
        raise cannot_write(Path(err.filename or "temporary files"), err) from err
    # What small fits take says little of large ones: they are taken to be as quick as the other stages are in the mean.
    seconds = {name: rates.seconds.get(name, 1.0) for name in ("ingest", "score", "impute")}
    seconds |= dict.fromkeys(("moments", "choose", "train"), geometric_mean(seconds.values()))
    source = f"{packaged.source}; corrected on {cpu_model()}"
    return packaged.model_copy(update={"source": source, "seconds": seconds})


def _small_job(folder: Path, rates: Rates) -> Rates:
    data, tensor, cv, imputed = (folder / part for part in ("data", "tensor", "cv", "imputed"))
    options = IngestOptions(genome=str(data / "genome.chrom.sizes"))
    simulation = Simulation.for_shape(_CELLS, _ASSAYS, share=0.7, rank=5)
    # One model: to read those of an ensemble takes long compared with so few bins.
    model = cv / MODELS / "fold-0.0.h5"
    engine = _Here()

    simulate(data, simulation, SimulatedGenome.of_bins(_BINS), engine, truth=False)
    for output, step in (
        (tensor, lambda: ingest(data / "tracks.tsv", tensor, options, engine)),
        (cv, lambda: crossval(tensor, cv, _SETTINGS, engine)),
        (imputed, lambda: impute(model, tensor, imputed, engine, pairs="all")),
    ):
        processor, clock = time.process_time(), time.perf_counter()
        step()
        busy = (time.process_time() - processor) / (time.perf_counter() - clock)
        rates = corrected(rates, output / RUN_JSON, busy=min(1.0, busy))
    return rates
