"""Stretches of the best, the median and the worst track, for a report to draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from predictd.constants import FOLDS_JSON, TRACKS_TSV
from predictd.errors import DataError, PredictdError
from predictd.io.files import exists
from predictd.io.names import is_bedgraph
from predictd.io.remote import as_path
from predictd.io.results import known_run
from predictd.io.tables import read_tracks, unique_pairs
from predictd.io.tensor.store import Shard, Tensor
from predictd.io.tracks.bigwig import Uncovered
from predictd.io.tracks.metadata import read_track_table
from predictd.model.transforms import TRANSFORMS
from predictd.pairs import Experiment
from predictd.report.region_figures import Example, Stretch
from predictd.report.scores import Score, by_correlation
from predictd.workflows.imputing.apply import Application
from predictd.workflows.imputing.estimators import load_held_out, training_info
from predictd.workflows.tensor.origin import check_origin
from predictd.workflows.tensor.sources import SignalSource, observed_mean

Float32 = npt.NDArray[np.float32]

# A stretch has so many bins at most, and is at most a tenth of all.
_BINS = 1000
_LEAST_BINS = 50
# Stretches are looked for in as many shards, spread over the genome.
_SHARDS = 4
# Values that are written next to an axis, in the unit of the track.
_WRITTEN = {
    "arcsinh": (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000),
    "log1p": (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000),
    "logit": (0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99),
}
_UNITS = {
    "arcsinh": "signal, arcsinh scale",
    "log1p": "signal, log scale",
    "logit": "fraction, logit scale",
    "none": "signal",
}


@dataclass(frozen=True)
class Source:
    """Where tracks are read.

    Attributes
    ----------
    directory
        A cross-validation, or imputed tracks.
    tensor
        Whose bins are drawn; it has observed tracks.
    tables
        Track tables of observed tracks that scores are by; those that are in none are read from the tensor.
    """

    directory: Path
    tensor: Tensor
    tables: Sequence[Path]


def find_examples(scores: Sequence[Score], source: Source) -> tuple[list[Example], str]:
    """Stretches of the tracks of best, median and worst correlation, and the rule by which they were chosen.

    No examples, and the reason, where tracks cannot be read any more.
    """
    chosen = _ranked(scores)
    if not chosen:
        return [], "No track has a correlation, so that no best, median and worst track can be chosen."
    try:
        return _examples(chosen, source)
    except PredictdError as err:
        return [], f"Nothing is drawn here: {err}."


def _ranked(scores: Sequence[Score]) -> list[tuple[str, Score]]:
    """The best, the median and the worst of the scores that have a correlation, each once."""
    ordered = [score for score in by_correlation(scores) if np.isfinite(score.correlation)]
    places = {"best": len(ordered) - 1, "median": (len(ordered) - 1) // 2, "worst": 0}
    if len(ordered) < 3:
        places = (
            {"best": len(ordered) - 1, "worst": 0} if len(ordered) == 2 else {"only": 0} if ordered else {}
        )
    return [(rank, ordered[place]) for rank, place in places.items()]


def _examples(chosen: Sequence[tuple[str, Score]], source: Source) -> tuple[list[Example], str]:
    pairs = [score.pair for _, score in chosen]
    tracks = _Tracks(pairs, source)
    windows = _Windows(source.tensor, len(pairs))
    for name in windows.shards:
        with source.tensor.open_shard(name) as shard:
            windows.add(name, shard, tracks.observed(shard))
    examples = []
    for index, (rank, score) in enumerate(chosen):
        transform = tracks.transforms[index]
        stretches = [tracks.stretch(index, place, windows.size) for place in windows.found(index)]
        if not stretches:
            raise DataError(
                f"the observed track of {score.pair} has too little signal in the regions that were searched for "
                "examples"
            )
        written = _WRITTEN.get(transform)
        ticks = None
        if written is not None:
            places = TRANSFORMS[transform].forward(np.array(written, dtype=np.float64))
            ticks = [(place, f"{value:g}") for place, value in zip(places.tolist(), written, strict=True)]
        examples.append(
            Example(
                rank,
                f"{score.pair.cell_type} {score.pair.assay}",
                score.correlation,
                _UNITS[transform],
                None if transform == "logit" else 0.0,
                ticks,
                stretches,
            )
        )
    return examples, windows.rule()


@dataclass(frozen=True)
class _Place:
    """The first row of a stretch in a shard."""

    shard: str
    row: int


class _Windows:
    """Stretches of equal length, next to one another, in runs that are long enough, and two of them for each track."""

    def __init__(self, tensor: Tensor, n_tracks: int) -> None:
        if tensor.manifest.bin_size is None:
            raise DataError(f"the bins of {tensor.path} are regions, not stretches of the genome")
        self._bin_size = tensor.manifest.bin_size
        self.shards = tensor.spread_shards(_SHARDS)
        longest = 0
        for name in self.shards:
            with tensor.open_shard(name) as shard:
                longest = max(longest, int(shard.places.runs[:, 1].max()))
        self.size = min(_BINS, longest, max(_LEAST_BINS, tensor.n_bins // 10))
        self._looked_at = 0
        self._places: list[list[_Place]] = [[] for _ in range(n_tracks)]
        self._means: list[list[float]] = [[] for _ in range(n_tracks)]

    def add(self, name: str, shard: Shard, observed: Float32) -> None:
        """Look at the stretches of a shard, with the observed signal of the tracks (tracks × bins)."""
        ends = np.cumsum(shard.places.runs[:, 1]).tolist()
        for length, end in zip(shard.places.runs[:, 1].tolist(), ends, strict=True):
            for row in range(end - length, end - self.size + 1, self.size):
                self._looked_at += self.size
                part = observed[:, row : row + self.size]
                there = np.isfinite(part).sum(axis=1)
                means = observed_mean(part, axis=1)
                # A stretch that is mostly unobserved shows nothing.
                for track in np.flatnonzero(2 * there >= self.size).tolist():
                    self._places[track].append(_Place(name, row))
                    self._means[track].append(float(means[track]))

    def found(self, track: int) -> list[_Place]:
        """The stretch of the strongest observed signal, and the middle one; one where both are the same."""
        places = self._places[track]
        if not places:
            return []
        strongest, middle = places[int(np.argmax(self._means[track]))], places[len(places) // 2]
        return [strongest] if strongest == middle else [strongest, middle]

    def rule(self) -> str:
        """By which rule stretches were chosen."""
        kb = self._bin_size / 1000
        return (
            f"The genome was cut into stretches of {self.size * kb:g} kb, and {self._looked_at * kb:,.0f} kb of it "
            "were looked at. Left: the stretch with the strongest mean observed signal. Right: the one in the middle, "
            "whatever it looks like."
        )


class _Tracks:
    """Observed and imputed signal of some pairs, where the bins of a tensor are."""

    def __init__(self, pairs: Sequence[Experiment], source: Source) -> None:
        self._tensor = source.tensor
        entries = {entry.experiment: entry for entry in source.tensor.manifest.experiments}
        by_assay = source.tensor.manifest.transforms
        listed = _listed(pairs, source)
        for pair in pairs:
            if pair not in listed and pair not in entries:
                raise DataError(
                    f"the observed track of {pair} is neither in {source.tensor.path} nor in a track table as a bigWig"
                )
        self.transforms = [by_assay.get(pair.assay) or listed[pair].transform for pair in pairs]
        self._observed: list[SignalSource | None] = [listed.get(pair) for pair in pairs]
        self._columns = source.tensor.columns([pair for pair in pairs if pair not in listed])
        self._application: Application | None = None
        self._imputed: list[SignalSource] = []
        if (source.directory / FOLDS_JSON).exists():
            check_origin(training_info(source.directory), source.directory, source.tensor)
            self._application = Application(load_held_out(source.directory, pairs), pairs, source.tensor)
        else:
            table = source.directory / TRACKS_TSV
            tracks = unique_pairs(read_tracks(table), table)
            for pair, transform in zip(pairs, self.transforms, strict=True):
                if pair not in tracks:
                    raise DataError(f"{table} has no track of {pair}")
                if is_bedgraph(tracks[pair].path):
                    raise DataError(f"{tracks[pair].path} is a bedGraph, and stretches are read from bigWigs")
                self._imputed.append(SignalSource(str(pair), (tracks[pair].path,), transform))

    def observed(self, shard: Shard) -> Float32:
        """Observed transformed signal of a shard, float32 (pairs × bins)."""
        out = np.empty((len(self._observed), shard.n_bins), dtype=np.float32)
        inside = [index for index, own in enumerate(self._observed) if own is None]
        if inside:
            for start, block in shard.blocks():
                out[inside, start : start + len(block)] = block[:, self._columns].T
        for index, own in enumerate(self._observed):
            if own is not None:
                out[index] = own.read(shard.places, uncovered=self._rule)
        return out

    def stretch(self, index: int, place: _Place, size: int) -> Stretch:
        """A stretch of one of the pairs."""
        with self._tensor.open_shard(place.shard) as shard:
            places = shard.places.take(slice(place.row, place.row + size))
            own = self._observed[index]
            if self._application is not None:
                signal, predicted = self._application.rows(shard, place.row, place.row + size)
                imputed = TRANSFORMS[self.transforms[index]].clip(predicted[:, index])
            else:
                signal = shard.read(place.row, place.row + size)
                imputed = self._imputed[index].read_imputed(places, uncovered=self._rule)
            if own is None:
                inside = sum(source is None for source in self._observed[:index])
                observed = signal[:, self._columns[inside]]
            else:
                observed = own.read(places, uncovered=self._rule)
            spans = places.spans()
            return Stretch(places.chrom, int(spans[0, 0]), int(spans[-1, 1]), observed, imputed)

    @property
    def _rule(self) -> Uncovered:
        """Of the tensor, for gaps."""
        return self._tensor.manifest.uncovered


def _listed(pairs: Sequence[Experiment], source: Source) -> dict[Experiment, SignalSource]:
    """Observed tracks that the tables list as bigWigs."""
    manifest = source.tensor.manifest
    by_assay = manifest.transforms
    found: dict[Experiment, SignalSource] = {}
    for table in source.tables:
        tracks = unique_pairs(read_track_table(table, genome=manifest.genome.name), table)
        for pair in pairs:
            if pair in tracks and not is_bedgraph(tracks[pair].path):
                transform = by_assay.get(pair.assay, tracks[pair].transform)
                found.setdefault(pair, SignalSource(str(pair), (tracks[pair].path,), transform))
    return found


def observed_tables(directory: Path, scores_run: dict[str, Any]) -> list[Path]:
    """Track tables of observed tracks that scores were made with, as far as they are still there."""
    if named := scores_run.get("results", {}).get("observed"):
        return [as_path(named)] if exists(as_path(named)) else []
    # Of earlier versions; cross-validations have none.
    tables = [as_path(name) for name in scores_run.get("inputs", {}) if name.endswith((".tsv", ".txt"))]
    imputed = {
        table for table in tables if table.name == TRACKS_TSV and _imputed_here(table.parent, directory)
    }
    return [table for table in tables if table not in imputed and exists(table)]


def _imputed_here(folder: Path, directory: Path) -> bool:
    same = folder.resolve() == directory.resolve()
    return same or known_run(folder).get("workflow") == "impute"


def open_tensor(
    run: dict[str, Any], scores_run: dict[str, Any], given: Path | None
) -> tuple[Tensor | None, str]:
    """The tensor that an output was made from or scored on, or why it cannot be read.

    Raises
    ------
    TensorFormatError
        If the one that is given cannot be opened.
    """
    if given is not None:
        return Tensor(given), ""
    checksums = {*run.get("inputs", {}).values(), *scores_run.get("inputs", {}).values()}
    named = [run.get("results", {}).get("tensor"), *run.get("inputs", {}), *scores_run.get("inputs", {})]
    reason = "it is not known which data set was used; name it when you make the report"
    for name in filter(None, named):
        try:
            tensor = Tensor(as_path(str(name)))
        except PredictdError as err:
            if name == named[0]:
                reason = f"{err}. If the data set was moved, name its new place when you make the report"
            continue
        if tensor.manifest.checksum in checksums:
            return tensor, ""
        reason = f"{tensor.path} is not the data set that was used: it was made again"
    return None, reason
