"""The bins that SGD trains on: a seeded uniform sample of a tensor's complete bins, divided among workers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from predictd.io.store import Tensor
from predictd.pairs import Experiment


@dataclass(frozen=True)
class SamplePlan:
    """Which bins are drawn.

    Attributes
    ----------
    tensor
        Whose bins they are.
    seed
        Of the draw.
    per_shard
        Number of bins from each shard, in shard order.
    """

    tensor: Tensor
    seed: int
    per_shard: tuple[int, ...]

    @property
    def n_bins(self) -> int:
        return sum(self.per_shard)


def plan_sample(tensor: Tensor, n_bins: int, seed: int) -> SamplePlan:
    """Divide a sample over the shards in proportion to their complete bins (largest remainders)."""
    complete = np.array([entry.n_complete for entry in tensor.manifest.shards])
    n_bins = min(n_bins, int(complete.sum()))
    shares = complete * (n_bins / complete.sum())
    counts = np.floor(shares).astype(int)
    rest = np.argsort(-(shares - counts), kind="stable")[: n_bins - int(counts.sum())]
    counts[rest] += 1
    return SamplePlan(tensor, seed, tuple(counts.tolist()))


def read_sample(
    plan: SamplePlan, experiments: tuple[Experiment, ...], worker: int, n_workers: int
) -> npt.NDArray[np.float32]:
    """One worker's even share of the sample: float32 (bins × len(experiments)), complete, C-contiguous.

    Shares are consecutive in shard order, so that a worker opens few shards.
    """
    tensor = plan.tensor
    columns = tensor.columns(experiments)
    first, stop = (plan.n_bins * (worker + i) // n_workers for i in (0, 1))
    pieces = []
    offset = 0
    for index, (name, count) in enumerate(zip(tensor.shard_names, plan.per_shard, strict=True)):
        low, high = max(first - offset, 0), min(stop - offset, count)
        offset += count
        if low >= high:
            continue
        rng = np.random.default_rng([plan.seed, index])
        n_complete = tensor.manifest.shards[index].n_complete
        chosen = np.sort(rng.choice(n_complete, size=count, replace=False))[low:high]
        with tensor.open_shard(name) as shard:
            seen = 0
            for _, block in shard.blocks():
                complete = np.flatnonzero(~np.isnan(block).any(axis=1))
                inside = chosen[(chosen >= seen) & (chosen < seen + complete.size)] - seen
                pieces.append(block[np.ix_(complete[inside], columns)])
                seen += complete.size
    return np.ascontiguousarray(np.concatenate(pieces))
