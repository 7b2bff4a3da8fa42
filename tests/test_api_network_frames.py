"""Networks from Python: frames are read as files of them are, and what a file may not hold, they may not either."""

from __future__ import annotations

import numpy as np
import pytest

import predictd
from predictd.api.networks import labels_of, sets_of
from predictd.errors import ConfigError, DataError, TableError
from predictd.io.network.expression import MatrixChoice
from predictd.io.network.frames import expression_of
from predictd.io.network.matrices import read_matrix
from refusals import refused

pd = pytest.importorskip("pandas")
network = predictd.network

LINKS = pd.DataFrame(
    {"regulator": ["A", "A", "B", "B"], "target": ["x", "y", "x", "y"], "importance": [4.0, 3.0, 2.0, 1.0]}
)
GOLD = LINKS[["regulator", "target"]]
# A to x and B to y are links.
JUDGED = GOLD.assign(label=[1, 0, 0, 1])
GENES = pd.DataFrame(
    np.random.default_rng(0).random((4, 3)), index=["S1", "S2", "S3", "S4"], columns=["G1", "G2", "G3"]
)
WHOLE = MatrixChoice()


def scores(links=LINKS, gold=GOLD):
    return network.evaluate(links, gold).iloc[0, 1:].tolist()


def renamed(*names):
    return LINKS.set_axis(names, axis=1)


@pytest.mark.parametrize(
    "links",
    [
        renamed("TF", "target", "importance"),
        renamed("Gene1", "Gene2", "EdgeWeight"),
        renamed("source", "target", "weight").assign(sign="+"),
        renamed("from", "to", "score")[["score", "to", "from"]],
        renamed(0, 1, 2),
        LINKS.set_index(["regulator", "target"]),
        LINKS.set_index("target"),
    ],
    ids=lambda own: "-".join(map(str, own.columns)),
)
def test_links_have_the_names_that_tools_give_them(links):
    assert network.filter(links, top=2)[[*LINKS]].equals(LINKS[:2])


@pytest.mark.parametrize(
    "gold",
    [
        JUDGED,
        JUDGED.assign(label=JUDGED["label"] == 1),
        JUDGED.rename(columns={"regulator": "TF", "target": "gene"}),
        JUDGED.set_axis([0, 1, 2], axis=1),
        JUDGED.rename(columns={"label": "weight"}).astype({"weight": "Float64"}),
        JUDGED.set_index(["regulator", "target"]),
    ],
)
def test_zeros_of_known_links_are_none(gold, tmp_path):
    gold.reset_index().to_csv(tmp_path / "gold.csv", index=False)
    JUDGED.to_csv(tmp_path / "gold.tsv", sep="\t", index=False)
    found = network.evaluate(LINKS, gold).iloc[0]
    assert (found.n_gold, found.n_candidates, found.candidates) == (2, 4, "listed")
    # Of four ranks the links have the first and the last: (1 + 2 / 4) / 2.
    assert found.aupr == 0.75 and found.auroc == 0.5
    assert scores(gold=gold) == scores(gold=tmp_path / "gold.tsv")


def missing(frame, column, value):
    return frame.astype({column: object}).assign(**{column: [value, *frame[column][1:]]})


@pytest.mark.parametrize("value", [None, np.nan, pd.NA, "", " "])
@pytest.mark.parametrize("column", ["regulator", "target"])
def test_genes_have_names(column, value):
    with refused(TableError, "`links`, line 1: expected regulator, target and importance"):
        network.filter(missing(LINKS, column, value), top=1)
    with refused(TableError, "`gold`, line 1: expected a regulator and a target"):
        scores(gold=missing(GOLD, column, value))
    with refused(TableError, "`regulons`, line 1: expected a regulon and a target"):
        sets_of(missing(LINKS, column, value).rename(columns={"regulator": "regulon"}))
    with refused(TableError, "the set s has a gene without a name"):
        sets_of({"s": ["G1", value]})
    with refused(ConfigError, "`regulators`: number 2 has no name"):
        network.infer(GENES, regulators=["G1", value])
    with refused(TableError, "gene 1 has no name"):
        expression_of(GENES.set_axis([value, "G2", "G3"], axis=1), WHOLE)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: scores(gold=GOLD[:0]), TableError, "`gold` holds no links"),
        (lambda: scores(gold=JUDGED.assign(label=0)), TableError, "`gold` holds no links"),
        (
            lambda: scores(gold=JUDGED.set_axis(["regulator", "target", "target"], axis=1)),
            TableError,
            "`gold` has columns twice: target; keep one of each",
        ),
        (
            lambda: scores(gold=JUDGED.assign(other=1)),
            TableError,
            "several columns hold 0 and 1 (label, other)",
        ),
        (
            lambda: network.stats(LINKS.assign(more=1).set_axis([*LINKS, "importance"], axis=1)),
            TableError,
            "`links` has columns twice: importance",
        ),
        (lambda: network.stats(LINKS[["regulator", "target"]]), TableError, "its header names no weights"),
        (
            lambda: network.stats(LINKS[["regulator"]]),
            TableError,
            "`links` has the columns regulator: they have to",
        ),
        (
            lambda: network.stats(renamed("a", "b", "3")),
            TableError,
            "`links` has the columns a, b, 3: they have to",
        ),
        (
            lambda: network.stats(renamed("a", "b", "c")),
            TableError,
            "`links`: its header (a, b, c) must name",
        ),
        (lambda: network.stats(LINKS.assign(importance=1j)), TableError, "is not a number"),
        (lambda: network.evaluate({1: LINKS, "1": LINKS}, GOLD), ConfigError, "`links` has the name 1 twice"),
        (lambda: network.evaluate({None: LINKS}, GOLD), ConfigError, "`links`: number 1 has no name"),
        *(
            (lambda own=own: network.filter(LINKS, **own), ConfigError, f"`{next(iter(own))}` ")
            for own in (
                {"top": -1},
                {"top": 0},
                {"top": 1.5},
                {"top": "2"},
                {"top": True},
                {"top_per_target": 0},
                {"top_per_target": -1},
                {"min_importance": np.nan},
                {"min_importance": np.inf},
                {"min_importance": "2"},
            )
        ),
        (
            lambda: network.regulons(LINKS, min_importance="x"),
            ConfigError,
            "`min_importance` 'x': give a number",
        ),
        (lambda: network.combine(None), ConfigError, "`networks` None: give a list"),
        (lambda: network.combine(iter([LINKS])), ConfigError, "takes two or more"),
        (lambda: network.combine({"a": LINKS, "b": LINKS}), ConfigError, "have the same links: a, b"),
        (lambda: network.aucell(GENES, {"s": 5}), ConfigError, "the set s is 5; give lists of genes by name"),
        (lambda: network.aucell(GENES, {"s": "G1"}), ConfigError, "the set s is 'G1'"),
        (lambda: network.aucell(GENES, {}), DataError, "`regulons` holds no gene sets"),
        (lambda: network.aucell(GENES, {1: ["G1"], "1": ["G2"]}), ConfigError, "has the name 1 twice"),
        *(
            (
                lambda own=own: network.aucell(GENES, {"s": ["G1"]}, auc_threshold=own),
                ConfigError,
                "`auc_threshold` ",
            )
            for own in ("x", None, 0, 2)
        ),
        (lambda: network.enrich(LINKS, {"s": None}), ConfigError, "`sets`: the set s is None"),
        (
            lambda: network.enrich(LINKS, {"s": ["x"]}, by="hubs"),
            ConfigError,
            "`by` 'hubs': give 'targets' or 'communities' or 'clusters', or groups",
        ),
        (lambda: labels_of({"A": ""}), TableError, "`labels`, line 1: expected a gene and its label"),
        (lambda: labels_of({None: "a"}), TableError, "`labels`, line 1: expected a gene and its label"),
        (lambda: labels_of(pd.Series(["a", "b"], index=["A", "A"])), TableError, "A has two labels, a and b"),
        (lambda: labels_of(pd.Series([pd.NA], index=["A"])), TableError, "`labels` holds no labels"),
        (lambda: labels_of(LINKS), TableError, "`labels` is not a table of labels"),
        (
            lambda: network.infer(GENES, regulators="G1,G2"),
            ConfigError,
            "`regulators` 'G1,G2' is not a file: give a list of names, or the path of a file",
        ),
        (lambda: network.infer(GENES, regulators=""), ConfigError, "`regulators` '' is not a file"),
        (
            lambda: network.infer(GENES, regulators="G1 " * 999),
            ConfigError,
            "is not a file: give a list of names",
        ),
        (lambda: network.enrich(LINKS, {"s": ["x"]}, by=["x"]), ConfigError, "`by` ['x']: give 'targets' or"),
        (lambda: network.infer(GENES, targets=5), ConfigError, "`targets` 5: give a list of names"),
        (lambda: network.infer(GENES, targets=LINKS), ConfigError, "give a list of names"),
        (
            lambda: network.infer(GENES, samples=pd.DataFrame({"weight": [1, 1]}, index=["S1", None])),
            TableError,
            "a line has no name of a sample",
        ),
    ],
)
def test_what_is_refused(call, error, message):
    with refused(error, message):
        call()


def test_several_networks_of_any_collection():
    other = LINKS.assign(importance=[1.0, 2.0, 3.0, 4.0])
    joined = network.combine([LINKS, other])
    assert network.combine({"a": LINKS, "b": other}).equals(joined)
    assert network.combine(own for own in (LINKS, other)).equals(joined)


def test_sets_and_labels_in_every_form():
    own = {"s": ["G1", "G2"], "t": ["G3"]}
    assert sets_of(pd.Series(own)) == sets_of({"s": ("G1", "G2"), "t": pd.Index(["G3"])}) == own
    frame = pd.DataFrame({"regulon": ["s", "t", "s"], "target": ["G1", "G3", "G2"]})
    assert sets_of(frame) == sets_of(frame.set_index("regulon")) == own
    labels = {"A": "a", "B": "1"}
    table = pd.DataFrame({"Gene": ["A", "B"], "Label": ["a", 1]})
    for given in (pd.Series({"A": "a", "B": 1, "C": pd.NA, "D": None}), table, table.set_index("Gene")):
        assert labels_of(given)[0] == labels


@pytest.mark.parametrize("name", ["colums", "Columns", "", 5, True])
def test_orientations_are_rows_or_columns(name, tmp_path):
    GENES.to_csv(tmp_path / "m.tsv", sep="\t")
    anndata = pytest.importorskip("anndata")
    for own in (GENES, tmp_path / "m.tsv", anndata.AnnData(GENES)):
        with refused(ConfigError, f"`orientation` {name!r}: give rows or columns"):
            network.infer(own, orientation=name)
        with refused(ConfigError, "`orientation`"):
            network.aucell(own, {"s": ["G1"]}, orientation=name)


@pytest.mark.parametrize(
    ("frame", "named"),
    [
        *(
            (GENES.T.rename_axis(name), True)
            for name in ("gene", "GeneID", "gene_symbol", "ensembl_gene_id", "Symbol")
        ),
        *((GENES.rename_axis(name), True) for name in (None, "sample", "cell", "index", "time", "obs_names")),
        (GENES.T.rename_axis("Gene ID").reset_index(), True),
        (GENES.rename_axis("cell").reset_index(), True),
        (GENES.rename_axis("cell").reset_index().set_axis([5, 6, 7, 9]), True),
        (GENES.set_axis(range(4)), False),
        (GENES.set_axis([5, 6, 7, 9]), False),
        (GENES.astype("Float64"), True),
        (GENES.reset_index(drop=True).astype(object), False),
    ],
)
def test_frames_say_where_their_genes_are(frame, named):
    read = expression_of(frame, WHOLE)
    assert read.genes == tuple(GENES.columns)
    assert read.samples == (tuple(GENES.index) if named else tuple(map(str, frame.index)))
    np.testing.assert_array_equal(read.values, GENES.to_numpy().T)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (GENES.rename_axis("patient"), "cannot tell whether the rows of the matrix are genes or samples"),
        (GENES.rename_axis("Unnamed: 0").reset_index(), "cannot tell whether"),
        (GENES.reset_index(), "cannot tell whether"),
        (GENES.set_axis(range(4)).assign(group="x")[["group", *GENES]], "cannot tell whether"),
        (
            GENES.set_axis([0, 1, 2, 3]).assign(time=1)[["time", *GENES]],
            "the first column is called time; leave it out",
        ),
        *(
            (GENES.assign(**{name: [4, 8, 7, 6]}), f"has the column {name}, which is not a gene")
            for name in ("Time", "cell", "index", "Unnamed: 0")
        ),
        (
            GENES.T.rename_axis("gene").assign(Length=900.0)[["Length", *GENES.index]],
            "has the column Length, which describes genes; leave it out, or rename it if it is a sample",
        ),
        (GENES.T.rename_axis("gene").assign(chr="chr1"), "has the column chr, which describes genes"),
        (
            GENES.T.set_axis([0.5, 1.5, 2.0, 3.0], axis=1).rename_axis("gene"),
            "the names of samples look like numbers",
        ),
        (GENES.assign(day=pd.Timestamp("2020-01-01")), "values that are not numbers: day is datetime64"),
        (GENES.assign(day=pd.Timedelta("1h")), "values that are not numbers: day is timedelta64"),
        (GENES * (1 + 1j), "values that are not numbers: G1 is complex128"),
        (
            GENES.set_axis(pd.MultiIndex.from_product([["a"], GENES]), axis=1),
            "has 2 levels of names in its columns",
        ),
        (
            GENES.set_axis(pd.MultiIndex.from_product([["a"], GENES.index])),
            "has 2 levels of names in its rows",
        ),
        (
            pd.concat([GENES] * 3, ignore_index=True).assign(n=range(12))[["n", *GENES]],
            "the first column, n, holds the numbers of lines",
        ),
        (GENES[:0], "holds no expression"),
        (GENES[[]], "holds no expression"),
        (pd.DataFrame({"gene": ["G1"]}), "holds no expression"),
    ],
)
def test_frames_that_are_no_matrix(frame, message):
    with refused(TableError, message):
        expression_of(frame, WHOLE)


def test_names_of_rows_in_a_column_are_taken_where_the_orientation_is_given(tmp_path):
    GENES.to_csv(tmp_path / "m.tsv", sep="\t")
    read = read_matrix(tmp_path / "m.tsv", MatrixChoice("columns"))
    own = expression_of(pd.read_csv(tmp_path / "m.tsv", sep="\t"), MatrixChoice("columns"))
    assert (own.genes, own.samples) == (read.genes, read.samples) == (tuple(GENES), tuple(GENES.index))
