"""The model behind `predictd plan`: what it counts is what workflows do, and its arithmetic on machines."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import pairwise, product
from math import ceil, inf
from typing import Any

import pytest

from predictd.config import TrainSettings
from predictd.constants import MAX_OPEN_TRACKS
from predictd.engine import Engine
from predictd.errors import ConfigError
from predictd.io.tensor.store import Tensor
from predictd.model.folds import make_folds
from predictd.pairs import Experiment, axes
from predictd.workflows.evaluation.score import Case, group_cases
from predictd.workflows.imputing.impute import track_groups
from predictd.workflows.planning.places import Site, job_seconds, makespan, stage_seconds
from predictd.workflows.planning.rates import Rates, load_rates
from predictd.workflows.planning.shape import PRESETS, Shape, impute_parts, parse_shape, shape_of
from predictd.workflows.planning.work import Job, Stage, Tasks, block_rows, stages, storage
from predictd.workflows.training.solvers import SOLVERS
from predictd.workflows.training.solvers.solver import FitData

GIVEN = TrainSettings(rank=8, regularisation=0.1)


@pytest.fixture(scope="module")
def rates() -> Rates:
    return load_rates()


def by_name(shape: Shape, rates: Rates, job: Job) -> dict[str, Stage]:
    return {stage.name: stage for stage in stages(shape, rates, job)}


# -- shapes -----------------------------------------------------------------------------------------------------------


def test_shape_of_numbers():
    shape = parse_shape("cells=127, assays=24,observed=1014,bins=1_126_469")
    # 2^27 values a shard at most: 132,364 bins of 1014 experiments.
    assert shape == Shape(127, 24, 1014, 1126469, 9, 125164)
    assert shape.values == 1014 * 1126469
    assert [shape.targets(pairs) for pairs in ("missing", "observed", "all")] == [2034, 1014, 3048]


def test_shape_of_presets():
    whole = parse_shape("roadmap")
    assert (whole.cells, whole.assays, whole.observed) == (127, 24, 1014)
    assert whole.bins == 125_486_491 and whole.shards >= whole.bins / (2**27 // 1014)
    assert parse_shape("roadmap,bins=1e6").bins == 1_000_000
    for name in PRESETS:
        assert parse_shape(name).bins > 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("human", "'human' is no preset"),
        ("cells=3,assays=2,bins=100", "observed missing"),
        ("cells=3,assays=2,observed=9,bins=100", "9 experiments are more than 3 cell types × 2 assays"),
        ("cells=3,assays=2,observed=6,bins=0", "bins is a whole number from 1"),
        ("cells=2.5,assays=2,observed=6,bins=10", "cells is a whole number from 1, not '2.5'"),
        ("roadmap,tissues=3", "'tissues=3' is not one of cells, assays, observed, bins"),
        ("cells=nan,assays=2,observed=6,bins=10", "cells is a whole number"),
    ],
)
def test_bad_shapes(text, message):
    with pytest.raises(ConfigError) as error:
        parse_shape(text)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_shape_of_a_tensor(tensor: Tensor):
    cells, assays = axes(tensor.experiments)
    sizes = [entry.n_bins for entry in tensor.manifest.shards]
    expected = Shape(len(cells), len(assays), len(tensor.experiments), sum(sizes), len(sizes), max(sizes), 2)
    assert shape_of(tensor.manifest) == expected


def test_blocks_are_those_of_the_shards(tensor: Tensor):
    name = max(
        tensor.shard_names, key=lambda n: next(e.n_bins for e in tensor.manifest.shards if e.name == n)
    )
    with tensor.open_shard(name) as shard:
        sizes = [len(block) for _, block in shard.blocks()]
    assert max(sizes) == block_rows(shape_of(tensor.manifest))


# -- what workflows do ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("targets", [1, 15, 16, 17, 1024, 1025, 2034])
def test_parts_of_imputing(targets):
    pairs = [Experiment(f"C{i}", "A") for i in range(targets)]
    assert impute_parts(targets) == len(track_groups(pairs, MAX_OPEN_TRACKS))


def test_tasks_of_scoring(rates):
    shape = parse_shape("cells=20,assays=10,observed=190,bins=5000")
    pair = Experiment("C", "A")
    cases = [Case(pair, "0", None, None, None, None)] * 38
    assert by_name(shape, rates, Job())["score"].tasks == 5 * len(group_cases(cases, 1))


class Counting(Engine):
    """Answers the search for rank and penalty without fitting anything, and counts what it asks for."""

    name, workers = "counting", 1

    def __init__(self) -> None:
        self.turns: list[int] = []

    def map(self, task: Any, keys: Sequence[Any], shared: Any, **options: Any) -> list[Any]:
        self.turns.append(len(keys))
        # Rank 4 is the best, and another penalty than the first one.
        return [abs(key.settings.rank - 4) + abs(key.settings.regularisation - 0.3) for key in keys]

    def reduce(self, *arguments: Any, **options: Any) -> Any:
        raise NotImplementedError

    spmd = reduce  # type: ignore[assignment]

    def close(self) -> None:
        pass


@pytest.mark.parametrize("n_cells", [8, 60])
def test_fits_that_choose(rates, n_cells):
    pairs = [Experiment(f"C{i}", f"A{j}") for i, j in product(range(n_cells), range(8))]
    folds = [fold for fold in make_folds(pairs) if fold.name.startswith("0.")]
    engine = Counting()
    SOLVERS["em"].choose(FitData(None), folds, TrainSettings(solver="em"), engine, seed=0)
    shape = parse_shape(f"cells={n_cells},assays=8,observed={len(pairs)},bins=1000")
    planned = by_name(shape, rates, Job(tests=1))["choose"]
    assert [sum(tasks.count for tasks in wave) for wave in planned.waves] == engine.turns
    assert len(by_name(shape, rates, Job())["choose"].waves) == 5 * len(engine.turns)
    assert "choose" not in by_name(shape, rates, Job(settings=GIVEN))


def test_seconds_of_stages_by_hand(rates):
    shape = Shape(10, 8, 40, 300_000, 3, 100_000)
    own = rates.model_copy(
        update={"read": 2.0, "moments": 3.0, "multiply": 5.0, "bigwig": 7.0, "fit": 1e-9, "ingest": 11.0}
    )
    found = by_name(shape, own, Job(settings=GIVEN))
    assert found["ingest"].waves == ((Tasks(3, 100_000 * 40 * 11.0),),)
    assert found["moments"].waves == ((Tasks(3, 100_000 * 40 * (2.0 + 3.0 * 20)),),)
    # 40 missing pairs in 16 parts: of 3 pairs at most, 2.5 in the mean.
    ((impute,),) = found["impute"].waves
    assert impute.count == 16
    assert impute.seconds == pytest.approx(300_000 * (40 * 2.0 + 3 * 40 * 5.0 + 2.5 * 7.0))
    ((models,),) = found["models"].waves
    assert models.count == 40
    # A single model is cheaper through its factors only where there are many pairs.
    single = by_name(shape, own, Job("train", GIVEN))["impute"].waves[0][0]
    assert single.seconds == pytest.approx(impute.seconds)


def test_stages_of_jobs(rates):
    shape = parse_shape("roadmap-1percent")
    sgd = TrainSettings(solver="sgd")

    def names(job: Job) -> list[str]:
        return [stage.name for stage in stages(shape, rates, job)]

    assert names(Job()) == ["ingest", "moments", "choose", "models", "score", "impute"]
    assert names(Job("train", ingested=True)) == ["moments", "choose", "model", "impute"]
    assert names(Job("train", sgd)) == ["ingest", "model", "impute"]
    assert names(Job("cv", sgd)) == ["ingest", "moments", "models", "score", "impute"]
    full = parse_shape("cells=3,assays=2,observed=6,bins=1000")
    assert [s.name for s in stages(full, rates, Job(settings=GIVEN))][-1] == "score"
    assert [s.name for s in stages(shape, rates, Job()) if s.starts] == ["ingest", "moments", "impute"]


@pytest.mark.parametrize(
    "job",
    # All pairs, since more experiments leave fewer missing.
    [Job(pairs="all"), Job("train", pairs="all"), Job(settings=TrainSettings(solver="sgd"), pairs="all")],
)
def test_more_data_take_more(rates, job):
    site = Site(4, 8, inf, 1e9)

    def measures(shape: Shape) -> list[float]:
        work = stages(shape, rates, job)
        stored = storage(shape, rates, job)
        return [
            job_seconds(work, site, rates),
            sum(stage.core_seconds for stage in work),
            stored["tracks"] + stored["tensor"],
        ]

    # From 300 training experiments on fewer folds choose rank and penalty, which takes less.
    for key, values in (
        ("bins", (1e4, 1e5, 1.2e6, 1.2e8)),
        ("observed", (50, 100, 200, 300)),
        ("observed", (500, 800, 1014)),
    ):
        found = [measures(parse_shape(f"roadmap-1percent,{key}={value:g}")) for value in values]
        for less, more in pairwise(found):
            assert all(a <= b for a, b in zip(less, more, strict=True)), (key, less, more)


def test_memory_grows_with_bins_up_to_a_shard(rates):
    found = []
    for bins in (1e3, 1e4, 1e5, 1e6, 1e7, 1e8):
        work = stages(parse_shape(f"roadmap,bins={bins:g}"), rates, Job())
        found.append(max(stage.memory for stage in work))
    assert all(a <= b for a, b in pairwise(found))
    # Scoring keeps a part of its signal; nothing grows with the genome.
    assert found[-1] == found[-2] < 1.3e9


def test_storage_by_hand(rates):
    shape = Shape(3, 4, 5, 1000, 1, 1000, 4)
    own = rates.model_copy(update={"compression": 2.0, "track_bytes": 3.0, "imputed_bytes": 6.0})
    found = storage(shape, own, Job("train", GIVEN))
    assert found == {
        "tracks": 15_000.0,
        "tensor": 5000 * 4 / 2 + 8 * 36,
        "models": 8 * 7 * 9.0,
        "imputed": 7 * 6000.0,
    }


# -- machines ---------------------------------------------------------------------------------------------------------


def test_makespan():
    assert makespan([Tasks(10, 3.0)], 4) == 9.0
    assert makespan([Tasks(10, 3.0)], 100) == 3.0
    # No schedule of 2 × 5 s and 4 × 1 s on two workers is shorter than 7 s, nor any on many than 5 s.
    assert makespan([Tasks(2, 5.0), Tasks(4, 1.0)], 2) == 7.0
    assert makespan([Tasks(2, 5.0), Tasks(4, 1.0)], 50) == 5.0
    assert makespan([], 3) == 0.0


def test_memory_limits_workers(rates):
    own = rates.model_copy(update={"efficiency": 0.5, "start": 0.25})
    stage = Stage("s", "c", ((Tasks(8, 1.0),),), memory=1000.0)
    assert Site(1, 8, 1e9).workers(1000.0) == 8
    assert Site(1, 8, 2999.0).workers(1000.0) == 2
    assert stage_seconds(stage, Site(1, 8, 2999.0), own) == 4 * 1.0 / 0.5
    assert stage_seconds(stage, Site(1, 8, 1999.0, speed=2.0), own) == 8 * 1.0 / 2.0
    assert stage_seconds(stage, Site(2, 8, 1999.0), own) == 4.0
    assert stage_seconds(dataclasses.replace(stage, starts=True), Site(1, 1, 1e9), own) == 8.25
    assert not Site(1, 8, 999.0).fits([stage])
    with pytest.raises(ConfigError, match="choose machines with more memory"):
        stage_seconds(stage, Site(1, 8, 999.0), own)


def test_network(rates):
    stage = Stage("s", "c", ((Tasks(4, 1.0),),), 1.0, reads=800.0, source=100.0, writes=40.0, joined=8.0)
    # One reads the source once, writes all of the output, and has nobody to send a sum to.
    assert stage_seconds(stage, Site(1, 1, 10.0, 10.0), rates) == 4.0 + 14.0
    # Sixteen: 50 bytes of 800 each, a sixteenth of the output, sums in four steps.
    assert stage_seconds(stage, Site(16, 1, 10.0, 10.0), rates) == pytest.approx(1.0 + 5.0 + 0.25 + 3.2)


def test_more_machines_stop_to_help_where_tasks_run_out(rates):
    work = stages(parse_shape("roadmap"), rates, Job())
    taken = [job_seconds(work, Site(count, 8, inf), rates) for count in (1, 2, 4, 16, 64, 1024, 4096)]
    assert all(a >= b for a, b in pairwise(taken))
    # Longer than its longest tasks, one a wave.
    least = sum(max(tasks.seconds for tasks in wave) for stage in work for wave in stage.waves)
    assert taken[-1] == taken[-2] == pytest.approx(least / rates.efficiency + 3 * rates.start)
    assert ceil(taken[0] / taken[-1]) < 64
