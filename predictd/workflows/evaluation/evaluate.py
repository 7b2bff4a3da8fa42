"""`predictd evaluate`: imputed tracks, ours or another tool's, scored against observed ones."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from predictd.constants import RUN_JSON, TRACKS_TSV
from predictd.engine import Engine
from predictd.errors import DataError, TableError, TensorFormatError
from predictd.io.files import make_directory, sha256_of
from predictd.io.remote import as_path
from predictd.io.results import write_metrics, write_run_json
from predictd.io.tables import Track, read_tracks, unique_pairs
from predictd.io.tensor.store import Tensor
from predictd.io.tracks.metadata import read_track_table
from predictd.pairs import Experiment
from predictd.provenance import RunRecord
from predictd.wording import some
from predictd.workflows.evaluation.score import Case, Regions, Row, Scoring, group_cases, make_baseline, score
from predictd.workflows.tensor.moments import TensorMoments, compute_moments
from predictd.workflows.tensor.sources import SignalSource, probe_tracks

log = logging.getLogger(__name__)


def evaluate(
    directory: Path,
    table: Path,
    output: Path,
    engine: Engine,
    *,
    tensor: Path | None = None,
    name: str = "model",
    regions: Regions | None = None,
    scratch: Path | None = None,
) -> list[Row]:
    """Score imputed tracks and the two baselines, write metrics.tsv, and return its rows.

    Parameters
    ----------
    directory
        Imputed tracks with their tracks.tsv: predictd's own, or any other tool's.
    table
        Track table of observed signal. Pairs that are in both are scored.
    output, engine
        metrics.tsv to write, and what runs it.
    tensor
        Whose bins are compared, and whose experiments the baselines average; None: the one that the directory's
        run.json names.
    name
        Method of the imputed tracks in metrics.tsv.
    regions
        BED files for MSEprom, MSEgene, MSEenh. CatchPeakObs needs a column `peaks` in the table.
    scratch
        Where converted bedGraphs are kept meanwhile; None: the system's temporary directory.

    Raises
    ------
    PredictdError
        If tracks, table and tensor do not fit together.
    """
    record = RunRecord.of("evaluate", engine, settings={"name": name})
    run = _run_json(directory)
    opened = _tensor(directory, tensor, run)
    tracks = _common_tracks(directory, table, opened)
    intervals = (regions or Regions()).read(opened.manifest.load_genome())
    train = _training(run, opened, [pair for pair, _, _ in tracks])
    make_directory(output.parent)
    if scratch is not None:
        make_directory(scratch)
    with record.stage("moments"):
        data = TensorMoments(compute_moments(opened, engine), tuple(opened.experiments))
    with TemporaryDirectory(prefix="predictd-", dir=scratch) as temporary:
        with record.stage("read headers"):
            cases = _cases(tracks, run, opened, Path(temporary), engine)
        cases = [replace(case, baseline=make_baseline(data, train, case.pair)) for case in cases]
        with record.stage("evaluate"):
            shared = Scoring(opened, None, intervals, name)
            parts = engine.map(score, group_cases(cases, engine.workers), shared, label="pairs")
    rows = [row for part in parts for row in part]
    write_metrics(output, rows)
    record.inputs = {str(table): sha256_of(table), str(opened.path): opened.manifest.checksum}
    record.train = [str(e) for e in train]
    write_run_json(record, output, sidecar=True)
    return rows


def _common_tracks(directory: Path, table: Path, tensor: Tensor) -> list[tuple[Experiment, Track, Track]]:
    """Pairs of which there are both an imputed and an observed track, with these."""
    imputed = unique_pairs(read_tracks(directory / TRACKS_TSV), directory / TRACKS_TSV)
    observed = unique_pairs(read_track_table(table, genome=tensor.manifest.genome.name), table)
    tracks = [(pair, imputed[pair], observed[pair]) for pair in sorted(imputed.keys() & observed.keys())]
    if not tracks:
        raise DataError(f"{directory} and {table} have no pair in common: nothing can be scored")
    return tracks


def _cases(
    tracks: list[tuple[Experiment, Track, Track]],
    run: dict[str, Any],
    tensor: Tensor,
    temporary: Path,
    engine: Engine,
) -> list[Case]:
    """What is compared of each pair, still without baseline; bedGraphs become bigWigs in a directory."""
    fold = str(run.get("results", {}).get("fold", "."))
    files = [imputed for _, imputed, _ in tracks] + [observed for _, _, observed in tracks]
    paths = [probe.path for probe in probe_tracks(files, temporary, tensor.manifest.load_genome(), engine)]
    transforms = {entry.assay: entry.transform for entry in tensor.manifest.experiments}
    cases = []
    for index, (pair, _, observed) in enumerate(tracks):
        transform = transforms.get(pair.assay, observed.transform)
        sources = [
            SignalSource(str(pair), (path,), transform) for path in (paths[len(tracks) + index], paths[index])
        ]
        cases.append(Case(pair, fold, sources[0], sources[1], observed.peaks, None))
    return cases


def mean_measures(rows: list[Row], measures: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """Mean over experiments of some measures, by method."""
    by_method: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_method[str(row["method"])].append(row)
    return {
        method: {measure: float(np.mean([float(row[measure]) for row in own])) for measure in measures}
        for method, own in by_method.items()
    }


def _run_json(directory: Path) -> dict[str, Any]:
    """What our own output says of itself; empty for another tool's."""
    if not (directory / TRACKS_TSV).is_file():
        raise TableError(f"{directory} has no {TRACKS_TSV}: list its tracks there (cell_type, assay, path)")
    try:
        value = json.loads((directory / RUN_JSON).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as err:
        raise TableError(
            f"{directory / RUN_JSON} cannot be read: {err}; remove it if the tracks are not predictd's"
        ) from err
    ours = isinstance(value, dict) and isinstance(value.get("results"), dict)
    return value if ours and isinstance(value.get("train"), list) else {}


def _tensor(directory: Path, given: Path | None, run: dict[str, Any]) -> Tensor:
    if given is not None:
        return Tensor(given)
    named = run.get("results", {}).get("tensor")
    if named is None:
        raise TensorFormatError(
            f"{directory} does not say which bins to compare: name one as `tensor` ('predictd ingest' makes one from "
            "observed tracks)"
        )
    place = as_path(named)
    if not place.is_dir():
        raise TensorFormatError(
            f"{directory} was made from the tensor {named}, which does not exist any more: name it as `tensor`"
        )
    return Tensor(place)


def _training(run: dict[str, Any], tensor: Tensor, pairs: list[Experiment]) -> list[Experiment]:
    """Experiments that the imputed tracks were learned from; all of the tensor's where nothing says so."""
    if not run.get("train"):
        log.info(
            "no training experiments are known: the baselines average all other experiments of the tensor"
        )
        return tensor.experiments
    train = [Experiment.parse(text) for text in run["train"]]
    tensor.columns(train)
    seen = sorted(set(train) & set(pairs))
    if seen:
        log.warning(
            "%d of the %d pairs were trained on (%s): their scores say how well the model fits, not predicts",
            len(seen),
            len(pairs),
            some(seen),
        )
    return train
