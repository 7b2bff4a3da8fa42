"""Tracks that have another's labels: found one after the other, the clearest first.

Two tracks are taken for swapped when, predicted by all tracks but these two, each fits better under the other's labels:
the sum of both gains in correlation must exceed a limit, which sound tracks stay well under. What tracks have in common
with all others of an assay or cell type cancels in this sum. A track alone is taken for mislabelled when it fits far
better under other labels, which no other track gives up. Labels that were found wrong are put right, or left out,
before the next search, since a wrong track spoils the predictions of its neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from predictd.model.labels.labels import Similarity, fit_similarity
from predictd.model.labels.leave_out import leave_two_out, matches_of_predictors

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]

# Gain in correlation, summed over two tracks, from which they are taken for swapped, and of one alone.
SWAP_GAIN, SINGLE_GAIN = 0.03, 0.2
# Neither of two swapped tracks may fit worse by more than this.
_LOSS = 0.05
_ROUNDS = 24


@dataclass
class Labels:
    """Labels as they are put right.

    Attributes
    ----------
    cells, assays
        (n,) row of each track's cell type and assay.
    n_cells, n_assays
        How many there are.
    used
        (n,): tracks that the model is made from.
    partners
        The track that a swapped one was swapped with.
    singles
        Tracks found to be mislabelled alone.
    similarity
        Of cell types and assays, fitted with these labels.
    """

    cells: Index
    assays: Index
    n_cells: int
    n_assays: int
    used: npt.NDArray[np.bool_]
    partners: dict[int, int] = field(default_factory=dict)
    singles: list[int] = field(default_factory=list)
    similarity: Similarity | None = None

    @property
    def wrong(self) -> list[int]:
        """Positions of all tracks that are swapped or single, ascending."""
        return sorted([*self.partners, *self.singles])


def find_swaps(
    correlations: Array, cells: Index, assays: Index, n_cells: int, n_assays: int, used: npt.NDArray[np.bool_]
) -> Labels:
    """Search for swapped and mislabelled tracks.

    Parameters
    ----------
    correlations
        (n × n).
    cells, assays, n_cells, n_assays
        Labels as given, and how many there are.
    used
        (n,): False for tracks that cannot be examined.
    """
    labels = Labels(cells.copy(), assays.copy(), n_cells, n_assays, used.copy())
    for _ in range(_ROUNDS):
        labels.similarity = fit_similarity(
            correlations,
            labels.cells,
            labels.assays,
            n_cells,
            n_assays,
            weights=labels.used.astype(np.float64),
        )
        if not _search(labels, correlations):
            break
    return labels


def _search(labels: Labels, correlations: Array) -> bool:
    """Put the clearest wrong labels right; whether there were any."""
    assert labels.similarity is not None
    rows = np.flatnonzero(labels.used)
    if len(rows) < 3:
        return False
    cells, assays = labels.cells[rows], labels.assays[rows]
    r = correlations[np.ix_(rows, rows)]
    k = labels.similarity.covariance(cells, assays)
    match, own = leave_two_out(k, r)
    gains = match - own
    settled = np.isin(rows, list(labels.partners))
    sums = gains + gains.T
    sums[np.minimum(gains, gains.T) < -_LOSS] = -np.inf
    sums[settled] = sums[:, settled] = -np.inf
    np.fill_diagonal(sums, -np.inf)
    pairs = _apart(sums, cells, assays)
    lone, lone_gain = _mislabelled(labels, rows, k, r, gains, np.diag(own), settled)
    # Both tracks of a swap fit better alone as well: the pair explains more.
    if pairs and sums[pairs[0]] >= lone_gain:
        for i, j in pairs:
            one, two = int(rows[i]), int(rows[j])
            labels.partners |= {one: two, two: one}
            labels.cells[[one, two]], labels.assays[[one, two]] = (
                labels.cells[[two, one]],
                labels.assays[[two, one]],
            )
        return True
    if lone is not None:
        labels.singles.append(lone)
        labels.used[lone] = False
        return True
    return False


def _apart(sums: Array, cells: Index, assays: Index) -> list[tuple[int, int]]:
    """Pairs of tracks by falling gain, of which no two have a cell type or assay in common.

    A swap makes tracks of the same labels look swapped as well: they wait until it is put right.
    """
    pairs: list[tuple[int, int]] = []
    taken: set[int] = set()
    above = np.argwhere(np.triu(sums > SWAP_GAIN))
    for i, j in above[np.argsort(-sums[above[:, 0], above[:, 1]], kind="stable")].tolist():
        around = {int(cells[i]), int(cells[j]), -1 - int(assays[i]), -1 - int(assays[j])}
        if taken.isdisjoint(around):
            pairs.append((i, j))
        taken |= around
    return pairs


def _mislabelled(
    labels: Labels,
    rows: Index,
    k: Array,
    r: Array,
    gains: Array,
    own: Array,
    settled: npt.NDArray[np.bool_],
) -> tuple[int | None, float]:
    """The track that gains the most from other labels, alone, if it gains enough; and its gain."""
    assert labels.similarity is not None
    cells, assays, n_assays = labels.cells[rows], labels.assays[rows], labels.n_assays
    gains = gains.copy()
    np.fill_diagonal(gains, -np.inf)
    best = gains.max(axis=1)
    free = np.setdiff1d(np.arange(labels.n_cells * n_assays), cells * n_assays + assays)
    if free.size:
        to_free = labels.similarity.between(cells, assays, *np.divmod(free, n_assays))
        best = np.maximum(best, matches_of_predictors(k, r, to_free).max(axis=1) - own)
    best = np.where(settled, -np.inf, best)
    top = int(np.argmax(best))
    return (int(rows[top]), float(best[top])) if best[top] > SINGLE_GAIN else (None, -np.inf)
