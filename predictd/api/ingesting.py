"""Signal in: tracks in files, or a matrix, become a tensor."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from predictd.api.inputs import Source, chosen, path_of, path_or_none, table, using, whole
from predictd.api.tensor import Tensor
from predictd.engine import Engine
from predictd.errors import ConfigError
from predictd.io.tracks.bigwig import Uncovered
from predictd.io.tracks.matrix import Matrix, matrix_of_anndata, matrix_of_frame
from predictd.io.tracks.metadata import OUTPUT_TYPE
from predictd.workflows.tensor import ingest as ingesting
from predictd.workflows.tensor.inputs import Dtype

if TYPE_CHECKING:
    import pandas as pd


def ingest(
    signal: Source | pd.DataFrame | Any,
    output: Source,
    *,
    genome: Source,
    regions: Source | None = None,
    exclude: Source | None = None,
    uncovered: Literal["missing", "zero"] = "missing",
    bin_size: int | None = None,
    dtype: Literal["float16", "float32"] = "float16",
    merge: Literal["mean"] | None = None,
    output_type: str = OUTPUT_TYPE,
    bins: Source | None = None,
    transform: str | Mapping[str, str] | None = None,
    engine: Engine | None = None,
) -> Tensor:
    """Make a tensor of signal tracks, or of a matrix of signal in regions.

    Parameters
    ----------
    signal
        Tracks: a table (TSV with `cell_type`, `assay`, `path` of a bigWig or bedGraph, and `transform` where it is not
        arcsinh), a metadata table of ENCODE or Roadmap, or a DataFrame with these columns. Or a matrix: a DataFrame
        (regions × experiments, columns named `CELL:ASSAY`), an AnnData object, or a file of one (.tsv, .csv, .parquet,
        .h5ad); its regions are the bins.
    output
        Directory to write. A call that was interrupted goes on when it is repeated; a finished tensor is opened.
    genome
        Name of an assembly (hg19, hg38, mm10, … or GRCh38, …), or the path of a file of chromosome sizes.
    regions
        BED file: only bins that overlap it.
    exclude
        BED file of what is left out; `auto`: the blacklist that comes with predictd.
    uncovered
        What a bin without data is: missing, or zero.
    bin_size
        Of tracks, in bp; None: 25.
    dtype
        Of the stored signal.
    merge
        `mean`: tracks of the same pair are replicates; None: they are refused.
    output_type
        Of a metadata table of ENCODE: which files are taken.
    bins
        Of a matrix: BED file of its regions, where it does not name them itself.
    transform
        Of a matrix: arcsinh, log1p, logit or none, for all assays or by assay; None: what it says, or arcsinh.
    engine
        What runs it; None: all CPUs of this machine.

    Raises
    ------
    PredictdError
        If signal, genome and options do not fit together, or the output cannot be written.
    """
    chosen("uncovered", uncovered, get_args(Uncovered))
    chosen("dtype", dtype, get_args(Dtype))
    chosen("merge", merge, (None, "mean"))
    named = {} if isinstance(transform, str) or transform is None else transform
    options = ingesting.IngestOptions(
        genome=os.fspath(genome),
        regions=path_or_none(regions),
        exclude=None if exclude is None else os.fspath(exclude),
        uncovered=uncovered,
        bin_size=None if bin_size is None else whole(bin_size, "bin_size", least=1),
        dtype=dtype,
        merge=merge,
        output_type=output_type,
        bins=path_or_none(bins),
        transform=(transform,) if isinstance(transform, str) else tuple(f"{a}={t}" for a, t in named.items()),
    )
    with _signal(signal, path_or_none(bins)) as given, using(engine) as own:
        if isinstance(given, Matrix):
            options = replace(options, bins=None)
        ingesting.ingest(given, path_of(output), options, own)
    return Tensor(output)


@contextmanager
def _signal(signal: Any, bins: Path | None) -> Iterator[Path | Matrix]:
    """Tracks as the file of a table, or a matrix."""
    if hasattr(signal, "obs") and hasattr(signal, "var"):
        yield matrix_of_anndata(signal, bins)
        return
    if hasattr(signal, "columns"):
        missing = [name for name in ("cell_type", "assay", "path") if name not in signal.columns]
        if len(missing) == 3:
            yield matrix_of_frame(signal, bins)
            return
        if missing:
            raise ConfigError(
                f"the DataFrame has no column {' or '.join(missing)}, which a table of tracks needs; rename it"
            )
    with table(signal) as path:
        yield path
