"""Fits from second moments by any solver: what is chosen of solver, rank and penalty, and the fit of one fold."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from predictd.config import TrainSettings
from predictd.engine import Engine
from predictd.io.tensor.store import Tensor
from predictd.model.ensemble import Model
from predictd.model.folds import Fold
from predictd.model.imputer import Feature, Imputer, Regressor
from predictd.model.kriging.fit_refinement import fit_refinement
from predictd.model.kriging.kriging import REGRESSORS, KrigingModel, fit_kriging
from predictd.model.moments import squared_errors
from predictd.pairs import Experiment
from predictd.workflows.tensor.context import ensure_context_sample, read_context_sample
from predictd.workflows.tensor.moments import VALUE, TensorMoments, read_moments
from predictd.workflows.training.fit_moments import choose_setting, deciding_folds, explain, fit_fold
from predictd.workflows.training.settings import Setting

# On the pilot tracks errors hardly differ between 0.1 and 0.5.
NUGGET = 0.3
# How much steeper strong predictions are made without networks. On the pilot tracks this takes MSE1obs below the
# same-assay mean's without raising MSEglobal. Networks learn how high peaks are.
LIFT = 0.6
# With more experiments `auto` leaves kriging out: four regressors of each make the moments 16 times as dear, and pooled
# correlations fall behind factors there.
MOST_KRIGED = 100


@dataclass(frozen=True)
class Fitted:
    """What a fit came to.

    Attributes
    ----------
    validation_mse
        Mean squared error over the validation experiments, before clipping; NaN without any.
    sweeps
        After which it was best; None for what has no sweeps.
    history
        (sweep, objective, validation MSE) at each evaluation.
    """

    validation_mse: float
    sweeps: int | None
    history: tuple[tuple[int, float, float], ...]


def regressors_of(solver: str, n_experiments: int) -> tuple[Regressor, ...]:
    """What a solver reads of every experiment of a tensor that has so many."""
    kriged = solver == "kriging" or (solver == "auto" and n_experiments <= MOST_KRIGED)
    return REGRESSORS if kriged else VALUE


def resolved(settings: TrainSettings, setting: Setting) -> TrainSettings:
    """The settings with the solver that was chosen."""
    return settings if setting.solver is None else settings.model_copy(update={"solver": setting.solver})


def sample_for(
    settings: TrainSettings,
    chosen: Iterable[Setting],
    tensor: Tensor,
    engine: Engine,
    moments: Path,
    *,
    named: bool,
) -> Path | None:
    """The sample of bins that fits with these settings learn from, made where it does not stand, or None.

    Parameters
    ----------
    settings, chosen
        What is to be fitted.
    tensor, engine, moments, named
        See `predictd.workflows.tensor.context.ensure_context_sample`.
    """
    if settings.networks == 0 or all(resolved(settings, one).solver != "kriging" for one in chosen):
        return None
    return ensure_context_sample(tensor, engine, moments, named=named)


def fit_by_moments(
    data: TensorMoments,
    train: tuple[Experiment, ...],
    valid: tuple[Experiment, ...],
    setting: Setting,
    settings: TrainSettings,
    *,
    seed: int,
    sweeps: int | None = None,
    sample: Path | None = None,
) -> tuple[Model, Fitted]:
    """Fit training experiments by the solver of the settings; see `predictd.workflows.training.fit_moments.fit_fold`.

    Kriging is refined by networks that learn from a sample of bins; without one it is not.
    """
    if settings.solver != "kriging":
        cp, found = fit_fold(data, train, valid, setting, settings, seed=seed, sweeps=sweeps)
        return cp, Fitted(found.validation_mse, found.sweeps, found.history)

    def krige(tracks: tuple[Experiment, ...]) -> KrigingModel:
        return fit_kriging(data.features, data.experiments, tracks, nugget=setting.regularisation)

    model = krige(train)
    mse = float("nan")
    if valid:
        imputer = model.imputer(valid)
        errors = squared_errors(
            data.features,
            imputer.affine.weights,
            imputer.affine.intercept,
            feature_columns(imputer, data),
            data.columns(valid),
        )
        mse = float(errors.mean())
    if sample is not None:
        # Models of an ensemble learn from other tracks, and draw other ones.
        rng = np.random.default_rng([seed, zlib.crc32(" ".join(map(str, train)).encode())])
        refinement = fit_refinement(
            model, read_context_sample(sample), krige, n_networks=settings.networks, rng=rng
        )
        model = replace(model, refinement=refinement)
    lift = (LIFT if model.refinement is None else 0.0) if settings.lift == "auto" else settings.lift
    return replace(model, lift=lift), Fitted(mse, None, ())


def choose_solver(
    moments: Path, folds: Sequence[Fold], settings: TrainSettings, engine: Engine, *, seed: int
) -> tuple[Setting, str]:
    """Solver, rank and penalty where they are not given, and why; see `fit_moments.choose_setting`.

    What is chosen from are the solvers whose regressors the moments have.
    """
    given = settings.regularisation
    nugget = NUGGET if given == "auto" or settings.solver == "auto" else given
    kriging = Setting(0, nugget, "kriging")
    if settings.solver == "kriging":
        return kriging, f"kriging, nugget {nugget:g}"
    if settings.solver != "auto":
        choice = choose_setting(moments, folds, settings, engine, seed=seed)
        return Setting(choice.rank, choice.regularisation), explain(choice, settings)
    by_em = settings.model_copy(update={"solver": "em"})
    choice = choose_setting(moments, folds, by_em, engine, seed=seed)
    em = Setting(choice.rank, choice.regularisation, "em")
    data = read_moments(moments)
    if data.features.shape == data.s.shape:
        return em, f"em, {explain(choice, by_em)}; kriging is for at most {MOST_KRIGED} experiments"
    deciding = deciding_folds(folds)
    sums = engine.map(
        _validation_sum, list(range(len(deciding))), (moments, deciding, settings, kriging), label="kriging"
    )
    mse = sum(sums) / sum(len(fold.valid) for fold in deciding)
    descriptions = {
        "kriging": f"nugget {nugget:g}",
        "em": f"rank {em.rank}, prior strength {em.regularisation:g}",
    }
    errors = {"kriging": mse, "em": choice.score}
    best, other = sorted(errors, key=lambda name: errors[name])
    why = (
        f"{best}, {descriptions[best]}: validation MSE {errors[best]:.4f}; "
        f"{other} ({descriptions[other]}) {errors[other]:.4f}"
    )
    return (kriging if best == "kriging" else em), why


def _validation_sum(index: int, shared: tuple[Path, Sequence[Fold], TrainSettings, Setting]) -> float:
    """Sum of squared-error means over a fold's validation experiments."""
    moments, folds, settings, setting = shared
    fold = folds[index]
    _, found = fit_by_moments(
        read_moments(moments), fold.train, fold.valid, setting, resolved(settings, setting), seed=0
    )
    return found.validation_mse * len(fold.valid)


def feature_columns(imputer: Imputer, data: TensorMoments) -> npt.NDArray[np.intp]:
    """Where an imputer's features stand in the moments of features."""
    places = {
        Feature(experiment, *regressor): index * len(data.experiments) + column
        for index, regressor in enumerate(REGRESSORS)
        for column, experiment in enumerate(data.experiments)
    }
    return np.array([places[feature] for feature in imputer.features], dtype=np.intp)
