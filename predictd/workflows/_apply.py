"""Imputers over the shards of a tensor, block by block."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from predictd.io.store import Shard, Tensor
from predictd.model.imputer import Imputer, build_features

Float32 = npt.NDArray[np.float32]


def feature_columns(imputer: Imputer, tensor: Tensor) -> npt.NDArray[np.intp]:
    """Column of each feature's experiment in the tensor: intp (k,)."""
    return tensor.columns([feature.experiment for feature in imputer.features])


def imputed_blocks(
    shard: Shard, imputer: Imputer, columns: npt.NDArray[np.intp]
) -> Iterator[tuple[int, Float32]]:
    """Yield (first row, predictions (bins × targets)) over a shard; NaN where a bin cannot be imputed.

    Features with context need whole runs, so that the shard is then read at once.
    """
    if imputer.context:
        signal = shard.read()
        yield 0, imputer(build_features(signal, shard.runs[:, 1].tolist(), imputer.features, columns))
        return
    for start, block in shard.blocks():
        yield start, imputer(build_features(block, [len(block)], imputer.features, columns))
