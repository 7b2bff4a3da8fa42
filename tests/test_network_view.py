"""What shows a network: the page in a real browser, GraphML as igraph reads it, the figure."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

import chromium
from commands import call_predictd
from folders import same_files
from made_networks import write_link_case
from predictd.errors import OutputError, TableError
from predictd.grn.graph import Edges
from predictd.workflows.network.links import load_links
from predictd.workflows.network.view import view_network

igraph = pytest.importorskip("igraph", reason="python-igraph is not installed")


@pytest.fixture(scope="module")
def viewed(tmp_path_factory):
    """list.tsv, with a name that would end a script, and what shows it. Read only."""
    path = tmp_path_factory.mktemp("viewed")
    write_link_case(path / "list.tsv")
    with (path / "list.tsv").open("a") as file:
        file.write("TF1\t</script><b>&\t9\n")
    view_network(path / "list.tsv", path / "view", n_hubs=5, n_links=200)
    return path


def dump(page, folder, fragment=""):
    """The page's document as a browser has made it."""
    done = subprocess.run(
        [
            str(chromium.PROGRAM),
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            f"--user-data-dir={folder}",
            "--virtual-time-budget=15000",
            "--dump-dom",
            page.as_uri() + fragment,
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "HOME": str(folder)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@chromium.needs_chromium
def test_a_browser_shows_hubs_and_neighbourhoods(viewed, tmp_path):
    links, _ = load_links(viewed / "list.tsv")
    edges = Edges.of(links)
    page = viewed / "view" / "network.html"
    shown = dump(page, tmp_path / "a")
    assert '<h1 id="title">list.tsv</h1>' in shown and "of 2401 links" in shown
    assert len(re.findall("<canvas", shown)) >= 2
    nodes, arcs = (int(re.search(rf'data-{name}="(\d+)"', shown)[1]) for name in ("nodes", "edges"))
    assert 5 < nodes <= 5 + 60 and arcs == 60
    near = dump(page, tmp_path / "b", "#tf1")
    assert "<h2>TF1</h2>" in near and "→ &lt;/script&gt;&lt;b&gt;&amp;" in near
    own = int(edges.out_degree()[edges.genes.index("TF1")])
    assert f"<td>targets</td><td>{own}</td>" in near


def test_the_page_needs_nothing_else(viewed):
    text = (viewed / "view" / "network.html").read_text()
    # The library's comments and error messages name pages; nothing is loaded from one.
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=", text)
    assert "The Cytoscape Consortium" in text and "@DATA@" not in text and "@CYTOSCAPE@" not in text


def test_graphs_are_read_by_others(viewed):
    graph = igraph.Graph.Read_GraphML(str(viewed / "view" / "network.graphml"))
    links, _ = load_links(viewed / "list.tsv")
    assert "sign" not in graph.es.attributes()
    assert graph.is_directed() and graph.ecount() == len(links) == 2401 and graph.vcount() == 341
    expected = {
        (links.regulators[r], links.targets[t]): float(f"{w:.6g}")
        for r, t, w in zip(
            links.indices.tolist(), links.rows().tolist(), links.importances.tolist(), strict=True
        )
    }
    names = graph.vs["name"]
    got = {(names[e.source], names[e.target]): e["importance"] for e in graph.es}
    assert got == expected and graph.vs["in_degree"] == graph.indegree()


def test_signs_are_shown(tmp_path):
    (tmp_path / "list.tsv").write_text("TF\ttarget\timportance\tsign\na\tx\t3\t+\nb\tx\t2\t-\n")
    view_network(tmp_path / "list.tsv", tmp_path / "view")
    graph = igraph.Graph.Read_GraphML(str(tmp_path / "view" / "network.graphml"))
    names = graph.vs["name"]
    assert {(names[e.source], e["sign"]) for e in graph.es} == {("a", "+"), ("b", "-")}
    page = (tmp_path / "view" / "network.html").read_text()
    assert re.search(r'"links":\[\[\d,\d,3.0,1\],\[\d,\d,2.0,-1\]\]', page)


@chromium.needs_chromium
def test_a_browser_shows_signs(tmp_path):
    (tmp_path / "list.tsv").write_text("TF\ttarget\timportance\tsign\na\tx\t3\t+\nb\tx\t2\t-\n")
    view_network(tmp_path / "list.tsv", tmp_path / "view")
    shown = dump(tmp_path / "view" / "network.html", tmp_path / "a", "#x")
    assert "← a +<" in shown and "← b −<" in shown and '<p id="effects">' in shown


def test_control_characters_are_refused(tmp_path):
    (tmp_path / "list.tsv").write_text("a\x02\tx\t1\n")
    with pytest.raises(TableError, match=r"names of genes with control characters \('a\\x02'\)"):
        view_network(tmp_path / "list.tsv", tmp_path / "view")
    assert not (tmp_path / "view").exists()


def test_files_are_the_same_again(viewed, tmp_path):
    view_network(viewed / "list.tsv", tmp_path / "again", n_hubs=5, n_links=200)
    names = same_files(viewed / "view", tmp_path / "again")
    assert {"network.graphml", "network.html", "run.json"} <= set(names)
    with pytest.raises(OutputError, match=r"holds run.json already"):
        view_network(viewed / "list.tsv", tmp_path / "again")


def test_degrees_are_drawn(viewed):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    text = (viewed / "view" / "degrees.svg").read_text()
    assert text.startswith("<?xml") and text.rstrip().endswith("</svg>") and "dc:date" not in text


def test_without_matplotlib_there_is_all_else(viewed, tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    report = view_network(viewed / "list.tsv", tmp_path / "view")
    assert not report.figure and "pip install 'predictd[report]'" in caplog.text
    assert sorted(path.name for path in (tmp_path / "view").iterdir()) == [
        "network.graphml",
        "network.html",
        "run.json",
    ]


def test_the_command_line_shows(viewed, tmp_path):
    done = call_predictd("network", "view", viewed / "list.tsv", "-o", "view", "--links", 30, cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.startswith("view/network.html: ")
    assert "; open it in a browser" in done.stdout
