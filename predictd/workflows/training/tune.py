"""`predictd tune`: solver, rank, penalty and starts by Bayesian search (Optuna) on validation experiments."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from predictd.config import TrainSettings
from predictd.engine import Engine
from predictd.errors import ConfigError, DataError, OutputError
from predictd.io.files import checksums, make_directory, sha256_of_json, write_text
from predictd.io.names import storage_without_secrets
from predictd.io.remote import RemotePath
from predictd.io.results import write_run_json
from predictd.io.tensor.store import Tensor
from predictd.model.folds import Fold, by_test_fold, folds_to_json
from predictd.progress import progress_bar
from predictd.provenance import RunRecord, given
from predictd.wording import install, short
from predictd.workflows.tensor.coverage import require_complete
from predictd.workflows.tensor.folds import read_folds
from predictd.workflows.tensor.moments import ensure_moments
from predictd.workflows.training.folds import check_folds, selection_folds
from predictd.workflows.training.settings import NOT_HELD_OUT
from predictd.workflows.training.solvers import SOLVERS
from predictd.workflows.training.solvers.cp import ranks_for
from predictd.workflows.training.solvers.solver import Comparison, FitData

if TYPE_CHECKING:
    import optuna

log = logging.getLogger(__name__)

TUNED = tuple(name for name, solver in SOLVERS.items() if solver.penalty_range is not None)
_MOST_STARTS = 5


@dataclass(frozen=True)
class TuneReport:
    """The result of a search.

    Attributes
    ----------
    settings
        The best: solver, rank, penalty and starts, and what was not searched as it was given.
    validation_mse
        Its mean over the validation experiments, which chose the settings: no held-out error.
    trials
        Finished in all, those that gave no model included, by every process that shares the storage.
    """

    settings: TrainSettings
    validation_mse: float
    trials: int


@dataclass(frozen=True)
class TuneOptions:
    """What is searched, and how far.

    Attributes
    ----------
    trials
        Finished trials to have in the end, in the storage.
    solvers
        Those that compete.
    folds, test_fold
        Only the validation folds of this test fold decide, so that its test experiments remain unseen; None: eight
        folds over all experiments.
    storage
        What processes share: a database URL that Optuna takes, or a file for its journal (on a shared file system,
        too); None: `OUTPUT.journal`.
    """

    trials: int = 40
    solvers: Sequence[str] = ("em", "als")
    folds: Path | None = None
    test_fold: str | None = None
    storage: str | None = None

    def check(self) -> None:
        """Raise ConfigError for a solver that cannot be searched."""
        if not self.solvers or not set(self.solvers) <= set(TUNED):
            raise ConfigError(
                f"`solvers` {','.join(self.solvers)}: name some of {', '.join(TUNED)}, separated by commas"
            )


def tune(
    tensor_path: Path,
    output: Path,
    settings: TrainSettings,
    engine: Engine,
    options: TuneOptions | None = None,
    *,
    seed: int = 0,
    moments: Path | None = None,
) -> TuneReport:
    """Search, and write the best as settings that `train` and `cv` take.

    Parameters
    ----------
    tensor_path, output
        Directory of the tensor; TOML file to write.
    settings
        Everything that is not searched.
    engine
        Fits the folds of a trial at once.
    options
        What is searched; None: the defaults.
    seed
        Of the sampler, the folds and the starts.
    moments
        Moments file; None: in the tensor's directory.

    Raises
    ------
    ConfigError
        If Optuna is not installed, or options do not fit together.
    Interrupted
        If a stop was asked for; finished trials are in the storage, and the same command goes on.
    """
    options = options or TuneOptions()
    solvers = list(dict.fromkeys(options.solvers))
    storage = options.storage or f"{output}.journal"
    dumped = settings.model_dump(mode="json", by_alias=True)
    asked = given(
        trials=options.trials,
        solvers=solvers,
        folds=options.folds,
        test_fold=options.test_fold,
        moments=moments,
        storage=storage_without_secrets(storage),
    )
    record = RunRecord.of("tune", engine, seed=seed, settings=dumped | asked)
    _check(settings, output, options)
    tensor = Tensor(tensor_path)
    require_complete(tensor)
    folds = _folds(tensor, options, seed)
    record.inputs = {str(tensor_path): tensor.manifest.checksum, **checksums(options.folds)}
    for name in solvers:
        check_folds(folds, SOLVERS[name])
    make_directory(output.parent)
    with record.stage("moments"):
        file = ensure_moments(tensor, engine, moments)
    comparison = Comparison(FitData(tensor, file, named=moments is not None), tuple(folds), seed)
    identity = sha256_of_json(
        [
            tensor.manifest.checksum,
            folds_to_json(folds),
            seed,
            solvers,
            dumped,
        ]
    )
    study = _open_study(f"predictd-{identity[:16]}", storage)
    with record.stage("search"):
        n_trials = _search(study, comparison, settings, engine, solvers, options.trials)
    best = study.best_trial
    report = TuneReport(_settings_of(best.params, settings), float(study.best_value), n_trials)
    write_text(output, _toml(report, settings, comparison, options.test_fold))
    record.results = {
        "validation_mse": report.validation_mse,
        "validation": NOT_HELD_OUT,
        "trials": report.trials,
    }
    write_run_json(record, output, sidecar=True)
    return report


def _check(settings: TrainSettings, output: Path, options: TuneOptions) -> None:
    """Raise ConfigError for what cannot be searched here."""
    try:
        import optuna  # noqa: F401
    except ImportError as err:
        raise ConfigError(f"predictd tune needs Optuna: {install('tune')}") from err
    options.check()
    if settings.predictd_constants:
        raise ConfigError(
            "`predictd_constants` fixes the penalties, which tune searches; take it out of the settings"
        )
    if options.storage is None and isinstance(output, RemotePath):
        raise ConfigError(
            f"trials cannot be kept next to {output}: give as `storage` a database URL, or a journal file on a file "
            "system that all processes share"
        )


def _folds(tensor: Tensor, options: TuneOptions, seed: int) -> list[Fold]:
    """Folds whose validation experiments decide."""
    path, test_fold = options.folds, options.test_fold
    if path is None:
        if test_fold is not None:
            raise ConfigError(
                f"`test_fold` {test_fold} needs `folds`: name the file that 'predictd folds' wrote"
            )
        return selection_folds(tensor.experiments, seed)
    groups = by_test_fold(list(read_folds(path, tensor).values()))
    if test_fold not in groups:
        raise ConfigError(
            f"`folds` {path} needs `test_fold`, one of {', '.join(sorted(groups))}: trials are compared on its "
            "validation folds"
        )
    return groups[test_fold]


def _open_study(name: str, place: str) -> optuna.Study:
    """The study of that name in a journal file or a database, made where there is none."""
    import optuna
    from optuna.storages.journal import JournalFileBackend

    # Of a trial that a signal ends it would print the traceback.
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage: optuna.storages.BaseStorage | str = place
    try:
        if "://" not in place:
            make_directory(Path(place).parent)
            storage = optuna.storages.JournalStorage(JournalFileBackend(place))
        return optuna.create_study(study_name=name, storage=storage, load_if_exists=True)
    except Exception as err:
        # Each database driver has errors of its own.
        reason = f"{type(err).__name__}: {short(err, 200)}"
        raise OutputError(
            f"trials cannot be kept in {storage_without_secrets(place)} ({reason}); give as `storage` a journal "
            "file or a database URL"
        ) from err


def _search(
    study: optuna.Study,
    comparison: Comparison,
    settings: TrainSettings,
    engine: Engine,
    solvers: Sequence[str],
    trials: int,
) -> int:
    """Make trials until so many are finished in the storage; returns how many are.

    Raises
    ------
    DataError
        If none gave a model.
    """
    import optuna

    ranks = ranks_for(min(len(fold.train) for fold in comparison.folds))

    def objective(trial: optuna.Trial) -> float:
        # Seeded by the trial: neither who goes on with a search nor who shares one tries the same settings again.
        state = np.random.SeedSequence([comparison.seed, trial.number]).generate_state(1)
        study.sampler = optuna.samplers.TPESampler(seed=int(state[0]))
        name = trial.suggest_categorical("solver", solvers)
        solver = SOLVERS[name]
        trial.suggest_categorical("rank", ranks)
        low, high = solver.penalty_range or (0.0, 0.0)
        trial.suggest_float(f"lambda_{name}", low, high, log=True)
        if solver.tunes_starts:
            trial.suggest_int("starts", 1, _MOST_STARTS)
        tried = _settings_of({"starts": 1} | trial.params, settings)
        try:
            (mse,) = comparison.errors([(solver, tried)], engine)
        except (DataError, ConfigError) as err:
            log.info("trial %d gave no model: %s", trial.number, err)
            raise optuna.TrialPruned from err
        if not math.isfinite(mse):
            raise optuna.TrialPruned
        return mse

    done = optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED
    if len(study.get_trials(states=done)) < trials:
        until = optuna.study.MaxTrialsCallback(trials, states=done)
        finished = len(study.get_trials(states=done))
        with progress_bar("trials", trials, initial=finished) as bar:

            def count(study: optuna.Study, _: optuna.trial.FrozenTrial) -> None:
                bar.update(len(study.get_trials(states=done)) - bar.n)

            study.optimize(objective, callbacks=[until, count], show_progress_bar=False)
    if not study.get_trials(states=(optuna.trial.TrialState.COMPLETE,)):
        raise DataError("no trial gave a model; train one on the same tensor to see why")
    return len(study.get_trials(states=done))


def _settings_of(params: dict[str, object], settings: TrainSettings) -> TrainSettings:
    """The settings of a trial.

    The penalty has the digits that are written to the file, so that it gives what was searched.
    """
    name = str(params["solver"])
    starts = int(str(params.get("starts", settings.als.starts)))
    return settings.model_copy(
        update={
            "solver": name,
            "rank": int(str(params["rank"])),
            "regularisation": float(f"{params[f'lambda_{name}']:.6g}"),
            "als": settings.als.model_copy(update={"starts": starts}),
        }
    )


def _toml(report: TuneReport, settings: TrainSettings, comparison: Comparison, test_fold: str | None) -> str:
    """Settings as a TOML file, with what they came from in comments; what was not searched stays as it was given."""
    best = report.settings
    dumped = settings.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    als, sgd = (
        [f"{key} = {json.dumps(value)}" for key, value in dumped.get(group, {}).items() if key != "starts"]
        for group in ("als", "sgd")
    )
    n_valid = sum(len(fold.valid) for fold in comparison.folds)
    solvers = [SOLVERS[name] for name in reversed(TUNED)]
    clean = "" if test_fold is None else f" but for test fold {test_fold}"
    # λ_G is a term of J.
    penalising = ", ".join(solver.name for solver in solvers if solver.objective == "J")
    starting = ", ".join(solver.name for solver in solvers if solver.tunes_starts)
    lines = [
        f"# The best of {report.trials} trials of 'predictd tune': mean squared error {report.validation_mse:.6g}",
        f"# over {n_valid} validation experiments in {len(comparison.folds)} folds.",
        f"# These chose the settings, so that no error on them is a held-out error, also of 'predictd cv'{clean}.",
        f"seed = {comparison.seed}",
        "",
        "[train]",
        f'solver = "{best.solver}"',
        f"rank = {best.rank}  # components",
        f"lambda = {best.regularisation:.6g}  # {SOLVERS[best.solver].penalty_meaning}",
        f"lambda_g = {best.lambda_g!r}  # penalty of the genome's factors ({penalising})",
        "",
        "[train.als]",
        f"starts = {best.als.starts}  # random starts, the best of which goes on ({starting})",
        *als,
        *(["", "[train.sgd]", *sgd] if sgd else []),
    ]
    return "\n".join(lines) + "\n"
