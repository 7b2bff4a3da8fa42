"""`predictd factors`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from predictd.cli.command import Command
from predictd.cli.options import LOCAL, PATH, verbosity
from predictd.io.remote import as_path


class NamedFile(click.ParamType):
    """A file with a name: `NAME=PATH`."""

    name = "name=bed"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Split `NAME=PATH` into the name and the path; a pair is given back as it is."""
        if isinstance(value, tuple):
            return value
        name, equals, path = str(value).partition("=")
        if not equals or not path or not name.isprintable() or name != name.strip() or not name:
            self.fail(f"'{value}' is not NAME=BED, e.g. promoters=tss.bed", param, ctx)
        return name, as_path(path)


@click.command(
    cls=Command,
    examples=[
        "predictd factors model.h5 tensor -o factors --regions promoters=promoters.bed",
    ],
)
@click.argument("model", type=PATH)
@click.argument("tensor", type=PATH, required=False)
@click.option("-o", "--output", type=LOCAL, required=True, help="Directory to write.")
@click.option(
    "--regions",
    type=NamedFile(),
    multiple=True,
    metavar="NAME=BED",
    help="Regions in which factors are compared with the rest of TENSOR; may be given several times.",
)
@click.option(
    "--top", type=click.IntRange(min=1), default=1000, show_default=True, help="Bins listed for each factor."
)
@verbosity
def command(
    model: Path, tensor: Path | None, output: Path, regions: tuple[tuple[str, Path], ...], top: int
) -> None:
    """Show what the factors of MODEL mean.

    Cell types and assays are clustered and drawn by the similarity of their factors; with TENSOR, the bins where each
    factor is largest are listed as BED files. MODEL is a single model: a file of 'predictd train', or one of a
    cross-validation's models/. Needs matplotlib: pip install 'predictd[report]'.
    """
    from predictd.workflows.evaluation.factors import explain_factors

    named = dict(regions)
    if len(named) < len(regions):
        raise click.UsageError("--regions: each name may be given once")
    found = explain_factors(model, output, tensor=tensor, regions=named, top=top)
    listed = f"; the {found.top_bins} largest bins of each in {output / 'top'}" if tensor else ""
    click.echo(f"{output}: {found.rank} factors, listed in {output / 'factors.tsv'}{listed}")
