"""Regulons and their activity in cells, by hand and against AUCell's definition taken literally."""

from __future__ import annotations

import json
from itertools import permutations, product

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.stats import fisher_exact

import predictd
from commands import call_predictd
from folders import same_files
from made_networks import write_matrix
from predictd.errors import ConfigError, DataError, OutputError, TableError
from predictd.grn.aucell import aucell, ranks_that_count
from predictd.grn.links import Links
from predictd.grn.regulons import known_among, regulons_of
from predictd.io.network.cells import check_cells, write_cells
from predictd.io.network.expression import MatrixChoice
from predictd.io.network.genesets import read_gmt
from predictd.io.network.matrices import read_matrix
from predictd.matrix import sample_blocks
from predictd.workflows.network.aucell import write_activity
from predictd.workflows.network.enrich import enrich_network
from predictd.workflows.network.filter import Limits, filter_network
from predictd.workflows.network.regulons import find_regulons, write_regulons
from read_tables import fields_of
from refusals import refused


def activity(values, sets, limit):
    return np.concatenate(list(aucell(values, [np.array(own) for own in sets], limit)))


def orders(values):
    """All orders of a cell's genes from the highest value on, each a list of genes."""
    levels = [
        np.flatnonzero(values == level).tolist() for level in sorted(set(values.tolist()), reverse=True)
    ]
    for parts in product(*(list(permutations(level)) for level in levels)):
        yield [gene for part in parts for gene in part]


def literally(values, own, limit):
    """AUCell of one cell as its paper and package define it, over all orders of equal genes."""
    areas = []
    for order in orders(values):
        curve = np.cumsum([gene in own for gene in order])
        areas.append(curve[: limit - 1].sum())
    leading = np.cumsum([place < len(own) for place in range(len(values))])
    return np.mean(areas) / leading[: limit - 1].sum()


def test_the_area_under_the_recovery_curve_by_hand():
    # Ranks 1 to 6 are those of genes 0 to 5; of the first three ranks a set of genes 0 and 2 recovers 1, 1 and 2.
    cell = np.array([[9.0, 8, 7, 6, 5, 4]]).T
    found = activity(cell, [[0, 2], [0, 1], [3, 4, 5], [0], [2]], 4)
    np.testing.assert_array_equal(found, [[4 / 5, 1, 0, 1, 1 / 3]])
    # Two genes of equal value share ranks 2 and 3, whose areas are 2 and 1; all are equal in a cell of zeros.
    tied = np.array([[9.0, 8, 8, 6, 5, 4], [0.0] * 6]).T
    np.testing.assert_allclose(activity(tied, [[1], [0, 1]], 4), [[1.5 / 3, 4.5 / 5], [1 / 3, 2 / 5]])


@pytest.mark.parametrize("signed", [False, True])
def test_it_is_the_mean_over_all_orders_of_equal_genes(signed):
    rng = np.random.default_rng(3)
    values = rng.integers(-2 if signed else 0, 4, (6, 15)).astype(np.float64)
    values[:, 0], values[:, 1] = 0, -1.0 if signed else 2
    sets = [[1, 4], [0], [2, 3, 5], list(range(6))]
    for limit in (2, 3, 6):
        right = [[literally(cell, own, limit) for own in sets] for cell in values.T]
        np.testing.assert_allclose(activity(values, sets, limit), right, rtol=1e-12, atol=1e-14)


def test_blocks_and_storage_change_no_bit(monkeypatch):
    rng = np.random.default_rng(0)
    values = np.where(rng.random((300, 40)) < 0.2, rng.integers(1, 5, (300, 40)), 0).astype(np.float64)
    sets = [rng.choice(300, 30, replace=False) for _ in range(7)]
    sparse = csr_array(values)
    # A zero may be stored.
    sparse.data[0] = 0
    values = sparse.toarray()
    found = activity(values, sets, 15)
    np.testing.assert_array_equal(activity(sparse, sets, 15), found)
    monkeypatch.setattr("predictd.matrix._BYTES", 8 * 300 * 7)
    for stored in (values, sparse):
        assert len(list(sample_blocks(stored))) == 6
        np.testing.assert_array_equal(activity(stored, sets, 15), found)


def test_the_share_of_genes_is_rounded_up_and_not_by_binary_digits():
    assert [ranks_that_count(*case) for case in ((0.05, 10_000), (0.05, 10_001), (0.07, 100))] == [
        500,
        501,
        7,
    ]


# -- regulons ----------------------------------------------------------------------------------------------------------

ROWS = [
    *(("A", f"t{i}", 9.0 - i, 1) for i in range(6)),
    *(("A", f"u{i}", 5.5 - i, -1) for i in range(3)),
    ("A", "v", 99.0, 0),
    *(("B", f"t{i}", 1.0, -1) for i in range(4)),
    ("C", "t0", 1.0, 1),
]


def test_regulons_are_the_strongest_targets_of_each_sign():
    found = regulons_of(Links.of_list(*zip(*ROWS, strict=True)), top=4, least=3)
    assert [(one.name, one.regulator, one.targets) for one in found] == [
        ("A(+)", "A", ("t0", "t1", "t2", "t3")),
        ("A(-)", "A", ("u0", "u1", "u2")),
        ("B(-)", "B", ("t0", "t1", "t2", "t3")),
    ]
    assert found[0].importances.tolist() == [9, 8, 7, 6]
    (strong,) = regulons_of(Links.of_list(*zip(*ROWS, strict=True)), top=4, least=1, min_importance=8)
    assert strong.targets == ("t0", "t1")
    odd = Links.of_list(["A", "A", "A"], ["A", "x", "y"], [3.0, 2.0, 0.0])
    assert [one.targets for one in regulons_of(odd, top=9, least=1)] == [("x",)]
    with refused(DataError, "has weights below 0", "a column sign"):
        find_regulons(Links.of_list(["A"], ["x"], [-1.0]), "net")
    unsigned = regulons_of(Links.of_list(*list(zip(*ROWS, strict=True))[:3]), top=4, least=4)
    assert [(one.name, one.targets) for one in unsigned] == [
        ("A", ("v", "t0", "t1", "t2")),
        ("B", ("t0", "t1", "t2", "t3")),
    ]


def test_known_targets_are_counted_among_those_that_could_be():
    links = Links.of_list(*zip(*ROWS, ("D", "A", 1.0, 1), strict=True))
    regulons = regulons_of(links, top=4, least=1)
    genes = [f"t{i}" for i in range(6)] + ["u0", "u1", "A", "elsewhere"]
    gold = [("A", "t0"), ("A", "t1"), ("A", "t5"), ("A", "A"), *(("E", gene) for gene in genes)]
    found = dict(zip([one.name for one in regulons], known_among(regulons, links, gold), strict=True))
    # Of t0 to t5, u0 and u1; A itself is not one of its own targets.
    raised, lowered = found["A(+)"], found["A(-)"]
    assert (raised.n_known, raised.n_both, raised.n_background) == (3, 2, 8)
    assert (lowered.n_known, lowered.n_both, lowered.fold, lowered.p) == (3, 0, 0, 1)
    assert raised.p == pytest.approx(fisher_exact([[2, 2], [1, 3]], alternative="greater")[1])
    assert raised.fold == pytest.approx(2 / (4 * 3 / 8)) and raised.q == pytest.approx(min(1, 2 * raised.p))
    assert found["B(-)"] is found["C(+)"] is None


# -- what is written ---------------------------------------------------------------------------------------------------

N_TARGETS, N_CELLS = 60, 30


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A list of links of two regulators, each with thirty targets, and cells of which half have those of A up."""
    folder = tmp_path_factory.mktemp("regulons")
    rng = np.random.default_rng(1)
    lines = (f"{'AB'[i % 2]}\tg{i}\t{1 + rng.random():.4f}\t{'+-'[i % 4 == 3]}\n" for i in range(N_TARGETS))
    (folder / "links.tsv").write_text("TF\ttarget\timportance\tsign\n" + "".join(lines))
    values = rng.poisson(0.3, (N_TARGETS + 140, N_CELLS)).astype(np.float64)
    values[:N_TARGETS:2, : N_CELLS // 2] += 5
    write_matrix(folder / "cells.tsv", [f"g{i}" for i in range(len(values))], values)
    gold = [*(("A", i) for i in range(0, 40, 2)), *(("B", i) for i in range(0, N_TARGETS, 3))]
    (folder / "gold.tsv").write_text("".join(f"{regulator}\tg{i}\t1\n" for regulator, i in gold))
    write_regulons(folder / "links.tsv", folder / "regulons", gold_path=folder / "gold.tsv")
    return folder


def test_regulons_are_written_as_gene_sets_and_a_table(folder, tmp_path):
    write_regulons(folder / "links.tsv", tmp_path / "again", gold_path=folder / "gold.tsv")
    names = ["regulons.gmt", "regulons.tsv", "run.json"]
    assert same_files(folder / "regulons", tmp_path / "again") == names
    sets = read_gmt(folder / "regulons" / "regulons.gmt")
    assert {name: len(genes) for name, genes in sets.items()} == {"A(+)": 30, "B(+)": 15, "B(-)": 15}
    assert sets["B(-)"] == {f"g{i}" for i in range(3, N_TARGETS, 4)}
    header, *rows = fields_of(folder / "regulons" / "regulons.tsv")
    assert header[:5] == ["regulon", "regulator", "sign", "n_targets", "least_importance"]
    assert [row[:4] for row in rows[:2]] == [["A(+)", "A", "+", "30"], ["B(+)", "B", "+", "15"]]
    assert [row[5:8] for row in rows] == [["20", "20", "33"], ["20", "5", "33"], ["20", "5", "33"]]
    with refused(OutputError, "holds run.json already"):
        write_regulons(folder / "links.tsv", tmp_path / "again")
    with refused(DataError, "has no 31 targets of a regulator and sign", "lower `min_size`"):
        write_regulons(folder / "links.tsv", tmp_path / "none", min_size=31)


def test_regulons_are_compared_with_what_was_measured(folder, tmp_path, engine, caplog):
    """A network's directory, its list with the genes of it, and the list alone."""
    gold = folder / "gold.tsv"
    for source, output, limits in (("links.tsv", "net", Limits(top=999)), ("net", "strong", Limits(top=24))):
        place = folder if source == "links.tsv" else tmp_path
        filter_network(place / source, tmp_path / output, limits, engine)
    listed, genes = tmp_path / "strong" / "links.tsv", tmp_path / "genes.txt"
    genes.write_text("".join(f"g{i}\n" for i in range(N_TARGETS)))
    _, whole = write_regulons(tmp_path / "strong", tmp_path / "1", min_size=3, gold_path=gold)
    assert not caplog.text
    _, given = write_regulons(listed, tmp_path / "2", min_size=3, gold_path=gold, background=genes)
    assert not caplog.text and str(genes) in json.loads((tmp_path / "2" / "run.json").read_text())["inputs"]
    _, alone = write_regulons(listed, tmp_path / "3", min_size=3, gold_path=gold)
    assert "links.tsv is a list of links: the background is only the 24 genes of its links" in caplog.text
    assert whole == given and {one.n_background for one in whole if one} == {33}
    assert {one.n_background for one in alone if one}.pop() < 24
    with refused(ConfigError, "`background` is for the comparison with known links; give `gold_path`, too"):
        write_regulons(listed, tmp_path / "4", min_size=3, background=genes)


def test_every_form_has_the_same_scores(folder, tmp_path):
    pytest.importorskip("anndata")
    forms = ("activity.tsv", "activity.csv.gz", "activity.parquet", "activity.h5ad")
    for name in forms:
        for place in ("one", "other"):
            (tmp_path / place).mkdir(exist_ok=True)
            found = write_activity(
                folder / "cells.tsv", folder / "regulons" / "regulons.gmt", tmp_path / place / name
            )
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes()
    assert found.values.shape == (N_CELLS, 3) and found.sizes == (30, 15, 15)
    first, second = found.values[: N_CELLS // 2, 0], found.values[N_CELLS // 2 :, 0]
    assert first.min() > 0.9 and second.max() < 0.6
    for name in forms:
        read = read_matrix(tmp_path / "one" / name, MatrixChoice())
        assert (read.genes, read.samples, read.orientation) == (found.sets, found.cells, "columns")
        np.testing.assert_allclose(read.values, found.values.T, rtol=1e-5)
    told = json.loads((tmp_path / "one" / "activity.tsv.run.json").read_text())
    assert told["results"]["ranks"] == 10 and len(told["inputs"]) == 2


def test_python_gives_the_same(folder):
    pandas = pytest.importorskip("pandas")
    links = pandas.read_csv(folder / "links.tsv", sep="\t").rename(columns={"TF": "regulator"})
    regulons = predictd.network.regulons(links)
    assert list(regulons.columns) == ["regulon", "regulator", "target", "importance"] and len(regulons) == 60
    by_path = predictd.network.aucell(folder / "cells.tsv", folder / "regulons" / "regulons.gmt")
    frame = pandas.read_csv(folder / "cells.tsv", sep="\t", index_col=0)
    own = predictd.network.aucell(frame, regulons)
    assert own.equals(by_path) and own.shape == (N_CELLS, 3) and own.index[0] == "S0"
    one = predictd.network.aucell(frame, {"B(-)": read_gmt(folder / "regulons" / "regulons.gmt")["B(-)"]})
    assert one["B(-)"].equals(own["B(-)"])
    with refused(ConfigError, "`auc_threshold` has to be above 0"):
        predictd.network.aucell(frame, regulons, auc_threshold=0)
    with refused(TableError, "`regulons` has no column regulon"):
        predictd.network.aucell(frame, links)


@pytest.mark.parametrize(
    ("sets", "threshold", "choice", "message"),
    [
        ("S\t\tG0\tG1\n", 0.05, MatrixChoice(), "differ only in upper and lower case, G0 and g0"),
        (
            "S\t\tx0\tx1\n",
            0.05,
            MatrixChoice(),
            r"no set has 20% of its genes \(x0, x1\).*use the same names",
        ),
        ("S\t\tg0\tg1\n", 0.05, MatrixChoice("columns"), "are among its samples: give `orientation`"),
        (
            "S\t\tg0\tg1\n",
            0.005,
            MatrixChoice(),
            "has 200 genes, of which 0.005 is too few; raise `auc_threshold`",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(folder, sets, threshold, choice, message, tmp_path):
    (tmp_path / "sets.gmt").write_text(sets)
    with pytest.raises(DataError, match=message):
        write_activity(
            folder / "cells.tsv",
            tmp_path / "sets.gmt",
            tmp_path / "a.tsv",
            auc_threshold=threshold,
            choice=choice,
        )
    assert [path.name for path in tmp_path.iterdir()] == ["sets.gmt"]


def test_genes_that_the_matrix_lacks_and_empty_cells_are_warned_of(folder, tmp_path, caplog):
    few = "\t".join(["g0", *(f"x{i}" for i in range(5))])
    (tmp_path / "sets.gmt").write_text(f"S\t\tg0\tg1\tx9\nfew\t\t{few}\n")
    found = write_activity(folder / "cells.tsv", tmp_path / "sets.gmt", tmp_path / "a.tsv", auc_threshold=0.9)
    assert found.sets == ("S",) and found.sizes == (2,)
    told = "\n".join(record.getMessage() for record in caplog.records)
    assert "1 of the 2 sets have fewer than 20 % of their genes" in told and "left out: few" in told
    assert "6 of the 8 genes of the sets are not in" in told
    assert "in 30 of the 30 cells fewer genes than the 179 that count" in told
    write_activity(folder / "cells.tsv", tmp_path / "sets.gmt", tmp_path / "b.tsv", auc_threshold=0.01)
    assert "first 2 ranks count" not in caplog.text
    (tmp_path / "sets.gmt").write_text("S\t\tg0\tg1\tg2\n")
    write_activity(folder / "cells.tsv", tmp_path / "sets.gmt", tmp_path / "b.tsv", auc_threshold=0.01)
    assert "1 sets have more than 2 genes (S), but only a cell's first 2 ranks count: raise" in caplog.text


def test_names_that_a_table_cannot_hold_and_names_of_files(tmp_path):
    with refused(ConfigError, "let `output` end with .tsv, .txt, .csv, .parquet or .h5ad"):
        check_cells(tmp_path / "activity.loom")
    with refused(TableError, "a comma or a quotation mark in the names a,b"):
        write_cells(tmp_path / "a.csv", ["a,b"], ["S"], np.zeros((1, 1)), [1])
    assert not list(tmp_path.iterdir())


def test_groups_of_a_file_are_enriched(folder, tmp_path):
    (tmp_path / "sets.gmt").write_text("odd\t\t" + "\t".join(f"g{i}" for i in range(1, 40, 2)) + "\n")
    groups = folder / "regulons" / "regulons.gmt"
    found = enrich_network(folder / "links.tsv", tmp_path / "sets.gmt", tmp_path / "e.tsv", by=groups)
    assert [(one.group, one.n_group, one.n_both, one.n_background) for one in found] == [
        ("B(+)", 15, 10, 62),
        ("B(-)", 15, 10, 62),
    ]
    assert str(groups) in json.loads((tmp_path / "e.tsv.run.json").read_text())["inputs"]
    (tmp_path / "others.gmt").write_text("S\t\tx\n")
    with refused(DataError, "no group of", "use the same names"):
        enrich_network(
            folder / "links.tsv", tmp_path / "sets.gmt", tmp_path / "f.tsv", by=tmp_path / "others.gmt"
        )


def test_the_command_lines_do_the_same(folder, tmp_path):
    words = ("network", "regulons", folder / "links.tsv", "-o", "r", "--gold", folder / "gold.tsv")
    done = call_predictd(*words, cwd=tmp_path)
    assert done.returncode == 0 and done.stderr.count("\n") == 1
    assert "links.tsv is a list of links" in done.stderr and "give --background, or" in done.stderr
    assert done.stdout == (
        "r: 3 regulons of 2 regulators\n"
        "1 of 3 have more known targets than by chance, at a false discovery rate under 0.05\n"
    )
    assert same_files(folder / "regulons", tmp_path / "r") == ["regulons.gmt", "regulons.tsv", "run.json"]
    words = ("network", "aucell", folder / "cells.tsv", "r/regulons.gmt", "-o")
    done = call_predictd(*words, "a.csv", "--auc-threshold", 0.1, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "a.csv: 3 sets in 30 cells\n")
    assert fields_of(tmp_path / "a.csv", ",")[0] == ["cell", "A(+)", "B(+)", "B(-)"]
    done = call_predictd(*words, "a.xlsx", cwd=tmp_path)
    assert done.returncode == 2 and "let --output end with" in done.stderr
    done = call_predictd(*words, "a.tsv", "--auc-threshold", 0.001, cwd=tmp_path)
    assert done.returncode == 1 and "raise --auc-threshold" in done.stderr
    done = call_predictd(
        "network",
        "enrich",
        folder / "links.tsv",
        "r/regulons.gmt",
        "-o",
        "e",
        "--groups",
        "all",
        cwd=tmp_path,
    )
    assert done.returncode == 2 and "'all' is not one of targets, communities, clusters" in done.stderr
