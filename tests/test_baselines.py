"""Baselines against cases made to have an exact answer, and least squares."""

from __future__ import annotations

import numpy as np
import pytest

from predictd.errors import DataError
from predictd.model.measures.baselines import amplitude, baseline_weights
from predictd.pairs import Experiment

pytestmark = pytest.mark.numeric


@pytest.fixture
def tensor():
    """3 cell types × 3 assays: the assay's track times the cell type's amplitude."""
    rng = np.random.default_rng(5)
    experiments = [Experiment(f"C{c}", f"A{a}") for c in range(3) for a in range(3)]
    tracks = rng.gamma(1, 1, (200, 3))
    signal = np.stack(
        [(1, 2, 6)[int(e.cell_type[1])] * tracks[:, int(e.assay[1])] for e in experiments], axis=1
    )
    with_ones = np.c_[signal, np.ones(200)]
    return experiments, signal, with_ones.T @ with_ones


def test_baselines_of_scaled_cell_types_are_exact(tensor):
    experiments, signal, moments = tensor
    target = experiments[8]
    train = experiments[:8]
    indices, weights = baseline_weights(experiments, train, target)
    assert indices.tolist() == [2, 5] and weights.tolist() == [0.5, 0.5]
    # Amplitude 6 over the mean of 1 and 2.
    factor = amplitude(experiments, train, target, moments=moments)
    assert factor == pytest.approx(4)
    assert factor * signal[:, indices] @ weights == pytest.approx(signal[:, 8])


def test_amplitude_is_a_least_squares_fit(tensor):
    experiments, _, _ = tensor
    signal = np.random.default_rng(6).gamma(1, 1, (300, 9))
    train = [experiments[i] for i in (0, 1, 3, 4, 5, 6, 7, 8)]
    target = experiments[2]
    means = np.concatenate([signal[:, [3, 6]].mean(axis=1), signal[:, [4, 7]].mean(axis=1)])
    own = np.concatenate([signal[:, 0], signal[:, 1]])
    expected = np.linalg.lstsq(means[:, None], own, rcond=None)[0][0]
    got = amplitude(experiments, train, target, moments=signal.T @ signal)
    assert got == pytest.approx(expected)
    # A pair that is itself in training tells nothing about itself.
    assert amplitude(experiments, experiments, target, moments=signal.T @ signal) == got
    indices, _ = baseline_weights(experiments, experiments, target)
    assert indices.tolist() == [5, 8]


def test_baseline_fallbacks(tensor):
    experiments, _, moments = tensor
    target = experiments[0]
    only_this_assay = [experiments[i] for i in (3, 6)]
    assert amplitude(experiments, only_this_assay, target, moments=moments) == 1.0
    # C0 has A1, but nobody else does.
    alone = [experiments[i] for i in (1, 3, 6)]
    assert amplitude(experiments, alone, target, moments=moments) == 1.0
    assert amplitude(experiments, experiments, target, moments=0 * moments) == 1.0
    with pytest.raises(
        DataError, match="no baseline for C0:A0: no other cell type has a training experiment of A0"
    ):
        baseline_weights(experiments, experiments[:3], target)
    with pytest.raises(DataError, match="C9:A0 is not in the tensor"):
        baseline_weights(experiments, [Experiment("C9", "A0")], target)
    with pytest.raises(DataError, match="do not belong to 9 experiments"):
        amplitude(experiments, experiments, target, moments=moments[:5, :5])
