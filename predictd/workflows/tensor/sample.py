"""The bins that SGD trains on: a seeded uniform sample of a tensor's complete bins, divided among workers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from predictd.io.tensor.store import Tensor
from predictd.pairs import Experiment
from predictd.wording import even_parts
from predictd.workflows.tensor.ranges import ends_of

Index = npt.NDArray[np.intp]


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
    ends
        The highest value that counts of each track, as `ends_of` gives it.
    """

    tensor: Tensor
    seed: int
    per_shard: tuple[int, ...]
    ends: npt.NDArray[np.float32] | None = None

    @property
    def n_bins(self) -> int:
        """Number of bins that are drawn from all shards."""
        return sum(self.per_shard)

    def cut(self, signal: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Signal (bins × n) without artefacts."""
        return signal if self.ends is None else np.minimum(signal, self.ends)


def plan_sample(tensor: Tensor, n_bins: int, seed: int) -> SamplePlan:
    """Divide a sample over the shards in proportion to their complete bins (largest remainders)."""
    complete = np.array([entry.n_complete for entry in tensor.manifest.shards])
    n_bins = min(n_bins, int(complete.sum()))
    shares = complete * (n_bins / complete.sum())
    counts = np.floor(shares).astype(int)
    rest = np.argsort(-(shares - counts), kind="stable")[: n_bins - int(counts.sum())]
    counts[rest] += 1
    return SamplePlan(tensor, seed, tuple(counts.tolist()), ends_of(tensor))


def read_sample(
    plan: SamplePlan, experiments: tuple[Experiment, ...], worker: int, n_workers: int
) -> npt.NDArray[np.float32]:
    """One worker's even share of the sample: float32 (bins × len(experiments)), complete, C-contiguous.

    Shares are consecutive in shard order, so that a worker opens few shards.
    """
    tensor = plan.tensor
    columns = tensor.columns(experiments)
    first, stop = even_parts(plan.n_bins, n_workers)[worker]
    pieces = []
    offset = 0
    for index, (name, count) in enumerate(zip(tensor.shard_names, plan.per_shard, strict=True)):
        low, high = max(first - offset, 0), min(stop - offset, count)
        offset += count
        if low >= high:
            continue
        chosen = chosen_bins(plan, index)[low:high]
        with tensor.open_shard(name) as shard:
            seen = 0
            for _, block in shard.blocks():
                rows, seen = drawn_rows(chosen, block, seen)
                pieces.append(plan.cut(block[rows])[:, columns])
    return np.ascontiguousarray(np.concatenate(pieces))


def chosen_bins(plan: SamplePlan, index: int) -> Index:
    """Which complete bins of a shard are drawn, ascending, counted among its complete bins."""
    rng = np.random.default_rng([plan.seed, index])
    n_complete = plan.tensor.manifest.shards[index].n_complete
    return np.sort(rng.choice(n_complete, size=plan.per_shard[index], replace=False))


def drawn_rows(chosen: Index, signal: npt.NDArray[np.float32], seen: int) -> tuple[Index, int]:
    """Rows of a block that were drawn, and how many complete bins have been seen with it.

    Parameters
    ----------
    chosen
        As `chosen_bins` gives them, or some of them.
    signal
        The block, (bins × n), whose complete bins count.
    seen
        Complete bins before it.
    """
    complete = np.flatnonzero(~np.isnan(signal).any(axis=1))
    inside = chosen[(chosen >= seen) & (chosen < seen + complete.size)] - seen
    return complete[inside], seen + complete.size
