"""The moments file: what stands in it, when it is used again, and when it is made anew."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from made_folds import FEW_SWEEPS
from made_moments import assert_moments, exact
from made_tensors import read_signal, rewritten, small_tensor, with_gaps
from predictd.config import TrainSettings
from predictd.constants import MOMENTS, MOMENTS_FORMAT, MOMENTS_VERSION
from predictd.engine import Engine
from predictd.errors import DataError, OutputError
from predictd.io.hdf5 import read_arrays
from predictd.io.tensor.store import Tensor
from predictd.pairs import Experiment
from predictd.workflows.tensor import moments as moments_workflow
from predictd.workflows.tensor.context import ensure_window_sample
from predictd.workflows.tensor.moments import compute_moments, ensure_moments, known_moments, read_moments
from predictd.workflows.training.crossval import crossval
from predictd.workflows.training.train import train
from predictd.workflows.training.tune import TuneOptions, tune
from refusals import refused


def test_moments_are_those_of_the_stored_signal(tensor, engine, tmp_path):
    path = ensure_moments(tensor, engine, tmp_path / "made" / "here.h5")
    data = read_moments(path)
    assert path == tmp_path / "made" / "here.h5"
    assert data.experiments == tuple(tensor.experiments)
    assert_moments(data.s, exact(read_signal(tensor)))
    some = tuple(tensor.experiments[i] for i in (3, 0, 7))
    np.testing.assert_array_equal(data.columns(some), [3, 0, 7])


def test_the_header_names_tensor_and_experiments(tensor, engine, tmp_path):
    path = ensure_moments(tensor, engine, tmp_path / "m.h5")
    header, arrays = read_arrays(path, format=MOMENTS_FORMAT, version=MOMENTS_VERSION)
    assert header == {
        "tensor": tensor.manifest.checksum,
        "experiments": [str(e) for e in tensor.experiments],
    }
    assert list(arrays) == ["S"]


def test_any_number_of_workers_gives_the_same_bytes(tensor, engine, single, tmp_path):
    one = ensure_moments(tensor, single, tmp_path / "one.h5")
    two = ensure_moments(tensor, engine, tmp_path / "two.h5")
    assert one.read_bytes() == two.read_bytes()


def test_who_comes_second_leaves_the_firsts_file(tensor, engine, tmp_path, monkeypatch):
    """Its readers might lose it: some file systems know a replaced file no more."""
    path = tmp_path / "m.h5"
    inodes = []

    def computed_meanwhile(tensor, engine):
        with monkeypatch.context() as patch:
            patch.setattr(moments_workflow, "compute_moments", compute_moments)
            ensure_moments(tensor, engine, path)
        inodes.append(path.stat().st_ino)
        return compute_moments(tensor, engine)

    monkeypatch.setattr(moments_workflow, "compute_moments", computed_meanwhile)
    assert ensure_moments(tensor, engine, path) == path
    assert inodes == [path.stat().st_ino]


def test_a_file_is_used_again(own_tensor, engine, caplog):
    tensor = Tensor(own_tensor)
    path = ensure_moments(tensor, engine)
    assert path == own_tensor / MOMENTS
    before = path.stat()
    assert ensure_moments(tensor, engine) == path
    # Where the tensor stands does not matter.
    moved = Tensor(own_tensor.rename(own_tensor.with_name("moved")))
    after = ensure_moments(moved, engine).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert not caplog.records


def test_known_moments_are_read_or_computed_and_nothing_is_written(own_tensor, engine, single, monkeypatch):
    tensor = Tensor(own_tensor)
    (own_tensor / MOMENTS).unlink(missing_ok=True)
    computed = known_moments(tensor, engine)
    assert not (own_tensor / MOMENTS).exists()
    path = ensure_moments(tensor, engine)
    monkeypatch.setattr(moments_workflow, "compute_moments", None)
    read = known_moments(tensor, single)
    np.testing.assert_array_equal(read.s, computed.s)
    assert read.experiments == computed.experiments
    # One that is damaged is left to whoever may write it.
    monkeypatch.undo()
    path.write_bytes(b"none")
    np.testing.assert_array_equal(known_moments(tensor, single).s, computed.s)
    assert path.read_bytes() == b"none"


@pytest.fixture
def another(tensor_path: Path, tmp_path: Path) -> Tensor:
    """A tensor of the same experiments that differs from `tensor` in one value."""

    def change(number: int, _chrom: str, signal: np.ndarray) -> None:
        if number == 1:
            signal[5, 2] += 1

    return Tensor(rewritten(tensor_path, tmp_path / "another", change))


def test_a_named_file_of_another_tensor_is_refused_and_stays(tensor, another, engine, tmp_path):
    path = ensure_moments(tensor, engine, tmp_path / "shared.h5")
    sample = ensure_window_sample(tensor, engine, path, named=True)
    before = path.read_bytes(), sample.read_bytes()
    for use in (
        lambda: ensure_moments(another, engine, path),
        lambda: read_moments(path, another),
        lambda: train(another.path, tmp_path / "model.h5", TrainSettings(), engine, moments=path),
    ):
        with refused(OutputError, f"`moments` {path}", f"not of {another.path}", "name another file"):
            use()
    with refused(OutputError, f"`moments` {sample}", f"not of {another.path}"):
        ensure_window_sample(another, engine, path, named=True)
    assert (path.read_bytes(), sample.read_bytes()) == before
    assert_moments(read_moments(path, tensor).s, exact(read_signal(tensor)))


def test_a_file_that_another_tensor_wrote_meanwhile_stays(tensor, another, engine, tmp_path, monkeypatch):
    path = tmp_path / "shared.h5"

    def computed_meanwhile(*_: object) -> np.ndarray:
        monkeypatch.undo()
        ensure_moments(another, engine, path)
        return compute_moments(tensor, engine)

    monkeypatch.setattr(moments_workflow, "compute_moments", computed_meanwhile)
    with refused(OutputError, f"`moments` {path}", f"not of {tensor.path}"):
        ensure_moments(tensor, engine, path)
    assert_moments(read_moments(path, another).s, exact(read_signal(another)))


def test_moments_that_a_tensor_left_in_the_directory_are_made_again(own_tensor, another, engine):
    own = ensure_moments(Tensor(own_tensor), engine)
    before = read_moments(own)
    left = shutil.copy(own, another.path / MOMENTS)
    after = read_moments(ensure_moments(another, engine), another)
    assert Path(left) == another.path / MOMENTS
    assert_moments(after.s, exact(read_signal(another)))
    assert before.s[2, 2] != after.s[2, 2]


def test_a_damaged_file_is_made_again_with_a_warning(own_tensor, engine, caplog):
    tensor = Tensor(own_tensor)
    path = ensure_moments(tensor, engine)
    whole = path.read_bytes()
    at = whole.index(read_moments(path).s.tobytes())
    flipped = whole[: at + 8] + bytes([whole[at + 8] ^ 1]) + whole[at + 9 :]
    for damaged in (flipped, whole[: len(whole) // 2], b"", b"text\n"):
        path.write_bytes(damaged)
        caplog.clear()
        with refused(OutputError, str(path), "remove it"):
            read_moments(path)
        assert ensure_moments(tensor, engine).read_bytes() == whole
        (warning,) = caplog.records
        assert str(path) in warning.getMessage() and "made again" in warning.getMessage()


def test_what_else_stands_under_a_given_name_is_not_overwritten(tensor, engine, model_path, tmp_path):
    model = Path(shutil.copy(model_path, tmp_path / "model.h5"))
    text = tmp_path / "notes.txt"
    text.write_text("mine\n")
    for path in (model, text):
        before = path.read_bytes()
        with refused(OutputError, f"`moments` {path}", "remove it, or name another"):
            ensure_moments(tensor, engine, path)
        assert path.read_bytes() == before


def test_a_place_that_cannot_be_written_names_the_option(own_tensor, engine, tmp_path):
    tensor = Tensor(own_tensor)
    (own_tensor / MOMENTS).unlink(missing_ok=True)
    (own_tensor / MOMENTS).mkdir()
    with refused(OutputError, str(own_tensor / MOMENTS), "`moments` keeps"):
        ensure_moments(tensor, engine)
    blocked = tmp_path / "file"
    blocked.touch()
    with refused(OutputError, str(blocked / "m.h5"), "`moments` keeps"):
        ensure_moments(tensor, engine, blocked / "m.h5")
    assert ensure_moments(tensor, engine, tmp_path / "m.h5").is_file()


def test_a_missing_file_is_told(tmp_path):
    with refused(OutputError, str(tmp_path / "none.h5"), "run the command again"):
        read_moments(tmp_path / "none.h5")


def test_only_complete_bins_count(tensor_path, engine, tmp_path):
    tensor = Tensor(with_gaps(tensor_path, tmp_path / "gaps", 0.2))
    y = read_signal(tensor)
    complete = ~np.isnan(y).any(axis=1)
    assert 0.75 < complete.mean() < 0.85
    assert tensor.n_complete == complete.sum()
    assert_moments(compute_moments(tensor, engine), exact(y[complete]))


def test_a_shard_without_complete_bins(tensor_path, engine, tmp_path):
    def change(number: int, _chrom: str, signal: np.ndarray) -> None:
        if number == 0:
            signal[:, 3] = np.nan

    tensor = Tensor(rewritten(tensor_path, tmp_path / "gaps", change))
    y = read_signal(tensor)
    assert_moments(compute_moments(tensor, engine), exact(y[~np.isnan(y).any(axis=1)]))


def test_no_complete_bin_is_an_error(tensor_path, engine, tmp_path):
    def change(number: int, _chrom: str, signal: np.ndarray) -> None:
        signal[:, number % 2] = np.nan

    tensor = Tensor(rewritten(tensor_path, tmp_path / "gaps", change))
    with refused(DataError, str(tensor.path), "no bin", "predictd info"):
        ensure_moments(tensor, engine)
    assert not (tensor.path / MOMENTS).exists()


def run_train(tensor: Path, out: Path, settings: TrainSettings, engine: Engine) -> object:
    return train(tensor, out, settings, engine)


def run_cv(tensor: Path, out: Path, settings: TrainSettings, engine: Engine) -> object:
    return crossval(tensor, out, settings, engine)


def run_tune(tensor: Path, out: Path, settings: TrainSettings, engine: Engine) -> object:
    return tune(tensor, out, settings, engine, TuneOptions(trials=1))


@pytest.mark.parametrize("run", [run_train, run_cv, run_tune])
def test_little_coverage_is_warned_of_and_very_little_refused(run, tensor_path, engine, tmp_path, caplog):
    worst = Experiment("C1", "A1")

    def lacking(share: float) -> Callable[[int, str, np.ndarray], None]:
        def change(_number: int, _chrom: str, signal: np.ndarray) -> None:
            signal[: round(share * len(signal)), 0] = np.nan

        return change

    assert Tensor(tensor_path).experiments[0] == worst
    settings = TrainSettings(rank=2, regularisation=0.1, als=FEW_SWEEPS)
    some = rewritten(tensor_path, tmp_path / "some", lacking(0.1))
    run(some, tmp_path / "output", settings, engine)
    messages = [r.getMessage() for r in caplog.records if "value in every experiment" in r.getMessage()]
    assert len(messages) == 1
    assert "90.0%" in messages[0] and f"{worst} (90.0%)" in messages[0]
    most = rewritten(tensor_path, tmp_path / "most", lacking(0.6))
    with refused(DataError, f"{worst} (40.0%)", "at least 50% are needed", "uncovered positions as zero"):
        run(most, tmp_path / "none", settings, engine)
    assert not (tmp_path / "none").exists()


def test_an_artefact_counts_as_the_highest_value_of_its_assay(engine, tmp_path):
    """A single bin would decide all moments of its track."""
    y = np.random.default_rng(0).gamma(0.5, 0.5, (3000, 4)).astype(np.float16).astype(np.float32)
    cut = y.copy()
    y[2000, 1] = 6e4
    tensor = small_tensor(tmp_path / "t", y)
    # The other track of the assay is in column 3.
    cut[2000, 1] = cut[:, 3].max()
    assert_moments(compute_moments(tensor, engine), exact(cut))
