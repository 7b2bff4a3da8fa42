"""The pass over the shards that makes the moments, and the file that keeps them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from predictd.constants import MANIFEST
from predictd.engine import Engine, LocalEngine
from predictd.errors import DataError, OutputError
from predictd.io.store import Tensor
from predictd.pairs import Experiment
from predictd.workflows.moments import compute_moments, ensure_moments, read_moments

sys.path.append(str(Path(__file__).parent))
from made_tensors import small_tensor, stored_signal


class NoEngine:
    """An engine that must not be asked."""

    def __getattr__(self, name: str) -> None:
        raise AssertionError(f"the engine was asked for {name}")


def test_moments_of_the_stored_signal(tensor, engine):
    y = np.c_[stored_signal(tensor).astype(np.float64), np.ones(tensor.n_bins)]
    s = compute_moments(tensor, engine)
    assert s.dtype == np.float64 and s[-1, -1] == tensor.n_bins
    scale = np.sqrt(np.diag(y.T @ y))
    np.testing.assert_allclose(s / np.outer(scale, scale), y.T @ y / np.outer(scale, scale), atol=2e-6)


def test_moments_are_the_same_bits_for_any_number_of_workers(tensor, engine):
    s = compute_moments(tensor, engine)
    with LocalEngine(3) as three:
        np.testing.assert_array_equal(compute_moments(tensor, three), s)


def test_only_complete_bins_count(tmp_path, engine):
    signal = np.random.default_rng(0).integers(0, 8, (300, 4)).astype(float)
    signal[np.random.default_rng(1).random(signal.shape) < 0.1] = np.nan
    # The last shard has no complete bin, and one track has no value in it.
    signal[200:, 2] = np.nan
    tensor = small_tensor(tmp_path / "t", signal)
    complete = signal[~np.isnan(signal).any(axis=1)]
    y = np.c_[complete, np.ones(len(complete))]
    s = compute_moments(tensor, engine)
    assert s[-1, -1] == tensor.n_complete == len(complete) < 200
    np.testing.assert_allclose(s, y.T @ y, rtol=1e-6)


def test_a_tensor_without_complete_bins_has_no_moments(tmp_path):
    signal = np.ones((200, 4))
    signal[::2, 0] = signal[1::2, 3] = np.nan
    tensor = small_tensor(tmp_path / "t", signal)
    with pytest.raises(
        DataError, match=r"no bin where every experiment has a value; leave out the least covered"
    ):
        compute_moments(tensor, NoEngine())


def test_the_file_is_made_once(own_tensor, engine):
    tensor = Tensor(own_tensor)
    path = ensure_moments(tensor, engine)
    assert path == own_tensor / "moments.h5"
    written = path.read_bytes()
    assert ensure_moments(tensor, NoEngine()) == path and path.read_bytes() == written
    kept = read_moments(path)
    np.testing.assert_array_equal(kept.s, compute_moments(tensor, engine))
    assert kept.experiments == tuple(tensor.experiments)
    assert kept.columns((tensor.experiments[3], tensor.experiments[0])).tolist() == [3, 0]


def test_a_file_of_another_tensor_is_made_again(tmp_path, engine: Engine):
    rng = np.random.default_rng(2)
    one = small_tensor(tmp_path / "one", rng.random((200, 4)))
    other = small_tensor(tmp_path / "other", rng.random((200, 4)))
    path = tmp_path / "kept" / "m.h5"
    ensure_moments(one, engine, path)
    assert ensure_moments(other, engine, path) == path
    np.testing.assert_array_equal(read_moments(path).s, compute_moments(other, engine))


def test_a_damaged_file_is_made_again_where_it_is_ours(own_tensor, engine, caplog):
    tensor = Tensor(own_tensor)
    path = ensure_moments(tensor, engine)
    written = path.read_bytes()
    path.write_bytes(written[:-300])
    assert ensure_moments(tensor, engine) == path and path.read_bytes() == written
    assert f"{path} is made again: it is truncated or damaged" in caplog.text
    # What somebody named may be anything of theirs.
    path.write_text("notes")
    with pytest.raises(
        OutputError, match=r"^--moments .*moments.h5 cannot be read as moments: .* name another file$"
    ):
        ensure_moments(tensor, engine, path)
    assert path.read_text() == "notes"


def test_experiments_are_part_of_what_the_moments_are_of(own_tensor, engine):
    ensure_moments(Tensor(own_tensor), engine)
    manifest = json.loads((own_tensor / MANIFEST).read_text())
    manifest["experiments"][0]["cell_type"] = "C0"
    (own_tensor / MANIFEST).write_text(json.dumps(manifest))
    renamed = Tensor(own_tensor)
    assert read_moments(ensure_moments(renamed, engine)).experiments[0] == Experiment("C0", "A1")


def test_a_file_that_cannot_be_written_or_read(tensor, engine, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(
        OutputError, match=r"cannot write .*--moments PATH keeps the moments elsewhere"
    ) as caught:
        ensure_moments(tensor, engine, tmp_path / "file" / "moments.h5")
    assert "\n" not in str(caught.value)
    with pytest.raises(OutputError, match=r"gone.h5 cannot be read as moments"):
        read_moments(tmp_path / "gone.h5")
