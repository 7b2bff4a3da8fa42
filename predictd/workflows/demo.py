"""`predictd demo`: the whole job on a small simulated genome, step by step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from predictd.config import TrainSettings
from predictd.engine import Engine
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


@dataclass(frozen=True)
class DemoReport:
    """Where the demo's files are, and how well it did.

    Attributes
    ----------
    missing
        Rows of metrics.tsv for the pairs that nobody measured.
    """

    directory: Path
    missing: list[Row]


def demo(directory: Path, engine: Engine, say: Callable[[str, str], None], *, seed: int = 0) -> DemoReport:
    """Run the main job on simulated tracks.

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
    """
    data, tensor, model = directory / "data", directory / "tensor", directory / "model.h5"
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
    impute(model, tensor, directory / "imputed", engine, pairs="missing")

    say("evaluate", "score them against the truth, which the simulation kept")
    report = evaluate(directory / "imputed", data / "truth.tsv", directory / "metrics.tsv", engine)
    return DemoReport(directory, report.rows)
