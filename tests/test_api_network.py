"""Networks from Python: what frames give is what files give."""

from __future__ import annotations

from dataclasses import asdict
from typing import get_args

import numpy as np
import pytest

import predictd
from made_networks import N_REGULATORS, simulate_expression, write_matrix
from predictd.api.networks import labels_of
from predictd.config import NETWORK_METHOD_NAMES, NetworkMethod, NetworkSettings, load_settings
from predictd.errors import ConfigError, DataError, TableError
from predictd.grn import classification
from predictd.grn.methods import METHODS
from predictd.io.network.genesets import write_gmt
from predictd.io.results import as_text
from predictd.workflows.network.classify import classify_genes
from predictd.workflows.network.enrich import enrich_network
from predictd.workflows.network.evaluate import evaluate_network
from predictd.workflows.network.filter import Limits, filter_network
from predictd.workflows.network.infer import Inference
from predictd.workflows.network.stats import describe_network
from read_tables import fields_of
from refusals import refused

pd = pytest.importorskip("pandas")


@pytest.fixture(scope="module")
def matrix():
    """Samples × genes."""
    genes, expression, _ = simulate_expression()
    return pd.DataFrame(expression.T, index=[f"S{i}" for i in range(expression.shape[1])], columns=genes)


@pytest.fixture(scope="module")
def regulators(matrix):
    return list(matrix.columns[:N_REGULATORS])


@pytest.fixture(scope="module")
def written(engine, tmp_path_factory, regulators):
    """The directory of the same network by the command's workflow."""
    folder = tmp_path_factory.mktemp("network")
    genes, expression, _ = simulate_expression()
    path = write_matrix(folder / "expression.tsv", genes, expression)
    (folder / "regulators.txt").write_text("\n".join(regulators))
    settings = NetworkSettings(method="rf", trees=50)
    Inference(path, folder / "net", settings, regulators=folder / "regulators.txt").make_all(engine)
    return folder / "net"


@pytest.fixture(scope="module")
def links(matrix, regulators, engine):
    return predictd.network.infer(matrix, regulators=regulators, trees=50, engine=engine)


def test_links_are_those_of_the_command(links, written):
    header, *rows = fields_of(written / "links.tsv")
    assert list(links.columns) == header
    assert [[r, t, f"{w:.6g}", s] for r, t, w, s in links.itertuples(index=False)] == rows


def test_known_links_come_first(links):
    _, _, gold = simulate_expression()
    first = links[: len(gold)]
    strongest = set(zip(first["regulator"], first["target"], strict=True))
    assert len(strongest & set(gold)) > 0.8 * len(gold)


def test_every_form_of_a_matrix(matrix, regulators, engine, links, tmp_path):
    turned = predictd.network.infer(
        matrix.T, orientation="rows", regulators=tuple(regulators), trees=50, engine=engine
    )
    assert turned.equals(links)
    named = predictd.network.infer(
        matrix.T.rename_axis("gene"), regulators=regulators, trees=50, engine=engine
    )
    column = predictd.network.infer(
        matrix.T.rename_axis("gene").reset_index(), regulators=regulators, trees=50, engine=engine
    )
    assert named.equals(links) and column.equals(links)
    matrix.T.rename_axis("gene").to_csv(tmp_path / "own.tsv", sep="\t")
    (tmp_path / "tfs.txt").write_text("\n".join(regulators))
    read = predictd.network.infer(
        str(tmp_path / "own.tsv"), regulators=tmp_path / "tfs.txt", trees=50, engine=engine
    )
    assert read.equals(links)


def test_an_anndata_object(matrix, regulators, engine, links):
    anndata = pytest.importorskip("anndata")
    own = anndata.AnnData(matrix.astype(np.float64))
    found = predictd.network.infer(own, regulators=regulators, trees=50, engine=engine)
    assert found.equals(links)


def test_it_may_be_written_and_is_then_opened(matrix, regulators, engine, links, tmp_path):
    for _ in range(2):
        found = predictd.network.infer(
            matrix, regulators=regulators, trees=50, output=tmp_path / "net", engine=engine
        )
        assert found.equals(links)
    assert (tmp_path / "net" / "links.tsv").exists()


def test_what_is_no_matrix(matrix, engine):
    with refused(TableError, "DataFrame (samples × genes)"):
        predictd.network.infer([[1, 2]], engine=engine)
    with refused(TableError, "values that are not numbers"):
        predictd.network.infer(matrix.assign(name="x"), engine=engine)
    with refused(TableError, "genes twice: G1"):
        predictd.network.infer(matrix.rename(columns={"G2": "G1"}), method="pearson", engine=engine)
    with refused(TableError, "no finite number"):
        predictd.network.infer(matrix.mask(matrix > 2), method="pearson", engine=engine)
    with refused(DataError, "none of the 1 regulators"):
        predictd.network.infer(matrix, regulators=["X"], method="pearson", engine=engine)


def test_the_strongest(links, written, engine, tmp_path):
    kept = predictd.network.filter(links, top_per_target=2, top=20)
    filter_network(written, tmp_path / "kept.tsv", Limits(top_per_target=2, top=20), engine)
    _, *rows = fields_of(tmp_path / "kept.tsv")
    assert [[r, t, f"{w:.6g}", s] for r, t, w, s in kept.itertuples(index=False)] == rows and len(kept) == 20
    assert predictd.network.filter(written, top_per_target=2, top=20).equals(kept)
    with refused(ConfigError, "nothing to filter by"):
        predictd.network.filter(links)
    with refused(TableError, "`links`: its header names no weights"):
        predictd.network.filter(links.drop(columns="importance"), top=1)
    with refused(DataError, "no links"):
        predictd.network.filter(links[:0], top=1)


def test_measures_of_genes(links, written, engine, tmp_path):
    pytest.importorskip("igraph")
    found = predictd.network.stats(written)
    describe_network(written, tmp_path / "stats", engine)
    header, *rows = fields_of(tmp_path / "stats" / "genes.tsv")
    assert list(found.columns) == header
    assert [
        [f"{v:.6g}" if isinstance(v, float) else str(v) for v in row] for row in found.itertuples(index=False)
    ] == rows
    assert set(predictd.network.stats(links)["gene"]) == set(found["gene"])


def test_known_links_score_as_by_the_command(links, written, tmp_path):
    genes, _, gold = simulate_expression()
    table = pd.DataFrame(gold, columns=["regulator", "target"])
    table.to_csv(tmp_path / "gold.tsv", sep="\t", index=False)
    other = links.assign(importance=links["importance"].rank(ascending=False))
    for known in (table, tmp_path / "gold.tsv"):
        scores = predictd.network.evaluate({"rf": written, "upside down": other}, known)
        by_file = evaluate_network(written, tmp_path / "gold.tsv", tmp_path / "eval.tsv")["rf"]
        assert list(scores["method"]) == ["rf", "upside down"]
        assert scores.iloc[0, 1:].tolist() == list(asdict(by_file).values())
        assert scores["aupr"][0] > 0.8 > scores["aupr"][1] and scores["candidates"][0] == "all"
    assert predictd.network.evaluate(written, table).equals(scores[:1])
    # Half of the other pairs are judged.
    judged = table.assign(weight=1.5)
    none = [(r, t, 0) for r in genes[:N_REGULATORS] for t in genes[::2] if r != t and (r, t) not in set(gold)]
    judged = pd.concat([judged, pd.DataFrame(none, columns=judged.columns)])
    (scores,) = predictd.network.evaluate(links, judged).itertuples()
    assert (scores.n_gold, scores.n_candidates) == (len(gold), len(judged)) and scores.candidates == "listed"
    with refused(TableError, f"`gold` has {gold[0][0]} to {gold[0][1]} both as a link and as none"):
        predictd.network.evaluate(links, pd.concat([judged, judged[:1].assign(weight=0)]))
    with refused(TableError, "`gold`, line 1: '' is not a number; 0 says that it is not a link"):
        predictd.network.evaluate(links, judged.assign(weight=np.nan))
    with refused(TableError, "`gold` is not a gold standard: its header must hold regulator and target"):
        predictd.network.evaluate(links, table[["regulator"]])
    with refused(DataError, "no regulator of `gold` (G0x", "is a regulator of the network links"):
        predictd.network.evaluate(links, table + "x")


def test_enriched_sets_and_classes_are_those_of_the_command(links, written, tmp_path, monkeypatch):
    pytest.importorskip("igraph")
    monkeypatch.setattr(classification, "N_TREES", 20)
    genes = sorted(set(links["target"]))
    sets = {"one": genes[:9], "other": genes[5:15], "small": genes[:2]}
    write_gmt(tmp_path / "sets.gmt", [(name, "", own) for name, own in sets.items()])
    enrich_network(written, tmp_path / "sets.gmt", tmp_path / "e.tsv", by="clusters", most=9)
    found = predictd.network.enrich(written, sets, by="clusters", max_size=9)
    header, *rows = fields_of(tmp_path / "e.tsv")
    assert list(found.columns) == header and set(found["gene_set"]) == {"one"}
    assert [list(map(as_text, row)) for row in found.itertuples(index=False)] == rows
    by_file = predictd.network.enrich(
        written, tmp_path / "sets.gmt", by=predictd.network.regulons(links, min_size=3)
    )
    assert set(by_file["group"]) <= set(predictd.network.regulons(links, min_size=3)["regulon"])
    labels = dict.fromkeys(genes[:8], "a") | dict.fromkeys(genes[8:18], "b")
    (tmp_path / "labels.tsv").write_text(
        "gene\tlabel\n" + "".join(f"{g}\t{own}\n" for g, own in labels.items())
    )
    classify_genes(written, tmp_path / "labels.tsv", tmp_path / "classes", n_folds=2)
    for given in (labels, tmp_path / "labels.tsv"):
        assert labels_of(given)[0] == labels
    classes = predictd.network.classify(written, pd.Series({**labels, genes[-1]: None}), n_folds=2)
    for name, table in classes._asdict().items():
        header, *rows = fields_of(tmp_path / "classes" / f"{name}.tsv")
        assert list(table.columns) == header
        assert [list(map(as_text, row)) for row in table.itertuples(index=False)] == rows
    with refused(DataError, "no gene of `labels` (x) is in `links`"):
        predictd.network.classify(written, {"x": "a"})
    with refused(ConfigError, "`labels` is labels by gene"):
        predictd.network.classify(written, ["a"])
    with refused(DataError, "no set of `sets` has 5 to 500 of the genes of `links` (the most are 2)"):
        predictd.network.enrich(written, {"small": genes[:2]})
    with refused(DataError, "no group of `by` has a gene of `links`"):
        predictd.network.enrich(written, sets, by={"x": ["x"]})
    with refused(ConfigError, "`sets` is what `regulons` gives"):
        predictd.network.enrich(written, [["G1"]])


def test_frames_keep_the_genes_of_their_network(links, written, matrix, tmp_path, caplog):
    sets = {"one": list(links["target"].unique()[:9])}
    whole = set(predictd.network.enrich(written, sets, min_size=1)["n_background"])
    strong = predictd.network.filter(links, top=12)
    for own in (links, strong, strong[strong["importance"] > 0], predictd.network.filter(written, top=12)):
        assert set(predictd.network.enrich(own, sets, min_size=1)["n_background"]) == whole
    assert not caplog.text
    listed = pd.DataFrame(strong.to_dict("list"))
    own = {*listed["regulator"], *listed["target"]}
    assert set(predictd.network.enrich(listed, sets, min_size=1)["n_background"]) == {len(own)} != whole
    assert (
        f"`links` is a list of links: the background is only the {len(own)} genes of its links" in caplog.text
    )
    genes = [*own, "x", "y"]
    assert set(predictd.network.enrich(listed, sets, min_size=1, background=genes)["n_background"]) == {
        len(genes)
    }
    (tmp_path / "genes.txt").write_text("\n".join(genes))
    by_file = predictd.network.enrich(strong, sets, min_size=1, background=tmp_path / "genes.txt")
    assert set(by_file["n_background"]) == {len(genes)}
    with refused(DataError, "no gene of `background` (x) is in `links`"):
        predictd.network.enrich(links, sets, background=["x"])


def test_methods_have_the_names_that_others_give_them(matrix, regulators, engine, links):
    found = predictd.network.infer(matrix, regulators=regulators, method="GENIE3", trees=50, engine=engine)
    assert found.equals(links)
    assert load_settings(NetworkSettings, {"method": "grnboost2"}).method == "grnboost"
    assert set(METHODS) == set(get_args(NetworkMethod)) >= set(NETWORK_METHOD_NAMES.values())


def test_links_that_the_command_line_refuses(links):
    one = {"regulator": ["a", "a"], "target": ["b", "c"], "importance": [1.0, np.nan]}
    twice = pd.DataFrame(one | {"target": ["b", "b"], "importance": 1.0})
    for call in (
        predictd.network.stats,
        predictd.network.regulons,
        lambda own: predictd.network.combine([links, own]),
    ):
        with refused(TableError, "the importance nan is not a finite number"):
            call(pd.DataFrame(one))
        with refused(TableError, "has the link a to b twice"):
            call(twice)
    for name in ("top_per_regulator", "min_size"):
        with refused(ConfigError, f"`{name}` -3: give a whole number of at least 1"):
            predictd.network.regulons(links, **{name: -3})
    with refused(ConfigError, "`networks` is one network"):
        predictd.network.combine(links)
