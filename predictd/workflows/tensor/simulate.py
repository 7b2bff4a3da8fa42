"""`predictd simulate`: a made-up data set as signal tracks, or directly as shards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np

from predictd import interrupt
from predictd.constants import (
    BIN_SIZE,
    MANIFEST,
    MAX_OPEN_TRACKS,
    MAX_SHARD_BINS,
    TRACKS_TSV,
)
from predictd.engine import Engine
from predictd.errors import AlreadyFinished, ConfigError, OutputError
from predictd.io.files import checksums, write_json
from predictd.io.hdf5 import write_arrays
from predictd.io.partition import Job
from predictd.io.results import write_rows, write_run_json
from predictd.io.tables import Interval, read_bed, read_pairs, write_tracks
from predictd.io.tensor.layout import ShardPlan, most_bins, plan_shards
from predictd.io.tensor.manifest import ExperimentEntry, GenomeEntry, Manifest, ShardEntry, version_of
from predictd.io.tensor.store import describe_shard, shard_path, write_shard
from predictd.io.tracks.bigwig_writer import BigWigWriter
from predictd.io.tracks.genomes import Genome, load_genome
from predictd.model.simulate import Simulation, aligned_blocks
from predictd.model.transforms import TRANSFORMS
from predictd.pairs import Experiment
from predictd.provenance import RunRecord, given
from predictd.wording import even_parts, even_parts_of_at_most
from predictd.workflows.tensor.ingest import genome_file

Form = Literal["tracks", "tensor"]
PARAMETERS_FORMAT = "predictd-simulation"


@dataclass(frozen=True)
class SimulatedGenome:
    """Where the simulated bins lie.

    Attributes
    ----------
    genome
        Chromosomes; each has a signal of its own.
    regions
        Where given, only bins that overlap one of them are made.
    bin_size
        In bp.
    files
        What was read from files, by what it is: `genome`, `regions`, and `pairs`, which are observed there.
    """

    genome: Genome
    regions: list[Interval] | None = None
    bin_size: int = BIN_SIZE
    files: dict[str, Path] = field(default_factory=dict)

    @classmethod
    def of_bins(cls, n_bins: int, *, chromosomes: int = 2, bin_size: int = BIN_SIZE) -> SimulatedGenome:
        """A made-up genome of so many bins, divided among a few chromosomes."""
        parts = even_parts(n_bins, chromosomes)
        lengths = {f"chr{i}": (end - start) * bin_size for i, (start, end) in enumerate(parts, start=1)}
        return cls(Genome("simulated", lengths), bin_size=bin_size)

    def to_dict(self) -> dict[str, Any]:
        """All settings for run.json; the regions by their file, where they are from one."""
        regions: Path | list[Any] | None = self.files.get("regions")
        if regions is None and self.regions is not None:
            regions = [[i.chrom, i.start, i.end] for i in self.regions]
        return {
            "genome": self.genome.name,
            "chromosomes": self.genome.chromosomes,
            "regions": regions,
            "bin_size": self.bin_size,
        }

    def plan(self, n_experiments: int) -> list[ShardPlan]:
        """Part the bins of the regions, or of the genome, into shards."""
        return plan_shards(
            self.genome,
            bin_size=self.bin_size,
            max_bins=most_bins(n_experiments, MAX_SHARD_BINS),
            chromosomes=self.genome.chromosomes,
            regions=self.regions,
        )


@dataclass(frozen=True)
class SimulationOptions:
    """What a simulated data set is like, in few numbers; the defaults are the command line's.

    Attributes
    ----------
    cells, assays, share
        Numbers of cell types and assays, and the share of their pairs that is observed.
    pairs
        Table of observed pairs instead of these.
    bins
        Of a made-up genome.
    genome, regions
        Instead of it: hg38, mm10, … or a chromosome-sizes file, and a BED file of the regions that are made.
    bin_size
        In bp.
    rank, noise, amplitudes, peaks, shortest, longest, decimals, seed
        See `predictd.model.simulate.Simulation`.
    """

    cells: int = 8
    assays: int = 6
    share: float = 0.5
    pairs: Path | None = None
    bins: int = 100_000
    genome: str | None = None
    regions: Path | None = None
    bin_size: int = BIN_SIZE
    rank: int = 10
    noise: float = 0.08
    amplitudes: float = 0.3
    peaks: float = 1.5
    shortest: float = 15.0
    longest: float = 3000.0
    decimals: int | None = None
    seed: int = 0

    def simulation(self) -> Simulation:
        """The signal.

        Raises
        ------
        PredictdError
            If the table of pairs cannot be read, or a setting is out of range.
        """
        settings: dict[str, Any] = {
            "rank": self.rank,
            "seed": self.seed,
            "noise_sd": self.noise,
            "amplitude_spread": self.amplitudes,
            "peak_threshold": self.peaks,
            "shortest": self.shortest,
            "longest": self.longest,
            "decimals": self.decimals,
        }
        if self.pairs is not None:
            return Simulation(tuple(read_pairs(self.pairs)), **settings)
        return Simulation.for_shape(self.cells, self.assays, share=self.share, **settings)

    def place(self) -> SimulatedGenome:
        """The bins.

        Raises
        ------
        ConfigError
            If there are regions without a genome.
        TableError
            If the genome is not known, or a region is not on it.
        """
        files = given(regions=self.regions, pairs=self.pairs)
        if self.genome is None:
            if self.regions is not None:
                raise ConfigError("`regions` needs `genome`: a made-up genome has none")
            return replace(SimulatedGenome.of_bins(self.bins, bin_size=self.bin_size), files=files)
        genome = load_genome(self.genome)
        files |= given(genome=genome_file(self.genome))
        regions = None if self.regions is None else read_bed(self.regions)
        genome.check_intervals(regions or [], self.regions or "")
        return SimulatedGenome(genome, regions, self.bin_size, files)


def simulate(
    output: Path,
    simulation: Simulation,
    place: SimulatedGenome,
    engine: Engine,
    *,
    form: Form = "tracks",
    truth: bool = True,
) -> None:
    """Write a simulated data set.

    Parameters
    ----------
    output
        Directory. In it `simulation.json` (the settings, from which any signal can be made again), `parameters.h5`
        (the true factors) and `genome.chrom.sizes`; as tracks: `tracks.tsv` with `tracks/*.bw`, and `truth.tsv` with
        `truth/*.bw`, the pairs that nobody measured; as a tensor: `tensor`, and `truth`.
    simulation, place
        The signal, and the bins.
    engine
        What runs it.
    form
        bigWigs in −log10 p, or shards in arcsinh space.
    truth
        Whether the missing pairs are written, too.

    Raises
    ------
    OutputError
        If the output cannot be written or holds another data set.
    """
    job = Job(output, _describe(simulation, place, form, truth=truth))
    if (output / "simulation.json").exists():
        if not (job.finished or job.begun):
            raise OutputError(
                f"{output} holds a whole data set already; remove it, or name another directory"
            )
        job.finish()
        return
    settings = simulation.to_dict() | place.to_dict() | {"form": form, "truth": truth}
    record = RunRecord.of("simulate", engine, seed=simulation.seed, settings=settings)
    record.inputs = checksums(*place.files.values())
    with suppress(AlreadyFinished), job.made_by_many():
        job.begin()
        engine.check_shared_paths(job.marker_file)
        _make(job, _Simulated(output, simulation, place), engine, record, form=form, truth=truth)


def _make(
    job: Job, simulated: _Simulated, engine: Engine, record: RunRecord, *, form: Form, truth: bool
) -> None:
    output, simulation, place = job.output, simulated.simulation, simulated.place
    observed = list(simulation.experiments)
    every = [Experiment(*pair) for pair in product(simulation.cell_types, simulation.assays)]
    missing = sorted(set(every) - set(observed)) if truth else []
    for name, pairs in (("tracks" if form == "tracks" else "tensor", observed), ("truth", missing)):
        if pairs:
            with record.stage(name):
                write = _write_tracks if form == "tracks" else _write_tensor
                write(name, pairs, _Simulated(output / name, simulation, place), engine)
    write_rows(output / "genome.chrom.sizes", (), place.genome.chromosomes.items())
    _write_parameters(output / "parameters.h5", simulation)
    record.job = job.checksum
    write_run_json(record, output)
    write_json(output / "simulation.json", simulation.to_dict())
    job.finish()


def _describe(simulation: Simulation, place: SimulatedGenome, form: Form, *, truth: bool) -> dict[str, Any]:
    return {
        "command": "simulate",
        "simulation": simulation.to_dict(),
        "genome": list(place.genome.chromosomes.items()),
        "regions": place.regions and [[i.chrom, i.start, i.end] for i in place.regions],
        "bin_size": place.bin_size,
        "form": form,
        "truth": truth,
    }


def _write_parameters(path: Path, simulation: Simulation) -> None:
    parameters = simulation.parameters
    write_arrays(
        path,
        format=PARAMETERS_FORMAT,
        version=1,
        header={"cell_types": simulation.cell_types, "assays": simulation.assays, "mu": parameters.mu},
        arrays={name: getattr(parameters, name) for name in ("C", "A", "p", "q")},
    )


@dataclass(frozen=True)
class _Simulated:
    """What tracks or a tensor are made from, and their directory."""

    directory: Path
    simulation: Simulation
    place: SimulatedGenome


def _write_tracks(name: str, pairs: list[Experiment], shared: _Simulated, engine: Engine) -> None:
    parts = even_parts_of_at_most(len(pairs), MAX_OPEN_TRACKS, at_least=engine.workers)
    groups = [tuple(pairs[start:end]) for start, end in parts]
    with interrupt.after(soon="the block of bins at work"):
        engine.map(_make_tracks, groups, shared, label=name)
    table = TRACKS_TSV if name == "tracks" else f"{name}.tsv"
    files = {pair: f"{name}/{pair.file_stem}.bw" for pair in pairs}
    write_tracks(shared.directory.parent / table, files)


def _make_tracks(pairs: tuple[Experiment, ...], shared: _Simulated) -> None:
    """Write the bigWigs of some pairs, those that exist already left out."""
    directory, simulation, place = shared.directory, shared.simulation, shared.place
    todo = [pair for pair in pairs if not (directory / f"{pair.file_stem}.bw").exists()]
    number = {chrom: index for index, chrom in enumerate(place.genome.chromosomes)}
    to_track = TRANSFORMS["arcsinh"].to_track
    with ExitStack() as undo:
        writers = []
        for pair in todo:
            path = directory / f"{pair.file_stem}.bw"
            writer = BigWigWriter(path, place.genome.chromosomes, bin_size=place.bin_size)
            undo.callback(writer.discard)
            writers.append(writer)
        for plan in place.plan(1) if todo else []:
            for chrom, first, n in _blocks(plan):
                interrupt.give_up_if_asked()
                signal = simulation.signal(todo, run=number[chrom], first=first, n=n)
                for writer, values in zip(writers, np.ascontiguousarray(to_track(signal).T), strict=True):
                    writer.add(chrom, first, values)
        for writer in writers:
            writer.close()


@dataclass(frozen=True)
class _SimulatedTensor(_Simulated):
    """The same, with the pairs that are its columns."""

    pairs: tuple[Experiment, ...]


def _write_tensor(name: str, pairs: list[Experiment], shared: _Simulated, engine: Engine) -> None:
    tensor, place = shared.directory, shared.place
    if (tensor / MANIFEST).exists():
        return
    columns = _SimulatedTensor(tensor, shared.simulation, place, tuple(pairs))
    entries = engine.map(_make_shard, place.plan(len(pairs)), columns, label=name)
    Manifest(
        version=version_of(entries),
        genome=GenomeEntry.of(place.genome),
        bin_size=place.bin_size,
        experiments=tuple(ExperimentEntry(cell_type=pair.cell_type, assay=pair.assay) for pair in pairs),
        shards=tuple(entries),
        provenance={"simulated": True},
    ).write(tensor)


def _make_shard(plan: ShardPlan, shared: _SimulatedTensor) -> ShardEntry:
    """Make one shard of simulated signal, unless it exists already."""
    tensor, pairs = shared.directory, shared.pairs
    if shard_path(tensor, plan.name).exists():
        return describe_shard(tensor, plan, len(pairs))
    number = {chrom: index for index, chrom in enumerate(shared.place.genome.chromosomes)}
    signal = np.empty((plan.places.n_bins, len(pairs)), dtype=np.float16)
    row = 0
    for chrom, first, n in _blocks(plan):
        signal[row : row + n] = shared.simulation.signal(pairs, run=number[chrom], first=first, n=n)
        row += n
    return write_shard(tensor, plan, signal)


def _blocks(plan: ShardPlan) -> Iterator[tuple[str, int, int]]:
    """Blocks that signal is made in: chromosome, first bin, number of bins."""
    for contig in plan.places.contigs:
        for run_first, length in contig.runs.tolist():
            for first, n in aligned_blocks(run_first, length):
                yield contig.chrom, first, n
