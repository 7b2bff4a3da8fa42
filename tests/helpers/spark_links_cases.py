"""Link lists as Spark reads them, beside a stream; `spark_job.py` runs this file on a cluster of two workers."""

from __future__ import annotations

import pytest

from made_networks import write_link_case
from predictd.engine import Engine, LocalEngine
from predictd.errors import TableError
from predictd.workflows.network.filter import Limits, filter_network
from predictd.workflows.network.stats import describe_degrees


@pytest.fixture(scope="module")
def engine(spark_engine: Engine) -> Engine:
    return spark_engine


@pytest.mark.parametrize("limits", [Limits(minimum=0.4, top_per_target=3, top=500), Limits(minimum=0.75)])
def test_lists_are_filtered_to_the_same_bytes(engine, limits, tmp_path):
    write_link_case(tmp_path / "list.tsv")
    for name, own in (("spark", engine), ("stream", LocalEngine(1))):
        filter_network(tmp_path / "list.tsv", tmp_path / f"{name}.tsv", limits, own)
    assert (tmp_path / "spark.tsv").read_bytes() == (tmp_path / "stream.tsv").read_bytes()
    assert (tmp_path / "spark.tsv").read_text().count("\n") > 300


def test_forms_of_lists_are_read_as_a_stream_reads_them(engine, tmp_path):
    rows = [("a b", "x", "3"), ("b", "x", "2.50"), ("a", "y", "-1e-3"), ("a", "é", "3")]
    forms = (
        "\ufeff# made by hand\nTF\ttarget\tweight\n"
        + "".join(" " + "\t ".join(f'"{field}"' for field in row) + "\tmore\r\n" for row in rows)
        + "TF\ttarget\tweight\nc\ty\t.5\n\n",
        "".join(",".join(row) + "\n" for row in rows) + "p q 7\n",
        "sign\tTF\ttarget\timportance\n1\ta\tx\t5\n-1\tb\tx\t4\n.\tc\tx\t3\n\td\tx\t2\n+\te\tx\t1\n",
        "TF,target,importance,sign\na,x,5,-\nb,x,4\n",
    )
    for number, text in enumerate(forms):
        (tmp_path / "list.txt").write_text(text, encoding="utf-8", newline="")
        for name, own in (("spark", engine), ("stream", LocalEngine(1))):
            filter_network(tmp_path / "list.txt", tmp_path / f"{name}{number}.tsv.gz", Limits(top=9), own)
        texts = [(tmp_path / f"{name}{number}.tsv.gz").read_bytes() for name in ("spark", "stream")]
        assert texts[0] == texts[1]


def test_degrees_have_the_same_bytes(engine, tmp_path):
    write_link_case(tmp_path / "list.tsv")
    for name, own in (("spark", engine), ("stream", LocalEngine(1))):
        describe_degrees(tmp_path / "list.tsv", tmp_path / name, own)
    texts = [(tmp_path / name / "degrees.tsv").read_text() for name in ("spark", "stream")]
    assert texts[0] == texts[1] and texts[0].count("\n") == 341


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\tb\t1\nc\td\n", "line 'c d': expected regulator, target and weight"),
        ("a\tb\t1\nc\td\tx\n", "link c to d: the weight 'x' is no finite number"),
        ("a\tb\t1\nc\td\t1e999\n", "the weight '1e999' is no finite number"),
        ("a\tb\t1\na\tb\t2\n", "has the link a to b twice"),
        ("TF\ttarget\tweight\tsign\na\tb\t1\tup\n", "link a to b: the sign 'up' is none of"),
    ],
)
def test_bad_lists_are_told(engine, text, message, tmp_path):
    (tmp_path / "list.tsv").write_text(text)
    with pytest.raises(TableError, match=message):
        filter_network(tmp_path / "list.tsv", tmp_path / "out.tsv", Limits(top=5), engine)
    assert [path.name for path in tmp_path.iterdir()] == ["list.tsv"]
