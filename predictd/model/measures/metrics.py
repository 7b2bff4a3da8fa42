"""How well imputed tracks match observed ones.

The measures are those of Ernst & Kellis 2015 (ChromImpute, Nature Biotechnology 33:364) as extended by Durham et al.
2018 (PREDICTD, Nature Communications 9:1402, Methods), with areas under precision-recall curves, and the error weighted
by variance of the ENCODE Imputation Challenge (Schreiber et al. 2023, Genome Biology 24:79).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from predictd.constants import CHALLENGE, CHALLENGE_MEASURES, MEASURES
from predictd.errors import DataError
from predictd.model.measures.ranks import KeyCounts, Ranking, TopSet, rank_keys
from predictd.model.measures.sums import (
    REGIONS,
    Array,
    BlockSums,
    Products,
    dot,
    measures_of,
    no_measures,
)
from predictd.model.transforms import SignalTransform

Inverse = Callable[[NDArray], NDArray]
Weights = Mapping[str, NDArray]

# Bins that are compared at once: temporaries of a few MB.
_BLOCK = 2**18
_NO_WEIGHTS: Weights = MappingProxyType({})


class TrackComparison:
    """Compares an imputed track with the observed one in two sweeps over the same pieces of the genome.

    `survey` takes every piece in genome order, then `compare` takes them again, then `measures` returns the result.
    Memory (8 MB of counts of rank keys, and temporaries of a piece) does not depend on the number of bins, and
    results depend on the pieces only through the rounding of float64 sums.

    What ranks values, that is the top sets, GWspear and the areas under curves, compares their rank keys: values
    rounded to 12 binary digits after the leading one, or to 11 where signal can be negative
    (`predictd.model.measures.ranks`), of which equal ones are ties. The top 1 % are max(1, n // 100) of the n bins, the
    top 5 % max(1, n // 20); of tied bins those nearest to the start rank highest. In GWspear and areas under ROC curves
    ranks are averaged over ties. MSEs and the Pearson correlations take values as they are.

    Parameters
    ----------
    inverse
        Maps values to the unit of the input track for GWcorr: `np.sinh` for arcsinh. None: the tracks are in that unit,
        and the measures are those of the ENCODE Imputation Challenge, whose top 1 % hold all bins that tie with the
        last.
    signed
        Whether signal may be negative.
    n_blocks
        Blocks of the genome whose sums are kept apart.
    """

    def __init__(self, inverse: Inverse | None, *, signed: bool = False, n_blocks: int = 1) -> None:
        self._inverse = inverse
        self._signed = signed
        self._n_bins = 0
        self._counts = KeyCounts(), KeyCounts()
        self._rankings: tuple[Ranking, Ranking] | None = None
        self._tops: dict[str, TopSet] = {}
        # By key: how many bins are in the top of the observed track, of the imputed track, and in peaks.
        self._positive: dict[str, NDArray[np.int64]] = {}
        self._sums = BlockSums(n_blocks)
        self._plain = [Products() for _ in range(n_blocks)]
        self._raw = [Products() for _ in range(n_blocks)]

    def survey(
        self,
        observed: NDArray[np.floating],
        imputed: NDArray[np.floating],
        weights: Weights = _NO_WEIGHTS,
        block: int = 0,
    ) -> None:
        """First sweep: take the next piece.

        Parameters
        ----------
        observed, imputed
            (bins,) float arrays in transformed (usually arcsinh) space, or in the unit of the track; finite.
        weights
            By any of the names `promoters`, `genes`, `enhancers`: (bins,) bool, or how often a bin counts; `variance`:
            (bins,) floats, by which squared errors are weighted in MSEvar. (`peaks` is not used yet.)
        block
            Of the genome, that the piece belongs to.
        """
        if not observed.size:
            return
        self._n_bins += observed.size
        for counts, values in zip(self._counts, (observed, imputed), strict=True):
            counts.add(rank_keys(values, signed=self._signed))
        y, x = observed.astype(np.float64), imputed.astype(np.float64)
        self._plain[block].add(y, x)
        if self._inverse is not None:
            self._raw[block].add(self._inverse(y), self._inverse(x))
        errors = np.square(y - x)
        self._sums.add(block, "bins", y.size)
        self._sums.add(block, "errors", float(errors.sum()))
        for name in (*REGIONS, "variance"):
            if name in weights:
                self._sums.add_part(block, name, errors, weights[name])

    def compare(
        self,
        observed: NDArray[np.floating],
        imputed: NDArray[np.floating],
        weights: Weights = _NO_WEIGHTS,
        block: int = 0,
    ) -> None:
        """Second sweep: take the next piece, with the arguments of `survey`; of the weights `peaks` (bool) is used."""
        if not observed.size:
            return
        y_ranking, x_ranking = self._ranked()
        y, x = observed, imputed
        y_keys, x_keys = (rank_keys(values, signed=self._signed) for values in (y, x))
        keys = {"y": y_keys, "x": x_keys}
        top = {name: found.take(keys[name[0]]) for name, found in self._tops.items()}
        add = self._sums.add
        for name, mask in (("observed top", top["y1"]), ("imputed top", top["x1"])):
            errors = np.square(y[mask].astype(np.float64) - x[mask])
            add(block, name, errors.size)
            add(block, f"errors in {name}", float(errors.sum()))
        for name, both in (
            ("match", top["y1"] & top["x1"]),
            ("catch observed", top["y1"] & top["x5"]),
            ("catch imputed", top["x1"] & top["y5"]),
        ):
            add(block, name, float(np.count_nonzero(both)))
        y_ranks = y_ranking.centred[y_keys].astype(np.float64)
        x_ranks = x_ranking.centred[x_keys].astype(np.float64)
        add(block, "rank yx", dot(y_ranks, x_ranks))
        if len(self._plain) > 1:
            add(block, "rank y", float(y_ranks.sum()))
            add(block, "rank x", float(x_ranks.sum()))
            add(block, "rank yy", dot(y_ranks, y_ranks))
            add(block, "rank xx", dot(x_ranks, x_ranks))
        self._rank("observed top", x_ranking, x_keys, x_ranks, top["y1"], block)
        self._rank("imputed top", y_ranking, y_keys, y_ranks, top["x1"], block)
        if "peaks" in weights:
            add(block, "peaks", float(np.count_nonzero(weights["peaks"])))
            self._rank("peaks", x_ranking, x_keys, x_ranks, weights["peaks"], block)

    def _rank(
        self, name: str, ranking: Ranking, keys: NDArray[np.intp], ranks: Array, positive: NDArray, block: int
    ) -> None:
        self._sums.add(block, f"ranks in {name}", float(ranks[positive].sum()))
        self._positive[name] = ranking.counts(keys[positive]) + self._positive.get(name, 0)

    def measures(self) -> dict[str, float]:
        """Return the measures by the names of `constants.MEASURES`, or of `CHALLENGE_MEASURES`, in that order.

        NaN is what is not defined: measures without their regions or whose regions select nothing, areas under curves
        of all or no bins, correlations with a constant (for GWspear: of which all bins are tied), and all of no bin.
        """
        names = MEASURES if self._inverse is not None else CHALLENGE_MEASURES
        if not self._n_bins:
            return no_measures(names)
        found = {
            name: float(value)
            for name, value in measures_of(self.block_sums().sum(axis=0), self.n_bins).items()
        }
        if self._inverse is None:
            return {name: found[own] for name, own in CHALLENGE.items()}
        y_ranking, x_ranking = self._ranked()
        for name, part, ranking in (
            ("AuprObs1", "observed top", x_ranking),
            ("AuprImp1", "imputed top", y_ranking),
            ("AuprPeakObs", "peaks", x_ranking),
        ):
            positive = self._positive.get(part, np.zeros(1, dtype=np.int64))
            found[name] = ranking.average_precision(positive)
        return {name: found[name] for name in names}

    @property
    def n_bins(self) -> int:
        """Bins that were compared."""
        return self._n_bins

    def block_sums(self) -> Array:
        """Sums over the bins of each block, as of `measures_of`: float64 (blocks × COLUMNS)."""
        self._sums.set_products("plain", Products.by_block(self._plain))
        self._sums.set_products("raw", Products.by_block(self._raw))
        return self._sums.table

    def _ranked(self) -> tuple[Ranking, Ranking]:
        """Rankings of both tracks, made when the first sweep is over."""
        if self._rankings is None:
            y_counts, x_counts = self._counts
            self._rankings = y_counts.rank(), x_counts.rank()
            del self._counts
            if len(self._plain) == 1:
                # Over all bins centred ranks sum to 0.
                for name, ranking in zip(("rank yy", "rank xx"), self._rankings, strict=True):
                    self._sums.add(0, name, ranking.squares)
            ties = self._inverse is None
            for track, ranking in zip("yx", self._rankings, strict=True):
                for percent in (1, 5):
                    size = max(1, self._n_bins * percent // 100)
                    self._tops[f"{track}{percent}"] = ranking.top(size, all_ties=ties)
        return self._rankings


def resampled_measures(sums: Array, n_bins: int, measures: Sequence[str]) -> dict[str, Array]:
    """Return measures of drawn blocks of the genome: those of `measures` that sums over bins give.

    Parameters
    ----------
    sums
        float64 (…, COLUMNS): sums of `TrackComparison.block_sums` over the blocks of each draw.
    n_bins
        Of the whole genome.
    measures
        `constants.MEASURES`, or `CHALLENGE_MEASURES`.
    """
    found = measures_of(sums, n_bins)
    named = {name: CHALLENGE.get(name, name) for name in measures}
    return {name: found[own] for name, own in named.items() if own in found}


def evaluate_track(
    observed: ArrayLike,
    imputed: ArrayLike,
    *,
    transform: SignalTransform,
    challenge: bool = False,
    weights: Mapping[str, ArrayLike] = _NO_WEIGHTS,
) -> dict[str, float]:
    """Compare an imputed track with the observed one, both held in memory; see `TrackComparison`.

    Parameters
    ----------
    observed, imputed
        (n_bins,) float arrays over the same bins, in transformed (usually arcsinh) space. Bins in which either is not
        finite do not count. Negative values are set to 0 first where the transform's signal cannot be negative.
    transform
        Of the tracks: one of `model.transforms.TRANSFORMS`.
    challenge
        Give the measures of the ENCODE Imputation Challenge, of signal in the unit of the track.
    weights
        (n_bins,) arrays: bool by any of the names `peaks`, `promoters`, `genes` and `enhancers`, or how often bins of
        the last three count; floats as `variance`, by which squared errors are weighted in MSEvar.

    Returns
    -------
    dict of str to float
        As of `TrackComparison.measures`.

    Raises
    ------
    DataError
        If shapes differ.
    """
    y, x = (np.asarray(values) for values in (observed, imputed))
    if y.ndim != 1 or y.shape != x.shape:
        raise DataError(f"observed {y.shape} and imputed {x.shape} are not single tracks of one length")
    given = {name: np.asarray(values) for name, values in weights.items()}
    for name, values in given.items():
        kinds = {"variance": "f", "peaks": "b"}.get(name, "biu")
        if values.shape != y.shape or values.dtype.kind not in kinds:
            raise DataError(
                f"{name}: one value for each of the {y.size} bins is expected (a float for variance, bool for peaks, "
                f"bool or a whole number for regions), not {values.dtype} {values.shape}"
            )
    finite = np.isfinite(y) & np.isfinite(x)
    y, x = (transform.clip(values[finite]) for values in (y, x))
    if challenge:
        y, x = transform.inverse(y), transform.inverse(x)
    given = {name: values[finite] for name, values in given.items()}
    comparison = TrackComparison(None if challenge else transform.inverse, signed=not transform.clipped)
    for sweep in (comparison.survey, comparison.compare):
        for start in range(0, y.size, _BLOCK):
            piece = slice(start, start + _BLOCK)
            sweep(y[piece], x[piece], {name: values[piece] for name, values in given.items()})
    return comparison.measures()
