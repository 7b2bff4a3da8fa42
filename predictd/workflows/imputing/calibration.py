"""What intervals the residuals of held-out experiments are calibrated to, and how often these hold."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

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
from predictd.errors import DataError, ModelFormatError
from predictd.io.files import exists, refuse_unreadable, write_json
from predictd.io.hdf5 import write_arrays
from predictd.io.results import write_rows
from predictd.io.tensor.store import Tensor
from predictd.model.intervals.residuals import PREDICTED_EDGES, SHAPE, Scale, Span
from predictd.model.intervals.uncertainty import LEVELS, Calibration, Pool, calibrate, coverage_sums
from predictd.model.stack.scales import Scales
from predictd.model.stack.tracks import Tracks
from predictd.model.transforms import TRANSFORMS
from predictd.pairs import Experiment, axes, rows_of
from predictd.workflows.imputing.residuals import Residuals
from predictd.workflows.tensor.moments import TensorMoments


def expected_scales(
    moments: TensorMoments, known: Sequence[Experiment], pairs: Iterable[Experiment]
) -> dict[Experiment, Scale]:
    """Mean and standard deviation of pairs that known tracks let expect; see `predictd.model.stack.scales`.

    A pair that is not one of `known` is estimated from other tracks alone: those of its assay, and of its cell type.

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
            f"`sd`: {directory} is a single model, which has no error estimates; impute with the directory of "
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
