"""Activity of regions over cell types, from observed and imputed signal: an expression matrix for networks."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from predictd.constants import TRACKS_TSV
from predictd.errors import DataError, TableError
from predictd.io.network.expression import Expression, check_expression
from predictd.io.tables import Interval, read_named_bed, read_tracks, unique_pairs
from predictd.io.tensor.layout import Places
from predictd.io.tensor.store import Shard, Tensor
from predictd.wording import some
from predictd.workflows.tensor.sources import SignalSource

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Activity:
    """What region activity is taken of.

    Attributes
    ----------
    tensor
        Directory of the tensor.
    regions
        BED file; its fourth column names the gene of a region.
    assay
        Whose signal it is.
    imputed
        Directory of imputed tracks (its tracks.tsv), for cell types where the assay was not observed; None: none.
    """

    tensor: Path
    regions: Path
    assay: str
    imputed: Path | None = None


@dataclass
class _GeneSums:
    """Signal and bins of each gene and cell type, and where genes lie."""

    signal: NDArray[np.float64]
    bins: NDArray[np.float64]
    places: dict[str, list[tuple[int, int, int]]] = field(default_factory=dict)


def region_activity(activity: Activity) -> Expression:
    """Mean transformed signal (arcsinh, as the tensor has it) of an assay in each gene's regions, by cell type.

    Regions of one name count as one gene, over all their bins; a bin counts for every region that it overlaps. Genes
    without a bin in the tensor, or without signal in a cell type, are left out with a warning.

    Returns
    -------
    Expression
        (n_genes, n_cells); cell types by name.

    Raises
    ------
    PredictdError
        If tensor, regions and tracks do not fit together, or no gene is left.
    """
    tensor = Tensor(activity.tensor)
    regions = read_named_bed(activity.regions)
    tensor.manifest.load_genome().check_intervals([interval for interval, _ in regions], activity.regions)
    observed = {
        e.cell_type: column for column, e in enumerate(tensor.experiments) if e.assay == activity.assay
    }
    sources = _imputed_sources(tensor, activity, set(observed))
    cells = sorted([*observed, *sources])
    if not cells:
        assays = sorted({experiment.assay for experiment in tensor.experiments})
        raise DataError(f"{activity.tensor} has no experiment of {activity.assay}; it has {some(assays)}")
    genes = list(dict.fromkeys(name for _, name in regions))
    shape = len(genes), len(cells)
    sums = _GeneSums(np.zeros(shape), np.zeros(shape), _places(regions, genes))
    columns = [(place, observed[cell]) for place, cell in enumerate(cells) if cell in observed]
    files = [(place, sources[cell]) for place, cell in enumerate(cells) if cell in sources]
    for name in tensor.shard_names:
        with tensor.open_shard(name) as shard:
            _add_shard(sums, shard, columns, files, tensor)
    whole = np.all(sums.bins > 0, axis=1)
    if not whole.any():
        raise DataError(
            f"no region of {activity.regions} has signal of {activity.assay} in all {len(cells)} cell types of "
            f"{activity.tensor}; are they of the same part of the genome?"
        )
    left_out = [gene for gene, kept in zip(genes, whole.tolist(), strict=True) if not kept]
    if left_out:
        log.warning(
            "%d of the %d genes of %s have no bin in the tensor or no signal in some cell type, and are left out: %s",
            len(left_out),
            len(genes),
            activity.regions,
            some(left_out),
        )
    kept = tuple(gene for gene, whole_gene in zip(genes, whole.tolist(), strict=True) if whole_gene)
    expression = Expression(kept, tuple(cells), sums.signal[whole] / sums.bins[whole], "rows")
    check_expression(activity.regions, expression)
    return expression


def _imputed_sources(tensor: Tensor, activity: Activity, observed: set[str]) -> dict[str, SignalSource]:
    """Imputed tracks of the assay by cell type, of those where it was not observed."""
    if activity.imputed is None:
        return {}
    table = activity.imputed / TRACKS_TSV
    if not table.is_file():
        raise TableError(f"{activity.imputed} has no {TRACKS_TSV}: give a directory of 'predictd impute'")
    transforms = tensor.manifest.transforms
    sources = {
        pair.cell_type: SignalSource(str(pair), (track.path,), transforms.get(pair.assay, track.transform))
        for pair, track in unique_pairs(read_tracks(table), table).items()
        if pair.assay == activity.assay and pair.cell_type not in observed
    }
    if not sources:
        log.warning("%s has no track of %s of another cell type", activity.imputed, activity.assay)
    return sources


def _places(regions: list[tuple[Interval, str]], genes: list[str]) -> dict[str, list[tuple[int, int, int]]]:
    """(gene, start, end) of the regions of each chromosome, in bp."""
    numbers = {gene: i for i, gene in enumerate(genes)}
    places: dict[str, list[tuple[int, int, int]]] = {}
    for region, name in regions:
        places.setdefault(region.chrom, []).append((numbers[name], region.start, region.end))
    return places


def _add_shard(
    sums: _GeneSums,
    shard: Shard,
    columns: list[tuple[int, int]],
    files: list[tuple[int, SignalSource]],
    tensor: Tensor,
) -> None:
    """Add a shard's signal in the regions."""
    places, low, high = _rows_in_regions(sums.places, shard.places)
    if not len(places):
        return
    rows = np.unique(np.concatenate([np.arange(a, b) for a, b in zip(low, high, strict=True)]))
    signal = np.empty((rows.size, sums.signal.shape[1]))
    step = 2**14
    for start in np.unique(rows // step).tolist() if columns else []:
        part = rows // step == start
        block = shard.read(start * step, (start + 1) * step)
        for place, column in columns:
            signal[part, place] = block[rows[part] - start * step, column]
    chosen = shard.places.take(rows)
    for place, source in files:
        # Where nothing was imputed there is nothing, whatever the files say that were ingested.
        signal[:, place] = source.read(chosen, uncovered="missing")
    there = ~np.isnan(signal)
    signal[~there] = 0.0
    # A bin in several regions of a gene counts once.
    added: dict[int, int] = {}
    for index in np.lexsort((low, places[:, 0])).tolist():
        gene, end = int(places[index, 0]), int(high[index])
        first = max(int(low[index]), added.get(gene, 0))
        if first < end:
            own = slice(*np.searchsorted(rows, [first, end]).tolist())
            sums.signal[gene] += signal[own].sum(axis=0)
            sums.bins[gene] += there[own].sum(axis=0)
            added[gene] = end


def _rows_in_regions(
    regions: Mapping[str, list[tuple[int, int, int]]], places: Places
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Regions (gene, start, end: int64, k × 3) that have rows among the places, their first row, the last plus one."""
    found = []
    for rows, own in places.parts():
        spans, here = own.spans(), np.array(regions.get(own.chrom, []), np.int64).reshape(-1, 3)
        low = rows.start + np.searchsorted(spans[:, 1], here[:, 1], side="right")
        high = rows.start + np.searchsorted(spans[:, 0], here[:, 2])
        found.append((here[low < high], low[low < high], high[low < high]))
    every, low, high = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return every, low, high
