"""`predictd cv`: cross-validation as independent parts that any engine runs, and one pass that scores them."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from predictd.config import TrainSettings
from predictd.constants import FOLDS_JSON, METRICS_TSV, MODELS, RUN_JSON
from predictd.engine import Engine
from predictd.errors import DataError, OutputError
from predictd.io.files import write_json, write_text
from predictd.io.models import ModelFile, write_model
from predictd.io.partition import Job, read_job
from predictd.io.store import Tensor
from predictd.model.folds import Fold, folds_to_json, make_folds
from predictd.model.metrics import metrics_tsv
from predictd.pairs import Experiment
from predictd.provenance import RunRecord, software
from predictd.workflows._coverage import require_complete
from predictd.workflows._estimators import fold_model_path
from predictd.workflows._fit_moments import Setting, choose_setting, explain, fit_fold
from predictd.workflows._fit_sgd import fit_fold_sgd
from predictd.workflows._score import Case, Regions, Row, Scoring, group_cases, make_baseline, score
from predictd.workflows._settings import sgd_setting
from predictd.workflows.folds import read_folds
from predictd.workflows.moments import ensure_moments, read_moments

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CrossvalReport:
    """What a cross-validation came to.

    Attributes
    ----------
    rows
        Rows of metrics.tsv: each test experiment by the ensemble of its test fold.
    n_models
        Trained.
    choices
        For each test fold, what rank and penalty were chosen and why.
    """

    rows: list[Row]
    n_models: int
    choices: dict[str, str]


@dataclass(frozen=True)
class _Shared:
    """What the training tasks have in common."""

    tensor: Path
    moments: Path
    output: Path
    settings: TrainSettings
    chosen: dict[str, Setting]
    seed: int


def crossval(
    tensor_path: Path,
    output: Path,
    settings: TrainSettings,
    engine: Engine,
    record: RunRecord,
    *,
    seed: int = 0,
    folds_path: Path | None = None,
    moments_path: Path | None = None,
    regions: Regions | None = None,
) -> CrossvalReport:
    """Train every fold, and score each test fold's ensemble on the experiments that it never saw.

    Parameters
    ----------
    tensor_path, output
        Directory of the tensor; directory to write: `folds.json`, `models/`, `metrics.tsv`, `run.json`.
    settings
        Solver, rank, penalty. What is `auto` is chosen for each test fold on its own validation folds.
    engine, record
        What runs it (a task is a fold, then a group of experiments to score); where stages are timed.
    seed
        Of folds and starts.
    folds_path
        folds.json; None: 5 test × 8 validation folds are made.
    moments_path
        Moments file; None: beside the tensor.
    regions
        BED files for MSEprom, MSEgene, MSEenh.

    Raises
    ------
    PredictdError
        If data, folds and settings do not fit together, or the output cannot be written. Models that were trained are
        kept, and the same command goes on from there.
    """
    tensor = Tensor(tensor_path)
    require_complete(tensor)
    if folds_path is None:
        folds = make_folds(tensor.experiments, seed=seed)
    else:
        folds = list(read_folds(folds_path, tensor).values())
    _check_folds(folds)
    intervals = (regions or Regions()).read(tensor.manifest.load_genome())
    if (output / METRICS_TSV).exists():
        raise OutputError(
            f"{output} is a finished cross-validation already; remove it, or name another directory"
        )
    nothing_made = not any((output / MODELS).glob("*"))
    if not nothing_made and read_job(output) is None:
        raise OutputError(
            f"{output / MODELS} holds models of which nothing says how they were made; remove it, or name another "
            "directory"
        )
    job = Job(
        output,
        {
            "command": "cv",
            "tensor": tensor.manifest.checksum,
            "settings": settings.model_dump(mode="json", by_alias=True),
            "folds": folds_to_json(folds),
            "seed": seed,
        },
    )
    job.begin(nothing_made=nothing_made)
    write_json(output / FOLDS_JSON, folds_to_json(folds))
    with record.stage("moments"):
        moments = ensure_moments(tensor, engine, moments_path)
    with record.stage("choose"):
        chosen, choices = _choose(moments, folds, settings, engine, job.scratch / "choices.json", seed)
    with record.stage("train"):
        shared = _Shared(tensor_path, moments, output, settings, chosen, seed)
        engine.map(_train_fold, folds, shared, label="models")
    with record.stage("score"):
        cases = _cases(folds, moments)
        scoring = Scoring(tensor_path, output, intervals, "model")
        # Grouped by test fold whatever the number of workers: which pairs are predicted at once shows in the last bits.
        groups = [group for own in cases for group in group_cases(own, tensor.n_bins, 1)]
        parts = engine.map(score, groups, scoring, label="experiments")
        rows = [row for part in parts for row in part]
    record.inputs = {str(tensor_path): tensor.manifest.checksum}
    record.train = [str(e) for e in tensor.experiments]
    record.results = {"models": len(folds), "choices": choices, "tensor": str(tensor_path.resolve())}
    write_json(output / RUN_JSON, record.to_dict())
    write_text(output / METRICS_TSV, metrics_tsv(rows))
    job.finish()
    return CrossvalReport(rows, len(folds), choices)


def _test_folds(folds: Sequence[Fold]) -> dict[str, list[Fold]]:
    """Folds by test fold: what stands before the dot in their names."""
    groups: dict[str, list[Fold]] = {}
    for fold in folds:
        groups.setdefault(fold.name.partition(".")[0], []).append(fold)
    return groups


def _check_folds(folds: Sequence[Fold]) -> None:
    """Raise DataError for folds that cannot be trained, or of which a test fold's ensemble cannot be made."""
    for fold in folds:
        if not fold.valid:
            raise DataError(f"fold {fold.name} has no validation experiments, which decide when to stop")
    tested: dict[Experiment, str] = {}
    for test, group in _test_folds(folds).items():
        for fold in group:
            if fold.test != group[0].test:
                raise DataError(
                    f"folds {group[0].name} and {fold.name} belong to test fold '{test}', what stands before the dot, "
                    "but have other test experiments; name them differently"
                )
        for pair in group[0].test:
            if pair in tested:
                raise DataError(
                    f"{pair} is tested in the test folds '{tested[pair]}' and '{test}'; test each experiment once"
                )
            tested[pair] = test
    if not tested:
        raise DataError("the folds have no test experiments: there would be nothing to score")


def _choose(
    moments: Path, folds: Sequence[Fold], settings: TrainSettings, engine: Engine, kept: Path, seed: int
) -> tuple[dict[str, Setting], dict[str, str]]:
    """Rank and penalty of each test fold, with the reasons; what an interrupted run chose is taken up."""
    known: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
    for test, group in _test_folds(folds).items():
        if test in known:
            continue
        if settings.solver == "sgd":
            setting, why = sgd_setting(settings, min(len(fold.train) for fold in group))
        else:
            choice = choose_setting(moments, group, settings, engine, seed=seed)
            setting, why = Setting(choice.rank, choice.regularisation), explain(choice, settings)
        known[test] = [setting.rank, setting.regularisation, why]
        write_json(kept, known)
    chosen = {test: Setting(rank, regularisation) for test, (rank, regularisation, _) in known.items()}
    return chosen, {test: why for test, (_, _, why) in known.items()}


def _train_fold(fold: Fold, shared: _Shared) -> None:
    """Train one fold into its model file, unless that stands already."""
    path = fold_model_path(shared.output, fold)
    if path.exists():
        return
    setting = shared.chosen[fold.name.partition(".")[0]]
    info: dict[str, Any] = {
        "solver": shared.settings.solver,
        "settings": shared.settings.model_dump(mode="json", by_alias=True)
        | {"rank": setting.rank, "lambda": setting.regularisation},
        "seed": shared.seed,
        "fold": {
            "name": fold.name,
            "test": [str(e) for e in fold.test],
            "valid": [str(e) for e in fold.valid],
        },
        "software": software(),
    }
    if shared.settings.solver == "sgd":
        checkpoint = shared.output / MODELS / f"fold-{fold.name}.checkpoint"
        model, history = fit_fold_sgd(
            shared.tensor, fold, setting, shared.settings, checkpoint=checkpoint, seed=shared.seed
        )
        info |= {"validation_mse": min(history), "history": history}
    else:
        data = read_moments(shared.moments)
        model, result = fit_fold(data, fold.train, fold.valid, setting, shared.settings, seed=shared.seed)
        info |= {
            "validation_mse": result.validation_mse,
            "history": [list(entry) for entry in result.history],
        }
    write_model(path, ModelFile("cp", model.to_arrays(), info))


def _cases(folds: Sequence[Fold], moments: Path) -> list[list[Case]]:
    """The test experiments of each test fold, with baselines from all experiments that it does not hold out."""
    data = read_moments(moments)
    cases = []
    for test, group in _test_folds(folds).items():
        train = sorted(set(group[0].train) | set(group[0].valid))
        cases.append(
            [Case(pair, test, None, None, None, make_baseline(data, train, pair)) for pair in group[0].test]
        )
    return cases
