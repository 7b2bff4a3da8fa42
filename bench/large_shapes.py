"""Tensors of many tracks, by the default solver: `python bench/large_shapes.py FOLDER --shape roadmap`.

roadmap: PREDICTD's own job at its full size: Roadmap's 1014 observed of 127 × 24 pairs over 1,126,469 bins, 1 % of the
genome; `cv`, and all 2034 missing pairs by `impute` into bigWigs. encode3: as many experiments as ENCODE3 has, 3814 of
400 × 84; `train`. Signal is simulated. Steps are measured and go on where they were stopped (see whole_genome.py);
figures are printed, and kept in FOLDER/SHAPE/measured.json. roadmap needs 18 GB of disk.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.roadmap import PAIRS
from bench.steps import Record, Step
from predictd.wording import aligned

# Pairs of the shape as `simulate` takes them, its bins, and the commands that follow.
SHAPES = {
    "roadmap": (("--pairs", str(PAIRS)), 1_126_469, ("cv", "impute", "report")),
    "encode3": (("--cells", "400", "--assays", "84", "--share", str(3814 / (400 * 84))), 200_000, ("train",)),
}


def steps_of(shape: str, bins: int, workers: int) -> list[Step]:
    """The commands of a shape."""
    at_once = ("--workers", str(workers))
    pairs, _, names = SHAPES[shape]
    simulated = (
        "simulate",
        "data",
        *pairs,
        "--bins",
        str(bins),
        "--rank",
        "30",
        "--as",
        "tensor",
        "--no-truth",
    )
    tensor = "data/tensor"
    follow = {
        "cv": Step("cv", ("cv", tensor, "-o", "cv", *at_once), "cv"),
        "train": Step("train", ("train", tensor, "-o", "model.h5", *at_once), "model.h5"),
        "impute": Step(
            "impute", ("impute", "cv", tensor, "-o", "imputed", "--pairs", "missing", *at_once), "imputed"
        ),
        "report": Step("report", ("report", "cv", "-o", "report.html"), "report.html"),
    }
    return [Step("simulate", (*simulated, *at_once), "data"), *(follow[name] for name in names)]


def table(record: Record) -> str:
    """The figures for people."""
    rows = [("", "wall s", "CPU s", "command GB", "largest worker GB", "read GB", "written GB", "tries")]
    for step, _ in record:
        usage = record.usage(step.name)
        sizes = usage.main_bytes, max(usage.worker_bytes, default=0), usage.read_bytes, usage.written_bytes
        rows.append(
            (
                step.name,
                f"{usage.seconds:,.0f}",
                f"{usage.cpu_seconds:,.0f}",
                *(f"{size / 1e9:.2f}" for size in sizes),
                str(usage.tries),
            )
        )
    return aligned(rows)


def main(arguments: list[str] | None = None) -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shape", choices=list(SHAPES), default="roadmap", help="[roadmap]")
    parser.add_argument("--bins", type=int, help="[1,126,469 of roadmap, 200,000 of encode3]")
    parser.add_argument("--workers", type=int, default=2, help="[2]")
    given = parser.parse_args(arguments)
    bins = given.bins or SHAPES[given.shape][1]
    folder = given.folder.resolve() / given.shape
    folder.mkdir(parents=True, exist_ok=True)
    record = Record(folder, steps_of(given.shape, bins, given.workers), [])
    for step, key in record.todo():
        record.run(step, key)
    print(f"{given.shape}: {bins:,} bins, {given.workers} workers\n{table(record)}")


if __name__ == "__main__":
    main()
