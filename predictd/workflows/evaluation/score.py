"""Scoring of imputed signal against observed signal and two baselines: two sweeps over the shards for many pairs.

What a task holds does not grow with the number of bins: counts of rank keys, and one shard's signal of its pairs.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from predictd.constants import MAX_SHARD_BINS
from predictd.errors import DataError
from predictd.io.remote import as_path
from predictd.io.tables import Interval, read_bed
from predictd.io.tensor.layout import Coverage
from predictd.io.tensor.store import Shard, Tensor
from predictd.io.tracks.genomes import Genome
from predictd.model.measures.baselines import amplitude, baseline_weights
from predictd.model.measures.metrics import Inverse, TrackComparison
from predictd.model.transforms import TRANSFORMS
from predictd.pairs import Experiment
from predictd.wording import even_parts_of_at_most
from predictd.workflows.imputing.apply import Application
from predictd.workflows.imputing.estimators import load_held_out
from predictd.workflows.tensor.moments import TensorMoments
from predictd.workflows.tensor.sources import SignalSource, observed_mean

log = logging.getLogger(__name__)

Float32 = npt.NDArray[np.float32]
Row = dict[str, str | float]
_Item = TypeVar("_Item")
_OBSERVED, _IMPUTED, _MEAN = range(3)
# A pair's part of what a task holds, about: three comparisons of 8 MiB, a shard's signal and masks.
CASE_BYTES = 3 * 2**23 + 16 * MAX_SHARD_BINS
# The parts of all pairs of a task; Python, libraries and temporaries come to about 200 MiB more.
TASK_BYTES = 5 * 2**27
MOST_CASES = max(1, TASK_BYTES // CASE_BYTES)
# Signal up to this size is kept for the second sweep, to read and predict it once: 22 pairs on 1 % of the human genome.
KEPT_BYTES = 5 * 2**26


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
            genome.check_intervals(found, f"`{name}`")
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


def group_cases(cases: Sequence[_Item], workers: int) -> list[tuple[_Item, ...]]:
    """Cases that one task scores together: as few tasks as memory allows, one for every worker, of about one size."""
    parts = even_parts_of_at_most(len(cases), MOST_CASES, at_least=workers)
    return [tuple(cases[start:end]) for start, end in parts]


def score(cases: tuple[Case, ...], shared: Scoring) -> list[Row]:
    """Compare some pairs' signal in two sweeps over all shards: rows of metrics.tsv."""
    transforms = {entry.assay: entry.transform for entry in shared.tensor.manifest.experiments}
    methods = []
    for index, case in enumerate(cases):
        transform = case.observed.transform if case.observed else transforms[case.pair.assay]
        methods += _methods_of(index, case, TRANSFORMS[transform].inverse, shared.name)
    signal = _Signal(cases, shared, shared.tensor)
    if signal.n_bytes <= KEPT_BYTES:
        # One after the other: the counts of one method stay in the processor's cache, those of all do not.
        blocks = list(signal)
        measures = [found for method in methods for found in _measure([method], blocks)]
    else:
        measures = _measure(methods, signal)
    return [
        {
            "cell_type": cases[method.index].pair.cell_type,
            "assay": cases[method.index].pair.assay,
            "fold": cases[method.index].fold,
            "method": method.name,
            **found,
        }
        for method, found in zip(methods, measures, strict=True)
    ]


@dataclass(frozen=True)
class _Method:
    """What one row of metrics.tsv compares: which pair, which of its signal, times what.

    Attributes
    ----------
    index
        Of the case.
    name
        In metrics.tsv.
    place
        Of the imputed signal.
    factor
        That it is multiplied by; None: taken as it is.
    inverse
        Of the track's transform.
    """

    index: int
    name: str
    place: int
    factor: float | None
    inverse: Inverse


def _methods_of(index: int, case: Case, inverse: Inverse, name: str) -> list[_Method]:
    """The imputed signal, and the baselines where there are any."""
    methods = [_Method(index, name, _IMPUTED, None, inverse)]
    if case.baseline is not None:
        factor = case.baseline.factor
        methods.append(_Method(index, "assay_mean", _MEAN, None, inverse))
        methods.append(_Method(index, "assay_mean_scaled", _MEAN, factor, inverse))
    return methods


def _measure(methods: Sequence[_Method], blocks: Iterable[_Block]) -> list[dict[str, float]]:
    """Measures of each method, in two sweeps over all blocks."""
    comparisons = [TrackComparison(method.inverse) for method in methods]
    for sweep in (TrackComparison.survey, TrackComparison.compare):
        for block in blocks:
            for method, comparison in zip(methods, comparisons, strict=True):
                imputed = block.signal[method.index, method.place]
                if method.factor is not None:
                    imputed = imputed * np.float32(method.factor)
                observed = block.signal[method.index, _OBSERVED]
                sweep(comparison, observed, imputed, block.masks[method.index])
    return [comparison.measures() for comparison in comparisons]


@dataclass(frozen=True)
class _Block:
    """Signal of a shard, float32 (cases × 3 × bins), and the masks of each case, bool (bins,) by name."""

    signal: Float32
    masks: list[dict[str, npt.NDArray[np.bool_]]]


class _Signal:
    """What is compared, shard by shard in genome order; read and predicted anew whenever it is iterated over."""

    def __init__(self, cases: Sequence[Case], shared: Scoring, tensor: Tensor) -> None:
        self._cases = cases
        self._tensor = tensor
        self._predicted = [index for index, case in enumerate(cases) if case.imputed is None]
        self._application = None
        if self._predicted and shared.estimator is not None:
            pairs = [cases[index].pair for index in self._predicted]
            self._application = Application(load_held_out(shared.estimator, pairs), pairs, tensor)
        bin_size = tensor.manifest.bin_size
        self._regions = {kind: Coverage(found, bin_size) for kind, found in shared.intervals.items()}
        self._peaks = [
            Coverage(read_bed(as_path(case.peaks)), bin_size) if case.peaks else None for case in cases
        ]

    @property
    def n_bytes(self) -> int:
        """Of all blocks together."""
        masks = len(self._regions) + len(self._cases) - self._peaks.count(None)
        return self._tensor.n_bins * (12 * len(self._cases) + masks)

    def __iter__(self) -> Iterator[_Block]:
        for name in self._tensor.shard_names:
            with self._tensor.open_shard(name) as shard:
                signal = np.empty((len(self._cases), 3, shard.n_bins), dtype=np.float32)
                self._read_files(shard, signal)
                self._read_tensor(shard, signal)
                yield _Block(signal, self._masks(shard))

    def _masks(self, shard: Shard) -> list[dict[str, npt.NDArray[np.bool_]]]:
        bins = shard.bins()
        regions = {kind: coverage.mask(shard.chrom, bins) for kind, coverage in self._regions.items()}
        return [
            regions if peaks is None else regions | {"peaks": peaks.mask(shard.chrom, bins)}
            for peaks in self._peaks
        ]

    def _read_files(self, shard: Shard, out: Float32) -> None:
        """Fill in what comes from signal files: (cases × 3 × bins of the shard)."""
        manifest = self._tensor.manifest
        for index, case in enumerate(self._cases):
            for place, source in ((_OBSERVED, case.observed), (_IMPUTED, case.imputed)):
                if source is not None:
                    out[index, place] = source.read(
                        shard.chrom, shard.runs, bin_size=manifest.bin_size, uncovered=manifest.uncovered
                    )

    def _read_tensor(self, shard: Shard, out: Float32) -> None:
        """Fill in what comes from the tensor: observed columns, predictions, means of the same assay."""
        observed = [index for index, case in enumerate(self._cases) if case.observed is None]
        columns = self._tensor.columns([self._cases[index].pair for index in observed])
        nothing = np.empty((0, 0), dtype=np.float32)
        blocks = (
            self._application.blocks(shard)
            if self._application is not None
            else ((start, block, nothing) for start, block in shard.blocks())
        )
        for first, block, imputed in blocks:
            part = slice(first, first + len(block))
            for position, index in enumerate(self._predicted):
                out[index, _IMPUTED, part] = imputed[:, position]
            out[observed, _OBSERVED, part] = block[:, columns].T
            for index, case in enumerate(self._cases):
                if case.baseline is not None:
                    out[index, _MEAN, part] = observed_mean(block[:, list(case.baseline.columns)], axis=1)
