"""`predictd ingest`: signal tracks, or a matrix of signal, in; a tensor of shards out."""

from __future__ import annotations

import logging
from pathlib import Path

from predictd.constants import MANIFEST, SHARDS
from predictd.engine import Engine
from predictd.errors import AlreadyFinished, OutputError
from predictd.io.files import checksums, exists
from predictd.io.names import has_suffix
from predictd.io.partition import Job, read_job
from predictd.io.remote import as_path
from predictd.io.results import write_run_json
from predictd.io.tables import Interval, read_bed
from predictd.io.tensor.manifest import GenomeEntry, Manifest, version_of
from predictd.io.tensor.store import Tensor
from predictd.io.tracks.genomes import BUILT_IN, Genome, built_in_blacklist, load_genome
from predictd.io.tracks.matrix import Matrix, is_matrix
from predictd.io.tracks.metadata import is_track_table
from predictd.provenance import RunRecord, software
from predictd.workflows.tensor.binning import TracksInput
from predictd.workflows.tensor.coverage import warn_incomplete, warn_odd, warn_same_files
from predictd.workflows.tensor.inputs import IngestOptions, Input, Made, Place
from predictd.workflows.tensor.matrix import MatrixInput

log = logging.getLogger(__name__)


def ingest(source: Path | Matrix, output: Path, options: IngestOptions, engine: Engine) -> Tensor:
    """Make a tensor from the tracks of a table, or from a matrix, and open it.

    Parameters
    ----------
    source
        Track table (TSV with `cell_type`, `assay`, `path`, and `transform` where it is not arcsinh), or one of those
        that `read_track_table` knows; or a matrix of regions × experiments, in memory or as a file that `read_matrix`
        knows.
    output
        Directory of the tensor.
    options
        Genome, regions and formats.
    engine
        Reads tracks (one task each) and makes shards (one task each). A matrix is read where the function is called.

    Raises
    ------
    PredictdError
        If tracks or matrix, genome and options do not fit together, or the output cannot be written. What is written
        by then is kept, and the same command goes on from there.
    """
    record = RunRecord.of("ingest", engine, settings=vars(options))
    genome = load_genome(options.genome)
    place = Place(genome, *_intervals(options, genome))
    signal: Input
    if isinstance(source, Matrix) or options.bins is not None or (is_matrix(source) and not _lists(source)):
        signal = MatrixInput(source, options, place)
    else:
        signal = TracksInput(source, options, place)
    job = Job(output, _describe(signal, options, place))
    if _finished(job):
        return Tensor(output)
    record.inputs = signal.checksums | _checksums(options)
    try:
        with job.made_by_many():
            _begin(job)
            record.resumed = job.resumed
            engine.check_shared_paths(job.marker_file)
            manifest = _manifest(signal, signal.make(job, engine, record), options, genome)
            record.results, record.job = _results(manifest), job.checksum
            job.require_begun()
            write_run_json(record, output)
            manifest.write(output)
            job.finish()
    except AlreadyFinished as finished:
        log.info("%s", finished)
        return Tensor(output)
    tensor = Tensor(output)
    warn_incomplete(tensor)
    warn_odd(tensor)
    warn_same_files(manifest)
    return tensor


def genome_file(name: str) -> Path | None:
    """The chromosome-sizes file that `load_genome` reads for this name; None for a built-in genome."""
    path = as_path(name)
    return path if name not in BUILT_IN and exists(path) else None


def _checksums(options: IngestOptions) -> dict[str, str]:
    """Of the files that say where the bins are."""
    own = options.exclude if options.exclude != "auto" else None
    return checksums(genome_file(options.genome), options.regions, None if own is None else as_path(own))


def _lists(source: Path) -> bool:
    """Whether a comma-separated table lists tracks; of other matrices the header says that they are some."""
    return has_suffix(source, (".csv",), packed=True) and is_track_table(source)


def _finished(job: Job) -> bool:
    """Whether this very job has made the whole tensor; raises OutputError where another has."""
    if not exists(job.output / MANIFEST):
        return False
    if job.finished:
        tensor = Tensor(job.output)
        gone = [name for name in tensor.shard_names if not exists(tensor.shard_path(name))]
        if gone:
            raise OutputError(
                f"{job.output} is finished, but shard {gone[0]} is gone; remove it and ingest again"
            )
        log.info("%s is finished already, from the same input", job.output)
        job.tidy()
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


def _manifest(signal: Input, made: Made, options: IngestOptions, genome: Genome) -> Manifest:
    return Manifest(
        version=version_of(made.shards),
        genome=GenomeEntry.of(genome),
        bin_size=signal.bin_size,
        dtype=options.dtype,
        uncovered=options.uncovered,
        experiments=made.experiments,
        shards=made.shards,
        provenance={
            **signal.provenance,
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


def _describe(signal: Input, options: IngestOptions, place: Place) -> dict[str, object]:
    """Everything the tensor depends on, so that an unfinished one is only ever continued from the same input."""
    genome, regions, exclude = place.genome, place.regions, place.exclude
    return {
        "command": "ingest",
        **signal.describe(),
        "genome": {"name": genome.name, "chromosomes": list(genome.chromosomes.items())},
        "regions": regions and [[i.chrom, i.start, i.end] for i in regions],
        "exclude": exclude and [[i.chrom, i.start, i.end] for i in exclude],
        "uncovered": options.uncovered,
        "bin_size": signal.bin_size,
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
