"""The simulated tensor: same numbers however it is cut, and the statistics it promises."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter

import numpy as np
import pytest
from scipy import stats
from scipy.special import factorial, hermitenorm

from predictd.errors import ConfigError, DataError
from predictd.model import simulate
from predictd.model.simulate import SEGMENT, Simulation
from predictd.pairs import Experiment

pytestmark = pytest.mark.numeric


@pytest.fixture(scope="module")
def small() -> Simulation:
    return Simulation.for_shape(6, 5, share=0.5, rank=3, seed=7)


def all_pairs(sim: Simulation) -> list[Experiment]:
    return [Experiment(c, a) for c in sim.cell_types for a in sim.assays]


def test_same_bits_whatever_the_block_and_the_pairs(small):
    pairs = all_pairs(small)
    n = 2 * SEGMENT + 500
    whole = small.signal(pairs, run=2, first=0, n=n)
    assert whole.dtype == np.float32 and whole.shape == (n, 30)
    for first, size in ((0, 1), (100, 3000), (SEGMENT - 1, 2), (SEGMENT, SEGMENT), (777, n - 777), (5, 0)):
        assert np.array_equal(small.signal(pairs, run=2, first=first, n=size), whole[first : first + size])
    for chosen in ([0], [29], [3, 4, 17], [17, 3], list(range(0, 30, 2)), []):
        some = small.signal([pairs[i] for i in chosen], run=2, first=50, n=700)
        assert np.array_equal(some, whole[50:750, chosen])


def test_equal_settings_equal_numbers(small):
    again = Simulation(small.experiments[::-1], rank=3, seed=7)
    assert again == small
    one = small.signal(small.experiments, run=0, first=0, n=64)
    assert np.array_equal(again.signal(small.experiments, run=0, first=0, n=64), one)


def test_noise_of_other_seeds_runs_and_segments_is_independent(small):
    other_seed = Simulation(small.experiments, rank=3, seed=8)
    assert not np.array_equal(other_seed.parameters.C, small.parameters.C)

    def noise(sim: Simulation, run: int, first: int) -> np.ndarray:
        where = {"run": run, "first": first, "n": SEGMENT, "clip": False}
        pairs = sim.experiments
        return sim.signal(pairs, **where) - sim.signal(pairs, **where, noise=False)

    drawn = [noise(small, 0, 0), noise(small, 1, 0), noise(small, 0, SEGMENT), noise(other_seed, 0, 0)]
    correlations = np.corrcoef([d.ravel() for d in drawn]) - np.eye(4)
    assert np.abs(correlations).max() < 5 / math.sqrt(drawn[0].size)


def test_signal_is_the_model(small):
    pairs = all_pairs(small)
    truth = small.parameters
    G, r = small.genome(0, 0, 2000)
    eta = small.signal(pairs, run=0, first=0, n=2000, noise=False, clip=False)
    expected = (
        truth.mu
        + (truth.p[:, None] + truth.q)[None]
        + r[:, None, None]
        + np.einsum("gl,cl,al->gca", G, truth.C, truth.A)
    ).reshape(2000, 30)
    assert np.array_equal(eta, expected.astype(np.float32))
    clipped = small.signal(pairs, run=0, first=0, n=2000, noise=False)
    assert np.array_equal(clipped, np.maximum(eta, 0)) and (eta < 0).any()
    noise = small.signal(pairs, run=0, first=0, n=2000, clip=False) - eta
    assert noise.std() == pytest.approx(small.noise_sd, rel=0.01)
    correlations = np.corrcoef(noise.T) - np.eye(30)
    assert np.abs(correlations).max() < 5 / math.sqrt(2000)


def test_rank_of_the_noise_free_signal():
    sim = Simulation.for_shape(9, 8, share=1, rank=2, bias_sd=0, bin_sd=0, mean=0)
    eta = sim.signal(all_pairs(sim), run=0, first=0, n=500, noise=False, clip=False)
    tensor = eta.reshape(500, 9, 8).astype(float)
    for mode in range(3):
        unfolded = np.moveaxis(tensor, mode, 0).reshape(tensor.shape[mode], -1)
        singular = np.linalg.svd(unfolded, compute_uv=False)
        assert singular[1] > 1e-3 * singular[0]
        assert singular[2] < 1e-6 * singular[0]
    # Each bias adds at most one: p, q and r, and the constant goes with any of them.
    biased = Simulation.for_shape(9, 8, share=1, rank=2, bias_sd=0.2, bin_sd=0.2)
    eta = biased.signal(all_pairs(biased), run=0, first=0, n=500, noise=False, clip=False)
    unfolded = eta.reshape(500, 9, 8).transpose(1, 0, 2).reshape(9, -1).astype(float)
    singular = np.linalg.svd(unfolded, compute_uv=False)
    assert singular[3] > 1e-4 * singular[0] and singular[4] < 1e-6 * singular[0]


def peaks_moments(t: float) -> tuple[float, float, float]:
    """Mean, standard deviation and skewness of max(z − t, 0), from the moments of a truncated normal."""
    above, density = stats.norm.sf(t), stats.norm.pdf(t)
    m1 = density - t * above
    m2 = (1 + t * t) * above - t * density
    m3 = (t * t + 2) * density - t * (t * t + 3) * above
    sd = math.sqrt(m2 - m1**2)
    return m1, sd, (m3 - 3 * m1 * m2 + 2 * m1**3) / sd**3


def peaks_autocorrelation(t: float, rho: float) -> float:
    """Correlation of max(z − t, 0) at two places where z has correlation ρ, by its Hermite expansion."""
    _, sd, _ = peaks_moments(t)
    total = stats.norm.sf(t) ** 2 * rho
    for k in range(2, 60):
        total += (stats.norm.pdf(t) * hermitenorm(k - 2)(t)) ** 2 * rho**k / factorial(k)
    return total / sd**2


@pytest.mark.parametrize("t", [-3.0, 1.0, 1.5])
def test_moments_and_skewness_of_the_components(t):
    # These bounds, and those below, are of sampling: seeds fix what is drawn, and no BLAS moves it by a thousandth.
    # Short correlation: 200,000 bins are many independent ones.
    sim = Simulation.for_shape(2, 2, share=1, rank=4, peak_threshold=t, shortest=1, longest=2, bin_sd=0.3)
    G, r = sim.genome(0, 0, 200_000)
    assert G.mean() == pytest.approx(0, abs=0.01)
    assert G.std() == pytest.approx(1, abs=0.015)
    assert stats.skew(G.ravel()) == pytest.approx(peaks_moments(t)[2], rel=0.05, abs=0.03)
    assert r.std() == pytest.approx(0.3, rel=0.02) and abs(stats.skew(r)) < 0.05
    assert np.abs(np.corrcoef(G.T) - np.eye(4)).max() < 0.03


def test_autocorrelation_also_across_segments():
    sim = Simulation.for_shape(2, 2, share=1, rank=3, shortest=5, longest=500, bin_sd=1)
    assert sim.correlation_lengths == pytest.approx([5, 50, 500, 50])
    n = 128 * SEGMENT
    G, r = sim.genome(0, 0, n)
    for length, lag, tolerance in ((5, 1, 0.02), (5, 10, 0.02), (50, 10, 0.03), (500, 100, 0.1)):
        z = G[:, [5, 50, 500].index(length)]
        got = np.mean(z[:-lag] * z[lag:]) / np.mean(z * z)
        assert got == pytest.approx(peaks_autocorrelation(1.5, math.exp(-lag / length)), abs=tolerance)
    # Over the border of two segments r goes on as it does elsewhere.
    step = np.diff(r)
    border = step[SEGMENT - 1 :: SEGMENT]
    assert step.std() == pytest.approx(math.sqrt(2 * -math.expm1(-1 / 50)), rel=0.01)
    assert border.std() == pytest.approx(step.std(), rel=5 / math.sqrt(2 * border.size))


def test_processes_longer_than_a_segment():
    sim = Simulation.for_shape(2, 2, share=1, rank=1, shortest=1e5, longest=1e5, bin_sd=1)
    runs = [sim.genome(run, SEGMENT - 2000, 4000)[1] for run in range(300)]
    r = np.array(runs)
    # Stationary: variance 1 everywhere, and correlation exp(−lag/τ) over the border.
    assert r.var(axis=0) == pytest.approx(np.ones(4000), abs=5 * math.sqrt(2 / 300))
    assert np.mean((r[:, -1] - r[:, 0]) ** 2) == pytest.approx(2 * -math.expm1(-3999e-5), rel=0.5)


def test_default_signal_looks_like_tracks():
    sim = Simulation.for_shape(12, 10, share=0.4)
    y = sim.signal(sim.experiments, run=0, first=0, n=20 * SEGMENT)
    assert 0.25 < y.mean() < 0.5
    assert 0.05 < np.mean(y == 0) < 0.2
    assert np.median(y) < 0.3
    assert 1.5 < np.quantile(y, 0.99) < 4
    assert 3 < np.quantile(y, 0.999) < 8
    assert np.median(stats.skew(y)) > 2


def test_amplitudes_and_loadings():
    sim = Simulation.for_shape(400, 60, share=0.05, rank=30, amplitude_spread=0.3)
    truth = sim.parameters
    assert truth.C.shape == (400, 30) and truth.A.shape == (60, 30)
    assert truth.C.min() >= 0 and truth.A.min() >= 0
    assert np.mean(truth.C**2) == pytest.approx(1, rel=0.15)
    assert np.sum(truth.A**2, axis=1) == pytest.approx(np.full(60, sim.signal_sd**2), rel=0.01)
    # log of the mean over 30 components: the amplitude's spread, and the sampling of the activities.
    sampling = math.sqrt((1 / 5 - 1 / 9) / (1 / 9) / 30)
    assert np.log(truth.C.mean(axis=1)).std() == pytest.approx(math.hypot(0.3, sampling), rel=0.12)
    even = Simulation(sim.experiments, rank=30, amplitude_spread=0)
    assert np.log(even.parameters.C.mean(axis=1)).std() == pytest.approx(sampling, rel=0.15)
    assert truth.p.std() == pytest.approx(sim.bias_sd, rel=0.2)


@pytest.mark.parametrize(
    ("n_cells", "n_assays", "share"), [(127, 24, 0.333), (5, 30, 0.4), (8, 8, 0.26), (2, 2, 1)]
)
def test_every_axis_is_observed_twice(n_cells, n_assays, share):
    for seed in range(5):
        sim = Simulation.for_shape(n_cells, n_assays, share=share, seed=seed)
        assert len(sim.experiments) == round(share * n_cells * n_assays)
        assert len(sim.cell_types) == n_cells and len(sim.assays) == n_assays
        for axis in (0, 1):
            assert min(Counter(e[axis] for e in sim.experiments).values()) >= 2
    assert (
        Simulation.for_shape(n_cells, n_assays, share=share, seed=0).cell_types[0]
        == f"C{1:0{len(str(n_cells))}}"
    )


def test_once_where_the_share_allows_no_more():
    sim = Simulation.for_shape(6, 4, share=0.25)
    assert len(sim.experiments) == 6
    assert len(sim.cell_types) == 6 and len(sim.assays) == 4
    assert len(Simulation.for_shape(3, 1, share=1).experiments) == 3
    one, other = (set(Simulation.for_shape(9, 7, share=0.5, seed=seed).experiments) for seed in (0, 1))
    assert one != other
    with pytest.raises(ConfigError, match=r"each of 6 cell types and 4 assays; take at least 0\.25"):
        Simulation.for_shape(6, 4, share=0.2)


def test_decimals_are_of_the_track(small):
    rounded, place = dataclasses.replace(small, decimals=1), {"run": 0, "first": 5, "n": 300}
    tracks, plain = (np.sinh(sim.signal(small.experiments, **place)) for sim in (rounded, small))
    np.testing.assert_allclose(tracks, np.round(plain, 1), rtol=1e-5, atol=1e-6)
    assert np.abs(tracks - plain).max() > 0.04


def test_json_round_trip(small):
    values = json.loads(json.dumps(small.to_dict()))
    assert values["experiments"] == [str(e) for e in small.experiments]
    assert Simulation.from_dict(values) == small
    assert Simulation.from_dict({"experiments": ["C:A"]}) == Simulation((Experiment("C", "A"),))
    with pytest.raises(ConfigError, match="unknown setting 'ranks'"):
        Simulation.from_dict({**values, "ranks": 3})
    with pytest.raises(ConfigError, match="experiments are missing"):
        Simulation.from_dict({"rank": 3})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 0}, "rank must be 1 or more"),
        ({"seed": -1}, "seed 0 or more"),
        ({"noise_sd": -0.1}, "noise_sd must be 0 or more"),
        ({"signal_sd": math.nan}, "signal_sd must be 0 or more"),
        ({"peak_threshold": 9.0}, "peak_threshold between"),
        ({"mean": math.inf}, "mean must be finite"),
        ({"shortest": 10.0, "longest": 5.0}, "correlation lengths"),
        ({"decimals": 6}, "decimals must be between 0 and 5"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ConfigError, match=message):
        Simulation((Experiment("C", "A"),), **settings)


def test_bad_pairs_and_bins(small):
    with pytest.raises(DataError, match="at least one experiment"):
        Simulation(())
    with pytest.raises(DataError, match="same experiment twice"):
        Simulation((Experiment("C", "A"), Experiment("C", "A")))
    with pytest.raises(DataError, match="C9:A1: the simulation has no cell type 'C9'"):
        small.signal([Experiment("C9", "A1")], run=0, first=0, n=1)
    for wrong in ({"run": -1}, {"first": -1}, {"n": -1}):
        with pytest.raises(ConfigError, match="must all be 0 or more"):
            small.signal(small.experiments, **{"run": 0, "first": 0, "n": 1, **wrong})
    with pytest.raises(ConfigError, match="share"):
        Simulation.for_shape(3, 3, share=0)


def test_aligned_blocks():
    assert list(simulate.aligned_blocks(0, 0)) == []
    assert list(simulate.aligned_blocks(10, 5)) == [(10, 5)]
    expected = [(SEGMENT - 1, 1), (SEGMENT, SEGMENT), (2 * SEGMENT, 3)]
    assert list(simulate.aligned_blocks(SEGMENT - 1, SEGMENT + 4)) == expected
