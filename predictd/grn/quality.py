"""How well the regulators that are found predict their target in samples that had no part in finding them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from predictd.grn.linear import PENALTIES, mean_and_sd
from predictd.grn.methods import Method, Problem
from predictd.matrix import of_samples, row, rows, varies

FOLDS = 5
REGULATORS = 10
LEAST_SAMPLES = 2 * FOLDS


def held_out_r2(
    problem: Problem, genes: Sequence[int], make: Callable[[Problem], Method], *, seed: int
) -> NDArray[np.float64]:
    """Held-out R² of targets, by five-fold cross-validation over samples.

    In each fold the method finds the target's ten most important regulators in the other samples, and a ridge
    regression on them, fitted to those samples too, predicts the samples left out. The regression is the same for all
    methods, so that what they find is compared, and nothing is selected on the samples that are scored.

    Parameters
    ----------
    problem
        All samples.
    genes
        Positions of the targets.
    make
        The method, for the samples of a fold.
    seed
        Of the folds, which are the same for all targets.

    Returns
    -------
    ndarray
        (len(genes),) float64: 1 − Σ(y − ŷ)² / Σ(y − ȳ)², ȳ the mean of the fold's other samples: 0 is no better than
        that mean, under 0 is worse. NaN for constant genes.
    """
    n_samples = problem.expression.shape[1]
    fold = np.random.default_rng(seed).permutation(np.arange(n_samples) % FOLDS)
    errors, totals = np.zeros(len(genes)), np.zeros(len(genes))
    for number in range(FOLDS):
        train, test = fold != number, fold == number
        method = make(replace(problem, expression=of_samples(problem.expression, train)))
        for place, gene in enumerate(genes):
            importances = method.importances(gene)
            best = np.argsort(-importances, kind="stable")[:REGULATORS]
            chosen = problem.regulators[best[importances[best] > 0]]
            y = row(problem.expression, gene)
            mean = y[train].mean()
            predicted = mean + _predicted(rows(problem.expression, chosen), y, train, test)
            errors[place] += np.square(y[test] - predicted).sum()
            totals[place] += np.square(y[test] - mean).sum()
    known = varies(problem.expression)[np.asarray(genes, dtype=np.intp)]
    ratio = np.divide(errors, totals, out=np.full(len(genes), np.nan), where=known & (totals > 0))
    return 1.0 - ratio


def _predicted(
    x: NDArray[np.float64], y: NDArray[np.float64], train: NDArray[np.bool_], test: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """What a ridge regression adds to the mean, its penalty chosen by the error of leaving single samples out."""
    if not len(x):
        return np.zeros(int(test.sum()))
    mean, sd = mean_and_sd(x[:, train])
    z = np.divide(x - mean, sd, out=np.zeros_like(x), where=sd > 0)
    own, centred = z[:, train], y[train] - y[train].mean()
    left, values, right = np.linalg.svd(own, full_matrices=False)
    squares = np.square(values)
    penalties = PENALTIES[:, np.newaxis] * max(float(squares.mean()), 1e-300)
    shrunk = squares / (squares + penalties)
    fitted = (shrunk * (right @ centred)) @ right
    leverage = shrunk @ np.square(right) + 1.0 / centred.size
    left_out = np.square((centred - fitted) / np.maximum(1.0 - leverage, 1e-9)).mean(axis=1)
    best = int(np.argmin(left_out))
    coefficients = left @ (values / (squares + penalties[best]) * (right @ centred))
    predicted: NDArray[np.float64] = coefficients @ z[:, test]
    return predicted
