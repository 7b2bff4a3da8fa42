"""Matrices of signal, regions × experiments, as other tools make them: text, Parquet, AnnData, or in memory."""

from __future__ import annotations

import csv
import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from predictd.errors import TableError
from predictd.io.extras import needed_for
from predictd.io.files import copy, sha256_of_json
from predictd.io.names import has_suffix
from predictd.io.remote import RemotePath
from predictd.io.tables import (
    UNREADABLE_TEXT,
    Interval,
    Transform,
    called,
    is_plain,
    not_numbers,
    open_text,
    reason,
)
from predictd.io.temporary import temporary_folder
from predictd.io.tracks.matrix_names import (
    experiment_of,
    interval_of,
    is_pair,
    joined,
    pairs_of,
    place_columns,
    regions_of,
    transforms_of,
)
from predictd.pairs import Experiment
from predictd.wording import commented

log = logging.getLogger(__name__)

PARQUET, H5AD, _COMMAS = (".parquet",), (".h5ad",), (".csv",)
_COLUMNS = ("cell_type", "assay", "transform")
# What a value that is missing is called.
_MISSING = {"", "na", "n/a", "nan", "null", "none", "."}
EXTRA = "interchange"
# Metadata of a Parquet schema: JSON, the transform of each assay by its name.
TRANSFORMS_KEY = "predictd_transforms"


@dataclass(frozen=True)
class Matrix:
    """Signal of experiments over regions, in the unit of the tracks.

    Attributes
    ----------
    regions
        n of them, in any order, 0-based half-open.
    experiments
        m columns, in any order; some may be named twice.
    values
        (n × m) numbers; NaN is missing.
    source
        Where it is from, for messages.
    transforms
        Of assays that have one of their own, by name.
    """

    regions: Sequence[Interval]
    experiments: Sequence[Experiment]
    values: npt.NDArray[Any]
    source: str = "the matrix"
    transforms: dict[str, Transform] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.values.shape != (len(self.regions), len(self.experiments)):
            raise TableError(
                f"{self.source} has {' × '.join(map(str, self.values.shape))} values for {len(self.regions)} regions × "
                f"{len(self.experiments)} experiments"
            )

    @property
    def checksum(self) -> str:
        """SHA-256 of what it holds."""
        places = [[i.chrom, i.start, i.end] for i in self.regions]
        names = sha256_of_json([places, list(self.experiments), str(self.values.dtype), self.transforms])
        digest = hashlib.sha256(names.encode())
        digest.update(np.ascontiguousarray(self.values).data)
        return digest.hexdigest()


def is_matrix(path: Path) -> bool:
    """Whether a file is a matrix and no table of tracks, by its suffix, or by a header that names experiments."""
    if has_suffix(path, PARQUET + H5AD):
        return True
    _, header = next(_lines(path), (0, []))
    listed = "path" in map(str.casefold, header)
    return not listed and (has_suffix(path, _COMMAS, packed=True) or any(map(is_pair, header)))


def read_matrix(path: Path, bins: Path | None = None) -> Matrix:
    """Read a matrix: .tsv, .csv (also .gz), .parquet or .h5ad.

    Parameters
    ----------
    path
        The file. In tables rows are regions, and columns are named `CELL:ASSAY`; regions are named by the columns
        chrom, start and end, or by the first column (`chr1:1000-2000`, or a name of `bins`). Tables with regions in
        columns, and AnnData with experiments in /obs or in /var, are recognised by their names.
    bins
        BED file of the regions: of those whose names, or which number, are in its fourth column; or in the order of
        the rows, where these have no names.

    Raises
    ------
    TableError
        If it is not such a matrix, or its regions or experiments are not named.
    ConfigError
        If a library is missing that reads it.
    """
    try:
        if has_suffix(path, PARQUET):
            with needed_for(f"{path}", extra=EXTRA):
                import pandas
                from pyarrow import parquet
            with path.open("rb") as file:
                said = (parquet.read_schema(file).metadata or {}).get(TRANSFORMS_KEY.encode())
                file.seek(0)
                matrix = matrix_of_frame(pandas.read_parquet(file), bins, source=str(path))
            matrix.transforms.update(_transforms_in(said, matrix))
            return matrix
        if has_suffix(path, H5AD):
            with needed_for(f"{path}", extra=EXTRA):
                import anndata
            with temporary_folder() as temporary:
                local = path
                if isinstance(path, RemotePath):
                    local = temporary / path.name
                    copy(path, local)
                return matrix_of_anndata(anndata.read_h5ad(local), bins, source=str(path))
    except (OSError, ValueError, KeyError) as err:
        problem = getattr(err, "strerror", None) or "it is damaged, or of another format"
        raise TableError(f"cannot read {path}: {problem}; correct the path, or make the file again") from err
    return _read_text(path, bins)


def _transforms_in(said: bytes | None, matrix: Matrix) -> dict[str, Transform]:
    """Transforms that the metadata of a Parquet file has, of the assays that are still in it."""
    by_assay = {} if said is None else json.loads(said)
    if not isinstance(by_assay, dict):
        raise ValueError(by_assay)
    pairs = [pair for pair in matrix.experiments if pair.assay in by_assay]
    return transforms_of(matrix.source, pairs, [by_assay[pair.assay] for pair in pairs])


def matrix_of_frame(frame: Any, bins: Path | None = None, *, source: str = "the matrix") -> Matrix:
    """The matrix in a pandas.DataFrame; see `read_matrix`.

    Names may have levels: two of columns, cell type and assay; three of rows, chromosome, start and end.
    """
    columns = [joined(name) for name in frame.columns]
    places = place_columns(columns)
    intervals = None
    if places:
        own = [frame.iloc[:, place].tolist() for place in places]
        intervals = [interval_of(source, *fields) for fields in zip(*own, strict=True)]
    kept = [place for place in range(len(columns)) if place not in places]
    rows = [] if places else [joined(name) for name in frame.index]
    for place in kept:
        if getattr(frame.dtypes.iloc[place], "kind", "O") in "cmM":
            raise TableError(
                f"{source}: the column {columns[place]} holds {frame.dtypes.iloc[place]}; give numbers"
            )
    signal = frame.iloc[:, kept]
    if wrong := not_numbers(signal):
        raise TableError(f"{source}: '{wrong[0]}' is not a number; leave only columns of experiments")
    try:
        values = signal.to_numpy(dtype=np.float32, na_value=np.nan)
    except (ValueError, TypeError) as err:
        raise TableError(
            f"{source} holds values that are not numbers: {err}; leave only columns of experiments"
        ) from err
    return _assembled(source, rows, [columns[place] for place in kept], values, intervals, bins)


def matrix_of_anndata(data: Any, bins: Path | None = None, *, source: str = "the matrix") -> Matrix:
    """The matrix X of an AnnData; see `read_matrix`.

    Experiments are on the axis that has columns `cell_type` and `assay`, or names `CELL:ASSAY`; a column `transform`
    may say how each is transformed. Regions have columns chrom, start and end, or names `chr1:1000-2000`.
    """
    if data.X is None:
        raise TableError(f"{source} has no matrix X; store the signal there")
    matrix = data.X.to_memory() if hasattr(data.X, "to_memory") else data.X
    values = matrix.toarray() if hasattr(matrix, "toarray") else np.asarray(matrix)
    if values.dtype.kind not in "biuf":
        raise TableError(f"{source}: X holds {values.dtype}; give numbers")
    axes = {"obs": data.obs, "var": data.var}
    for name, axis in axes.items():
        axes[name] = axis.set_axis(called(axis.columns.astype(str), _COLUMNS), axis=1)
    named = [axis for axis, own in axes.items() if pairs_of(own)]
    if len(named) != 1:
        what = "both obs and var name" if named else "neither obs nor var names"
        raise TableError(
            f"{source}: {what} experiments; give one of them columns cell_type and assay, or names CELL:ASSAY"
        )
    experiments, regions = axes[named[0]], axes["var" if named == ["obs"] else "obs"]
    log.info("%s: experiments in %s, regions in the other axis", source, named[0])
    if named == ["obs"]:
        values = values.T
    places = place_columns([str(name) for name in regions.columns])
    intervals = None
    if places:
        own = [regions.iloc[:, place].tolist() for place in places]
        intervals = [interval_of(source, *fields) for fields in zip(*own, strict=True)]
    names = [] if places else [str(name) for name in regions.index]
    matrix = _assembled(source, names, pairs_of(experiments), values.astype(np.float32), intervals, bins)
    if "transform" in experiments.columns:
        matrix.transforms.update(transforms_of(source, matrix.experiments, experiments["transform"].tolist()))
    return matrix


def _read_text(path: Path, bins: Path | None) -> Matrix:
    lines = _lines(path)
    _, header = next(lines, (0, []))
    number, first = next(lines, (0, []))
    if not first:
        raise TableError(
            f"{path} holds no matrix: it needs a header that names experiments, and a line for each region"
        )
    if len(header) == len(first) - 1:
        header = ["", *header]
    places = place_columns(header)
    labelled = not places and not is_pair(header[0])
    kept = [place for place in range(labelled, len(header)) if place not in places]
    labels, intervals, rows = [], [], []
    for place, fields in chain([(number, first)], lines):
        where = f"{path}, line {place}"
        if len(fields) != len(header):
            raise TableError(f"{where}: {len(fields)} fields where the header has {len(header)}")
        if places:
            intervals.append(interval_of(where, *(fields[place] for place in places)))
        elif labelled:
            labels.append(fields[0])
        rows.append(_numbers(where, [fields[place] for place in kept]))
    names = [header[place] for place in kept]
    return _assembled(str(path), labels, names, np.array(rows), intervals or None, bins)


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line number, fields) of the header, which may begin with #, and of what follows.

    Raises TableError for another row that begins with #, unless it is the header once more.
    """
    commas = has_suffix(path, _COMMAS, packed=True)
    try:
        with open_text(path) as file:
            header: list[str] = []
            # How many fields more than the header a row may have: one that names it.
            more: tuple[int, ...] = (0, 1)
            rows = csv.reader(file) if commas else (line.rstrip("\r\n").split("\t") for line in file)
            for number, row in enumerate(rows, 1):
                fields = [field.strip().strip("\"'") for field in row]
                if row and row[0].startswith("#"):
                    fields[0] = fields[0].lstrip("#").strip("\"'")
                    if header and fields != header and len(fields) > 1 and len(fields) - len(header) in more:
                        raise TableError(f"{path}, line {number}: {commented(row[0])}")
                    if header or not any(map(is_pair, fields)):
                        continue
                if any(fields):
                    more = (len(fields) - len(header),) if header else more
                    header = header or fields
                    yield number, fields
    except (*UNREADABLE_TEXT, csv.Error) as err:
        raise TableError(f"cannot read {path}: {reason(err)}") from err


def _numbers(where: str, fields: list[str]) -> npt.NDArray[np.float32]:
    if wrong := [field for field in fields if not is_plain(field)]:
        raise TableError(f"{where}: '{wrong[0]}' is not a number; leave only columns of experiments")
    try:
        numbers = np.array(fields, np.float64)
    except ValueError:
        try:
            numbers = np.array([np.nan if text.lower() in _MISSING else float(text) for text in fields])
        except ValueError as err:
            raise TableError(
                f"{where}: {err}; leave only columns of experiments, and NA where a value is missing"
            ) from err
    with np.errstate(over="ignore"):
        return numbers.astype(np.float32)


def _assembled(
    source: str,
    rows: list[str],
    columns: list[str],
    values: npt.NDArray[np.float32],
    intervals: list[Interval] | None,
    bins: Path | None,
) -> Matrix:
    """A matrix from its parts; `rows` is empty where they have no names, `intervals` None where names say all."""
    if rows and all(map(is_pair, rows)) and not any(map(is_pair, columns)):
        log.info("%s: experiments in rows, regions in columns", source)
        rows, columns, values = columns, rows, values.T
    experiments = [experiment_of(source, name) for name in columns]
    return Matrix(regions_of(source, rows, len(values), intervals, bins), experiments, values, source)
