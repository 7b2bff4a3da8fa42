"""`predictd tune`: solver, rank, penalty and starts by Bayesian search (Optuna) on validation experiments."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from predictd.config import TrainSettings
from predictd.engine import Engine
from predictd.errors import ConfigError, DataError, OutputError
from predictd.io.files import make_directory, sha256_of_json, write_text
from predictd.io.remote import RemotePath
from predictd.io.results import write_run_json
from predictd.io.tensor.store import Tensor
from predictd.model.folds import Fold, folds_to_json
from predictd.provenance import RunRecord
from predictd.workflows.tensor.coverage import require_complete
from predictd.workflows.tensor.folds import read_folds
from predictd.workflows.tensor.moments import ensure_moments, read_moments
from predictd.workflows.training.fit_moments import RANKS, fit_fold, selection_folds
from predictd.workflows.training.settings import Setting
from predictd.workflows.training.sgd.fit import fit_fold_sgd

if TYPE_CHECKING:
    import optuna

log = logging.getLogger(__name__)

SOLVERS = ("em", "als", "sgd")
# Where λ is looked for, by solver.
_PENALTIES = {"em": (1e-2, 10.0), "als": (1e-5, 1.0), "sgd": (1e-5, 1e-1)}
_MOST_STARTS = 5


@dataclass(frozen=True)
class TuneReport:
    """What a search came to.

    Attributes
    ----------
    solver, setting, starts
        The winner.
    validation_mse
        Its mean over the validation experiments.
    trials
        Finished in all, those that gave no model included, by every process that shares the storage.
    """

    solver: str
    setting: Setting
    starts: int
    validation_mse: float
    trials: int


@dataclass(frozen=True)
class _Shared:
    """What the fits of a trial have in common."""

    tensor: Tensor
    moments: Path
    folds: tuple[Fold, ...]
    settings: TrainSettings
    setting: Setting
    seed: int


def tune(
    tensor_path: Path,
    output: Path,
    settings: TrainSettings,
    engine: Engine,
    *,
    trials: int = 40,
    solvers: Sequence[str] = ("em", "als"),
    seed: int = 0,
    folds_path: Path | None = None,
    test_fold: str | None = None,
    storage: str | None = None,
    moments_path: Path | None = None,
) -> TuneReport:
    """Search, and write the winner as settings that `train` and `cv` take.

    Parameters
    ----------
    tensor_path, output
        Directory of the tensor; TOML file to write.
    settings
        Everything that is not searched.
    engine
        Fits the folds of a trial at once.
    trials
        Finished trials to have in the end, in the storage.
    solvers
        Those that compete.
    seed
        Of the sampler, the folds and the starts.
    folds_path, test_fold
        Only the validation folds of this test fold decide, so that its test experiments remain unseen; None: eight
        folds over all experiments.
    storage
        What processes share: a database URL that Optuna takes, or a file for its journal (on a shared file system,
        too); None: `OUTPUT.journal`.
    moments_path
        Moments file; None: beside the tensor.

    Raises
    ------
    ConfigError
        If Optuna is not installed, or options do not fit together.
    Interrupted
        If a stop was asked for; finished trials are in the storage, and the same command goes on.
    """
    try:
        import optuna
    except ImportError as err:
        raise ConfigError("predictd tune needs Optuna: pip install 'predictd[tune]'") from err
    record = RunRecord.of("tune", engine, seed=seed, settings={"trials": trials, "solvers": list(solvers)})
    if settings.predictd_constants:
        raise ConfigError(
            "predictd_constants fixes the penalties, which tune searches; take it out of --config"
        )
    if storage is None and isinstance(output, RemotePath):
        raise ConfigError(
            f"trials cannot be kept beside {output}: name a database URL, or a journal file on a file system that all "
            "processes share, with --storage"
        )
    solvers = list(dict.fromkeys(solvers))
    tensor = Tensor(tensor_path)
    require_complete(tensor)
    folds = _folds(tensor, folds_path, test_fold, seed)
    make_directory(output.parent)
    with record.stage("moments"):
        moments = ensure_moments(tensor, engine, moments_path)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    n_train = min(len(fold.train) for fold in folds)
    n_valid = sum(len(fold.valid) for fold in folds)
    identity = sha256_of_json(
        [
            tensor.manifest.checksum,
            folds_to_json(folds),
            seed,
            solvers,
            settings.model_dump(mode="json", by_alias=True),
        ]
    )
    study = _open_study(f"predictd-{identity[:16]}", storage or f"{output}.journal")

    def objective(trial: optuna.Trial) -> float:
        # Seeded by the trial: neither who goes on with a search nor who shares one tries the same settings again.
        state = np.random.SeedSequence([seed, trial.number]).generate_state(1)
        study.sampler = optuna.samplers.TPESampler(seed=int(state[0]))
        solver = trial.suggest_categorical("solver", solvers)
        rank = trial.suggest_categorical("rank", [rank for rank in RANKS if rank <= max(1, n_train // 2)])
        penalty = _rounded(trial.suggest_float(f"lambda_{solver}", *_PENALTIES[solver], log=True))
        starts = trial.suggest_int("starts", 1, _MOST_STARTS) if solver != "sgd" else 1
        shared = _Shared(
            tensor,
            moments,
            tuple(folds),
            settings.model_copy(
                update={"solver": solver, "als": settings.als.model_copy(update={"starts": starts})}
            ),
            Setting(rank, penalty),
            seed,
        )
        try:
            mse = sum(engine.map(_validation_sum, list(range(len(folds))), shared)) / n_valid
        except (DataError, ConfigError) as err:
            log.info("trial %d gave no model: %s", trial.number, err)
            raise optuna.TrialPruned from err
        if not math.isfinite(mse):
            raise optuna.TrialPruned
        return mse

    with record.stage("search"):
        done = optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED
        until = optuna.study.MaxTrialsCallback(trials, states=done)
        if len(study.get_trials(states=done)) < trials:
            study.optimize(objective, callbacks=[until], show_progress_bar=False)
    if not study.get_trials(states=(optuna.trial.TrialState.COMPLETE,)):
        raise DataError("no trial gave a model; look at 'predictd train --verbose' on the same tensor")
    report = _report(study, settings, len(study.get_trials(states=done)))
    write_text(output, _toml(report, settings, seed, len(folds), n_valid))
    record.inputs = {str(tensor_path): tensor.manifest.checksum}
    record.results = {"validation_mse": report.validation_mse, "trials": report.trials}
    write_run_json(record, output, sidecar=True)
    return report


def _folds(tensor: Tensor, path: Path | None, test_fold: str | None, seed: int) -> list[Fold]:
    if path is None:
        if test_fold is not None:
            raise ConfigError(
                f"--test-fold {test_fold} needs --folds: name the file that 'predictd folds' wrote"
            )
        return selection_folds(tensor.experiments, seed)
    known = read_folds(path, tensor)
    names = sorted({name.partition(".")[0] for name in known})
    if test_fold not in names:
        raise ConfigError(
            f"--folds {path} needs --test-fold, one of {', '.join(names)}: only its validation folds decide"
        )
    chosen = [fold for name, fold in known.items() if name.partition(".")[0] == test_fold]
    for fold in chosen:
        if not fold.valid:
            raise DataError(f"fold {fold.name} has no validation experiments, which decide")
    return chosen


def _open_study(name: str, place: str) -> optuna.Study:
    """The study of that name in a journal file or a database, made where there is none."""
    import optuna
    from optuna.storages.journal import JournalFileBackend

    storage: optuna.storages.BaseStorage | str = place
    try:
        if "://" not in place:
            make_directory(Path(place).parent)
            storage = optuna.storages.JournalStorage(JournalFileBackend(place))
        return optuna.create_study(study_name=name, storage=storage, load_if_exists=True)
    except Exception as err:
        # Each database driver has errors of its own.
        raise OutputError(
            f"trials cannot be kept in {place} ({type(err).__name__}: {' '.join(str(err).split())[:200]}); name a "
            "journal file or a database URL with --storage"
        ) from err


def _rounded(penalty: float) -> float:
    """A penalty with the digits that stand in the settings, so that they give what was searched."""
    return float(f"{penalty:.6g}")


def _validation_sum(index: int, shared: _Shared) -> float:
    """Sum of the squared-error means of a fold's validation experiments."""
    fold = shared.folds[index]
    if shared.settings.solver == "sgd":
        with TemporaryDirectory(prefix="predictd-") as scratch:
            _, history = fit_fold_sgd(
                shared.tensor,
                fold,
                shared.setting,
                shared.settings,
                checkpoint=Path(scratch, "c"),
                seed=shared.seed,
            )
        return min(history) * len(fold.valid)
    data = read_moments(shared.moments)
    _, result = fit_fold(data, fold.train, fold.valid, shared.setting, shared.settings, seed=shared.seed)
    return result.validation_mse * len(fold.valid)


def _report(study: optuna.Study, settings: TrainSettings, trials: int) -> TuneReport:
    best = study.best_trial
    solver = str(best.params["solver"])
    return TuneReport(
        solver=solver,
        setting=Setting(int(best.params["rank"]), _rounded(best.params[f"lambda_{solver}"])),
        starts=int(best.params.get("starts", settings.als.starts)),
        validation_mse=float(study.best_value),
        trials=trials,
    )


def _toml(report: TuneReport, settings: TrainSettings, seed: int, n_folds: int, n_valid: int) -> str:
    """Settings for --config, with what they came from in comments; what was not searched stays as it was given."""
    given = settings.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    als, sgd = (
        [f"{key} = {json.dumps(value)}" for key, value in given.get(group, {}).items() if key != "starts"]
        for group in ("als", "sgd")
    )
    lines = [
        f"# The best of {report.trials} trials of 'predictd tune': mean squared error {report.validation_mse:.6g}",
        f"# over {n_valid} validation experiments in {n_folds} folds.",
        f"seed = {seed}",
        "",
        "[train]",
        f'solver = "{report.solver}"',
        f"rank = {report.setting.rank}  # components",
        f"lambda = {report.setting.regularisation:.6g}  # "
        + (
            "strength of the prior of cell and assay factors"
            if report.solver == "em"
            else "penalty of cell and assay factors"
        ),
        f"lambda_g = {settings.lambda_g!r}  # penalty of the genome's factors (sgd, als)",
        "",
        "[train.als]",
        f"starts = {report.starts}  # random starts, the best of which goes on (als, em)",
        *als,
        *(["", "[train.sgd]", *sgd] if sgd else []),
    ]
    return "\n".join(lines) + "\n"
