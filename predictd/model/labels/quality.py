"""Which tracks look wrong: what is found of each from second moments and labels.

Everything compares a track with what is expected of its cell type and assay by the other tracks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from predictd.model.labels.labels import Standardised, fit_effects, standardise
from predictd.model.labels.leave_out import (
    leave_one_out,
    leave_two_out,
    matches,
    matches_left_out,
    matches_of_predictors,
)
from predictd.model.labels.swaps import Labels, find_swaps

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]

FLAGS = ("swapped", "duplicate", "dead", "saturated", "amplitude", "artefact")
# Correlation from which two tracks are one: different tracks of three real data sets have 0.95 at most.
SAME = 0.999
# Share of the expected standard deviation under which a track is dead.
_DEAD = 0.05
# Share of bins at a track's highest value from which it is saturated, and how many times that of its assay's others.
SATURATED, _TIMES_OTHERS = 1e-3, 10.0
# Factor by which an amplitude is off, and robust standard deviations of all tracks, both of which must be exceeded.
_FACTOR, _OUTLYING = 1.5, 4.0


@dataclass(frozen=True)
class Tracks:
    """What is known of n tracks.

    Attributes
    ----------
    s
        Moments, float64 (n+1 × n+1).
    cells, assays
        (n,) row of each track's cell type and assay.
    n_cells, n_assays
        How many there are.
    at_highest
        (n,) share of bins at the track's highest value.
    positive
        (n,) whether the signal is never negative, so that its mean is a measure of its amplitude.
    artefact
        (n,) whether a single bin lies far beyond all others.
    """

    s: Array
    cells: Index
    assays: Index
    n_cells: int
    n_assays: int
    at_highest: Array
    positive: Mask
    artefact: Mask


@dataclass(frozen=True)
class Findings:
    """Per track.

    Attributes
    ----------
    mse, r
        Of the prediction by the other tracks: mean squared error, Pearson correlation (NaN for constant tracks).
    expected_r
        The r that is expected by those of the other tracks.
    flags
        Names out of FLAGS.
    best
        Row of a pair, cell · n_assays + assay, whose prediction the track matches best, or of the track that it is the
        same as; -1 where it has no signal.
    """

    mse: Array
    r: Array
    expected_r: Array
    flags: tuple[tuple[str, ...], ...]
    best: Index

    def order(self) -> list[int]:
        """Tracks, the most suspicious first: flagged ones, then by how far r is below what is expected."""
        shortfall = np.nan_to_num(self.expected_r - self.r, nan=np.inf)
        return sorted(range(len(self.r)), key=lambda i: (-len(self.flags[i]), -shortfall[i]))


def examine(tracks: Tracks) -> Findings:
    """Examine all tracks."""
    cells, assays, sizes = tracks.cells, tracks.assays, (tracks.n_cells, tracks.n_assays)
    standard = standardise(tracks.s)
    dead = standard.constant.copy()
    logs = np.log(np.where(dead, 1.0, standard.deviations))
    expected = fit_effects(logs, cells, assays, *sizes, used=~dead).expected
    dead |= logs < expected + np.log(_DEAD)
    labels = find_swaps(standard.correlations, cells, assays, *sizes, ~dead)
    wrong = np.zeros(len(dead), dtype=bool)
    wrong[labels.wrong] = True
    sound = ~dead & ~wrong

    covariance, variance, best = _predictions(tracks, standard.correlations, labels, sound)
    r = np.where(standard.constant, np.nan, covariance / np.sqrt(np.maximum(variance, 1e-12)))
    z = np.arctanh(np.clip(np.nan_to_num(r), -0.999, 0.999))
    expected_r = np.tanh(fit_effects(z, cells, assays, *sizes, used=sound).expected)
    mean = fit_effects(standard.means, cells, assays, *sizes, used=sound).expected
    scale = np.exp(fit_effects(logs, cells, assays, *sizes, used=sound).expected)
    own = np.where(standard.constant, 0.0, standard.deviations)
    mse = (
        np.square(standard.means - mean)
        + np.square(own)
        + np.square(scale) * variance
        - 2.0 * own * scale * np.where(standard.constant, 0.0, covariance)
    )
    for one, two in labels.partners.items():
        best[one] = cells[two] * tracks.n_assays + assays[two]
    duplicate = np.zeros(len(dead), dtype=bool)
    for one, two in same_signal(standard.correlations, ~tracks.artefact):
        duplicate[[one, two]] = True
        best[[one, two]] = (cells * tracks.n_assays + assays)[[two, one]]
    best[standard.constant] = -1
    off = amplitudes_off(standard, cells, assays, used=sound, positive=tracks.positive) != 0
    saturated = _saturated(tracks) & ~dead
    found = np.stack([wrong, duplicate, dead, saturated, off, tracks.artefact], axis=1)
    flags = tuple(tuple(np.array(FLAGS)[own].tolist()) for own in found)
    return Findings(np.maximum(mse, 0.0), r, expected_r, flags, best)


def same_signal(correlations: Array, used: Mask) -> list[tuple[int, int]]:
    """Pairs of tracks that are one track under two labels, by correlations (n × n) among the tracks that are used.

    Tracks with an artefact should not be: where two have it in the same bin, nothing else counts.
    """
    same = np.triu((correlations >= SAME) & np.outer(used, used), 1)
    return [(int(i), int(j)) for i, j in np.argwhere(same)]


def _predictions(
    tracks: Tracks, correlations: Array, labels: Labels, sound: Mask
) -> tuple[Array, Array, Index]:
    """Cov(x, x̂) and Var(x̂) of each track under its given label by the sound others, and the pair it matches best."""
    assert labels.similarity is not None
    similarity = labels.similarity
    rows, rest = np.flatnonzero(sound), np.flatnonzero(~sound)
    n = len(sound)
    covariance, variance, best = np.zeros(n), np.zeros(n), np.zeros(n, dtype=np.intp)
    if not rows.size:
        return covariance, variance, best
    cells, assays = tracks.cells[rows], tracks.assays[rows]
    k, r = similarity.covariance(cells, assays), correlations[np.ix_(rows, rows)]
    single = leave_one_out(k, r)
    covariance[rows], variance[rows] = single.covariance, single.variance
    every = np.arange(tracks.n_cells * tracks.n_assays)
    pairs = np.divmod(every, tracks.n_assays)
    taken = cells * tracks.n_assays + assays
    free = np.setdiff1d(every, taken)
    scores = np.full((n, every.size), -np.inf)
    scores[np.ix_(rows, taken)] = leave_two_out(k, r)[0]
    if free.size:
        to_free = similarity.between(cells, assays, pairs[0][free], pairs[1][free])
        scores[np.ix_(rows, free)] = matches_of_predictors(k, r, to_free)
    if rest.size:
        toward = correlations[np.ix_(rows, rest)]
        own = similarity.between(cells, assays, tracks.cells[rest], tracks.assays[rest])
        by_rest, spread = matches(k, r, own, toward)
        covariance[rest], variance[rest] = np.diag(by_rest), spread
        scores[np.ix_(rest, taken)] = matches_left_out(k, r, toward)
        if free.size:
            by_free, spread = matches(k, r, to_free, toward)
            scores[np.ix_(rest, free)] = by_free / np.sqrt(np.maximum(spread, 1e-12))
    return covariance, variance, scores.argmax(axis=1)


def _saturated(tracks: Tracks) -> Mask:
    """Tracks with many bins at one highest value, and many more than the others of their assay have."""
    share = tracks.at_highest
    usual = np.zeros(len(share))
    for i in range(len(share)):
        others = (tracks.assays == tracks.assays[i]) & (np.arange(len(share)) != i)
        usual[i] = np.median(share[others]) if others.any() else 0.0
    return np.asarray((share >= SATURATED) & (share >= _TIMES_OTHERS * usual))


def amplitudes_off(
    standard: Standardised,
    cells: Index,
    assays: Index,
    *,
    used: Mask,
    positive: Mask,
    factor: float = _FACTOR,
) -> Array:
    """How far the amplitude of tracks is from what the others of their cell type and assay suggest.

    The amplitude is the mean where signal is never negative, since there background and peaks scale alike; else the
    standard deviation.

    Parameters
    ----------
    standard
        Means and standard deviations of n tracks.
    cells, assays
        (n,) row of each track's cell type and assay.
    used
        (n,) tracks that vary, and are compared.
    positive
        (n,) whether the signal is never negative.
    factor
        From how many times, or which part of, the amplitude a track is off that all others let expect, and that the
        others of its assay, and those of its cell type, have.

    Returns
    -------
    (n,) natural logarithm of amplitude over expected amplitude of tracks that are off; 0 for all others.
    """
    by_mean = positive & (standard.means > 0)
    logs = np.log(np.where(by_mean, standard.means, np.where(used, standard.deviations, 1.0)))
    off = np.zeros(len(used))
    for kind in (used & by_mean, used & ~by_mean):
        if kind.sum() < 3:
            continue
        effects = fit_effects(logs, cells, assays, int(cells.max()) + 1, int(assays.max()) + 1, used=kind)
        limit = max(np.log(factor), _OUTLYING * effects.spread)
        beyond = kind & (np.abs(logs - effects.expected) > limit)
        # A few tracks of a strong assay, or cell type, agree among themselves; of a single one nothing is known.
        for own, other, names in (
            (effects.cells, cells, assays),
            (effects.assays, assays, cells),
        ):
            left = logs - own[other]
            for i in np.flatnonzero(beyond):
                alike = left[kind & (names == names[i]) & (np.arange(len(used)) != i)]
                beyond[i] = alike.size > 0 and abs(left[i] - np.median(alike)) > np.log(factor)
        off[beyond] = (logs - effects.expected)[beyond]
    return off
