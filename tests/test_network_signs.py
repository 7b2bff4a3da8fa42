"""Signs of links: right where they are known, the same for sparse values, kept by every file and table."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.stats import pearsonr, spearmanr

import predictd
from made_networks import write_matrix
from predictd.config import NetworkSettings
from predictd.constants import NETWORK_FORMAT
from predictd.engine import LocalEngine
from predictd.errors import TableError
from predictd.grn.consensus import rank_average
from predictd.grn.linear import PENALTIES, Ridge, standardised
from predictd.grn.links import Links
from predictd.grn.methods import DEFAULT_TREES, Problem
from predictd.grn.multi import group_targets
from predictd.grn.signs import LEADING, effect_signs
from predictd.io.hdf5 import write_arrays
from predictd.io.network.link_lists import read_link_list
from predictd.workflows.network.filter import Limits, filter_network
from predictd.workflows.network.infer import Inference
from predictd.workflows.network.links import load_links, read_links
from predictd.workflows.network.tasks import infer_rows
from read_tables import fields_of
from refusals import refused

N_REGULATORS, N_TARGETS, N_SAMPLES = 20, 15, 200


@pytest.fixture(scope="module")
def signed():
    """Problem, and signs of links by regulator and target: regulators that vary alike, three of them a target."""
    rng = np.random.default_rng(3)
    teams = rng.normal(size=(3, N_SAMPLES))
    regulators = 0.8 * rng.normal(size=(N_REGULATORS, 3)) @ teams + rng.normal(size=(N_REGULATORS, N_SAMPLES))
    regulators, targets, known = standardised(regulators), [], {}
    for target in range(N_TARGETS):
        chosen = rng.choice(N_REGULATORS, 3, replace=False)
        signs = rng.choice([-1, 1], 3)
        own = standardised((signs * rng.uniform(0.5, 1.5, 3)) @ regulators[chosen])
        targets.append(own + 0.4 * rng.normal(size=N_SAMPLES))
        known |= {(r, N_REGULATORS + target): s for r, s in zip(chosen.tolist(), signs.tolist(), strict=True)}
    expression = np.concatenate([regulators, targets])
    groups = np.full(len(expression), -1)
    for number, group in enumerate(group_targets(standardised(expression), np.arange(N_REGULATORS), seed=0)):
        groups[group] = number
    names = tuple(f"G{i}" for i in range(len(expression)))
    return Problem(expression, names, np.arange(N_REGULATORS), groups), known


def signs_of(problem, method, **settings):
    """Signs by regulator and target."""
    trees = 40 if method in DEFAULT_TREES else None
    targets = range(N_REGULATORS, N_REGULATORS + N_TARGETS)
    rows = infer_rows(problem, targets, NetworkSettings(method=method, trees=trees, **settings), seed=0)
    return {
        (r, target): s
        for target, (regulators, _, signs) in zip(targets, rows, strict=True)
        for r, s in zip(regulators.tolist(), signs.tolist(), strict=True)
    }


@pytest.mark.parametrize("method", ["rf", "et", "multi", "grnboost", "ridge"])
def test_signs_of_partial_effects_are_right_where_correlations_are_not(method, signed):
    problem, known = signed
    found = signs_of(problem, method)
    correlation = np.corrcoef(problem.expression)
    listed = [pair for pair in known if pair in found]
    assert len(listed) > 0.9 * len(known)
    assert [found[pair] for pair in listed] == [known[pair] for pair in listed]
    assert sum(np.sign(correlation[pair]) != known[pair] for pair in listed) >= 2


@pytest.mark.parametrize(("method", "measure"), [("pearson", pearsonr), ("clr", spearmanr)])
def test_signs_of_correlations_are_theirs(method, measure, signed):
    problem, _ = signed
    found = signs_of(problem, method)
    assert len(found) > 100 and set(found.values()) == {-1, 1}
    for (r, t), sign in found.items():
        assert sign == np.sign(measure(problem.expression[r], problem.expression[t])[0])


def test_signs_of_ridge_are_those_of_its_coefficients(signed):
    problem, _ = signed
    found = signs_of(problem, "ridge")
    z = standardised(problem.expression[:N_REGULATORS])
    ridge = Ridge(z, *Ridge.eigenbasis(z))
    for target in range(N_REGULATORS, N_REGULATORS + N_TARGETS):
        own, _ = ridge.coefficients(standardised(problem.expression[target]), excluded=-1)
        assert [found[r, target] for r in range(N_REGULATORS)] == np.sign(own).tolist()


def test_effects_are_those_of_the_ridge_regression_of_least_error(signed):
    problem, _ = signed
    target, regulators = N_REGULATORS, np.arange(N_REGULATORS)[::-1]
    x, y = standardised(problem.expression[regulators]).T, standardised(problem.expression[target])
    errors, coefficients = [], []
    for penalty in PENALTIES * N_SAMPLES:
        inverse = np.linalg.inv(x.T @ x + penalty * np.eye(len(regulators)))
        hat = x @ inverse @ x.T + 1 / N_SAMPLES
        left = np.square(y - hat @ y).mean()
        errors.append(left / np.square(1 - np.trace(hat) / N_SAMPLES))
        coefficients.append(inverse @ x.T @ y)
    expected = np.sign(coefficients[int(np.argmin(errors))])
    assert (
        effect_signs(problem.expression, problem.expression[target], regulators).tolist() == expected.tolist()
    )


def test_sparse_values_give_the_signs_of_dense_ones():
    rng = np.random.default_rng(0)
    values = rng.poisson(0.3, size=(140, 500)) * rng.random((140, 500))
    values[7] = 0
    values[9] = 1.5 * (rng.random(500) < 0.2) + values[139]
    order = rng.permutation(139)
    dense = effect_signs(values, values[139], order)
    assert effect_signs(csr_array(values), values[139], order).tolist() == dense.tolist()
    assert dense[order.tolist().index(7)] == 0 and dense[order.tolist().index(9)] == 1
    late = order[LEADING:]
    with np.errstate(invalid="ignore"):
        own = [np.nan_to_num(np.corrcoef(values[r], values[139])[0, 1]) for r in late]
    assert dense[LEADING:].tolist() == np.sign(own).tolist()


def test_what_is_kept_changes_no_sign(signed):
    problem, _ = signed
    every = signs_of(problem, "et")
    few = signs_of(problem, "et", top=2)
    assert len(few) == 2 * N_TARGETS and few.items() <= every.items()


# -- files and tables --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def net(signed, tmp_path_factory):
    """A network of ridge. Read only."""
    problem, _ = signed
    folder = tmp_path_factory.mktemp("signs")
    path = write_matrix(folder / "expression.tsv", problem.genes, problem.expression)
    names = list(problem.genes[:N_REGULATORS])
    settings = NetworkSettings(method="ridge", top=5)
    Inference(path, folder / "net", settings, regulators=names).make_all(LocalEngine(1))
    return folder / "net"


def test_files_say_signs(net, signed):
    problem, _ = signed
    found = signs_of(problem, "ridge", top=5)
    header, *rows = fields_of(net / "links.tsv")
    assert header == ["regulator", "target", "importance", "sign"]
    texts = {(r, t): s for r, t, _, s in rows}
    own = {(problem.genes[r], problem.genes[t]): "+" if s > 0 else "-" for (r, t), s in found.items()}
    assert own.items() <= texts.items() and set(texts.values()) == {"+", "-"}
    links, _ = read_links(net)
    by_name = {"+": 1, "-": -1}
    names = zip(links.indices.tolist(), links.rows().tolist(), links.signs.tolist(), strict=True)
    assert {(links.regulators[r], links.targets[t]): s for r, t, s in names} == {
        pair: by_name[s] for pair, s in texts.items()
    }
    assert links.signs.dtype == np.int8


def test_filters_keep_signs(net, tmp_path, engine):
    _, *rows = fields_of(net / "links.tsv")
    for source in (net, net / "links.tsv"):
        filter_network(source, tmp_path / "some.tsv", Limits(top=20), engine)
        assert fields_of(tmp_path / "some.tsv")[1:] == rows[:20]
    filter_network(net / "links.tsv", tmp_path / "some", Limits(top=20), engine)
    assert fields_of(tmp_path / "some" / "links.tsv")[1:] == rows[:20]
    links, _ = load_links(tmp_path / "some")
    assert sorted(links.signs.tolist()) == sorted(1 if row[3] == "+" else -1 for row in rows[:20])


def test_networks_of_version_1_are_read(tmp_path, engine):
    links = Links.of_list(["a", "b"], ["x", "x"], [1.0, 2.0])
    write_arrays(
        tmp_path / "old.h5",
        format=NETWORK_FORMAT,
        version=1,
        header={"method": "rf"},
        arrays=links.to_arrays(),
    )
    found, method = load_links(tmp_path / "old.h5")
    assert method == "rf" and found.signs is None
    filter_network(tmp_path / "old.h5", tmp_path / "new", Limits(top=2), engine)
    assert (tmp_path / "new" / "links.tsv").read_text() == "regulator\ttarget\timportance\nb\tx\t2\na\tx\t1\n"


def test_signs_of_other_lists_are_read_as_they_are_written(tmp_path, engine):
    (tmp_path / "list.tsv").write_text(
        "sign\tTF\ttarget\timportance\n1\ta\tx\t5\n-1\tb\tx\t4\n0\tc\tx\t3\n\td\tx\t2\n+\te\tx\t1\n"
    )
    assert read_link_list(tmp_path / "list.tsv")[3] == ["+", "-", ".", ".", "+"]
    filter_network(tmp_path / "list.tsv", tmp_path / "net", Limits(top=9), engine)
    assert [row[3] for row in fields_of(tmp_path / "net" / "links.tsv")] == ["sign", "+", "-", ".", ".", "+"]
    (tmp_path / "bad.tsv").write_text("TF\ttarget\timportance\tsign\na\tx\t1\tup\n")
    with refused(TableError, "bad.tsv, line 2: the sign 'up' is not one of +, - and . (or 1, -1 and 0)"):
        load_links(tmp_path / "bad.tsv")


def test_frames_have_signs(net):
    pd = pytest.importorskip("pandas")
    kept = predictd.network.filter(net, top=30)
    assert kept.equals(predictd.network.filter(kept, top=30))
    _, *rows = fields_of(net / "links.tsv")
    assert kept["sign"].tolist() == [row[3] for row in rows[:30]]
    numbers = kept.assign(sign=kept["sign"].map({"+": 1.0, "-": -1.0}))
    numbers.loc[0, "sign"] = float("nan")
    signs = predictd.network.filter(numbers, top=30)["sign"].tolist()
    assert signs == [".", *kept["sign"][1:]]
    assert "sign" not in predictd.network.filter(kept.drop(columns="sign"), top=30)
    with refused(TableError, "`links`: the sign 'up' is not one of"):
        predictd.network.filter(kept.assign(sign=pd.Series(["up"] * len(kept))), top=1)


def test_a_consensus_has_the_sign_of_most():
    def network(**signs):
        return Links.of_list(list(signs), ["x"] * len(signs), [1.0] * len(signs), list(signs.values()))

    together = rank_average(
        [network(a=1, b=-1, c=1), network(a=1, b=-1, c=-1), network(a=-1, b=0), network(d=-1)]
    )
    names = [together.regulators[i] for i in together.indices]
    assert dict(zip(names, together.signs.tolist(), strict=True)) == {"a": 1, "b": -1, "c": 0, "d": -1}
    assert rank_average([Links.of_list(["a"], ["x"], [1.0])]).signs is None
