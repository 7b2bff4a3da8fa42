"""Tables of samples, and networks inferred with them."""

from __future__ import annotations

from predictd.config import NetworkSettings
from predictd.workflows.network.infer import Inference
from predictd.workflows.network.samples import SampleChoice
from read_tables import fields_of


def write_table(path, **columns):
    lines = ["\t".join(columns), *("\t".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
    path.write_text("\n".join(lines) + "\n")
    return path


def infer(folder, output, engine, *, method="ridge", decay=None, table="samples.tsv", **options):
    trees = {"rf": 30, "et": 30, "multi": 5}.get(method)
    return Inference(
        folder / "expression.tsv",
        output,
        NetworkSettings(method=method, trees=trees),
        regulators=folder / "regulators.txt",
        samples=None if table is None else SampleChoice(folder / table, decay),
        **options,
    ).make_all(engine)


def links_of(output):
    return fields_of(output / "links.tsv")[1:]
