"""The moments pass: one reduction over the shards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from predictd.engine import Engine
from predictd.io.store import Tensor
from predictd.model.moments import moments


def compute_moments(tensor: Tensor, engine: Engine) -> npt.NDArray[np.float64]:
    """S = [Y 1]ᵀ[Y 1] over the complete bins of a tensor: float64 (n+1 × n+1)."""
    return engine.reduce(_shard_moments, tensor.shard_names, tensor.path, label="moments")


def _shard_moments(name: str, path: Path) -> npt.NDArray[np.float64]:
    tensor = Tensor(path)
    n = len(tensor.experiments)
    total = np.zeros((n + 1, n + 1))
    with tensor.open_shard(name) as shard:
        for _, block in shard.blocks():
            total += moments(block[~np.isnan(block).any(axis=1)])
    return total
