"""`predictd plan`."""

from __future__ import annotations

import json
import shutil
from math import inf
from pathlib import Path

import click

from predictd.cli.options import CONFIG, PATH, NumberOrAuto, verbosity
from predictd.config import load_config


@click.command()
@click.argument("tensor", type=PATH, required=False)
@click.option(
    "--shape",
    "shape_text",
    metavar="SPEC",
    help="Instead of TENSOR: roadmap, roadmap-1percent, encode3, or cells=127,assays=24,observed=1014,bins=hg19 (or a "
    "number of bins); also a preset with changes: roadmap,bins=1000000.",
)
@click.option(
    "--on",
    "place",
    type=click.Choice(["local", "slurm", "emr"]),
    default="local",
    show_default=True,
    help="Where it would run.",
)
@click.option(
    "--job",
    "kind",
    type=click.Choice(["cv", "train"]),
    default="cv",
    show_default=True,
    help="What is imputed by: the models of a cross-validation, or one.",
)
@click.option(
    "--pairs",
    type=click.Choice(["missing", "observed", "all"]),
    default="missing",
    show_default=True,
    help="Pairs to impute.",
)
@click.option(
    "--solver",
    type=click.Choice(["em", "als", "sgd"]),
    help="As of cv, whose auto is planned as em.  [default: em]",
)
@click.option(
    "--rank", type=NumberOrAuto(click.IntRange(min=1)), metavar="N|auto", help="As of cv.  [default: auto]"
)
@click.option(
    "--lambda",
    "regularisation",
    type=NumberOrAuto(click.FloatRange(min=0)),
    metavar="X|auto",
    help="As of cv.  [default: auto]",
)
@CONFIG
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="local: tasks at once; slurm: CPUs of a task.  [default: the CPUs that may be used; slurm: 2]",
)
@click.option("--machine", metavar="NAME", help="emr: kind of machine.  [default: the cheapest]")
@click.option("--machines", type=click.IntRange(min=1), help="emr: how many.  [default: as --within needs]")
@click.option(
    "--within",
    type=click.FloatRange(min=0, min_open=True),
    default=12.0,
    show_default=True,
    help="Hours in which a cluster is to end.",
)
@click.option("--compare", is_flag=True, help="Compare all kinds of machines by price and time.")
@click.option("--prices", "prices_path", type=PATH, help="TOML file of prices.  [default: the packaged one]")
@click.option(
    "--rates", "rates_path", type=PATH, help="TOML file that --calibrate wrote.  [default: packaged]"
)
@click.option("--calibrate", is_flag=True, help="Measure the rates of this machine first (half a minute).")
@click.option(
    "-o", "--output", type=PATH, help="Keep the plan as JSON; of --calibrate alone, the rates as TOML."
)
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
@verbosity
def command(
    tensor: Path | None,
    shape_text: str | None,
    place: str,
    kind: str,
    pairs: str,
    solver: str | None,
    rank: int | str | None,
    regularisation: float | str | None,
    config: Path | None,
    workers: int | None,
    machine: str | None,
    machines: int | None,
    within: float,
    compare: bool,
    prices_path: Path | None,
    rates_path: Path | None,
    calibrate: bool,
    output: Path | None,
    as_json: bool,
) -> None:
    """Estimate time, memory, storage and price of ingesting, training, scoring and imputing.

    TENSOR is a tensor that stands already (only its manifest is read); --shape one that does not.
    """
    from predictd.cli.plan_tables import plan_text
    from predictd.engine.base import usable_cpus
    from predictd.io.files import write_json
    from predictd.io.tensor.manifest import read_manifest
    from predictd.provenance import physical_memory
    from predictd.workflows.planning import calibrate as calibration
    from predictd.workflows.planning.plan import Here, Wanted, make_plan
    from predictd.workflows.planning.prices import load_prices
    from predictd.workflows.planning.rates import load_rates, write_rates
    from predictd.workflows.planning.shape import parse_shape, shape_of
    from predictd.workflows.planning.work import Job

    nothing = tensor is None and shape_text is None
    if tensor is not None and shape_text is not None:
        raise click.UsageError("give either TENSOR or --shape")
    if nothing and not (calibrate and output is not None):
        raise click.UsageError("give TENSOR or --shape, or only --calibrate and -o RATES.toml")
    if calibrate and rates_path is not None:
        raise click.UsageError("give either --calibrate or --rates")
    if place != "emr" and (machine or machines):
        raise click.UsageError("--machine and --machines are for --on emr")
    if place == "emr" and workers:
        raise click.UsageError("--workers is for --on local and slurm; emr has one worker a core")
    settings = load_config(
        config, {"train": {"solver": solver, "rank": rank, "lambda": regularisation}}
    ).train
    prices = load_prices(prices_path)
    shape = None
    if tensor is not None:
        shape = shape_of(read_manifest(tensor))
    elif shape_text is not None:
        shape = parse_shape(shape_text)
    if calibrate:
        rates, rates_from = calibration.calibrate(), "measured now"
    else:
        rates = load_rates(rates_path)
        rates_from = str(rates_path) if rates_path else "packaged with predictd"
    if shape is None:
        assert output is not None
        write_rates(output, rates)
        click.echo(
            f"{output}: rates of one core of this machine ({rates.cpu}); use them with --rates {output}"
        )
        return
    if workers is None:
        workers = 2 if place == "slurm" else usable_cpus()
    plan = make_plan(
        shape,
        Job(kind, settings, pairs, ingested=tensor is not None),  # type: ignore[arg-type]
        place,  # type: ignore[arg-type]
        Here(workers, physical_memory() or inf, float(shutil.disk_usage(Path()).free)),
        Wanted(workers, machine, machines, within, compare),
        rates,
        prices,
    )
    if output is not None:
        write_json(output, plan.to_dict())
    click.echo(json.dumps(plan.to_dict(), indent=2) if as_json else plan_text(plan, rates_from))
