"""The kernel of small networks, against the same layers by NumPy in float64."""

from __future__ import annotations

import ctypes
import platform
import sysconfig
from pathlib import Path

import numpy as np
import pytest

from predictd.kernels import UNITS, apply_networks, compiled, compress, perceptron_gradient, perceptron_size

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


# -- how they learn -------------------------------------------------------------------------------------------------


def lesson(k, n_rows, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "parameters": (0.2 * rng.normal(size=perceptron_size(k))).astype(np.float32),
        "inputs": rng.normal(size=(70, k)).astype(np.float32),
        "targets": rng.normal(size=70).astype(np.float32),
        "rows": rng.integers(0, 70, n_rows),
    }


def gradient_by_numpy(parameters, inputs, targets, rows, penalty):
    """The gradient, and the same sums of the sizes of all terms."""
    k, n = inputs.shape[1], len(rows)
    ends = np.cumsum([k * UNITS, UNITS, UNITS**2, UNITS, UNITS])
    w1, b1, w2, b2, w3, b3 = np.split(parameters.astype(np.float64), ends)
    w1, w2 = w1.reshape(k, UNITS), w2.reshape(UNITS, UNITS)
    x, wanted = inputs[rows].astype(np.float64), targets[rows].astype(np.float64)
    within = x @ w1 + b1
    above = np.maximum(within, 0) @ w2 + b2
    # Nothing is so near to 0 that rounding could make a unit silent, or wake it.
    assert min(np.abs(within).min(), np.abs(above).min()) > 1e-6
    found = []
    for size in (lambda values: values, np.abs):
        m1, m2, m3, c1, c2, c3, read, goal = map(size, (w1, w2, w3, b1, b2, b3, x, -wanted))
        lower = (read @ m1 + c1) * (within > 0)
        upper = (lower @ m2 + c2) * (above > 0)
        errors = (upper @ m3 + c3 + goal) / n
        of_upper = errors[:, np.newaxis] * m3 * (above > 0)
        of_lower = of_upper @ m2.T * (within > 0)
        share = penalty / n
        parts = (
            read.T @ of_lower + share * m1,
            of_lower.sum(axis=0),
            lower.T @ of_upper + share * m2,
            of_upper.sum(axis=0),
            upper.T @ errors + share * m3,
            errors.sum(keepdims=True),
        )
        found.append(np.concatenate([part.ravel() for part in parts]))
    return found


# Fewer samples than the kernel takes at once, as many, more; a row more than once.
@pytest.mark.parametrize("n_rows", [1, 23, 24, 25, 200])
@pytest.mark.parametrize("k", [1, 5, 99])
def test_a_gradient_is_what_the_layers_say(k, n_rows):
    arrays = lesson(k, n_rows)
    found = np.full(perceptron_size(k), np.nan, dtype=np.float32)
    perceptron_gradient(**arrays, penalty=0.3, out=found)
    wanted, size = gradient_by_numpy(**arrays, penalty=0.3)
    # A term passes the additions of each layer up and down, those over the samples, and a few products.
    bound = (n_rows + k + 4 * UNITS + 20) * np.finfo(np.float32).eps * size
    assert (np.abs(found - wanted) <= bound).all()
    # And is much closer than that.
    np.testing.assert_allclose(found, wanted, atol=3e-6 * float(np.abs(wanted).max() + 1))


def test_a_gradient_of_nothing_known_is_nothing_known():
    arrays = lesson(4, 30)
    arrays["inputs"][arrays["rows"][3], 1] = np.nan
    found = np.empty(perceptron_size(4), dtype=np.float32)
    perceptron_gradient(**arrays, penalty=0.0, out=found)
    assert np.isnan(found[-1])


def test_a_gradient_does_not_overwrite_its_parameters():
    arrays = lesson(4, 5)
    with pytest.raises(ValueError, match="out must not be the parameters"):
        perceptron_gradient(**arrays, penalty=0.0, out=arrays["parameters"])


@pytest.mark.parametrize(
    ("changed", "wrong"),
    [
        ({"parameters": np.zeros(9, np.float32)}, "parameters must have the shape"),
        ({"inputs": np.zeros((70, 4))}, "inputs must be float32"),
        ({"targets": np.zeros(69, np.float32)}, "targets must have the shape"),
        ({"rows": np.zeros(3, np.int32)}, "rows must be int64"),
        ({"rows": np.array([0, 70])}, "the last row must lie in"),
        ({"rows": np.array([-1, 7])}, "the first row must lie in"),
        ({"rows": np.array([], dtype=np.int64)}, "0 rows of 4 inputs"),
    ],
)
def test_what_has_no_gradient_is_refused(changed, wrong):
    out = np.zeros(perceptron_size(4), dtype=np.float32)
    with pytest.raises((TypeError, ValueError), match=wrong):
        perceptron_gradient(**lesson(4, 5) | changed, penalty=0.0, out=out)


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


# -- the versions for several processors ------------------------------------------------------------------------------


class Shape(ctypes.Structure):
    """`predictd_networks` of ext/networks_core.h."""

    _fields_ = (
        ("n", ctypes.c_size_t),
        ("rows", ctypes.c_size_t),
        *((name, ctypes.c_void_p) for name in NAMES[:6]),
    )


def by_versions(name, arguments, result):
    """What the versions for vectors of 256 and of 512 bits write to copies of `result`."""
    library = ctypes.CDLL(compiled.networks.__file__)
    for version in ("plain", "wide"):
        own = result.copy()
        function = getattr(library, f"predictd_{name}_{version}")
        function.restype = None
        passed = [ctypes.c_void_p(own.ctypes.data) if one is result else one for one in arguments]
        function(
            *(ctypes.c_void_p(one.ctypes.data) if isinstance(one, np.ndarray) else one for one in passed)
        )
        yield own


def has_wide():
    """Whether the processor and the compiler have what the version for vectors of 512 bits needs."""
    flags = Path("/proc/cpuinfo")
    own = set(flags.read_text().split()) if flags.is_file() else set()
    gcc = "clang" not in (sysconfig.get_config_var("CC") or "") and platform.libc_ver()[0] == "glibc"
    return own >= {"avx512f", "avx512vl", "fma"} and gcc


@pytest.mark.skipif(not has_wide(), reason="the processor has no vectors of 512 bits")
@pytest.mark.parametrize(("n", "k"), [(1, 1), (7, 5), (48, 20), (500, 105)])
def test_wide_vectors_give_the_same_bits(n, k):
    arrays = made(n_rows=123, n_bins=n, k=k)
    shape = Shape(5, 123, *(arrays[name].ctypes.data for name in NAMES[:6]))
    out = np.zeros(n, np.float32)
    size_n, size_k = ctypes.c_size_t(n), ctypes.c_size_t(k)
    arguments = (shape, arrays["weights"], arrays["inputs"], size_n, size_k, out)
    one, other = by_versions("apply_networks", arguments, out)
    np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(one, apply_networks(**arrays))

    given = lesson(k, n)
    out = np.zeros(perceptron_size(k), np.float32)
    rows = given["rows"].astype(np.intp)
    learned = (
        given["parameters"],
        size_k,
        given["inputs"],
        given["targets"],
        rows,
        size_n,
        ctypes.c_float(0.3),
        out,
    )
    one, other = by_versions("perceptron_gradient", learned, out)
    assert one.any()
    np.testing.assert_array_equal(one, other)

    values = np.r_[arrays["inputs"].ravel(), np.float32([np.inf, -np.inf, np.nan, -0.0, 1e-42, -3e38, 3e38])]
    one, other = by_versions("compress", (values, ctypes.c_size_t(values.size)), values)
    np.testing.assert_array_equal(one, other)
