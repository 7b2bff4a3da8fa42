"""Imputing in memory and into files, for models and for cross-validations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from predictd.api import frames
from predictd.api.inputs import Pair, Region, Source, pairs_of, path_of, using
from predictd.api.tensor import Tensor
from predictd.constants import TRACKS_TSV
from predictd.engine import Engine
from predictd.errors import ConfigError
from predictd.io.tensor import store
from predictd.model.ensemble import Committee
from predictd.model.intervals.uncertainty import Calibration
from predictd.pairs import Experiment
from predictd.workflows.imputing.impute import Imputation, choose_pairs
from predictd.workflows.imputing.window import impute_window
from predictd.workflows.tensor.fetch import locate
from predictd.workflows.tensor.origin import check_origin

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

_WORDS = ("missing", "observed", "all")


def impute_region(
    estimator: Committee,
    tensor: Tensor,
    pairs: str | Pair | Iterable[Pair],
    region: Region,
    calibration: Calibration | None = None,
    *,
    info: Mapping[str, Any],
    source: Path | str,
) -> xr.DataArray:
    """Imputed signal in a region; with a calibration, a Dataset of `signal` and `sd`; for `info` see `check_origin`."""
    frames.require("xarray")
    data = store.Tensor(tensor.path)
    everyone = estimator.everyone
    data.columns(everyone.train)
    check_origin(info, source, data)
    chosen = choose_pairs(_specified(pairs), everyone, data)
    window = locate(data, region)
    signal, sd = impute_window(estimator, data, window, chosen, calibration)
    labelled = frames.array(window, chosen, signal, name="signal", genome=tensor.genome)
    if sd is None:
        return labelled
    deviations = frames.array(window, chosen, sd, name="sd", genome=tensor.genome)
    return frames.require("xarray").Dataset({"signal": labelled, "sd": deviations}, attrs=labelled.attrs)


def write_tracks(
    estimator: Path,
    tensor: Tensor,
    pairs: str | Pair | Iterable[Pair],
    region: Region | None,
    output: Source | None,
    *,
    sd: bool = False,
    engine: Engine | None = None,
) -> pd.DataFrame:
    """Whole imputed tracks into a directory; the table of what was written."""
    if output is None:
        raise ConfigError("give a `region`, to impute in memory, or a directory to `write` whole tracks to")
    if region is not None:
        raise ConfigError(
            "give `region`, to impute in memory, or `write`, which is for whole tracks; not both"
        )
    frames.require("pandas")
    directory = path_of(output)
    plan = Imputation(estimator, tensor.path, directory, pairs=_specified(pairs), sd=sd)
    if not plan.finished:
        with using(engine) as own:
            plan.ensure(own)
    table = frames.read_frame(directory / TRACKS_TSV)
    for column in {"path", "sd_path"} & set(table.columns):
        table[column] = [str(directory.absolute() / name) for name in table[column]]
    return table


def _specified(pairs: str | Pair | Iterable[Pair]) -> str | list[Experiment]:
    if isinstance(pairs, str) and ":" not in pairs:
        if pairs not in _WORDS:
            raise ConfigError(f"`pairs` '{pairs}': write {', '.join(_WORDS)}, or a pair as E003:H3K27ac")
        return pairs
    return pairs_of(pairs)
