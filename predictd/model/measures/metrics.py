"""How well imputed tracks match observed ones.

The measures are those of Ernst & Kellis 2015 (ChromImpute, Nature Biotechnology 33:364) as extended by Durham et al.
2018 (PREDICTD, Nature Communications 9:1402, Methods), with areas under precision-recall curves, and the error weighted
by variance of the ENCODE Imputation Challenge (Schreiber et al. 2023, Genome Biology 24:79).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from predictd.constants import CHALLENGE, CHALLENGE_MEASURES, MEASURES
from predictd.errors import DataError
from predictd.kernels import COMPARED, PEAK, Ranked, compare
from predictd.model.measures.ranks import KeyCounts, Ranking, TopSets, rank_keys
from predictd.model.measures.sums import REGIONS, Array, BlockSums, measures_of, no_measures
from predictd.model.transforms import SignalTransform

Inverse = Callable[[NDArray], NDArray]
Weights = Mapping[str, NDArray]
Counts = NDArray[np.int64]

# Bins that are compared at once: temporaries of 1 MB, and tables of counts stay in the processor's cache for a while.
_BLOCK = 2**17
_NO_WEIGHTS: Weights = MappingProxyType({})


class _Track:
    """The keys of one track: counted first, then ranked."""

    ranking: Ranking
    _tops: TopSets

    def __init__(self, *, signed: bool) -> None:
        self._signed = signed
        self._counts = KeyCounts()

    def count(self, values: NDArray[np.floating]) -> None:
        """First sweep: take the next bins."""
        self._counts.add(rank_keys(values, signed=self._signed))

    def rank(self, n_bins: int, *, all_ties: bool) -> None:
        """Rank all n bins, when the first sweep is over."""
        self.ranking = self._counts.rank()
        del self._counts
        first, second = (
            self.ranking.top(max(1, n_bins * percent // 100), all_ties=all_ties) for percent in (1, 5)
        )
        self._tops = TopSets(first, second)

    def take(self, values: NDArray[np.floating]) -> Ranked:
        """Second sweep: the next bins' ranks."""
        return self.ranking.ranked(rank_keys(values, signed=self._signed), self._tops)


class _Imputed:
    """An imputed track, and what its comparison with the observed one came to.

    Attributes
    ----------
    track, sums
        Its ranks, and sums over blocks of the genome.
    positive
        When it is ranked, bins by key: of the top of the observed track, of its own, and in peaks.
    """

    positive: tuple[Counts, Counts, Counts]

    def __init__(self, track: _Track, sums: BlockSums) -> None:
        self.track, self.sums = track, sums


class TrackComparison:
    """Compares imputed tracks with the observed one in two sweeps over the same pieces of the genome.

    `survey` takes every piece in genome order, then `compare` takes them again, then `measures` returns the result.
    Memory (4 MB of counts of rank keys a track, and temporaries of a piece) does not depend on the number of bins, and
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
    n_imputed
        Imputed tracks. What is the same for all is done once.
    """

    def __init__(
        self, inverse: Inverse | None, *, signed: bool = False, n_blocks: int = 1, n_imputed: int = 1
    ) -> None:
        self._inverse, self._n_blocks = inverse, n_blocks
        self._n_bins, self._ranked = 0, False
        self._observed = _Track(signed=signed)
        self._imputed = [
            _Imputed(_Track(signed=signed), BlockSums(n_blocks, raw=inverse is not None))
            for _ in range(n_imputed)
        ]

    def survey(
        self,
        observed: NDArray[np.floating],
        imputed: Sequence[NDArray[np.floating]],
        weights: Weights = _NO_WEIGHTS,
        block: int = 0,
    ) -> None:
        """First sweep: take the next piece.

        Parameters
        ----------
        observed, imputed
            (bins,) float arrays in transformed (usually arcsinh) space, or in the unit of the track; finite. Of each
            imputed track one.
        weights
            By any of the names `promoters`, `genes`, `enhancers`: (bins,) bool, or how often a bin counts; `variance`:
            (bins,) floats, by which squared errors are weighted in MSEvar. (`peaks` is not used yet.)
        block
            Of the genome, that the piece belongs to.
        """
        self._n_bins += observed.size
        for part in _parts(observed.size):
            y, *others = _alike(part, observed, *imputed)
            own = {name: weights[name][part] for name in (*REGIONS, "variance") if name in weights}
            raw = None if self._inverse is None else self._inverse(y.astype(np.float64))
            self._observed.count(y)
            for one, x in zip(self._imputed, others, strict=True):
                one.track.count(x)
                one.sums.add_pair("plain", block, y, x)
                if self._inverse is not None and raw is not None:
                    one.sums.add_pair("raw", block, raw, self._inverse(x.astype(np.float64)))
                for name, values in own.items():
                    one.sums.add_part(name, block, y, x, values)

    def compare(
        self,
        observed: NDArray[np.floating],
        imputed: Sequence[NDArray[np.floating]],
        weights: Weights = _NO_WEIGHTS,
        block: int = 0,
    ) -> None:
        """Second sweep: take the next piece, with the arguments of `survey`; of the weights `peaks` (bool) is used."""
        if not observed.size:
            return
        self._rank()
        for part in _parts(observed.size):
            y, *others = _alike(part, observed, *imputed)
            of_y = self._observed.take(y)
            if "peaks" in weights:
                of_y.classes[:] |= weights["peaks"][part] * np.uint8(PEAK)
            for one, x in zip(self._imputed, others, strict=True):
                sums = np.zeros(len(COMPARED))
                compare(y, x, (of_y, one.track.take(x)), sums, one.positive)
                one.sums.add_compared(block, sums)

    def measures(self) -> list[dict[str, float]]:
        """Return the measures of each imputed track by the names of `constants.MEASURES`, in that order.

        Of tracks in the unit of the input: of `CHALLENGE_MEASURES`. NaN is what is not defined: measures without their
        regions or whose regions select nothing, areas under curves of all or no bins, correlations with a constant (for
        GWspear: of which all bins are tied), and all of no bin.
        """
        return [self._measures(one, sums) for one, sums in zip(self._imputed, self.block_sums(), strict=True)]

    @property
    def n_bins(self) -> int:
        """Bins that were compared."""
        return self._n_bins

    def block_sums(self) -> list[Array]:
        """Sums over the bins of each block, as of `measures_of`, of each imputed track: float64 (blocks × COLUMNS)."""
        return [one.sums.table() for one in self._imputed]

    def _measures(self, one: _Imputed, sums: Array) -> dict[str, float]:
        names = MEASURES if self._inverse is not None else CHALLENGE_MEASURES
        if not self._n_bins:
            return no_measures(names)
        found = {name: float(value) for name, value in measures_of(sums.sum(axis=0), self.n_bins).items()}
        if self._inverse is None:
            return {name: found[own] for name, own in CHALLENGE.items()}
        of_y, of_x = self._observed.ranking, one.track.ranking
        curves = ("AuprObs1", "AuprImp1", "AuprPeakObs")
        for name, positive, ranking in zip(curves, one.positive, (of_x, of_y, of_x), strict=True):
            found[name] = ranking.average_precision(positive)
        return {name: found[name] for name in names}

    def _rank(self) -> None:
        """Rank all tracks, when the first sweep is over."""
        if self._ranked:
            return
        self._ranked = True
        for track in (self._observed, *(one.track for one in self._imputed)):
            track.rank(self._n_bins, all_ties=self._inverse is None)
        of_y = self._observed.ranking
        for one in self._imputed:
            of_x = one.track.ranking
            sizes = of_x.keys.size, of_y.keys.size, of_x.keys.size
            first, second, third = (np.zeros(size, dtype=np.int64) for size in sizes)
            one.positive = first, second, third
            if self._n_blocks == 1:
                one.sums.set_ranks_of_all(of_y.squares, of_x.squares)


def _parts(n_bins: int) -> Iterator[slice]:
    return (slice(start, start + _BLOCK) for start in range(0, n_bins, _BLOCK))


def _alike(part: slice, *tracks: NDArray[np.floating]) -> list[NDArray[np.floating]]:
    """Bins of tracks in one type of number: float32, or float64 where one is wider."""
    dtype = np.result_type(np.float32, *tracks)
    return [np.ascontiguousarray(track[part], dtype=dtype) for track in tracks]


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
    comparison.survey(y, [x], given)
    comparison.compare(y, [x], given)
    return comparison.measures()[0]
