"""(cell type, assay) pairs: the two coordinates that name an experiment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from predictd.errors import DataError, TableError
from predictd.wording import some

# What a file name may hold as it is; everything else is percent-encoded, and nothing parses a file name.
_SAFE = "._+"


class Experiment(NamedTuple):
    """One (cell type, assay) pair, observed or not."""

    cell_type: str
    assay: str

    def __str__(self) -> str:
        return f"{self.cell_type}:{self.assay}"

    @classmethod
    def parse(cls, text: str) -> Experiment:
        """Read `CELL:ASSAY`.

        Raises
        ------
        TableError
            If there is not exactly one colon with text on both sides.
        """
        cell_type, colon, assay = text.partition(":")
        if not (cell_type and colon and assay) or ":" in assay:
            raise TableError(f"'{text}' is not a pair: write CELL:ASSAY, e.g. E003:H3K4me3")
        return cls(cell_type, assay)

    @property
    def file_stem(self) -> str:
        """`CELL-ASSAY`, percent-encoded outside `[A-Za-z0-9._+]`, so that no two pairs share a name."""
        return "-".join(map(file_name, self))


def file_name(name: str) -> str:
    """A cell type, assay or chromosome as a file name holds it: percent-encoded outside `[A-Za-z0-9._+]`."""
    # quote() leaves '-', '_', '.' and '~' alone; the hyphen separates the two halves of a pair.
    return quote(name, safe=_SAFE).replace("-", "%2D").replace("~", "%7E")


def check_name(name: str, *, what: str, where: str) -> str:
    """Return `name` if it can name a cell type or an assay, else raise TableError."""
    if not name or name != name.strip() or ":" in name or any(not c.isprintable() for c in name):
        raise TableError(
            f"{where}: {what} {name!r} cannot be used: names are printable, without ':' and without "
            "blanks at the ends; rename it in the table"
        )
    return name


def axes(experiments: Iterable[Experiment]) -> tuple[list[str], list[str]]:
    """Return the sorted cell types and the sorted assays that occur in `experiments`."""
    pairs = list(experiments)
    return sorted({e.cell_type for e in pairs}), sorted({e.assay for e in pairs})


def positions(some: Iterable[Experiment], experiments: Iterable[Experiment]) -> npt.NDArray[np.intp]:
    """Places of some experiments in the order of all: intp (len(some),). KeyError for one that is not there."""
    place = {experiment: index for index, experiment in enumerate(experiments)}
    return np.array([place[experiment] for experiment in some], dtype=np.intp)


def rows_of(
    pairs: Sequence[Experiment], cell_types: Sequence[str], assays: Sequence[str], *, owner: str = "the model"
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Places of the pairs' cell types and assays among those that a model, or another `owner`, knows.

    Raises
    ------
    DataError
        If it does not know one.
    """
    cell_rows = {name: row for row, name in enumerate(cell_types)}
    assay_rows = {name: row for row, name in enumerate(assays)}
    for pair in pairs:
        for known, name, what in (
            (cell_rows, pair.cell_type, "cell type"),
            (assay_rows, pair.assay, "assay"),
        ):
            if name not in known:
                raise DataError(f"{pair}: {owner} has no {what} '{name}'; it has {some(sorted(known))}")
    return (
        np.array([cell_rows[pair.cell_type] for pair in pairs], dtype=np.intp),
        np.array([assay_rows[pair.assay] for pair in pairs], dtype=np.intp),
    )
