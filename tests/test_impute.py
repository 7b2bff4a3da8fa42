"""Imputed tracks against the reference's closed form; which pairs; going on; what is refused."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyBigWig
import pytest

from commands import call_predictd
from here import Between
from made_models import trained_for
from made_tensors import small_tensor, stored_signal, with_signal
from made_tracks import read_track
from predictd import interrupt
from predictd.constants import MAX_OPEN_TRACKS
from predictd.engine import Engine
from predictd.errors import (
    AlreadyFinished,
    DataError,
    Interrupted,
    ModelFormatError,
    OutputError,
    TableError,
    TensorFormatError,
)
from predictd.io.files import sha256_of, write_json
from predictd.io.models import ModelFile, write_model
from predictd.io.tables import read_tracks
from predictd.io.tensor.store import Tensor
from predictd.model.cp.factors import CPModel
from predictd.model.cp.reference import closed_form_genome
from predictd.model.folds import Fold, folds_to_json
from predictd.pairs import Experiment
from predictd.wording import some
from predictd.workflows.imputing import estimators
from predictd.workflows.imputing import impute as imputing
from predictd.workflows.imputing.estimators import load_model
from predictd.workflows.imputing.impute import Imputation, ImputeReport, impute, track_name
from refusals import refused


def expected_track(model: CPModel, tensor: Tensor, pair: Experiment, rows: np.ndarray) -> np.ndarray:
    """sinh(max(0, ŷ)) of some bins, each solved by itself on what was observed there."""
    signal = stored_signal(tensor)[:, tensor.columns(model.train)][rows].astype(np.float64)
    z, o = model.design(model.train)
    z_pair, o_pair = model.design([pair])
    predicted = []
    for y in signal:
        seen = ~np.isnan(y)
        g = closed_form_genome(z[:, seen], model.lambda_g, (y - o)[np.newaxis, seen])[0]
        predicted.append(g @ z_pair[:, 0] + o_pair[0])
    return np.sinh(np.maximum(predicted, 0))


def write(path: Path, model: CPModel, **info: object) -> Path:
    write_model(path, ModelFile("cp", model.to_arrays(), info))
    return path


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("[!.]*.bw"))}


# -- values -----------------------------------------------------------------------------------------------------------


def test_values_are_those_of_the_closed_form(model_path, tensor, engine, tmp_path):
    report = impute(model_path, tensor.path, tmp_path / "out", engine, pairs="all")
    assert len(report.pairs) == 24 and report.empty_bins == 0
    model, _ = load_model(model_path)
    observed = set(tensor.experiments)
    rows = np.sort(np.random.default_rng(0).choice(tensor.n_bins, 150, replace=False))
    kinds = set()
    for pair in report.pairs[::3]:
        kinds.add(pair in observed)
        track = read_track(tmp_path / "out" / track_name(pair), tensor)
        assert np.isfinite(track).all() and (track >= 0).all()
        np.testing.assert_allclose(
            track[rows], expected_track(model, tensor, pair, rows), rtol=2e-4, atol=2e-5
        )
    assert kinds == {True, False}


@pytest.fixture
def gaps(tmp_path: Path) -> Tensor:
    """900 bins of six tracks with gaps of all kinds; the last bin is 10 bp short."""
    rng = np.random.default_rng(1)
    signal = rng.gamma(1.0, 0.5, (900, 6))
    signal[rng.random(signal.shape) < 0.05] = np.nan
    signal[100:180, 2] = np.nan
    signal[300:310, :4] = np.nan
    signal[500:507, 1:] = np.nan
    signal[899] = 1.0
    return small_tensor(tmp_path / "gaps", signal, cut_last_bin=10)


def test_gaps_are_solved_on_what_is_there_and_poor_bins_stay_empty(gaps, engine, tmp_path, caplog):
    model = trained_for(gaps)
    path = write(tmp_path / "m.h5", model)
    report = impute(path, gaps.path, tmp_path / "out", engine, pairs="all")
    poor = np.isnan(stored_signal(gaps)).mean(axis=1) > 0.5
    assert poor[300:310].all() and poor[500:507].all()
    assert report.empty_bins == poor.sum() >= 17
    assert f"{report.empty_bins} bins were left empty" in caplog.text
    for pair in report.pairs:
        track = read_track(tmp_path / "out" / track_name(pair), gaps)
        assert np.isnan(track[poor]).all()
        expected = expected_track(model, gaps, pair, np.flatnonzero(~poor))
        np.testing.assert_allclose(track[~poor], expected, rtol=2e-4, atol=2e-5)
    kept = json.loads((tmp_path / "out" / "run.json").read_text())
    assert kept["results"]["empty_bins"] == report.empty_bins


def cross_validation(path: Path, tensor: Tensor) -> list[Experiment]:
    """A model for each of two test folds of an experiment; these are returned."""
    every = tensor.experiments
    folds = [Fold(f"{i}.0", (e,), (), tuple(set(every) - {e})) for i, e in enumerate((every[0], every[3]))]
    write_json(path / "folds.json", folds_to_json(folds))
    for fold in folds:
        model = replace(trained_for(tensor), train=fold.train)
        write(path / "models" / f"fold-{fold.name}.h5", model, genome=fold.name)
    return [every[0], every[3]]


def test_empty_bins_are_those_of_the_track_that_has_most(engine, tmp_path, monkeypatch, caplog):
    """Models of a cross-validation read other experiments: here two of three are missing of one of them alone."""
    monkeypatch.setattr(imputing, "_LEAST_GROUPS", 1)
    signal = np.random.default_rng(4).gamma(1.0, 0.5, (300, 4))
    signal[40:70, :2] = np.nan
    tensor = small_tensor(tmp_path / "t", signal)
    pairs = cross_validation(tmp_path / "cv", tensor)
    report = impute(tmp_path / "cv", tensor.path, tmp_path / "out", engine, pairs=pairs)
    empty = [np.isnan(read_track(tmp_path / "out" / track_name(pair), tensor)).sum() for pair in pairs]
    assert empty == [0, 30] and report.empty_bins == 30
    assert "30 bins were left empty in the track that has most of them: under half of the" in caplog.text


def test_the_last_bin_of_a_chromosome_may_be_short(gaps, engine, tmp_path):
    path = write(tmp_path / "m.h5", trained_for(gaps))
    (pair,) = impute(path, gaps.path, tmp_path / "out", engine, pairs="C1:A1").pairs
    length = 900 * 25 - 10
    with pyBigWig.open(str(tmp_path / "out" / track_name(pair))) as track:
        assert track.chroms() == {"chr1": length}
        first, last = track.intervals("chr1", length - 40, length)
    assert first[:2] == (length - 40, length - 15) and last[:2] == (length - 15, length)


def test_regions_are_imputed_where_they_are(data, engine, tmp_path):
    (tmp_path / "r.bed").write_text("chr1\t5000\t7000\nchr2\t100\t130\nchr2\t9990\t12000\n")
    # Two runs of one chromosome in one shard.
    run = ["ingest", data / "tracks.tsv", "t", "--genome", data / "genome.chrom.sizes", "--regions", "r.bed"]
    assert call_predictd(*run, cwd=tmp_path).returncode == 0
    tensor = Tensor(tmp_path / "t")
    model = trained_for(tensor)
    (pair,) = impute(
        write(tmp_path / "m.h5", model), tensor.path, tmp_path / "out", engine, pairs="C1:A2"
    ).pairs
    track = read_track(tmp_path / "out" / track_name(pair), tensor)
    assert track.size == 80 + 2 + 81
    np.testing.assert_allclose(
        track, expected_track(model, tensor, pair, np.arange(track.size)), rtol=2e-4, atol=2e-5
    )
    with pyBigWig.open(str(tmp_path / "out" / track_name(pair))) as file:
        covered = {chrom: [i[:2] for i in file.intervals(chrom)] for chrom in file.chroms()}
    assert sum(end - start for spans in covered.values() for start, end in spans) == 25 * track.size
    assert covered["chr2"][0][0] == 100 and covered["chr2"][2][0] == 9975


# -- which pairs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ("all", lambda observed, every: every),
        ("missing", lambda observed, every: every - observed),
        ("observed", lambda observed, every: observed),
        ("C2:A1, C1:A1,C2:A1,", lambda observed, every: {Experiment("C1", "A1"), Experiment("C2", "A1")}),
    ],
)
def test_pairs_can_be_chosen(tensor, engine, tmp_path, spec, wanted):
    small = small_tensor(
        tmp_path / "t", stored_signal(tensor)[:200], experiments=tensor.experiments, n_shards=1
    )
    path = write(tmp_path / "m.h5", trained_for(small))
    report = impute(path, small.path, tmp_path / "out", engine, pairs=spec)
    every = {Experiment(c, a) for c in trained_for(small).cell_types for a in trained_for(small).assays}
    expected = sorted(wanted(set(small.experiments), every))
    assert sorted(report.pairs) == expected and expected
    assert set(files(tmp_path / "out")) == {track_name(pair) for pair in expected}
    lines = (tmp_path / "out" / "tracks.tsv").read_text().splitlines()
    how = {e: "trained on\ttrained" if e in small.experiments else "never observed\t." for e in expected}
    assert lines == [
        "cell_type\tassay\tpath\ttransform\tstatus\tfold",
        *(f"{e.cell_type}\t{e.assay}\t{e.cell_type}-{e.assay}.bw\tarcsinh\t{how[e]}" for e in expected),
    ]


@pytest.mark.parametrize(
    ("spec", "kind", "message"),
    [
        (
            "C9:A1",
            DataError,
            r"^C9:A1: the model has no cell type 'C9'; it has C1, C2, C3, C4, C5 and 1 more$",
        ),
        ("C1:A1,C1:H3", DataError, r"^C1:H3: the model has no assay 'H3'; it has A1, A2, A3, A4$"),
        ("some", TableError, r"^'some' is not a pair: write CELL:ASSAY"),
        (",", DataError, r"^`pairs` ,: there is no such pair"),
    ],
)
def test_pairs_that_cannot_be_imputed(model_path, tensor_path, engine, tmp_path, spec, kind, message):
    with pytest.raises(kind, match=message):
        impute(model_path, tensor_path, tmp_path / "out", engine, pairs=spec)
    assert not (tmp_path / "out").exists()


def test_nothing_is_missing_of_a_full_tensor(engine, tmp_path):
    tensor = small_tensor(tmp_path / "t", np.ones((100, 4)))
    path = write(tmp_path / "m.h5", trained_for(tensor))
    with pytest.raises(DataError, match=r"^`pairs` missing: .* has every assay of every cell type"):
        impute(path, tensor.path, tmp_path / "out", engine)


def test_many_tracks_grow_in_turn(engine, tmp_path):
    tensor = small_tensor(tmp_path / "t", np.random.default_rng(0).random((150, 6)), n_shards=2)
    model = trained_for(tensor, cells=34)
    path = write(tmp_path / "m.h5", model)
    report = impute(path, tensor.path, tmp_path / "out", engine, pairs="missing")
    assert len(report.pairs) == 68 > MAX_OPEN_TRACKS
    assert len(files(tmp_path / "out")) == 68
    for pair in report.pairs[::20]:
        track = read_track(tmp_path / "out" / track_name(pair), tensor)
        np.testing.assert_allclose(
            track, expected_track(model, tensor, pair, np.arange(150)), rtol=2e-4, atol=2e-5
        )


def test_the_same_tracks_for_any_number_of_workers(model_path, tensor_path, engine, tmp_path, single):
    impute(model_path, tensor_path, tmp_path / "two", engine, pairs="all")
    impute(model_path, tensor_path, tmp_path / "one", single, pairs="all")
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_names_of_any_kind_become_file_names(engine, tmp_path):
    pairs = [Experiment("B cell/1", "H3K4me3"), Experiment("B cell/1", "a-b"), Experiment("肝", "H3K4me3")]
    tensor = small_tensor(tmp_path / "t", np.ones((100, 3)), experiments=pairs)
    path = write(tmp_path / "m.h5", trained_for(tensor))
    (missing,) = impute(path, tensor.path, tmp_path / "out", engine).pairs
    assert missing == Experiment("肝", "a-b")
    assert set(files(tmp_path / "out")) == {"%E8%82%9D-a%2Db.bw"}
    assert "肝\ta-b\t%E8%82%9D-a%2Db.bw" in (tmp_path / "out" / "tracks.tsv").read_text(encoding="utf-8")


# -- models and tensors that are replaced meanwhile -------------------------------------------------------------------


def test_the_models_of_a_cross_validation_are_read_once(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(
        estimators, "read_model", lambda path, one=estimators.read_model: read.append(path) or one(path)
    )
    tensor = small_tensor(tmp_path / "t", np.ones((30, 4)))
    pairs = cross_validation(tmp_path / "cv", tensor)
    loaded = estimators.load_estimator(tmp_path / "cv")
    assert sorted(read) == sorted(loaded.files) == sorted((tmp_path / "cv" / "models").iterdir())
    assert loaded.info == {"genome": "0.0"}
    read.clear()
    estimators.load_held_out(tmp_path / "cv", pairs[1:], loaded.files)
    assert read == [tmp_path / "cv" / "models" / "fold-1.0.h5"]


@pytest.mark.parametrize("name", ["m.h5", "cv/models/fold-1.0.h5", "t"])
def test_what_is_replaced_while_parts_are_made_is_refused(tmp_path, name):
    """Parts of one output are of one model and one tensor."""
    signal = np.random.default_rng(4).gamma(1.0, 0.5, (300, 4))
    tensor = small_tensor(tmp_path / "t", signal)
    other = with_signal(tensor, tmp_path / "other", signal[::-1]).path
    write(tmp_path / "m.h5", trained_for(tensor))
    pairs = cross_validation(tmp_path / "cv", tensor)

    def change() -> None:
        if name == "t":
            tensor.path.rename(tmp_path / "before")
            other.rename(tensor.path)
        else:
            write(tmp_path / name, trained_for(tensor, seed=1))

    model = tmp_path / ("m.h5" if name == "m.h5" else "cv")
    making = Imputation(model, tensor.path, tmp_path / "out", pairs=pairs)
    error = TensorFormatError if name == "t" else ModelFormatError
    with refused(error, f"{tmp_path / name} was ", "made again", "run the command again"):
        making.make_all(Between(change))
    assert set(files(tmp_path / "out")) == {track_name(pairs[0])}
    # And the same command does not go on from there.
    with refused(OutputError, "holds an unfinished job that was begun differently"):
        impute(model, tensor.path, tmp_path / "out", Between(lambda: None), pairs=pairs)


# -- what is recorded -------------------------------------------------------------------------------------------------


def test_what_is_recorded(model_path, tensor_path, engine, tmp_path):
    impute(model_path, tensor_path, tmp_path / "out", engine)
    kept = json.loads((tmp_path / "out" / "run.json").read_text())
    tensor = Tensor(tensor_path)
    assert kept["inputs"] == {
        str(model_path): sha256_of(model_path),
        str(tensor_path): tensor.manifest.checksum,
    }
    assert kept["train"] == [str(e) for e in tensor.experiments]
    assert kept["results"] == {
        "tensor": str(tensor_path),
        "genome": "genome",
        "bin_size": 25,
        "fold": "holdout",
        "models": {"solver": "sgd", "rank": 3, "networks": 0},
        "pairs": 6,
        "empty_bins": 0,
        "held_out": {},
        "left_out": {},
    }
    assert [stage["name"] for stage in kept["stages"]] == ["impute"] and kept["settings"] == {
        "pairs": "missing",
        "sd": False,
    }
    assert not (tmp_path / "out" / ".partial").exists()


# -- stopping and going on --------------------------------------------------------------------------------------------

# What every process of the command runs at its start. A task says how many tracks there are, and waits for leave to
# read shards, so that a signal can meet it at work.
IN_TURN = """
import time
from pathlib import Path
from predictd.io.tensor import store

def open_shard(self, name, open_shard=store.Tensor.open_shard):
    standing = len(list(Path("out").glob("[!.]*.bw")))
    Path(f"at-work-{standing}").touch()
    end = time.monotonic() + 60
    while not Path(f"go-{standing}").exists() and time.monotonic() < end:
        time.sleep(0.002)
    return open_shard(self, name)

store.Tensor.open_shard = open_shard
"""


@pytest.fixture
def start(
    model_path: Path, tensor_path: Path, tmp_path: Path
) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Start to impute into tmp_path/out; whatever still runs is killed with the test."""
    (tmp_path / "start").mkdir()
    (tmp_path / "start" / "sitecustomize.py").write_text(IN_TURN)
    path = os.pathsep.join([str(tmp_path / "start"), *filter(None, [os.environ.get("PYTHONPATH")])])
    started = []

    def start() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "predictd",
                "impute",
                str(model_path),
                str(tensor_path),
                "-o",
                "out",
                "--workers",
                "1",
            ],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": path},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end and process.poll() is None, process.communicate()
        time.sleep(0.002)


@pytest.fixture(scope="module")
def undisturbed(
    model_path: Path, tensor_path: Path, engine: Engine, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    path = tmp_path_factory.mktemp("impute") / "undisturbed"
    impute(model_path, tensor_path, path, engine)
    return files(path)


@pytest.mark.processes
@pytest.mark.parametrize(
    ("number", "told", "n_done"),
    [
        (signal.SIGINT, "stopping after the block of bins at work; Ctrl-C again to stop now", 0),
        (signal.SIGTERM, "SIGTERM: stopping after the block of bins at work; SIGINT to stop now", 0),
        # Batch systems send it ahead of a time limit.
        (signal.SIGUSR1, "SIGUSR1: stopping after the groups of tracks at work; SIGINT to stop now", 1),
    ],
)
def test_a_signal_stops_and_the_same_command_goes_on(
    number, told, n_done, start, undisturbed, model_path, tensor_path, tmp_path
):
    process = start()
    wait_for((tmp_path / "at-work-0").exists, process)
    # To all processes, as a terminal and batch systems send it.
    os.killpg(process.pid, number)
    # It is acknowledged while the task still waits.
    assert process.stderr.readline() == f"predictd: {told}\n"
    (tmp_path / "go-0").touch()
    _, err = process.communicate()
    assert process.returncode == 75
    assert (
        err == f"predictd: error: stopped by {number.name}; run the same command again to go on from here\n"
    )
    done = files(tmp_path / "out")
    assert len(done) == n_done and done.items() <= undisturbed.items()
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*done, ".partial"}
    stamps = {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in done}
    again = call_predictd("impute", model_path, tensor_path, "-o", "out", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert files(tmp_path / "out") == undisturbed
    assert {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in done} == stamps


@pytest.mark.processes
def test_a_killed_run_is_taken_up(start, undisturbed, model_path, tensor_path, engine, tmp_path):
    (tmp_path / "go-0").touch()
    process = start()
    wait_for((tmp_path / "at-work-1").exists, process)
    process.kill()
    process.wait()
    out = tmp_path / "out"
    done = files(out)
    assert len(done) == len(list(out.glob(".*.bw"))) == 1
    # Another model's tracks must not be mixed in, nor other pairs.
    model, file = load_model(model_path)
    other = write(tmp_path / "other.h5", replace(model, mu=model.mu + 1), **file.info)
    with pytest.raises(OutputError, match=r"begun differently \(model: [0-9a-f]{64}, now [0-9a-f]{64}\)"):
        impute(other, tensor_path, out, engine)
    with pytest.raises(OutputError, match=r"begun differently \(pairs"):
        impute(model_path, tensor_path, out, engine, pairs="all")
    assert files(out) == done
    impute(model_path, tensor_path, out, engine)
    assert files(out) == undisturbed
    # What grew when the process was killed is gone.
    assert {path.name for path in out.iterdir()} == {*undisturbed, "run.json", "tracks.tsv"}


def test_a_stop_before_the_first_track(model_path, tensor_path, engine, tmp_path):
    with interrupt.catching():
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted):
            impute(model_path, tensor_path, tmp_path / "out", engine)
    assert not files(tmp_path / "out")
    impute(model_path, tensor_path, tmp_path / "out", engine)
    assert len(files(tmp_path / "out")) == 6


# -- refused ----------------------------------------------------------------------------------------------------------


def test_finished_tracks_are_not_taken_for_another_models(model_path, tensor_path, engine, tmp_path):
    out = tmp_path / "out"
    impute(model_path, tensor_path, out, engine)
    before = files(out), (out / "run.json").read_bytes()
    model, file = load_model(model_path)
    other = write(tmp_path / "other.h5", replace(model, mu=model.mu + 1), **file.info)
    with pytest.raises(
        OutputError,
        match=r"out holds tracks.tsv already, made differently \(from other input\); remove the directory",
    ):
        impute(other, tensor_path, out, engine)
    with pytest.raises(AlreadyFinished, match="nothing was done"):
        impute(model_path, tensor_path, out, engine)
    (out / "tracks.tsv").unlink()
    with pytest.raises(OutputError, match=r"out holds C\d-A\d.bw already"):
        impute(other, tensor_path, out, engine)
    assert (files(out), (out / "run.json").read_bytes()) == before


def test_an_output_that_cannot_be_written(model_path, tensor_path, engine, tmp_path):
    (tmp_path / "file").touch()
    for output in (tmp_path / "file", tmp_path / "file" / "out"):
        with pytest.raises(OutputError, match="cannot write") as caught:
            impute(model_path, tensor_path, output, engine)
        assert "\n" not in str(caught.value)


def test_a_tensor_without_the_models_experiments(model_path, tensor, engine, tmp_path):
    few = tensor.experiments[:4]
    other = small_tensor(tmp_path / "t", np.ones((100, 4)), experiments=few)
    with pytest.raises(TensorFormatError) as caught:
        impute(model_path, other.path, tmp_path / "out", engine)
    assert f"has no experiment {some(tensor.experiments[4:])}; is it" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_columns_in_another_order_are_found_by_name(model_path, tensor, engine, tmp_path):
    model, _ = load_model(model_path)
    signal = stored_signal(tensor)
    order = np.random.default_rng(0).permutation(len(tensor.experiments))
    shuffled = small_tensor(
        tmp_path / "t", signal[:500, order], experiments=[tensor.experiments[i] for i in order]
    )
    pair = impute(model_path, shuffled.path, tmp_path / "out", engine).pairs[0]
    track = read_track(tmp_path / "out" / track_name(pair), shuffled)
    np.testing.assert_allclose(
        track, expected_track(model, tensor, pair, np.arange(500)), rtol=2e-4, atol=2e-5
    )


def test_an_assay_without_a_unit(tensor, engine, tmp_path):
    # The model knows an assay that the tensor has no track of, and so no transform.
    model = trained_for(tensor)
    wide = replace(
        model, assays=(*model.assays, "Z"), a=np.vstack([model.a, model.a[:1]]), q=np.append(model.q, 0.0)
    )
    path = write(tmp_path / "m.h5", wide)
    with pytest.raises(DataError, match=r"has no experiment of assay Z, so that its unit is not known$"):
        impute(path, tensor.path, tmp_path / "out", engine)
    assert impute(path, tensor.path, tmp_path / "out", engine, pairs="C1:A1").pairs


def test_a_damaged_shard_is_told_and_leaves_no_tracks(model_path, own_tensor, engine, tmp_path):
    shard = own_tensor / "shards" / "chr2.0001.h5"
    shard.write_bytes(shard.read_bytes()[:-2000])
    with pytest.raises(TensorFormatError, match=r"chr2.0001.h5 is truncated, damaged or no HDF5 file"):
        impute(model_path, own_tensor, tmp_path / "out", engine)
    assert not list((tmp_path / "out").glob("[!.]*.bw"))


def test_models_that_are_none(tensor_path, engine, tmp_path):
    with pytest.raises(ModelFormatError, match=r"no\.h5 does not exist"):
        impute(tmp_path / "no.h5", tensor_path, tmp_path / "out", engine)
    assert not (tmp_path / "out").exists()


def test_transforms_decide_unit_and_clipping(engine, tmp_path):
    rng = np.random.default_rng(2)
    pairs = [Experiment(c, a) for c in ("x", "y") for a in ("asinh", "plain")][:3]
    tensor = small_tensor(tmp_path / "t", rng.normal(0, 1, (200, 3)), experiments=pairs)
    manifest = tensor.manifest
    entries = tuple(
        entry.model_copy(update={"transform": "arcsinh" if entry.assay == "asinh" else "none"})
        for entry in manifest.experiments
    )
    manifest.model_copy(update={"experiments": entries}).write(tensor.path)
    tensor = Tensor(tensor.path)
    model = trained_for(tensor)
    report: ImputeReport = impute(
        write(tmp_path / "m.h5", model), tensor.path, tmp_path / "out", engine, pairs="all"
    )
    for pair in report.pairs:
        track = read_track(tmp_path / "out" / track_name(pair), tensor)
        affine = model.imputer([pair]).affine
        predicted = stored_signal(tensor) @ affine.weights[0] + affine.intercept[0]
        assert (predicted < 0).any()
        expected = np.sinh(np.maximum(predicted, 0)) if pair.assay == "asinh" else predicted
        np.testing.assert_allclose(track, expected, rtol=2e-4, atol=2e-5)
    # Whoever ingests the imputed tracks stores them as the observed ones are.
    listed = {track.experiment: track.transform for track in read_tracks(tmp_path / "out" / "tracks.tsv")}
    assert listed == {pair: "arcsinh" if pair.assay == "asinh" else "none" for pair in report.pairs}


def test_a_complete_tensor_is_warned_of_nothing(model_path, tensor_path, engine, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        impute(model_path, tensor_path, tmp_path / "out", engine)
    assert not caplog.records


def test_constant_changes_of_the_signal_are_followed(model_path, tensor, engine, tmp_path):
    # Weights sum to 1: tracks that are all higher by 0.5 are imputed higher by 0.5.
    signal = stored_signal(tensor)
    higher = with_signal(tensor, tmp_path / "higher", signal + 0.5)
    for path, name in ((tensor.path, "one"), (higher.path, "two")):
        impute(model_path, path, tmp_path / name, engine, pairs="C1:A3")
    one, two = (np.arcsinh(read_track(tmp_path / name / "C1-A3.bw", tensor)) for name in ("one", "two"))
    positive = (one > 0) & (signal.max(axis=1) < 2)
    np.testing.assert_allclose((two - one)[positive], 0.5, atol=3e-3)
