"""What many tests share: one engine, one small simulated data set, its tensor, a model."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from aws_cloud import emulator
from commands import end_engines, lend_engine
from figures import draw_nothing
from here import Here
from margins import demand
from object_stores import S3, Azure, Google, Store
from places import SHARED
from predictd.config import TrainSettings
from predictd.engine import Engine
from predictd.engine.base import one_blas_thread, usable_cpus
from predictd.io.tensor.store import Tensor
from predictd.model.simulate import Simulation
from predictd.progress import PACE_VARIABLE, set_pace
from predictd.workflows.tensor.ingest import IngestOptions, ingest
from predictd.workflows.tensor.simulate import SimulatedGenome, simulate
from predictd.workflows.training.train import train
from spark_cluster import SparkCluster, use_java

# Tests say what commands write to standard error; how long they take, and so whether they tell of it, does not matter.
os.environ[PACE_VARIABLE] = "1e9"
set_pace("1e9")

with suppress(ImportError):
    from hypothesis import settings

    # How long an example takes is no property of the code.
    settings.register_profile("untimed", deadline=None)
    settings.load_profile("untimed")

pytest.register_assert_rewrite("folders", "made_moments", "refusals")

# What a fixture of this name starts, as a marker of the tests that use it.
STARTS = {
    "spark_cluster": "engines",
    "slurm_cluster": "services",
    "s3": "services",
    "gs": "services",
    "azure": "services",
    "store": "services",
    "aws": "services",
}


# More would wait for the longest file. One more than there are processors: while a test of engines or services waits,
# which is a quarter of the time, another one runs.
MAX_PROCESSES = 4


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--margin", type=float, default=1.0, help="divide bounds on rounding by this")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("margin") != 1:
        demand(config.getoption("margin"))


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Deal files out to several processes, where pytest-xdist is installed and whole folders are run.

    Starting the processes takes longer than a few tests do, and they can neither debug nor show what is printed.
    `-n` says how many; 0 runs all in this one.
    """
    option = config.option
    asked = config.getoption("numprocesses", 0)
    if hasattr(config, "workerinput") or asked == 0 or option.dist != "no" or option.tx:
        return
    shown = option.collectonly or option.showfixtures or option.show_fixtures_per_test
    single = option.usepdb or option.trace or option.capture == "no"
    few = option.keyword or not all(Path(path).is_dir() for path in config.args)
    if asked is None and not shown and not single and not few and usable_cpus() > 1:
        option.numprocesses = min(usable_cpus() + 1, MAX_PROCESSES)
    if option.numprocesses:
        # What the tests of a file share is made once, and engines are started once for them.
        option.dist, option.loadscopereorder = "loadfile", False


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if "pilot" in getattr(item, "fixturenames", ()):
            item.add_marker("data")
        for fixture in STARTS.keys() & set(getattr(item, "fixturenames", ())):
            item.add_marker(STARTS[fixture])
    # Files whose tests start nothing come first: their failures show early. They are the short ones, and where files
    # are dealt to several processes they come last, so that all of these end at about the same time.
    kinds = {*STARTS.values(), "docs", "processes"}
    long = {item.path for item in items if any(map(item.get_closest_marker, kinds))}
    items.sort(key=lambda item: item.path in long, reverse=hasattr(config, "workerinput"))


@pytest.fixture(scope="session", autouse=True)
def small_matrices() -> Iterator[None]:
    """One BLAS thread, as in workers: on matrices as small as these, more of them wait rather than compute."""
    with one_blas_thread():
        yield


@pytest.fixture(scope="session", autouse=True)
def shared_engines() -> Iterator[None]:
    yield
    end_engines()


@pytest.fixture(scope="session")
def engine() -> Engine:
    """Two workers."""
    return lend_engine(2)


@pytest.fixture(scope="session")
def single() -> Engine:
    """One worker."""
    return lend_engine(1)


@pytest.fixture(scope="session")
def simulation() -> Simulation:
    return Simulation.for_shape(6, 4, share=0.75, rank=3, seed=7)


@pytest.fixture(scope="session")
def place() -> SimulatedGenome:
    return SimulatedGenome.of_bins(20_000, chromosomes=2)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory, simulation: Simulation, place: SimulatedGenome) -> Path:
    """A simulated data set as bigWigs: tracks.tsv, truth.tsv, genome.chrom.sizes. Read only."""
    path = tmp_path_factory.mktemp("data") / "simulated"
    # In this process, which has imported what workers would have to.
    simulate(path, simulation, place, Here(1))
    return path


@pytest.fixture(scope="session")
def tensor_path(tmp_path_factory: pytest.TempPathFactory, engine: Engine, data: Path) -> Path:
    """The data set's tensor, in several shards. Read only."""
    path = tmp_path_factory.mktemp("tensor") / "tensor"
    options = IngestOptions(genome=str(data / "genome.chrom.sizes"), shard_bins=4000)
    ingest(data / "tracks.tsv", path, options, engine)
    return path


@pytest.fixture(scope="session")
def short_path(tmp_path_factory: pytest.TempPathFactory, engine: Engine, data: Path) -> Path:
    """A tensor of the same experiments with 4000 bins, in two shards of each chromosome. Read only."""
    path = tmp_path_factory.mktemp("short")
    (path / "regions.bed").write_text("chr1\t0\t50000\nchr2\t0\t50000\n")
    options = IngestOptions(
        genome=str(data / "genome.chrom.sizes"), regions=path / "regions.bed", shard_bins=1000
    )
    ingest(data / "tracks.tsv", path / "tensor", options, engine)
    return path / "tensor"


@pytest.fixture
def tensor(tensor_path: Path) -> Tensor:
    return Tensor(tensor_path)


@pytest.fixture
def own_tensor(tensor_path: Path, tmp_path: Path) -> Path:
    """A copy of the tensor that a test may damage."""
    return Path(shutil.copytree(tensor_path, tmp_path / "own"))


@pytest.fixture(scope="session")
def model_path(tmp_path_factory: pytest.TempPathFactory, engine: Engine, tensor_path: Path) -> Path:
    """A model of the tensor, by SGD. Read only."""
    path = tmp_path_factory.mktemp("model") / "model.h5"
    train(tensor_path, path, TrainSettings(solver="sgd", rank=3), engine)
    return path


@pytest.fixture
def blank_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures of nothing, drawn in no time, for tests that do not look at them."""
    draw_nothing(monkeypatch)


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store that speaks S3."""
    if S3.missing():
        pytest.skip(S3.missing())
    yield from S3.run(tmp_path_factory.mktemp("s3"))


@pytest.fixture(scope="session")
def gs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store that speaks Google's language."""
    if Google.missing():
        pytest.skip(Google.missing())
    yield from Google.run(tmp_path_factory.mktemp("gs"))


@pytest.fixture(scope="session")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store that speaks Azure's language."""
    if Azure.missing():
        pytest.skip(Azure.missing())
    yield from Azure.run(tmp_path_factory.mktemp("azure"))


@pytest.fixture(scope="session")
def quick_java(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Spark starts in half the time; all processes of the tests share what this takes."""
    base = tmp_path_factory.getbasetemp()
    use_java((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "java")


@pytest.fixture(scope="module")
def aws() -> Iterator[str]:
    """URL of an emulator of AWS."""
    with emulator() as url:
        yield url


@pytest.fixture(scope="session")
def spark_cluster(tmp_path_factory: pytest.TempPathFactory, quick_java: None) -> Iterator[SparkCluster]:
    """A Spark cluster of two workers."""
    with SparkCluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def pilot() -> Path:
    """Directory of the real data; tests that need it are skipped where it is absent."""
    if not (SHARED / "data" / "roadmap-pilot").is_dir():
        pytest.skip("the real pilot tracks are not here (shared/data/roadmap-pilot)")
    return SHARED
