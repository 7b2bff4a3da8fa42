"""What ALS and EM share: the CP model fitted to second moments, and the choice of its rank and penalty on a grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from predictd.config import TrainSettings
from predictd.engine import Engine
from predictd.errors import ConfigError
from predictd.model.cp.als import CPProblem
from predictd.model.cp.fit import GridChoice, Validation, choose, fit
from predictd.model.folds import Fold
from predictd.pairs import rows_of
from predictd.workflows.tensor.moments import TensorMoments
from predictd.workflows.training.folds import deciding_folds
from predictd.workflows.training.settings import check_constants, check_rank
from predictd.workflows.training.solvers.by_moments import MomentsSolver
from predictd.workflows.training.solvers.solver import Choice, Comparison, Fit, FitData

RANKS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 100)


def ranks_for(n_train: int, ranks: Sequence[int] = RANKS) -> list[int]:
    """Those of the ranks that are compared where so many experiments are trained on."""
    return [rank for rank in ranks if rank <= max(1, n_train // 2)]


class CPSolver(MomentsSolver):
    """Sweeps over the factors of the CP model.

    Attributes
    ----------
    em
        Whether the genome's factors have a distribution (EM) or a penalty (ALS).
    penalties, first_penalty
        The grid of λ, and with which of them the ranks are first compared.
    """

    em: ClassVar[bool]
    penalties: ClassVar[tuple[float, ...]]
    first_penalty: ClassVar[float]

    def check(self, settings: TrainSettings, n_train: int) -> None:
        """See `Solver.check`; the paper's penalties and ranks that are too high are refused."""
        check_constants(settings)
        if settings.rank != "auto":
            check_rank(settings.rank, n_train)

    def choose(
        self, data: FitData, folds: Sequence[Fold], settings: TrainSettings, engine: Engine, *, seed: int
    ) -> Choice:
        """See `Solver.choose`; rank and penalty are searched on a grid."""
        found = self.search(data, folds, settings, engine, seed=seed)
        return Choice(self.settled(settings, found), self.explain(found, settings))

    def search(
        self, data: FitData, folds: Sequence[Fold], settings: TrainSettings, engine: Engine, *, seed: int
    ) -> GridChoice:
        """The rank and penalty with the smallest validation MSE over folds, where they are not given.

        All candidates of a turn are fitted at once by the engine.
        """
        n_train = min(len(fold.train) for fold in folds)
        self.check(settings, n_train)
        ranks, penalties, first = self.grid(settings, n_train)
        if len(ranks) == len(penalties) == 1:
            return GridChoice(ranks[0], first, float("nan"), ())
        comparison = Comparison(data, tuple(deciding_folds(folds)), seed)

        def score(candidates: Sequence[tuple[int, float]]) -> list[float]:
            tried = [
                (self, settings.model_copy(update={"rank": rank, "regularisation": penalty}))
                for rank, penalty in candidates
            ]
            return comparison.errors(tried, engine, label="choosing")

        return choose(score, ranks, penalties, first)

    def grid(self, settings: TrainSettings, n_train: int) -> tuple[Sequence[int], Sequence[float], float]:
        """Ranks and penalties to choose from, and the penalty with which the ranks are first compared."""
        ranks = [settings.rank] if settings.rank != "auto" else ranks_for(n_train)
        if settings.regularisation != "auto":
            return ranks, [settings.regularisation], settings.regularisation
        return ranks, self.penalties, self.first_penalty

    def settled(self, settings: TrainSettings, found: GridChoice) -> TrainSettings:
        """The settings with what a search found."""
        return settings.model_copy(
            update={"solver": self.name, "rank": found.rank, "regularisation": found.regularisation}
        )

    def explain(self, found: GridChoice, settings: TrainSettings) -> str:
        """What was chosen and why, in one line."""
        given = [
            what
            for what, value in (("rank", settings.rank), (self.penalty_name, settings.regularisation))
            if value != "auto"
        ]
        text = f"rank {found.rank}, {self.penalty_name} {found.regularisation:g}"
        if not found.tried:
            return f"{text} (given)"
        kept = f"; {' and '.join(given)} given" if given else ""
        return f"{text}: the smallest validation MSE, {found.score:.4f}, of {len(found.tried)} settings tried{kept}"

    def fit_moments(
        self,
        data: TensorMoments,
        fold: Fold,
        choice: Choice,
        *,
        seed: int,
        sweeps: int | None = None,
    ) -> Fit:
        """See `MomentsSolver.fit_moments`; the rank and the penalty of the choice have to be numbers."""
        settings = choice.settings
        rank, penalty = settings.rank, settings.regularisation
        if rank == "auto" or penalty == "auto":
            raise ConfigError("a fit needs a rank and a penalty; choose them first")
        problem = CPProblem(data.s, list(data.experiments), fold.train, regularisation=penalty, em=self.em)
        validation = None
        if fold.valid:
            cells, assays = rows_of(fold.valid, problem.cell_types, problem.assays)
            validation = Validation(data.s, data.columns(fold.train), data.columns(fold.valid), cells, assays)
        found = fit(
            problem,
            rank,
            settings.als,
            seed=seed,
            lambda_g=settings.lambda_g,
            validation=validation,
            sweeps=sweeps,
        )
        model = problem.model(found.point).canonical().with_genome(data.s, data.columns(fold.train))
        return Fit(model, found.validation_mse, found.history, found.sweeps)
