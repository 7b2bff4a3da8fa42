"""Signal as files of other tools: text, Parquet, Zarr and AnnData, written block by block."""

from __future__ import annotations

import gzip
import json
import logging
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from predictd.errors import ConfigError, OutputError
from predictd.io.extras import needed_for
from predictd.io.files import cannot_write, exists, give_up, replacing
from predictd.io.hdf5 import plain
from predictd.io.names import has_suffix
from predictd.io.remote import RemotePath
from predictd.io.temporary import make_temporary_folder, new_folder
from predictd.io.tracks.matrix import EXTRA, TRANSFORMS_KEY
from predictd.pairs import Experiment
from predictd.wording import some

log = logging.getLogger(__name__)

PLACES = ("chrom", "start", "end")
# Values of a chunk, and of a block: about 4 MB of float32, of up to 64 experiments.
_CHUNK, _CHUNK_COLUMNS = 2**20, 64
# Places of a chunk of coordinates.
_COORDINATES = 2**18
_UNIT = "unit of the tracks"


class Block(NamedTuple):
    """Consecutive rows.

    Attributes
    ----------
    chroms
        Chromosome of each: str (n,).
    spans
        int64 (n × 2): start and end in bp, 0-based half-open.
    values
        float32 (n × m), in the unit of the tracks; NaN is missing.
    """

    chroms: npt.NDArray[np.str_]
    spans: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Columns:
    """What is written, besides the blocks.

    Attributes
    ----------
    pairs
        The m columns.
    transforms
        How predictd transforms each column; values are not transformed.
    chromosomes
        Names of the chromosomes that rows may be of.
    about
        Genome, bin size and the like, as plain values.
    """

    pairs: Sequence[Experiment]
    transforms: Sequence[str]
    chromosomes: Sequence[str]
    about: dict[str, str | int]

    @property
    def names(self) -> list[str]:
        """The pairs as `CELL:ASSAY`."""
        return [str(pair) for pair in self.pairs]

    @property
    def by_assay(self) -> dict[str, str]:
        """The transform of each assay."""
        return {pair.assay: name for pair, name in zip(self.pairs, self.transforms, strict=True)}

    @property
    def chunk(self) -> tuple[int, int]:
        """Rows and columns of a chunk."""
        columns = min(len(self.pairs), _CHUNK_COLUMNS)
        return 2 ** int(np.log2(_CHUNK / columns)), columns


def write_text(path: Path, columns: Columns, blocks: Iterable[Block]) -> None:
    """Write a table of chrom, start, end and a column a pair, separated by tabs (.gz: compressed); NA is missing.

    Transforms are not in it, since most tools take a comment for the header; what is not arcsinh is logged.
    """
    with replacing(path) as partial, _text(partial, zipped=has_suffix(path, (".gz",))) as file:
        file.write(("\t".join((*PLACES, *columns.names)) + "\n").encode())
        for block in blocks:
            lines = []
            places = zip(block.chroms.tolist(), block.spans.tolist(), strict=True)
            for (chrom, (start, end)), row in zip(places, block.values.tolist(), strict=True):
                numbers = ("NA" if value != value else f"{value:.7g}" for value in row)
                lines.append("\t".join((chrom, str(start), str(end), *numbers)))
            file.write(("\n".join(lines) + "\n").encode())
    if others := [f"{assay}={name}" for assay, name in columns.by_assay.items() if name != "arcsinh"]:
        log.warning(
            "%s does not say the transforms that are not arcsinh (%s): name them when you ingest the file again, or "
            "export to .parquet or .h5ad, which say them",
            path,
            some(others),
        )


@contextmanager
def _text(path: Path, *, zipped: bool) -> Iterator[Any]:
    with path.open("wb") as raw:
        if not zipped:
            yield raw
            return
        with gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as file:
            yield file


def write_parquet(path: Path, columns: Columns, blocks: Iterable[Block]) -> None:
    """Write the same table as Parquet, a row group a block."""
    with needed_for(f"{path}", extra=EXTRA):
        import pyarrow
        from pyarrow import parquet
    places = zip(PLACES, (pyarrow.string(), pyarrow.int64(), pyarrow.int64()), strict=True)
    fields = [*places, *((name, pyarrow.float32()) for name in columns.names)]
    about = {name: str(value) for name, value in columns.about.items()}
    about[TRANSFORMS_KEY] = json.dumps(columns.by_assay)
    schema = pyarrow.schema(fields, metadata=about)
    with replacing(path) as partial, parquet.ParquetWriter(partial, schema) as writer:
        for block in blocks:
            arrays = [block.chroms.tolist(), *block.spans.T, *block.values.T]
            # Missing values are null in tables.
            filled = [pyarrow.array(own, from_pandas=True) for own in arrays]
            writer.write_table(pyarrow.Table.from_arrays(filled, schema=schema))


def write_h5ad(path: Path, columns: Columns, blocks: Iterable[Block]) -> None:
    """Write AnnData: experiments in /obs, places in /var, signal in /X, dense; memory is for the places alone."""
    with needed_for(f"{path}", extra=EXTRA):
        from anndata.io import write_elem
    rows, width = columns.chunk
    with replacing(path) as partial, plain(partial) as file:
        file.attrs["encoding-type"], file.attrs["encoding-version"] = "anndata", "0.1.0"
        m = len(columns.pairs)
        signal = file.create_dataset(
            "X",
            (m, 0),
            "f4",
            maxshape=(m, None),
            chunks=(width, rows),
            compression="gzip",
            compression_opts=1,
        )
        signal.attrs["encoding-type"], signal.attrs["encoding-version"] = "array", "0.2.0"
        places, n = [], 0
        for block in blocks:
            signal.resize((m, n + len(block.spans)))
            signal[:, n:] = block.values.T
            n += len(block.spans)
            places.append(block._replace(values=block.values[:0]))
        write_elem(file, "obs", obs_of(columns))
        write_elem(file, "var", var_of(places))
        write_elem(file, "uns", dict(columns.about))
        for name in ("layers", "obsm", "obsp", "varm", "varp"):
            write_elem(file, name, {})


def obs_of(columns: Columns) -> Any:
    """A pandas.DataFrame of the experiments, as AnnData has it in obs."""
    with needed_for("AnnData", extra=EXTRA):
        import pandas
    cells, assays = zip(*columns.pairs, strict=True)
    own = {"cell_type": cells, "assay": assays, "transform": columns.transforms}
    frame = pandas.DataFrame({name: pandas.Categorical(values) for name, values in own.items()})
    return frame.set_index(pandas.Index(columns.names, dtype=object))


def var_of(blocks: Sequence[Block]) -> Any:
    """A pandas.DataFrame of places, as AnnData has it in var: named as chr1:1000-2000, with chrom, start and end."""
    with needed_for("AnnData", extra=EXTRA):
        import pandas
    chroms = np.concatenate([block.chroms for block in blocks])
    codes, known = pandas.factorize(chroms.astype(object))
    spans = np.concatenate([block.spans for block in blocks])
    names = [f"{known[code]}:{s}-{e}" for code, (s, e) in zip(codes.tolist(), spans.tolist(), strict=True)]
    chrom = pandas.Categorical.from_codes(codes, known)
    frame = pandas.DataFrame({"chrom": chrom, "start": spans[:, 0], "end": spans[:, 1]})
    return frame.set_index(pandas.Index(names, dtype=object))


def dataset_of(columns: Columns, block: Block) -> Any:
    """An xarray.Dataset of one block: `signal` (bin × experiment) with its coordinates."""
    with needed_for("xarray", extra=EXTRA):
        import xarray
    cells, assays = zip(*columns.pairs, strict=True)
    width = max(map(len, columns.chromosomes))
    return xarray.Dataset(
        {
            "signal": (
                ("bin", "experiment"),
                block.values,
                {"long_name": "signal", "units": _UNIT, "cell_methods": "bin: mean"},
            )
        },
        coords={
            "chrom": ("bin", block.chroms.astype(f"<U{width}")),
            "start": ("bin", block.spans[:, 0], {"units": "bp", "long_name": "first base, counted from 0"}),
            "end": ("bin", block.spans[:, 1], {"units": "bp", "long_name": "end, exclusive"}),
            "experiment": ("experiment", np.array(columns.names)),
            "cell_type": ("experiment", np.array(cells)),
            "assay": ("experiment", np.array(assays)),
            "transform": ("experiment", np.array(columns.transforms), {"long_name": "transform in models"}),
        },
        attrs=columns.about,
    )


def write_zarr(path: Path, columns: Columns, blocks: Iterable[Block]) -> None:
    """Write a Zarr store (format 2, consolidated) that xarray.open_zarr reads lazily; see `dataset_of`."""
    with needed_for(f"{path}", extra=EXTRA):
        import zarr
    if exists(path):
        raise OutputError(f"{path} exists already; remove it, or name another")
    # In a folder that is held: xarray makes its own anew.
    partial = (make_temporary_folder() if isinstance(path, RemotePath) else new_folder(path)) / path.name
    try:
        arrays: dict[str, Any] = {}
        n = 0
        for block in blocks:
            if not arrays:
                _begin_zarr(partial, columns, block)
                group = zarr.open_group(str(partial), mode="r+")
                arrays = {name: group[name] for name in ("signal", *PLACES)}
            else:
                _extend_zarr(arrays, block, n)
            n += len(block.spans)
        zarr.consolidate_metadata(str(partial))
        _put_store(partial, path)
    except BaseException as err:
        shutil.rmtree(partial, ignore_errors=True)
        give_up(partial, path)
        if isinstance(err, OSError):
            raise cannot_write(path, err) from err
        raise


def _begin_zarr(path: Path, columns: Columns, block: Block) -> None:
    """A store of the first block; xarray writes what it wants to find."""
    import zarr

    encoding: dict[str, dict[str, Any]] = {name: {"chunks": (_COORDINATES,)} for name in PLACES}
    encoding["signal"] = {"chunks": columns.chunk}
    # Format 2 is what every reader knows; version 2 of the library has no other.
    version = {"zarr_format": 2} if int(zarr.__version__.split(".")[0]) > 2 else {}
    dataset_of(columns, block).to_zarr(path, mode="w", encoding=encoding, consolidated=False, **version)


def _extend_zarr(arrays: dict[str, Any], block: Block, n: int) -> None:
    """Append a block to the arrays, which have n rows."""
    stop = n + len(block.spans)
    own = {"chrom": block.chroms.astype(arrays["chrom"].dtype)}
    own |= {"start": block.spans[:, 0], "end": block.spans[:, 1], "signal": block.values}
    for name, values in own.items():
        arrays[name].resize((stop, *values.shape[1:]))
        arrays[name][n:stop] = values


def _put_store(partial: Path, path: Path) -> None:
    """Make a whole store what it is to be: renamed, or uploaded, its metadata last."""
    if not isinstance(path, RemotePath):
        try:
            partial.rename(path)
        except OSError as err:
            if exists(path):
                raise OutputError(f"{path} exists already; remove it, or name another") from err
            raise
        give_up(partial, path)
        return
    files = sorted(file.relative_to(partial) for file in partial.rglob("*") if file.is_file())
    for file in sorted(files, key=lambda file: len(file.parts) == 1):
        (path / file).upload(partial / file)
    shutil.rmtree(partial)
    give_up(partial, path)


WRITERS = {
    ".zarr": write_zarr,
    ".h5ad": write_h5ad,
    ".parquet": write_parquet,
    ".tsv.gz": write_text,
    ".tsv": write_text,
}


def writer_of(path: Path) -> Any:
    """What writes a file of this name: a function of the path, columns and blocks.

    Raises
    ------
    ConfigError
        If the suffix is none that is known.
    """
    for suffix, write in WRITERS.items():
        if has_suffix(path, (suffix,)):
            return write
    raise ConfigError(
        f"{path}: use one of the suffixes {', '.join(WRITERS)}, or none for a directory of bigWigs"
    )
