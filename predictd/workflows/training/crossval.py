"""`predictd cv`: cross-validation as independent parts that any engine runs, and one pass that scores them."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from predictd import interrupt, progress
from predictd.config import TrainSettings
from predictd.constants import FOLDS_JSON, METRIC_COUNTS, METRIC_KEYS, METRICS_TSV, MODELS, MOMENTS
from predictd.engine import Engine
from predictd.errors import OutputError
from predictd.io.files import checksums, sha256_of_json, write_json
from predictd.io.models import ModelFile, write_model
from predictd.io.partition import Job, read_job
from predictd.io.remote import RemotePath
from predictd.io.results import write_metrics, write_rows, write_run_json
from predictd.io.tensor.store import Tensor
from predictd.model.folds import Fold, by_test_fold, folds_to_json, make_folds, whole_of
from predictd.model.intervals.residuals import Scale
from predictd.pairs import Experiment, axes
from predictd.provenance import RunRecord, given
from predictd.workflows.evaluation.cases import Case, Scoring, make_baseline
from predictd.workflows.evaluation.regions import Regions
from predictd.workflows.evaluation.score import Row, Scored, ScoreTask, bundle, fold_groups, score
from predictd.workflows.imputing.apply import BLOCK_AT_WORK
from predictd.workflows.imputing.calibration import assay_spans, expected_scales, write_calibration
from predictd.workflows.imputing.estimators import everything_path, fold_model_path
from predictd.workflows.imputing.residuals import Counting, read_residuals
from predictd.workflows.parts import InParts
from predictd.workflows.tensor.coverage import require_complete, warn_suspicious
from predictd.workflows.tensor.folds import read_folds
from predictd.workflows.tensor.moments import TensorMoments, ensure_moments, read_moments
from predictd.workflows.tensor.ranges import ranges_of
from predictd.workflows.training.choices import read_choice, write_choice
from predictd.workflows.training.folds import check_folds, check_tests, selection_folds
from predictd.workflows.training.member_errors import COLUMNS, MEMBERS_TSV, member_errors, model_errors
from predictd.workflows.training.settings import model_info
from predictd.workflows.training.solvers import SOLVERS
from predictd.workflows.training.solvers.by_moments import everything
from predictd.workflows.training.solvers.solver import Choice, FitData

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
    members
        Rows of members.tsv: each member of a stack by itself, and the whole; empty for other solvers.
    """

    rows: list[Row]
    n_models: int
    choices: dict[str, str]
    members: list[Row]


@dataclass(frozen=True)
class FoldFit:
    """A model to train: what it is tested by, its file, its fold, and what it is fitted with."""

    owner: str
    path: Path
    fold: Fold
    choice: Choice


@dataclass(frozen=True)
class FoldFits:
    """What the training tasks have in common.

    Attributes
    ----------
    data
        What fits read.
    seed
        Of the fits.
    job
        That the models are made for.
    """

    data: FitData
    seed: int
    job: Job


# Name of the model of all experiments, among those of test folds; a fold's name has no such sign.
EVERYTHING = "*"


class Crossval(InParts[CrossvalReport]):
    """Every fold trained, and each test fold's ensemble scored on what it never saw; a part is a test fold.

    Parameters
    ----------
    tensor_path, output
        Directory of the tensor; directory to write: `folds.json`, `models/`, `metrics.tsv`, `run.json`.
    settings
        Solver, rank, penalty. What is `auto` is chosen for each test fold on its own validation folds.
    seed
        Of folds and starts.
    folds
        folds.json; None: 5 test × 8 validation folds are made.
    moments
        Moments file; None: next to the tensor.
    regions
        BED files for MSEprom, MSEgene, MSEenh.
    scratch
        Directory of each node for copies of shards; None: they are read where they are.

    Raises
    ------
    PredictdError
        If data, folds and settings do not fit together.
    """

    def __init__(
        self,
        tensor_path: Path,
        output: Path,
        settings: TrainSettings,
        *,
        seed: int = 0,
        folds: Path | None = None,
        moments: Path | None = None,
        regions: Regions | None = None,
        scratch: Path | None = None,
    ) -> None:
        tensor = Tensor(tensor_path, scratch=scratch)
        require_complete(tensor)
        every = (
            make_folds(tensor.experiments, seed=seed)
            if folds is None
            else list(read_folds(folds, tensor).values())
        )
        check_folds(every, SOLVERS[settings.solver])
        check_tests(every)
        SOLVERS[settings.solver].check(settings, min(len(fold.train) for fold in every))
        self._tensor, self._settings, self._seed, self._folds = tensor, settings, seed, every
        self._groups = list(by_test_fold(every).items())
        # The user's folds may leave experiments out, which then nothing learns from.
        named = set().union(*((*fold.train, *fold.valid, *fold.test) for fold in every))
        self._experiments = [pair for pair in tensor.experiments if pair in named]
        # Solvers without a model for each validation fold have one of all experiments, for what was never observed.
        self._everything = (
            None
            if SOLVERS[settings.solver].holds_out
            else (EVERYTHING, selection_folds(self._experiments, seed))
        )
        self._moments = moments
        regions = regions or Regions()
        self._intervals = regions.read(tensor.manifest.load_genome())
        self._inputs = {
            str(tensor.path): tensor.manifest.checksum,
            **checksums(folds, *vars(regions).values()),
        }
        description: dict[str, Any] = {
            "command": "cv",
            "tensor": tensor.manifest.checksum,
            "settings": settings.model_dump(mode="json", by_alias=True),
            "folds": folds_to_json(every),
            "seed": seed,
            "regions": {
                name: sha256_of_json([[i.chrom, i.start, i.end] for i in intervals])
                for name, intervals in self._intervals.items()
            },
        }
        super().__init__(
            Job(output, description),
            len(self._groups),
            METRICS_TSV,
            settings=description["settings"] | given(folds=folds, moments=moments, **vars(regions)),
            seed=seed,
        )

    def _begin(self) -> None:
        output = self.job.output
        nothing_made = not any((output / MODELS).glob("*"))
        if not nothing_made and read_job(output) is None:
            raise OutputError(
                f"{output / MODELS} holds models, but no record of how they were made; remove it, or name another "
                "directory"
            )
        self.job.begin(nothing_made=nothing_made)
        with suppress(OSError, ValueError):
            if json.loads((output / FOLDS_JSON).read_text(encoding="utf-8")) == folds_to_json(self._folds):
                # Not replaced by every part: others may be reading it.
                return
        write_json(output / FOLDS_JSON, folds_to_json(self._folds))

    def _make(self, parts: Sequence[int], engine: Engine, record: RunRecord) -> None:
        tensor, output = self._tensor, self.job.output
        engine.check_shared_paths(self.job.marker_file, tensor.marker_file)
        with record.stage("moments"):
            # Baselines are made of moments, whatever the solver reads.
            moments = ensure_moments(tensor, engine, self._moments)
        warn_suspicious(tensor, read_moments(moments))
        wanted = [self._groups[index] for index in parts]
        if self._everything is not None and 0 in parts:
            wanted.append(self._everything)
        with record.stage("choose"):
            data = FitData(tensor, moments, named=self._moments is not None)
            choices = {name: self._choose(name, group, data, engine) for name, group in wanted}
        with record.stage("train"):
            fits = [task for name, group in wanted for task in self._fits(name, group, choices[name])]
            engine.map(train_fold, fits, FoldFits(data, self._seed, self.job), label="models")
        with record.stage("score"):
            s = read_moments(moments)
            cases = [scored_cases(*self._groups[index], s) for index in parts]
            groups = {
                (index, number): group
                for index, own in zip(parts, cases, strict=True)
                for number, group in enumerate(fold_groups(own))
            }
            files = {key: self.job.workspace / "residuals" / "{}.{}.h5".format(*key) for key in groups}
            counting = self._counting({files[key]: group for key, group in groups.items()}, parts, s)
            scored = self._score(list(groups.values()), counting, engine)
        for index in parts:
            test = self._groups[index][0]
            counted = [path for (owner, _), path in files.items() if owner == index]
            rows = [one.row for one in scored if one.row["fold"] == test]
            models = [task.path for task in fits if task.owner == test]
            content = {
                "test": test,
                "choice": choices[test].why,
                "models": len(models),
                "rows": _rows_to_json(rows),
                "members": member_errors(output, whole_of(self._groups[index][1]), s, choices[test]),
                "residuals": [str(path.relative_to(output)) for path in counted],
                "run": record.run_of(parts),
            }
            others = [task.path for task in fits if task.owner == EVERYTHING and index == 0]
            self.job.keep_part(index, content, [*models, *others, *counted])

    def _score(self, groups: Sequence[tuple[Case, ...]], counting: Counting, engine: Engine) -> list[Scored]:
        """Scores of all cases, those of a group predicted together; their residuals are counted besides."""
        tensor, output = self._tensor, self.job.output
        room = tensor.scratch or (None if isinstance(output, RemotePath) else self.job.workspace)
        scoring = Scoring(tensor, output, self._intervals, room=room, counting=counting)
        tasks = [ScoreTask(bundled) for bundled in bundle(groups, engine.workers)]
        sizes = [sum(map(len, task.groups)) for task in tasks]
        with interrupt.after(soon=BLOCK_AT_WORK):
            scored = engine.map(score, tasks, scoring, label="groups of experiments", sizes=sizes)
        return [one for some in scored for one in some]

    def _counting(
        self, files: dict[Path, tuple[Case, ...]], parts: Sequence[int], s: TensorMoments
    ) -> Counting:
        """How the errors of predictions are counted by what was predicted, into a file for each group of cases."""
        scales = dict[Experiment, Scale]()
        for fold in (whole_of(self._groups[index][1]) for index in parts):
            scales |= expected_scales(s, fold.train, fold.test)
        pairs = {path: tuple(case.pair for case in group) for path, group in files.items()}
        return Counting(assay_spans(self._tensor), scales, pairs)

    def _choose(self, name: str, group: Sequence[Fold], data: FitData, engine: Engine) -> Choice:
        """Settings of a test fold, with the reason; those that an interrupted run chose are taken up."""
        own = "everything" if name == EVERYTHING else f"fold-{name}"
        path = self.job.workspace / "choices" / f"{own}.h5"
        with suppress(FileNotFoundError):
            return read_choice(path)
        solver = SOLVERS[self._settings.solver]
        label = "all experiments" if name == EVERYTHING else f"test fold {name}"
        with progress.stage(label):
            choice = solver.choose(data, group, self._settings, engine, seed=self._seed)
            write_choice(path, choice)
            if solver.searches:
                progress.tell("%s", choice.why)
        return choice

    def _fits(self, name: str, group: Sequence[Fold], choice: Choice) -> list[FoldFit]:
        """The models of a test fold, or of what was never observed."""
        output = self.job.output
        if SOLVERS[choice.settings.solver].holds_out:
            return [FoldFit(name, fold_model_path(output, fold), fold, choice) for fold in group]
        if name == EVERYTHING:
            fold = everything(self._experiments, "everything")
            return [FoldFit(name, everything_path(output), fold, choice)]
        whole = whole_of(group)
        return [FoldFit(name, fold_model_path(output, whole), whole, choice)]

    def _finish(self, parts: Sequence[dict[str, Any]], record: RunRecord) -> CrossvalReport:
        tensor, experiments, output = self._tensor, self._experiments, self.job.output
        rows = [row for part in parts for row in _rows_from_json(part["rows"])]
        choices = {part["test"]: part["choice"] for part in parts}
        n_models = sum(part["models"] for part in parts)
        record.inputs = self._inputs
        record.train = [str(e) for e in experiments]
        record.results = {"models": n_models, "choices": choices, "tensor": str(tensor.path.resolve())}
        files = [(part["test"], output / name) for part in parts for name in part["residuals"]]
        moments = read_moments(self._moments or tensor.path / MOMENTS, tensor)
        every = map(Experiment._make, product(*axes(experiments)))
        scales = expected_scales(moments, experiments, every)
        if write_calibration(output, read_residuals(files), scales, assay_spans(tensor)) is None:
            log.warning(
                "there are too few bins to calibrate intervals on: imputed tracks cannot get standard deviations"
            )
        members = [row for part in parts for row in part["members"]]
        if members:
            members += model_errors(rows, tensor)
            rows_of_members = sorted(tuple(row[name] for name in COLUMNS) for row in members)
            write_rows(output / MEMBERS_TSV, COLUMNS, rows_of_members)
        write_run_json(record, output)
        write_metrics(output / METRICS_TSV, rows)
        return CrossvalReport(rows, n_models, choices, members)


def crossval(
    tensor_path: Path,
    output: Path,
    settings: TrainSettings,
    engine: Engine,
    *,
    seed: int = 0,
    folds: Path | None = None,
    moments: Path | None = None,
    regions: Regions | None = None,
    scratch: Path | None = None,
) -> CrossvalReport:
    """Make all parts and finish; see `Crossval` and `InParts.make_all`."""
    plan = Crossval(
        tensor_path,
        output,
        settings,
        seed=seed,
        folds=folds,
        moments=moments,
        regions=regions,
        scratch=scratch,
    )
    return plan.make_all(engine)


def train_fold(task: FoldFit, shared: FoldFits) -> None:
    """Train one model into its file, unless this was done before."""
    path, fold, choice = task.path, task.fold, task.choice
    if shared.job.made(path):
        return
    checkpoint = path.with_suffix(".checkpoint")
    fit = SOLVERS[choice.settings.solver].fit(
        shared.data, fold, choice, seed=shared.seed, checkpoint=checkpoint
    )
    info = model_info(shared.data.tensor, choice.settings, fold, shared.seed) | {
        "validation_mse": fit.validation_mse,
        "history": fit.history_json(),
    }
    model = fit.model.within(ranges_of(shared.data.tensor, fit.model.assays, fit.model.train))
    with shared.job.making(path):
        write_model(path, ModelFile(model.kind, model.to_arrays(), info))


def scored_cases(test: str, group: Sequence[Fold], data: TensorMoments) -> list[Case]:
    """The test experiments of a test fold, with baselines from all experiments that it does not hold out."""
    whole = whole_of(group)
    return [
        Case(pair, (test,), None, (None,), None, make_baseline(data, whole.train, pair))
        for pair in whole.test
    ]


def _rows_to_json(rows: Sequence[Row]) -> list[dict[str, str]]:
    """Rows of metrics.tsv with numbers as text, exactly: JSON has no nan."""
    return [{key: v if isinstance(v, str) else repr(v) for key, v in row.items()} for row in rows]


def _rows_from_json(rows: Sequence[dict[str, str]]) -> list[Row]:
    whole = dict.fromkeys(METRIC_COUNTS, int)
    return [{k: v if k in METRIC_KEYS else whole.get(k, float)(v) for k, v in row.items()} for row in rows]
