"""`predictd network aucell`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from predictd.cli.command import Command
from predictd.cli.messages import as_usage
from predictd.cli.options import PATH, of_matrix, verbosity

if TYPE_CHECKING:
    from predictd.io.network.expression import MatrixChoice


@click.command(
    cls=Command,
    examples=[
        "predictd network aucell expression.tsv.gz regulons/regulons.gmt -o aucell.tsv",
    ],
)
@click.argument("expression", type=PATH)
@click.argument("sets_path", metavar="SETS", type=PATH)
@click.option(
    "-o",
    "--output",
    type=PATH,
    required=True,
    help="File to write: a table (.tsv, .txt or .csv, all may have .gz), .parquet or .h5ad.",
)
@click.option(
    "--auc-threshold",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.05,
    show_default=True,
    help="Share of the genes that count: those with the highest values of a cell.",
)
@of_matrix
@verbosity
def command(
    expression: Path, sets_path: Path, output: Path, auc_threshold: float, choice: MatrixChoice
) -> None:
    """Score the activity of SETS (GMT), such as regulons, in each cell of EXPRESSION by AUCell's statistic.

    EXPRESSION is a matrix as for 'network infer'. Writes a table of cells and sets.
    """
    from predictd.io.network.cells import check_cells
    from predictd.workflows.network.aucell import write_activity

    with as_usage():
        check_cells(output)
    found = write_activity(expression, sets_path, output, auc_threshold=auc_threshold, choice=choice)
    click.echo(f"{output}: {len(found.sets)} sets in {len(found.cells)} cells")
