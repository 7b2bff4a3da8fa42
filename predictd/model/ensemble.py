"""Averages of models: averaging what affine imputers predict is averaging their weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from predictd.model.factors import CPModel
from predictd.model.imputer import AffineMap, Imputer
from predictd.pairs import Experiment


@dataclass(frozen=True)
class Ensemble:
    """The mean of several models' predictions, before clipping.

    Attributes
    ----------
    members
        Models of the same cell types and assays, of any training experiments.
    """

    members: tuple[CPModel, ...]

    @property
    def cell_types(self) -> tuple[str, ...]:
        return self.members[0].cell_types

    @property
    def assays(self) -> tuple[str, ...]:
        return self.members[0].assays

    @property
    def train(self) -> tuple[Experiment, ...]:
        """Experiments that any member reads, sorted."""
        return tuple(sorted(set().union(*(member.train for member in self.members))))

    def indices(self, pairs: Sequence[Experiment]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """See `CPModel.indices`."""
        return self.members[0].indices(pairs)

    def imputer(self, targets: Sequence[Experiment]) -> Imputer:
        """One affine map, n·m operations a bin whatever the number of members.

        Weights are padded to the union of the members' features and averaged. Incomplete bins are imputed by each member
        for itself, and then averaged.
        """
        imputers = [member.imputer(targets) for member in self.members]
        if len(imputers) == 1:
            return imputers[0]
        features = tuple(sorted(set().union(*(imputer.features for imputer in imputers))))
        column = {feature: index for index, feature in enumerate(features)}
        places = [np.array([column[f] for f in imputer.features], dtype=np.intp) for imputer in imputers]
        weights = np.zeros((len(targets), len(features)))
        intercept = np.zeros(len(targets))
        for imputer, place in zip(imputers, places, strict=True):
            weights[:, place] += imputer.affine.weights / len(imputers)
            intercept += imputer.affine.intercept / len(imputers)
        return Imputer(
            features=features,
            targets=tuple(targets),
            affine=AffineMap(weights, None, intercept),
            members=tuple(zip(imputers, places, strict=True)),
        )
