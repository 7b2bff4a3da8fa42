"""`predictd info`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from predictd.cli.command import Command
from predictd.cli.options import TENSOR, make_engine, on_engine


@click.command(
    cls=Command,
    examples=[
        "predictd info tensor",
    ],
)
@TENSOR
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@click.option("--verify", "check", is_flag=True, help="Read every shard and compare its checksum.")
@on_engine
def command(tensor: Path, as_json: bool, check: bool, engine_name: str | None, workers: int | None) -> None:
    """Show what TENSOR holds."""
    from predictd.io.tensor.store import Tensor
    from predictd.workflows.tensor.info import describe, verify

    opened = Tensor(tensor)
    if check:
        with make_engine(engine_name, workers) as engine:
            verify(opened, engine)
    contents = describe(opened)
    if as_json:
        click.echo(json.dumps(contents, indent=2))
        return
    click.echo(
        f"{contents['path']}: {contents['cell_types']} cell types × {contents['assays']} assays, "
        f"{len(contents['experiments'])} experiments\n"
        f"{contents['bins']:,} {contents['rows']} on {contents['genome']}, "
        f"{contents['complete_bins'] / contents['bins']:.1%} complete, in {contents['shards']} shards "
        f"({contents['bytes'] / 1e6:.1f} MB, {contents['dtype']})\n"
    )
    click.echo(_experiments_table(contents["experiments"]))


def _experiments_table(experiments: list[dict[str, Any]]) -> str:
    """A line an experiment, below a header."""
    cell_width = max(len("cell type"), *(len(e["cell_type"]) for e in experiments))
    assay_width = max(len("assay"), *(len(e["assay"]) for e in experiments))
    lines = [
        f"{'cell type':{cell_width}}  {'assay':{assay_width}}  transform  observed      mean        sd       max"
    ]
    for e in experiments:
        numbers = "  ".join(
            "       ." if e[key] is None else f"{e[key]:8.3g}" for key in ("mean", "sd", "max")
        )
        lines.append(
            f"{e['cell_type']:{cell_width}}  {e['assay']:{assay_width}}  {e['transform']:9}  {e['observed']:8.1%}  "
            f"{numbers}"
        )
    return "\n".join(lines)
