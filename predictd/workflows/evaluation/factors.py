"""`predictd factors`: what the factors of a model mean."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from predictd import interrupt
from predictd.errors import ConfigError, DataError, OutputError
from predictd.io.files import make_directory, replacing, sha256_of
from predictd.io.results import write_rows, write_run_json
from predictd.io.tables import Interval, read_bed
from predictd.io.tensor.layout import Coverage
from predictd.io.tensor.store import Tensor
from predictd.model.cp.factors import CPModel
from predictd.model.cp.interpretation import (
    Arrangement,
    GenomeFactors,
    InSignal,
    RegionSums,
    TopBins,
    arrange,
    in_signal,
    require_g_moments,
    sizes,
)
from predictd.progress import progress_bar
from predictd.provenance import RunRecord
from predictd.report.drawing import rendered, require_matplotlib
from predictd.report.factor_figures import embedding_figure, tree_figure
from predictd.report.scores import Cells, Table
from predictd.workflows.imputing.estimators import load_cp_model
from predictd.workflows.tensor.origin import check_origin

log = logging.getLogger(__name__)

# Bins whose factors are computed and ranked at once.
_BLOCK = 2**15
_NAMED = 5
FACTORS_TSV = "factors.tsv"


@dataclass(frozen=True)
class FactorsReport:
    """What was found.

    Attributes
    ----------
    rank
        Factors.
    top_bins
        Listed for each factor; 0 without a tensor.
    empty_bins
        Without factors, since fewer than half of the model's experiments have signal there.
    """

    rank: int
    top_bins: int
    empty_bins: int


@dataclass(frozen=True)
class _Genome:
    """What the pass over the tensor finds; of the largest bins chromosome (a number; L × top), start and end."""

    top: TopBins
    sums: RegionSums
    chroms: npt.NDArray[np.int64]
    spans: npt.NDArray[np.int64]
    empty: int


def explain_factors(
    model_path: Path,
    output: Path,
    *,
    tensor: Path | None = None,
    regions: Mapping[str, Path] | None = None,
    top: int = 1000,
) -> FactorsReport:
    """Write tables and figures of a model's factors, and with a tensor where in the genome each is largest.

    Parameters
    ----------
    model_path
        Of a single model.
    output
        Directory for `cell_types.tsv`, `assays.tsv`, `factors.tsv`, figures, `run.json`; with a tensor also
        `top/factor-N.bed` and with regions `enrichment.tsv`.
    tensor
        The tensor that has the model's training experiments. Models of earlier versions do not say how large the
        genome's factors are: this then follows from all bins of the tensor that have factors.
    regions
        BED files by name.
    top
        Bins listed for each factor.

    Raises
    ------
    PredictdError
        If model, tensor and regions do not fit, the model does not say how large the genome's factors are and no
        tensor is given, or matplotlib is missing.
    """
    require_matplotlib()
    if regions and tensor is None:
        raise ConfigError("`regions` needs `tensor` as well")
    model, file = load_cp_model(model_path)
    if tensor is None:
        require_g_moments(model)
    record = RunRecord("factors", settings={"top": top})
    record.inputs = {str(model_path): sha256_of(model_path)}
    opened, covered = None, {}
    if tensor is not None:
        opened = Tensor(tensor)
        opened.columns(model.train)
        check_origin(file.info, model_path, opened)
        covered = _coverages(opened, regions or {})
        record.inputs[str(tensor)] = opened.manifest.checksum
    if (output / FACTORS_TSV).exists():
        raise OutputError(f"{output} holds {FACTORS_TSV} already; remove the directory, or name another")
    make_directory(output)
    report = FactorsReport(model.rank, 0, 0)
    if opened is not None:
        with record.stage("genome"):
            genome = _sweep(model, opened, covered, top)
            if model.g_moments is None:
                model = replace(model, g_moments=genome.sums.g_moments)
            _write_top(output / "top", opened, genome)
        if covered:
            _write_table(output / "enrichment.tsv", _enrichment(opened, covered, genome))
        report = FactorsReport(model.rank, genome.top.values.shape[1], genome.empty)
    with record.stage("draw"):
        _draw(model, output)
    record.results = asdict(report)
    record.train = [str(e) for e in model.train]
    write_run_json(record, output)
    _write_table(output / FACTORS_TSV, _factors_table(model))
    return report


@dataclass(frozen=True)
class FactorTables:
    """Factors of cell types and of assays, and how alike these are by them.

    Attributes
    ----------
    rows
        Cell types and assays, in the unit of signal.
    arranged
        Order of a tree, clusters and two coordinates of both.
    tables
        By kind, `cell_types` and `assays`: rows in the order of the tree.
    """

    rows: tuple[InSignal, InSignal]
    arranged: tuple[Arrangement, Arrangement]
    tables: dict[str, Table]


def factor_tables(model: CPModel) -> FactorTables:
    """What the rows of a model's factors say, in the unit of transformed signal; see `in_signal`."""
    c, a = in_signal(model)
    cells, assays = arrange(c.points), arrange(a.points)
    tables = {
        "cell_types": _rows_table("cell_type", model.cell_types, c.parts, cells, model.p),
        "assays": _rows_table("assay", model.assays, a.parts, assays, model.q),
    }
    return FactorTables((c, a), (cells, assays), tables)


def _draw(model: CPModel, output: Path) -> None:
    """Tables and figures of cell types and of assays."""
    found = factor_tables(model)
    panels = []
    for kind, title, names, rows, arranged in zip(
        ("cell_types", "assays"),
        ("Cell types", "Assays"),
        (model.cell_types, model.assays),
        found.rows,
        found.arranged,
        strict=True,
    ):
        _write_table(output / f"{kind}.tsv", found.tables[kind])
        tree = partial(tree_figure, names, rows.parts, arranged.tree, arranged.order)
        _write_figure(output / kind, rendered(tree))
        panels.append((title, names, arranged.coordinates, arranged.clusters, arranged.explained))
    _write_figure(output / "embedding", rendered(partial(embedding_figure, panels)))


def _coverages(tensor: Tensor, regions: Mapping[str, Path]) -> dict[str, Coverage]:
    """Which bins each BED file covers; raises TableError for one that is empty or of another genome."""
    genome = tensor.manifest.load_genome()
    found = {}
    for name, path in regions.items():
        intervals: list[Interval] = read_bed(path)
        genome.check_intervals(intervals, f"`regions` {name}: {path}")
        found[name] = Coverage(intervals)
    return found


def _sweep(model: CPModel, tensor: Tensor, covered: Mapping[str, Coverage], n_top: int) -> _Genome:
    """One pass over the tensor: the genome's factors by the closed form, their largest bins, and sums in regions."""
    columns = tensor.columns(model.train)
    solve = GenomeFactors(model)
    top, sums = TopBins(model.rank, n_top), RegionSums(model.rank, len(covered))
    empty = 0
    with progress_bar("shards", len(tensor.shard_names)) as bar:
        for name in tensor.shard_names:
            with tensor.open_shard(name) as shard:
                masks = [coverage.mask(shard.places) for coverage in covered.values()]
                for start, signal in shard.blocks(_BLOCK):
                    interrupt.stop_if_asked()
                    genome = solve(signal[:, columns])
                    empty += int(np.isnan(genome).any(axis=1).sum())
                    top.add(genome)
                    sums.add(genome, [mask[start : start + len(signal)] for mask in masks])
            bar.update()
    for index, name in enumerate(covered):
        if not sums.inside(index):
            raise DataError(f"`regions` {name}: no bin of {tensor.path} overlaps its intervals")
    if empty:
        log.warning("%d bins have no factors: under half of the model's experiments have signal there", empty)
    return _Genome(top, sums, *_positions(tensor, top.places), empty)


def _write_top(folder: Path, tensor: Tensor, genome: _Genome) -> None:
    """A BED file a factor: its largest bins, neighbours joined, scores from 0 to 1000 by the largest value."""
    regions = tensor.manifest.bin_size is None
    names = tensor.manifest.chroms
    width = len(str(len(genome.spans)))
    make_directory(folder)
    for factor, (values, chrom, own) in enumerate(
        zip(genome.top.values, genome.chroms, genome.spans, strict=True), start=1
    ):
        order = np.lexsort((own[:, 0], chrom))
        apart = own[order[1:], 0] > own[order[:-1], 1]
        borders = np.flatnonzero((np.diff(chrom[order]) != 0) | apart | regions) + 1
        largest = max(float(values.max()), 1e-300)
        rows: list[tuple[str | int | float, ...]] = []
        for piece in np.split(order, borders):
            name = names[chrom[piece[0]]]
            start, end = int(own[piece[0], 0]), int(own[piece[-1], 1])
            value = float(values[piece].max())
            score = round(1000 * min(max(value / largest, 0.0), 1.0))
            rows.append((name, start, end, f"factor{factor}", score, ".", value))
        write_rows(folder / f"factor-{factor:0{width}d}.bed", (), rows)


def _positions(
    tensor: Tensor, places: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Chromosome (its number), and start and end, of places that count the tensor's bins in order."""
    chroms, spans = np.empty_like(places), np.empty((*places.shape, 2), dtype=np.int64)
    number = {name: index for index, name in enumerate(tensor.manifest.chroms)}
    first = 0
    for name in tensor.shard_names:
        with tensor.open_shard(name) as shard:
            inside = (places >= first) & (places < first + shard.n_bins)
            rows = places[inside] - first
            chroms[inside] = [number[name] for name in shard.places.names()[rows].tolist()]
            spans[inside] = shard.places.spans()[rows]
            first += shard.n_bins
    return chroms, spans


def _enrichment(tensor: Tensor, covered: Mapping[str, Coverage], genome: _Genome) -> Table:
    """A line for each factor and region, the regions in the order in which they were given."""
    n_factors, n_top = genome.top.values.shape
    columns = (
        "inside",
        "outside",
        "mean_inside",
        "mean_outside",
        "effect",
        "top_inside",
        "top_outside",
        "odds_ratio",
    )
    names = tensor.manifest.chroms
    rows: list[Cells] = []
    for factor in range(n_factors):
        for region, (name, coverage) in enumerate(covered.items()):
            chroms, spans = genome.chroms[factor], genome.spans[factor]
            top_inside = sum(
                int(np.count_nonzero(coverage.counts_on(names[number], spans[chroms == number])))
                for number in np.unique(chroms).tolist()
            )
            found = genome.sums.enrichment(factor, region, top_inside, n_top)
            rows.append([str(factor + 1), name, *(getattr(found, column) for column in columns)])
    return Table(("factor", "region", *columns), rows)


def _rows_table(
    what: str,
    names: tuple[str, ...],
    rows: npt.NDArray[np.float64],
    found: Arrangement,
    biases: npt.NDArray[np.float64],
) -> Table:
    """Cell types or assays in the order of their tree."""
    table: list[Cells] = [
        [
            names[i],
            str(found.clusters[i]),
            *found.coordinates[i].tolist(),
            float(biases[i]),
            *rows[i].tolist(),
        ]
        for i in found.order.tolist()
    ]
    factors = (f"factor{number}" for number in range(1, rows.shape[1] + 1))
    return Table((what, "cluster", "component1", "component2", "bias", *factors), table)


def _factors_table(model: CPModel) -> Table:
    """A line a factor, the largest first: its size, and the cell types and assays that have most of it."""
    c, a = in_signal(model)
    size = sizes(model)
    rows: list[Cells] = []
    for factor in np.argsort(-size, kind="stable").tolist():
        named = [
            ", ".join(f"{names[i]} ({values[i, factor]:.2g})" for i in _largest(values[:, factor]))
            for names, values in ((model.cell_types, c.parts), (model.assays, a.parts))
        ]
        rows.append([str(factor + 1), float(size[factor]), *named])
    return Table(("factor", "size", "cell_types", "assays"), rows)


def _largest(values: npt.NDArray[np.float64]) -> list[int]:
    found: list[int] = np.argsort(-np.abs(values), kind="stable")[:_NAMED].tolist()
    return found


def _write_table(path: Path, table: Table) -> None:
    write_rows(path, table.columns, table.rows)


def _write_figure(path: Path, files: Mapping[str, bytes]) -> None:
    for suffix, content in files.items():
        with replacing(path.with_name(f"{path.name}.{suffix}")) as temporary:
            temporary.write_bytes(content)
