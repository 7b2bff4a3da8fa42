"""Tensors with the pairs of Roadmap's on simulated bins, for the benchmarks."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from predictd.engine import LocalEngine
from predictd.io.tables import read_pairs
from predictd.io.tensor.store import Tensor
from predictd.model.simulate import Simulation
from predictd.pairs import Experiment
from predictd.workflows.tensor.simulate import SimulatedGenome, simulate

PAIRS = Path(__file__).resolve().parents[2] / "shared" / "data" / "roadmap" / "experiments.tsv"
_FEW = 24


def roadmap_pairs() -> list[Experiment]:
    """The observed pairs; skips where their table is absent."""
    if not PAIRS.is_file():
        pytest.skip("the table of Roadmap's pairs is not here")
    return read_pairs(PAIRS)


def of_few_cell_types(pairs: Sequence[Experiment]) -> list[Experiment]:
    """Those of the first 24 cell types."""
    few = sorted({pair.cell_type for pair in pairs})[:_FEW]
    return [pair for pair in pairs if pair.cell_type in few]


def make_tensor(path: Path, pairs: Sequence[Experiment], n_bins: int, *, chromosomes: int = 2) -> Tensor:
    """Simulate a tensor, a shard a chromosome or more, in a directory of this name."""
    simulation = Simulation(tuple(pairs), rank=30, seed=1)
    genome = SimulatedGenome.of_bins(n_bins, chromosomes=chromosomes)
    data = path.with_name(f"{path.name}.data")
    with LocalEngine() as engine:
        simulate(data, simulation, genome, engine, form="tensor", truth=False)
    (data / "tensor").rename(path)
    shutil.rmtree(data)
    return Tensor(path)
