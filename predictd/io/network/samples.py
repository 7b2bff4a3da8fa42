"""Tables of samples: their series and times, batches and weights; and tables of decay rates."""

from __future__ import annotations

import difflib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from predictd.errors import TableError
from predictd.io.hdf5 import UNREADABLE, reading
from predictd.io.network.h5ad import frame_of_samples
from predictd.io.network.memory import check_distinct_columns, texts
from predictd.io.network.text import SAMPLE_HEADINGS
from predictd.io.tables import is_number, no_number, reason, table_rows
from predictd.wording import plain, some

# What is read, and other names of it, which are refused where it is missing.
_COLUMNS = {
    "series": "timeseries timecourse trajectory",
    "time": "timepoint timepoints hour hours hr hrs minute minutes min mins day days pseudotime",
    "batch": "batches batchid samplebatch datasetid",
    "weight": "weights sampleweight",
}
_ALIKE = 0.8
# How R and pandas write that there is no value.
_ABSENT = ("", "NA", "N/A", "NaN", "nan", "<NA>")
# Columns of a table of decay rates.
RATES = ("gene", "rate")


@dataclass(frozen=True)
class SampleTable:
    """What is known of samples.

    Attributes
    ----------
    name
        What messages call the table.
    samples
        Names, all distinct.
    columns
        Texts of some of the columns `series`, `time`, `batch` and `weight`, by their names; empty where there is none.
    unused
        Names of its other columns.
    """

    name: str
    samples: tuple[str, ...]
    columns: Mapping[str, tuple[str, ...]]
    unused: tuple[str, ...] = ()


def read_samples(path: Path) -> SampleTable:
    """Read a table with a header and a line for each sample; or that of an AnnData file (.h5ad), which is its `obs`.

    Names of samples are in the column `sample` (or cell, barcode), or in the first one where it has no heading.

    Raises
    ------
    TableError
        If it is not such a table, or has no column that is known; see `SampleTable`.
    """
    if path.name.lower().endswith(".h5ad"):
        try:
            with path.open("rb"):
                pass
        except OSError as err:
            raise TableError(f"cannot read {path}: {reason(err)}") from err
        try:
            with reading(path) as file:
                return samples_of_frame(frame_of_samples(path, file), str(path))
        except UNREADABLE as err:
            raise TableError(f"{path} is damaged or no AnnData file ({err}); make it again") from err
    rows = [row for _, row in table_rows(path, required=())]
    if not rows:
        raise TableError(f"{path} lists no samples: it needs a header, and a line for each sample")
    header = list(rows[0])
    naming = next((name for name in header if plain(name) in SAMPLE_HEADINGS), None)
    if naming is None and header[0]:
        raise TableError(f"{path} has no column of the samples' names, called sample; it has {some(header)}")
    naming = naming or ""
    others = [name for name in header if name != naming]
    return _checked(
        str(path), [row[naming] for row in rows], {name: [row[name] for row in rows] for name in others}
    )


def samples_of_frame(frame: Any, name: str) -> SampleTable:
    """The table of a pandas DataFrame; names of samples are its index, or where that is of numbers, in a column.

    Raises
    ------
    TableError
        See `read_samples`.
    """
    import pandas

    check_distinct_columns(frame, name)
    naming = next((own for own in frame.columns if plain(str(own)) in SAMPLE_HEADINGS), None)
    if isinstance(frame.index, pandas.RangeIndex) or (
        naming is not None and pandas.api.types.is_numeric_dtype(frame.index)
    ):
        if naming is None:
            raise TableError(
                f"{name} has only numbers as names of its rows; make the samples' names its index, or give them in a "
                "column called sample"
            )
        names, frame = frame[naming], frame.drop(columns=[naming])
    else:
        names = frame.index
    columns = {str(own): texts(frame[own]) for own in frame.columns}
    return _checked(name, texts(names), columns)


def _checked(name: str, samples: Iterable[str], columns: Mapping[str, Sequence[str]]) -> SampleTable:
    names = tuple(samples)
    if not names:
        raise TableError(f"{name} lists no samples")
    if "" in names:
        raise TableError(f"{name}: a line has no name of a sample")
    if len(set(names)) < len(names):
        twice = sorted(own for own, count in Counter(names).items() if count > 1)
        raise TableError(f"{name} has samples twice: {some(twice)}; keep one line of each")
    known: dict[str, tuple[str, ...]] = {}
    for given, values in columns.items():
        wanted = "batch" if plain(given) == "dataset" else plain(given)
        if wanted in known:
            raise TableError(f"{name} has several columns of the {wanted}; keep one of them")
        if wanted in _COLUMNS:
            known[wanted] = tuple("" if value.strip() in _ABSENT else value.strip() for value in values)
    others = [given for given in columns if plain(given) not in (*_COLUMNS, "dataset")]
    for wanted, synonyms in _COLUMNS.items():
        alike = [own for own in others if wanted not in known and _may_be(plain(own), wanted, synonyms)]
        if alike:
            raise TableError(
                f"{name} has a column {alike[0]}: if it is the {wanted}, call it {wanted}; otherwise leave it out"
            )
    if not known:
        raise TableError(f"{name} has none of the columns {', '.join(_COLUMNS)}; add at least one")
    return SampleTable(name, names, known, tuple(others))


def read_rates(path: Path) -> dict[str, float]:
    """Decay rates by gene: a table with the columns `gene` and `rate`.

    Raises
    ------
    TableError
        If it is not such a table, a gene has two rates, or a rate is not a number of at least 0.
    """
    rates: dict[str, float] = {}
    for line, row in table_rows(path, required=RATES):
        gene, rate = (row[name] for name in RATES)
        if not (is_number(rate) and 0 <= float(rate) < math.inf):
            advice = no_number(rate, " of 0 or more")
            raise TableError(f"{path}, line {line}: the rate '{rate}' of {gene} is not a number{advice}")
        if gene in rates:
            raise TableError(f"{path}, line {line}: {gene} has a rate already; keep one")
        rates[gene] = float(rate)
    if not rates:
        raise TableError(f"{path} lists no rates: it needs a line for each gene")
    return rates


def _may_be(own: str, wanted: str, synonyms: str) -> bool:
    similar = difflib.SequenceMatcher(None, own, wanted).ratio() >= _ALIKE
    return own in synonyms.split() or similar
