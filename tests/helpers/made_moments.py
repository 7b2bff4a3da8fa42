"""Second moments without signal: those of a simulation in closed form, and those of the real pilot tracks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from predictd.model.moments import moments
from predictd.model.simulate import Simulation
from predictd.pairs import Experiment, rows_of


def simulated_moments(simulation: Simulation, n_bins: float = 1e6) -> np.ndarray:
    """Expected moments [Y 1]ᵀ[Y 1] of the simulation's experiments, their signal not clipped: float64 (n+1 × n+1)."""
    truth = simulation.parameters
    cells, assays = rows_of(simulation.experiments, simulation.cell_types, simulation.assays)
    z = truth.C[cells] * truth.A[assays]
    means = truth.mu + truth.p[cells] + truth.q[assays]
    covariance = z @ z.T + simulation.bin_sd**2 + simulation.noise_sd**2 * np.eye(len(z))
    padded = np.append(means, 1.0)
    s = n_bins * np.outer(padded, padded)
    s[:-1, :-1] += n_bins * covariance
    return s


def of_columns(s: np.ndarray, columns: Sequence[int]) -> np.ndarray:
    """Moments of some tracks, in this order; one may stand in the place of another."""
    places = np.append(np.asarray(columns, dtype=np.intp), len(s) - 1)
    return s[np.ix_(places, places)]


def pilot_signal(shared: Path, every: int = 1) -> tuple[list[Experiment], np.ndarray]:
    """Some bins of the 20 real tracks as published, arcsinh(−log10 p): experiments, and float32 (bins × 20)."""
    files = sorted((shared / "data" / "roadmap-pilot").glob("*.npz"))
    signal = np.stack([np.load(file)["signal"][::every].astype(np.float32) for file in files], axis=1)
    return [Experiment(*file.stem.split("-", 1)) for file in files], signal


def corrupted_pilot(shared: Path, every: int = 1) -> tuple[list[Experiment], list[str], np.ndarray]:
    """Experiments, kinds, and the moments of the 20 real tracks followed by 20 of each kind of damage."""
    experiments, signal = pilot_signal(shared, every)
    raw = np.sinh(signal)
    rng = np.random.default_rng(0)
    kinds = {
        "clean": signal,
        "3 times": np.arcsinh(3 * raw),
        "a third": np.arcsinh(raw / 3),
        "noise": np.maximum(signal + 2 * signal.std(axis=0) * rng.standard_normal(signal.shape), 0),
        "zero": np.zeros_like(signal),
        "capped": np.minimum(signal, np.quantile(signal, 0.99, axis=0)),
    }
    return experiments, list(kinds), moments(np.concatenate(list(kinds.values()), axis=1).astype(np.float32))


# What sums in float32 promise, relative to Σ(|d_i| √S_ii)²: three times what 96 roundings come to (see `MomentSums`).
SINGLE = 2e-6


def exact(y: np.ndarray) -> np.ndarray:
    """Moments in float64."""
    padded = np.column_stack([y.astype(np.float64), np.ones(len(y))])
    return padded.T @ padded


def assert_moments(found: np.ndarray, wanted: np.ndarray) -> None:
    sizes = np.sqrt(np.diag(wanted))
    assert (np.abs(found - wanted) <= SINGLE * np.outer(sizes, sizes)).all()
    assert found[-1, -1] == wanted[-1, -1]
    np.testing.assert_array_equal(found, found.T)
