"""`predictd qc`: how well each track is predicted by the others, and which look wrong."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from predictd.engine import Engine
from predictd.engine.base import one_blas_thread
from predictd.errors import DataError
from predictd.io.files import make_directory, write_text
from predictd.io.results import write_run_json
from predictd.io.tensor.store import Tensor
from predictd.model.labels.quality import Tracks, examine
from predictd.model.transforms import TRANSFORMS
from predictd.pairs import Experiment, axes
from predictd.provenance import RunRecord
from predictd.workflows.tensor.coverage import warn_incomplete
from predictd.workflows.tensor.moments import ensure_moments, read_moments

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
        See `predictd.model.labels.quality.Verdicts`.
    best_match
        The pair that the track looks like; None for a constant track.
    """

    experiment: Experiment
    mse: float
    r: float
    expected_r: float
    flags: tuple[str, ...]
    best_match: Experiment | None

    def line(self) -> str:
        """Tab-separated."""
        numbers = "\t".join(f"{value:.6g}" for value in (self.mse, self.r, self.expected_r))
        return (
            f"{self.experiment.cell_type}\t{self.experiment.assay}\t{numbers}\t{','.join(self.flags) or '.'}\t"
            f"{self.best_match or '.'}"
        )


def qc(
    tensor_path: Path,
    output: Path,
    engine: Engine,
    *,
    moments_path: Path | None = None,
    scratch: Path | None = None,
) -> list[QcRow]:
    """Examine the tracks of a tensor and write a table, the most suspicious first.

    Parameters
    ----------
    tensor_path, output
        Directory of the tensor; table to write.
    engine
        What runs it.
    moments_path
        Moments file; None: beside the tensor.
    scratch
        Directory of each node for copies of shards; None: they are read where they stand.

    Raises
    ------
    PredictdError
        If the tensor cannot be read or has too few tracks.
    """
    record = RunRecord.of("qc", engine)
    tensor = Tensor(tensor_path, scratch=scratch)
    if len(tensor.experiments) < _LEAST_TRACKS:
        raise DataError(
            f"{tensor_path} has {len(tensor.experiments)} tracks; at least {_LEAST_TRACKS} are needed to judge one by "
            "the others"
        )
    warn_incomplete(tensor)
    make_directory(output.parent)
    with record.stage("moments"):
        data = read_moments(ensure_moments(tensor, engine, moments_path))
    with record.stage("highest values"):
        at_highest = _share_at_highest(tensor, engine)
    with record.stage("examine"), one_blas_thread():
        cell_types, assays = axes(data.experiments)
        entries = {entry.experiment: entry for entry in tensor.manifest.experiments}
        order = tensor.columns(data.experiments)
        verdicts = examine(
            Tracks(
                data.s,
                np.array([cell_types.index(e.cell_type) for e in data.experiments], dtype=np.intp),
                np.array([assays.index(e.assay) for e in data.experiments], dtype=np.intp),
                len(cell_types),
                len(assays),
                at_highest[order],
                np.array([TRANSFORMS[entries[e].transform].clipped for e in data.experiments]),
            )
        )
    rows = []
    for i in verdicts.order():
        best = divmod(int(verdicts.best[i]), len(assays))
        rows.append(
            QcRow(
                data.experiments[i],
                float(verdicts.mse[i]),
                float(verdicts.r[i]),
                float(verdicts.expected_r[i]),
                verdicts.flags[i],
                Experiment(cell_types[best[0]], assays[best[1]]) if verdicts.best[i] >= 0 else None,
            )
        )
    write_text(output, "\n".join(["\t".join(COLUMNS), *(row.line() for row in rows)]) + "\n")
    record.inputs = {str(tensor_path): tensor.manifest.checksum}
    record.results = {
        "tracks": len(rows),
        "flagged": sum(bool(row.flags) for row in rows),
        "complete_bins": tensor.n_complete,
    }
    write_run_json(record, output, sidecar=True)
    return rows


def _share_at_highest(tensor: Tensor, engine: Engine) -> Float64:
    """Share of a sample of bins at which each track has its highest value, (n,).

    Second moments cannot tell it: blocks all over the tensor are read.
    """
    highest = tensor.summary()[:, 3]
    stride = max(1, tensor.n_bins // _SAMPLED_BINS)
    sizes = [entry.n_bins for entry in tensor.manifest.shards]
    engine.require_sight(tensor.witness)
    counts = engine.reduce(
        _count_highest, tensor.shard_names, (tensor, highest, stride), label="shards", sizes=sizes
    )
    return np.asarray(counts[0] / np.maximum(counts[1], 1.0))


def _count_highest(name: str, shared: tuple[Tensor, Float64, int]) -> Float64:
    """Bins at the highest value, and observed bins, of every so manyth block of a shard: (2 × n)."""
    tensor, highest, stride = shared
    counts = np.zeros((2, len(highest)))
    values = highest.astype(np.float32)
    with tensor.open_shard(name) as shard:
        for block in shard.sample(stride):
            counts[0] += (block >= values).sum(axis=0)
            counts[1] += (~np.isnan(block)).sum(axis=0)
    return counts
