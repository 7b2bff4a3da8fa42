"""Enrichment and classification against SciPy, by hand and on simulated networks."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import fisher_exact

from commands import call_predictd
from folders import same_files
from predictd.errors import DataError, TableError
from predictd.grn.classification import classify
from predictd.grn.enrichment import enrich, false_discovery_rates
from predictd.io.network.genesets import read_gmt, read_labels
from predictd.workflows.network.classify import classify_genes
from predictd.workflows.network.enrich import enrich_network
from predictd.workflows.network.filter import Limits, filter_network
from predictd.workflows.network.links import load_links
from refusals import refused

pytest.importorskip("igraph", reason="python-igraph is not installed")


def write_teams(path, size=30):
    """Two regulators with targets of their own, of which those of one have twice the weight."""
    rng = np.random.default_rng(0)
    lines = []
    for team, weight in (("A", 2.0), ("B", 1.0)):
        for i in range(size):
            lines.append(f"{team}\t{team.lower()}{i}\t{weight + 0.1 * rng.random():.4f}")
            other = "B" if team == "A" else "A"
            lines.append(f"{other}\t{team.lower()}{i}\t{0.1 * rng.random():.4f}")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_chances_are_those_of_fishers_test():
    rng = np.random.default_rng(0)
    background = [f"g{i}" for i in range(120)]
    groups = {f"G{k}": set(rng.choice(background, 25, replace=False)) | {"unknown"} for k in range(4)}
    sets = {f"S{k}": set(rng.choice(background, 12, replace=False)) for k in range(9)} | {"small": {"g1"}}
    found = enrich(groups, sets, background, least=2)
    assert found == sorted(found, key=lambda one: one.p) and len({one.gene_set for one in found}) == 9
    for one in found:
        both = len(groups[one.group] & sets[one.gene_set])
        table = [[both, 25 - both], [12 - both, 120 - 25 - 12 + both]]
        assert (one.n_group, one.n_set, one.n_both, one.n_background) == (25, 12, both, 120)
        assert one.p == pytest.approx(fisher_exact(table, alternative="greater")[1])
        assert one.fold == pytest.approx(both / (25 * 12 / 120))
        assert set(one.genes) == groups[one.group] & sets[one.gene_set]


def test_false_discovery_rates_by_hand():
    q = false_discovery_rates(np.array([0.01, 0.04, 0.03, 0.9]))
    np.testing.assert_allclose(q, [0.04, 0.16 / 3, 0.16 / 3, 0.9])


@pytest.mark.parametrize("by", ["targets", "communities", "clusters"])
def test_groups_of_a_network_are_enriched_for_what_they_are(by, tmp_path):
    write_teams(tmp_path / "links.tsv")
    # The hub's list has only the strong links, so that targets differ.
    strong = [line for line in (tmp_path / "links.tsv").read_text().splitlines() if "\t0." not in line]
    (tmp_path / "links.tsv").write_text("\n".join(strong) + "\n")
    sets = {"of_a": [f"a{i}" for i in range(12)], "of_both": [f"{t}{i}" for t in "ab" for i in range(20, 26)]}
    gmt = "".join(f"{name}\tmade up\t" + "\t".join(genes) + "\n" for name, genes in sets.items())
    (tmp_path / "sets.gmt").write_text(gmt + "elsewhere\t\tx1\tx2\tx3\tx4\tx5\n")
    for name in ("one", "other"):
        path = tmp_path / name / "enrich.tsv"
        found = enrich_network(tmp_path / "links.tsv", tmp_path / "sets.gmt", path, by=by, seed=1)
    texts = [(tmp_path / name / "enrich.tsv").read_text() for name in ("one", "other")]
    assert texts[0] == texts[1]
    assert found[0].gene_set == "of_a" and found[0].n_both == 12 and found[0].q < 1e-3
    assert all(one.q > 0.05 for one in found[1:])
    header, first = (tmp_path / "one" / "enrich.tsv").read_text().splitlines()[:2]
    row = dict(zip(header.split("\t"), first.split("\t"), strict=True))
    assert row["group"] == ("A" if by == "targets" else "1")
    assert row["n_background"] == "62" and row["genes"].split(",") == sorted(sets["of_a"])
    told = json.loads((tmp_path / "one" / "enrich.tsv.run.json").read_text())
    assert told["results"]["sets"] == 2


def test_classes_of_genes_are_learned(tmp_path, monkeypatch):
    monkeypatch.setattr("predictd.grn.classification.N_TREES", 40)
    write_teams(tmp_path / "links.tsv")
    labels = "".join(f"{team}{i}\t{team}-like\n" for team in "ab" for i in range(15))
    (tmp_path / "labels.tsv").write_text(f"gene\tlabel\n{labels}absent\ta-like\n")
    for name in ("one", "other"):
        scores = classify_genes(tmp_path / "links.tsv", tmp_path / "labels.tsv", tmp_path / name, seed=2)
    names = ["features.tsv", "predictions.tsv", "run.json", "scores.tsv"]
    assert same_files(tmp_path / "one", tmp_path / "other") == names
    assert [(one.label, one.n_genes) for one in scores] == [("a-like", 15), ("b-like", 15)]
    assert all(one.auroc > 0.99 and one.recall > 0.9 for one in scores)
    header, *lines = (tmp_path / "one" / "predictions.tsv").read_text().splitlines()
    rows = [dict(zip(header.split("\t"), line.split("\t"), strict=True)) for line in lines]
    unseen = [row for row in rows if not row["label"] and row["gene"][0] in "ab"]
    assert len(unseen) == 30
    assert all(row["predicted"] == f"{row['gene'][0]}-like" for row in unseen)
    assert all(float(row["p_a-like"]) + float(row["p_b-like"]) == pytest.approx(1) for row in rows)
    weights = (tmp_path / "one" / "features.tsv").read_text().splitlines()[1:]
    assert sum(float(line.split("\t")[1]) for line in weights) == pytest.approx(1, abs=1e-4)


def test_a_class_that_nothing_tells_is_scored_as_chance():
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(120, 6)), [f"{i % 2}" for i in range(120)]
    found = classify(features, labels, seed=0)
    right = np.mean(
        [
            found.classes[i] == label
            for i, label in zip(np.argmax(found.probabilities, 1), labels, strict=True)
        ]
    )
    assert 0.3 < right < 0.7, "genes are predicted by forests that saw them"


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("gene\tclass\na1\tx\n", TableError, "its header must hold gene and label"),
        ("gene\tlabel\na1\n", TableError, "line 2: expected a gene and its label"),
        ("gene\tlabel\na1\tx\na1\ty\n", TableError, "line 3: a1 has two labels, x and y"),
        ("gene\tlabel\n", TableError, "holds no labels"),
        ("gene\tlabel\nq\tx\n", DataError, r"no gene of .* \(q\) is in .*use the same names"),
        ("gene\tlabel\na1\tx\na2\tx\n", DataError, "are of 1 class; classification needs two"),
        (
            "gene\tlabel\na1\tx\na2\ty\n",
            DataError,
            "the class x has 1 genes in the network, fewer than the 5",
        ),
    ],
)
def test_bad_labels_are_told(text, error, message, tmp_path):
    write_teams(tmp_path / "links.tsv")
    (tmp_path / "labels.tsv").write_text(text)
    with pytest.raises(error, match=message):
        classify_genes(tmp_path / "links.tsv", tmp_path / "labels.tsv", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("S1\tonly a description\n", "line 1: expected a name, a description and genes"),
        ("S1\t\tg1\nS1\t\tg2\n", "line 2: the set S1 occurs twice"),
        ("\n", "holds no gene sets"),
        (
            "gene\tS1\tS2\tS3\nA\t5.1\t0\t2\nB\t1\t2.5\t3\n",
            r"is a table of numbers \(0, 2.5\), not of gene sets",
        ),
        (
            "gene\tS1\tS2\tS3\nA\t1\t0\t-2\nB\t1\t0\t3\n",
            r"numbers \(0, -2, 0\), not .*: it needs a line of name",
        ),
    ],
)
def test_bad_gene_sets_are_told(text, message, tmp_path):
    (tmp_path / "sets.gmt").write_text(text)
    with pytest.raises(TableError, match=message):
        read_gmt(tmp_path / "sets.gmt")


def test_genes_of_sets_may_be_numbers_of_entrez(tmp_path):
    (tmp_path / "sets.gmt").write_text("one\thttp://x\t7157\t1956\nother\t\t672\t675\t5728\n")
    assert read_gmt(tmp_path / "sets.gmt")["one"] == {"7157", "1956"}
    # A few numbers among names are names.
    (tmp_path / "sets.gmt").write_text("one\t\tA\tB\t1.5\n")
    assert read_gmt(tmp_path / "sets.gmt")["one"] == {"A", "B", "1.5"}


def test_labels_may_stand_in_any_column(tmp_path):
    (tmp_path / "labels.tsv").write_text("note\tLabel\tGene\nn\tx\tg1\n")
    assert read_labels(tmp_path / "labels.tsv") == {"g1": "x"}


def test_the_background_is_that_of_the_whole_network_or_as_given(tmp_path, engine, caplog):
    write_teams(tmp_path / "links.tsv")
    filter_network(tmp_path / "links.tsv", tmp_path / "net", Limits(top=9999), engine)
    filter_network(tmp_path / "net", tmp_path / "strong", Limits(top=40), engine)
    (tmp_path / "sets.gmt").write_text("S\t\t" + "\t".join(f"a{i}" for i in range(30)) + "\n")
    (tmp_path / "genes.txt").write_text("\n".join(load_links(tmp_path / "net")[0].genes) + "\nnever_seen\n")

    def counts(network, **options):
        found = enrich_network(network, tmp_path / "sets.gmt", tmp_path / "e.tsv", least=1, **options)
        return {(one.n_background, one.n_set) for one in found}

    assert counts(tmp_path / "strong") == {(62, 30)} and not caplog.text
    with_genes = counts(tmp_path / "strong" / "links.tsv", background=tmp_path / "genes.txt")
    assert with_genes == counts(tmp_path / "net", background=tmp_path / "genes.txt") == {(63, 30)}
    assert not caplog.text
    ((n_listed, _),) = counts(tmp_path / "strong" / "links.tsv")
    assert n_listed < 62 and f"the background is only the {n_listed} genes of its links" in caplog.text
    assert str(tmp_path / "genes.txt") not in json.loads((tmp_path / "e.tsv.run.json").read_text())["inputs"]
    (tmp_path / "genes.txt").write_text("a0\na1\n")
    assert counts(tmp_path / "net", background=tmp_path / "genes.txt") == {(2, 2)}
    assert "60 genes of" in caplog.text and "do not count" in caplog.text
    assert str(tmp_path / "genes.txt") in json.loads((tmp_path / "e.tsv.run.json").read_text())["inputs"]
    (tmp_path / "genes.txt").write_text("A0x\n")
    with refused(DataError, "genes.txt (A0x) is in", "use the same names"):
        counts(tmp_path / "net", background=tmp_path / "genes.txt")


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ('gene,label\ng1,"T cell, CD4"\n"g2","T cell, CD8"\n', {"g1": "T cell, CD4", "g2": "T cell, CD8"}),
        ('gene label\ng1 "T cell"\n', {"g1": "T cell"}),
        (
            "gene,label\ng1,T cell, CD4\n",
            "line 2: 3 fields where the table has 2 columns; put quotation marks",
        ),
        ("gene label\nA CD4 T\n", "line 2: 3 fields where the table has 2 columns"),
        ("gene\tlabel\n1\tg1\tx\n", r"leave out row names \(in R row.names=FALSE\)"),
        ("# gene\tlabel\ng1\tx\n", r"header \(gene, label\) begins with #"),
    ],
)
def test_labels_are_read_whole_or_not_at_all(text, labels, tmp_path):
    (tmp_path / "labels").write_text(text)
    if isinstance(labels, dict):
        assert read_labels(tmp_path / "labels") == labels
        return
    with pytest.raises(TableError, match=labels):
        read_labels(tmp_path / "labels")


def test_the_command_lines_do_the_same(tmp_path):
    write_teams(tmp_path / "links.tsv")
    (tmp_path / "sets.gmt").write_text("S\t\t" + "\t".join(f"a{i}" for i in range(9)) + "\n")
    done = call_predictd("network", "enrich", "links.tsv", "sets.gmt", "-o", "enrich.tsv", cwd=tmp_path)
    assert done.returncode == 0 and done.stderr.count("\n") == 1
    assert "links.tsv is a list of links: the background is only the 62 genes of its links" in done.stderr
    assert "give --background, or the directory" in done.stderr
    assert done.stdout.startswith("enrich.tsv: 0 of 2 pairs of group and set")
    (tmp_path / "sets.gmt").write_text("S\t\tx1\tx2\n")
    done = call_predictd("network", "enrich", "links.tsv", "sets.gmt", "-o", "enrich.tsv", cwd=tmp_path)
    assert done.returncode == 1 and "no set of sets.gmt has 5 to 500 of the genes" in done.stderr
    labels = "".join(f"{team}{i}\t{team}\n" for team in "ab" for i in range(6))
    (tmp_path / "labels.tsv").write_text(f"gene\tlabel\n{labels}")
    done = call_predictd("network", "classify", "links.tsv", "labels.tsv", "-o", "classes", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "a: AUROC 1.000" in done.stdout and "(6 genes)" in done.stdout
