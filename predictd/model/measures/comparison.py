"""Several methods scored on the same tracks: differences with intervals, wins, and mean ranks.

Tracks of one cell type, or of one assay, are alike in how well they can be imputed, so that a number of tracks says
less than as many independent ones. Intervals over tracks are therefore robust to clusters of cell types and of assays.
Intervals over the genome are of a block bootstrap: they say what other stretches of the same tracks would give.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from predictd.constants import CHALLENGE, MORE_IS_BETTER
from predictd.pairs import Experiment

Array = NDArray[np.float64]

DRAWS = 400
_LEVEL = 0.95
# Values that differ by no more than this share of the larger are equal.
_TIE = 1e-4
# Ours of the measures by which the ENCODE Imputation Challenge ranks; its own names are the same.
_RANKED = frozenset({*CHALLENGE, *CHALLENGE.values()})


@dataclass(frozen=True)
class Difference:
    """How far two methods differ on the same tracks by one measure, or by their rank.

    Attributes
    ----------
    measure
        Its name, or `rank`.
    method, other
        Names.
    tracks
        On which both have a value.
    mean, other_mean
        Over these tracks.
    clusters, blocks
        95 % intervals of the mean difference (method less other): over tracks, robust to clusters of cell types and
        assays, and over blocks of the genome.
    wins, losses
        Tracks on which the method is better, and worse.
    """

    measure: str
    method: str
    other: str
    tracks: int
    mean: float
    other_mean: float
    clusters: tuple[float, float]
    blocks: tuple[float, float]
    wins: int
    losses: int

    @property
    def difference(self) -> float:
        """Mean of the method less that of the other."""
        return self.mean - self.other_mean


@dataclass(frozen=True)
class Comparison:
    """Methods on the same tracks.

    Attributes
    ----------
    methods
        Names.
    ranks
        Mean rank of each method over the tracks that all have, with its 95 % interval over blocks of the genome,
        (methods × 3): mean, low, high; NaN without such a track.
    differences
        Of all pairs of methods by all measures.
    """

    methods: tuple[str, ...]
    ranks: Array
    differences: list[Difference]


def compare_methods(
    pairs: Sequence[Experiment], methods: Sequence[str], scores: dict[str, Array], draws: dict[str, Array]
) -> Comparison:
    """Compare methods.

    Parameters
    ----------
    pairs
        The n tracks.
    methods
        The m methods, in the order in which they are named.
    scores
        By measure: float64 (n × m), NaN where it is not defined.
    draws
        By measure, of those that a bootstrap gives: float64 (DRAWS × n × m).
    """
    # What blocks that were not drawn alone define, such as an error of the top 1 %, stays as it is.
    draws = {name: np.where(np.isnan(drawn), scores[name], drawn) for name, drawn in draws.items()}
    ranked = [
        name for name in scores if name in _RANKED and name in draws and np.isfinite(scores[name]).any()
    ]
    # Methods are ranked on the tracks that all of them have.
    shared = np.isfinite(next(iter(scores.values()))).all(axis=1)
    ranks, drawn = (
        np.full((len(pairs), len(methods)), np.nan),
        np.full((DRAWS, len(pairs), len(methods)), np.nan),
    )
    summary = np.full((len(methods), 3), np.nan)
    if shared.any():
        ranks[shared] = mean_ranks(np.stack([scores[name][shared] for name in ranked]), ranked)
        drawn[:, shared] = mean_ranks(np.stack([draws[name][:, shared] for name in ranked]), ranked)
        ends = np.percentile(drawn[:, shared].mean(axis=1), _ends(), axis=0)
        summary = np.column_stack([ranks[shared].mean(axis=0), *ends])
    everything = {**scores, "rank": ranks}
    all_draws = {**draws, "rank": drawn}
    differences = [
        _difference(
            pairs, (name, methods[i], methods[j]), everything[name][:, [i, j]], _two(all_draws, name, i, j)
        )
        for name in everything
        for i in range(len(methods))
        for j in range(i + 1, len(methods))
    ]
    return Comparison(tuple(methods), summary, differences)


def mean_ranks(values: Array, measures: Sequence[str]) -> Array:
    """Rank the methods on each track over several measures, as the ENCODE Imputation Challenge did.

    The rank by each measure, divided by the number of methods plus one, is a p-value; the product of these over the
    measures is ranked (Schreiber et al. 2023, Genome Biology 24:79). Ties have their mean rank; a method without a
    value is last; measures that no method has do not count.

    Parameters
    ----------
    values
        float64 (measures × … × methods).
    measures
        Their names.

    Returns
    -------
    float64 (… × methods)
        From 1, the best.
    """
    from scipy.stats import rankdata

    sign = np.array([-1.0 if name in MORE_IS_BETTER else 1.0 for name in measures])
    known = np.isfinite(values)
    cost = np.where(known, _levels(values) * sign.reshape(-1, *[1] * (values.ndim - 1)), np.inf)
    logs = np.log(rankdata(cost, axis=-1) / (values.shape[-1] + 1))
    logs = np.where(known.any(axis=-1, keepdims=True), logs, 0.0)
    # Sums of the same terms in another order are equal.
    return np.asarray(rankdata(np.round(logs.sum(axis=0), 9), axis=-1))


def clustered_half_width(differences: Array, pairs: Sequence[Experiment]) -> float:
    """Return half of the 95 % interval of a mean over tracks, robust to clusters of cell types and of assays.

    Two-way clusters (Cameron, Gelbach & Miller 2011, Journal of Business & Economic Statistics 29:238), with Student's
    t of as many degrees of freedom as the fewer of the two has clusters, less one.

    Parameters
    ----------
    differences
        float64 (n,).
    pairs
        The n tracks.

    Returns
    -------
    float
        NaN where there is but one cell type or one assay.
    """
    cells, assays = [p.cell_type for p in pairs], [p.assay for p in pairs]
    degrees = min(len(set(cells)), len(set(assays))) - 1
    if degrees < 1:
        return float("nan")
    residuals = differences - differences.mean()
    by_cells, by_assays, by_pairs = (_clustered_variance(residuals, by) for by in (cells, assays, pairs))
    found = max(by_cells + by_assays - by_pairs, by_cells, by_assays)
    return float(scipy.special.stdtrit(degrees, (1 + _LEVEL) / 2) * np.sqrt(found))


def block_weights(n_blocks: int, seed: int = 0) -> NDArray[np.int64]:
    """Return how often each block of the genome is in each draw of a bootstrap: int64 (DRAWS × blocks)."""
    return np.random.default_rng(seed).multinomial(n_blocks, np.full(n_blocks, 1 / n_blocks), size=DRAWS)


def _clustered_variance(residuals: Array, labels: Sequence[object]) -> float:
    """Variance of a mean whose terms are alike within clusters."""
    numbers = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    sums = np.bincount([numbers[label] for label in labels], weights=residuals)
    g = len(sums)
    return float(g / max(g - 1, 1) * np.square(sums).sum() / len(residuals) ** 2)


def _difference(
    pairs: Sequence[Experiment], names: tuple[str, str, str], values: Array, draws: Array | None
) -> Difference:
    """Compare two methods by a measure: values (n × 2), draws (DRAWS × n × 2)."""
    both = np.isfinite(values).all(axis=1)
    own, other = values[both].T
    clusters = blocks = (np.nan, np.nan)
    if both.any():
        middle = float((own - other).mean())
        half = clustered_half_width(own - other, [pairs[i] for i in np.flatnonzero(both).tolist()])
        clusters = (middle - half, middle + half)
    if both.any() and draws is not None:
        low, high = np.percentile((draws[:, both, 0] - draws[:, both, 1]).mean(axis=1), _ends())
        blocks = (float(low), float(high))
    levels = _levels(np.stack([own, other], axis=-1))
    above, below = levels[:, 0] > levels[:, 1], levels[:, 0] < levels[:, 1]
    better, worse = (above, below) if names[0] in MORE_IS_BETTER else (below, above)
    return Difference(
        *names,
        tracks=int(both.sum()),
        mean=float(own.mean()) if both.any() else np.nan,
        other_mean=float(other.mean()) if both.any() else np.nan,
        clusters=clusters,
        blocks=blocks,
        wins=int(better.sum()),
        losses=int(worse.sum()),
    )


def _levels(values: Array) -> Array:
    """Places of values (… × m) from 0, the lowest; a value that is hardly above the next lower one has its place.

    Such are ranks of a track and of the same track times a factor. NaN has any place.
    """
    order = np.argsort(values, axis=-1, kind="stable")
    ascending = np.take_along_axis(values, order, axis=-1)
    with np.errstate(invalid="ignore"):
        above = np.diff(ascending) > _TIE * np.maximum(
            np.abs(ascending[..., 1:]), np.abs(ascending[..., :-1])
        )
    places = np.zeros(values.shape)
    places[..., 1:] = above.cumsum(axis=-1)
    levels = np.empty(values.shape)
    np.put_along_axis(levels, order, places, axis=-1)
    return levels


def _two(draws: dict[str, Array], name: str, i: int, j: int) -> Array | None:
    return draws[name][..., [i, j]] if name in draws else None


def _ends() -> list[float]:
    return [50 * (1 - _LEVEL), 50 * (1 + _LEVEL)]
