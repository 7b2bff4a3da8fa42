"""The benchmark of networks' accuracy, on a small case whose figures are computed another way."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from made_networks import write_network_case
from places import ROOT
from predictd.grn.scaling import scaled_mean


@pytest.fixture(scope="module")
def bench():
    path = ROOT / "bench" / "accuracy" / "networks.py"
    spec = importlib.util.spec_from_file_location("bench_accuracy_networks", path)
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two data sets: one with a list of regulators, and one where every gene may be one. Read only."""
    folder = tmp_path_factory.mktemp("data")
    for name in ("ecoli", "dream4"):
        (folder / name).mkdir()
        write_network_case(folder / name)
    with (folder / "ecoli" / "gold.tsv").open("a") as file:
        file.write("G1\tG1\nG2\tG0\nabsent\tG9\n")
    (folder / "dream4" / "regulators.txt").unlink()
    for name in ("expression", "gold"):
        (folder / "dream4" / f"{name}.tsv").rename(folder / "dream4" / f"net1.{name}.tsv")
    return folder


def candidates(case, matrix):
    """Score, truth, regulator and target of each candidate, plainly."""
    genes = case.problem.genes
    regulators = [genes[case.problem.regulators[place]] for place in case.places]
    targets = [genes[case.inferred[column]] for column in case.columns]
    return [
        (matrix[case.places[i], case.columns[j]], case.truth[i, j], i, j)
        for i, regulator in enumerate(regulators)
        for j, target in enumerate(targets)
        if regulator != target
    ]


@pytest.mark.parametrize("name", ["DREAM4 1", "E. coli"])
def test_scores_are_scikit_learns(bench, data, tmp_path, monkeypatch, name):
    if name == "E. coli":
        monkeypatch.setattr(bench, "FEW", 10)
    case = bench.Case.read(name, data, None)
    assert case.truth.sum() == (36 if name == "DREAM4 1" else 37)
    assert case.truth.shape == ((6, 18) if name == "DREAM4 1" else (6, 19))
    assert case.inferred.size == (24 if name == "DREAM4 1" else 19)
    # Ties among candidates of one target and of several.
    matrix = np.round(case.importances("pearson", tmp_path), 1)
    scores, truth, *owners = (np.array(column) for column in zip(*candidates(case, matrix), strict=True))
    assert case.aupr(matrix) == pytest.approx(average_precision_score(truth, scores))
    for axis, owner in enumerate(owners):
        drawn = bench.draws(case.truth.shape[axis], 4)
        assert (drawn.sum(axis=1) == case.truth.shape[axis]).all()
        expected = [average_precision_score(truth, scores, sample_weight=row[owner]) for row in drawn]
        np.testing.assert_allclose(case.precisions(matrix, drawn, axis=axis), expected)
    if name == "DREAM4 1":
        off = ~np.eye(24, dtype=bool)
        whole = np.zeros((24, 24), bool)
        whole[np.ix_(case.places, case.columns)] = case.truth
        assert bench.all_pairs(case, matrix) == pytest.approx(
            average_precision_score(whole[off], matrix[off])
        )


def test_combinations(bench, data, tmp_path):
    case = bench.Case.read("E. coli", data, None)
    one, other = (case.importances(name, tmp_path) for name in ("pearson", "ridge"))
    target = case.inferred.tolist().index(0)
    np.testing.assert_allclose(bench.scaled(case, one)[:, target], scaled_mean([one[:, target]], excluded=0))
    assert bench.scaled(case, one)[1:, target].std() > 0
    np.testing.assert_allclose(np.mean(bench.scaled(case, one)[:, 9] ** 2), 1)
    # Links of importance 0, of genes to themselves, are the last in either.
    together, ranks = case.consensus([one, other]), bench.by_rank(case, one) + bench.by_rank(case, other)
    order = np.argsort(ranks, axis=None, kind="stable")
    assert (np.diff(together.ravel()[order]) >= -1e-12).all() and together[0, target] == 0


def test_the_command_prints_its_tables_and_goes_on(bench, data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(bench, "CHOICES", ("rf", "ridge", "pearson of normal scores"))
    given = [
        "--data",
        data,
        "--only",
        "DREAM4 1,E. coli",
        "--trees",
        "4",
        "--samples",
        "20",
        "--work",
        tmp_path,
    ]
    bench.main(list(map(str, given)))
    first = capsys.readouterr()
    case = bench.Case.read("E. coli", data, 4)
    ridge = case.aupr(np.load(tmp_path / "E.-coli-ridge-0.npy"))
    row = next(line for line in first.out.splitlines() if line.startswith("| ridge | "))
    assert row.split(" | ")[2].startswith(f"{ridge:.3f} (")
    assert "| by chance | 0.3333 | 0.3274 |" in first.out
    chosen = [
        line for line in first.out.splitlines() if line.startswith(("| none", "| DREAM4 1 |", "| E. coli |"))
    ]
    assert len(chosen) == 3 and "14 choices" in first.out
    bench.main(list(map(str, given)))
    again = capsys.readouterr()
    assert again.out == first.out and "E. coli: " in first.err and "E. coli: " not in again.err
