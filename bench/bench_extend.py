"""New cell types by closed form beside training anew: `pytest bench/bench_extend.py --benchmark-only -s`.

A cell type is left out, some of its tracks are given back, and the others are imputed. Errors are exact functions of
the moments. Figures of docs/extend.md.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.roadmap import roadmap_pairs
from made_moments import corrupted_pilot, of_columns, simulated_moments
from predictd.config import TrainSettings
from predictd.engine.base import one_blas_thread
from predictd.model.cp.extend import RowPrior, extended, genome_moments
from predictd.model.cp.factors import CPModel
from predictd.model.folds import Fold
from predictd.model.moments import squared_errors
from predictd.model.simulate import Simulation
from predictd.pairs import Experiment, axes
from predictd.workflows.tensor.moments import TensorMoments
from predictd.workflows.training.solvers import SOLVERS

SHARED = Path(__file__).resolve().parents[2] / "shared"
SWEEPS = 60


def em_of_rank(rank: int) -> TrainSettings:
    return TrainSettings(solver="em", rank=rank, regularisation=0.3)


def trained(data: TensorMoments, train: list[Experiment], settings: TrainSettings) -> CPModel:
    part = TensorMoments(of_columns(data.s, data.columns(tuple(train))), tuple(train))
    fold = Fold("all", (), (), tuple(train))
    return SOLVERS["em"].fit_moments(part, fold, settings, seed=0, sweeps=SWEEPS).model


def mse(data: TensorMoments, model: CPModel, targets: list[Experiment]) -> float:
    left, solution, intercept = model.affine(targets)
    found = squared_errors(
        data.s, left @ solution, intercept, data.columns(model.train), data.columns(tuple(targets))
    )
    return float(found.mean())


def compare(
    data: TensorMoments, cell_types: list[str], given: int, settings: TrainSettings, repeats: int
) -> None:
    """Print mean errors over cell types and choices of the tracks that are given."""
    rng = np.random.default_rng(0)
    found = []
    for cell_type in cell_types:
        old = [e for e in data.experiments if e.cell_type != cell_type]
        own = [e for e in data.experiments if e.cell_type == cell_type and e.assay in axes(old)[1]]
        model = trained(data, old, settings)
        prior = RowPrior(settings.regularisation * model.lambda_g, em=True)
        for _ in range(repeats if len(own) > given else 0):
            order = rng.permutation(len(own))
            new, hidden = [own[i] for i in order[:given]], [own[i] for i in order[given:]]
            s = genome_moments(model, data.s, data.columns(model.train), data.columns(tuple(new)))
            same = []
            for target in hidden:
                columns = data.columns(tuple(e for e in old if e.assay == target.assay))
                weights = np.full((1, len(columns)), 1 / len(columns))
                same.append(squared_errors(data.s, weights, np.zeros(1), columns, data.columns((target,)))[0])
            found.append(
                [
                    mse(data, extended(model, s, new, prior, regressors=False), hidden),
                    mse(data, extended(model, s, new, prior, regressors=True), hidden),
                    mse(data, trained(data, sorted([*old, *new]), settings), hidden),
                    float(np.mean(same)),
                ]
            )
    means = " | ".join(f"{value:.4f}" for value in np.mean(found, axis=0))
    print(
        f"\n{given} given, {len(found)} cases: tracks | tensor with them | trained anew | assay mean: {means}"
    )


@pytest.mark.parametrize("given", [1, 2, 3])
def test_pilot(benchmark, given: int) -> None:
    """Each of the five real cell types, several times, rank 3."""
    if not SHARED.is_dir():
        pytest.skip("the real pilot tracks are not here")
    experiments, _, s = corrupted_pilot(SHARED, every=4)
    data = TensorMoments(of_columns(s, range(20)), tuple(experiments))
    cell_types = axes(experiments)[0]
    benchmark.pedantic(
        compare,
        args=(data, cell_types, given, em_of_rank(3), 4),
        rounds=1,
    )


@pytest.mark.parametrize("given", [1, 3, 5])
def test_roadmap_shape(benchmark, given: int) -> None:
    """Eight simulated cell types with many tracks, rank 30."""
    simulation = Simulation(tuple(roadmap_pairs()), rank=30, seed=1)
    data = TensorMoments(simulated_moments(simulation), simulation.experiments)
    every = axes(data.experiments)[0]
    cell_types = [c for c in every if sum(e.cell_type == c for e in data.experiments) > 8][:8]
    with one_blas_thread():
        benchmark.pedantic(
            compare,
            args=(data, cell_types, given, em_of_rank(30), 1),
            rounds=1,
        )
