"""The sample of bins that networks learn from, kept next to the moments of a tensor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from predictd.constants import SAMPLE_FORMAT, SAMPLE_VERSION
from predictd.engine import Engine
from predictd.io.hdf5 import Arrays
from predictd.io.kept import kept
from predictd.io.tensor.store import Shard, Tensor
from predictd.model.stack.inputs import HALF_WIDTHS
from predictd.model.stack.networks import WindowSample
from predictd.model.windows import window_means
from predictd.workflows.tensor.sample import Index, SamplePlan, chosen_bins, drawn_rows, plan_sample
from predictd.workflows.tensor.sidecar import Kind, ensure_sidecar, header_of, read_sidecar
from predictd.workflows.tensor.windows import WideBlock, wide_blocks, wide_rows

_KIND = Kind(SAMPLE_FORMAT, SAMPLE_VERSION, "sample")
# Of a tensor always the same bins, whatever the seed of a run.
_SEED = 0
# Bins, fewer where there are many experiments: what is read is held whole.
_MOST_BINS, _LEAST_BINS, _VALUES = 2**15, 2**12, 2**23
# Of a block that is read about so many are drawn, where there are more blocks than that takes; and how: samples that
# were drawn otherwise are drawn again.
_OF_BLOCK, _DRAW = 32, "even"
# Blocks with gaps hold fewer: so many times as many blocks as the mean says are there to be read.
_SPARE = 1.1
Float32 = npt.NDArray[np.float32]


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
    drawn = {"bins": plan.n_bins, "of_block": _OF_BLOCK, "draw": _DRAW, "windows": list(HALF_WIDTHS)}
    header = header_of(tensor) | drawn
    return ensure_sidecar(target, _KIND, header, compute, tensor, engine, named=named)


def sampled_bins(n_experiments: int) -> int:
    """How many bins are drawn of a tensor that has so many experiments."""
    return min(_MOST_BINS, max(_LEAST_BINS, _VALUES // n_experiments))


@kept(lambda sample: sample.values.nbytes)
def read_window_sample(path: Path) -> WindowSample:
    """A sample that `ensure_window_sample` wrote: read once by all tasks of a worker, unless it is very large.

    Raises
    ------
    OutputError
        If the file is gone or damaged.
    """
    _, experiments, arrays = read_sidecar(path, _KIND)
    return WindowSample(experiments, arrays["values"])


def blocks_read(n_bins: int) -> int:
    """In how many blocks a sample of so many bins lies, where there are more."""
    return -(-n_bins // _OF_BLOCK)


def _shard_sample(index: int, plan: SamplePlan) -> Float32:
    """The sampled bins of a shard over every window: float32 (windows × bins × n)."""
    tensor = plan.tensor
    with tensor.open_shard(tensor.shard_names[index]) as shard:
        pieces = _of_some_blocks(shard, index, plan)
        if pieces is None:
            chosen, seen, pieces = chosen_bins(plan, index), 0, []
            for block in wide_blocks(shard, max(HALF_WIDTHS)):
                rows, seen = drawn_rows(chosen, block.signal, seen)
                pieces.append(_means(plan, block, rows))
    return np.concatenate(pieces, axis=1)


def _of_some_blocks(shard: Shard, index: int, plan: SamplePlan) -> list[Float32] | None:
    """Sampled bins of blocks that are drawn; None where about all blocks would be, or have too few complete bins.

    A sample in two stages: blocks, and bins in them. Only these blocks are read, and what is around them. Of each as
    many places are drawn as hold `_OF_BLOCK` complete bins on average, and those that hold none fall away: so a bin is
    as likely to be drawn in a block with gaps as in one without.
    """
    size, wanted = shard.block_rows(), plan.per_shard[index]
    starts = np.arange(0, shard.n_bins, size)
    if _SPARE * blocks_read(wanted) >= len(starts):
        return None
    n_complete = plan.tensor.manifest.shards[index].n_complete
    n_places = min(size, -(-_OF_BLOCK * shard.n_bins // n_complete))
    rng = np.random.default_rng([plan.seed, index])
    pieces: list[Float32] = []
    for start in rng.permutation(starts).tolist():
        block = wide_rows(shard, start, min(start + size, shard.n_bins), max(HALF_WIDTHS))
        drawn = rng.choice(size, size=n_places, replace=False)
        drawn = drawn[drawn < len(block.signal)]
        rows = drawn[~np.isnan(block.signal[drawn]).any(axis=1)][:wanted]
        pieces.append(_means(plan, block, np.sort(rows)))
        wanted -= rows.size
        if not wanted:
            return pieces
    return None


def _means(plan: SamplePlan, block: WideBlock, rows: Index) -> Float32:
    """Means over every window around some rows of a block: float32 (windows × rows × n)."""
    wide = plan.cut(block.wide) if rows.size else block.wide
    return window_means(wide, block.run_lengths, HALF_WIDTHS, rows + block.inner.start)
