"""Measures as functions of sums over bins, so that parts of the genome can be left out or drawn again.

Once ranks and top sets are known, every measure but the areas under precision-recall curves is a function of a few sums
over bins. They are kept for each block of the genome: all blocks together give the measures, and blocks drawn with
replacement give the measures of a bootstrapped genome (a block bootstrap, Künsch 1989, Annals of Statistics 17:1217),
with the ranks and top sets of the whole.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

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


class BlockSums:
    """Sums over the bins of each block of the genome.

    Attributes
    ----------
    table
        float64 (blocks × `COLUMNS`).
    """

    def __init__(self, n_blocks: int) -> None:
        self.table: Array = np.zeros((n_blocks, len(COLUMNS)))

    def add(self, block: int, name: str, value: float) -> None:
        """Add to a column of a block."""
        self.table[block, _PLACE[name]] += value

    def add_part(self, block: int, name: str, errors: Array, weights: NDArray) -> None:
        """Add squared errors in a part of the genome: of bins in a mask, or of all by their weights."""
        if weights.dtype == bool:
            chosen = errors[weights]
            count, total = float(chosen.size), float(chosen.sum())
        else:
            count, total = float(weights.sum(dtype=np.float64)), dot(weights, errors)
        self.add(block, name, count)
        self.add(block, f"errors in {name}", total)

    def set_products(self, space: str, products: Mapping[str, Array]) -> None:
        """Set the columns of centred sums and products of a space, each by block."""
        for name, values in products.items():
            self.table[:, _PLACE[f"{space} {name}"]] = values


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


def dot(y: NDArray, x: NDArray) -> float:
    """Return the sum of products, without BLAS, whose bits depend on its number of threads."""
    return float(np.einsum("i,i->", y, x))


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


class Products:
    """Centred products of two tracks that come in pieces.

    Each piece's are about its own means and then moved (Chan, Golub & LeVeque 1983, The American Statistician 37:242),
    so that one sweep is as precise as two.
    """

    def __init__(self) -> None:
        self._n = 0
        self._means = np.zeros(2)
        self._products = np.zeros(3)
        self._lowest, self._highest = np.full(2, np.inf), np.full(2, -np.inf)

    def add(self, y: Array, x: Array) -> None:
        """Take a piece of at least one bin."""
        means = np.array([y.mean(), x.mean()])
        dy, dx = y - means[0], x - means[1]
        self._join(y.size, means, np.array([dot(dy, dx), dot(dy, dy), dot(dx, dx)]))
        self._lowest = np.minimum(self._lowest, [y.min(), x.min()])
        self._highest = np.maximum(self._highest, [y.max(), x.max()])

    def _join(self, n: int, means: Array, products: Array) -> None:
        gap = means - self._means
        total = self._n + n
        self._products += products
        self._products += self._n * (n / total) * gap[[0, 0, 1]] * gap[[1, 0, 1]]
        self._means += gap * (n / total)
        self._n = total

    @staticmethod
    def by_block(blocks: list[Products]) -> dict[str, Array]:
        """Sums and products of each block about the means of all; zeros where either track has one value throughout."""
        whole = Products()
        for own in blocks:
            if own._n:
                whole._join(own._n, own._means, own._products)
                whole._lowest = np.minimum(whole._lowest, own._lowest)
                whole._highest = np.maximum(whole._highest, own._highest)
        found = np.zeros((5, len(blocks)))
        if (whole._lowest < whole._highest).all():
            for index, own in enumerate(blocks):
                gap = own._means - whole._means if own._n else np.zeros(2)
                found[:2, index] = own._n * gap
                found[2:, index] = own._products + own._n * gap[[0, 0, 1]] * gap[[1, 0, 1]]
        return dict(zip(("y", "x", "yx", "yy", "xx"), found, strict=True))


def no_measures(names: tuple[str, ...]) -> dict[str, float]:
    """Return NaN for each measure: what is known of a track without a bin to compare."""
    return dict.fromkeys(names, math.nan)
