"""The sample of bins that networks learn from, kept next to the moments of a tensor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from predictd.constants import SAMPLE_FORMAT, SAMPLE_VERSION
from predictd.engine import Engine
from predictd.io.hdf5 import Arrays
from predictd.io.tensor.store import Tensor
from predictd.model.stack.inputs import HALF_WIDTHS
from predictd.model.stack.networks import WindowSample
from predictd.model.windows import window_means
from predictd.workflows.tensor.sample import SamplePlan, chosen_bins, plan_sample, rows_of
from predictd.workflows.tensor.sidecar import Kind, ensure_beside, header_of, read_beside
from predictd.workflows.tensor.windows import wide_blocks

_KIND = Kind(SAMPLE_FORMAT, SAMPLE_VERSION, "sample")
# Of a tensor always the same bins, whatever the seed of a run.
_SEED = 0
# Bins, fewer where there are many experiments: what is read is held whole.
_MOST_BINS, _LEAST_BINS, _VALUES = 2**15, 2**12, 2**23


def ensure_window_sample(tensor: Tensor, engine: Engine, moments: Path, *, named: bool) -> Path:
    """See that a tensor's sample exists in a file next to its moments, and return it.

    Parameters
    ----------
    tensor, engine
        What it is of, and what reads it.
    moments
        File whose name ends in `.h5`; that of the sample ends in `.sample.h5`.
    named
        Whether a user named it.

    Raises
    ------
    OutputError
        If the file has to be written and cannot be.
    """
    plan = plan_sample(tensor, sampled_bins(len(tensor.experiments)), _SEED)

    def compute() -> Arrays:
        keys = [index for index, count in enumerate(plan.per_shard) if count]
        sizes = [tensor.manifest.shards[index].n_bins for index in keys]
        pieces = engine.map(_shard_sample, keys, plan, label="sample", sizes=sizes)
        return {"values": np.concatenate(pieces, axis=1)}

    target = moments.with_name(f"{moments.name.removesuffix('.h5')}.sample.h5")
    header = header_of(tensor) | {"bins": plan.n_bins, "windows": list(HALF_WIDTHS)}
    return ensure_beside(target, _KIND, header, compute, tensor, engine, named=named)


def sampled_bins(n_experiments: int) -> int:
    """How many bins are drawn of a tensor that has so many experiments."""
    return min(_MOST_BINS, max(_LEAST_BINS, _VALUES // n_experiments))


def read_window_sample(path: Path) -> WindowSample:
    """A sample that `ensure_window_sample` wrote.

    Raises
    ------
    OutputError
        If the file is gone or damaged.
    """
    _, experiments, arrays = read_beside(path, _KIND)
    return WindowSample(experiments, arrays["values"])


def _shard_sample(index: int, plan: SamplePlan) -> npt.NDArray[np.float32]:
    """The sampled bins of a shard over every window: float32 (windows × bins × n)."""
    tensor = plan.tensor
    chosen = chosen_bins(plan, index)
    pieces = []
    seen = 0
    with tensor.open_shard(tensor.shard_names[index]) as shard:
        for block in wide_blocks(shard, max(HALF_WIDTHS)):
            rows, seen = rows_of(chosen, block.signal, seen)
            if rows.size:
                wide = plan.cut(block.wide)
                means = (window_means(wide, block.run_lengths, half) for half in HALF_WIDTHS)
                pieces.append(np.stack([values[block.inner][rows] for values in means]))
    return np.concatenate(pieces, axis=1)
