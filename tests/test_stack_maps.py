"""Linear maps of many tracks, most of which read few."""

from __future__ import annotations

import numpy as np
import pytest

from predictd.model.stack.maps import LinearMaps

pytestmark = pytest.mark.numeric


@pytest.mark.parametrize("n_tracks", [1, 63, 64, 300])
@pytest.mark.parametrize("kinds", ["all", "few", "both", "none"])
def test_they_are_products(n_tracks, kinds):
    rng = np.random.default_rng(n_tracks)
    weights = np.zeros((0 if kinds == "none" else 7, n_tracks))
    if kinds in ("all", "both"):
        weights[::2] = rng.normal(size=weights[::2].shape)
    if kinds in ("few", "both"):
        weights[1, 0] = -1.0
        weights[3, : max(1, n_tracks // 9)] = 0.3
        # The last but one reads nothing.
        weights[5] = 0.0
    tracks = rng.normal(size=(n_tracks, 50)).astype(np.float32)
    found = LinearMaps(weights)(tracks)
    assert found.dtype == np.float32 and found.shape == (len(weights), 50)
    # Some hundred roundings of sums of up to 50.
    np.testing.assert_allclose(found, weights @ tracks.astype(np.float64), rtol=0, atol=1e-4)


def test_a_map_of_few_tracks_reads_no_others():
    weights = np.zeros((2, 100))
    weights[0, 7], weights[1] = 2.0, 1.0
    tracks = np.ones((100, 3), dtype=np.float32)
    tracks[5, 1] = np.nan
    np.testing.assert_array_equal(LinearMaps(weights)(tracks), [[2, 2, 2], [100, np.nan, 100]])
