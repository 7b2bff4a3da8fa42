"""Closer bounds on rounding: that a test keeps them says that a processor which rounds otherwise will keep its own.

`pytest --margin 3` divides the bounds of `pytest.approx` and `numpy.testing.assert_allclose` by 3. Bounds above
`LARGEST` are about sampling or descents, and stay.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

LARGEST = 1e-4


def demand(margin: float) -> None:
    """Divide bounds on rounding by this from now on, in this process."""
    close, approx = np.testing.assert_allclose, pytest.approx

    def narrowed(bound: Any) -> Any:
        return bound / margin if bound is not None and np.max(bound) <= LARGEST else bound

    def assert_allclose(actual: Any, desired: Any, rtol: Any = 1e-7, atol: Any = 0, **options: Any) -> None:
        close(actual, desired, narrowed(rtol), narrowed(atol), **options)

    def closer(expected: Any, rel: Any = None, abs: Any = None, **options: Any) -> Any:
        # What approx takes where neither is given.
        if rel is None and abs is None:
            rel, abs = 1e-6, 1e-12
        return approx(expected, narrowed(rel), narrowed(abs), **options)

    np.testing.assert_allclose, pytest.approx = assert_allclose, closer
