"""Sums and counts over bins by which imputed tracks are scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from predictd.kernels import compiled
from predictd.kernels.checks import check_array, check_places, check_range

# What `joint` keeps of two tracks, and what `compare` adds up, each in the order of its array.
JOINT = (
    "n",
    "mean y",
    "mean x",
    "yx",
    "yy",
    "xx",
    "errors",
    "lowest y",
    "lowest x",
    "highest y",
    "highest x",
)
COMPARED = (
    *("rank yx", "rank y", "rank x", "rank yy", "rank xx"),
    *("observed top", "errors in observed top", "ranks in observed top"),
    *("imputed top", "errors in imputed top", "ranks in imputed top"),
    *("match", "catch observed", "catch imputed", "peaks", "ranks in peaks"),
)

Keys = NDArray[np.int32]
Float64 = NDArray[np.float64]


class KeyRule(NamedTuple):
    """How float32 values become keys: their bits, read as whole numbers, ascend with them.

    Attributes
    ----------
    dropped
        Bits of a magnitude that are rounded away, 1 to 30: the largest that is left has 31 − `dropped`.
    signed
        Whether signs are looked at.
    middle
        With signs, the key of 0, to which signed magnitudes are added.
    """

    dropped: int
    signed: bool = False
    middle: int = 0

    def check(self, n_keys: int) -> None:
        """Raise ValueError if a key would not lie in [0, n_keys)."""
        check_range("dropped", self.dropped, 1, 31)
        largest = 0x7FFFFFFF >> self.dropped
        if self.signed:
            check_range("middle", self.middle, largest, n_keys - largest)
        else:
            check_range("the largest key", largest, 0, n_keys)


@dataclass(frozen=True)
class RankTables:
    """What is known of t tracks, the observed one first, when all their keys have been counted.

    Attributes
    ----------
    rule
        Of the keys.
    places
        int32 (t × keys): of each track's keys the places among those that occur in any track; those of the observed
        track are the first.
    n_places, n_observed
        How many of all tracks, and of the observed one.
    ranks
        float64: centred ranks of the first track, then of the others.
    starts
        int64 (t + 1): where those of each track start, and of the last one end.
    below
        int32 (t,): of each track the key that has its first rank; so have smaller ones, the next key has the next rank.
    """

    rule: KeyRule
    places: Keys
    n_places: int
    n_observed: int
    ranks: Float64
    starts: NDArray[np.int64]
    below: Keys

    def __post_init__(self) -> None:
        t = len(self.places)
        check_array("places", self.places, np.int32, (t, None))
        check_array("ranks", self.ranks, np.float64, (None,))
        check_array("starts", self.starts, np.int64, (t + 1,))
        check_array("below", self.below, np.int32, (t,))
        self.rule.check(self.places.shape[1])
        for own, size in zip(self.places, (self.n_observed, *[self.n_places] * (t - 1)), strict=True):
            check_places(own, size)
        if self.starts[0] != 0 or self.starts[-1] != len(self.ranks) or not (np.diff(self.starts) > 0).all():
            raise ValueError("every track must have ranks, and all ranks be of a track")


class Positive(NamedTuple):
    """Bins in a top set or in peaks, by the places of a track's keys.

    Attributes
    ----------
    observed, peaks
        int64 (places,): in the top 1 % of the observed track, and in peaks, by the places of each imputed track.
    imputed
        int64 (imputed tracks × n_observed): in that of an imputed track, by the places of the observed one.
    """

    observed: NDArray[np.int64]
    imputed: NDArray[np.int64]
    peaks: NDArray[np.int64]

    @classmethod
    def none(cls, tables: RankTables) -> Positive:
        """Before any bin is compared."""
        n_imputed, n_places = len(tables.places) - 1, tables.n_places
        shapes: tuple[tuple[int, ...], ...] = (n_places,), (n_imputed, tables.n_observed), (n_places,)
        return cls(*(np.zeros(shape, dtype=np.int64) for shape in shapes))


def find_keys(values: NDArray[np.float32], rule: KeyRule) -> Keys:
    """Return the keys of float32 (n,), in one piece: int32 (n,)."""
    check_array("values", values, np.float32, (None,))
    check_range("dropped", rule.dropped, 1, 31)
    keys = np.empty(len(values), dtype=np.int32)
    if keys.size:
        compiled.scores.keys(values, tuple(rule), keys)
    return keys


def tally(tracks: NDArray[Any], rule: KeyRule, counts: NDArray[np.uint32]) -> None:
    """Count the keys of t tracks, float32 or float64 (t × n), in `counts` (t × keys).

    Raises
    ------
    ValueError
        If keys may have no place there.
    """
    _check_tracks(tracks)
    check_array("counts", counts, np.uint32, (len(tracks), None), written=True)
    rule.check(counts.shape[1])
    if tracks.size:
        compiled.scores.tally(tracks, tuple(rule), counts)


def joint(tracks: NDArray[Any], states: Float64) -> None:
    """Add bins to means and centred products of the observed and each imputed track.

    Each 1024 bins' products are about their own means and then moved (Chan, Golub & LeVeque 1983, The American
    Statistician 37:242), so that one sweep is as precise as two.

    Parameters
    ----------
    tracks
        float32 or float64 (t × n): observed, then imputed ones.
    states
        float64 (t − 1 × len(JOINT)): zeros, and infinities for lowest and highest values, or what earlier bins came to.
    """
    _check_tracks(tracks)
    check_array("states", states, np.float64, (len(tracks) - 1, len(JOINT)), written=True)
    if tracks.size:
        compiled.scores.joint(tracks, states)


def weighted(tracks: NDArray[Any], weights: NDArray[np.float32], sums: Float64) -> None:
    """Add weights, and squared differences from the observed track by weights, to `sums`, (t − 1 × 2)."""
    _check_tracks(tracks)
    check_array("weights", weights, np.float32, tracks.shape[1:])
    check_array("sums", sums, np.float64, (len(tracks) - 1, 2), written=True)
    if tracks.size:
        compiled.scores.weighted(tracks, weights, sums)


def compare(
    tracks: NDArray[Any],
    peaks: NDArray[np.bool_] | None,
    tables: RankTables,
    tops: NDArray[np.int64],
    sums: Float64,
    positive: Positive,
) -> None:
    """Add what needs the ranks of the observed and each imputed track.

    Parameters
    ----------
    tracks
        See `joint`.
    peaks
        bool (n,): which bins are in peaks, or None.
    tables
        Of these tracks.
    tops
        int64 (t × 4): of each track's top 1 % and 5 % the key that all in it exceed, and how many bins with just that
        key belong to it, too: the first that come. They are counted down.
    sums
        float64 (t − 1 × len(COMPARED)).
    positive
        Counted up.
    """
    _check_tracks(tracks)
    t, n_places = len(tracks), tables.n_places
    if len(tables.places) != t:
        raise ValueError(f"there are tables of {len(tables.places)} tracks, not {t}")
    check_array("tops", tops, np.int64, (t, 4), written=True)
    check_array("sums", sums, np.float64, (t - 1, len(COMPARED)), written=True)
    check_array("observed", positive.observed, np.int64, (n_places,), written=True)
    check_array("imputed", positive.imputed, np.int64, (t - 1, tables.n_observed), written=True)
    check_array("peaks", positive.peaks, np.int64, (n_places,), written=True)
    if peaks is not None:
        check_array("in peaks", peaks, np.bool_, tracks.shape[1:])
    if tracks.size:
        marked = None if peaks is None else peaks.view(np.uint8)
        by_key = tables.places, tables.ranks, tables.starts, tables.below
        compiled.scores.compare(tracks, marked, tuple(tables.rule), by_key, tops, sums, *positive)


@dataclass(frozen=True)
class AssayMeans:
    """Which rows some means are of, and by what factors these are scaled.

    Attributes
    ----------
    rows
        Of each mean one row or more, int64.
    factors
        Of each, taken in float32.
    """

    rows: Sequence[NDArray[np.int64]]
    factors: Sequence[float]

    def write(self, signal: NDArray[np.float32], out: NDArray[np.float32], *, variance: bool) -> None:
        """Write the means of rows, these times their factors, and the rows' variances if they are wanted, to `out`.

        Parameters
        ----------
        signal
            float32 (k × n); NaN is not observed. Sums are taken in float32, row by row; the variance is about their
            mean in float64, 0 where fewer than two rows are chosen or none is observed.
        out
            float32 (means × 3 × n), each row in one piece.
        """
        check_array("signal", signal, np.float32, (None, None))
        check_array("out", out, np.float32, (len(self.rows), 3, signal.shape[1]), written=True, rows=True)
        if self.rows and signal.shape[1]:
            check_places(self._chosen, len(signal))
            compiled.scores.assays(signal, self._chosen, self._starts, self._factors, out, variance)

    @cached_property
    def _chosen(self) -> NDArray[np.int64]:
        return np.concatenate(self.rows)

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        return np.cumsum([0, *map(len, self.rows)], dtype=np.int64)

    @cached_property
    def _factors(self) -> NDArray[np.float32]:
        return np.array(self.factors, dtype=np.float32)


def bound(
    rows: NDArray[np.float32],
    added: NDArray[np.float32],
    low: NDArray[np.float32],
    high: NDArray[np.float32],
) -> None:
    """Add a number to each row of float32 (m × n), then bring it within bounds, (m,) each, in place; NaN stays."""
    check_array("rows", rows, np.float32, (None, None), written=True)
    for name, ends in (("added", added), ("low", low), ("high", high)):
        check_array(name, ends, np.float32, (len(rows),))
    if rows.size:
        compiled.scores.bound(rows, added, low, high)


def _check_tracks(tracks: NDArray[Any]) -> None:
    """Raise unless tracks (t × n) are in one piece, all float32 or all float64."""
    check_array("tracks", tracks, np.float64 if tracks.dtype == np.float64 else np.float32, (None, None))
