"""ALS and EM for the workflows: fits of folds from a moments file, and the choice of rank and penalty."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from predictd.config import TrainSettings
from predictd.engine import Engine
from predictd.errors import DataError
from predictd.model.cp.als import CPProblem
from predictd.model.cp.factors import CPModel
from predictd.model.cp.fit import Choice, Fit, Validation, choose, fit
from predictd.model.folds import Fold, make_folds, validation_split
from predictd.pairs import Experiment
from predictd.workflows.tensor.moments import TensorMoments, read_moments
from predictd.workflows.training.settings import Setting, check_rank

RANKS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 100)
PENALTIES = {"em": (0.03, 0.1, 0.3, 1.0, 3.0), "als": (1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)}
# With which the ranks are first compared.
FIRST_PENALTY = {"em": 0.1, "als": 1e-2}
# Many experiments make a validation fold precise and a fit slow: fewer folds then decide.
MANY_EXPERIMENTS = 300
FOLDS_WITH_MANY = 2


def fit_fold(
    data: TensorMoments,
    train: tuple[Experiment, ...],
    valid: tuple[Experiment, ...],
    setting: Setting,
    settings: TrainSettings,
    *,
    seed: int,
    sweeps: int | None = None,
) -> tuple[CPModel, Fit]:
    """Fit training experiments; validation experiments, where there are any, decide when to stop.

    Parameters
    ----------
    data
        Moments of the tensor.
    train, valid
        Experiments.
    setting, settings
        Rank and penalty; solver and its tolerances.
    seed
        Of the starts.
    sweeps
        How many to make where nothing validates.
    """
    problem = CPProblem(
        data.s,
        list(data.experiments),
        train,
        regularisation=setting.regularisation,
        em=settings.solver == "em",
    )
    validation = None
    if valid:
        cells = [problem.cell_types.index(e.cell_type) for e in valid]
        assays = [problem.assays.index(e.assay) for e in valid]
        validation = Validation(data.s, data.columns(train), data.columns(valid), cells, assays)
    result = fit(
        problem,
        setting.rank,
        settings.als,
        seed=seed,
        lambda_g=settings.lambda_g,
        validation=validation,
        sweeps=sweeps,
    )
    return problem.model(result.point).canonical(), result


def selection_folds(experiments: Sequence[Experiment], seed: int) -> list[Fold]:
    """Folds that choose rank and penalty: every experiment that can be held out validates in one of them."""
    try:
        folds = make_folds(experiments, tests=8, valids=2, seed=seed)
    except DataError:
        # So few that no nested folds can be made of them; one split may do, or says what is wrong.
        return [validation_split(experiments, seed=seed)]
    by_test = {fold.test: fold for fold in folds}
    return [
        Fold(
            name=f"choice.{index}",
            test=(),
            valid=fold.test,
            train=tuple(e for e in sorted(experiments) if e not in set(fold.test)),
        )
        for index, fold in enumerate(by_test.values())
    ]


def deciding_folds(folds: Sequence[Fold]) -> Sequence[Fold]:
    """Those whose validation experiments choose: fewer where there are many experiments."""
    many = min(len(fold.train) for fold in folds) > MANY_EXPERIMENTS
    return folds[:FOLDS_WITH_MANY] if many else folds


def choose_setting(
    moments: Path, folds: Sequence[Fold], settings: TrainSettings, engine: Engine, *, seed: int
) -> Choice:
    """The rank and penalty with the smallest validation MSE over folds, where they are not given.

    Parameters
    ----------
    moments
        Moments file.
    folds
        Their validation experiments decide; test experiments are not looked at.
    settings
        What is given stays; `auto` is chosen.
    engine
        Fits all candidates of a turn at once.
    seed
        Of the starts.

    Raises
    ------
    ConfigError
        If the given rank is too high for the training experiments.
    """
    n_train = min(len(fold.train) for fold in folds)
    folds = deciding_folds(folds)
    if settings.rank != "auto":
        check_rank(settings.rank, n_train)
    ranks = (
        [settings.rank]
        if settings.rank != "auto"
        else [rank for rank in RANKS if rank <= max(1, n_train // 2)]
    )
    penalties = PENALTIES[settings.solver]
    first = FIRST_PENALTY[settings.solver]
    if settings.regularisation != "auto":
        penalties, first = (settings.regularisation,), settings.regularisation
    if len(ranks) == len(penalties) == 1:
        return Choice(ranks[0], first, float("nan"), ())

    def score(candidates: Sequence[tuple[int, float]]) -> list[float]:
        keys = [(candidate, index) for candidate in candidates for index in range(len(folds))]
        errors = engine.map(_validation_sum, keys, (moments, tuple(folds), settings, seed), label="choosing")
        n_valid = sum(len(fold.valid) for fold in folds)
        return [
            sum(errors[start : start + len(folds)]) / n_valid for start in range(0, len(errors), len(folds))
        ]

    return choose(score, ranks, penalties, first)


def _validation_sum(
    key: tuple[tuple[int, float], int], shared: tuple[Path, tuple[Fold, ...], TrainSettings, int]
) -> float:
    """Sum of squared-error means over a fold's validation experiments for one candidate."""
    (rank, regularisation), index = key
    moments, folds, settings, seed = shared
    fold = folds[index]
    _, result = fit_fold(
        read_moments(moments), fold.train, fold.valid, Setting(rank, regularisation), settings, seed=seed
    )
    return result.validation_mse * len(fold.valid)


def explain(choice: Choice, settings: TrainSettings) -> str:
    """What was chosen and why, in one line."""
    name = "prior strength" if settings.solver == "em" else "lambda"
    given = [
        what for what, value in (("rank", settings.rank), (name, settings.regularisation)) if value != "auto"
    ]
    text = f"rank {choice.rank}, {name} {choice.regularisation:g}"
    if not choice.tried:
        return f"{text} (given)"
    kept = f"; {' and '.join(given)} given" if given else ""
    return f"{text}: the smallest validation MSE, {choice.score:.4f}, of {len(choice.tried)} settings tried{kept}"
