"""Residuals of held-out experiments, counted while they are scored and kept in small files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from predictd.constants import RESIDUALS_FORMAT, RESIDUALS_VERSION
from predictd.errors import OutputError
from predictd.io.hdf5 import Arrays, ForeignFileError, read_arrays, write_arrays
from predictd.io.tensor.store import Shard, Tensor
from predictd.model.intervals.residuals import SHAPE, Counts, ResidualCounts, Scale, Span
from predictd.model.transforms import TRANSFORMS
from predictd.pairs import Experiment
from predictd.workflows.imputing.apply import SpreadApplication

Float32 = npt.NDArray[np.float32]

# About _MOST_BINS bins are counted, in shards spread over the genome. Neighbouring bins are much alike: of more than
# _MANY_BINS bins only every fourth is counted.
_MOST_BINS = 2**22
_MANY_BINS = 2**18
_STRIDE = 4


@dataclass(frozen=True)
class Counting:
    """How the residuals of held-out pairs are counted.

    Attributes
    ----------
    spans
        By assay; see `predictd.workflows.imputing.calibration.assay_spans`.
    scales
        By pair; see `predictd.workflows.imputing.calibration.expected_scales`.
    files
        Files to write. For each, the pairs whose counts it holds; these are predicted together.
    """

    spans: dict[str, Span]
    scales: dict[Experiment, Scale]
    files: dict[Path, tuple[Experiment, ...]]


def counted_part(n_bins: int, n_shards: int) -> tuple[slice, int]:
    """Which shards of a tensor are counted, all or evenly spaced ones, and every how many of their bins."""
    step = max(1, -(-n_bins // _MOST_BINS))
    some = slice(step // 2, None, step) if n_shards > step else slice(None)
    return some, _STRIDE if n_bins > _MANY_BINS else 1


class HeldOutResiduals:
    """Counts of the residuals of some pairs, each predicted by models that never saw it.

    Parameters
    ----------
    application
        What predicts the pairs.
    pairs
        In its order.
    tensor
        Which observed them.
    counting
        Ranges and units of the counts.
    """

    def __init__(
        self,
        application: SpreadApplication,
        pairs: Sequence[Experiment],
        tensor: Tensor,
        counting: Counting,
    ) -> None:
        self._application, self._counting = application, counting
        self._columns = tensor.columns(pairs).tolist()
        transforms = {entry.assay: TRANSFORMS[entry.transform] for entry in tensor.manifest.experiments}
        self._found = {
            pair: ResidualCounts(
                counting.scales[pair], counting.spans[pair.assay], clipped=transforms[pair.assay].clipped
            )
            for pair in pairs
        }
        some, self._stride = counted_part(tensor.n_bins, len(tensor.shard_names))
        self._shards = frozenset(tensor.shard_names[some])

    def add(self, shard: Shard, start: int, rows: Float32, predicted: Float32) -> None:
        """Take what is to be counted of a block of a shard.

        Parameters
        ----------
        shard, start
            The shard, and the block's first row in it.
        rows, predicted
            Signal of the tensor (n × bins), predictions (pairs × bins).
        """
        if shard.name not in self._shards:
            return
        counted = slice(-start % self._stride, None, self._stride)
        rows, predicted = rows[:, counted], predicted[:, counted]
        spread = self._application.spread_of_rows(rows)
        for index, (column, counts) in enumerate(zip(self._columns, self._found.values(), strict=True)):
            counts.add(rows[column], predicted[index], spread[index])

    def write(self) -> None:
        """Write the files of these pairs; those of pairs that other tasks predict are left to them."""
        for path, pairs in self._counting.files.items():
            if self._found.keys().isdisjoint(pairs):
                continue
            arrays: Arrays = {
                "pairs": np.array([str(pair) for pair in pairs]),
                "scales": np.array([self._counting.scales[pair] for pair in pairs]),
            }
            for name in ("counts", "density"):
                arrays |= _sparse(name, [getattr(self._found[pair], name) for pair in pairs])
            write_arrays(path, format=RESIDUALS_FORMAT, version=RESIDUALS_VERSION, header={}, arrays=arrays)


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
    """What `HeldOutResiduals` wrote, each file with its test fold.

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
