"""Inference as a whole: files, parts, engines, and what may go wrong."""

from __future__ import annotations

import json
import logging
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from commands import call_predictd
from folders import same_files
from made_networks import N_GENES, simulate_expression, write_matrix, write_network_case
from places import SHARED
from predictd.cli.network.infer import command
from predictd.config import NetworkSettings
from predictd.errors import (
    AlreadyFinished,
    ConfigError,
    DataError,
    NetworkFormatError,
    OutputError,
    WorkerError,
)
from predictd.grn.linear import standardised
from predictd.grn.links import Links
from predictd.grn.methods import (
    DEFAULT_TREES,
    METHODS,
    Method,
    Problem,
    make_method,
)
from predictd.grn.multi import group_targets
from predictd.io.network.networks import read_network
from predictd.workflows.network import blocks
from predictd.workflows.network import infer as network_infer
from predictd.workflows.network.infer import Inference
from predictd.workflows.network.links import load_links
from predictd.workflows.network.tasks import infer_rows
from read_tables import fields_of

FEW = NetworkSettings(trees=30)


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """expression.tsv, regulators.txt, gold.tsv. Read only."""
    path = tmp_path_factory.mktemp("case")
    write_network_case(path)
    return path


def infer(case, output, engine, settings=FEW, **options):
    options.setdefault("regulators", case / "regulators.txt")
    return Inference(case / "expression.tsv", output, settings, **options).make_all(engine)


def read_links(directory):
    return Links.from_arrays(read_network(directory / "network.h5")[1])


# -- what is written ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_files_hold_the_links_that_the_method_gives(method, case, tmp_path, engine):
    trees = 30 if method in DEFAULT_TREES else None
    report = infer(case, tmp_path / "net", engine, NetworkSettings(method=method, trees=trees, top=4), seed=5)
    genes, expression, _ = simulate_expression()
    problem = Problem(expression, tuple(genes), np.arange(6))
    if method == "multi":
        groups = np.empty(N_GENES, np.int64)
        for number, group in enumerate(group_targets(standardised(expression), np.arange(6), seed=5)):
            groups[group] = number
        problem = Problem(expression, tuple(genes), np.arange(6), groups=groups)
    own = make_method(method, problem, n_trees=trees or 0, seed=5)
    links = read_links(tmp_path / "net")
    assert links.targets == tuple(genes) and links.regulators == tuple(genes[:6])
    expected = {}
    for gene in range(N_GENES):
        importances = own.importances(gene)
        for i in np.argsort(-importances, kind="stable")[:4]:
            if importances[i] > 0:
                expected[genes[i], genes[gene]] = importances[i]
    rows = fields_of(tmp_path / "net" / "links.tsv")
    assert rows[0] == ["regulator", "target", "importance", "sign"]
    assert {(r, t): w for r, t, w, _ in rows[1:]} == {pair: f"{w:.6g}" for pair, w in expected.items()}
    weights = [float(row[2]) for row in rows[1:]]
    assert weights == sorted(weights, reverse=True)
    assert len(rows) - 1 == report.n_links == len(links) and report.listed
    told = json.loads((tmp_path / "net" / "run.json").read_text())
    assert told["results"]["links"] == report.n_links and told["results"]["samples"] == 40
    assert not (tmp_path / "net" / ".partial").exists()


def test_links_under_a_minimum_are_left_out(case, tmp_path, engine, caplog):
    infer(case, tmp_path / "all", engine)
    infer(case, tmp_path / "some", engine, NetworkSettings(trees=30, min_importance=0.2))
    lines = (tmp_path / "all" / "links.tsv").read_text().splitlines()
    kept = [lines[0], *(line for line in lines[1:] if float(line.split("\t")[2]) >= 0.2)]
    assert (tmp_path / "some" / "links.tsv").read_text().splitlines() == kept
    assert 1 < len(kept) < len(lines)
    assert "has no links" not in caplog.text
    assert infer(case, tmp_path / "none", engine, NetworkSettings(trees=30, min_importance=2)).n_links == 0
    assert "the network has no links: no importance is above 0 and 2 or more" in caplog.text
    with pytest.raises(DataError, match="none has no links: infer it again with a lower limit of importance"):
        load_links(tmp_path / "none")


def test_long_lists_stand_in_hdf5_alone(case, tmp_path, engine, monkeypatch, caplog):
    monkeypatch.setattr(network_infer, "MAX_LISTED_LINKS", 10)
    report = infer(case, tmp_path / "net", engine, NetworkSettings(method="pearson"))
    assert not report.listed and not (tmp_path / "net" / "links.tsv").exists()
    assert len(read_links(tmp_path / "net")) == report.n_links and "too many for links.tsv" in caplog.text


def test_all_genes_may_regulate_and_orientation_changes_nothing(case, tmp_path, engine):
    genes, expression, _ = simulate_expression()
    lines = ["\t".join(genes), *("\t".join(map(str, row)) for row in expression.T.tolist())]
    (tmp_path / "columns.tsv").write_text("\n".join(lines) + "\n")
    infer(case, tmp_path / "rows", engine, regulators=None)
    Inference(tmp_path / "columns.tsv", tmp_path / "columns", FEW).make_all(engine)
    text = (tmp_path / "rows" / "links.tsv").read_text()
    assert (tmp_path / "columns" / "links.tsv").read_text() == text
    assert len(read_links(tmp_path / "rows").regulators) == N_GENES


# -- the same bits -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["rf", "clr"])
def test_workers_change_no_bit(method, case, tmp_path, engine, single):
    settings = FEW if method == "rf" else NetworkSettings(method=method)
    infer(case, tmp_path / "two", engine, settings)
    infer(case, tmp_path / "one", single, settings)
    assert same_files(tmp_path / "one", tmp_path / "two") == ["links.tsv", "network.h5", "run.json"]


def test_blocks_change_no_link(case, tmp_path, engine, monkeypatch):
    infer(case, tmp_path / "many", engine)
    monkeypatch.setattr(blocks, "LEAST_BLOCKS", 1)
    plan = Inference(case / "expression.tsv", tmp_path / "one", FEW, regulators=case / "regulators.txt")
    assert plan.n_parts == 1
    plan.make_all(engine)
    same_files(tmp_path / "many", tmp_path / "one")


def test_parts_by_command_give_the_same_bytes(case, tmp_path, engine, monkeypatch):
    monkeypatch.setattr(blocks, "LEAST_BLOCKS", 6)
    given = [
        case / "expression.tsv",
        "--regulators",
        case / "regulators.txt",
        "--method",
        "et",
        "--trees",
        20,
    ]

    def run(*options):
        return CliRunner().invoke(
            command, [str(part) for part in (*given, "-o", tmp_path / "parts", *options)]
        )

    assert run("--parts").output == "6\n"
    settings = NetworkSettings(method="et", trees=20)
    regulators = case / "regulators.txt"
    plan = Inference(case / "expression.tsv", tmp_path / "parts", settings, regulators=regulators)
    for part in range(1, 6):
        assert plan.make([part], engine) == [part]
    missing = run("--finish").exception
    assert "part 0 of 6 is missing" in str(missing) and "make it first (--part 0)" in str(missing)
    plan.make([0], engine)
    done = run("--finish")
    assert done.exit_code == 0 and "links from 6 regulators to 24 genes, listed in" in done.output
    infer(case, tmp_path / "whole", engine, settings)
    same_files(tmp_path / "whole", tmp_path / "parts")


def test_the_command_line_does_the_same(case, tmp_path, engine):
    options = (
        "--regulators",
        case / "regulators.txt",
        "--trees",
        30,
        "--top",
        3,
        "--seed",
        2,
        "--workers",
        1,
    )
    done = call_predictd("network", "infer", case / "expression.tsv", "-o", "net", *options, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    infer(case, tmp_path / "own", engine, NetworkSettings(trees=30, top=3), seed=2)
    texts = [(tmp_path / name / "links.tsv").read_text() for name in ("net", "own")]
    assert texts[0] == texts[1]
    # Which libraries a process has loaded stands in the header; this one's are pytest's, too.
    assert read_network(tmp_path / "net" / "network.h5")[0]["settings"]["trees"] == 30


def test_an_interrupted_run_goes_on_with_what_is_missing(case, tmp_path, engine):
    plan = Inference(case / "expression.tsv", tmp_path / "net", FEW, regulators=case / "regulators.txt")
    plan.make(range(5), engine)
    again = Inference(case / "expression.tsv", tmp_path / "net", FEW, regulators=case / "regulators.txt")
    assert again.make(range(8), engine) == [5, 6, 7]
    other = Inference(
        case / "expression.tsv", tmp_path / "net", FEW, regulators=case / "regulators.txt", seed=1
    )
    with pytest.raises(OutputError, match="begun differently \\(seed: 0, now 1\\)"):
        other.make([9], engine)
    again.make_all(engine)
    with pytest.raises(AlreadyFinished, match="nothing was done"):
        again.make([0], engine)
    with pytest.raises(OutputError, match=r"holds network.h5 already, made differently \(seed: 0, now 1\)"):
        other.make([0], engine)


def test_a_damaged_block_is_told(case, tmp_path, engine):
    plan = Inference(case / "expression.tsv", tmp_path / "net", FEW, regulators=case / "regulators.txt")
    plan.make(range(plan.n_parts), engine)
    (path,) = (tmp_path / "net" / ".partial").glob("*/blocks/3.h5")
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(
        OutputError, match=r"blocks/3.h5 is damaged; remove it and run the command again, or part 3"
    ):
        plan.finish(engine)
    path.unlink()
    assert plan.make_all(engine).n_links > 100


def test_seeds_change_trees(case, tmp_path, engine):
    for seed in (0, 1):
        infer(case, tmp_path / f"net{seed}", engine, seed=seed)
    texts = [(tmp_path / f"net{seed}" / "links.tsv").read_text() for seed in (0, 1)]
    assert texts[0] != texts[1]


# -- what may go wrong -------------------------------------------------------------------------------------------------


def test_a_target_that_fails_is_named(monkeypatch):
    genes, expression, _ = simulate_expression()
    problem = Problem(expression, tuple(genes), np.arange(6))
    real = Method.importances

    def fails_at_g9(self, gene):
        if gene == 9:
            raise MemoryError("no memory for a forest's workspace")
        return real(self, gene)

    monkeypatch.setattr(Method, "importances", fails_at_g9)
    with pytest.raises(WorkerError, match="rf failed at the gene G9: MemoryError: no memory"):
        infer_rows(problem, range(5, 12), FEW, seed=0)
    monkeypatch.setattr(Method, "importances", lambda self, gene: np.full(6, np.nan))
    with pytest.raises(WorkerError, match="at the gene G5: ArithmeticError: importances that are not finite"):
        infer_rows(problem, range(5, 12), FEW, seed=0)


def test_missing_regulators_are_listed(case, tmp_path, engine, caplog):
    path = tmp_path / "regulators.txt"
    path.write_text("G1\nNOT1\nG0\nNOT2\n")
    report = infer(case, tmp_path / "net", engine, NetworkSettings(method="pearson"), regulators=path)
    assert report.n_regulators == 2
    assert "2 of the 4 regulators are not in" in caplog.text and "NOT1, NOT2" in caplog.text
    told = json.loads((tmp_path / "net" / "run.json").read_text())
    assert told["results"]["missing_regulators"] == ["NOT1", "NOT2"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("X1\nX2\n", r"none of the 2 regulators in .* \(X1, X2\) is a gene of .*use the same names"),
        (
            "S1\nS2\nS3\nG1\n",
            r"3 of the 4 regulators .* are samples of .*1 are genes; give `orientation` columns",
        ),
    ],
)
def test_regulators_that_do_not_fit_stop_the_run(names, message, case, tmp_path):
    (tmp_path / "names.txt").write_text(names)
    with pytest.raises(DataError, match=message):
        Inference(case / "expression.tsv", tmp_path / "net", FEW, regulators=tmp_path / "names.txt")
    assert not (tmp_path / "net").exists()


def test_constant_genes_and_numbers_for_names_are_warned_of(tmp_path, engine, caplog):
    genes, expression, _ = simulate_expression()
    expression[3], genes[8] = 1.5, "2.31E+13"
    path = write_matrix(tmp_path / "expression.tsv", genes, expression)
    Inference(path, tmp_path / "net", NetworkSettings(method="ridge")).make_all(engine)
    assert "1 genes are constant and get no links: G3" in caplog.text
    assert "1 gene names look like numbers (2.31E+13)" in caplog.text
    lines = (tmp_path / "net" / "links.tsv").read_text().splitlines()
    assert not [line for line in lines if "G3" in line.split("\t")]
    assert len(lines) > 100


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        (np.ones((4, 9)), "all genes are constant"),
        (np.eye(2), "has 2 samples of 2 genes, which is too few"),
        (np.arange(5.0)[np.newaxis], "has a single gene"),
    ],
)
def test_too_little_data_is_told(expression, message, tmp_path):
    path = write_matrix(tmp_path / "e.tsv", [f"G{i}" for i in range(len(expression))], expression)
    with pytest.raises(DataError, match=message):
        Inference(path, tmp_path / "net", FEW)


def test_trees_are_for_methods_that_grow_some(case, tmp_path):
    with pytest.raises(ConfigError, match="ridge grows no trees; leave `trees` out"):
        Inference(case / "expression.tsv", tmp_path / "net", NetworkSettings(method="ridge", trees=9))


def test_all_against_all_is_warned_of_with_its_cost(case, tmp_path, engine, monkeypatch, caplog):
    monkeypatch.setattr(network_infer, "_MANY_GENES", N_GENES)
    with caplog.at_level(logging.WARNING):
        infer(case, tmp_path / "listed", engine)
        assert "no `regulators`" not in caplog.text
        infer(case, tmp_path / "all", engine, regulators=None)
    assert "each of the 24 genes is regressed on all others, about" in caplog.text
    assert "with 2 workers) by a pilot of 20 genes" in caplog.text


def test_errors_are_one_line(case, tmp_path):
    shutil.copy(case / "expression.tsv", tmp_path / "e.tsv")
    (tmp_path / "names.txt").write_text("X\n")
    done = call_predictd("network", "infer", "e.tsv", "-o", "net", "--regulators", "names.txt", cwd=tmp_path)
    assert done.returncode == 1 and not done.stdout
    assert (
        done.stderr.startswith("predictd: error: none of the 1 regulators") and done.stderr.count("\n") == 1
    )
    done = call_predictd("network", "evaluate", "absent", "e.tsv", "-o", "eval.tsv", cwd=tmp_path)
    assert done.returncode == 1 and "absent does not exist" in done.stderr


@pytest.mark.parametrize("damage", ["cut", "foreign"])
def test_damaged_networks_are_told(damage, case, tmp_path, engine):
    infer(case, tmp_path / "net", engine, NetworkSettings(method="pearson"))
    path = tmp_path / "net" / "network.h5"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:1000])
    else:
        shutil.copy(case / "gold.tsv", path)
    with pytest.raises(NetworkFormatError, match="cannot be read as a network"):
        read_network(path)


# -- real data ---------------------------------------------------------------------------------------------------------


def test_dream4_is_inferred_as_well_as_published(tmp_path, engine):
    """GENIE3 was the best method of DREAM4's challenge of this size; see docs/network.md for 1000 trees."""
    data = SHARED / "data" / "grn" / "dream4"
    if not data.is_dir():
        pytest.skip("the DREAM4 networks are not here (shared/data/grn)")
    from predictd.workflows.network.evaluate import evaluate_network

    areas = []
    for i in (1, 2, 3):
        net = tmp_path / f"net{i}"
        Inference(data / f"net{i}.expression.tsv", net, NetworkSettings(trees=100)).make_all(engine)
        (scores,) = evaluate_network(net, data / f"net{i}.gold.tsv", tmp_path / "eval.tsv").values()
        areas.append(scores.aupr)
    assert np.mean(areas) > 0.25
