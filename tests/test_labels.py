"""The Gaussian model of labels, leaving tracks out in closed form, and greedy design: against plain linear algebra."""

from __future__ import annotations

import numpy as np
import pytest

from predictd.model.labels.design import choose_experiments, conditional_covariance
from predictd.model.labels.labels import Similarity, fit_effects, fit_similarity, standardise
from predictd.model.labels.leave_out import (
    leave_one_out,
    leave_two_out,
    matches,
    matches_left_out,
    matches_of_predictors,
)
from predictd.model.moments import moments

pytestmark = pytest.mark.numeric

N_CELLS, N_ASSAYS = 5, 4


@pytest.fixture(scope="module")
def made() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Signal of 14 tracks (bins × 14) and their cell types and assays."""
    rng = np.random.default_rng(3)
    pairs = np.sort(rng.choice(N_CELLS * N_ASSAYS, 14, replace=False))
    cells, assays = np.divmod(pairs, N_ASSAYS)
    by_assay, by_cell = rng.normal(size=(3000, N_ASSAYS)), rng.normal(size=(3000, N_CELLS))
    signal = by_assay[:, assays] + by_cell[:, cells] + rng.normal(size=(3000, 14)) + assays + 0.1 * cells
    return signal.astype(np.float32), cells, assays


def predicted(signal: np.ndarray, k_own: np.ndarray, k_across: np.ndarray) -> np.ndarray:
    """Prediction by tracks (bins × n) of one pair, given their covariances among themselves and with it."""
    return signal @ np.linalg.solve(k_own, k_across)


def test_tracks_are_left_out_as_if_they_were_not_there(made):
    signal, cells, assays = made
    standard = standardise(moments(signal))
    x = (signal - standard.means) / standard.deviations
    r = standard.correlations
    np.testing.assert_allclose(r, np.corrcoef(signal.T), atol=2e-6)
    similarity = fit_similarity(r, cells, assays, N_CELLS, N_ASSAYS)
    k = similarity.covariance(cells, assays)
    assert np.linalg.eigvalsh(k).min() > 0 and (np.diag(k) == 1).all()

    single = leave_one_out(k, r)
    match, own = leave_two_out(k, r)
    free = np.array([i for i in range(N_CELLS * N_ASSAYS) if i not in set(cells * N_ASSAYS + assays)])
    to_free = similarity.between(cells, assays, *np.divmod(free, N_ASSAYS))
    of_free = matches_of_predictors(k, r, to_free)
    for i in range(14):
        rest = np.delete(np.arange(14), i)
        guess = predicted(x[:, rest], k[np.ix_(rest, rest)], k[rest, i])
        assert single.covariance[i] == pytest.approx(np.mean(x[:, i] * guess), abs=1e-5)
        assert single.variance[i] == pytest.approx(np.mean(guess**2), abs=1e-5)
        assert match[i, i] == pytest.approx(np.corrcoef(x[:, i], guess)[0, 1], abs=1e-5)
        for column in range(len(free)):
            guess = predicted(x[:, rest], k[np.ix_(rest, rest)], to_free[rest, column])
            assert of_free[i, column] == pytest.approx(np.corrcoef(x[:, i], guess)[0, 1], abs=1e-5)
        for j in rest:
            both = np.delete(np.arange(14), [i, j])
            for label, found in ((j, match[i, j]), (i, own[i, j])):
                guess = predicted(x[:, both], k[np.ix_(both, both)], k[both, label])
                assert found == pytest.approx(np.corrcoef(x[:, i], guess)[0, 1], abs=1e-5)

    # Two tracks outside.
    inside, outside = np.arange(12), np.array([12, 13])
    k12, r12, toward = k[:12, :12], r[:12, :12], r[np.ix_(inside, outside)]
    covariance, variance = matches(k12, r12, to_free[:12], toward)
    guess = x[:, :12] @ np.linalg.solve(k12, to_free[:12])
    np.testing.assert_allclose(covariance, x[:, outside].T @ guess / len(x), atol=1e-5)
    np.testing.assert_allclose(variance, (guess**2).mean(axis=0), atol=1e-5)
    of_labels = matches_left_out(k12, r12, toward)
    rest = np.arange(1, 12)
    guess = predicted(x[:, rest], k[np.ix_(rest, rest)], k[rest, 0])
    assert of_labels[1, 0] == pytest.approx(np.corrcoef(x[:, 13], guess)[0, 1], abs=1e-5)


def test_similarities_are_found_where_there_are_many_tracks():
    rng = np.random.default_rng(0)
    cells, assays = (axis.ravel() for axis in np.meshgrid(np.arange(30), np.arange(6), indexing="ij"))
    loadings = rng.uniform(0.2, 0.6, size=(6, 2))
    common = loadings @ loadings.T
    alpha = 0.2 * np.ones((6, 6))
    np.fill_diagonal(alpha, 0.95 - np.diag(common))
    gamma = np.eye(30)
    gamma[0, 1] = gamma[1, 0] = 0.8
    truth = Similarity(common, alpha, gamma)
    found = fit_similarity(truth.covariance(cells, assays), cells, assays, 30, 6)
    np.testing.assert_allclose(found.common, common, atol=0.02)
    np.testing.assert_allclose(found.assays[~np.eye(6, dtype=bool)], 0.2, atol=0.03)
    assert found.cells[0, 1] > 0.3 and np.abs(found.cells[2:, :2]).max() < 0.1


def test_effects_are_those_of_the_others_and_bear_outliers():
    cells, assays = (axis.ravel() for axis in np.meshgrid(np.arange(8), np.arange(6), indexing="ij"))
    values = 0.3 * cells - 0.5 * assays + 2.0
    values[10] += 40.0
    effects = fit_effects(values, cells, assays, 8, 6)
    others = np.arange(48) != 10
    assert np.abs(effects.expected - values)[others].max() < 0.35
    assert values[10] - effects.expected[10] == pytest.approx(40.0, abs=0.5)
    left_out = fit_effects(np.where(others, values, np.nan), cells, assays, 8, 6, used=others)
    assert left_out.expected[10] == pytest.approx(effects.expected[10], abs=0.2)
    exact = fit_effects(np.ones(48), cells, assays, 8, 6)
    np.testing.assert_allclose(exact.expected, 1.0, atol=1e-6)


def test_conditional_covariance_and_greedy_choice(made):
    signal, cells, assays = made
    s = moments(signal)
    free = np.array([i for i in range(N_CELLS * N_ASSAYS) if i not in set(cells * N_ASSAYS + assays)])
    pairs = np.divmod(free, N_ASSAYS)
    given = conditional_covariance(s, (cells, assays), pairs, N_CELLS, N_ASSAYS)
    standard = standardise(s)
    similarity = fit_similarity(standard.correlations, cells, assays, N_CELLS, N_ASSAYS)
    scale = np.exp(fit_effects(np.log(standard.deviations), cells, assays, N_CELLS, N_ASSAYS).of(*pairs))
    every = (np.append(cells, pairs[0]), np.append(assays, pairs[1]))
    whole = similarity.covariance(*every)
    # The inverse of the covariance given the others is a block of the inverse.
    expected = np.linalg.inv(np.linalg.inv(whole)[14:, 14:]) * np.outer(scale, scale)
    np.testing.assert_allclose(given, expected, rtol=1e-8)

    targets = np.arange(len(free)) != 2
    candidates = np.arange(len(free)) != 0
    picks = choose_experiments(given, targets, candidates, 3)

    def left(chosen: list[int]) -> float:
        if not chosen:
            return float(np.diag(given)[targets].sum())
        block = given[np.ix_(chosen, chosen)]
        known = given - given[:, chosen] @ np.linalg.solve(block, given[chosen])
        return float(np.diag(known)[targets].sum())

    chosen: list[int] = []
    for pick in picks:
        gains = {i: left(chosen) - left([*chosen, i]) for i in np.flatnonzero(candidates) if i not in chosen}
        assert pick.index == max(gains, key=gains.__getitem__)
        assert pick.gain == pytest.approx(gains[pick.index], rel=1e-8)
        chosen.append(pick.index)
    costs = np.ones(len(free))
    costs[picks[0].index] = 100.0
    assert choose_experiments(given, targets, candidates, 1, costs=costs)[0].index != picks[0].index
