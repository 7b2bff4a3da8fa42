"""Scoring, in nanoseconds of the processor a bin and method: `pytest bench/bench_score.py --benchmark-only`.

36 simulated tracks of 10 × 6, `PREDICTD_BENCH_BINS` bins (3 million unless it is set: so many that signal is not kept
between the sweeps), each experiment by the models of its test fold and both baselines, in the tasks of two workers. It
includes reading and predicting twice. No time is asserted.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from bench.roadmap import make_tensor
from predictd.config import TrainSettings
from predictd.constants import BASELINES, FOLDS_JSON, MOMENTS
from predictd.engine import LocalEngine
from predictd.engine.base import one_blas_thread
from predictd.io.tensor.store import Tensor
from predictd.model.folds import by_test_fold
from predictd.pairs import Experiment
from predictd.workflows.evaluation.cases import Scoring
from predictd.workflows.evaluation.score import ScoreTask, bundle, fold_groups, score
from predictd.workflows.tensor.folds import load_folds
from predictd.workflows.tensor.moments import read_moments
from predictd.workflows.training.crossval import crossval, scored_cases

N_BINS = int(os.environ.get("PREDICTD_BENCH_BINS", "3000000"))


@pytest.fixture(scope="module")
def tensor(tmp_path_factory: pytest.TempPathFactory) -> Tensor:
    rng = np.random.default_rng(0)
    pairs = [Experiment(f"C{i // 6:02}", f"A{i % 6}") for i in sorted(rng.permutation(60)[:36].tolist())]
    return make_tensor(tmp_path_factory.mktemp("score") / "T", pairs, N_BINS)


@pytest.fixture(scope="module")
def models(tensor: Tensor) -> Path:
    output = tensor.path.with_name("cv")
    with LocalEngine() as engine:
        crossval(tensor.path, output, TrainSettings(solver="em", rank=8, regularisation=0.3), engine)
    return output


def test_score(benchmark, tensor: Tensor, models: Path) -> None:
    """Both tasks, one after the other."""
    moments = read_moments(tensor.path / MOMENTS)
    groups = [
        group
        for name, folds in by_test_fold(load_folds(models / FOLDS_JSON)).items()
        for group in fold_groups(scored_cases(name, folds, moments))
    ]
    seconds = []

    def both() -> None:
        start = time.process_time()
        for bundled in bundle(groups, 2):
            score(ScoreTask(bundled), Scoring(tensor, models, {}))
        seconds.append(time.process_time() - start)

    with one_blas_thread():
        benchmark.pedantic(both, rounds=3)
    values = tensor.n_bins * sum(map(len, groups)) * (1 + len(BASELINES))
    benchmark.extra_info["nanoseconds a bin and method"] = round(min(seconds) / values * 1e9, 1)
