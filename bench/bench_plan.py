"""What `predictd plan` says beside what happens: `pytest bench/bench_plan.py --benchmark-only`. No time is asserted.

The rates of this machine are measured, two jobs are planned with them and run as a user would: the real pilot tracks,
from bigWigs to imputed bigWigs, and Roadmap's pairs on a few simulated bins (PREDICTD_BENCH_BINS, 20,000 if not given)
with rank and penalty given. extra_info tells, stage by stage, seconds as predicted and as run.json tells them,
and their ratio; and for each command the seconds of all cores, which other work on the machine changes less.
Needs the real tracks and the table of Roadmap's pairs; skipped without them.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from math import inf
from pathlib import Path

import pytest

from bench.roadmap import make_tensor, roadmap_pairs
from predictd.config import TrainSettings
from predictd.engine.base import usable_cpus
from predictd.io.tensor.manifest import read_manifest
from predictd.workflows.planning.calibrate import calibrate
from predictd.workflows.planning.places import Site, stage_seconds
from predictd.workflows.planning.rates import Rates
from predictd.workflows.planning.shape import shape_of
from predictd.workflows.planning.work import Job, stages, storage

SHARED = Path(__file__).resolve().parents[2] / "shared"
REGIONS = SHARED / "data" / "genomes" / "encode-pilot.hg19.bed"
N_BINS = int(os.environ.get("PREDICTD_BENCH_BINS", "20000"))
# Names of stages in run.json by those of a plan.
RECORDED = {
    "ingest": ("tensor", ("read headers", "make shards")),
    "moments": ("cv", ("moments",)),
    "choose": ("cv", ("choose",)),
    "models": ("cv", ("train",)),
    "score": ("cv", ("score",)),
    "impute": ("imputed", ("impute",)),
}


@pytest.fixture(scope="module")
def rates() -> Rates:
    return calibrate()


def predictd(place: Path, *arguments: object) -> float:
    """Run a command: seconds of all cores."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "predictd", *map(str, arguments)],
        cwd=place,
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONSAFEPATH": "1"},
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def compare(benchmark, place: Path, job: Job, rates: Rates, spent: dict[str, float]) -> None:
    """Tell for each stage of the job in a directory what was predicted, measured, and their ratio."""
    shape = shape_of(read_manifest(place / "tensor"))
    site = Site(1, usable_cpus(), inf)
    work = stages(shape, rates, job)
    for command, measured in spent.items():
        own_work = sum(stage.core_seconds for stage in work if stage.command == command)
        # The command's own process, and its workers.
        predicted = own_work / rates.efficiency + rates.start * (1 + site.cores)
        benchmark.extra_info[f"{command}, all cores (s): predicted, measured, ratio"] = (
            round(predicted, 1),
            round(measured, 1),
            round(predicted / measured, 2),
        )
    for stage in work:
        output, names = RECORDED[stage.name]
        recorded = json.loads((place / output / "run.json").read_text())["stages"]
        own = [entry for entry in recorded if entry["name"] in names]
        measured, predicted = sum(entry["seconds"] for entry in own), stage_seconds(stage, site, rates)
        benchmark.extra_info[f"{stage.name} (s): predicted, measured, ratio"] = (
            round(predicted, 1),
            round(measured, 1),
            round(predicted / max(measured, 0.01), 2),
        )
    predicted_bytes = storage(shape, rates, job)
    for what, pattern in (("tensor", "tensor/shards/*.h5"), ("imputed", "imputed/*.bw")):
        written = sum(path.stat().st_size for path in place.glob(pattern))
        benchmark.extra_info[f"{what}, bytes: predicted / written"] = round(
            predicted_bytes[what] / written, 2
        )


def test_pilot(benchmark, tmp_path: Path, rates: Rates) -> None:
    """Twenty real tracks."""
    if not REGIONS.is_file():
        pytest.skip("the real pilot tracks are not here")
    subprocess.run([sys.executable, SHARED / "tools" / "pilot_bigwigs.py", tmp_path / "bw"], check=True)

    spent: dict[str, float] = {}

    def job() -> None:
        spent["ingest"] = predictd(
            tmp_path, "ingest", "bw/tracks.tsv", "tensor", "--genome", "hg19", "--regions", REGIONS
        )
        spent["cv"] = predictd(tmp_path, "cv", "tensor", "-o", "cv")
        spent["impute"] = predictd(tmp_path, "impute", "cv", "tensor", "-o", "imputed")

    benchmark.pedantic(job, rounds=1)
    compare(benchmark, tmp_path, Job(), rates, spent)


def test_roadmap(benchmark, tmp_path: Path, rates: Rates) -> None:
    """The 1014 experiments of Roadmap, simulated as a tensor: no ingest."""
    make_tensor(tmp_path / "tensor", roadmap_pairs(), N_BINS, chromosomes=8)

    spent: dict[str, float] = {}

    def job() -> None:
        spent["cv"] = predictd(tmp_path, "cv", "tensor", "-o", "cv", "--rank", 100, "--lambda", 0.1)
        spent["impute"] = predictd(tmp_path, "impute", "cv", "tensor", "-o", "imputed")

    benchmark.pedantic(job, rounds=1)
    settings = TrainSettings(rank=100, regularisation=0.1)
    compare(benchmark, tmp_path, Job(settings=settings, ingested=True), rates, spent)
