"""Fits of the CP model: several starts, early stopping, and the search for rank and penalty."""

from __future__ import annotations

import signal
from itertools import islice

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from predictd import interrupt
from predictd.config import AlsSettings
from predictd.errors import Interrupted
from predictd.model.cp.als import CPProblem, descend
from predictd.model.cp.fit import Validation, choose, fit
from predictd.model.moments import moments
from predictd.pairs import Experiment, rows_of

pytestmark = pytest.mark.numeric

hypothesis = pytest.importorskip("hypothesis")
given, settings = hypothesis.given, hypothesis.settings
st = hypothesis.strategies

EM = pytest.mark.parametrize("em", [False, True], ids=["als", "em"])
N_BINS = 3000


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Fits run under one BLAS thread, as workflows run them: more would only get in each other's way."""
    with threadpool_limits(1):
        yield


class Data:
    """Noisy CP signal of which some experiments validate."""

    def __init__(self, seed=0, *, scale=1.0, noise=0.8, n_cells=7, n_assays=5):
        rng = np.random.default_rng(seed)
        mask = rng.random((n_cells, n_assays)) < 0.75
        diagonal = np.arange(n_cells)
        mask[diagonal, diagonal % n_assays] = True
        cells, assays = np.nonzero(mask)
        c, a, g = (rng.normal(size=(size, 3)) for size in (n_cells, n_assays, N_BINS))
        y = g @ (c[cells] * a[assays]).T + rng.normal(size=(N_BINS, 1)) + 0.5
        self.y = (scale * (y + noise * rng.normal(size=y.shape))).astype(np.float32)
        self.experiments = [Experiment(f"C{c}", f"A{a}") for c, a in zip(cells, assays, strict=True)]
        spare = [i for i, e in enumerate(self.experiments) if e.cell_type[1] != str(int(e.assay[1]))]
        self.valid = tuple(self.experiments[i] for i in spare[::6])
        self.train = tuple(e for e in self.experiments if e not in self.valid)
        self.s = moments(self.y)

    def problem(self, *, em=False, regularisation=0.01):
        return CPProblem(self.s, self.experiments, self.train, regularisation=regularisation, em=em)

    def columns(self, experiments):
        return np.array([self.experiments.index(e) for e in experiments])

    def validation(self):
        problem = self.problem()
        return Validation(
            self.s,
            self.columns(self.train),
            self.columns(self.valid),
            *rows_of(self.valid, problem.cell_types, problem.assays),
        )

    def error(self, model):
        """Validation MSE of a model as users would find it, from the data."""
        affine = model.imputer(self.valid).affine
        y = self.y.astype(np.float64)
        predicted = y[:, self.columns(self.train)] @ affine.weights.T + affine.intercept
        return np.mean((predicted - y[:, self.columns(self.valid)]) ** 2)


@pytest.fixture(scope="module")
def data():
    return Data()


def flat(point):
    return np.concatenate([point.c.ravel(), point.a.ravel(), [point.lambda_g]])


@EM
def test_the_start_with_the_lowest_objective_goes_on(data, em):
    problem = data.problem(em=em)
    options = AlsSettings(starts=5, start_sweeps=4, tolerance=0)
    result = fit(problem, 3, options, seed=2, lambda_g=1.0, sweeps=30)
    values = []
    for start in range(5):
        point = problem.start(3, np.random.default_rng([2, start]), lambda_g=1.0)
        values.append([genome.value for genome in islice(descend(problem, point), 30)])
    best = min(values, key=lambda path: path[3])
    assert best is not values[0]
    assert result.value == best[29]
    assert result.sweeps == 30
    assert [entry[:2] for entry in result.history] == [(k, best[k - 1]) for k in (4, 5, 10, 15, 20, 25, 30)]
    assert np.isnan(result.validation_mse)
    assert all(np.isnan(mse) for _, _, mse in result.history)


@EM
@pytest.mark.parametrize("sweeps", [1, 2, 4, 17])
@pytest.mark.parametrize("starts", [1, 3])
def test_the_given_number_of_sweeps_is_made(data, em, sweeps, starts):
    options = AlsSettings(starts=starts, start_sweeps=4, patience=1, tolerance=0.5)
    result = fit(data.problem(em=em), 2, options, seed=0, lambda_g=1.0, sweeps=sweeps)
    assert result.sweeps == result.history[-1][0] == sweeps
    assert result.value == result.history[-1][1]


@EM
def test_without_validation_a_descent_goes_on_until_it_settles(data, em):
    problem = data.problem(em=em, regularisation=0.1)
    options = AlsSettings(starts=1, max_sweeps=3000, tolerance=1e-7, patience=3000)
    result = fit(problem, 2, options, seed=0, lambda_g=1.0)
    assert 10 < result.sweeps < 3000
    point = problem.start(2, np.random.default_rng([0, 0]), lambda_g=1.0)
    values = np.array([g.value for g in islice(descend(problem, point), result.sweeps)])
    small = np.abs(np.diff(values)) < 1e-7 * (np.abs(values[1:]) + problem.scale)
    assert small[-1]
    assert not small[:-1].any()


def test_whether_a_descent_has_settled_does_not_depend_on_the_unit():
    # The objective of small numbers is small: only beside the signal's variance does its change mean something.
    options = AlsSettings(starts=1, max_sweeps=60)
    results = []
    for scale in (1.0, 1e-3):
        problem = Data(scale=scale).problem(regularisation=1e-6)
        results.append(fit(problem, 3, options, seed=0, lambda_g=1e-3 * scale**2))
        assert results[-1].history[-1][0] > 15
        assert results[-1].value < 0.09 * problem.scale
    assert results[1].value * 1e6 == pytest.approx(results[0].value, rel=0.01)


@EM
def test_early_stopping_returns_the_best_point(data, em):
    problem = data.problem(em=em, regularisation=0.0 if em else 1e-3)
    options = AlsSettings(
        starts=2, start_sweeps=3, max_sweeps=400, evaluate_every=2, patience=14, tolerance=0
    )
    result = fit(problem, 6, options, seed=1, lambda_g=0.3, validation=data.validation())
    sweeps, values, errors = (np.array(column) for column in zip(*result.history, strict=True))
    best = errors.argmin()
    assert result.validation_mse == errors[best]
    assert (result.sweeps, result.value) == (sweeps[best], values[best])
    # The best is not the last: going on was given up when it was as old as patience, and no later.
    assert sweeps[-1] < 400
    assert 14 <= sweeps[-1] - sweeps[best] < 16
    previous = [errors[: k + 1].argmin() for k in range(len(errors) - 1)]
    assert all(sweeps[k] - sweeps[b] < 14 for k, b in enumerate(previous))
    assert sweeps.tolist() == [2, 3, *range(4, sweeps[-1] + 1, 2)]
    assert (np.diff(values) <= 1e-9 * problem.scale).all()


@EM
@pytest.mark.parametrize("sweeps", [1, 7, 60])
def test_the_validation_error_is_that_of_the_model(data, em, sweeps):
    options = AlsSettings(starts=1, evaluate_every=1, max_sweeps=sweeps, patience=1000, tolerance=0)
    problem = data.problem(em=em)
    result = fit(problem, 3, options, seed=0, lambda_g=1.0, validation=data.validation())
    model = problem.model(result.point)
    assert result.validation_mse == pytest.approx(data.error(model), rel=1e-6)
    # The gauge in which models are saved changes nothing.
    assert result.validation_mse == pytest.approx(data.error(model.canonical()), rel=1e-6)


def test_a_fit_is_determined_by_its_seed(data):
    results = [
        fit(data.problem(em=True), 3, AlsSettings(max_sweeps=25), seed=seed, lambda_g=1.0)
        for seed in (5, 5, 6)
    ]
    np.testing.assert_array_equal(flat(results[0].point), flat(results[1].point))
    np.testing.assert_array_equal(results[0].history, results[1].history)
    assert results[0].value != results[2].value


def test_a_fit_is_given_up_where_a_stop_is_asked_for(data, monkeypatch):
    sweeps = iter(range(100))
    monkeypatch.setattr(interrupt, "_heard", lambda: signal.SIGINT if next(sweeps) == 7 else 0)
    with pytest.raises(Interrupted, match="stopped by SIGINT"):
        fit(data.problem(), 2, AlsSettings(starts=1), seed=0, lambda_g=1.0, sweeps=50)
    assert next(sweeps) == 8


def test_sweeps_end_at_their_limit(data):
    options = AlsSettings(starts=2, start_sweeps=9, max_sweeps=5, tolerance=0)
    for validation in (None, data.validation()):
        result = fit(data.problem(), 3, options, seed=0, lambda_g=1.0, validation=validation)
        # Starts are compared after the sweeps that they were given, even where these are more.
        assert result.history[-1][0] == 9
    options = AlsSettings(starts=1, max_sweeps=13, tolerance=0)
    assert fit(data.problem(), 3, options, seed=0, lambda_g=1.0).history[-1][0] == 13


# The search for rank and penalty


class Table:
    """Scores of a grid; counts what is asked for."""

    def __init__(self, scores):
        self.scores = scores
        self.asked = []

    def __call__(self, candidates):
        assert candidates
        self.asked.append(list(candidates))
        return [self.scores[candidate] for candidate in candidates]


def test_a_search_worked_by_hand():
    table = Table(
        {
            (1, 0.1): 9.0, (2, 0.1): 5.0, (4, 0.1): 6.0,
            (1, 1.0): 9.5, (2, 1.0): 4.0, (4, 1.0): 3.0,
            (1, 9.0): 9.9, (2, 9.0): 4.5, (4, 9.0): 2.0,
        }
    )  # fmt: skip
    choice = choose(table, [1, 2, 4], [0.1, 1.0, 9.0], 0.1)
    # Ranks at 0.1: 2. Penalties for 2: 1. Ranks at 1: 4. Penalties for 4: 9. Ranks at 9: 4 again, done.
    assert table.asked == [
        [(1, 0.1), (2, 0.1), (4, 0.1)],
        [(2, 1.0), (2, 9.0)],
        [(1, 1.0), (4, 1.0)],
        [(4, 9.0)],
        [(1, 9.0)],
    ]
    assert (choice.rank, choice.regularisation, choice.score) == (4, 9.0, 2.0)
    assert choice.tried == tuple((*key, score) for key, score in sorted(table.scores.items()))


def test_of_equal_scores_the_smaller_rank_then_the_larger_penalty():
    table = Table({(rank, penalty): 1.0 for rank in (1, 2) for penalty in (0.1, 1.0)})
    choice = choose(table, [1, 2], [0.1, 1.0], 0.1)
    assert (choice.rank, choice.regularisation) == (1, 1.0)
    assert len(choice.tried) == 4


def test_a_single_candidate():
    table = Table({(3, 0.5): 2.0})
    choice = choose(table, [3], [0.5], 0.5)
    assert choice.tried == ((3, 0.5, 2.0),)
    assert table.asked == [[(3, 0.5)]]


@given(data=st.data(), n_ranks=st.integers(1, 5), n_penalties=st.integers(1, 5))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_a_search_ends_where_no_single_change_is_better_and_asks_nothing_twice(data, n_ranks, n_penalties):
    ranks = [2**k for k in range(n_ranks)]
    penalties = [10.0 ** (k - 3) for k in range(n_penalties)]
    grid = [(rank, penalty) for rank in ranks for penalty in penalties]
    scores = data.draw(st.lists(st.integers(0, 6).map(float), min_size=len(grid), max_size=len(grid)))
    table = Table(dict(zip(grid, scores, strict=True)))
    choice = choose(table, ranks, penalties, data.draw(st.sampled_from(penalties)))

    def order(candidate):
        return (table.scores[candidate], candidate[0], -candidate[1])

    found = (choice.rank, choice.regularisation)
    assert choice.score == table.scores[found]
    assert found == min([(rank, found[1]) for rank in ranks], key=order)
    assert found == min([(found[0], penalty) for penalty in penalties], key=order)
    asked = [candidate for turn in table.asked for candidate in turn]
    assert len(set(asked)) == len(asked)
    assert choice.tried == tuple((*key, table.scores[key]) for key in sorted(asked))
