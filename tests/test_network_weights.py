"""Batches and weights of samples against plain formulas and repeated samples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.stats import spearmanr
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.linear_model import Ridge as OracleRidge

from made_networks import N_GENES, N_REGULATORS, simulate_expression
from predictd import kernels
from predictd.grn import reference
from predictd.grn.design import SampleDesign
from predictd.grn.features import code_features, float_features
from predictd.grn.genie3 import drawn_by_weight, forest_importances
from predictd.grn.linear import PENALTIES, Ridge, standardised
from predictd.grn.methods import Problem, make_method
from predictd.grn.multi import group_importances
from predictd.grn.scaling import normal_scores
from predictd.grn.signs import effect_signs

pytestmark = pytest.mark.numeric

GENES = tuple(f"G{i}" for i in range(N_GENES))
REGULATORS = np.arange(N_REGULATORS)


# -- batches -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def batched():
    """Expression with offsets of three batches, and the batch of each sample."""
    _, expression, _ = simulate_expression()
    batches = np.random.default_rng(1).integers(3, size=expression.shape[1])
    offsets = np.random.default_rng(2).normal(0, 12, (N_GENES, 3))
    return expression + offsets[:, batches], batches


@pytest.mark.parametrize("method", ["pearson", "clr", "ridge", "rf", "et", "grnboost", "multi", "auto"])
def test_offsets_of_batches_make_no_links(method, batched):
    values, batches = batched
    _, _, links = simulate_expression()
    right = {}
    for name, design in (("as it is", SampleDesign()), ("by batch", SampleDesign(batches))):
        problem = Problem(values, GENES, REGULATORS, np.arange(N_GENES), design=design)
        own = make_method(method, problem, n_trees=50, seed=0)
        best = {
            gene: np.argsort(-own.importances(gene))[:2].tolist() for gene in range(N_REGULATORS, N_GENES)
        }
        right[name] = sum((GENES[r], GENES[t]) in links for t, pair in best.items() for r in pair)
    assert right["by batch"] >= 34 and right["as it is"] <= 22


def test_what_is_constant_in_each_batch_is_no_regulator(batched):
    values, batches = batched
    values = values.copy()
    values[2] = np.array([0.1, 0.3, 0.7])[batches]
    for method in ("pearson", "ridge", "et"):
        problem = Problem(values, GENES, REGULATORS, design=SampleDesign(batches))
        own = make_method(method, problem, n_trees=20, seed=0)
        assert own.importances(9)[2] == 0 and not own.importances(2).any()


# -- weights -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def weighted():
    """Expression, whole weights, and their design."""
    _, expression, _ = simulate_expression()
    counts = np.random.default_rng(3).integers(1, 5, expression.shape[1])
    return expression, counts, SampleDesign(weights=counts / counts.mean())


@pytest.mark.parametrize("method", ["pearson", "clr"])
@pytest.mark.parametrize("gene", [3, 11])
def test_weights_are_repeated_samples(method, gene, weighted):
    expression, counts, design = weighted
    # Ties, too.
    expression = expression.round(1)
    repeated = Problem(np.repeat(expression, counts, axis=1), GENES, REGULATORS)
    expected = make_method(method, repeated, n_trees=0, seed=0).importances(gene)
    own = make_method(method, Problem(expression, GENES, REGULATORS, design=design), n_trees=0, seed=0)
    np.testing.assert_allclose(own.importances(gene), expected, rtol=1e-9, atol=1e-12)
    if method == "pearson":
        ranks = np.corrcoef(repeated.expression)[gene, :N_REGULATORS]
        np.testing.assert_allclose(np.delete(expected, 3), np.delete(np.abs(ranks), 3), atol=1e-12)
    else:
        assert spearmanr(repeated.expression[0], repeated.expression[gene]).statistic != 0


def test_normal_scores_by_weight_are_those_of_repeated_samples(weighted):
    expression, counts, design = weighted
    repeated = normal_scores(np.repeat(expression.round(1), counts, axis=1))
    own = normal_scores(expression.round(1), design.weights)
    np.testing.assert_allclose(np.repeat(own, counts, axis=1), repeated, atol=1e-9)


@pytest.mark.parametrize("shape", [(5, 40), (60, 30)])
@pytest.mark.parametrize("excluded", [-1, 3])
@pytest.mark.parametrize("batched", [False, True])
def test_ridge_leaves_out_whole_samples_of_their_weight(shape, excluded, batched):
    """Leaving a sample out exactly, by fitting again; batches as columns without penalty."""
    rng = np.random.default_rng(4)
    counts = rng.integers(1, 5, shape[1]).astype(float)
    weights = counts / counts.mean()
    batches = np.arange(shape[1]) % 3 if batched else np.zeros(shape[1], np.int64)
    design = SampleDesign(batches if batched else None, weights)
    x = rng.normal(size=shape) + batches
    y = x[0] - x[1] + rng.normal(size=shape[1]) if excluded < 0 else x[3]
    z, target = (design.scaled(design.centred(values)) for values in (x, y))
    ridge = Ridge(z, *Ridge.eigenbasis(z), design.leverages(shape[1]))
    coefficients, penalty = ridge.coefficients(target, excluded=excluded)

    root = np.sqrt(weights)
    others = np.arange(len(x)) != excluded
    plain = np.concatenate([z[others] / root, np.eye(3)[:, batches] if batched else np.ones((1, shape[1]))])
    response, limit = target / root, np.ones(len(plain))
    limit[others.sum() :] = 0

    def fitted(own, samples):
        a = (plain[:, samples] * weights[samples]) @ plain[:, samples].T + own * np.diag(limit)
        return np.linalg.solve(a, (plain[:, samples] * weights[samples]) @ response[samples])

    every = np.arange(shape[1])
    penalties = PENALTIES * np.square(z).sum() / shape[1]
    errors = [
        sum(
            weights[i] * (response[i] - fitted(own, every[every != i]) @ plain[:, i]) ** 2
            for i in every.tolist()
        )
        for own in penalties.tolist()
    ]
    assert penalty == pytest.approx(penalties[int(np.argmin(errors))])
    np.testing.assert_allclose(
        coefficients[others], fitted(penalty, every)[: others.sum()], rtol=1e-6, atol=1e-8
    )
    # Repeated samples, whose penalty is as much larger as they are more.
    if not batched:
        repeated = np.repeat(plain[:-1], counts.astype(int), axis=1)
        oracle = OracleRidge(penalty * counts.mean()).fit(repeated.T, np.repeat(response, counts.astype(int)))
        np.testing.assert_allclose(coefficients[others], oracle.coef_, rtol=1e-6, atol=1e-8)


def test_samples_are_drawn_as_often_as_they_weigh():
    weights = np.array([0.25, 2.5, 1, 0.05, 1.2])
    weights /= weights.mean()
    drawn = np.array([np.bincount(drawn_by_weight(weights, seed), minlength=5) for seed in range(2000)])
    assert (drawn.sum(axis=1) == 5).all() and (np.abs(drawn - weights) < 1).all()
    np.testing.assert_allclose(drawn.mean(axis=0), weights, atol=0.04)
    assert drawn_by_weight(np.ones(5), 1).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("coded", [code_features, float_features])
def test_forests_by_weight_are_those_of_repeated_samples(coded, weighted):
    expression, counts, design = weighted
    x, y = expression[:N_REGULATORS], expression[10] + 2 * expression[0] * (counts > 2)
    own = forest_importances(coded(x), y, excluded=-1, n_trees=1500, seed=0, weights=design.weights)
    flat = forest_importances(coded(x), y, excluded=-1, n_trees=1500, seed=0)
    repeats = [np.repeat(values, counts, axis=-1) for values in (x, y)]
    # Scikit-learn's extra trees by weight, and our forest of repeated samples, which leaves out fewer of them.
    if coded is float_features:
        forest = ExtraTreesRegressor(500, max_features="sqrt", random_state=0).fit(
            x.T, y, sample_weight=counts
        )
        expected = forest.feature_importances_
    else:
        expected = forest_importances(
            code_features(repeats[0]), repeats[1], excluded=-1, n_trees=2000, seed=0
        )
    assert np.abs(own / own.sum() - expected / expected.sum()).max() < 0.03
    assert np.abs(flat / flat.sum() - expected / expected.sum()).max() > 0.05


def test_trees_of_several_targets_have_weights(weighted):
    expression, counts, design = weighted
    x, own = expression[:N_REGULATORS], expression[10] + 2 * expression[0] * (counts > 2)
    y = standardised(own[np.newaxis], design.weights)
    options = {"excluded": -1, "n_trees": 200, "seed": 0, "names": ("g",)}
    found = group_importances(x, y, weights=design.weights, **options)
    forest = forest_importances(
        float_features(x), own, excluded=-1, n_trees=1500, seed=0, weights=design.weights
    )
    assert found.sum() == pytest.approx(1) and np.abs(found[0] - forest / forest.sum()).max() < 0.05


def test_a_weight_of_next_to_nothing_leaves_normal_scores_finite():
    values = np.array([3.0, 1.0, 2.0, 9.0])
    for least in (1e-12, 1e-16, 1e-300):
        weights = np.array([1.0, 1.0, 1.0, least])
        found = normal_scores(values, weights / weights.mean())
        np.testing.assert_allclose(found[:3], normal_scores(values[:3]), atol=1e-9)
        assert 5 < found[3] < 8


@pytest.mark.parametrize("design", [{"weights": 1}, {"batches": 1}, {"weights": 1, "batches": 1}])
def test_sparse_values_have_the_signs_of_dense_ones(design):
    rng = np.random.default_rng(0)
    values = rng.poisson(0.5, size=(60, 300)) * rng.random((60, 300))
    weights = rng.uniform(0.2, 2, 300)
    own = SampleDesign(
        rng.integers(3, size=300) if "batches" in design else None,
        weights / weights.mean() if "weights" in design else None,
    )
    values += (rng.random((60, 3)) > 0.8)[:, np.zeros(300, int) if own.batches is None else own.batches]
    target, order = own.centred(values[:1])[0], rng.permutation(np.arange(1, 60))
    dense = effect_signs(values, target, order, own)
    assert effect_signs(csr_array(values), target, order, own).tolist() == dense.tolist()
    assert set(dense.tolist()) == {1, -1}


def test_batches_of_sparse_cells_stay_sparse(tmp_path):
    from predictd.workflows.network.tasks import read_prepared, write_prepared

    rng = np.random.default_rng(0)
    values = csr_array(rng.poisson(0.2, size=(30, 90)).astype(np.float32))
    genes = tuple(f"g{i}" for i in range(30))
    problem = Problem(values, genes, np.arange(10), design=SampleDesign(np.arange(90) % 2))
    dense = replace(problem, expression=values.toarray().astype(np.float64))
    write_prepared(tmp_path / "e.h5", problem, np.arange(30), "ridge")
    read, _, prepared = read_prepared(tmp_path / "e.h5")
    assert isinstance(read.expression, csr_array) and read.targets is None and read.design.weights is None
    own = make_method("ridge", read, prepared, n_trees=0, seed=0)
    np.testing.assert_allclose(
        own.importances(20), make_method("ridge", dense, n_trees=0, seed=0).importances(20), rtol=1e-6
    )


@pytest.mark.parametrize("coded", [code_features, float_features])
def test_trees_take_samples_that_are_drawn_several_times(coded):
    rng = np.random.default_rng(0)
    features, y = coded(rng.normal(size=(8, 60))), rng.integers(-(10**6), 10**6, 60)
    drawn = np.sort(rng.integers(0, 60, 60))
    settings = {"excluded": 2, "n_candidates": 3, "n_trees": 4, "seed": 3}
    got = kernels.forest_importances(features, y, **settings, drawn=drawn)
    np.testing.assert_array_equal(got, reference.forest_importances(features, y, **settings, drawn=drawn))
    each = kernels.forest_importances(features, y, **settings, drawn=np.arange(60))
    np.testing.assert_array_equal(each, kernels.forest_importances(features, y, **settings))
    if coded is float_features:
        # All cuts add up to the sum of squares of what was drawn.
        assert got.sum() == pytest.approx(4 * y[drawn].var() * 60, rel=1e-12)
    for wrong in (drawn[:9], drawn.astype(float), drawn - 30, drawn + 60):
        with pytest.raises((TypeError, ValueError), match="drawn"):
            kernels.forest_importances(features, y, **settings, drawn=wrong)
