"""The kernel of small networks, against the same layers by NumPy in float64."""

from __future__ import annotations

import numpy as np
import pytest

from predictd.kernels import UNITS, apply_networks, compress

pytestmark = pytest.mark.numeric

NAMES = ("first", "first_bias", "second", "second_bias", "last", "last_bias", "weights", "inputs")


def made(n_networks=5, n_rows=23, n_bins=50, k=None, seed=0):
    rng = np.random.default_rng(seed)
    shapes = (
        (n_networks, n_rows, UNITS),
        (n_networks, UNITS),
        (n_networks, UNITS, UNITS),
        (n_networks, UNITS),
        (n_networks, UNITS),
        (n_networks,),
        (n_networks,),
        (n_bins, n_rows if k is None else k),
    )
    return {
        name: rng.normal(size=shape).astype(np.float32) for name, shape in zip(NAMES, shapes, strict=True)
    }


def by_numpy(first, first_bias, second, second_bias, last, last_bias, weights, inputs):
    """The sum, and that of the sizes of all its terms, whose rounding is at most the kernel's error."""
    x = inputs.astype(np.float64)
    total, size = np.zeros((2, len(x)))
    for r, weight in enumerate(weights.astype(np.float64)):
        w1, w2, w3 = (part[r].astype(np.float64) for part in (first[:, : x.shape[1]], second, last))
        hidden = np.maximum(x @ w1 + first_bias[r], 0)
        above = np.maximum(hidden @ w2 + second_bias[r], 0)
        total += weight * (above @ w3 + last_bias[r])
        sizes = np.abs(x) @ np.abs(w1) + np.abs(first_bias[r])
        sizes = sizes @ np.abs(w2) + np.abs(second_bias[r])
        size += np.abs(weight) * (sizes @ np.abs(w3) + np.abs(last_bias[r]))
    return total, size


@pytest.mark.parametrize("n_bins", [1, 2, 3, 4, 7, 300])
@pytest.mark.parametrize(("n_rows", "k"), [(1, 1), (23, 23), (99, 82)])
def test_it_is_what_the_layers_say(n_bins, n_rows, k):
    arrays = made(n_rows=n_rows, n_bins=n_bins, k=k)
    wanted, size = by_numpy(**arrays)
    # A term passes k + 2 · UNITS additions and a few products on its way through three layers and the weights.
    bound = (k + 2 * UNITS + 20) * np.finfo(np.float32).eps * size
    assert (np.abs(apply_networks(**arrays) - wanted) <= bound).all()
    # And is much closer than that.
    np.testing.assert_allclose(apply_networks(**arrays), wanted, atol=1e-5 * float(np.abs(wanted).max() + 1))


def test_a_bin_has_the_same_bits_whatever_the_others_are():
    arrays = made(n_bins=100)
    whole = apply_networks(**arrays)
    for start, stop in ((0, 1), (1, 3), (5, 100), (98, 100)):
        some = apply_networks(**arrays | {"inputs": arrays["inputs"][start:stop]})
        np.testing.assert_array_equal(some, whole[start:stop])


def test_networks_without_weight_are_left_out():
    arrays = made()
    arrays["weights"][[1, 4]] = 0
    arrays["first"][1] = np.nan
    kept = {name: array if name == "inputs" else array[[0, 2, 3]] for name, array in arrays.items()}
    np.testing.assert_array_equal(apply_networks(**arrays), apply_networks(**kept))
    assert not apply_networks(**arrays | {"weights": np.zeros(5, np.float32)}).any()


def test_nothing_known_of_a_bin_stays_so():
    arrays = made(n_bins=4)
    arrays["inputs"][2, 7] = np.nan
    assert np.isnan(apply_networks(**arrays)).tolist() == [False, False, True, False]


def test_no_bins_and_no_networks():
    assert apply_networks(**made(n_bins=0)).shape == (0,)
    assert apply_networks(**made(n_networks=0, n_bins=3)).tolist() == [0, 0, 0]


@pytest.mark.parametrize("name", NAMES)
def test_what_does_not_fit_is_refused(name):
    arrays = made()
    with pytest.raises(TypeError, match=f"{name} must be float32"):
        apply_networks(**arrays | {name: arrays[name].astype(np.float64)})
    with pytest.raises(ValueError, match=r"must have the shape|must lie in"):
        apply_networks(**arrays | {name: np.zeros((*arrays[name].shape[:-1], 77), np.float32)})


# -- what networks read ---------------------------------------------------------------------------------------------


def test_values_are_compressed():
    rng = np.random.default_rng(0)
    values = np.exp(rng.uniform(-40, 88, (1001, 7))) * rng.choice([-1, 1], (1001, 7))
    values[:5, 0] = 0.0, 1.0, -1.0, 1e-12, np.finfo(np.float32).max
    values = values.astype(np.float32)
    found = values.copy()
    compress(found)
    exact = np.sign(values) * np.log1p(np.abs(values.astype(np.float64)))
    # The rounding of 1 + |value|, and of some operations at the end.
    np.testing.assert_allclose(found, exact, rtol=3e-7, atol=3e-7)


def test_what_is_not_finite_stays_and_zeros_keep_their_sign():
    values = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0], dtype=np.float32)
    found = values.copy()
    compress(found)
    np.testing.assert_array_equal(found, values)
    assert np.signbit(found).tolist()[2:] == [True, False, True]


def test_a_value_does_not_depend_on_what_is_beside_it():
    rng = np.random.default_rng(1)
    values = rng.normal(0, 100, 1000).astype(np.float32)
    together, alone = values.copy(), values.copy()
    compress(together)
    for index in range(len(alone)):
        compress(alone[index : index + 1])
    assert together.tobytes() == alone.tobytes()


@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        (np.ones(3), "float32, not float64"),
        (np.ones((4, 4), dtype=np.float32)[:, ::2], "C-contiguous"),
        (np.broadcast_to(np.float32(1), (3,)), "must be"),
    ],
)
def test_what_compress_does_not_take(values, wrong):
    with pytest.raises((TypeError, ValueError), match=wrong):
        compress(values)
