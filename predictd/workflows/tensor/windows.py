"""Blocks of a shard with the bins around them that windows reach into."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from predictd.constants import BLOCK_BINS
from predictd.io.tensor.store import Shard
from predictd.model.imputer import Feature, Regressor, build_features
from predictd.pairs import Experiment

Float32 = npt.NDArray[np.float32]


class WideBlock(NamedTuple):
    """Consecutive rows of a shard, and what is around them.

    Attributes
    ----------
    start
        First row.
    signal
        float32 (bins × n).
    wide
        The same with as many rows before and after as the shard has, up to the halo.
    run_lengths
        Lengths of the stretches of consecutive bins in `wide`.
    inner
        Where `signal` is in `wide`.
    """

    start: int
    signal: Float32
    wide: Float32
    run_lengths: list[int]
    inner: slice


def build_all(
    block: WideBlock, experiments: Sequence[Experiment], regressors: Sequence[Regressor]
) -> Float32:
    """Regressors of all n experiments in a block: float32 (bins × k·n), the first of all, then the second, …."""
    features = [Feature(e, *regressor) for regressor in regressors for e in experiments]
    columns = np.tile(np.arange(len(experiments)), len(regressors))
    return build_features(block.wide, block.run_lengths, features, columns)[block.inner]


def wide_blocks(shard: Shard, halo: int) -> Iterator[WideBlock]:
    """Yield a shard block by block; each byte is read once.

    Windows end where a shard ends: a run that was cut into two shards counts as two.

    Parameters
    ----------
    shard
        An open one.
    halo
        Rows before and after a block, at most BLOCK_BINS.
    """
    if halo > BLOCK_BINS:
        raise ValueError(f"windows reach {halo} bins far, more than a block of {BLOCK_BINS}")
    if halo == 0:
        for start, signal in shard.blocks():
            yield WideBlock(start, signal, signal, [len(signal)], slice(None))
        return
    blocks = shard.blocks()
    before: Float32 | None = None
    current = next(blocks, None)
    while current is not None:
        start, signal = current
        following = next(blocks, None)
        after = [] if following is None else [following[1][:halo]]
        wide = np.concatenate([*([] if before is None else [before]), signal, *after])
        offset = 0 if before is None else len(before)
        low = start - offset
        lengths = [rows.stop - rows.start for _, rows in shard.stretches(low, low + len(wide))]
        yield WideBlock(start, signal, wide, lengths, slice(offset, offset + len(signal)))
        before = wide[: offset + len(signal)][-halo:]
        current = following
