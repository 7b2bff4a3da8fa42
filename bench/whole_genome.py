"""From tracks to a report on a whole genome: `python bench/whole_genome.py FOLDER --fraction 0.01 --fraction 1`.

hg38 at 25 bp (chr1 to chr22 and X: 121 million bins), or a fraction of it, each chromosome shortened alike. It
simulates bigWigs of 60 (`--tracks`) of 10 cell types × 10 assays, as large as real ones, and some of the others to
compare with; then it runs the documented commands with the default solver, each as a process of its own: ingest, qc,
cv, impute --sd, evaluate, report, hub.

FOLDER/fF holds all of a fraction F. A stage is skipped where its result is there and was made by the same commands.
What was stopped (Ctrl-C, SIGTERM) goes on when the program is run again, and its figures are of all tries; what was
killed is made anew, since its figures are lost. Two tables are printed, and kept in FOLDER/whole_genome.json: what each
command took, beside what `predictd plan` says of it (by `--rates` of the next smaller fraction, if there is one; of qc
by the packaged rates); and of each fraction, how many times longer it took than the next smaller one, over the ratio of
their bins: up to 1.1 passes.

A whole genome takes hours and, with four imputed tracks, about 45 GB.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.steps import Record, Step
from predictd.config import TrainSettings
from predictd.constants import BIN_SIZE
from predictd.io.files import write_json
from predictd.io.results import write_rows
from predictd.io.tables import read_tracks
from predictd.io.tensor.manifest import read_manifest
from predictd.io.tracks.genomes import load_genome
from predictd.model.simulate import Simulation
from predictd.pairs import Experiment
from predictd.provenance import software
from predictd.wording import aligned
from predictd.workflows.planning.calibrate import rates_of
from predictd.workflows.planning.rates import load_rates
from predictd.workflows.planning.shape import shape_of
from predictd.workflows.planning.stages import stages_of
from predictd.workflows.planning.work import PlannedJob, PlannedStage, Workload

CHROMOSOMES = [f"chr{name}" for name in (*range(1, 23), "X")]
N_CELLS, N_ASSAYS = 10, 10
# Tracks of so many decimals are about 3.4 bytes a bin, as real ones are; of so much noise that networks are worth it.
DECIMALS, NOISE = 3, 0.3
# Bars: times as long over times as many bins; CPU seconds over those planned, or the other way; bytes of a worker.
STEEPEST, PLAN_OFF, MOST_BYTES = 1.1, 1.3, 4e9
# What `predictd plan` says of a command, by its names of stages. qc makes the moments, which cv then finds.
PLANNED = {
    "ingest": ("ingest",),
    "qc": ("moments",),
    "cv": ("choose", "train", "score"),
    "impute": ("impute",),
}


@dataclass(frozen=True)
class Bench:
    """A fraction of the genome, and its folder."""

    folder: Path
    fraction: float
    n_tracks: int
    n_missing: int
    workers: int

    @cached_property
    def chromosomes(self) -> dict[str, int]:
        """Lengths in bp: whole bins."""
        whole = load_genome("hg38").chromosomes
        return {
            name: max(1, round(whole[name] * self.fraction / BIN_SIZE)) * BIN_SIZE for name in CHROMOSOMES
        }

    @property
    def n_bins(self) -> int:
        """Of all chromosomes."""
        return sum(self.chromosomes.values()) // BIN_SIZE

    @cached_property
    def observed(self) -> tuple[Experiment, ...]:
        """The pairs that have tracks."""
        return Simulation.for_shape(N_CELLS, N_ASSAYS, share=self.n_tracks / (N_CELLS * N_ASSAYS)).experiments

    @cached_property
    def missing(self) -> list[Experiment]:
        """Those that are imputed, drawn from all others."""
        axes = (sorted({pair[i] for pair in self.observed}) for i in (0, 1))
        others = sorted({Experiment(*pair) for pair in product(*axes)} - set(self.observed))
        drawn = np.random.default_rng(0).permutation(len(others))[: self.n_missing]
        return [others[i] for i in sorted(drawn.tolist())]

    @cached_property
    def steps(self) -> list[Step]:
        """All commands in their order."""
        at_once = ("--workers", str(self.workers))
        pairs = ",".join(map(str, self.missing))
        like_real = ("--decimals", str(DECIMALS), "--noise", str(NOISE))
        simulated = ("--genome", "short.chrom.sizes", *like_real, "--no-truth")
        return [
            Step("simulate", ("simulate", "data", "--pairs", "pairs.tsv", *simulated, *at_once), "data"),
            Step(
                "ingest",
                ("ingest", "tracks.tsv", "tensor", "--genome", "short.chrom.sizes", *at_once),
                "tensor",
            ),
            Step("qc", ("qc", "tensor", "-o", "qc.tsv", *at_once), "qc.tsv"),
            Step("cv", ("cv", "tensor", "-o", "cv", *at_once), "cv"),
            Step(
                "impute",
                ("impute", "cv", "tensor", "-o", "imputed", "--pairs", pairs, "--sd", *at_once),
                "imputed",
            ),
            Step(
                "evaluate", ("evaluate", "imputed", "truth.tsv", "-o", "metrics.tsv", *at_once), "metrics.tsv"
            ),
            Step("report", ("report", "cv", "-o", "report.html", "--qc", "qc.tsv"), "report.html"),
            Step("hub", ("hub", "imputed", "-o", "hub", "--observed", "tracks.tsv"), "hub"),
        ]

    def needed(self) -> dict[str, float]:
        """Bytes that the results take, by step; links in a hub take none."""
        rates, bins = load_rates(), self.n_bins
        return {
            "simulate": bins * (self.n_tracks + len(self.missing)) * rates.track_bytes,
            "ingest": bins * self.n_tracks * 2 / rates.compression,
            "impute": bins * 2 * len(self.missing) * rates.imputed_bytes,
        }


def record_of(bench: Bench) -> Record:
    """What was measured of a fraction."""
    inputs = [list(bench.chromosomes.items()), bench.n_tracks, [*map(str, bench.missing)]]
    return Record(bench.folder, bench.steps, inputs)


def make(bench: Bench) -> Record:
    """Run what is not done; SystemExit where a command fails, or it is to stop."""
    bench.folder.mkdir(parents=True, exist_ok=True)
    record = record_of(bench)
    todo = record.todo()
    if todo:
        _require_room(bench, [step for step, _ in todo])
        rows = [*bench.observed, *bench.missing]
        write_rows(bench.folder / "pairs.tsv", ("cell_type", "assay"), sorted(rows))
        write_rows(bench.folder / "short.chrom.sizes", (), bench.chromosomes.items())
    for step, key in todo:
        if step.name == "ingest":
            _divide(bench)
        record.run(step, key)
    return record


def _require_room(bench: Bench, todo: list[Step]) -> None:
    needed, names = bench.needed(), [step.name for step in todo]
    outputs = {step.name: bench.folder / step.output for step in todo}
    there = sum(_size(outputs[name]) for name in needed if name in names)
    wanted, free = sum(needed[name] for name in needed if name in names), shutil.disk_usage(bench.folder).free
    if wanted * 1.1 > free + there:
        told = ", ".join(f"{name} {needed[name] / 1e9:.1f}" for name in needed if name in names)
        sys.exit(
            f"{bench.folder}: needs {wanted * 1.1 / 1e9:.1f} GB ({told}, and a tenth to spare), and "
            f"{(free + there) / 1e9:.1f} are free; take fewer --missing, or a smaller --fraction"
        )


def _divide(bench: Bench) -> None:
    """List the tracks of observed pairs, and those to compare with."""
    tracks = {track.experiment: track.path for track in read_tracks(bench.folder / "data" / "tracks.tsv")}
    for name, pairs in (("tracks", bench.observed), ("truth", bench.missing)):
        rows = [(*pair, Path(tracks[pair]).relative_to(bench.folder.resolve())) for pair in pairs]
        write_rows(bench.folder / f"{name}.tsv", ("cell_type", "assay", "path"), rows)


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def planned(bench: Bench, before: Bench | None) -> dict[str, list[PlannedStage]]:
    """What `plan` says of commands, by what they took of a smaller fraction; without one, by the packaged rates."""
    runs = [] if before is None else [before.folder / name for name in ("tensor", "cv", "imputed")]
    shape = shape_of(read_manifest(bench.folder / "tensor"))
    job = PlannedJob("cv", TrainSettings(), len(bench.missing), sd=True, workers=bench.workers)
    stages = {stage.name: stage for stage in stages_of(Workload(shape, rates_of(runs), job))}
    # Processes of cv start, too, for what qc has left of it.
    first = stages["moments"]
    reads = stages["choose"].reads + first.processes * load_rates().start_bytes
    stages["choose"] = replace(stages["choose"], start=first.start, processes=first.processes, reads=reads)
    return {name: [stages[one] for one in ones] for name, ones in PLANNED.items()}


def cpu_seconds(stage: PlannedStage, workers: int) -> float:
    """Of a stage while all workers are at it, which cores then take longer for."""
    starting = stage.processes * stage.start
    speed = 1.0 if workers == 1 else load_rates().efficiency
    return starting + (stage.core_seconds - starting) / speed


def figures(bench: Bench, record: Record, before: Bench | None) -> dict[str, dict[str, float]]:
    """What each step took, in seconds and bytes, beside what was planned."""
    plan = planned(bench, before)
    tensor = _size(bench.folder / "tensor" / "shards")
    found = {}
    for step in bench.steps:
        usage = record.usage(step.name)
        row: dict[str, float] = asdict(usage) | {"largest_worker_bytes": max(usage.worker_bytes, default=0)}
        row["read_over_tensor"] = usage.read_bytes / tensor
        if stages := plan.get(step.name):
            row["planned_cpu_seconds"] = sum(cpu_seconds(stage, bench.workers) for stage in stages)
            row["planned_worker_bytes"] = max(stage.memory for stage in stages)
            row["planned_read_bytes"] = sum(stage.reads for stage in stages)
            row["planned_written_bytes"] = sum(stage.writes for stage in stages)
        found[step.name] = row
    return found


def table(bench: Bench, found: dict[str, dict[str, float]]) -> str:
    """The figures of a fraction for people; what misses a bar is marked."""

    def shown(row: dict[str, float], name: str, unit: float, digits: int) -> str:
        return f"{row[name] / unit:,.{digits}f}" if name in row else ""

    def ratio(row: dict[str, float]) -> str:
        if "planned_cpu_seconds" not in row:
            return ""
        found = row["cpu_seconds"] / row["planned_cpu_seconds"]
        return f"{found:.2f}{'' if 1 / PLAN_OFF <= found <= PLAN_OFF else ' !'}"

    head = (
        "",
        "wall s",
        "CPU s",
        "planned",
        "ratio",
        "command GB",
        "worker GB",
        "planned",
        "read GB",
        "planned",
    )
    rows = [(*head, "/ tensor", "written GB", "planned", "tries")]
    for name, row in found.items():
        columns = [
            *(("seconds", 1, 1), ("cpu_seconds", 1, 1), ("planned_cpu_seconds", 1, 1)),
            *(("main_bytes", 1e9, 2), ("largest_worker_bytes", 1e9, 2), ("planned_worker_bytes", 1e9, 2)),
            *(("read_bytes", 1e9, 2), ("planned_read_bytes", 1e9, 2), ("read_over_tensor", 1, 1)),
            *(("written_bytes", 1e9, 2), ("planned_written_bytes", 1e9, 2), ("tries", 1, 0)),
        ]
        cells = [shown(row, *column) for column in columns]
        cells[4] += " !" if row["largest_worker_bytes"] > MOST_BYTES else ""
        rows.append((name, *cells[:3], ratio(row), *cells[3:]))
    title = f"{bench.fraction:g} of hg38: {bench.n_bins:,} bins × {bench.n_tracks} tracks, {len(bench.missing)} imputed"
    return f"{title}, {bench.workers} workers\n{aligned(rows)}"


def slopes(found: dict[Bench, dict[str, dict[str, float]]]) -> dict[str, dict[str, dict[str, float]]]:
    """By fraction and step: times as long as the next smaller fraction, over the ratio of bins; clock and processor."""
    told = {}
    for small, large in pairwise(sorted(found, key=lambda bench: bench.fraction)):
        ratio = large.n_bins / small.n_bins
        told[f"{large.fraction:g} / {small.fraction:g}"] = {
            name: {what: row[what] / found[small][name][what] / ratio for what in ("seconds", "cpu_seconds")}
            for name, row in found[large].items()
        }
    return told


def slope_table(told: dict[str, dict[str, dict[str, float]]]) -> str:
    """Slopes for people; those that are too steep are marked."""
    rows = [("", *(f"{pair}, {what}" for pair in told for what in ("wall", "CPU")))]
    for name in next(iter(told.values())):
        values = [value for steps in told.values() for value in steps[name].values()]
        rows.append((name, *(f"{value:.2f}{' !' if value > STEEPEST else ''}" for value in values)))
    return f"Times as long, over the ratio of bins (! above {STEEPEST})\n{aligned(rows)}"


def earlier(folder: Path, but: Iterable[Bench]) -> Iterator[tuple[Bench, Record]]:
    """Fractions that were measured with the same settings before."""
    known = {bench.folder for bench in but}
    first = next(iter(but))
    for path in sorted(folder.glob("f*/measured.json")):
        try:
            fraction = float(path.parent.name[1:])
        except ValueError:
            # A copy that was put aside.
            continue
        bench = Bench(path.parent, fraction, first.n_tracks, first.n_missing, first.workers)
        record = record_of(bench)
        if bench.folder not in known and not record.todo():
            yield bench, record


def main(arguments: list[str] | None = None) -> None:
    """Run, print and keep."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--fraction", type=float, action="append", help="of hg38; may be repeated [0.01]")
    parser.add_argument("--tracks", type=int, default=60, help="observed pairs, of 100 [60]")
    parser.add_argument(
        "--missing", type=int, default=40, help="pairs to impute and score, of the others [40]"
    )
    parser.add_argument("--workers", type=int, default=2, help="[2]")
    given = parser.parse_args(arguments)
    if any(not 0 < f <= 1 for f in given.fraction or ()) or given.workers < 1:
        parser.error("0 < --fraction <= 1 and --workers >= 1 are needed")
    if not 20 <= given.tracks < 100 or not 1 <= given.missing <= 100 - given.tracks:
        parser.error("20 <= --tracks < 100 and 1 <= --missing <= 100 - --tracks are needed")
    folder = given.folder.resolve()
    benches = [
        Bench(folder / f"f{f:g}", f, given.tracks, given.missing, given.workers)
        for f in sorted(given.fraction or [0.01])
    ]
    made = {bench: make(bench) for bench in benches} | dict(earlier(folder, benches))
    every = sorted(made, key=lambda bench: bench.fraction)
    found = {
        bench: figures(bench, made[bench], before)
        for bench, before in zip(every, [None, *every], strict=False)
    }
    texts = [table(bench, rows) for bench, rows in found.items()]
    kept: dict[str, Any] = {
        f"{bench.fraction:g}": {"bins": bench.n_bins, "steps": rows} for bench, rows in found.items()
    }
    told = slopes(found)
    if told:
        texts.append(slope_table(told))
    write_json(folder / "whole_genome.json", {"fractions": kept, "slopes": told, "software": software()})
    print("\n\n".join(texts))


if __name__ == "__main__":
    main()
