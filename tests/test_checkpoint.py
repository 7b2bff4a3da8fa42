"""Named arrays in HDF5, and the checkpoints made of them."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from commands import run_python
from disks import small_disk, unwritable
from folders import names
from full_disk import FILL
from predictd.errors import OutputError
from predictd.io.checkpoint import Checkpoint
from predictd.io.hdf5 import ForeignFileError, creating, read_arrays, write_arrays
from refusals import refused

hypothesis = pytest.importorskip("hypothesis")
given = hypothesis.given
st = hypothesis.strategies
hnp = pytest.importorskip("hypothesis.extra.numpy")

HEADER = {"kind": "cp", "text": "é\n", "list": [1, 2.5, None, True], "nested": {"a": {}}}
ARRAYS: dict[str, Any] = {
    "C": np.linspace(-1, 1, 15).reshape(5, 3),
    "half": np.array([1.5, np.inf, np.nan], dtype=np.float16),
    "single": np.arange(4, dtype=np.float32)[::2],
    "turned": np.arange(6.0).reshape(2, 3).T,
    "count": np.array([2**62], dtype=np.int64),
    "yes": np.array([[True], [False]]),
    "scalar": np.array(3.25),
    "empty": np.zeros((0, 3)),
    "names": np.array(["E003", "β cell", ""]),
    "name": np.array("é"),
    "no_names": np.array([], dtype=str),
    "group/inner": np.arange(3, dtype=np.uint8),
}


def write(
    path: Path, header: dict[str, Any] = HEADER, arrays: dict[str, Any] = ARRAYS, version: int = 3
) -> bytes:
    write_arrays(path, format="test", version=version, header=header, arrays=arrays)
    return path.read_bytes()


def read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    return read_arrays(path, format="test", version=3)


@contextmanager
def foreign(reason: str) -> Iterator[None]:
    with pytest.raises(ForeignFileError) as caught:
        yield
    assert str(caught.value) == reason


class TestArrays:
    def test_what_is_written_is_read(self, tmp_path):
        write(tmp_path / "new" / "a.h5")
        header, arrays = read(tmp_path / "new" / "a.h5")
        assert header == HEADER
        assert arrays.keys() == ARRAYS.keys()
        for name, array in ARRAYS.items():
            assert arrays[name].shape == array.shape, name
            assert arrays[name].dtype.kind == array.dtype.kind, name
            if array.dtype.kind != "U":
                assert arrays[name].dtype == array.dtype, name
            np.testing.assert_array_equal(arrays[name], array)

    @given(
        array=hnp.arrays(
            st.sampled_from([np.float16, np.float32, np.float64, np.int64, np.bool_]),
            hnp.array_shapes(min_dims=0),
        ),
        text=st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)),
    )
    def test_any_content(self, tmp_path_factory, array, text):
        path = tmp_path_factory.getbasetemp() / "any.h5"
        write(path, {"text": text}, {"array": array, "text": np.array(text, dtype=str)})
        header, arrays = read(path)
        assert header == {"text": text}
        assert (arrays["array"].shape, arrays["array"].dtype) == (array.shape, array.dtype)
        assert arrays["array"].tobytes() == array.tobytes()
        assert arrays["text"].tolist() == text

    def test_the_same_content_is_the_same_bytes(self, tmp_path):
        turned = dict(reversed(ARRAYS.items()))
        assert write(tmp_path / "a.h5") == write(tmp_path / "b.h5", dict(reversed(HEADER.items())), turned)
        assert write(tmp_path / "a.h5") != write(tmp_path / "b.h5", HEADER | {"kind": "x"})

    def test_missing(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            read(tmp_path / "a.h5")

    def test_foreign(self, tmp_path):
        path = tmp_path / "a.h5"
        write(path)
        with foreign("it is no other"):
            read_arrays(path, format="other", version=3)
        write(path, version=4)
        with foreign("it has version 4, this predictd reads version 3"):
            read(path)
        with h5py.File(path, "w") as file:
            file["C"] = 1
        with foreign("it is no test"):
            read(path)
        path.write_text("no HDF5")
        with foreign("it is truncated or damaged"):
            read(path)

    def test_truncated_anywhere(self, tmp_path):
        path = tmp_path / "a.h5"
        data = write(path)
        for size in range(0, len(data), 97):
            path.write_bytes(data[:size])
            with foreign("it is truncated or damaged"):
                read(path)

    @pytest.mark.parametrize("name", ["C", "names", "yes"])
    def test_changed_numbers_and_texts(self, tmp_path, name):
        path = tmp_path / "a.h5"
        write(path)
        with h5py.File(path, "r+") as file:
            file[name][0] = {"C": 7.0, "names": "E004", "yes": False}[name]
        with foreign("it is damaged"):
            read(path)

    def test_a_flipped_bit_in_the_numbers(self, tmp_path):
        path = tmp_path / "a.h5"
        data = bytearray(write(path))
        place = bytes(data).index(ARRAYS["C"].tobytes())
        data[place + 30] ^= 1
        path.write_bytes(data)
        with foreign("it is damaged"):
            read(path)

    @pytest.mark.parametrize("part", ["header", "group", "C"])
    def test_parts_that_are_gone(self, tmp_path, part):
        path = tmp_path / "a.h5"
        write(path)
        with h5py.File(path, "r+") as file:
            del file[part]
        with foreign("it is truncated or damaged" if part == "header" else "it is damaged"):
            read(path)

    @pytest.mark.parametrize("attribute", ["version", "crc32"])
    def test_attributes_that_are_gone(self, tmp_path, attribute):
        path = tmp_path / "a.h5"
        write(path)
        with h5py.File(path, "r+") as file:
            del file.attrs[attribute]
        with foreign("it is truncated or damaged"):
            read(path)

    def test_a_group_in_place_of_the_header(self, tmp_path):
        path = tmp_path / "a.h5"
        write(path)
        with h5py.File(path, "r+") as file:
            del file["header"]
            file.create_group("header")
        with foreign("it is truncated or damaged"):
            read(path)

    def test_an_error_leaves_the_old_file(self, tmp_path):
        path = tmp_path / "a.h5"
        old = write(path)
        with pytest.raises(TypeError):
            write(path, arrays={"a": np.array([object()])})
        assert path.read_bytes() == old
        assert names(tmp_path) == ["a.h5"]

    def test_errors_inside_the_block_are_told_as_they_are(self, tmp_path):
        with pytest.raises(ValueError, match="mine"), creating(tmp_path / "a.h5", format="test", version=1):
            raise ValueError("mine")
        assert names(tmp_path) == []

    def test_unwritable_places(self, tmp_path):
        for place in unwritable(tmp_path):
            with refused(OutputError, f"cannot write {place}", "name a place you may write to"):
                write(place)


class TestFullDisk:
    def run(self, path: Path, limit: int) -> list[str]:
        done = run_python(FILL, path, limit, cwd=path.parent)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.splitlines()

    # Where the first write fails, where one inside fails, where only the largest does.
    @pytest.mark.parametrize(
        ("limit", "sizes"), [(100, [10, 1000, 100_000]), (7000, [1000, 100_000]), (50_000, [100_000])]
    )
    def test_files_may_not_grow(self, tmp_path, limit, sizes):
        path = tmp_path / "a.h5"
        told = f"cannot write {path}: File too large; free some space or name a place you may write to"
        assert self.run(path, limit) == [f"{size} {told}" for size in sizes for _ in range(2)]
        assert names(tmp_path) == ["a.h5"]

    def test_a_full_disk(self, tmp_path):
        with small_disk(tmp_path / "disk", "200k"):
            path = tmp_path / "disk" / "a.h5"
            told = f"cannot write {path}: No space left on device; free some space or name a place you may write to"
            assert self.run(path, 0) == [f"100000 {told}"] * 2
            assert names(path.parent) == ["a.h5"]
            # The last one that fitted stands.
            with h5py.File(path) as file:
                assert file["a"].shape == (1000,)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    made = Checkpoint(tmp_path / "model.h5.checkpoint")
    made.begin({"seed": 1})
    return made


def save(checkpoint: Checkpoint, name: str, value: float, workers: int = 2) -> None:
    for worker in range(workers):
        checkpoint.save(name, worker, {"round": name, "worker": worker}, {"G": np.full(3, value + worker)})


def loaded(checkpoint: Checkpoint, worker: int) -> tuple[str, float]:
    found = checkpoint.load(worker)
    assert found is not None
    header, arrays = found
    assert header["worker"] == worker
    return header["round"], arrays["G"][0]


class TestCheckpoint:
    def test_nothing_yet(self, checkpoint):
        assert checkpoint.load(0) is None
        assert checkpoint.kept("result") is None
        assert Checkpoint(checkpoint.path.with_name("absent")).load(0) is None

    def test_only_what_is_committed_counts(self, checkpoint):
        save(checkpoint, "1", 10)
        assert checkpoint.load(0) is None
        checkpoint.commit("1")
        assert [loaded(checkpoint, worker) for worker in (0, 1)] == [("1", 10), ("1", 11)]
        save(checkpoint, "2", 20, workers=1)
        assert [loaded(checkpoint, worker) for worker in (0, 1)] == [("1", 10), ("1", 11)]
        save(checkpoint, "2", 20)
        checkpoint.commit("2")
        assert [loaded(checkpoint, worker) for worker in (0, 1)] == [("2", 20), ("2", 21)]

    def test_older_states_are_removed(self, checkpoint):
        for number in ("1", "2", "3"):
            save(checkpoint, number, int(number))
            checkpoint.commit(number)
            assert [name for name in names(checkpoint.path) if name.startswith("state")] == [
                f"state-{number}"
            ]

    def test_a_round_saved_again_is_the_last_one(self, checkpoint):
        save(checkpoint, "1", 10)
        save(checkpoint, "1", 30)
        checkpoint.commit("1")
        assert loaded(checkpoint, 1) == ("1", 31)

    def test_results(self, checkpoint):
        checkpoint.keep("result", {"history": [1.5, 0.1 + 0.2], "rounds": 3})
        assert checkpoint.kept("result") == {"history": [1.5, 0.1 + 0.2], "rounds": 3}

    def test_the_same_computation_goes_on(self, checkpoint):
        save(checkpoint, "1", 10)
        checkpoint.commit("1")
        again = Checkpoint(checkpoint.path)
        again.begin({"seed": 1})
        assert loaded(again, 0) == ("1", 10)

    def test_another_computation_is_refused(self, checkpoint):
        with refused(OutputError, str(checkpoint.path), "(seed: 1, now 2)", "remove the directory"):
            Checkpoint(checkpoint.path).begin({"seed": 2})

    def test_what_lies_there_without_a_description_is_not_taken_up(self, checkpoint):
        save(checkpoint, "1", 10)
        checkpoint.commit("1")
        checkpoint.keep("search", {"rounds": 3})
        (checkpoint.path / ".partial" / "job.json").unlink()
        again = Checkpoint(checkpoint.path)
        again.begin({"seed": 2})
        assert (again.load(0), again.kept("search")) == (None, None)
        assert names(checkpoint.path) == [".partial"]

    def test_only_one_holds_it(self, checkpoint, monkeypatch, caplog):
        checkpoint.hold()
        # Opened once more it is another one's, as it would be in another process.
        other = os.open(checkpoint.path / "lock", os.O_RDWR)
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        checkpoint.release()
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Waiting for its end, which comes with the second look.
        ends = iter([lambda: None, lambda: os.close(other)])
        monkeypatch.setattr("predictd.io.checkpoint.time.sleep", lambda _: next(ends)())
        checkpoint.hold()
        assert list(ends) == []
        assert caplog.messages == [
            f"{checkpoint.path} is in use by another run of the same command: waiting for its end"
        ]
        checkpoint.release()

    def test_remove(self, checkpoint):
        save(checkpoint, "1", 10)
        checkpoint.commit("1")
        checkpoint.remove()
        assert not checkpoint.path.exists()
        assert checkpoint.load(0) is None

    def test_a_removal_that_is_killed_leaves_nothing_that_another_takes_up(self, checkpoint, monkeypatch):
        """What says that a state is whole goes first, and what says whose it is goes last."""
        removed: list[tuple[str, list[str]]] = []

        def noted(path: Path) -> None:
            removed.append((path.name, names(checkpoint.path)))
            shutil.rmtree(path)

        save(checkpoint, "1", 10)
        checkpoint.commit("1")
        checkpoint.keep("search", {})
        monkeypatch.setattr("predictd.io.checkpoint.remove_tree", noted)
        checkpoint.remove()
        assert removed == [
            ("state-1", [".partial", "state-1"]),
            (".partial", [".partial"]),
            (checkpoint.path.name, []),
        ]

    def test_only_who_has_begun_it_removes_it(self, checkpoint):
        save(checkpoint, "1", 10)
        checkpoint.commit("1")
        other = Checkpoint(checkpoint.path)
        with refused(
            OutputError,
            f"{checkpoint.path} holds the state of an unfinished training",
            "finish it with the command that began it, or remove the directory",
        ):
            other.refuse_unfinished()
        other.remove()
        assert loaded(checkpoint, 1) == ("1", 11)
        checkpoint.remove()
        other.refuse_unfinished()

    def test_damage(self, checkpoint):
        save(checkpoint, "1", 10)
        checkpoint.commit("1")
        state = checkpoint.path / "state-1" / "worker-0.h5"
        data = state.read_bytes()
        told = [f"the checkpoint in {checkpoint.path} is damaged", "remove it to start afresh"]
        state.write_bytes(data[: len(data) // 2])
        with refused(OutputError, *told, "it is truncated or damaged"):
            checkpoint.load(0)
        assert loaded(checkpoint, 1) == ("1", 11)
        state.unlink()
        with refused(OutputError, *told, "worker-0.h5"):
            checkpoint.load(0)
        write_arrays(state, format="predictd-model", version=1, header={}, arrays={})
        with refused(OutputError, *told, "it is no predictd-checkpoint"):
            checkpoint.load(0)
        write_arrays(state, format="predictd-checkpoint", version=99, header={}, arrays={})
        with refused(OutputError, *told, "it has version 99"):
            checkpoint.load(0)

    @pytest.mark.parametrize("content", ["{", "[]", "{}", '{"name": "7"}'])
    def test_damaged_notes(self, checkpoint, content):
        save(checkpoint, "1", 10)
        checkpoint.commit("1")
        (checkpoint.path / "latest.json").write_text(content)
        with refused(
            OutputError, f"the checkpoint in {checkpoint.path} is damaged", "remove it to start afresh"
        ):
            checkpoint.load(0)

    def test_damaged_results(self, checkpoint):
        (checkpoint.path / "result.json").write_text('{"history": [1')
        with refused(
            OutputError, f"the checkpoint in {checkpoint.path} is damaged", "remove it to start afresh"
        ):
            checkpoint.kept("result")

    def test_unwritable_places(self, tmp_path):
        for place in unwritable(tmp_path):
            with refused(OutputError, f"cannot write {place}", "name a place you may write to"):
                Checkpoint(place).begin({})
