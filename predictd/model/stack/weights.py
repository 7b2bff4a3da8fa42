"""How much each member of a stack counts, learned from known tracks that were predicted as if they were missing.

With W the members' maps of a track, c how far the mean of what they predict is above its predicted mean, R the
correlations, k its predicted over its true standard deviation, and d by how many of these its mean is predicted too
low, a combination β has the relative error (squared error over the track's variance)

    1 + d² − 2 βᵀh + βᵀGβ,    G = k² (W R Wᵀ + c cᵀ),  h = k (W r + d c),

an exact function of second moments (stacking: Wolpert 1992, Neural Networks 5:241; Breiman 1996, Machine Learning
24:49). β is not negative and minimises the mean over tracks. Tracks are pooled by how many donors they have, and each
pool is drawn to the weights of all. Where scales are hard to predict, weights thus add up to less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

# The least donors of each pool, and how many tracks the mean over all pools counts as.
_POOLS = (0, 1, 2, 4)
_PRIOR = 8.0
# What networks, or a member that has to prove itself, have to take off the mean error of tracks, as a share of their
# variance.
LEAST_GAIN = 0.005
# One track whose scale or mean is far off should not decide: factors and deviations beyond these count as these.
FARTHEST_SCALE, FARTHEST_SHIFT = 2.5, 1.0


@dataclass(frozen=True)
class Trials:
    """How members did on t tracks that they never saw.

    Attributes
    ----------
    gram, cross, base
        G (t × k × k), h (t × k) and 1 + d² (t,).
    donors
        How many donors each track had: intp (t,).
    """

    gram: Array
    cross: Array
    base: Array
    donors: npt.NDArray[np.intp]

    @classmethod
    def of(
        cls,
        maps: Array,
        offsets: Array,
        correlations: Array,
        known: Array,
        shifts: Array,
        donors: npt.NDArray[np.intp],
    ) -> Trials:
        """Of members' maps of known tracks, in true standard deviations of these.

        Parameters
        ----------
        maps, offsets
            W (k × t × n) and c (k × t), both times k.
        correlations, known
            Between the tracks (n × n), and between the known tracks and these (t × n).
        shifts
            d (t,).
        donors
            As in `donors`.
        """
        gram = np.einsum("itn,jtn->tij", maps @ correlations, maps) + np.einsum(
            "it,jt->tij", offsets, offsets
        )
        cross = np.einsum("itn,tn->ti", maps, known) + (offsets * shifts).T
        return cls(gram, cross, 1.0 + shifts**2, donors)

    @classmethod
    def joined(cls, some: Sequence[Trials]) -> Trials:
        """All of several."""
        names = ("gram", "cross", "base", "donors")
        return cls(*(np.concatenate([getattr(trials, name) for trials in some]) for name in names))

    def without(self, member: int) -> Trials:
        """Of the other members."""
        gram = np.delete(np.delete(self.gram, member, axis=1), member, axis=2)
        return Trials(gram, np.delete(self.cross, member, axis=1), self.base, self.donors)

    def errors(self, weights: Array) -> Array:
        """Relative errors (t,) of combinations, (k,) or (t × k)."""
        weights = np.broadcast_to(weights, self.cross.shape)
        quadratic = np.einsum("ti,tij,tj->t", weights, self.gram, weights)
        return np.asarray(self.base - 2.0 * (weights * self.cross).sum(axis=1) + quadratic)


@dataclass(frozen=True)
class Weights:
    """Weights of k members in each pool, and what error they left there.

    Attributes
    ----------
    of_pools
        float64 (pools × k).
    errors
        Mean relative error in each pool, drawn to that of all: float64 (pools,).
    """

    of_pools: Array
    errors: Array

    @classmethod
    def of(cls, trials: Trials) -> Weights:
        """The weights that would have been best."""
        everything = trials.gram.mean(axis=0), trials.cross.mean(axis=0)
        common = _not_negative(*everything)
        pools = pool_of(trials.donors)
        weights = np.empty((len(_POOLS), len(common)))
        errors = np.empty(len(_POOLS))
        for pool in range(len(_POOLS)):
            own = pools == pool
            share = own.sum() + _PRIOR
            gram = (trials.gram[own].sum(axis=0) + _PRIOR * everything[0]) / share
            cross = (trials.cross[own].sum(axis=0) + _PRIOR * everything[1]) / share
            weights[pool] = _not_negative(gram, cross)
            left = trials.errors(weights[pool])
            errors[pool] = (left[own].sum() + _PRIOR * left.mean()) / share
        return cls(weights, errors)

    @classmethod
    def with_doubtful(cls, trials: Trials, doubtful: int) -> Weights:
        """As `of`, but one member, by its number, is left out, with a weight of 0, unless it helps.

        See `is_gain`. A member that is alone stays.
        """
        if trials.cross.shape[1] == 1:
            return cls.of(trials)
        others = trials.without(doubtful)
        every, spared = cls.of(trials), cls.of(others)
        gains = others.errors(spared.for_targets(trials.donors)) - trials.errors(
            every.for_targets(trials.donors)
        )
        if len(gains) > 1 and is_gain(gains):
            return every
        return cls(np.insert(spared.of_pools, doubtful, 0.0, axis=1), spared.errors)

    @classmethod
    def even(cls, k: int) -> Weights:
        """Where nothing is known of k members."""
        return cls(np.full((len(_POOLS), k), 1 / k), np.ones(len(_POOLS)))

    def for_targets(self, donors: npt.NDArray[np.intp]) -> Array:
        """Weights (m × k) of targets with so many donors."""
        return np.asarray(self.of_pools[pool_of(donors)])

    def expected(self, donors: npt.NDArray[np.intp]) -> Array:
        """Relative errors (m,) to be expected; without a donor there is no track to learn from: 1."""
        return np.where(donors > 0, np.minimum(self.errors[pool_of(donors)], 1.0), 1.0)


def is_gain(gains: Array) -> bool:
    """Whether what two tracks or more gain, (t,), is more than LEAST_GAIN and more than chance.

    Their mean must exceed its standard error (the rule of one standard error: Breiman et al. 1984, Classification and
    Regression Trees).
    """
    return bool(gains.mean() > max(LEAST_GAIN, gains.std(ddof=1) / np.sqrt(len(gains))))


def pool_of(donors: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """The pool of tracks with so many donors."""
    return np.searchsorted(_POOLS, donors, side="right") - 1


def _not_negative(gram: Array, cross: Array) -> Array:
    """β ≥ 0 that minimises βᵀGβ − 2βᵀh."""
    # Late: an import of a fifth of a second.
    from scipy.optimize import nnls

    root = np.linalg.cholesky(gram + 1e-6 * np.eye(len(gram)))
    found, _ = nnls(root.T, np.linalg.solve(root, cross))
    return np.asarray(found)
