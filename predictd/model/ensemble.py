"""Averages of models: averaging what affine imputers predict is averaging their weights."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from predictd.model.imputer import AffineMap, Imputer
from predictd.model.ranges import Bounds, Ranges
from predictd.pairs import Experiment, positions


class Model(Protocol):
    """What every fitted estimator can do, whatever its mathematics.

    Attributes
    ----------
    kind
        What its files call it.
    cell_types, assays
        Names of what it can impute.
    train
        Experiments whose signal it reads.
    """

    kind: ClassVar[str]

    @property
    def cell_types(self) -> tuple[str, ...]:
        """Names of the cell types that it can impute."""
        ...

    @property
    def assays(self) -> tuple[str, ...]:
        """Names of the assays that it can impute."""
        ...

    @property
    def train(self) -> tuple[Experiment, ...]:
        """Experiments whose signal it reads."""
        ...

    def indices(self, pairs: Sequence[Experiment]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Rows of cell types and assays; raises DataError for those that it does not know."""
        ...

    def imputer(self, targets: Sequence[Experiment]) -> Imputer:
        """How it imputes pairs."""
        ...

    def within(self, ranges: Ranges) -> Model:
        """The same with ranges of its assays, which its predictions do not leave."""
        ...

    def expected_errors(self, pairs: Sequence[Experiment]) -> npt.NDArray[np.float64] | None:
        """Squared errors to be expected of pairs over the variance of their tracks, (m,); None: not known."""
        ...

    def alone(self, targets: Sequence[Experiment]) -> dict[str, AffineMap]:
        """Maps to pairs by each member alone, and by all together; none of a single piece.

        They are of the tracks that its imputers read, and of these tracks' features where it reads such.
        """
        ...

    def to_arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """Its parameters."""
        ...


@dataclass(frozen=True)
class Ensemble:
    """The mean of several models' predictions, before bounds and clipping.

    Attributes
    ----------
    members
        Models of the same cell types and assays, of any training experiments.
    """

    members: tuple[Model, ...]

    @property
    def cell_types(self) -> tuple[str, ...]:
        """Names of the cell types, the same in all members."""
        return self.members[0].cell_types

    @property
    def assays(self) -> tuple[str, ...]:
        """Names of the assays, the same in all members."""
        return self.members[0].assays

    @property
    def train(self) -> tuple[Experiment, ...]:
        """Experiments that any member reads, sorted."""
        return tuple(sorted(set().union(*(member.train for member in self.members))))

    def indices(self, pairs: Sequence[Experiment]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """See `Model.indices`."""
        return self.members[0].indices(pairs)

    def imputer(self, targets: Sequence[Experiment]) -> Imputer:
        """One affine map, n·m operations a bin whatever the number of members.

        Weights are padded to the union of the members' inputs and averaged. Incomplete bins are imputed by each member
        for itself, and then averaged. Bounds are the widest of the members'.
        """
        imputers = [member.imputer(targets) for member in self.members]
        if len(imputers) == 1:
            return imputers[0]
        inputs = tuple(sorted(set().union(*(imputer.inputs for imputer in imputers))))
        places = [positions(imputer.inputs, inputs) for imputer in imputers]
        weights = np.zeros((len(targets), len(inputs)))
        intercept = np.zeros(len(targets))
        for imputer, place in zip(imputers, places, strict=True):
            weights[:, place] += imputer.affine.weights / len(imputers)
            intercept += imputer.affine.intercept / len(imputers)
        return Imputer(
            inputs=inputs,
            targets=tuple(targets),
            affine=AffineMap(weights, None, intercept),
            bounds=Bounds.widest(
                [imputer.bounds for imputer in imputers],
                [np.arange(len(targets))] * len(imputers),
                len(targets),
            ),
            limits=Bounds.widest([imputer.limits for imputer in imputers], places, len(inputs)),
            members=tuple(zip(imputers, places, strict=True)),
        )


@dataclass(frozen=True)
class Committee:
    """Models of which each pair is imputed by some.

    Attributes
    ----------
    members
        Models of the same cell types and assays.
    held_out
        For pairs that not all may impute, the members that were trained without them.
    others
        The members that impute every other pair; None: all.
    """

    members: tuple[Model, ...]
    held_out: Mapping[Experiment, tuple[int, ...]] = field(default_factory=dict)
    others: tuple[int, ...] | None = None

    @property
    def everyone(self) -> Ensemble:
        """All members."""
        return Ensemble(self.members)

    def expected_errors(self, pairs: Sequence[Experiment]) -> npt.NDArray[np.float64] | None:
        """See `Model.expected_errors`: the mean of those that impute a pair; None: it is not known for one of them."""
        errors = np.empty(len(pairs))
        for chosen, places in self._groups(pairs):
            own = [pairs[place] for place in places]
            found_errors = [self.members[index].expected_errors(own) for index in chosen]
            known = [found for found in found_errors if found is not None]
            if len(known) < len(found_errors):
                return None
            errors[places] = np.mean(known, axis=0)
        return errors

    def trained_on(self, pairs: Sequence[Experiment]) -> set[Experiment]:
        """Pairs among these of which a member that imputes them was trained on them."""
        found = set()
        for chosen, places in self._groups(pairs):
            seen = set().union(*(self.members[index].train for index in chosen))
            found |= seen & {pairs[place] for place in places}
        return found

    def imputers(self, targets: Sequence[Experiment]) -> list[tuple[Imputer, npt.NDArray[np.intp]]]:
        """Imputers that share the targets among them, each with the positions of its own in `targets`."""
        return [
            (
                Ensemble(tuple(self.members[i] for i in chosen)).imputer(
                    [targets[place] for place in places]
                ),
                np.array(places, dtype=np.intp),
            )
            for chosen, places in self._groups(targets)
        ]

    def _groups(self, pairs: Sequence[Experiment]) -> list[tuple[tuple[int, ...], list[int]]]:
        """The members that impute pairs, and the positions of the pairs that they impute."""
        groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
        others = tuple(range(len(self.members))) if self.others is None else self.others
        for position, pair in enumerate(pairs):
            groups[self.held_out.get(pair, others)].append(position)
        return list(groups.items())
