"""`predictd network infer`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from predictd.cli.command import Command
from predictd.cli.messages import as_usage
from predictd.cli.options import (
    CONFIG,
    OUTPUT_DIRECTORY,
    PATH,
    SEED,
    NamesOrFile,
    NumberOrFile,
    Steps,
    in_parts,
    make_engine,
    of_matrix,
    on_engine,
)
from predictd.config import NetworkMethod, load_config, network_method

if TYPE_CHECKING:
    from predictd.io.network.expression import MatrixChoice
    from predictd.workflows.network.infer import InferReport


class MethodName(click.Choice):
    """A method of inference, also by the name that others give it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Called by click."""
        return super().convert(network_method(value), param, ctx)


@click.command(
    cls=Command,
    examples=[
        "predictd network infer expression.tsv.gz -o net --regulators factors.txt",
        "predictd network infer cells.h5ad -o sc --layer logs --gene-column symbol",
    ],
    # Of GENIE3, GRNBoost2, pySCENIC and SCENIC+.
    synonyms={
        **dict.fromkeys(
            (
                "--tf",
                "--tfs",
                "--tf-file",
                "--tf-list",
                "--tf-names",
                "--tfs-fname",
                "--transcription-factors",
            ),
            "--regulators",
        ),
        **dict.fromkeys(("--gene-names", "--genes-to-predict"), "--targets"),
        **dict.fromkeys(("--n-trees", "--ntrees", "--n-estimators"), "--trees"),
        **dict.fromkeys(("--num-workers", "--threads", "--n-jobs", "--cores"), "--workers"),
    },
)
@click.argument("expression", type=PATH, required=False)
@OUTPUT_DIRECTORY
@click.option(
    "--from-tensor", "tensor", type=PATH, help="Instead of EXPRESSION: a tensor, whose signal is activity."
)
@click.option(
    "--regions", type=PATH, help="With --from-tensor: BED of promoters; the fourth column names the gene."
)
@click.option("--assay", help="With --from-tensor: assay whose signal is read, e.g. H3K27ac.")
@click.option(
    "--imputed", type=PATH, help="With --from-tensor: imputed tracks, for the cell types without the assay."
)
@click.option(
    "--regulators",
    type=PATH,
    help="Genes that may regulate: a file with one name on each line.  [default: all]",
)
@click.option(
    "--targets",
    type=NamesOrFile(),
    help="Genes whose regulators are inferred: a file with one name on each line, or names separated by commas.  "
    "[default: all]",
)
@click.option(
    "--method",
    type=MethodName(get_args(NetworkMethod)),
    help="Random forests (GENIE3), extra trees, extra trees of several targets, gradient boosting (GRNBoost2), a cheap "
    "baseline, or (auto) extra trees and ridge combined.  [default: rf]",
)
@click.option(
    "--trees", type=click.IntRange(min=1), help="Trees a target.  [default: 1000; grnboost: 5000 at most]"
)
@click.option("--top", type=click.IntRange(min=1), help="Links to keep a target.  [default: 100]")
@click.option(
    "--min-importance",
    type=click.FloatRange(min=0),
    help="Leave out links of lower importance.  [default: 0]",
)
@of_matrix
@click.option(
    "--samples",
    type=PATH,
    help="Table of the samples with series and time, batch, or weight; or an .h5ad, for its obs.",
)
@click.option(
    "--decay",
    type=NumberOrFile(),
    help="With times in --samples: decay rate of all genes, or a table of gene and rate.  "
    "[default: estimated from the series]",
)
@click.option(
    "--quality",
    is_flag=True,
    default=None,
    help="Also measure how well each target is predicted in samples that were left out; about five times as long.",
)
@SEED
@CONFIG
@in_parts
@on_engine
def command(
    expression: Path | None,
    output: Path,
    tensor: Path | None,
    regions: Path | None,
    assay: str | None,
    imputed: Path | None,
    regulators: Path | None,
    targets: Path | list[str] | None,
    method: str | None,
    trees: int | None,
    top: int | None,
    min_importance: float | None,
    choice: MatrixChoice,
    samples: Path | None,
    decay: float | Path | None,
    quality: bool | None,
    seed: int | None,
    config: Path | None,
    steps: Steps,
    engine_name: str | None,
    workers: int | None,
) -> None:
    """Infer a network from EXPRESSION, of genes and samples: a table (.tsv, .csv, .parquet), .h5ad, .loom or 10x.

    A first column headed 'gene' means genes in rows; a header over numbers alone, samples in rows. Writes links.tsv,
    the links from the most important on, and network.h5.
    """
    from predictd.workflows.network.infer import Inference
    from predictd.workflows.network.inputs import choose_source
    from predictd.workflows.network.samples import choose_samples

    with as_usage():
        source = choose_source(
            expression, tensor, regions=regions, assay=assay, imputed=imputed, choice=choice
        )
        chosen = choose_samples(samples, decay)
    given = {"method": method, "trees": trees, "top": top, "min_importance": min_importance}
    settings = load_config(config, {"seed": seed, "network": given | {"quality": quality}})
    job = Inference(
        source,
        output,
        settings.network,
        regulators=regulators,
        choice=choice,
        targets=targets,
        samples=chosen,
        seed=settings.seed,
    )
    with make_engine(engine_name, workers) as engine:
        report = steps.take(job, engine)
    if report is not None:
        _tell(report, output)


def _tell(report: InferReport, output: Path) -> None:
    if report.samples:
        click.echo(report.samples)
    listed = f", listed in {output / 'links.tsv'}" if report.listed else ""
    click.echo(
        f"{output}: {report.n_links} links from {report.n_regulators} regulators to {report.n_targets} genes{listed}"
    )
