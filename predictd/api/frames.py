"""Tables and labelled arrays, by libraries that come with the extra `frames`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from predictd.io.extras import needed_for
from predictd.pairs import Experiment
from predictd.workflows.tensor.fetch import Window

# Columns whose values are names, whatever they look like.
_NAMES = ("cell_type", "assay", "fold", "method", "member", "path", "sd_path", "peaks", "status")

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


def require(name: str) -> Any:
    """A module of the extra; ConfigError where it is not installed."""
    with needed_for("this", extra="frames"):
        return import_module(name)


def frame(
    rows: Iterable[Mapping[str, Any]] | Iterable[Sequence[Any]], columns: Sequence[str]
) -> pd.DataFrame:
    """A table of rows."""
    return require("pandas").DataFrame(list(rows), columns=list(columns))


def read_frame(path: Path) -> pd.DataFrame:
    """A table that predictd wrote; in columns of numbers `.` and `nan` are missing, names are never."""
    pandas = require("pandas")
    with path.open("rb") as file:
        table = pandas.read_csv(file, sep="\t", dtype=str, keep_default_na=False)
    for name in table.columns.difference(_NAMES):
        numbers = pandas.to_numeric(table[name].replace({".": "nan"}), errors="coerce")
        # A column that has other text than numbers is one of text.
        if not (numbers.isna() & ~table[name].isin([".", "nan", ""])).any():
            table[name] = numbers
    return table


def array(
    window: Window, pairs: Sequence[Experiment], values: npt.NDArray[np.float32], *, name: str, genome: str
) -> xr.DataArray:
    """Signal (bins × pairs) with its coordinates."""
    attributes: dict[str, str | int] = {"genome": genome, "units": "unit of the tracks"}
    if window.bin_size is not None:
        attributes["bin_size"] = window.bin_size
    return require("xarray").DataArray(
        values,
        dims=("bin", "experiment"),
        coords={
            "experiment": [str(pair) for pair in pairs],
            "cell_type": ("experiment", [pair.cell_type for pair in pairs]),
            "assay": ("experiment", [pair.assay for pair in pairs]),
            "chrom": ("bin", np.full(window.n_bins, window.chrom)),
            "start": ("bin", window.starts),
            "end": ("bin", window.ends),
        },
        name=name,
        attrs=attributes,
    )
