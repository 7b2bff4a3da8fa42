"""`predictd ingest`: signal tracks in, a tensor of shards out."""

from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from predictd.constants import BIN_SIZE, MANIFEST, MAX_SHARD_BINS, SHARDS
from predictd.engine import Engine
from predictd.errors import OutputError, TableError, TrackError
from predictd.io.files import exists, sha256_of, state_of
from predictd.io.partition import Job, read_job
from predictd.io.remote import as_path
from predictd.io.results import write_run_json
from predictd.io.tables import Interval, Track, read_bed, unique_pairs
from predictd.io.tensor.layout import ShardPlan, most_bins, plan_shards
from predictd.io.tensor.manifest import ExperimentEntry, GenomeEntry, Manifest, ShardEntry, SourceFile
from predictd.io.tensor.store import Tensor, describe_shard, shard_path, write_shard
from predictd.io.tracks.bigwig import Uncovered
from predictd.io.tracks.genomes import Genome, built_in_blacklist, load_genome
from predictd.io.tracks.metadata import OUTPUT_TYPE, read_track_table
from predictd.pairs import Experiment
from predictd.provenance import RunRecord, software
from predictd.wording import some
from predictd.workflows.tensor.coverage import warn_incomplete, warn_odd, warn_same_files
from predictd.workflows.tensor.sources import Probe, SignalSource, check_there, probe_tracks

log = logging.getLogger(__name__)

Dtype = Literal["float16", "float32"]


@dataclass(frozen=True)
class IngestOptions:
    """How tracks become a tensor; the defaults are the command line's."""

    genome: str
    regions: Path | None = None
    exclude: str | None = None
    uncovered: Uncovered = "missing"
    bin_size: int = BIN_SIZE
    dtype: Dtype = "float16"
    merge: Literal["mean"] | None = None
    shard_bins: int = MAX_SHARD_BINS
    output_type: str = OUTPUT_TYPE


def ingest(table: Path, output: Path, options: IngestOptions, engine: Engine) -> Tensor:
    """Make a tensor from the tracks of a table, and open it.

    Parameters
    ----------
    table
        Track table (TSV with `cell_type`, `assay`, `path`, and `transform` where it is not arcsinh), or one of those
        that `read_track_table` knows.
    output
        Directory of the tensor.
    options
        Genome, regions and formats.
    engine
        Reads tracks (one task each) and makes shards (one task each).

    Raises
    ------
    PredictdError
        If tracks, table, genome and options do not fit together, or the output cannot be written. What is written
        by then is kept, and the same command goes on from there.
    """
    record = RunRecord.of("ingest", engine, settings=vars(options))
    genome = load_genome(options.genome)
    tracks = _read_tracks(table, genome, options)
    regions, exclude = _intervals(options, genome)
    job = Job(output, _describe(tracks, genome, options, regions, exclude))
    if _finished(job):
        return Tensor(output)
    _begin(job)
    engine.check_shared_paths(job.marker_file)
    with record.stage("read headers"):
        probes = probe_tracks(tracks, job.workspace, genome, engine)
    columns = _columns(tracks, probes)
    plans = plan_shards(
        genome,
        bin_size=options.bin_size,
        max_bins=most_bins(len(columns), options.shard_bins),
        chromosomes=_covered(probes, genome, regions),
        regions=regions,
        exclude=exclude,
    )
    sources = tuple(column.source for column in columns)
    with record.stage("make shards"):
        shared = _Ingesting(output, sources, options.bin_size, options.uncovered, options.dtype)
        entries = engine.map(
            _make_shard, plans, shared, label="shards", sizes=[plan.n_bins for plan in plans]
        )
    manifest = _manifest(table, genome, options, columns, entries)
    record.inputs = {str(table): sha256_of(table)}
    record.results, record.job = _results(manifest), job.checksum
    write_run_json(record, output)
    manifest.write(output)
    job.finish()
    tensor = Tensor(output)
    warn_incomplete(tensor)
    warn_odd(tensor)
    warn_same_files(manifest)
    return tensor


def _read_tracks(table: Path, genome: Genome, options: IngestOptions) -> list[Track]:
    tracks = read_track_table(table, genome=genome.name, output_type=options.output_type)
    if options.merge is None:
        unique_pairs(tracks, table)
    _check_transforms(tracks)
    for track in tracks:
        check_there(track)
    return tracks


def _finished(job: Job) -> bool:
    """Whether this very job has made the whole tensor; raises OutputError where another has."""
    if not exists(job.output / MANIFEST):
        return False
    if job.finished:
        log.info("%s is finished already, from the same input", job.output)
        return True
    if not job.begun:
        raise OutputError(f"{job.output} is a whole tensor already; remove it, or name another directory")
    # Killed after its last shard and file, before it had tidied up.
    job.finish()
    return True


def _begin(job: Job) -> None:
    """Begin the job, or go on with it; raises OutputError where shards exist that nothing describes."""
    nothing_made = not exists(job.output / SHARDS)
    if not nothing_made and read_job(job.output) is None:
        raise OutputError(
            f"{job.output} holds shards, but no record of what they were made from; remove it, or name another "
            "directory"
        )
    job.begin(nothing_made=nothing_made)


@dataclass(frozen=True)
class _Column:
    """An experiment of the tensor: its signal, and the files that this comes from."""

    experiment: Experiment
    source: SignalSource
    files: tuple[SourceFile, ...]


def _columns(tracks: list[Track], probes: list[Probe]) -> list[_Column]:
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


def _manifest(
    table: Path, genome: Genome, options: IngestOptions, columns: list[_Column], shards: list[ShardEntry]
) -> Manifest:
    return Manifest(
        genome=GenomeEntry.of(genome),
        bin_size=options.bin_size,
        dtype=options.dtype,
        uncovered=options.uncovered,
        experiments=tuple(
            ExperimentEntry(
                **column.experiment._asdict(), transform=column.source.transform, sources=column.files
            )
            for column in columns
        ),
        shards=tuple(shards),
        provenance={
            "table": str(table),
            "regions": str(options.regions) if options.regions else None,
            "exclude": options.exclude,
            "software": software(),
        },
    )


def _results(manifest: Manifest) -> dict[str, object]:
    return {
        "experiments": len(manifest.experiments),
        "bins": sum(entry.n_bins for entry in manifest.shards),
        "complete_bins": sum(entry.n_complete for entry in manifest.shards),
        "tensor": manifest.checksum,
    }


def _describe(
    tracks: list[Track],
    genome: Genome,
    options: IngestOptions,
    regions: list[Interval] | None,
    exclude: list[Interval] | None,
) -> dict[str, object]:
    """Everything the tensor depends on, so that an unfinished one is only ever continued from the same input."""

    def state(track: Track) -> dict[str, object]:
        unknown = {"bytes": None, "modified": None}
        return {
            "pair": str(track.experiment),
            "path": track.path,
            "transform": track.transform,
            **(unknown if track.is_url else state_of(as_path(track.path))),
        }

    return {
        "command": "ingest",
        "tracks": [state(track) for track in tracks],
        "genome": {"name": genome.name, "chromosomes": list(genome.chromosomes.items())},
        "regions": regions and [[i.chrom, i.start, i.end] for i in regions],
        "exclude": exclude and [[i.chrom, i.start, i.end] for i in exclude],
        "uncovered": options.uncovered,
        "bin_size": options.bin_size,
        "dtype": options.dtype,
        "merge": options.merge,
        "shard_bins": options.shard_bins,
    }


def _intervals(options: IngestOptions, genome: Genome) -> tuple[list[Interval] | None, list[Interval] | None]:
    regions = exclude = None
    if options.regions is not None:
        regions = read_bed(options.regions)
        genome.check_intervals(regions, options.regions)
    if options.exclude == "auto":
        exclude = built_in_blacklist(genome)
    elif options.exclude is not None:
        exclude = read_bed(as_path(options.exclude))
        genome.check_intervals(exclude, options.exclude)
    return regions, exclude


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
    left_out = [chrom for chrom in genome.chromosomes if chrom in asked - covered]
    if left_out:
        log.warning("no track has %s: left out of the tensor", some(left_out))
    return covered


@dataclass(frozen=True)
class _Ingesting:
    """What all shards have in common."""

    output: Path
    sources: tuple[SignalSource, ...]
    bin_size: int
    uncovered: Uncovered
    dtype: Dtype


def _make_shard(plan: ShardPlan, shared: _Ingesting) -> ShardEntry:
    """Read a shard's bins from every track, transform them and write the shard, unless that was done before."""
    output, sources = shared.output, shared.sources
    if shard_path(output, plan.name).exists():
        return describe_shard(output, plan, len(sources))
    signal = np.empty((plan.n_bins, len(sources)), dtype=shared.dtype)
    largest = float(np.finfo(shared.dtype).max)
    for index, source in enumerate(sources):
        values = source.read(plan.chrom, plan.runs, bin_size=shared.bin_size, uncovered=shared.uncovered)
        if np.nanmax(np.abs(values), initial=0.0) > largest:
            raise TrackError(
                f"{source.named}: signal of {source.label} on {plan.chrom} is too large for {shared.dtype}; ingest "
                "with `dtype` float32, or give the assay a transform"
            )
        signal[:, index] = values
    return write_shard(output, plan, signal)
