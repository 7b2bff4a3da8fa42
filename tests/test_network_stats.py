"""Measures of a network's genes, held against hand-worked and simulated cases."""

from __future__ import annotations

import json

import numpy as np
import pytest

from commands import call_predictd
from folders import same_files
from made_networks import write_link_case
from predictd.errors import ConfigError, OutputError, TableError
from predictd.grn.clusters import cluster_targets, regulation_profiles
from predictd.grn.graph import Edges, centralities, communities, components, hubs, numbered
from predictd.grn.links import Links
from predictd.workflows.network.stats import describe_degrees, describe_network

pytest.importorskip("igraph", reason="python-igraph is not installed")


def links_of(*rows):
    return Links.of_list(*zip(*rows, strict=True))


def two_teams(seed=0):
    """Two regulators, each with ten targets of its own, two links across, and targets' shared lesser regulator."""
    rng = np.random.default_rng(seed)
    rows = [(team, f"{team}{i}", 1 + rng.random()) for team in "AB" for i in range(10)]
    return links_of(*rows, ("A", "B0", 0.1), ("B", "A0", 0.1), *((("C", f"A{i}", 0.2)) for i in range(3)))


def read_table(path):
    header, *lines = path.read_text().splitlines()
    return [dict(zip(header.split("\t"), line.split("\t"), strict=True)) for line in lines]


def test_degrees_and_strengths_by_hand():
    edges = Edges.of(links_of(("a", "b", 2.0), ("a", "c", 0.5), ("b", "c", -0.25)))
    assert edges.genes == ("b", "c", "a")
    assert edges.in_degree().tolist() == [1, 2, 0] and edges.out_degree().tolist() == [1, 0, 2]
    assert edges.in_strength().tolist() == [2.0, 0.75, 0.0]
    assert edges.out_strength().tolist() == [0.25, 0.0, 2.5]
    assert [edges.genes[i] for i in hubs(edges, 2)] == ["a", "b"]


def test_betweenness_and_pagerank_by_hand():
    # A chain a → b → c → d: b lies on a–c and a–d, c on a–d and b–d.
    edges = Edges.of(links_of(("a", "b", 1.0), ("b", "c", 1.0), ("c", "d", 1.0)))
    found = centralities(edges, seed=0)
    assert dict(zip(edges.genes, found.betweenness.tolist(), strict=True)) == {"a": 0, "b": 2, "c": 2, "d": 0}
    # By power iteration of the definition, on the links turned round; d's rank goes back to all.
    n, turned = len(edges.genes), np.zeros((len(edges.genes),) * 2)
    turned[edges.sources, edges.targets] = edges.weights
    step = np.where(turned.sum(axis=0) > 0, turned / np.maximum(turned.sum(axis=0), 1e-300), 1 / n)
    rank = np.full(n, 1 / n)
    for _ in range(300):
        rank = 0.85 * step @ rank + 0.15 / n
    np.testing.assert_allclose(found.pagerank, rank, rtol=1e-9)
    assert edges.genes[int(np.argmax(found.pagerank))] == "a"


def test_betweenness_from_some_sources_is_about_that_from_all(monkeypatch):
    rng = np.random.default_rng(1)
    pairs = {(f"g{i}", f"g{j}") for i, j in rng.integers(0, 300, (1500, 2)).tolist() if i != j}
    edges = Edges.of(links_of(*((a, b, 1.0) for a, b in sorted(pairs))))
    exact = centralities(edges, seed=0)
    monkeypatch.setattr("predictd.grn.graph.EXACT_GENES", 100)
    monkeypatch.setattr("predictd.grn.graph.SOURCES", 150)
    some = centralities(edges, seed=0)
    assert exact.exact and not some.exact
    assert np.corrcoef(exact.betweenness, some.betweenness)[0, 1] > 0.9
    assert 0.9 < some.betweenness.sum() / exact.betweenness.sum() < 1.1


def test_communities_are_the_teams_and_seeds_decide():
    edges = Edges.of(two_teams())
    found, modularity = communities(edges, seed=3)
    team = np.array([0 if gene[0] in "AC" else 1 for gene in edges.genes])
    assert set(found.tolist()) == {1, 2} and modularity > 0.4
    assert len({(a, b) for a, b in zip(team.tolist(), found.tolist(), strict=True)}) == 2
    again, _ = communities(edges, seed=3)
    np.testing.assert_array_equal(found, again)


def test_components_by_hand():
    # Two of two genes each, of which the first by name comes first, and a gene without links.
    links = links_of(("q", "p", 1.0), ("y", "x", 1.0), ("d", "a", 1.0), ("c", "d", 0.0), ("e", "e", 1.0))
    edges = Edges.of(Links((*links.regulators, "alone"), *list(vars(links).values())[1:]))
    found = dict(zip(edges.genes, components(edges).tolist(), strict=True))
    assert found == {"a": 1, "c": 1, "d": 1, "p": 2, "q": 2, "x": 3, "y": 3, "e": 4, "alone": 0}


def test_groups_are_numbered_by_size():
    membership, counted = np.array([7, 3, 3, 9, 9, 5]), np.array([True] * 5 + [False])
    assert numbered(membership, counted).tolist() == [3, 1, 1, 2, 2, 0]


def test_clusters_are_of_targets_with_the_same_regulators():
    links = two_teams()
    found = cluster_targets(links, n_clusters=2, seed=0)
    own = dict(zip(links.targets, found.tolist(), strict=True))
    assert len({own[f"A{i}"] for i in range(10)}) == len({own[f"B{i}"] for i in range(10)}) == 1
    assert own["A1"] != own["B1"]
    # A target's profile has unit length where all components are kept, whatever the size of its importances.
    profiles = regulation_profiles(links)
    np.testing.assert_allclose(np.linalg.norm(profiles, axis=1), 1.0)


def test_profiles_by_lanczos_are_those_of_the_whole_decomposition():
    rng = np.random.default_rng(0)
    rows = [(f"r{i}", f"t{j}", rng.random()) for j in range(90) for i in rng.choice(60, 12, replace=False)]
    links = links_of(*rows)
    few, all_of_them = regulation_profiles(links, n_components=5), regulation_profiles(links, n_components=60)
    np.testing.assert_allclose(few, all_of_them[:, :5], atol=1e-9)


def test_tables_say_what_was_measured(tmp_path, engine):
    write_link_case(tmp_path / "list.tsv")
    report = describe_network(tmp_path / "list.tsv", tmp_path / "a", engine, n_hubs=7, seed=4)
    describe_network(tmp_path / "list.tsv", tmp_path / "b", engine, n_hubs=7, seed=4)
    names = ["clusters.tsv", "communities.tsv", "distribution.tsv", "genes.tsv", "hubs.tsv", "run.json"]
    assert same_files(tmp_path / "a", tmp_path / "b") == names
    genes = read_table(tmp_path / "a" / "genes.tsv")
    assert len(genes) == report.n_genes == 340 and report.n_links == 2400
    assert [row["gene"] for row in genes[:10]] == report.leading
    ranks = [float(row["pagerank"]) for row in genes]
    assert ranks == sorted(ranks, reverse=True) and sum(ranks) == pytest.approx(1, abs=1e-3)
    hubs_found = read_table(tmp_path / "a" / "hubs.tsv")
    assert {row["gene"] for row in hubs_found} == {row["gene"] for row in genes if row["hub"] == "1"}
    out = {row["gene"]: int(row["out_degree"]) for row in genes}
    assert [int(row["targets"]) for row in hubs_found] == sorted(out.values(), reverse=True)[:7]
    sizes = read_table(tmp_path / "a" / "communities.tsv")
    assert len(sizes) == report.n_communities and sum(int(row["genes"]) for row in sizes) == 340
    inside, across = (sum(int(row[name]) for row in sizes) for name in ("links_inside", "links_across"))
    assert inside + across / 2 == 2400
    assert sum(int(row["genes"]) for row in read_table(tmp_path / "a" / "clusters.tsv")) == 300
    spread = read_table(tmp_path / "a" / "distribution.tsv")
    assert {row["degree"]: row["genes_in"] for row in spread}["8"] == "300"
    told = json.loads((tmp_path / "a" / "run.json").read_text())
    assert told["results"]["betweenness"] == "exact" and told["seed"] == 4
    with pytest.raises(OutputError, match=r"holds run.json already"):
        describe_network(tmp_path / "list.tsv", tmp_path / "a", engine)


@pytest.mark.parametrize("text", ["a\tb\t0\nb\tc\t0\n", "a\ta\t1\nb\tb\t2\n"])
def test_links_without_weight_have_no_communities_to_speak_of(text, tmp_path, engine):
    (tmp_path / "list.tsv").write_text(text)
    report = describe_network(tmp_path / "list.tsv", tmp_path / "stats", engine)
    assert report.n_links == 2
    assert json.loads((tmp_path / "stats" / "run.json").read_text())["results"]["modularity"] is None


def test_degrees_alone_are_those_of_the_whole(tmp_path, engine):
    write_link_case(tmp_path / "list.tsv")
    describe_network(tmp_path / "list.tsv", tmp_path / "all", engine)
    describe_degrees(tmp_path / "list.tsv", tmp_path / "few", engine)
    degrees = read_table(tmp_path / "few" / "degrees.tsv")
    assert [row["gene"] for row in degrees] == sorted(row["gene"] for row in degrees)
    by_name = {row["gene"]: row for row in read_table(tmp_path / "all" / "genes.tsv")}
    assert degrees == [{name: by_name[row["gene"]][name] for name in row} for row in degrees]
    with pytest.raises(ConfigError, match="is not a list and fits in memory"):
        (tmp_path / "net").mkdir()
        (tmp_path / "net" / "network.h5").touch()
        describe_degrees(tmp_path / "net", tmp_path / "more", engine)


@pytest.mark.parametrize(
    ("text", "strengths"),
    [
        # The smallest is 20 orders of magnitude below the largest.
        ("A B 1e20\nC D 1\n", {"A": "1e+20", "B": "0", "C": "1", "D": "0"}),
        ("A B 1e-300\nC B 2.5e-303\n", {"A": "1e-300", "B": "0", "C": "2.5e-303"}),
        # Too large together for a float.
        ("A B 1.7e308\nA C 1.7e308\nC B 1e300\n", {"A": "inf", "B": "0", "C": "1e+300"}),
    ],
)
def test_strengths_of_any_size(text, strengths, tmp_path, engine):
    (tmp_path / "list.txt").write_text(text)
    describe_network(tmp_path / "list.txt", tmp_path / "all", engine)
    describe_degrees(tmp_path / "list.txt", tmp_path / "few", engine)
    for table in ("all/genes.tsv", "few/degrees.tsv"):
        assert {row["gene"]: row["out_strength"] for row in read_table(tmp_path / table)} == strengths


@pytest.mark.parametrize("weight", ["1.7e308", "1", "1e-320"])
def test_measures_by_weight_are_free_of_scale(weight, tmp_path, engine):
    (tmp_path / "list.txt").write_text(f"A B {weight}\nC B {weight}\n")
    describe_network(tmp_path / "list.txt", tmp_path / "all", engine)
    found = {row["gene"]: row["pagerank"] for row in read_table(tmp_path / "all" / "genes.tsv")}
    # A and C each take half of B's rank, which has 1 as theirs begin: 1 + 0.85 / 2 of all.
    assert found == {"A": "0.37013", "C": "0.37013", "B": "0.25974"}


def test_a_list_without_links_is_refused(tmp_path, engine):
    (tmp_path / "list.tsv").write_text("regulator\ttarget\timportance\n")
    for describe in (describe_network, describe_degrees):
        with pytest.raises(TableError, match=r"list\.tsv holds no links: it needs lines of"):
            describe(tmp_path / "list.tsv", tmp_path / "out", engine)
    assert not (tmp_path / "out").exists()


def test_the_command_line_measures(tmp_path):
    write_link_case(tmp_path / "list.tsv", 10, 30)
    done = call_predictd("network", "stats", "list.tsv", "-o", "stats", "--workers", 1, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("stats: 40 genes, 240 links\n")
    assert "the most significant genes: TF" in done.stdout


def test_without_igraph_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "igraph", None)
    with pytest.raises(ConfigError, match=r"need python-igraph .*pip install 'predictd\[network\]'"):
        communities(Edges.of(two_teams()), seed=0)
