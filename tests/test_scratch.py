"""Copies of shards on a node's own disk."""

from __future__ import annotations

import os
import pickle
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from commands import call_predictd
from predictd.config import TrainSettings
from predictd.errors import OutputError, TensorFormatError
from predictd.io.tensor.store import Tensor
from predictd.workflows.training.train import train


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for a few kilobytes."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(place)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("no small file system can be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def copies(scratch: Path) -> list[Path]:
    return sorted(scratch.glob("predictd-*/*.h5"))


def test_a_model_is_the_same_from_copies(tensor_path, tmp_path, engine):
    scratch = tmp_path / "node" / "local"
    settings = TrainSettings(rank=2, regularisation=0.1)
    for name, place in (("a", None), ("b", scratch)):
        train(
            tensor_path,
            tmp_path / name,
            settings,
            engine,
            moments=tmp_path / f"{name}.moments",
            scratch=place,
        )
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    shards = sorted((tensor_path / "shards").glob("*.h5"))
    assert [path.name for path in copies(scratch)] == [path.name for path in shards]
    assert [path.read_bytes() for path in copies(scratch)] == [path.read_bytes() for path in shards]
    assert copies(scratch)[0].parent.stat().st_mode & 0o777 == 0o700


def test_a_copy_is_read_again_and_a_cut_one_is_made_again(tensor, tmp_path):
    staged = pickle.loads(pickle.dumps(Tensor(tensor.path, scratch=tmp_path)))
    name = tensor.shard_names[1]

    def read() -> np.ndarray:
        with staged.open_shard(name) as shard:
            return shard.read()

    with tensor.open_shard(name) as shard:
        expected = shard.read()
    np.testing.assert_array_equal(read(), expected)
    (copy,) = copies(tmp_path)
    before = copy.stat().st_ino
    np.testing.assert_array_equal(read(), expected)
    assert copy.stat().st_ino == before
    os.truncate(copy, 1000)
    np.testing.assert_array_equal(read(), expected)
    assert copy.stat().st_ino != before


def test_nothing_is_copied_where_parts_are_only_counted(tensor_path, tmp_path):
    scratch = tmp_path / "node"
    counted = call_predictd("cv", tensor_path, "-o", "cv", "--parts", "--scratch", scratch, cwd=tmp_path)
    assert counted.returncode == 0 and counted.stdout == "5\n", counted.stderr
    assert not copies(scratch)


def test_many_at_once_make_one_copy(tensor, tmp_path, monkeypatch):
    made = []
    real = os.replace
    monkeypatch.setattr(Path, "replace", lambda self, target: (made.append(target), real(self, target)))

    def work() -> None:
        for name in tensor.shard_names:
            with Tensor(tensor.path, scratch=tmp_path).open_shard(name):
                pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == len(set(made)) == len(tensor.shard_names)


def test_a_shard_that_is_gone_is_told_as_such(own_tensor, tmp_path):
    tensor = Tensor(own_tensor, scratch=tmp_path / "scratch")
    name = tensor.shard_names[0]
    tensor.shard_path(name).unlink()
    with (
        pytest.raises(TensorFormatError, match=f"{name}.h5 is missing; ingest the tracks again"),
        tensor.open_shard(name),
    ):
        pass


def test_a_full_disk_is_told_in_one_line_and_nothing_is_left(tensor_path, tiny_disk, tmp_path):
    done = call_predictd(
        "train",
        tensor_path,
        "-o",
        "m.h5",
        "--rank",
        2,
        "--lambda",
        0.1,
        "--moments",
        "m.moments",
        "--scratch",
        tiny_disk,
        cwd=tmp_path,
    )
    assert done.returncode == 1 and not done.stdout
    (line,) = done.stderr.splitlines()
    assert f"--scratch {tiny_disk} cannot take a copy of {tensor_path}" in line
    assert "No space left on device; free some space, name another directory, or leave --scratch out" in line
    assert not copies(tiny_disk) and not list(tiny_disk.glob("*/*.partial"))
    assert not (tmp_path / "m.h5").exists()


def test_a_directory_that_cannot_be_one_is_refused(tensor, tmp_path):
    (tmp_path / "file").touch()
    staged = Tensor(tensor.path, scratch=tmp_path / "file")
    with pytest.raises(OutputError, match="name another directory"), staged.open_shard(tensor.shard_names[0]):
        pass
