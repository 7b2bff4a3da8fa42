"""`predictd report`."""

from __future__ import annotations

from pathlib import Path

import click

from predictd.cli.options import LOCAL, PATH, verbosity


@click.command()
@click.argument("directory", type=PATH)
@click.option(
    "-o", "--output", type=LOCAL, required=True, help="HTML page to write; OUTPUT_files/ goes next to it."
)
@click.option(
    "--metrics", type=PATH, help="Scores of 'predictd evaluate'.  [default: metrics.tsv in DIRECTORY]"
)
@verbosity
def command(directory: Path, output: Path, metrics: Path | None) -> None:
    """Make a page of how far the imputed tracks of DIRECTORY can be trusted.

    DIRECTORY is that of 'predictd cv', or imputed tracks that 'predictd evaluate' has scored. The figures are SVG
    and PNG, the tables TSV, in the directory OUTPUT_files (of report.html: report_files). Needs matplotlib: pip
    install 'predictd[report]'.
    """
    from predictd.workflows.evaluation.report import report

    files = report(directory, output, metrics=metrics)
    click.echo(f"{output}: open it in a browser; figures and tables are in {files}")
