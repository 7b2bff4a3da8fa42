"""`predictd simulate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from predictd.cli.command import Command
from predictd.cli.options import GENOMES, PATH, SEED, make_engine, on_engine
from predictd.constants import BIN_SIZE


@click.command(
    cls=Command,
    examples=[
        "predictd simulate data --cells 8 --assays 6 --bins 20000",
    ],
)
@click.argument("output", type=PATH)
@click.option("--cells", type=click.IntRange(min=1), default=8, show_default=True, help="Cell types.")
@click.option("--assays", type=click.IntRange(min=1), default=6, show_default=True, help="Assays.")
@click.option(
    "--share",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.5,
    show_default=True,
    help="Observed pairs.",
)
@click.option(
    "--pairs", type=PATH, help="Table of observed pairs (cell_type, assay) instead of a random share."
)
@click.option(
    "--bins",
    type=click.IntRange(min=64),
    default=100_000,
    show_default=True,
    help="Bins of a made-up genome.",
)
@click.option("--genome", help=f"{GENOMES} or a chromosome-sizes file instead of a made-up genome.")
@click.option("--regions", type=PATH, help="BED file: only bins that overlap it (with --genome).")
@click.option(
    "--bin-size",
    type=click.IntRange(min=1),
    default=BIN_SIZE,
    show_default=True,
    help="Width of a bin in bp.",
)
@click.option(
    "--rank", type=click.IntRange(min=1), default=10, show_default=True, help="Components of the truth."
)
@click.option(
    "--noise",
    type=click.FloatRange(min=0),
    default=0.08,
    show_default=True,
    help="Noise sd in arcsinh space.",
)
@click.option(
    "--amplitudes",
    type=click.FloatRange(min=0),
    default=0.3,
    show_default=True,
    help="Log-sd over cell types.",
)
@click.option(
    "--peaks",
    type=click.FloatRange(-10, 5),
    default=1.5,
    show_default=True,
    help="Threshold: higher, rarer and steeper.",
)
@click.option(
    "--shortest", type=float, default=15.0, show_default=True, help="Shortest correlation length in bins."
)
@click.option(
    "--longest", type=float, default=3000.0, show_default=True, help="Longest correlation length in bins."
)
@click.option(
    "--decimals",
    type=click.IntRange(0, 5),
    help="Digits after the point in tracks; 3: files as large as real ones.  [default: all]",
)
@click.option(
    "--as",
    "form",
    type=click.Choice(["tracks", "tensor"]),
    default="tracks",
    show_default=True,
    help="bigWigs or shards.",
)
@click.option("--truth/--no-truth", default=True, show_default=True, help="Write the missing pairs, too.")
@SEED
@on_engine
def command(
    output: Path,
    form: Any,
    truth: bool,
    seed: int | None,
    engine_name: str | None,
    workers: int | None,
    **options: Any,
) -> None:
    """Make a data set in OUTPUT that follows the model and looks like signal tracks; the truth is kept, too.

    The same seed gives the same signal, whatever the form and the number of workers.
    """
    from predictd.workflows.tensor.simulate import SimulationOptions, simulate

    chosen = SimulationOptions(seed=seed or 0, **options)
    simulation, place = chosen.simulation(), chosen.place()
    with make_engine(engine_name, workers) as engine:
        simulate(output, simulation, place, engine, form=form, truth=truth)
    known = len(simulation.experiments)
    pairs = len(simulation.cell_types) * len(simulation.assays)
    others = f", the other {pairs - known} in truth" if truth and known < pairs else ""
    click.echo(f"{output}: {known} of {pairs} experiments as {form}{others}")
