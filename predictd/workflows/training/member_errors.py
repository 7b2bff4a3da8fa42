"""How good each member of a stack is by itself on held-out experiments, from second moments alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from predictd.engine.base import one_blas_thread
from predictd.io.tensor.store import Tensor
from predictd.model.folds import Fold
from predictd.model.ranges import Spans
from predictd.model.stack.stack import FEATURED
from predictd.pairs import Experiment
from predictd.workflows.evaluation.score import Row
from predictd.workflows.imputing.estimators import fold_model_path, load_model
from predictd.workflows.tensor.moments import TensorMoments
from predictd.workflows.training.solvers.solver import Choice

MEMBERS_TSV = "members.tsv"
# What members.tsv, as metrics.tsv, calls the whole model.
_MODEL = "model"
# Columns of members.tsv: the squared error, and that over the variance of the track.
COLUMNS = ("cell_type", "assay", "fold", "member", "mse", "error")


def member_errors(directory: Path, fold: Fold, data: TensorMoments, choice: Choice) -> list[Row]:
    """Errors of each member on the experiments that a fold holds out, before networks and clipping.

    There are none without a model of this fold, and of one that is of one piece.

    Parameters
    ----------
    directory
        Of the cross-validation.
    fold
        One that tests and does not validate.
    data
        Moments, which give errors of affine predictions exactly, over complete bins, and nearly so where features are
        read.
    choice
        What the model was fitted with.
    """
    path = fold_model_path(directory, fold)
    if not path.exists():
        return []
    model = load_model(path)[0]
    if FEATURED in choice.learned:
        data = replace(data, sampled=np.asarray(choice.learned[FEATURED], dtype=np.float64))
    rows: list[Row] = []
    columns = data.columns(fold.test)
    n_bins = data.s[-1, -1]
    variances = np.diag(data.s)[columns] / n_bins - np.square(data.s[-1, columns] / n_bins)
    with one_blas_thread():
        # Training experiments that do not vary are not read.
        inputs = model.imputer(fold.test[:1]).inputs
        for member, own in model.alone(fold.test).items():
            errors = data.errors(own, inputs, fold.test)
            with np.errstate(divide="ignore", invalid="ignore"):
                relative = errors / variances
            rows += [
                dict(zip(COLUMNS, (*pair, fold.name, member, mse, error), strict=True))
                for pair, mse, error in zip(fold.test, errors.tolist(), relative.tolist(), strict=True)
            ]
    return rows


def model_errors(rows: Sequence[Row], tensor: Tensor) -> list[Row]:
    """Errors of the whole model, with networks and clipped, as members' errors: from the rows of metrics.tsv."""
    own = [row for row in rows if row["method"] == _MODEL]
    pairs = [Experiment(str(row["cell_type"]), str(row["assay"])) for row in own]
    mses = np.array([float(row["MSEglobal"]) for row in own])
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = mses / np.square(Spans.of(tensor.summary()).sds[tensor.columns(pairs)])
    return [
        dict(zip(COLUMNS, (*pair, row["fold"], _MODEL, mse, error), strict=True))
        for pair, row, mse, error in zip(pairs, own, mses.tolist(), errors.tolist(), strict=True)
    ]
