"""How a small perceptron learns: least squares by Adam in mini-batches (Kingma & Ba 2015, ICLR).

Libraries of neural networks take twice as long on matrices this small, and seconds to import.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from predictd.interrupt import give_up_if_asked
from predictd.kernels import UNITS, perceptron_gradient, perceptron_size

Float32 = npt.NDArray[np.float32]

# Adam's β1, β2 and ε, as published.
_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class Layers:
    """Parameters of a perceptron's three layers: views of one array.

    Attributes
    ----------
    flat
        All of them, float32 (parameters,).
    weights, biases
        Of each layer: float32 (inputs × units) and (units,).
    """

    flat: Float32
    weights: tuple[Float32, ...]
    biases: tuple[Float32, ...]

    @classmethod
    def of_zeros(cls, n_inputs: int) -> Layers:
        """Zeros, for so many inputs."""
        flat = np.zeros(perceptron_size(n_inputs), dtype=np.float32)
        weights, biases, start = [], [], 0
        for read, given in pairwise([n_inputs, UNITS, UNITS, 1]):
            weights.append(flat[start : start + read * given].reshape(read, given))
            biases.append(flat[start + read * given : start + (read + 1) * given])
            start += (read + 1) * given
        return cls(flat, tuple(weights), tuple(biases))


def learn_perceptron(
    inputs: Float32,
    targets: Float32,
    *,
    batch: int,
    penalty: float,
    schedule: Sequence[tuple[int, float]],
    seed: int,
) -> Layers:
    """Fit a perceptron with two hidden layers of `UNITS` units (ReLU) and one output to least squares.

    Parameters
    ----------
    inputs
        float32 (samples × k).
    targets
        What it should give, float32 (samples,).
    batch
        Samples of a step.
    penalty
        On half the sum of squared weights, beside half the sum of a batch's squared errors.
    schedule
        Passes over the samples, and Adam's learning rate in them; Adam's averages begin anew for each entry.
    seed
        Of the first weights, and of the order of samples in each pass.

    Returns
    -------
    Layers
        The parameters found.

    Raises
    ------
    ValueError
        If what is found is not finite, as where what is read is not.
    Interrupted
        If a stop was asked for.
    """
    # Its numbers are the same in all versions of NumPy.
    random = np.random.RandomState(seed)
    layers = Layers.of_zeros(inputs.shape[1])
    for weights, biases in zip(layers.weights, layers.biases, strict=True):
        # Glorot & Bengio (2010, AISTATS).
        limit = np.sqrt(6.0 / sum(weights.shape))
        weights[:] = random.uniform(-limit, limit, weights.shape)
        biases[:] = random.uniform(-limit, limit, biases.shape)
    gradient = np.empty_like(layers.flat)
    for passes, rate in schedule:
        step = _Adam(layers.flat, rate)
        order = np.arange(len(inputs))
        for _ in range(passes):
            give_up_if_asked()
            random.shuffle(order)
            for start in range(0, len(inputs), batch):
                rows = order[start : start + batch]
                perceptron_gradient(layers.flat, inputs, targets, rows, penalty, gradient)
                step(gradient)
        random.seed(seed)
    if not np.isfinite(layers.flat).all():
        raise ValueError("a perceptron's weights are not finite")
    return layers


class _Adam:
    """Steps of Adam."""

    def __init__(self, parameters: Float32, rate: float) -> None:
        self._parameters, self._rate = parameters, rate
        self._gradient, self._squares = np.zeros_like(parameters), np.zeros_like(parameters)
        self._steps = 0

    def __call__(self, gradient: Float32) -> None:
        """Take a step; `gradient` of the error along the parameters."""
        self._steps += 1
        self._gradient += np.float32(1 - _BETA1) * (gradient - self._gradient)
        self._squares += np.float32(1 - _BETA2) * (gradient * gradient - self._squares)
        shorter = np.sqrt(1 - _BETA2**self._steps) / (1 - _BETA1**self._steps)
        self._parameters -= (
            np.float32(self._rate * shorter)
            * self._gradient
            / (np.sqrt(self._squares) + np.float32(_EPSILON))
        )
