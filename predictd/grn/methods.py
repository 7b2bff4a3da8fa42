"""All methods of inference behind one surface: regulators once, then target by target."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictd.grn.boosting import boosting_importances
from predictd.grn.clr import background, clr_importances, standard_ranks
from predictd.grn.design import ALIKE, SampleDesign
from predictd.grn.features import code_features, float_features
from predictd.grn.genie3 import forest_importances, target_seed
from predictd.grn.linear import Ridge, pearson_importances, standardised
from predictd.grn.multi import group_importances
from predictd.grn.scaling import normal_scores, scaled_mean
from predictd.grn.signs import effect_signs
from predictd.kernels import TreeFeatures
from predictd.matrix import Values, rows

# Trees of the methods that grow some: those of GENIE3, and the most that GRNBoost2 grows.
DEFAULT_TREES = {"rf": 1000, "et": 1000, "multi": 1000, "grnboost": 5000, "auto": 1000}
# Methods that compare genes at the same time, and one whose samples that a tree leaves out tell when to stop.
WITHOUT_TIME, WITHOUT_WEIGHTS = ("clr", "pearson"), ("grnboost",)

Prepared = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Problem:
    """Expression, and who may regulate.

    Attributes
    ----------
    expression
        (n_genes, n_samples), finite.
    genes
        Their names.
    regulators
        (n_regulators,) int64: positions of the regulators among the genes, ascending.
    groups
        (n_genes,) int64: group of each target; None for other methods than multi. See `predictd.grn.multi`.
    targets
        (n_genes, n_samples): what is to be predicted of each gene; None: its expression.
    design
        Batches and weights of the samples.
    """

    expression: Values
    genes: tuple[str, ...]
    regulators: NDArray[np.int64]
    groups: NDArray[np.int64] | None = None
    targets: Values | None = None
    design: SampleDesign = ALIKE

    def excluded(self, gene: int) -> int:
        """Position of a gene among the regulators; −1: it is not among them."""
        place = int(np.searchsorted(self.regulators, gene))
        return place if place < self.regulators.size and self.regulators[place] == gene else -1

    def of_regulators(self) -> NDArray[np.float64]:
        """Expression of the regulators, centred by batch: (n_regulators, n_samples)."""
        return self.design.centred(rows(self.expression, self.regulators))

    def of_targets(self, genes: NDArray[np.integer] | slice) -> NDArray[np.float64]:
        """What is to be predicted of some genes, centred by batch: (n, n_samples)."""
        return self.design.centred(rows(self.expression if self.targets is None else self.targets, genes))

    def of_target(self, gene: int) -> NDArray[np.float64]:
        """The same of one gene: (n_samples,)."""
        return self.of_targets(slice(gene, gene + 1))[0]


class Method(ABC):
    """A method with its regulators prepared.

    Parameters
    ----------
    problem
        What it is applied to.
    prepared
        What `prepare` made of the problem: the same for all targets, and for all who share them.
    n_trees, seed
        Of methods that grow trees.
    """

    def __init__(self, problem: Problem, prepared: Prepared, n_trees: int, seed: int) -> None:
        self.problem, self.n_trees, self.seed = problem, n_trees, seed

    @staticmethod
    @abstractmethod
    def prepare(problem: Problem) -> dict[str, NDArray[Any]]:
        """Make of the regulators what all targets need."""

    def importances(self, gene: int) -> NDArray[np.float64]:
        """Importance of every regulator for a gene: (n_regulators,) float64; 0 for itself, and for a constant gene."""
        values = self.problem.of_target(gene)
        if np.ptp(values) == 0:
            return np.zeros(self.problem.regulators.size)
        return self._importances(gene, values, self.problem.excluded(gene))

    @abstractmethod
    def _importances(self, gene: int, values: NDArray[np.float64], excluded: int) -> NDArray[np.float64]: ...

    def signs(self, gene: int, leading: NDArray[np.integer]) -> NDArray[np.int8]:
        """Whether regulators raise (1) or lower (−1) a gene, or neither (0).

        Parameters
        ----------
        gene
            The one that `importances` was last asked for.
        leading
            (n,) positions among the regulators, the most important first; none of importance 0.

        Returns
        -------
        ndarray
            (n,) int8: signs of the effects, see `predictd.grn.signs`; of what the importances are sizes of, where they
            are sizes.
        """
        problem = self.problem
        return effect_signs(
            problem.expression, problem.of_target(gene), problem.regulators[leading], problem.design
        )

    def _seed_of(self, gene: int) -> int:
        return target_seed(self.seed, self.problem.genes[gene])


class _Forest(Method):
    """Random forests (GENIE3, Huynh-Thu et al. 2010)."""

    def __init__(self, problem: Problem, prepared: Prepared, n_trees: int, seed: int) -> None:
        super().__init__(problem, prepared, n_trees, seed)
        self._features = TreeFeatures.of_arrays(prepared)

    @staticmethod
    def prepare(problem: Problem) -> dict[str, NDArray[Any]]:
        return TreeFeatures.of(code_features(problem.of_regulators())).arrays()

    def _importances(self, gene: int, values: NDArray[np.float64], excluded: int) -> NDArray[np.float64]:
        return forest_importances(
            self._features,
            values,
            excluded=excluded,
            n_trees=self.n_trees,
            seed=self._seed_of(gene),
            weights=self.problem.design.weights,
        )


class _ExtraTrees(_Forest):
    """Extremely randomised trees (Geurts, Ernst & Wehenkel 2006)."""

    @staticmethod
    def prepare(problem: Problem) -> dict[str, NDArray[Any]]:
        return TreeFeatures.of(float_features(problem.of_regulators())).arrays()


class _Boosting(_Forest):
    """As in GRNBoost2 (Moerman et al. 2019)."""

    def _importances(self, gene: int, values: NDArray[np.float64], excluded: int) -> NDArray[np.float64]:
        return boosting_importances(
            self._features, values, excluded=excluded, n_trees=self.n_trees, seed=self._seed_of(gene)
        )


class _Multi(Method):
    """Keeps the importances of the group that was asked for last: genes are to come group by group."""

    def __init__(self, problem: Problem, prepared: Prepared, n_trees: int, seed: int) -> None:
        super().__init__(problem, prepared, n_trees, seed)
        if problem.groups is None:
            raise ValueError("multi needs groups of targets; see group_targets")
        self._groups, self._regulators = problem.groups, prepared["features"]
        self._known: dict[int, NDArray[np.float64]] = {}

    @staticmethod
    def prepare(problem: Problem) -> dict[str, NDArray[Any]]:
        return {"features": float_features(problem.of_regulators())}

    def _importances(self, gene: int, values: NDArray[np.float64], excluded: int) -> NDArray[np.float64]:
        if gene not in self._known:
            members = np.flatnonzero(self._groups == self._groups[gene])
            found = group_importances(
                self._regulators,
                standardised(self.problem.of_targets(members), self.problem.design.weights),
                excluded=excluded,
                n_trees=self.n_trees,
                seed=self.seed,
                names=tuple(self.problem.genes[member] for member in members.tolist()),
                weights=self.problem.design.weights,
            )
            self._known = dict(zip(members.tolist(), found, strict=True))
        return self._known[gene]


class _Ridge(Method):
    def __init__(self, problem: Problem, prepared: Prepared, n_trees: int, seed: int) -> None:
        super().__init__(problem, prepared, n_trees, seed)
        regulators, eigenvalues, basis = (prepared[name] for name in ("regulators", "eigenvalues", "basis"))
        leverages = problem.design.leverages(problem.expression.shape[1])
        self._ridge = Ridge(regulators, eigenvalues, basis, leverages)
        self._coefficients = np.zeros(problem.regulators.size)

    @staticmethod
    def prepare(problem: Problem) -> dict[str, NDArray[Any]]:
        regulators = problem.design.scaled(problem.of_regulators())
        eigenvalues, basis = Ridge.eigenbasis(regulators)
        return {"regulators": regulators, "eigenvalues": eigenvalues, "basis": basis}

    def _importances(self, gene: int, values: NDArray[np.float64], excluded: int) -> NDArray[np.float64]:
        target = self.problem.design.scaled(values)
        self._coefficients, _ = self._ridge.coefficients(target, excluded=excluded)
        return np.abs(self._coefficients)

    def signs(self, gene: int, leading: NDArray[np.integer]) -> NDArray[np.int8]:
        return np.sign(self._coefficients[leading]).astype(np.int8)


class _Pearson(Method):
    def __init__(self, problem: Problem, prepared: Prepared, n_trees: int, seed: int) -> None:
        super().__init__(problem, prepared, n_trees, seed)
        self._regulators = prepared["regulators"]
        self._target = np.zeros(self._regulators.shape[1])

    @staticmethod
    def prepare(problem: Problem) -> dict[str, NDArray[Any]]:
        return {"regulators": problem.design.scaled(problem.of_regulators())}

    def _importances(self, gene: int, values: NDArray[np.float64], excluded: int) -> NDArray[np.float64]:
        self._target = self.problem.design.scaled(values)
        return pearson_importances(self._regulators, self._target, excluded=excluded)

    def signs(self, gene: int, leading: NDArray[np.integer]) -> NDArray[np.int8]:
        return np.sign(self._regulators[leading] @ self._target).astype(np.int8)


class _Clr(_Pearson):
    def __init__(self, problem: Problem, prepared: Prepared, n_trees: int, seed: int) -> None:
        super().__init__(problem, prepared, n_trees, seed)
        self._background = prepared["background"]

    @staticmethod
    def prepare(problem: Problem) -> dict[str, NDArray[Any]]:
        ranks = standard_ranks(problem.of_regulators(), problem.design)
        own = background(ranks, problem.expression, problem.regulators, problem.design)
        return {"regulators": ranks, "background": own}

    def _importances(self, gene: int, values: NDArray[np.float64], excluded: int) -> NDArray[np.float64]:
        self._target = standard_ranks(values, self.problem.design)
        return clr_importances(self._regulators, self._target, self._background, excluded=excluded)


def _scores(problem: Problem, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Normal scores of a target, centred by batch as those of the regulators are."""
    return problem.design.centred(normal_scores(values, problem.design.weights))


class _ScoredTrees(_ExtraTrees):
    """Extra trees on normal scores."""

    def _importances(self, gene: int, values: NDArray[np.float64], excluded: int) -> NDArray[np.float64]:
        return super()._importances(gene, _scores(self.problem, values), excluded)

    def _seed_of(self, gene: int) -> int:
        return target_seed(self.seed, f"{self.problem.genes[gene]}\tnormal scores")


class _ScoredRidge(_Ridge):
    """Ridge regression on normal scores."""

    def _importances(self, gene: int, values: NDArray[np.float64], excluded: int) -> NDArray[np.float64]:
        return super()._importances(gene, _scores(self.problem, values), excluded)


_SCORED = "scored_"


class _Auto(Method):
    """Half of the trees on values, half on normal scores, and ridge on these: the mean of their scaled importances."""

    def __init__(self, problem: Problem, prepared: Prepared, n_trees: int, seed: int) -> None:
        super().__init__(problem, prepared, n_trees, seed)
        half = -(-n_trees // 2)
        scored = {
            name.removeprefix(_SCORED): array for name, array in prepared.items() if name.startswith(_SCORED)
        }
        self._members = (
            _ExtraTrees(problem, prepared, half, seed),
            _ScoredTrees(problem, scored, half, seed),
            _ScoredRidge(problem, prepared, 0, seed),
        )

    @staticmethod
    def prepare(problem: Problem) -> dict[str, NDArray[Any]]:
        scores = replace(
            problem,
            expression=normal_scores(problem.of_regulators(), problem.design.weights),
            regulators=np.arange(problem.regulators.size),
        )
        return {
            **_ExtraTrees.prepare(problem),
            **_Ridge.prepare(scores),
            **{f"{_SCORED}{name}": array for name, array in _ExtraTrees.prepare(scores).items()},
        }

    def _importances(self, gene: int, values: NDArray[np.float64], excluded: int) -> NDArray[np.float64]:
        found = [member._importances(gene, values, excluded) for member in self._members]
        return scaled_mean(found, excluded=excluded)


_BY_NAME: dict[str, type[Method]] = {
    "rf": _Forest,
    "et": _ExtraTrees,
    "multi": _Multi,
    "grnboost": _Boosting,
    "ridge": _Ridge,
    "clr": _Clr,
    "pearson": _Pearson,
    "auto": _Auto,
}


METHODS = tuple(_BY_NAME)


def prepare(name: str, problem: Problem) -> dict[str, NDArray[Any]]:
    """What a method, one of `METHODS`, makes of a problem before its first target."""
    return _method(name).prepare(problem)


def make_method(
    name: str, problem: Problem, prepared: Prepared | None = None, *, n_trees: int, seed: int
) -> Method:
    """A method by its name, one of `METHODS`; `prepared` is made where it is None."""
    return _method(name)(problem, prepare(name, problem) if prepared is None else prepared, n_trees, seed)


def _method(name: str) -> type[Method]:
    if name not in _BY_NAME:
        raise ValueError(f"unknown method {name}")
    return _BY_NAME[name]
