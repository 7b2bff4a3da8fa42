"""Imputers over the shards of a tensor, block by block: predictions, and how much an ensemble's models disagree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from predictd import interrupt
from predictd.io.tensor.store import Shard, Tensor
from predictd.kernels import columns_as_rows
from predictd.model.ensemble import Committee
from predictd.model.imputer import Joined
from predictd.model.intervals.spread import Spread
from predictd.pairs import Experiment
from predictd.workflows.tensor.windows import WideBlock, wide_blocks, wide_rows

Float32 = npt.NDArray[np.float32]

# What is finished when SIGINT or SIGTERM asks to stop, in the words of the acknowledgement.
BLOCK_AT_WORK = "the block of bins at work"
# The sample by which the leading differences between models are found: so many bins from so many shards at most.
SAMPLED_SHARDS = 64
_BINS = 256


class Application:
    """An estimator bound to the columns of a tensor.

    Parameters
    ----------
    estimator
        Gives the imputers.
    targets
        The m pairs to impute.
    tensor
        Whose shards are read.
    sizes
        How many targets each group of them has, one after the other; None: they are one group. Each is predicted as if
        it were alone: with how many others a pair is predicted at once may show in the last bits, for BLAS has another
        kernel for what is left over of a matrix.
    """

    def __init__(
        self,
        estimator: Committee,
        targets: Sequence[Experiment],
        tensor: Tensor,
        *,
        sizes: Sequence[int] | None = None,
    ) -> None:
        self._tensor, self._n_targets = tensor, len(targets)
        self._every = np.arange(len(tensor.experiments))
        ends = np.cumsum([self._n_targets] if sizes is None else sizes).tolist()
        self._groups = [slice(start, end) for start, end in pairwise([0, *ends])]
        self._parts_of_groups = [
            [
                (imputer, tensor.columns(imputer.inputs), positions)
                for imputer, positions in estimator.imputers(targets[group])
            ]
            for group in self._groups
        ]
        self._parts = [
            (imputer, columns, group.start + positions)
            for group, parts in zip(self._groups, self._parts_of_groups, strict=True)
            for imputer, columns, positions in parts
        ]
        self._halo = max(imputer.halo for imputer, _, _ in self._parts)

    @property
    def dear(self) -> bool:
        """Whether predicting takes much longer than reading does: with networks, or features of what is around bins."""
        return self._halo > 0

    def blocks(self, shard: Shard) -> Iterator[tuple[int, Float32, Float32]]:
        """Yield (first row, signal (bins × n), predictions (bins × m)) over a shard, each valid until the next.

        NaN where a bin cannot be imputed.
        """
        for block in wide_blocks(shard, self._halo):
            yield block.start, block.signal, self._predicted(block)

    def row_blocks(self, shard: Shard) -> Iterator[tuple[int, Float32, Float32]]:
        """Yield (first row, signal (n × bins), predictions (m × bins)); see `blocks`."""
        if self._halo:
            for start, signal, predicted in self.blocks(shard):
                rows = np.empty((len(self._every), len(signal)), dtype=np.float32)
                columns_as_rows(signal, self._every, rows)
                yield start, rows, np.ascontiguousarray(predicted.T)
            return
        predicted = np.empty((self._n_targets, 0), dtype=np.float32)
        for start, rows, low, high in shard.row_blocks(self._every):
            interrupt.give_up_if_asked()
            if predicted.shape[1] != rows.shape[1]:
                predicted = np.empty((self._n_targets, rows.shape[1]), dtype=np.float32)
            for group, joined in self._joined:
                joined(rows, low, high, predicted[group])
            yield start, rows, predicted

    @cached_property
    def _joined(self) -> list[tuple[slice, Joined]]:
        """All imputers of each group as one."""
        return [
            (group, Joined(parts, len(self._every), group.stop - group.start))
            for group, parts in zip(self._groups, self._parts_of_groups, strict=True)
        ]

    def rows(self, shard: Shard, start: int, stop: int) -> tuple[Float32, Float32]:
        """Signal (bins × n) and predictions (bins × m) of the rows [start, stop) of a shard, as `blocks` has them."""
        block = wide_rows(shard, start, stop, self._halo)
        return block.signal, self._predicted(block)

    def _predicted(self, block: WideBlock) -> Float32:
        interrupt.give_up_if_asked()
        predicted = np.empty((len(block.signal), self._n_targets), dtype=np.float32)
        for imputer, columns, positions in self._parts:
            own = imputer(_some(block.wide, columns), block.run_lengths, block.inner)
            if len(self._parts) == 1:
                return own
            predicted[:, positions] = own
        return predicted


class SpreadApplication(Application):
    """An application that gives the spread as well; see `Application`."""

    def blocks_with_spread(self, shard: Shard) -> Iterator[tuple[int, Float32, Float32, Float32]]:
        """Yield (first row, signal (bins × n), predictions (bins × m), their spread (bins × m)) over a shard.

        The spread is the standard deviation over the ensemble's members of what they predict, in transformed space.
        """
        for block in wide_blocks(shard, self._halo):
            yield block.start, block.signal, self._predicted(block), self._spread(block.signal)

    def rows_with_spread(self, shard: Shard, start: int, stop: int) -> tuple[Float32, Float32, Float32]:
        """Signal, predictions, their spread of the rows [start, stop) of a shard, as `blocks_with_spread` has them."""
        block = wide_rows(shard, start, stop, self._halo)
        return block.signal, self._predicted(block), self._spread(block.signal)

    def spread_of_rows(self, rows: Float32) -> Float32:
        """Spread (m × bins) where signal is that of some bins (n × bins), as `row_blocks` has it."""
        if not self._several:
            return np.zeros((self._n_targets, rows.shape[1]), dtype=np.float32)
        return self._spread(np.ascontiguousarray(rows.T)).T

    @cached_property
    def _several(self) -> bool:
        """Whether any model predicts beside others: one alone has no spread, and nothing is read for it."""
        return any(len(imputer.members) > 1 for imputer, _, _ in self._parts)

    @cached_property
    def _spreads(self) -> list[Spread]:
        sample = _sample(self._tensor) if self._several else np.empty((0, len(self._every)), dtype=np.float32)
        return [Spread(imputer, imputer.limited(sample[:, columns])) for imputer, columns, _ in self._parts]

    def _spread(self, signal: Float32) -> Float32:
        spread = np.empty((len(signal), self._n_targets), dtype=np.float32)
        for (imputer, columns, positions), own in zip(self._parts, self._spreads, strict=True):
            spread[:, positions] = own(imputer.limited(_some(signal, columns)))
        return spread


def _some(signal: Float32, columns: npt.NDArray[np.intp]) -> Float32:
    """Some columns, without a copy where they are all."""
    whole = columns.size == signal.shape[1] and np.array_equal(columns, np.arange(columns.size))
    return signal if whole else signal[:, columns]


def _sample(tensor: Tensor) -> Float32:
    """Signal of some bins from the middles of shards all over the genome, float32 (bins × n); gaps hold the mean."""
    names = tensor.spread_shards(SAMPLED_SHARDS)
    size = max(_BINS, 4096 // len(names))
    pieces = []
    for name in names:
        with tensor.open_shard(name) as shard:
            start = max(0, (shard.n_bins - size) // 2)
            pieces.append(shard.read(start, start + size))
    sample = np.concatenate(pieces)
    observed = ~np.isnan(sample)
    means = np.where(observed, sample, 0).sum(axis=0) / np.maximum(observed.sum(axis=0), 1)
    return np.where(observed, sample, means).astype(np.float32)
