"""Means over windows along the genome."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from predictd.kernels import compiled
from predictd.kernels.checks import check_array, check_range

Float32 = NDArray[np.float32]


def run_means(signal: Float32, rows: NDArray[np.int64], half_width: int, out: Float32) -> None:
    """Write means over windows around some bins of one run of consecutive bins.

    Sums are in double precision. A sum goes along with its window: what comes in is added, what goes out subtracted. A
    window that shares few bins with the one before is summed from scratch, which reads fewer bins; and so is one whose
    sum is so much smaller than before that rounding would show, as after an artefact.

    Parameters
    ----------
    signal
        float32 (bins × k); NaN is not observed.
    rows
        The bins, int64, ascending.
    half_width
        How many bins to either side belong to a window, as far as the run goes.
    out
        float32 (rows × k): means of what is observed; NaN where nothing is.

    Raises
    ------
    TypeError, ValueError
        If a dtype, shape or memory layout is not what it must be, or a row does not exist.
    """
    check_array("signal", signal, np.float32, (None, None))
    check_array("rows", rows, np.int64, (None,))
    check_array("out", out, np.float32, (len(rows), signal.shape[1]), written=True)
    check_range("half_width", half_width, 0, 2**31)
    if not out.size:
        return
    check_range("the first row", rows[0], 0, len(signal))
    check_range("the last row", rows[-1], 0, len(signal))
    if (rows[1:] < rows[:-1]).any():
        raise ValueError("rows must ascend")
    compiled.windows.window_means(signal, rows, half_width, np.empty(3 * signal.shape[1]), out)
