"""The stack: a weighted sum of predictors of a missing track, and what networks add to it.

Every member is a linear map of the standardised training tracks (`members`), and so is their weighted sum; with the
predicted mean and standard deviation of the missing track (`scales`) it is an affine map of the tracks themselves. All
of it is closed form on second moments but for EM's factors, which are fitted before, and the networks, which learned
from a sample of bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from predictd.model.cp.factors import CPModel
from predictd.model.imputer import AffineMap, Completion, Imputer
from predictd.model.imputer import Refiner as AnyRefiner
from predictd.model.ranges import Ranges
from predictd.model.stack import members
from predictd.model.stack.features import KINDS, FeatureRefiner, Features
from predictd.model.stack.inputs import CURVES, CurveScales, Guide
from predictd.model.stack.networks import Networks
from predictd.model.stack.pooling import Pooled, pooled_features
from predictd.model.stack.refiner import Refiner
from predictd.model.stack.scales import Scales
from predictd.model.stack.tracks import Array, Index, Places, Tracks
from predictd.model.stack.weights import Weights
from predictd.pairs import Experiment, positions, rows_of

# The members there are.
TOGETHER = "together"
MEMBERS = ("assay_mean", "donors", "kriging", "kriging_features", "em", "em_raw")
# The one that needs features of the tracks.
FEATURED = "kriging_features"
# Ridge of the correlations by which missing inputs are filled from the others.
_FILLING = 0.1


@dataclass(frozen=True)
class StackModel:
    """Members, their weights, and what networks add.

    Attributes
    ----------
    cell_types, assays
        Names of what it can impute.
    train
        Experiments that it was trained on; it reads those that vary.
    tracks
        These.
    scales
        Predicted means and standard deviations of all pairs.
    members
        Names of the k members, some of `MEMBERS`.
    weights
        Of the members.
    factors, raw_factors
        The CP models of the standardised tracks and of the tracks as they are, where `em` and `em_raw` are members.
    networks
        What they add; None: nothing.
    related, curve_scales
        What networks need to be led: `inputs.related_assays`, and the curves of the tracks.
    ranges
        Of the assays, which predictions do not leave; None: they go anywhere.
    """

    kind: ClassVar[str] = "stack"

    cell_types: tuple[str, ...]
    assays: tuple[str, ...]
    train: tuple[Experiment, ...]
    tracks: Tracks
    scales: Scales
    members: tuple[str, ...]
    weights: Weights
    factors: CPModel | None = None
    raw_factors: CPModel | None = None
    networks: Networks | None = None
    related: Index | None = None
    curve_scales: CurveScales | None = None
    ranges: Ranges | None = None

    def indices(self, pairs: Sequence[Experiment]) -> Places:
        """Rows of the cell types and of the assays of pairs.

        Raises
        ------
        DataError
            If the model knows a pair's cell type or assay not.
        """
        return rows_of(pairs, self.cell_types, self.assays)

    @cached_property
    def pooled(self) -> Pooled:
        """The pooled correlations of its tracks."""
        return Pooled.of(self.tracks)

    @cached_property
    def _pooled_features(self) -> dict[tuple[int, int], Pooled]:
        return pooled_features(self.tracks)

    def n_donors(self, places: Places) -> Index:
        """How many other cell types have the assay of each pair, intp (m,)."""
        return np.array([self.tracks.donors(*pair).size for pair in zip(*places, strict=True)], dtype=np.intp)

    def maps(self, places: Places) -> tuple[Array, Array]:
        """What each member makes of the standardised tracks, in predicted deviations from the predicted mean.

        Returns
        -------
        float64 (k × m × n) and (k × m)
            Maps, and what is added to them; maps of the tracks and their features, (k × m × 4n), where these are read.
        """
        tracks, m = self.tracks, len(places[0])
        found, offsets = (
            np.zeros((len(self.members), m, len(tracks.every_mean))),
            np.zeros((len(self.members), m)),
        )
        for k, name in enumerate(self.members):
            own = found[k, :, : len(tracks.names)]
            if name == "assay_mean":
                own[:] = members.assay_mean(tracks, places)
            elif name == "donors":
                own[:] = members.donors(tracks, places)
            elif name == "kriging":
                own[:] = members.kriging(tracks, places, self.pooled)
            elif name == FEATURED:
                found[k] = members.kriging_features(tracks, places, self._pooled_features)
            elif name == "em":
                assert self.factors is not None
                own[:] = self._without_itself(places, members.em(tracks, places, self.factors))
            else:
                assert self.raw_factors is not None
                raw, offsets[k] = members.em_raw(tracks, places, self.raw_factors, self.scales)
                own[:] = self._without_itself(places, raw)
        return found, offsets

    def stacked(self, places: Places, maps: Array, offsets: Array) -> tuple[Array, Array]:
        """The weighted sums of the members' maps and offsets: float64 (m × n) and (m,)."""
        weights = self.weights.for_targets(self.n_donors(places))
        return np.einsum("mk,kmn->mn", weights, maps), np.einsum("mk,km->m", weights, offsets)

    def imputer(self, targets: Sequence[Experiment]) -> Imputer:
        """How it imputes pairs; one that it was trained on is predicted from the other tracks."""
        places = self.indices(targets)
        tracks = self.tracks
        maps, offsets = self.maps(places)
        stacked, offset = self.stacked(places, maps, offsets)
        filling = self._filling()
        back = filling / tracks.sds
        return Imputer(
            inputs=tracks.names,
            targets=tuple(targets),
            affine=self._affine(places, stacked[:, : len(tracks.names)], offset),
            bounds=None if self.ranges is None else self.ranges.of_targets(places[1]),
            limits=None
            if self.ranges is None
            else self.ranges.of_inputs(tracks.places[1], positions(tracks.names, self.train)),
            completion=Completion(np.eye(len(back)) - back, back @ tracks.means),
            refiner=self._refiner(places, stacked, maps),
        )

    def alone(self, targets: Sequence[Experiment]) -> dict[str, AffineMap]:
        """See `predictd.model.ensemble.Model`."""
        places = self.indices(targets)
        maps, offsets = self.maps(places)
        found = {name: self._affine(places, maps[k], offsets[k]) for k, name in enumerate(self.members)}
        return found | {TOGETHER: self._affine(places, *self.stacked(places, maps, offsets))}

    def _affine(self, places: Places, maps: Array, offsets: Array) -> AffineMap:
        """What maps of standardised tracks (m × n, or 4n) and what is added to them (m,) are of tracks as they are."""
        means, sds = self.scales.means[places], self.scales.sds[places]
        read = slice(maps.shape[1])
        weights = maps * sds[:, np.newaxis] / self.tracks.every_sd[read]
        return AffineMap(weights, None, means + sds * offsets - weights @ self.tracks.every_mean[read])

    def within(self, ranges: Ranges) -> StackModel:
        """See `predictd.model.ensemble.Model`."""
        return replace(self, ranges=ranges)

    def _refiner(self, places: Places, stacked: Array, maps: Array) -> AnyRefiner | None:
        sds, features = self.scales.sds[places], self.tracks.features
        if self.networks is None:
            beyond = sds[:, np.newaxis] * stacked[:, len(self.tracks.names) :]
            return None if features is None or not beyond.any() else FeatureRefiner(features, beyond)
        assert self.related is not None and self.curve_scales is not None
        guide = Guide.of(self.tracks, places, stacked, maps, self.pooled, self.related)
        return Refiner(self.networks, guide, self.tracks, self.curve_scales, places, sds)

    def expected_errors(self, pairs: Sequence[Experiment]) -> Array:
        """Squared errors to be expected, before networks, over the variance of each track: float64 (m,)."""
        return self.weights.expected(self.n_donors(self.indices(pairs)))

    def _filling(self) -> Array:
        """Inverse of the tracks' correlations with a ridge, by which tracks are predicted from each other."""
        n = len(self.tracks.names)
        return np.asarray(np.linalg.inv(self.tracks.correlations + _FILLING * np.eye(n)))

    def _without_itself(self, places: Places, maps: Array) -> Array:
        """Maps in which a pair's own track is replaced by what the others say of it."""
        rows, columns = members.same_pair(self.tracks, places)
        if not rows.size:
            return maps
        precision = self._filling()
        maps = maps.copy()
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            weights = -precision[column] / precision[column, column]
            weights[column] = 0.0
            maps[row] += maps[row, column] * weights
            maps[row, column] = 0.0
        return maps

    def to_arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Parameters by their names in the model file."""
        below = np.tril_indices(len(self.tracks.names), -1)
        arrays: dict[str, npt.NDArray[np.generic]] = {
            "cell_types": np.array(self.cell_types),
            "assays": np.array(self.assays),
            "train": np.array([str(e) for e in self.train]),
            "tracks": np.array([str(e) for e in self.tracks.names]),
            "track_means": self.tracks.means,
            "track_sds": self.tracks.sds,
            # Half a matrix, in the precision that second moments have.
            "correlations": self.tracks.correlations[below].astype(np.float32),
            "means": self.scales.means,
            "sds": self.scales.sds,
            "members": np.array(self.members),
            "weights": self.weights.of_pools,
            "errors": self.weights.errors,
            "flat": np.array([str(e) for e in self.tracks.flat], dtype=str),
            "flat_values": np.array(list(self.tracks.flat.values()), dtype=np.float64),
        }
        if (features := self.tracks.features) is not None:
            below = np.tril_indices(len(features.correlations), -1)
            arrays |= {
                "feature_means": features.means[len(self.tracks.names) :],
                "feature_sds": features.sds[len(self.tracks.names) :],
                "feature_correlations": features.correlations[below].astype(np.float32),
            }
        for prefix, part in (
            (_FACTORS, self.factors),
            (_RAW, self.raw_factors),
            (_NETWORKS, self.networks),
        ):
            if part is not None:
                arrays |= {f"{prefix}{name}": array for name, array in part.to_arrays().items()}
        if self.related is not None and self.curve_scales is not None:
            curves = {"curve_means": self.curve_scales.means, "curve_sds": self.curve_scales.sds}
            arrays |= {"related": self.related.astype(np.int64), **curves}
        if self.ranges is not None:
            arrays |= self.ranges.to_arrays()
        return arrays

    @classmethod
    def from_arrays(cls, arrays: dict[str, npt.NDArray[np.generic]]) -> StackModel:
        """Inverse of `to_arrays`.

        Raises
        ------
        KeyError, ValueError
            If parameters are missing, or their shapes do not belong together.
        """
        cell_types, assays, names = (
            tuple(str(x) for x in arrays[key]) for key in ("cell_types", "assays", "members")
        )
        train, read = _pairs(arrays["train"]), _pairs(arrays["tracks"])
        known = {Experiment(cell, assay) for cell in cell_types for assay in assays}
        if not read or not set(read) <= set(train) <= known:
            raise ValueError("training experiments do not belong to the names")
        if not names or not set(names) <= set(MEMBERS):
            raise ValueError("there are members of other kinds")
        n, grid = len(read), (len(cell_types), len(assays))
        numbers = _numbers(arrays, n, grid, len(names))
        parts = {
            prefix: {
                key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)
            }
            for prefix in (_FACTORS, _RAW, _NETWORKS)
        }
        factors, raw = (CPModel.from_arrays(parts[x]) if parts[x] else None for x in (_FACTORS, _RAW))
        if [name in names for name in ("em", "em_raw")] != [factors is not None, raw is not None]:
            raise ValueError("the factors of em belong to the members")
        values = np.asarray(arrays["flat_values"], dtype=np.float64).tolist()
        flat = dict(zip(_pairs(arrays["flat"]), values, strict=True))
        if set(flat) | set(read) != set(train):
            raise ValueError("tracks that do not vary do not belong to the training experiments")
        places = rows_of(read, cell_types, assays)
        networks = Networks.from_arrays(parts[_NETWORKS]) if parts[_NETWORKS] else None
        related, curve_scales = (None, None) if networks is None else _leads(arrays, n, len(assays))
        return cls(
            cell_types,
            assays,
            train,
            Tracks(
                read,
                places,
                grid,
                numbers["track_means"],
                numbers["track_sds"],
                _symmetric(numbers["correlations"], n),
                flat,
                _features(arrays, numbers, names),
            ),
            Scales(numbers["means"], numbers["sds"]),
            names,
            Weights(numbers["weights"], numbers["errors"]),
            factors,
            raw,
            networks,
            related,
            curve_scales,
            Ranges.from_arrays(arrays, len(assays), len(train)),
        )


def _pairs(texts: npt.NDArray[np.generic]) -> tuple[Experiment, ...]:
    return tuple(Experiment(*str(text).partition(":")[::2]) for text in texts)


def _numbers(
    arrays: dict[str, npt.NDArray[np.generic]], n_tracks: int, grid: tuple[int, int], n_members: int
) -> dict[str, Array]:
    """Numbers of a model file whose shapes follow from its names; ValueError where they do not."""
    n_pools = len(np.atleast_1d(arrays["errors"]))
    shapes = {
        "track_means": (n_tracks,),
        "track_sds": (n_tracks,),
        "correlations": (n_tracks * (n_tracks - 1) // 2,),
        "means": grid,
        "sds": grid,
        "weights": (n_pools, n_members),
        "errors": (n_pools,),
    }
    numbers = {key: np.asarray(arrays[key], dtype=np.float64) for key in shapes}
    for key, array in numbers.items():
        if array.shape != shapes[key] or not np.isfinite(array).all():
            raise ValueError(f"{key} does not belong to the names, or is not finite")
    if (numbers["track_sds"] <= 0).any() or (numbers["sds"] <= 0).any():
        raise ValueError("standard deviations are not above 0")
    return numbers


def _features(
    arrays: dict[str, npt.NDArray[np.generic]], numbers: dict[str, Array], names: tuple[str, ...]
) -> Features | None:
    """The features of n tracks, from a model file; ValueError where they do not belong to the tracks or the members."""
    if (FEATURED in names) != ("feature_means" in arrays):
        raise ValueError("the features of the tracks belong to the members")
    if FEATURED not in names:
        return None
    keys = ("feature_means", "feature_sds", "feature_correlations")
    n = len(numbers["track_means"])
    size = KINDS * n
    means, sds, below = (np.asarray(arrays[key], dtype=np.float64) for key in keys)
    shapes = (size - n,), (size - n,), (size * (size - 1) // 2,)
    for array, shape in zip((means, sds, below), shapes, strict=True):
        if array.shape != shape or not np.isfinite(array).all():
            raise ValueError("features do not belong to the tracks, or are not finite")
    means, sds = np.concatenate([numbers["track_means"], means]), np.concatenate([numbers["track_sds"], sds])
    return Features(means, sds, _symmetric(below, size))


def _symmetric(below: Array, n: int) -> Array:
    """A matrix (n × n) of ones on its diagonal by what is below it, row by row."""
    whole = np.eye(n)
    places = np.tril_indices(n, -1)
    whole[places] = whole[places[::-1]] = below
    return whole


def _leads(
    arrays: dict[str, npt.NDArray[np.generic]], n_tracks: int, n_assays: int
) -> tuple[Index, CurveScales]:
    """What networks need to be led, from a model file."""
    related = np.asarray(arrays["related"], dtype=np.intp)
    means, sds = (np.asarray(arrays[name], dtype=np.float64) for name in ("curve_means", "curve_sds"))
    if related.ndim != 2 or len(related) != n_assays or ((related < 0) | (related >= n_assays)).any():
        raise ValueError("assays that are related do not belong to the names")
    if means.shape != (CURVES, n_tracks) or sds.shape != means.shape or not np.isfinite([means, sds]).all():
        raise ValueError("its curves do not match its tracks, or are not finite")
    return related, CurveScales(means, sds)


_FACTORS, _RAW, _NETWORKS = "em_", "raw_", "networks_"
