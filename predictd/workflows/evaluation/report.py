"""`predictd report`: what a cross-validation or an evaluation found, as one page, figures and tables."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from predictd.constants import (
    COVERAGE_BY_SIGNAL_TSV,
    COVERAGE_TSV,
    DENSITY_H5,
    FOLDS_JSON,
    MEASURES,
    METRIC_KEYS,
    METRICS_TSV,
    RESIDUALS_FORMAT,
    RESIDUALS_VERSION,
    RUN_JSON,
)
from predictd.errors import TableError
from predictd.io.files import exists, make_directory, replacing, sha256_of, write_text
from predictd.io.hdf5 import ForeignFileError, read_arrays
from predictd.io.results import write_rows, write_run_json
from predictd.io.tables import read_scores
from predictd.pairs import Experiment
from predictd.provenance import RunRecord
from predictd.report.drawing import require_matplotlib
from predictd.report.evaluation import Evaluation, Report, build
from predictd.report.score_figures import Density
from predictd.workflows.imputing.calibration import COVERAGE
from predictd.workflows.tensor.folds import load_folds


def report(directory: Path, output: Path, *, metrics: Path | None = None) -> Path:
    """Write a report, its figures and its tables.

    Parameters
    ----------
    directory
        Of a cross-validation, or of imputed tracks.
    output
        The page. Figures and tables go to the directory STEM_files next to it, which is returned.
    metrics
        metrics.tsv; None: the one in the directory.

    Raises
    ------
    PredictdError
        If there are no scores to report, they cannot be read, matplotlib is missing or nothing can be written.
    """
    require_matplotlib()
    path = metrics or directory / METRICS_TSV
    if not exists(path):
        raise TableError(
            f"{path} does not exist: a report shows scores; finish 'predictd cv', or score imputed tracks with "
            "'predictd evaluate' and name its file as `metrics`"
        )
    record = RunRecord("report")
    with record.stage("read"):
        evaluation = _read(directory, path)
    with record.stage("draw"):
        made = build(evaluation)
    files = output.with_name(f"{output.stem}_files")
    with record.stage("write"):
        make_directory(files)
        _write(made, output, files)
    record.inputs = {str(path): sha256_of(path)}
    record.results = {"experiments": len(evaluation.scored), "files": str(files)}
    write_run_json(record, output, sidecar=True)
    return files


def _write(made: Report, output: Path, files: Path) -> None:
    for name, content in made.figures.items():
        with replacing(files / name) as partial:
            partial.write_bytes(content)
    for name, table in made.tables.items():
        write_rows(files / name, table.columns, table.rows)
    write_text(output, made.page)


def _read(directory: Path, metrics: Path) -> Evaluation:
    rows = read_scores(metrics, text=METRIC_KEYS, numbers=MEASURES)
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
    return Evaluation(
        directory.resolve().name,
        rows,
        scored,
        _training(directory, scored),
        covered,
        by_signal,
        _densities(directory),
    )


def _training(
    directory: Path, scored: Iterable[tuple[Experiment, str]]
) -> dict[tuple[Experiment, str], tuple[int, int]]:
    """How many experiments of the same cell type and of the same assay each scored experiment's models trained on."""
    trained: dict[str, list[Experiment]] = {}
    if exists(directory / FOLDS_JSON):
        for fold in load_folds(directory / FOLDS_JSON):
            # All that the test fold does not hold out: what one of its models only validates on, others train on.
            trained.setdefault(fold.name.partition(".")[0], sorted({*fold.train, *fold.valid}))
    else:
        try:
            run = json.loads((directory / RUN_JSON).read_text(encoding="utf-8"))
            pairs = [Experiment.parse(text) for text in run["train"]]
            if pairs:
                trained[str(run["results"].get("fold", "."))] = pairs
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            # Another tool's tracks.
            pass
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
