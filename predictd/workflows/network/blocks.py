"""How the targets of an inference are divided into blocks."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from predictd.grn.methods import Problem
from predictd.grn.multi import group_targets
from predictd.wording import even_parts_of_at_most

MOST_TARGETS = 64
LEAST_BLOCKS = 32


@dataclass(frozen=True)
class TargetBlock:
    """A block: its number, and its first and last-plus-one place in the order of targets."""

    index: int
    start: int
    stop: int


@dataclass(frozen=True)
class TargetBlocks:
    """All targets in an order, divided.

    Attributes
    ----------
    order
        (n_targets,) int64: positions of the targets among the genes.
    groups
        (n_genes,) int64: group of each target, −1 for other genes, where trees are grown for several targets; see
        `Problem`.
    blocks
        In order.
    """

    order: NDArray[np.int64]
    groups: NDArray[np.int64] | None
    blocks: tuple[TargetBlock, ...]


def divide_targets(problem: Problem, targets: NDArray[np.int64], *, grouped: bool, seed: int) -> TargetBlocks:
    """Blocks of up to 64 targets.

    Parameters
    ----------
    problem
        Expression and regulators.
    targets
        (n_targets,) int64: positions of the targets among the genes, ascending.
    grouped
        Whether trees are grown for several targets: those that vary alike come next to each other, in blocks of whole
        groups.
    seed
        Of the groups.
    """
    parts = even_parts_of_at_most(targets.size, MOST_TARGETS, at_least=LEAST_BLOCKS)
    order, numbers = targets, None
    if grouped:
        regulating = np.flatnonzero(np.isin(targets, problem.regulators))
        groups = group_targets(problem.design.scaled(problem.of_targets(targets)), regulating, seed=seed)
        order, numbers = targets[np.concatenate(groups)], np.full(len(problem.genes), -1)
        for number, group in enumerate(groups):
            numbers[targets[group]] = number
        parts = _whole_groups(parts, np.cumsum([len(group) for group in groups]).tolist())
    blocks = tuple(TargetBlock(index, *part) for index, part in enumerate(parts))
    return TargetBlocks(order, numbers, blocks)


def _whole_groups(parts: list[tuple[int, int]], ends: list[int]) -> list[tuple[int, int]]:
    """Parts whose borders are moved on to the ends of groups."""
    borders = sorted({0, *(ends[bisect_left(ends, stop)] for _, stop in parts)})
    return list(pairwise(borders))
