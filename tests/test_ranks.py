"""Rank keys, ranks and top sets that are found block by block."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from predictd.kernels import COMPARED, Positive, compare
from predictd.model.measures.ranks import (
    N_KEYS,
    KeyCounts,
    distribution_map,
    key_values,
    rank_keys,
)


def test_keys_ascend_with_the_value_over_the_whole_range():
    values = np.concatenate([[0.0], np.geomspace(1e-44, 3.4e38, 200_001)]).astype(np.float32)
    keys = rank_keys(values)
    assert keys[0] == 0 and (np.diff(keys) >= 0).all() and keys[-1] < N_KEYS
    assert rank_keys(np.array([-0.0, 0.0], dtype=np.float32)).tolist() == [0, 0]
    assert rank_keys(np.array([np.finfo(np.float32).max])) < N_KEYS


def test_keys_are_values_to_12_binary_digits_after_the_first():
    one = rank_keys(np.array([1.0]))[0]
    step = 2.0**-12
    values = np.array([1 - step / 2, 1 - step / 5, 1 + step / 2.1, 1 + step / 1.9, 1 + 7 * step, 2.0])
    assert (rank_keys(values) - one).tolist() == [-1, 0, 0, 1, 7, 4096]


def test_halves_have_keys_of_their_own():
    halves = np.arange(0x7C00, dtype=np.uint16).view(np.float16)
    assert (np.diff(rank_keys(halves)) > 0).all()
    # Arithmetic in float32 does not take a value from its key.
    nearly = halves[1024:].astype(np.float32) * np.float32(1 / 3) * np.float32(3)
    assert np.array_equal(rank_keys(nearly), rank_keys(halves[1024:]))


def of_keys(keys: npt.ArrayLike) -> np.ndarray:
    """A track of values with these keys."""
    return key_values(np.asarray(keys, dtype=np.int32))


@pytest.mark.parametrize("n", [1, 2, 7, 1000, 70_000])
def test_ranks(n):
    rng = np.random.default_rng(n)
    most = rank_keys(np.array([3e38]))[0]
    keys = np.stack([rng.integers(0, 5, n), rng.integers(0, most, n), np.zeros(n, dtype=np.int64)])
    counts = KeyCounts(3)
    for part in np.array_split(of_keys(keys), 3, axis=1):
        counts.add(np.ascontiguousarray(part))
    rankings = counts.rank()
    tables = counts.tables(rankings)
    every = np.concatenate([ranking.keys for ranking in rankings])
    for track, (own, ranking, places) in enumerate(zip(keys, rankings, tables.places, strict=True)):
        expected = 2 * stats.rankdata(own) - (n + 1)
        assert np.array_equal(ranking.centred[np.searchsorted(ranking.keys, own)], expected)
        start, stop = tables.starts[track : track + 2]
        found = tables.ranks[start:stop][np.maximum(own - tables.below[track], 0)]
        assert np.array_equal(found, expected)
        assert np.array_equal(every[places[own]], own)
        assert ranking.squares == pytest.approx(np.square(expected).sum(), rel=1e-12)
        assert ranking.top(1) == (own.max(), 1)
    assert tables.n_observed == rankings[0].keys.size


def test_ranks_of_more_bins_than_an_int32_holds():
    counts = KeyCounts(1)
    counts._counts[0, [3, N_KEYS - 1]] = 2**32 - 5, 4
    (ranking,) = counts.rank()
    assert ranking.keys.tolist() == [3, N_KEYS - 1] and ranking.centred.tolist() == [-4, 2**32 - 5]
    assert [ranking.top(size) for size in (2, 4, 6)] == [(N_KEYS - 1, 2), (N_KEYS - 1, 4), (3, 2)]


def in_top(listed: list[int], size: int, block: int, *, all_ties: bool = False) -> list[int]:
    """Which bins belong to a top set, found block by block."""
    # A track that no two bins of have one key tells which bins were counted.
    tracks = of_keys([listed, np.arange(len(listed))])
    counts = KeyCounts(2)
    counts.add(tracks)
    rankings = counts.rank()
    tables = counts.tables(rankings)
    top = rankings[0].top(size, all_ties=all_ties)
    tops = np.array([[*top, *top], [N_KEYS, 0, N_KEYS, 0]])
    sums, positive = np.zeros((1, len(COMPARED))), Positive.none(tables)
    for first in range(0, len(listed), block):
        compare(np.ascontiguousarray(tracks[:, first : first + block]), None, tables, tops, sums, positive)
    assert tops[0, [1, 3]].tolist() == [0, 0]
    return np.flatnonzero(positive.observed[tables.n_observed :]).tolist()


@pytest.mark.parametrize("block", [1, 2, 3, 100])
def test_top_ties_go_to_the_start(block):
    keys = [1, 2, 2, 0, 2, 3, 2]
    assert in_top(keys, 1, block) == [5]
    assert in_top(keys, 3, block) == [1, 2, 5]
    assert in_top(keys, 5, block) == [1, 2, 4, 5, 6]
    assert in_top(keys, 6, block) == [0, 1, 2, 4, 5, 6]
    assert in_top(keys, 7, block) == list(range(7))
    assert in_top([0] * 300, 3, block) == [0, 1, 2]
    most = rank_keys(np.array([3e38]))[0]
    assert in_top([most, 0, most], 2, block) == [0, 2]


def test_all_ties_with_the_last_of_a_top_set():
    keys = [5, 2, 2, 0, 2, 3]
    assert in_top(keys, 1, 6, all_ties=True) == [0]
    assert in_top(keys, 3, 6, all_ties=True) == [0, 1, 2, 4, 5]


def test_signed_keys_ascend_and_stand_for_their_values():
    sizes = np.geomspace(1e-44, 3e38, 100_001)
    values = np.concatenate([-sizes[::-1], [-0.0, 0.0], sizes])
    keys = rank_keys(values, signed=True)
    assert (np.diff(keys) >= 0).all() and keys[0] >= 0 and keys[-1] < N_KEYS
    assert rank_keys(np.array([-0.0, 0.0]), signed=True).tolist() == [N_KEYS // 2] * 2
    large = np.abs(values) > 1e-37
    assert key_values(keys, signed=True)[large] == pytest.approx(values[large], rel=2**-12)
    halves = np.arange(0x7C00, dtype=np.uint16).view(np.float16)
    both = np.concatenate([-halves[:0:-1], halves])
    assert (np.diff(rank_keys(both, signed=True)) > 0).all()
    positive = values[values > 1e-37]
    assert key_values(rank_keys(positive)) == pytest.approx(positive, rel=2**-13)


@pytest.mark.parametrize("signed", [False, True])
def test_a_track_mapped_to_the_distribution_of_another(signed):
    rng = np.random.default_rng(0)
    drawn = rng.standard_exponential(5000) - 2 * signed
    wanted = key_values(rank_keys(drawn, signed=signed), signed=signed)
    track = rng.standard_normal(5000) + 9 * (not signed)
    own = rank_keys(track, signed=signed)
    counts = KeyCounts(2, signed=signed)
    counts.add(np.stack([track, wanted]))
    mapped = distribution_map(*counts.rank(), signed=signed)[own]
    # Bins of one key have the mean of what their ranks have.
    expected = np.sort(wanted)[stats.rankdata(own, method="ordinal").astype(int) - 1]
    for key in np.unique(own)[::10]:
        tied = own == key
        assert mapped[tied] == pytest.approx(np.full(tied.sum(), expected[tied].mean()), rel=1e-5, abs=1e-6)
    assert mapped.mean() == pytest.approx(wanted.mean(), rel=1e-5)
    assert stats.ks_2samp(mapped, wanted, method="asymp").statistic < 0.01
