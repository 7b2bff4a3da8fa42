"""Some bins of pairs imputed in memory, by their place in the genome."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from predictd.engine.base import one_blas_thread
from predictd.io.tensor.store import Shard, Tensor
from predictd.model.ensemble import Committee
from predictd.model.intervals.uncertainty import Calibration
from predictd.pairs import Experiment
from predictd.workflows.imputing.apply import Application, SpreadApplication
from predictd.workflows.imputing.outputs import Float32, output_tracks
from predictd.workflows.tensor.fetch import Window, gather


def impute_window(
    estimator: Committee,
    tensor: Tensor,
    window: Window,
    pairs: Sequence[Experiment],
    calibration: Calibration | None = None,
) -> tuple[Float32, Float32 | None]:
    """Imputed signal of pairs in a window, and its standard deviation where there is a calibration.

    Parameters
    ----------
    estimator, tensor
        The models, and the tensor that has the experiments that they read.
    window, pairs
        Which bins of which pairs.
    calibration
        Of the errors of the models.

    Returns
    -------
    float32 (n_bins × m) and float32 (n_bins × m) or None
        In the unit of the tracks, as `impute` writes it but for rounding in float32; NaN where bins cannot be imputed,
        or the tensor does not have them.
    """
    tracks = output_tracks(pairs, tensor, calibration)

    def values(predicted: Float32, spread: Float32) -> list[Float32]:
        own = [track.values(predicted, spread) for track in tracks]
        step = 1 if calibration is None else 2
        return [np.stack(own[kind::step], axis=1) for kind in range(step)]

    with one_blas_thread():
        if calibration is None:
            application = Application(estimator, pairs, tensor)

            def read(shard: Shard, start: int, stop: int) -> list[Float32]:
                _, predicted = application.rows(shard, start, stop)
                return values(predicted, predicted)
        else:
            application = SpreadApplication(estimator, pairs, tensor)

            def read(shard: Shard, start: int, stop: int) -> list[Float32]:
                _, predicted, spread = application.rows_with_spread(shard, start, stop)
                return values(predicted, spread)

        signal, *sd = gather(tensor, window, read)
    return signal, sd[0] if sd else None
