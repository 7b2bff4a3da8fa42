"""Is the advice worth following? `pytest bench/bench_recommend.py --benchmark-only -s`. No time is asserted.

Tracks are hidden, each rule adds k of them, EM is fitted to what is there, and its errors on the hidden tracks are
exact functions of the moments. Figures of docs/recommend.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from bench.roadmap import roadmap_pairs
from made_moments import corrupted_pilot, of_columns, simulated_moments
from predictd.config import TrainSettings
from predictd.engine.base import one_blas_thread
from predictd.model.folds import Fold
from predictd.model.labels.design import choose_experiments, conditional_covariance
from predictd.model.moments import squared_errors
from predictd.model.simulate import Simulation
from predictd.pairs import Experiment, axes, rows_of
from predictd.workflows.tensor.moments import TensorMoments
from predictd.workflows.training.solvers import SOLVERS

SHARED = Path(__file__).resolve().parents[2] / "shared"


def em_of_rank(rank: int) -> TrainSettings:
    return TrainSettings(solver="em", rank=rank, regularisation=0.3)


def errors(
    data: TensorMoments, train: Sequence[Experiment], targets: Sequence[Experiment], settings: TrainSettings
) -> np.ndarray:
    fold = Fold("all", (), (), tuple(sorted(train)))
    model = SOLVERS["em"].fit_moments(data, fold, settings, seed=0, sweeps=40).model
    left, solution, intercept = model.affine(targets)
    return squared_errors(
        data.s, left @ solution, intercept, data.columns(model.train), data.columns(tuple(targets))
    )


def compare(data: TensorMoments, n_hidden: int, k: int, settings: TrainSettings, repeats: int) -> None:
    """Print the mean error left by each rule, as a share of what it was, with standard errors over repeats."""
    every = list(data.experiments)
    rng = np.random.default_rng(0)
    total: dict[str, list[float]] = {}
    rest_of: dict[str, list[float]] = {}
    for _ in range(repeats):
        while True:
            places = set(rng.choice(len(every), n_hidden, replace=False).tolist())
            train = [e for i, e in enumerate(every) if i not in places]
            if axes(train) == axes(every):
                break
        hidden = [every[i] for i in sorted(places)]
        known = of_columns(data.s, [every.index(e) for e in train])
        names = axes(every)
        covariance = conditional_covariance(
            known, rows_of(train, *names), rows_of(hidden, *names), *map(len, names)
        )
        all_of_them = np.ones(n_hidden, dtype=bool)
        counts = {a: sum(e.assay == a for e in train) for a in axes(every)[1]}
        shuffled = [hidden[i] for i in rng.permutation(n_hidden)]
        choices = {
            "advice": [hidden[p.index] for p in choose_experiments(covariance, all_of_them, all_of_them, k)],
            "random": shuffled[:k],
            "most used assay": sorted(shuffled, key=lambda e: -counts[e.assay])[:k],
        }
        before = dict(zip(hidden, errors(data, train, hidden, settings), strict=True))
        for rule, chosen in choices.items():
            rest = [e for e in hidden if e not in set(chosen)]
            left = errors(data, [*train, *chosen], rest, settings).sum()
            total.setdefault(rule, []).append(left / sum(before.values()))
            rest_of.setdefault(rule, []).append(left / sum(before[e] for e in rest))
    for rule in total:
        whole, still = (
            f"{np.mean(v):.3f} ± {np.std(v) / np.sqrt(repeats):.3f}" for v in (total[rule], rest_of[rule])
        )
        won = sum(mine < theirs for mine, theirs in zip(total["advice"], total[rule], strict=True))
        print(f"\n{rule}: of the whole error {whole}; of that of the pairs still hidden {still}", end="")
        print(f"; the advice left less {won} times of {repeats}", end="")


def test_pilot(benchmark) -> None:
    """9 of 20 real tracks hidden, 3 added, 60 times."""
    if not SHARED.is_dir():
        pytest.skip("the real pilot tracks are not here")
    experiments, _, s = corrupted_pilot(SHARED, every=4)
    data = TensorMoments(of_columns(s, range(20)), tuple(experiments))
    benchmark.pedantic(compare, args=(data, 9, 3, em_of_rank(3), 60), rounds=1)


def test_roadmap_shape(benchmark) -> None:
    """300 of 1014 simulated tracks hidden, 25 added, 10 times."""
    simulation = Simulation(tuple(roadmap_pairs()), rank=30, seed=1)
    data = TensorMoments(simulated_moments(simulation), simulation.experiments)
    with one_blas_thread():
        benchmark.pedantic(
            compare,
            args=(data, 300, 25, em_of_rank(30), 10),
            rounds=1,
        )


def test_speed(benchmark) -> None:
    """The next 20 of 2034 experiments, from 1014, on one core."""
    simulation = Simulation(tuple(roadmap_pairs()), rank=30, seed=1)
    every, s = list(simulation.experiments), simulated_moments(simulation)
    cell_types, assays = axes(every)
    missing = sorted(set(map(Experiment._make, product(cell_types, assays))) - set(every))
    count = np.ones(len(missing), dtype=bool)

    def advise() -> None:
        covariance = conditional_covariance(
            s,
            rows_of(every, cell_types, assays),
            rows_of(missing, cell_types, assays),
            len(cell_types),
            len(assays),
        )
        choose_experiments(covariance, count, count, 20)

    with one_blas_thread():
        benchmark.pedantic(advise, rounds=1)
