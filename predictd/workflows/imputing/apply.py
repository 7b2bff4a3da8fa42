"""Imputers over the shards of a tensor, block by block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from predictd.io.tensor.store import Shard, Tensor
from predictd.model.ensemble import Committee
from predictd.model.imputer import build_features
from predictd.pairs import Experiment
from predictd.workflows.tensor.windows import wide_blocks

Float32 = npt.NDArray[np.float32]


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
    """

    def __init__(self, estimator: Committee, targets: Sequence[Experiment], tensor: Tensor) -> None:
        self._n_targets = len(targets)
        self._parts = [
            (imputer, tensor.columns([feature.experiment for feature in imputer.features]), positions)
            for imputer, positions in estimator.imputers(targets)
        ]
        self._halo = max(imputer.context for imputer, _, _ in self._parts)

    def blocks(self, shard: Shard) -> Iterator[tuple[int, Float32, Float32]]:
        """Yield (first row, signal (bins × n), predictions (bins × m)) over a shard.

        NaN where a bin cannot be imputed.
        """
        for block in wide_blocks(shard, self._halo):
            predicted = np.empty((len(block.signal), self._n_targets), dtype=np.float32)
            for imputer, columns, positions in self._parts:
                features = build_features(block.wide, block.run_lengths, imputer.features, columns)
                if len(self._parts) == 1:
                    predicted = imputer(features[block.inner])
                else:
                    predicted[:, positions] = imputer(features[block.inner])
            yield block.start, block.signal, predicted
