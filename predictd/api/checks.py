"""What a tensor says of itself: which tracks look wrong, and which experiments to run next."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import numpy as np

from predictd.api import frames
from predictd.api.inputs import Source, path_or_none, table, using, whole
from predictd.api.tensor import Tensor, opened
from predictd.engine import Engine
from predictd.workflows.tensor import qc as checking
from predictd.workflows.tensor import recommend as recommending

if TYPE_CHECKING:
    import pandas as pd


def qc(
    tensor: Tensor | Source, output: Source | None = None, *, engine: Engine | None = None
) -> pd.DataFrame:
    """How well each track is predicted by the others, and which look swapped or damaged.

    Parameters
    ----------
    tensor
        The tensor, or its path.
    output
        TSV to write as well.
    engine
        What runs it; None: all CPUs of this machine.

    Returns
    -------
    pandas.DataFrame
        A row for each track, the most suspicious first: `cell_type`, `assay`, `mse`, `r`, `expected_r`, `flags` (names
        separated by commas; empty for a track without) and `best_match`.

    Raises
    ------
    DataError
        If there are fewer than four tracks.
    """
    frames.require("pandas")
    with using(engine) as own:
        rows = checking.qc(opened(tensor).path, path_or_none(output), own)
    cells = (
        (*row.experiment, row.mse, row.r, row.expected_r, ",".join(row.flags), str(row.best_match or ""))
        for row in rows
    )
    return frames.frame(cells, checking.COLUMNS)


def recommend(
    tensor: Tensor | Source,
    output: Source | None = None,
    *,
    k: int = 5,
    costs: Source | pd.DataFrame | None = None,
    focus: str | None = None,
    engine: Engine | None = None,
) -> pd.DataFrame:
    """The experiments to run next: those that lower the expected error of the missing pairs the most.

    Parameters
    ----------
    tensor
        The tensor, or its path.
    output
        TSV to write as well.
    k
        How many.
    costs
        Table, or DataFrame, with `assay` and `cost` (and `cell_type`): the choice is then by gain per dollar.
    focus
        Name of the cell type or the assay whose missing pairs count; None: all.
    engine
        What runs it; None: all CPUs of this machine.

    Returns
    -------
    pandas.DataFrame
        The best first: `rank`, `cell_type`, `assay`, `gain` (by how much the expected squared error, summed over the
        pairs that count, falls, after the experiments before), and `gain_per_dollar`, NaN without costs.

    Raises
    ------
    ConfigError, DataError
        If a name is unknown, or fewer than k pairs are missing.
    """
    frames.require("pandas")
    prices = nullcontext(None) if costs is None else table(costs)
    with prices as path, using(engine) as own:
        report = recommending.recommend(
            opened(tensor).path, path_or_none(output), own, k=whole(k, "k", least=1), costs=path, focus=focus
        )
    cells = (
        (row.rank, *row.pair, row.gain, np.nan if row.gain_per_dollar is None else row.gain_per_dollar)
        for row in report.rows
    )
    return frames.frame(cells, recommending.COLUMNS)
