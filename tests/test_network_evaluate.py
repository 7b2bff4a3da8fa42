"""Evaluation of networks by command: files in, one row out."""

from __future__ import annotations

import json

import pytest

from commands import call_predictd
from made_networks import write_network_case
from predictd.config import NetworkSettings
from predictd.errors import DataError, NetworkFormatError, TableError
from predictd.io.network.expression import MatrixChoice
from predictd.io.network.frames import expression_of
from predictd.io.network.link_lists import read_link_list
from predictd.io.network.networks import read_gold, read_gold_pairs
from predictd.io.network.samples import read_rates
from predictd.io.network.text import read_expression
from predictd.io.tables import read_bed
from predictd.workflows.network.evaluate import COLUMNS, evaluate_network
from predictd.workflows.network.infer import Inference
from predictd.workflows.network.links import load_links
from read_tables import fields_of


@pytest.fixture(scope="module")
def network(tmp_path_factory, engine):
    """A network with its gold standard. Read only."""
    path = tmp_path_factory.mktemp("network")
    write_network_case(path)
    plan = Inference(
        path / "expression.tsv",
        path / "net",
        NetworkSettings(method="ridge"),
        regulators=path / "regulators.txt",
    )
    plan.make_all(engine)
    return path


def test_a_network_is_scored_and_told(network, tmp_path):
    done = call_predictd(
        "network", "evaluate", network / "net", network / "gold.tsv", "-o", "eval.tsv", cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "")
    header, row = ((tmp_path / "eval.tsv").read_text()).splitlines()
    assert header.split("\t") == list(COLUMNS)
    values = dict(zip(COLUMNS, row.split("\t"), strict=True))
    assert (values["method"], values["n_gold"], values["n_candidates"]) == ("ridge", "36", "108")
    assert values["candidates"] == "all"
    assert f"candidates: all pairs of the regulators and targets of {network / 'gold.tsv'}" in done.stdout
    numbers = {column: float(values[column]) for column in COLUMNS[1:-1]}
    assert 0.9 < numbers["aupr_low"] <= numbers["aupr"] <= numbers["aupr_high"] <= 1
    assert numbers["early_precision"] > 0.9 and numbers["auroc"] > 0.9
    assert (
        done.stdout.startswith(f"ridge: AUPR {numbers['aupr']:.4f} (")
        and "36 known links among 108" in done.stdout
    )
    told = json.loads((tmp_path / "eval.tsv.run.json").read_text())
    assert len(told["inputs"]) == 2


@pytest.mark.parametrize("form", ["tabs", "bare", "commas", "blanks", "quoted"])
def test_link_lists_of_other_tools_score_alike(form, network, tmp_path):
    lines = (network / "net" / "links.tsv").read_text().splitlines()
    if form == "bare":
        lines = lines[1:]
    if form in ("commas", "blanks"):
        lines = [line.replace("\t", "," if form == "commas" else " ") for line in lines]
    if form == "quoted":
        lines = ["\t".join(f'"{field}"' for field in line.split("\t")) for line in lines]
    (tmp_path / "other.tsv").write_text("\n".join(lines[::-1] if form == "bare" else lines) + "\n")
    own = evaluate_network(network / "net", network / "gold.tsv", tmp_path / "own.tsv")
    other = evaluate_network(tmp_path / "other.tsv", network / "gold.tsv", tmp_path / "eval.tsv")
    assert other["other"] == own["ridge"]
    assert (tmp_path / "eval.tsv").read_text().splitlines()[1].startswith("other\t")
    evaluate_network(tmp_path / "other.tsv", network / "gold.tsv", tmp_path / "eval.tsv", name="mine")
    assert (tmp_path / "eval.tsv").read_text().splitlines()[1].startswith("mine\t")


def test_networks_are_named_by_directory_or_file(network):
    assert load_links(network / "net")[1] == load_links(network / "net" / "network.h5")[1] == "ridge"
    with pytest.raises(NetworkFormatError, match="not a finished network"):
        load_links(network)
    with pytest.raises(NetworkFormatError, match="does not exist"):
        load_links(network / "absent")


def test_gold_links_to_oneself_and_twice_are_left_out(network, tmp_path, caplog):
    text = (network / "gold.tsv").read_text()
    (tmp_path / "gold.tsv").write_text(text + "G1\tG1\n" + text.splitlines()[3] + "\n")
    (scores,) = evaluate_network(network / "net", tmp_path / "gold.tsv", tmp_path / "eval.tsv").values()
    assert (scores.n_gold, scores.n_candidates) == (36, 108)
    assert "2 links that are of a gene to itself, or listed twice, are left out" in caplog.text


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("regulator\ttarget\nX\tG9\n", DataError, r"no regulator of .* \(X\) is a regulator of"),
        (
            "regulator\ttarget\nG1\tY\n",
            DataError,
            r"no target of .* \(Y\) is a target of .*use the same names",
        ),
        ("regulator\ttarget\nG1\tG1\n", DataError, "only links of genes to themselves"),
        ("regulator\ttarget\n", TableError, "holds no links"),
        ("tf\tname\nG1\tG9\n", TableError, "its header must hold regulator and target"),
        ("regulator\ttarget\nG1\n", TableError, "line 2: expected a regulator and a target"),
    ],
)
def test_bad_gold_standards_are_told(text, error, message, network, tmp_path):
    (tmp_path / "gold.tsv").write_text(text)
    with pytest.raises(error, match=message):
        evaluate_network(network / "net", tmp_path / "gold.tsv", tmp_path / "eval.tsv")
    assert not (tmp_path / "eval.tsv").exists()


def test_gold_genes_that_the_network_lacks_are_told(network, tmp_path, caplog):
    text = (network / "gold.tsv").read_text()
    (tmp_path / "gold.tsv").write_text(text + "X\tG9\nG1\tY\nX\tZ\n")
    (scores,) = evaluate_network(network / "net", tmp_path / "gold.tsv", tmp_path / "eval.tsv").values()
    assert (scores.n_gold, scores.n_candidates) == (39, 7 * 20)
    assert "1 of the 7 regulators (X) and 2 of the 20 targets (Y, Z) of" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\tb\n", "line 1: expected regulator, target and weight"),
        ("a\tb\t1\nc\td\tx\n", "line 2: the weight 'x' is not a finite number"),
        ("a\tb\t1\nc\td\t0,5\n", "the weight '0,5' is not a finite number; write decimals with a point"),
        ("A;B;0,5\n", "is semicolon-separated; save it tab-separated, and decimals as in 0.5"),
        ("a\tb\tnan\nc\td\t1\n", "line 1: the weight 'nan' is not a finite number"),
        ("a\tb\t1\n\td\t1\n", "line 2: expected regulator, target and weight"),
        ("a\tb\t1\na\tb\t2\n", "has the link a to b twice"),
        ("regulator\ttarget\tweight\n", "holds no links"),
        ("one\tother\tw\na\tb\t1\n", r"its header \(one, other, w\) must name regulator and target"),
        ("TF\ttarget\tsign\na\tb\t1\n", "its header names no weights"),
        (
            "TF,target,weight\na,b,0.5\nc,d,1,9\n",
            "line 3: 4 fields where the table has 3 columns; put quotation",
        ),
        (
            'TF,target,weight\na,b,"1,9"\n',
            "the weight '1,9' is not a finite number; write decimals with a point",
        ),
        ('a,b,"1,9"\n', "and perhaps the sign; write decimals with a point"),
        ("a,b,1,9\n", "line 1: 4 fields where the table has 3 columns"),
        ("TF\ttarget\tweight\n1\t10\t0.5\t9\n", "line 2: 4 fields where the table has 3 columns"),
        ("a\tb\t1\t+\nc\td\t1\t1.5\n", "line 2: the sign '1.5' is not one of"),
        ("regulator target weight\nT cell b 1\n", "line 2: 4 fields where the table has 3 columns"),
        (
            "# by hand\n#target\tregulator\tweight\nb\ta\t0.5\n",
            r"header \(target, regulator, weight\) begins with #",
        ),
        ("# target regulator weight\n\nb\ta\t0.5\n", "take the # before its header away"),
        ("#TF\ttarget\tmode\tweight\na\tb\tunknown\t0.5\n", "take the # before its header away"),
    ],
)
def test_bad_link_lists_are_told(text, message, tmp_path):
    (tmp_path / "links.tsv").write_text(text)
    with pytest.raises(TableError, match=message):
        read_link_list(tmp_path / "links.tsv")


@pytest.mark.parametrize(
    ("text", "regulators", "targets"),
    [
        (
            'TF,target,weight\n"T cell, CD4","b ""1"" c",0.5\n"c",d,"2",\n',
            ["T cell, CD4", "c"],
            ['b "1" c', "d"],
        ),
        ('"TF" "target" "weight"\n"1" "T cell, CD4" b 0.5\n"2" "c" d 2\n', ["T cell, CD4", "c"], ["b", "d"]),
        ('TF\ttarget\tweight\n"a, 1"\tb"c\t0.5\n c\t"d"\t2\n', ["a, 1", "c"], ['b"c', "d"]),
        # A comment that holds no header, and the sign of a list without one.
        ("# from all to some\na\tb\t0.5\t+\nc\td\t2\t.\n", ["a", "c"], ["b", "d"]),
    ],
)
def test_quotation_marks_hold_fields_together(text, regulators, targets, tmp_path):
    (tmp_path / "links.csv").write_text(text)
    assert read_link_list(tmp_path / "links.csv")[:3] == (regulators, targets, [0.5, 2.0])


@pytest.mark.parametrize(
    ("text", "gold"),
    [
        ('regulator,target\n"A,B",C\nD,E\n', [("A,B", "C"), ("D", "E")]),
        ("regulator,target\n1,A,B\n2,D,E\n", [("A", "B"), ("D", "E")]),
        ("regulator,target\nA,B,1\n", "line 2: 3 fields where the table has 2 columns"),
        ('regulator,target,score\nA,B,"0,5"\n', "line 2: '0,5' is not a number; write decimals with a point"),
        ("#target\tregulator\tweight\nA\tB\t1\n", r"header \(target, regulator, weight\) begins with #"),
    ],
)
def test_fields_of_gold_standards_are_divided_where_they_end(text, gold, tmp_path):
    (tmp_path / "gold.csv").write_text(text)
    if isinstance(gold, list):
        assert read_gold(tmp_path / "gold.csv") == gold
        return
    with pytest.raises(TableError, match=gold):
        read_gold(tmp_path / "gold.csv")


def test_lists_may_begin_with_comments_and_repeat_their_header(tmp_path):
    header = "TF\ttarget\tweight\n"
    (tmp_path / "links.tsv").write_text(f"# of two runs\n{header}a\tb\t1\n{header}a\tc\t2\n")
    assert read_link_list(tmp_path / "links.tsv") == (["a", "a"], ["b", "c"], [1.0, 2.0], None)


@pytest.mark.parametrize(
    "text",
    [
        "target\tregulator\tweight\nb\ta\t0.5\nd\tc\t2\n",
        "target,weight,regulator\nb,0.5,a\nd,2,c\n",
        "Gene1,Gene2,EdgeWeight\na,b,0.5\nc,d,2\n",
        "regulatoryGene targetGene weight\na b 0.5\nc d 2\n",
        "source\ttarget\tpmid\tscore\na\tb\t9\t0.5\nc\td\t8\t2\n",
        "a\tb\t0.5\nc\td\t2\n",
        "TF gene weight\na b 0.5\nc d 2\n",
        # With row names, as R writes it.
        "regulator\ttarget\tweight\n1\ta\tb\t0.5\n2\tc\td\t2\n",
    ],
)
def test_columns_of_link_lists_are_found_by_name(text, tmp_path):
    (tmp_path / "links.tsv").write_text(text)
    assert read_link_list(tmp_path / "links.tsv") == (["a", "c"], ["b", "d"], [0.5, 2.0], None)


@pytest.mark.parametrize(
    "text",
    [
        "regulator\ttarget\tlink\na\tb\t1\na\tc\t0\nd\te\t1\n",
        "TF,target,weight\na,b,-1\na,c,0\nd,e,1\n",
        "Gene1,Gene2,Type\na,b,+\nd,e,-\n",
        "regulator\ttarget\tlabel\na\tb\tTrue\na\tc\tFalse\nd\te\tTrue\n",
        "regulator\ttarget\tlabel\na\tb\t1.0\na\tc\t0.0\nd\te\t1.0\n",
        "regulator\ttarget\tlabel\n1\ta\tb\tyes\n2\ta\tc\tno\n3\td\te\tyes\n",
        "Transcription Factor,Target Gene\na,b\nd,e\n",
        "a b 1.0\na c 0.0\nd e 1.0\n",
        "regulator\ttarget\tlabel\na\tb\t1,0\na\tc\t0,0\nd\te\t1,0\n",
        "a\tb\t1\na\tc\t0\nd\te\t1\n",
    ],
)
def test_a_gold_standard_may_say_what_is_no_link(text, tmp_path):
    (tmp_path / "gold.tsv").write_text(text)
    assert read_gold(tmp_path / "gold.tsv") == [("a", "b"), ("d", "e")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("TF\ttarget\tchip\tmotif\na\tb\t1\t0\n", r"several columns hold 0 and 1 \(chip, motif\)"),
        ("TF\ttarget\tweight\na\tb\tmuch\n", "line 2: 'much' is not a number"),
        ("TF\ttarget\tweight\na\tb\tnan\n", "line 2: 'nan' is not a number"),
        ("TF\ttarget\tweight\na\tb\t0,5\n", "line 2: '0,5' is not a number; write decimals with a point"),
        ("from\tto\tregulator\na\tb\t+\n", "is not a gold standard: its header must hold"),
        ("a\tb\nc\td\n", "is not a gold standard: its header must hold"),
        ("TF\ttarget\tweight\na\tb\t0\n", "holds no links"),
    ],
)
def test_gold_standards_that_could_be_read_in_two_ways_are_refused(text, message, tmp_path):
    (tmp_path / "gold.tsv").write_text(text)
    with pytest.raises(TableError, match=message):
        read_gold(tmp_path / "gold.tsv")


def test_pairs_that_a_gold_standard_does_not_judge_are_no_candidates(tmp_path):
    gold, links = tmp_path / "gold.tsv", tmp_path / "links.tsv"
    links.write_text("b\ty\t9\na\tz\t8\na\tx\t3\na\ty\t2\n")
    gold.write_text("a\tx\t1\na\ty\t0\nb\tx\t0\na\tz\t0\nb\tb\t0\na\ty\t0\n")
    done = call_predictd("network", "evaluate", links, gold, "-o", "eval.tsv", cwd=tmp_path)
    assert "2 links that are of a gene to itself, or listed twice, are left out" in done.stderr
    # a to z, a to x (a link), a to y, b to x: the network's first, b to y, is not judged.
    expected = ["links", "0.666667", "0.5", "0", "1", "4", "listed"]
    (row,) = fields_of(tmp_path / "eval.tsv")[1:]
    assert [*row[:3], *row[5:]] == expected
    assert f"candidates: the pairs that {gold} lists, links or not" in done.stdout
    # Without the zeros, all pairs of its genes are candidates, as of a list of links.
    gold.write_text("a\tx\t1\n")
    (scores,) = evaluate_network(links, gold, tmp_path / "eval.tsv").values()
    assert (scores.n_candidates, scores.candidates) == (1, "all")


def test_a_pair_that_is_a_link_and_none_is_refused(tmp_path):
    (tmp_path / "gold.tsv").write_text("a\tb\t1\nc\td\t1\na\tb\t0\n")
    with pytest.raises(TableError, match="has a to b both as a link and as none; keep one of the lines"):
        read_gold(tmp_path / "gold.tsv")


def test_a_list_scores_the_same_with_its_columns_in_another_order(tmp_path):
    rows = [("a", "x", 3), ("b", "x", 2), ("a", "y", 1), ("b", "y", 0.5)]
    gold = tmp_path / "gold.tsv"
    gold.write_text("regulator\ttarget\na\tx\nb\ty\n")
    lists = {
        "one.tsv": "".join(f"{a}\t{b}\t{w}\n" for a, b, w in rows),
        "other.tsv": "target\tregulator\tweight\n" + "".join(f"{b}\t{a}\t{w}\n" for a, b, w in rows),
    }
    for name, text in lists.items():
        (tmp_path / name).write_text(text)
        scores = evaluate_network(tmp_path / name, gold, tmp_path / f"{name}.scores.tsv")
        # The first and the last of four candidates are links: (1 + 2/4) / 2.
        assert [own.aupr for own in scores.values()] == [pytest.approx(0.75)]


def test_gold_columns_may_stand_anywhere(tmp_path):
    (tmp_path / "gold.tsv").write_text("sign\tTarget\tRegulator\n+\tb\ta\n")
    assert read_gold(tmp_path / "gold.tsv") == [("a", "b")]


LABELLED = ("a\tb\t0.9\t1", "a\tc\t0.8\t0", "d\te\t0.1\t1")


@pytest.mark.parametrize(
    "header", ["regulator\ttarget\tscore\tlabel", "TF\tgene\tconfidence\tis_link", "TF\tgene\tweight\tchip"]
)
@pytest.mark.parametrize("repeated", [False, True])
def test_a_column_of_0_and_1_decides_beside_a_score(header, repeated, tmp_path):
    lines = [header, *LABELLED[:2], *[header] * repeated, LABELLED[2]]
    (tmp_path / "gold.tsv").write_text("\n".join(lines) + "\n")
    assert read_gold_pairs(tmp_path / "gold.tsv") == ([("a", "b"), ("d", "e")], [("a", "c")])


@pytest.mark.parametrize(
    ("header", "gold"),
    [
        ("TF\ttarget\tscore\tlabel\tweight", [("a", "b")]),
        ("TF\ttarget\tscore\tlabel\tmotif", None),
        ("TF\ttarget\tnote\tlabel\tconfidence", None),
    ],
)
def test_of_several_columns_of_0_and_1_the_one_called_weight_decides(header, gold, tmp_path):
    (tmp_path / "gold.tsv").write_text(f"{header}\na\tb\t0.9\t0\t1\nc\td\t0.2\t1\t0\n")
    if gold is not None:
        assert read_gold(tmp_path / "gold.tsv") == gold
        return
    with pytest.raises(TableError, match="several columns hold 0 and 1"):
        read_gold(tmp_path / "gold.tsv")


@pytest.mark.parametrize("number", ["1_0", "\uff11", "\u0663", "1_0.5"])
@pytest.mark.parametrize(
    ("read", "text"),
    [
        (read_gold, "TF\ttarget\tweight\na\tb\t{}\nc\td\t0.5\n"),
        (read_link_list, "TF\ttarget\tweight\na\tb\t{}\nc\td\t0.5\n"),
        (read_rates, "gene\trate\na\t{}\n"),
        (read_expression, "gene\ts1\ts2\na\t1\t{}\n"),
        (read_expression, "gene,s1,s2\na,1,{}\n"),
        (read_bed, "chr1\t{}\t10\n"),
    ],
)
def test_numbers_are_written_as_all_programs_read_them(number, read, text, tmp_path):
    (tmp_path / "table").write_text(text.format(number), encoding="utf-8")
    with pytest.raises(TableError, match="line 2.*no" if read is not read_bed else "line 1: expected"):
        read(tmp_path / "table")


def test_text_in_frames_is_read_by_the_same_rule():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"G1": ["1", "2.5"], "G2": [3.0, 4.0]}, index=["s1", "s2"])
    assert expression_of(frame, MatrixChoice()).values.tolist() == [[1.0, 2.5], [3.0, 4.0]]
    frame.loc["s2", "G1"] = "2_5"
    with pytest.raises(TableError, match="values that are not numbers \\(such as '2_5'\\)"):
        expression_of(frame, MatrixChoice())


def test_what_several_networks_lack_is_told_once(network, tmp_path, caplog):
    text = (network / "gold.tsv").read_text()
    (tmp_path / "gold.tsv").write_text(text + "X\tG9\n")
    lines = (network / "net" / "links.tsv").read_text().splitlines()
    others = [tmp_path / f"{n}.tsv" for n in range(4)]
    for n, path in enumerate(others):
        path.write_text("\n".join(lines[: len(lines) - n]) + "\n")
    evaluate_network(network / "net", tmp_path / "gold.tsv", tmp_path / "eval.tsv", beside=others)
    (told,) = [record.getMessage() for record in caplog.records]
    assert told.startswith("1 of the 7 regulators (X) of ") and " and 2 more: their links are" in told
