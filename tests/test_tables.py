"""The track table, pairs and their file names, BED files."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from predictd.errors import TableError
from predictd.io.costs import read_costs
from predictd.io.network.genesets import read_gmt, read_labels
from predictd.io.network.networks import read_gold
from predictd.io.network.text import read_expression, read_names
from predictd.io.tables import (
    Interval,
    read_bed,
    read_pairs,
    read_scores,
    read_tracks,
    unique_pairs,
    write_tracks,
)
from predictd.io.tracks.genomes import load_genome
from predictd.io.tracks.metadata import read_track_table
from predictd.pairs import Experiment, axes, check_name
from refusals import refused
from workbench import HEADER

hypothesis = pytest.importorskip("hypothesis")
given = hypothesis.given
st = hypothesis.strategies

PRINTABLE = st.text(
    st.characters(exclude_categories=("C", "Z"), exclude_characters=":"), min_size=1, max_size=12
)


@pytest.fixture
def table(tmp_path: Path):
    def write(text: str | bytes, name: str = "tracks.tsv") -> Path:
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


class TestTrackTable:
    def test_a_row_with_everything(self, table, tmp_path):
        path = table(
            f"{HEADER}\ttransform\tpeaks\tlab\n"
            "E003\tH3K4me3\ttracks/a.bw\tlog1p\t../peaks/a.bed\tx\n"
            "E004\tmeth\t/data/b.bigWig\tlogit\t\t\n"
            "E005\tDNase\thttps://host/c.bw\t\t\t\n"
        )
        tracks = read_tracks(path)
        assert [t.experiment for t in tracks] == [("E003", "H3K4me3"), ("E004", "meth"), ("E005", "DNase")]
        assert [t.path for t in tracks] == [
            str(tmp_path / "tracks/a.bw"),
            "/data/b.bigWig",
            "https://host/c.bw",
        ]
        assert [t.transform for t in tracks] == ["log1p", "logit", "arcsinh"]
        assert [t.peaks for t in tracks] == [str(tmp_path.parent / "peaks/a.bed"), None, None]
        assert [t.is_url for t in tracks] == [False, False, True]
        assert [t.where for t in tracks] == [f"{path}, line {n}" for n in (2, 3, 4)]

    def test_columns_in_any_order_and_short_rows(self, table):
        (track,) = read_tracks(table("lab\tpath\tassay\tcell_type\ttransform\nx\ta.bw\tA\tC\n"))
        assert (track.experiment, track.transform) == (("C", "A"), "arcsinh")

    def test_blank_lines_and_comments_count_as_lines(self, table):
        path = table(f"# made by hand\n\n{HEADER}\n\n#C\tA\told.bw\nC\tA\ta.bw\n")
        assert [t.where for t in read_tracks(path)] == [f"{path}, line 6"]

    @pytest.mark.parametrize("line_end", ["\n", "\r\n"])
    @pytest.mark.parametrize("mark", ["", "\ufeff"])
    def test_spreadsheets_line_ends_and_byte_order_marks(self, table, line_end, mark):
        (track,) = read_tracks(table(f"{mark}{HEADER}\ttransform{line_end}C \t A\t a.bw \tnone{line_end}"))
        assert (track.experiment, Path(track.path).name, track.transform) == (("C", "A"), "a.bw", "none")

    def test_quotes_are_letters(self, table):
        (track,) = read_tracks(table(f'{HEADER}\nC"1\tA\t"a.bw\n'))
        assert (track.experiment, Path(track.path).name) == (('C"1', "A"), '"a.bw')

    def test_gzipped(self, table):
        path = table(gzip.compress(f"{HEADER}\nC\tA\ta.bw\n".encode()), "tracks.tsv.gz")
        assert [t.experiment for t in read_tracks(path)] == [("C", "A")]

    @pytest.mark.parametrize(
        ("text", "parts"),
        [
            (
                "",
                [
                    "header must hold cell_type, assay, path",
                    "separated by tabs",
                    "missing: cell_type, assay, path",
                ],
            ),
            ("cell_type assay path\nC A a.bw\n", ["separated by tabs", "missing: cell_type, assay, path"]),
            ("cell_type\tassay\tfile\nC\tA\ta.bw\n", ["(missing: path)"]),
            (f"{HEADER}\tpath\nC\tA\ta.bw\tb.bw\n", ["column path twice", "keep one"]),
            (f"{HEADER}\n", ["lists no tracks", "a line per signal file"]),
            (f"{HEADER}\nC\tA\ta.bw\tx\n", ["line 2: 4 fields where the header has 3"]),
            (f"{HEADER}\nC\tA\t\n", ["line 2: no path is given for C:A"]),
            (f"{HEADER}\n\tA\ta.bw\n", ["line 2: cell type ''", "rename"]),
            (f"{HEADER}\nC\t\ta.bw\n", ["line 2: assay ''", "rename"]),
            (f"{HEADER}\nC:1\tA\ta.bw\n", ["line 2: cell type 'C:1'", "without ':'"]),
            (f"{HEADER}\nC\tA\x07\ta.bw\n", [r"line 2: assay 'A\x07'", "printable"]),
            (
                f"{HEADER}\ttransform\nC\tA\ta.bw\tlog2\n",
                ["line 2: unknown transform 'log2'", "arcsinh, log1p, logit"],
            ),
        ],
    )
    def test_what_is_wrong_is_told_with_its_line(self, table, text, parts):
        path = table(text)
        with refused(TableError, str(path), *parts):
            read_tracks(path)

    def test_files_that_cannot_be_read(self, table, tmp_path):
        with refused(TableError, str(tmp_path / "absent.tsv"), "No such file", "correct the path"):
            read_tracks(tmp_path / "absent.tsv")
        with refused(TableError, str(tmp_path), "Is a directory", "correct the path"):
            read_tracks(tmp_path)
        with refused(TableError, "not text", "download it again"):
            read_tracks(table(bytes(range(256))))

    @pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
    @pytest.mark.parametrize("name", ["tracks.tsv", "tracks.tsv.gz"])
    def test_utf_16_is_told(self, table, encoding, name):
        data = f"{HEADER}\nC\tA\ta.bw\n".encode(encoding)
        path = table(gzip.compress(data) if name.endswith(".gz") else data, name)
        for read in (read_tracks, read_bed, read_expression, read_track_table):
            with refused(TableError, f"cannot read {path}: it is UTF-16 text", "save it as UTF-8"):
                read(path)

    def test_windows_1252_is_told(self, table):
        path = table(f"{HEADER}\nHEK µg/ml é\tA\ta.bw\n".encode("cp1252"))
        with refused(TableError, str(path), "Windows-1252 (near", "HEK µg/ml", "save it as UTF-8"):
            read_tracks(path)

    @pytest.mark.parametrize("mark", ["\t", ",", ";", ", "])
    @pytest.mark.parametrize("quote", ["", '"'])
    def test_tables_of_spreadsheets_and_r(self, table, tmp_path, mark, quote):
        rows = [HEADER.split("\t"), ["C 1", "A", "sub dir/a.bw"], ["D", "B", "https://host/b.bw"]]
        text = "\r\n".join(mark.join(f"{quote}{field}{quote}" for field in row) for row in rows)
        found = read_tracks(table(text))
        assert [t.experiment for t in found] == [("C 1", "A"), ("D", "B")]
        assert [t.path for t in found] == [str(tmp_path / "sub dir/a.bw"), "https://host/b.bw"]

    def test_quoted_fields_hold_separators_and_quotes(self, table, tmp_path):
        (track,) = read_tracks(table('"cell_type","assay","path"\n"C, ""1""","A","a, b.bw"\n'))
        assert (track.experiment, track.path) == (('C, "1"', "A"), str(tmp_path / "a, b.bw"))

    def test_empty_columns_of_spreadsheets(self, table):
        assert len(read_tracks(table(f"{HEADER}\t\t\nC\tA\ta.bw\t\t\t\nD\tA\tb.bw\n"))) == 2

    @pytest.mark.parametrize(
        "header",
        [
            "Cell_Type\tAssay\tPath",
            "cell type\tASSAY\tpath",
            "CellType\tassay\tPATH",
            "cell-type\tassay\tPath",
        ],
    )
    def test_columns_in_other_spellings(self, table, tmp_path, header):
        (track,) = read_tracks(table(f"{header}\tTransform\tpeaks\nC\tA\tx.bw\tlog1p\tp.bed\n"))
        assert track.experiment == ("C", "A")
        assert (track.path, track.transform) == (str(tmp_path / "x.bw"), "log1p")
        assert track.peaks == str(tmp_path / "p.bed")

    @pytest.mark.parametrize(
        ("header", "parts"),
        [
            (
                "biosample\tassay\tpath",
                ["(missing: cell_type); if 'biosample' is the cell_type, call it cell_type"],
            ),
            (
                "Biosample term name\tTarget\tFile",
                ["'Biosample term name' is the cell_type", "'Target' is the assay", "'File' is the path"],
            ),
            ("tissue\tcell line\tassay\tpath", ["if 'tissue' or 'cell line' is the cell_type"]),
            # Which of the two is meant is not known.
            ("Cell Type\tCellType\tassay\tpath", ["if 'Cell Type' or 'CellType' is the cell_type"]),
            ("a\tb\tc", ["(missing: cell_type, assay, path)"]),
            (
                "\n#cell_type\tassay\tpath",
                ["(missing: cell_type, assay, path); take the # before its header away"],
            ),
            ("# Cell Type\tassay\tpath", ["; take the # before its header away"]),
        ],
    )
    def test_columns_of_other_names_are_told(self, table, header, parts):
        with refused(TableError, "its header must hold cell_type, assay, path", *parts):
            read_tracks(table(f"{header}\nC\tA\tB\tx.bw\n"))

    def test_a_column_that_is_there_is_not_taken_from_another(self, table):
        (track,) = read_tracks(table("Cell Type\tcell_type\tassay\tpath\nwrong\tC\tA\tx.bw\n"))
        assert track.experiment == ("C", "A")

    def test_addresses_that_are_not_read(self, table):
        path = table(f"{HEADER}\tpeaks\nC\tA\tfile:///data/a%20b.bw\tfile:///p.bed\n")
        assert [(t.path, t.peaks) for t in read_tracks(path)] == [("/data/a b.bw", "/p.bed")]
        for scheme in ("ftp", "gopher", "synapse"):
            path = table(f"{HEADER}\nC\tA\t{scheme}://me:s3cret@host/a.bw\n")
            with refused(
                TableError, f"{path}, line 2: {scheme}:// addresses are not read or written: copy the files"
            ):
                read_tracks(path)

    def test_decimal_commas_between_commas_are_told(self, table):
        path = table("cell_type,assay,path\na,b,0,5\n")
        with refused(TableError, "line 2: 4 fields where the header has 3", "write points, as in 0.5"):
            read_tracks(path)

    def test_row_names_of_r_are_told(self, table):
        path = table('"cell_type"\t"assay"\t"path"\n"1"\t"C"\t"A"\t"a.bw"\n"2"\t"D"\t"A"\t"b.bw"\n')
        with refused(TableError, "line 2: 4 fields where the header has 3", "row.names=FALSE"):
            read_tracks(path)

    def test_home_and_variables_in_paths(self, table, monkeypatch):
        monkeypatch.setenv("HOME", "/home/me")
        monkeypatch.setenv("DATA", "/scratch/data")
        path = table(
            f"{HEADER}\tpeaks\nC\tA\t~/a.bw\t$DATA/a.bed\nC\tB\t${{DATA}}/b.bw\t\nC\tD\t$NONE/c.bw\t\n"
            "C\tE\thttps://host/$DATA/~/e.bw\t\n"
        )
        assert [t.path for t in read_tracks(path)] == [
            "/home/me/a.bw",
            "/scratch/data/b.bw",
            str(path.parent / "$NONE/c.bw"),
            "https://host/$DATA/~/e.bw",
        ]
        assert read_tracks(path)[0].peaks == "/scratch/data/a.bed"

    @pytest.mark.parametrize("damage", [slice(0, 30), slice(5, None)])
    def test_damaged_gzip(self, table, damage):
        path = table(gzip.compress(f"{HEADER}\nC\tA\ta.bw\n".encode())[damage], "tracks.tsv.gz")
        with refused(TableError, str(path), "damaged", "download it again"):
            read_tracks(path)

    def test_gzip_with_wrong_bytes_inside(self, table):
        packed = bytearray(gzip.compress(f"{HEADER}\n{'C	A	a.bw	' * 50}\n".encode()))
        packed[15:20] = b"\xff\xff\xff\xff\xff"
        path = table(bytes(packed), "tracks.tsv.gz")
        with refused(TableError, str(path), "damaged", "download it again"):
            read_tracks(path)

    def test_a_pair_twice(self, table):
        path = table(f"{HEADER}\nC\tA\ta.bw\nD\tA\tb.bw\nC\tA\tc.bw\n")
        with refused(TableError, f"{path}, line 4", "C:A is in", "twice", "`merge` mean"):
            unique_pairs(read_tracks(path), path)

    def test_pairs_index_their_tracks(self, table):
        path = table(f"{HEADER}\nD\tA\tb.bw\nC\tA\ta.bw\n")
        tracks = read_tracks(path)
        assert unique_pairs(tracks, path) == {("D", "A"): tracks[0], ("C", "A"): tracks[1]}

    def test_what_is_written_is_read(self, tmp_path):
        path = tmp_path / "out" / "tracks.tsv"
        files = {
            Experiment("É 1", "b"): "É.bw",
            Experiment("C", "z"): "sub/z.bw",
            Experiment("C", "a"): "a.bw",
        }
        write_tracks(path, files)
        assert path.read_text(encoding="utf-8").splitlines() == [
            HEADER,
            "C\ta\ta.bw",
            "C\tz\tsub/z.bw",
            "É 1\tb\tÉ.bw",
        ]
        read = {track.experiment: track.path for track in read_tracks(path)}
        assert read == {pair: str(path.parent / file) for pair, file in files.items()}


class TestPairs:
    def test_a_table_of_pairs(self, table):
        assert read_pairs(table("x\tassay\tcell_type\n1\tA\tC\n2\tB\tD\n")) == [("C", "A"), ("D", "B")]

    def test_no_pairs(self, table):
        path = table("cell_type\tassay\n")
        with refused(TableError, str(path), "lists no pairs"):
            read_pairs(path)
        with refused(TableError, str(path), "missing: assay"):
            read_pairs(table("cell_type\nC\n"))

    def test_parse(self):
        assert Experiment.parse("E003:H3K4me3") == ("E003", "H3K4me3")
        assert str(Experiment("E003", "H3K4me3")) == "E003:H3K4me3"

    @pytest.mark.parametrize("text", ["", ":", "C", "C:", ":A", "C:A:B"])
    def test_no_pair(self, text):
        with refused(TableError, f"'{text}'", "CELL:ASSAY"):
            Experiment.parse(text)

    @given(cell_type=PRINTABLE, assay=PRINTABLE)
    def test_names_survive_text(self, cell_type, assay):
        pair = Experiment(cell_type, assay)
        assert Experiment.parse(str(pair)) == pair
        assert check_name(cell_type, what="cell type", where="here") == cell_type

    @pytest.mark.parametrize("name", ["", " C", "C ", "a:b", "a\tb", "a\nb", "a\x00b", "a\u200bb", "\ud800"])
    def test_names_that_cannot_be_used(self, name):
        with refused(TableError, "here: assay", "cannot be used", "rename it"):
            check_name(name, what="assay", where="here")

    @pytest.mark.parametrize(
        ("pair", "stem"),
        [
            (("E003", "H3K4me3"), "E003-H3K4me3"),
            (("T-cell", "H2A.Z"), "T%2Dcell-H2A.Z"),
            (("a_b+c", "x~y"), "a_b+c-x%7Ey"),
            (("a b/c", "100%"), "a%20b%2Fc-100%25"),
            (("é", "β"), "%C3%A9-%CE%B2"),
            (("..", "\\"), "..-%5C"),
        ],
    )
    def test_file_names_worked_by_hand(self, pair, stem):
        assert Experiment(*pair).file_stem == stem

    @given(cell_type=PRINTABLE, assay=PRINTABLE)
    def test_file_names_can_be_turned_back(self, cell_type, assay):
        stem = Experiment(cell_type, assay).file_stem
        assert re.fullmatch(r"[A-Za-z0-9._+%]+-[A-Za-z0-9._+%]+", stem)
        # What can be turned back is different for different pairs.
        assert tuple(unquote(half) for half in stem.split("-")) == (cell_type, assay)

    @given(st.lists(st.tuples(*[st.text("a-%~2D. ", min_size=1, max_size=4)] * 2), unique=True, max_size=50))
    def test_no_two_pairs_share_a_file_name(self, pairs):
        assert len({Experiment(*pair).file_stem for pair in pairs}) == len(pairs)

    def test_axes(self):
        pairs = [Experiment("b", "y"), Experiment("a", "z"), Experiment("b", "x")]
        assert axes(iter(pairs)) == (["a", "b"], ["x", "y", "z"])


class TestBed:
    def test_three_columns_in_file_order(self, table):
        path = table(
            "browser position chr1\ntrack name=x\n#comment\n\nchr2\t10\t20\tname\t0\nchr1 0 5\nchr1\t0\t5\r\n",
            "a.bed",
        )
        assert read_bed(path) == [Interval("chr2", 10, 20), Interval("chr1", 0, 5), Interval("chr1", 0, 5)]

    def test_gzipped_with_byte_order_mark(self, table):
        path = table(gzip.compress("\ufeffchr1\t0\t5\n".encode()), "a.bed.gz")
        assert read_bed(path) == [Interval("chr1", 0, 5)]

    @pytest.mark.parametrize(
        ("text", "parts"),
        [
            ("", ["no intervals", "it needs a line"]),
            ("# nothing\n", ["no intervals"]),
            ("chr1\t0\t5\nchr1\t7\n", ["line 2", "expected chromosome, start and end"]),
            ("chr1\tx\t5\n", ["line 1", "expected chromosome, start and end"]),
            ("chr1\t5\t5\n", ["line 1", "start 5 and end 5 enclose no base"]),
            ("chr1\t-1\t5\n", ["line 1", "start -1 and end 5 enclose no base"]),
            ("chr1\t9\t5\n", ["line 1", "start 9 and end 5 enclose no base"]),
        ],
    )
    def test_what_is_wrong_is_told_with_its_line(self, table, text, parts):
        path = table(text, "a.bed")
        with refused(TableError, str(path), *parts):
            read_bed(path)

    def test_files_that_cannot_be_read(self, table, tmp_path):
        with refused(TableError, "absent.bed", "No such file", "correct the path"):
            read_bed(tmp_path / "absent.bed")
        # Browsers unpack what they download, and leave the name.
        assert read_bed(table(b"chr1\t0\t5\n", "a.bed.gz")) == [Interval("chr1", 0, 5)]
        assert read_bed(table(gzip.compress(b"chr1\t0\t5\n"), "a.bed")) == [Interval("chr1", 0, 5)]
        assert read_bed(table(b'"chr1" "0" "5"\n', "r.bed")) == [Interval("chr1", 0, 5)]
        packed = bytearray(gzip.compress(b"chr1\t0\t5\n" * 100))
        packed[12:16] = b"\xff" * 4
        with refused(TableError, "b.bed.gz", "damaged", "download it again"):
            read_bed(table(bytes(packed), "b.bed.gz"))


# What reads each kind of table, and one that it takes.
READERS = {
    "tracks": (read_tracks, "cell_type\tassay\tpath\nC\tA\tx.bw\n"),
    "pairs": (read_pairs, "cell_type\tassay\nC\tA\n"),
    "tracks of a portal, or not": (read_track_table, "cell_type\tassay\tpath\nC\tA\tx.bw\n"),
    "scores": (lambda path: read_scores(path, text=["a"], numbers=["b"]), "a\tb\nx\t1\n"),
    "costs": (lambda path: read_costs(path, ["C"], ["A"]), "assay\tcost\nA\t5\n"),
    "BED": (read_bed, "chr1\t0\t5\nchr2\t0\t5\n"),
    "sizes": (lambda path: load_genome(str(path)), "chr1\t100\nchr2\t50\n"),
    "names": (read_names, "A\tx\nB\ty\n"),
    "gene sets": (read_gmt, "one\tmade\tA\tB\n"),
}


class TestSeparators:
    @pytest.mark.parametrize("kind", ["tracks", "pairs", "tracks of a portal, or not", "scores", "costs"])
    @pytest.mark.parametrize("mark", [",", ";", ", "])
    def test_tables_with_a_header_may_have_any(self, table, kind, mark):
        read, text = READERS[kind]
        wanted = read(table(text))
        assert read(table(text.replace("\t", mark))) == wanted

    @pytest.mark.parametrize("kind", ["BED", "sizes", "names", "gene sets"])
    @pytest.mark.parametrize(("mark", "name"), [(",", "comma"), (";", "semicolon"), (", ", "comma")])
    def test_what_spreadsheets_separate_tables_by_is_named(self, table, kind, mark, name):
        read, text = READERS[kind]
        assert read(table(text))
        path = table(text.replace("\t", mark), "saved.csv")
        with refused(TableError, f"{path} is {name}-separated; save it tab-separated"):
            read(path)

    @pytest.mark.parametrize(
        ("read", "columns"), [(read_gold, "regulator target"), (read_labels, "gene label")]
    )
    def test_networks_take_commas_but_no_semicolons(self, table, read, columns):
        text = f"{columns}\nA B\n"
        assert (
            read(table(text)) == read(table(text.replace(" ", ","))) == read(table(text.replace(" ", "\t")))
        )
        with refused(TableError, "is semicolon-separated; save it tab-separated"):
            read(table(text.replace(" ", ";")))
