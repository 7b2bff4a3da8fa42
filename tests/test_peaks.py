"""Peaks and binarised signal: against plain loops, and as other programs read them."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyBigWig
import pytest

from commands import call_predictd
from here import Between
from made_tracks import as_lines
from predictd.errors import AlreadyFinished, DataError, OutputError, TableError, TrackError
from predictd.io.files import sha256_of
from predictd.io.tables import Track, read_tracks
from predictd.model.peaks import PeakRule, call_peaks
from predictd.pairs import Experiment
from predictd.workflows.evaluation.evaluate import evaluate
from predictd.workflows.tracks.binarise import Binarisation
from predictd.workflows.tracks.listed import described, inputs_of
from predictd.workflows.tracks.peaks import PeakCalling
from read_tables import fields_of
from refusals import refused

hypothesis = pytest.importorskip("hypothesis")
given, settings = hypothesis.given, hypothesis.settings
st = hypothesis.strategies

SIZE = 25
# Transforms of assays that the table gives one.
TRANSFORMED = {"H3K27ac": "log1p"}


def peaks_of(source: Path, output: Path) -> PeakCalling:
    return PeakCalling(source, output, PeakRule())


def plain_peaks(signal: list[float], rule: PeakRule, length: int) -> list[tuple[int, int, int, float, float]]:
    """Start, end, summit, mean and highest signal, bin by bin."""
    stretches: list[list[int]] = []
    for index, value in enumerate(signal):
        if not value >= rule.threshold:
            continue
        if stretches and (index - stretches[-1][1]) * SIZE <= rule.gap:
            stretches[-1][1] = index + 1
        else:
            stretches.append([index, index + 1])
    found = []
    for first, last in stretches:
        start, end = first * SIZE, min(last * SIZE, length)
        if end - start < rule.min_length:
            continue
        values = [value for value in signal[first:last] if not np.isnan(value)]
        tied = [index for index in range(first, last) if signal[index] == max(values)]
        middle = tied[(len(tied) - 1) // 2]
        summit = (middle * SIZE + min((middle + 1) * SIZE, length)) // 2 - start
        found.append((start, end, summit, sum(values) / len(values), max(values)))
    return found


class TestRule:
    @settings(max_examples=200, deadline=None)
    @given(
        st.lists(st.sampled_from([0.0, 1.9, 2.0, 2.5, 7.0, float("nan")]), min_size=1, max_size=80),
        st.sampled_from([0, 24, 25, 30, 75]),
        st.sampled_from([1, 25, 60, 200]),
        st.integers(0, SIZE - 1),
    )
    def test_is_that_of_plain_loops(self, signal, gap, min_length, cut):
        rule = PeakRule(2.0, gap, min_length)
        length = len(signal) * SIZE - cut
        peaks = call_peaks(np.array(signal), rule, bin_size=SIZE, length=length)
        expected = plain_peaks(signal, rule, length)
        got = list(zip(peaks.start, peaks.end, peaks.summit, peaks.mean, peaks.highest, strict=True))
        assert len(peaks) == len(expected) and peaks.n_bases == sum(
            end - start for start, end, *_ in expected
        )
        for one, other in zip(got, expected, strict=True):
            assert one == pytest.approx(other, rel=1e-12)

    def test_by_hand(self):
        #          0    1    2    3    4    5    6    7    8    9
        signal = [0.0, 3.0, 5.0, 1.0, 5.0, 5.0, 0.0, 0.0, 2.0, 1.9]
        peaks = call_peaks(np.array(signal), PeakRule(2.0, 30, 50), bin_size=SIZE, length=250)
        # Bin 3 is a gap of 25 bp; the lone bin 8 is too short; of the ties 2, 4, 5 the middle one is the summit.
        assert (peaks.start.tolist(), peaks.end.tolist()) == ([25], [150])
        assert peaks.summit.tolist() == [4 * SIZE + 12 - 25]
        assert peaks.mean.tolist() == pytest.approx([19 / 5]) and peaks.highest.tolist() == [5.0]


@pytest.fixture(scope="module")
def tracks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two cell types and two marks, of which one pair is missing, on two chromosomes; the second ends within a bin."""
    folder = tmp_path_factory.mktemp("tracks")
    rng = np.random.default_rng(5)
    lengths = {"chr1": 50_000, "chr2": 20_110}
    rows = ["cell_type\tassay\tpath\ttransform"]
    for cell, mark in (("A-1", "H3K4me3"), ("A-1", "H3K27ac"), ("B", "H3K4me3")):
        name = f"{cell}.{mark}.bw"
        with pyBigWig.open(str(folder / name), "w") as out:
            out.addHeader(list(lengths.items()))
            for chrom, length in lengths.items():
                n = length // SIZE
                signal = np.maximum(0, np.convolve(rng.normal(0, 4, n), np.ones(15) / 5, "same"))
                # A stretch without signal on the second chromosome.
                first = 40 if chrom == "chr2" else 0
                out.addEntries(chrom, first * SIZE, values=signal[first:], span=SIZE, step=SIZE)
        rows.append(f"{cell}\t{mark}\t{name}\t{TRANSFORMED.get(mark, '')}")
    (folder / "tracks.tsv").write_text("\n".join(rows) + "\n")
    return folder


def stored(path: str, chrom: str, size: int) -> np.ndarray:
    """Means over covered bases of whole bins, base by base."""
    with pyBigWig.open(path) as file:
        length = file.chroms()[chrom]
        values = np.array(file.values(chrom, 0, length))
    padded = np.full(-(-length // size) * size, np.nan)
    padded[:length] = values
    with np.errstate(invalid="ignore"):
        sums = np.nansum(padded.reshape(-1, size), axis=1)
        counts = (~np.isnan(padded.reshape(-1, size))).sum(axis=1)
        return np.where(counts > 0, sums / counts, np.nan)


class TestPeaks:
    def test_every_track_has_a_file_of_its_peaks(self, tracks, engine, tmp_path):
        out = tmp_path / "peaks"
        report = PeakCalling(tracks, out, PeakRule()).make_all(engine)
        lines = fields_of(out / "peaks.tsv")
        assert lines[0] == ["cell_type", "assay", "path", "transform", "peaks", "n_peaks", "n_bases"]
        assert [line[4] for line in lines[1:]] == [
            f"{name}.narrowPeak.gz" for name in ("A%2D1-H3K27ac", "A%2D1-H3K4me3", "B-H3K4me3")
        ]
        for track in read_tracks(out / "peaks.tsv"):
            assert track.transform == TRANSFORMED.get(track.experiment.assay, "arcsinh")
            expected = [
                (chrom, *peak)
                for chrom, length in (("chr1", 50_000), ("chr2", 20_110))
                for peak in plain_peaks(stored(track.path, chrom, SIZE).tolist(), PeakRule(), length)
            ]
            assert len(expected) == report.n_peaks[track.experiment] > 20
            rows = [
                line.split("\t")
                for line in gzip.decompress(Path(track.peaks).read_bytes()).decode().splitlines()
            ]
            for number, (row, (chrom, start, end, summit, mean, highest)) in enumerate(
                zip(rows, expected, strict=True), start=1
            ):
                assert row[:4] == [chrom, str(start), str(end), f"peak{number}"]
                assert (row[5], row[8], row[9]) == (".", "-1", str(summit))
                assert [float(row[6]), float(row[7])] == pytest.approx([mean, highest], rel=1e-4)
                assert int(row[4]) == pytest.approx(min(1000, 10 * highest), abs=1)
        kept = json.loads((out / "run.json").read_text())
        assert kept["results"]["rule"] == {"threshold": 2.0, "gap": 30, "min_length": 200}
        assert not (out / ".partial").exists()

    def test_the_same_bytes_again_and_never_over_another(self, tracks, engine, tmp_path):
        for name in ("one", "two"):
            PeakCalling(tracks, tmp_path / name, PeakRule()).make_all(engine)
        names = sorted(path.name for path in (tmp_path / "one").iterdir() if path.name != "run.json")
        assert len(names) == 4
        for name in names:
            assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
        with refused(AlreadyFinished, "nothing was done"):
            PeakCalling(tracks, tmp_path / "one", PeakRule()).make_all(engine)
        with refused(
            OutputError, "holds peaks.tsv already, made differently (settings.threshold: 2.0, now 3.0)"
        ):
            PeakCalling(tracks, tmp_path / "one", PeakRule(3.0)).make_all(engine)

    @pytest.mark.parametrize("kind", [peaks_of, Binarisation])
    def test_what_tracks_were_read_is_recorded(self, tracks, engine, tmp_path, kind):
        files = sorted(tracks.glob("*.bw"))
        states = {
            str(path): f"bytes {path.stat().st_size}, modified {path.stat().st_mtime_ns}" for path in files
        }
        table, checksum = tracks / "tracks.tsv", sha256_of(tracks / "tracks.tsv")
        one = str(files[0])
        for number, (source, expected) in enumerate(
            (
                (tracks, {str(tracks): checksum} | states),
                (table, {str(table): checksum} | states),
                (files[0], {one: states[one]}),
            )
        ):
            kind(source, tmp_path / str(number)).make_all(engine)
            run = json.loads((tmp_path / str(number) / "run.json").read_text())
            assert run["inputs"] == expected
            assert run["settings"]["bin_size"] == (SIZE if kind is peaks_of else 200)

    def test_addresses_are_recorded_without_secrets(self, tracks):
        """Nothing is known of what is on a web server."""
        pair = Experiment("C", "A")
        address = Track(pair, "https://me:secret@host/x.bw?X-Amz-Signature=secret", "arcsinh", None, "")
        found = inputs_of(tracks / "tracks.tsv", [described(address)])
        assert found.pop("https://host/x.bw") == "unknown" and list(found) == [str(tracks / "tracks.tsv")]

    @pytest.mark.parametrize("kind", [peaks_of, Binarisation])
    def test_a_track_that_is_replaced_meanwhile_is_refused(self, tracks, engine, tmp_path, kind):
        folder = Path(shutil.copytree(tracks, tmp_path / "tracks"))
        last = folder / "B.H3K4me3.bw"
        making = kind(folder, tmp_path / "out")
        with refused(TrackError, f"{last} was removed, or made again, after the run began"):
            making.make_all(Between(lambda: os.utime(last, ns=(1, 1))))
        assert making.job.part(0) is not None and making.job.part(making.n_parts - 1) is None

    def test_evaluate_takes_the_table_of_peaks(self, data, tensor, engine, tmp_path):
        PeakCalling(data / "tracks.tsv", tmp_path / "peaks", PeakRule()).make_all(engine)
        rows = evaluate(
            data,
            tmp_path / "peaks" / "peaks.tsv",
            tmp_path / "m.tsv",
            engine,
            tensor=tensor.path,
        ).rows
        mine = [row["CatchPeakObs"] for row in rows if row["method"] == "model"]
        # The observed signal against itself: above the threshold is above what is not. Some tracks have no peak.
        assert len(mine) == 18 and 0 < np.isnan(np.array(mine, dtype=float)).sum() < 9
        assert np.nanmin(np.array(mine, dtype=float)) > 0.95

    def test_a_single_bigwig_on_the_command_line(self, tracks, tmp_path):
        done = call_predictd(
            "peaks", tracks / "B.H3K4me3.bw", "-o", "p", "--threshold", 4, "--unit", "other", cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
        rows = (
            gzip.decompress((tmp_path / "p" / "B.H3K4me3-signal.narrowPeak.gz").read_bytes())
            .decode()
            .splitlines()
        )
        assert done.stdout == f"p: {len(rows)} peaks of 1 tracks, listed in p/peaks.tsv\n"
        assert rows and all(row.split("\t")[7] == "-1" and float(row.split("\t")[6]) > 2 for row in rows)

    def test_tracks_without_a_peak_are_told(self, tracks, engine, tmp_path, caplog):
        PeakCalling(tracks / "B.H3K4me3.bw", tmp_path / "p", PeakRule(threshold=1e6)).make_all(engine)
        assert "1 of the 1 tracks have no peak (B.H3K4me3:signal)" in caplog.text
        assert gzip.decompress((tmp_path / "p" / "B.H3K4me3-signal.narrowPeak.gz").read_bytes()) == b""


class TestBinarise:
    @pytest.mark.parametrize("zipped", [False, True])
    def test_files_are_those_of_chromhmm(self, tracks, engine, tmp_path, zipped):
        out = tmp_path / "b"
        Binarisation(tracks, out, zipped=zipped).make_all(engine)
        suffix = "_binary.txt.gz" if zipped else "_binary.txt"
        assert sorted(path.name for path in out.iterdir() if "_binary" in path.name) == [
            f"{cell}_{chrom}{suffix}" for cell in ("A%2D1", "B") for chrom in ("chr1", "chr2")
        ]
        for cell, name in (("A-1", "A%2D1"), ("B", "B")):
            for chrom, n_bins in (("chr1", 250), ("chr2", 100)):
                content = (out / f"{name}_{chrom}{suffix}").read_bytes()
                text = gzip.decompress(content).decode() if zipped else content.decode()
                first, second, *rows = text.splitlines()
                assert (first, second) == (f"{name}\t{chrom}", "H3K27ac\tH3K4me3")
                states = np.array([[int(field) for field in row.split("\t")] for row in rows])
                assert states.shape == (n_bins, 2)
                for column, mark in enumerate(("H3K27ac", "H3K4me3")):
                    path = tracks / f"{cell}.{mark}.bw"
                    if path.exists():
                        signal = stored(str(path), chrom, 200)[:n_bins]
                        expected = np.where(np.isnan(signal), 2, signal >= 2)
                    else:
                        expected = np.full(n_bins, 2)
                    np.testing.assert_array_equal(states[:, column], expected)
                # The stretch without signal is missing.
                assert (states[:5] == 2).all() == (chrom == "chr2")
        table = fields_of(out / "binarised.tsv")
        assert table[0] == ["cell_type", "assay", "present", "missing", "bins"]
        assert table[3] == ["B", "H3K27ac", "0", "350", "350"]

    def test_the_command_line(self, tracks, tmp_path):
        done = call_predictd("binarise", tracks, "-o", "b", "--bin-size", 1000, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout == "b: 2 cell types, 2 marks, 2 chromosomes for ChromHMM\n"
        assert len((tmp_path / "b" / "B_chr2_binary.txt").read_text().splitlines()) == 22

    @pytest.mark.parametrize("threshold", [0.7, 0.8, 0.9, 1.3, 2.0, 2.3])
    def test_signal_of_exactly_the_threshold(self, threshold, engine, tmp_path):
        """Single precision holds few of these numbers."""
        with pyBigWig.open(str(tmp_path / "a.bw"), "w") as file:
            file.addHeader([("chr1", 2000)])
            file.addEntries(
                ["chr1"] * 2, [400, 1000], ends=[1000, 1600], values=[threshold, threshold - 1e-3]
            )
        (tmp_path / "tracks.tsv").write_text("cell_type\tassay\tpath\nA\tm\ta.bw\n")
        PeakCalling(tmp_path / "a.bw", tmp_path / "p", PeakRule(threshold=threshold)).make_all(engine)
        (peaks,) = (path for path in (tmp_path / "p").iterdir() if "narrowPeak" in path.name)
        assert [row[1:3] for row in fields_of(peaks)] == [["400", "1000"]]
        Binarisation(tmp_path / "tracks.tsv", tmp_path / "b", threshold=threshold).make_all(engine)
        states = (tmp_path / "b" / "A_chr1_binary.txt").read_text().splitlines()[2:]
        assert states == ["2"] * 2 + ["1"] * 3 + ["0"] * 3 + ["2"] * 2

    def test_bins_longer_than_chromosomes(self, tracks, tmp_path):
        with refused(DataError, "no chromosome", "as long as a bin of 60000 bp"):
            Binarisation(tracks, tmp_path / "b", bin_size=60_000)


class TestBadInput:
    @pytest.mark.parametrize("making", [peaks_of, Binarisation])
    def test_sources_that_are_none(self, tracks, tmp_path, making):
        with refused(TableError, "nowhere does not exist", "a directory with a tracks.tsv"):
            making(tmp_path / "nowhere", tmp_path / "o")
        (tmp_path / "empty").mkdir()
        with refused(TableError, "empty has no tracks.tsv", "list its tracks there"):
            making(tmp_path / "empty", tmp_path / "o")
        table = tmp_path / "t.tsv"
        table.write_text("cell_type\tassay\tpath\nA\tm\tgone.bw\n")
        with refused(TrackError, "t.tsv, line 2", "gone.bw does not exist"):
            making(table, tmp_path / "o")
        table.write_text("cell_type\tassay\tpath\nA\tm\tx.bed\n")
        with refused(TrackError, "x.bed is not a bigWig by its name"):
            making(table, tmp_path / "o")
        table.write_text(f"cell_type\tassay\tpath\nA\tm\t{tracks}/B.H3K4me3.bw\nA\tm\tx.bw\n")
        with refused(TableError, "line 3: A:m is in", "twice, first in line 2"):
            making(table, tmp_path / "o")
        assert not (tmp_path / "o").exists()

    def test_bedgraphs_are_as_bigwigs(self, tracks, engine, tmp_path):
        rows = (tracks / "tracks.tsv").read_text().splitlines()
        for row in rows[1:]:
            name = row.split("\t")[2]
            (tmp_path / f"{name[:-3]}.bedGraph").write_text("".join(as_lines(tracks / name)))
        table = tmp_path / "tracks.tsv"
        table.write_text("\n".join(rows).replace(".bw", ".bedGraph") + "\n")
        for making, kind in ((peaks_of, "*.narrowPeak.gz"), (Binarisation, "*_binary.txt")):
            making(tracks, tmp_path / "one").make_all(engine)
            making(table, tmp_path / "other").make_all(engine)
            files = sorted(path.name for path in (tmp_path / "one").glob(kind))
            assert files == sorted(path.name for path in (tmp_path / "other").glob(kind)) != []
            for name in files:
                one, other = ((tmp_path / folder / name).read_bytes() for folder in ("one", "other"))
                assert one == other
            shutil.rmtree(tmp_path / "one")
            shutil.rmtree(tmp_path / "other")
        single = PeakCalling(tmp_path / "B.H3K4me3.bedGraph", tmp_path / "p", PeakRule()).make_all(engine)
        assert list(single.n_peaks) == [("B.H3K4me3", "signal")]

    def test_bedgraphs_and_bigwigs_have_to_fit(self, tracks, tmp_path):
        (tmp_path / "x.bedGraph").write_text("chr1\t0\t50001\t3\n")
        table = tmp_path / "t.tsv"
        table.write_text(f"cell_type\tassay\tpath\nA\tm\tx.bedGraph\nB\tm\t{tracks}/B.H3K4me3.bw\n")
        with refused(
            TrackError, "x.bedGraph: chr1 has signal up to 50,001 bp, but 50,000 bp", "of another genome?"
        ):
            Binarisation(table, tmp_path / "b")

    def test_a_file_that_is_no_bigwig(self, engine, tmp_path):
        (tmp_path / "x.bw").write_text("hello\n" * 50)
        with refused(TrackError, "x.bw is not a complete bigWig file"):
            PeakCalling(tmp_path / "x.bw", tmp_path / "o", PeakRule()).make_all(engine)

    def test_tracks_of_several_genomes(self, tracks, tmp_path):
        with pyBigWig.open(str(tmp_path / "x.bw"), "w") as out:
            out.addHeader([("chr1", 40_000)])
            out.addEntries("chr1", 0, values=[1.0] * 10, span=SIZE, step=SIZE)
        (tmp_path / "t.tsv").write_text(f"cell_type\tassay\tpath\nA\tm\t{tracks}/B.H3K4me3.bw\nB\tm\tx.bw\n")
        with refused(TrackError, "x.bw: chr1 has 40,000 bp, but 50,000 in", "of another genome?"):
            Binarisation(tmp_path / "t.tsv", tmp_path / "b")

    @pytest.mark.parametrize("suffix", ["bw", "bedGraph"])
    def test_tracks_that_name_chromosomes_differently(self, tracks, tmp_path, suffix):
        """Each would be missing where the other has signal."""
        if suffix == "bw":
            with pyBigWig.open(str(tmp_path / "x.bw"), "w") as out:
                out.addHeader([("1", 50_000), ("2", 20_110)])
                out.addEntries("1", 0, values=[1.0] * 10, span=SIZE, step=SIZE)
        else:
            (tmp_path / "x.bedGraph").write_text("1\t0\t50000\t3\n")
        table = f"cell_type\tassay\tpath\nA\tm\t{tracks}/B.H3K4me3.bw\nB\tm\tx.{suffix}\n"
        (tmp_path / "t.tsv").write_text(table)
        with refused(
            TrackError, f"x.{suffix} has a chromosome '1', and other tracks have 'chr1'", "without chr"
        ):
            Binarisation(tmp_path / "t.tsv", tmp_path / "b")
