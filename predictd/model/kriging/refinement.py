"""Small neural networks that add what kriging leaves: how tracks go together where they do not go along a line.

Kriging sees every bin by itself, or with 1 kb around, and weighs tracks the same everywhere. Networks read the tracks
at five scales and tell, say, a domain from a peak, or what a mark of the same cell type makes of the peaks that other
cell types have. Each is a perceptron of two hidden layers (ReLU) that learned from a few training tracks, each of
which had been kriged from the others; what it gives is in standard deviations of the missing track. A prediction gets
the mean of what the networks give, in which those weigh more that learned from a track of its own assay, or of its
own cell type.

Inputs are in standard deviations of each track above its mean, compressed to sign(z)·log(1 + |z|), so that what is
learned from one track goes for another; what is not there is 0 and flagged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from predictd.model.imputer import Feature, Regressor
from predictd.model.kriging.effects import Places
from predictd.pairs import Experiment

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]

# The scales at which tracks are read: means over 1, 9, 41, 201 and 801 bins.
SCALES = tuple(Regressor(half_width) for half_width in (0, 4, 20, 100, 400))
# Cell types most like the missing track's own whose tracks of its assay are read by themselves.
_NEAREST = 2
# What a track that a network learned from adds to the network's weight where it has the pair's own assay, and where its
# own cell type; every track adds 1.
_SAME_ASSAY, _SAME_CELL_TYPE = 30.0, 8.0
# Bins at once: what the hidden layers hold of them should stay in cache.
_STEP = 2048


@dataclass(frozen=True)
class Neighbours:
    """The tracks around a pair, by what they are to it.

    Groups are, for each of A assays, the track of the pair's own cell type, then for each the tracks of other cell
    types, then, of the pair's own assay, all, that of the cell type most like its own, and that of the next.

    Attributes
    ----------
    averages
        float32 (n × g): of n tracks the means over the g groups that have any.
    same_assay
        Which tracks are of the pair's own assay.
    columns
        Which of a network's inputs follow from signal; the others are 0, or flags.
    flags
        float32 (2A,): 1 for each of the first 2A groups that has no track.
    """

    averages: Float32
    same_assay: Index
    columns: Index
    flags: Float32

    @classmethod
    def of(
        cls,
        cell: int,
        assay: int,
        places: Places,
        likeness: Float64,
        n_assays: int,
        *,
        itself: int | None = None,
    ) -> Neighbours:
        """Of a pair among tracks whose cell types and assays are `places`; it may be one of them `itself`.

        `likeness` is that of the cell types, (n_cells × n_cells).
        """
        cells, assays = places
        others = np.arange(len(cells)) != (-1 if itself is None else itself)
        members = np.zeros((2 * n_assays + 1 + _NEAREST, len(cells)), dtype=bool)
        for k in range(n_assays):
            members[k] = others & (cells == cell) & (assays == k)
            members[n_assays + k] = others & (cells != cell) & (assays == k)
        members[2 * n_assays] = others & (assays == assay)
        same_assay = np.flatnonzero(members[2 * n_assays])
        nearest = same_assay[np.argsort(-likeness[cell, cells[same_assay]], kind="stable")]
        for rank in range(_NEAREST if same_assay.size else 0):
            # Where there are fewer, all stand for it.
            members[
                2 * n_assays + 1 + rank, nearest[rank : rank + 1] if rank < nearest.size else same_assay
            ] = True
        groups = np.flatnonzero(members.any(axis=1))
        averages = (members[groups] / members[groups].sum(axis=1, keepdims=True)).T
        # Of every scale: the groups' means, then largest and smallest of the same assay.
        of_scale = np.append(groups, len(members) + np.arange(2 if same_assay.size else 0))
        firsts = 1 + np.arange(len(SCALES)) * _per_scale(n_assays)
        columns = np.append(0, np.add.outer(firsts, of_scale)).astype(np.intp)
        flags = np.array(~members[: 2 * n_assays].any(axis=1), dtype=np.float32)
        return cls(averages.astype(np.float32), same_assay, columns, flags)

    def inputs(self, kriged: Float32, z: Sequence[Float32]) -> Float32:
        """What networks read of some bins, without what is constant: float32 (bins × len(columns)).

        Parameters
        ----------
        kriged
            (bins,): what kriging predicts of the pair.
        z
            Of each scale (bins × n): the tracks. All in standard deviations above the mean.
        """
        parts = [kriged[:, np.newaxis]]
        for track in z:
            parts.append(track @ self.averages)
            if self.same_assay.size:
                same = track[:, self.same_assay]
                parts += [same.max(axis=1, keepdims=True), same.min(axis=1, keepdims=True)]
        read = np.concatenate(parts, axis=1)
        # Many times as fast as log1p, whose care for the smallest values is not needed.
        size = np.abs(read)
        size += 1
        return np.copysign(np.log(size, out=size), read)

    def padded(self, inputs: Float32) -> Float32:
        """All that networks read, (bins × all inputs), of what `inputs` gives."""
        n_bins = len(inputs)
        whole = np.zeros((n_bins, n_inputs(len(self.flags) // 2)), dtype=np.float32)
        whole[:, self.columns] = inputs
        whole[:, -len(self.flags) :] = self.flags
        return whole


@dataclass(frozen=True)
class Surroundings:
    """The n tracks that networks read.

    Attributes
    ----------
    tracks
        They, each with a standard deviation above 0.
    places
        Their cell types and assays, intp (n,) each.
    means, sds
        Of their signal: float64 (n,).
    likeness
        Of the cell types: float64 (n_cells × n_cells).
    n_assays
        A.
    """

    tracks: tuple[Experiment, ...]
    places: Places
    means: Float64
    sds: Float64
    likeness: Float64
    n_assays: int

    def around(self, target: Experiment, cell: int, assay: int) -> Neighbours:
        """What the tracks are to a pair, which may be one of them."""
        itself = self.tracks.index(target) if target in self.tracks else None
        return Neighbours.of(cell, assay, self.places, self.likeness, self.n_assays, itself=itself)


def n_inputs(n_assays: int) -> int:
    """How many inputs a network has: what is kriged, 2A + 5 of each scale, and 2A flags."""
    return 1 + len(SCALES) * _per_scale(n_assays) + 2 * n_assays


def _per_scale(n_assays: int) -> int:
    """Inputs of one scale: the means of 2A + 1 groups and of the nearest, the largest, the smallest."""
    return 2 * n_assays + 1 + _NEAREST + 2


@dataclass(frozen=True)
class Refinement:
    """Fitted networks, R of them, with two hidden layers of h units.

    Attributes
    ----------
    first, first_bias
        float32 (R × inputs × h) and (R × h); the second and the last layer alike.
    second, second_bias
        float32 (R × h × h) and (R × h).
    last, last_bias
        float32 (R × h) and (R,).
    learned
        int64 (R × tracks × 2): rows of cell type and assay of the tracks that each learned from.
    """

    first: Float32
    first_bias: Float32
    second: Float32
    second_bias: Float32
    last: Float32
    last_bias: Float32
    learned: npt.NDArray[np.int64]

    def bound(self, neighbours: Neighbours, cell: int, assay: int) -> BoundNetworks:
        """The networks as a pair of this cell type and assay needs them."""
        alike = (self.learned == (cell, assay)).sum(axis=1)
        weights = self.learned.shape[1] + alike @ [_SAME_CELL_TYPE, _SAME_ASSAY]
        weights /= weights.sum()
        n_flags = len(neighbours.flags)
        bias = self.first_bias + np.einsum("f,rfh->rh", neighbours.flags, self.first[:, -n_flags:])
        first = self.first[:, neighbours.columns].transpose(1, 0, 2)
        return BoundNetworks(
            neighbours,
            np.ascontiguousarray(first.reshape(len(neighbours.columns), -1)),
            bias.ravel().astype(np.float32),
            self,
            weights.astype(np.float32),
        )

    def to_arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Parameters by their names in the model file."""
        return {name: getattr(self, name) for name in _ARRAYS}

    @classmethod
    def from_arrays(
        cls, arrays: dict[str, npt.NDArray[np.generic]], n_cells: int, n_assays: int
    ) -> Refinement:
        """Inverse of `to_arrays`.

        Raises
        ------
        KeyError, ValueError
            If parameters are missing, or their shapes do not belong together.
        """
        learned = np.asarray(arrays["learned"], dtype=np.int64)
        parts = {name: np.asarray(arrays[name], dtype=np.float32) for name in _ARRAYS if name != "learned"}
        n_networks, width = parts["last"].shape
        shapes = {
            "first": (n_networks, n_inputs(n_assays), width),
            "first_bias": (n_networks, width),
            "second": (n_networks, width, width),
            "second_bias": (n_networks, width),
            "last": (n_networks, width),
            "last_bias": (n_networks,),
        }
        for name, array in parts.items():
            if array.shape != shapes[name] or not np.isfinite(array).all():
                raise ValueError(f"{name} of the networks does not belong to the others, or is not finite")
        if learned.ndim != 3 or learned.shape[::2] != (n_networks, 2) or not learned.size:
            raise ValueError("nothing tells what the networks learned from")
        if learned.min() < 0 or (learned >= (n_cells, n_assays)).any():
            raise ValueError("the networks learned from cell types or assays that the model has not")
        return cls(learned=learned, **parts)


_ARRAYS = tuple(field.name for field in fields(Refinement))


@dataclass(frozen=True)
class BoundNetworks:
    """Networks for one pair: constant inputs are part of the biases, and the first layers are one matrix."""

    neighbours: Neighbours
    first: Float32
    first_bias: Float32
    networks: Refinement
    weights: Float32

    def __call__(self, kriged: Float32, z: Sequence[Float32]) -> Float32:
        """The weighted mean of what the networks give, (bins,); see `Neighbours.inputs`."""
        hidden = self.neighbours.inputs(kriged, z) @ self.first
        hidden += self.first_bias
        np.maximum(hidden, 0, out=hidden)
        own = self.networks
        width = own.last.shape[1]
        given = np.zeros(len(kriged), dtype=np.float32)
        for r, weight in enumerate(self.weights.tolist()):
            second = hidden[:, r * width : (r + 1) * width] @ own.second[r]
            second += own.second_bias[r]
            np.maximum(second, 0, out=second)
            given += np.float32(weight) * (second @ own.last[r] + own.last_bias[r])
        return given


class Refiner:
    """What networks add to kriging's predictions of some targets, from the features of an imputer.

    Parameters
    ----------
    refinement
        The networks.
    features
        The imputer's; they have every scale of each track.
    surroundings
        The tracks.
    targets
        The m pairs, with their cell types and assays (`places`) and what is predicted of their `means` and `sds`.
    """

    def __init__(
        self,
        refinement: Refinement,
        features: Sequence[Feature],
        surroundings: Surroundings,
        targets: Sequence[Experiment],
        places: Places,
        means: Float64,
        sds: Float64,
    ) -> None:
        column = {feature: index for index, feature in enumerate(features)}
        self._columns = [
            np.array([column[Feature(track, *scale)] for track in surroundings.tracks], dtype=np.intp)
            for scale in SCALES
        ]
        self._shift = surroundings.means.astype(np.float32)
        self._factor = (1 / surroundings.sds).astype(np.float32)
        self._means, self._sds = means.astype(np.float32), sds.astype(np.float32)
        self._networks = [
            refinement.bound(surroundings.around(target, int(cell), int(assay)), int(cell), int(assay))
            for target, cell, assay in zip(targets, *places, strict=True)
        ]

    def __call__(self, features: Float32, predicted: Float32) -> Float32:
        """What to add to predictions (bins × m) that were made from features (bins × k)."""
        added = np.empty_like(predicted)
        for start in range(0, len(features), _STEP):
            some = slice(start, start + _STEP)
            z = [(features[some, columns] - self._shift) * self._factor for columns in self._columns]
            for target, networks in enumerate(self._networks):
                kriged = (predicted[some, target] - self._means[target]) / self._sds[target]
                added[some, target] = self._sds[target] * networks(kriged, z)
        return added
