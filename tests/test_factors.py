"""The CP model: closed form, imputation as an affine map, the gauge in which models are saved."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from predictd.errors import DataError
from predictd.model.cp.factors import CPModel, solve_genome
from predictd.model.cp.reference import closed_form_genome
from predictd.pairs import Experiment

pytestmark = pytest.mark.numeric

hypothesis = pytest.importorskip("hypothesis")
given, settings = hypothesis.given, hypothesis.settings
st = hypothesis.strategies


def random_model(
    seed: int,
    *,
    n_cells: int = 7,
    n_assays: int = 5,
    rank: int = 3,
    share: float = 0.6,
    lambda_g: float = 0.7,
) -> CPModel:
    """A model of random parameters; every cell type and assay has a training experiment."""
    rng = np.random.default_rng(seed)
    cells, assays = [f"C{i}" for i in range(n_cells)], [f"A{i}" for i in range(n_assays)]
    core = {(i % n_cells, i % n_assays) for i in range(max(n_cells, n_assays))}
    chosen = core | {(c, a) for c in range(n_cells) for a in range(n_assays) if rng.random() < share}
    train = tuple(Experiment(cells[c], assays[a]) for c, a in rng.permutation(sorted(chosen)).tolist())
    return CPModel(
        cell_types=tuple(cells),
        assays=tuple(assays),
        c=rng.normal(size=(n_cells, rank)),
        a=rng.normal(size=(n_assays, rank)),
        p=rng.normal(size=n_cells),
        q=rng.normal(size=n_assays),
        mu=0.4,
        lambda_g=lambda_g,
        train=train,
    )


def every_pair(model: CPModel) -> list[Experiment]:
    return [Experiment(cell, assay) for cell in model.cell_types for assay in model.assays]


def training_signal(model: CPModel, n_bins: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([9, seed]).normal(size=(n_bins, len(model.train)))


def predicted_through_the_genome(model: CPModel, y: np.ndarray, targets: list[Experiment]) -> np.ndarray:
    """Solve [G r] of every bin, then apply the model's formula, term by term."""

    def rows(pairs):
        return [(model.cell_types.index(e.cell_type), model.assays.index(e.assay)) for e in pairs]

    own = rows(model.train)
    z = np.array([np.append(model.c[c] * model.a[a], 1.0) for c, a in own]).T
    offsets = np.array([model.mu + model.p[c] + model.q[a] for c, a in own])
    g = closed_form_genome(z, model.lambda_g, y - offsets)
    genome, r = g[:, :-1], g[:, -1]
    return np.stack(
        [
            model.mu + model.p[c] + model.q[a] + r + np.einsum("l,l,gl->g", model.c[c], model.a[a], genome)
            for c, a in rows(targets)
        ],
        axis=1,
    )


@pytest.mark.parametrize("seed", range(4))
def test_the_closed_form_is_the_references(seed):
    model = random_model(seed)
    y = training_signal(model, 30, seed)
    z, o = model.design(model.train)
    solved = (y - o) @ solve_genome(z, model.lambda_g).T
    np.testing.assert_allclose(solved, closed_form_genome(z, model.lambda_g, y - o), rtol=1e-10, atol=1e-12)


def test_the_closed_form_minimises_the_objective_of_a_bin():
    model = random_model(5)
    z, o = model.design(model.train)
    residual = training_signal(model, 1)[0] - o
    solved = solve_genome(z, model.lambda_g) @ residual

    def objective(g: np.ndarray) -> float:
        return float(np.sum((z.T @ g - residual) ** 2) + model.lambda_g * np.sum(g[:-1] ** 2))

    rng = np.random.default_rng(1)
    for step in (1e-1, 1e-3):
        for _ in range(20):
            assert objective(solved) < objective(solved + step * rng.normal(size=solved.size))


def test_a_design_worked_by_hand():
    model = CPModel(
        ("x", "y"),
        ("a", "b"),
        np.array([[1.0, 2.0], [3.0, -1.0]]),
        np.array([[2.0, 0.5], [-1.0, 4.0]]),
        np.array([0.1, 0.2]),
        np.array([0.01, 0.02]),
        5.0,
        1.0,
        (Experiment("x", "a"),),
    )
    z, o = model.design([Experiment("y", "b"), Experiment("x", "a")])
    assert z.tolist() == [[-3, 2], [-4, 1], [1, 1]]
    np.testing.assert_allclose(o, [5.22, 5.11], rtol=1e-15)
    assert model.rank == 2


@pytest.mark.parametrize(("seed", "lambda_g"), [(0, 0.7), (1, 1e-3), (2, 50.0)])
def test_imputing_is_solving_the_genome_and_predicting(seed, lambda_g):
    model = random_model(seed, lambda_g=lambda_g)
    targets = every_pair(model)
    y = training_signal(model, 25, seed)
    expected = predicted_through_the_genome(model, y, targets)
    imputer = model.imputer(targets)
    np.testing.assert_allclose(
        y @ imputer.affine.weights.T + imputer.affine.intercept, expected, rtol=1e-10, atol=1e-10
    )
    left, solution, intercept = model.affine(targets)
    np.testing.assert_allclose((y @ solution.T) @ left.T + intercept, expected, rtol=1e-10, atol=1e-10)
    assert imputer.targets == tuple(targets)
    assert imputer.inputs == model.train and imputer.halo == 0
    # In single precision, as it is applied.
    np.testing.assert_allclose(imputer(y.astype(np.float32)), expected, atol=2e-4)


def test_the_completion_is_how_the_model_predicts_its_own_inputs():
    model = random_model(3)
    y = training_signal(model, 10)
    completion = model.imputer(every_pair(model)[:2]).completion
    assert completion is not None
    expected = predicted_through_the_genome(model, y, list(model.train))
    np.testing.assert_allclose(y @ completion.weights.T + completion.intercept, expected, rtol=1e-10)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n_cells=st.integers(1, 8),
    n_assays=st.integers(1, 8),
    rank=st.integers(1, 12),
    share=st.floats(0, 1),
    exponent=st.floats(-4, 4),
)
def test_weights_of_every_imputer_sum_to_one(seed, n_cells, n_assays, rank, share, exponent):
    # r is free, so that a constant added to all inputs of a bin is added to all predictions of it.
    model = random_model(
        seed, n_cells=n_cells, n_assays=n_assays, rank=rank, share=share, lambda_g=10.0**exponent
    )
    imputer = model.imputer(every_pair(model))
    np.testing.assert_allclose(imputer.affine.weights.sum(axis=1), 1, atol=1e-7)
    assert imputer.completion is not None
    np.testing.assert_allclose(imputer.completion.weights.sum(axis=1), 1, atol=1e-7)


# -- the gauge --------------------------------------------------------------------------------------------------------


def assert_canonical(model: CPModel) -> None:
    cells, assays = model.indices(model.train)
    assert abs(model.p[cells].sum()) < 1e-12 * len(cells) and abs(model.q[assays].sum()) < 1e-12 * len(assays)
    sizes = np.linalg.norm(model.c, axis=0) * np.linalg.norm(model.a, axis=0)
    assert (np.diff(sizes) <= 0).all() and (sizes > 1e-12).all()
    for columns in (model.c, model.a):
        largest = np.abs(columns).argmax(axis=0)
        assert (columns[largest, np.arange(model.rank)] > 0).all()


def assert_same_predictions(one: CPModel, other: CPModel) -> None:
    pairs = every_pair(one)
    first, second = (model.imputer(pairs).affine for model in (one, other))
    np.testing.assert_allclose(first.weights, second.weights, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(first.intercept, second.intercept, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("seed", range(5))
def test_the_gauge_keeps_predictions(seed):
    model = random_model(seed, rank=4)
    saved = model.canonical()
    assert_canonical(saved)
    assert_same_predictions(model, saved)
    again = saved.canonical()
    for name in ("c", "a"):
        np.testing.assert_array_equal(getattr(again, name), getattr(saved, name))


def test_moments_of_the_genome_follow_order_and_signs():
    model = random_model(6, rank=4)
    y = training_signal(model, 300)
    s = np.column_stack([y, np.ones(300)]).T @ np.column_stack([y, np.ones(300)])
    columns = np.arange(len(model.train))
    known = model.with_genome(s, columns)
    z, o = model.design(model.train)
    g = closed_form_genome(z, model.lambda_g, y - o)[:, :-1]
    np.testing.assert_allclose(known.g_moments, g.T @ g / 300, rtol=1e-10, atol=1e-12)
    expected = model.canonical().with_genome(s, columns).g_moments
    np.testing.assert_allclose(known.canonical().g_moments, expected, rtol=1e-10, atol=1e-12)
    assert not np.allclose(expected, known.g_moments)
    back = CPModel.from_arrays(known.to_arrays())
    np.testing.assert_array_equal(back.g_moments, known.g_moments)
    assert "G_moments" not in model.to_arrays() and CPModel.from_arrays(model.to_arrays()).g_moments is None


@pytest.mark.parametrize("value", [np.zeros((3, 4)), np.zeros(3), np.zeros(()), np.full((3, 3), np.nan)])
def test_moments_of_another_genome_are_refused(value):
    with pytest.raises(ValueError, match="G_moments do not belong to the factors, or are not finite"):
        CPModel.from_arrays(random_model(10).to_arrays() | {"G_moments": value})


def test_a_genome_that_cannot_be_solved_is_told():
    model = random_model(6, rank=4, lambda_g=1e-300)
    c = np.repeat(model.c[:, :1], 4, axis=1) * 1e8
    with pytest.raises(DataError, match="equations for the genome cannot be solved; use a smaller `rank`"):
        replace(model, c=c, a=np.ones_like(model.a)).with_genome(np.eye(len(model.train) + 1), np.arange(1))


def test_dead_components_are_dropped():
    model = random_model(6, rank=5)
    c, a = model.c.copy(), model.a.copy()
    c[:, 1] = 0
    a[:, 3] *= 1e-14
    saved = replace(model, c=c, a=a).canonical()
    assert saved.rank == 3
    assert_canonical(saved)
    assert_same_predictions(replace(model, c=c, a=a), saved)


def test_a_model_of_biases_alone_is_left_when_all_components_are_dead():
    model = random_model(7)
    dead = replace(model, c=np.zeros_like(model.c))
    saved = dead.canonical()
    assert saved.rank == 0 and saved.c.shape == (7, 0) and saved.a.shape == (5, 0)
    assert_same_predictions(dead, saved)
    # What is left of a bin is the mean of what the biases leave of it.
    pairs = every_pair(saved)
    y = training_signal(saved, 12)
    imputer = saved.imputer(pairs)
    (_, o), (_, o_train) = saved.design(pairs), saved.design(saved.train)
    expected = (y - o_train).mean(axis=1, keepdims=True) + o
    np.testing.assert_allclose(imputer(y.astype(np.float32)), expected, atol=1e-5)
    assert CPModel.from_arrays(saved.to_arrays()).rank == 0


# -- names and arrays -------------------------------------------------------------------------------------------------


def test_parameters_survive_as_arrays():
    model = random_model(8)
    back = CPModel.from_arrays(model.to_arrays())
    for name in ("c", "a", "p", "q"):
        np.testing.assert_array_equal(getattr(back, name), getattr(model, name))
    plain = ("cell_types", "assays", "mu", "lambda_g", "train")
    assert all(getattr(back, name) == getattr(model, name) for name in plain)


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (
            Experiment("liver", "A0"),
            r"^liver:A0: the model has no cell type 'liver'; it has C0, C1, C2, C3, C4 and 2 more$",
        ),
        (Experiment("C0", "H3"), r"^C0:H3: the model has no assay 'H3'; it has A0, A1, A2, A3, A4$"),
    ],
)
def test_unknown_names_are_told(pair, message):
    model = random_model(9)
    with pytest.raises(DataError, match=message):
        model.imputer([Experiment("C1", "A1"), pair])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("C", np.zeros((7, 4))),
        ("C", np.zeros(7)),
        ("C", np.zeros(())),
        ("C", np.zeros((7, 3, 1))),
        ("A", np.zeros((4, 3))),
        ("p", np.zeros(5)),
        ("q", np.zeros((5, 1))),
        ("q", np.full(5, np.nan)),
        ("mu", np.array(np.inf)),
        ("lambda_G", np.array(0.0)),
        ("lambda_G", np.array(np.nan)),
        ("cell_types", np.array(["C0"])),
    ],
)
def test_parameters_that_do_not_belong_together_are_refused(name, value):
    arrays = random_model(10).to_arrays()
    arrays[name] = value
    with pytest.raises(ValueError, match=r"together|finite|belong"):
        CPModel.from_arrays(arrays)
    del arrays[name]
    with pytest.raises(KeyError):
        CPModel.from_arrays(arrays)
