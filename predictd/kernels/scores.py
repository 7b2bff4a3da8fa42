"""Sums and counts over bins by which imputed tracks are scored."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from predictd.kernels import compiled
from predictd.kernels.checks import check_array, check_range

# Bits of a class: in the top 1 %, in the top 5 %, in a peak.
TOP_1, TOP_5, PEAK = 1, 2, 4
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


class Ranked(NamedTuple):
    """Bins of a track whose keys have all been counted.

    Attributes
    ----------
    classes
        uint8 (n,): bits `TOP_1`, `TOP_5`, and of the observed track `PEAK`.
    ranks
        float64 (n,): centred ranks.
    places
        int32 (n,): places of their keys among those that occur.
    """

    classes: NDArray[np.uint8]
    ranks: Float64
    places: Keys


def find_keys(values: NDArray[np.float32], dropped: int, middle: int | None) -> Keys:
    """Round away bits of magnitudes, float32 (n,), and return what is left as int32 (n,).

    Parameters
    ----------
    values
        In one piece.
    dropped
        Bits, 1 to 30: of 31 − `dropped` bits is the largest magnitude that is left.
    middle
        The key of 0, to which signed magnitudes are added; None: signs are not looked at.
    """
    check_array("values", values, np.float32, (None,))
    check_range("dropped", dropped, 1, 31)
    keys = np.empty(len(values), dtype=np.int32)
    if keys.size:
        compiled.scores.keys(values, dropped, middle is not None, middle or 0, keys)
    return keys


def tally(keys: Keys, counts: NDArray[np.uint32]) -> None:
    """Add 1 to `counts` at each key.

    Raises
    ------
    ValueError
        If a key has no place there.
    """
    check_array("counts", counts, np.uint32, (None,), written=True)
    if _check_keys(keys, len(counts)):
        compiled.scores.tally(keys, counts)


def classify(keys: Keys, tops: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return which bins are in two top sets: bits `TOP_1` and `TOP_5`.

    Parameters
    ----------
    keys
        int32 (n,).
    tops
        int64 (4,): of each set the key that all in it exceed, and how many bins with just that key belong to it, too:
        the first that come. They are counted down.
    """
    check_array("keys", keys, np.int32, (None,))
    check_array("tops", tops, np.int64, (4,), written=True)
    classes = np.empty(len(keys), dtype=np.uint8)
    if classes.size:
        compiled.scores.classify(keys, tops, classes)
    return classes


def find_ranks(keys: Keys, places: Keys, centred: Float64) -> tuple[Float64, Keys]:
    """Return centred[places[keys]], float64 (n,), and places[keys], int32 (n,); `places` must lie within `centred`."""
    check_array("places", places, np.int32, (None,))
    check_array("centred", centred, np.float64, (None,))
    ranks, own = np.empty(len(keys)), np.empty(len(keys), dtype=np.int32)
    if _check_keys(keys, len(places)):
        compiled.scores.ranks(keys, places, centred, own, ranks)
    return ranks, own


def joint(y: NDArray[Any], x: NDArray[Any], state: Float64) -> None:
    """Add bins to means and centred products of two tracks.

    Each 1024 bins' products are about their own means and then moved (Chan, Golub & LeVeque 1983, The American
    Statistician 37:242), so that one sweep is as precise as two.

    Parameters
    ----------
    y, x
        float32 or float64 (n,), both the same.
    state
        float64 (len(JOINT),): zeros, and infinities for lowest and highest values, or what earlier bins came to.
    """
    _check_pair(y, x)
    check_array("state", state, np.float64, (len(JOINT),), written=True)
    if y.size:
        compiled.scores.joint(y, x, state)


def weighted(y: NDArray[Any], x: NDArray[Any], weights: NDArray[np.float32], sums: Float64) -> None:
    """Add weights, and squared differences of two tracks by weights, to `sums`, (2,)."""
    _check_pair(y, x)
    check_array("weights", weights, np.float32, y.shape)
    check_array("sums", sums, np.float64, (2,), written=True)
    if y.size:
        compiled.scores.weighted(y, x, weights, sums)


def compare(
    y: NDArray[Any],
    x: NDArray[Any],
    ranked: tuple[Ranked, Ranked],
    sums: Float64,
    positive: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]],
) -> None:
    """Add what needs the ranks of two tracks.

    Parameters
    ----------
    y, x
        See `joint`.
    ranked
        Of both, (n,).
    sums
        float64 (len(COMPARED),).
    positive
        How many bins in the top 1 % of y, in that of x and in peaks have each key: of x, of y, and of x, by its place.
    """
    _check_pair(y, x)
    check_array("sums", sums, np.float64, (len(COMPARED),), written=True)
    for side in ranked:
        check_array("classes", side.classes, np.uint8, y.shape)
        check_array("ranks", side.ranks, np.float64, y.shape)
        check_array("places", side.places, np.int32, y.shape)
    for counts, side in zip(positive, (ranked[1], ranked[0], ranked[1]), strict=True):
        check_array("positive", counts, np.int64, (None,), written=True)
        _check_keys(side.places, len(counts))
    if y.size:
        compiled.scores.compare(y, x, tuple(ranked[0]), tuple(ranked[1]), sums, *positive)


def columns_of(values: NDArray[np.float32], columns: NDArray[np.int64]) -> NDArray[np.float32]:
    """Some columns of float32 (n × width) as the rows of float32 (k × n)."""
    check_array("values", values, np.float32, (None, None))
    check_array("columns", columns, np.int64, (None,))
    rows = np.empty((len(columns), len(values)), dtype=np.float32)
    if _check_keys(columns, values.shape[1]) and len(values):
        compiled.scores.columns(values, columns, rows)
    return rows


def mean_and_variance(
    rows: NDArray[np.float32],
    chosen: NDArray[np.int64],
    factor: float,
    out: tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]],
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
        Three of float32 (n,).
    """
    check_array("rows", rows, np.float32, (None, None))
    check_array("chosen", chosen, np.int64, (None,))
    for array in out:
        check_array("out", array, np.float32, (rows.shape[1],), written=True)
    if _check_keys(chosen, len(rows)) and rows.shape[1]:
        compiled.scores.assay(rows, chosen, factor, *out)


def _check_pair(y: NDArray[Any], x: NDArray[Any]) -> None:
    """Raise unless two tracks are of one length, and both float32 or both float64."""
    check_array("y", y, np.float64 if y.dtype == np.float64 else np.float32, (None,))
    check_array("x", x, y.dtype, y.shape)


def _check_keys(keys: NDArray[Any], n: int) -> bool:
    """Whether there are keys; raises where one is not in [0, n)."""
    check_array("keys", keys, np.int64 if keys.dtype == np.int64 else np.int32, (None,))
    if keys.size and not (keys.min() >= 0 and keys.max() < n):
        raise ValueError(f"keys must lie in [0, {n})")
    return bool(keys.size)
