"""Links as other programs read them: pySCENIC's adjacencies, SIF, GraphML, CSV."""

from __future__ import annotations

import gzip
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from commands import call_predictd
from predictd.config import NetworkSettings
from predictd.errors import ConfigError, TableError
from predictd.io.network.expression import Expression
from predictd.io.network.genesets import write_gmt
from predictd.workflows.network.filter import Limits, filter_network
from predictd.workflows.network.infer import Inference
from refusals import refused

EVERY = Limits()
NAMES = "{http://graphml.graphdrawing.org/xmlns}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, engine):
    """signed.tsv, plain.tsv, and net, which is made of signed.tsv. Read only."""
    path = tmp_path_factory.mktemp("forms")
    (path / "signed.tsv").write_text(
        "regulator\ttarget\timportance\tsign\na\tx\t3\t+\nb\tx\t2.5\t-\nNA\ty & z\t1e-3\t.\n"
    )
    (path / "plain.tsv").write_text("a\tx\t3\nb\tx\t2\n")
    filter_network(path / "signed.tsv", path / "net", Limits(top=3), engine)
    return path


@pytest.mark.parametrize("source", ["signed.tsv", "net"])
def test_adjacencies_are_those_that_pyscenic_reads(source, folder, tmp_path, engine):
    pd = pytest.importorskip("pandas")
    for suffix, separator in ((".tsv", "\t"), (".csv", ",")):
        path = tmp_path / f"adjacencies{suffix}"
        assert filter_network(folder / source, path, EVERY, engine, form="pyscenic") == 3
        # As pySCENIC's load_adjacencies does it.
        found = pd.read_csv(path, sep=separator, dtype={0: str, 1: str, 2: np.float64}, keep_default_na=False)
        assert list(found.columns) == ["TF", "target", "importance"]
        assert found.to_numpy().tolist() == [["a", "x", 3.0], ["b", "x", 2.5], ["NA", "y & z", 1e-3]]
        # And as our own commands do.
        filter_network(path, tmp_path / "back.tsv", Limits(min_importance=1), engine)
        assert (tmp_path / "back.tsv").read_text().splitlines()[1:] == ["a\tx\t3", "b\tx\t2.5"]


@pytest.mark.parametrize("source", ["signed.tsv", "net"])
def test_sif_says_what_links_do(source, folder, tmp_path, engine):
    filter_network(folder / source, tmp_path / "net.sif", EVERY, engine)
    assert (tmp_path / "net.sif").read_text() == "a\tactivates\tx\nb\tinhibits\tx\nNA\tregulates\ty & z\n"
    filter_network(folder / source, tmp_path / "top.sif.gz", Limits(top=1), engine)
    assert gzip.decompress((tmp_path / "top.sif.gz").read_bytes()) == b"a\tactivates\tx\n"


def test_links_without_signs_regulate(folder, tmp_path, engine):
    filter_network(folder / "plain.tsv", tmp_path / "plain.sif", EVERY, engine)
    assert (tmp_path / "plain.sif").read_text() == "a\tregulates\tx\nb\tregulates\tx\n"


def test_commas_separate_where_the_name_says_so(folder, tmp_path, engine):
    filter_network(folder / "net", tmp_path / "net.csv", Limits(top=2), engine)
    assert (tmp_path / "net.csv").read_text() == "regulator,target,importance,sign\na,x,3,+\nb,x,2.5,-\n"
    (tmp_path / "comma.tsv").write_text("a\tx,y\t1\n")
    with refused(TableError, "a comma or a quotation mark in the names a, x,y"):
        filter_network(tmp_path / "comma.tsv", tmp_path / "comma.csv", Limits(top=1), engine)
    assert not (tmp_path / "comma.csv").exists()


@pytest.mark.parametrize("source", ["signed.tsv", "net"])
def test_graphs_have_importances_and_signs(source, folder, tmp_path, engine):
    filter_network(folder / source, tmp_path / "net.graphml", EVERY, engine)
    graph = ET.parse(tmp_path / "net.graphml").getroot().find(f"{NAMES}graph")
    name = {node.get("id"): node.find(f"{NAMES}data").text for node in graph.iter(f"{NAMES}node")}
    assert sorted(name.values()) == ["NA", "a", "b", "x", "y & z"]
    found = {
        (name[edge.get("source")], name[edge.get("target")]): [
            (data.get("key"), data.text) for data in edge.iter(f"{NAMES}data")
        ]
        for edge in graph.iter(f"{NAMES}edge")
    }
    assert found == {
        ("a", "x"): [("importance", "3"), ("sign", "+")],
        ("b", "x"): [("importance", "2.5"), ("sign", "-")],
        ("NA", "y & z"): [("importance", "0.001"), ("sign", ".")],
    }
    filter_network(folder / source, tmp_path / "top.graphml", Limits(top=1), engine)
    assert (tmp_path / "top.graphml").read_text().count("<node ") == 2


def test_control_characters_are_refused(tmp_path, engine):
    (tmp_path / "list.tsv").write_text("a\x01b\tx\t1\n")
    for name in ("net.graphml", "net.graphml.gz"):
        with refused(TableError, r"names of genes with control characters ('a\x01b'); rename these genes"):
            filter_network(tmp_path / "list.tsv", tmp_path / name, EVERY, engine)
    matrix = Expression(("a", "b\tc"), tuple("123"), np.eye(2, 3), "rows")
    with refused(TableError, r"the matrix: names of genes with control characters ('b\tc')"):
        Inference(matrix, tmp_path / "net", NetworkSettings(method="pearson"))
    assert [path.name for path in tmp_path.iterdir()] == ["list.tsv"]


@pytest.mark.parametrize("name", ["#N/A", " F", "F ", "\u00a0F", '"F', 'C"', '"F"'])
def test_names_that_lists_would_lose_are_refused(name, tmp_path, engine):
    matrix = Expression(("a", name), tuple("123"), np.eye(2, 3), "rows")
    with refused(
        TableError, "the matrix: names of genes that lists of links cannot hold", "rename these genes"
    ):
        Inference(matrix, tmp_path / "net", NetworkSettings(method="pearson"))
    with refused(TableError, "sets.gmt: names of genes that lists of links cannot hold"):
        write_gmt(tmp_path / "sets.gmt", [(name, "", ["a"])])
    # Such names within are no matter.
    Inference(
        Expression(("a#", 'b "c" d'), tuple("123"), np.eye(2, 3), "rows"),
        tmp_path / "net",
        NetworkSettings(method="pearson"),
    )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["out.tsv", "out.csv", "out.sif"])
def test_a_line_that_would_be_a_comment_is_not_written(name, tmp_path, engine):
    (tmp_path / "list.tsv").write_text("target\tregulator\tweight\nx\t#a\t1\nx\tb\t2\n")
    with refused(TableError, f"{name}: the name #a begins with #, as a comment does; rename this gene"):
        filter_network(tmp_path / "list.tsv", tmp_path / name, EVERY, engine)
    assert [path.name for path in tmp_path.iterdir()] == ["list.tsv"]


def test_the_command_line_writes_forms(folder, tmp_path):
    command = ("network", "filter", folder / "net", "-o")
    done = call_predictd(*command, "a.csv", "--format", "pyscenic", "--workers", 1, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "a.csv: 3 links\n", "")
    assert (tmp_path / "a.csv").read_text() == "TF,target,importance\na,x,3\nb,x,2.5\nNA,y & z,0.001\n"
    assert (tmp_path / "a.csv.run.json").exists()
    done = call_predictd(*command, "a.sif.txt", "--format", "sif", cwd=tmp_path)
    assert done.returncode == 0 and (tmp_path / "a.sif.txt").read_text().startswith("a\tactivates\tx\n")
    done = call_predictd(*command, "adjacencies", "--format", "pyscenic", cwd=tmp_path)
    assert done.returncode == 2 and "let --output end with .tsv or .csv" in done.stderr
    done = call_predictd(*command, "all.csv", cwd=tmp_path)
    assert done.returncode == 0 and (tmp_path / "all.csv").read_text().splitlines()[1:] == [
        *("a,x,3,+", "b,x,2.5,-", "NA,y & z,0.001,.")
    ]
    before = sorted(tmp_path.iterdir())
    for name in ("f.xlsx", "f.json", "a.loom", "a.h5", "b.tab.gz"):
        done = call_predictd(*command, name, "--top", 2, cwd=tmp_path)
        assert (
            done.returncode == 2 and "let --output end with .tsv, .txt, .csv, .sif or .graphml" in done.stderr
        )
    done = call_predictd(*command, "a.tsv", "--min-importance", "nan", cwd=tmp_path)
    assert done.returncode == 2 and "'--min-importance': nan is not a number" in done.stderr
    assert sorted(tmp_path.iterdir()) == before


def test_a_name_must_fit_adjacencies(folder, tmp_path, engine):
    with refused(ConfigError, "let `output` end with .tsv or .csv"):
        filter_network(folder / "net", tmp_path / "a.tsv.gz", EVERY, engine, form="pyscenic")
