"""Lowest and highest signal of each experiment, of an array or of a shard that is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hdf5plugin  # noqa: F401  # HDF5 reads signal by it.
import numpy as np
import numpy.typing as npt

from predictd.constants import BLOCK_BINS
from predictd.errors import TensorFormatError
from predictd.io.hdf5 import UNREADABLE, reading

Extents = npt.NDArray[np.float64]


def extents_of(signal: npt.NDArray[Any]) -> Extents:
    """Lowest and highest value: signal (bins,) to float64 (2,), or (bins × n) to (n × 2); NaN where all is missing."""
    ends = (np.fmin.reduce(signal, axis=0), np.fmax.reduce(signal, axis=0))
    return np.stack(ends, axis=-1).astype(np.float64)


def joined_extents(parts: npt.NDArray[np.float64]) -> Extents:
    """Extents of the whole by those of its parts: float64 (parts × n × 2) to float64 (n × 2)."""
    return np.stack([np.fmin.reduce(parts[..., 0], axis=0), np.fmax.reduce(parts[..., 1], axis=0)], axis=-1)


def extents_of_shard(path: Path) -> Extents:
    """Extents of the signal that a shard file holds, rounded as it is stored there.

    Raises
    ------
    TensorFormatError
        If the file is damaged.
    """
    try:
        with reading(path) as file:
            signal = file["signal"]
            step = max(BLOCK_BINS, int(signal.chunks[0]))
            parts = [extents_of(signal[start : start + step]) for start in range(0, len(signal), step)]
    except UNREADABLE as err:
        raise TensorFormatError(f"{path} is damaged; remove it and run the command again") from err
    return joined_extents(np.stack(parts))
