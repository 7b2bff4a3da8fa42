"""Closed form and imputation as matrix products: `pytest bench/bench_impute.py --benchmark-only`. No time is asserted.

Roadmap's shape: 1014 experiments, rank 100, 2034 missing pairs. The ceiling is a bare sgemm of the same two products in
the same session; everything runs under one BLAS thread, as tasks do.
"""

from __future__ import annotations

import time
from itertools import product

import numpy as np
import pytest

from predictd.engine.base import one_blas_thread
from predictd.kernels import widen
from predictd.model.cp.factors import CPModel
from predictd.model.imputer import build_features
from predictd.pairs import Experiment

N_CELLS, N_ASSAYS, N_OBSERVED, RANK, N_BINS = 127, 24, 1014, 100, 8192


@pytest.fixture(scope="module")
def model() -> CPModel:
    rng = np.random.default_rng(0)
    cells, assays = [f"C{i:03}" for i in range(N_CELLS)], [f"A{i:02}" for i in range(N_ASSAYS)]
    every = [Experiment(*pair) for pair in product(cells, assays)]
    observed = sorted(every[i] for i in rng.permutation(len(every))[:N_OBSERVED])
    return CPModel(
        tuple(cells),
        tuple(assays),
        *(rng.normal(size=(n, RANK)) / RANK**0.25 for n in (N_CELLS, N_ASSAYS)),
        *(rng.normal(size=n) / 10 for n in (N_CELLS, N_ASSAYS)),
        mu=0.3,
        lambda_g=1.0,
        train=tuple(observed),
    )


def missing(model: CPModel) -> list[Experiment]:
    return sorted(set(map(Experiment._make, product(model.cell_types, model.assays))) - set(model.train))


def best_seconds(function, repeats: int = 5) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def test_impute_block(benchmark, model: CPModel) -> None:
    """From stored float16 to predictions: share of the sgemm rate."""
    imputer = model.imputer(missing(model))
    stored = np.random.default_rng(1).random((N_BINS, N_OBSERVED), dtype=np.float32).astype(np.float16)
    columns = np.arange(N_OBSERVED)

    def impute() -> np.ndarray:
        return imputer(build_features(widen(stored), [N_BINS], imputer.features, columns))

    with one_blas_thread():
        benchmark(impute)
        wide = stored.astype(np.float32)
        inner = np.ones((N_OBSERVED, RANK + 1), dtype=np.float32)
        outer = np.ones((RANK + 1, len(imputer.targets)), dtype=np.float32)
        hidden, out = np.empty((N_BINS, RANK + 1), np.float32), np.empty((N_BINS, outer.shape[1]), np.float32)

        def bare() -> None:
            np.matmul(np.matmul(wide, inner, out=hidden), outer, out=out)

        ceiling = best_seconds(bare)
    flops = 2 * N_BINS * (RANK + 1) * (N_OBSERVED + len(imputer.targets))
    benchmark.extra_info["GFLOP/s"] = round(flops / benchmark.stats.stats.min / 1e9, 1)
    benchmark.extra_info["sgemm GFLOP/s on the same products"] = round(flops / ceiling / 1e9, 1)
    benchmark.extra_info["share of sgemm"] = round(ceiling / benchmark.stats.stats.min, 3)


def test_make_imputer(benchmark, model: CPModel) -> None:
    """One factorisation serves the whole genome."""
    pairs = missing(model)
    with one_blas_thread():
        benchmark(model.imputer, pairs)
