"""Scoring of imputed signal against observed signal and two baselines, pair by pair, in one pass over the shards."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from predictd.errors import DataError
from predictd.io.genomes import Genome
from predictd.io.layout import overlapping
from predictd.io.store import Shard, Tensor
from predictd.io.tables import Interval, read_bed
from predictd.model.baselines import amplitude, baseline_weights
from predictd.model.metrics import evaluate_track
from predictd.model.transforms import TRANSFORMS
from predictd.pairs import Experiment
from predictd.workflows._apply import Application
from predictd.workflows._estimators import load_judges
from predictd.workflows._tracks import SignalSource, observed_mean
from predictd.workflows.moments import TensorMoments

log = logging.getLogger(__name__)

Float32 = npt.NDArray[np.float32]
Row = dict[str, str | float]
Inverse = Callable[[npt.NDArray[Any]], npt.NDArray[Any]]
# Signal of the pairs that one task scores at once, about.
_TASK_BYTES = 2**29
_OBSERVED, _IMPUTED, _MEAN = range(3)


@dataclass(frozen=True)
class Regions:
    """BED files whose bins have measures of their own."""

    promoters: Path | None = None
    genes: Path | None = None
    enhancers: Path | None = None

    def read(self, genome: Genome) -> dict[str, list[Interval]]:
        """Intervals of the files that are given, by the name of the measure's argument.

        Raises
        ------
        TableError
            If a file is no BED file, or of another genome.
        """
        files = {"promoters": self.promoters, "genes": self.genes, "enhancers": self.enhancers}
        intervals = {name: read_bed(path) for name, path in files.items() if path is not None}
        for name, found in intervals.items():
            genome.check_intervals(found, f"--{name}")
        return intervals


@dataclass(frozen=True)
class Baseline:
    """The mean of the same assay as columns of the tensor, and the factor of the rescaled one."""

    columns: tuple[int, ...]
    factor: float


@dataclass(frozen=True)
class Case:
    """One pair to score.

    Attributes
    ----------
    pair
        Cell type and assay.
    fold
        What metrics.tsv says of the fold.
    observed, imputed
        Signal files; None: the tensor's own column, and what the estimator predicts.
    peaks
        BED file of the experiment's peaks, or None.
    baseline
        None where no other cell type has the assay.
    """

    pair: Experiment
    fold: str
    observed: SignalSource | None
    imputed: SignalSource | None
    peaks: str | None
    baseline: Baseline | None


@dataclass(frozen=True)
class Scoring:
    """What all cases have in common.

    Attributes
    ----------
    tensor
        Whose bins are compared.
    estimator
        Model or cross-validation that imputes, where cases do not name files.
    intervals
        Regions with measures of their own, by the name of `evaluate_track`'s argument.
    name
        Method of the imputed signal in metrics.tsv.
    """

    tensor: Tensor
    estimator: Path | None
    intervals: dict[str, list[Interval]]
    name: str


def make_baseline(data: TensorMoments, train: Sequence[Experiment], pair: Experiment) -> Baseline | None:
    """Baseline of a pair from training experiments; None, with a warning, where no other cell type has the assay."""
    try:
        columns, _ = baseline_weights(data.experiments, train, pair)
    except DataError as err:
        log.warning("%s", err)
        return None
    return Baseline(tuple(columns.tolist()), amplitude(data.experiments, train, pair, moments=data.s))


def group_cases(cases: Sequence[Case], n_bins: int, workers: int) -> list[tuple[Case, ...]]:
    """Cases that one task scores together: as many as memory allows, and something for every worker."""
    size = max(1, _TASK_BYTES // (12 * n_bins))
    size = min(size, -(-len(cases) // workers))
    return [tuple(cases[start : start + size]) for start in range(0, len(cases), size)]


def score(cases: tuple[Case, ...], shared: Scoring) -> list[Row]:
    """Collect some pairs' signal over all shards, then measure each: rows of metrics.tsv."""
    tensor = shared.tensor
    predicted = [index for index, case in enumerate(cases) if case.imputed is None]
    application = None
    if predicted and shared.estimator is not None:
        pairs = [cases[index].pair for index in predicted]
        application = Application(load_judges(shared.estimator, pairs), pairs, tensor)
    signal = np.empty((len(cases), 3, tensor.n_bins), dtype=np.float32)
    masks = [_empty_masks(case, shared, tensor.n_bins) for case in cases]
    peaks = [read_bed(Path(case.peaks)) if case.peaks else [] for case in cases]
    start = 0
    for name in tensor.shard_names:
        with tensor.open_shard(name) as shard:
            rows = slice(start, start + shard.n_bins)
            _read_files(cases, shard, tensor, signal[:, :, rows])
            _read_tensor(cases, predicted, application, shard, tensor, signal[:, :, rows])
            bins = shard.bins()
            for index in range(len(cases)):
                for kind, mask in masks[index].items():
                    intervals = peaks[index] if kind == "peaks" else shared.intervals[kind]
                    mask[rows] = overlapping(intervals, shard.chrom, bins, tensor.manifest.bin_size)
            start = rows.stop
    transforms = {entry.assay: entry.transform for entry in tensor.manifest.experiments}
    scored: list[Row] = []
    for index, case in enumerate(cases):
        transform = case.observed.transform if case.observed else transforms[case.pair.assay]
        scored += _measure(case, signal[index], masks[index], TRANSFORMS[transform].inverse, shared.name)
    return scored


def _empty_masks(case: Case, shared: Scoring, n_bins: int) -> dict[str, npt.NDArray[np.bool_]]:
    kinds = [*shared.intervals, *(["peaks"] if case.peaks else [])]
    return {kind: np.empty(n_bins, dtype=bool) for kind in kinds}


def _read_files(cases: Sequence[Case], shard: Shard, tensor: Tensor, out: Float32) -> None:
    """Fill in what comes from signal files: (cases × 3 × bins of the shard)."""
    manifest = tensor.manifest
    for index, case in enumerate(cases):
        for place, source in ((_OBSERVED, case.observed), (_IMPUTED, case.imputed)):
            if source is not None:
                out[index, place] = source.read(
                    shard.chrom, shard.runs, bin_size=manifest.bin_size, uncovered=manifest.uncovered
                )


def _read_tensor(
    cases: Sequence[Case],
    predicted: Sequence[int],
    application: Application | None,
    shard: Shard,
    tensor: Tensor,
    out: Float32,
) -> None:
    """Fill in what comes from the tensor: observed columns, predictions, means of the same assay."""
    columns = {experiment: column for column, experiment in enumerate(tensor.experiments)}
    nothing = np.empty((0, 0), dtype=np.float32)
    blocks = (
        application.blocks(shard)
        if application is not None
        else ((start, block, nothing) for start, block in shard.blocks())
    )
    for first, block, imputed in blocks:
        part = slice(first, first + len(block))
        for position, index in enumerate(predicted):
            out[index, _IMPUTED, part] = imputed[:, position]
        for index, case in enumerate(cases):
            if case.observed is None:
                out[index, _OBSERVED, part] = block[:, columns[case.pair]]
            if case.baseline is not None:
                out[index, _MEAN, part] = observed_mean(block[:, list(case.baseline.columns)], axis=1)


def _measure(
    case: Case, signal: Float32, masks: dict[str, npt.NDArray[np.bool_]], inverse: Inverse, name: str
) -> list[Row]:
    """Rows of one pair: the imputed signal, and the baselines where there are any."""
    methods = [(name, signal[_IMPUTED])]
    if case.baseline is not None:
        methods.append(("assay_mean", signal[_MEAN]))
        methods.append(("assay_mean_scaled", signal[_MEAN] * np.float32(case.baseline.factor)))
    rows: list[Row] = []
    for method, values in methods:
        keys = {
            "cell_type": case.pair.cell_type,
            "assay": case.pair.assay,
            "fold": case.fold,
            "method": method,
        }
        rows.append({**keys, **evaluate_track(signal[_OBSERVED], values, inverse=inverse, **masks)})
    return rows
