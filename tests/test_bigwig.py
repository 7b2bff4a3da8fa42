"""bigWigs: binned means against plain NumPy and pyBigWig, writing, and everything that can be wrong with a file."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyBigWig
import pytest

from commands import run_python
from disks import MIB, small_disk, unwritable
from folders import names
from made_tracks import BIN, NAN, Bases, binned_by_hand, random_bases, write_bases
from predictd.errors import OutputError, TrackError
from predictd.io.tracks import bigwig_writer
from predictd.io.tracks.bigwig import BigWigReader
from predictd.io.tracks.bigwig_writer import BigWigWriter, require_room
from refusals import refused

LENGTHS = {"chr1": 5013, "chr2": 700, "chr3": 11}


@pytest.fixture(scope="module")
def track() -> Bases:
    return random_bases(1, LENGTHS)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory, track: Bases) -> Path:
    return write_bases(tmp_path_factory.mktemp("bigwig") / "track.bw", track)


class TestBinnedMeans:
    @pytest.mark.parametrize("uncovered", ["missing", "zero"])
    @pytest.mark.parametrize("bin_size", [1, 25, 100, 10_000])
    def test_against_one_base_after_the_other(self, path, track, uncovered, bin_size):
        reader = BigWigReader(str(path))
        assert reader.chromosomes == LENGTHS
        for chrom, bases in track.items():
            expected = binned_by_hand(bases, uncovered, bin_size)
            means = reader.binned_means(chrom, 0, len(expected), bin_size=bin_size, uncovered=uncovered)
            assert means.dtype == np.float64
            np.testing.assert_allclose(means, expected, rtol=1e-12)

    def test_the_track_has_all_kinds_of_bins(self, track):
        bases = track["chr1"][:5000].reshape(-1, BIN)
        uncovered = np.isnan(bases).sum(axis=1)
        assert {0, BIN} <= set(uncovered.tolist())
        assert ((uncovered > 0) & (uncovered < BIN)).sum() > 50

    @pytest.mark.parametrize("uncovered", ["missing", "zero"])
    def test_a_file_that_covers_little(self, uncovered, tmp_path):
        """Of one value in a bin each: at a block's edges, within one that others surround, and at the end."""
        length, values = 50_000_017, [1.5, 2.0, -3.0, 4.0, 0.0, 5.0]
        bins = [4095, 4096, 20_000, 20_001, 1_900_000, 2_000_000]
        with pyBigWig.open(str(tmp_path / "few.bw"), "w") as file:
            file.addHeader([("chr1", length)])
            starts = [number * BIN + 3 for number in bins]
            file.addEntries(["chr1"] * 6, starts, ends=[start + 10 for start in starts], values=values)
        reader = BigWigReader(str(tmp_path / "few.bw"))
        for first, n in [(0, 2_000_001), (4096, 15_905), (0, 30_000), (0, 8192)]:
            expected = np.full(n, 0.0 if uncovered == "zero" else NAN)
            for number, value in zip(bins, values, strict=True):
                if first <= number < first + n:
                    # The last bin is 17 bases wide.
                    share = 10 / (17 if number == 2_000_000 else BIN)
                    expected[number - first] = value * (share if uncovered == "zero" else 1.0)
            means = reader.binned_means("chr1", first, n, bin_size=BIN, uncovered=uncovered)
            np.testing.assert_allclose(means, expected, rtol=1e-12)

    @pytest.mark.parametrize("uncovered", ["missing", "zero"])
    def test_parts_of_a_chromosome(self, path, track, uncovered):
        reader = BigWigReader(str(path))
        whole = binned_by_hand(track["chr1"], uncovered)
        for first, n in [(0, 1), (7, 1), (3, 50), (199, 2), (200, 1), (0, 201)]:
            part = reader.binned_means("chr1", first, n, bin_size=BIN, uncovered=uncovered)
            np.testing.assert_allclose(part, whole[first : first + n], rtol=1e-12)

    def test_against_the_exact_means_of_pybigwig(self, path):
        other = pyBigWig.open(str(path))
        reader = BigWigReader(str(path))
        means = reader.binned_means("chr1", 0, 201, bin_size=BIN, uncovered="missing")
        for b in range(0, 201, 10):
            (expected,) = other.stats("chr1", b * BIN, min((b + 1) * BIN, 5013), exact=True)
            assert means[b] == pytest.approx(NAN if expected is None else expected, rel=1e-6, nan_ok=True)

    def test_a_chromosome_that_the_file_has_not(self, path):
        reader = BigWigReader(str(path))
        missing = reader.binned_means("chrX", 5, 3, bin_size=BIN, uncovered="missing")
        np.testing.assert_array_equal(missing, [NAN, NAN, NAN])
        zero = reader.binned_means("chrX", 5, 3, bin_size=BIN, uncovered="zero")
        np.testing.assert_array_equal(zero, [0, 0, 0])

    def test_many_zoom_levels_do_not_matter(self, tmp_path):
        # Zoomed summaries would blur the two halves of a bin into its neighbours.
        values = np.tile(np.array([0, 100], dtype=np.float32), 5000)
        writer = BigWigWriter(tmp_path / "a.bw", {"c": 250_000}, bin_size=BIN)
        writer.add("c", 0, values)
        writer.close()
        means = BigWigReader(str(tmp_path / "a.bw")).binned_means(
            "c", 0, 5000, bin_size=50, uncovered="missing"
        )
        np.testing.assert_array_equal(means, np.full(5000, 50.0))

    def test_no_file_descriptor_is_left_open(self, path):
        if not Path("/proc/self/fd").is_dir():
            pytest.skip("open files cannot be counted here")

        def read() -> None:
            reader = BigWigReader(str(path))
            reader.binned_means("chr1", 0, 10, bin_size=BIN, uncovered="missing")
            reader.close()

        read()
        before = names(Path("/proc/self/fd"))
        for _ in range(5):
            read()
        assert names(Path("/proc/self/fd")) == before


def read_all(path: Path) -> None:
    reader = BigWigReader(str(path))
    reader.check_signal()
    for chrom, length in reader.chromosomes.items():
        reader.binned_means(chrom, 0, -(-length // BIN), bin_size=BIN, uncovered="missing")


class TestBadFiles:
    def test_a_good_one(self, path):
        read_all(path)
        assert BigWigReader(str(path)).covered_bases > 3000

    def test_missing(self, tmp_path):
        with refused(TrackError, f"{tmp_path / 'a.bw'} does not exist", "correct its path"):
            BigWigReader(str(tmp_path / "a.bw"))
        with refused(TrackError, "does not exist", "correct its path"):
            BigWigReader(str(tmp_path / ("long" * 100 + ".bw")))

    def test_empty(self, tmp_path):
        (tmp_path / "a.bw").write_bytes(b"")
        with refused(TrackError, f"{tmp_path / 'a.bw'} is empty", "download it again"):
            BigWigReader(str(tmp_path / "a.bw"))

    def test_a_directory(self, tmp_path):
        with refused(TrackError, f"{tmp_path} is no file"):
            BigWigReader(str(tmp_path))

    @pytest.mark.parametrize("content", [b"x", b"chr1\t0\t5\t1.0\n" * 100, bytes(5000)])
    def test_of_another_format(self, tmp_path, content):
        (tmp_path / "a.bw").write_bytes(content)
        with refused(
            TrackError, f"{tmp_path / 'a.bw'} is not a complete bigWig", "download or make it again"
        ):
            BigWigReader(str(tmp_path / "a.bw"))

    def test_truncated_anywhere(self, path, tmp_path):
        data = path.read_bytes()
        for size in [*range(1, len(data), 199), len(data) - 4, len(data) - 1]:
            (tmp_path / "a.bw").write_bytes(data[:size])
            with refused(
                TrackError,
                f"{tmp_path / 'a.bw'} is not a complete bigWig",
                "truncated",
                "download or make it again",
            ):
                BigWigReader(str(tmp_path / "a.bw"))

    def test_damaged_signal(self, path, tmp_path, capfd):
        # The first block of data follows its count at the offset that the header gives.
        data = bytearray(path.read_bytes())
        (start,) = struct.unpack_from("<Q", data, 16)
        data[start + 20 : start + 24] = b"\xff\xff\xff\xff"
        (tmp_path / "a.bw").write_bytes(data)
        with refused(
            TrackError,
            f"{tmp_path / 'a.bw'} is not a complete bigWig",
            "damaged",
            "download or make it again",
        ):
            read_all(tmp_path / "a.bw")
        # pybigtools panics there, and the trace of its panic is nothing for users.
        assert capfd.readouterr() == ("", "")
        os.write(2, b"still there")
        assert capfd.readouterr().err == "still there"

    def test_a_number_of_chromosomes_that_would_take_all_memory(self, path, tmp_path):
        data = bytearray(path.read_bytes())
        (tree,) = struct.unpack_from("<Q", data, 8)
        struct.pack_into("<Q", data, tree + 16, 2**60)
        (tmp_path / "a.bw").write_bytes(data)
        with refused(TrackError, "is not a complete bigWig", "damaged"):
            BigWigReader(str(tmp_path / "a.bw"))
        struct.pack_into("<Q", data, 8, 2**63)
        (tmp_path / "a.bw").write_bytes(data)
        with refused(TrackError, "is not a complete bigWig", "damaged"):
            BigWigReader(str(tmp_path / "a.bw"))

    @pytest.mark.parametrize("value", [NAN, np.inf, -np.inf])
    def test_signal_that_is_no_number(self, tmp_path, value):
        file = pyBigWig.open(str(tmp_path / "a.bw"), "w")
        file.addHeader([("c", 1000)])
        file.addEntries(["c", "c"], [0, 100], ends=[50, 150], values=[1.0, value])
        file.close()
        with refused(
            TrackError, f"{tmp_path / 'a.bw'} holds NaN or infinite values", "leave such positions out"
        ):
            BigWigReader(str(tmp_path / "a.bw")).check_signal()

    def test_no_signal(self, tmp_path):
        file = pyBigWig.open(str(tmp_path / "a.bw"), "w")
        file.addHeader([("c", 1000)])
        file.close()
        with refused(TrackError, f"{tmp_path / 'a.bw'} holds no signal", "make or download it again"):
            BigWigReader(str(tmp_path / "a.bw")).check_signal()


class TestWriter:
    def write(self, path: Path, lengths: dict[str, int], *parts: tuple[str, int, Any]) -> Path:
        writer = BigWigWriter(path, lengths, bin_size=BIN)
        for chrom, first, values in parts:
            writer.add(chrom, first, np.asarray(values, dtype=np.float32))
        writer.close()
        return path

    def test_what_is_written_is_read(self, tmp_path):
        rng = np.random.default_rng(0)
        lengths = {"chr2": 100_000, "chr10": 1013, "chr1": 990}
        signal = {chrom: rng.lognormal(0, 3, -(-n // BIN)).astype(np.float32) for chrom, n in lengths.items()}
        for values in signal.values():
            values[rng.random(len(values)) < 0.2] = NAN
            values[-1] = 7.5
        path = self.write(tmp_path / "new" / "a.bw", lengths, *((chrom, 0, v) for chrom, v in signal.items()))
        assert names(path.parent) == ["a.bw"]
        reader = BigWigReader(str(path))
        reader.check_signal()
        assert reader.chromosomes == lengths
        for chrom, values in signal.items():
            means = reader.binned_means(chrom, 0, len(values), bin_size=BIN, uncovered="missing")
            np.testing.assert_array_equal(means.astype(np.float32), values)
        covered = sum(
            int(np.isfinite(v).sum()) * BIN - (-lengths[chrom] % BIN) for chrom, v in signal.items()
        )
        assert reader.covered_bases == covered

    def test_other_readers_see_the_same(self, tmp_path):
        path = self.write(tmp_path / "a.bw", {"c": 110}, ("c", 0, [1, NAN, 2, 3, 4]))
        file = pyBigWig.open(str(path))
        assert file.intervals("c") == ((0, 25, 1.0), (50, 75, 2.0), (75, 100, 3.0), (100, 110, 4.0))
        assert file.stats("c", 90, 110, type="mean", exact=True) == [3.5]

    def test_run_by_run(self, tmp_path):
        parts = [("c", 0, [1, 2]), ("c", 2, [3]), ("c", 7, [4, 5]), ("d", 3, [6])]
        reader = BigWigReader(str(self.write(tmp_path / "a.bw", {"c": 1000, "d": 100}, *parts)))
        means = reader.binned_means("c", 0, 10, bin_size=BIN, uncovered="missing")
        np.testing.assert_array_equal(means, [1, 2, 3, NAN, NAN, NAN, NAN, 4, 5, NAN])
        means = reader.binned_means("d", 0, 4, bin_size=BIN, uncovered="missing")
        np.testing.assert_array_equal(means, [NAN, NAN, NAN, 6])

    def test_the_same_signal_is_the_same_bytes(self, tmp_path):
        parts = ("c", 0, np.arange(4000) % 17)
        one = self.write(tmp_path / "a.bw", {"c": 100_000}, parts)
        two = self.write(tmp_path / "b.bw", {"c": 100_000}, parts)
        assert one.read_bytes() == two.read_bytes()

    @pytest.mark.parametrize("values", [[], [NAN, NAN]])
    def test_nothing_to_write(self, tmp_path, values):
        path = self.write(tmp_path / "a.bw", {"c": 100}, ("c", 0, values))
        file = pyBigWig.open(str(path))
        assert file.chroms() == {"c": 100}
        assert not file.intervals("c")

    def test_the_old_file_stands_until_the_new_one_is_whole(self, tmp_path):
        path = tmp_path / "a.bw"
        path.write_bytes(b"old")
        writer = BigWigWriter(path, {"c": 100}, bin_size=BIN)
        writer.add("c", 0, np.ones(4, dtype=np.float32))
        assert path.read_bytes() == b"old"
        assert len(names(tmp_path)) == 2
        writer.discard()
        writer.discard()
        assert (path.read_bytes(), names(tmp_path)) == (b"old", ["a.bw"])

    def test_what_a_killed_process_left_is_overwritten(self, tmp_path):
        path = tmp_path / "a.bw"
        writer = BigWigWriter(path, {"c": 100}, bin_size=BIN)
        (left,) = tmp_path.iterdir()
        writer.discard()
        left.write_bytes(b"the half of a killed process" * 1000)
        self.write(path, {"c": 100}, ("c", 0, [1, 2, 3, 4]))
        means = BigWigReader(str(path)).binned_means("c", 0, 4, bin_size=BIN, uncovered="missing")
        np.testing.assert_array_equal(means, [1, 2, 3, 4])
        assert names(tmp_path) == ["a.bw"]

    def test_a_finished_file_stays(self, tmp_path):
        writer = BigWigWriter(tmp_path / "a.bw", {"c": 100}, bin_size=BIN)
        writer.add("c", 0, np.ones(4, dtype=np.float32))
        writer.close()
        writer.discard()
        assert BigWigReader(str(tmp_path / "a.bw")).covered_bases == 100

    @pytest.mark.parametrize("found", [0, 75])
    def test_signal_that_got_lost_is_noticed(self, tmp_path, monkeypatch, found):
        writer = BigWigWriter(tmp_path / "a.bw", {"c": 100}, bin_size=BIN)
        writer.add("c", 0, np.ones(4, dtype=np.float32))
        monkeypatch.setattr(bigwig_writer, "_covered_bases", lambda path: found)
        with refused(
            OutputError, f"{tmp_path / 'a.bw'}: {found} of 100 bases were written", "is the disk full?"
        ):
            writer.close()
        assert names(tmp_path) == []

    def test_a_file_that_cannot_be_read_back_is_noticed(self, tmp_path):
        (tmp_path / "a.bw").write_bytes(b"no bigWig")
        assert bigwig_writer._covered_bases(tmp_path / "a.bw") == 0

    def test_unwritable_places(self, tmp_path):
        for place in unwritable(tmp_path):
            with refused(OutputError, f"cannot write {place}", "name a place you may write to"):
                BigWigWriter(place / "a.bw", {"c": 100}, bin_size=BIN)


# pyBigWig ends the process at a failed write: what is tried on full disks is tried in a process of its own.
FILL = f"""
import sys
from pathlib import Path
import numpy as np
from predictd.errors import OutputError
from predictd.io.tracks.bigwig_writer import BigWigWriter

writer = None
try:
    writer = BigWigWriter(Path(sys.argv[1]), {{"c": {BIN} * 2**26}}, bin_size={BIN})
    rng = np.random.default_rng(0)
    for i in range(2**8):
        writer.add("c", i * 2**18, rng.random(2**18, dtype=np.float32))
    writer.close()
except OutputError as err:
    if writer is not None:
        writer.discard()
    print(err)
    raise SystemExit(3)
"""


@pytest.mark.processes
class TestFullDisk:
    # The first does not even begin; the second is full after a few pieces of a MiB.
    @pytest.mark.parametrize("size", ["2m", "40m"])
    def test_writing_ends_with_an_error_and_no_crash(self, tmp_path, size):
        with small_disk(tmp_path / "disk", size):
            path = tmp_path / "disk" / "a.bw"
            done = run_python(FILL, path, cwd=tmp_path)
            assert (done.returncode, done.stderr) == (3, "")
            assert done.stdout == (
                f"cannot write {path}: the disk is full; free some space and run the command again\n"
            )
            assert names(path.parent) == []

    def test_a_limit_of_sizes_is_seen_before_it_is_met(self, tmp_path):
        limited = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))\n"
        done = run_python(limited + FILL, tmp_path / "a.bw", cwd=tmp_path)
        assert (done.returncode, done.stderr) == (3, "")
        assert (
            "the largest file allowed here has 500,000 bytes (ulimit -f)" in done.stdout
            and names(tmp_path) == []
        )

    def test_room_is_kept_to_spare(self, tmp_path):
        with small_disk(tmp_path / "disk", "40m"):
            require_room(tmp_path / "disk" / "a.bw", 0)
            with refused(OutputError, "the disk is full"):
                require_room(tmp_path / "disk" / "a.bw", 9 * MIB)
