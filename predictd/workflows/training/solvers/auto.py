"""EM or kriging, whichever validates better."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from predictd.config import TrainSettings
from predictd.engine import Engine
from predictd.errors import ConfigError
from predictd.model.folds import Fold
from predictd.model.imputer import Regressor
from predictd.provenance import RunRecord
from predictd.workflows.training.folds import deciding_folds
from predictd.workflows.training.solvers.em import Em
from predictd.workflows.training.solvers.kriging import Kriging
from predictd.workflows.training.solvers.solver import (
    Choice,
    Comparison,
    Fit,
    FitData,
    Solver,
    Training,
    TrainJob,
)

# With more experiments kriging is left out: four regressors of each make the moments 16 times as large, and pooled
# correlations fall behind factors there.
MOST_KRIGED = 100
_EM, _KRIGING = Em(), Kriging()


class Auto(Solver):
    """Chooses another solver, which then fits."""

    name = "auto"
    objective = "validation error"

    def regressors(self, n_experiments: int) -> tuple[Regressor, ...]:
        return (_KRIGING if n_experiments <= MOST_KRIGED else _EM).regressors(n_experiments)

    def check(self, settings: TrainSettings, n_train: int) -> None:
        if settings.regularisation != "auto":
            raise ConfigError(
                "a `regularisation` means something else to each solver; name the `solver`, or leave it out"
            )
        _EM.check(settings, n_train)

    def choose(
        self, data: FitData, folds: Sequence[Fold], settings: TrainSettings, engine: Engine, *, seed: int
    ) -> Choice:
        found = _EM.search(data, folds, settings, engine, seed=seed)
        em = _EM.settled(settings, found)
        n_experiments = len(data.tensor.experiments)
        if n_experiments > MOST_KRIGED:
            return Choice(
                em,
                f"em, {_EM.explain(found, settings)}; kriging is for at most {MOST_KRIGED} experiments",
            )
        kriging = _KRIGING.choose(data, folds, settings, engine, seed=seed).settings
        comparison = Comparison(data, tuple(deciding_folds(folds)), seed)
        (mse,) = comparison.errors([(_KRIGING, kriging)], engine, label="kriging")
        candidates = {
            "kriging": (mse, kriging, f"nugget {kriging.regularisation:g}"),
            "em": (found.score, em, f"rank {found.rank}, {_EM.penalty_name} {found.regularisation:g}"),
        }
        best, other = sorted(candidates, key=lambda name: candidates[name][0])
        why = (
            f"{best}, {candidates[best][2]}: validation MSE {candidates[best][0]:.4f}; "
            f"{other} ({candidates[other][2]}) {candidates[other][0]:.4f}"
        )
        return Choice(candidates[best][1], why)

    def fit(
        self, data: FitData, fold: Fold, settings: TrainSettings, *, seed: int, checkpoint: Path | None = None
    ) -> Fit:
        raise ConfigError("the solver auto chooses another, which fits")

    def train(self, job: TrainJob, engine: Engine, record: RunRecord) -> Training:
        raise ConfigError("the solver auto chooses another, which fits")
