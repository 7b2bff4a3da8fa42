"""Kriging: the best linear prediction of a track from all others, under correlations pooled over experiments like it.

A missing track was never observed, so its correlations with the others have to be learned from other tracks. Every
feature is standardised; the correlation of two experiments' features is pooled over pairs of experiments in the same
relation (the same assay, the same cell type, or neither):

    ρ(i, j) = μ + α(assay i, assay j) + l(cell type i) + r(cell type j),    one such model a relation and pair of bases,

whose effects are drawn to 0 (ridge regression). The same values stand for observed pairs, which makes weights more
steady than correlations as observed would. With K their matrix (negative eigenvalues set to 0) plus a nugget on its
diagonal, standardised signal of the missing track is ρᵀ K⁻¹ z (simple kriging; Matheron 1963, Economic Geology 58:1246;
Goovaerts 1997). Mean and logarithm of the standard deviation of the missing track are main effects of cell type and
assay. All of it is closed form on the second moments of the features.

Networks may add what kriging leaves (`refinement`).

Least squares predict the mean of what may be there, so that the highest peaks come out too low. An output map may make
predictions steeper where the signal is strong: between 0.5 and 3 standard deviations above the track's mean, by a
factor of 1 + lift. Networks learn that by themselves (`fit_refinement`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from predictd.errors import DataError
from predictd.model.imputer import BASES, AffineMap, Completion, Feature, Imputer, OutputMap, Regressor
from predictd.model.kriging.effects import Correlations, Places, fit_correlations, fit_grid, relate
from predictd.model.kriging.refinement import SCALES, Refinement, Refiner, Surroundings
from predictd.model.moments import CONSTANT
from predictd.pairs import Experiment, axes, positions, rows_of

Array = npt.NDArray[np.float64]

# What is read of every experiment: its value, its mean over 41 bins (1 kb), and what tells weak and strong signal.
REGRESSORS = (Regressor(), Regressor(20), Regressor(0, "log"), Regressor(0, "square"))
# Where the output map is steeper, in standard deviations of the missing track above its mean, and by how much.
STRONG = (0.5, 3.0)


@dataclass(frozen=True)
class KrigingModel:
    """Pooled correlations, scales, and what the kriging system needs.

    Attributes
    ----------
    cell_types, assays
        Names of the rows and columns of `means` and `log_sds`.
    train
        The n experiments whose signal the model reads when it imputes.
    regressors
        The k regressors that each of them gives; the first is its own value.
    nugget
        Added to the diagonal of the correlations.
    lift
        How much steeper strong predictions are made; 0 leaves those of least squares.
    means, log_sds
        Mean and log standard deviation of a missing pair's signal: float64 (n_cells × n_assays).
    feature_means, feature_sds
        Of the features of the training experiments: float64 (k × n); a standard deviation of 0 is a constant, which is
        not read.
    own
        Correlations between the regressors of one experiment: float64 (n × k × k).
    correlations
        Those between experiments.
    likeness
        Mean correlation of the signal of two cell types over the assays that training experiments have of both; 0
        where there is none: float64 (n_cells × n_cells).
    refinement
        Networks that add what kriging leaves, or None.
    """

    kind: ClassVar[str] = "kriging"

    cell_types: tuple[str, ...]
    assays: tuple[str, ...]
    train: tuple[Experiment, ...]
    regressors: tuple[Regressor, ...]
    nugget: float
    lift: float
    means: Array
    log_sds: Array
    feature_means: Array
    feature_sds: Array
    own: Array
    correlations: Correlations
    likeness: Array
    refinement: Refinement | None = None

    def indices(self, pairs: Sequence[Experiment]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Rows of the cell types and of the assays of pairs.

        Raises
        ------
        DataError
            If the model knows a pair's cell type or assay not.
        """
        return rows_of(pairs, self.cell_types, self.assays)

    def imputer(self, targets: Sequence[Experiment]) -> Imputer:
        """The affine map from the training experiments' features to the signal of `targets`.

        A target that is itself among the training experiments is predicted from the others. Incomplete bins are
        imputed as if the kriging system had been solved on the features that they have.
        """
        k, n = self.feature_sds.shape
        cells, assays = self.indices(targets)
        kept = np.flatnonzero(self.feature_sds.ravel() > 0)
        means, sds = self.feature_means.ravel()[kept], self.feature_sds.ravel()[kept]
        precision = self._precision(kept)
        train = self.indices(self.train)
        rho = self.correlations.between((cells, assays), train, relate(targets, self.train), first=1)
        rho = rho.reshape(len(targets), k * n)[:, kept]
        weights = np.empty((len(targets), kept.size))
        place = {experiment: index for index, experiment in enumerate(self.train)}
        for row, target in enumerate(targets):
            right = rho[row].copy()
            itself = np.flatnonzero(kept % n == place.get(target, -1))
            right[itself] = 0.0
            w = precision @ right
            if itself.size:
                # What the system without these rows and columns gives.
                w -= precision[:, itself] @ np.linalg.solve(precision[np.ix_(itself, itself)], w[itself])
            # Pooled correlations need not belong to any signal; a prediction never varies more than its target.
            weights[row] = w / max(1.0, float(right @ w))
        weights *= np.exp(self.log_sds[cells, assays])[:, np.newaxis] / sds
        back = precision / sds
        features = tuple(
            Feature(self.train[index % n], *self.regressors[index // n]) for index in kept.tolist()
        )
        bare = Imputer(
            features=features,
            targets=tuple(targets),
            affine=AffineMap(weights, None, self.means[cells, assays] - weights @ means),
            output=self._output(cells, assays),
            completion=Completion(np.eye(kept.size) - back, back @ means),
        )
        return bare if self.refinement is None else self._refined(bare, self.refinement, (cells, assays))

    def _refined(self, bare: Imputer, refinement: Refinement, target_places: Places) -> Imputer:
        """The imputer with what networks add, which read more of the tracks."""
        surroundings = self.surroundings
        mean_of = dict(zip(surroundings.tracks, surroundings.means.tolist(), strict=True))
        known = set(bare.features)
        every = (Feature(e, *scale) for scale in SCALES for e in surroundings.tracks)
        more = [feature for feature in every if feature not in known]
        padding = [(0, 0), (0, len(more))]
        completion = bare.completion
        assert completion is not None
        features = (*bare.features, *more)
        return replace(
            bare,
            features=features,
            affine=AffineMap(np.pad(bare.affine.weights, padding), None, bare.affine.intercept),
            # What is missing of the other scales is taken for the track's mean.
            completion=Completion(
                np.pad(completion.weights, (0, len(more))),
                np.append(completion.intercept, [mean_of[feature.experiment] for feature in more]),
                counted=len(bare.features),
            ),
            refiner=Refiner(
                refinement,
                features,
                surroundings,
                bare.targets,
                target_places,
                self.means[target_places],
                np.exp(self.log_sds[target_places]),
            ),
        )

    @property
    def surroundings(self) -> Surroundings:
        """The training experiments that vary, as networks read them."""
        living = np.flatnonzero(self.feature_sds[0] > 0)
        tracks = tuple(self.train[index] for index in living.tolist())
        return Surroundings(
            tracks,
            self.indices(tracks),
            self.feature_means[0, living],
            self.feature_sds[0, living],
            self.likeness,
            len(self.assays),
        )

    def _output(self, cells: npt.NDArray[np.intp], assays: npt.NDArray[np.intp]) -> OutputMap | None:
        """What makes strong predictions of these pairs steeper."""
        if self.lift == 0:
            return None
        low, high = STRONG
        sds = np.exp(self.log_sds[cells, assays])
        inputs = self.means[cells, assays][:, np.newaxis] + np.outer(sds, STRONG)
        return OutputMap(inputs, inputs + np.outer(sds, [0.0, self.lift * (high - low)]))

    def _precision(self, kept: npt.NDArray[np.intp]) -> Array:
        """Inverse of the kriging system's matrix over the features that vary."""
        k, n = self.feature_sds.shape
        places = self.indices(self.train)
        matrix = self.correlations.between(places, places, relate(self.train, self.train), first=k)
        everyone = np.arange(n)
        matrix[:, everyone, :, everyone] = self.own
        whole = matrix.reshape(k * n, k * n)
        system = whole[np.ix_(kept, kept)]
        values, vectors = np.linalg.eigh((system + system.T) / 2)
        inverse: Array = (vectors / (np.maximum(values, 0.0) + self.nugget)) @ vectors.T
        return inverse

    def to_arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Parameters by their names in the model file."""
        refinement = {} if self.refinement is None else self.refinement.to_arrays()
        return {
            "cell_types": np.array(self.cell_types),
            "assays": np.array(self.assays),
            "train": np.array([str(experiment) for experiment in self.train]),
            "half_widths": np.array([regressor.half_width for regressor in self.regressors]),
            "bases": np.array([regressor.basis for regressor in self.regressors]),
            "nugget": np.float64(self.nugget).reshape(()),
            "lift": np.float64(self.lift).reshape(()),
            **{name: getattr(self, name) for name in _ARRAYS},
            **{f"correlations_{name}": getattr(self.correlations, name) for name in _CORRELATIONS},
            **{f"{_NETWORKS}{name}": array for name, array in refinement.items()},
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, npt.NDArray[np.generic]]) -> KrigingModel:
        """Inverse of `to_arrays`.

        Raises
        ------
        KeyError, ValueError
            If parameters are missing, or their shapes do not belong together.
        """
        cell_types, assays, train, bases = (
            tuple(str(x) for x in arrays[key]) for key in ("cell_types", "assays", "train", "bases")
        )
        widths = [int(x) for x in np.asarray(arrays["half_widths"])]
        n_cells = len(cell_types)
        # Earlier files have none, and no networks that would need it.
        arrays = {"likeness": np.zeros((n_cells, n_cells)), **arrays}
        parts = {name: np.asarray(arrays[name], dtype=np.float64) for name in _ARRAYS}
        pooled = {
            name: np.asarray(arrays[f"correlations_{name}"], dtype=np.float64) for name in _CORRELATIONS
        }
        k, n, n_assays = len(bases), len(train), len(assays)
        shapes = {
            "means": (n_cells, n_assays),
            "log_sds": (n_cells, n_assays),
            "feature_means": (k, n),
            "feature_sds": (k, n),
            "own": (n, k, k),
            "likeness": (n_cells, n_cells),
            "mean": (3, k, k),
            "assays": (3, n_assays, n_assays, k, k),
            "cells": (3, n_cells, k, k),
        }
        for name, array in {**parts, **pooled}.items():
            if array.shape != shapes[name] or not np.isfinite(array).all():
                raise ValueError(f"{name} does not belong to the names, or is not finite")
        nugget = float(np.asarray(arrays["nugget"]))
        # Earlier files have none.
        lift = float(np.asarray(arrays.get("lift", 0.0)))
        pairs = tuple(Experiment(*text.partition(":")[::2]) for text in train)
        known = {Experiment(cell_type, assay) for cell_type in cell_types for assay in assays}
        if not pairs or not known.issuperset(pairs):
            raise ValueError("training experiments do not belong to the names")
        if not (0 < nugget < np.inf and 0 <= lift < np.inf):
            raise ValueError("nugget or lift is not what it may be")
        if len(widths) != k or min(widths) < 0 or not BASES.keys() >= set(bases):
            raise ValueError("regressors are not what they may be")
        regressors = tuple(Regressor(*both) for both in zip(widths, bases, strict=True))
        networks = {
            name.removeprefix(_NETWORKS): array
            for name, array in arrays.items()
            if name.startswith(_NETWORKS)
        }
        return cls(
            cell_types,
            assays,
            pairs,
            regressors,
            nugget,
            lift,
            correlations=Correlations(**pooled),
            refinement=Refinement.from_arrays(networks, n_cells, n_assays) if networks else None,
            **parts,
        )


_NETWORKS = "networks_"
_ARRAYS = ("means", "log_sds", "feature_means", "feature_sds", "own", "likeness")
_CORRELATIONS = tuple(field.name for field in fields(Correlations))


def fit_kriging(
    s: Array,
    experiments: Sequence[Experiment],
    train: Sequence[Experiment],
    *,
    nugget: float,
    lift: float = 0.0,
    regressors: Sequence[Regressor] = REGRESSORS,
) -> KrigingModel:
    """Learn scales and pooled correlations from the moments of training experiments.

    Parameters
    ----------
    s
        float64 (k·N + 1 × k·N + 1) moments of the features of all N experiments: all of the first regressor, then all
        of the second, …
    experiments
        The N experiments of a tensor.
    train
        Those that are learned from and read.
    nugget
        Added to the diagonal of the correlations; positive.
    lift
        How much steeper strong predictions are made; not negative.
    regressors
        The k regressors; the first is an experiment's own value.

    Raises
    ------
    DataError
        If there is no complete bin, or all training experiments are constant.
    """
    n_all, k, n = len(experiments), len(regressors), len(train)
    n_bins = s[-1, -1]
    if n_bins < 1:
        raise DataError("there is no complete bin to learn from")
    cell_types, assays = axes(experiments)
    columns = (np.arange(k)[:, np.newaxis] * n_all + positions(train, experiments)).ravel()
    means = s[-1, columns] / n_bins
    squares = s[columns, columns] / n_bins
    covariance = s[np.ix_(columns, columns)] / n_bins - np.outer(means, means)
    variances = np.diag(covariance)
    varies = variances > CONSTANT * squares
    if not varies[:n].any():
        raise DataError(
            f"every training experiment is constant over the {n_bins:.0f} complete bins: there is nothing to learn"
        )
    sds = np.sqrt(np.where(varies, variances, 0.0))
    scales = np.where(varies, sds, np.nan)
    observed = (covariance / np.outer(scales, scales)).reshape(k, n, k, n)
    places = rows_of(train, cell_types, assays)
    shape = len(cell_types), len(assays)
    living = np.flatnonzero(varies[:n])
    everyone = np.arange(n)
    return KrigingModel(
        cell_types=tuple(cell_types),
        assays=tuple(assays),
        train=tuple(train),
        regressors=tuple(regressors),
        nugget=nugget,
        lift=lift,
        means=fit_grid(means[:n], places, shape),
        log_sds=fit_grid(np.log(sds[living]), (places[0][living], places[1][living]), shape),
        feature_means=means.reshape(k, n),
        feature_sds=sds.reshape(k, n),
        own=np.nan_to_num(observed[:, everyone, :, everyone]),
        correlations=fit_correlations(observed, train, places, shape),
        likeness=_likeness(observed[0, :, 0, :], places, shape[0]),
    )


def _likeness(correlations: Array, places: Places, n_cells: int) -> Array:
    """See `KrigingModel`; NaN among the correlations (n × n) is not known."""
    cells, assays = places
    i, j = np.nonzero((assays[:, np.newaxis] == assays) & ~np.isnan(correlations))
    sums, counts = np.zeros((n_cells, n_cells)), np.zeros((n_cells, n_cells))
    np.add.at(sums, (cells[i], cells[j]), correlations[i, j])
    np.add.at(counts, (cells[i], cells[j]), 1)
    return sums / np.maximum(counts, 1)
