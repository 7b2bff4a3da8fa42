"""Imputers: features → affine map → what networks add, if any → optional monotone output map.

Every estimator that predictd has, alone or averaged, ends as one of these, so that there is one way to apply them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from predictd.constants import MIN_OBSERVED
from predictd.pairs import Experiment

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


# What is taken of signal before a window's mean. The logarithm separates weak signal from none, the square strong from
# stronger; negative signal counts as 0 in the logarithm.
BASES: Mapping[str, Callable[[Float32], Float32]] = MappingProxyType(
    {
        "value": lambda y: y,
        "log": lambda y: np.log(np.maximum(y, np.float32(0.0)) + np.float32(0.05)),
        "square": np.square,
    }
)


class Regressor(NamedTuple):
    """What is read of an experiment: a basis function of its signal, averaged over 2·half_width + 1 bins of the run."""

    half_width: int = 0
    basis: str = "value"


class Feature(NamedTuple):
    """A regressor of one experiment; by default its own value. See `Regressor`."""

    experiment: Experiment
    half_width: int = 0
    basis: str = "value"


@dataclass(frozen=True)
class OutputMap:
    """A monotone piecewise linear map a target; beyond its ends it goes on with slope 1.

    Attributes
    ----------
    inputs, outputs
        float64 (targets × knots), ascending along each row.
    """

    inputs: Float64
    outputs: Float64

    def __post_init__(self) -> None:
        if self.inputs.shape != self.outputs.shape or self.inputs.ndim != 2:
            raise ValueError(
                f"knots must be two equal (targets × knots) arrays, not {self.inputs.shape}, {self.outputs.shape}"
            )
        if (np.diff(self.inputs) <= 0).any() or (np.diff(self.outputs) < 0).any():
            raise ValueError("knots must ascend: an output map is monotone")

    def __call__(self, predicted: Float32) -> Float32:
        """Map predictions (bins × targets)."""
        lifts = self.outputs - self.inputs
        widths = np.diff(self.inputs)
        starts, widths32, slopes, first = (
            values.T.astype(np.float32)
            for values in (self.inputs[:, :-1], widths, np.diff(lifts) / widths, lifts[:, :1])
        )
        mapped: Float32 = predicted + first
        for start, width, slope in zip(starts, widths32, slopes, strict=True):
            # What a stretch between knots adds is constant beyond its ends.
            mapped += slope * np.clip(predicted - start, np.float32(0.0), width)
        return mapped

    @staticmethod
    def mean(maps: Sequence[OutputMap | None]) -> OutputMap | None:
        """What the average of predictions is mapped by: knots are averaged, and so is what maps add to predictions.

        None adds nothing. Exactly the mean of the maps only where their knots are the same; all have equally many.
        """
        some = [map_ for map_ in maps if map_ is not None]
        if not some:
            return None
        inputs = np.mean([map_.inputs for map_ in some], axis=0)
        lifts = np.sum([map_.outputs - map_.inputs for map_ in some], axis=0) / len(maps)
        return OutputMap(inputs, inputs + lifts)


@dataclass(frozen=True)
class Completion:
    """How a model predicts its own inputs from each other: ŷ = H y + b with H (k × k), b (k,).

    With it, inputs that are missing in a bin are filled exactly as if the model had been solved on the observed ones
    alone (DESIGN.md section 3): y_M = (I − H_MM)⁻¹ (H_MO y_O + b_M).
    """

    weights: Float64
    intercept: Float64
    counted: int | None = None

    def fill(self, values: Float32) -> Float32:
        """Copy of (bins × k) with its NaN filled; bins with under half of the inputs observed stay NaN throughout.

        Of the inputs the first `counted` count, or all.
        """
        filled = values.copy()
        missing = np.isnan(values)
        incomplete = np.flatnonzero(missing.any(axis=1))
        if not incomplete.size:
            return filled
        patterns, group = np.unique(missing[incomplete], axis=0, return_inverse=True)
        for index, pattern in enumerate(patterns):
            rows = incomplete[group.ravel() == index]
            if (~pattern[: self.counted]).mean() < MIN_OBSERVED:
                filled[rows] = np.nan
                continue
            gap, rest = np.flatnonzero(pattern), np.flatnonzero(~pattern)
            system = np.eye(gap.size) - self.weights[np.ix_(gap, gap)]
            known = values[np.ix_(rows, rest)] @ self.weights[np.ix_(gap, rest)].T + self.intercept[gap]
            filled[np.ix_(rows, gap)] = np.linalg.solve(system, known.T).T
        return filled


class AffineMap:
    """ŷ = W x + b, applied in float32 through whichever of W and its low-rank factors needs fewer operations.

    Parameters
    ----------
    left, right
        W = left @ right, (m × r) and (r × k); right None: W is left itself.
    intercept
        b, (m,).
    """

    def __init__(self, left: Float64, right: Float64 | None, intercept: Float64) -> None:
        self.intercept = intercept
        self._left, self._right = left, right
        factors = [left] if right is None else [right, left]
        if right is not None:
            (m, r), k = left.shape, right.shape[1]
            if r * (m + k) >= m * k:
                factors = [left @ right]
        self._factors = [np.ascontiguousarray(factor.T, dtype=np.float32) for factor in factors]
        self._intercept = intercept.astype(np.float32)

    @property
    def weights(self) -> Float64:
        """W, (m × k); a product of low-rank factors is made anew each time, since many models would fill memory."""
        return self._left if self._right is None else self._left @ self._right

    def __call__(self, features: Float32) -> Float32:
        """(bins × k) → (bins × m)."""
        value = features
        for factor in self._factors:
            value = value @ factor
        value += self._intercept
        return value


@dataclass(frozen=True)
class Imputer:
    """Features → affine map → what a refiner adds, if any → optional output map.

    Attributes
    ----------
    features
        The k regressors in the order of the map's columns.
    targets
        The m pairs that are predicted.
    affine
        (bins × k) → (bins × m).
    output
        Monotone map of the predictions, or None.
    completion
        Fills missing inputs, for estimators whose features are the experiments' own values; None: bins with missing
        inputs stay empty, unless there are members.
    members
        For an average of imputers: these, each with the columns of its features. In incomplete bins, and in all where
        they are refined, each imputes for itself; the output map is that of the average.
    refiner
        What is added to the affine map's predictions, (bins × m), given features and predictions; or None.
    """

    features: tuple[Feature, ...]
    targets: tuple[Experiment, ...]
    affine: AffineMap
    output: OutputMap | None = None
    completion: Completion | None = None
    members: tuple[tuple[Imputer, npt.NDArray[np.intp]], ...] = ()
    refiner: Callable[[Float32, Float32], Float32] | None = None

    def __call__(self, features: Float32) -> Float32:
        """Predict (bins × m) from features (bins × k); bins that cannot be predicted are NaN."""
        predicted = self.before_output(features)
        return predicted if self.output is None else self.output(predicted)

    def before_output(self, features: Float32) -> Float32:
        """Predictions (bins × m) before the output map."""
        if self.members and self.refined:
            return np.asarray(self.each(features).mean(axis=0))
        if self.completion is not None and np.isnan(features).any():
            features = self.completion.fill(features)
        predicted = self.affine(features)
        if self.refiner is not None:
            predicted += self.refiner(features, predicted)
        if self.members and (incomplete := np.isnan(features).any(axis=1)).any():
            predicted[incomplete] = self.each(features[incomplete]).mean(axis=0)
        return predicted

    def each(self, features: Float32) -> Float32:
        """What every member predicts for itself before the output map: (members × bins × m)."""
        return np.stack([member.before_output(features[:, columns]) for member, columns in self.members])

    @property
    def refined(self) -> bool:
        """Whether anything is added to what is affine."""
        return self.refiner is not None or any(member.refined for member, _ in self.members)

    @property
    def context(self) -> int:
        """Widest half_width among the features."""
        return max(feature.half_width for feature in self.features)


def build_features(
    signal: Float32, run_lengths: Sequence[int], features: Sequence[Feature], columns: npt.NDArray[np.intp]
) -> Float32:
    """Regressors of consecutive bins.

    Parameters
    ----------
    signal
        float32 (bins × n): whole runs, one after the other, where any feature has a half_width.
    run_lengths
        Lengths of these runs; they add up to the bins.
    features
        The k features.
    columns
        intp (k,): column of each feature's experiment in `signal`.

    Returns
    -------
    float32 (bins × k)
        Means are over the observed bins of the window, which a run's ends cut.
    """
    own = np.array([feature[1:] == Regressor() for feature in features])
    if own.all():
        whole = columns.size == signal.shape[1] and np.array_equal(columns, np.arange(columns.size))
        return signal if whole else signal[:, columns]
    built = np.empty((signal.shape[0], len(features)), dtype=np.float32)
    built[:, own] = signal[:, columns[own]]
    for regressor in sorted({Regressor(*feature[1:]) for feature in features} - {Regressor()}):
        those = np.flatnonzero([feature[1:] == regressor for feature in features])
        values = BASES[regressor.basis](signal[:, columns[those]])
        built[:, those] = _window_means(values, run_lengths, regressor.half_width)
    return built


def _window_means(values: Float32, run_lengths: Sequence[int], half_width: int) -> Float32:
    """Means over the observed values of ±half_width bins within each run (bins × k); NaN where none is observed."""
    if half_width == 0:
        return values
    means = np.empty_like(values)
    start = 0
    for length in run_lengths:
        run = values[start : start + length].astype(np.float64)
        observed = ~np.isnan(run)
        low = np.maximum(np.arange(length) - half_width, 0)
        high = np.minimum(np.arange(length) + half_width + 1, length)
        nothing = np.zeros((1, values.shape[1]))
        sums = np.concatenate([nothing, np.cumsum(np.where(observed, run, 0.0), axis=0)])
        if observed.all():
            count = (high - low)[:, np.newaxis].astype(np.float64)
        else:
            counts = np.concatenate([nothing, np.cumsum(observed, axis=0)])
            count = counts[high] - counts[low]
        means[start : start + length] = (sums[high] - sums[low]) / np.where(count, count, np.nan)
        start += length
    return means
