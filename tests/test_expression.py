"""Expression matrices: orientations, and everything that may be wrong with them."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from predictd.errors import TableError
from predictd.io.network.expression import numeric_names
from predictd.io.network.text import read_expression, read_names

ROWS = "gene\tS1\tS2\tS3\nA\t1\t2\t3\nB\t4\t5\t6.5\n"
COLUMNS = '"A"\t"B"\n1\t4\n2\t5\n3\t6.5\n'
VALUES = [[1, 2, 3], [4, 5, 6.5]]


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "expression.tsv"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize(
    ("text", "given", "found", "samples"),
    [
        (ROWS, None, "rows", ("S1", "S2", "S3")),
        (ROWS.replace("gene", "Gene"), None, "rows", ("S1", "S2", "S3")),
        (COLUMNS, None, "columns", None),
        (COLUMNS.replace("\n", "\r\n"), None, "columns", None),
        # A column of labels that does not say what it labels.
        (ROWS.replace("gene", "id"), "rows", "rows", ("S1", "S2", "S3")),
        (ROWS.replace("gene\t", ""), "rows", "rows", ("S1", "S2", "S3")),
        ("sample\tA\tB\nS1\t1\t4\nS2\t2\t5\nS3\t3\t6.5\n", "columns", "columns", ("S1", "S2", "S3")),
        ("A\tB\nS1\t1\t4\nS2\t2\t5\nS3\t3\t6.5\n", "columns", "columns", ("S1", "S2", "S3")),
        # Numbers for names are labels where genes stand in rows.
        ("id\tS1\tS2\tS3\n101\t1\t2\t3\n102\t4\t5\t6.5\n", "rows", "rows", ("S1", "S2", "S3")),
        ("Gene_ID\tS1\tS2\tS3\nA\t1\t2\t3\nB\t4\t5\t6.5\n", None, "rows", ("S1", "S2", "S3")),
        ("cell\tA\tB\n0\t1\t4\n1\t2\t5\n2\t3\t6.5\n", None, "columns", ("0", "1", "2")),
        ("barcode\tA\tB\nx\t1\t4\ny\t2\t5\nz\t3\t6.5\n", None, "columns", ("x", "y", "z")),
        ("\tA\tB\n0\t1\t4\n1\t2\t5\n2\t3\t6.5\n", "columns", "columns", ("0", "1", "2")),
        # The option wins over the header.
        ("gene\tA\tB\nS1\t1\t4\nS2\t2\t5\nS3\t3\t6.5\n", "columns", "columns", ("S1", "S2", "S3")),
    ],
)
def test_genes_are_found_in_rows_and_columns(text, given, found, samples, written):
    expression = read_expression(written(text), orientation=given)
    assert (expression.orientation, expression.samples) == (found, samples)
    assert expression.genes in (("A", "B"), ("101", "102"))
    np.testing.assert_array_equal(expression.values, VALUES)
    assert expression.values.flags.c_contiguous


def test_comments_above_a_header_are_passed_over(written):
    text = "# Program:x; Command:y\n#gene\tbatch\tof\tsamples\n"
    for below in ("", "# by\tme\n", "# a note\n"):
        np.testing.assert_array_equal(read_expression(written(text + ROWS + below)).values, VALUES)
    # Samples and genes may have whole numbers for names.
    expression = read_expression(written(ROWS.replace("S", "")))
    assert expression.samples == ("1", "2", "3")


def test_gzipped_matrices_are_read(tmp_path):
    path = tmp_path / "expression.tsv.gz"
    path.write_bytes(gzip.compress(ROWS.encode()))
    np.testing.assert_array_equal(read_expression(path).values, VALUES)


@pytest.mark.parametrize(
    ("mark", "comma"),
    [(",", "."), (", ", "."), (";", "."), (";", ",")],
)
def test_tables_of_spreadsheets(mark, comma, written):
    for text in (ROWS, '"gene"\t"S, 1"\t"S;2"\t"S3"\n"A"\t1\t2\t3\n"B"\t4\t5\t6.5\n'):
        expression = read_expression(written(text.replace("\t", mark).replace("6.5", f"6{comma}5")))
        assert expression.genes == ("A", "B") and len(expression.samples) == 3
        np.testing.assert_array_equal(expression.values, VALUES)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (ROWS.replace("\t", ";").replace("6.5", "1.006,5"), "line 3: '1.006.5' is not a number"),
        (
            ROWS.replace("gene", "id"),
            "cannot tell whether the rows of .* are genes or samples: give `orientation`",
        ),
        (ROWS.replace("gene\t", ""), "cannot tell whether the rows"),
        (ROWS.replace("B\t", "A\t"), "has genes twice: A; keep one of each"),
        (ROWS.replace("S2", "S1"), "has samples twice: S1"),
        (COLUMNS.replace("B", "A"), "has genes twice: A"),
        (ROWS.replace("6.5", "nan"), r"gene B has no finite number in sample S3 \(1 such values in all\)"),
        (COLUMNS.replace("6.5", "inf"), "gene B has no finite number in line 4"),
        (ROWS.replace("6.5", "NA"), "line 3: 'NA' is not a number; leave the gene out"),
        (ROWS.replace("6.5", ""), "line 3: '' is not a number"),
        (ROWS.replace("6.5", "6,5"), "line 3: '6,5' is not a number; write decimals with a point, as in 0.5"),
        ("A\tB\n0,5\t1,5\n2,5\t3,5\n", "line 2: '1,5' is not a number; write decimals with a point"),
        ("A,B\n0,5,1,5\n2,5,3,5\n", "header has 2 fields, the line below 4; do numbers have decimal commas"),
        (ROWS.replace("\t6.5", ""), "line 3: 3 fields where the lines before have 4"),
        (
            ROWS.replace("A\t", "1-Mar\t"),
            r"gene names look like dates \(1-Mar\): a spreadsheet has changed them",
        ),
        (ROWS.replace("A\t", "Sep-02\t"), "look like dates"),
        (ROWS.replace("A\t", "2021-03-01\t"), "look like dates"),
        (ROWS.replace("A\t", "SEP-02\t"), "look like dates"),
        (ROWS.replace("A\t", "\t"), "gene 1 has no name"),
        ("Unnamed: 0\tA\tB\n3\t1\t2\n7\t3\t4\n9\t5\t6\n", "cannot tell whether the rows"),
        (
            "patient\tA\n" + "".join(f"{7 * i % 60}\t{i / 3}\n" for i in range(9)),
            "the first column, patient, holds the numbers of lines",
        ),
        (
            "n\tB\n" + "".join(f"{i}\t{i * i}\n" for i in range(9)),
            "the first column, n, holds the numbers of lines",
        ),
        ("Time\tA\n0\t4\n50\t5\n", "the first column is called Time; leave it out"),
        ("\tA\tB\n0\t1\t4\n1\t2\t5\n", "cannot tell whether the rows"),
        ("id\tA\tB\n7\t1\t4\n9\t2\t5\n", "cannot tell whether the rows"),
        (ROWS.replace("\tS1\tS2\tS3", "\tS1"), "the header has 2 fields, the line below 4"),
        ("0.25\t0.5\n1\t4\n2\t5\n", r"the names of genes look like numbers \(0.25, 0.5\): is there a header"),
        (
            "gene\t0.25\t0.5\nG1\t1\t4\nG2\t2\t5\n",
            r"the names of samples look like numbers \(0.25, 0.5\): is there a header",
        ),
        (
            ROWS + "#G9\t1\t2\t3\n",
            r"line \d+: the row '#G9' begins with #, so that it is a comment; take the #",
        ),
        (ROWS.replace("\n", "\n#G9\t1\t2\t3\n", 1), r"line 2: the row '#G9' begins with #"),
        ("A,B\n#S9,1,2\nS1,3,4\n", r"line 2: the row '#S9' begins with #"),
        ("#" + ROWS, r"the header \(gene, S1, S2, S3\) begins with #.* take the # before its header away"),
        ("# made by R\n# S1,S2\nG0,5,7\nG1,1,2\nG2,3,4\n", r"the header \(S1, S2\) begins with #"),
        ("#" + COLUMNS.replace('"', ""), r"the header \(A, B\) begins with #"),
        *(
            (
                f"sample\tA\t{name}\tB\nS1\t1\t0\t4\nS2\t2\t5\t5\n",
                f"has the column {name}, which is not a gene",
            )
            for name in ("time", "Cell", "index", "Unnamed: 0", "sample_id")
        ),
        *(
            (ROWS.replace("S1", name), f"has the column {name}, which describes genes")
            for name in ("Length", "effective_length", "Start", "Chr", "EntrezID", "gene_name")
        ),
        ("gene\tS1\n", "holds no expression"),
        ("gene S1\nA 1\n", "has one column: separate its columns by tabs or commas"),
        ("", "holds no expression"),
    ],
)
def test_bad_matrices_are_told(text, message, written):
    with pytest.raises(TableError, match=message) as caught:
        read_expression(written(text))
    assert "\n" not in str(caught.value)


def test_unreadable_files_are_told(tmp_path):
    with pytest.raises(TableError, match="No such file"):
        read_expression(tmp_path / "absent.tsv")
    damaged = tmp_path / "damaged.tsv.gz"
    damaged.write_bytes(gzip.compress(ROWS.encode())[:20])
    with pytest.raises(TableError, match="truncated, damaged"):
        read_expression(damaged)


def test_genes_of_worms_are_no_dates(written, caplog):
    genes = ("jun-1", "apr-1", "sep-1", "dec-7", "oct-2", "mar-1", "Sep-7", "mARch-1", "unc-54")
    expression = read_expression(written("gene\tS1\tS2\n" + "".join(f"{gene}\t1\t2\n" for gene in genes)))
    assert expression.genes == genes
    assert "could be dates (jun-1, apr-1" in caplog.text and "unc-54" not in caplog.text


def test_names_that_read_as_numbers_are_told_apart():
    assert numeric_names(["A", "2.31E+13", "7", "B"]) == ["2.31E+13", "7"]
    assert numeric_names(["101", "102"]) == []


def test_lists_of_names(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text('# heading\nB\n\n"A"\tmore\nB\n')
    assert read_names(path) == ["B", "A"]
    path.write_text("# nothing\n\n")
    with pytest.raises(TableError, match="lists no genes"):
        read_names(path)
