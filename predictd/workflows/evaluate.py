"""`predictd evaluate`: imputed tracks, ours or another tool's, scored against observed ones."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from predictd.constants import RUN_JSON, TRACKS_TSV
from predictd.engine import Engine
from predictd.errors import DataError, TableError, TensorFormatError
from predictd.io.files import make_directory, sha256_of, write_json, write_text
from predictd.io.layout import overlapping
from predictd.io.store import Tensor
from predictd.io.tables import Interval, read_bed, read_tracks, unique_pairs
from predictd.model.metrics import amplitude, baseline_weights, evaluate_track, metrics_tsv
from predictd.model.transforms import TRANSFORMS
from predictd.pairs import Experiment
from predictd.provenance import RunRecord
from predictd.workflows._tracks import SignalSource, probe_track
from predictd.workflows.moments import compute_moments

log = logging.getLogger(__name__)

Float32 = npt.NDArray[np.float32]
Row = dict[str, str | float]
# Signal of the pairs that one task scores at once, about.
_TASK_BYTES = 2**28


@dataclass(frozen=True)
class Regions:
    """BED files whose bins have measures of their own."""

    promoters: Path | None = None
    genes: Path | None = None
    enhancers: Path | None = None

    def read(self) -> dict[str, list[Interval]]:
        """Intervals of the files that are given, by the name of the measure's argument."""
        files = {"promoters": self.promoters, "genes": self.genes, "enhancers": self.enhancers}
        return {name: read_bed(path) for name, path in files.items() if path is not None}


@dataclass(frozen=True)
class _Baseline:
    """The mean of the same assay as columns of the tensor, and the factor of the rescaled one."""

    columns: tuple[int, ...]
    factor: float


@dataclass(frozen=True)
class _Case:
    """One pair to score."""

    pair: Experiment
    observed: SignalSource
    imputed: SignalSource
    peaks: str | None
    baseline: _Baseline | None


@dataclass(frozen=True)
class _Shared:
    """What all tasks have in common."""

    tensor: Path
    intervals: dict[str, list[Interval]]
    name: str
    fold: str


def evaluate(
    directory: Path,
    table: Path,
    output: Path,
    engine: Engine,
    record: RunRecord,
    *,
    tensor_path: Path | None = None,
    name: str = "model",
    regions: Regions | None = None,
    scratch: Path | None = None,
) -> list[Row]:
    """Score imputed tracks and the two baselines, and write metrics.tsv.

    Parameters
    ----------
    directory
        Imputed tracks with their tracks.tsv: predictd's own, or any other tool's.
    table
        Track table of observed signal. Pairs that stand in both are scored.
    output
        metrics.tsv to write.
    engine, record
        What runs it; where stages are timed.
    tensor_path
        Whose bins are compared, and whose experiments the baselines average; None: the one that the directory's
        run.json names.
    name
        Method of the imputed tracks in metrics.tsv.
    regions
        BED files for MSEprom, MSEgene, MSEenh. CatchPeakObs needs a column `peaks` in the table.
    scratch
        Where converted bedGraphs are kept meanwhile; None: the system's temporary directory.

    Returns
    -------
    list of dict
        Rows of metrics.tsv.

    Raises
    ------
    PredictdError
        If tracks, table and tensor do not fit together.
    """
    run = _run_json(directory)
    tensor = _tensor(directory, tensor_path, run)
    imputed = unique_pairs(read_tracks(directory / TRACKS_TSV), directory / TRACKS_TSV)
    observed = unique_pairs(read_tracks(table), table)
    pairs = sorted(imputed.keys() & observed.keys())
    if not pairs:
        raise DataError(f"{directory} and {table} have no pair in common: nothing can be scored")
    intervals = (regions or Regions()).read()
    genome = tensor.manifest.load_genome()
    for kind, found in intervals.items():
        genome.check_intervals(found, f"--{kind}")
    train = _training(run, tensor, pairs)
    make_directory(output.parent)
    if scratch is not None:
        make_directory(scratch)
    with record.stage("moments"):
        moments = compute_moments(tensor, engine)
    with TemporaryDirectory(prefix="predictd-", dir=scratch) as temporary:
        with record.stage("read headers"):
            tracks = [imputed[pair] for pair in pairs] + [observed[pair] for pair in pairs]
            probes = engine.map(
                probe_track, list(enumerate(tracks)), (Path(temporary), genome), label="tracks"
            )
        transforms = {entry.assay: entry.transform for entry in tensor.manifest.experiments}
        cases = []
        for index, pair in enumerate(pairs):
            transform = transforms.get(pair.assay, observed[pair].transform)
            cases.append(
                _Case(
                    pair=pair,
                    observed=SignalSource(str(pair), (probes[len(pairs) + index].path,), transform),
                    imputed=SignalSource(str(pair), (probes[index].path,), transform),
                    peaks=observed[pair].peaks,
                    baseline=_baseline(tensor, train, pair, moments),
                )
            )
        size = max(1, _TASK_BYTES // (12 * tensor.n_bins))
        size = min(size, -(-len(cases) // engine.workers))
        groups = [tuple(cases[start : start + size]) for start in range(0, len(cases), size)]
        shared = _Shared(tensor.path, intervals, name, str(run.get("results", {}).get("fold", ".")))
        with record.stage("evaluate"):
            rows = [row for part in engine.map(_score, groups, shared, label="pairs") for row in part]
    write_text(output, metrics_tsv(rows))
    record.inputs = {str(table): sha256_of(table), str(tensor.path): tensor.manifest.checksum}
    record.train = [str(e) for e in train]
    write_json(output.with_name(f"{output.name}.run.json"), record.to_dict())
    return rows


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
            f"{directory} does not say which bins to compare: name a tensor with --tensor ('predictd ingest' makes one "
            "from observed tracks)"
        )
    if not Path(named).is_dir():
        raise TensorFormatError(
            f"{directory} was made from the tensor {named}, which is not there any more: name it with --tensor"
        )
    return Tensor(Path(named))


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
            "%d of the %d pairs were trained on (%s, …): their scores tell how well the model fits, not predicts",
            len(seen),
            len(pairs),
            seen[0],
        )
    return train


def _baseline(
    tensor: Tensor, train: list[Experiment], pair: Experiment, moments: npt.NDArray[np.float64]
) -> _Baseline | None:
    """None where no other cell type has the assay."""
    try:
        columns, _ = baseline_weights(tensor.experiments, train, pair)
    except DataError as err:
        log.warning("%s", err)
        return None
    return _Baseline(tuple(columns.tolist()), amplitude(tensor.experiments, train, pair, moments=moments))


def _score(cases: tuple[_Case, ...], shared: _Shared) -> list[Row]:
    """Read some pairs over all shards, then measure each."""
    tensor = Tensor(shared.tensor)
    manifest = tensor.manifest
    signal = np.empty((len(cases), 3, tensor.n_bins), dtype=np.float32)
    masks: list[dict[str, npt.NDArray[np.bool_]]] = [
        {
            kind: np.empty(tensor.n_bins, dtype=bool)
            for kind in (*shared.intervals, *(["peaks"] if case.peaks else []))
        }
        for case in cases
    ]
    peaks = [read_bed(Path(case.peaks)) if case.peaks else [] for case in cases]
    start = 0
    for shard_name in tensor.shard_names:
        with tensor.open_shard(shard_name) as shard:
            rows = slice(start, start + shard.n_bins)
            for index, case in enumerate(cases):
                for place, source in enumerate((case.observed, case.imputed)):
                    signal[index, place, rows] = source.read(
                        shard.chrom, shard.runs, bin_size=manifest.bin_size, uncovered=manifest.uncovered
                    )
            for first, block in shard.blocks():
                part = slice(start + first, start + first + len(block))
                for index, case in enumerate(cases):
                    if case.baseline is not None:
                        signal[index, 2, part] = block[:, list(case.baseline.columns)].mean(axis=1)
            bins = shard.bins()
            for index in range(len(cases)):
                for kind, mask in masks[index].items():
                    intervals = peaks[index] if kind == "peaks" else shared.intervals[kind]
                    mask[rows] = overlapping(intervals, shard.chrom, bins, manifest.bin_size)
            start = rows.stop
    scored: list[Row] = []
    for index, case in enumerate(cases):
        observed, imputed, mean = signal[index]
        methods: list[tuple[str, Float32]] = [(shared.name, imputed)]
        if case.baseline is not None:
            methods.append(("assay_mean", mean))
            methods.append(("assay_mean_scaled", mean * np.float32(case.baseline.factor)))
        for method, values in methods:
            measures = evaluate_track(
                observed, values, inverse=TRANSFORMS[case.observed.transform].inverse, **masks[index]
            )
            keys = {
                "cell_type": case.pair.cell_type,
                "assay": case.pair.assay,
                "fold": shared.fold,
                "method": method,
            }
            scored.append({**keys, **measures})
    return scored
