"""The range of an assay: between which values predictions of its signal stay, in transformed space.

An affine map or a network may go anywhere where its inputs are unlike all that it learned from: one bin of 1e6 in one
track can lift the predictions of all others there. Predictions of an assay lie at most five times as far above its
mean as its training tracks do (cell types differ much in strength), and at most one and a half times as far as any
track of the same transform does. And an artefact counts as the highest value of its assay's other tracks where it is
learned or predicted from: it would decide all second moments.

There is no lower end: where signal may be negative, as of fold changes, a few bins far below all others are signal.
(Where it may not, predictions are clipped at 0.) Moments are not cut there, and models read what they learned from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from predictd.model.moments import CONSTANT
from predictd.pairs import Experiment

Array = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]
Index = npt.NDArray[np.intp]
# How far predictions go: in distances from the assay's mean to its tracks' highest value, and in the longest distance
# of an assay of the same transform.
_BEYOND_OWN, _BEYOND_ALL = 5.0, 1.5
# A single bin outlies where it is so many standard deviations above the mean, and such a share of the variance.
_OUTLYING, _SHARE = 30.0, 0.1


@dataclass(frozen=True)
class Spans:
    """Where the signal of n tracks lies: float64 (n,) each; NaN for a track without a value.

    Attributes
    ----------
    means, sds
        Of what was observed; the standard deviation of a constant track is 0.
    highest
        Their highest values.
    outlying
        (n,) whether the highest value is that of a single bin far beyond all others of the track.
    rest_means, rest_sds
        Means and standard deviations without the bin of the highest value.
    """

    means: Array
    sds: Array
    highest: Array
    outlying: npt.NDArray[np.bool_]
    rest_means: Array
    rest_sds: Array

    @property
    def above(self) -> Array:
        """How many standard deviations the highest values lie above the means, (n,); 0 for constant tracks."""
        return np.divide(self.highest - self.means, self.sds, out=np.zeros_like(self.sds), where=self.sds > 0)

    @classmethod
    def of(cls, summary: Array) -> Spans:
        """From observed bins, sum, sum of squares and maximum of each track, (n × 4)."""
        counts = np.where(summary[:, 0] > 0, summary[:, 0], np.nan)
        means, squares = summary[:, 1] / counts, summary[:, 2] / counts
        variances = squares - means**2
        variances[variances <= CONSTANT * squares] = 0.0
        above = np.square(summary[:, 3] - means)
        rest = np.where(counts > 1, counts - 1, np.nan)
        rest_means = (summary[:, 1] - summary[:, 3]) / rest
        rest_variances = (summary[:, 2] - np.square(summary[:, 3])) / rest - rest_means**2
        outlying = (variances > 0) & (above > np.maximum(_OUTLYING**2, _SHARE * counts) * variances)
        rest_sds = np.sqrt(np.maximum(rest_variances, 0.0))
        return cls(means, np.sqrt(variances), summary[:, 3], outlying, rest_means, rest_sds)


@dataclass(frozen=True)
class Ranges:
    """Between which values predictions stay, and what counts of training tracks.

    Attributes
    ----------
    low, high
        Lowest and highest predictions of each assay: float64 (n_assays,). The lowest is -inf but in models of earlier
        versions.
    ends
        Of each training track the highest value that counts: float64 (n,).
    """

    low: Array
    high: Array
    ends: Array

    @classmethod
    def of(
        cls, assays: Sequence[str], transforms: Sequence[str], train: Sequence[Experiment], summary: Array
    ) -> Ranges:
        """Of training tracks.

        Tracks of which a single bin outlies do not count; of an assay of only such, the others of its transform tell.
        Where that bin is beyond the range it is an artefact, and counts as the highest value of the others. An assay
        without a track that varies has the range of all of its transform.

        Parameters
        ----------
        assays, transforms
            Their names, and those of their transforms.
        train
            The n training tracks.
        summary
            Observed bins, sum, sum of squares and maximum of each track over all bins, (n × 4).
        """
        spans = Spans.of(summary)
        varies, sound = spans.sds > 0, np.isfinite(spans.means) & ~spans.outlying
        means = np.where(spans.outlying, spans.rest_means, spans.means)
        rows = np.array([assays.index(e.assay) for e in train], dtype=np.intp)
        # Of each assay the mean, and how far its tracks go above it.
        centre, above = np.full((2, len(assays)), np.nan)
        for row in range(len(assays)):
            own = rows == row
            if (own & varies).any():
                centre[row] = np.median(means[own & varies])
            if (used := own & sound & varies).any():
                centre[row] = np.median(means[used])
                above[row] = spans.highest[own & sound].max() - centre[row]
        high, longest = np.full((2, len(assays)), np.nan)
        kinds, known = np.array(transforms), np.isfinite(centre)
        # Those of which nothing varies come last, and take the widest.
        for row in sorted(range(len(assays)), key=lambda row: not known[row]):
            alike = np.isfinite(above if known[row] else centre) & (kinds == kinds[row])
            alike = alike if alike.any() else np.isfinite(above)
            if not alike.any():
                high[row], longest[row] = np.inf, np.inf
            elif known[row]:
                longest[row] = above[alike].max()
                high[row] = centre[row] + np.fmin(_BEYOND_OWN * above[row], _BEYOND_ALL * longest[row])
            else:
                high[row] = high[alike].max()
            high[row] = max([high[row], *means[(rows == row) & sound & ~varies]])
        # A track's own highest value counts unless it outlies and is beyond the range.
        artefact = spans.outlying & (spans.highest > high[rows])
        ends = np.where(artefact, centre[rows] + np.fmin(above, longest)[rows], high[rows])
        return cls(np.full(len(assays), -np.inf), high, ends)

    def to_arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """As model files keep it."""
        return {"ranges": np.stack([self.low, self.high]), "ends": self.ends}

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, npt.NDArray[np.generic]], n_assays: int, n_train: int
    ) -> Ranges | None:
        """Inverse of `to_arrays`; None where there are none, and ValueError for what is none."""
        if "ranges" not in arrays:
            return None
        low, high = np.asarray(arrays["ranges"], dtype=np.float64).reshape(2, n_assays)
        ends = np.asarray(arrays["ends"], dtype=np.float64).reshape(n_train)
        if not (low <= high).all() or np.isnan(ends).any():
            raise ValueError("the range of an assay does not begin below its end")
        return cls(low, high, ends)

    def of_targets(self, assays: Index) -> Bounds:
        """The bounds of predictions of some assays."""
        return Bounds(self.low[assays].astype(np.float32), self.high[assays].astype(np.float32))

    def of_inputs(self, assays: Index, train: Index) -> Bounds:
        """The bounds of training tracks, given by their assays and their places."""
        return Bounds(self.low[assays].astype(np.float32), self.ends[train].astype(np.float32))


@dataclass(frozen=True)
class Bounds:
    """Lowest and highest values of m tracks: float32 (m,) each."""

    low: Float32
    high: Float32

    @staticmethod
    def widest(some: Sequence[Bounds | None], places: Sequence[Index], m: int) -> Bounds | None:
        """Those of m tracks that hold all of some, each with the places of its own; None where one is not known."""
        low, high = np.full(m, np.inf, np.float32), np.full(m, -np.inf, np.float32)
        for bounds, place in zip(some, places, strict=True):
            if bounds is None:
                return None
            low[place], high[place] = np.minimum(low[place], bounds.low), np.maximum(high[place], bounds.high)
        return Bounds(low, high)
