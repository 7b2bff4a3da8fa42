"""`predictd report`: what a cross-validation or an evaluation found, as one page, figures and tables."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from predictd.constants import (
    COVERAGE_BY_SIGNAL_TSV,
    COVERAGE_TSV,
    DENSITY_H5,
    FOLDS_JSON,
    MAPPED,
    MEASURES,
    METRIC_KEYS,
    METRICS_TSV,
    RESIDUALS_FORMAT,
    RESIDUALS_VERSION,
    TRACKS_TSV,
)
from predictd.errors import DataError, ModelFormatError, PredictdError, TableError
from predictd.io.files import checksums, exists, make_directory, replacing, write_json, write_text
from predictd.io.hdf5 import ForeignFileError, read_arrays
from predictd.io.remote import as_path
from predictd.io.results import known_run, write_rows, write_run_json
from predictd.io.tables import read_scores, table_header, table_rows
from predictd.model.folds import by_test_fold, whole_of
from predictd.pairs import Experiment
from predictd.provenance import RunRecord
from predictd.report.drawing import require_matplotlib
from predictd.report.evaluation import Evaluation, Report, build
from predictd.report.region_figures import Example
from predictd.report.score_figures import Density
from predictd.report.scores import COUNTS, Known, Row, Table, chosen_method, scores_of
from predictd.workflows.evaluation.about import choices_of, described
from predictd.workflows.evaluation.examples import Source, find_examples, observed_tables, open_tensor
from predictd.workflows.imputing.calibration import COVERAGE, read_calibration
from predictd.workflows.imputing.status import NOT_HELD_OUT_FOLDS, VALIDATION
from predictd.workflows.tensor.folds import load_folds

log = logging.getLogger(__name__)

QC_TSV, RECOMMENDED_TSV = "qc.tsv", "rec.tsv"
# Columns of these tables that are numbers; names may look like some.
_NUMBERS = ("mse", "r", "expected_r", "rank", "gain", "gain_per_dollar")
# Without these there is nothing to report; files of earlier versions lack some of the others.
_NEEDED = ("MSEglobal", "GWcorrasinh")


@dataclass(frozen=True)
class MoreInput:
    """What goes into a report besides the scores.

    Attributes
    ----------
    tensor
        The data set, where it is not where the run.json of the output says.
    quality, recommended
        Tables of 'predictd qc' and 'predictd recommend'; None: qc.tsv and rec.tsv in the directory, if they are there.
    """

    tensor: Path | None = None
    quality: Path | None = None
    recommended: Path | None = None


def report(
    directory: Path,
    output: Path,
    *,
    metrics: Path | None = None,
    method: str | None = None,
    more: MoreInput | None = None,
) -> Path:
    """Write a report, its figures and its tables, and files for MultiQC.

    Parameters
    ----------
    directory
        Of a cross-validation, or of imputed tracks.
    output
        The page. Figures, tables and `*_mqc.json` go to the directory STEM_files next to it, which is returned.
    metrics
        metrics.tsv; None: the one in the directory.
    method
        Of metrics.tsv; None: the only one that is not a baseline.
    more
        What else goes into it.

    Raises
    ------
    PredictdError
        If there are no scores to report, they cannot be read, matplotlib is missing or nothing can be written.
    """
    require_matplotlib()
    more = more or MoreInput()
    path = metrics or directory / METRICS_TSV
    if not exists(path):
        raise TableError(
            f"{path} does not exist: a report shows scores; finish 'predictd cv', or score imputed tracks with "
            "'predictd evaluate' and name its file as `metrics`"
        )
    record = RunRecord("report", settings={"method": method})
    with record.stage("read"):
        evaluation = _read(directory, path, method, more)
    with record.stage("draw"):
        made = build(evaluation)
    files = output.with_name(f"{output.stem}_files")
    with record.stage("write"):
        make_directory(files)
        _write(made, output, files)
    record.inputs = checksums(path, more.quality, more.recommended)
    record.results = {"experiments": len(made.tables["experiments.tsv"].rows), "files": str(files)}
    write_run_json(record, output, sidecar=True)
    return files


def _write(made: Report, output: Path, files: Path) -> None:
    for name, content in made.figures.items():
        with replacing(files / name) as partial:
            partial.write_bytes(content)
    for name, table in made.tables.items():
        write_rows(files / name, table.columns, table.rows)
    for name, value in made.multiqc.items():
        write_json(files / name, value)
    write_text(output, made.page)


def _read(directory: Path, metrics: Path, wanted: str | None, more: MoreInput) -> Evaluation:
    rows = _scores(metrics)
    run, scores_run = known_run(directory), known_run(metrics, sidecar=True)
    method = _method(directory, metrics, rows, scores_run, wanted)
    quality = _table(
        more.quality or directory / QC_TSV, more.quality is not None, ("cell_type", "assay", "flags")
    )
    recommended = _table(
        more.recommended or directory / RECOMMENDED_TSV,
        more.recommended is not None,
        ("rank", "cell_type", "assay", "gain"),
    )
    known, by_signal = _known(directory, rows, run, quality)
    tensor, reason = open_tensor(run, scores_run, more.tensor)
    examples: list[Example] = []
    rule = f"Nothing is drawn here: {reason}."
    if tensor is not None:
        source = Source(directory, tensor, observed_tables(directory, scores_run))
        examples, rule = find_examples(scores_of(rows, method, known), source)
    return Evaluation(
        directory.resolve().name,
        method,
        rows,
        known,
        about=described(directory, metrics, method, run, tensor),
        choices=choices_of(directory, run),
        by_signal=by_signal,
        densities=_densities(directory),
        examples=examples,
        about_examples=rule,
        quality=quality,
        recommended=recommended,
    )


def _scores(path: Path) -> list[dict[str, str | float]]:
    """Rows of metrics.tsv with the measures that it has."""
    header = table_header(path)
    if "mse" in header and "MSEglobal" not in header:
        raise TableError(
            f"{path} has the measures of the ENCODE Imputation Challenge; a report needs predictd's own: run 'predictd "
            "evaluate' without them"
        )
    there = [name for name in (*MEASURES, *COUNTS) if name in header or name in _NEEDED]
    return read_scores(path, text=METRIC_KEYS, numbers=there)


def _method(
    directory: Path, metrics: Path, rows: Sequence[Row], scores_run: Mapping[str, Any], wanted: str | None
) -> str:
    """The method that is reported on: the wanted one, else that of the directory, else the only one.

    Raises
    ------
    DataError
        If there is no such method, or the scores are of another directory. One that is not there any more may have been
        moved, and be this one.
    """
    here = str(directory.resolve())
    results = scores_run.get("results")
    places = results.get("methods") if isinstance(results, dict) else None
    places = places if isinstance(places, dict) else {}
    own = next((name for name, place in places.items() if place == here), None)
    method = chosen_method(rows, wanted or own)
    place = places.get(method.removesuffix(MAPPED), here)
    if not scores_run and known_run(metrics.parent).get("workflow") == "cv":
        # A cross-validation has its scores in its own directory.
        place = str(metrics.parent.resolve())
    if place != here and (own is not None or as_path(place).is_dir()):
        raise DataError(
            f"`method` {method}: its tracks are in {place}; report on that directory, with the same `metrics`"
        )
    return method


def _table(path: Path, required: bool, columns: tuple[str, ...]) -> Table | None:
    """A table that another command wrote, its numbers as such; None where it is not there and need not be."""
    if not required and not exists(path):
        return None
    rows = [row for _, row in table_rows(path, required=columns)]
    header = [name for name in table_header(path) if any(row[name] != "." for row in rows) or name in columns]
    return Table(tuple(header), [[_cell(name, row[name]) for name in header] for row in rows])


def _cell(column: str, text: str) -> str | float:
    if column not in _NUMBERS:
        return text
    with suppress(ValueError):
        return int(text)
    with suppress(ValueError):
        return float(text)
    return text


def _known(
    directory: Path, rows: Sequence[Row], run: Mapping[str, Any], quality: Table | None
) -> tuple[Known, list[dict[str, str | float]]]:
    """What is known of the experiments besides their scores, and coverage along the signal."""
    scored = {(Experiment(str(row["cell_type"]), str(row["assay"])), str(row["fold"])) for row in rows}
    covered: dict[Experiment, Mapping[str, float]] = {}
    by_signal: list[dict[str, str | float]] = []
    if exists(directory / COVERAGE_TSV):
        for row in read_scores(directory / COVERAGE_TSV, text=("cell_type", "assay"), numbers=COVERAGE):
            pair = Experiment(str(row.pop("cell_type")), str(row.pop("assay")))
            covered[pair] = {name: float(value) for name, value in row.items()}
        by_signal = read_scores(
            directory / COVERAGE_BY_SIGNAL_TSV,
            text=(),
            numbers=("predicted_from", "predicted_to", *COVERAGE),
        )
    flags = {}
    if quality is not None:
        for cells in quality.rows:
            found = dict(zip(quality.columns, map(str, cells), strict=True))
            if found["flags"] != ".":
                flags[Experiment(found["cell_type"], found["assay"])] = found["flags"]
    known = Known(_training(directory, run, scored), covered, _widths(directory, covered), flags)
    return known, by_signal


def _widths(directory: Path, covered: Mapping[Experiment, Mapping[str, float]]) -> dict[Experiment, float]:
    """Predicted standard deviations relative to those that other tracks let expect of the track's signal."""
    if not covered:
        return _expected_widths(directory / TRACKS_TSV)
    try:
        scales = read_calibration(directory).scales
    except ModelFormatError as err:
        log.warning("the report has no widths of intervals: %s", err)
        return {}
    return {pair: own["sd"] / scales[pair].sd for pair, own in covered.items() if pair in scales}


def _expected_widths(path: Path) -> dict[Experiment, float]:
    """Square roots of the column `expected_error` of tracks.tsv, which is relative to the variance of the track."""
    found = {}
    if exists(path) and "expected_error" in table_header(path):
        for row in read_scores(path, text=("cell_type", "assay"), numbers=("expected_error",)):
            found[Experiment(str(row["cell_type"]), str(row["assay"]))] = float(row["expected_error"]) ** 0.5
    return found


def _training(
    directory: Path, run: Mapping[str, Any], scored: Iterable[tuple[Experiment, str]]
) -> dict[tuple[Experiment, str], tuple[int, int]]:
    """How many experiments of the same cell type and of the same assay each scored experiment's models trained on."""
    trained: dict[str, list[Experiment]] = {}
    if exists(directory / FOLDS_JSON):
        for test, group in by_test_fold(load_folds(directory / FOLDS_JSON)).items():
            # All that the test fold does not hold out: what one of its models only validates on, others train on.
            trained[test] = list(whole_of(group).train)
    else:
        # Another tool's tracks have none.
        with suppress(PredictdError, TypeError, AttributeError):
            pairs = [Experiment.parse(text) for text in run.get("train", [])]
            if pairs:
                own = str(run["results"].get("fold", "."))
                trained = dict.fromkeys((own, NOT_HELD_OUT_FOLDS[VALIDATION]), pairs)
    counts = {
        fold: tuple(Counter(pair[axis] for pair in pairs) for axis in (0, 1))
        for fold, pairs in trained.items()
    }
    return {
        (pair, fold): (counts[fold][0][pair.cell_type], counts[fold][1][pair.assay])
        for pair, fold in scored
        if fold in counts
    }


def _densities(directory: Path) -> dict[str, Density]:
    path = directory / DENSITY_H5
    if not exists(path):
        return {}
    try:
        header, arrays = read_arrays(path, format=RESIDUALS_FORMAT, version=RESIDUALS_VERSION)
        return {
            str(assay): Density(float(low), float(high), np.asarray(counts, dtype=np.int64))
            for assay, (low, high), counts in zip(
                arrays["assays"], header["ranges"], arrays["density"], strict=True
            )
        }
    except (ForeignFileError, KeyError, TypeError, ValueError) as err:
        raise TableError(f"{path} cannot be read: {err}; run 'predictd cv' again") from err
