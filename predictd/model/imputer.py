"""Imputers: signal → affine map → what networks add, if any → the range of the assay.

Every estimator that predictd has, alone or averaged, ends as one of these, so that there is one way to apply them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from predictd.constants import MIN_OBSERVED
from predictd.kernels import bound
from predictd.model.ranges import Bounds
from predictd.pairs import Experiment

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Places = npt.NDArray[np.intp]
_ALL = slice(None)


class Refiner(Protocol):
    """What is added to predictions of m pairs that an affine map made of k tracks.

    Attributes
    ----------
    halo
        How many bins around those that are predicted it reads.
    """

    @property
    def halo(self) -> int:
        """Number of bins on each side of a predicted bin that it reads."""
        ...

    def __call__(self, signal: Float32, run_lengths: Sequence[int], inner: slice) -> Float32:
        """What to add, (bins asked for × m), from the signal of the tracks (bins × k); see `Imputer.__call__`."""
        ...


@dataclass(frozen=True)
class Completion:
    """How a model predicts its own inputs from each other: ŷ = H y + b with H (k × k), b (k,).

    With it, inputs that are missing in a bin are filled exactly as if the model had been solved on the observed ones
    alone (docs/method.md, the genome in closed form): y_M = (I − H_MM)⁻¹ (H_MO y_O + b_M).
    """

    weights: Float64
    intercept: Float64

    def fill(self, values: Float32) -> Float32:
        """Copy of (bins × k) with its NaN filled; bins with under half of the inputs observed stay NaN throughout."""
        filled = values.copy()
        missing = np.isnan(values)
        incomplete = np.flatnonzero(missing.any(axis=1))
        if not incomplete.size:
            return filled
        patterns, group = np.unique(missing[incomplete], axis=0, return_inverse=True)
        for index, pattern in enumerate(patterns):
            rows = incomplete[group.ravel() == index]
            if (~pattern).mean() < MIN_OBSERVED:
                filled[rows] = np.nan
                continue
            gap, rest = np.flatnonzero(pattern), np.flatnonzero(~pattern)
            system = np.eye(gap.size) - self.weights[np.ix_(gap, gap)]
            known = values[np.ix_(rows, rest)] @ self.weights[np.ix_(gap, rest)].T + self.intercept[gap]
            filled[np.ix_(rows, gap)] = np.linalg.solve(system, known.T).T
        return filled


class AffineMap:
    """ŷ = W y + b, applied in float32 through whichever of W and its low-rank factors needs fewer operations.

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
        """W, (m × k); a product of low-rank factors is computed each time, since many models would fill memory."""
        return self._left if self._right is None else self._left @ self._right

    def __call__(self, signal: Float32) -> Float32:
        """(bins × k) → (bins × m)."""
        value = signal
        for factor in self._factors:
            value = value @ factor
        value += self._intercept
        return value

    @property
    def applied(self) -> tuple[list[Float32], Float32]:
        """By what signal (bins × k) is multiplied, one after the other, and what is added."""
        return self._factors, self._intercept


@dataclass(frozen=True)
class Imputer:
    """Signal of tracks → affine map → what a refiner adds, if any → the range of each target's assay.

    Attributes
    ----------
    inputs
        The k tracks in the order of the map's columns.
    targets
        The m pairs that are predicted.
    affine
        (bins × k) → (bins × m).
    bounds
        Between which predictions stay, or None.
    limits
        Between which inputs are read, or None: what lies beyond is an artefact, and is cut off.
    completion
        Fills missing inputs; None: bins with missing inputs stay empty, unless there are members.
    members
        For an average of imputers: these, each with the columns of its inputs. In incomplete bins each imputes for
        itself; the bounds are those of the average.
    refiner
        What is added to the affine map's predictions, or None.
    """

    inputs: tuple[Experiment, ...]
    targets: tuple[Experiment, ...]
    affine: AffineMap
    bounds: Bounds | None = None
    limits: Bounds | None = None
    completion: Completion | None = None
    members: tuple[tuple[Imputer, npt.NDArray[np.intp]], ...] = ()
    refiner: Refiner | None = None

    def __call__(
        self, signal: Float32, run_lengths: Sequence[int] | None = None, inner: slice = _ALL
    ) -> Float32:
        """Predict some bins.

        Parameters
        ----------
        signal
            float32 (bins × k): of the inputs; NaN is missing.
        run_lengths
            Lengths of the stretches of consecutive bins in it; None: it is one.
        inner
            The bins that are asked for; the others are what is around them, as far as the halo.

        Returns
        -------
        float32 (bins asked for × m)
            Bins that cannot be predicted are NaN.
        """
        predicted = self.unbounded(signal, run_lengths, inner)
        if self.bounds is None:
            return predicted
        return np.clip(predicted, self.bounds.low, self.bounds.high, out=predicted)

    def is_affine(self, low: Float32, high: Float32) -> bool:
        """Whether bins whose inputs lie between these ends, (k,), need no more than the affine map and the bounds.

        NaN is the end of an input that is missing somewhere.
        """
        if self.refiner is not None or not (np.isfinite(low).all() and np.isfinite(high).all()):
            return False
        return self.limits is None or bool(
            (low >= self.limits.low).all() and (high <= self.limits.high).all()
        )

    def limited(self, signal: Float32) -> Float32:
        """Signal of the inputs (bins × k) without artefacts."""
        return signal if self.limits is None else np.clip(signal, self.limits.low, self.limits.high)

    def completed(self, signal: Float32) -> Float32:
        """Signal of the inputs (bins × k) without artefacts, and without gaps where these can be filled."""
        signal = self.limited(signal)
        if self.completion is not None and np.isnan(signal).any():
            signal = self.completion.fill(signal)
        return signal

    def unbounded(
        self, signal: Float32, run_lengths: Sequence[int] | None = None, inner: slice = _ALL
    ) -> Float32:
        """Predictions wherever they lie; see `__call__`."""
        signal = self.completed(signal)
        predicted = self.affine(signal[inner])
        if self.refiner is not None:
            predicted += self.refiner(signal, run_lengths or [len(signal)], inner)
        if self.members and (incomplete := np.isnan(signal[inner]).any(axis=1)).any():
            predicted[incomplete] = self.each(signal[inner][incomplete]).mean(axis=0)
        return predicted

    def each(self, signal: Float32) -> Float32:
        """What every member predicts for itself, wherever it lies: (members × bins × m)."""
        return np.stack([member.unbounded(signal[:, columns]) for member, columns in self.members])

    @property
    def halo(self) -> int:
        """How many bins around those that are predicted are read."""
        return 0 if self.refiner is None else self.refiner.halo


class Joined:
    """Imputers that read columns of the same signal, applied together to bins without what is around them.

    Parameters
    ----------
    parts
        Imputers, which columns are the inputs of each, and which rows of predictions are its targets.
    n, m
        Columns, and rows of predictions.
    """

    def __init__(self, parts: Sequence[tuple[Imputer, Places, Places]], n: int, m: int) -> None:
        self._parts, self._low_rank = parts, list[tuple[Places, Float32, Float32]]()
        self._weights, self._added = np.zeros((m, n), dtype=np.float32), np.zeros(m, dtype=np.float32)
        self._low, self._high = np.full((2, m), [[-np.inf], [np.inf]], dtype=np.float32)
        for imputer, columns, places in parts:
            (first, *second), self._added[places] = imputer.affine.applied
            weights = np.zeros((first.shape[1], n), dtype=np.float32)
            weights[:, columns] = first.T
            if second:
                self._low_rank.append((places, weights, second[0].T))
            else:
                self._weights[places] = weights
            if imputer.bounds is not None:
                self._low[places], self._high[places] = imputer.bounds.low, imputer.bounds.high

    def __call__(self, signal: Float32, low: Float32, high: Float32, out: Float32) -> None:
        """Write predictions to `out`, (m × bins).

        Parameters
        ----------
        signal
            float32 (n × bins); NaN is missing.
        low, high
            Lowest and highest values of each row, (n,); NaN where one is missing.
        """
        known, whole = signal, np.isfinite(low) & np.isfinite(high)
        if not whole.all():
            # A weight of 0 does not take NaN away.
            known = np.where(whole[:, np.newaxis], signal, np.float32(0))
        np.matmul(self._weights, known, out=out)
        for places, right, left in self._low_rank:
            out[places] = left @ (right @ known)
        bound(out, self._added, self._low, self._high)
        for imputer, columns, places in self._parts:
            if not imputer.is_affine(low[columns], high[columns]):
                out[places] = imputer(np.ascontiguousarray(signal[columns].T)).T
