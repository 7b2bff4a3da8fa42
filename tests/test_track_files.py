"""Files and tables as people have them: links, spreadsheets' tables, suffixes, addresses."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from made_tracks import Bases, as_lines, random_bases, write_bases
from predictd.engine import Engine
from predictd.errors import TrackError
from predictd.io.names import argument_without_secrets, is_bigwig, without_secrets
from predictd.io.tables import read_bed, read_tracks
from predictd.io.tensor.store import Tensor
from predictd.io.tracks.genomes import Genome
from predictd.workflows.tensor.ingest import IngestOptions, ingest
from predictd.workflows.tracks.listed import common_chromosomes, open_listed
from refusals import refused
from workbench import HEADER, LENGTHS, PAIRS, Workbench, by_hand, stored


@pytest.fixture
def bench(tmp_path: Path, engine: Engine) -> Workbench:
    return Workbench(tmp_path, engine)


@pytest.fixture
def tracks() -> dict[tuple[str, str], Bases]:
    return {pair: random_bases(seed, LENGTHS) for seed, pair in enumerate(PAIRS)}


def assert_holds(tensor: Tensor, tracks: dict[tuple[str, str], Bases]) -> None:
    """Whether a tensor has the signal of these tracks, computed one base after the other."""
    found = stored(tensor)
    assert list(found) == list(LENGTHS)
    for chrom, (_, signal) in found.items():
        np.testing.assert_allclose(signal, by_hand(tracks, chrom), rtol=3e-7)


class TestLinks:
    """A workflow manager links to names without a suffix, in directories that are links themselves."""

    def test_the_name_that_is_given_counts(self, bench, tracks):
        blobs = bench.path / "store" / "ab"
        blobs.mkdir(parents=True)
        (bench.path / "staged").symlink_to(blobs.parent)
        for number, (pair, track) in enumerate(tracks.items()):
            suffix = ("bw", "bigWig", "bedGraph")[number]
            made = write_bases(bench.path / "made.bw", track)
            blob = blobs / f"d41d8cd9{number}"
            if suffix == "bedGraph":
                blob.write_text("".join(as_lines(made)))
                made.unlink()
            else:
                made.rename(blob)
            link = bench.path / "staged" / f"x{number}.{suffix}"
            link.symlink_to(blob)
            bench.rows.append("\t".join([*pair, f"staged/x{number}.{suffix}"]))
        tensor = bench.ingest()
        assert_holds(tensor, tracks)
        named = [Path(source.path).name for entry in tensor.manifest.experiments for source in entry.sources]
        assert sorted(named) == ["x0.bw", "x1.bigWig", "x2.bedGraph"]

    def test_tables_beds_and_what_is_shown(self, tmp_path, tracks):
        blob = write_bases(tmp_path / "blob", tracks[PAIRS[0]])
        (tmp_path / "x.bw").symlink_to(blob)
        (tmp_path / "peaks-blob").write_text("chr1\t5\t10\n")
        (tmp_path / "x.narrowPeak").symlink_to("peaks-blob")
        (tmp_path / "table-blob").write_text(f"{HEADER}\tpeaks\nC\tA\tx.bw\tx.narrowPeak\n")
        (tmp_path / "tracks.tsv").symlink_to("table-blob")
        (track,) = read_tracks(tmp_path / "tracks.tsv")
        assert (track.path, track.peaks) == (str(tmp_path / "x.bw"), str(tmp_path / "x.narrowPeak"))
        assert [(i.start, i.end) for i in read_bed(Path(track.peaks))] == [(5, 10)]
        assert [t.path for t in open_listed(tmp_path / "tracks.tsv").tracks.values()] == [track.path]
        assert list(open_listed(tmp_path / "x.bw").tracks) == [("x", "signal")]

    def test_a_link_that_leads_nowhere_is_told(self, bench):
        (bench.path / "x.bw").symlink_to(".git/annex/objects/x")
        bench.add(PAIRS[0], None, "x.bw")
        with refused(
            TrackError, f"{bench.path}/x.bw is a link to .git/annex/objects/x, which is not there", "fetch"
        ):
            bench.ingest()


class TestTables:
    @pytest.mark.parametrize("name", ["tracks.csv", "Tracks.CSV", "tracks.txt"])
    def test_a_quoted_comma_separated_table_is_ingested(self, bench, tracks, name):
        for pair, track in tracks.items():
            bench.add(pair, track)
        lines = bench.table.read_text().splitlines()
        table = bench.path / name
        table.write_text("\r\n".join(",".join(f'"{f}"' for f in line.split("\t")) for line in lines))
        tensor = ingest(
            table, bench.path / "t", IngestOptions(str(bench.genome), dtype="float32"), bench.engine
        )
        assert_holds(tensor, tracks)


class TestNames:
    def test_suffixes_in_any_case(self, bench, tracks):
        for (pair, track), suffix in zip(tracks.items(), ("BW", "BigWig", "BEDGRAPH.bgz"), strict=True):
            made = write_bases(bench.path / "made.bw", track)
            if suffix.startswith("BED"):
                made.write_bytes(gzip.compress("".join(as_lines(made)).encode()))
            made.rename(bench.add(pair, None, f"x.{suffix}"))
        assert_holds(bench.ingest(), tracks)
        shown = open_listed(bench.path / "x.BigWig")
        assert list(shown.tracks) == [("x", "signal")]
        with refused(TrackError, "x.BEDGRAPH.bgz is not a bigWig by its name"):
            open_listed(bench.path / "x.BEDGRAPH.bgz")
        assert list(open_listed(bench.path / "x.BEDGRAPH.bgz", bedgraphs=True).tracks) == [("x", "signal")]
        assert common_chromosomes([str(bench.path / "x.BigWig")]) == LENGTHS

    def test_wiggle(self, bench, tracks):
        for number, (pair, track) in enumerate(tracks.items()):
            path = bench.add(pair, None, f"x{number}.wig.gz")
            text = ["track type=wiggle_0 name=x\n"]
            for chrom, bases in track.items():
                covered = np.flatnonzero(~np.isnan(bases))
                text.append(f"variableStep chrom={chrom}\n")
                text += [f"{position + 1} {float(bases[position])!r}\n" for position in covered.tolist()]
            path.write_bytes(gzip.compress("".join(text).encode()))
        assert_holds(bench.ingest(), tracks)

    @pytest.mark.parametrize(
        ("address", "shown"),
        [
            ("https://host/a.bw", "https://host/a.bw"),
            ("https://me:secret@host:8080/a.bw", "https://host:8080/a.bw"),
            ("https://host/a.bw?sv=2024&sig=secret#x", "https://host/a.bw"),
            (
                "https://host/geo/?acc=GSM1&format=file&file=a.bw",
                "https://host/geo/?acc=GSM1&format=file&file=a.bw",
            ),
            ("https://host/d?token=secret&file=a.bw", "https://host/d?file=a.bw"),
            ("/data/a?b=c.bw", "/data/a?b=c.bw"),
        ],
    )
    def test_what_is_shown_of_an_address(self, address, shown):
        assert is_bigwig(address)
        assert without_secrets(address) == shown

    @pytest.mark.parametrize(
        ("argument", "shown"),
        [
            ("--storage=postgresql://me:p/w?x@host/trials", "--storage=postgresql://host/trials"),
            ("mysql+pymysql://me@lab:word@host:3306/trials", "mysql+pymysql://host:3306/trials"),
            ("postgresql://host/db?user=me&password=word", "postgresql://host/db"),
            ("https://me:word@host/a@b.bw?X-Amz-Signature=1", "https://host/a@b.bw"),
            ("HTTPS://me:word@host/x.bw?X-Amz-Signature=1", "https://host/x.bw"),
            ("-shttps://host/x.bw?sig=1", "-shttps://host/x.bw"),
            ("https://[word", "https://…"),
            ("a=https://host/x,b=https://me:word@host/y", "a=https://…"),
            ("--pairs=C1:A1@home", "--pairs=C1:A1@home"),
            ("s3://bucket/me@lab/tensor", "s3://bucket/me@lab/tensor"),
            ("sqlite:////data/me@lab/trials.db", "sqlite:////data/me@lab/trials.db"),
        ],
    )
    def test_commands_are_recorded_without_secrets(self, argument, shown):
        assert argument_without_secrets(argument) == shown

    @pytest.mark.parametrize(
        "name", ["a.bw.gz", "a.bigBed", "bw", "https://host/a.bed?x=a.bw.txt", "a.bedGraph"]
    )
    def test_what_is_no_bigwig(self, name):
        assert not is_bigwig(name)


class TestContigs:
    """Beside the genome's chromosomes: those it does not have, and a small one of another length."""

    def test_surplus_contigs_are_left_out_with_one_warning(self, bench, tracks, caplog):
        for pair, track in tracks.items():
            if pair == PAIRS[0]:
                bench.add(pair, track)
                continue
            # chr3 is another sequence in these, as chrM of hg19 has two.
            foreign = {**track, "chr3": np.full(13, 9, np.float32), "chrEBV": np.full(300, 9, np.float32)}
            made = write_bases(bench.path / "made.bw", foreign)
            path = bench.add(pair, None, f"x{len(bench.rows)}.{'bw' if pair == PAIRS[1] else 'bedGraph'}")
            if path.suffix == ".bedGraph":
                path.write_text("".join(line for line in as_lines(made) if not line.startswith("chr3")))
            else:
                made.rename(path)
        expected = {pair: dict(track) for pair, track in tracks.items()}
        for pair in PAIRS[1:]:
            expected[pair]["chr3"] = np.full(11, np.nan, np.float32)
        assert_holds(bench.ingest(), expected)
        told = [message for message in caplog.messages if "tracks have contigs" in message]
        assert len(told) == 1
        assert told[0].startswith("2 of 3 tracks have contigs that small lacks or has with another length: ")
        assert "chrEBV" in told[0] and "chr3" in told[0]

    def test_browsers_and_chromhmm(self, tmp_path, caplog):
        ones = np.ones(20_000, np.float32)
        write_bases(tmp_path / "a.bw", {"chr1": ones, "chrM": ones[:16]})
        write_bases(tmp_path / "b.bw", {"chr1": ones, "chrM": ones[:17], "chrEBV": ones[:50]})
        paths = [str(tmp_path / name) for name in ("a.bw", "b.bw")]
        assert common_chromosomes(paths) == {"chr1": 20_000, "chrEBV": 50}
        assert common_chromosomes(paths, Genome("g", {"chr1": 20_000})) == {"chr1": 20_000}
        assert ["chrM" in message for message in caplog.messages] == [True, True]


class TestLargeNumbers:
    def test_large_values_are_values(self, bench):
        large = {chrom: np.full(n, 3e38, np.float32) for chrom, n in LENGTHS.items()}
        path = bench.add(PAIRS[0], large)
        text = bench.add(PAIRS[1], None, "x.bedGraph")
        text.write_text("".join(as_lines(path)))
        assert_holds(bench.ingest(), dict.fromkeys(PAIRS[:2], large))
        text.write_text("chr1\t0\t5\t1e39\n")
        with refused(TrackError, f"{text}, line 1: the value is beyond 3.4e+38"):
            bench.ingest("other")
