"""Tracks of random signal, written by pyBigWig, and what is in bins, one base after the other."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyBigWig

from predictd.io.tables import Interval
from predictd.io.tensor.store import Tensor
from predictd.io.tracks.bigwig import Uncovered

BIN = 25

NAN = np.nan

# One base a value; NaN where the track has nothing.
Bases = dict[str, np.ndarray[Any, np.dtype[np.float32]]]


def random_bases(seed: int, lengths: dict[str, int], *, scale: float = 30.0) -> Bases:
    """Signal in stretches of a few bases to a few bins, a third of them uncovered."""
    rng = np.random.default_rng(seed)
    track: Bases = {}
    for chrom, length in lengths.items():
        stretches = rng.integers(1, 70, size=length)
        values = rng.exponential(scale, size=length).astype(np.float32)
        values[rng.random(length) < 1 / 3] = NAN
        track[chrom] = np.repeat(values, stretches)[:length]
    return track


def write_bases(path: Path, track: Bases, *, lengths: dict[str, int] | None = None) -> Path:
    """Write one interval for every stretch of equal values."""
    file = pyBigWig.open(str(path), "w")
    file.addHeader(list((lengths or {chrom: len(bases) for chrom, bases in track.items()}).items()))
    for chrom, bases in track.items():
        edges = np.flatnonzero(np.diff(bases, prepend=NAN, append=NAN) != 0)
        starts, ends = edges[:-1], edges[1:]
        kept = ~np.isnan(bases[starts])
        if kept.any():
            starts, ends = starts[kept], ends[kept]
            values = bases[starts].astype(np.float64)
            file.addEntries(
                [chrom] * len(starts), starts.tolist(), ends=ends.tolist(), values=values.tolist()
            )
    file.close()
    return path


def binned_by_hand(bases: np.ndarray, uncovered: Uncovered, bin_size: int = BIN) -> np.ndarray:
    """Mean of every bin, one base after the other."""
    means = []
    for start in range(0, len(bases), bin_size):
        window = bases[start : start + bin_size].astype(np.float64)
        covered = window[~np.isnan(window)]
        if uncovered == "zero":
            means.append(covered.sum() / len(window))
        else:
            means.append(covered.sum() / len(covered) if len(covered) else NAN)
    return np.array(means)


def intervals(path: Path) -> dict[str, list[tuple[int, int, float]]]:
    file = pyBigWig.open(str(path))
    return {chrom: list(file.intervals(chrom) or ()) for chrom in file.chroms()}


def as_lines(path: Path) -> list[str]:
    """A bigWig's intervals as lines of a bedGraph."""
    return [f"{c}\t{s}\t{e}\t{v!r}\n" for c, parts in intervals(path).items() for s, e, v in parts]


def hit(intervals: Iterable[Interval], chrom: str, bin_number: int, bin_size: int) -> list[int]:
    """Numbers of the intervals that share a base with a bin."""
    start, end = bin_number * bin_size, (bin_number + 1) * bin_size
    return [n for n, i in enumerate(intervals) if i.chrom == chrom and i.start < end and start < i.end]


def read_track(path: Path, tensor: Tensor) -> np.ndarray:
    """A track's value in the middle of every bin of a tensor; NaN where it has none."""
    values = []
    lengths = dict(tensor.manifest.genome.chromosomes)
    with pyBigWig.open(str(path)) as file:
        for name in tensor.shard_names:
            with tensor.open_shard(name) as shard:
                chrom, bins = shard.places.chrom, shard.places.bins()
            whole = np.array(file.values(chrom, 0, lengths[chrom]))
            size = tensor.manifest.bin_size
            values.append(whole[np.minimum(bins * size + size // 2, lengths[chrom] - 1)])
    return np.concatenate(values)
