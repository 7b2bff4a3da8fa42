"""Small neural networks that add what a stack leaves: how tracks go together where they do not go along a line.

A stack weighs tracks the same in every bin. Networks read its prediction and what leads to it (`inputs`) and tell, say,
a domain from a peak, or an open promoter from a closed one. Each is a perceptron of two hidden layers (ReLU) that
learned from known tracks, each predicted as if it were missing. Some learned from all of them; the others from a few
each (bagging: Breiman 1996, Machine Learning 24:123), and of these, those count more that learned from a track of the
missing one's assay or cell type. What they give, in standard deviations of the missing track, is averaged, half by the
ones and half by the others: where assays are many the first predict better, where tracks are few the second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import numpy.typing as npt

from predictd.kernels import UNITS, apply_networks
from predictd.model.stack.features import WINDOW
from predictd.model.stack.inputs import HALF_WIDTHS, CurveScales, Guide, read_by_networks
from predictd.model.stack.perceptron import learn_perceptron
from predictd.model.stack.tracks import Places, Tracks
from predictd.pairs import Experiment, positions

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

# Bins that a network learns from, of all its tracks together, and the least and the most of a track; how it learns from
# them.
_BINS = 160_000
_LEAST_BINS, _MOST_BINS = 400, 10_000
_BATCH = 1024
_PENALTY = 1e-2
# Passes over the bins, with their learning rates.
_SCHEDULE = ((4, 2e-3), (2, 4e-4))
# The strongest bins of a track, by their share, count twice: least squares alone predict peaks too low.
_STRONGEST = 0.01
# Residuals beyond so many standard deviations count as this: single artefacts should not lead.
_FARTHEST = 8.0
# How much of what networks give is added: they learned from tracks that chance had them see.
_SHARE = 0.8
# Every so many networks one learns from all tracks; the others from so many each.
_GENERAL_EVERY = 8
_TRACKS = 3
# What a track that a network learned from adds to its weight where it has the pair's own assay, and where its own cell
# type; every track adds 1.
_SAME_ASSAY, _SAME_CELL_TYPE = 30.0, 8.0
# With fewer known tracks there is too little to learn from.
FEWEST = 6


@dataclass(frozen=True)
class WindowSample:
    """Signal at some bins all over the genome, with what is around them.

    Attributes
    ----------
    experiments
        The N experiments of a tensor.
    values
        float32 (windows × bins × N): means over the windows of `HALF_WIDTHS`; without NaN.
    """

    experiments: tuple[Experiment, ...]
    values: Float32

    @cached_property
    def curve_scales(self) -> CurveScales:
        """Of the experiments."""
        return CurveScales.of(self.values[0])


@dataclass(frozen=True)
class Lesson:
    """Known tracks that a stack predicted without having seen them.

    Attributes
    ----------
    tracks
        What it read.
    names
        The m known tracks.
    places
        Rows of their cell types and assays.
    means, sds
        Of these: float64 (m,).
    guide
        What leads networks at them.
    corrections, offsets
        What makes of the stack's map its prediction in standard deviations above the mean of a known track, as if both
        had been predicted without error: how much of each of its k members' maps to add, float64 (m × k), and a
        constant, float64 (m,). They are not 0 where a member predicts in the track's own units.
    """

    tracks: Tracks
    names: tuple[Experiment, ...]
    places: Places
    means: Float64
    sds: Float64
    guide: Guide
    corrections: Float64
    offsets: Float64


@dataclass(frozen=True)
class Networks:
    """Fitted networks, R of them, with two hidden layers of h = `UNITS` units.

    Attributes
    ----------
    first, first_bias
        float32 (R × inputs × h) and (R × h); the second and the last layer alike.
    second, second_bias
        float32 (R × h × h) and (R × h).
    last, last_bias
        float32 (R × h) and (R,).
    learned
        int64 (R × tracks × 2): rows of cell type and assay of the tracks that each learned from; -1: from all.
    """

    first: Float32
    first_bias: Float32
    second: Float32
    second_bias: Float32
    last: Float32
    last_bias: Float32
    learned: npt.NDArray[np.int64]

    def weights(self, cell: int, assay: int, *, unseen: bool = False) -> Float32:
        """How much each network counts for a pair, float32 (R,).

        With `unseen` those that learned from the pair's own track, or from all, do not count; if all did, none does.
        """
        general = (self.learned < 0).all(axis=(1, 2))
        same = self.learned == (cell, assay)
        weights = self.learned.shape[1] + same.sum(axis=1) @ [_SAME_CELL_TYPE, _SAME_ASSAY]
        if unseen:
            weights[general | same.all(axis=2).any(axis=1)] = 0.0
            return np.asarray(weights / max(weights.sum(), 1e-300), dtype=np.float32)
        for group in (general, ~general):
            both = general.any() and not general.all()
            weights[group] *= (0.5 if both else 1.0) / max(weights[group].sum(), 1e-300)
        return np.asarray(weights, dtype=np.float32)

    def __call__(self, inputs: Float32, weights: Float32, constants: Float32 | None = None) -> Float32:
        """What to add at some bins, in standard deviations.

        Parameters
        ----------
        inputs
            What networks read there, (bins × k).
        weights
            How much each network counts, (R,).
        constants
            The rest of what they read, which is the same in all bins.

        Returns
        -------
        float32 (bins,)
        """
        bias = self.first_bias
        if constants is not None:
            bias = bias + np.einsum("i,rih->rh", constants, self.first[:, inputs.shape[1] :])
        return apply_networks(
            self.first,
            bias,
            self.second,
            self.second_bias,
            self.last,
            self.last_bias,
            np.float32(_SHARE) * weights,
            inputs,
        )

    @classmethod
    def joined(cls, networks: Sequence[Networks]) -> Networks:
        """All networks of several."""
        return cls(*(np.concatenate([getattr(one, name) for one in networks]) for name in _ARRAYS))

    def to_arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Parameters by their names in the model file."""
        return {name: getattr(self, name) for name in _ARRAYS}

    @classmethod
    def from_arrays(cls, arrays: dict[str, npt.NDArray[np.generic]]) -> Networks:
        """Inverse of `to_arrays`.

        Raises
        ------
        KeyError, ValueError
            If parameters are missing, or their shapes do not belong together.
        """
        learned = np.asarray(arrays["learned"], dtype=np.int64)
        parts = {name: np.asarray(arrays[name], dtype=np.float32) for name in _ARRAYS if name != "learned"}
        n_networks, n_inputs, width = parts["first"].shape
        shapes = {
            "first": (n_networks, n_inputs, width),
            "first_bias": (n_networks, width),
            "second": (n_networks, width, width),
            "second_bias": (n_networks, width),
            "last": (n_networks, width),
            "last_bias": (n_networks,),
        }
        for name, array in parts.items():
            if array.shape != shapes[name] or not np.isfinite(array).all():
                raise ValueError(f"{name} of the networks does not belong to the others, or is not finite")
        if width != UNITS:
            raise ValueError(f"networks have {width} units a layer, not {UNITS}")
        if learned.ndim != 3 or learned.shape[::2] != (n_networks, 2) or not learned.size:
            raise ValueError("there is no record of what the networks learned from")
        return cls(learned=learned, **parts)


_ARRAYS = tuple(field.name for field in fields(Networks))


def fit_network(
    lessons: Sequence[Lesson], sample: WindowSample, index: int, n_networks: int, seed: int
) -> Networks:
    """Fit one of several networks to what a stack left of known tracks, at bins of a sample."""
    rng = np.random.default_rng([seed, index])
    every = [(lesson, row) for lesson in lessons for row in range(len(lesson.names))]
    chosen = _chosen(len(every), index, n_networks, seed)
    n_bins = _bins_of_each(len(chosen), sample.values.shape[1])
    pieces = [
        exercise(*every[number], sample, _drawn(*every[number], sample, n_bins, rng)) for number in chosen
    ]
    read, wanted = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    layers = learn_perceptron(
        read,
        wanted,
        batch=_BATCH,
        penalty=_PENALTY,
        schedule=_SCHEDULE,
        seed=int(rng.integers(2**31)),
    )
    # Weights of what never changed are as they were drawn; they would add noise where it is otherwise.
    constant = np.ptp(read, axis=0) == 0
    first, first_bias = layers.weights[0], layers.biases[0]
    first_bias += read[0, constant] @ first[constant]
    first[constant] = 0
    learned = np.full((1, _TRACKS, 2), -1, dtype=np.int64)
    if not _is_general(index):
        rows = [every[number] for number in chosen]
        learned[0] = [[lesson.places[axis][row] for axis in (0, 1)] for lesson, row in rows]
    (w1, w2, w3), (b1, b2, b3) = layers.weights, layers.biases
    return Networks(w1[None], b1[None], w2[None], b2[None], w3.T, b3, learned)


def learned_bins(n_tracks: int, n_sampled: int, n_networks: int) -> list[int]:
    """From how many bins each of some networks learns, of all its tracks together.

    Parameters
    ----------
    n_tracks
        That are known.
    n_sampled
        Bins of a sample.
    n_networks
        How many there are.
    """
    sizes = [n_tracks if _is_general(index) else _TRACKS for index in range(n_networks)]
    return [size * _bins_of_each(size, n_sampled) for size in sizes]


def _bins_of_each(n_tracks: int, n_sampled: int) -> int:
    """Bins of each of the tracks that a network learns from, before the strongest count twice."""
    return min(n_sampled, _MOST_BINS, max(_LEAST_BINS, _BINS // n_tracks))


def _is_general(index: int) -> bool:
    return index % _GENERAL_EVERY == 0


def _chosen(n_tracks: int, index: int, n_networks: int, seed: int) -> list[int]:
    """Which of the known tracks a network learns from; each is learned from about equally often."""
    if _is_general(index):
        return list(range(n_tracks))
    rng = np.random.default_rng([seed, n_networks])
    order: list[int] = []
    while len(order) < n_networks * _TRACKS:
        order += rng.permutation(n_tracks).tolist()
    return order[index * _TRACKS : (index + 1) * _TRACKS]


def _drawn(
    lesson: Lesson, row: int, sample: WindowSample, n_bins: int, rng: np.random.Generator
) -> npt.NDArray[np.intp]:
    """Bins of a sample at which networks learn from a known track: the strongest twice."""
    (column,) = positions([lesson.names[row]], sample.experiments)
    signal = sample.values[0, :, column]
    rows = rng.choice(len(signal), n_bins, replace=False)
    strong = signal[rows] >= max(np.quantile(signal, 1 - _STRONGEST), np.nextafter(signal.min(), np.inf))
    return np.concatenate([rows, rows[strong]])


def exercise(
    lesson: Lesson, row: int, sample: WindowSample, rows: npt.NDArray[np.intp]
) -> tuple[Float32, Float32]:
    """What networks read of a known track at bins of a sample, (bins × inputs), and should give, (bins,)."""
    tracks, guide = lesson.tracks, lesson.guide
    (column,) = positions([lesson.names[row]], sample.experiments)
    signal = sample.values[0, :, column]
    columns = positions(tracks.names, sample.experiments)
    maps = guide.maps_of(row)
    read = [
        np.ascontiguousarray(values.take(rows, axis=0).take(columns, axis=1).T) for values in sample.values
    ]
    z, *around = (tracks.standardised(values) for values in read)
    curved = sample.curve_scales.some(columns).standardised(read[0])
    mapped = maps.every(z)
    windows = [maps.every(values)[guide.wide].T for values in around]
    residual = (signal[rows] - lesson.means[row]) / lesson.sds[row] - mapped[0]
    corrections = lesson.corrections[row].astype(np.float32)
    residual -= corrections @ mapped[1 : 1 + len(corrections)] + np.float32(lesson.offsets[row])
    features = None
    if tracks.features is not None and guide.beyond is not None:
        features = tracks.features.standardised(read[0].T, read[HALF_WIDTHS.index(WINDOW)].T).T
        residual -= guide.beyond[row, 0].astype(np.float32) @ features
    varying = read_by_networks(guide.leading(row, mapped, z, curved, maps=maps, features=features), windows)
    constants = np.tile(guide.constants[row].astype(np.float32), (len(varying), 1))
    inputs = np.concatenate([varying, constants], axis=1)
    return inputs, np.clip(residual, -_FARTHEST, _FARTHEST).astype(np.float32)
