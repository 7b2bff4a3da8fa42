"""`predictd peaks`: peaks of imputed or observed tracks, as narrowPeak."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from predictd.engine import Engine
from predictd.errors import ConfigError
from predictd.io.partition import Job
from predictd.io.remote import is_remote
from predictd.io.results import write_rows, write_run_json
from predictd.io.tables import Track
from predictd.io.tracks.bigwig import Uncovered
from predictd.io.tracks.narrowpeak import SUFFIX, NarrowPeak, write_narrow_peaks
from predictd.model.peaks import PeakRule, call_peaks
from predictd.pairs import Experiment
from predictd.provenance import EngineInfo, RunRecord
from predictd.wording import some
from predictd.workflows.parts import InParts
from predictd.workflows.tracks.listed import (
    described,
    inputs_of,
    open_listed,
    open_signal,
    refuse_replaced,
)

log = logging.getLogger(__name__)

PEAKS_TSV = "peaks.tsv"


@dataclass(frozen=True)
class PeaksReport:
    """Peaks and bases within them, by pair."""

    n_peaks: dict[Experiment, int]
    n_bases: dict[Experiment, int]


class PeakCalling(InParts[PeaksReport]):
    """Peaks of all tracks that are listed somewhere; a part is a track.

    Parameters
    ----------
    source
        A directory with tracks.tsv, a track table, or a file of signal.
    output
        Directory for `CELL-ASSAY.narrowPeak.gz` and `peaks.tsv`.
    rule
        What counts as a peak.
    bin_size
        Signal is averaged over bins of so many bp; None: those that the tracks were imputed or exported in, or 25. To
        be given for tracks of regions.
    p_values
        Whether signal is −log10 p; see `write_narrow_peaks`.
    uncovered
        What positions of tracks without signal mean. Tracks that predictd wrote have their zeros, so that what they
        leave out is missing, whatever was said of the tracks that were ingested.

    Raises
    ------
    PredictdError
        If a track is not there, or not a file of signal.
    """

    def __init__(
        self,
        source: Path,
        output: Path,
        rule: PeakRule,
        *,
        bin_size: int | None = None,
        p_values: bool = True,
        uncovered: Uncovered = "missing",
    ) -> None:
        self._listed = open_listed(source, bedgraphs=True)
        self._rule, self._p_values, self._uncovered = rule, p_values, uncovered
        size = bin_size or self._listed.bin_size
        if size is None:
            raise ConfigError(
                f"the tracks of {source} have a value for each region of a matrix, and no signal between: choose those "
                "regions whose value is high ('predictd export' writes a table), or give a `bin_size`"
            )
        self._bin_size = size
        description: dict[str, Any] = {
            "command": "peaks",
            "tracks": [described(track) for track in self._listed.tracks.values()],
            "rule": asdict(rule),
            "bin_size": self._bin_size,
            "p_values": p_values,
            "uncovered": uncovered,
        }
        self._inputs = inputs_of(source, description["tracks"])
        settings = asdict(rule) | {
            "bin_size": self._bin_size,
            "unit": "p" if p_values else "other",
            "uncovered": uncovered,
        }
        super().__init__(Job(output, description), len(self._listed.tracks), PEAKS_TSV, settings=settings)

    def _files(self) -> Sequence[str]:
        return [peaks_name(pair) for pair in self._listed.tracks]

    def _begin(self) -> None:
        self._refuse_foreign([peaks_name(pair) for pair in self._listed.tracks])
        self.job.begin()

    def _make(self, parts: Sequence[int], engine: Engine, record: RunRecord) -> None:
        engine.check_shared_paths(self.job.marker_file)
        tracks = list(self._listed.tracks.values())
        keys = [_TrackPart(index, tracks[index]) for index in parts]
        shared = _PeakCalling(
            self.job, self._rule, self._bin_size, self._p_values, self._uncovered, EngineInfo.of(engine)
        )
        with record.stage("peaks"):
            engine.map(_call_part, keys, shared, label="tracks")

    def _finish(self, parts: Sequence[dict[str, Any]], record: RunRecord) -> PeaksReport:
        output = self.job.output
        pairs = list(self._listed.tracks)
        report = PeaksReport(
            {pair: part["n_peaks"] for pair, part in zip(pairs, parts, strict=True)},
            {pair: part["n_bases"] for pair, part in zip(pairs, parts, strict=True)},
        )
        record.results = {
            "peaks": sum(report.n_peaks.values()),
            "rule": asdict(self._rule),
            "bin_size": self._bin_size,
        }
        none = [pair for pair in pairs if not report.n_peaks[pair]]
        if none:
            log.warning("%d of the %d tracks have no peak (%s)", len(none), len(pairs), some(none))
        record.inputs = self._inputs
        write_run_json(record, output)
        columns = ("cell_type", "assay", "path", "transform", "peaks", "n_peaks", "n_bases")
        write_rows(output / PEAKS_TSV, columns, self._rows(report))
        return report

    def _rows(self, report: PeaksReport) -> Iterator[tuple[str | int, ...]]:
        for pair, track in self._listed.tracks.items():
            # Whoever reads a file of peaks expects some.
            name = peaks_name(pair) if report.n_peaks[pair] else ""
            path = relative(track.shown, self.job.output)
            yield *pair, path, track.transform, name, report.n_peaks[pair], report.n_bases[pair]


def peaks_name(pair: Experiment) -> str:
    """File name of a pair's peaks."""
    return f"{pair.file_stem}{SUFFIX}"


def relative(path: str, directory: Path) -> str:
    """A track's path as a table in this directory gives it."""
    if "://" in path or is_remote(str(directory)):
        return path
    return os.path.relpath(path, directory.resolve())


@dataclass(frozen=True)
class _TrackPart:
    """A part: its number and its track."""

    index: int
    track: Track


@dataclass(frozen=True)
class _PeakCalling:
    """What the parts have in common."""

    job: Job
    rule: PeakRule
    bin_size: int
    p_values: bool
    uncovered: Uncovered
    engine: EngineInfo


def _call_part(part: _TrackPart, shared: _PeakCalling) -> None:
    """Call one track's peaks, chromosome by chromosome."""
    index, track = part.index, part.track
    record = RunRecord("peaks", shared.engine)
    counts = {"n_peaks": 0, "n_bases": 0}
    path = shared.job.output / peaks_name(track.experiment)
    with record.stage("peaks"):
        write_narrow_peaks(path, _peaks_of(track.path, shared, counts), p_values=shared.p_values)
    refuse_replaced(track, shared.job)
    shared.job.keep_part(index, {**counts, "run": record.run_of([index])}, [path])


def _peaks_of(path: str, shared: _PeakCalling, counts: dict[str, int]) -> Iterator[NarrowPeak]:
    """Peaks in the order of the file's chromosomes; they are counted on the way."""
    size = shared.bin_size
    with open_signal(path) as reader:
        for chrom, length in reader.chromosomes.items():
            n_bins = -(-length // size)
            signal = reader.binned_means(chrom, 0, n_bins, bin_size=size, uncovered=shared.uncovered)
            peaks = call_peaks(signal, shared.rule, bin_size=size, length=length)
            counts["n_peaks"] += len(peaks)
            counts["n_bases"] += peaks.n_bases
            columns = (peaks.start, peaks.end, peaks.mean, peaks.highest, peaks.summit)
            for start, end, mean, highest, summit in zip(*(c.tolist() for c in columns), strict=True):
                yield NarrowPeak(chrom, start, end, mean, highest, summit)
