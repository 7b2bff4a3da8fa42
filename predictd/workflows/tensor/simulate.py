"""`predictd simulate`: a made-up data set as signal tracks, or directly as shards."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np

from predictd.constants import (
    BIN_SIZE,
    MANIFEST,
    MAX_OPEN_TRACKS,
    MAX_SHARD_BINS,
    MAX_SHARD_VALUES,
    TRACKS_TSV,
)
from predictd.engine import Engine
from predictd.errors import OutputError
from predictd.io.files import write_json, write_text
from predictd.io.hdf5 import write_arrays
from predictd.io.partition import Job
from predictd.io.results import write_run_json
from predictd.io.tables import Interval, write_tracks
from predictd.io.tensor.layout import ShardPlan, plan_shards
from predictd.io.tensor.manifest import ExperimentEntry, GenomeEntry, Manifest, ShardEntry
from predictd.io.tensor.store import describe_shard, shard_path, write_shard
from predictd.io.tracks.bigwig import BigWigWriter
from predictd.io.tracks.genomes import Genome
from predictd.model.simulate import Simulation, aligned_blocks
from predictd.model.transforms import TRANSFORMS
from predictd.pairs import Experiment
from predictd.provenance import RunRecord

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
    """

    genome: Genome
    regions: list[Interval] | None = None
    bin_size: int = BIN_SIZE

    @classmethod
    def of_bins(cls, n_bins: int, *, chromosomes: int = 2, bin_size: int = BIN_SIZE) -> SimulatedGenome:
        """A made-up genome of so many bins, divided among a few chromosomes."""
        borders = [n_bins * i // chromosomes for i in range(chromosomes + 1)]
        lengths = {f"chr{i + 1}": (borders[i + 1] - borders[i]) * bin_size for i in range(chromosomes)}
        return cls(Genome("simulated", lengths), bin_size=bin_size)

    def plan(self, n_experiments: int) -> list[ShardPlan]:
        return plan_shards(
            self.genome,
            bin_size=self.bin_size,
            max_bins=min(MAX_SHARD_BINS, MAX_SHARD_VALUES // n_experiments),
            chromosomes=self.genome.chromosomes,
            regions=self.regions,
        )


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
    if (output / "simulation.json").exists():
        raise OutputError(f"{output} holds a whole data set already; remove it, or name another directory")
    job = Job(
        output,
        {
            "command": "simulate",
            "simulation": simulation.to_dict(),
            "genome": list(place.genome.chromosomes.items()),
            "regions": place.regions and [[i.chrom, i.start, i.end] for i in place.regions],
            "bin_size": place.bin_size,
            "form": form,
            "truth": truth,
        },
    )
    record = RunRecord.of(
        "simulate",
        engine,
        seed=simulation.seed,
        settings=simulation.to_dict() | {"form": form, "truth": truth},
    )
    job.begin()
    engine.require_sight(job.witness)
    observed = list(simulation.experiments)
    every = [Experiment(*pair) for pair in product(simulation.cell_types, simulation.assays)]
    missing = sorted(set(every) - set(observed)) if truth else []
    for name, pairs in (("tracks" if form == "tracks" else "tensor", observed), ("truth", missing)):
        if pairs:
            with record.stage(name):
                writer = _write_tracks if form == "tracks" else _write_tensor
                writer(output, name, pairs, simulation, place, engine)
    sizes = "".join(f"{chrom}\t{length}\n" for chrom, length in place.genome.chromosomes.items())
    write_text(output / "genome.chrom.sizes", sizes)
    parameters = simulation.parameters
    write_arrays(
        output / "parameters.h5",
        format=PARAMETERS_FORMAT,
        version=1,
        header={"cell_types": simulation.cell_types, "assays": simulation.assays, "mu": parameters.mu},
        arrays={name: getattr(parameters, name) for name in ("C", "A", "p", "q")},
    )
    write_run_json(record, output)
    write_json(output / "simulation.json", simulation.to_dict())
    job.finish()


def _write_tracks(
    output: Path,
    name: str,
    pairs: list[Experiment],
    simulation: Simulation,
    place: SimulatedGenome,
    engine: Engine,
) -> None:
    n_groups = max(-(-len(pairs) // MAX_OPEN_TRACKS), min(engine.workers, len(pairs)))
    groups = [tuple(pairs[i::n_groups]) for i in range(n_groups)]
    engine.map(_make_tracks, groups, (output / name, simulation, place), label=name)
    table = TRACKS_TSV if name == "tracks" else f"{name}.tsv"
    write_tracks(output / table, {pair: f"{name}/{pair.file_stem}.bw" for pair in pairs})


def _make_tracks(pairs: tuple[Experiment, ...], shared: tuple[Path, Simulation, SimulatedGenome]) -> None:
    """Write the bigWigs of some pairs, those that stand already left out."""
    directory, simulation, place = shared
    todo = [pair for pair in pairs if not (directory / f"{pair.file_stem}.bw").exists()]
    chromosomes = list(place.genome.chromosomes)
    to_track = TRANSFORMS["arcsinh"].to_track
    with ExitStack() as undo:
        writers = []
        for pair in todo:
            path = directory / f"{pair.file_stem}.bw"
            writer = BigWigWriter(path, place.genome.chromosomes, bin_size=place.bin_size)
            undo.callback(writer.discard)
            writers.append(writer)
        for plan in place.plan(1) if todo else []:
            for run_first, length in plan.runs.tolist():
                for first, n in aligned_blocks(run_first, length):
                    signal = simulation.signal(todo, run=chromosomes.index(plan.chrom), first=first, n=n)
                    for writer, values in zip(writers, np.ascontiguousarray(to_track(signal).T), strict=True):
                        writer.add(plan.chrom, first, values)
        for writer in writers:
            writer.close()


def _write_tensor(
    output: Path,
    name: str,
    pairs: list[Experiment],
    simulation: Simulation,
    place: SimulatedGenome,
    engine: Engine,
) -> None:
    tensor = output / name
    if (tensor / MANIFEST).exists():
        return
    entries = engine.map(
        _make_shard, place.plan(len(pairs)), (tensor, tuple(pairs), simulation, place), label=name
    )
    Manifest(
        genome=GenomeEntry.of(place.genome),
        bin_size=place.bin_size,
        experiments=tuple(ExperimentEntry(cell_type=pair.cell_type, assay=pair.assay) for pair in pairs),
        shards=tuple(entries),
        provenance={"simulated": True},
    ).write(tensor)


def _make_shard(
    plan: ShardPlan, shared: tuple[Path, tuple[Experiment, ...], Simulation, SimulatedGenome]
) -> ShardEntry:
    """Make one shard of simulated signal, unless it stands already."""
    tensor, pairs, simulation, place = shared
    if shard_path(tensor, plan.name).exists():
        return describe_shard(tensor, plan, len(pairs))
    run = list(place.genome.chromosomes).index(plan.chrom)
    signal = np.empty((plan.n_bins, len(pairs)), dtype=np.float16)
    row = 0
    for run_first, length in plan.runs.tolist():
        for first, n in aligned_blocks(run_first, length):
            signal[row : row + n] = simulation.signal(pairs, run=run, first=first, n=n)
            row += n
    return write_shard(tensor, plan, signal)
