"""Conversion of half precision."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from predictd.kernels import compiled
from predictd.kernels.checks import check_array


def widen(half: NDArray[np.float16], out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """Convert float16 to float32 exactly, many times faster than `astype`, without the GIL.

    Parameters
    ----------
    half
        float16, C-contiguous, of any shape. Subnormals and infinities keep their value, NaN stays NaN.
    out
        Where to write to: float32, C-contiguous, of the same shape, sharing no memory with `half`.

    Returns
    -------
    ndarray
        `out`, or a new array.

    Raises
    ------
    TypeError, ValueError
        If a dtype, shape or memory layout is not what it must be.
    """
    check_array("half", half, np.float16, None)
    if out is None:
        out = np.empty(half.shape, np.float32)
    else:
        check_array("out", out, np.float32, half.shape, written=True)
        if np.may_share_memory(half, out):
            raise ValueError("half and out share memory")
    compiled.half.widen(half.reshape(-1).view(np.uint16), out.reshape(-1))
    return out
