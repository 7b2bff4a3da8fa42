"""Residuals of held-out experiments as small tables of counts, and what intervals they are calibrated to."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from predictd import progress
from predictd.constants import (
    COVERAGE_BY_SIGNAL_TSV,
    COVERAGE_TSV,
    DENSITY_H5,
    METRICS_TSV,
    RESIDUALS_FORMAT,
    RESIDUALS_VERSION,
    UNCERTAINTY_FORMAT,
    UNCERTAINTY_JSON,
    UNCERTAINTY_VERSION,
)
from predictd.engine.base import one_blas_thread
from predictd.errors import DataError, ModelFormatError, OutputError
from predictd.io.files import exists, refuse_unreadable, write_json
from predictd.io.hdf5 import Arrays, ForeignFileError, read_arrays, write_arrays
from predictd.io.results import write_rows
from predictd.io.tensor.store import Tensor
from predictd.model.intervals.residuals import PREDICTED_EDGES, SHAPE, Counts, ResidualCounts, Scale, Span
from predictd.model.intervals.uncertainty import LEVELS, Calibration, Pool, calibrate, coverage_sums
from predictd.model.stack.scales import Scales
from predictd.model.stack.tracks import Tracks
from predictd.model.transforms import TRANSFORMS
from predictd.pairs import Experiment, axes, rows_of
from predictd.workflows.imputing.apply import SpreadApplication
from predictd.workflows.imputing.estimators import load_held_out
from predictd.workflows.tensor.moments import TensorMoments

# Residuals are counted in as many shards, spread over the genome, as hold about so many bins; and neighbours are much
# alike, so that of many bins every fourth is counted.
_MOST_BINS = 2**22
_MANY_BINS = 2**18
_STRIDE = 4


@dataclass(frozen=True)
class Counting:
    """What the tasks have in common.

    Attributes
    ----------
    tensor, estimator
        Signal, and the cross-validation.
    spans
        See `assay_spans`.
    scales
        Of the held-out pairs; see `expected_scales`.
    """

    tensor: Tensor
    estimator: Path
    spans: dict[str, Span]
    scales: dict[Experiment, Scale]


def expected_scales(
    moments: TensorMoments, known: Sequence[Experiment], pairs: Iterable[Experiment]
) -> dict[Experiment, Scale]:
    """Mean and standard deviation of pairs that known tracks let expect; see `predictd.model.stack.scales`.

    A pair that is none of `known` is judged by other tracks alone: those of its assay, and of its cell type.

    Raises
    ------
    DataError
        If every known track is constant.
    """
    pairs = list(pairs)
    cell_types, assays = axes(moments.experiments)
    with one_blas_thread():
        scales = Scales.of(Tracks.of(moments.s, moments.experiments, known, cell_types, assays))
    places = rows_of(pairs, cell_types, assays)
    found = zip(pairs, scales.means[places].tolist(), scales.sds[places].tolist(), strict=True)
    return {pair: Scale(mean, sd) for pair, mean, sd in found}


def assay_spans(tensor: Tensor) -> dict[str, Span]:
    """Range in which figures show the observed and imputed signal of each assay."""
    summary = tensor.summary()
    columns = defaultdict(list)
    for column, entry in enumerate(tensor.manifest.experiments):
        columns[entry.assay, entry.transform].append(column)
    spans = {}
    for (assay, transform), own in sorted(columns.items()):
        bins, total, squares, _ = np.nansum(summary[own], axis=0).tolist()
        mean = total / max(bins, 1)
        variance = squares / max(bins, 1) - mean**2
        sd = float(np.sqrt(variance)) if variance > 1e-12 * max(squares, 1e-300) / max(bins, 1) else 1.0
        highest = float(np.fmax.reduce(summary[own, 3], initial=-np.inf))
        high = highest if np.isfinite(highest) and highest > mean else mean + sd
        low = 0.0 if TRANSFORMS[transform].clipped else min(mean - 6 * sd, 2 * mean - high)
        spans[assay] = Span(low, high if high > low else low + sd)
    return spans


@dataclass(frozen=True)
class HeldOut:
    """A task: observed pairs, and the file for the counts of their residuals."""

    path: Path
    pairs: tuple[Experiment, ...]


def counted_part(n_bins: int, n_shards: int) -> tuple[slice, int]:
    """Which shards of a tensor are counted, all or evenly spaced ones, and every how many of their bins."""
    step = max(1, -(-n_bins // _MOST_BINS))
    some = slice(step // 2, None, step) if n_shards > step else slice(None)
    return some, _STRIDE if n_bins > _MANY_BINS else 1


def count_residuals(task: HeldOut, shared: Counting) -> None:
    """Count the residuals of some observed pairs, each predicted by models that never saw it, into a file."""
    tensor, pairs = shared.tensor, task.pairs
    transforms = {entry.assay: TRANSFORMS[entry.transform] for entry in tensor.manifest.experiments}
    application = SpreadApplication(load_held_out(shared.estimator, pairs), pairs, tensor)
    columns = tensor.columns(pairs)
    found = [
        ResidualCounts(shared.scales[pair], shared.spans[pair.assay], clipped=transforms[pair.assay].clipped)
        for pair in pairs
    ]
    some, stride = counted_part(tensor.n_bins, len(tensor.shard_names))
    names = tensor.shard_names[some]
    for number, name in enumerate(names):
        with tensor.open_shard(name) as shard:
            for _, signal, predicted, spread in application.blocks_with_spread(shard, every=stride):
                for index, counts in enumerate(found):
                    counts.add(signal[:, columns[index]], predicted[:, index], spread[:, index])
        progress.task_share((number + 1) / len(names))
    arrays: Arrays = {
        "pairs": np.array([str(pair) for pair in pairs]),
        "scales": np.array([shared.scales[pair] for pair in pairs]),
    }
    for name in ("counts", "density"):
        arrays |= _sparse(name, [getattr(counts, name) for counts in found])
    write_arrays(
        task.path,
        format=RESIDUALS_FORMAT,
        version=RESIDUALS_VERSION,
        header={},
        arrays=arrays,
    )


@dataclass(frozen=True)
class Residuals:
    """Counts of held-out experiments.

    Attributes
    ----------
    fold
        Test fold of each experiment.
    scales
        Expected of each experiment, and the units of its counts.
    counts
        See `predictd.model.intervals.residuals.ResidualCounts`.
    density
        By assay: observed against imputed.
    """

    fold: dict[Experiment, str]
    scales: dict[Experiment, Scale]
    counts: dict[Experiment, Counts]
    density: dict[str, Counts]


def read_residuals(files: Sequence[tuple[str, Path]]) -> Residuals:
    """What `count_residuals` wrote, each file with its test fold.

    Raises
    ------
    OutputError
        If a file is missing or damaged.
    """
    found = Residuals({}, {}, {}, {})
    for fold, path in files:
        try:
            _, arrays = read_arrays(path, format=RESIDUALS_FORMAT, version=RESIDUALS_VERSION)
            pairs = [Experiment.parse(str(text)) for text in arrays["pairs"]]
            scales = [Scale(*own) for own in np.asarray(arrays["scales"], dtype=np.float64).tolist()]
            counts, density = (_dense(name, arrays, len(pairs)) for name in ("counts", "density"))
        except (FileNotFoundError, ForeignFileError, KeyError, ValueError) as err:
            raise OutputError(f"{path} is missing or damaged; remove it and run the command again") from err
        for index, pair in enumerate(pairs):
            found.fold[pair], found.scales[pair] = fold, scales[index]
            found.counts[pair] = counts[index].reshape(SHAPE)
            square = density[index].reshape(int(np.sqrt(density[index].size)), -1)
            found.density[pair.assay] = found.density.get(pair.assay, 0) + square
    return found


def write_calibration(
    output: Path, residuals: Residuals, scales: dict[Experiment, Scale], spans: dict[str, Span]
) -> Calibration | None:
    """Calibrate intervals on all held-out experiments, measure how often those of each test fold hold, and write both.

    Parameters
    ----------
    output
        Directory of the cross-validation.
    residuals
        Of the held-out experiments, which keep the scales that their test folds let expect.
    scales
        Of all pairs, for those that nothing was held out of.
    spans
        Of the densities.

    Returns
    -------
    Calibration or None
        None, and nothing is written, where there is no bin to learn from.
    """
    pools = _pools(residuals, residuals.counts)
    try:
        everything = calibrate(pools, scales | residuals.scales)
    except DataError:
        return None
    coverage, by_signal = {}, np.zeros((SHAPE[0], len(COVERAGE)))
    for own, calibration in _leave_folds_out(residuals):
        for pair in own:
            sums = coverage_sums(residuals.counts[pair], calibration, pair.assay)
            by_signal += sums
            coverage[pair] = _means(sums.sum(axis=0), residuals.scales[pair].sd)
    write_json(
        output / UNCERTAINTY_JSON,
        {"format": UNCERTAINTY_FORMAT, "version": UNCERTAINTY_VERSION, **everything.to_json()},
    )
    _write_coverage(output / COVERAGE_TSV, coverage, residuals.fold)
    _write_by_signal(output / COVERAGE_BY_SIGNAL_TSV, by_signal)
    assays = sorted(residuals.density)
    write_arrays(
        output / DENSITY_H5,
        format=RESIDUALS_FORMAT,
        version=RESIDUALS_VERSION,
        header={"ranges": [list(spans[assay]) for assay in assays]},
        arrays={
            "assays": np.array(assays),
            "density": np.stack([residuals.density[assay] for assay in assays]),
        },
    )
    return everything


def read_calibration(directory: Path) -> Calibration:
    """The calibration that a cross-validation keeps.

    Raises
    ------
    ModelFormatError
        If the directory has none, or it is damaged.
    """
    path = directory / UNCERTAINTY_JSON
    if not directory.is_dir():
        raise ModelFormatError(
            f"`sd`: {directory} is a single model, which does not know its errors; impute with the directory of "
            "'predictd cv', where intervals are calibrated on experiments that the models never saw"
        )
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if value["format"] != UNCERTAINTY_FORMAT:
            raise ValueError(f"it is no {UNCERTAINTY_FORMAT}")
        if value["version"] != UNCERTAINTY_VERSION:
            raise ModelFormatError(
                f"`sd`: {path} was written by another version of predictd (format {value['version']}, this one reads "
                f"{UNCERTAINTY_VERSION}); run 'predictd cv' into another directory"
            )
        return Calibration.from_json(value)
    except FileNotFoundError as err:
        if not exists(directory / METRICS_TSV):
            raise ModelFormatError(
                f"`sd`: {directory} has not finished scoring, which intervals need; run the same "
                "'predictd cv' again to finish it"
            ) from err
        raise ModelFormatError(
            f"`sd`: {path} does not exist: 'predictd cv' writes it, unless there are too few bins; run it again into "
            "another directory"
        ) from err
    except (OSError, KeyError, TypeError, ValueError) as err:
        refuse_unreadable(path, err)
        raise ModelFormatError(f"{path} is damaged or foreign ({err}); run 'predictd cv' again") from err


def write_intervals(path: Path, calibration: Calibration, assays: Iterable[str]) -> None:
    """Write by what factors of its sd an imputed value lies in intervals: a row for each assay and step of signal."""
    edges = [-np.inf, *PREDICTED_EDGES.tolist(), np.inf]
    rows = (
        (assay, low, high, *factors)
        for assay in sorted(assays)
        for low, high, *factors in zip(
            edges[:-1], edges[1:], *calibration.of(assay).factors.values(), strict=True
        )
    )
    header = ("assay", "predicted_from", "predicted_to", *(f"factor_{100 * level:g}" for level in LEVELS))
    write_rows(path, header, rows)


def _pools(residuals: Residuals, pairs: Iterable[Experiment]) -> dict[str, Pool]:
    pools: dict[str, Pool] = {}
    for pair in pairs:
        own = Pool(residuals.counts[pair], 1)
        pools[pair.assay] = pools[pair.assay] + own if pair.assay in pools else own
    return pools


def _leave_folds_out(residuals: Residuals) -> Iterator[tuple[list[Experiment], Calibration]]:
    """Experiments of each test fold with a calibration on those of the others.

    Of a single test fold, each experiment with a calibration on the others; of a single experiment nothing.
    """
    pairs = sorted(residuals.fold)
    folds = sorted(set(residuals.fold.values()))
    groups = [[p for p in pairs if residuals.fold[p] == fold] for fold in folds]
    if len(groups) == 1:
        groups = [[pair] for pair in pairs]
    everything = _pools(residuals, pairs)
    for own in groups:
        rest = dict(everything)
        for assay, pool in _pools(residuals, own).items():
            rest[assay] = rest[assay] - pool
        with suppress(DataError):
            yield own, calibrate(rest, residuals.scales)


# Columns of the tables.
COVERAGE = ("bins", "rmse", "sd", "within_1sd", *(f"within_{100 * level:g}" for level in LEVELS))


def _means(sums: npt.NDArray[np.float64], unit: float) -> list[int | float]:
    """A row of what `coverage_sums` adds up: the number of bins, and means over them."""
    bins = sums[0]
    with np.errstate(invalid="ignore"):
        means = sums[1:] / bins
    means[:2] = unit * np.sqrt(means[:2])
    return [round(float(bins)), *means.tolist()]


def _write_coverage(
    path: Path, coverage: dict[Experiment, list[int | float]], folds: dict[Experiment, str]
) -> None:
    nothing = [0, *[np.nan] * (len(COVERAGE) - 1)]
    rows = ((*pair, folds[pair], *coverage.get(pair, nothing)) for pair in sorted(folds))
    write_rows(path, ("cell_type", "assay", "fold", *COVERAGE), rows)


def _write_by_signal(path: Path, sums: npt.NDArray[np.float64]) -> None:
    """How intervals hold at each predicted signal, over all experiments, in units of the tracks' expected sd."""
    edges = [-np.inf, *PREDICTED_EDGES.tolist(), np.inf]
    rows = ((edges[i], edges[i + 1], *_means(row, 1.0)) for i, row in enumerate(sums) if row[0])
    write_rows(path, ("predicted_from", "predicted_to", *COVERAGE), rows)


def _sparse(name: str, tables: Sequence[Counts]) -> Arrays:
    """Tables that are mostly zeros, as the places and values of what is not, one table after the other."""
    places = [np.flatnonzero(table) for table in tables]
    return {
        f"{name}_sizes": np.array([place.size for place in places]),
        f"{name}_places": np.concatenate(places),
        f"{name}_values": np.concatenate([t.ravel()[p] for t, p in zip(tables, places, strict=True)]),
        f"{name}_cells": np.array(tables[0].size),
    }


def _dense(name: str, arrays: Arrays, n_tables: int) -> npt.NDArray[np.int64]:
    """Inverse of `_sparse`: int64 (n_tables × cells)."""
    tables = np.zeros((n_tables, int(arrays[f"{name}_cells"])), dtype=np.int64)
    rows = np.repeat(np.arange(n_tables), arrays[f"{name}_sizes"])
    tables[rows, arrays[f"{name}_places"]] = arrays[f"{name}_values"]
    return tables
