"""Tensors: signal tracks in bins, opened and read by their place in the genome."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from predictd.api import frames
from predictd.api.inputs import (
    Pair,
    Region,
    Source,
    pairs_of,
    path_of,
    path_or_none,
    using,
)
from predictd.engine import Engine
from predictd.errors import ConfigError, DataError
from predictd.io.remote import is_remote
from predictd.io.tensor import store
from predictd.pairs import Experiment, axes
from predictd.wording import some
from predictd.workflows.tensor import info
from predictd.workflows.tensor.fetch import Window, fetch, locate
from predictd.workflows.tracks.export import Selection, as_anndata
from predictd.workflows.tracks.export import export as exporting

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

_COLUMNS = ("cell_type", "assay", "transform", "observed", "mean", "sd", "max")


class Tensor:
    """A tensor of experiments × bins on disk, opened for reading.

    No file stays open between two calls: threads may read at the same time, and what is pickled is the path alone.

    Parameters
    ----------
    path
        Directory that `ingest` or `predictd ingest` made.

    Attributes
    ----------
    path
        The directory.

    Raises
    ------
    TensorFormatError
        If it is missing, unfinished, damaged or foreign.
    """

    def __init__(self, path: Source) -> None:
        own = path_of(path)
        self._shown = str(own)
        self.path = own if is_remote(str(own)) else own.absolute()
        self._opened = store.Tensor(self.path)

    def __reduce__(self) -> tuple[Callable[[Source], Tensor], tuple[Path]]:
        return Tensor, (self.path,)

    @property
    def _tensor(self) -> store.Tensor:
        """The tensor, as long as it is the one that was opened."""
        self._opened.refuse_replaced()
        return self._opened

    @property
    def genome(self) -> str:
        """Name of the genome."""
        return self._tensor.manifest.genome.name

    @property
    def chromosomes(self) -> dict[str, int]:
        """Lengths in bp of the genome's chromosomes, by name."""
        return dict(self._tensor.manifest.genome.chromosomes)

    @property
    def bin_size(self) -> int | None:
        """Width of a bin in bp; None where bins are regions of a matrix."""
        return self._tensor.manifest.bin_size

    @property
    def n_bins(self) -> int:
        """Bins in all."""
        return self._tensor.n_bins

    @property
    def pairs(self) -> list[Experiment]:
        """The experiments, sorted: named tuples of a cell type and an assay."""
        return list(self._tensor.experiments)

    @property
    def regions(self) -> pd.DataFrame:
        """The parts of the genome that the tensor has: `chrom`, `start` and `end` of each stretch of bins in bp."""
        rows: list[tuple[str, int, int]] = []
        for name in self._tensor.shard_names:
            places = self._tensor.places(name)
            spans, chroms = places.spans(), places.names()
            last = places.runs[:, 1].cumsum() - 1
            starts, ends = spans[last - places.runs[:, 1] + 1, 0].tolist(), spans[last, 1].tolist()
            for chrom, start, end in zip(chroms[last].tolist(), starts, ends, strict=True):
                if rows and rows[-1][0] == chrom and rows[-1][2] == start and self.bin_size:
                    rows[-1] = (chrom, rows[-1][1], end)
                else:
                    rows.append((chrom, start, end))
        return frames.frame(rows, ("chrom", "start", "end"))

    @property
    def missing(self) -> list[Experiment]:
        """Pairs of a cell type and an assay that nobody measured, sorted."""
        cell_types, assays = axes(self._tensor.experiments)
        known = set(self._tensor.experiments)
        every = (Experiment(cell_type, assay) for cell_type in cell_types for assay in assays)
        return [pair for pair in every if pair not in known]

    @property
    def cell_types(self) -> list[str]:
        """Names of the cell types, sorted."""
        return axes(self._tensor.experiments)[0]

    @property
    def assays(self) -> list[str]:
        """Names of the assays, sorted."""
        return axes(self._tensor.experiments)[1]

    @property
    def experiments(self) -> pd.DataFrame:
        """A row for each experiment.

        Columns: `cell_type`, `assay`, `transform`, `observed` (share of the bins that have a value), and of the
        transformed signal `mean`, `sd` and `max`. The index is `CELL:ASSAY`.
        """
        table = frames.frame(info.describe(self._tensor)["experiments"], _COLUMNS)
        table.index = frames.require("pandas").Index([str(pair) for pair in self.pairs], name="experiment")
        return table

    def fetch(self, region: Region, pairs: Pair | Iterable[Pair] | None = None) -> npt.NDArray[np.float32]:
        """Observed signal in a region.

        Parameters
        ----------
        region
            `chr1:1,000-2,000` (0-based, half-open), `chr1` for a whole chromosome, or (chromosome, start, end): all
            bins that overlap it.
        pairs
            Experiments, as `E003:H3K4me3` or (cell type, assay); None: all, in the order of `pairs`.

        Returns
        -------
        float32 (bins × experiments)
            In the unit of the tracks; NaN where a value is missing, or the tensor does not have the bin.

        Raises
        ------
        ConfigError, TableError
            If the region is none, or not on the genome.
        DataError
            If the tensor has no bin in the region, or no such experiment.
        """
        return self._fetch(region, pairs)[2]

    def to_xarray(self, region: Region, pairs: Pair | Iterable[Pair] | None = None) -> xr.DataArray:
        """Observed signal in a region with its coordinates; see `fetch`.

        Returns
        -------
        xarray.DataArray
            float32, dimensions `bin` and `experiment`; coordinates `chrom`, `start`, `end` (0-based, half-open) of
            bins, `cell_type` and `assay` of experiments.
        """
        window, wanted, signal = self._fetch(region, pairs)
        return frames.array(window, wanted, signal, name="signal", genome=self.genome)

    def _fetch(
        self, region: Region, pairs: Pair | Iterable[Pair] | None
    ) -> tuple[Window, list[Experiment], npt.NDArray[np.float32]]:
        window = locate(self._tensor, region)
        wanted = self.pairs if pairs is None else pairs_of(pairs)
        self._require(wanted)
        return window, wanted, fetch(self._tensor, window, wanted)

    def _require(self, pairs: Iterable[Experiment]) -> None:
        """Raise DataError for a pair that has no track, and say what was probably meant."""
        known = set(self._tensor.experiments)
        for pair in pairs:
            if pair in known:
                continue
            if pair.cell_type in self.cell_types and pair.assay in self.assays:
                what = "which nobody measured; a model imputes it"
            else:
                near = get_close_matches(str(pair).lower(), {str(e).lower() for e in known}, n=1, cutoff=0.6)
                meant = [str(e) for e in known if [str(e).lower()] == near] or [some(map(str, self.pairs))]
                what = f"{'did you mean' if near else 'it has'} {meant[0]}{'?' if near else ''}"
                if Experiment(pair.assay, pair.cell_type) in known:
                    what = f"did you mean {pair.assay}:{pair.cell_type}?"
            raise DataError(f"{self.path} has no track of {pair}: {what}")

    def to_anndata(
        self,
        pairs: Pair | Iterable[Pair] | None = None,
        *,
        region: Region | None = None,
        regions: Source | None = None,
    ) -> Any:
        """Observed signal as an `anndata.AnnData` in memory: experiments in obs, bins in var.

        Parameters
        ----------
        pairs, region
            See `fetch`; None: all.
        regions
            BED file: only bins that overlap it.
        """
        return as_anndata(self.path, _selection(pairs, region, regions))

    def to_zarr(
        self,
        output: Source,
        pairs: Pair | Iterable[Pair] | None = None,
        *,
        region: Region | None = None,
        regions: Source | None = None,
    ) -> Path:
        """Write observed signal as a Zarr store, which `xarray.open_zarr` opens without reading it; see `export`."""
        return export(self, output, pairs, region=region, regions=regions)

    def verify(self, *, engine: Engine | None = None) -> None:
        """Raise TensorFormatError unless every shard holds the bytes that were written."""
        with using(engine) as own:
            info.verify(self._tensor, own)

    def __repr__(self) -> str:
        return f"<predictd.Tensor {self._shown!r}: {self._shape()}>"

    def _repr_html_(self) -> str:
        return f"<p><b>predictd.Tensor</b> <code>{escape(self._shown)}</code><br>{escape(self._shape())}</p>"

    def _shape(self) -> str:
        return (
            f"{len(self.pairs)} experiments of {len(self.cell_types)} cell types × {len(self.assays)} assays, "
            f"{self.n_bins:,} {self._tensor.manifest.rows} on {self.genome}"
        )


def open_tensor(path: Tensor | Source) -> Tensor:
    """Open a tensor; see `Tensor`."""
    return opened(path)


def opened(tensor: Tensor | Source) -> Tensor:
    """A tensor that is open, or at this path."""
    if isinstance(tensor, Tensor):
        return tensor
    if isinstance(tensor, str) and ":" in tensor and "://" not in tensor and not Path(tensor).exists():
        raise ConfigError(
            f"'{tensor}' is not a tensor; give pairs and regions by name: pairs='…', region='…'"
        )
    return Tensor(tensor)


def export(
    source: Tensor | Source,
    output: Source,
    pairs: Pair | Iterable[Pair] | None = None,
    *,
    region: Region | None = None,
    regions: Source | None = None,
    tensor: Tensor | Source | None = None,
) -> Path:
    """Write signal, in the unit of the tracks, as a file of other tools.

    Parameters
    ----------
    source
        A tensor, or a directory of imputed or exported tracks.
    output
        By its suffix: `.zarr`, a store that xarray opens; `.h5ad`, AnnData with experiments in obs and bins in var;
        `.tsv`, `.tsv.gz`, `.parquet`, a matrix with chrom, start and end. Without a suffix, of a tensor: a directory of
        bigWigs.
    pairs, region
        See `Tensor.fetch`; None: all.
    regions
        BED file: only bins that overlap it.
    tensor
        Whose bins are written of tracks; None: the one that they were imputed from, or exported of.

    Returns
    -------
    pathlib.Path
        What was written.

    Raises
    ------
    PredictdError
        If there is no such signal, a library is missing, or the output cannot be written.
    """
    place = source.path if isinstance(source, Tensor) else path_of(source)
    bins = None if tensor is None else opened(tensor).path
    written = path_of(output)
    exporting(place, written, _selection(pairs, region, regions, bins))
    return written


def _selection(
    pairs: Pair | Iterable[Pair] | None,
    region: Region | None,
    regions: Source | None,
    tensor: Path | None = None,
) -> Selection:
    wanted = None if pairs is None else pairs_of(pairs)
    return Selection(wanted, path_or_none(regions), region, tensor)
