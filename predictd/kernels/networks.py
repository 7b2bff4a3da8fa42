"""Small neural networks at many bins, and what they read."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from predictd.kernels import compiled
from predictd.kernels.checks import check_array, check_range

Float32 = NDArray[np.float32]

# Units of each hidden layer.
UNITS: int = compiled.networks.UNITS


def apply_networks(
    first: Float32,
    first_bias: Float32,
    second: Float32,
    second_bias: Float32,
    last: Float32,
    last_bias: Float32,
    weights: Float32,
    inputs: Float32,
) -> Float32:
    """Weighted sum of what R perceptrons give that have two hidden layers (ReLU) of `UNITS` units.

    All arrays are float32 and C-contiguous. The result has the same bits for a bin whatever the other bins are;
    processors with fused multiply-adds (all of the last ten years) give other last bits than those without.

    Parameters
    ----------
    first, first_bias
        (R × rows × UNITS) and (R × UNITS).
    second, second_bias
        (R × UNITS × UNITS) and (R × UNITS).
    last, last_bias
        (R × UNITS) and (R,).
    weights
        (R,): networks without weight are left out.
    inputs
        (bins × k), 0 < k ≤ rows: the other rows of `first` are not read.

    Returns
    -------
    float32 (bins,)

    Raises
    ------
    TypeError, ValueError
        If a dtype, shape or memory layout is not what it must be.
    """
    check_array("first", first, np.float32, (None, None, UNITS))
    n_networks, n_rows, _ = first.shape
    check_array("first_bias", first_bias, np.float32, (n_networks, UNITS))
    check_array("second", second, np.float32, (n_networks, UNITS, UNITS))
    check_array("second_bias", second_bias, np.float32, (n_networks, UNITS))
    check_array("last", last, np.float32, (n_networks, UNITS))
    check_array("last_bias", last_bias, np.float32, (n_networks,))
    check_array("weights", weights, np.float32, (n_networks,))
    check_array("inputs", inputs, np.float32, (None, None))
    check_range("columns of inputs", inputs.shape[1], 1, n_rows + 1)
    out = np.zeros(len(inputs), dtype=np.float32)
    if n_networks and len(inputs):
        compiled.networks.apply(first, first_bias, second, second_bias, last, last_bias, weights, inputs, out)
    return out


def perceptron_size(n_inputs: int) -> int:
    """How many parameters a perceptron has that reads so many inputs, with two hidden layers of `UNITS` units."""
    return (n_inputs + 1) * UNITS + (UNITS + 1) * UNITS + UNITS + 1


def perceptron_gradient(
    parameters: Float32,
    inputs: Float32,
    targets: Float32,
    rows: NDArray[np.intp],
    penalty: float,
    out: Float32,
) -> None:
    """Write how a perceptron's error at some rows changes along its parameters.

    The error is half the mean of squared errors, and `penalty` / (2 · rows) times the sum of squared weights. Sums have
    one order, and the same bits on all processors with fused multiply-adds.

    Parameters
    ----------
    parameters
        float32 (`perceptron_size(k)`,): weights (k × UNITS) and biases (UNITS) of the first layer, (UNITS × UNITS) and
        (UNITS) of the second, (UNITS) and (1) of the last, one after the other.
    inputs, targets
        float32 (samples × k) and (samples,), k > 0.
    rows
        Of samples, at least one; each must exist.
    penalty
        See above.
    out
        float32, as `parameters`.

    Raises
    ------
    TypeError, ValueError
        If a dtype, shape or memory layout is not what it must be, or there is no such row.
    """
    check_array("inputs", inputs, np.float32, (None, None))
    n_samples, k = inputs.shape
    check_array("parameters", parameters, np.float32, (perceptron_size(k),))
    check_array("out", out, np.float32, parameters.shape, written=True)
    check_array("targets", targets, np.float32, (n_samples,))
    check_array("rows", rows, np.intp, (None,))
    if np.may_share_memory(out, parameters):
        raise ValueError("out must not be the parameters")
    if not rows.size or not k:
        raise ValueError(f"{rows.size} rows of {k} inputs have no gradient")
    check_range("the first row", rows.min(), 0, n_samples)
    check_range("the last row", rows.max(), 0, n_samples)
    compiled.networks.gradient(parameters, inputs, targets, rows, penalty, out)


def compress(values: Float32) -> None:
    """Replace values by sign(value)·log(1 + |value|), with an error of at most 3·10⁻⁷ · max(1, |result|).

    Processors without fused multiply-adds, and builds that cannot choose instructions when they run (musl, or Clang on
    x86), give other last bits.

    Parameters
    ----------
    values
        float32, C-contiguous, of any shape. What is not finite stays.

    Raises
    ------
    TypeError, ValueError
        If the dtype or memory layout is not what it must be.
    """
    check_array("values", values, np.float32, None, written=True)
    if values.size:
        compiled.networks.compress(values.reshape(-1))
