"""How well imputed tracks match observed ones.

The measures are those of Ernst & Kellis 2015 (ChromImpute, Nature Biotechnology 33:364) as extended by
Durham et al. 2018 (PREDICTD, Nature Communications 9:1402, Methods).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from predictd.constants import MEASURES, METRIC_KEYS
from predictd.errors import DataError

# Bins that are converted to float64 at once.
_BLOCK = 2**18


def evaluate_track(
    observed: ArrayLike,
    imputed: ArrayLike,
    *,
    inverse: Callable[[NDArray], NDArray],
    peaks: ArrayLike | None = None,
    promoters: ArrayLike | None = None,
    genes: ArrayLike | None = None,
    enhancers: ArrayLike | None = None,
) -> dict[str, float]:
    """Compare an imputed track with the observed one.

    Only bins in which both are finite count; negative values are set to 0 first. The top 1 % are
    max(1, n // 100) of the n bins, the top 5 % max(1, n // 20); of equal values the one nearer to
    the start ranks higher. Ranks for GWspear and the areas under ROC curves (AUC) are averaged over ties.

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
        The names of `constants.MEASURES`, in that order. NaN is what is not defined: measures without
        their mask or whose mask selects nothing, AUCs of all or no bins, correlations with a constant.

    Raises
    ------
    DataError
        If shapes differ, or no bin has a finite value in both tracks.

    Notes
    -----
    For float32 input over 121 million bins: at the peak, while ranks are made, up to 25 bytes a bin on
    top of the input, and 8 more (plus masks) if values are missing or negative and copies have to be made.
    """
    masks = {"peaks": peaks, "promoters": promoters, "genes": genes, "enhancers": enhancers}
    y, x, where = _comparable(observed, imputed, masks)
    n = y.size
    y1, y5 = _top(y, max(1, n // 100)), _top(y, max(1, n // 20))
    x1, x5 = _top(x, max(1, n // 100)), _top(x, max(1, n // 20))
    size = np.count_nonzero(y1)
    values = {
        "MSEglobal": _mse(y, x),
        "MSE1obs": _mse(y, x, y1),
        "MSE1imp": _mse(y, x, x1),
        "GWcorrasinh": _pearson(y, x),
        "GWcorr": _pearson(y, x, inverse),
        "Match1": np.count_nonzero(y1 & x1) / size,
        "Catch1obs": np.count_nonzero(y1 & x5) / size,
        "Catch1imp": np.count_nonzero(x1 & y5) / size,
    }
    for name, mask in (("MSEprom", "promoters"), ("MSEgene", "genes"), ("MSEenh", "enhancers")):
        values[name] = math.nan if where[mask] is None else _mse(y, x, where[mask])
    del y5, x5
    y_ranks = _twice_ranks(y)
    values["AucImp1"] = _auc(y_ranks, x1)
    x_ranks = _twice_ranks(x)
    values["AucObs1"] = _auc(x_ranks, y1)
    peak_bins = where["peaks"]
    values["CatchPeakObs"] = math.nan if peak_bins is None else _auc(x_ranks, peak_bins)
    values["GWspear"] = _pearson(y_ranks, x_ranks)
    return {name: float(values[name]) for name in MEASURES}


def metrics_tsv(rows: Iterable[Mapping[str, str | float]]) -> str:
    """Return the content of `metrics.tsv`: a header and the rows, sorted by their keys.

    Parameters
    ----------
    rows
        Each with exactly `constants.METRIC_KEYS` (text) and `constants.MEASURES` (numbers).

    Raises
    ------
    DataError
        If a row has other columns, or two rows have the same keys.
    """
    columns = (*METRIC_KEYS, *MEASURES)
    by_key: dict[tuple[str, ...], str] = {}
    for row in rows:
        if set(row) != set(columns):
            wrong = ", ".join(sorted(set(row).symmetric_difference(columns)))
            raise DataError(f"a row of metrics has other columns than expected: {wrong}")
        key = tuple(str(row[name]) for name in METRIC_KEYS)
        if key in by_key:
            raise DataError(f"two rows of metrics for {' '.join(key)}")
        # Adding 0 turns -0 into 0.
        numbers = [f"{float(row[name]) + 0.0:.6g}" for name in MEASURES]
        by_key[key] = "\t".join((*key, *numbers))
    return "\n".join(("\t".join(columns), *(by_key[key] for key in sorted(by_key)))) + "\n"


def _comparable(
    observed: ArrayLike, imputed: ArrayLike, masks: Mapping[str, ArrayLike | None]
) -> tuple[NDArray, NDArray, dict[str, NDArray[np.bool_] | None]]:
    """Check the input and bring it to finite, non-negative values; copies only what has to change."""
    tracks = [np.asarray(values) for values in (observed, imputed)]
    tracks = [t if t.dtype in (np.float32, np.float64) else t.astype(np.float32) for t in tracks]
    y, x = tracks
    if y.ndim != 1 or y.shape != x.shape:
        raise DataError(f"observed {y.shape} and imputed {x.shape} are not single tracks of one length")
    where = {name: None if mask is None else np.asarray(mask) for name, mask in masks.items()}
    for name, mask in where.items():
        if mask is not None and (mask.shape != y.shape or mask.dtype != bool):
            raise DataError(f"{name}: one bool for each of the {y.size} bins is expected, not {mask.shape}")
    finite = np.isfinite(y)
    finite &= np.isfinite(x)
    if not finite.any():
        raise DataError("no bin has a value in both the observed and the imputed track")
    if not finite.all():
        y, x = y[finite], x[finite]
        where = {name: None if mask is None else mask[finite] for name, mask in where.items()}
    y, x = (np.maximum(t, 0) if t.min() < 0 else t for t in (y, x))
    return y, x, where


def _blocks(n: int) -> Iterator[slice]:
    return (slice(start, min(start + _BLOCK, n)) for start in range(0, n, _BLOCK))


def _top(values: NDArray, size: int) -> NDArray[np.bool_]:
    """Return the mask of the `size` largest values, of equal ones those nearest to the start."""
    n = values.size
    threshold = np.partition(values, n - size)[n - size]
    top = values > threshold
    ties = np.flatnonzero(values == threshold)
    top[ties[: size - np.count_nonzero(top)]] = True
    return top


def _mse(y: NDArray, x: NDArray, where: NDArray[np.bool_] | None = None) -> float:
    """Return the mean squared difference over all bins or those of `where`; NaN if it selects none."""
    total, count = 0.0, 0
    for block in _blocks(y.size):
        difference = y[block].astype(np.float64)
        difference -= x[block]
        if where is not None:
            difference = difference[where[block]]
        total += float(np.square(difference, out=difference).sum())
        count += difference.size
    return total / count if count else math.nan


def _pearson(y: NDArray, x: NDArray, inverse: Callable[[NDArray], NDArray] | None = None) -> float:
    """Return Pearson's r, after `inverse` if given; two passes in float64."""
    if y.min() == y.max() or x.min() == x.max():
        return math.nan

    def pair(block: slice) -> tuple[NDArray, NDArray]:
        both = y[block].astype(np.float64), x[block].astype(np.float64)
        return both if inverse is None else (inverse(both[0]), inverse(both[1]))

    sums = np.zeros(2)
    for block in _blocks(y.size):
        sums += [values.sum() for values in pair(block)]
    y_mean, x_mean = sums / y.size
    products = np.zeros(3)
    for block in _blocks(y.size):
        dy, dx = pair(block)
        dy, dx = dy - y_mean, dx - x_mean
        products += [(dy * dx).sum(), (dy * dy).sum(), (dx * dx).sum()]
    scale = math.sqrt(products[1]) * math.sqrt(products[2])
    return min(1.0, max(-1.0, products[0] / scale)) if scale > 0 else math.nan


def _twice_ranks(values: NDArray) -> NDArray[np.signedinteger]:
    """Return twice the ranks from 1, averaged over ties: whole numbers, which 4 bytes a bin can hold."""
    n = values.size
    dtype = np.int32 if n < 2**30 else np.int64
    order = np.argsort(values)
    ordered = values[order]
    starts_group = np.empty(n, dtype=bool)
    starts_group[0] = True
    np.not_equal(ordered[1:], ordered[:-1], out=starts_group[1:])
    del ordered
    # For each sorted position the first and, walking backwards, the last position of its group of ties.
    twice = np.arange(n, dtype=dtype)
    twice *= starts_group
    np.maximum.accumulate(twice, out=twice)
    last = np.arange(n, dtype=dtype)
    last[:-1][~starts_group[1:]] = n - 1
    backwards = last[::-1]
    np.minimum.accumulate(backwards, out=backwards)
    twice += last
    del last, backwards, starts_group
    twice += 2
    ranks = np.empty(n, dtype=dtype)
    ranks[order] = twice
    return ranks


def _auc(twice_ranks: NDArray[np.signedinteger], positive: NDArray[np.bool_]) -> float:
    """Return the area under the ROC curve from twice the ranks (Mann–Whitney U); NaN without two classes."""
    n_positive = int(np.count_nonzero(positive))
    n_negative = positive.size - n_positive
    if not (n_positive and n_negative):
        return math.nan
    twice_sum = int(twice_ranks[positive].sum(dtype=np.int64))
    return (twice_sum - n_positive * (n_positive + 1)) / (2 * n_positive * n_negative)
