"""`predictd plan`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import click

from predictd.cli.command import Command
from predictd.cli.options import CONFIG, PATH, NumberOrAuto, verbosity
from predictd.config import SolverName, load_config


@click.command(
    cls=Command,
    examples=[
        "predictd plan tensor --rates cv",
        "predictd plan --shape roadmap --on emr --within 48 --compare",
    ],
)
@click.argument("tensor", type=PATH, required=False)
@click.option(
    "--shape",
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
    help="What imputes: the models of a cross-validation, or a single model.",
)
@click.option(
    "--pairs",
    type=click.Choice(["missing", "observed", "all"]),
    default="missing",
    show_default=True,
    help="Pairs to impute.",
)
@click.option("--sd", is_flag=True, help="As for 'predictd impute': write standard deviations, too.")
@click.option(
    "--solver",
    type=click.Choice(get_args(SolverName)),
    help="As for 'predictd cv'.  [default: auto]",
)
@click.option(
    "--rank",
    type=NumberOrAuto(click.IntRange(min=1)),
    metavar="N|auto",
    help="As for 'predictd cv'.  [default: auto]",
)
@click.option(
    "--lambda",
    "penalty",
    type=NumberOrAuto(click.FloatRange(min=0)),
    metavar="X|auto",
    help="As for 'predictd cv'.  [default: auto]",
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
    help="emr: the job has to end within so many hours.",
)
@click.option("--compare", is_flag=True, help="emr: show a cluster of each kind of machine, by price.")
@click.option("--prices", type=PATH, help="TOML file of prices.  [default: that of predictd]")
@click.option(
    "--rates",
    type=PATH,
    multiple=True,
    help="A past run: tensor, output of cv or impute, or a run.json; or what --calibrate wrote. Can be repeated.",
)
@click.option("--calibrate", is_flag=True, help="Measure this machine first by a small job (half a minute).")
@click.option(
    "-o", "--output", type=PATH, help="Keep the plan as JSON; of --calibrate alone, the rates as TOML."
)
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
@verbosity
def command(
    tensor: Path | None, output: Path | None, calibrate: bool, as_json: bool, compare: bool, **options: Any
) -> None:
    """Estimate time, memory, storage and price of ingesting, training, scoring and imputing.

    TENSOR is a tensor that exists already (only its manifest is read); --shape one that does not.
    """
    from predictd.cli.plan_tables import plan_text
    from predictd.io.files import write_json
    from predictd.workflows.planning.calibrate import calibrate as measure
    from predictd.workflows.planning.calibrate import rates_of
    from predictd.workflows.planning.places import Wanted
    from predictd.workflows.planning.plan import make_plan, shape_and_job
    from predictd.workflows.planning.prices import load_prices
    from predictd.workflows.planning.rates import write_rates

    _check(tensor, output, calibrate, compare, options)
    rates = measure() if calibrate else rates_of(options["rates"])
    if output is not None and tensor is None and options["shape"] is None:
        write_rates(output, rates)
        click.echo(f"{output}: rates of this machine; use them with --rates {output}")
        return
    given = {"solver": options["solver"], "rank": options["rank"], "lambda": options["penalty"]}
    settings = load_config(options["config"], {"train": given}).train
    source, sd = tensor or options["shape"], options["sd"]
    shape, job = shape_and_job(source, options["kind"], settings, options["pairs"], sd=sd)
    wanted = Wanted(options["workers"], options["machine"], options["machines"], options["within"])
    plan = make_plan(shape, job, options["place"], wanted, rates, load_prices(options["prices"]))
    if output is not None:
        write_json(output, plan.to_dict())
    click.echo(json.dumps(plan.to_dict(), indent=2) if as_json else plan_text(plan, compare=compare))


def _check(
    tensor: Path | None, output: Path | None, calibrate: bool, compare: bool, options: dict[str, Any]
) -> None:
    """Refuse options that do not go together."""
    emr = options["place"] == "emr"
    if tensor is not None and options["shape"] is not None:
        raise click.UsageError("give either TENSOR or --shape")
    if tensor is None and options["shape"] is None and not (calibrate and output is not None):
        raise click.UsageError("give TENSOR or --shape, or only --calibrate and -o RATES.toml")
    if options["sd"] and options["kind"] != "cv":
        raise click.UsageError("--sd is of --job cv: standard deviations come from a cross-validation")
    if calibrate and options["rates"]:
        raise click.UsageError("give either --calibrate or --rates")
    if not emr and (options["machine"] or options["machines"] or compare):
        raise click.UsageError("--machine, --machines and --compare are for --on emr")
    if emr and options["workers"]:
        raise click.UsageError("--workers is for --on local and slurm; emr has one worker a core")
