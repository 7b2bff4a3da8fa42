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
from predictd.kernels import COMPARED, Positive, compare
from predictd.model.measures.ranks import KeyCounts
from predictd.model.measures.sums import REGIONS, Array, BlockSums, measures_of, no_measures
from predictd.model.transforms import SignalTransform

Inverse = Callable[[NDArray], NDArray]
Weights = Mapping[str, NDArray]

# Bins that are turned back at once.
_BLOCK = 2**13
_NO_WEIGHTS: Weights = MappingProxyType({})


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
        self._inverse, self._n_blocks, self._n_bins = inverse, n_blocks, 0
        self._counts: KeyCounts | None = KeyCounts(1 + n_imputed, signed=signed)
        self._sums = BlockSums(n_blocks, n_imputed, raw=inverse is not None)

    def survey(self, tracks: NDArray[np.floating], weights: Weights = _NO_WEIGHTS, block: int = 0) -> None:
        """First sweep: take the next piece.

        Parameters
        ----------
        tracks
            float32 or float64 (1 + n_imputed × bins), in one piece: the observed track and the imputed ones, in
            transformed (usually arcsinh) space, or in the unit of the track; finite.
        weights
            By any of the names `promoters`, `genes`, `enhancers`: (bins,) bool, or how often a bin counts; `variance`:
            (bins,) floats, by which squared errors are weighted in MSEvar. (`peaks` is not used yet.)
        block
            Of the genome, that the piece belongs to.
        """
        assert self._counts is not None
        self._n_bins += tracks.shape[1]
        self._counts.add(tracks)
        self._sums.add_tracks("plain", block, tracks)
        if self._inverse is not None:
            room = np.empty((len(tracks), min(_BLOCK, tracks.shape[1])))
            for start in range(0, tracks.shape[1], _BLOCK):
                part = tracks[:, start : start + _BLOCK]
                raw = room if part.shape == room.shape else np.empty(part.shape)
                raw[:] = part
                self._sums.add_tracks("raw", block, np.ascontiguousarray(self._inverse(raw)))
        for name in (*REGIONS, "variance"):
            if name in weights:
                self._sums.add_part(name, block, tracks, weights[name])

    def compare(self, tracks: NDArray[np.floating], weights: Weights = _NO_WEIGHTS, block: int = 0) -> None:
        """Second sweep: take the next piece, with the arguments of `survey`; of the weights `peaks` (bool) is used."""
        if not tracks.size:
            return
        if self._counts is not None:
            self._rank(self._counts)
        sums = np.zeros((len(tracks) - 1, len(COMPARED)))
        compare(tracks, weights.get("peaks"), self._tables, self._tops, sums, self._positive)
        self._sums.add_compared(block, sums)

    def measures(self) -> list[dict[str, float]]:
        """Return the measures of each imputed track by the names of `constants.MEASURES`, in that order.

        Of tracks in the unit of the input: of `CHALLENGE_MEASURES`. NaN is what is not defined: measures without their
        regions or whose regions select nothing, areas under curves of all or no bins, correlations with a constant (for
        GWspear: of which all bins are tied), and all of no bin.
        """
        return [self._measures(index, sums) for index, sums in enumerate(self.block_sums())]

    @property
    def n_bins(self) -> int:
        """Bins that were compared."""
        return self._n_bins

    def block_sums(self) -> list[Array]:
        """Sums over the bins of each block, as of `measures_of`, of each imputed track: float64 (blocks × COLUMNS)."""
        return self._sums.tables()

    def _measures(self, index: int, sums: Array) -> dict[str, float]:
        names = MEASURES if self._inverse is not None else CHALLENGE_MEASURES
        if not self._n_bins:
            return no_measures(names)
        found = {name: float(value) for name, value in measures_of(sums.sum(axis=0), self.n_bins).items()}
        if self._inverse is None:
            return {name: found[own] for name, own in CHALLENGE.items()}
        of_y, of_x = self._rankings[0], self._rankings[1 + index]
        first = sum(ranking.keys.size for ranking in self._rankings[: 1 + index])
        own = slice(first, first + of_x.keys.size)
        observed, imputed, peaks = self._positive
        found["AuprObs1"] = of_x.average_precision(observed[own])
        found["AuprImp1"] = of_y.average_precision(imputed[index])
        found["AuprPeakObs"] = of_x.average_precision(peaks[own])
        return {name: found[name] for name in names}

    def _rank(self, counts: KeyCounts) -> None:
        """Rank all tracks, when the first sweep is over."""
        self._counts = None
        self._rankings = counts.rank()
        sizes = [max(1, self._n_bins * percent // 100) for percent in (1, 5)]
        all_ties = self._inverse is None
        tops = [[own.top(size, all_ties=all_ties) for size in sizes] for own in self._rankings]
        self._tops = np.array(tops, dtype=np.int64).reshape(len(tops), 4)
        self._tables = counts.tables(self._rankings)
        self._positive = Positive.none(self._tables)
        if self._n_blocks == 1:
            of_y, *of_x = (ranking.squares for ranking in self._rankings)
            self._sums.set_ranks_of_all(of_y, of_x)


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
    tracks = np.stack([y, x]).astype(np.result_type(np.float32, y, x), copy=False)
    comparison.survey(tracks, given)
    comparison.compare(tracks, given)
    return comparison.measures()[0]
