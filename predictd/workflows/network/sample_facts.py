"""What a table says of the samples of a matrix, checked."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from predictd.errors import DataError, TableError
from predictd.io.network.samples import SampleTable
from predictd.io.tables import is_number, no_number
from predictd.wording import some

log = logging.getLogger(__name__)

# Ratio of weights up to which sums of both are exact enough.
_MOST_UNEQUAL = 1e12


@dataclass(frozen=True)
class SampleFacts:
    """What a table says of the samples of weight above 0, in the order of the matrix.

    Attributes
    ----------
    name
        What messages call the table.
    kept
        Which samples of the matrix have a weight above 0.
    weights
        (n_samples,) of those, as all others here.
    batches
        (n_samples,) names; None: the table has none.
    series
        Positions of the samples of each time series, in the order of their times; empty where there are no times.
    times
        (n_samples,) NaN in steady states.
    unused
        Names of columns that say nothing here.
    """

    name: str
    kept: NDArray[np.bool_]
    weights: NDArray[np.float64]
    batches: NDArray[np.str_] | None
    series: list[NDArray[np.int64]]
    times: NDArray[np.float64]
    unused: tuple[str, ...]


def read_facts(table: SampleTable, samples: tuple[str, ...] | None) -> SampleFacts:
    """Find the samples of a matrix, by their names, in a table; None: they have none.

    Raises
    ------
    DataError
        If the matrix has samples that the table lacks.
    TableError
        If weights, batches, series or times are not what they must be.
    """
    columns = _in_order(table, samples)
    names = samples or ()
    weights = _numbers(table, names, "weight", columns.get("weight", ("1",) * len(names)), least=0)
    if np.isnan(weights).any():
        raise TableError(f"{table.name}: {_first(names, np.isnan(weights))} has no weight; 0 leaves it out")
    # Only ratios count; sums and products of the largest numbers would be infinite.
    weights = weights / max(weights.max(), 1e-300)
    kept = weights > 0
    if not kept.any():
        raise TableError(f"{table.name}: all weights are 0; no sample is left")
    if weights[kept].min() < 1 / _MOST_UNEQUAL:
        least, most = _first(names, weights == weights[kept].min()), _first(names, weights == 1)
        raise TableError(
            f"{table.name}: {most} has over {_MOST_UNEQUAL:.0e} times the weight of {least}, which then "
            "counts for nothing; give weights that differ less, or 0 to leave a sample out"
        )
    names = tuple(np.array(names)[kept].tolist())
    columns = {name: tuple(np.array(texts)[kept].tolist()) for name, texts in columns.items()}
    batches = np.array(columns["batch"]) if "batch" in columns else None
    if batches is not None and (batches == "").any():
        raise TableError(f"{table.name}: {_first(names, batches == '')} has no batch; give each sample one")
    series, times = _series(table, names, columns)
    for own in series:
        if batches is not None and np.unique(batches[own]).size > 1:
            crossing = " and ".join(np.unique(batches[own])[:2].tolist())
            raise TableError(
                f"{table.name}: a time series of {names[own[0]]} is in the batches {crossing}; give the samples "
                "of each batch a series of their own"
            )
    return SampleFacts(table.name, kept, weights[kept], batches, series, times, table.unused)


def _in_order(table: SampleTable, samples: tuple[str, ...] | None) -> dict[str, tuple[str, ...]]:
    """Columns of the table in the order of the matrix."""
    if samples is None:
        raise DataError(
            f"the matrix has no names of samples to match with {table.name}: add them as a column called 'sample'"
        )
    places = {name: place for place, name in enumerate(table.samples)}
    absent = [name for name in samples if name not in places]
    if len(absent) == len(samples):
        raise DataError(
            f"none of the samples in {table.name} ({some(table.samples)}) is one of the matrix ({some(samples)}); use "
            "the same names"
        )
    if absent:
        raise DataError(
            f"{len(absent)} of the {len(samples)} samples of the matrix are not in {table.name} ({some(absent)}); add "
            "a line for each, with weight 0 to leave it out"
        )
    if more := set(table.samples) - set(samples):
        log.warning(
            "%d of the %d samples in %s are not in the matrix: %s",
            len(more),
            len(table.samples),
            table.name,
            some(name for name in table.samples if name in more),
        )
    return {name: tuple(texts[places[sample]] for sample in samples) for name, texts in table.columns.items()}


def _series(
    table: SampleTable, samples: tuple[str, ...], columns: dict[str, tuple[str, ...]]
) -> tuple[list[NDArray[np.int64]], NDArray[np.float64]]:
    """Positions of the samples of each time series in the order of their times, and all times."""
    n_samples = len(samples)
    if "time" not in columns:
        if "series" in columns:
            raise TableError(f"{table.name} has series, but no column time; add it, or leave series out")
        return [], np.full(n_samples, np.nan)
    times = _numbers(table, samples, "time", columns["time"])
    names = np.array(columns.get("series", ("",) * n_samples))
    timed = ~np.isnan(times)
    if not timed.any():
        raise TableError(f"{table.name}: no sample has a time; leave the column out")
    if "series" in columns and ((names == "") == timed).any():
        odd = _first(samples, (names == "") == timed)
        raise TableError(
            f"{table.name}: {odd} has only one of series and time; give both, or neither for a steady state"
        )
    found = []
    for name in np.unique(names[timed]).tolist():
        own = np.flatnonzero(timed & (names == name))
        own = own[np.argsort(times[own], kind="stable")]
        called = f"the series {name}" if name else "the time series"
        if own.size == 1:
            raise TableError(
                f"{table.name}: {called} has one time only ({samples[own[0]]}); leave it empty where it is a steady "
                "state"
            )
        if (same := np.flatnonzero(np.diff(times[own]) == 0)).size:
            pair = " and ".join(samples[place] for place in own[same[0] : same[0] + 2])
            raise TableError(
                f"{table.name}: {pair} have the same time in {called}; give each replicate a series of its own"
            )
        found.append(own)
    return found, times


def _numbers(
    table: SampleTable,
    samples: tuple[str, ...],
    what: str,
    texts: tuple[str, ...],
    *,
    least: float = -math.inf,
) -> NDArray[np.float64]:
    """Numbers of a column; NaN where it is empty."""
    for sample, text in zip(samples, texts, strict=True):
        if text and not (is_number(text) and least <= float(text) < math.inf and float(text) > -math.inf):
            limit = "; leave it empty in a steady state" if what == "time" else f" of {least:g} or more"
            raise TableError(
                f"{table.name}: the {what} '{text}' of {sample} is not a number{no_number(text, limit)}"
            )
    return np.array([float(text) if text else math.nan for text in texts])


def _first(samples: tuple[str, ...], which: NDArray[np.bool_]) -> str:
    return samples[int(np.flatnonzero(which)[0])]
