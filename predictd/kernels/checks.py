"""What is asked of arrays and numbers before a kernel sees them."""

from __future__ import annotations

from operator import index
from typing import Any

import numpy as np
from numpy.typing import NDArray


def check_array(
    name: str,
    array: NDArray[Any],
    dtype: Any,
    shape: tuple[int | None, ...] | None,
    *,
    written: bool = False,
    rows: bool = False,
) -> None:
    """Raise unless `array` is C-contiguous, of this dtype and shape; None: any length, or any shape.

    With `rows` it is enough that each of its rows is in one piece.
    """
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name} must be a NumPy array, not {type(array).__name__}")
    if array.dtype != dtype:
        raise TypeError(f"{name} must be {np.dtype(dtype)}, not {array.dtype}")
    if (
        shape is not None
        and array.shape != shape
        and (
            array.ndim != len(shape)
            or any(want not in (None, got) for want, got in zip(shape, array.shape, strict=True))
        )
    ):
        wanted = ", ".join("any" if length is None else str(length) for length in shape)
        raise ValueError(f"{name} must have the shape ({wanted}), not {array.shape}")
    if rows and array.size:
        array = array[(0,) * (array.ndim - 1)]
    if not array.flags.c_contiguous:
        raise ValueError(f"{name} must be C-contiguous")
    if written and not array.flags.writeable:
        raise ValueError(f"{name} must be writeable")


def check_range(name: str, number: int, low: int, high: int) -> None:
    """Raise ValueError for a number below `low`, or not below `high`."""
    if not low <= index(number) < high:
        raise ValueError(f"{name} must lie in [{low}, {high}), not {number}")


def check_places(places: NDArray[Any], n: int) -> bool:
    """Whether there are places, int64 or int32; raises ValueError where one is not in [0, n)."""
    check_array("keys", places, np.int64 if places.dtype == np.int64 else np.int32, (None,))
    if places.size and not (places.min() >= 0 and places.max() < n):
        raise ValueError(f"keys must lie in [0, {n})")
    return bool(places.size)
