"""`predictd evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from predictd.cli.command import ENGINE, Command
from predictd.cli.options import LOCAL, OUTPUT_FILE, PATH, in_section, make_engine, on_engine
from predictd.cli.tables import comparison_table, measures_table


@click.command(
    cls=Command,
    examples=[
        "predictd evaluate imputed truth.tsv -o metrics.tsv",
        "predictd evaluate imputed other-tool truth.tsv -o compared.tsv --tensor tensor",
    ],
)
@click.argument("directories", type=PATH, nargs=-1, required=True, metavar="DIRECTORY...")
@click.argument("tracks", type=PATH)
@OUTPUT_FILE
@click.option(
    "--tensor",
    type=PATH,
    help="Gives bins and baselines.  [default: the one that DIRECTORY's run.json names]",
)
@click.option(
    "--name",
    "names",
    multiple=True,
    help="What the tracks of a directory are called in the output; once for each, in their order.  "
    "[default: model, or the names of several directories]",
)
@click.option("--promoters", type=PATH, help="BED file for MSEprom.")
@click.option("--genes", type=PATH, help="BED file for MSEgene.")
@click.option("--enhancers", type=PATH, help="BED file for MSEenh.")
@click.option(
    "--absent",
    type=click.Choice(["zero", "skip"]),
    default="zero",
    show_default=True,
    help="Bins where an imputed track has no value: count it as 0, or skip them for all methods.",
)
@click.option(
    "--measures",
    type=click.Choice(["predictd", "challenge"]),
    default="predictd",
    show_default=True,
    help="challenge: the nine measures of the ENCODE Imputation Challenge, of untransformed signal.",
)
@click.option(
    "--quantiles", is_flag=True, help="Score all tracks also after mapping them to the observed distribution."
)
@in_section(ENGINE, "--scratch", type=LOCAL, help="Directory for temporary files.")
@on_engine
def command(
    directories: tuple[Path, ...],
    tracks: Path,
    output: Path,
    tensor: Path | None,
    engine_name: str | None,
    workers: int | None,
    **given: Any,
) -> None:
    """Score the imputed tracks in each DIRECTORY (it has a tracks.tsv) against the observed ones listed in TRACKS.

    The same-assay mean, as it is and rescaled to the cell type's amplitude, is scored, too. All methods are compared on
    the same pairs and bins: a second file next to OUTPUT has the differences with intervals, wins and losses.
    """
    from predictd.workflows.evaluation.compare import comparison_path
    from predictd.workflows.evaluation.evaluate import EvaluateOptions, evaluate
    from predictd.workflows.evaluation.regions import Regions

    regions = Regions(*(given.pop(kind) for kind in ("promoters", "genes", "enhancers")))
    options = EvaluateOptions(regions=regions, challenge=given.pop("measures") == "challenge", **given)
    with make_engine(engine_name, workers) as engine:
        report = evaluate(directories, tracks, output, engine, options, tensor=tensor)
    click.echo(measures_table(report.rows))
    click.echo(f"\n{comparison_table(report.comparison)}\n")
    click.echo(f"{comparison_path(output)}: all differences between the methods")
    click.echo(
        f"{output}: all measures of {len({(r['cell_type'], r['assay']) for r in report.rows})} experiments"
    )
