"""`predictd plan`: shapes, the work of stages, machines and prices, past runs, and the command line."""

from __future__ import annotations

import dataclasses
import json
import shutil
from math import inf
from pathlib import Path
from typing import get_args

import pytest
from click.testing import CliRunner

from predictd.cli import cli
from predictd.cli.plan_tables import core_time, size
from predictd.config import SolverName, TrainSettings
from predictd.constants import RUN_JSON, SHARDS
from predictd.errors import ConfigError, PredictdError
from predictd.io.tensor.store import Tensor
from predictd.wording import aligned, duration
from predictd.workflows.planning import calibrate as calibration
from predictd.workflows.planning.calibrate import rates_of
from predictd.workflows.planning.places import Site, Wanted, offers
from predictd.workflows.planning.plan import make_plan, submissions
from predictd.workflows.planning.prices import Prices, load_prices
from predictd.workflows.planning.rates import Rates, load_rates, write_rates
from predictd.workflows.planning.shape import PRESETS, Shape, parse_shape, shape_of
from predictd.workflows.planning.stages import stages_of
from predictd.workflows.planning.work import PlannedJob, PlannedStage, Wave, Workload

GIVEN = TrainSettings(solver="em", rank=8, regularisation=0.1)
EM = TrainSettings(solver="em")


@pytest.fixture(scope="module")
def rates() -> Rates:
    return load_rates()


@pytest.fixture(scope="module")
def prices() -> Prices:
    return load_prices()


def by_name(shape: Shape, rates: Rates, job: PlannedJob) -> dict[str, PlannedStage]:
    return {stage.name: stage for stage in stages_of(Workload(shape, rates, job))}


# -- shapes -----------------------------------------------------------------------------------------------------------


def test_shapes():
    shape = parse_shape("cells=127, assays=24,observed=1014,bins=1_126_469")
    # 2^27 values a shard at most: 132,364 bins of 1014 experiments.
    assert shape == Shape(127, 24, 1014, 1126469, 9, 125164)
    assert shape.values == 1014 * 1126469
    assert [shape.targets(pairs) for pairs in ("missing", "observed", "all")] == [2034, 1014, 3048]
    assert parse_shape("roadmap").bins == 125_486_491
    assert parse_shape("roadmap,bins=1e6").bins == 1_000_000
    assert all(parse_shape(name).observed > 1000 for name in PRESETS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("human", "'human' is not one of roadmap, roadmap-1percent, encode3"),
        ("cells=3,assays=2,bins=100", "observed missing"),
        ("cells=3,assays=2,observed=9,bins=100", "9 experiments are more than 3 cell types × 2 assays"),
        ("cells=3,assays=2,observed=6,bins=0", "bins is a whole number from 1, or one of ce11"),
        ("cells=nan,assays=2,observed=6,bins=10", "cells is a whole number from 1, not 'nan'"),
        ("roadmap,tissues=3", "'tissues=3' is not one of cells, assays, observed, bins"),
    ],
)
def test_bad_shapes(text, message):
    with pytest.raises(ConfigError) as error:
        parse_shape(text)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_shape_of_a_tensor(tensor: Tensor):
    # 6 cell types × 4 assays, 18 pairs, 20,000 bins of two chromosomes in shards of at most 4000.
    assert shape_of(tensor.manifest) == Shape(6, 4, 18, 20_000, 6, 3334)


# -- what stages do ---------------------------------------------------------------------------------------------------


def test_seconds_of_stages_by_hand(rates):
    shape = Shape(20, 8, 120, 300_000, 3, 100_000)
    update = {"read": 2.0, "moments": 3.0, "multiply": 5.0, "bigwig": 7.0, "ingest": 11.0, "sweep": 1.0}
    update |= {"fit": 1e-3, "sweeps": 10.0, "start": 13.0, "model": 17.0, "deviation": 19.0}
    own = rates.model_copy(update=update)
    found = by_name(shape, own, PlannedJob(settings=GIVEN, targets=40))
    assert found["ingest"].waves == (Wave.of(3, 100_000 * 120 * 11.0),)
    assert found["moments"].waves == (Wave.of(3, 100_000 * (120 * 2.0 + 120**2 / 2 * 3.0)),)
    # 40 pairs in 16 parts: of 3 pairs at most, 2.5 in the mean.
    (impute,) = found["impute"].waves
    assert impute.tasks == 16
    reading = 41 * 17.0
    assert impute.longest == pytest.approx(300_000 * (120 * 2.0 + 3 * 120 * 5.0 + 2.5 * 7.0) + reading)
    with_sd = Workload(shape, own, PlannedJob(settings=GIVEN, targets=40, sd=True))
    sd = stages_of(with_sd)[-1]
    each = 120 * 2.0 + 3 * 120 * 5.0 + 2.5 * (2 * 7.0 + 19.0)
    assert sd.waves[0].longest == pytest.approx(300_000 * each + reading)
    assert sd.writes == 2 * found["impute"].writes == with_sd.storage()["imputed"]
    # 96 of 120 are not tested: 12 validate, 84 train at rank 8.
    genome = 84 * 8 * (84 + 40)
    rows = 28 * 8 * (84 + 8 * (8 / 6 + 3)) + 2 * 160 * 64
    evaluation = 3 * 84 * 64 + 12 * (8 * 84 + 120**2)
    (train,) = found["train"].waves
    assert train.tasks == 40
    assert train.longest == pytest.approx(10 * (1 + (genome + rows + evaluation / 5) * 1e-3))
    assert [stage.start for stage in found.values()] == [13.0, 13.0, 0.0, 0.0, 13.0]


@pytest.mark.parametrize(
    ("cells", "turns"),
    # 56 train: 9 ranks up to 28 and 4 more penalties on 8 folds. 336: all 13 ranks, on 2.
    [(10, [9 * 8, 4 * 8, 8 * 8]), (60, [13 * 2, 4 * 2, 12 * 2])],
)
def test_fits_that_choose(rates, cells, turns):
    shape = Shape(cells, 8, cells * 8, 1000, 1, 1000)
    planned = by_name(shape, rates, PlannedJob(settings=EM))["choose"]
    assert [wave.tasks for wave in planned.waves] == turns * 5


def test_stages_of_jobs(rates):
    shape = parse_shape("roadmap-1percent")
    sgd = TrainSettings(solver="sgd")

    def names(job: PlannedJob) -> list[str]:
        return list(by_name(shape, rates, job))

    assert names(PlannedJob(targets=9)) == [
        "ingest",
        "moments",
        "choose",
        "train",
        "score",
        "impute",
    ]
    assert names(PlannedJob("train", ingested=True)) == ["moments", "choose", "train"]
    assert names(PlannedJob("train", sgd)) == ["ingest", "train"]
    assert names(PlannedJob("cv", sgd)) == ["ingest", "moments", "train", "score"]
    for solver in get_args(SolverName):
        assert names(PlannedJob("train", TrainSettings(solver=solver)))[-1] == "train"


def test_a_stack_without_networks(rates):
    """Nothing that learns, and a plan at all."""
    shape = parse_shape("roadmap-1percent")
    few, none = (
        by_name(shape, rates, PlannedJob("train", TrainSettings(solver="stack", networks=n)))["choose"]
        for n in (1, 0)
    )
    assert len(none.waves) == len(few.waves) - 1
    assert 0 < Site(1, 1).seconds([none], rates) < Site(1, 1).seconds([few], rates)


def test_what_a_stack_learns_by_hand(rates):
    update = {"learn": 1.0, "exercise": 2.0, "window": 3.0, "refine": 5.0}
    own = rates.model_copy(update=update)
    shape = Shape(10, 10, 60, 242_483, 23, 19_917)
    choose = by_name(shape, own, PlannedJob(workers=2))["choose"]
    # 48 of 60 are not tested: 6 validate, 42 train; all 48 are known in one of 8 folds; for 5 folds and all.
    sampled, *each = choose.waves
    assert sampled.tasks == 23
    *searched, sweeps, features, members, networks, tested = each[: len(each) // 6]
    assert each == [*searched, sweeps, features, members, networks, tested] * 6
    assert [wave.tasks for wave in searched] == [7 * 8, 2 * 8, 6 * 8]
    assert members.seconds == pytest.approx(sweeps.seconds + 8 * 2 * own.model)
    # Two networks learn from all, 3333 bins each, and 14 from three of 10,000 bins.
    a_bin = 1.0 + 2.0 + 5 * 42 * 3.0
    assert networks.seconds == pytest.approx((2 * 48 * 3333 + 14 * 3 * 10_000) * a_bin)
    assert networks.longest == pytest.approx(48 * 3333 * a_bin)
    assert tested.seconds == pytest.approx(48 * 4096 * (a_bin - 1.0 + 16 * 5.0))
    # Two workers load the sample, which others drew; 24 tasks have correlations and maps of 8 folds.
    sample, shared = 4.0 * 5 * 32_768 * 60, 8 * 8.0 * (168**2 + 6 * 56 * 42)
    read = 20_067_559 + sample + 2 * sample + 6 * (24 + 2) * shared
    assert choose.reads == pytest.approx(read, rel=1e-6)
    assert choose.memory == pytest.approx(own.process_bytes + 2 * sample + 48 * 3333 * own.learned_bytes)


def test_a_large_sample_is_not_kept(rates):
    kept, read = (
        by_name(Shape(400, 84, 3814, bins, 1, bins), rates, PlannedJob("train", workers=2))["choose"].reads
        - bins * 3814 * 2 / rates.compression
        for bins in (3500, 4096)
    )
    # By 16 networks, by two folds that judge them, and for the scales of curves; and once from those who draw it.
    assert read - kept == pytest.approx(4.0 * 5 * 3814 * (20 * 4096 - 3 * 3500))


@pytest.mark.parametrize(("cells", "more"), [(8, 1), (9, 0)])
def test_features_are_read_of_few_tracks(rates, cells, more):
    shape = Shape(cells, 8, cells * 8, 10_000, 1, 10_000)
    waves = {
        name: by_name(shape, rates, PlannedJob("train", TrainSettings(solver=name)))["choose"].waves
        for name in ("stack", "em", "kriging")
    }
    # Sweeps and moments of features, beside the sample, members, networks and their tests.
    assert len(waves["stack"]) == len(waves["em"]) + 5 + more
    assert len(waves["kriging"]) == 4


def test_scoring_by_hand(rates):
    zero = dict.fromkeys(("read", "multiply", "baseline", "curve", "ranking", "model"), 1e-30)
    own = rates.model_copy(update=zero | {"around": 1.0, "refine": 1.0, "compare": 1.0, "count": 2.0})
    every = 1.0 + 16

    def score_of(bins: int, workers: int | None = None, shards: int = 8) -> PlannedStage:
        shape = Shape(10, 10, 60, bins, shards, -(-bins // shards))
        return by_name(shape, own, PlannedJob(workers=workers))["score"]

    score = score_of(2**18)
    of_bin = every + 3 + 2
    assert score.waves == (Wave(10, pytest.approx(60 * 2**18 * of_bin), pytest.approx(6 * 2**18 * of_bin)),)
    # Two workers take 18 and 12 experiments at once, and read less.
    fewer = score_of(2**18, workers=2)
    assert (fewer.tasks, fewer.core_seconds) == (4, pytest.approx(score.core_seconds))
    assert fewer.reads == pytest.approx(4 / 10 * score.reads) and fewer.memory > score.memory
    # Of many bins every fourth is counted; and of very many some shards.
    assert score_of(2**19).core_seconds == pytest.approx(60 * 2**19 * (every + 3 + 2 / 4))
    twice = score_of(2**23)
    # What memory cannot keep for the second sweep is read twice; what networks predict is kept on disk.
    assert twice.core_seconds == pytest.approx(60 * 2**23 * (every + 3 + 2 / 4 / 2))
    assert twice.reads == pytest.approx(2 * 2**23 / 2**18 * score.reads)


def test_processes_start(rates):
    moments, *others = stages_of(
        Workload(Shape(3, 4, 9, 1000, 1, 1000), rates, PlannedJob(ingested=True, workers=4))
    )
    assert moments.core_seconds == pytest.approx(5 * rates.start + moments.waves[0].seconds)
    assert moments.reads == pytest.approx(5 * rates.start_bytes + moments.source)
    assert not any(stage.processes for stage in others)


def test_storage_by_hand(rates):
    own = rates.model_copy(update={"compression": 2.0, "track_bytes": 3.0, "imputed_bytes": 6.0})
    found = Workload(Shape(3, 4, 5, 1000, 1, 1000, 4), own, PlannedJob("train", GIVEN, targets=7)).storage()
    assert found == {"tracks": 15_000.0, "tensor": 10_000.0, "models": 8 * 7 * 9.0, "imputed": 42_000.0}


# -- machines and prices ----------------------------------------------------------------------------------------------


def test_time_on_machines(rates):
    own = rates.model_copy(update={"efficiency": 0.5})
    stage = PlannedStage("s", "c", (Wave.of(8, 1.0),), memory=1000.0, start=0.25)
    assert Site(1, 1).seconds([stage], own) == 8.25
    assert Site(1, 8).seconds([stage], own) == 1 / 0.5 + 0.25
    assert Site(1, 8, 2999.0).seconds([stage], own) == 4 / 0.5 + 0.25
    assert Site(2, 8, 1999.0, speed=2.0).seconds([stage], own) == (4.0 + 0.25) / 2
    assert Site(1, 8, 999.0).seconds([stage], own) == inf
    # No schedule of 2 × 5 s and 4 × 1 s on two workers is shorter than 7 s, nor any on many than 5 s.
    mixed = PlannedStage("s", "c", (Wave(6, 14.0, 5.0),), 1.0)
    assert [Site(1, n).seconds([mixed], own) * 0.5 for n in (2, 50)] == [7.0, 5.0]


def test_time_over_a_network(rates):
    stage = PlannedStage("s", "c", (Wave.of(4, 1.0),), 1.0, reads=800.0, source=100.0, writes=40.0)
    # One reads the source once and writes all; sixteen read 50 bytes each and write a sixteenth.
    assert Site(1, 1, 10.0, 10.0).seconds([stage], rates) == 4.0 + 14.0
    assert Site(16, 1, 10.0, 10.0).seconds([stage], rates) == pytest.approx(1.0 + 5.0 + 0.25)


def test_prices_add_up_by_hand(rates, prices):
    own = rates.model_copy(update={"efficiency": 1.0})
    stage = PlannedStage("s", "c", (Wave.of(16, 3600.0),), memory=1e9, writes=8e9)
    stored = {"tracks": 5e12, "tensor": 30e9, "imputed": 70e9}
    (four,) = offers([stage], stored, Wanted(machine="m6i.xlarge", machines=4), prices, own)
    hours = (2 * 3600.0 + 2e9 / (1.56e9 / 8)) / 3600 + 8 / 60
    surcharge, disks = 0.25 * 5 * 0.192, 4 * 12 * 0.08 / 730
    assert (four.count, four.workers, four.disk_bytes) == (4, 8, 12e9)
    assert four.hours == pytest.approx(hours)
    assert four.on_demand == pytest.approx(hours * (5 * 0.192 + surcharge + disks))
    assert four.spot == pytest.approx(hours * (4 * 0.4 * 0.192 + 0.192 + surcharge + disks))
    assert four.keep_month == pytest.approx(100 * 0.023) and four.download == pytest.approx(70 * 0.09)


def test_offers_are_the_smallest_in_time_by_price(rates, prices):
    load = Workload(parse_shape("roadmap"), rates, PlannedJob(targets=2034))
    work, stored = stages_of(load), load.storage()
    found = offers(work, stored, Wanted(within=48.0), prices, rates)
    assert [offer.on_demand for offer in found] == sorted(offer.on_demand for offer in found)
    assert len({offer.machine for offer in found}) == len(found) > 10
    for offer in found:
        for count in range(max(1, offer.count - 1), offer.count + 1):
            seconds = Site.rented(offer.machine, count, prices).seconds(work, rates)
            assert (seconds <= 48 * 3600) == (count == offer.count)
    large = [dataclasses.replace(work[0], memory=2**40)]
    for stages, wanted, message in (
        (work, Wanted(machine="m6i.4xlarge", within=0.01), "of m6i.4xlarge .* ends within 0.01 hours"),
        (large, Wanted(machines=256), "of the machines in the prices has 1024.0 GiB for each worker"),
    ):
        with pytest.raises(ConfigError, match=f"no cluster {message}"):
            offers(stages, stored, wanted, prices, rates)


def test_imputing_a_genome_has_memory_for_the_zoom_levels_of_a_bigwig(rates):
    """Measured: 134 MB for 40 million bins on 20 chromosomes, 0.40 GB for the 121 million of hg38."""
    memory = [
        {
            stage.name: stage.memory
            for stage in stages_of(Workload(parse_shape(shape), rates, PlannedJob("cv", EM, 4)))
        }
        for shape in ("roadmap,bins=40000000", "roadmap,bins=121000000")
    ]
    assert memory[1]["impute"] - memory[0]["impute"] == pytest.approx(4 * 81e6, rel=0.1)


def test_what_slurm_is_asked_for(rates):
    settings = TrainSettings(solver="em", rank=100, regularisation=0.1)
    load = Workload(parse_shape("roadmap"), rates, PlannedJob("cv", settings, 2034, ingested=True))
    cv, impute = submissions(load, 2)
    assert (cv.script, cv.array, cv.cpus) == ("cv-array.sbatch", 5, 2)
    assert (impute.script, impute.array, impute.cpus) == ("impute-array.sbatch", 32, 1)
    work = {stage.name: stage for stage in stages_of(load)}
    for one, largest in ((cv, work["score"].memory), (impute, work["impute"].memory)):
        assert 2 * one.seconds <= one.time_minutes * 60 < 2 * one.seconds + 900
        assert 1.25 * largest <= one.mem_per_cpu_mb * 2**20 <= max(1.25 * largest + 2**28, 2**30)
    # Parts share the models and the scores, and make the moments once each; 2034 pairs are 32 equal tasks.
    alone = Site(1, 2).seconds([work["moments"]], rates)
    train, scored = (work[name].waves[0] for name in ("train", "score"))
    assert scored.tasks == 45
    rounds = 4 * train.longest + 5 * scored.seconds / 45
    assert cv.seconds == pytest.approx(alone + rounds / 0.85)
    assert impute.seconds == pytest.approx(work["impute"].waves[0].longest + rates.start)


def test_a_job_that_does_not_fit_here_is_warned_of(rates, prices, monkeypatch):
    monkeypatch.setattr("predictd.workflows.planning.plan.physical_memory", lambda: 3 * 2**30)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(2e9, 1e9, 1e9))
    job = PlannedJob("cv", EM, 2034)
    plan = make_plan(parse_shape("roadmap"), job, "local", Wanted(8), rates, prices)
    assert any(w.startswith("score: 8 workers take") and "take 3 workers" in w for w in plan.warnings)
    assert any("1.0 GB are free" in warning for warning in plan.warnings)


# -- rates ------------------------------------------------------------------------------------------------------------


def write_run(path: Path, tensor: Path, seconds: dict[str, float], peak: int = 0, **more: object) -> Path:
    stages = [{"name": name, "seconds": s, "peak_memory_bytes": peak} for name, s in seconds.items()]
    settings = {"solver": "em", "folds": "folds.json"}
    run = {"settings": settings, "results": {"tensor": str(tensor)}, "inputs": {}, "workers": 2}
    path.mkdir()
    (path / RUN_JSON).write_text(json.dumps(run | {"stages": stages, "runs": []} | more))
    return path


def test_a_past_run_is_planned_as_it_was(rates, prices, tensor_path, tmp_path):
    took = {"moments": 50.0, "choose": 400.0, "train": 90.0, "score": 30.0}
    past = write_run(tmp_path / "cv", tensor_path, took, peak=10**9)
    own = rates_of([past])
    job = PlannedJob("cv", EM, 6, ingested=True)
    shape = shape_of(Tensor(tensor_path).manifest)
    plan = make_plan(shape, job, "local", Wanted(2), own, prices)
    named = {stage.name: stage for stage in plan.stages}
    assert {name: named[name].seconds for name in took} == pytest.approx(took)
    assert named["moments"].worker_bytes == pytest.approx(1e9)
    # Another solver's fits are not corrected by it, and what was there already says nothing.
    als = PlannedJob("cv", TrainSettings(solver="als"))
    assert by_name(shape, own, als)["train"] == by_name(shape, rates, als)["train"]
    again = write_run(tmp_path / "again", tensor_path, {**took, "moments": 0.001})
    assert "moments em" not in rates_of([again]).seconds
    # A rates file to begin with.
    write_rates(tmp_path / "rates.toml", rates)
    assert rates_of([tmp_path / "rates.toml", past]).seconds == own.seconds


def entry(parts: list[int], workers: int, **stages: float | tuple[float, int]) -> dict[str, object]:
    """Parts that a process has made: of each stage the seconds, and its peak memory."""
    pairs = [(name, own if isinstance(own, tuple) else (own, 0)) for name, own in stages.items()]
    found = [{"name": name, "seconds": s, "peak_memory_bytes": peak} for name, (s, peak) in pairs]
    return {"parts": parts, "workers": workers, "stages": found}


@pytest.mark.parametrize("solver", ["em", "stack"])
def test_parts_that_processes_of_their_own_have_made(rates, tensor_path, tmp_path, solver):
    """Each took three times as long as planned for its test folds on its workers; the first had to make the moments."""
    settings, shape = TrainSettings(solver=solver), shape_of(Tensor(tensor_path).manifest)

    def job(parts: list[int], workers: int) -> PlannedJob:
        return PlannedJob(
            "cv", settings, ingested=True, tests=len(parts), everything=0 in parts, workers=workers
        )

    def planned(parts: list[int], workers: int) -> dict[str, float]:
        stages = by_name(shape, rates, job(parts, workers))
        return {
            name: Site(1, workers).seconds([dataclasses.replace(stage, start=0)], rates)
            for name, stage in stages.items()
        }

    # The sixth stack, of all experiments, is made with the first part.
    choices = [Workload(shape, rates, job([part], 1)).choices for part in range(5)]
    assert choices == ([2, 1, 1, 1, 1] if solver == "stack" else [1] * 5)
    runs = []
    for parts, workers in (([0], 3), ([1], 2), ([2], 4), ([3], 1), ([4], 2)):
        took = {name: 3 * seconds for name, seconds in planned(parts, workers).items()}
        # Processes start in the first stage that is not found made.
        first = "moments" if 0 in parts else "choose" if "choose" in took else "train"
        took["moments"] = took["moments"] if 0 in parts else 0.001
        took[first] += 3 * rates.start
        peak = 10**11 if parts == [1] else 10**6
        runs.append(entry(parts, workers, **{name: (s, peak) for name, s in took.items()}))
    past = write_run(
        tmp_path / "cv", tensor_path, {}, runs=runs, settings={"solver": solver},
        results={"tensor": str(tensor_path), "choices": dict.fromkeys("01234", "")},
    )  # fmt: skip
    found = rates_of([past])
    keys = {f"moments {solver}", f"choose {solver}", f"train {solver}", "score"}
    assert found.seconds == pytest.approx(dict.fromkeys(keys, 3.0))
    # The largest of all parts counts, not the last one.
    memory = by_name(shape, rates, job([1], 2))
    most = max(memory[name].memory for name in ("moments", "choose", "train"))
    assert found.memory[f"train {solver}"] == pytest.approx(10**11 / most)


IMPUTED = [
    ({"solver": "em", "rank": 4, "networks": 0}, {}),
    ({"solver": "kriging", "networks": 0}, {"0": [], "1": [], "2": []}),
    ({"solver": "stack", "networks": 16}, {key: [] for key in "01234"}),
]


@pytest.mark.parametrize(("models", "held_out"), IMPUTED)
def test_a_past_run_of_impute_is_planned_by_its_models(rates, tensor_path, tmp_path, models, held_out):
    shape = shape_of(Tensor(tensor_path).manifest)
    settings = TrainSettings.model_validate(models)
    job = PlannedJob("cv" if held_out else "train", settings, 24, ingested=True, sd=True, workers=2)
    job = dataclasses.replace(job, tests=len(held_out) or 5)
    stage = by_name(shape, rates, job)["impute"]
    results = {"tensor": str(tensor_path), "pairs": 24, "models": models, "held_out": held_out}

    def factor(name: str, seconds: dict[str, float], **more: object) -> float:
        path = write_run(
            tmp_path / name,
            tensor_path,
            seconds,
            settings={"pairs": "all", "sd": True},
            results=results,
            **more,
        )
        found = rates_of([path]).seconds
        assert found.keys() == {"impute"}
        return found["impute"]

    # Processes of a machine that is so much slower take longer to start as well.
    assert factor("whole", {"impute": 2.5 * Site(1, 2).seconds([stage], rates)}) == pytest.approx(2.5)
    # 16 parts are tasks, which time themselves alone: what other workers a command had makes no difference.
    task = stage.core_seconds - stage.processes * stage.start
    assert stage.tasks == 16
    runs = [entry([part], workers, impute=2.5 * task / 16) for part, workers in enumerate([1, 8] * 8)]
    assert factor("parts", {}, runs=runs) == pytest.approx(2.5)


def test_a_past_run_that_was_resumed(rates, tensor_path, tmp_path, caplog):
    """Its stages are of the last command only; parts, which time themselves, are known whoever made them."""
    shape = shape_of(Tensor(tensor_path).manifest)
    stage = by_name(shape, rates, PlannedJob("train", EM, 24, ingested=True, workers=2))["impute"]
    task = stage.core_seconds - stage.processes * stage.start
    results = {"tensor": str(tensor_path), "pairs": 24, "models": {"solver": "em", "rank": 4}}
    runs = [entry([part], 2, impute=2 * task / stage.tasks) for part in range(stage.tasks)]
    path = write_run(
        tmp_path / "imputed", tensor_path, {"impute": 0.4}, results=results, settings={"pairs": "all"},
        runs=runs, resumed=True,
    )  # fmt: skip
    assert rates_of([path]).seconds == pytest.approx({"impute": 2.0})
    path = write_run(tmp_path / "cv", tensor_path, {"score": 30.0}, resumed=True)
    assert rates_of([path]).seconds == {} and "was stopped and resumed: its times" in caplog.text


def test_more_memory_is_planned_where_any_past_run_needed_more(tensor_path, tmp_path):
    took = {"train": 90.0, "score": 30.0}
    paths = [write_run(tmp_path / f"cv{peak}", tensor_path, took, peak=peak) for peak in (3 * 10**9, 10**6)]
    most = rates_of(paths[:1]).memory
    assert most["train em"] > 2 and rates_of(paths).memory == most == rates_of(paths[::-1]).memory


def test_past_runs_of_no_use(tensor_path, tmp_path):
    gone = write_run(tmp_path / "gone", tmp_path / "nowhere", {"score": 1.0})
    imputed = write_run(tmp_path / "imputed", tensor_path, {"impute": 7.0})
    for path, message in (
        (gone, "its tensor is gone"),
        (imputed, "does not say by which models it imputed"),
        (tmp_path, "No such file"),
    ):
        with pytest.raises(ConfigError, match=rf"run\.json cannot be used as a past run .*{message}"):
            rates_of([path])


def test_rates_come_back_from_their_file(rates, tmp_path):
    update = {"source": 'A "quoted" µ CPU \\ # 1', "read": 1.25e-9, "seconds": {"train em": 2.5}}
    odd = rates.model_copy(update=update)
    write_rates(tmp_path / "rates.toml", odd)
    assert load_rates(tmp_path / "rates.toml") == odd
    text = (tmp_path / "rates.toml").read_text()
    (tmp_path / "rates.toml").write_text(text.replace("read =", "reed ="))
    with pytest.raises(ConfigError, match="'read': field required"):
        load_rates(tmp_path / "rates.toml")


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("spot = 0.4", "spot = ", "cannot read prices in my.toml: Invalid value (at line"),
        ("spot = 0.4", "spot = 4", "prices in my.toml: 'spot': input should be less than or equal to 1"),
        ("surcharge =", "surplus =", "prices in my.toml: 'emr.surcharge': field required"),
        ('primary = "m6i.xlarge"', 'primary = "huge"', "no price of machine 'huge': there are m6i.xlarge"),
    ],
)
def test_broken_prices(tmp_path, monkeypatch, before, after, message):
    monkeypatch.chdir(tmp_path)
    text = (Path(calibration.__file__).parents[2] / "data" / "prices.toml").read_text(encoding="utf-8")
    assert text.count(before) == 1
    Path("my.toml").write_text(text.replace(before, after))
    with pytest.raises(ConfigError) as error:
        load_prices(Path("my.toml"))
    assert message in str(error.value) and "\n" not in str(error.value)


# -- the command line -------------------------------------------------------------------------------------------------


def invoke(*arguments: object) -> str:
    done = CliRunner().invoke(cli, ["plan", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_units():
    assert [duration(s) for s in (0.04, 7.26, 89, 90, 5399, 5400, 86400, 200_000)] == [
        "0.0 s", "7.3 s", "89 s", "1.5 min", "90 min", "1.5 h", "24 h", "2.3 days",
    ]  # fmt: skip
    assert core_time(3600 * 4321) == "4,321 h"
    assert [size(n) for n in (12, 1500, 9.96e9, 3e15)] == ["12 B", "1.5 kB", "10 GB", "3.0 PB"]
    assert aligned([("a", "bb"), ("ccc", "d")]) == "a    bb\nccc   d"


def test_plan_as_text():
    text = invoke("--shape", "roadmap", "--on", "emr", "--within", 48, "--compare")
    for name in ("ingest", "moments", "choose", "train", "score", "impute", "total"):
        assert f"\n{name} " in text
    for part in ("This is an estimate", "By price, a cluster of each", "with spot machines", "us-east-1"):
        assert part in text
    assert "--cpus-per-task=2" in invoke("--shape", "roadmap", "--on", "slurm")
    few = "cells=5,assays=5,observed=20,bins=1000"
    assert "6 models and their scores, solver stack" in invoke("--shape", few)
    assert "40 models and their scores, solver em" in invoke("--shape", few, "--solver", "em")


def test_plan_of_a_tensor_reads_its_manifest_alone(own_tensor, tmp_path):
    shutil.rmtree(own_tensor / SHARDS)
    found = json.loads(invoke(own_tensor, "--json", "-o", tmp_path / "plan.json"))
    assert found == json.loads((tmp_path / "plan.json").read_text())
    assert found["shape"]["bins"] == 20_000 and found["stages"][0]["name"] == "moments"
    assert found["seconds"] == pytest.approx(sum(stage["seconds"] for stage in found["stages"]))


def test_calibrate_and_use_the_rates(tmp_path, monkeypatch):
    for name, value in {"_CELLS": 4, "_ASSAYS": 3, "_BINS": 4000}.items():
        monkeypatch.setattr(calibration, name, value)
    monkeypatch.chdir(tmp_path)
    assert "use them with --rates rates.toml" in invoke("--calibrate", "-o", "rates.toml")
    kept = load_rates(Path("rates.toml"))
    assert "corrected on" in kept.source
    # Where a factor of a thousand is measured, a unit is wrong.
    assert set(kept.seconds) >= {"train", "score"} and all(1e-3 < f < 1e3 for f in kept.seconds.values())
    found = json.loads(invoke("--shape", "roadmap", "--rates", "rates.toml", "--json"))
    assert found["rates"] == kept.model_dump()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give TENSOR or --shape"),
        (["t", "--shape", "roadmap"], "give either TENSOR or --shape"),
        (["--shape", "roadmap", "--calibrate", "--rates", "r"], "give either --calibrate or --rates"),
        (["--shape", "roadmap", "--sd", "--job", "train"], "--sd is of --job cv"),
        (["--shape", "roadmap", "--machines", "3"], "--machines and --compare are for --on emr"),
        (["--shape", "roadmap", "--on", "emr", "--workers", "3"], "emr has one worker a core"),
    ],
)
def test_wrong_usage(arguments, message):
    done = CliRunner().invoke(cli, ["plan", *arguments])
    assert done.exit_code == 2 and message in done.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere is not a directory; make one with 'predictd ingest'"),
        (["--shape", "roadmap", "--on", "emr", "--machine", "abacus"], "no price of machine 'abacus'"),
        (["--shape", "roadmap", "--prices", "none.toml"], "cannot read prices in none.toml"),
        (["--shape", "mouse"], "'mouse' is not one of"),
    ],
)
def test_errors(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, ["plan", *arguments])
    assert isinstance(done.exception, PredictdError) and message in str(done.exception)
    assert not any(tmp_path.iterdir())
