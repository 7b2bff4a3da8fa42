"""Measures as functions of sums over bins, so that parts of the genome can be left out or drawn again.

Once ranks and top sets are known, every measure but the areas under precision-recall curves is a function of a few sums
over bins. They are kept for each block of the genome: all blocks together give the measures, and blocks drawn with
replacement give the measures of a bootstrapped genome (a block bootstrap, Künsch 1989, Annals of Statistics 17:1217),
with the ranks and top sets of the whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from predictd.kernels import COMPARED, JOINT, joint, weighted

Array = NDArray[np.float64]

# Bins, squared errors, and bins or weights with squared errors of parts of them; overlaps of top sets; centred ranks.
REGIONS = ("promoters", "genes", "enhancers")
_PARTS = ("observed top", "imputed top", *REGIONS, "variance")
_RANKED = ("observed top", "imputed top", "peaks")
# Of two tracks in transformed space, and turned back: their sums about the means of the whole, and their products.
_PRODUCTS = tuple(f"{space} {what}" for space in ("plain", "raw") for what in ("y", "x", "yx", "yy", "xx"))
COLUMNS = (
    "bins",
    "errors",
    *_PARTS,
    *(f"errors in {name}" for name in _PARTS),
    "match",
    "catch observed",
    "catch imputed",
    "peaks",
    *(f"ranks in {name}" for name in _RANKED),
    *("rank y", "rank x", "rank yx", "rank yy", "rank xx"),
    *_PRODUCTS,
)
_PLACE = {name: index for index, name in enumerate(COLUMNS)}
_OF_COMPARED = np.array([_PLACE[name] for name in COMPARED])
_OF_JOINT = {name: place for place, name in enumerate(JOINT)}


class BlockSums:
    """Sums over the bins of each block of the genome, for each of some imputed tracks.

    Parameters
    ----------
    n_blocks, n_imputed
        Blocks, and imputed tracks.
    raw
        Whether products are kept of the tracks turned back, too.
    """

    def __init__(self, n_blocks: int, n_imputed: int, *, raw: bool) -> None:
        self._tables: Array = np.zeros((n_blocks, n_imputed, len(COLUMNS)))
        self._squares: Array | None = None
        spaces = ("plain", "raw") if raw else ("plain",)
        self._joint = {space: _no_bins(n_blocks, n_imputed) for space in spaces}

    def add_tracks(self, space: str, block: int, tracks: NDArray[np.floating]) -> None:
        """Add bins of the observed and the imputed tracks, (1 + n_imputed × bins), in a space."""
        joint(tracks, self._joint[space][block])

    def add_part(self, name: str, block: int, tracks: NDArray[np.floating], weights: NDArray) -> None:
        """Add squared errors in a part of the genome: of bins by their weights."""
        sums = np.zeros((len(tracks) - 1, 2))
        weighted(tracks, np.ascontiguousarray(weights, dtype=np.float32), sums)
        self._tables[block][:, [_PLACE[name], _PLACE[f"errors in {name}"]]] += sums

    def add_compared(self, block: int, sums: Array) -> None:
        """Add what `predictd.kernels.compare` found, (n_imputed × `COMPARED`)."""
        self._tables[block][:, _OF_COMPARED] += sums

    def set_ranks_of_all(self, squares_y: float, squares_x: Sequence[float]) -> None:
        """Give sums of squares of all ranks, where there is a single block: exact, and ranks sum to 0."""
        self._squares = np.array([(0.0, 0.0, squares_y, own) for own in squares_x])

    def tables(self) -> list[Array]:
        """The sums of each imputed track: float64 (blocks × `COLUMNS`)."""
        tables = self._tables.swapaxes(0, 1)
        plain = self._joint["plain"].swapaxes(0, 1)
        tables[..., _PLACE["bins"]] = plain[..., _OF_JOINT["n"]]
        tables[..., _PLACE["errors"]] = plain[..., _OF_JOINT["errors"]]
        for space, states in self._joint.items():
            columns = [_PLACE[f"{space} {what}"] for what in ("y", "x", "yx", "yy", "xx")]
            tables[..., columns] = [_about_all(own) for own in states.swapaxes(0, 1)]
        if self._squares is not None:
            columns = [_PLACE[name] for name in ("rank y", "rank x", "rank yy", "rank xx")]
            tables[:, 0, columns] = self._squares
        return list(tables)


def measures_of(sums: Array, n_bins: int) -> dict[str, Array]:
    """Return measures of sums over blocks, by the names of `constants.MEASURES`; NaN where they are not defined.

    Parameters
    ----------
    sums
        float64 (…, `COLUMNS`): of all blocks, or of any that were drawn.
    n_bins
        Of the whole genome, to which centred ranks refer.

    Returns
    -------
    dict of str to float64 (…,)
        Without the areas under precision-recall curves.
    """

    def of(name: str) -> Array:
        return np.asarray(sums[..., _PLACE[name]])

    bins = of("bins")
    with np.errstate(invalid="ignore", divide="ignore"):
        parts = {name: of(f"errors in {name}") / of(name) for name in _PARTS}
        top_observed, top_imputed = of("observed top"), of("imputed top")
        return {
            "MSEglobal": of("errors") / bins,
            "MSE1obs": parts["observed top"],
            "MSE1imp": parts["imputed top"],
            "GWcorrasinh": _correlation(
                bins, *(of(f"plain {name}") for name in ("y", "x", "yx", "yy", "xx"))
            ),
            "GWcorr": _correlation(bins, *(of(f"raw {name}") for name in ("y", "x", "yx", "yy", "xx"))),
            "GWspear": _correlation(bins, *(of(f"rank {name}") for name in ("y", "x", "yx", "yy", "xx"))),
            "Match1": of("match") / top_observed,
            "Catch1obs": of("catch observed") / top_observed,
            "Catch1imp": of("catch imputed") / top_imputed,
            "AucObs1": _auc(bins, top_observed, of("ranks in observed top"), of("rank x"), n_bins),
            "AucImp1": _auc(bins, top_imputed, of("ranks in imputed top"), of("rank y"), n_bins),
            "CatchPeakObs": _auc(bins, of("peaks"), of("ranks in peaks"), of("rank x"), n_bins),
            "MSEprom": parts["promoters"],
            "MSEgene": parts["genes"],
            "MSEenh": parts["enhancers"],
            "MSEvar": parts["variance"],
        }


def _correlation(bins: Array, y: Array, x: Array, yx: Array, yy: Array, xx: Array) -> Array:
    """Pearson's r from sums and products; NaN where one track does not vary."""
    scale = np.sqrt(np.maximum(yy - y * y / bins, 0)) * np.sqrt(np.maximum(xx - x * x / bins, 0))
    r = (yx - y * x / bins) / np.where(scale > 0, scale, np.nan)
    return np.clip(r, -1.0, 1.0)


def _auc(bins: Array, positive: Array, ranks: Array, all_ranks: Array, n_bins: int) -> Array:
    """Area under the ROC curve from sums of centred ranks; NaN without two classes.

    From Mann–Whitney's U = Σr − P(P + 1)/2 over the P positive and N negative bins: U/PN = 1/2 + mean(2r − n − 1)/2N.
    Of drawn blocks ranks are about their own mean, and still count bins of the whole genome.
    """
    negative = (1 - positive / bins) * n_bins
    return 0.5 + (ranks / positive - all_ranks / bins) / (2 * np.where(negative > 0, negative, np.nan))


def _no_bins(n_blocks: int, n_imputed: int) -> Array:
    """What `joint` keeps of each block and track before it has seen a bin."""
    states = np.zeros((n_blocks, n_imputed, len(JOINT)))
    for name in JOINT:
        if name.startswith(("lowest", "highest")):
            states[..., _OF_JOINT[name]] = np.inf if name.startswith("lowest") else -np.inf
    return states


def _about_all(states: Array) -> Array:
    """Sums and products of each block about the means of all, (blocks × 5); zeros where either track is constant."""
    n, y, x, *products, _, low_y, low_x, high_y, high_x = states.T
    found = np.zeros((len(n), 5))
    if low_y.min() < high_y.max() and low_x.min() < high_x.max():
        gaps = [means - (n * means).sum() / n.sum() for means in (y, x)]
        found[:, :2] = (n * gaps).T
        for place, (one, other) in enumerate(((0, 1), (0, 0), (1, 1))):
            found[:, 2 + place] = products[place] + n * gaps[one] * gaps[other]
    return found


def no_measures(names: tuple[str, ...]) -> dict[str, float]:
    """Return NaN for each measure: what is known of a track without a bin to compare."""
    return dict.fromkeys(names, math.nan)
