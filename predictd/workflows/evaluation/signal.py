"""Observed and imputed signal of pairs, brought to the bins on which all methods of a pair are compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

from predictd import progress
from predictd.io.remote import as_path
from predictd.io.spool import Spool
from predictd.io.tables import read_bed
from predictd.io.tensor.layout import Coverage
from predictd.io.tensor.store import Shard, Tensor
from predictd.kernels import AssayMeans, ends_of
from predictd.model.transforms import TRANSFORMS, SignalTransform
from predictd.workflows.evaluation.cases import Case, Scoring
from predictd.workflows.imputing.apply import Application, SpreadApplication
from predictd.workflows.imputing.estimators import load_held_out
from predictd.workflows.imputing.residuals import HeldOutResiduals

Float32 = npt.NDArray[np.float32]
# Bins that are compared at once, about: the signal of a pair stays in the processor's second cache.
_BINS = 2**16
# Seconds of a sweep over what disk keeps, over those of the first one: a twentieth with networks, half without.
_LATER_SWEEP = 0.1
# Reading about so many tracks takes as long as writing one row of compared signal to a disk and reading it back, if all
# rows together are so little that memory still holds them.
TRACKS_A_ROW, SPOOLED_BYTES = 2, 2**30


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


@dataclass(frozen=True)
class _Columns:
    """What is read of the tensor for some cases.

    Attributes
    ----------
    columns
        In ascending order.
    observed
        Of each case its own among these; None where it has a file.
    means
        Of its assay, likewise.
    """

    columns: npt.NDArray[np.int64]
    observed: list[int | None]
    means: AssayMeans

    @classmethod
    def of(cls, cases: Sequence[Case], tensor: Tensor, *, every: bool = False) -> _Columns:
        """What the cases need, or every column."""
        own = [tensor.columns([case.pair]).tolist() if case.observed is None else [] for case in cases]
        same = [case.baseline.columns if case.baseline is not None else () for case in cases]
        wanted = range(len(tensor.experiments)) if every else sorted(set().union(*own, *same))
        columns = np.array(wanted, dtype=np.int64)
        factors = [case.baseline.factor if case.baseline is not None else 1.0 for case in cases]
        return cls(
            columns,
            [int(np.searchsorted(columns, some[0])) if some else None for some in own],
            AssayMeans([np.searchsorted(columns, np.array(some, dtype=np.int64)) for some in same], factors),
        )


def sooner_kept(n_tracks: int, n_rows: int, n_bins: int) -> bool:
    """Whether rows of compared signal are sooner kept on disk for another pass than read again, from so many tracks."""
    return n_tracks > TRACKS_A_ROW * n_rows and 4 * n_rows * n_bins <= SPOOLED_BYTES


class ComparedSignal:
    """What is compared, shard by shard in genome order; read and predicted again whenever it is iterated over.

    Attributes
    ----------
    sweeps
        How often that is going to be. If more than once, a block is valid until the next is asked for.
    residuals
        Counts of the residuals of predicted pairs, complete after the first pass; None: nothing is counted.
    """

    def __init__(self, groups: Sequence[Sequence[Case]], shared: Scoring) -> None:
        cases = [case for group in groups for case in group]
        self._cases, self._shared, self._tensor = cases, shared, shared.tensor
        self._transforms = transforms_of(cases, shared)
        self.sweeps, self._passes, self._read = 1, 0, 0
        self._room = np.empty(0, dtype=np.float32)
        self._predicted = [index for index, case in enumerate(cases) if None in case.imputed]
        self._spool: Spool | None = None
        # Whether that keeps all that is compared, or what is predicted alone.
        self._spools_all = False
        self._application: Application | None = None
        self.residuals: HeldOutResiduals | None = None
        if self._predicted:
            assert shared.estimator is not None
            pairs = [cases[index].pair for index in self._predicted]
            sizes = [sum(None in case.imputed for case in group) for group in groups]
            estimator, sizes = load_held_out(shared.estimator, pairs), [n for n in sizes if n]
            if shared.counting is None:
                self._application = Application(estimator, pairs, self._tensor, sizes=sizes)
            else:
                application = SpreadApplication(estimator, pairs, self._tensor, sizes=sizes)
                self.residuals = HeldOutResiduals(application, pairs, self._tensor, shared.counting)
                self._application = application
        self._columns = _Columns.of(cases, self._tensor, every=self._application is not None)
        self._regions = {kind: Coverage(found) for kind, found in shared.intervals.items()}
        self._peaks = [Coverage(read_bed(as_path(case.peaks))) if case.peaks else None for case in cases]

    @property
    def _n_rows(self) -> int:
        """Of all cases: observed, by each method, two means of the assay, variance over it."""
        return len(self._cases) * (len(self._shared.names) + 4)

    @property
    def n_bytes(self) -> int:
        """Of all blocks together."""
        width = 8 if self._shared.challenge else 1
        regions = width * len(self._regions) * len(self._cases) + len(self._cases) - self._peaks.count(None)
        return self._tensor.n_bins * (4 * self._n_rows + regions)

    def __iter__(self) -> Iterator[list[CaseBlock]]:
        first = 0
        self._passes += 1
        self._begin_pass()
        for name in self._tensor.shard_names:
            with self._tensor.open_shard(name) as shard:
                weights = self._weights(shard)
                for start, signal in self._signal_of(shard):
                    part = slice(start, start + signal.shape[-1])
                    yield [
                        self._compared(
                            index,
                            signal[index],
                            {kind: values[part] for kind, values in weights[index].items()},
                            first + start,
                        )
                        for index in range(len(signal))
                    ]
                    self._read += signal.shape[-1]
                    progress.task_share(self._share_done())
                first += shard.n_bins

    def _share_done(self) -> float:
        """Of the work of all sweeps: those after the first are short where disk keeps what it has made."""
        later = _LATER_SWEEP if self._spool is not None and self._spool.whole else 1.0
        done = self._read / self._tensor.n_bins
        return (min(done, 1.0) + later * max(0.0, done - 1.0)) / (1.0 + later * (self.sweeps - 1))

    def _signal_of(self, shard: Shard) -> Iterator[tuple[int, Float32]]:
        """Yield (first row, signal (cases × rows × bins)) over a shard, each valid until the next in several sweeps.

        Rows: observed, imputed by each method, mean of the assay and its rescaled one, variance over the assay.
        """
        step = shard.block_rows()
        size = max(1, _BINS // step) * step
        n_rows = self._n_rows
        if self.sweeps > 1 and self._room.size < n_rows * min(size, shard.n_bins):
            self._room = np.empty(n_rows * size, dtype=np.float32)
        kept = self._spool if self._spools_all else None
        if kept is not None and kept.whole and self._passes > 1:
            for start in range(0, shard.n_bins, size):
                count = min(size, shard.n_bins - start)
                yield start, kept.read((n_rows, count)).reshape(len(self._cases), -1, count)
            return
        files = self._read_files(shard)
        blocks = self._blocks(shard)
        for start in range(0, shard.n_bins, size):
            count = min(size, shard.n_bins - start)
            # What is iterated over again is not kept: all share the same room.
            own = self._room[: n_rows * count] if self.sweeps > 1 else np.empty(n_rows * count, np.float32)
            signal = own.reshape(len(self._cases), -1, count)
            for place, values in files.items():
                signal[place] = values[start : start + count]
            for first, rows, imputed in islice(blocks, -(-count // step)):
                self._add_block(rows, imputed, signal[..., first - start :][..., : rows.shape[1]])
            if kept is not None:
                kept.append(signal)
            yield start, signal

    def _compared(
        self, index: int, signal: Float32, weights: dict[str, npt.NDArray[np.generic]], first: int
    ) -> CaseBlock:
        """A case's signal in the bins that are compared, of a shard whose first bin is the tensor's `first`."""
        case, transform = self._cases[index], self._transforms[index]
        n_rows = 1 + len(self._shared.names) + (2 if case.baseline is not None else 0)
        signal, variance = signal[:n_rows], signal[-1]
        lowest, highest = ends_of(signal)
        every = bool(np.isfinite(lowest).all() and np.isfinite(highest).all())
        keep, absent = np.ones(signal.shape[1], dtype=np.bool_), np.zeros(n_rows - 1, dtype=np.int64)
        if not every:
            known = np.isfinite(signal[0])
            there = np.isfinite(signal[1:])
            absent = np.count_nonzero(known & ~there, axis=1)
            keep = known & there.all(axis=0) if self._shared.absent == "skip" else known
        compared = signal if every else signal[:, keep]
        if self._shared.absent == "zero" and absent.any():
            compared[~np.isfinite(compared)] = transform.forward(np.zeros(1, dtype=np.float32))[0]
        if transform.clipped:
            for own, least in zip(compared, lowest, strict=True):
                if not least >= 0:
                    np.maximum(own, 0, out=own)
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

    def _read_files(self, shard: Shard) -> dict[tuple[int, int], Float32]:
        """What comes from signal files, by case and row."""
        rule = self._tensor.manifest.uncovered
        return {
            (index, row): (source.read_imputed if row else source.read)(shard.places, uncovered=rule)
            for index, case in enumerate(self._cases)
            for row, source in enumerate((case.observed, *case.imputed))
            if source is not None
        }

    def _add_block(self, rows: Float32, imputed: Float32, out: Float32) -> None:
        """Fill in what comes from the tensor: observed columns, predictions, means and variances of the same assay."""
        for position, index in enumerate(self._predicted):
            out[index, 1 + self._cases[index].imputed.index(None)] = imputed[position]
        for index, case in enumerate(self._cases):
            if case.observed is None:
                out[index, 0] = rows[self._columns.observed[index]]
        raw = self._shared.challenge
        means = self._columns.means
        means.write(rows, out[:, -3:], variance=self._needs_variance and not raw)
        for index, own in enumerate(means.rows):
            if raw and self._needs_variance and own.size:
                turned = self._transforms[index].inverse(rows[own])
                found = np.empty((1, 3, rows.shape[1]), dtype=np.float32)
                AssayMeans([np.arange(own.size)], [1.0]).write(turned, found, variance=True)
                out[index, -1] = found[0, 2]

    def _begin_pass(self) -> None:
        """In the first pass, begin to keep on disk what takes longer to read or predict again; later read it there."""
        application, room = self._application, self._shared.room
        if self._spool is not None and self._spool.whole:
            self._spool.rewind()
            self._columns = _Columns.of(self._cases, self._tensor)
            self._application = None
        elif self._passes == 1 < self.sweeps and room is not None and application is not None:
            n_bins = self._tensor.n_bins
            if sooner_kept(self._columns.columns.size, self._n_rows, n_bins):
                self._spool = Spool(room, 4 * self._n_rows * n_bins)
                self._spools_all = self._spool.whole
            if application.dear and not self._spools_all:
                self._spool = Spool(room, 4 * len(self._predicted) * n_bins)

    def _blocks(self, shard: Shard) -> Iterator[tuple[int, Float32, Float32]]:
        """Yield (first row, wanted columns as rows, predictions as rows); nothing where no column is wanted."""
        columns, spool = self._columns.columns, None if self._spools_all else self._spool
        if self._application is not None:
            for start, rows, imputed in self._application.row_blocks(shard):
                if self.residuals is not None and self._passes == 1:
                    self.residuals.add(shard, start, rows, imputed)
                if spool is not None:
                    spool.append(imputed)
                yield start, rows, imputed
        elif columns.size or spool is not None:
            for start, rows, _, _ in shard.row_blocks(columns):
                shape = len(self._predicted), rows.shape[1]
                yield start, rows, spool.read(shape) if spool else np.empty(shape, dtype=np.float32)

    @property
    def _needs_variance(self) -> bool:
        """Whether weights are used: not in the last sweep."""
        return self.sweeps == 1 or self._passes < self.sweeps


def transforms_of(cases: Sequence[Case], shared: Scoring) -> list[SignalTransform]:
    """Transform of each case's signal."""
    by_assay = shared.tensor.manifest.transforms
    return [
        TRANSFORMS[case.observed.transform if case.observed else by_assay[case.pair.assay]] for case in cases
    ]
