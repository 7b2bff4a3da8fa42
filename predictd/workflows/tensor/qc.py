"""`predictd qc`: how well each track is predicted by the others, and which look wrong."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from predictd.engine import Engine
from predictd.engine.base import one_blas_thread
from predictd.errors import DataError
from predictd.io.files import make_directory
from predictd.io.results import write_rows, write_run_json
from predictd.io.tensor.store import Tensor
from predictd.model.labels.quality import Tracks, examine
from predictd.model.transforms import TRANSFORMS
from predictd.pairs import Experiment, axes, rows_of
from predictd.provenance import RunRecord, given
from predictd.workflows.tensor.coverage import warn_incomplete
from predictd.workflows.tensor.moments import TensorMoments, ensure_moments, read_moments
from predictd.workflows.tensor.ranges import artefacts_of

COLUMNS = ("cell_type", "assay", "mse", "r", "expected_r", "flags", "best_match")
# Bins that are read, about, to count those at a track's highest value; they lie all over the tensor.
_SAMPLED_BINS = 2**20
_LEAST_TRACKS = 4

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class QcRow:
    """A line of the output.

    Attributes
    ----------
    experiment
        Whose track.
    mse, r, expected_r, flags
        See `predictd.model.labels.quality.Findings`.
    best_match
        The pair that the track looks like, or is the same as; None for a constant track.
    """

    experiment: Experiment
    mse: float
    r: float
    expected_r: float
    flags: tuple[str, ...]
    best_match: Experiment | None

    def cells(self) -> tuple[str | float, ...]:
        """What the table has of it."""
        flags, match = ",".join(self.flags) or ".", str(self.best_match or ".")
        return (*self.experiment, self.mse, self.r, self.expected_r, flags, match)


def qc(
    tensor_path: Path,
    output: Path | None,
    engine: Engine,
    *,
    moments: Path | None = None,
    scratch: Path | None = None,
) -> list[QcRow]:
    """Examine the tracks of a tensor and write a table, the most suspicious first.

    Parameters
    ----------
    tensor_path, output
        Directory of the tensor; table to write, or None.
    engine
        What runs it.
    moments
        Moments file; None: in the tensor's directory.
    scratch
        Directory of each node for copies of shards; None: they are read where they are.

    Raises
    ------
    PredictdError
        If the tensor cannot be read or has too few tracks.
    """
    record = RunRecord.of("qc", engine, settings=given(moments=moments))
    tensor = Tensor(tensor_path, scratch=scratch)
    if len(tensor.experiments) < _LEAST_TRACKS:
        raise DataError(
            f"{tensor_path} has {len(tensor.experiments)} tracks; at least {_LEAST_TRACKS} are needed to compare "
            "each with the others"
        )
    warn_incomplete(tensor)
    if output is not None:
        make_directory(output.parent)
    with record.stage("moments"):
        data = read_moments(ensure_moments(tensor, engine, moments))
    with record.stage("highest values"):
        at_highest = _share_at_highest(tensor, engine)
    with record.stage("examine"), one_blas_thread():
        rows = _examined(data, tensor, at_highest)
    record.inputs = {str(tensor_path): tensor.manifest.checksum}
    record.results = {
        "tracks": len(rows),
        "flagged": sum(bool(row.flags) for row in rows),
        "complete_bins": tensor.n_complete,
    }
    if output is not None:
        write_rows(output, COLUMNS, (row.cells() for row in rows))
        write_run_json(record, output, sidecar=True)
    return rows


def _examined(data: TensorMoments, tensor: Tensor, at_highest: Float64) -> list[QcRow]:
    """Rows of the table, the most suspicious first."""
    cell_types, assays = axes(data.experiments)
    cells, columns = rows_of(data.experiments, cell_types, assays)
    transforms = {entry.experiment: entry.transform for entry in tensor.manifest.experiments}
    findings = examine(
        Tracks(
            data.s,
            cells,
            columns,
            len(cell_types),
            len(assays),
            at_highest[tensor.columns(data.experiments)],
            np.array([TRANSFORMS[transforms[e]].clipped for e in data.experiments]),
            artefacts_of(tensor)[tensor.columns(data.experiments)],
        )
    )
    rows = []
    for i in findings.order():
        cell, assay = divmod(int(findings.best[i]), len(assays))
        rows.append(
            QcRow(
                data.experiments[i],
                float(findings.mse[i]),
                float(findings.r[i]),
                float(findings.expected_r[i]),
                findings.flags[i],
                Experiment(cell_types[cell], assays[assay]) if findings.best[i] >= 0 else None,
            )
        )
    return rows


def _share_at_highest(tensor: Tensor, engine: Engine) -> Float64:
    """Share of a sample of bins at which each track has its highest value, (n,).

    Second moments do not contain it: blocks all over the tensor are read.
    """
    highest = tensor.summary()[:, 3]
    stride = max(1, tensor.n_bins // _SAMPLED_BINS)
    sizes = [entry.n_bins for entry in tensor.manifest.shards]
    engine.check_shared_paths(tensor.marker_file)
    shared = _Highest(tensor, highest.astype(np.float32), stride)
    counts = engine.reduce(_count_highest, tensor.shard_names, shared, label="shards", sizes=sizes)
    return np.asarray(counts[0] / np.maximum(counts[1], 1.0))


@dataclass(frozen=True)
class _Highest:
    """What counting needs: the tensor, each track's highest value, and which of the blocks are read."""

    tensor: Tensor
    values: npt.NDArray[np.float32]
    stride: int


def _count_highest(name: str, shared: _Highest) -> Float64:
    """Bins at the highest value, and observed bins, of some blocks of a shard: (2 × n)."""
    counts = np.zeros((2, len(shared.values)))
    with shared.tensor.open_shard(name) as shard:
        for block in shard.sample(shared.stride):
            counts[0] += (block >= shared.values).sum(axis=0)
            counts[1] += (~np.isnan(block)).sum(axis=0)
    return counts
