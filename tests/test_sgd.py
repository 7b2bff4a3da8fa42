"""Parts of stochastic gradient descent: rows, starting values, penalties, merging, the stopping rule."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import ranksums

from predictd import kernels
from predictd.config import SgdSettings
from predictd.kernels import UpdateRule
from predictd.model.cp import reference, sgd
from predictd.model.cp.sgd import Rows, StoppingRule, Verdict, rank_sum_p

pytestmark = pytest.mark.numeric


def random_rows(rng, n_rows=6, rank=3, dtype=np.float64):
    """Rows in the middle of a descent."""
    rows = Rows.from_factors(rng.normal(size=(n_rows, rank)), rng.normal(size=n_rows), dtype)
    rows.values[:, 1:, : rank + 1] = rng.random((n_rows, 2, rank + 1))
    rows.scalars[:] = np.c_[rng.random((n_rows, 2)), rng.integers(1, 50, n_rows)]
    return rows


# Rows


@pytest.mark.parametrize(("rank", "width"), [(1, 16), (15, 16), (16, 32), (100, 112)])
def test_rows_are_padded_aligned_and_new(rank, width):
    factors, biases = np.arange(1.0, 4 * rank + 1).reshape(4, rank), np.arange(4.0) - 9
    rows = Rows.from_factors(factors, biases)
    assert rows.values.shape == (4, 3, width)
    assert rows.values.dtype == np.float32
    assert rows.values.flags.c_contiguous
    assert rows.values.ctypes.data % 64 == 0
    np.testing.assert_array_equal(rows.factors(rank), factors)
    np.testing.assert_array_equal(rows.biases(rank), biases)
    assert np.abs(rows.values).sum() == np.abs(factors).sum() + np.abs(biases).sum()
    assert len(rows) == 4
    assert not rows.scalars.any()


def test_a_copy_of_rows_is_independent():
    rows = random_rows(np.random.default_rng(0))
    copy = rows.copy()
    np.testing.assert_array_equal(copy.values, rows.values)
    np.testing.assert_array_equal(copy.scalars, rows.scalars)
    copy.scalars[2, 2] += 3
    copy.values[:] = 0
    assert copy.touches_since(rows).tolist() == [0, 0, 3, 0, 0, 0]
    assert rows.values.any()


def test_rows_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match="need values"):
        Rows(np.zeros((3, 16)), np.zeros((3, 3)))
    with pytest.raises(ValueError, match="as many biases"):
        Rows.from_factors(np.zeros((3, 2)), np.zeros(2))
    with pytest.raises(ValueError, match="finite"):
        Rows.from_factors(np.full((3, 2), np.nan), np.zeros(3))


# Starting values and penalties


def test_main_effects_of_a_case_worked_by_hand():
    # Cells 0, 1; assays 0, 1; cell 2 and assay 2 have no experiment. Columns: (0,0), (0,1), (1,1).
    y = np.array([[2, 5, 8], [4, 7, 4]], np.float32)
    # Means 3, 6, 6: μ = 5; p = −½, 1; what is left: −1.5, 1.5, 0; q = −1.5, 0.75.
    # μ + p + q: 3, 5.25, 6.75, on average 5; rows on average 5 and 5.
    effects = sgd.main_effects(y, np.array([0, 0, 1], np.int32), np.array([0, 1, 1], np.int32), 3, 3)
    assert effects.mu == 5
    assert effects.cells.tolist() == [-0.5, 1, 0]
    assert effects.assays.tolist() == [-1.5, 0.75, 0]
    assert effects.bins.tolist() == [0, 0]


def test_main_effects_are_the_means_of_what_is_left():
    rng = np.random.default_rng(3)
    pair_cells, pair_assays = np.nonzero(rng.random((7, 5)) < 0.6)
    y = rng.normal(2, 1, (40, len(pair_cells)))
    mu, cells, assays, bins = sgd.main_effects(y, pair_cells, pair_assays, 7, 5)
    left = y - y.mean()
    assert mu == pytest.approx(y.mean())
    for effects, groups in ((cells, pair_cells), (assays, pair_assays)):
        for group in np.unique(groups):
            mean = left[:, groups == group].mean()
            assert effects[group] == pytest.approx(mean)
        left = left - effects[groups]
    np.testing.assert_allclose(bins, left.mean(axis=1), atol=1e-14)


def test_main_effects_do_not_lose_digits_of_single_precision():
    y = np.full((200_000, 1), 1000.1, np.float32)
    zero = np.zeros(1, np.int32)
    assert sgd.main_effects(y, zero, zero, 1, 1).mu == pytest.approx(float(np.float32(1000.1)), rel=1e-12)


def test_initial_factors_fill_their_range():
    factors = sgd.initial_factors(50, 100, 0.33, np.random.default_rng(0))
    assert factors.shape == (50, 100)
    assert 0.32 < factors.max() < 0.33
    assert -0.33 < factors.min() < -0.32


def test_streams_differ_between_seeds_workers_and_rounds():
    streams = {
        sgd.draw_stream(seed, worker, round_) for seed in (0, 1) for worker in (0, 1) for round_ in (0, 1)
    }
    assert len(streams) == 8
    assert all(0 <= stream < 2**64 for stream in streams)
    assert sgd.draw_stream(1, 2, 3) == np.random.SeedSequence([1, 2, 3]).generate_state(1, np.uint64)[0]


def test_penalties_a_draw():
    pair_cells, pair_assays = np.array([0, 0, 2]), np.array([1, 0, 1])
    cells, assays, bins = sgd.penalties(0.6, 0.8, 1.5, pair_cells, pair_assays, 3, 2)
    assert cells.tolist() == [0.3, 0, 0.6]
    assert assays.tolist() == [0.8, 0.4]
    assert bins == 0.5


def test_penalties_of_the_paper():
    cells, assays, bins = sgd.paper_penalties(100, 127, 24, 8000)
    np.testing.assert_allclose(cells, np.full(127, 3.66 / 12700))
    np.testing.assert_allclose(assays, np.full(24, 1.23e-7 / 2400))
    assert bins == pytest.approx(1.23e-5 / 800_000)


# The mathematics of reference.py


def small_problem(rng, rank=2, n_cells=3, n_assays=3, n_bins=5):
    pair_cells, pair_assays = (
        axis.astype(np.int32) for axis in np.nonzero(rng.random((n_cells, n_assays)) < 0.8)
    )
    parts = {
        "cells": rng.normal(size=(n_cells, rank)),
        "assays": rng.normal(size=(n_assays, rank)),
        "genome": rng.normal(size=(n_bins, rank)),
        "cell_biases": rng.normal(size=n_cells),
        "assay_biases": rng.normal(size=n_assays),
        "bin_biases": rng.normal(size=n_bins),
    }
    return rng.normal(size=(n_bins, len(pair_cells))), pair_cells, pair_assays, parts


def numerical_gradient(function, x, step=1e-6):
    gradient = np.empty_like(x)
    for i in np.ndindex(*x.shape):
        up, down = x.copy(), x.copy()
        up[i] += step
        down[i] -= step
        gradient[i] = (function(up) - function(down)) / (2 * step)
    return gradient


def test_the_first_step_has_the_gradient_of_the_penalised_error():
    rng = np.random.default_rng(5)
    rank = 4
    x = rng.normal(size=(3, rank + 1))
    rows = [Rows.from_factors(v[np.newaxis, :rank], v[rank:], np.float64) for v in x]
    y, mu, penalties = np.array([[1.5]], np.float32), 0.2, np.array([0.3, 0.1, 0.7])

    def half_square(x):
        factors, biases = x[:, :rank], x[:, rank]
        error = mu + biases.sum() + factors.prod(axis=0).sum() - y[0, 0]
        return (error**2 + penalties @ (factors**2).sum(axis=1)) / 2

    zero = np.zeros(1, np.int32)
    reference.sgd_updates(
        *rows,
        y,
        UpdateRule(
            rank=rank,
            pair_cells=zero,
            pair_assays=zero,
            pen_cells=penalties[:1],
            pen_assays=penalties[1:2],
            pen_bins=penalties[2],
            mu=mu,
            learning_rate=0.01,
            beta1=0.9,
            beta2=0.999,
            epsilon=1e-8,
            decay=1e-6,
        ),
        stream=0,
        first=0,
        count=1,
    )
    # After one update m = (1 − β1) g, v = (1 − β2) g², ĝ = g / (1 − β1) and v̂ = g²: the step is known.
    gradients = np.stack([part.values[0, 1, : rank + 1] for part in rows]) / 0.1
    np.testing.assert_allclose(gradients, numerical_gradient(half_square, x), rtol=1e-7, atol=1e-8)
    for part, gradient, before in zip(rows, gradients, x, strict=True):
        np.testing.assert_allclose(part.values[0, 2, : rank + 1], 0.001 * gradient**2, rtol=1e-12)
        m_hat = 0.1 * gradient / (1 - 0.9 * (1 - 1e-6) * 0.9)
        step = 0.01 * (0.1 * gradient / 0.1 + 0.9 * (1 - 1e-6) * m_hat) / (np.abs(gradient) + 1e-8)
        np.testing.assert_allclose(part.values[0, 0, : rank + 1], before - step, rtol=1e-12)
        np.testing.assert_allclose(part.scalars[0], [0.1, 0.001, 1], rtol=1e-12)


def test_the_mean_gradient_of_all_draws_is_that_of_the_objective():
    rng = np.random.default_rng(6)
    y, pair_cells, pair_assays, parts = small_problem(rng)
    lambdas = reference.Lambdas(0.3, 0.2, 0.7)
    pens = sgd.penalties(0.3, 0.2, 0.7, pair_cells, pair_assays, 3, 3)
    n_bins = len(y)

    def objective(**changes):
        x = reference.Parameters(mu=0.4, **{**parts, **changes})
        return reference.objective(y, pair_cells, pair_assays, x, lambdas)

    mean = {name: np.zeros_like(part) for name, part in parts.items()}
    for g in range(n_bins):
        for i, (c, a) in enumerate(zip(pair_cells, pair_assays, strict=True)):
            cell, assay, bin_ = parts["cells"][c], parts["assays"][a], parts["genome"][g]
            biases = parts["cell_biases"][c] + parts["assay_biases"][a] + parts["bin_biases"][g]
            error = 0.4 + biases + np.sum(cell * assay * bin_) - y[g, i]
            mean["cells"][c] += error * assay * bin_ + pens.cells[c] * cell
            mean["assays"][a] += error * cell * bin_ + pens.assays[a] * assay
            mean["genome"][g] += error * cell * assay + pens.bins * bin_
            mean["cell_biases"][c] += error
            mean["assay_biases"][a] += error
            mean["bin_biases"][g] += error
    for name, gradient in mean.items():
        wanted = numerical_gradient(lambda x, name=name: objective(**{name: x}), parts[name])
        np.testing.assert_allclose(gradient * 2 / n_bins, wanted, rtol=1e-6, atol=1e-8)


def test_the_closed_form_is_the_minimum_of_the_objective():
    rng = np.random.default_rng(7)
    y, pair_cells, pair_assays, parts = small_problem(rng)
    z = np.vstack([(parts["cells"][pair_cells] * parts["assays"][pair_assays]).T, np.ones(len(pair_cells))])
    offsets = 0.4 + parts["cell_biases"][pair_cells] + parts["assay_biases"][pair_assays]
    solution = reference.closed_form_genome(z, 0.7, y - offsets)

    def objective(rows):
        own = {"genome": rows[:, :-1], "bin_biases": rows[:, -1]}
        x = reference.Parameters(mu=0.4, **{**parts, **own})
        return reference.objective(y, pair_cells, pair_assays, x, reference.Lambdas(0.1, 0.1, 0.7))

    np.testing.assert_allclose(numerical_gradient(objective, solution), 0, atol=1e-8)
    # With r free the weights of a prediction sum to 1: shifting the signal shifts r alone.
    shifted = reference.closed_form_genome(z, 0.7, y - offsets + 2)
    np.testing.assert_allclose(shifted - solution, np.r_[np.zeros(2), 2] * np.ones((5, 1)), atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_descent_finds_a_small_tensor(dtype):
    rng = np.random.default_rng(8)
    n_cells, n_assays, n_bins, rank = 8, 6, 150, 3
    truth = [rng.normal(size=(n, rank)) for n in (n_cells, n_assays, n_bins)]
    tensor = np.einsum("cl,al,gl->gca", *truth) + 0.1 * rng.normal(size=(n_bins, n_cells, n_assays)) + 1
    mask = rng.random((n_cells, n_assays)) < 0.75
    pair_cells, pair_assays = (axis.astype(np.int32) for axis in np.nonzero(mask))
    y = np.ascontiguousarray(tensor[:, mask], np.float32)
    effects = sgd.main_effects(y, pair_cells, pair_assays, n_cells, n_assays)
    rows = [
        Rows.from_factors(sgd.initial_factors(len(biases), rank, 0.33, rng), biases, dtype)
        for biases in effects[1:]
    ]
    pens = sgd.penalties(1e-3, 1e-3, 0.1, pair_cells, pair_assays, n_cells, n_assays)
    count = y.size
    errors = [
        kernels.sgd_updates(
            *rows,
            y,
            UpdateRule(
                rank=rank,
                pair_cells=pair_cells,
                pair_assays=pair_assays,
                pen_cells=pens.cells,
                pen_assays=pens.assays,
                pen_bins=pens.bins,
                mu=effects.mu,
                learning_rate=0.005,
                beta1=0.9,
                beta2=0.999,
                epsilon=1e-8,
                decay=1e-6,
            ),
            stream=sgd.draw_stream(0, 0, epoch),
            first=0,
            count=count,
        )
        / count
        for epoch in range(60)
    ]
    assert errors[0] > 1
    assert errors[-1] < 0.03
    # And what was not shown: (c, a) pairs outside of the mask.
    c, a = np.nonzero(~mask)
    cells, assays, bins = (part.factors(rank) for part in rows)
    p, q, r = (part.biases(rank) for part in rows)
    imputed = effects.mu + p[c] + q[a] + r[:, np.newaxis] + bins @ (cells[c] * assays[a]).T
    assert np.mean((imputed - tensor[:, ~mask]) ** 2) < 0.1 * tensor[:, ~mask].var()


# Merging


def test_merge_of_a_case_worked_by_hand():
    before = Rows.from_factors(np.array([[1.0], [2.0], [3.0]]), np.array([0.0, 0.0, 7.0]), np.float64)
    before.scalars[:, 2] = 10
    one, other = before.copy(), before.copy()
    # Row 0: 3 updates to 1; row 1: only the second worker; row 2: nobody.
    one.values[0, :, 0] = 4, 8, 12
    one.scalars[0] = 0.4, 0.8, 13
    other.values[0, :, 0] = 8, 0, 4
    other.scalars[0] = 0.8, 0.4, 11
    other.values[1, 0, 1] = 5
    other.scalars[1] = 0.3, 0.2, 12
    merged = sgd.merge([one, other], before)
    assert merged.values[0, :, 0].tolist() == [5, 6, 10]
    np.testing.assert_allclose(merged.scalars[0], [0.5, 0.7, 13], rtol=1e-15)
    np.testing.assert_array_equal(merged.values[1:], np.stack([other.values[1], before.values[2]]))
    np.testing.assert_array_equal(merged.scalars[1:], [[0.3, 0.2, 12], [0, 0, 10]])
    assert before.scalars[0, 2] == 10


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_merge_of_one_worker_is_what_it_made(dtype):
    rng = np.random.default_rng(11)
    before, part = random_rows(rng, dtype=dtype), random_rows(rng, dtype=dtype)
    part.scalars[:, 2] = before.scalars[:, 2] + rng.integers(1, 100, len(before))
    merged = sgd.merge([part], before)
    np.testing.assert_array_equal(merged.values, part.values)
    np.testing.assert_array_equal(merged.scalars, part.scalars)
    assert merged.values.dtype == dtype
    assert not np.shares_memory(merged.values, part.values)


@pytest.mark.parametrize("seed", range(5))
def test_merge_lies_between_the_workers_and_equal_parts_stay(seed):
    rng = np.random.default_rng(seed)
    before = random_rows(rng)
    parts = []
    for _ in range(3):
        part = random_rows(rng)
        touches = rng.integers(0, 3, len(before))
        part.scalars[:, 2] = before.scalars[:, 2] + touches
        part.values[touches == 0], part.scalars[touches == 0] = (
            before.values[touches == 0],
            before.scalars[touches == 0],
        )
        parts.append(part)
    merged = sgd.merge(parts, before)
    touches = np.stack([part.touches_since(before) for part in parts])
    values = np.stack([part.values for part in parts])
    lowest = np.where(touches[:, :, np.newaxis, np.newaxis] > 0, values, np.inf).min(axis=0)
    highest = np.where(touches[:, :, np.newaxis, np.newaxis] > 0, values, -np.inf).max(axis=0)
    touched = touches.any(axis=0)
    assert (merged.values[touched] >= lowest[touched] - 1e-12).all()
    assert (merged.values[touched] <= highest[touched] + 1e-12).all()
    np.testing.assert_array_equal(merged.values[~touched], before.values[~touched])
    np.testing.assert_array_equal(merged.scalars[:, 2], before.scalars[:, 2] + touches.max(axis=0))

    equal = sgd.merge([parts[0]] * 4, before)
    np.testing.assert_allclose(equal.values, parts[0].values, rtol=1e-15)
    np.testing.assert_array_equal(equal.scalars[:, 2], parts[0].scalars[:, 2])

    stacked, scalars = values, np.stack([part.scalars for part in parts])
    again = sgd.merge([Rows(v, s) for v, s in zip(stacked, scalars, strict=True)], before)
    np.testing.assert_array_equal(again.values, merged.values)
    np.testing.assert_array_equal(again.scalars, merged.scalars)


def test_merge_refuses_what_does_not_fit():
    rng = np.random.default_rng(0)
    before = random_rows(rng)
    with pytest.raises(ValueError, match="no worker"):
        sgd.merge([], before)
    with pytest.raises(ValueError, match="worker 1 has rows"):
        sgd.merge([before, random_rows(rng, n_rows=5)], before)
    older = before.copy()
    older.scalars[0, 2] -= 1
    with pytest.raises(ValueError, match="older"):
        sgd.merge([older], before)


# The stopping rule


def feed(rule, errors):
    return [rule.add(error) for error in errors]


def test_a_falling_error_goes_on_and_is_always_the_best():
    rule = StoppingRule(SgdSettings())
    assert set(feed(rule, 1 / np.arange(1, 200))) == {Verdict.BEST}
    assert rule.best == 1 / 199
    assert rule.schedule == [(0.005, 0.9, 199)]


def test_a_rising_error_restores_as_soon_as_both_windows_are_full():
    rule = StoppingRule(SgdSettings())
    # The best is the third; from there the error rises. Two windows, 5 apart, of 15 need 20 evaluations.
    errors = [1.02, 1.01, 1.0, *np.linspace(1.1, 2, 17)]
    verdicts = feed(rule, errors)
    assert verdicts == [Verdict.BEST] * 3 + [Verdict.CONTINUE] * 16 + [Verdict.RESTORE]
    assert rule.history == [1.02, 1.01, 1]
    assert rule.learning_rate == 0.0025
    assert rule.beta1 == pytest.approx(0.8)
    assert rule.schedule == [(0.005, 0.9, 3)]
    # The windows must fill again: 19 more evaluations do not suffice, however bad they are.
    assert feed(rule, np.linspace(2, 9, 20)) == [Verdict.CONTINUE] * 19 + [Verdict.RESTORE]
    assert rule.history == [1.02, 1.01, 1]
    assert rule.beta1 == pytest.approx(0.6)
    # The second stage gave nothing and is not repeated by a refit; the third does.
    feed(rule, [0.9, 0.8])
    assert rule.schedule == [(0.005, 0.9, 3), (0.00125, pytest.approx(0.6), 2)]


def test_the_test_is_one_sided_on_the_shifted_windows():
    rng = np.random.default_rng(4)
    answers = set()
    for _ in range(300):
        errors = 1 + rng.normal(0, 1, 20) * 1e-4 + np.arange(20) * rng.normal(0, 2e-5)
        verdict = feed(StoppingRule(SgdSettings()), errors)[-1]
        # The paper's words: p/2 of the two-sided test, where the later window is the greater one.
        statistic, p = ranksums(errors[-15:] + 1e-5, errors[-20:-5])
        assert (verdict is Verdict.RESTORE) == (statistic > 0 and p / 2 < 0.05)
        answers.add(verdict is Verdict.RESTORE)
    assert answers == {True, False}


@pytest.mark.parametrize("shift", [0, 0.5, -0.5, 3, -3])
@pytest.mark.parametrize(("n_values", "n_others"), [(2, 2), (15, 15), (30, 7)])
def test_p_of_ranks_is_that_of_scipy_with_ties_too(n_values, n_others, shift):
    rng = np.random.default_rng(n_values)
    for decimals in (0, 1, 9):
        values = rng.normal(shift, 1, n_values).round(decimals)
        others = rng.normal(0, 1, n_others).round(decimals)
        expected = ranksums(values, others, alternative="greater").pvalue
        # A dozen rounding errors of float64; far in the tail that of the argument counts z² times, and z is under 6.
        assert rank_sum_p(values, others) == pytest.approx(expected, rel=1e-13)


def test_a_strongly_falling_error_is_no_reason_to_restore_though_p_is_small():
    errors = np.linspace(2, 1, 20)
    assert ranksums(errors[-15:] + 1e-5, errors[-20:-5]).pvalue / 2 < 0.05
    assert feed(StoppingRule(SgdSettings()), errors)[-1] is Verdict.BEST


def test_an_error_that_falls_by_less_than_the_smallest_improvement_restores_the_copy_last_kept():
    rule = StoppingRule(SgdSettings())
    errors = 1 - 1e-7 * np.arange(20)
    assert feed(rule, errors) == [Verdict.BEST] * 19 + [Verdict.RESTORE]
    assert rule.best == errors[18]
    assert len(rule.history) == 19


def test_restores_at_most_three_times_then_stops_by_age():
    rule = StoppingRule(SgdSettings())
    verdicts = feed(rule, [1.0])
    verdicts += feed(rule, [2.0] * 19) + feed(rule, [2.0] * 20) + feed(rule, [2.0] * 20)
    assert [i for i, verdict in enumerate(verdicts) if verdict is Verdict.RESTORE] == [19, 39, 59]
    assert rule.learning_rate == 0.005 / 8
    assert rule.beta1 == pytest.approx(0.2)
    # The best is one evaluation old after the first of these, 36 after the last.
    assert feed(rule, [2.0] * 36) == [Verdict.CONTINUE] * 35 + [Verdict.STOP]


def test_stops_when_the_best_is_too_old_without_a_restore():
    rule = StoppingRule(SgdSettings(max_restores=0))
    assert feed(rule, [1.0] + [1.5] * 36) == [Verdict.BEST] + [Verdict.CONTINUE] * 35 + [Verdict.STOP]


def test_beta1_never_falls_below_zero():
    rule = StoppingRule(SgdSettings(beta1=0.4))
    feed(rule, [1.0] * 20)
    assert rule.beta1 == 0


def test_a_checkpoint_goes_on_like_the_rule_itself():
    rng = np.random.default_rng(9)
    errors = 1 / np.arange(1, 150) ** 0.5 + 0.05 * rng.random(149)
    for cut in (0, 1, 30, 75, 120):
        rule = StoppingRule(SgdSettings())
        feed(rule, errors[:cut])
        state = json.loads(json.dumps(rule.state()))
        again = StoppingRule.from_state(SgdSettings(), state)
        assert feed(again, errors[cut:]) == feed(rule, errors[cut:])
        assert again.state() == rule.state()
        assert again.schedule == rule.schedule


@pytest.mark.parametrize("error", [float("nan"), float("inf")])
def test_a_diverged_error_is_refused(error):
    rule = StoppingRule(SgdSettings())
    with pytest.raises(ValueError, match="diverged"):
        rule.add(error)
    assert rule.history == []
