"""Jobs that are killed at any point leave nothing behind, and equal jobs at once do not disturb each other."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from folders import names
from here import Here
from killed import Job, everything, hold_at, kill_at_every_event, needs_fork, start
from made_networks import write_network_case
from predictd.config import NetworkSettings, TrainSettings
from predictd.io.files import write_json
from predictd.io.tensor.store import Tensor
from predictd.model.folds import folds_to_json, make_folds
from predictd.model.simulate import Simulation
from predictd.workflows.imputing.impute import Imputation
from predictd.workflows.network.infer import Inference
from predictd.workflows.tensor.ingest import IngestOptions, ingest
from predictd.workflows.tensor.simulate import SimulatedGenome, simulate
from predictd.workflows.tracks.export import export
from predictd.workflows.training.crossval import Crossval
from predictd.workflows.training.train import train
from waiting import until

pytestmark = [needs_fork, pytest.mark.processes]
# It does not matter how well they fit.
QUICK = TrainSettings.model_validate(
    {"solver": "em", "rank": 2, "lambda": 0.1, "als": {"starts": 1, "start_sweeps": 1, "max_sweeps": 3}}
)
SGD = TrainSettings.model_validate(
    {"solver": "sgd", "rank": 2, "lambda": 0.001, "sgd": {"max_rounds": 3, "updates_per_round": 200}}
)


def simulation(folder: Path, engine: Here) -> None:
    made = Simulation.for_shape(4, 3, share=0.85, rank=2, seed=3)
    simulate(folder / "data", made, SimulatedGenome.of_bins(600), engine)


def ingestion(folder: Path, engine: Here) -> None:
    options = IngestOptions(genome=str(folder / "data" / "genome.chrom.sizes"), shard_bins=300)
    ingest(folder / "data" / "tracks.tsv", folder / "tensor", options, engine)


def training(folder: Path, engine: Here) -> None:
    train(folder / "tensor", folder / "model.h5", QUICK, engine)


def descent(folder: Path, engine: Here) -> None:
    train(folder / "tensor", folder / "sgd.h5", SGD, engine)


def crossvalidation(folder: Path, engine: Here) -> None:
    folds = folder / "folds.json"
    if not folds.exists():
        write_json(folds, folds_to_json(make_folds(Tensor(folder / "tensor").experiments, tests=2, valids=2)))
    Crossval(folder / "tensor", folder / "cv", QUICK, folds=folds).make_all(engine)


def imputation(folder: Path, engine: Here) -> None:
    Imputation(folder / "cv", folder / "tensor", folder / "imputed", sd=True).make_all(engine)


def inference(folder: Path, engine: Here) -> None:
    settings = NetworkSettings(trees=2)
    path, regulators = folder / "expression.tsv", folder / "regulators.txt"
    # One a block.
    targets = [f"G{i}" for i in range(3)]
    job = Inference(path, folder / "net", settings, regulators=regulators, targets=targets)
    job.make_all(engine)


# In the order in which they need each other.
JOBS: tuple[Job, ...] = (simulation, ingestion, training, descent, crossvalidation, imputation, inference)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[Job, Path]:
    """The folder as each job finds it, and at last as all have left it."""
    base = tmp_path_factory.mktemp("made")
    folders, last = {}, base / "before"
    last.mkdir()
    write_network_case(last)
    for job in JOBS:
        folders[job] = last
        last = Path(shutil.copytree(last, base / job.__name__))
        start(job, last).must_end_well()
    folders[None] = last
    return folders


def expected(made: dict[Job, Path], job: Job) -> dict[str, bytes | None]:
    return everything([*made.values()][[*made].index(job) + 1])


@pytest.mark.parametrize("job", JOBS)
def test_killed_at_every_point_it_ends_with_the_same_files(job, made, tmp_path):
    folder = Path(shutil.copytree(made[job], tmp_path / "work"))
    points = kill_at_every_event(job, folder)
    assert len(points) > 5
    assert everything(folder) == expected(made, job), points
    assert names(tmp_path / "work-temporary") == []


@pytest.mark.parametrize("job", [job for job in JOBS if job is not descent])
def test_two_at_once_end_with_the_same_files(job, made, tmp_path):
    """One is held at one of its writes while the other one runs from its beginning to its end."""
    for number in (2, 9, 18, 30):
        folder = Path(shutil.copytree(made[job], tmp_path / f"work-{number}"))
        held = hold_at(job, folder, number)
        start(job, folder).must_end_well()
        held.go_on()
        held.apart.must_end_well()
        assert everything(folder) == expected(made, job), held.event
        assert names(tmp_path / f"work-{number}-temporary") == []


def test_a_part_that_is_held_finds_the_whole_finished(made, tmp_path):
    folder = Path(shutil.copytree(made[crossvalidation], tmp_path / "work"))

    def part(folder: Path, engine: Here) -> None:
        Crossval(folder / "tensor", folder / "cv", QUICK, folds=folder / "folds.json").make([1], engine)

    shutil.copyfile(made[imputation] / "folds.json", folder / "folds.json")
    held = hold_at(part, folder, 12)
    start(crossvalidation, folder).must_end_well()
    held.go_on()
    held.apart.must_end_well()
    assert everything(folder) == expected(made, crossvalidation)


def test_of_two_descents_one_waits_for_the_end_of_the_other(made, tmp_path):
    """They would remove each other's states; see `Checkpoint.hold`."""
    folder = Path(shutil.copytree(made[descent], tmp_path / "work"))
    held = hold_at(descent, folder, 20)
    assert "sgd.h5.checkpoint" in held.event
    other = start(descent, folder)
    until(lambda: "waiting for its end" in other.told.read_text(), "the other one to wait")
    held.go_on()
    held.apart.must_end_well()
    other.must_end_well()
    assert everything(folder) == expected(made, descent)


def test_a_descent_takes_over_from_one_that_is_killed_while_it_waits(made, tmp_path):
    folder = Path(shutil.copytree(made[descent], tmp_path / "work"))
    held = hold_at(descent, folder, 20)
    other = start(descent, folder)
    until(lambda: "waiting for its end" in other.told.read_text(), "the other one to wait")
    os.kill(held.apart.number, signal.SIGKILL)
    assert held.apart.wait() == -signal.SIGKILL
    other.must_end_well()
    assert everything(folder) == expected(made, descent)


@pytest.mark.parametrize("name", ["out.zarr", "out.tsv.gz", "bigwigs"])
def test_two_exports_at_once(made, tmp_path, name):
    """A store is a folder, of which the second is refused; files are replaced by the same bytes."""
    if name.endswith(".zarr"):
        pytest.importorskip("zarr")
        pytest.importorskip("xarray")

    def exporting(folder: Path, engine: Here) -> None:
        export(folder / "tensor", folder / name)

    folder = Path(shutil.copytree(made[training], tmp_path / "work"))
    held = hold_at(exporting, folder, 4)
    start(exporting, folder).must_end_well()
    alone = everything(folder / name) or (folder / name).read_bytes()
    held.go_on()
    code = held.apart.wait()
    assert code == 0 or f"{name} exists already" in held.apart.told.read_text()
    assert (everything(folder / name) or (folder / name).read_bytes()) == alone
    assert not [path for path in folder.rglob("*") if ".partial" in path.name]
    assert names(tmp_path / "work-temporary") == []
