"""The predictors of a stack: maps from standardised training tracks to a standardised missing track.

Each is linear, closed form from the tracks' correlations, and reads no track of the missing pair itself:

- `assay_mean`: the mean over the tracks of the same assay.
- `donors`: each cell type that has the assay shows how its track follows from tracks that both cell types have, by
  ridge regression, and from the mean of the other cell types' tracks; the mean over these donors (after ChromImpute,
  Ernst & Kellis 2015, Nature Biotechnology 33:364).
- `kriging`: the best linear prediction from the most related tracks under pooled correlations (simple kriging; Matheron
  1963, Economic Geology 58:1246).
- `kriging_features`: the same from tracks of which three features are read as well as their signal (`features`).
- `em`: the CP model of the standardised tracks.
- `em_raw`: the CP model of the tracks as they are, which has means and scales of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from predictd.model.cp.factors import CPModel
from predictd.model.stack.features import KINDS, columns_of
from predictd.model.stack.pooling import Pooled
from predictd.model.stack.scales import Scales
from predictd.model.stack.tracks import Array, Index, Places, Tracks
from predictd.pairs import Experiment, positions

# Ridge of a donor's regression, in observations of unit variance; errors hardly differ between 0.03 and 0.3.
_RIDGE = 0.05
# Added to the diagonal of kriging's correlations, and how many tracks it reads.
_NUGGET = 0.3
_NEAREST = 30
# The same where features are read as well: four columns of a track tell more of its noise than one.
_FEATURED_NUGGET = 0.6
_FEATURED_NEAREST = 20
# What a model of the tracks as they are predicts varies by at most so many predicted deviations, and its mean is off by
# at most so many. It may know a scale better, but its errors in an assay of small scale have the size of other assays.
_WIDEST = 2.5


def assay_mean(tracks: Tracks, targets: Places) -> Array:
    """Maps (m × n) of the same-assay mean; 0 where no other cell type has the assay."""
    maps = np.zeros((len(targets[0]), len(tracks.names)))
    for row, (cell, assay) in enumerate(zip(*targets, strict=True)):
        same = tracks.donors(cell, assay)
        maps[row, same] = 1.0 / max(1, same.size)
    return maps


def donors(tracks: Tracks, targets: Places) -> Array:
    """Maps (m × n) of the mean over regressions, one a donor; 0 without donors."""
    maps = np.zeros((len(targets[0]), len(tracks.names)))
    column: dict[int, dict[int, int]] = {}
    for index, (cell, assay) in enumerate(zip(*(rows.tolist() for rows in tracks.places), strict=True)):
        column.setdefault(cell, {})[assay] = index
    for row, (cell, assay) in enumerate(zip(*(rows.tolist() for rows in targets), strict=True)):
        own = column.get(cell, {})
        those = tracks.donors(cell, assay)
        for donor in those.tolist():
            theirs = column[int(tracks.places[0][donor])]
            shared = [b for b in own if b != assay and b in theirs]
            weights, of_mean = _regression(tracks, donor, [theirs[b] for b in shared], those)
            maps[row, [own[b] for b in shared]] += weights
            maps[row, those] += of_mean / len(those)
        maps[row] /= max(1, len(those))
    return maps


def _regression(tracks: Tracks, donor: int, shared: list[int], donors: Index) -> tuple[Array, float]:
    """Weights of a donor's track on some of its cell type's tracks, and on the mean of the other donors."""
    r, k = tracks.correlations, len(shared)
    others = donors[donors != donor]
    n_others = len(others)
    system = np.empty((k + 1, k + 1))
    system[:k, :k] = r[np.ix_(shared, shared)]
    right = np.empty(k + 1)
    right[:k] = r[shared, donor]
    if n_others:
        system[k, :k] = system[:k, k] = r[np.ix_(shared, others)].mean(axis=1)
        system[k, k] = r[np.ix_(others, others)].mean()
        right[k] = r[others, donor].mean()
    used = k + (n_others > 0)
    if not used:
        return np.empty(0), 0.0
    system[np.arange(used), np.arange(used)] += _RIDGE
    weights = np.asarray(np.linalg.solve(system[:used, :used], right[:used]), dtype=np.float64)
    return weights[:k], float(weights[k]) if n_others else 0.0


def kriging(tracks: Tracks, targets: Places, pooled: Pooled) -> Array:
    """Maps (m × n) of the best linear prediction from the tracks that correlate most."""
    maps = np.zeros((len(targets[0]), len(tracks.names)))
    correlations = pooled.between(targets, tracks.places)
    for row, nearest in enumerate(_most_related(correlations, tracks, targets, _NEAREST)):
        places = tracks.places[0][nearest], tracks.places[1][nearest]
        system = pooled.between(places, places)
        np.fill_diagonal(system, 1.0)
        values, vectors = np.linalg.eigh((system + system.T) / 2)
        right = correlations[row, nearest]
        weights = (vectors / (np.maximum(values, 0.0) + _NUGGET)) @ (vectors.T @ right)
        # Pooled correlations need not belong to any signal; a prediction never varies more than its target.
        maps[row, nearest] = weights / max(1.0, float(right @ weights))
    return maps


def _most_related(correlations: Array, tracks: Tracks, targets: Places, most: int) -> Iterator[Index]:
    """Tracks that each target is predicted from, the most related first; `correlations` is (m × n)."""
    strength = np.abs(correlations)
    # A track says nothing of itself.
    strength[same_pair(tracks, targets)] = -1.0
    for own in strength:
        yield np.argsort(-own, kind="stable")[: min(most, int((own >= 0).sum()))]


def kriging_features(tracks: Tracks, targets: Places, pooled: Mapping[tuple[int, int], Pooled]) -> Array:
    """Maps (m × 4n) of the best linear prediction from the tracks that correlate most and their features.

    `pooled` is of `pooling.pooled_features`.
    """
    assert tracks.features is not None
    n = len(tracks.names)
    observed = tracks.features.correlations.reshape(KINDS, n, KINDS, n)
    blocks = np.empty_like(observed)
    for (x, y), one in pooled.items():
        between = one.between(tracks.places, tracks.places)
        # What is read of one track goes together as it does there.
        np.fill_diagonal(between, np.diagonal(observed[x, :, y]))
        blocks[y, :, x], blocks[x, :, y] = between.T, between
    flat = blocks.reshape(KINDS * n, KINDS * n)
    values, vectors = np.linalg.eigh((flat + flat.T) / 2)
    system = (vectors * np.maximum(values, 0.0)) @ vectors.T
    system[np.diag_indices_from(system)] += _FEATURED_NUGGET
    right = np.concatenate([pooled[0, y].between(targets, tracks.places) for y in range(KINDS)], axis=1)
    maps = np.zeros_like(right)
    for row, nearest in enumerate(_most_related(right[:, :n], tracks, targets, _FEATURED_NEAREST)):
        read = columns_of(nearest, n)
        read = read[tracks.features.sds[read] > 0]
        maps[row, read] = np.linalg.solve(system[np.ix_(read, read)], right[row, read])
    expected = (right * maps).sum(axis=1)
    # What it varies by is known: where that is more than pooled correlations say, so is its error.
    varied = ((maps @ tracks.features.correlations) * maps).sum(axis=1)
    excess = np.divide(varied, expected, out=np.ones_like(expected), where=expected > 0)
    return maps / np.maximum(np.maximum(1.0, expected), excess)[:, np.newaxis]


def em(tracks: Tracks, targets: Places, model: CPModel) -> Array:
    """Maps (m × n) of the CP model that was fitted to the standardised tracks; constant tracks were 0 there."""
    weights, _ = _by_tracks(tracks, targets, model)
    return weights


def em_raw(tracks: Tracks, targets: Places, model: CPModel, scales: Scales) -> tuple[Array, Array]:
    """Maps (m × n) and offsets (m,) of the CP model that was fitted to the tracks as they are, in standard units.

    What is predicted is taken from the predicted mean of each target, in its predicted standard deviations. It varies
    by at most 2.5 of these, and its mean is at most as far from the predicted one.
    """
    weights, constant = _by_tracks(tracks, targets, model)
    sds = scales.sds[targets]
    means = weights @ tracks.means + constant
    maps, offsets = weights * tracks.sds / sds[:, np.newaxis], (means - scales.means[targets]) / sds
    varied = np.sqrt(np.maximum(((maps @ tracks.correlations) * maps).sum(axis=1), 0.0))
    return maps / np.maximum(1.0, varied / _WIDEST)[:, np.newaxis], np.clip(offsets, -_WIDEST, _WIDEST)


def _by_tracks(tracks: Tracks, targets: Places, model: CPModel) -> tuple[Array, Array]:
    """A CP model's weights of the tracks (m × n), and what is added, (m,): a constant track is its value throughout."""
    pairs = [
        Experiment(model.cell_types[cell], model.assays[assay]) for cell, assay in zip(*targets, strict=True)
    ]
    imputer = model.imputer(pairs)
    own, constant = imputer.affine.weights, imputer.affine.intercept
    flat = np.array([e in tracks.flat for e in imputer.inputs])
    read = [e for e in imputer.inputs if e not in tracks.flat]
    weights = np.zeros((len(pairs), len(tracks.names)))
    weights[:, positions(read, tracks.names)] = own[:, ~flat]
    values = np.array([tracks.flat[e] for e in imputer.inputs if e in tracks.flat])
    return weights, own[:, flat] @ values + constant


def same_pair(tracks: Tracks, targets: Places) -> tuple[Index, Index]:
    """Where a target is itself one of the tracks: its row, and the track."""
    (c1, a1), (c2, a2) = targets, tracks.places
    rows, columns = np.nonzero((c1[:, np.newaxis] == c2) & (a1[:, np.newaxis] == a2))
    return rows, columns
