"""Methods of inference against scikit-learn, SciPy and plain formulas."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm, rankdata, spearmanr
from sklearn.linear_model import Ridge as OracleRidge
from sklearn.linear_model import RidgeCV
from sklearn.tree import DecisionTreeRegressor

from made_networks import simulate_expression
from predictd.grn.boosting import boosting_importances
from predictd.grn.features import code_features, float_features
from predictd.grn.genie3 import forest_importances, target_seed
from predictd.grn.linear import PENALTIES, Ridge, standardised
from predictd.grn.methods import DEFAULT_TREES, METHODS, Problem, make_method

pytestmark = pytest.mark.numeric


@pytest.fixture(scope="module")
def problem():
    genes, expression, _ = simulate_expression()
    return Problem(expression, tuple(genes), np.arange(6))


@pytest.mark.parametrize("shape", [(8, 30), (60, 25), (25, 400)])
@pytest.mark.parametrize("excluded", [-1, 3])
def test_ridge_is_scikit_learns_with_the_penalty_of_the_least_error_left_out(shape, excluded):
    rng = np.random.default_rng(1)
    z = standardised(rng.normal(size=shape) + rng.normal(size=shape[1]))
    target = z[3] if excluded == 3 else standardised(z[0] - z[1] + rng.normal(size=shape[1]))
    coefficients, penalty = Ridge(z, *Ridge.eigenbasis(z)).coefficients(target, excluded=excluded)
    others = np.arange(len(z)) != excluded
    penalties = PENALTIES * np.linalg.eigvalsh(z.T @ z).mean()
    chosen = RidgeCV(penalties).fit(z[others].T, target).alpha_
    assert penalty == pytest.approx(chosen)
    np.testing.assert_allclose(
        coefficients[others], OracleRidge(penalty).fit(z[others].T, target).coef_, rtol=1e-6, atol=1e-9
    )
    assert excluded < 0 or coefficients[excluded] == 0


def test_pearson_is_the_correlation(problem):
    got = make_method("pearson", problem, n_trees=0, seed=0).importances(2)
    expected = np.abs(np.corrcoef(problem.expression)[2, :6])
    expected[2] = 0
    np.testing.assert_allclose(got, expected, atol=1e-12)


def test_clr_follows_its_formula(problem):
    rho = spearmanr(problem.expression, axis=1).statistic
    np.fill_diagonal(rho, np.nan)
    information = -0.5 * np.log(1 - rho[:6] ** 2)
    clr = make_method("clr", problem, n_trees=0, seed=0)
    for gene in (1, 11):
        own = information[:, gene]
        z = [(own - np.nanmean(own)) / np.nanstd(own)]
        z.append((own - np.nanmean(information, axis=1)) / np.nanstd(information, axis=1))
        expected = np.hypot(*np.maximum(np.nan_to_num(z), 0))
        np.testing.assert_allclose(clr.importances(gene), expected, atol=1e-9)


def test_auto_is_the_mean_of_trees_and_ridge_each_over_its_root_mean_square(problem):
    expression = np.round(problem.expression, 1)
    scores = norm.ppf((rankdata(expression, axis=1) - 0.5) / expression.shape[1])
    problem, scored = (replace(problem, expression=values) for values in (expression, scores))
    auto = make_method("auto", problem, n_trees=9, seed=2)
    for gene, excluded in ((2, 2), (11, -1)):
        members = [
            make_method("et", problem, n_trees=5, seed=2).importances(gene),
            forest_importances(
                float_features(scores[:6]),
                scores[gene],
                excluded=excluded,
                n_trees=5,
                seed=target_seed(2, f"G{gene}\tnormal scores"),
            ),
            make_method("ridge", scored, n_trees=0, seed=0).importances(gene),
        ]
        others = np.arange(6) != excluded
        expected = np.mean([own / np.sqrt(np.mean(own[others] ** 2)) for own in members], axis=0)
        np.testing.assert_allclose(auto.importances(gene), expected, rtol=1e-9)


def grnboost2(regulators, target, seed):
    """Importances by GRNBoost2's rule, tree by tree of scikit-learn's, and the share that the trees explain."""
    n = len(target)
    rng = np.random.RandomState(seed)
    fitted, importances, gains = np.full(n, target.mean()), np.zeros(len(regulators)), []
    while len(gains) < 25 or np.mean(gains[-25:]) >= 0:
        drawn = np.zeros(n, bool)
        drawn[rng.choice(n, int(0.9 * n), replace=False)] = True
        tree = DecisionTreeRegressor(max_depth=3, max_features=0.1, random_state=rng)
        tree.fit(regulators.T[drawn], (target - fitted)[drawn])
        before = np.mean((target - fitted)[~drawn] ** 2)
        fitted = fitted + 0.01 * tree.predict(regulators.T)
        # The same samples before and after.
        gains.append(before - np.mean((target - fitted)[~drawn] ** 2))
        importances += tree.tree_.compute_feature_importances(normalize=False)
    explained = 1 - np.mean((target - fitted) ** 2) / target.var()
    return importances / importances.sum() * len(gains), explained


def test_boosting_is_grnboost2s():
    rng = np.random.default_rng(2)
    regulators = rng.normal(size=(20, 240))
    target = regulators[0] - 0.7 * regulators[1] * (regulators[2] > 0) + 0.5 * regulators[3]
    target = standardised(target + 0.5 * rng.normal(size=240))
    codes = code_features(regulators)
    expected, explained = zip(*(grnboost2(regulators, target, seed) for seed in range(3)), strict=True)
    got = [boosting_importances(codes, target, excluded=-1, n_trees=5000, seed=seed) for seed in range(3)]
    # Trees go on until most is explained: scikit-learn's own monitor of these days stops after some 30 of them.
    assert np.mean(explained) > 0.6 and min(map(np.sum, expected)) > 200
    assert np.mean([own.sum() for own in got]) == pytest.approx(
        np.mean([own.sum() for own in expected]), rel=0.15
    )
    np.testing.assert_allclose(np.mean(got, axis=0), np.mean(expected, axis=0), rtol=0.15, atol=5)


def test_boosting_counts_its_trees_and_leaves_the_target_out(problem):
    codes, target = code_features(problem.expression[:6]), standardised(problem.expression[9])
    got = boosting_importances(codes, target, excluded=4, n_trees=30, seed=7)
    assert got.sum() == pytest.approx(30) and got[4] == 0
    np.testing.assert_array_equal(
        np.delete(got, 4),
        boosting_importances(np.delete(codes, 4, 0), target, excluded=-1, n_trees=30, seed=7),
    )
    constant = code_features(np.ones((3, target.size)))
    assert not boosting_importances(constant, target, excluded=-1, n_trees=30, seed=7).any()


@pytest.mark.parametrize("name", METHODS)
def test_every_method_finds_who_regulates(name, problem):
    _, _, links = simulate_expression()
    problem = replace(problem, groups=np.arange(24))
    method = make_method(name, problem, n_trees=min(100, DEFAULT_TREES.get(name, 0)), seed=3)
    right = 0
    for gene in range(6, 24):
        best = np.argsort(-method.importances(gene))[:2]
        right += len({(f"G{i}", f"G{gene}") for i in best} & set(links))
    # By chance 12 of 36.
    assert right >= 30


@pytest.mark.parametrize("name", ["ridge", "pearson", "et"])
def test_constant_regulators_of_any_value_change_nothing(name):
    # The mean of 30 times 0.1 is not 0.1 in double precision.
    rng = np.random.default_rng(0)
    expression = np.concatenate([rng.normal(size=(8, 30)), np.zeros((3, 30)), rng.normal(size=(1, 30))])
    expression[11] += expression[0] - expression[3]
    shifted = expression.copy()
    shifted[8:11] = [[0.1], [np.log1p(1)], [7.3]]
    genes, regulators = tuple(f"G{i}" for i in range(12)), np.arange(11)
    zero, other = (
        make_method(name, Problem(values, genes, regulators), n_trees=20, seed=0).importances(11)
        for values in (expression, shifted)
    )
    np.testing.assert_allclose(other, zero, rtol=1e-9)
    assert not other[8:].any()


@pytest.mark.parametrize("name", METHODS)
def test_a_regulator_is_none_of_itself_and_constant_genes_have_none(name, problem):
    expression = problem.expression.copy()
    expression[[5, 20]] = 3.0
    changed = Problem(expression, problem.genes, problem.regulators)
    changed = replace(changed, groups=np.arange(24))
    method = make_method(name, changed, n_trees=20, seed=0)
    assert not method.importances(20).any()
    importances = method.importances(1)
    assert importances[1] == importances[5] == 0 and importances.max() > 0
    assert np.isfinite(importances).all()


@pytest.mark.parametrize("name", ["rf", "et", "grnboost", "auto"])
def test_trees_depend_on_the_seed_and_the_name_alone(name, problem):
    one = make_method(name, problem, n_trees=5, seed=1)
    first, again = one.importances(7), one.importances(7)
    np.testing.assert_array_equal(first, again)
    assert (make_method(name, problem, n_trees=5, seed=2).importances(7) != first).any()
    renamed = Problem(problem.expression, ("other",) * 24, problem.regulators)
    assert (make_method(name, renamed, n_trees=5, seed=1).importances(7) != first).any()
