"""`predictd demo`: the whole job on a small simulated genome, step by step."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from predictd.config import TrainSettings
from predictd.constants import BASELINES, MANIFEST, MEASURES, METRIC_KEYS, METRICS_TSV, RUN_JSON, TRACKS_TSV
from predictd.engine import Engine
from predictd.errors import AlreadyFinished, OutputError
from predictd.io.files import exists, make_directory, write_json
from predictd.io.partition import first_difference
from predictd.io.tables import read_scores
from predictd.io.tensor.store import Tensor
from predictd.model.simulate import Simulation
from predictd.workflows.evaluation.evaluate import evaluate
from predictd.workflows.evaluation.score import Row
from predictd.workflows.imputing.impute import impute
from predictd.workflows.tensor.folds import write_folds
from predictd.workflows.tensor.ingest import IngestOptions, ingest
from predictd.workflows.tensor.simulate import SimulatedGenome, simulate
from predictd.workflows.training.train import train

CELLS, ASSAYS, SHARE, BINS, RANK = 10, 6, 0.6, 60_000, 5


# Which demo a directory holds.
_DEMO_JSON = "demo.json"


@dataclass(frozen=True)
class DemoReport:
    """Where the demo's files are, and how well it did.

    Attributes
    ----------
    directory
        Of the files.
    missing
        Rows of metrics.tsv for the pairs that nobody measured.
    done_before
        Whether this was an earlier run, and nothing was done.
    """

    directory: Path
    missing: list[Row]
    done_before: bool = False


def demo(directory: Path, engine: Engine, say: Callable[[str, str], None], *, seed: int = 0) -> DemoReport:
    """Run the main job on simulated tracks; one that was stopped goes on, one that is finished is only reported.

    Parameters
    ----------
    directory
        Where everything is written.
    engine
        What runs it.
    say
        Called before each step with its name, which is that of the command that does the same, and what it does.
    seed
        Of the simulation, the folds and the descent.

    Raises
    ------
    OutputError
        If the directory holds something else, or the demo of another seed.
    """
    metrics = directory / METRICS_TSV
    _begin(
        directory,
        {"cells": CELLS, "assays": ASSAYS, "share": SHARE, "bins": BINS, "rank": RANK, "seed": seed},
    )
    data, tensor, model = directory / "data", directory / "tensor", directory / "model.h5"
    made = (data / TRACKS_TSV, tensor / MANIFEST, model, directory / "imputed" / TRACKS_TSV, metrics)
    # The record comes last.
    if all(map(exists, (*made, metrics.with_name(f"{METRICS_TSV}.{RUN_JSON}")))):
        rows = read_scores(metrics, text=METRIC_KEYS, numbers=MEASURES)
        in_order = sorted(rows, key=lambda row: row["method"] in BASELINES)
        return DemoReport(directory, [dict(row) for row in in_order], done_before=True)
    say(
        "simulate", f"simulate {CELLS} cell types × {ASSAYS} assays, {SHARE:.0%} of them measured, as bigWigs"
    )
    simulation = Simulation.for_shape(CELLS, ASSAYS, share=SHARE, rank=RANK, seed=seed)
    simulate(data, simulation, SimulatedGenome.of_bins(BINS), engine)

    say("ingest", "bin the tracks and store them as a tensor")
    genome = str(data / "genome.chrom.sizes")
    ingest(data / "tracks.tsv", tensor, IngestOptions(genome=genome), engine)

    say("folds", "divide the experiments for cross-validation")
    write_folds(Tensor(tensor), directory / "folds.json", tests=5, valids=8, seed=seed)

    say("train", "fit the factors; some experiments decide when to stop, then all are fitted")
    train(tensor, model, TrainSettings(rank=RANK), engine, seed=seed)

    say("impute", "impute the experiments that nobody measured")
    with suppress(AlreadyFinished):
        impute(model, tensor, directory / "imputed", engine, pairs="missing")

    say("evaluate", "score them against the truth, which the simulation kept")
    report = evaluate(directory / "imputed", data / "truth.tsv", metrics, engine)
    return DemoReport(directory, report.rows)


def _begin(directory: Path, description: dict[str, Any]) -> None:
    """Say in the directory which demo it holds, unless it does so already."""
    path = directory / _DEMO_JSON
    if not exists(directory) or (directory.is_dir() and not any(directory.iterdir())):
        make_directory(directory)
        write_json(path, description)
        return
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict):
        raise OutputError(
            f"{directory} exists already, and holds no demo: remove it, or name another directory as `output`"
        )
    if found != description:
        raise OutputError(
            f"{directory} holds a demo that was made differently ({first_difference(found, description)}): remove it, "
            "or name "
            "another directory as `output`"
        )
