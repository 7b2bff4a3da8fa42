"""Object stores: the whole job with every path remote, and what goes wrong there, on S3, Google's and Azure alike."""

from __future__ import annotations

import gc
import gzip
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest

import engine_tasks as tasks
import page_programs
import predictd
import spark_cluster
from commands import call_predictd, choices_logged, end_engines, lend_engine, run_predictd
from desk import QUICK, Desk
from example_folder import make_examples
from in_stores import copied, stored_contents, use
from made_expression import CELLS, GENES, write_h5ad, write_loom, write_mtx, write_parquet, write_tenx_h5
from made_networks import write_link_case
from object_stores import BUCKET, Store, failing_proxy
from pages import scripts
from places import ROOT
from predictd.config import TrainSettings
from predictd.engine import Engine, LocalEngine
from predictd.errors import OutputError, RemoteError, TensorFormatError, TrackError
from predictd.io import clients
from predictd.io.files import make_directory, write_json, write_text
from predictd.io.hdf5 import reading
from predictd.io.network.expression import MatrixChoice
from predictd.io.network.matrices import files_of, read_matrix
from predictd.io.partition import Job
from predictd.io.remote import as_path
from predictd.io.tables import Track, read_tracks
from predictd.io.tensor.store import Tensor
from predictd.io.tracks.bigwig import BigWigReader
from predictd.io.tracks.genomes import load_genome
from predictd.matrix import rows
from predictd.model.folds import folds_to_json, make_folds
from predictd.model.peaks import PeakRule
from predictd.pairs import Experiment
from predictd.workflows.evaluation.evaluate import evaluate
from predictd.workflows.imputing.impute import Imputation, impute
from predictd.workflows.network.filter import Limits, filter_network
from predictd.workflows.network.stats import describe_degrees, describe_network
from predictd.workflows.tensor.moments import compute_moments
from predictd.workflows.tensor.simulate import simulate
from predictd.workflows.tensor.sources import NumberedTrack, Probing, probe_track
from predictd.workflows.tracks.hub import HubOptions, make_hub
from predictd.workflows.tracks.peaks import PeakCalling
from predictd.workflows.tracks.view import make_view
from predictd.workflows.training.crossval import Crossval, crossval
from predictd.workflows.training.train import train
from track_server import serving

SETTINGS = TrainSettings(rank=2, regularisation=0.1)
FITTED = ("--rank", 2, "--lambda", 0.1)
DESCRIPTION = {"command": "x", "tracks": [["C:A", 5]]}


@contextmanager
def known(store: Store) -> Iterator[Store]:
    """For a while this process, and the workers of the shared engines, know of a store."""
    with pytest.MonkeyPatch.context() as patch:
        use(patch, store.environment())
        end_engines()
        yield store
    end_engines()


@pytest.fixture(scope="module", params=["s3", "gs", "azure"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    with known(request.getfixturevalue(request.param)) as running:
        yield running


@pytest.fixture(scope="module")
def knowing(store: Store) -> Engine:
    """An engine whose workers know of the store."""
    return lend_engine(2)


@pytest.fixture(scope="module")
def base(store: Store, knowing: Engine, simulation, place) -> Path:
    """Directory in the store with the data set: its tracks and its genome. Other files have names of a test's own."""
    path = as_path(f"{store.url}/base")
    simulate(path / "data", simulation, place, knowing)
    return path


@pytest.fixture(scope="module")
def remote_tensor(base: Path, tensor_path: Path) -> Path:
    """A copy of the local tensor. Read only."""
    return copied(tensor_path, base / "tensor")


@pytest.fixture
def room(base: Path, request: pytest.FixtureRequest) -> Path:
    """An empty directory of a test's own in the store."""
    return base / request.node.name.partition("[")[0]


def local_contents(path: Path) -> dict[str, bytes]:
    files = [file for file in path.rglob("*") if file.is_file()]
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in files
        if file.name not in ("run.json", "manifest.json")
    }


@pytest.fixture(scope="module")
def local(tmp_path_factory, tensor_path, data, engine) -> Path:
    """What the same commands make on a file system: tensor, folds.json, cv, imputed, metrics.tsv."""
    path = tmp_path_factory.mktemp("local")
    # Without moments that other tests have left there.
    tensor = Path(shutil.copytree(tensor_path, path / "tensor", ignore=shutil.ignore_patterns("moments*")))
    folds = make_folds(Tensor(tensor).experiments, tests=2, valids=2)
    write_json(path / "folds.json", folds_to_json(folds))
    crossval(tensor, path / "cv", SETTINGS, engine, folds=path / "folds.json")
    impute(path / "cv", tensor, path / "imputed", engine)
    evaluate(path / "imputed", data / "truth.tsv", path / "metrics.tsv", engine)
    return path


@pytest.fixture(scope="module")
def local_model(tmp_path_factory, tensor_path, engine) -> Path:
    path = tmp_path_factory.mktemp("local_model") / "model.h5"
    train(tensor_path, path, SETTINGS, engine)
    return path


def refused(*arguments: object, cwd: Path) -> str:
    """The one line that a command ends with."""
    done = run_predictd(*arguments, cwd=cwd)
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 1 and len(lines) == 1, done.stderr
    return lines[0].removeprefix("predictd: error: ")


# The whole job


def test_the_whole_job_with_every_path_remote(store, base, room, local, tmp_path):
    (room / "folds.json").upload(local / "folds.json")
    tensor, folds = room / "tensor", room / "folds.json"
    data = base / "data"
    for arguments in (
        [
            "ingest",
            data / "tracks.tsv",
            tensor,
            "--genome",
            data / "genome.chrom.sizes",
            "--shard-bins",
            4000,
        ],
        ["cv", tensor, "-o", room / "cv", "--folds", folds, *FITTED],
        ["impute", room / "cv", tensor, "-o", room / "imputed"],
        ["evaluate", room / "imputed", data / "truth.tsv", "-o", room / "metrics.tsv"],
    ):
        # One in a process of its own, whose variables and end are those that a user has.
        call = run_predictd if arguments[0] == "ingest" else call_predictd
        done = call(*arguments, "--workers", 2, cwd=tmp_path)
        logged = choices_logged(done.stdout) if arguments[0] == "cv" else ""
        assert (done.returncode, done.stderr) == (0, logged), (arguments, done.stderr)
    assert not list(tmp_path.iterdir())
    for name in ("tensor", "cv", "imputed"):
        assert stored_contents(room / name) == local_contents(local / name), name
    assert (room / "metrics.tsv").read_bytes() == (local / "metrics.tsv").read_bytes()
    manifest = json.loads((tensor / "manifest.json").read_text())
    assert Tensor(tensor).manifest.checksum == Tensor(local / "tensor").manifest.checksum
    sources = [source for entry in manifest["experiments"] for source in entry["sources"]]
    assert all(source["path"].startswith(f"{store.url}/base/data/tracks/") for source in sources)
    assert json.loads((room / "imputed" / "run.json").read_text())["results"]["tensor"] == str(tensor)
    everything = b"".join((room / name).read_bytes() for name in room.names())
    assert store.secret.encode() not in everything


def test_a_simulation_is_the_same_bytes(base, data):
    assert stored_contents(base / "data") == local_contents(data)


def test_parts_and_an_interrupted_job(remote_tensor, room, local, knowing):
    """Parts by several processes, one of which left only some tracks behind."""
    cv = room / "cv"
    (room / "folds.json").upload(local / "folds.json")

    def plan() -> Crossval:
        return Crossval(remote_tensor, cv, SETTINGS, folds=room / "folds.json")

    assert plan().make([1], knowing) == [1]
    with pytest.raises(OutputError, match=r"part 0 of 2 is missing in .*/cv; make it first \(`part` 0\)"):
        plan().finish(knowing)
    plan().make_all(knowing)
    assert stored_contents(cv) == local_contents(local / "cv")
    for name in local_contents(local / "imputed"):
        if name.startswith("C1"):
            (room / "imputed" / name).upload(local / "imputed" / name)
    with pytest.raises(OutputError, match=r"holds C1-.*bw already"):
        Imputation(cv, remote_tensor, room / "imputed").make([0], knowing)
    (room / "imputed").remove_tree()
    imputation = Imputation(cv, remote_tensor, room / "imputed")
    imputation.make([2, 0], knowing)
    Imputation(cv, remote_tensor, room / "imputed").make_all(knowing)
    assert stored_contents(room / "imputed") == local_contents(local / "imputed")


@pytest.mark.engines
@pytest.mark.parametrize("engine_name", ["mpi", "spark"])
def test_other_engines_train_on_a_remote_tensor(
    engine_name, s3, tensor_path, local_model, tmp_path, monkeypatch
):
    use(monkeypatch, s3.environment())
    tensor = copied(tensor_path, as_path(f"{s3.url}/{engine_name}/tensor"))
    command = [sys.executable, "-m", "predictd", "train", str(tensor), *map(str, FITTED)]
    variables = os.environ | {"PYTHONSAFEPATH": "1"}
    if engine_name == "mpi":
        mpiexec = Path(sys.executable).with_name("mpiexec")
        if not mpiexec.exists():
            pytest.skip("mpich is not installed with this Python")
        command = [str(mpiexec), "-n", "2", *command, "-o", f"{tensor.parent}/model.h5", "--workers", "1"]
    else:
        if spark_cluster.missing():
            pytest.skip(spark_cluster.missing())
        variables = spark_cluster.environment()
        command += ["-o", f"{tensor.parent}/model.h5", "--engine", "spark", "--master", "local[2]"]
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tensor.parent / "model.h5").read_bytes() == local_model.read_bytes()


# Reading and writing


def test_what_a_stack_learns_from_is_kept_in_the_store(room, local, knowing, tmp_path):
    settings = TrainSettings(solver="donors", networks=1)
    tensor = copied(local / "tensor", room / "tensor")
    for source, model in ((tensor, room / "m.h5"), (local / "tensor", tmp_path / "m.h5")):
        train(source, model, settings, knowing, moments=model.with_name("own.h5"))
    assert {Path(name).name for name in room.names()} >= {"own.h5", "own.sample.h5"}
    for name in ("m.h5", "own.sample.h5"):
        assert (room / name).read_bytes() == (tmp_path / name).read_bytes()


def test_shards_are_read_in_memory_or_copied_to_scratch(remote_tensor, tensor_path, tmp_path):
    name = Tensor(tensor_path).shard_names[0]
    with Tensor(tensor_path).open_shard(name) as shard:
        signal = shard.read()
    for scratch in (None, tmp_path / "scratch"):
        with Tensor(remote_tensor, scratch=scratch).open_shard(name) as shard:
            np.testing.assert_array_equal(shard.read(), signal)
    (copy,) = (tmp_path / "scratch").rglob("*.h5")
    assert copy.read_bytes() == (tensor_path / "shards" / f"{name}.h5").read_bytes()
    np.testing.assert_array_equal(Tensor(remote_tensor).summary(), Tensor(tensor_path).summary())
    Tensor(remote_tensor).verify(name)


def test_what_travels_to_workers_holds_no_keys(store, remote_tensor):
    tensor = Tensor(remote_tensor)
    tensor.summary()
    sent = pickle.dumps(tensor)
    assert store.secret.encode() not in sent
    assert pickle.loads(sent).shard_names == tensor.shard_names


def test_a_bedgraph_becomes_a_bigwig_in_the_store(room, data, tmp_path):
    (tmp_path / "C1.bedGraph.gz").write_bytes(gzip.compress(b"chr1\t0\t50\t1.5\nchr2\t25\t75\t2\n"))
    (room / "a" / "C1.bedGraph.gz").upload(tmp_path / "C1.bedGraph.gz")
    write_text(room / "t" / "tracks.tsv", "cell_type\tassay\tpath\nC1\tA1\t../a/C1.bedGraph.gz\n")
    (track,) = read_tracks(room / "t" / "tracks.tsv")
    assert track.path == f"{room}/a/C1.bedGraph.gz"
    probe = probe_track(
        NumberedTrack(3, track), Probing(room / "work", load_genome(str(data / "genome.chrom.sizes")))
    )
    assert probe.path == f"{room}/work/track-3.bw"
    assert BigWigReader(probe.path).covered_bases == 100


def test_keys_of_all_characters(tensor_path, room, tmp_path):
    for name in ("what?", "*[a]{b}", "100%41#c", "a+b c&d=e", "ü~$'\"", "c:d;e,f@g"):
        place = room / name
        tensor = copied(tensor_path, place / "tensor")
        assert Tensor(tensor).n_bins == 20_000, name
        assert local_contents(tensor_path).keys() >= {
            each.partition("/")[2] for each in stored_contents(place)
        }
        write_text(place / "tracks.tsv", f"cell_type\tassay\tpath\nC\tA\t{place}/a?.bw\nC\tB\tb?.bw\n")
        assert [track.path for track in read_tracks(place / "tracks.tsv")] == [
            f"{place}/a?.bw",
            f"{place}/b?.bw",
        ]
        tensor.remove_tree()
        assert room.names() >= {f"{name}/tracks.tsv"} and not tensor.exists()


def test_other_names_of_a_scheme_lead_to_the_same_object(store, room):
    write_text(room / "x", "y")
    scheme, _, rest = str(room).partition("://")
    for other in {"s3": ("s3a", "s3n"), "gs": ("gcs",), "azure": ("az", "abfss", "wasb", "wasbs")}[
        store.kind
    ]:
        assert (as_path(f"{other}://{rest}") / "x").read_text() == "y"
        assert as_path(f"{scheme.upper()}://{rest}") == room


def test_tracks_may_be_anywhere(tmp_path, store, room):
    lines = [f"C1\tA1\t{store.url}/x.bw", "C1\tA2\t/data/y.bw", "C1\tA3\thttps://host/z.bw", "C1\tA4\tv.bw"]
    text = "cell_type\tassay\tpath\n" + "\n".join(lines) + "\n"
    common = [f"{store.url}/x.bw", "/data/y.bw", "https://host/z.bw"]
    for directory in (tmp_path, room):
        write_text(directory / "tracks.tsv", text)
        found = [track.path for track in read_tracks(directory / "tracks.tsv")]
        assert found == [*common, f"{directory}/v.bw"]


# Jobs


def test_of_jobs_begun_at_once_one_starts(room):
    jobs = [Job(room, DESCRIPTION) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(Job.begin, jobs))
    assert sorted(job.resumed for job in jobs) == [False, True, True, True]
    jobs[0].keep_part(0, {"x": 1}, [])
    assert jobs[1].part(0) == {"x": 1, "files": []}
    other = Job(room, DESCRIPTION | {"command": "y"})
    with pytest.raises(OutputError, match=r"begun differently \(command: x, now y\)"):
        other.begin()
    other.begin(nothing_made=True)
    assert (other.resumed, other.begun, jobs[0].begun) == (False, True, False)
    assert other.part(0) is None and other.workspace != jobs[0].workspace
    other.finish()
    assert not room.exists()


# What goes wrong


def test_a_bucket_that_is_not_there(store, tmp_path):
    url = store.url.replace(BUCKET, "nobucket")
    told = r"cannot (use|look at) \S*//nobucket\S*: there is no such bucket or container; make it, or correct its name"
    assert re.fullmatch(told, refused("info", f"{url}/x", cwd=tmp_path))
    with pytest.raises(RemoteError, match="no such bucket"):
        make_directory(as_path(f"{url}/x"))
    with pytest.raises(RemoteError, match="no such bucket"):
        read_tracks(as_path(f"{url}/tracks.tsv"))
    with pytest.raises(RemoteError, match="no such bucket"):
        write_text(as_path(f"{url}/x"), "y")


def test_a_wrong_key(store, remote_tensor, tmp_path, monkeypatch):
    use(monkeypatch, store.environment(wrong_key=True))
    message = refused("info", remote_tensor, cwd=tmp_path)
    assert message.startswith(f"cannot look at {remote_tensor}/manifest.json: the store denies access (")
    assert message.endswith("and allow it")
    with pytest.raises(RemoteError, match="denies access"):
        write_text(remote_tensor / "x", "y")


def test_a_key_that_is_right_no_more_when_a_worker_starts(store, remote_tensor, monkeypatch, capfd):
    """Workers open the tensor when they take up a task: what goes wrong then is told as that."""
    tensor = Tensor(remote_tensor)
    use(monkeypatch, store.environment(wrong_key=True))
    with LocalEngine(1) as engine:
        for run in (engine.map, engine.reduce):
            with pytest.raises(
                RemoteError, match=rf"^cannot look at {remote_tensor}/.*: the store denies access"
            ):
                run(tasks.power, [1, 2], tensor)
    assert capfd.readouterr() == ("", "")


def test_no_credentials(store, remote_tensor, monkeypatch):
    use(monkeypatch, {name: v for name, v in store.environment().items() if name not in store.keys})
    with pytest.raises(RemoteError, match="no credentials or no account were found"):
        Tensor(remote_tensor)


def test_a_store_that_does_not_answer(store, remote_tensor, monkeypatch):
    # The discard port: nothing listens there.
    use(monkeypatch, store.environment(port=9) | {"AWS_MAX_ATTEMPTS": "1"})
    monkeypatch.setattr(clients, "_ATTEMPTS", 1)
    with pytest.raises(RemoteError, match="the store does not answer") as caught:
        Tensor(remote_tensor)
    assert "\n" not in str(caught.value)


def test_a_shard_that_vanishes(tensor_path, room, knowing):
    tensor = Tensor(copied(tensor_path, room))
    gone = tensor.shard_path(tensor.shard_names[1])
    gone.unlink()
    with pytest.raises(TensorFormatError, match=rf"^{gone} is missing; ingest the tracks again$"):
        compute_moments(tensor, knowing)
    with pytest.raises(TensorFormatError, match="is missing"):
        tensor.summary()


def test_a_track_that_is_gone_or_none(room, data):
    genome = load_genome(str(data / "genome.chrom.sizes"))
    track = Track(Experiment("C1", "A1"), str(room / "x.bw"), "arcsinh", None, "t.tsv, line 2")
    with pytest.raises(TrackError, match=r"x\.bw does not exist; correct its path"):
        probe_track(NumberedTrack(0, track), Probing(room, genome))
    with pytest.raises(TrackError, match=r"x\.bw does not exist; correct its path"):
        BigWigReader(track.path)
    write_text(room / "x.bw", "no bigWig")
    with pytest.raises(TrackError, match=r"x\.bw is not a complete bigWig file"):
        probe_track(NumberedTrack(0, track), Probing(room, genome))


def test_an_object_that_vanishes_while_it_is_read(room, tmp_path):
    (tmp_path / "big").write_bytes(bytes(3 * 2**20))
    (room / "big").upload(tmp_path / "big")
    with (room / "big").ranges() as ranges:
        ranges.read(10)
        (room / "big").unlink()
        ranges.seek(2 * 2**20)
        with pytest.raises(RemoteError, match="big is gone; was it removed while it was read"):
            ranges.read(10)
        assert isinstance(ranges.error, RemoteError)


def test_passing_errors_are_retried(store, remote_tensor, room, monkeypatch):
    with failing_proxy(store.port, 2) as (port, given):
        use(monkeypatch, store.environment(port=port))
        assert Tensor(remote_tensor).n_bins == 20_000
        assert given[:2] == [503, 503] and max(given[2:]) < 300
        write_text(room / "x", "y")
    assert (room / "x").read_text() == "y"


def test_a_store_that_goes_on_failing(store, remote_tensor, monkeypatch):
    with failing_proxy(store.port, 10**6) as (port, given):
        use(monkeypatch, store.environment(port=port) | {"AWS_MAX_ATTEMPTS": "2"})
        monkeypatch.setattr(clients, "_ATTEMPTS", 2)
        with pytest.raises(RemoteError, match=r"cannot look at .*: the store failed \(") as caught:
            Tensor(remote_tensor)
        assert set(given) == {503} and "\n" not in str(caught.value)
        # gcsfs asks for the object and for what is below it at once, and gives up at the first end.
        assert len(given) in ((3, 4) if store.kind == "gs" else (2,))


def test_peaks_hubs_and_views_of_remote_tracks(base, data, knowing, room, tmp_path):
    rule = PeakRule(threshold=1)
    PeakCalling(base / "data", room / "peaks", rule).make_all(knowing)
    PeakCalling(data, tmp_path / "peaks", rule).make_all(knowing)
    remote, local = stored_contents(room / "peaks"), local_contents(tmp_path / "peaks")
    # The tables name the tracks, each its own.
    assert remote.pop("peaks.tsv").count(str(base).encode()) == 18 and local.pop("peaks.tsv")
    local.pop("run.json", None)
    assert remote == local and len(remote) == 18

    for place, target in ((base / "data", room / "hub"), (data, tmp_path / "hub")):
        make_hub(place, target, HubOptions(genome="mine"))
    remote, local = stored_contents(room / "hub"), local_contents(tmp_path / "hub")
    local.pop("run.json", None)
    assert remote == local and len(remote) == 19

    view = make_view(base / "data")
    with serving(view.served) as ask:
        got = ask("/imputed/0.bw", Range="bytes=50-99").read()
    assert got == (tmp_path / "hub" / "imputed" / "C1_A1.bw").read_bytes()[50:100]


def test_the_library_takes_addresses_as_texts(remote_tensor, tensor_path, knowing, room):
    pytest.importorskip("pandas")
    tensor = predictd.open_tensor(str(remote_tensor))
    local = predictd.open_tensor(tensor_path)
    np.testing.assert_array_equal(tensor.fetch("chr1:1000-9000"), local.fetch("chr1:1000-9000"))
    assert repr(tensor).startswith(f"<predictd.Tensor '{remote_tensor}'")
    again = pickle.loads(pickle.dumps(tensor))
    model = predictd.train(again, solver="em", rank=2, penalty=0.1, engine=knowing).save(f"{room}/m.h5")
    read = predictd.load_model(f"{room}/m.h5")
    pytest.importorskip("xarray")
    np.testing.assert_array_equal(
        read.impute(again, region="chr1:0-5000"), model.impute(local, region="chr1:0-5000")
    )


def test_expression_of_every_format(room, tmp_path):
    pytest.importorskip("anndata")
    for write in (write_h5ad, write_loom, write_tenx_h5, write_mtx, write_parquet):
        path = write(tmp_path)
        there = room / path.name
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            (there / file.name if path.is_dir() else there).upload(file)
        here, read = (read_matrix(own, MatrixChoice()) for own in (path, there))
        assert (read.genes, read.samples) == (here.genes, here.samples) == (GENES, CELLS)
        np.testing.assert_array_equal(rows(read.values, slice(None)), rows(here.values, slice(None)))
        assert [file.name for file in files_of(there)] == [file.name for file in files_of(path)]


def test_lists_of_links(room, knowing, tmp_path):
    pytest.importorskip("igraph")
    write_link_case(tmp_path / "list.tsv", 8, 40)
    (room / "list.tsv").upload(tmp_path / "list.tsv")
    for place in (tmp_path, room):
        filter_network(place / "list.tsv", place / "few.tsv", Limits(top=60), knowing)
        describe_network(place / "few.tsv", place / "stats", knowing)
        describe_degrees(place / "list.tsv", place / "degrees", knowing)
    for name in ("few.tsv", "stats/genes.tsv", "degrees/degrees.tsv"):
        assert (room / name).read_bytes() == (tmp_path / name).read_bytes()


def test_commands_run_as_printed(s3, tmp_path, engine):
    """Those of the page, on S3; the bucket has another name."""
    folder = tmp_path / "work"
    make_examples(folder, engine)
    (folder / "quick.toml").write_text(QUICK)
    desk = Desk(tmp_path / "bin", {"pip": page_programs.pip})
    with known(s3):
        lab = as_path(f"{s3.url}/lab")
        for name in ("tracks", "truth"):
            tracks = read_tracks(folder / f"{name}.tsv")
            text = "".join(
                f"{t.experiment.cell_type}\t{t.experiment.assay}\t{Path(t.path).name}\n" for t in tracks
            )
            write_text(lab / f"{name}.tsv", f"cell_type\tassay\tpath\n{text}")
            for track in tracks:
                (lab / Path(track.path).name).upload(Path(track.path))
        for shell, script in scripts(ROOT / "docs/stores.md"):
            desk.run(shell, script.replace("s3://lab", str(lab)), folder)
        assert (lab / "metrics.tsv").read_text().count("\n") > 3


def test_no_garbage_is_collected_while_hdf5_waits_for_a_store(s3, tmp_path, monkeypatch):
    """What is left of an open file would take h5py's lock in the thread of the store's client, and wait for ever."""
    use(monkeypatch, s3.environment())
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = np.arange(5)
    stored = as_path(f"{s3.url}/garbage/a.h5")
    stored.upload(tmp_path / "a.h5")
    assert gc.isenabled()
    with reading(stored, by_ranges=True) as file:
        assert not gc.isenabled() and file["x"][:].sum() == 10
    assert gc.isenabled()
    with pytest.raises(OSError), reading(stored.with_name("absent.h5"), by_ranges=True):
        pass
    assert gc.isenabled()
