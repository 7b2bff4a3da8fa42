"""Observed and imputed signal of pairs, brought to the bins on which all methods of a pair are compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from predictd import progress
from predictd.io.remote import as_path
from predictd.io.tables import read_bed
from predictd.io.tensor.layout import Coverage
from predictd.io.tensor.store import Shard
from predictd.kernels import columns_of, mean_and_variance
from predictd.model.transforms import TRANSFORMS, SignalTransform
from predictd.workflows.evaluation.cases import Baseline, Case, Scoring
from predictd.workflows.imputing.apply import Application
from predictd.workflows.imputing.estimators import load_held_out

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class CaseBlock:
    """A pair's signal in the bins of a shard that are compared.

    Attributes
    ----------
    signal
        float32 (1 + methods × bins): observed, imputed by each method, and both baselines where there are any.
    weights
        See `TrackComparison.survey`.
    pieces
        Blocks of the genome, and the part of the bins that belongs to each.
    absent
        int64 (methods,): bins with an observed value in which a method has none.
    """

    signal: Float32
    weights: dict[str, npt.NDArray[np.generic]]
    pieces: list[tuple[int, slice]]
    absent: npt.NDArray[np.int64]


class ComparedSignal:
    """What is compared, shard by shard in genome order; read and predicted anew whenever it is iterated over.

    Attributes
    ----------
    sweeps
        How often that is going to be. If more than once, a block is valid until the next is asked for.
    """

    def __init__(self, cases: Sequence[Case], shared: Scoring) -> None:
        self._cases, self._shared, self._tensor = cases, shared, shared.tensor
        self._transforms = transforms_of(cases, shared)
        self.sweeps, self._passes, self._read = 1, 0, 0
        self._predicted = [index for index, case in enumerate(cases) if None in case.imputed]
        self._application = None
        if self._predicted:
            assert shared.estimator is not None
            pairs = [cases[index].pair for index in self._predicted]
            self._application = Application(load_held_out(shared.estimator, pairs), pairs, self._tensor)
        # Columns of the tensor: of each case its own, unless it has a file, and those of its assay's mean; predictions
        # take all.
        wanted = [
            [
                *(self._tensor.columns([case.pair]).tolist() if case.observed is None else ()),
                *(case.baseline.columns if case.baseline is not None else ()),
            ]
            for case in cases
        ]
        self._columns = np.array(sorted(set().union(*wanted)), dtype=np.int64)
        if self._application is not None:
            self._columns = np.arange(len(self._tensor.experiments))
        self._rows = [np.searchsorted(self._columns, own) for own in wanted]
        self._regions = {kind: Coverage(found) for kind, found in shared.intervals.items()}
        self._peaks = [Coverage(read_bed(as_path(case.peaks))) if case.peaks else None for case in cases]

    @property
    def n_bytes(self) -> int:
        """Of all blocks together."""
        width = 8 if self._shared.challenge else 1
        regions = width * len(self._regions) * len(self._cases) + len(self._cases) - self._peaks.count(None)
        return self._tensor.n_bins * (4 * len(self._cases) * (len(self._shared.names) + 4) + regions)

    def __iter__(self) -> Iterator[list[CaseBlock]]:
        first = 0
        self._passes += 1
        # What is iterated over again is not kept: all shards share the room of the largest.
        n_rows = len(self._cases) * (len(self._shared.names) + 4)
        most = max(entry.n_bins for entry in self._tensor.manifest.shards) if self.sweeps > 1 else 0
        room = np.empty(n_rows * most, dtype=np.float32)
        for name in self._tensor.shard_names:
            with self._tensor.open_shard(name) as shard:
                # Observed, imputed by each method, mean of the assay and its rescaled one, variance over the assay.
                size = n_rows * shard.n_bins
                own = room[:size] if most else np.empty(size, dtype=np.float32)
                signal = own.reshape(len(self._cases), -1, shard.n_bins)
                self._read_files(shard, signal)
                self._read_tensor(shard, signal)
                weights = self._weights(shard)
                yield [
                    self._compared(index, signal[index], weights[index], first)
                    for index in range(len(signal))
                ]
                first += shard.n_bins
                self._read += shard.n_bins
                progress.task_share(self._read / (self.sweeps * self._tensor.n_bins))

    def _compared(
        self, index: int, signal: Float32, weights: dict[str, npt.NDArray[np.generic]], first: int
    ) -> CaseBlock:
        """A case's signal in the bins that are compared, of a shard whose first bin is the tensor's `first`."""
        case, transform = self._cases[index], self._transforms[index]
        n_rows = 1 + len(self._shared.names) + (2 if case.baseline is not None else 0)
        signal, variance = signal[:n_rows], signal[-1]
        lowest = signal.min(initial=np.inf)
        every = bool(np.isfinite(lowest) and np.isfinite(signal.max(initial=-np.inf)))
        keep, absent = np.ones(signal.shape[1], dtype=np.bool_), np.zeros(n_rows - 1, dtype=np.int64)
        if not every:
            known = np.isfinite(signal[0])
            there = np.isfinite(signal[1:])
            absent = np.count_nonzero(known & ~there, axis=1)
            keep = known & there.all(axis=0) if self._shared.absent == "skip" else known
        compared = signal if every else signal[:, keep]
        if self._shared.absent == "zero" and absent.any():
            compared[~np.isfinite(compared)] = transform.forward(np.zeros(1, dtype=np.float32))[0]
        if transform.clipped and not (every and lowest >= 0):
            np.maximum(compared, 0, out=compared)
        if self._shared.challenge:
            compared = transform.inverse(compared)
        if self._needs_variance and case.baseline is not None and len(case.baseline.columns) > 1:
            weights = {**weights, "variance": variance}
        chosen = {name: values if every else values[keep] for name, values in weights.items()}
        return CaseBlock(compared, chosen, self._pieces(first, keep), absent)

    def _pieces(self, first: int, keep: npt.NDArray[np.bool_]) -> list[tuple[int, slice]]:
        n_blocks, n_bins = self._shared.n_blocks, self._tensor.n_bins
        if n_blocks == 1:
            return [(0, slice(None))]
        edges = np.linspace(0, n_bins, n_blocks + 1).astype(np.int64) - first
        places = np.concatenate([[0], np.cumsum(keep)])[np.clip(edges, 0, keep.size)].tolist()
        return [
            (block, slice(places[block], places[block + 1]))
            for block in range(n_blocks)
            if places[block] < places[block + 1]
        ]

    def _weights(self, shard: Shard) -> list[dict[str, npt.NDArray[np.generic]]]:
        regions: dict[str, npt.NDArray[np.generic]] = {
            kind: (coverage.counts if self._shared.challenge else coverage.mask)(shard.places)
            for kind, coverage in self._regions.items()
        }
        return [
            regions if peaks is None else regions | {"peaks": peaks.mask(shard.places)}
            for peaks in self._peaks
        ]

    def _read_files(self, shard: Shard, out: Float32) -> None:
        """Fill in what comes from signal files: (cases × rows × bins of the shard)."""
        uncovered = self._tensor.manifest.uncovered
        for index, case in enumerate(self._cases):
            for row, source in enumerate((case.observed, *case.imputed)):
                if source is not None:
                    out[index, row] = source.read(shard.places, uncovered=uncovered)

    def _read_tensor(self, shard: Shard, out: Float32) -> None:
        """Fill in what comes from the tensor: observed columns, predictions, means and variances of the same assay."""
        for first, rows, imputed in self._blocks(shard):
            part = slice(first, first + rows.shape[1])
            for position, index in enumerate(self._predicted):
                out[index, 1 + self._cases[index].imputed.index(None), part] = imputed[position]
            for index, case in enumerate(self._cases):
                if case.observed is None:
                    out[index, 0, part] = rows[self._rows[index][0]]
                if case.baseline is not None:
                    self._add_baseline(case.baseline, rows, index, out[index, -3:, part])

    def _blocks(self, shard: Shard) -> Iterator[tuple[int, Float32, Float32]]:
        """Yield (first row, wanted columns as rows, predictions as rows); nothing where no column is wanted."""
        if self._application is not None:
            yield from self._application.row_blocks(shard)
        elif self._columns.size:
            for start, block in shard.blocks(reuse=True):
                yield start, columns_of(block, self._columns), np.empty((0, len(block)), dtype=np.float32)

    @property
    def _needs_variance(self) -> bool:
        """Whether weights are used: not in the last sweep."""
        return self.sweeps == 1 or self._passes < self.sweeps

    def _add_baseline(self, baseline: Baseline, rows: Float32, index: int, out: Float32) -> None:
        """Fill in mean, rescaled mean and variance of the same assay's tracks, (3 × bins)."""
        same = self._rows[index][-len(baseline.columns) :]
        variance = out[2] if self._needs_variance and not self._shared.challenge else None
        mean_and_variance(rows, same, baseline.factor, (out[0], out[1], variance))
        if self._shared.challenge and self._needs_variance:
            raw = self._transforms[index].inverse(rows[same])
            mean, scaled = np.empty((2, rows.shape[1]), dtype=np.float32)
            mean_and_variance(raw, np.arange(len(same)), 1.0, (mean, scaled, out[2]))


def transforms_of(cases: Sequence[Case], shared: Scoring) -> list[SignalTransform]:
    """Transform of each case's signal."""
    by_assay = {entry.assay: entry.transform for entry in shared.tensor.manifest.experiments}
    return [
        TRANSFORMS[case.observed.transform if case.observed else by_assay[case.pair.assay]] for case in cases
    ]
