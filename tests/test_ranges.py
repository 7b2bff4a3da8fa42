"""Where signal is cut off: alike in what models learn from and in what they read, and never below."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from made_tensors import small_tensor, stored_signal
from predictd.config import TrainSettings
from predictd.engine import Engine
from predictd.io.files import write_json
from predictd.io.tensor.store import Tensor
from predictd.model.ensemble import Model
from predictd.model.folds import Fold, folds_to_json
from predictd.pairs import Experiment, axes
from predictd.workflows.imputing.estimators import load_model
from predictd.workflows.tensor.moments import compute_moments, ensure_moments, read_moments
from predictd.workflows.tensor.ranges import ends_of, ranges_of
from predictd.workflows.training.train import train

PAIRS = [Experiment(cell, assay) for cell in ("C0", "C1", "C2", "C3") for assay in ("A0", "A1", "A2")]
HELD = PAIRS[5]


def tensor_of(path: Path, signal: np.ndarray, transform: str) -> Tensor:
    manifest = small_tensor(path, signal, experiments=PAIRS).manifest
    entries = [entry.model_copy(update={"transform": transform}) for entry in manifest.experiments]
    manifest.model_copy(update={"experiments": tuple(entries)}).write(path)
    return Tensor(path)


@pytest.mark.parametrize("solver", ["em", "kriging"])
def test_strongly_negative_signal_is_learned_read_and_predicted(solver, tmp_path, engine):
    rng = np.random.default_rng(5)
    shared = rng.normal(0, 1, (6000, 1))
    # Ten bins of 6000, 20 standard deviations below all others.
    low = rng.choice(6000, 10, replace=False)
    shared[low] = -30.0
    signal = shared * rng.uniform(0.8, 1.2, 12) + rng.normal(0, 0.3, (6000, 12))
    tensor = tensor_of(tmp_path / "t", signal, "none")
    fold = Fold(name="one", test=(HELD,), valid=(PAIRS[0],), train=tuple(PAIRS[1:5] + PAIRS[6:]))
    model = fitted(tensor, fold, solver, tmp_path, engine)
    y = stored_signal(tensor).astype(np.float64)
    imputer = model.imputer([HELD])
    columns = [PAIRS.index(e) for e in imputer.inputs]
    by_formula = y[:, columns] @ imputer.affine.weights[0] + imputer.affine.intercept[0]
    predicted = imputer(stored_signal(tensor)[:, columns])[:, 0]
    assert by_formula[low].max() < -15
    np.testing.assert_allclose(predicted, by_formula, atol=1e-3)
    # So the error that moments give is that of what is imputed.
    moments = read_moments(ensure_moments(tensor, engine), tensor)
    (expected,) = moments.errors(imputer.affine, imputer.inputs, (HELD,))
    assert np.square(predicted - y[:, 5]).mean() == pytest.approx(expected, rel=1e-3)


def fitted(tensor: Tensor, fold: Fold, solver: str, folder: Path, engine: Engine) -> Model:
    """A model of a fold, as its file has it."""
    write_json(folder / "folds.json", folds_to_json([fold]))
    settings = TrainSettings.model_validate({"solver": solver, "networks": 0})
    train(
        tensor.path, folder / "model.h5", settings, engine, folds=folder / "folds.json", fold_name=fold.name
    )
    return load_model(folder / "model.h5")[0]


def test_artefacts_are_cut_off_alike_whatever_is_held_out(tmp_path, engine):
    rng = np.random.default_rng(6)
    signal = rng.gamma(0.5, 1.0, (6000, 12))
    # A0: one track is five times as strong, one has an artefact, and one a single high bin that is as high as the
    # strong track's. C0 to C3 have columns 0, 3, 6 and 9.
    signal[:, 0] *= 5
    signal[7, 3] = 5000.0
    signal[:, 6] *= 0.02
    signal[9, 6] = 0.9 * signal[:, 0].max()
    tensor = tensor_of(tmp_path / "t", signal, "arcsinh")
    y, ends = stored_signal(tensor), ends_of(tensor)
    assert ends is not None and (y.max(axis=0) > ends).tolist() == [column == 3 for column in range(12)]
    assert ends[3] == pytest.approx(y[:, 0].max(), rel=0.2)
    # Without the strong track.
    left = [e for e in PAIRS if e != PAIRS[0]]
    ranges = ranges_of(tensor, axes(PAIRS)[1], left)
    limits = ranges.of_inputs(np.array([axes(PAIRS)[1].index(e.assay) for e in left]), np.arange(11))
    read = np.clip(y[:, 1:], limits.low, limits.high)
    learned = np.minimum(y, ends)
    np.testing.assert_array_equal(read, learned[:, 1:])
    s = compute_moments(tensor, engine)
    np.testing.assert_allclose(s[1:-1, 1:-1], read.T.astype(np.float64) @ read, rtol=1e-5)
