"""Features of a track, read as well as its signal in a bin: the mean over a window, the logarithm and the square.

A logarithm distinguishes weak signal from none, a square strong signal from stronger, a window a domain from a single
bin. How they vary with the tracks is found at a sample of bins, and carried from there to the genome by regression on
the tracks, whose own moments are known exactly (the regression estimator of two-phase sampling: Cochran 1977, Sampling
Techniques, section 12.6).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from predictd.model.moments import CONSTANT
from predictd.model.windows import window_means

Array = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]
Index = npt.NDArray[np.intp]

# Half width of the window, in bins.
WINDOW = 20
# Columns of a track: its signal, and three features.
KINDS = 4
# Of more tracks no features are read: their correlations are a matrix of four times as many rows.
MOST_TRACKS = 64
# Added to signal before its logarithm is taken, in standard deviations of the track.
_LEAST = 0.1


def features_of(signal: Float32, window: Float32, sds: Array) -> Float32:
    """Features of signal (bins × n), kind by kind: float32 (bins × 3n).

    Parameters
    ----------
    signal, window
        (bins × n): signal, and its means over the window.
    sds
        Standard deviations of the tracks, (n,): a share of these keeps logarithms finite. Negative signal has the
        logarithm of none.
    """
    least = (_LEAST * np.where(sds > 0, sds, 1.0)).astype(np.float32)
    logarithm = np.log(np.maximum(signal, np.float32(0.0)) + least)
    return np.concatenate([window, logarithm, np.square(signal)], axis=1)


def columns_of(columns: Index, n_tracks: int) -> Index:
    """Columns of some of n tracks and of their features, where those of all tracks come first, then kind by kind."""
    return (n_tracks * np.arange(KINDS)[:, np.newaxis] + columns).ravel()


def sampled_moments(s: Array, signal: Float32, window: Float32) -> Array:
    """Second moments of tracks and of their features at a sample of bins, over which they are means.

    Parameters
    ----------
    s
        (n+1 × n+1): moments of the n tracks over all complete bins, see `predictd.model.moments`.
    signal, window
        (bins × n) at the sample: signal, and its means over the window.

    Returns
    -------
    float64 (4n+1 × 4n+1)
        In the order of `columns_of`, then the constant.
    """
    n = signal.shape[1]
    _, sds = _means_and_sds(s, np.arange(n))
    read = signal, features_of(signal, window, sds), np.ones((len(signal), 1))
    padded = np.concatenate(read, axis=1, dtype=np.float64)
    return padded.T @ padded / len(padded)


def with_features(s: Array, sampled: Array, columns: Index) -> Array:
    """Second moments over all complete bins of some tracks and of their features; no other track counts.

    Parameters
    ----------
    s, sampled
        Moments of N tracks, and what `sampled_moments` makes of them.
    columns
        Of the n tracks.

    Returns
    -------
    float64 (4n+1 × 4n+1)
        In the order of `columns_of`, then the constant; those of the tracks are those of `s`.
    """
    n, n_bins = len(columns), s[-1, -1]
    own, constant = s[np.ix_(columns, columns)], s[-1, columns]
    read = columns_of(columns, len(s) - 1)
    there = sampled[-1, read]
    around = sampled[np.ix_(read, read)] - np.outer(there, there)
    yy, yf, ff = around[:n, :n], around[:n, n:], around[n:, n:]
    slopes = np.linalg.pinv(yy, rcond=1e-10, hermitian=True) @ yf
    means = constant / n_bins
    f_means = there[n:] + (means - there[:n]) @ slopes
    across = (own / n_bins - np.outer(means, means)) @ slopes
    rest = ff - slopes.T @ yf
    found = np.empty((KINDS * n + 1, KINDS * n + 1))
    beyond = slice(n, -1)
    found[:n, :n], found[-1, :n], found[-1, -1] = own, constant, n_bins
    found[beyond, beyond] = n_bins * (slopes.T @ across + (rest + rest.T) / 2 + np.outer(f_means, f_means))
    found[:n, beyond] = n_bins * (across + np.outer(means, f_means))
    found[-1, beyond] = n_bins * f_means
    found[beyond, :n], found[:-1, -1] = found[:n, beyond].T, found[-1, :-1]
    return found


@dataclass(frozen=True)
class Features:
    """The features of n tracks.

    Attributes
    ----------
    means, sds
        Of the tracks and of their features, kind by kind: float64 (4n,); the deviation of what does not vary is 0.
    correlations
        Between these, float64 (4n × 4n); 0 with what does not vary.
    """

    means: Array
    sds: Array
    correlations: Array

    @classmethod
    def of(cls, moments: Array) -> Features:
        """From what `with_features` gives."""
        means, sds = _means_and_sds(moments, np.arange(len(moments) - 1))
        factor = _inverse(sds)
        covariance = moments[:-1, :-1] / moments[-1, -1] - np.outer(means, means)
        correlations = covariance * np.outer(factor, factor)
        np.fill_diagonal(correlations, 1.0)
        return cls(means, sds, correlations)

    def standardised(self, signal: Float32, window: Float32) -> Float32:
        """Features of signal in standard deviations, see `features_of`; what does not vary is 0: (bins × 3n)."""
        n = signal.shape[1]
        found = features_of(signal, window, self.sds[:n])
        found -= self.means[n:].astype(np.float32)
        found *= _inverse(self.sds[n:]).astype(np.float32)
        return found

    def at(self, signal: Float32, run_lengths: Sequence[int], inner: slice) -> Float32:
        """Standardised features in some of the bins of signal; see `predictd.model.imputer.Imputer.__call__`."""
        (window,) = window_means(signal, run_lengths, [WINDOW], inner)
        return self.standardised(signal[inner], window)


class FeatureRefiner:
    """What features add to a stack's predictions of m pairs.

    Parameters
    ----------
    features
        Of the n tracks that are read.
    weights
        Of the standardised features, float64 (m × 3n).
    """

    halo = WINDOW

    def __init__(self, features: Features, weights: Array) -> None:
        self._features, self._weights = features, np.ascontiguousarray(weights.T, dtype=np.float32)

    def __call__(self, signal: Float32, run_lengths: Sequence[int], inner: slice) -> Float32:
        """What to add, (bins asked for × m); see `predictd.model.imputer.Refiner`."""
        return self._features.at(signal, run_lengths, inner) @ self._weights


def _means_and_sds(moments: Array, columns: Index) -> tuple[Array, Array]:
    """Of some columns of moments; the deviation of what does not vary is 0."""
    means, squares = moments[-1, columns] / moments[-1, -1], moments[columns, columns] / moments[-1, -1]
    variances = squares - means**2
    return means, np.sqrt(np.where(variances > CONSTANT * squares, variances, 0.0))


def _inverse(sds: Array) -> Array:
    return np.divide(1.0, sds, out=np.zeros_like(sds), where=sds > 0)
