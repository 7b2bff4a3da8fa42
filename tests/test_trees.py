"""The kernel of trees against its specification, scikit-learn, and cuts that were tried one by one."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor

from predictd import kernels
from predictd.grn import reference
from predictd.grn.features import code_features, float_features
from predictd.grn.genie3 import forest_importances, target_seed
from predictd.grn.linear import standardised

hypothesis = pytest.importorskip("hypothesis")
example, given = hypothesis.example, hypothesis.given
st = hypothesis.strategies

PREPARE = {"rf": code_features, "et": float_features}


def make_problem(n_features, n_samples, *, decimals=8, seed=0):
    rng = np.random.default_rng(seed)
    expression = rng.normal(size=(n_features, n_samples)).round(decimals)
    return expression, rng.integers(-(10**6), 10**6, n_samples)


SHAPES = [
    (8, 30, 3, 8, 10**6),
    (5, 60, 5, 0, 10**6),
    (6, 12, 2, 8, 3),
    (3, 230, 2, 8, 10**6),
    (1, 25, 1, 1, 9),
]


@pytest.mark.parametrize(
    ("method", "n_features", "n_samples", "n_candidates", "decimals", "levels"),
    [
        *((method, *shape) for method in ("rf", "et") for shape in SHAPES),
        # More candidates than are looked at together, which depends on how large nodes are in extra trees alone.
        ("rf", 68, 30, 66, 8, 10**6),
        ("et", 68, 100, 66, 8, 10**6),
    ],
)
def test_forests_follow_the_reference_to_the_bit(
    method, n_features, n_samples, n_candidates, decimals, levels
):
    expression, y = make_problem(n_features, n_samples, decimals=decimals)
    settings = {"excluded": n_features // 2 if n_features > 1 else -1, "n_candidates": n_candidates}
    settings |= {"n_trees": 4 if n_samples < 100 else 1, "seed": 2**63 + 5}
    features, y = PREPARE[method](expression), y % levels
    got = kernels.forest_importances(features, y, **settings)
    np.testing.assert_array_equal(got, reference.forest_importances(features, y, **settings))
    assert got.max() > 0


@pytest.mark.parametrize(
    ("n_features", "n_samples", "n_candidates", "decimals", "depth"),
    [(8, 25, 3, 8, 3), (5, 60, 5, 0, 2), (3, 25, 1, 8, 8), (1, 25, 1, 1, 1)],
)
def test_boosting_follows_the_reference_to_the_bit(n_features, n_samples, n_candidates, decimals, depth):
    expression, y = make_problem(n_features, n_samples, decimals=decimals)
    y += (expression[0] * 10**6).astype(np.int64)
    rule = kernels.BoostingRule(rate=0.1, n_drawn=int(0.9 * n_samples), depth=depth, window=12)
    settings = {"excluded": n_features // 2 if n_features > 1 else -1, "n_candidates": n_candidates}
    settings |= {"n_trees": 60, "seed": 2**63 + 5}
    codes = code_features(expression)
    got, n_grown = kernels.boosting_importances(codes, y, rule, **settings)
    expected, n_expected = reference.boosting_importances(codes, y, rule, **settings)
    np.testing.assert_array_equal(got, expected)
    assert 12 <= n_grown == n_expected < 60


def test_residuals_that_would_not_fit_are_held_at_the_limit():
    limit = kernels.forest_limit(20) - 1
    y = np.repeat(np.array([limit, -limit], np.int64), 10)
    # Half of the samples have the other sign where the tree has none of them to see.
    codes = np.zeros((1, 20), np.uint8)
    rule = kernels.BoostingRule(rate=1.0, n_drawn=1, depth=1, window=50)
    settings = {"excluded": -1, "n_candidates": 1, "n_trees": 9, "seed": 1}
    got = kernels.boosting_importances(codes, y, rule, **settings)
    expected = reference.boosting_importances(codes, y, rule, **settings)
    assert not got[0].any() and got[1] == expected[1] == 9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rate": 0.0}, "rate must lie"),
        ({"n_drawn": 30}, "n_drawn"),
        ({"depth": 9}, "depth"),
        ({"window": 0}, "window"),
    ],
)
def test_what_boosting_cannot_do_is_refused(change, message):
    expression, y = make_problem(3, 30)
    rule = kernels.BoostingRule(**({"rate": 0.1, "n_drawn": 20, "depth": 3, "window": 5} | change))
    settings = {"excluded": -1, "n_candidates": 1, "n_trees": 2, "seed": 0}
    with pytest.raises(ValueError, match=message):
        kernels.boosting_importances(code_features(expression), y, rule, **settings)


def make_cells(n_samples, *, seed=0):
    """Fourteen features, of which most samples have one value: but for one they have few values, to be fast here."""
    rng = np.random.default_rng(seed)
    features = rng.integers(1, 4, (14, n_samples)) * (rng.random((14, n_samples)) < 0.15).astype(float)
    features[1] = -features[1]
    features[2] = 4.0
    features[3] = rng.integers(0, 4, n_samples)
    y = rng.integers(-(10**6), 10**6, n_samples) * (features[0] + features[1] + features[3] > 2)
    return features, y


def drawn_often(n_samples, *, times=9):
    """Samples as they may be drawn: one many times, some not at all."""
    drawn = np.random.default_rng(2).integers(0, n_samples, n_samples)
    drawn[: min(times, n_samples // 2)] = n_samples // 3
    return np.sort(drawn)


@pytest.mark.parametrize("method", ["rf", "et"])
@pytest.mark.parametrize(("n_samples", "n_candidates"), [(60, 4), (60, 14), (300, 3), (700, 1)])
def test_trees_of_sparse_features_follow_the_reference_to_the_bit(method, n_samples, n_candidates):
    expression, y = make_cells(n_samples)
    features = PREPARE[method](expression)
    settings = {"excluded": 5, "n_candidates": n_candidates, "n_trees": 2, "seed": 11}
    for drawn in (None, drawn_often(n_samples)):
        got = kernels.forest_importances(features, y, **settings, drawn=drawn)
        np.testing.assert_array_equal(got, reference.forest_importances(features, y, **settings, drawn=drawn))
        assert got.max() > 0 and got[5] == 0


def test_boosting_on_sparse_features_follows_the_reference_to_the_bit():
    expression, y = make_cells(700)
    codes, rule = code_features(expression), kernels.BoostingRule(rate=0.1, n_drawn=630, depth=3, window=5)
    settings = {"excluded": -1, "n_candidates": 3, "n_trees": 9, "seed": 1}
    got = kernels.boosting_importances(codes, y, rule, **settings)
    np.testing.assert_array_equal(got[0], reference.boosting_importances(codes, y, rule, **settings)[0])


def make_odd_cells(n_features, n_samples, *, levels, seed=0):
    """Features of every kind in turns, of which few values differ from the most common one."""
    rng = np.random.default_rng(seed)
    values = rng.gamma(2.0, size=(n_features, n_samples)).round(levels)
    values *= rng.random((n_features, n_samples)) < 0.08
    kind = np.arange(n_features) % 10
    values[kind == 1] *= -1
    values[kind == 2] = 4.0
    values[kind == 3] = 0.0
    values[kind == 4] = np.where(rng.random(values[kind == 4].shape) < 0.5, -0.0, values[kind == 4])
    values[kind == 5] *= np.where(rng.random(values[kind == 5].shape) < 0.5, -1.0, 1.0)
    values[kind == 6] = np.arange(n_samples) == n_samples // 2
    values[kind == 7] += 1.0
    values[8] = rng.normal(size=n_samples)
    return values


Y_KINDS = {
    "mostly one": lambda rng, n: rng.integers(-(10**6), 10**6, n) * (rng.random(n) < 0.2) - 12_345,
    "all differ": lambda rng, n: rng.permutation(n) * 1000 - 500 * n,
    "two": lambda rng, n: (rng.random(n) < 0.45) * 7 - 3,
}
SPARSE_SHAPES = [(20, 2, 3), (20, 97, 4), (500, 900, 22), (30, 3000, 30), (3200, 150, 70)]


@pytest.mark.parametrize("y_kind", list(Y_KINDS))
@pytest.mark.parametrize(("n_features", "n_samples", "n_candidates"), SPARSE_SHAPES)
@pytest.mark.parametrize("method", ["rf", "et"])
def test_trees_are_the_same_whether_common_values_are_looked_at_or_not(
    method, n_features, n_samples, n_candidates, y_kind
):
    for levels in (1, 6):
        values = PREPARE[method](make_odd_cells(n_features, n_samples, levels=levels))
        y = Y_KINDS[y_kind](np.random.default_rng(1), n_samples).astype(np.int64)
        settings = {"excluded": 5, "n_candidates": n_candidates, "n_trees": 3, "seed": 11}
        features = kernels.TreeFeatures.of(values)
        assert features.sparse is not None
        got = kernels.forest_importances(features, y, **settings)
        expected = kernels.forest_importances(kernels.TreeFeatures(values), y, **settings)
        np.testing.assert_array_equal(got, expected)
        if levels == 1:
            for times in (20, 300):
                drawn = {"drawn": drawn_often(n_samples, times=times)}
                got = kernels.forest_importances(features, y, **settings, **drawn)
                dense = kernels.forest_importances(kernels.TreeFeatures(values), y, **settings, **drawn)
                np.testing.assert_array_equal(got, dense)
        # More samples than two bytes number.
        samples = features.sparse["samples"].astype(np.int32)
        wide = kernels.TreeFeatures(values, {**features.sparse, "samples": samples})
        np.testing.assert_array_equal(kernels.forest_importances(wide, y, **settings), expected)


@pytest.mark.parametrize("y_kind", list(Y_KINDS))
@pytest.mark.parametrize(("n_features", "n_samples", "n_candidates"), SPARSE_SHAPES[1:])
def test_boosting_is_the_same_whether_common_values_are_looked_at_or_not(
    n_features, n_samples, n_candidates, y_kind
):
    codes = code_features(make_odd_cells(n_features, n_samples, levels=6))
    y = Y_KINDS[y_kind](np.random.default_rng(1), n_samples).astype(np.int64)
    rule = kernels.BoostingRule(rate=0.1, n_drawn=int(0.9 * n_samples), depth=4, window=8)
    settings = {"excluded": -1, "n_candidates": n_candidates, "n_trees": 30, "seed": 3}
    got, n_grown = kernels.boosting_importances(codes, y, rule, **settings)
    expected, n_expected = kernels.boosting_importances(kernels.TreeFeatures(codes), y, rule, **settings)
    np.testing.assert_array_equal(got, expected)
    assert n_grown == n_expected


def test_features_of_trees_are_kept_as_arrays():
    values = float_features(make_odd_cells(20, 50, levels=1))
    features = kernels.TreeFeatures.of(values)
    assert kernels.TreeFeatures.of(features) is features
    again = kernels.TreeFeatures.of_arrays(features.arrays())
    assert again.values is values and again.sparse == features.sparse
    # Where much differs, or nothing does, all values are looked at.
    for other in (np.random.default_rng(0).normal(size=(3, 40)), np.ones((3, 40))):
        features = kernels.TreeFeatures.of(other.astype(np.float32))
        assert features.sparse is None and list(features.arrays()) == ["features"]


def test_a_pair_is_parted_by_the_only_feature_that_differs():
    features = float_features(np.array([[1.0, 1.0], [0.0, 5.0], [2.0, 2.0]]))
    y = np.array([-3, 4], np.int64)
    got = kernels.forest_importances(features, y, excluded=-1, n_candidates=1, n_trees=10, seed=0)
    np.testing.assert_allclose(got, [0, 10 * (3 + 4) ** 2 / 2, 0])


def test_a_gene_that_few_cells_express_keeps_its_values_apart():
    rng = np.random.default_rng(4)
    n = 20_000
    on = rng.choice(n, 590, replace=False)
    values = np.zeros(n)
    values[on] = rng.permutation(590) + 1.0
    others = rng.normal(size=(2, n))
    (codes, *_) = coded = code_features(np.vstack([values, others]))
    # Zero has a code for itself, and the rest are spread over the others.
    assert set(codes[values == 0]) == {0} and np.unique(codes).size > 200
    assert (np.diff(codes[np.argsort(values)].astype(int)) >= 0).all() and np.bincount(codes)[1:].max() < 8
    # Without many equal values each code holds as many samples.
    assert np.bincount(coded[1]).tolist() == pytest.approx([n / 256] * 256, abs=1)


def test_importance_of_a_gene_that_few_cells_express_is_scikit_learns():
    rng = np.random.default_rng(4)
    n, on = 20_000, 590
    values = np.zeros(n)
    values[:on] = rng.gamma(2.0, size=on) + 0.1
    expression = np.vstack([values, rng.normal(size=(2, n))])
    # What matters is how strongly it is expressed where it is.
    target = np.where(values > 0, np.sin(4 * values), 0.0) + 0.05 * rng.normal(size=n)
    forest = RandomForestRegressor(10, max_features=1, random_state=0).fit(expression.T, target)
    expected = np.mean([tree.feature_importances_ for tree in forest], axis=0)
    got = forest_importances(
        code_features(expression), standardised(target), excluded=-1, n_trees=10, seed=0, n_candidates=1
    )
    np.testing.assert_allclose(got / got.sum(), expected, atol=0.04)


def test_all_cuts_of_a_tree_add_up_to_the_sum_of_squares():
    expression, y = make_problem(5, 40)
    features = float_features(expression)
    got = kernels.forest_importances(features, y, excluded=1, n_candidates=2, n_trees=3, seed=9)
    assert got.sum() == pytest.approx(3 * y.var() * len(y), rel=1e-12)
    assert got[1] == 0


def test_the_first_cut_is_the_best_of_all():
    rng = np.random.default_rng(3)
    for _ in range(20):
        y = rng.integers(-1000, 1000, 12)
        feature = rng.permutation(12).astype(float)
        order = np.argsort(feature)
        sums = [sum(len(part) * y[part].var() for part in np.split(order, [k])) for k in range(1, 12)]
        # All samples in every tree: weights of one.
        node = reference._Node(list(range(12)), [1] * 12, code_features(feature[np.newaxis]), y)
        cut = node.choose([0], 1, reference._Draws(0), False)
        assert cut == (0, np.argmin(sums))
        assert node.reduction(*cut) == pytest.approx(12 * y.var() - min(sums))


@pytest.mark.parametrize(
    ("method", "oracle", "shape"),
    [
        ("rf", RandomForestRegressor, (20, 80)),
        ("et", ExtraTreesRegressor, (20, 80)),
        ("rf", RandomForestRegressor, (9, 400)),
    ],
)
def test_importances_agree_with_scikit_learn_as_its_own_seeds_do(method, oracle, shape):
    rng = np.random.default_rng(1)
    expression = rng.normal(size=shape)
    target = expression[0] + 0.5 * expression[1] * expression[2] + 0.3 * rng.normal(size=shape[1])
    scaled = (target - target.mean()) / target.std()

    def by_oracle(seed):
        forest = oracle(150, max_features="sqrt", random_state=seed).fit(expression.T, scaled)
        trees = [tree.tree_.compute_feature_importances(normalize=False) for tree in forest.estimators_]
        return np.mean(trees, axis=0)

    oracles = [by_oracle(seed) for seed in range(6)]
    features, settings = PREPARE[method](expression), {"excluded": -1, "n_trees": 150}
    owns = [forest_importances(features, target, **settings, seed=seed) for seed in range(6)]
    spread = np.mean([np.square(a - b).mean() for a, b in combinations(oracles, 2)])
    away = np.mean([np.square(own - each).mean() for own, each in product(owns, oracles)])
    assert away < 1.3 * spread
    assert np.mean(owns, axis=0).sum() == pytest.approx(np.mean(oracles, axis=0).sum(), rel=0.02)


def test_codes_keep_the_order_of_values():
    rng = np.random.default_rng(0)
    few, many = rng.normal(size=(2, 256)), np.append(rng.normal(size=700), np.zeros(300))[np.newaxis]
    for row, codes in zip(few, code_features(few), strict=True):
        np.testing.assert_array_equal(codes, row.argsort().argsort())
    (codes,) = code_features(many)
    order = np.argsort(many[0], kind="stable")
    assert (np.diff(codes[order].astype(int)) >= 0).all()
    assert len(set(codes[700:])) == 1
    # 4 samples a code, but for the zeros.
    counts = np.bincount(codes)
    assert sorted(counts)[-2] <= 5 and codes.max() > 230


def test_more_samples_than_codes_are_cut_nearly_as_well():
    rng = np.random.default_rng(5)
    expression = rng.normal(size=(6, 1200))
    target = np.sin(2 * expression[0]) + expression[1] + 0.1 * rng.normal(size=1200)
    scaled = (target - target.mean()) / target.std()
    own = forest_importances(code_features(expression), target, excluded=-1, n_trees=60, seed=1)
    forest = RandomForestRegressor(60, max_features=2, random_state=0).fit(expression.T, scaled)
    trees = [tree.tree_.compute_feature_importances(normalize=False) for tree in forest.estimators_]
    np.testing.assert_allclose(own, np.mean(trees, axis=0), atol=0.05)


def test_minus_zero_is_zero():
    values = np.array([[-0.0, 0.0, 1.0, 0.0, -0.0, -1.0]], np.float32)
    settings = {"excluded": -1, "n_candidates": 1, "n_trees": 20, "seed": 1}
    got, plain = (kernels.forest_importances(x, np.arange(6), **settings) for x in (values, values + 0))
    np.testing.assert_array_equal(got, plain)


def test_features_of_any_scale_have_cuts():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(3, 30))
    y = rng.integers(-100, 100, 30)
    settings = {"excluded": -1, "n_candidates": 2, "n_trees": 5, "seed": 1}
    one = kernels.forest_importances(float_features(values), y, **settings)
    for scaled in (1e100 * values, 1e-100 * values, values + 1e5):
        other = kernels.forest_importances(float_features(scaled), y, **settings)
        np.testing.assert_allclose(other, one, rtol=1e-3)
    # Not numbers, which callers keep out: a cut all the same, and an end.
    wrong = np.array([[-np.inf, 0, 1, np.inf, np.nan, 2]], np.float32)
    kernels.forest_importances(wrong, np.arange(6), **settings)


def test_scale_and_place_of_a_target_change_nothing_but_rounding():
    expression, y = make_problem(6, 50)
    features = code_features(expression)
    settings = {"excluded": 2, "n_trees": 50, "seed": 4}
    one = forest_importances(features, y.astype(float), **settings)
    other = forest_importances(features, 1e-9 * y + 7.0, **settings)
    np.testing.assert_allclose(one, other, rtol=1e-5)
    assert 0.9 < one.sum() < 1.1


@given(
    st.lists(st.integers(-4, 4), min_size=2, max_size=70).filter(lambda v: len(set(v)) > 1),
    st.integers(-300, 300),
)
@example([1, 1, 2], 0)
def test_targets_of_any_scale_stay_within_exact_sums(values, power):
    target = np.array(values) * 10.0**power
    features = float_features(np.arange(float(len(values)))[np.newaxis])
    got = forest_importances(features, target, excluded=-1, n_trees=2, seed=1)
    assert got[0] == pytest.approx(1.0), "one regulator whose values all differ explains everything"


def test_seeds_are_of_gene_and_seed():
    seeds = {target_seed(seed, gene) for seed in range(10) for gene in ("G1", "G2", "1", "G11")}
    assert len(seeds) == 40 and max(seeds) < 2**64 and max(seeds) > 2**60


def test_the_target_alone_has_no_regulators():
    features = float_features(np.ones((1, 4)))
    assert forest_importances(features, np.arange(4.0), excluded=0, n_trees=5, seed=0).tolist() == [0.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": np.zeros((3, 8))}, "features must be uint8, not float64"),
        ({"features": np.zeros((3, 8), np.uint8).T.copy().T}, "C-contiguous"),
        ({"y": np.zeros(7, np.int64)}, "y must have the shape"),
        ({"y": np.full(8, 2**60)}, "y must stay below"),
        ({"excluded": 3}, r"excluded must lie in \[-1, 3\)"),
        ({"n_candidates": 0}, "n_candidates must lie"),
        ({"seed": -1}, "seed must lie"),
    ],
)
def test_wrong_calls_are_refused(change, message):
    call = {"features": np.zeros((3, 8), np.uint8), "y": np.arange(8), "excluded": -1}
    call |= {"n_candidates": 1, "n_trees": 1, "seed": 0, **change}
    with pytest.raises((TypeError, ValueError), match=message):
        kernels.forest_importances(call.pop("features"), call.pop("y"), **call)
