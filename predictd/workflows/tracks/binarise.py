"""`predictd binarise`: presence and absence of marks in 200 bp bins, as ChromHMM reads them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from predictd.engine import Engine
from predictd.errors import DataError
from predictd.io.partition import Job
from predictd.io.results import write_rows, write_run_json
from predictd.io.tables import Track
from predictd.io.tracks.bigwig import BigWigReader, Uncovered
from predictd.io.tracks.chromhmm import MISSING, PRESENT, binary_name, write_binary
from predictd.model.peaks import reaches
from predictd.pairs import axes, file_name
from predictd.provenance import EngineInfo, RunRecord
from predictd.workflows.parts import InParts
from predictd.workflows.tracks.listed import (
    described,
    inputs_of,
    open_listed,
    open_signal,
    refuse_replaced,
    signal_lengths,
)

log = logging.getLogger(__name__)

BINARISED_TSV = "binarised.tsv"
BIN_SIZE = 200


@dataclass(frozen=True)
class BinariseReport:
    """How many cell types, marks and chromosomes were written."""

    cell_types: int
    marks: int
    chromosomes: int


class Binarisation(InParts[BinariseReport]):
    """Binarised signal of all tracks that are listed somewhere; a part is a cell type.

    Parameters
    ----------
    source
        A directory with tracks.tsv, or a track table.
    output
        Directory for `CELL_CHROMOSOME_binary.txt`.
    threshold
        A mark is present where its mean signal over the bin is at least this.
    bin_size
        In bp.
    zipped
        Whether the files are gzipped.
    uncovered
        What positions of tracks without signal mean: in a bin without any, a mark is missing, or absent. Tracks that
        predictd wrote have their zeros; see `PeakCalling`.

    Raises
    ------
    PredictdError
        If a track is not there or not a file of signal, or the tracks are of several genomes.
    """

    def __init__(
        self,
        source: Path,
        output: Path,
        *,
        threshold: float = 2.0,
        bin_size: int = BIN_SIZE,
        zipped: bool = False,
        uncovered: Uncovered = "missing",
    ) -> None:
        self._listed = open_listed(source, bedgraphs=True)
        tracks = self._listed.tracks
        self._cells, self._marks = axes(tracks)
        # ChromHMM leaves the end of a chromosome out that fills no bin.
        self._lengths = signal_lengths(self._listed)
        self._bins = {
            chrom: length // bin_size for chrom, length in self._lengths.items() if length >= bin_size
        }
        if not self._bins:
            raise DataError(
                f"no chromosome of {source} is as long as a bin of {bin_size} bp; use a smaller `bin_size`"
            )
        self._threshold, self._bin_size, self._zipped = threshold, bin_size, zipped
        self._uncovered = uncovered
        description: dict[str, Any] = {
            "command": "binarise",
            "tracks": [described(track) for track in tracks.values()],
            "threshold": threshold,
            "bin_size": bin_size,
            "zipped": zipped,
            "uncovered": uncovered,
        }
        self._inputs = inputs_of(source, description["tracks"])
        settings = {
            "threshold": threshold,
            "bin_size": bin_size,
            "gzip": zipped,
            "uncovered": uncovered,
        }
        super().__init__(Job(output, description), len(self._cells), BINARISED_TSV, settings=settings)

    def _begin(self) -> None:
        names = [
            binary_name(file_name(cell), file_name(chrom), zipped=self._zipped)
            for cell in self._cells
            for chrom in self._bins
        ]
        self._refuse_foreign(names)
        self.job.begin()

    def _make(self, parts: Sequence[int], engine: Engine, record: RunRecord) -> None:
        engine.check_shared_paths(self.job.marker_file)
        keys = []
        for index in parts:
            cell = self._cells[index]
            own = {pair.assay: track for pair, track in self._listed.tracks.items() if pair.cell_type == cell}
            keys.append(_CellPart(index, cell, tuple(own.get(mark) for mark in self._marks)))
        shared = _Binarising(
            self.job,
            tuple(self._marks),
            self._lengths,
            self._bins,
            self._threshold,
            self._bin_size,
            self._zipped,
            self._uncovered,
            EngineInfo.of(engine),
        )
        with record.stage("binarise"):
            engine.map(_binarise_part, keys, shared, label="cell types")

    def _finish(self, parts: Sequence[dict[str, Any]], record: RunRecord) -> BinariseReport:
        output = self.job.output
        n_bins = sum(self._bins.values())
        rows = [
            (cell, mark, present, missing, n_bins)
            for cell, part in zip(self._cells, parts, strict=True)
            for mark, present, missing in zip(self._marks, part["present"], part["missing"], strict=True)
        ]
        record.results = {"threshold": self._threshold, "bin_size": self._bin_size, "bins": n_bins}
        record.inputs = self._inputs
        write_run_json(record, output)
        write_rows(output / BINARISED_TSV, ("cell_type", "assay", "present", "missing", "bins"), rows)
        return BinariseReport(len(self._cells), len(self._marks), len(self._bins))


@dataclass(frozen=True)
class _CellPart:
    """A part: its number, its cell type, and the track of each mark where there is one."""

    index: int
    cell: str
    tracks: tuple[Track | None, ...]


@dataclass(frozen=True)
class _Binarising:
    """What the parts have in common."""

    job: Job
    marks: tuple[str, ...]
    lengths: dict[str, int]
    bins: dict[str, int]
    threshold: float
    bin_size: int
    zipped: bool
    uncovered: Uncovered
    engine: EngineInfo


def _binarise_part(part: _CellPart, shared: _Binarising) -> None:
    """Write one cell type's chromosomes, one after the other."""
    index, tracks = part.index, part.tracks
    record = RunRecord("binarise", shared.engine)
    name = file_name(part.cell)
    counts = np.zeros((2, len(tracks)), dtype=np.int64)
    files = []
    with record.stage("binarise"), ExitStack() as opened:
        readers = [
            None if track is None else opened.enter_context(open_signal(track.path, shared.lengths))
            for track in tracks
        ]
        for chrom, n_bins in shared.bins.items():
            states = np.full((n_bins, len(tracks)), MISSING, dtype=np.uint8)
            for column, reader in enumerate(readers):
                if reader is not None:
                    states[:, column] = _states(reader, chrom, n_bins, shared)
            counts += np.stack([(states == PRESENT).sum(axis=0), (states == MISSING).sum(axis=0)])
            path = shared.job.output / binary_name(name, file_name(chrom), zipped=shared.zipped)
            write_binary(path, name, chrom, shared.marks, states)
            files.append(path)
    for track in filter(None, tracks):
        refuse_replaced(track, shared.job)
    content = {"present": counts[0].tolist(), "missing": counts[1].tolist(), "run": record.run_of([index])}
    shared.job.keep_part(index, content, files)


def _states(
    reader: BigWigReader, chrom: str, n_bins: int, shared: _Binarising
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    signal = reader.binned_means(chrom, 0, n_bins, bin_size=shared.bin_size, uncovered=shared.uncovered)
    states: np.ndarray[Any, np.dtype[np.uint8]] = np.where(
        np.isnan(signal), MISSING, reaches(signal, shared.threshold)
    ).astype(np.uint8)
    return states
