"""How a perceptron learns, against scikit-learn with the same draws."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor

from predictd.kernels import UNITS
from predictd.model.stack.perceptron import learn_perceptron

pytestmark = pytest.mark.numeric

SCHEDULE = ((3, 2e-3), (2, 4e-4))


def lesson(n_samples: int, n_inputs: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n_samples)
    inputs = rng.normal(size=(n_samples, n_inputs)).astype(np.float32)
    wanted = np.maximum(inputs[:, 0], 0) * inputs[:, 1] + 0.1 * rng.normal(size=n_samples)
    return inputs, wanted.astype(np.float32)


# The second has a last batch of one sample; the third is less than a batch.
@pytest.mark.parametrize(("n_samples", "batch", "n_inputs"), [(1000, 200, 5), (1001, 100, 2), (50, 64, 17)])
def test_it_learns_what_scikit_learn_does(n_samples, batch, n_inputs):
    inputs, wanted = lesson(n_samples, n_inputs)
    ours = learn_perceptron(inputs, wanted, batch=batch, penalty=0.3, schedule=SCHEDULE, seed=11)
    oracle = MLPRegressor(
        hidden_layer_sizes=(UNITS, UNITS),
        alpha=0.3,
        batch_size=min(batch, n_samples),
        random_state=11,
        warm_start=True,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for passes, rate in SCHEDULE:
            oracle.set_params(max_iter=passes, learning_rate_init=rate).fit(inputs, wanted)
    # Steps of Adam are by a thousandth and carry rounding (1.2e-7 of what is added) on; some fifty steps.
    for found, expected in zip(
        (*ours.weights, *ours.biases), (*oracle.coefs_, *oracle.intercepts_), strict=True
    ):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert max(abs(weights).max() for weights in ours.weights) > 0.3


def test_what_it_learns_is_there():
    inputs, wanted = lesson(20_000, 5)
    found = learn_perceptron(inputs, wanted, batch=256, penalty=1e-2, schedule=((8, 2e-3),), seed=0)
    given = inputs
    for weights, biases in zip(found.weights[:-1], found.biases[:-1], strict=True):
        given = np.maximum(given @ weights + biases, 0)
    given = (given @ found.weights[-1] + found.biases[-1])[:, 0]
    # The noise has a variance of 0.01.
    assert np.mean((given - wanted) ** 2) < 0.03 < 0.1 * np.var(wanted)


def test_the_same_seed_gives_the_same_bits_and_another_others():
    inputs, wanted = lesson(300, 4)
    first, again, other = (
        learn_perceptron(inputs, wanted, batch=50, penalty=0.0, schedule=((2, 1e-2),), seed=seed).flat
        for seed in (1, 1, 2)
    )
    assert first.tobytes() == again.tobytes() != other.tobytes()


def test_what_is_not_finite_is_refused():
    inputs, wanted = lesson(100, 4)
    inputs[7, 2] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        learn_perceptron(inputs, wanted, batch=50, penalty=0.0, schedule=((1, 1e-2),), seed=1)
