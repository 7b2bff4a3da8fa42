"""The sample of bins that networks learn from, kept next to the moments of a tensor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from predictd.constants import SAMPLE_FORMAT, SAMPLE_VERSION
from predictd.engine import Engine
from predictd.io.hdf5 import Arrays
from predictd.io.tensor.store import Tensor
from predictd.model.kriging.fit_refinement import ContextSample
from predictd.model.kriging.refinement import SCALES
from predictd.workflows.tensor.sample import SamplePlan, chosen_bins, plan_sample, rows_of
from predictd.workflows.tensor.sidecar import Kind, ensure_beside, header_of, read_beside
from predictd.workflows.tensor.windows import build_all, wide_blocks

_KIND = Kind(SAMPLE_FORMAT, SAMPLE_VERSION, "sample")
# Of a tensor always the same bins, whatever the seed of a run.
_SEED = 0
_BINS = 2**15


def ensure_context_sample(tensor: Tensor, engine: Engine, moments: Path, *, named: bool) -> Path:
    """See that a tensor's sample exists in a file next to its moments of features, and return it.

    Parameters
    ----------
    tensor, engine
        What it is of, and what reads it.
    moments
        File whose name ends in `.features.h5`; that of the sample ends in `.sample.h5`.
    named
        Whether a user named it.

    Raises
    ------
    OutputError
        If the file has to be written and cannot be.
    """
    plan = plan_sample(tensor, _BINS, _SEED)

    def compute() -> Arrays:
        keys = [index for index, count in enumerate(plan.per_shard) if count]
        sizes = [tensor.manifest.shards[index].n_bins for index in keys]
        pieces = engine.map(_shard_sample, keys, plan, label="sample", sizes=sizes)
        return {"values": np.concatenate(pieces, axis=1)}

    target = moments.with_name(f"{moments.name.removesuffix('.features.h5')}.sample.h5")
    header = header_of(tensor) | {"bins": plan.n_bins, "windows": [scale.half_width for scale in SCALES]}
    return ensure_beside(target, _KIND, header, compute, tensor, engine, named=named)


def read_context_sample(path: Path) -> ContextSample:
    """A sample that `ensure_context_sample` wrote.

    Raises
    ------
    OutputError
        If the file is gone or damaged.
    """
    _, experiments, arrays = read_beside(path, _KIND)
    return ContextSample(experiments, arrays["values"])


def _shard_sample(index: int, plan: SamplePlan) -> npt.NDArray[np.float32]:
    """The sampled bins of a shard at every scale: float32 (scales × bins × n)."""
    tensor = plan.tensor
    chosen = chosen_bins(plan, index)
    pieces = []
    seen = 0
    with tensor.open_shard(tensor.shard_names[index]) as shard:
        for block in wide_blocks(shard, max(scale.half_width for scale in SCALES)):
            rows, seen = rows_of(chosen, block.signal, seen)
            if rows.size:
                built = build_all(block, tensor.experiments, SCALES)[rows]
                pieces.append(built.reshape(len(rows), len(SCALES), -1))
    return np.concatenate(pieces).transpose(1, 0, 2)
