"""Rank keys, ranks and top sets that are found block by block."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from predictd.model.measures.ranks import (
    N_KEYS,
    KeyCounts,
    TopSets,
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


@pytest.mark.parametrize("n", [1, 2, 7, 1000, 70_000])
def test_ranks(n):
    rng = np.random.default_rng(n)
    for keys in (rng.integers(0, 5, n), rng.integers(0, N_KEYS, n), np.zeros(n)):
        keys = keys.astype(np.int32)
        counts = KeyCounts()
        for part in np.array_split(keys, 3):
            counts.add(part)
        ranking = counts.rank()
        expected = 2 * stats.rankdata(keys) - (n + 1)
        assert np.array_equal(ranking.centred[ranking.places[keys]], expected)
        tops = TopSets(ranking.top(1), ranking.top(1))
        ranked = ranking.ranked(keys, tops)
        assert np.array_equal(ranked.ranks, expected)
        assert np.array_equal(ranking.keys[ranked.places], keys)
        assert np.flatnonzero(ranked.classes).tolist() == [np.argmax(keys)]


def test_ranks_of_more_bins_than_an_int32_holds():
    counts = KeyCounts()
    counts._counts[[3, N_KEYS - 1]] = 2**32 - 5, 4
    ranking = counts.rank()
    assert ranking.centred[ranking.places[[3, N_KEYS - 1]]].tolist() == [-4, 2**32 - 5]
    assert [ranking.top(size) for size in (2, 4, 6)] == [(N_KEYS - 1, 2), (N_KEYS - 1, 4), (3, 2)]


@pytest.mark.parametrize("block", [1, 2, 3, 100])
def test_top_ties_go_to_the_start(block):
    def top(listed: list[int], size: int) -> list[int]:
        keys = np.array(listed, dtype=np.int32)
        counts = KeyCounts()
        counts.add(keys)
        ranking = counts.rank()
        found = TopSets(ranking.top(1), ranking.top(size))
        classes = np.concatenate([found.take(keys[i : i + block]) for i in range(0, len(keys), block)])
        assert np.flatnonzero(classes & 1).tolist() == [np.argmax(keys)]
        assert found.state[[1, 3]].tolist() == [0, 0]
        return np.flatnonzero(classes & 2).tolist()

    keys = [1, 2, 2, 0, 2, 3, 2]
    assert top(keys, 1) == [5]
    assert top(keys, 3) == [1, 2, 5]
    assert top(keys, 5) == [1, 2, 4, 5, 6]
    assert top(keys, 6) == [0, 1, 2, 4, 5, 6]
    assert top(keys, 7) == list(range(7))
    assert top([0] * 300, 3) == [0, 1, 2]
    assert top([N_KEYS - 1, 0, N_KEYS - 1], 2) == [0, 2]


def test_all_ties_with_the_last_of_a_top_set():
    counts = KeyCounts()
    keys = np.array([5, 2, 2, 0, 2, 3], dtype=np.int32)
    counts.add(keys)
    one, three = (counts.rank().top(size, all_ties=True) for size in (1, 3))
    assert TopSets(one, three).take(keys).tolist() == [3, 2, 2, 0, 2, 2]


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
    own, other = (rank_keys(values, signed=signed) for values in (track, wanted))
    counts = KeyCounts(), KeyCounts()
    counts[0].add(own)
    counts[1].add(other)
    mapped = distribution_map(*counts, signed=signed)[own]
    # Bins of one key have the mean of what their ranks have.
    expected = np.sort(wanted)[stats.rankdata(own, method="ordinal").astype(int) - 1]
    for key in np.unique(own)[::10]:
        tied = own == key
        assert mapped[tied] == pytest.approx(np.full(tied.sum(), expected[tied].mean()), rel=1e-5, abs=1e-6)
    assert mapped.mean() == pytest.approx(wanted.mean(), rel=1e-5)
    assert stats.ks_2samp(mapped, wanted, method="asymp").statistic < 0.01
