"""Predictions and their spread as what is given out: tracks and their deviations, in the unit of the tracks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from predictd.errors import DataError
from predictd.io.tensor.store import Tensor
from predictd.model.intervals.uncertainty import Calibration
from predictd.model.transforms import TRANSFORMS, SignalTransform
from predictd.pairs import Experiment

Float32 = npt.NDArray[np.float32]


def track_name(pair: Experiment) -> str:
    """File name of a pair's imputed track."""
    return f"{pair.file_stem}.bw"


def sd_name(pair: Experiment) -> str:
    """File name of the standard deviation of a pair's imputed track."""
    return f"{pair.file_stem}.sd.bw"


@dataclass(frozen=True)
class OutputTrack:
    """What is given out of a pair, which is a column of the predictions.

    Attributes
    ----------
    pair, column
        The pair, and its place among those that are predicted together.
    transform
        Of its assay.
    """

    pair: Experiment
    column: int
    transform: SignalTransform

    @property
    def name(self) -> str:
        """File name of its bigWig."""
        return track_name(self.pair)

    def values(self, predicted: Float32, spread: Float32) -> Float32:
        """What is given out of a block of predictions and their spread, (bins × pairs) each: float32 (bins,)."""
        return self.transform.to_track(np.ascontiguousarray(predicted[:, self.column]))


@dataclass(frozen=True)
class OutputDeviation(OutputTrack):
    """The standard deviation of a pair's track."""

    calibration: Calibration

    @property
    def name(self) -> str:
        """See `OutputTrack.name`."""
        return sd_name(self.pair)

    def values(self, predicted: Float32, spread: Float32) -> Float32:
        """See `OutputTrack.values`."""
        signal = np.ascontiguousarray(predicted[:, self.column])
        sd = self.calibration.sd(self.pair, self.transform.clip(signal), spread[:, self.column])
        return self.transform.sd_to_track(signal, sd)


def output_tracks(
    pairs: Sequence[Experiment], tensor: Tensor, calibration: Calibration | None
) -> list[OutputTrack]:
    """Of each pair its track, and the track's deviation where there is a calibration.

    Raises
    ------
    DataError
        For a pair of an assay that the tensor does not have.
    """
    transforms = {entry.assay: TRANSFORMS[entry.transform] for entry in tensor.manifest.experiments}
    unknown = sorted({pair.assay for pair in pairs} - transforms.keys())
    if unknown:
        raise DataError(
            f"{tensor.path} has no experiment of assay {unknown[0]}, so that its unit is not known"
        )
    tracks: list[OutputTrack] = []
    for column, pair in enumerate(pairs):
        tracks.append(OutputTrack(pair, column, transforms[pair.assay]))
        if calibration is not None:
            tracks.append(OutputDeviation(pair, column, transforms[pair.assay], calibration))
    return tracks
