"""bedGraphs: what becomes of them, and every line that is refused."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pyBigWig
import pytest

from commands import run_python
from disks import small_disk, unwritable
from folders import names
from made_tracks import as_lines, intervals, random_bases, write_bases
from predictd.errors import OutputError, TrackError
from predictd.io.names import is_bedgraph
from predictd.io.tracks import bedgraph
from predictd.io.tracks.bedgraph import bedgraph_to_bigwig
from predictd.io.tracks.genomes import Genome
from refusals import refused

GENOME = Genome("small", {"chr1": 1000, "chr2": 5000, "chr3": 300})


@pytest.fixture
def convert(tmp_path: Path):
    def run(text: str | bytes, name: str = "a.bedGraph", genome: Genome = GENOME) -> Path:
        source = tmp_path / name
        source.write_bytes(text.encode() if isinstance(text, str) else text)
        bedgraph_to_bigwig(source, tmp_path / "out" / "a.bw", genome)
        return tmp_path / "out" / "a.bw"

    return run


def test_lines_become_intervals(convert):
    path = convert(
        "browser position chr1:1-100\ntrack type=bedGraph name=x\n# comment\n\n"
        "chr2\t0\t10\t1.5\textra\nchr2 10 20 -2\nchr2\t4990\t5000\t1e3\r\nchr1\t5\t6\t0\n"
    )
    assert intervals(path) == {
        "chr2": [(0, 10, 1.5), (10, 20, -2.0), (4990, 5000, 1000.0)],
        "chr1": [(5, 6, 0.0)],
    }
    # Chromosomes without a line are not in the file: they are uncovered.
    assert pyBigWig.open(str(path)).chroms() == {"chr2": 5000, "chr1": 1000}
    assert names(path.parent) == ["a.bw"]


@pytest.mark.parametrize("block", [1, 7, 100_000])
def test_the_same_signal_as_the_bigwig(convert, tmp_path, monkeypatch, block):
    # Borders of blocks may fall anywhere.
    monkeypatch.setattr(bedgraph, "_LINES", block)
    other = write_bases(tmp_path / "other.bw", random_bases(3, GENOME.chromosomes))
    path = convert("".join(as_lines(other)))
    assert intervals(path) == intervals(other)


def test_gzipped(convert):
    plain = convert("chr1\t0\t10\t1\n").read_bytes()
    assert convert(gzip.compress(b"chr1\t0\t10\t1\n"), "a.bedGraph.gz").read_bytes() == plain


def test_long_names_of_chromosomes(convert):
    name = "scaffold_" + "x" * 200
    path = convert(f"{name}\t0\t10\t1\n", genome=Genome("odd", {name: 100, name + "2": 50}))
    assert intervals(path) == {name: [(0, 10, 1.0)]}


def test_contigs_that_the_genome_does_not_have_are_left_out(tmp_path):
    source = tmp_path / "a.bedGraph"
    source.write_text("chrEBV 0 10 1\nchr2 0 40 2\nchrUn_1 5 9 3\nchr1 1 2 4\n")
    assert bedgraph_to_bigwig(source, tmp_path / "a.bw", GENOME) == ("chrEBV", "chrUn_1")
    assert intervals(tmp_path / "a.bw") == {"chr2": [(0, 40, 2.0)], "chr1": [(1, 2, 4.0)]}


def test_wiggle_counts_from_one(convert):
    path = convert(
        "track type=wiggle_0\nbrowser hide all\nfixedStep chrom=chr2 start=11 step=25 span=20\n1.5\n2\n"
        "variableStep chrom=chr2 span=5\n101 3\n111\t4\nvariableStep chrom=chr1\n1 7\n"
        "fixedStep chrom=chr3 start=199 step=25\n5\n6\nfixedStep chrom=chr3 start=299\n8\n9\n",
        "a.wig",
    )
    assert intervals(path) == {
        "chr2": [(10, 30, 1.5), (35, 55, 2.0), (100, 105, 3.0), (110, 115, 4.0)],
        "chr1": [(0, 1, 7.0)],
        # Values without a span reach to the next one.
        "chr3": [(198, 223, 5.0), (223, 248, 6.0), (298, 299, 8.0), (299, 300, 9.0)],
    }


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("fixedStep start=1\n1\n", ["line 1", "expected fixedStep chrom=NAME start=N"]),
        ("fixedStep chrom=chr1 start=x\n1\n", ["line 1", "expected fixedStep"]),
        ("variableStep span=2\n1 1\n", ["line 1", "expected variableStep chrom=NAME span=N"]),
        ("fixedStep chrom=chr1 start=1\n1 2\n", ["line 2", "expected a value"]),
        ("variableStep chrom=chr1\n1\n", ["line 2", "expected position and value"]),
        ("variableStep chrom=chr1\nx 1\n", ["line 2", "expected position and value"]),
        ("variableStep chrom=chr1\n0 1\n", ["line 2", "enclose no base"]),
        ("fixedStep chrom=chr1 start=1\n1\nx\n", ["line 3", "expected chromosome, start, end and a number"]),
        ("fixedStep chrom=chr1 start=1 step=5 span=9\n1\n2\n", ["line 3", "overlaps"]),
    ],
)
def test_wiggle_that_is_wrong_is_told_with_its_line(convert, text, parts):
    with refused(TrackError, *parts):
        convert(text, "a.wig")


@pytest.mark.parametrize("name", ["a.bdg", "A.BEDGRAPH", "a.bg.gz", "x.BedGraph.GZ", "x.bdg.bgz", "x.wig"])
def test_names_that_count_as_bedgraph(name):
    assert is_bedgraph(name)


@pytest.mark.parametrize("block", [1, 100_000])
@pytest.mark.parametrize(
    ("lines", "line", "parts"),
    [
        (
            "chr1 0 10 1\nchr1 20 30 1\nchr1 10 20 1\n",
            3,
            ["unsorted", "begins before the line above", "sort the file"],
        ),
        (
            "chr1 0 10 1\nchr2 0 10 1\nchr1 20 30 1\n",
            3,
            ["unsorted", "chr1 comes back after chr2", "sort the file"],
        ),
        ("chr1 0 10 1\nchr1 9 30 1\n", 2, ["overlaps the line above", "merge overlapping intervals"]),
        ("chr1 0 10 1\nchr1 0 10 1\n", 2, ["overlaps the line above"]),
        ("chr1 5 5 1\n", 1, ["enclose no base"]),
        ("chr1 9 5 1\n", 1, ["enclose no base"]),
        ("chr1 -5 5 1\n", 1, ["enclose no base"]),
        ("# x\n\nchr1 990 1001 1\n", 3, ["beyond the chromosome's end in small", "of another genome?"]),
        ("chr1 0 10 1\nchrX 0 90 1\n", 2, ["small has no chromosome 'chrX'", "of another genome?"]),
        ("1 0 10 1\n", 1, ["small has no chromosome '1', but 'chr1'", "with or without chr"]),
        ("chr1 0 10 1\nchr1 10 20 nan\n", 2, ["NaN or infinite", "leave such positions out"]),
        ("chr1 0 10 inf\n", 1, ["NaN or infinite", "leave such positions out"]),
        ("chr1 0 10 -inf\n", 1, ["NaN or infinite", "leave such positions out"]),
        ("chr1 0 10 1e39\n", 1, ["the value is beyond 3.4e+38", "leave such positions out"]),
        ("chr1 0 10 1\nchr1 10 20 x\n", 2, ["expected chromosome, start, end and a number"]),
        ("chr1 0 10 1\nchr1 10 20\n", 2, ["expected chromosome, start, end and a number"]),
        ("chr1 0 10 1\nchr1 10.5 20 1\n", 2, ["expected chromosome, start, end and a number"]),
        ("chr1 0 10 1\nchr1 ten 20 1\n", 2, ["expected chromosome, start, end and a number"]),
        ("chr1 0 10 1\nchr1 1_0 20 1\n", 2, ["expected chromosome, start, end and a number"]),
        (
            "chr1 0 10 1\nchr1 99999999999999999999 20 1\n",
            2,
            ["expected chromosome, start, end and a number"],
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_line(convert, tmp_path, monkeypatch, block, lines, line, parts):
    monkeypatch.setattr(bedgraph, "_LINES", block)
    with refused(TrackError, f"{tmp_path / 'a.bedGraph'}, line {line}:", *parts):
        convert(lines)
    assert not (tmp_path / "out").exists() or names(tmp_path / "out") == []


@pytest.mark.parametrize("text", ["", "\n\n", "track type=bedGraph\n# nothing\n"])
def test_no_signal(convert, tmp_path, text):
    with refused(TrackError, f"{tmp_path / 'a.bedGraph'} holds no signal", "make or download it again"):
        convert(text)


def test_commas(convert, tmp_path):
    with refused(TrackError, f"{tmp_path / 'a.bedGraph'} is comma-separated; save it tab-separated"):
        convert("chr1,0,10,1\n")


def test_missing(tmp_path):
    with refused(TrackError, f"{tmp_path / 'a.bedGraph'} does not exist", "correct its path"):
        bedgraph_to_bigwig(tmp_path / "a.bedGraph", tmp_path / "a.bw", GENOME)
    with refused(TrackError, f"cannot read {tmp_path}: Is a directory"):
        bedgraph_to_bigwig(tmp_path, tmp_path / "a.bw", GENOME)


def damaged_gzip() -> list[bytes]:
    lines = "".join(f"chr2\t{i}\t{i + 1}\t{i % 7}\n" for i in range(5000)).encode()
    packed = gzip.compress(lines)
    wrong = bytearray(packed)
    wrong[len(wrong) // 2 : len(wrong) // 2 + 8] = b"\xff" * 8
    return [packed[: len(packed) // 2], packed[:-4], bytes(wrong)]


@pytest.mark.parametrize("number", range(3))
def test_damaged_gzip(convert, tmp_path, number):
    with refused(
        TrackError, f"cannot read {tmp_path / 'a.bedGraph.gz'}: it is truncated, damaged or not text", "make"
    ):
        convert(damaged_gzip()[number], "a.bedGraph.gz")
    assert not (tmp_path / "out").exists() or names(tmp_path / "out") == []


def test_no_text(convert):
    with refused(TrackError, "it is truncated, damaged or not text"):
        convert(b"chr1\t0\t5\t1\n\0\xff\xfe\n")
    with refused(TrackError, "it is not UTF-8 text", "0 5 1 µ'"):
        convert("chr1\t0\t5\t1\nµ\n".encode("cp1252"))


def test_unwritable_places(tmp_path):
    (tmp_path / "a.bedGraph").write_text("chr1 0 10 1\n")
    for place in unwritable(tmp_path):
        with refused(OutputError, f"cannot write {place}", "name a place you may write to"):
            bedgraph_to_bigwig(tmp_path / "a.bedGraph", place / "a.bw", GENOME)


# pyBigWig ends the process at a failed write: what is tried on full disks is tried in a process of its own.
CONVERT = """
import sys
from pathlib import Path
from predictd.errors import OutputError
from predictd.io.tracks.bedgraph import bedgraph_to_bigwig
from predictd.io.tracks.genomes import Genome

try:
    bedgraph_to_bigwig(Path(sys.argv[1]), Path(sys.argv[2]), Genome("g", {"c": 10**8}))
except OutputError as err:
    print(err)
    raise SystemExit(3)
"""


# The first does not even begin; the second is full after a few blocks.
@pytest.mark.parametrize("size", ["2m", "34m"])
def test_a_full_disk_is_an_error_and_no_crash(tmp_path, size):
    source = tmp_path / "a.bedGraph"
    values = np.random.default_rng(0).random(250_000)
    source.write_text("".join(f"c\t{i}\t{i + 1}\t{value:.6f}\n" for i, value in enumerate(values)))
    with small_disk(tmp_path / "disk", size):
        target = tmp_path / "disk" / "a.bw"
        done = run_python(CONVERT, source, target, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (3, "")
        assert (
            done.stdout
            == f"cannot write {target}: the disk is full; free some space and run the command again\n"
        )
        assert names(target.parent) == []
