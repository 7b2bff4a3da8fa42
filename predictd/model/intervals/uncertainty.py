"""How far off imputed signal is: the models' spread, and a residual level calibrated on held-out experiments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from predictd.errors import DataError
from predictd.model.intervals.residuals import (
    PREDICTED_EDGES,
    RATIO_EDGES,
    Counts,
    Scale,
    bins_below,
    mean_squares,
    ratio_counts,
)
from predictd.pairs import Experiment, axes

Array = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]

# Nominal shares of the intervals that are calibrated.
LEVELS = (0.25, 0.5, 0.6827, 0.8, 0.9, 0.95, 0.99)
# What the assays have in common weighs as much as so many experiments of an assay.
_COMMON = 4.0
# Fewer bins than this say nothing of a predicted signal's level; factors have so many bins of what is near.
_FEW_BINS = 50
# The residual level stays above this share of the squared error, however far the models spread.
_LEAST_SHARE = 0.1
# Where a step of predicted signal has its level, on the axis on which the steps are even.
_STEP = float(np.diff(np.arcsinh(PREDICTED_EDGES[:2]))[0])
_KNOTS: Array = np.arcsinh(PREDICTED_EDGES[0]) + _STEP * (np.arange(PREDICTED_EDGES.size + 1) - 0.5)


@dataclass(frozen=True)
class Pool:
    """Counts of several experiments of one assay."""

    counts: Counts
    n_experiments: int

    def __add__(self, other: Pool) -> Pool:
        return Pool(self.counts + other.counts, self.n_experiments + other.n_experiments)

    def __sub__(self, other: Pool) -> Pool:
        return Pool(self.counts - other.counts, self.n_experiments - other.n_experiments)


@dataclass(frozen=True)
class Errors:
    """How large errors are along the predicted signal.

    Attributes
    ----------
    level
        float64 (steps of predicted signal,), in units of the track's expected standard deviation.
    factors
        By nominal share: float64 (steps of predicted signal,).
    """

    level: Array
    factors: Mapping[float, Array]

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        factors = {f"{level:g}": _rounded(own) for level, own in self.factors.items()}
        return {"level": _rounded(self.level), "factors": factors}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Errors:
        """Inverse of `to_json`; see `Calibration.from_json`."""
        factors = {float(level): _by_step(own) for level, own in value["factors"].items()}
        if tuple(factors) != LEVELS:
            raise ValueError("its nominal shares are not those of this version")
        return cls(_by_step(value["level"]), factors)


@dataclass(frozen=True)
class Calibration:
    """What turns predicted signal and spread into a standard deviation, and that into intervals.

    sd² = level(assay, predicted signal)² + weight · spread². Levels, and the predicted signal at which they are read,
    are in standard deviations of the track, as other tracks let expect it. The interval of a nominal share is imputed
    ± factor · sd, in transformed space.

    Attributes
    ----------
    scales
        Expected of the tracks.
    errors
        By assay.
    common
        For assays without experiments among those that calibrate.
    weight
        How much the spread counts, at least 0.
    n_experiments
        Held-out experiments that it was learned from.
    """

    scales: Mapping[Experiment, Scale]
    errors: Mapping[str, Errors]
    common: Errors
    weight: float
    n_experiments: int

    def of(self, assay: str) -> Errors:
        """Those of an assay."""
        return self.errors.get(assay, self.common)

    def sd(self, pair: Experiment, imputed: Float32, spread: Float32) -> Float32:
        """Standard deviation of imputed signal.

        Parameters
        ----------
        pair
            The track.
        imputed, spread
            float32 (bins,) in transformed space: signal as the track has it (clipped, where it is), and the spread of
            the models.

        Returns
        -------
        float32 (bins,)
            In transformed space; NaN where imputed signal is.

        Raises
        ------
        DataError
            If the track's scale is not known.
        """
        if pair not in self.scales:
            raise DataError(
                f"the intervals were calibrated without the cell type or the assay of {pair}; run 'predictd cv' again"
            )
        scale = self.scales[pair]
        place = np.arcsinh((imputed.astype(np.float64) - scale.mean) / scale.sd)
        level = np.exp(np.interp(place, _KNOTS, np.log(self.of(pair.assay).level)))
        variance = np.square(level * scale.sd) + self.weight * np.square(spread, dtype=np.float64)
        return np.sqrt(variance).astype(np.float32)

    def cells(self, assay: str) -> Array:
        """Standard deviation of each step of predicted signal and spread, in units of the expected one of the track."""
        return _cells(self.of(assay).level, self.weight)

    def to_json(self) -> dict[str, Any]:
        """As plain values; scales of all pairs of a cell type and an assay have to be known."""
        cell_types, assays = axes(self.scales)
        return {
            "experiments": self.n_experiments,
            "spread_weight": self.weight,
            "predicted_edges": PREDICTED_EDGES.tolist(),
            "common": self.common.to_json(),
            "cell_types": cell_types,
            "assays": {
                assay: {
                    "means": [self.scales[Experiment(cell, assay)].mean for cell in cell_types],
                    "sds": [self.scales[Experiment(cell, assay)].sd for cell in cell_types],
                    "errors": self.errors[assay].to_json() if assay in self.errors else None,
                }
                for assay in assays
            },
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Calibration:
        """Inverse of `to_json`.

        Raises
        ------
        KeyError, TypeError, ValueError
            If it is not such a value.
        """
        assays = value["assays"]
        if not np.allclose(value["predicted_edges"], PREDICTED_EDGES):
            raise ValueError("its steps of predicted signal are not those of this version")
        scales = {
            Experiment(cell, assay): Scale(float(mean), float(sd))
            for assay, own in assays.items()
            for cell, mean, sd in zip(value["cell_types"], own["means"], own["sds"], strict=True)
        }
        return cls(
            scales,
            {a: Errors.from_json(own["errors"]) for a, own in assays.items() if own["errors"] is not None},
            Errors.from_json(value["common"]),
            float(value["spread_weight"]),
            int(value["experiments"]),
        )


def calibrate(pools: Mapping[str, Pool], scales: Mapping[Experiment, Scale]) -> Calibration:
    """Learn a calibration from held-out experiments.

    The level of an assay is its mean squared residual at each predicted signal, less what the spread explains. The
    weight of the spread is the slope of squared residuals on squared spreads among bins of like predicted signal, at
    least 0. Factors are quantiles of |residual| / sd at each predicted signal: where signal is sparse, most errors of
    the background are nearly 0 and a few very large, and those of peaks are not. Levels and factors of an assay are
    drawn towards those of all as if four further experiments had these.

    Parameters
    ----------
    pools
        By assay, of those that have held-out experiments.
    scales
        Expected of the tracks that shall have a standard deviation.

    Raises
    ------
    DataError
        If there is no bin to learn from.
    """
    known = {assay: pool for assay, pool in pools.items() if pool.n_experiments}
    if not known:
        raise DataError("intervals cannot be calibrated: there are no held-out experiments")
    every = sum(list(known.values())[1:], start=next(iter(known.values())))
    if not (every.counts.sum(axis=(1, 2)) >= _FEW_BINS).any():
        raise DataError("intervals cannot be calibrated: the held-out experiments have hardly any bins")
    weight = _weight(every.counts)
    common_error, common_spread = _filled(*_means(every.counts))
    common = _levels(common_error, common_spread, weight)
    levels = {}
    for assay, pool in known.items():
        bins = pool.counts.sum(axis=(1, 2))
        bins = np.where(bins >= _FEW_BINS, bins, 0)
        errors, spreads = (total * bins for total in np.nan_to_num(_means(pool.counts)))
        extra = _COMMON * np.maximum(every.counts.sum(axis=(1, 2)) / every.n_experiments, 1)
        levels[assay] = _levels(
            (errors + extra * common_error) / (bins + extra),
            (spreads + extra * common_spread) / (bins + extra),
            weight,
        )
    ratios = {
        assay: ratio_counts(pool.counts, _cells(levels[assay], weight)) for assay, pool in known.items()
    }
    common_ratios = _continued(np.sum(list(ratios.values()), axis=0))
    bins = common_ratios.sum(axis=1, keepdims=True)
    extra = common_ratios / bins * np.maximum(_COMMON * bins / every.n_experiments, _FEW_BINS)
    errors = {assay: Errors(levels[assay], _factors(own + extra)) for assay, own in ratios.items()}
    # Where no experiment of an assay was held out, the levels of all have to do, and factors go with these.
    of_any = _continued(ratio_counts(every.counts, _cells(common, weight)))
    return Calibration(dict(scales), errors, Errors(common, _factors(of_any)), weight, every.n_experiments)


def coverage_sums(counts: Counts, calibration: Calibration, assay: str) -> Array:
    """How often intervals hold for counted bins of one assay, at each predicted signal.

    Returns
    -------
    float64 (steps of predicted signal × 4 + len(LEVELS))
        Bins; sums of squared residuals and of squared sd, in units of the track's expected standard deviation; bins
        within ±1 sd, and within the interval of each nominal share.
    """
    cells, factors = calibration.cells(assay), calibration.of(assay).factors
    spreads_of = counts.sum(axis=2)
    limits = [cells, *(factors[level][:, np.newaxis] * cells for level in LEVELS)]
    return np.stack(
        [
            counts.sum(axis=(1, 2)),
            counts.sum(axis=1) @ mean_squares()[1],
            (spreads_of * np.square(cells)).sum(axis=1),
            *(held.sum(axis=1) for held in bins_below(counts, limits)),
        ],
        axis=1,
    )


def _means(counts: Counts) -> tuple[Array, Array]:
    """Mean squared residual and mean squared spread of each step of predicted signal; NaN of few bins."""
    spreads, residuals = mean_squares()
    bins = counts.sum(axis=(1, 2))
    few = np.where(bins >= _FEW_BINS, bins, np.nan)
    return (counts.sum(axis=1) @ residuals) / few, (counts.sum(axis=2) @ spreads) / few


def _filled(errors: Array, spreads: Array) -> tuple[Array, Array]:
    """Steps without enough bins filled from their neighbours."""
    known = np.flatnonzero(~np.isnan(errors))
    every = np.arange(errors.size)
    return np.interp(every, known, errors[known]), np.interp(every, known, spreads[known])


def _levels(errors: Array, spreads: Array, weight: float) -> Array:
    """Residual level, positive, of mean squared residuals and spreads."""
    least = np.maximum(_LEAST_SHARE * errors, 1e-12)
    return np.sqrt(np.maximum(errors - weight * spreads, least))


def _continued(ratios: Array) -> Array:
    """Bins by |residual| / sd in each step of predicted signal, with some of its neighbour's besides its own.

    From the step with the most bins outwards, so that steps with few bins or none follow those with more.
    """
    ratios = ratios.copy()
    most = int(ratios.sum(axis=1).argmax())
    for steps in (range(most + 1, len(ratios)), range(most - 1, -1, -1)):
        before = most
        for step in steps:
            ratios[step] += _FEW_BINS * ratios[before] / ratios[before].sum()
            before = step
    return ratios


def _factors(ratios: Array) -> dict[float, Array]:
    """Quantiles of |residual| / sd in each step of predicted signal."""
    shares = np.pad(np.cumsum(ratios, axis=1) / ratios.sum(axis=1, keepdims=True), ((0, 0), (1, 0)))
    borders = np.log(RATIO_EDGES)
    quantiles = np.exp([np.interp(LEVELS, own, borders) for own in shares])
    return dict(zip(LEVELS, quantiles.T, strict=True))


def _cells(level: Array, weight: float) -> Array:
    return np.sqrt(np.square(level)[:, np.newaxis] + weight * mean_squares()[0])


def _weight(counts: Counts) -> float:
    """Slope of squared residuals on squared spreads within steps of predicted signal, weighted by precision."""
    spreads, residuals = mean_squares()
    bins = counts.sum(axis=2).astype(np.float64)
    errors = np.divide(counts @ residuals, bins, out=np.zeros_like(bins), where=bins > 0)
    variance = _filled(*_means(counts))[0][:, np.newaxis] + np.zeros_like(bins)
    slope = 0.0
    for _ in range(5):
        # A mean of squares varies as its own square.
        weights = bins / np.square(variance)
        total = weights.sum(axis=1, keepdims=True)
        total[total == 0] = 1
        ds = spreads - (weights * spreads).sum(axis=1, keepdims=True) / total
        de = errors - (weights * errors).sum(axis=1, keepdims=True) / total
        square = float((weights * ds**2).sum())
        slope = max(float((weights * ds * de).sum()) / square, 0.0) if square > 0 else 0.0
        level = np.square(_levels(*_filled(*_means(counts)), slope))
        variance = level[:, np.newaxis] + slope * spreads
    return slope


def _rounded(values: Array) -> list[float]:
    """For files."""
    return [float(f"{value:.6g}") for value in values.tolist()]


def _by_step(values: Any) -> Array:
    level = np.array(values, dtype=np.float64)
    if level.shape != _KNOTS.shape or not (level > 0).all() or not np.isfinite(level).all():
        raise ValueError("a level or a factor is not one positive number a step of predicted signal")
    return level
