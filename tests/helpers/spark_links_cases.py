"""Link lists as Spark reads them, beside a stream; `spark_job.py` runs this file on a cluster of two workers."""

from __future__ import annotations

import numpy as np
import pytest

from made_networks import write_link_case
from predictd.engine import Engine, LocalEngine
from predictd.errors import ConfigError, TableError
from predictd.io.network.link_lists import Units
from predictd.workflows.network.filter import Limits, filter_network
from predictd.workflows.network.links import load_links, open_graph
from predictd.workflows.network.stats import describe_degrees, describe_network, measure

pytest.importorskip("pyspark")
from predictd.workflows.network.spark_links import SparkLinks
from read_tables import fields_of

# All that `str.strip` takes off but what ends lines or parts fields.
_BLANKS = [chr(code) for code in range(0x3001) if chr(code).isspace() and chr(code) not in "\t\n\r"]


@pytest.fixture(scope="module")
def engine(spark_engine: Engine) -> Engine:
    return spark_engine


@pytest.mark.parametrize(
    "limits", [Limits(min_importance=0.4, top_per_target=3, top=500), Limits(min_importance=0.75)]
)
def test_lists_are_filtered_to_the_same_bytes(engine, limits, tmp_path):
    write_link_case(tmp_path / "list.tsv")
    for name, own in (("spark", engine), ("stream", LocalEngine(1))):
        filter_network(tmp_path / "list.tsv", tmp_path / f"{name}.tsv", limits, own)
    assert (tmp_path / "spark.tsv").read_bytes() == (tmp_path / "stream.tsv").read_bytes()
    assert (tmp_path / "spark.tsv").read_text().count("\n") > 300


def test_forms_of_lists_are_read_as_a_stream_reads_them(engine, tmp_path):
    rows = [("a b", "x", "3"), ("b", "x", "2.50"), ("a", "y", "-1e-3"), ("a", "é", "3")]
    forms = (
        "\ufeff# made by hand\nTF\ttarget\tweight\tnote\n"
        + "".join(" " + "\t ".join(f'"{field}"' for field in row) + "\tmore\r\n" for row in rows)
        + "TF\ttarget\tweight\tnote\nc\ty\t.5\t\n\n",
        "".join(",".join(row) + "\n" for row in rows) + "p q 7\n",
        "sign\tTF\ttarget\timportance\n1\ta\tx\t5\n-1\tb\tx\t4\n.\tc\tx\t3\n\td\tx\t2\n+\te\tx\t1\n",
        "TF,target,importance,sign\na,x,5,-\nb,x,4\n",
        "a x 5 -\n b  x 4 . \n",
        # Separators within quotation marks are letters.
        'TF,target,importance\n"T cell, CD4", "x ""1"" y" ,"5"\nb,"x, y",4,,\nc"d,x"y,3\n',
        'TF\ttarget\timportance\n"T, 1"\t"x"\t5\n"b"\t "d"\t4\n"e\tx\t3\n',
        '"TF" "target" "importance"\n"T cell, CD4"  "x y" 5\n b c "4"\n',
        # What is white space to Python alone: around names, between them, in blank lines and next to quotation marks.
        "".join(f"{blank}a{blank}\tx{blank}{n}\t{n}{blank}\n{blank}\n" for n, blank in enumerate(_BLANKS)),
        "".join(f"a{blank}x{n}{blank}{blank}{n}\n" for n, blank in enumerate(_BLANKS)),
        "".join(f'a,{blank}"x,{n}"{blank},{n}\n' for n, blank in enumerate(_BLANKS)),
        "".join(f'a{blank}"x {n}"{blank}{n}\n' for n, blank in enumerate(_BLANKS)),
        "".join(f'a\t"x{blank}{n}"\t{n}\t"{blank}"\n' for n, blank in enumerate(_BLANKS)),
    )
    for number, text in enumerate(forms):
        (tmp_path / "list.txt").write_text(text, encoding="utf-8", newline="")
        for name, own in (("spark", engine), ("stream", LocalEngine(1))):
            filter_network(tmp_path / "list.txt", tmp_path / f"{name}{number}.tsv.gz", Limits(top=60), own)
        texts = [(tmp_path / f"{name}{number}.tsv.gz").read_bytes() for name in ("spark", "stream")]
        assert texts[0] == texts[1]


def test_degrees_have_the_same_bytes(engine, tmp_path):
    write_link_case(tmp_path / "list.tsv")
    for name, own in (("spark", engine), ("stream", LocalEngine(1))):
        describe_degrees(tmp_path / "list.tsv", tmp_path / name, own)
    texts = [(tmp_path / name / "degrees.tsv").read_text() for name in ("spark", "stream")]
    assert texts[0] == texts[1] and texts[0].count("\n") == 341


def test_a_graph_is_measured_as_by_igraph(engine, tmp_path, caplog, monkeypatch):
    pytest.importorskip("igraph")
    write_link_case(tmp_path / "list.tsv", 8, 40)
    # Between regulators, of a gene to itself, without weight, and a path that takes three rounds to a star.
    others = [("gene3", "TF0", -2), ("TF1", "TF0", 1e-7), ("x", "y", 0), ("z", "z", 0), ("TF2", "TF2", 1)]
    path = ("c3", "c0"), ("c3", "c6"), ("c2", "c6"), ("c2", "c5"), ("c1", "c5"), ("c1", "c4")
    others += [("TF3", "TF2", 3), *((*link, 1) for link in path)]
    with (tmp_path / "list.tsv").open("a") as file:
        file.writelines(f"{regulator}\t{target}\t{weight}\n" for regulator, target, weight in others)
    ranks = []

    def watched(table, *arguments, **options):
        for row in graph(table, *arguments, **options):
            ranks.append(row[-2])
            yield row

    graph = SparkLinks.graph
    monkeypatch.setattr(SparkLinks, "graph", watched)
    for name, own in (("spark", engine), ("all", LocalEngine(1))):
        report = describe_network(tmp_path / "list.tsv", tmp_path / name, own)
        assert report.n_genes == 58 and len(report.leading) == 10
    rows = [fields_of(tmp_path / name / "genes.tsv") for name in ("spark", "all")]
    kept = [rows[1][0].index(name) for name in rows[0][0]]
    assert rows[0] == [[row[place] for place in kept] for row in rows[1]]
    assert {row[-1] for row in rows[0][1:]} == {"1", "2", "3", "4"}
    right = measure(load_links(tmp_path / "list.tsv")[0])
    expected = dict(zip(right.edges.genes, right.central.pagerank.tolist(), strict=True))
    np.testing.assert_allclose(ranks, [expected[row[1]] for row in rows[0][1:]], rtol=1e-6)
    assert "Spark measures degrees, PageRank and connected components of a list" in caplog.text
    with pytest.raises(ConfigError, match="Spark makes no clusters; leave `n_clusters` out"):
        describe_network(tmp_path / "list.tsv", tmp_path / "more", engine, n_clusters=3)


def test_pageranks_of_few_genes_beside_many_are_exact(engine, tmp_path):
    """A loop of two whose ranks take many steps, and are little of the sum of all."""
    n, damping = 20_000, 0.85
    fan = "".join(f"R\tt{i}\t1e-20\n" for i in range(n))
    (tmp_path / "list.tsv").write_text(f"A\tB\t1e20\nB\tA\t1\n{fan}")
    table = open_graph(tmp_path / "list.tsv", engine)
    units = Units.of(*table.extent())
    rows = {
        gene: (units.weight(out), rank) for gene, _, _, _, out, rank, _ in table.graph(units, damping=damping)
    }
    ranks = {"A": 1 / (1 - damping), "B": 1 / (1 - damping), "R": 1 + damping * n, "t0": 1.0}
    total = 2 * ranks["A"] + ranks["R"] + n
    assert len(rows) == n + 3
    for gene, rank in ranks.items():
        assert rows[gene][1] == pytest.approx(rank / total, rel=1e-6)
    assert (rows["A"][0], rows["B"][0]) == (1e20, 1) and rows["t0"][0] == 0
    (tmp_path / "list.tsv").write_text("regulator\ttarget\timportance\n")
    with pytest.raises(TableError, match="holds no links"):
        describe_network(tmp_path / "list.tsv", tmp_path / "out", engine)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\tb\t1\nc\td\n", "line 'c d': expected regulator, target and weight"),
        ("a\tb\t1\nc\td\tx\n", "link c to d: the weight 'x' is not a finite number"),
        ("a\tb\t1\nc\td\t1e999\n", "the weight '1e999' is not a finite number"),
        ("a\tb\t1\na\tb\t2\n", "has the link a to b twice"),
        (
            "TF,target,weight\na,b,0.5\nc,d,1,9\n",
            "link c to d: 4 fields where the table has 3 columns; put quot",
        ),
        ('TF,target,weight\na,b,0.5\nc,d,"1,9"\n', "link c to d: the weight '1,9' is not a finite number"),
        ("TF\ttarget\tweight\tsign\na\tb\t1\tup\n", "link a to b: the sign 'up' is not one of"),
    ],
)
def test_bad_lists_are_told(engine, text, message, tmp_path):
    (tmp_path / "list.tsv").write_text(text)
    with pytest.raises(TableError, match=message):
        filter_network(tmp_path / "list.tsv", tmp_path / "out.tsv", Limits(top=5), engine)
    assert [path.name for path in tmp_path.iterdir()] == ["list.tsv"]
