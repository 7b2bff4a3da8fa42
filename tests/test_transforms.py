"""Transforms: hand-worked values, the way back, what is clipped."""

from __future__ import annotations

import math

import numpy as np
import pytest

from predictd.model.transforms import TRANSFORMS

hypothesis = pytest.importorskip("hypothesis")
given = hypothesis.given
st = hypothesis.strategies

NAMES = sorted(TRANSFORMS)
# 0 and 1 are seen 0.001 inside of the open interval that the logit takes.
EDGE = math.log(0.999 / 0.001)


def test_there_are_the_transforms_of_the_track_table():
    assert NAMES == ["arcsinh", "log1p", "logit", "none"]


@pytest.mark.parametrize(
    ("name", "signal", "stored"),
    [
        ("arcsinh", 0.0, 0.0),
        ("arcsinh", 1.0, math.log(1 + math.sqrt(2))),
        ("arcsinh", 300.0, math.log(300 + math.sqrt(90001))),
        ("log1p", 0.0, 0.0),
        ("log1p", math.e - 1, 1.0),
        ("logit", 0.5, 0.0),
        ("logit", 0.0, -EDGE),
        ("logit", 1.0, EDGE),
        ("none", -2.5, -2.5),
    ],
)
def test_values_worked_by_hand(name, signal, stored):
    forward = TRANSFORMS[name].forward(np.array([signal], dtype=np.float64))
    np.testing.assert_allclose(forward, [stored], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "lower", "upper", "clipped"),
    [
        ("arcsinh", 0.0, np.inf, True),
        ("log1p", 0.0, np.inf, True),
        ("logit", 0.0, 1.0, False),
        ("none", -np.inf, np.inf, False),
    ],
)
def test_what_they_take(name, lower, upper, clipped):
    transform = TRANSFORMS[name]
    assert (transform.lower, transform.upper, transform.clipped) == (lower, upper, clipped)


@pytest.mark.parametrize("name", NAMES)
@given(fractions=st.lists(st.floats(0, 1, width=32), min_size=1, max_size=20))
def test_the_way_back(name, fractions):
    scale = 1.0 if name == "logit" else 1e4
    signal = np.array(fractions, dtype=np.float32) * np.float32(scale)
    stored = TRANSFORMS[name].forward(signal)
    back = TRANSFORMS[name].to_track(stored)
    assert stored.dtype == back.dtype == np.float32
    np.testing.assert_allclose(back, signal, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", NAMES)
def test_order_is_kept(name):
    signal = np.linspace(0, 1, 101)
    assert (np.diff(TRANSFORMS[name].forward(signal)) > 0).all()
    stored = np.linspace(-5, 5, 101)
    assert (np.diff(TRANSFORMS[name].to_track(stored)) >= 0).all()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("arcsinh", [0.0, math.sinh(0.5)]),
        ("log1p", [0.0, math.exp(0.5) - 1]),
        ("logit", [(1 / (1 + math.exp(0.5)) - 1e-3) / 0.998, (1 / (1 + math.exp(-0.5)) - 1e-3) / 0.998]),
        ("none", [-0.5, 0.5]),
    ],
)
def test_imputed_signal_in_the_unit_of_the_track(name, expected):
    np.testing.assert_allclose(TRANSFORMS[name].to_track(np.array([-0.5, 0.5])), expected, rtol=1e-12)


def test_fractions_stay_fractions():
    np.testing.assert_array_equal(TRANSFORMS["logit"].to_track(np.array([-50.0, 50.0])), [0.0, 1.0])


@pytest.mark.parametrize("name", NAMES)
def test_missing_stays_missing(name):
    signal = np.array([np.nan, 0.5], dtype=np.float32)
    stored = TRANSFORMS[name].forward(signal)
    np.testing.assert_array_equal(np.isnan(stored), [True, False])
    np.testing.assert_array_equal(np.isnan(TRANSFORMS[name].to_track(stored)), [True, False])
