"""`predictd report`."""

from __future__ import annotations

from pathlib import Path

import click

from predictd.cli.command import Command
from predictd.cli.options import LOCAL, PATH, verbosity


@click.command(
    cls=Command,
    examples=[
        "predictd report cv -o report.html",
    ],
)
@click.argument("directory", type=PATH)
@click.option(
    "-o", "--output", type=LOCAL, required=True, help="HTML page to write; OUTPUT_files/ goes next to it."
)
@click.option(
    "--metrics", type=PATH, help="Scores of 'predictd evaluate'.  [default: metrics.tsv in DIRECTORY]"
)
@click.option(
    "--method",
    metavar="NAME",
    help="Method of the scores to report on.  [default: the only one that is not a baseline]",
)
@click.option(
    "--tensor",
    type=PATH,
    help="Data set to draw examples from.  [default: the one that DIRECTORY's run.json names]",
)
@click.option(
    "--qc", type=PATH, help="Table of 'predictd qc' to show.  [default: qc.tsv in DIRECTORY, if it is there]"
)
@click.option(
    "--recommended",
    type=PATH,
    help="Table of 'predictd recommend' to show.  [default: rec.tsv in DIRECTORY, if it is there]",
)
@verbosity
def command(
    directory: Path,
    output: Path,
    metrics: Path | None,
    method: str | None,
    tensor: Path | None,
    qc: Path | None,
    recommended: Path | None,
) -> None:
    """Make a page of how far the imputed tracks of DIRECTORY can be trusted.

    DIRECTORY is that of 'predictd cv', or imputed tracks that 'predictd evaluate' has scored. The figures are SVG
    and PNG, the tables TSV, in the directory OUTPUT_files (of report.html: report_files), with *_mqc.json for MultiQC.
    Needs matplotlib: pip install 'predictd[report]'.
    """
    from predictd.workflows.evaluation.report import MoreInput, report

    more = MoreInput(tensor, qc, recommended)
    files = report(directory, output, metrics=metrics, method=method, more=more)
    click.echo(f"{output}: open it in a browser; figures and tables are in {files}")
