"""How well imputed tracks match observed ones.

The measures are those of Ernst & Kellis 2015 (ChromImpute, Nature Biotechnology 33:364) as extended by
Durham et al. 2018 (PREDICTD, Nature Communications 9:1402, Methods).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from predictd.constants import MEASURES
from predictd.errors import DataError
from predictd.model.measures.ranks import KeyCounts, Ranking, rank_keys

Inverse = Callable[[NDArray], NDArray]

# Bins that are compared at once: temporaries of a few MB.
_BLOCK = 2**18
_REGIONS = ("promoters", "genes", "enhancers")
_NO_MASKS: Mapping[str, NDArray[np.bool_]] = MappingProxyType({})


class TrackComparison:
    """Compares an imputed track with the observed one in two sweeps over the same blocks of bins.

    `survey` takes every block in genome order, then `compare` takes them again, then `measures` returns the result.
    Memory (8 MB of counts of rank keys, and temporaries of a block) does not depend on the number of bins, and
    results depend on the blocks only through the rounding of float64 sums.

    Only bins in which both tracks are finite count; negative values are set to 0 first. What ranks values, that is
    the top sets, GWspear and the areas under ROC curves (AUC), compares their rank keys: values rounded to 12 binary
    digits after the leading one (`predictd.model.measures.ranks`), of which equal ones are ties. The top 1 % are
    max(1, n // 100) of the n bins, the top 5 % max(1, n // 20); of tied bins those nearest to the start rank highest.
    In GWspear and AUCs ranks are averaged over ties. MSEs and the Pearson correlations take values as they are.

    Parameters
    ----------
    inverse
        Maps transformed values to the unit of the input track: `np.sinh` for arcsinh.
    """

    def __init__(self, inverse: Inverse) -> None:
        self._inverse = inverse
        self._counts = KeyCounts(), KeyCounts()
        self._rankings: tuple[Ranking, Ranking] | None = None
        self._transformed, self._raw = _Products(), _Products()
        self._errors = {name: _Mean() for name in ("all", "observed top", "imputed top", *_REGIONS)}
        # Of centred ranks: of the imputed track in the top observed bins and in peaks, and the reverse.
        self._ranks = {name: _Mean() for name in ("observed top", "imputed top", "peaks")}
        self._rank_product = 0.0
        self._overlaps = dict.fromkeys(("Match1", "Catch1obs", "Catch1imp"), 0)

    def survey(
        self,
        observed: NDArray[np.floating],
        imputed: NDArray[np.floating],
        masks: Mapping[str, NDArray[np.bool_]] = _NO_MASKS,
    ) -> None:
        """First sweep: take the next block.

        Parameters
        ----------
        observed, imputed
            (bins,) float arrays in transformed (usually arcsinh) space.
        masks
            (bins,) bool arrays by any of the names `promoters`, `genes`, `enhancers` (and `peaks`, not used yet).
        """
        y, x, where = _comparable(observed, imputed, masks)
        if not y.size:
            return
        for counts, values in zip(self._counts, (y, x), strict=True):
            counts.add(rank_keys(values))
        y, x = y.astype(np.float64), x.astype(np.float64)
        self._transformed.add(y, x)
        self._raw.add(self._inverse(y), self._inverse(x))
        errors = np.square(y - x)
        self._errors["all"].add(errors)
        for name in _REGIONS:
            if name in where:
                self._errors[name].add(errors[where[name]])

    def compare(
        self,
        observed: NDArray[np.floating],
        imputed: NDArray[np.floating],
        masks: Mapping[str, NDArray[np.bool_]] = _NO_MASKS,
    ) -> None:
        """Second sweep: take the next block, with the arguments of `survey`; of the masks `peaks` is used.

        Raises
        ------
        DataError
            If the first sweep found no bin with a finite value in both tracks.
        """
        y_ranking, x_ranking = self._ranked()
        y, x, where = _comparable(observed, imputed, masks)
        y_keys, x_keys = rank_keys(y), rank_keys(x)
        y1, y5 = (top.take(y_keys) for top in y_ranking.tops)
        x1, x5 = (top.take(x_keys) for top in x_ranking.tops)
        for name, mask in (("observed top", y1), ("imputed top", x1)):
            self._errors[name].add(np.square(y[mask].astype(np.float64) - x[mask]))
        for name, both in (("Match1", y1 & x1), ("Catch1obs", y1 & x5), ("Catch1imp", x1 & y5)):
            self._overlaps[name] += np.count_nonzero(both)
        y_ranks = y_ranking.centred[y_keys].astype(np.float64)
        x_ranks = x_ranking.centred[x_keys].astype(np.float64)
        self._rank_product += _dot(y_ranks, x_ranks)
        self._ranks["observed top"].add(x_ranks[y1])
        self._ranks["imputed top"].add(y_ranks[x1])
        if "peaks" in where:
            self._ranks["peaks"].add(x_ranks[where["peaks"]])

    def measures(self) -> dict[str, float]:
        """Return the measures by the names of `constants.MEASURES`, in that order.

        NaN is what is not defined: measures without their mask or whose mask selects nothing, AUCs of all or no
        bins, correlations with a constant (for GWspear: of which all bins are tied).

        Raises
        ------
        DataError
            If no bin has a finite value in both tracks.
        """
        y_ranking, x_ranking = self._ranked()
        n = self._errors["all"].count
        size = y_ranking.tops[0].size
        values = {
            "MSEglobal": self._errors["all"].value,
            "MSE1obs": self._errors["observed top"].value,
            "MSE1imp": self._errors["imputed top"].value,
            "GWcorrasinh": self._transformed.correlation(),
            # A constant stays one, but sums may not show it after `inverse`.
            "GWcorr": math.nan if self._transformed.constant else self._raw.correlation(),
            "GWspear": _correlation(self._rank_product, y_ranking.squares, x_ranking.squares),
            **{name: count / size for name, count in self._overlaps.items()},
            "AucObs1": _auc(self._ranks["observed top"], n),
            "AucImp1": _auc(self._ranks["imputed top"], n),
            "CatchPeakObs": _auc(self._ranks["peaks"], n),
            "MSEprom": self._errors["promoters"].value,
            "MSEgene": self._errors["genes"].value,
            "MSEenh": self._errors["enhancers"].value,
        }
        return {name: float(values[name]) for name in MEASURES}

    def _ranked(self) -> tuple[Ranking, Ranking]:
        """Rankings of both tracks, made when the first sweep is over."""
        if self._rankings is None:
            n = self._errors["all"].count
            if not n:
                raise DataError("no bin has a value in both the observed and the imputed track")
            sizes = max(1, n // 100), max(1, n // 20)
            y_counts, x_counts = self._counts
            self._rankings = y_counts.rank(sizes), x_counts.rank(sizes)
            del self._counts
        return self._rankings


def evaluate_track(
    observed: ArrayLike,
    imputed: ArrayLike,
    *,
    inverse: Inverse,
    peaks: ArrayLike | None = None,
    promoters: ArrayLike | None = None,
    genes: ArrayLike | None = None,
    enhancers: ArrayLike | None = None,
) -> dict[str, float]:
    """Compare an imputed track with the observed one, both held in memory; see `TrackComparison`.

    Parameters
    ----------
    observed, imputed
        (n_bins,) float arrays over the same bins, in transformed (usually arcsinh) space.
    inverse
        Maps transformed values to the unit of the input track: `np.sinh` for arcsinh.
    peaks, promoters, genes, enhancers
        (n_bins,) bool arrays: the bins that overlap peaks of the observed experiment, or the regions.

    Returns
    -------
    dict of str to float
        As of `TrackComparison.measures`.

    Raises
    ------
    DataError
        If shapes differ, or no bin has a finite value in both tracks.
    """
    y, x = (np.asarray(values) for values in (observed, imputed))
    if y.ndim != 1 or y.shape != x.shape:
        raise DataError(f"observed {y.shape} and imputed {x.shape} are not single tracks of one length")
    given = {"peaks": peaks, "promoters": promoters, "genes": genes, "enhancers": enhancers}
    masks = {name: np.asarray(mask) for name, mask in given.items() if mask is not None}
    for name, mask in masks.items():
        if mask.shape != y.shape or mask.dtype != bool:
            raise DataError(f"{name}: one bool for each of the {y.size} bins is expected, not {mask.shape}")
    comparison = TrackComparison(inverse)
    for sweep in (comparison.survey, comparison.compare):
        for start in range(0, y.size, _BLOCK):
            block = slice(start, start + _BLOCK)
            sweep(y[block], x[block], {name: mask[block] for name, mask in masks.items()})
    return comparison.measures()


def _comparable(
    observed: NDArray[np.floating], imputed: NDArray[np.floating], masks: Mapping[str, NDArray[np.bool_]]
) -> tuple[NDArray, NDArray, Mapping[str, NDArray[np.bool_]]]:
    """Reduce a block to the bins with finite values in both tracks, and bring these to non-negative values."""
    finite = np.isfinite(observed)
    finite &= np.isfinite(imputed)
    if not finite.all():
        observed, imputed = observed[finite], imputed[finite]
        masks = {name: mask[finite] for name, mask in masks.items()}
    return np.maximum(observed, 0), np.maximum(imputed, 0), masks


@dataclass
class _Mean:
    """A mean of what comes in blocks; NaN of nothing."""

    total: float = 0.0
    count: int = 0

    def add(self, values: NDArray[np.float64]) -> None:
        self.total += float(values.sum())
        self.count += values.size

    @property
    def value(self) -> float:
        return self.total / self.count if self.count else math.nan


class _Products:
    """Centred products of two tracks that come in blocks.

    Each block's are about its own means and then moved (Chan, Golub & LeVeque 1983, The American Statistician 37:242),
    so that one sweep is as precise as two.
    """

    def __init__(self) -> None:
        self._n = 0
        self._means = np.zeros(2)
        self._products = np.zeros(3)
        self._lowest, self._highest = np.full(2, np.inf), np.full(2, -np.inf)

    def add(self, y: NDArray[np.float64], x: NDArray[np.float64]) -> None:
        """Take a block of at least one bin."""
        means = np.array([y.mean(), x.mean()])
        dy, dx = y - means[0], x - means[1]
        gap = means - self._means
        total = self._n + y.size
        self._products += [_dot(dy, dx), _dot(dy, dy), _dot(dx, dx)]
        self._products += self._n * (y.size / total) * gap[[0, 0, 1]] * gap[[1, 0, 1]]
        self._means += gap * (y.size / total)
        self._n = total
        self._lowest = np.minimum(self._lowest, [y.min(), x.min()])
        self._highest = np.maximum(self._highest, [y.max(), x.max()])

    @property
    def constant(self) -> bool:
        """Whether either track has one value throughout."""
        return bool((self._lowest == self._highest).any())

    def correlation(self) -> float:
        """Return Pearson's r; NaN with a constant."""
        cross, y, x = self._products.tolist()
        return math.nan if self.constant else _correlation(cross, y, x)


def _dot(y: NDArray[np.float64], x: NDArray[np.float64]) -> float:
    """Return the sum of products, without BLAS, whose bits depend on its number of threads."""
    return float(np.einsum("i,i->", y, x))


def _correlation(cross: float, y_squares: float, x_squares: float) -> float:
    """Return a correlation from centred products; NaN where one track does not vary."""
    scale = math.sqrt(y_squares) * math.sqrt(x_squares)
    return min(1.0, max(-1.0, cross / scale)) if scale > 0 else math.nan


def _auc(positive: _Mean, n: int) -> float:
    """Return the area under the ROC curve from centred ranks of the positive among n bins; NaN without two classes.

    From Mann–Whitney's U = Σr − P(P + 1)/2 over the P positive and N negative bins: U/PN = 1/2 + mean(2r − n − 1)/2N.
    """
    n_negative = n - positive.count
    return 0.5 + positive.value / (2 * n_negative) if n_negative else math.nan
