"""Tables and labelled arrays, by libraries that come with the extra `frames`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from predictd.errors import ConfigError
from predictd.pairs import Experiment
from predictd.workflows.tensor.fetch import Window

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


def require(name: str) -> Any:
    """A module of the extra; ConfigError where it is not installed."""
    try:
        return import_module(name)
    except ImportError as err:
        raise ConfigError(f"this needs {name} ({err}): pip install 'predictd[frames]'") from err


def frame(
    rows: Iterable[Mapping[str, Any]] | Iterable[Sequence[Any]], columns: Sequence[str]
) -> pd.DataFrame:
    """A table of rows."""
    return require("pandas").DataFrame(list(rows), columns=list(columns))


def read_frame(path: Path) -> pd.DataFrame:
    """A table that predictd wrote; `.` and `nan` are missing values where a column is of numbers."""
    pandas = require("pandas")
    with path.open("rb") as file:
        return pandas.read_csv(file, sep="\t", na_values=["."], keep_default_na=False, na_filter=True)


def array(
    window: Window, pairs: Sequence[Experiment], values: npt.NDArray[np.float32], *, name: str, genome: str
) -> xr.DataArray:
    """Signal (bins × pairs) with its coordinates."""
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
        attrs={"genome": genome, "bin_size": window.bin_size, "units": "that of the tracks"},
    )
