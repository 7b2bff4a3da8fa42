"""Shards and the manifest: round trips, summaries, and every way in which a tensor can be none."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from commands import run_python
from disks import small_disk, unwritable
from folders import names
from predictd.constants import TENSOR_VERSION
from predictd.errors import OutputError, TensorFormatError
from predictd.io import files
from predictd.io.partition import Job
from predictd.io.tensor.layout import Places, ShardPlan
from predictd.io.tensor.manifest import ExperimentEntry, GenomeEntry, Manifest, SourceFile, read_manifest
from predictd.io.tensor.store import Shard, Tensor, describe_shard, shard_path, write_shard
from predictd.io.tracks.genomes import Genome
from predictd.pairs import Experiment
from refusals import refused

hypothesis = pytest.importorskip("hypothesis")
given = hypothesis.given
st = hypothesis.strategies

LENGTHS = {"chr1": 250_000, "chr2": 2000}
PAIRS = [("C1", "A1"), ("C1", "A2"), ("C2", "A1")]
RUNS = {"chr1.0000": [[0, 5000]], "chr1.0001": [[5000, 1], [5002, 2], [6000, 4000]], "chr2.0000": [[3, 70]]}


def random_signal(seed: int, n_bins: int, n: int, dtype: str = "float16") -> np.ndarray:
    """A tenth of it missing."""
    rng = np.random.default_rng(seed)
    signal = np.arcsinh(rng.exponential(2, (n_bins, n))).astype(dtype)
    signal[rng.random(signal.shape) < 0.1] = np.nan
    return signal


def plan(name: str, runs: list[list[int]]) -> ShardPlan:
    chrom = name.partition(".")[0]
    return ShardPlan(
        name, Places.of(chrom, LENGTHS.get(chrom, 2**16 * 25), 25, np.array(runs, dtype=np.int64))
    )


def make_tensor(path: Path, dtype: str = "float16", **changes: Any) -> dict[str, np.ndarray]:
    """Write a tensor by hand; its signal by shard."""
    signals, entries = {}, []
    for seed, (name, runs) in enumerate(RUNS.items()):
        shard = plan(name, runs)
        signals[name] = random_signal(seed, shard.places.n_bins, len(PAIRS), dtype)
        entries.append(write_shard(path, shard, signals[name]))
    fields = {
        "genome": GenomeEntry.of(Genome("small", LENGTHS)),
        "dtype": dtype,
        "experiments": tuple(ExperimentEntry(cell_type=c, assay=a) for c, a in PAIRS),
        "shards": tuple(entries),
    }
    Manifest(**(fields | changes)).write(path)
    return signals


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    path = tmp_path_factory.mktemp("store") / "tensor"
    return path, make_tensor(path)


@pytest.fixture
def own(made: tuple[Path, dict[str, np.ndarray]], tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(made[0], tmp_path / "tensor"))


class TestReplaced:
    """A tensor of the same shape in the place of one that was opened."""

    def test_it_is_refused_by_whoever_opened_the_other_one(self, own):
        opened = Tensor(own)
        packed, name = pickle.dumps(opened), opened.shard_names[1]
        with opened.open_shard(name):
            pass
        shutil.rmtree(own)
        make_tensor(own, uncovered="zero")
        assert shard_path(own, name).is_file()
        replaced = f"{own} was removed, or made again, after it was opened; open it again, or run"
        with refused(TensorFormatError, replaced), opened.open_shard(name):
            pass
        for use in (opened.summary, lambda: opened.places(name), lambda: pickle.loads(packed)):
            with refused(TensorFormatError, replaced):
                use()

    def test_one_that_is_put_there_while_a_shard_is_opened(self, own, tmp_path, monkeypatch):
        """Nor does a copy of its shard stay where copies of the other one are."""
        opened = Tensor(own, scratch=tmp_path / "scratch")
        name, copy = opened.shard_names[0], files.copy
        shutil.copytree(own, tmp_path / "other")
        make_tensor(tmp_path / "other", uncovered="zero")

        def replace_and_copy(source: Path, target: Path) -> None:
            own.rename(tmp_path / "before")
            (tmp_path / "other").rename(own)
            copy(source, target)

        monkeypatch.setattr(files, "copy", replace_and_copy)
        with refused(TensorFormatError, "made again, after it was opened"), opened.open_shard(name):
            pass
        assert not list((tmp_path / "scratch").glob("*/*.h5"))

    def test_the_same_one_written_again_is_as_good(self, own):
        opened = Tensor(own)
        os.utime(own / "manifest.json", ns=(1, 1))
        with opened.open_shard(opened.shard_names[0]) as shard:
            assert shard.n_bins == 5000
        assert pickle.loads(pickle.dumps(opened)).n_bins == opened.n_bins


class TestShards:
    @pytest.mark.parametrize("dtype", ["float16", "float32"])
    def test_what_is_written_is_read(self, tmp_path, dtype):
        signals = make_tensor(tmp_path, dtype)
        tensor = Tensor(tmp_path)
        assert tensor.shard_names == list(RUNS)
        assert tensor.n_bins == sum(map(len, signals.values())) == 9073
        for name, signal in signals.items():
            with tensor.open_shard(name) as shard:
                assert (shard.places.chrom, shard.n_bins) == (name.partition(".")[0], len(signal))
                np.testing.assert_array_equal(shard.places.runs, RUNS[name])
                read = shard.read()
                assert read.dtype == np.float32
                np.testing.assert_array_equal(read, signal.astype(np.float32))
                np.testing.assert_array_equal(shard.read(10, 60), signal[10:60].astype(np.float32))
                assert shard.read(len(signal)).shape == (0, 3)

    def test_float16_is_widened_exactly(self, tmp_path):
        every = np.arange(2**16, dtype=np.uint16).view(np.float16)
        every = np.where(np.isinf(every), np.float16(0), every).reshape(-1, 4)
        shard = plan("c.0000", [[0, len(every)]])
        entry = write_shard(tmp_path, shard, every)
        manifest = Manifest(
            genome=GenomeEntry(name="g", chromosomes=(("c", 25 * len(every)),)),
            experiments=tuple(ExperimentEntry(cell_type=f"C{i}", assay="A") for i in range(4)),
            shards=(entry,),
        )
        with h5py.File(shard_path(tmp_path, shard.name)) as file:
            read = Shard(file, tmp_path, entry, manifest).read()
        np.testing.assert_array_equal(read, every.astype(np.float32))

    def test_summaries_against_numpy(self, made):
        path, signals = made
        tensor = Tensor(path)
        for entry, signal in zip(tensor.manifest.shards, signals.values(), strict=True):
            exact = signal.astype(np.float64)
            with tensor.open_shard(entry.name) as shard:
                np.testing.assert_array_equal(shard.summary[:, 0], (~np.isnan(exact)).sum(axis=0))
                np.testing.assert_allclose(shard.summary[:, 1], np.nansum(exact, axis=0), rtol=1e-13)
                np.testing.assert_allclose(shard.summary[:, 2], np.nansum(exact**2, axis=0), rtol=1e-13)
                np.testing.assert_array_equal(shard.summary[:, 3], np.nanmax(exact, axis=0))
            assert entry.n_bins == len(exact)
            assert entry.n_complete == (~np.isnan(exact).any(axis=1)).sum()
        every = np.concatenate([signal.astype(np.float64) for signal in signals.values()])
        total = tensor.summary()
        np.testing.assert_allclose(total[:, 1], np.nansum(every, axis=0), rtol=1e-13)
        np.testing.assert_allclose(total[:, 2], np.nansum(every**2, axis=0), rtol=1e-13)
        np.testing.assert_array_equal(
            total[:, [0, 3]].T, [(~np.isnan(every)).sum(axis=0), np.nanmax(every, axis=0)]
        )
        assert tensor.n_complete == (~np.isnan(every).any(axis=1)).sum()

    def test_an_experiment_without_any_value(self, tmp_path):
        signal = random_signal(0, 100, 2, "float32")
        signal[:, 1] = np.nan
        shard = plan("c.0000", [[0, 100]])
        entry = write_shard(tmp_path, shard, signal)
        assert entry.n_complete == 0
        with h5py.File(shard_path(tmp_path, shard.name)) as file:
            np.testing.assert_array_equal(file["summary"][1], [0, 0, 0, np.nan])

    def test_the_same_signal_is_the_same_bytes(self, made, tmp_path):
        make_tensor(tmp_path)
        for name in RUNS:
            assert shard_path(tmp_path, name).read_bytes() == shard_path(made[0], name).read_bytes()
        assert Tensor(tmp_path).manifest == Tensor(made[0]).manifest

    @pytest.mark.parametrize("size", [1, 64, 1000, 4096, 100_000])
    def test_blocks(self, made, size):
        path, signals = made
        name = "chr1.0000"
        with Tensor(path).open_shard(name) as shard:
            blocks = list(shard.blocks(size))
        assert blocks[0][0] == 0
        for (start, block), (after, _) in pairwise(blocks):
            assert after == start + len(block)
            assert len(block) >= size
        np.testing.assert_array_equal(
            np.concatenate([b for _, b in blocks]), signals[name].astype(np.float32)
        )

    def test_where_rows_lie(self, made):
        with Tensor(made[0]).open_shard("chr1.0001") as shard:
            bins = shard.places.bins()
            assert bins.tolist() == [5000, 5002, 5003, *range(6000, 10_000)]
            for start, stop in [(0, 1), (0, 2), (1, 3), (2, 10), (0, 4003), (5, 6), (4000, 9999), (7, 7)]:
                found = [
                    (first + i, row)
                    for first, rows in shard.places.stretches(start, stop)
                    for i, row in enumerate(range(rows.start, rows.stop))
                ]
                assert found == [(int(b), row) for row, b in enumerate(bins[start:stop])]

    @given(
        lengths=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 6)), min_size=1, max_size=6),
        start=st.integers(0, 30),
        size=st.integers(0, 30),
    )
    def test_stretches_against_brute_force(self, lengths, start, size):
        runs, first = [], 0
        for gap, length in lengths:
            runs.append((first + gap, length))
            first += gap + length
        places = Places.of("c", 25 * (first + 1), 25, np.array(runs, dtype=np.int64))
        bins = places.bins()[start : start + size]
        found = np.full(len(bins), -1)
        stretches = list(places.stretches(start, min(start + size, first)))
        for begin, rows in stretches:
            found[rows] = np.arange(begin, begin + rows.stop - rows.start)
        np.testing.assert_array_equal(found, bins)
        assert len(stretches) == len(
            {run for run in range(len(runs)) if set(range(runs[run][0], sum(runs[run]))) & set(bins.tolist())}
        )

    def test_columns(self, made):
        tensor = Tensor(made[0])
        assert tensor.experiments == PAIRS
        chosen = tensor.columns([Experiment("C2", "A1"), Experiment("C1", "A1")])
        assert (chosen.tolist(), chosen.dtype) == ([2, 0], np.intp)
        assert tensor.columns([]).tolist() == []
        with refused(TensorFormatError, str(made[0]), "has no experiment C9:A1, C9:A2", "trained on?"):
            tensor.columns([Experiment("C1", "A1"), Experiment("C9", "A1"), Experiment("C9", "A2")])

    def test_a_shard_is_whole_or_not_there(self, tmp_path, monkeypatch):
        shard = plan("c.0000", [[0, 100]])
        signal = random_signal(0, 100, 2)
        old = write_shard(tmp_path, shard, signal)

        def killed(*args: object, **kwargs: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(h5py.File, "create_dataset", killed)
        with pytest.raises(KeyboardInterrupt):
            write_shard(tmp_path, shard, signal + 1)
        with pytest.raises(KeyboardInterrupt):
            write_shard(tmp_path, plan("c.0001", [[100, 100]]), signal)
        monkeypatch.undo()
        assert names(tmp_path / "shards") == ["c.0000.h5"]
        assert describe_shard(tmp_path, shard, 2) == old

    def test_what_stands_is_described_only_if_it_fits(self, tmp_path):
        shard = plan("c.0000", [[0, 100]])
        write_shard(tmp_path, shard, random_signal(0, 100, 2))
        path = shard_path(tmp_path, "c.0000")
        told = [f"{path} is of another tensor", f"remove {tmp_path}", "run the command again"]
        with refused(TensorFormatError, *told):
            describe_shard(tmp_path, shard, 3)
        with refused(TensorFormatError, *told):
            describe_shard(tmp_path, plan("c.0000", [[0, 99]]), 2)
        with refused(TensorFormatError, *told):
            describe_shard(tmp_path, plan("c.0000", [[0, 50], [51, 50]]), 2)
        path.write_bytes(path.read_bytes()[:2000])
        with refused(TensorFormatError, f"{path} is damaged", "remove it and run the command again"):
            describe_shard(tmp_path, shard, 2)
        with h5py.File(path, "w") as file:
            file["signal"] = np.zeros((100, 2))
        with refused(TensorFormatError, f"{path} is damaged", "remove it and run the command again"):
            describe_shard(tmp_path, shard, 2)

    def test_unwritable_places(self, tmp_path):
        for place in unwritable(tmp_path):
            with refused(OutputError, f"cannot write {place}", "name a place you may write to"):
                write_shard(place, plan("c.0000", [[0, 100]]), random_signal(0, 100, 2))


def read_all(path: Path) -> None:
    tensor = Tensor(path)
    for name in tensor.shard_names:
        with tensor.open_shard(name) as shard:
            shard.read()


class TestBadShards:
    NAME = "chr1.0001"

    def path(self, tensor: Path) -> Path:
        return shard_path(tensor, self.NAME)

    def test_a_good_one(self, own):
        read_all(own)
        for name in RUNS:
            Tensor(own).verify(name)

    def test_missing(self, own):
        self.path(own).unlink()
        with refused(TensorFormatError, f"{self.path(own)} is missing", "ingest the tracks again"):
            read_all(own)
        with refused(TensorFormatError, f"{self.path(own)} is missing", "ingest the tracks again"):
            Tensor(own).verify(self.NAME)

    def test_truncated_anywhere(self, own):
        data = self.path(own).read_bytes()
        for size in range(0, len(data), len(data) // 20):
            self.path(own).write_bytes(data[:size])
            with refused(
                TensorFormatError, f"{self.path(own)} is truncated, damaged", "ingest the tracks again"
            ):
                read_all(own)

    def test_of_another_format(self, own):
        self.path(own).write_text("no HDF5" * 100)
        with refused(TensorFormatError, f"{self.path(own)} is", "no HDF5 file", "ingest the tracks again"):
            read_all(own)
        with h5py.File(self.path(own), "w") as file:
            file["signal"] = 1
        with refused(
            TensorFormatError,
            f"{self.path(own)} is not a shard",
            "it is no predictd-tensor",
            "ingest the tracks",
        ):
            read_all(own)

    def test_of_another_version(self, own):
        with h5py.File(self.path(own), "r+") as file:
            file.attrs["version"] = 99
        with refused(
            TensorFormatError,
            str(self.path(own)),
            "it has version 99",
            f"reads version {TENSOR_VERSION}",
            "ingest",
        ):
            read_all(own)

    @pytest.mark.parametrize("part", ["signal", "runs", "summary"])
    def test_parts_that_are_gone_or_something_else(self, own, part):
        with h5py.File(self.path(own), "r+") as file:
            del file[part]
        with refused(TensorFormatError, f"{self.path(own)} is damaged", "ingest the tracks again"):
            read_all(own)
        with h5py.File(self.path(own), "r+") as file:
            file.create_group(part)
        with refused(TensorFormatError, f"{self.path(own)} is damaged", "ingest the tracks again"):
            read_all(own)
        with h5py.File(self.path(own), "r+") as file:
            del file[part]
            file[part] = 5
        with refused(TensorFormatError, f"{self.path(own)} is damaged", "ingest the tracks again"):
            read_all(own)

    def test_of_another_tensor(self, own, tmp_path):
        write_shard(own, plan(self.NAME, [[0, 40]]), random_signal(0, 40, 5))
        with refused(
            TensorFormatError,
            f"{self.path(own)} does not belong to this tensor",
            "it holds 40 bins × 5 experiments of chr1, the manifest says 4003 × 3 of chr1",
            "ingest the tracks again",
        ):
            read_all(own)
        shutil.copy(shard_path(own, "chr2.0000"), self.path(own))
        with refused(TensorFormatError, "does not belong to this tensor", "70 bins × 3 experiments of chr2"):
            read_all(own)

    def test_damaged_signal(self, own):
        data = bytearray(self.path(own).read_bytes())
        with h5py.File(self.path(own)) as file:
            place = file["signal"].id.get_chunk_info(0).byte_offset
        data[place + 500] ^= 0x10
        self.path(own).write_bytes(data)
        with refused(
            TensorFormatError, f"{self.path(own)} is damaged (bins 0 to 4003)", "ingest the tracks again"
        ):
            read_all(own)
        with refused(TensorFormatError, f"{self.path(own)} is missing or not as it was written", "ingest"):
            Tensor(own).verify(self.NAME)

    @pytest.mark.parametrize("part", ["runs", "summary"])
    def test_damaged_numbers_beside_the_signal(self, own, part):
        data = bytearray(self.path(own).read_bytes())
        with h5py.File(self.path(own)) as file:
            place = file[part].id.get_chunk_info(0).byte_offset
        data[place + 1] ^= 0x10
        self.path(own).write_bytes(data)
        with refused(TensorFormatError, f"{self.path(own)} is damaged", "ingest the tracks again"):
            read_all(own)

    def test_other_bytes_of_the_same_shape_are_found_by_verify(self, own):
        write_shard(own, plan(self.NAME, RUNS[self.NAME]), random_signal(77, 4003, 3))
        read_all(own)
        with refused(TensorFormatError, f"{self.path(own)} is missing or not as it was written", "ingest"):
            Tensor(own).verify(self.NAME)


class TestManifest:
    def edit(self, tensor: Path, **changes: Any) -> None:
        path = tensor / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    def test_what_is_written_is_read(self, made):
        manifest = read_manifest(made[0])
        assert [e.experiment for e in manifest.experiments] == PAIRS
        assert list(manifest.load_genome().chromosomes.items()) == [("chr1", 250_000), ("chr2", 2000)]
        assert (manifest.bin_size, manifest.dtype, manifest.uncovered) == (25, "float16", "missing")

    def test_the_checksum_is_of_what_the_tensor_is(self, made):
        manifest = read_manifest(made[0])
        here = (SourceFile(path="here.bw", bytes=5, sha256="x"),)
        elsewhere = tuple(e.model_copy(update={"sources": here}) for e in manifest.experiments)
        same = manifest.model_copy(update={"provenance": {"who": "cares"}, "experiments": elsewhere})
        assert same.checksum == manifest.checksum
        changed_shard = manifest.shards[0].model_copy(update={"sha256": "0"})
        for update in (
            {"bin_size": 50},
            {"uncovered": "zero"},
            {"experiments": manifest.experiments[::-1]},
            {"shards": (changed_shard, *manifest.shards[1:])},
            {"genome": manifest.genome.model_copy(update={"name": "other"})},
        ):
            assert manifest.model_copy(update=update).checksum != manifest.checksum

    def test_no_tensor(self, tmp_path):
        with refused(TensorFormatError, f"{tmp_path / 'absent'} is not a directory", "predictd ingest"):
            read_manifest(tmp_path / "absent")
        with refused(TensorFormatError, f"{tmp_path} holds no tensor (no manifest.json)", "predictd ingest"):
            read_manifest(tmp_path)
        (tmp_path / "file").write_text("")
        with refused(TensorFormatError, f"{tmp_path / 'file'} is not a directory", "predictd ingest"):
            read_manifest(tmp_path / "file")
        with refused(TensorFormatError, "File name too long"):
            read_manifest(tmp_path / ("long" * 100))

    def test_an_unfinished_tensor(self, tmp_path):
        Job(tmp_path, {"command": "ingest"}).begin()
        with refused(TensorFormatError, f"{tmp_path} is unfinished", "run the command that began it again"):
            read_manifest(tmp_path)

    def test_of_another_version(self, own):
        # Another version may have other fields: that it is another one is what must be told.
        for changes in ({"version": 99}, {"version": 99, "new_field": 1, "shards": "elsewhere"}):
            self.edit(own, **changes)
            with refused(
                TensorFormatError,
                f"{own / 'manifest.json'} has format version 99, this predictd reads versions 1 and 2",
                "ingest the tracks again, or use the predictd that made it",
            ):
                read_manifest(own)

    @pytest.mark.parametrize("content", [b"", b"{", b'{"format": "predictd-ten', b"\xff\xfe"])
    def test_truncated_or_damaged(self, own, content):
        (own / "manifest.json").write_bytes(content)
        with refused(
            TensorFormatError, f"{own / 'manifest.json'} is truncated or damaged", "make the tensor again"
        ):
            read_manifest(own)

    @pytest.mark.parametrize(
        ("changes", "place"),
        [
            ({"format": "other", "version": 99}, "format: "),
            ({"unknown": 1}, "unknown: "),
            ({"bin_size": 0}, "bin_size: "),
            ({"dtype": "float64"}, "dtype: "),
            ({"experiments": []}, "experiments: "),
            ({"shards": []}, "shards: "),
            (
                {"shards": [{"name": "../x", "chrom": "c", "n_bins": 1, "n_complete": 1, "sha256": ""}]},
                "shards.0.name: ",
            ),
        ],
    )
    def test_foreign(self, own, changes, place):
        self.edit(own, **changes)
        with refused(
            TensorFormatError,
            f"{own / 'manifest.json'} is not a manifest of a tensor ({place}",
            "make the tensor again",
        ):
            read_manifest(own)

    @pytest.mark.parametrize("content", ["[]", "5", "null", "{}"])
    def test_other_json(self, own, content):
        (own / "manifest.json").write_text(content)
        with refused(TensorFormatError, "is not a manifest of a tensor", "make the tensor again"):
            read_manifest(own)


# What HDF5 does at a failed write it may do at the end of the process.
FILL = """
import sys
from pathlib import Path
import numpy as np
from predictd.errors import OutputError
from predictd.io.tensor.layout import Places, ShardPlan
from predictd.io.tensor.store import write_shard

signal = np.random.default_rng(0).random((50_000, 4)).astype(np.float16)
for number, n in enumerate((100, 50_000, 200)):
    plan = ShardPlan(f"c.{number:04d}", Places.of("c", 25 * n, 25, np.array([[0, n]])))
    try:
        print(write_shard(Path(sys.argv[1]), plan, signal[:n]).n_bins)
    except OutputError as err:
        print(err)
"""


def test_a_full_disk(tmp_path):
    with small_disk(tmp_path / "disk", "200k"):
        path = tmp_path / "disk" / "tensor"
        done = run_python(FILL, path, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines() == [
            "100",
            f"cannot write {shard_path(path, 'c.0001')}: No space left on device; free some space or name a place you "
            "may write to",
            "200",
        ]
        assert names(path / "shards") == ["c.0000.h5", "c.0002.h5"]
