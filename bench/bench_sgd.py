"""Speed of the compiled kernels: `pytest bench/bench_sgd.py --benchmark-only`. No time is asserted.

The shape is Roadmap's: 127 cell types, 24 assays, 709 of the 1014 experiments for training (or all),
rank 100 and 11,000 bins. extra_info tells joint updates a second, ratios measured in the same session, and
bandwidths.
"""

from __future__ import annotations

import time

import numpy as np
import pytest

from predictd import kernels
from predictd.model.cp import reference, sgd
from predictd.model.cp.sgd import Rows

N_CELLS, N_ASSAYS, N_BINS, RANK = 127, 24, 11_000, 100
COUNT = 50_000
REFERENCE_COUNT = 1_000


def make_problem(dtype, n_pairs=709):
    rng = np.random.default_rng(0)
    observed = rng.permutation(N_CELLS * N_ASSAYS)[:n_pairs].astype(np.int32)
    pair_cells, pair_assays = observed // N_ASSAYS, observed % N_ASSAYS
    y = rng.random((N_BINS, n_pairs), dtype=np.float32)
    effects = sgd.main_effects(y, pair_cells, pair_assays, N_CELLS, N_ASSAYS)
    rows = [
        Rows.from_factors(sgd.initial_factors(len(biases), RANK, 0.33, rng), biases, dtype)
        for biases in effects[1:]
    ]
    pens = sgd.penalties(1e-3, 1e-3, 1.0, pair_cells, pair_assays, N_CELLS, N_ASSAYS)
    rule = kernels.UpdateRule(
        rank=RANK,
        pair_cells=pair_cells,
        pair_assays=pair_assays,
        pen_cells=pens.cells,
        pen_assays=pens.assays,
        pen_bins=pens.bins,
        mu=effects.mu,
        learning_rate=0.005,
        beta1=0.9,
        beta2=0.999,
        epsilon=1e-8,
        decay=1e-6,
    )
    return rows, y, rule


def seconds(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


@pytest.fixture(scope="module")
def reference_rate():
    """Updates a second of the NumPy reference."""
    rows, y, rule = make_problem(np.float64)
    taken = seconds(lambda: reference.sgd_updates(*rows, y, rule, stream=1, first=0, count=REFERENCE_COUNT))
    return REFERENCE_COUNT / taken


@pytest.fixture(scope="module")
def copy_bandwidth():
    """Bytes a second that one core reads and writes when it copies from memory to memory."""
    source = np.ones(2**25, np.float64)
    target = np.empty_like(source)
    return 2 * source.nbytes / min(seconds(lambda: np.copyto(target, source)) for _ in range(5))


@pytest.mark.parametrize("n_pairs", [709, 1014])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sgd_updates(benchmark, dtype, n_pairs, reference_rate, copy_bandwidth):
    rows, y, rule = make_problem(dtype, n_pairs)
    kernels.sgd_updates(*rows, y, rule, stream=1, first=0, count=COUNT)
    done = COUNT

    def updates():
        nonlocal done
        kernels.sgd_updates(*rows, y, rule, stream=1, first=done, count=COUNT)
        done += COUNT  # always new draws, so that y comes from memory

    benchmark.pedantic(updates, rounds=20)
    rate = COUNT / benchmark.stats.stats.min
    # Three rows an update, read and written.
    traffic = rate * 2 * sum(part.values[0].nbytes for part in rows)
    benchmark.extra_info.update(
        million_updates_a_second=round(rate / 1e6, 2),
        times_the_reference=round(rate / reference_rate),
        row_traffic_to_copy_bandwidth=round(traffic / copy_bandwidth, 2),
    )


def test_sgd_updates_of_one_round(benchmark):
    """The 5000 updates of a worker between two merges, checks included."""
    rows, y, rule = make_problem(np.float32)
    benchmark.pedantic(
        lambda: kernels.sgd_updates(*rows, y, rule, stream=1, first=0, count=5000), rounds=50, warmup_rounds=5
    )
    empty = min(
        seconds(lambda: kernels.sgd_updates(*rows, y, rule, stream=1, first=0, count=0)) for _ in range(100)
    )
    benchmark.extra_info["microseconds_of_checks"] = round(empty * 1e6, 1)


@pytest.mark.parametrize("n", [2**18, 2**25], ids=["in cache", "from memory"])
def test_widen(benchmark, n):
    half = np.random.default_rng(0).normal(size=n).astype(np.float16)
    out = np.empty(n, np.float32)
    benchmark.pedantic(lambda: kernels.widen(half, out), rounds=20, warmup_rounds=2)
    numpy_seconds = min(seconds(lambda: np.copyto(out, half)) for _ in range(3))
    fastest = benchmark.stats.stats.min
    benchmark.extra_info.update(
        gigabytes_of_output_a_second=round(out.nbytes / fastest / 1e9, 1),
        times_numpy=round(numpy_seconds / fastest, 1),
        numpy_nanoseconds_a_value=round(numpy_seconds / n * 1e9, 2),
    )
