"""Tensors with signal of a test's own making."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from predictd.io.tensor.layout import Places, ShardPlan
from predictd.io.tensor.manifest import ExperimentEntry, GenomeEntry, Manifest
from predictd.io.tensor.store import Tensor, write_shard
from predictd.io.tracks.genomes import Genome
from predictd.pairs import Experiment


def stored_signal(tensor: Tensor) -> np.ndarray:
    """All bins of a tensor as they are read: float32 (bins × n)."""
    blocks = []
    for name in tensor.shard_names:
        with tensor.open_shard(name) as shard:
            blocks.append(shard.read())
    return np.concatenate(blocks)


def small_tensor(
    path: Path,
    signal: np.ndarray,
    *,
    experiments: Sequence[Experiment] | None = None,
    n_shards: int = 3,
    cut_last_bin: int = 0,
) -> Tensor:
    """A tensor of this signal (bins × n) on one chromosome, whose last bin may be some bp short."""
    n_bins, n = signal.shape
    pairs = experiments or [Experiment(f"C{i // 2}", f"A{i % 2}") for i in range(n)]
    length = 25 * n_bins - cut_last_bin
    genome = Genome("made", {"chr1": length})
    borders = [n_bins * i // n_shards for i in range(n_shards + 1)]
    shards = tuple(
        write_shard(
            path,
            ShardPlan(
                f"chr1.{i:04d}",
                Places.of("chr1", length, 25, np.array([[borders[i], borders[i + 1] - borders[i]]])),
            ),
            signal[borders[i] : borders[i + 1]].astype(np.float16),
        )
        for i in range(n_shards)
    )
    Manifest(
        genome=GenomeEntry.of(genome),
        experiments=tuple(ExperimentEntry(cell_type=pair.cell_type, assay=pair.assay) for pair in pairs),
        shards=shards,
    ).write(path)
    return Tensor(path)


def with_signal(tensor: Tensor, path: Path, signal: np.ndarray) -> Tensor:
    """The same experiments, shards and bins with other signal (bins × n)."""
    shards, start = [], 0
    for name in tensor.shard_names:
        with tensor.open_shard(name) as shard:
            plan = ShardPlan(name, shard.places)
        part = signal[start : start + plan.places.n_bins].astype(np.float16)
        shards.append(write_shard(path, plan, part))
        start += plan.places.n_bins
    tensor.manifest.model_copy(update={"shards": tuple(shards)}).write(path)
    return Tensor(path)


def read_signal(tensor: Tensor) -> np.ndarray:
    """All bins, float64 (bins × n)."""
    parts = []
    for name in tensor.shard_names:
        with tensor.open_shard(name) as shard:
            parts.append(shard.read().astype(np.float64))
    return np.concatenate(parts)


def rewritten(source: Path, path: Path, change: Callable[[int, str, np.ndarray], None]) -> Path:
    """A tensor of the same bins and experiments; `change` alters each shard's (number, chromosome, signal) in place."""
    tensor = Tensor(source)
    entries = []
    for number, name in enumerate(tensor.shard_names):
        with tensor.open_shard(name) as shard:
            signal = shard.read().astype(np.float16)
            change(number, shard.places.chrom, signal)
            entries.append(write_shard(path, ShardPlan(name, shard.places), signal))
    tensor.manifest.model_copy(update={"shards": tuple(entries)}).write(path)
    return path


def with_gaps(source: Path, path: Path, share: float) -> Path:
    """A copy in which `share` of the bins lack one experiment or more."""
    rng = np.random.default_rng(1)

    def change(_number: int, _chrom: str, signal: np.ndarray) -> None:
        for row in np.flatnonzero(rng.random(len(signal)) < share):
            signal[row, rng.integers(signal.shape[1], size=rng.integers(1, 4))] = np.nan

    return rewritten(source, path, change)
