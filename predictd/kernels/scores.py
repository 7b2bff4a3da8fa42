"""Sums and counts over bins by which imputed tracks are scored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from predictd.kernels import compiled
from predictd.kernels.checks import check_array, check_range

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
        int32 (t × keys): of each track's keys the places among those that occur in any track.
    centred
        float64 (places,): centred ranks.
    n_observed
        Places of the observed track; they are the first.
    """

    rule: KeyRule
    places: Keys
    centred: Float64
    n_observed: int

    def __post_init__(self) -> None:
        check_array("places", self.places, np.int32, (None, None))
        check_array("centred", self.centred, np.float64, (None,))
        self.rule.check(self.places.shape[1])
        sizes = self.n_observed, *(len(self.centred) for _ in self.places[1:])
        for own, size in zip(self.places, sizes, strict=True):
            _check_keys(own, size)


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
        n_imputed, n_places = len(tables.places) - 1, len(tables.centred)
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
    t, n_places = len(tracks), len(tables.centred)
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
        compiled.scores.compare(
            tracks, marked, tuple(tables.rule), tables.places, tables.centred, tops, sums, *positive
        )


def columns_of(
    values: NDArray[np.float32], columns: NDArray[np.int64], out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Some columns of float32 (n × width) as the rows of float32 (k × n): of `out`, or of a new array."""
    check_array("values", values, np.float32, (None, None))
    check_array("columns", columns, np.int64, (None,))
    shape = len(columns), len(values)
    rows = np.empty(shape, dtype=np.float32) if out is None else out
    check_array("out", rows, np.float32, shape, written=True)
    if _check_keys(columns, values.shape[1]) and len(values):
        compiled.scores.columns(values, columns, rows)
    return rows


def mean_and_variance(
    rows: NDArray[np.float32],
    chosen: NDArray[np.int64],
    factor: float,
    out: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32] | None],
) -> None:
    """Write the mean of some rows, this times a factor, and the rows' variance, to `out`.

    Parameters
    ----------
    rows
        float32 (k × n); NaN is not observed. Sums are taken in float32, row by row; the variance is about their mean in
        float64, 0 where fewer than two rows are chosen or none is observed.
    chosen
        int64: which rows.
    factor
        Taken in float32.
    out
        Three of float32 (n,); the last may be None.
    """
    check_array("rows", rows, np.float32, (None, None))
    check_array("chosen", chosen, np.int64, (None,))
    for array in out:
        if array is not None:
            check_array("out", array, np.float32, (rows.shape[1],), written=True)
    if _check_keys(chosen, len(rows)) and rows.shape[1]:
        compiled.scores.assay(rows, chosen, factor, *out)


def _check_tracks(tracks: NDArray[Any]) -> None:
    """Raise unless tracks (t × n) are in one piece, all float32 or all float64."""
    check_array("tracks", tracks, np.float64 if tracks.dtype == np.float64 else np.float32, (None, None))


def _check_keys(keys: NDArray[Any], n: int) -> bool:
    """Whether there are keys; raises where one is not in [0, n)."""
    check_array("keys", keys, np.int64 if keys.dtype == np.int64 else np.int32, (None,))
    if keys.size and not (keys.min() >= 0 and keys.max() < n):
        raise ValueError(f"keys must lie in [0, {n})")
    return bool(keys.size)
