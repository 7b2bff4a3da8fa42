"""Blocks of a shard with the bins around them that windows reach into."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from predictd.constants import BLOCK_BINS
from predictd.io.tensor.store import Shard

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


def wide_blocks(shard: Shard, halo: int) -> Iterator[WideBlock]:
    """Yield a shard block by block; each byte is read once. A block is valid until the next is asked for.

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
        for start, signal in shard.blocks(reuse=True):
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
        lengths = [rows.stop - rows.start for _, rows in shard.places.stretches(low, low + len(wide))]
        yield WideBlock(start, signal, wide, lengths, slice(offset, offset + len(signal)))
        before = wide[: offset + len(signal)][-halo:]
        current = following


def wide_rows(shard: Shard, start: int, stop: int, halo: int) -> WideBlock:
    """The rows [start, stop) of a shard with what is around them."""
    low, high = max(start - halo, 0), min(stop + halo, shard.n_bins)
    wide = shard.read(low, high)
    inner = slice(start - low, stop - low)
    lengths = [rows.stop - rows.start for _, rows in shard.places.stretches(low, high)]
    return WideBlock(start, wide[inner], wide, lengths, inner)
