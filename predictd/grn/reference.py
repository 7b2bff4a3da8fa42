"""Forests of regression trees in plain Python, slow and readable: the specification of the compiled kernel.

Random numbers are splitmix64's: the state grows by a constant, and each number is the state, mixed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictd.kernels import BoostingRule, forest_limit

_GOLDEN = 0x9E3779B97F4A7C15
_WORD = 2**64 - 1


def forest_importances(
    features: NDArray[np.uint8] | NDArray[np.float32],
    y: NDArray[np.int64],
    *,
    excluded: int,
    n_candidates: int,
    n_trees: int,
    seed: int,
    drawn: NDArray[np.int64] | None = None,
) -> NDArray[np.float64]:
    """See `predictd.kernels.forest_importances`."""
    extra = features.dtype == np.float32
    importances = np.zeros(len(features))
    candidates = [feature for feature in range(len(features)) if feature != excluded]
    for tree in range(n_trees):
        draws = _Draws(_mixed((seed + (tree + 1) * _GOLDEN) & _WORD))
        n = len(y)
        weights = [0] * n
        for draw in range(n):
            place = draw if extra else draws.below(n)
            weights[place if drawn is None else int(drawn[place])] += 1
        waiting = [[row for row in range(n) if weights[row]]]
        while waiting:
            rows = waiting.pop()
            if len({int(y[row]) for row in rows}) < 2:
                continue
            node = _Node(rows, weights, features, y)
            cut = node.choose(candidates, n_candidates, draws, extra)
            if cut is None:
                continue
            feature, last = cut
            importances[feature] += node.reduction(feature, last)
            waiting.append([row for row in rows if features[feature, row] > last])
            waiting.append([row for row in rows if features[feature, row] <= last])
    return importances


def boosting_importances(
    codes: NDArray[np.uint8],
    y: NDArray[np.int64],
    rule: BoostingRule,
    *,
    excluded: int,
    n_candidates: int,
    n_trees: int,
    seed: int,
) -> tuple[NDArray[np.float64], int]:
    """See `predictd.kernels.boosting_importances`."""
    importances = np.zeros(len(codes))
    candidates = [feature for feature in range(len(codes)) if feature != excluded]
    n, limit, residuals = len(y), forest_limit(len(y)) - 1, y.copy()
    improvements: list[float] = []
    for tree in range(n_trees):
        draws = _Draws(_mixed((seed + (tree + 1) * _GOLDEN) & _WORD))
        drawn: list[int] = []
        for row in range(n):
            if draws.below(n - row) < rule.n_drawn - len(drawn):
                drawn.append(row)
        steps = np.zeros(n, np.int64)
        waiting: list[tuple[Any, ...]] = [(0, drawn, list(range(n)))]
        while waiting:
            depth, rows, all_rows = waiting.pop()
            node, cut = _Node(rows, [1] * n, codes, residuals), None
            if depth < rule.depth and len({int(residuals[row]) for row in rows}) > 1:
                cut = node.choose(candidates, n_candidates, draws, False)
            if cut is None:
                steps[all_rows] = round(rule.rate * (int(residuals[rows].sum()) / len(rows)))
                continue
            feature, last = cut
            importances[feature] += node.reduction(feature, last)
            for to_right in (True, False):
                sides = (
                    [row for row in some if (codes[feature, row] > last) == to_right]
                    for some in (rows, all_rows)
                )
                waiting.append((depth + 1, *sides))
        left_out = np.setdiff1d(np.arange(n), drawn)
        before = residuals[left_out].astype(np.float64)
        residuals = np.clip(residuals - steps, -limit, limit)
        after = residuals[left_out].astype(np.float64)
        improvements.append(sum(before**2) - sum(after**2))
        if len(improvements) >= rule.window and sum(improvements[-rule.window :]) < 0:
            break
    return importances, len(improvements)


class _Draws:
    """A stream of random numbers."""

    def __init__(self, state: int) -> None:
        self._state = state

    def _next(self) -> int:
        self._state = (self._state + _GOLDEN) & _WORD
        return _mixed(self._state)

    def below(self, n: int) -> int:
        return self.candidate(n)[0]

    def candidate(self, n: int) -> tuple[int, float]:
        """A whole number below n and a number in [0, 1), by the two halves of one random number."""
        number = self._next()
        return ((number >> 32) * n) >> 32, (number & 0x7FFFFFFF) * 2.0**-31


def _mixed(z: int) -> int:
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _WORD
    return z ^ (z >> 31)


class _Node:
    """Some samples, and the cuts of them: (feature, last value that goes to the left)."""

    def __init__(
        self, rows: list[int], weights: list[int], features: NDArray[Any], y: NDArray[np.int64]
    ) -> None:
        self._rows, self._weights, self._features, self._y = rows, weights, features, y

    def choose(
        self, candidates: list[int], n_candidates: int, draws: _Draws, extra: bool
    ) -> tuple[int, float] | None:
        """The cut of the highest score; None where no feature varies. `candidates` is reordered."""
        best, chosen = -1.0, None
        pair = len(self._rows) == 2
        wanted = 1 if pair else n_candidates
        for k in range(len(candidates)):
            if k >= wanted and chosen is not None:
                break
            place, unit = draws.candidate(len(candidates) - k)
            drawn = k + place
            candidates[k], candidates[drawn] = candidates[drawn], candidates[k]
            feature = candidates[k]
            present = sorted({float(self._features[feature, row]) for row in self._rows})
            if len(present) == 1:
                continue
            # Two samples are parted alike by every cut.
            cuts = [_random_cut(present[0], present[-1], unit)] if extra and not pair else present[:-1]
            for last in cuts:
                score = self._score(feature, last)
                if score > best:
                    best, chosen = score, (feature, last)
        return chosen

    def reduction(self, feature: int, last: float) -> float:
        """What a cut takes from the sum of squares."""
        (left, n_left), (right, n_right) = self._sides(feature, last)
        gap = float(left) * n_right - float(right) * n_left
        return gap * gap * (1 / n_left) * (1 / n_right) * (1 / (n_left + n_right))

    def _score(self, feature: int, last: float) -> float:
        (left, n_left), (right, n_right) = self._sides(feature, last)
        return float(left) * left * (1 / n_left) + float(right) * right * (1 / n_right)

    def _sides(self, feature: int, last: float) -> tuple[tuple[int, int], tuple[int, int]]:
        """(sum of y, weight) of either side."""
        sides = []
        for to_left in (True, False):
            rows = [row for row in self._rows if (self._features[feature, row] <= last) == to_left]
            total = sum(self._weights[row] * int(self._y[row]) for row in rows)
            sides.append((total, sum(self._weights[row] for row in rows)))
        return sides[0], sides[1]


def _random_cut(low: float, high: float, unit: float) -> float:
    """A float32 between two, and not the higher one."""
    cut = float(np.float32(low + unit * (high - low)))
    return cut if cut < high else low
