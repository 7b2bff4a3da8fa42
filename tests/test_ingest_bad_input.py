"""Ingest of what cannot be ingested, full and forbidden disks, killed and stopped processes."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyBigWig
import pytest

from commands import call_predictd, run_predictd
from disks import small_disk, unwritable
from folders import contents, names
from given_up import put_once_begun
from here import Between
from made_tracks import NAN, binned_by_hand, random_bases, write_bases
from predictd.engine import Engine
from predictd.errors import OutputError, PredictdError, TableError, TensorFormatError, TrackError
from predictd.io.partition import Job, read_job
from predictd.io.tables import Interval, Track
from predictd.io.tensor.manifest import Manifest, SourceFile, read_manifest
from predictd.io.tensor.store import Tensor
from predictd.io.tracks.genomes import Genome
from predictd.workflows.tensor import sources
from predictd.workflows.tensor.sources import NumberedTrack, Probing, probe_track
from refusals import refused
from workbench import LENGTHS, PAIRS, Workbench, by_hand, stored


@pytest.fixture
def bench(tmp_path: Path, engine: Engine) -> Workbench:
    """A table of three good tracks."""
    bench = Workbench(tmp_path, engine)
    for seed, pair in enumerate(PAIRS):
        bench.add(pair, random_bases(seed, LENGTHS))
    return bench


def unfinished(path: Path) -> bool:
    """Whether a directory says of itself that it is no whole tensor."""
    with refused(TensorFormatError, f"{path} is unfinished; run the command that began it again"):
        Tensor(path)
    return not (path / "manifest.json").exists()


class TestTracks:
    """One bad track beside three good ones: named, and nothing that could pass for a tensor."""

    BAD = ("C3", "A1")

    def assert_refused(self, bench: Workbench, *parts: str, **options: Any) -> None:
        with refused(TrackError, *parts):
            bench.ingest(**options)
        assert unfinished(bench.path / "tensor")

    def test_missing(self, bench):
        path = bench.add(self.BAD, None, "absent.bw")
        table = bench.path / "tracks.tsv"
        with refused(TrackError, f"{table}, line 5: {path} does not exist", "correct its path"):
            bench.ingest()
        assert not (bench.path / "tensor").exists()

    def test_empty(self, bench):
        path = bench.add(self.BAD, None, "empty.bw")
        path.write_bytes(b"")
        self.assert_refused(bench, f"{path} is empty", "make or download it again")

    def test_a_directory(self, bench):
        path = bench.add(self.BAD, None, "directory.bw")
        path.mkdir()
        self.assert_refused(bench, f"line 5: {path} cannot be read", "Is a directory")

    def test_truncated(self, bench):
        path = bench.add(self.BAD, random_bases(5, LENGTHS))
        data = path.read_bytes()
        for size in (100, len(data) // 2, len(data) - 1):
            path.write_bytes(data[:size])
            self.assert_refused(
                bench, f"{path} is not a complete bigWig", "cut off", "download or make it again"
            )
        # Whoever downloads it again runs the same command again.
        path.write_bytes(data)
        assert bench.ingest().experiments == sorted([*PAIRS, self.BAD])

    def test_text_under_the_name_of_a_bigwig(self, bench):
        path = bench.add(self.BAD, None, "text.bw")
        path.write_text("chr1\t0\t5\t1\n" * 50)
        self.assert_refused(bench, f"{path} is not a complete bigWig", "of another format")

    @pytest.mark.parametrize("name", ["track.txt", "track", "track.bw.gz", "track.bb", "bw"])
    def test_names_that_say_nothing(self, bench, name):
        path = bench.add(self.BAD, {"chr1": np.ones(100, dtype=np.float32)}, name)
        self.assert_refused(
            bench, f"line 5: {path} is neither bigWig nor bedGraph", "suffix .bw, .bigWig, .bedGraph"
        )

    def test_of_another_genome(self, bench):
        ones = np.ones(100, dtype=np.float32)
        path = bench.add(self.BAD, {"chrX": ones}, "x.bw")
        self.assert_refused(bench, f"{path}: small has no chromosome 'chrX'", "of another genome?")
        write_bases(path, {"chr2": ones})
        self.assert_refused(bench, f"{path}: small gives chr2 2,601 bp, not 100", "of another genome?")

    def test_a_bedgraph_of_another_genome(self, bench):
        path = bench.add(self.BAD, None, "x.bedGraph")
        path.write_text("chr1\t0\t10\t1\nchr1\t10000\t10014\t1\n")
        self.assert_refused(
            bench, f"{path}, line 2", "beyond the chromosome's end in small", "of another genome?"
        )

    def test_an_unsorted_bedgraph(self, bench):
        path = bench.add(self.BAD, None, "x.bedGraph")
        path.write_text("chr1\t10\t20\t1\nchr1\t0\t5\t1\n")
        self.assert_refused(bench, f"{path}, line 2: unsorted", "sort the file")
        path.write_text("chr1\t10\t20\t1\nchr1\t15\t25\t1\n")
        self.assert_refused(bench, f"{path}, line 2: overlaps", "merge overlapping intervals")
        path.write_text("chr1\t10\t20\t1\nchr1\t20\t25\t1\n")
        assert bench.ingest().n_bins == 507

    @pytest.mark.parametrize("value", [NAN, np.inf])
    def test_no_numbers(self, bench, value):
        path = bench.add(self.BAD, None, "x.bw")
        file = pyBigWig.open(str(path), "w")
        file.addHeader([("chr1", LENGTHS["chr1"])])
        file.addEntries(["chr1", "chr1"], [0, 50], ends=[25, 60], values=[1.0, value])
        file.close()
        self.assert_refused(bench, f"{path} holds NaN or infinite values", "leave such positions out")

    def test_no_signal(self, bench):
        path = bench.add(self.BAD, {"chr1": np.full(LENGTHS["chr1"], NAN, dtype=np.float32)}, "x.bw")
        self.assert_refused(bench, f"{path} holds no signal", "make or download it again")

    @pytest.mark.parametrize(
        ("transform", "value", "told"),
        [
            ("arcsinh", -0.5, "signal -0.5 at chr2:1025-1050 does not suit the transform arcsinh of C3:A7, "
                              "which takes finite values from 0 to inf"),
            ("log1p", -0.5, "signal -0.5 at chr2:1025-1050 does not suit the transform log1p of C3:A7"),
            ("logit", 1.5, "signal 1.5 at chr2:1025-1050 does not suit the transform logit of C3:A7, "
                           "which takes finite values from 0 to 1"),
        ],
    )  # fmt: skip
    def test_signal_that_the_transform_does_not_take(self, bench, transform, value, told):
        bases = np.full(LENGTHS["chr2"], 0.25, dtype=np.float32)
        bases[1025:1050] = value
        path = bench.add(("C3", "A7"), {"chr2": bases}, "x.bw", transform)
        regions = bench.bed(Interval("chr1", 0, 50), Interval("chr2", 500, 550), Interval("chr2", 1000, 1100))
        self.assert_refused(
            bench, f"{path}: {told}", "correct the track, or give the assay another", regions=regions
        )
        # Elsewhere it does not matter.
        elsewhere = bench.bed(Interval("chr2", 0, 1000), name="elsewhere.bed")
        assert bench.ingest("elsewhere", regions=elsewhere).n_bins == 40
        # Bins count, not bases: the mean of this one is positive.
        bases[1026:1050] = 0.9
        write_bases(path, {"chr2": bases})
        assert bench.ingest("mean", regions=regions).n_bins == 2 + 2 + 4

    def test_replicates_are_all_named(self, bench):
        bases = np.full(LENGTHS["chr2"], -1, dtype=np.float32)
        one, two = (bench.add(("C3", "A7"), {"chr2": bases}, name) for name in ("x.bw", "y.bw"))
        self.assert_refused(bench, f"{one}, {two}: signal -1 at chr2:0-25", merge="mean")

    def test_bedgraphs_are_named_as_the_user_does(self, bench):
        path = bench.add(("C3", "A7"), None, "x.bedGraph")
        path.write_text("chr1\t0\t10\t-1\n")
        self.assert_refused(bench, f"{path}: signal -1 at chr1:0-25")

    def test_too_large_for_float16(self, bench):
        bases = np.full(LENGTHS["chr2"], 65_504, dtype=np.float32)
        path = bench.add(("C3", "A7"), {"chr2": bases}, "x.bw", "none")
        assert bench.ingest("largest", dtype="float16").summary()[3, 3] == 65_504
        bases[1025:1050] = -70_000
        write_bases(path, {"chr2": bases})
        told = f"{path}: signal of C3:A7 on chr2 is too large for float16"
        self.assert_refused(bench, told, "`dtype` float32, or give the assay a transform", dtype="float16")
        assert bench.ingest("single", dtype="float32").summary()[3, 3] == 65_504

    def test_too_small_for_float16(self, bench, caplog):
        """Told of whole tracks, also where a command goes on."""
        small = np.repeat(np.linspace(1e-9, 4e-7, 401), 25)[: LENGTHS["chr1"]].astype(np.float32)
        bench.add(("C3", "A7"), {"chr1": small}, "small.bw", "none")
        # The transform sees the mean of replicates.
        for name in "xy":
            bench.add(("C3", "A8"), {"chr1": small * 2}, f"{name}.bw", "log1p")
        bench.add(("C3", "A9"), {"chr1": small * 0}, "zero.bw")
        bench.add(("C4", "A9"), {"chr1": small, "chr2": small[: LENGTHS["chr2"]] + 0.5}, "elsewhere.bw")
        expected = (
            "signal too small for float16 in C3:A7 (at most 4e-07), C3:A8 (at most 8e-07): it keeps 3 digits of values "
            "from 6e-05 (transformed), and rounds smaller ones to multiples of 6e-08; ingest with `dtype` float32, or "
            "scale these tracks"
        )

        def told(output: str, **changed: Any) -> list[str]:
            caplog.clear()
            options = {"dtype": "float16", "merge": "mean", "uncovered": "zero", "shard_bins": 64} | changed
            with caplog.at_level(logging.WARNING):
                bench.ingest(output, **options)
            return [message for message in caplog.messages if "too small" in message]

        assert told("half") == [expected]
        assert told("single", dtype="float32") == []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Manifest, "write", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                told("stopped")
        for shard in sorted((bench.path / "stopped" / "shards").iterdir())[1:3]:
            shard.unlink()
        assert told("stopped") == [expected]
        # In a part of the genome, it is small in another track, too.
        (of_part,) = told("part", regions=bench.bed(Interval("chr1", 0, 10_000)))
        assert "C4:A9 (at most 4e-07)" in of_part

    def test_one_file_under_two_labels(self, bench, caplog):
        """By a link, and as a copy."""
        path = bench.add(self.BAD, random_bases(9, LENGTHS), "same.bw")
        link = bench.add(("C3", "A2"), None, "link.bw")
        link.symlink_to(path)
        copy = bench.add(("C4", "A2"), None, "copy.bw")
        copy.write_bytes(path.read_bytes())
        with caplog.at_level(logging.WARNING):
            bench.ingest()
        (told,) = [message for message in caplog.messages if "the same file" in message]
        assert (
            f": C3:A1 and C3:A2 and C4:A2 ({path}, {link}, {copy}); find out which is right, correct the table"
            in told
        )

    def test_one_that_is_constant(self, bench, caplog):
        bench.add(self.BAD, {chrom: np.full(n, 3.0, np.float32) for chrom, n in LENGTHS.items()})
        with caplog.at_level(logging.WARNING):
            bench.ingest(uncovered="zero")
        (told,) = caplog.messages
        assert told.startswith("the same signal in every bin of C3:A1: ")

    def test_one_that_is_a_part_of_a_track(self, bench, caplog):
        """Where uncovered positions are zeros, chromosomes that a file lacks would be measured zeros."""
        bench.add(self.BAD, random_bases(9, {"chr1": LENGTHS["chr1"]}))
        with caplog.at_level(logging.WARNING):
            bench.ingest("warned", uncovered="zero")
        assert caplog.messages == [
            "the files of 1 of 4 tracks lack chromosomes, where their signal counts as zero, since all that is "
            "uncovered does: C3:A1 (chr2, chr3); if a file is only a part of its track, download or make it again"
        ]
        bench.rows.pop()
        path = bench.add(self.BAD, random_bases(9, {"chr2": LENGTHS["chr2"]}), "part.bw")
        told = (
            f"tracks.tsv, line 5: {path} lacks chr1, chr3: only 20.7% of the bins are on chromosomes that it has",
            "at least 50% are needed",
        )
        self.assert_refused(bench, *told, uncovered="zero")
        # What is read counts: of regions, their own bins.
        bed = bench.bed(Interval("chr1", 0, 2600), Interval("chr2", 0, 2601))
        assert bench.ingest("half", uncovered="zero", regions=bed).n_bins == 104 + 105
        bench.bed(Interval("chr1", 0, 2650), Interval("chr2", 0, 2601))
        with refused(TrackError, f"{path} lacks chr1: only 49.8%"):
            bench.ingest("less", uncovered="zero", regions=bed)
        assert bench.ingest("missing").n_bins == 401 + 105 + 1

    def test_one_that_may_not_be_read(self, tmp_path, monkeypatch):
        def forbidden(path: Path) -> str:
            raise PermissionError(13, "Permission denied")

        path = write_bases(tmp_path / "a.bw", {"chr1": np.ones(100, dtype=np.float32)})
        monkeypatch.setattr(sources, "sha256_of", forbidden)
        track = Track(PAIRS[0], str(path), "arcsinh", None, "tracks.tsv, line 2")  # type: ignore[arg-type]
        with refused(TrackError, f"tracks.tsv, line 2: {path} cannot be read: Permission denied", "may read"):
            probe_track(NumberedTrack(0, track), Probing(tmp_path, None, checksums=True))  # type: ignore[arg-type]
        # Whoever wants no checksum does not read the whole file for it.
        found = probe_track(NumberedTrack(0, track), Probing(tmp_path, Genome("g", {"chr1": 100})))
        assert found.source == SourceFile(path=str(path), bytes=path.stat().st_size)


class TestTables:
    @contextmanager
    def refused(self, bench: Workbench, error: type[PredictdError], *parts: str) -> Iterator[None]:
        with refused(error, *parts):
            yield
        assert not (bench.path / "tensor").exists()

    def test_a_pair_twice(self, bench):
        bench.rows.append(bench.rows[0])
        with self.refused(bench, TableError, "tracks.tsv, line 5: C2:A1 is in", "twice", "`merge` mean"):
            bench.ingest()

    def test_two_transforms_of_an_assay(self, bench):
        bench.add(("C3", "A1"), random_bases(5, LENGTHS), "x.bw", "log1p")
        with self.refused(
            bench,
            TableError,
            "line 5: assay A1 has transform log1p here and arcsinh above",
            "give all tracks",
        ):
            bench.ingest()

    def test_unknown_genome(self, bench):
        with self.refused(bench, TableError, "unknown genome 'hg17'", "hg19, hg38", "or the path of a file"):
            bench.ingest(genome="hg17")

    @pytest.mark.parametrize("option", ["regions", "exclude"])
    def test_intervals_of_another_genome(self, bench, option):
        bed = bench.bed(Interval("chr1", 0, 100), Interval("chr1", 10_000, 10_014))
        value = str(bed) if option == "exclude" else bed
        with self.refused(
            bench, TableError, f"{bed}: chr1:10000-10014", "small, which gives it 10,013 bp", "genome?"
        ):
            bench.ingest(**{option: value})
        bench.bed(Interval("chrX", 0, 100))
        with self.refused(
            bench, TableError, f"{bed}: chrX:0-100", "small, which has no such chromosome", "genome?"
        ):
            bench.ingest(**{option: value})

    @pytest.mark.parametrize("option", ["regions", "exclude"])
    def test_empty_and_missing_intervals(self, bench, option):
        bed = bench.bed()
        value = str(bed) if option == "exclude" else bed
        with self.refused(bench, TableError, f"{bed} holds no intervals", "it needs a line"):
            bench.ingest(**{option: value})
        bed.unlink()
        with self.refused(bench, TableError, f"cannot read {bed}: No such file", "correct the path"):
            bench.ingest(**{option: value})

    def test_no_blacklist(self, bench):
        with self.refused(
            bench, TableError, "no blacklist", "genome 'small'", "name a BED file as `exclude`"
        ):
            bench.ingest(exclude="auto")


class TestOutput:
    def test_unwritable_places(self, bench):
        for place in unwritable(bench.path):
            with refused(OutputError, f"cannot write {place}", "name a place you may write to"):
                bench.ingest(place)

    def test_a_whole_tensor_is_not_touched(self, bench):
        tensor = bench.ingest()
        before = contents(tensor.path)
        with refused(
            OutputError, f"{tensor.path} is a whole tensor already", "remove it, or name another directory"
        ):
            bench.ingest(uncovered="zero")
        assert bench.ingest().manifest == tensor.manifest
        assert contents(tensor.path) == before

    def test_shards_of_nobody_knows_what(self, bench):
        # Somebody removed the manifest to "ingest again": shards of what may stand there.
        tensor = bench.ingest()
        (tensor.path / "manifest.json").unlink()
        before = contents(tensor.path)
        with refused(OutputError, f"{tensor.path} holds shards", "remove it, or name another directory"):
            bench.ingest()
        assert contents(tensor.path) == before

    def test_killed_between_the_manifest_and_tidying_up(self, bench, monkeypatch):
        def killed(self: Job) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Job, "finish", killed)
            bench.ingest()
        path = bench.path / "tensor"
        before = read_manifest(path)
        assert ".partial" in names(path)
        with refused(OutputError, "is a whole tensor already"):
            bench.ingest(uncovered="zero")
        assert bench.ingest().manifest == before
        assert names(path) == ["manifest.json", "run.json", "shards"]

    def test_a_full_disk(self, bench):
        rng = np.random.default_rng(0)
        bench.genome.write_text("c\t500000\n")
        bench.rows.clear()
        tracks = {}
        for pair in PAIRS:
            tracks[pair] = {"c": np.repeat(rng.exponential(5, 20_000).astype(np.float32), 25)}
            bench.add(pair, tracks[pair])
        options = {"shard_bins": 4000, "dtype": "float32"}
        with small_disk(bench.path / "disk", "100k") as mount_again:
            path = bench.path / "disk" / "tensor"
            with refused(OutputError, f"cannot write {path}/", "No space left on device", "free some space"):
                bench.ingest("disk/tensor", **options)
            assert unfinished(path)
            assert 0 < len(names(path / "shards")) < 5
            assert all(name.endswith(".h5") and not name.startswith(".") for name in names(path / "shards"))
            mount_again("size=10m")
            tensor = bench.ingest("disk/tensor", **options)
            np.testing.assert_allclose(stored(tensor)["c"][1], by_hand(tracks, "c"), rtol=3e-7)
            assert contents(path) == contents(bench.ingest("undisturbed", **options).path)

    def test_a_disk_without_room_for_bedgraphs(self, bench):
        bench.add(("C3", "A1"), None, "x.bedGraph").write_text("chr1\t0\t10\t1\n")
        with small_disk(bench.path / "disk", "2m"):
            path = bench.path / "disk" / "tensor"
            with refused(OutputError, f"cannot write {path}", "the disk is full", "run the command again"):
                bench.ingest("disk/tensor")
            assert unfinished(path)


@contextmanager
def started(bench: Workbench, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """The real command line with its workers in a group of their own; none of them outlives the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "predictd", *map(str, arguments)],
        cwd=bench.path,
        env={**os.environ, "PYTHONSAFEPATH": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None or process.returncode < 0:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def wait_for_shards(process: subprocess.Popen[str], tensor: Path, n: int) -> dict[str, int]:
    """Inodes of the shards that stand as soon as there are so many."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        made = {path.name: path.stat().st_ino for path in tensor.glob("shards/[!.]*.h5")}
        if len(made) >= n:
            return made
        time.sleep(0.002)
    raise AssertionError(f"{n} shards were never seen: {process.communicate()}")


# Enough of them to be caught in the middle.
SHARDS = 80


def command(bench: Workbench, output: str) -> list[object]:
    options = ["--genome", bench.genome, "--shard-bins", 64, "--workers", 2, "--quiet"]
    return ["ingest", bench.table, output, *options]


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Workbench:
    """Three tracks in many small shards, ingested by the same program without disturbance."""
    bench = Workbench(tmp_path_factory.mktemp("long"), engine)
    length = SHARDS * 64 * 25
    bench.genome.write_text(f"c\t{length}\n")
    rng = np.random.default_rng(0)
    for pair in PAIRS:
        bench.add(pair, {"c": np.repeat(rng.exponential(5, length // 100).astype(np.float32), 100)})
    done = call_predictd(*command(bench, "undisturbed"), cwd=bench.path)
    assert (done.returncode, done.stderr) == (0, "")
    return bench


@pytest.mark.processes
class TestInterrupted:
    """Killed or stopped in the middle, then run again: the same bytes as undisturbed."""

    def finish(self, bench: Workbench, output: str, made: dict[str, int]) -> None:
        """Run the command again; what was made before is kept, and all is as if nothing had happened."""
        path, undisturbed = bench.path / output, bench.path / "undisturbed"
        done = call_predictd(*command(bench, output), cwd=bench.path)
        assert (done.returncode, done.stderr) == (0, "")
        assert {name: (path / "shards" / name).stat().st_ino for name in made} == made
        assert names(path) == ["manifest.json", "run.json", "shards"]
        assert len(Tensor(path).shard_names) == SHARDS
        assert Tensor(path).manifest.checksum == Tensor(undisturbed).manifest.checksum
        assert contents(path) == contents(undisturbed)

    def test_killed(self, long):
        path = long.path / "killed"
        with started(long, *command(long, "killed")) as process:
            wait_for_shards(process, path, 5)
            os.killpg(process.pid, signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
        assert unfinished(path)
        assert read_job(path) is not None
        # Each worker may have been killed between a shard and the note of it.
        noted = {note.stem for note in path.glob(".partial/*/made/shards/[!.]*.json")}
        made = {p.name: p.stat().st_ino for p in path.glob("shards/[!.]*.h5") if p.name in noted}
        assert 3 <= len(made) < SHARDS

        told = call_predictd("info", "killed", cwd=long.path)
        assert (told.returncode, told.stdout) == (1, "")
        assert told.stderr == (
            "predictd: error: killed is unfinished; run the command that began it again, to continue\n"
        )
        told = call_predictd(*command(long, "killed"), "--uncovered", "zero", cwd=long.path)
        assert (told.returncode, told.stdout) == (1, "")
        assert told.stderr == (
            "predictd: error: killed holds an unfinished job that was begun differently (uncovered: missing, now "
            "zero); "
            "finish it with the command that began it, or remove the directory\n"
        )
        self.finish(long, "killed", made)

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
    def test_stopped(self, long, number):
        path = long.path / number.name
        with started(long, *command(long, number.name)) as process:
            wait_for_shards(process, path, 5)
            process.send_signal(number)
            out, err = process.communicate()
        assert (process.returncode, out) == (75, "")
        assert err == (
            f"predictd: error: stopped by {number.name}; run the same command again to go on from here\n"
        )
        assert unfinished(path)
        shards = names(path / "shards")
        assert 5 <= len(shards) < SHARDS
        # Tasks that had begun were finished first.
        assert not any(name.startswith(".") for name in shards)
        if number == signal.SIGTERM:
            self.finish(long, number.name, {name: (path / "shards" / name).stat().st_ino for name in shards})

    def test_a_job_whose_place_another_has_taken_adds_nothing(self, bench):
        """It had made nothing yet, so that the other one gave it up."""
        other = {"uncovered": "zero", "shard_bins": 64}
        undisturbed = contents(bench.ingest("undisturbed", **other).path)
        with refused(OutputError, f"{bench.path / 'tensor'} was finished or removed meanwhile"):
            bench.ingest(shard_bins=64, engine=Between(lambda: bench.ingest(**other)))
        assert contents(bench.path / "tensor") == undisturbed

    def test_a_shard_that_another_job_puts_there_is_made_anew(self, bench, monkeypatch):
        undisturbed = bench.ingest("undisturbed", shard_bins=64).path
        foreign = bench.ingest("foreign", uncovered="zero", shard_bins=64).path / "shards" / "chr1.0001.h5"
        assert foreign.read_bytes() != (undisturbed / "shards" / foreign.name).read_bytes()
        put_once_begun(monkeypatch, foreign, bench.path / "tensor" / "shards" / foreign.name)
        assert contents(bench.ingest(shard_bins=64).path) == contents(undisturbed)

    def test_changed_tracks_are_noticed(self, bench):
        tensor = bench.ingest(shard_bins=64)
        path = tensor.path
        description = [path / "manifest.json", path / "run.json"]
        # As a killed process leaves it.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Job, "finish", lambda self: None)
            bench.ingest("unfinished", shard_bins=64)
        left = bench.path / "unfinished"
        for file in description:
            (left / file.name).unlink()
        track = bench.path / "track1.bw"
        write_bases(track, random_bases(77, LENGTHS))
        with refused(
            OutputError, f"{left} holds an unfinished job that was begun differently (tracks[1].", "now"
        ):
            bench.ingest("unfinished", shard_bins=64)

    def test_a_damaged_shard_of_an_unfinished_tensor(self, bench):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Job, "finish", lambda self: None)
            bench.ingest(shard_bins=64)
        path = bench.path / "tensor"
        (path / "manifest.json").unlink()
        shard = path / "shards" / "chr1.0002.h5"
        shard.write_bytes(shard.read_bytes()[:3000])
        with refused(TensorFormatError, f"{shard} is damaged; remove it and run the command again"):
            bench.ingest(shard_bins=64)
        shard.unlink()
        assert contents(bench.ingest(shard_bins=64).path) == contents(
            bench.ingest("again", shard_bins=64).path
        )


class TestCommandLine:
    """Errors as users see them, with what libraries write past Python: one line, exit code 1."""

    def told(self, bench: Workbench, *options: object) -> str:
        done = run_predictd(
            "ingest",
            bench.table,
            "tensor",
            "--genome",
            bench.genome,
            "--workers",
            2,
            *options,
            cwd=bench.path,
        )
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("predictd: error: ")
        assert done.stderr.count("\n") == 1
        return done.stderr.removeprefix("predictd: error: ").rstrip("\n")

    def test_a_damaged_bigwig(self, bench):
        path = bench.path / "track1.bw"
        data = bytearray(path.read_bytes())
        (start,) = np.frombuffer(data, "<u8", count=1, offset=16)
        data[start + 20 : start + 24] = b"\xff\xff\xff\xff"
        path.write_bytes(data)
        # The progress bar is for terminals only, and the trace of the reader's panic for nobody.
        assert self.told(bench) == (
            f"{path} is not a complete bigWig file: it is cut off, damaged or of another format; download or make it "
            "again"
        )

    def test_an_output_below_a_file(self, bench):
        (bench.path / "tensor").write_text("")
        assert self.told(bench, "--quiet") == (
            "cannot write tensor: File exists; free some space or name a place you may write to"
        )


def test_the_last_bin_is_short(bench):
    """A chromosome's last bin is the mean over the bases that there are."""
    track = {"chr1": np.full(LENGTHS["chr1"], NAN, dtype=np.float32)}
    # 10,013 bases: the last bin holds 13, of which 3 are covered.
    track["chr1"][10_010:] = 2
    bench.rows.clear()
    bench.add(("C", "A"), track)
    for uncovered, mean in (("missing", 2.0), ("zero", 6 / 13)):
        signal = stored(bench.ingest(uncovered, uncovered=uncovered))["chr1"][1]
        assert signal[-1, 0] == pytest.approx(np.arcsinh(mean))
        assert binned_by_hand(track["chr1"], uncovered)[-1] == pytest.approx(mean)
