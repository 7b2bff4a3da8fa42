"""Counts of how far imputed signal is off, by what was predicted and by how much the models disagree.

All that calibration and coverage need of any number of bins is one small table of counts for each experiment.
Everything is in units of the standard deviation that is expected of the track, so that tracks of different scale can
share a table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

# Borders of predicted signal (the expected mean at 0), of the spread of the models, and of absolute residuals.
PREDICTED_EDGES: Array = np.sinh(np.linspace(-3, 5, 33))
SPREAD_EDGES: Array = 2.0 ** np.arange(-7, 2.5, 0.5)
RESIDUAL_EDGES: Array = 2.0 ** (np.arange(-27, 16) / 3)
SHAPE = (PREDICTED_EDGES.size + 1, SPREAD_EDGES.size + 1, RESIDUAL_EDGES.size + 1)
# Observed against imputed signal is counted in so many steps of each.
DENSITY_STEPS = 80
_RESIDUAL_STEP = 1 / 3
# Residuals in units of their sd are counted in steps that are finer by this.
_FINE = 8
RATIO_EDGES: Array = 2.0 ** (np.arange(-20 * 3 * _FINE, 20 * 3 * _FINE + 1) / (3 * _FINE))


class Scale(NamedTuple):
    """Mean and standard deviation, positive, that are expected of a track's transformed signal."""

    mean: float
    sd: float


class Span(NamedTuple):
    """Range of transformed signal in which observed and imputed signal is counted against each other."""

    low: float
    high: float


class ResidualCounts:
    """What one experiment's residuals come to, block by block.

    Attributes
    ----------
    counts
        int64 `SHAPE`: bins by predicted signal, spread and absolute residual.
    density
        int64 (DENSITY_STEPS × DENSITY_STEPS): bins by observed and by imputed signal, in even steps over the span.

    Parameters
    ----------
    scale
        Expected of the track.
    span
        Of the density.
    clipped
        Whether imputed signal is clipped at 0, as it is in tracks.
    """

    def __init__(self, scale: Scale, span: Span, *, clipped: bool) -> None:
        self._scale, self._span, self._clipped = scale, span, clipped
        self.counts: Counts = np.zeros(SHAPE, dtype=np.int64)
        self.density: Counts = np.zeros((DENSITY_STEPS, DENSITY_STEPS), dtype=np.int64)

    def add(
        self,
        observed: npt.NDArray[np.float32],
        imputed: npt.NDArray[np.float32],
        spread: npt.NDArray[np.float32],
    ) -> None:
        """Take a block: float32 (bins,) each, in transformed space; bins with a value that is not finite are left out.

        Parameters
        ----------
        observed, imputed
            Signal.
        spread
            Standard deviation of what the models predict.
        """
        finite = np.isfinite(observed) & np.isfinite(imputed) & np.isfinite(spread)
        y, x, s = (values[finite].astype(np.float64) for values in (observed, imputed, spread))
        if self._clipped:
            np.maximum(x, 0, out=x)
        scale = self._scale
        cells = (
            np.searchsorted(PREDICTED_EDGES, (x - scale.mean) / scale.sd, side="right"),
            np.searchsorted(SPREAD_EDGES, s / scale.sd, side="right"),
            np.searchsorted(RESIDUAL_EDGES, np.abs(y - x) / scale.sd, side="right"),
        )
        np.add.at(self.counts, cells, 1)
        np.add.at(self.density, (self._step(y), self._step(x)), 1)

    def _step(self, values: Array) -> npt.NDArray[np.intp]:
        low, high = self._span
        step = (values - low) * (DENSITY_STEPS / (high - low))
        return np.clip(step, 0, DENSITY_STEPS - 1).astype(np.intp)


def mean_squares() -> tuple[Array, Array]:
    """Mean square of spreads and of residuals in the steps between their borders, as if even in their logarithm."""
    return _squares(SPREAD_EDGES, of_zero=True), _squares(RESIDUAL_EDGES, of_zero=False)


def bins_below(counts: Counts, limits: Sequence[Array]) -> list[Array]:
    """For each predicted signal and spread, how many bins have a residual below limits: float64, as each of `limits`.

    Parameters
    ----------
    counts
        As of `ResidualCounts`.
    limits
        float64 (predicted × spread) each, in units of the track's expected standard deviation.
    """
    cumulated = np.concatenate([np.zeros((*SHAPE[:2], 1)), np.cumsum(counts, axis=2)], axis=2)
    rows, columns = np.indices(SHAPE[:2])
    found = []
    for limit in limits:
        place = 1 + np.log2(limit / RESIDUAL_EDGES[0]) / _RESIDUAL_STEP
        # The first step begins at 0: even there, not in the logarithm.
        place = np.clip(np.where(place < 1, limit / RESIDUAL_EDGES[0], place), 0, SHAPE[2])
        low = np.minimum(place.astype(np.intp), SHAPE[2] - 1)
        below, above = cumulated[rows, columns, low], cumulated[rows, columns, low + 1]
        found.append(below + (place - low) * (above - below))
    return found


def ratio_counts(counts: Counts, sd: Array) -> Array:
    """For each predicted signal, bins by |residual| / sd between the `RATIO_EDGES`.

    Parameters
    ----------
    counts
        As of `ResidualCounts`.
    sd
        float64 (predicted × spread), in units of the track's expected standard deviation.

    Returns
    -------
    float64 (predicted × len(RATIO_EDGES) − 1)
    """
    fine = np.repeat(counts.reshape(-1, SHAPE[2]) / _FINE, _FINE, axis=1)
    first = np.log2(RESIDUAL_EDGES[0]) - _RESIDUAL_STEP - np.log2(sd).ravel()
    place = np.rint((first - np.log2(RATIO_EDGES[0])) * _FINE / _RESIDUAL_STEP).astype(np.intp)
    size = RATIO_EDGES.size - 1
    places = np.clip(place[:, np.newaxis] + np.arange(fine.shape[1]), 0, size - 1)
    places += size * np.repeat(np.arange(SHAPE[0]), SHAPE[1])[:, np.newaxis]
    found = np.bincount(places.ravel(), weights=fine.ravel(), minlength=SHAPE[0] * size)
    return found.reshape(SHAPE[0], size).astype(np.float64)


def _squares(edges: Array, *, of_zero: bool) -> Array:
    low, high = edges[:-1], edges[1:]
    inside = (high**2 - low**2) / (2 * np.log(high / low))
    # Spreads below the first border are mostly exact zeros, of single models; residuals are even from 0.
    first = 0.0 if of_zero else edges[0] ** 2 / 3
    return np.concatenate([[first], inside, [2 * edges[-1] ** 2]])
