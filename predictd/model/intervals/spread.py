"""How much the members of an ensemble disagree, bin by bin.

A member's prediction is affine in the same tracks, so that its deviation from the ensemble's mean is y·d_k + e_k, and
the variance over members is a sum of squares of as many linear maps. Of these few say nearly everything: the leading
ones over a sample of the genome are kept, which costs a few products a bin instead of one for each member.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from predictd.model.imputer import Imputer

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

# Share of the variance over the sample that is kept, and most maps a target.
_KEPT = 0.95
_MOST = 8


class Spread:
    """Standard deviation over an ensemble's members of what they predict, wherever it lies.

    Parameters
    ----------
    imputer
        Of the ensemble; a single model has a spread of 0.
    sample
        float32 (bins × k): signal of some bins of the genome, without NaN, over which the leading maps are found.
    """

    def __init__(self, imputer: Imputer, sample: Float32) -> None:
        self._imputer, self._members = imputer, imputer.members
        self._n_targets = len(imputer.targets)
        self._maps: Float32 | None = None
        if len(self._members) < 2:
            return
        padded = np.concatenate([sample.astype(np.float64), np.ones((len(sample), 1))], axis=1)
        metric = padded.T @ padded / len(padded)
        width = len(imputer.inputs) + 1
        members = [(member.affine.weights, member.affine.intercept, place) for member, place in self._members]
        kept = []
        for target in range(self._n_targets):
            deviations = np.zeros((len(members), width))
            for row, (weights, intercept, place) in enumerate(members):
                deviations[row, place] = weights[target]
                deviations[row, -1] = intercept[target]
            deviations -= deviations.mean(axis=0)
            kept.append(_leading(deviations, metric))
        most = max(len(maps) for maps in kept)
        maps = np.zeros((self._n_targets, most, width))
        for target, own in enumerate(kept):
            maps[target, : len(own)] = own
        stacked = np.ascontiguousarray(maps.reshape(-1, width).T, dtype=np.float32)
        self._maps, self._constants, self._most = stacked[:-1], stacked[-1], most

    def __call__(self, signal: Float32) -> Float32:
        """Spread of (bins × m) predictions from signal (bins × k).

        In incomplete bins it is that of the members' own predictions; NaN where bins cannot be predicted.
        """
        if len(self._members) < 2:
            return np.zeros((len(signal), self._n_targets), dtype=np.float32)
        if self._maps is None:
            return np.asarray(self._imputer.each(signal).std(axis=0, ddof=1))
        values = signal @ self._maps
        values += self._constants
        np.square(values, out=values)
        spread: Float32 = np.sqrt(values.reshape(len(signal), self._n_targets, self._most).sum(axis=2))
        if (incomplete := np.isnan(signal).any(axis=1)).any():
            spread[incomplete] = self._imputer.each(signal[incomplete]).std(axis=0, ddof=1)
        return spread


def _leading(deviations: Float64, metric: Float64) -> Float64:
    """Maps (r × width) whose squares add up to the variance over members, on average over the sample exactly."""
    gram = deviations @ metric @ deviations.T / (len(deviations) - 1)
    values, vectors = np.linalg.eigh(gram)
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
    total = values.sum()
    if total <= 0:
        return np.zeros((1, deviations.shape[1]))
    enough = int(np.searchsorted(np.cumsum(values), _KEPT * total)) + 1
    rank = min(enough, _MOST, len(values))
    scale = np.sqrt(total / values[:rank].sum() / (len(deviations) - 1))
    return np.asarray(scale * vectors[:, :rank].T @ deviations)
