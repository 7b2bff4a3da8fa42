"""What features and networks add to a stack's predictions, block by block."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from predictd.interrupt import give_up_if_asked
from predictd.model.stack.inputs import HALF_WIDTHS, CurveScales, Guide, read_by_networks
from predictd.model.stack.networks import Float32, Float64, Networks
from predictd.model.stack.tracks import Places, Tracks
from predictd.model.windows import window_means

# Bins at once: what networks read there should stay in cache.
_STEP = 512


class Refiner:
    """What features and networks add to a stack's predictions of m pairs, from the signal of its tracks.

    Parameters
    ----------
    networks
        The networks.
    guide
        What leads them at the pairs.
    tracks, curve_scales
        The n tracks that are read.
    places, sds
        Cell types and assays of the pairs, and their predicted standard deviations, float64 (m,).
    """

    halo = max(HALF_WIDTHS)

    def __init__(
        self,
        networks: Networks,
        guide: Guide,
        tracks: Tracks,
        curve_scales: CurveScales,
        places: Places,
        sds: Float64,
    ) -> None:
        self._networks, self._guide, self._curve_scales = networks, guide, curve_scales
        self._tracks = tracks
        self._maps = [guide.maps_of(row) for row in range(len(guide.maps))]
        self._sds = sds.astype(np.float32)
        self._weights = [networks.weights(int(cell), int(assay)) for cell, assay in zip(*places, strict=True)]

    def __call__(self, signal: Float32, run_lengths: Sequence[int], inner: slice) -> Float32:
        """What to add in some of the bins.

        Parameters
        ----------
        signal
            (bins × n), with the bins around those that are asked for; NaN is where nothing can be said.
        run_lengths
            Lengths of the stretches of consecutive bins in it; they add up to the bins.
        inner
            The bins that are asked for.
        """
        guide, features = self._guide, self._tracks.features
        read = np.ascontiguousarray(signal.T)
        z = self._tracks.standardised(read)
        # A bin counts in windows where all tracks are there.
        z[:, np.isnan(z.sum(axis=0))] = np.nan
        within = np.ascontiguousarray(z[:, inner])
        curved = self._curve_scales.standardised(np.ascontiguousarray(read[:, inner]))
        added = np.zeros((within.shape[1], len(self._maps)), dtype=np.float32)
        beside = None
        if features is not None and guide.beyond is not None:
            beside = features.at(signal, run_lengths, inner).T
            added += (guide.beyond[:, 0].astype(np.float32) @ beside).T * self._sds
        for row, maps in enumerate(self._maps):
            give_up_if_asked()
            constants = guide.constants[row].astype(np.float32)
            mapped = maps.every(z)
            windows = window_means(mapped[guide.wide].T, run_lengths, HALF_WIDTHS[1:], inner)
            leading = guide.leading(row, mapped[:, inner], within, curved, maps=maps, features=beside)
            for start in range(0, len(added), _STEP):
                some = slice(start, start + _STEP)
                inputs = read_by_networks(leading[:, some], list(windows[:, some]))
                added[some, row] += self._sds[row] * self._networks(inputs, self._weights[row], constants)
        return added
