"""Kriging: each track predicted from all others, refined by small networks."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from predictd.config import TrainSettings
from predictd.engine import Engine
from predictd.errors import ConfigError
from predictd.model.folds import Fold
from predictd.model.imputer import Feature, Imputer, Regressor
from predictd.model.kriging.fit_refinement import fit_refinement
from predictd.model.kriging.kriging import REGRESSORS, KrigingModel, fit_kriging
from predictd.model.moments import squared_errors
from predictd.pairs import Experiment
from predictd.workflows.tensor.context import ensure_context_sample, read_context_sample
from predictd.workflows.tensor.moments import TensorMoments
from predictd.workflows.training.settings import check_constants
from predictd.workflows.training.solvers.by_moments import MomentsSolver
from predictd.workflows.training.solvers.solver import Choice, Fit, FitData

# On the pilot tracks errors hardly differ between 0.1 and 0.5.
NUGGET = 0.3
# How much steeper strong predictions are made without networks. On the pilot tracks this takes MSE1obs below the
# same-assay mean's without raising MSEglobal. Networks learn how high peaks are.
LIFT = 0.6


class Kriging(MomentsSolver):
    """Kriging under correlations pooled over tracks alike; λ is its nugget."""

    name = "kriging"
    objective = "kriging variance"
    penalty_name = "nugget"

    def regressors(self, n_experiments: int) -> tuple[Regressor, ...]:
        return REGRESSORS

    def check(self, settings: TrainSettings, n_train: int) -> None:
        check_constants(settings)
        if settings.rank != "auto":
            raise ConfigError(
                "a rank belongs to the solvers em, als and sgd, kriging has none; leave `rank` out"
            )
        if settings.regularisation == 0:
            raise ConfigError("kriging needs a `regularisation` (its nugget) above 0")

    def choose(
        self, data: FitData, folds: Sequence[Fold], settings: TrainSettings, engine: Engine, *, seed: int
    ) -> Choice:
        nugget = NUGGET if settings.regularisation == "auto" else settings.regularisation
        chosen = settings.model_copy(update={"solver": self.name, "regularisation": nugget})
        return Choice(chosen, f"kriging, nugget {nugget:g}")

    def prepare(self, data: FitData, settings: TrainSettings, engine: Engine) -> FitData:
        """Networks learn from a sample of bins with their context."""
        if settings.networks == 0 or data.sample is not None:
            return data
        assert data.moments is not None
        sample = ensure_context_sample(data.tensor, engine, data.moments, named=data.named)
        return replace(data, sample=sample)

    def fit_moments(
        self,
        data: TensorMoments,
        fold: Fold,
        settings: TrainSettings,
        *,
        seed: int,
        sweeps: int | None = None,
        sample: Path | None = None,
    ) -> Fit:
        nugget = settings.regularisation
        if nugget == "auto":
            raise ConfigError("a fit needs a nugget; choose it first")

        def krige(tracks: tuple[Experiment, ...]) -> KrigingModel:
            return fit_kriging(data.features, data.experiments, tracks, nugget=nugget)

        model = krige(fold.train)
        mse = _validation_mse(model, fold.valid, data)
        if sample is not None and settings.networks:
            # Models of an ensemble learn from other tracks, and draw other ones.
            rng = np.random.default_rng([seed, zlib.crc32(" ".join(map(str, fold.train)).encode())])
            refinement = fit_refinement(
                model, read_context_sample(sample), krige, n_networks=settings.networks, rng=rng
            )
            model = replace(model, refinement=refinement)
        lift = (LIFT if model.refinement is None else 0.0) if settings.lift == "auto" else settings.lift
        return Fit(replace(model, lift=lift), mse, ())


def _validation_mse(model: KrigingModel, valid: tuple[Experiment, ...], data: TensorMoments) -> float:
    if not valid:
        return float("nan")
    imputer = model.imputer(valid)
    errors = squared_errors(
        data.features,
        imputer.affine.weights,
        imputer.affine.intercept,
        feature_columns(imputer, data),
        data.columns(valid),
    )
    return float(errors.mean())


def feature_columns(imputer: Imputer, data: TensorMoments) -> npt.NDArray[np.intp]:
    """Where an imputer's features are in the moments of features."""
    places = {
        Feature(experiment, *regressor): index * len(data.experiments) + column
        for index, regressor in enumerate(REGRESSORS)
        for column, experiment in enumerate(data.experiments)
    }
    return np.array([places[feature] for feature in imputer.features], dtype=np.intp)
