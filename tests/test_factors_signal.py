"""Factors in the unit of signal: what is reported of models of every solver against their imputed signal."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import pdist, squareform

from made_folds import FEW_SWEEPS, few_folds, models_of
from made_models import trained_for
from made_tensors import stored_signal
from predictd.config import SgdSettings, TrainSettings
from predictd.io.tensor.store import Tensor
from predictd.model.cp.extend import RowPrior, extended, genome_moments
from predictd.model.cp.factors import CPModel
from predictd.model.cp.interpretation import in_signal, sizes
from predictd.model.cp.reference import closed_form_genome
from predictd.model.moments import moments
from predictd.pairs import Experiment
from predictd.workflows.evaluation.factors import explain_factors, factor_tables
from predictd.workflows.imputing.estimators import load_cp_model
from predictd.workflows.tensor.ranges import ends_of
from predictd.workflows.training.crossval import crossval
from predictd.workflows.training.train import train

pytestmark = pytest.mark.numeric

SOLVERS = {
    "em": TrainSettings(solver="em", rank=3, regularisation=0.5, als=FEW_SWEEPS),
    "als": TrainSettings(solver="als", rank=3, regularisation=0.001, als=FEW_SWEEPS),
    # Without a penalty nothing shares the size of a component out.
    "als, free": TrainSettings(solver="als", rank=3, regularisation=0.0, als=FEW_SWEEPS),
    # All complete bins, as the others.
    "sgd": TrainSettings(
        solver="sgd", rank=3, sgd=SgdSettings(min_bins=10**6, updates_per_round=2000, max_rounds=12)
    ),
}


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def complete_bins(tensor: Tensor) -> np.ndarray:
    """The bins that models are trained on, without artefacts: float32 (bins × n)."""
    signal, ends = stored_signal(tensor), ends_of(tensor)
    signal = signal if ends is None else np.minimum(signal, ends)
    return signal[~np.isnan(signal).any(axis=1)]


def imputed_parts(model: CPModel, tensor: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """What the factors add, by hand: imputed signal of every pair less its biases and r, and of each factor alone.

    float64 (bins × cell types × assays) and (L × bins × cell types × assays), over the complete bins.
    """
    signal = complete_bins(tensor)[:, tensor.columns(model.train)]
    pairs = [Experiment(cell, assay) for cell in model.cell_types for assay in model.assays]
    imputed = model.imputer(pairs).unbounded(signal).astype(np.float64)
    imputed = imputed.reshape(-1, len(model.cell_types), len(model.assays)) - model.p[:, None] - model.q
    z, o = model.design(model.train)
    genome = closed_form_genome(z, model.lambda_g, signal.astype(np.float64) - o)
    alone = np.einsum("gl,cl,al->lgca", genome[:, :-1], model.c, model.a)
    return imputed - model.mu - genome[:, -1, None, None], alone


def mean_square_differences(added: np.ndarray) -> np.ndarray:
    """Of all two of the last axis of (bins × others × rows)."""
    n = added.shape[-1]
    found = [[np.mean((added[..., i] - added[..., j]) ** 2) for j in range(n)] for i in range(n)]
    return np.array(found)


def assert_in_signal(model: CPModel, tensor: Tensor, **tolerance: float) -> None:
    together, alone = imputed_parts(model, tensor)
    for axis, (found, rows) in enumerate(zip(in_signal(model), (model.c, model.a), strict=True)):
        expected = mean_square_differences(np.moveaxis(together, axis + 1, -1))
        distances = squareform(pdist(found.points, "sqeuclidean"))
        np.testing.assert_allclose(distances, expected, atol=1e-6 * expected.max(), **tolerance)
        parts = np.sign(rows) * np.sqrt((alone**2).mean(axis=(1, 3 - axis))).T
        np.testing.assert_allclose(found.parts, parts, atol=1e-6 * np.abs(parts).max(), **tolerance)
    np.testing.assert_allclose(sizes(model), np.sqrt((alone**2).mean(axis=(1, 2, 3))), **tolerance)


@pytest.fixture(scope="module", params=SOLVERS)
def fitted(request, tmp_path_factory, tensor_path, engine) -> Path:
    """A model file of each solver. Read only."""
    path = tmp_path_factory.mktemp("fitted") / "m.h5"
    train(tensor_path, path, SOLVERS[request.param], engine)
    return path


def test_squared_distances_are_mean_squared_differences_of_imputed_signal(fitted, tensor):
    model, _ = load_cp_model(fitted)
    assert model.rank > 1
    assert_in_signal(model, tensor, rtol=1e-3)


def test_tables_and_trees_are_in_signal(fitted, tensor, tmp_path, blank_figures):
    model, _ = load_cp_model(fitted)
    explain_factors(fitted, tmp_path / "out")
    together, alone = imputed_parts(model, tensor)
    expected = mean_square_differences(np.moveaxis(together, 1, -1))
    tree = linkage(np.sqrt(squareform(expected, checks=False)), method="average")
    found = factor_tables(model).arranged[0].tree
    np.testing.assert_allclose(found[:, 2], tree[:, 2], rtol=1e-3)
    rows = table(tmp_path / "out" / "cell_types.tsv")
    order = [model.cell_types.index(row["cell_type"]) for row in rows]
    shown = np.array([[float(row[f"factor{i + 1}"]) for i in range(model.rank)] for row in rows])
    np.testing.assert_allclose(
        np.abs(shown), np.sqrt((alone**2).mean(axis=(1, 3))).T[order], rtol=1e-3, atol=1e-6
    )
    # In two dimensions as near as can be: no distance is longer than in signal.
    plane = np.array([[float(row[f"component{i}"]) for i in (1, 2)] for row in rows])
    assert (squareform(pdist(plane, "sqeuclidean")) <= expected[np.ix_(order, order)] * 1.001 + 1e-9).all()
    listed = table(tmp_path / "out" / "factors.tsv")
    by_number = {int(row["factor"]): float(row["size"]) for row in listed}
    np.testing.assert_allclose(
        [by_number[i + 1] for i in range(model.rank)], np.sqrt((alone**2).mean(axis=(1, 2, 3))), rtol=1e-3
    )
    assert list(by_number.values()) == sorted(by_number.values(), reverse=True)


def test_models_of_a_cross_validation_are_in_signal(tensor, engine, tmp_path):
    folds = few_folds(tensor, tmp_path / "folds.json")
    settings = SOLVERS["em"].model_copy(update={"rank": 2})
    crossval(tensor.path, tmp_path / "cv", settings, engine, folds=tmp_path / "folds.json")
    for path in models_of(tmp_path / "cv", folds):
        assert_in_signal(load_cp_model(path)[0], tensor, rtol=1e-3)


def test_how_size_is_shared_out_does_not_matter(tensor):
    model = trained_for(tensor, 3).with_genome(
        moments(complete_bins(tensor)), np.arange(len(tensor.experiments))
    )
    # Of the same predictions, since λ_G is scaled as well.
    other = replace(model, c=3.0 * model.c, a=0.2 * model.a, lambda_g=0.36 * model.lambda_g)
    other = other.with_genome(moments(complete_bins(tensor)), np.arange(len(tensor.experiments)))
    for one, two in zip(in_signal(model), in_signal(other), strict=True):
        np.testing.assert_allclose(two.parts, one.parts, rtol=1e-9)
        np.testing.assert_allclose(pdist(two.points), pdist(one.points), rtol=1e-9)
    np.testing.assert_allclose(sizes(other), sizes(model), rtol=1e-9)


def test_two_factors_by_hand():
    """One assay whose entries are 1; G is (1, 1) in half of the bins and (1, −3) in the others."""
    model = CPModel(
        ("X", "Y"), ("A",), np.array([[2.0, 1.0], [0.0, -1.0]]), np.ones((1, 2)), np.zeros(2), np.zeros(1), 0.0, 1.0,
        (Experiment("X", "A"),), g_moments=np.array([[1.0, -1.0], [-1.0, 5.0]]),
    )  # fmt: skip
    cells, _ = in_signal(model)
    np.testing.assert_allclose(cells.parts, [[2, 5**0.5], [0, -(5**0.5)]])
    # They differ by (2, 2): 2 + 2 = 4, and 2 − 6 = −4.
    np.testing.assert_allclose(pdist(cells.points, "sqeuclidean"), [16])
    np.testing.assert_allclose(sizes(model), [2**0.5, 5**0.5])


@pytest.mark.parametrize("regressors", [True, False])
def test_extended_models_are_in_signal(tensor, regressors):
    signal, every = complete_bins(tensor), trained_for(tensor, 3)
    new = tuple(e for e in tensor.experiments if e.cell_type == every.cell_types[-1])
    before = tuple(e for e in tensor.experiments if e not in new)
    s = moments(signal)
    model = replace(every, train=before).with_genome(s, tensor.columns(before))
    model = replace(model, cell_types=model.cell_types[:-1], c=model.c[:-1], p=model.p[:-1])
    joint = genome_moments(model, s, tensor.columns(before), tensor.columns(new))
    larger = extended(model, joint, new, RowPrior(0.1, em=False), regressors=regressors)
    assert larger.cell_types == every.cell_types and (larger.train == before) is not regressors
    assert_in_signal(larger, tensor, rtol=2e-3)
