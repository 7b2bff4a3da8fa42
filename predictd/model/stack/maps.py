"""Linear maps of tracks, most of which read few of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import scipy

Float32 = npt.NDArray[np.float32]

# With fewer tracks, and for maps that read more than this share of them, zeros are multiplied as well.
_MANY_TRACKS, _SHARE = 64, 1 / 8


class LinearMaps:
    """q linear maps of n tracks. Of many tracks, maps of a few read these alone, which is many times as fast.

    Parameters
    ----------
    weights
        float64 or float32 (q × n).
    """

    def __init__(self, weights: npt.NDArray[np.floating]) -> None:
        weights = np.asarray(weights, dtype=np.float32)
        self._n_maps, n_tracks = weights.shape
        few = (np.count_nonzero(weights, axis=1) <= _SHARE * n_tracks) & (n_tracks >= _MANY_TRACKS)
        self._few, self._many = np.flatnonzero(few), np.flatnonzero(~few)
        self._of_many: Float32 = weights[self._many]
        self._of_few = scipy.sparse.csr_array(weights[self._few]) if self._few.size else None

    def __call__(self, tracks: Float32) -> Float32:
        """What the maps make of the tracks' values: float32 (n × bins), C-contiguous, to (q × bins)."""
        if self._of_few is None:
            return self._of_many @ tracks
        found = np.empty((self._n_maps, tracks.shape[1]), dtype=np.float32)
        found[self._many] = self._of_many @ tracks
        found[self._few] = self._of_few @ tracks
        return found
