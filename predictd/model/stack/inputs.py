"""What networks read of a missing pair: linear maps of the tracks, as they are, through curves, and over windows.

The maps are the same in number and meaning for every pair, whatever cell types and assays a tensor has, so that what is
learned from one track goes for another:

- the stack's prediction and its members';
- the three tracks of the cell type that should correlate most with the missing one;
- its assay's tracks in the two most similar cell types;
- means over the same assay, over the cell type, and over everything;
- for each of the six assays most related to the missing one's, the cell type's own track and the mean of the others'.

The largest and the smallest of the same assay's tracks are read as well, some maps of the logarithm and of the square
of the tracks (which distinguish weak signal from none, and strong from stronger), and a few numbers that do not change
along the genome.

Values are in standard deviations of each track above its mean, compressed to sign(z)·log(1 + |z|); what does not exist
is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from predictd.kernels import compress
from predictd.model.stack.maps import LinearMaps
from predictd.model.stack.pooling import SAME_CELL, Pooled
from predictd.model.stack.tracks import Array, Index, Places, Tracks

Float32 = npt.NDArray[np.float32]

# Half widths of the windows, in bins: means over 1, 9, 41, 201 and 801 bins.
HALF_WIDTHS = (0, 4, 20, 100, 400)
# Curves: logarithm and square.
CURVES = 2
_TOP, _NEAREST, _RELATED = 3, 2, 6


def curves(signal: Float32) -> Float32:
    """Logarithm and square of signal of any shape: float32 (2 × that). Negative signal has the logarithm of none."""
    return np.stack([np.log(np.maximum(signal, np.float32(0.0)) + np.float32(0.05)), np.square(signal)])


def related_assays(pooled: Pooled) -> Index:
    """For each assay those most related to it within cell types: intp (n_assays × at most 6)."""
    strength = np.abs(pooled.mean[SAME_CELL] + pooled.assays[SAME_CELL])
    np.fill_diagonal(strength, -1.0)
    return np.argsort(-strength, axis=1, kind="stable")[:, : min(_RELATED, len(strength) - 1)]


@dataclass(frozen=True)
class CurveScales:
    """Means and standard deviations of the curves of n tracks: float64 (2 × n) each."""

    means: Array
    sds: Array

    @classmethod
    def of(cls, signal: Float32) -> CurveScales:
        """Over bins of signal (bins × n)."""
        found = curves(signal)
        return cls(found.mean(axis=1, dtype=np.float64), found.std(axis=1, dtype=np.float64))

    def some(self, columns: Index) -> CurveScales:
        """Of some tracks."""
        return CurveScales(self.means[:, columns], self.sds[:, columns])

    def standardised(self, tracks: Float32) -> Float32:
        """Curves of tracks (n × bins) in standard deviations: float32 (2 × n × bins); constant ones are 0."""
        factor = np.divide(1.0, self.sds, out=np.zeros_like(self.sds), where=self.sds > 0)
        shift, scale = (a.astype(np.float32)[..., np.newaxis] for a in (self.means, factor))
        found = curves(tracks)
        found -= shift
        found *= scale
        return found


class PairMaps(NamedTuple):
    """Linear maps of the tracks that lead networks at a pair: all, and those of curves."""

    every: LinearMaps
    curved: LinearMaps


@dataclass(frozen=True)
class Guide:
    """What leads networks at m pairs.

    Attributes
    ----------
    maps
        float64 (m × q × n): linear maps of the standardised tracks; the first is the stack's own prediction.
    wide, curved
        Which of the q maps are read over windows, and which of the tracks' curves: intp.
    same
        The tracks of each pair's assay in other cell types.
    constants
        float64 (m × c).
    beyond
        What the stack and its members, the first maps, make of the tracks' features: float64 (m × maps × 3n), or None.
    """

    maps: Array
    wide: Index
    curved: Index
    same: tuple[Index, ...]
    constants: Array
    beyond: Array | None = None

    @classmethod
    def of(
        cls, tracks: Tracks, targets: Places, stack: Array, members: Array, pooled: Pooled, related: Index
    ) -> Guide:
        """Of m pairs.

        Parameters
        ----------
        tracks
            That are read.
        targets
            The pairs' cell types and assays.
        stack, members
            Maps of the stack (m × n) and of its k members (k × m × n); 4n where features are read as well.
        pooled, related
            Pooled correlations; what `related_assays` says.
        """
        m, n, k = len(stack), len(tracks.names), len(members)
        n_related = related.shape[1]
        top, near, means = 1 + k, 1 + k + _TOP, 1 + k + _TOP + _NEAREST
        slots = means + 3
        maps = np.zeros((m, slots + 2 * n_related, n))
        first = np.concatenate([stack[:, np.newaxis], members.transpose(1, 0, 2)], axis=1)
        maps[:, : 1 + k] = first[..., :n]
        correlations = pooled.between(targets, tracks.places)
        similar = _similarity(tracks)
        constants = np.zeros((m, 3 + _TOP + 2 * n_related))
        same: list[Index] = []
        for row, (cell, assay) in enumerate(zip(*targets, strict=True)):
            context, donors = tracks.context(cell, assay), tracks.donors(cell, assay)
            same.append(donors)
            best = context[np.argsort(-np.abs(correlations[row, context]), kind="stable")][:_TOP]
            for place, track in enumerate(best.tolist()):
                maps[row, top + place, track] = np.sign(correlations[row, track])
            nearest = donors[np.argsort(-similar[cell, tracks.places[0][donors]], kind="stable")]
            for place in range(_NEAREST if donors.size else 0):
                maps[row, near + place, nearest[min(place, donors.size - 1)]] = 1.0
            itself = (tracks.places[0] == cell) & (tracks.places[1] == assay)
            some = [donors, context, np.flatnonzero(~itself)]
            for other in related[assay].tolist():
                of_assay = tracks.places[1] == other
                some += [np.flatnonzero(of_assay & (tracks.places[0] == cell)), tracks.donors(cell, other)]
            for place, those in enumerate(some):
                maps[row, means + place, those] = 1.0 / max(1, those.size)
            variance = stack[row] @ tracks.every_correlation @ stack[row]
            constants[row, :3] = np.log1p(donors.size), np.log1p(context.size), np.sqrt(max(variance, 0.0))
            constants[row, 3 : 3 + best.size] = np.abs(correlations[row, best])
            constants[row, 3 + _TOP :] = [those.size > 0 for those in some[3:]]
        wide = np.array([0, *range(means, slots + 2 * n_related)], dtype=np.intp)
        curved = np.array([0, *range(top, top + _TOP), means, means + 1], dtype=np.intp)
        beyond = None if tracks.features is None else first[..., n:]
        return cls(maps, wide, curved, tuple(same), constants, beyond)

    @property
    def n_inputs(self) -> int:
        """How many inputs a network has."""
        n_windows = len(HALF_WIDTHS) - 1
        own = self.maps.shape[1] + 2 + CURVES * len(self.curved)
        return own + n_windows * len(self.wide) + self.constants.shape[1]

    def maps_of(self, row: int) -> PairMaps:
        """The maps of one of the pairs."""
        return PairMaps(LinearMaps(self.maps[row]), LinearMaps(self.maps[row, self.curved]))

    def leading(
        self,
        row: int,
        mapped: Float32,
        z: Float32,
        curved: Float32,
        *,
        maps: PairMaps,
        features: Float32 | None = None,
    ) -> Float32:
        """What networks read of a pair at some bins, but for windows and constants: float32 (inputs × bins).

        Parameters
        ----------
        row
            Of the pair.
        mapped
            What all of its maps make of z, (q × bins).
        z, curved
            Standardised signal of the tracks (n × bins) and its curves (2 × n × bins).
        maps
            Those of the pair.
        features
            Standardised, (3n × bins), where they are read.
        """
        extremes = np.zeros((2, z.shape[1]), dtype=np.float32)
        same = self.same[row]
        if same.size:
            tracks = z[same]
            extremes[0], extremes[1] = tracks.max(axis=0), tracks.min(axis=0)
        if features is not None and self.beyond is not None:
            beyond = self.beyond[row].astype(np.float32)
            mapped = mapped.copy()
            mapped[: len(beyond)] += beyond @ features
        return np.concatenate([mapped, extremes, *(maps.curved(values) for values in curved)])


def read_by_networks(leading: Float32, windows: Sequence[Float32]) -> Float32:
    """What networks read at some bins, before constants: float32 (bins × k).

    Parameters
    ----------
    leading
        As of `Guide.leading`, (inputs × bins).
    windows
        Of each half width but 0, (bins × len(wide)): means of the wide maps.
    """
    parts = [leading.T, *windows]
    read = np.empty((leading.shape[1], sum(part.shape[1] for part in parts)), dtype=np.float32)
    np.concatenate(parts, axis=1, out=read)
    compress(read)
    return read


def _similarity(tracks: Tracks) -> Array:
    """Mean correlation of two cell types' tracks over the assays that both have; 0 where there is none: (n_cells²)."""
    cells, assays = tracks.places
    n_cells = tracks.shape[0]
    i, j = np.nonzero(assays[:, np.newaxis] == assays)
    group = cells[i] * n_cells + cells[j]
    sums = np.bincount(group, tracks.correlations[i, j], minlength=n_cells**2)
    counts = np.bincount(group, minlength=n_cells**2)
    return np.asarray((sums / np.maximum(counts, 1)).reshape(n_cells, n_cells))
