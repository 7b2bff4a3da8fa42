"""Whether transformed signal fits the precision in which a tensor stores it: neither too large nor too small."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from predictd.errors import TrackError
from predictd.io.tensor.extents import Extents
from predictd.io.tensor.layout import Places
from predictd.pairs import Experiment
from predictd.wording import some
from predictd.workflows.tensor.inputs import Dtype
from predictd.workflows.tensor.sources import SignalSource

log = logging.getLogger(__name__)

# The largest value of a track has to be so many times the smallest one that keeps all digits: 2^-14 in float16. Then
# values down to a 16th of the largest keep them, and others are wrong by at most 2^-25, 0.003 % of the largest.
_ROOM = 16
# Tracks that a message names before it counts the rest.
_NAMED = 3


def as_stored(
    values: npt.NDArray[np.float32], dtype: Dtype, source: SignalSource, places: Places
) -> npt.NDArray[Any]:
    """Transformed signal of an experiment, rounded as a tensor stores it.

    Parameters
    ----------
    values
        float32 (bins,), NaN where missing.
    dtype
        Stored precision.
    source, places
        What was read, and where, for the message.

    Raises
    ------
    TrackError
        If there is a value that it cannot store.
    """
    if np.nanmax(np.abs(values), initial=0.0) > largest(dtype):
        raise TrackError(
            f"{source.named}: signal of {source.label} on {some(places.chroms)} is too large for "
            f"{dtype}; ingest with `dtype` float32, or give the assay a transform"
        )
    return values.astype(dtype)


def largest(dtype: Dtype) -> float:
    """The largest number that can be stored."""
    return float(np.finfo(dtype).max)


def warn_too_small(experiments: Sequence[Experiment], extents: Extents, dtype: Dtype) -> None:
    """Log a warning of tracks that vary, but whose signal is so small that it loses digits when it is stored.

    Parameters
    ----------
    experiments
        n of them.
    extents
        float64 (n × 2): lowest and highest transformed signal of each over all bins, before it is rounded.
    dtype
        Stored precision.
    """
    limits = np.finfo(dtype)
    smallest = float(limits.smallest_normal)
    highest = np.abs(extents).max(axis=1)
    small = np.flatnonzero((highest < _ROOM * smallest) & (extents[:, 0] < extents[:, 1]))
    if small.size:
        log.warning(
            "signal too small for %s in %s: it keeps %d digits of values from %.1g (transformed), and rounds smaller "
            "ones to multiples of %.1g; ingest with `dtype` float32, or scale these tracks",
            dtype,
            some((f"{experiments[i]} (at most {highest[i]:.1g})" for i in small.tolist()), _NAMED),
            limits.precision,
            smallest,
            float(limits.smallest_subnormal),
        )
