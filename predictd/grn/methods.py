"""All methods of inference behind one surface: regulators once, then target by target."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from predictd.grn.boosting import boosting_importances
from predictd.grn.clr import background, clr_importances, standard_ranks
from predictd.grn.features import code_features, float_features
from predictd.grn.genie3 import forest_importances, target_seed
from predictd.grn.linear import Ridge, pearson_importances, standardised
from predictd.grn.multi import group_importances

METHODS = ("rf", "et", "multi", "grnboost", "ridge", "clr", "pearson")
# Trees of the methods that grow some: those of GENIE3, and the most that GRNBoost2 grows.
DEFAULT_TREES = {"rf": 1000, "et": 1000, "multi": 1000, "grnboost": 5000}


@dataclass(frozen=True)
class Problem:
    """Expression, and who may regulate.

    Attributes
    ----------
    expression
        (n_genes, n_samples) float64, finite.
    genes
        Their names.
    regulators
        (n_regulators,) int64: positions of the regulators among the genes, ascending.
    background
        See `predictd.grn.clr.background`; None for other methods than clr.
    groups
        (n_genes,) int64: group of each gene; None for other methods than multi. See `predictd.grn.multi`.
    """

    expression: NDArray[np.float64]
    genes: tuple[str, ...]
    regulators: NDArray[np.int64]
    background: NDArray[np.float64] | None = None
    groups: NDArray[np.int64] | None = None

    def excluded(self, gene: int) -> int:
        """Position of a gene among the regulators; −1: it is none."""
        place = int(np.searchsorted(self.regulators, gene))
        return place if place < self.regulators.size and self.regulators[place] == gene else -1


class Method(ABC):
    """A method with its regulators prepared."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    def importances(self, gene: int) -> NDArray[np.float64]:
        """Importance of every regulator for a gene: (n_regulators,) float64; 0 for itself, and for a constant gene."""
        values = self.problem.expression[gene]
        if np.ptp(values) == 0:
            return np.zeros(self.problem.regulators.size)
        return self._importances(gene, values, self.problem.excluded(gene))

    @abstractmethod
    def _importances(self, gene: int, values: NDArray[np.float64], excluded: int) -> NDArray[np.float64]: ...


class Forest(Method):
    """Random forests (GENIE3, Huynh-Thu et al. 2010), or extremely randomised trees with `extra`."""

    def __init__(self, problem: Problem, n_trees: int, seed: int, *, extra: bool) -> None:
        super().__init__(problem)
        own = problem.expression[problem.regulators]
        self._features = float_features(own) if extra else code_features(own)
        self._n_trees, self._seed = n_trees, seed

    def _importances(self, gene: int, values: NDArray[np.float64], excluded: int) -> NDArray[np.float64]:
        seed = target_seed(self._seed, self.problem.genes[gene])
        return forest_importances(self._features, values, excluded=excluded, n_trees=self._n_trees, seed=seed)


class _Boosting(Method):
    def __init__(self, problem: Problem, n_trees: int, seed: int) -> None:
        super().__init__(problem)
        self._codes = code_features(problem.expression[problem.regulators])
        self._n_trees, self._seed = n_trees, seed

    def _importances(self, gene: int, values: NDArray[np.float64], excluded: int) -> NDArray[np.float64]:
        seed = target_seed(self._seed, self.problem.genes[gene])
        return boosting_importances(self._codes, values, excluded=excluded, n_trees=self._n_trees, seed=seed)


class _Multi(Method):
    """Keeps the importances of the group that was asked for last: genes are to come group by group."""

    def __init__(self, problem: Problem, n_trees: int, seed: int) -> None:
        super().__init__(problem)
        if problem.groups is None:
            raise ValueError("multi needs groups of targets; see group_targets")
        self._groups = problem.groups
        self._regulators = float_features(problem.expression[problem.regulators])
        self._n_trees, self._seed = n_trees, seed
        self._known: dict[int, NDArray[np.float64]] = {}

    def _importances(self, gene: int, values: NDArray[np.float64], excluded: int) -> NDArray[np.float64]:
        if gene not in self._known:
            members = np.flatnonzero(self._groups == self._groups[gene])
            found = group_importances(
                self._regulators,
                standardised(self.problem.expression[members]),
                excluded=excluded,
                n_trees=self._n_trees,
                seed=self._seed,
                names=tuple(self.problem.genes[member] for member in members.tolist()),
            )
            self._known = dict(zip(members.tolist(), found, strict=True))
        return self._known[gene]


class _Ridge(Method):
    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self._ridge = Ridge(standardised(problem.expression[problem.regulators]))

    def _importances(self, gene: int, values: NDArray[np.float64], excluded: int) -> NDArray[np.float64]:
        return self._ridge.importances(standardised(values), excluded=excluded)


class _Pearson(Method):
    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self._regulators = standardised(problem.expression[problem.regulators])

    def _importances(self, gene: int, values: NDArray[np.float64], excluded: int) -> NDArray[np.float64]:
        return pearson_importances(self._regulators, standardised(values), excluded=excluded)


class _Clr(Method):
    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self._regulators = standard_ranks(problem.expression[problem.regulators])
        if problem.background is None:
            raise ValueError("clr needs the regulators' background; see clr_background")
        self._background = problem.background

    def _importances(self, gene: int, values: NDArray[np.float64], excluded: int) -> NDArray[np.float64]:
        return clr_importances(self._regulators, standard_ranks(values), self._background, excluded=excluded)


def clr_background(problem: Problem) -> NDArray[np.float64]:
    """What clr needs to know of all genes; see `predictd.grn.clr.background`."""
    ranks = standard_ranks(problem.expression)
    return background(ranks[problem.regulators], ranks, problem.regulators)


def make_method(name: str, problem: Problem, *, n_trees: int, seed: int) -> Method:
    """A method by its name, one of `METHODS`."""
    if name in ("rf", "et"):
        return Forest(problem, n_trees, seed, extra=name == "et")
    if name == "multi":
        return _Multi(problem, n_trees, seed)
    if name == "grnboost":
        return _Boosting(problem, n_trees, seed)
    if name == "ridge":
        return _Ridge(problem)
    if name == "clr":
        return _Clr(problem)
    if name == "pearson":
        return _Pearson(problem)
    raise ValueError(f"unknown method {name}")
