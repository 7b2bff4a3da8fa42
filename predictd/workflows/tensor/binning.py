"""Signal tracks as what a tensor is made from: each shard's bins are read from every track."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from predictd.constants import BIN_SIZE
from predictd.engine import Engine
from predictd.errors import ConfigError, TableError
from predictd.io.files import sha256_of, state_of
from predictd.io.partition import Job
from predictd.io.remote import as_path
from predictd.io.tables import Interval, Track, unique_pairs
from predictd.io.tensor.extents import Extents, extents_of, extents_of_shard, joined_extents
from predictd.io.tensor.layout import ShardPlan, most_bins, plan_shards
from predictd.io.tensor.manifest import ExperimentEntry, ShardEntry, SourceFile
from predictd.io.tensor.store import describe_shard, shard_path, write_shard
from predictd.io.tracks.bigwig import Uncovered
from predictd.io.tracks.genomes import Genome
from predictd.io.tracks.metadata import read_track_table
from predictd.pairs import Experiment
from predictd.provenance import RunRecord
from predictd.wording import some
from predictd.workflows.tensor.inputs import Dtype, IngestOptions, Made, Place
from predictd.workflows.tensor.precision import as_stored, warn_too_small
from predictd.workflows.tensor.sources import (
    Probe,
    Probing,
    SignalSource,
    check_chromosomes,
    check_there,
    probe_tracks,
)

log = logging.getLogger(__name__)


class TracksInput:
    """The tracks of a table.

    Parameters
    ----------
    table
        Track table, or one of those that `read_track_table` knows.
    options, place
        How they become a tensor, and where.

    Raises
    ------
    PredictdError
        If the table is none, or its tracks are not there, or do not fit together.
    """

    def __init__(self, table: Path, options: IngestOptions, place: Place) -> None:
        if options.transform:
            raise ConfigError(
                f"`transform` is for a matrix: give the tracks of {table} a column 'transform' instead"
            )
        self._table, self._options, self._place = table, options, place
        self.bin_size: int = options.bin_size or BIN_SIZE
        tracks = read_track_table(table, genome=place.genome.name, output_type=options.output_type)
        if options.merge is None:
            unique_pairs(tracks, table)
        _check_transforms(tracks)
        for track in tracks:
            check_there(track)
        self._tracks = tracks

    @property
    def provenance(self) -> dict[str, Any]:
        """The table."""
        return {"table": str(self._table)}

    @property
    def checksums(self) -> dict[str, str]:
        """Of the table; those of tracks are in the manifest."""
        return {str(self._table): sha256_of(self._table)}

    def describe(self) -> dict[str, Any]:
        """The tracks, and when they were written."""
        return {"tracks": [_state(track) for track in self._tracks]}

    def make(self, job: Job, engine: Engine, record: RunRecord) -> Made:
        """Look at the tracks (a task each), and make shards (a task each)."""
        options, place = self._options, self._place
        read = None if place.regions is None else frozenset(region.chrom for region in place.regions)
        with record.stage("read headers"):
            looking = Probing(job.workspace, place.genome, read, checksums=True)
            probes = probe_tracks(self._tracks, looking, engine)
        columns = _columns(self._tracks, probes)
        plans = plan_shards(
            place.genome,
            bin_size=self.bin_size,
            max_bins=most_bins(len(columns), options.shard_bins),
            chromosomes=_covered(probes, place.genome, place.regions),
            regions=place.regions,
            exclude=place.exclude,
        )
        if options.uncovered == "zero":
            check_chromosomes(self._tracks, probes, (plan.places for plan in plans))
        sources = tuple(column.source for column in columns)
        with record.stage("make shards"):
            shared = _Ingesting(job, sources, options.uncovered, options.dtype)
            sizes = [plan.places.n_bins for plan in plans]
            made = engine.map(_make_shard, plans, shared, label="shards", sizes=sizes)
        extents = joined_extents(np.stack([shard.extents for shard in made]))
        warn_too_small([column.experiment for column in columns], extents, options.dtype)
        return Made(tuple(column.entry for column in columns), tuple(shard.entry for shard in made))


def _state(track: Track) -> dict[str, object]:
    unknown = {"bytes": None, "modified": None}
    return {
        "pair": str(track.experiment),
        "path": track.shown,
        "transform": track.transform,
        **(unknown if track.is_url else state_of(as_path(track.path))),
    }


@dataclass(frozen=True)
class _Column:
    """An experiment of the tensor: its signal, and the files that this comes from."""

    experiment: Experiment
    source: SignalSource
    files: tuple[SourceFile, ...]

    @property
    def entry(self) -> ExperimentEntry:
        """In the manifest."""
        return ExperimentEntry(
            **self.experiment._asdict(), transform=self.source.transform, sources=self.files
        )


def _columns(tracks: Sequence[Track], probes: Sequence[Probe]) -> list[_Column]:
    """Experiments in the order of the tensor's columns; tracks of one pair are its replicates."""
    groups: dict[Experiment, list[int]] = defaultdict(list)
    for index, track in enumerate(tracks):
        groups[track.experiment].append(index)
    columns = []
    for pair, own in sorted(groups.items()):
        paths = tuple(probes[i].path for i in own)
        source = SignalSource(str(pair), paths, tracks[own[0]].transform, tuple(tracks[i].path for i in own))
        columns.append(_Column(pair, source, tuple(probes[i].source for i in own)))
    return columns


def _check_transforms(tracks: list[Track]) -> None:
    """An assay has one transform, since its missing tracks are turned back by it."""
    by_assay: dict[str, Track] = {}
    for track in tracks:
        first = by_assay.setdefault(track.experiment.assay, track)
        if first.transform != track.transform:
            raise TableError(
                f"{track.where}: assay {track.experiment.assay} has transform {track.transform} here and "
                f"{first.transform} above; give all tracks of an assay the same"
            )


def _covered(probes: list[Probe], genome: Genome, regions: list[Interval] | None) -> set[str]:
    """Chromosomes that at least one track has; warns of those that were asked for and none has."""
    covered = set().union(*(probe.chromosomes for probe in probes))
    asked = set(genome.chromosomes) if regions is None else {interval.chrom for interval in regions}
    absent = asked - covered
    left_out = [chrom for chrom in genome.chromosomes if chrom in absent]
    if left_out:
        log.warning("no track has %s: left out of the tensor", some(left_out))
    return covered


@dataclass(frozen=True)
class _Ingesting:
    """What all shards have in common."""

    job: Job
    sources: tuple[SignalSource, ...]
    uncovered: Uncovered
    dtype: Dtype


class _MadeShard(NamedTuple):
    """A shard, and the lowest and highest signal of each experiment in it, before it was rounded."""

    entry: ShardEntry
    extents: Extents


def _make_shard(plan: ShardPlan, shared: _Ingesting) -> _MadeShard:
    """Read a shard's bins from every track, transform them and write the shard, unless that was done before."""
    job, output, sources = shared.job, shared.job.output, shared.sources
    path = shard_path(output, plan.name)
    if job.made(path):
        # What was rounded away is not known any more.
        return _MadeShard(describe_shard(output, plan, len(sources)), extents_of_shard(path))
    signal = np.empty((plan.places.n_bins, len(sources)), dtype=shared.dtype)
    extents = np.empty((len(sources), 2))
    for index, source in enumerate(sources):
        values = source.read(plan.places, uncovered=shared.uncovered)
        signal[:, index] = as_stored(values, shared.dtype, source, plan.places)
        extents[index] = extents_of(values)
    with job.making(path):
        return _MadeShard(write_shard(output, plan, signal), extents)
