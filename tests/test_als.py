"""ALS and EM on moments against the same updates from the full data, and against what defines their solutions."""

from __future__ import annotations

from itertools import islice, pairwise

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from predictd.errors import DataError
from predictd.model.cp import reference_als as reference
from predictd.model.cp.als import CPProblem, Point, descend
from predictd.model.cp.factors import DEAD, CPModel
from predictd.model.simulate import Simulation
from predictd.pairs import Experiment

pytestmark = pytest.mark.numeric

hypothesis = pytest.importorskip("hypothesis")
given, settings = hypothesis.given, hypothesis.settings
st = hypothesis.strategies

EM = pytest.mark.parametrize("em", [False, True], ids=["als", "em"])


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Fits run under one BLAS thread, as workflows run them: more would only get in each other's way."""
    with threadpool_limits(1):
        yield


def tensor(seed=0, *, n_cells=6, n_assays=5, share=0.6, n_bins=200, rank=2, noise=0.3):
    """A noisy CP tensor of an unbalanced mask: signal (bins × n) and its experiments."""
    rng = np.random.default_rng(seed)
    mask = rng.random((n_cells, n_assays)) < share
    longest = np.arange(max(n_cells, n_assays))
    mask[longest % n_cells, longest % n_assays] = True
    cells, assays = np.nonzero(mask)
    c, a, g = (rng.normal(size=(size, rank)) for size in (n_cells, n_assays, n_bins))
    biases = 1 + rng.normal(size=n_cells)[cells] + rng.normal(size=n_assays)[assays]
    y = g @ (c[cells] * a[assays]).T + biases + rng.normal(size=(n_bins, 1))
    y += noise * rng.normal(size=y.shape)
    return y, [Experiment(f"C{c}", f"A{a}") for c, a in zip(cells, assays, strict=True)]


def moments(y):
    padded = np.column_stack([y, np.ones(len(y))])
    return padded.T @ padded


def problem_of(y, experiments, *, train=None, **options):
    return CPProblem(moments(y), experiments, tuple(experiments if train is None else train), **options)


def full(problem, y):
    return reference.FullData(y, problem.cells, problem.assay_rows, problem.mu, problem.regularisation)


def parameters(point):
    return reference.Parameters(point.c, point.a, point.lambda_g)


def flat(point):
    return np.concatenate([point.c.ravel(), point.a.ravel(), [point.lambda_g]])


def start_of(problem, rank, seed=0, lambda_g=0.7):
    return problem.start(rank, np.random.default_rng(seed), lambda_g=lambda_g)


def descent(problem, rank, sweeps, seed=0, lambda_g=0.7):
    return list(islice(descend(problem, start_of(problem, rank, seed, lambda_g)), sweeps))


def numerical_gradient(function, x, step=3e-6):
    gradient = np.empty_like(x)
    for i in range(x.size):
        up, down = x.copy(), x.copy()
        up[i] += step
        down[i] -= step
        gradient[i] = (function(up) - function(down)) / (2 * step)
    return gradient


# Sweeps and objectives


@EM
@pytest.mark.parametrize("regularisation", [0.0, 0.05, 1.0])
@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize("seed", [0, 1])
def test_sweeps_are_those_of_the_full_data(em, regularisation, rank, seed):
    y, experiments = tensor(seed)
    problem = problem_of(y, experiments, regularisation=regularisation, em=em)
    data, point = full(problem, y), start_of(problem, rank, seed)
    at = parameters(point)
    for _ in range(3):
        solved = reference.solve_genome(data, at, em=em)
        if not em and regularisation:
            at, solved = reference.rebalance(data, at, solved)
        at = reference.sweep(data, at, solved, em=em)
        point = problem.sweep(problem.genome(point))
        np.testing.assert_allclose(flat(point), flat(at), rtol=1e-10, atol=1e-10)


@EM
@pytest.mark.parametrize(("regularisation", "tolerance"), [(0.0, 1e-8), (0.3, 1e-10)])
def test_sweeps_of_a_rank_beyond_the_experiments(em, regularisation, tolerance):
    # Without a penalty the rows' equations are singular: of all solutions both take the nearest to the old row.
    y, experiments = tensor(0)
    rank = len(experiments) + 8
    problem = problem_of(y, experiments, regularisation=regularisation, em=em)
    data, point = full(problem, y), start_of(problem, rank)
    at = parameters(point)
    for _ in range(2):
        solved = reference.solve_genome(data, at, em=em)
        if not em and regularisation:
            at, solved = reference.rebalance(data, at, solved)
        at = reference.sweep(data, at, solved, em=em)
        point = problem.sweep(problem.genome(point))
        np.testing.assert_allclose(flat(point), flat(at), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("regularisation", [0.0, 0.4])
@pytest.mark.parametrize("rank", [1, 3, 40])
def test_the_value_of_als_is_the_objective_of_the_full_data(regularisation, rank):
    y, experiments = tensor(2)
    problem = problem_of(y, experiments, regularisation=regularisation)
    data, point = full(problem, y), start_of(problem, rank)
    for _ in range(3):
        genome = problem.genome(point)
        at, solved = parameters(point), reference.solve_genome(data, parameters(point), em=False)
        before = reference.penalised_error(data, at, solved)
        if regularisation:
            at, solved = reference.rebalance(data, at, solved)
        assert genome.value == pytest.approx(reference.penalised_error(data, at, solved), rel=1e-11)
        assert genome.value <= before * (1 + 1e-12)
        point = problem.sweep(genome)


@pytest.mark.parametrize("regularisation", [0.0, 0.4])
@pytest.mark.parametrize("rank", [1, 3, 40])
def test_the_value_of_em_is_the_restricted_likelihood(regularisation, rank):
    y, experiments = tensor(3)
    problem = problem_of(y, experiments, regularisation=regularisation, em=True)
    data, n = full(problem, y), problem.n
    rng = np.random.default_rng(0)
    constant = (n - 1) * np.log(2 * np.pi) - np.log(n)
    for _ in range(4):
        point = Point(rng.normal(size=(6, rank + 1)), rng.normal(size=(5, rank + 1)), rng.gamma(2.0))
        deviance = reference.deviance(data, parameters(point))
        assert problem.genome(point).value + constant == pytest.approx(deviance, rel=1e-11)


@EM
def test_moments_of_some_experiments_are_those_of_a_tensor_without_the_others(em):
    y, experiments = tensor(4, share=0.9)
    rng = np.random.default_rng(1)
    order = rng.permutation(len(experiments))
    train = [experiments[i] for i in order if i % 6]
    columns = [experiments.index(e) for e in train]
    some = problem_of(y, experiments, train=train, regularisation=0.1, em=em)
    alone = problem_of(y[:, columns], train, regularisation=0.1, em=em)
    assert some.train == tuple(train)
    start = start_of(alone, 2)
    np.testing.assert_allclose(
        flat(some.sweep(some.genome(start))), flat(alone.sweep(alone.genome(start))), rtol=1e-12
    )


@EM
def test_a_mean_far_from_zero_costs_no_digits(em):
    y, experiments = tensor(5)
    near, far = (problem_of(y + offset, experiments, regularisation=0.1, em=em) for offset in (0.0, 2.0**12))
    assert far.mu - near.mu == pytest.approx(2.0**12, abs=1e-9)
    # Moments themselves keep the signal to 1e-16 of its mean square.
    for one, other in zip(descent(near, 3, 60), descent(far, 3, 60), strict=True):
        assert other.value == pytest.approx(one.value, rel=0, abs=1e-7 * near.scale)
    values = [genome.value for genome in descent(far, 3, 800)]
    assert max(later - earlier for earlier, later in pairwise(values)) <= 1e-10


# Descents


@EM
@pytest.mark.parametrize("regularisation", [0.0, 0.1])
@pytest.mark.parametrize("seed", range(4))
def test_the_objective_never_rises(em, regularisation, seed):
    y, experiments = tensor(seed)
    problem = problem_of(y, experiments, regularisation=regularisation, em=em)
    genomes = descent(problem, 1 + 3 * seed, 150, seed)
    assert all(later.value <= earlier.value + later.rounding for earlier, later in pairwise(genomes))
    assert all(genome.rounding < 1e-9 * problem.scale for genome in genomes)
    assert genomes[-1].value < genomes[2].value


@EM
def test_a_rejected_extrapolation_falls_back_to_the_sweep(em):
    y, experiments = tensor(0)
    problem = problem_of(y, experiments, regularisation=0.1, em=em)
    solve, solved = problem.genome, []

    def counting(point):
        solved.append(solve(point))
        return solved[-1]

    problem.genome = counting
    genomes = descent(problem, 3, 300)
    rejected = len(solved) - len(genomes)
    assert 0 < rejected < 10
    values = [genome.value for genome in genomes]
    assert max(np.diff(values)) <= max(genome.rounding for genome in genomes)
    # What was not yielded had a higher objective, and what was yielded in its place is the plain sweep from the last.
    position = 0
    for earlier, genome in zip([None, *genomes], genomes, strict=False):
        if solved[position] is not genome:
            assert solved[position].value > earlier.value
            np.testing.assert_array_equal(flat(genome.point), flat(solve(problem.sweep(earlier)).point))
            position += 1
        assert solved[position] is genome
        position += 1


@pytest.mark.parametrize("regularisation", [0.0, 0.2])
def test_the_likelihood_never_falls_over_sweeps_of_em(regularisation):
    y, experiments = tensor(6)
    problem = problem_of(y, experiments, regularisation=regularisation, em=True)
    data, point = full(problem, y), start_of(problem, 3)
    deviances = []
    for _ in range(40):
        deviances.append(reference.deviance(data, parameters(point)))
        point = problem.sweep(problem.genome(point))
    assert max(np.diff(deviances)) < 1e-10 * abs(deviances[-1])
    assert deviances[-1] < deviances[0] - 1


@pytest.mark.parametrize("regularisation", [0.0, 0.3])
def test_the_fixed_point_of_the_noise(regularisation):
    y, experiments = tensor(7, n_bins=120)
    problem = problem_of(y, experiments, regularisation=regularisation, em=True)
    point = descent(problem, 2, 600)[-1].point
    data, at = full(problem, y), parameters(point)
    z, o = reference.design(data, at)
    residuals = y - o - reference.solve_genome(data, at, em=True).rows @ z
    k = z @ z.T + point.lambda_g * np.diag([1.0, 1.0, 0.0])
    freedom = problem.n - np.trace(z.T @ np.linalg.solve(k, z))
    assert point.lambda_g == pytest.approx(np.sum(residuals**2) / len(y) / freedom, rel=1e-6)


@EM
def test_the_gradient_vanishes_where_a_descent_ends(em):
    y, experiments = tensor(8, n_bins=120)
    problem = problem_of(y, experiments, regularisation=0.1, em=em)
    end = descent(problem, 2, 2000)[-1].point
    data, sizes = full(problem, y), (end.c.size, end.c.size + end.a.size)

    def value(x):
        c, a, rest = np.split(x, sizes)
        at = reference.Parameters(
            c.reshape(end.c.shape), a.reshape(end.a.shape), rest[0] if em else end.lambda_g
        )
        if em:
            return reference.deviance(data, at)
        return reference.penalised_error(data, at, reference.solve_genome(data, at, em=False))

    elsewhere = flat(start_of(problem, 2))
    assert np.abs(numerical_gradient(value, elsewhere)[:-1]).max() > 1
    # Ten times what was found under any BLAS: step²/6 of the noise's third derivative, 1e5, and rounding over the step.
    np.testing.assert_allclose(numerical_gradient(value, flat(end)), 0, atol=2e-6)
    # The same of the value that descents compare.
    through_moments = numerical_gradient(
        lambda x: (
            problem.genome(
                Point(
                    x[: sizes[0]].reshape(end.c.shape),
                    x[sizes[0] : sizes[1]].reshape(end.a.shape),
                    x[-1] if em else end.lambda_g,
                )
            ).value
        ),
        flat(end),
    )
    np.testing.assert_allclose(through_moments, 0, atol=2e-6)


@given(
    seed=st.integers(0, 2**31),
    rank=st.integers(1, 6),
    penalty=st.floats(1e-3, 10),
    lambda_g=st.floats(0.01, 10),
)
@settings(max_examples=25, deadline=None, derandomize=True)
def test_rebalancing_makes_the_three_penalties_equal_and_keeps_the_products(seed, rank, penalty, lambda_g):
    y, experiments = tensor(9, n_bins=50)
    problem = problem_of(y, experiments, regularisation=penalty)
    rng = np.random.default_rng(seed)
    sizes = np.append(10.0 ** rng.uniform(-2, 2, rank), 1.0)
    point = Point(sizes * rng.normal(size=(6, rank + 1)), rng.normal(size=(5, rank + 1)) / sizes, lambda_g)
    genome = problem.genome(point)
    c, a, g = (
        penalty * np.square(genome.point.c[:, :-1]).sum(axis=0),
        penalty * np.square(genome.point.a[:, :-1]).sum(axis=0),
        lambda_g * np.diag(genome.squares)[:-1],
    )
    np.testing.assert_allclose(c, a, rtol=1e-9)
    np.testing.assert_allclose(c, g, rtol=1e-9)
    before = reference.solve_genome(full(problem, y), parameters(point), em=False).rows.mean(axis=0)
    tensors = [
        np.einsum("cl,al,l->cal", p.c[:, :-1], p.a[:, :-1], mean[:-1])
        for p, mean in ((point, before), (genome.point, genome.mean))
    ]
    np.testing.assert_allclose(tensors[1], tensors[0], rtol=1e-6, atol=1e-8)
    np.testing.assert_array_equal(genome.point.c[:, -1], point.c[:, -1])
    np.testing.assert_array_equal(genome.point.a[:, -1], point.a[:, -1])


# Data that leave something open


@EM
@pytest.mark.parametrize("regularisation", [0.0, 0.2])
@pytest.mark.parametrize("dead", ["cells", "assays", "both"])
def test_a_dead_component_stays_dead_and_is_as_good_as_none(em, regularisation, dead):
    y, experiments = tensor(10)
    problem = problem_of(y, experiments, regularisation=regularisation, em=em)
    without = start_of(problem, 2)
    c, a = (np.insert(rows, 1, 1.0, axis=1) for rows in (without.c, without.a))
    if dead != "assays":
        c[:, 1] = 0.0
    if dead != "cells":
        a[:, 1] = 0.0
    with_dead = Point(c, a, without.lambda_g)
    for _ in range(10):
        genomes = problem.genome(with_dead), problem.genome(without)
        with_dead, without = (problem.sweep(genome) for genome in genomes)
        assert np.linalg.norm(with_dead.c[:, 1]) * np.linalg.norm(with_dead.a[:, 1]) < DEAD
        np.testing.assert_allclose(np.delete(with_dead.c, 1, axis=1), without.c, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(np.delete(with_dead.a, 1, axis=1), without.a, rtol=1e-8, atol=1e-10)
    if em or regularisation == 0:
        assert genomes[0].value == pytest.approx(genomes[1].value, rel=1e-9)
    model = problem.model(with_dead).canonical()
    assert model.rank == 2


@EM
@pytest.mark.parametrize("regularisation", [0.0, 0.2])
@pytest.mark.parametrize("rank", [2, 30])
@pytest.mark.parametrize(
    "kind", ["constant track", "zero track", "few bins", "no noise", "one varies", "all alike"]
)
def test_poor_data_never_give_nan_and_the_objective_never_rises(em, regularisation, rank, kind):
    y, experiments = tensor(11, noise=0.0)
    if kind == "constant track":
        y[:, 3] = 2.5
    elif kind == "zero track":
        y[:, 3] = 0.0
    elif kind == "few bins":
        y = y[:2]
    elif kind == "one varies":
        y[:, 1:] = 1.0
    elif kind == "all alike":
        y[:] = y[:, :1]
    problem = problem_of(y, experiments, regularisation=regularisation, em=em)
    genomes = descent(problem, rank, 60)
    assert all(np.isfinite(flat(g.point)).all() and np.isfinite(g.value) for g in genomes)
    assert all(later.value <= earlier.value + later.rounding for earlier, later in pairwise(genomes))
    # How well the moments of data without noise determine the likelihood is limited; it still must not matter.
    assert genomes[-1].rounding < 1e-4 * problem.scale
    unseen = [Experiment(c, a) for c in problem.cell_types for a in problem.assays]
    affine = problem.model(genomes[-1].point).imputer(unseen).affine
    assert np.isfinite(affine.weights).all() and np.isfinite(affine.intercept).all()
    np.testing.assert_allclose(affine.weights.sum(axis=1), 1, atol=1e-3)


def test_a_constant_experiment_is_imputed_as_constant():
    y, experiments = tensor(12, noise=0.05, n_bins=400)
    y[:, 4] = 2.5
    problem = problem_of(y, experiments, regularisation=0.01, em=True)
    affine = problem.model(descent(problem, 4, 400)[-1].point).imputer([experiments[4]]).affine
    imputed = y @ affine.weights[0] + affine.intercept[0]
    np.testing.assert_allclose(imputed, 2.5, atol=0.3)


@EM
def test_a_cell_type_with_one_experiment_has_finite_rows(em):
    y, experiments = tensor(13, share=0.9)
    keep = [i for i, e in enumerate(experiments) if e.cell_type != "C2" or e.assay == "A2"]
    train = [experiments[i] for i in keep]
    for regularisation in (0.0, 0.1):
        problem = problem_of(y, experiments, train=train, regularisation=regularisation, em=em)
        point = descent(problem, 4, 100)[-1].point
        assert np.isfinite(flat(point)).all()


def test_the_prior_draws_a_row_without_much_evidence_to_the_mean():
    y, experiments = tensor(14, share=1.0, noise=0.5)
    train = [e for e in experiments if e.cell_type != "C2" or e.assay == "A2"]
    distances = []
    for strength in (0.0, 0.1, 1.0, 100.0):
        problem = problem_of(y, experiments, train=train, regularisation=strength, em=True)
        c = descent(problem, 2, 400)[-1].point.c[:, :-1]
        others = np.delete(c, 2, axis=0)
        distances.append(np.linalg.norm(c[2] - others.mean(axis=0)))
    assert distances[-1] < 0.1 * distances[0]
    assert distances[-1] < distances[-2] < distances[1]


def test_what_cannot_be_learnt_from_is_refused():
    y, experiments = tensor(15)
    with pytest.raises(DataError, match="no complete bin"):
        problem_of(y[:0], experiments)
    with pytest.raises(DataError, match="cell type C3 has no training experiment"):
        problem_of(y, experiments, train=[e for e in experiments if e.cell_type != "C3"])
    with pytest.raises(DataError, match="assay A1 has no training experiment"):
        problem_of(y, experiments, train=[e for e in experiments if e.assay != "A1"])
    for constant in (np.zeros_like(y), np.full_like(y, 7.3), np.tile(y[:1], (50, 1)), y[:1]):
        with pytest.raises(DataError, match=f"constant over the {len(constant)} complete bins"):
            problem_of(constant, experiments)


@EM
@pytest.mark.parametrize("size", [1e9, np.inf])
def test_singular_equations_of_the_genome_are_told(em, size):
    y, experiments = tensor(16)
    problem = problem_of(y, experiments, em=em)
    rank = len(experiments) + 3
    start = start_of(problem, rank)
    c = start.c * size
    with (
        np.errstate(invalid="ignore"),
        pytest.raises(DataError, match=r"rank \d+ cannot be fitted to \d+ .* larger `penalty`"),
    ):
        problem.genome(Point(c, start.a, 1e-3))


def test_em_stops_at_the_noise_that_moments_can_tell():
    y, experiments = tensor(17, noise=0.0, n_bins=400)
    problem = problem_of(y, experiments, em=True, regularisation=1e-3)
    noises = [genome.point.lambda_g for genome in descent(problem, 3, 400)]
    assert min(noises) == noises[-1] == pytest.approx(1e-8 * y.var(axis=0).mean())


# Recovery


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_em_recovers_a_simulated_tensor(seed):
    # The error in excess of the noise on all 48 pairs that were not observed: 1.01 to 1.32 times that of the true
    # factors' closed form, which is below 0.3 % of the variance.
    simulation = Simulation.for_shape(12, 8, share=0.5, rank=3, seed=seed, noise_sd=0.05)
    observed = list(simulation.experiments)
    missing = [
        e
        for c in simulation.cell_types
        for e in (Experiment(c, a) for a in simulation.assays)
        if e not in set(observed)
    ]
    where = {"run": 0, "first": 0, "n": 8192, "clip": False}
    y = simulation.signal(observed, **where).astype(np.float64)
    truth = simulation.signal(missing, **where, noise=False).astype(np.float64)

    def error(model):
        affine = model.imputer(missing).affine
        return np.mean((y @ affine.weights.T + affine.intercept - truth) ** 2)

    true = simulation.parameters
    best_possible = error(
        CPModel(
            tuple(simulation.cell_types),
            tuple(simulation.assays),
            true.C,
            true.A,
            true.p,
            true.q,
            true.mu,
            simulation.noise_sd**2,
            tuple(observed),
        )
    )
    problem = problem_of(y, observed, regularisation=0.1, em=True)
    end = min((descent(problem, 4, 300, start)[-1] for start in range(3)), key=lambda genome: genome.value)
    assert best_possible < 0.003 * truth.var(axis=0).mean()
    assert error(problem.model(end.point)) < 1.5 * best_possible
    assert np.sqrt(end.point.lambda_g) == pytest.approx(0.05, rel=0.02)
