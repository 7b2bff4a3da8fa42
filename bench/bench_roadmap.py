"""The Roadmap-shaped job, stage by stage: `pytest bench/bench_roadmap.py --benchmark-only`. No time is asserted.

The 1014 observed pairs of the Roadmap tensor over 1,126,469 simulated bins (PREDICTD_BENCH_BINS for fewer), rank 100.
Making the data takes a minute and 2 GB of disk. Needs the table of pairs; skipped without it. extra_info tells ratios
to a bare sgemm of the same products plus reading the same shards, measured in the same session, and the memory of the
largest worker.
"""

from __future__ import annotations

import os
import resource
import time
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from bench.roadmap import make_tensor, roadmap_pairs
from predictd.config import TrainSettings
from predictd.constants import BLOCK_BINS
from predictd.engine import LocalEngine
from predictd.engine.base import one_blas_thread
from predictd.io.tensor.store import Tensor
from predictd.model.folds import make_folds
from predictd.pairs import Experiment
from predictd.workflows.imputing.apply import Application
from predictd.workflows.imputing.estimators import fold_committee, fold_model_path, load_model
from predictd.workflows.tensor.moments import compute_moments, ensure_moments
from predictd.workflows.training.crossval import FoldFits, train_fold
from predictd.workflows.training.solvers.solver import FitData

N_BINS = int(os.environ.get("PREDICTD_BENCH_BINS", "1126469"))
RANK, PRIOR = 100, 0.1


@pytest.fixture(scope="module")
def tensor(tmp_path_factory: pytest.TempPathFactory) -> Tensor:
    return make_tensor(tmp_path_factory.mktemp("roadmap") / "T", roadmap_pairs(), N_BINS)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cv")


def worker_memory() -> float:
    """Largest resident set of a finished child, in GB."""
    return round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20, 2)


def bare_moments(name: str, tensor_path: Path) -> float:
    """Seconds for reading a shard, and for the plain products of its blocks with all n × n results."""
    with Tensor(tensor_path).open_shard(name) as shard:
        start = time.perf_counter()
        blocks = [block for _, block in shard.blocks()]
        total = np.zeros((blocks[0].shape[1],) * 2, dtype=np.float32)
        for block in blocks:
            for first in range(0, len(block), BLOCK_BINS):
                part = block[first : first + BLOCK_BINS]
                # A copy on one side, so that NumPy multiplies in full instead of using symmetry.
                np.add(total, part.T @ part.copy(), out=total)
        return time.perf_counter() - start


def test_moments(benchmark, tensor: Tensor) -> None:
    """One pass over all shards on all workers."""
    with LocalEngine() as engine:
        compute_moments(tensor, engine)
        benchmark.pedantic(compute_moments, args=(tensor, engine), rounds=3)
        bare = sum(engine.map(bare_moments, tensor.shard_names, tensor.path)) / engine.workers
    benchmark.extra_info["bare sgemm plus reading (s)"] = round(bare, 2)
    benchmark.extra_info["ratio"] = round(benchmark.stats.stats.min / bare, 2)
    benchmark.extra_info["worker memory (GB)"] = worker_memory()


@pytest.mark.parametrize("share", [16, 4])
def test_moments_of_fewer_bins(benchmark, tmp_path: Path, share: int, tensor: Tensor) -> None:
    """With the whole: cost linear in bins."""
    part = make_tensor(tmp_path / "T", roadmap_pairs(), tensor.n_bins // share)
    with LocalEngine() as engine:
        compute_moments(part, engine)
        benchmark.pedantic(compute_moments, args=(part, engine), rounds=3)
    benchmark.extra_info["nanoseconds a bin"] = round(benchmark.stats.stats.min / part.n_bins * 1e9)


def test_forty_models(benchmark, tensor: Tensor, models: Path) -> None:
    """5 test × 8 validation folds by EM, each stopped by its validation experiments."""
    folds = make_folds(tensor.experiments)
    settings = TrainSettings(solver="em", rank=RANK, regularisation=PRIOR)
    with LocalEngine() as engine:
        moments = ensure_moments(tensor, engine)
        chosen = {str(test): settings for test in range(5)}
        shared = FoldFits(FitData(tensor, moments), models, chosen, 0)
        benchmark.pedantic(engine.map, args=(train_fold, folds, shared), rounds=1)
    found = [load_model(fold_model_path(models, fold))[1].info for fold in folds]
    benchmark.extra_info["mean validation MSE"] = round(
        float(np.mean([i["validation_mse"] for i in found])), 5
    )
    benchmark.extra_info["worker memory (GB)"] = worker_memory()


def impute_shard(name: str, shared: tuple[Path, Path, tuple[Experiment, ...]]) -> float:
    """Impute pairs over one shard with all 40 models, and throw the signal away."""
    tensor_path, models, pairs = shared
    tensor = Tensor(tensor_path)
    application = Application(fold_committee(models, make_folds(tensor.experiments)), pairs, tensor)
    total = 0.0
    with tensor.open_shard(name) as shard:
        for _, _, predicted in application.blocks(shard):
            total += float(predicted[:, 0].sum())
    return total


def test_impute_all_missing(benchmark, tensor: Tensor, models: Path) -> None:
    """All 2034 missing pairs by the mean of 40 models; writing bigWigs apart."""
    every = set(map(Experiment._make, product(*(sorted({e[i] for e in tensor.experiments}) for i in (0, 1)))))
    pairs = tuple(sorted(every - set(tensor.experiments)))
    with LocalEngine() as engine:
        shared = (tensor.path, models, pairs)
        benchmark.pedantic(engine.map, args=(impute_shard, tensor.shard_names, shared), rounds=1)
        workers = engine.workers
    flops = 2.0 * tensor.n_bins * len(tensor.experiments) * len(pairs)
    with one_blas_thread():
        a, b = (
            np.ones((4096, len(tensor.experiments)), np.float32),
            np.ones((len(tensor.experiments), len(pairs)), np.float32),
        )
        times = []
        for _ in range(3):
            start = time.perf_counter()
            a @ b
            times.append(time.perf_counter() - start)
    ceiling = 2.0 * a.size * len(pairs) / min(times) * workers
    benchmark.extra_info["share of sgemm"] = round(flops / benchmark.stats.stats.min / ceiling, 2)
    benchmark.extra_info["worker memory (GB)"] = worker_memory()
