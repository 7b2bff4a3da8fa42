"""How good each member of a stack is by itself on held-out experiments, from second moments alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from predictd.engine.base import one_blas_thread
from predictd.model.ensemble import Model
from predictd.model.moments import squared_errors
from predictd.pairs import Experiment
from predictd.workflows.evaluation.score import Row
from predictd.workflows.tensor.moments import TensorMoments

MEMBERS_TSV = "members.tsv"
# Columns of members.tsv: the squared error, and that over the variance of the track.
COLUMNS = ("cell_type", "assay", "fold", "member", "mse", "error")


def member_errors(model: Model, test: str, pairs: Sequence[Experiment], data: TensorMoments) -> list[Row]:
    """Errors of each member on held-out pairs, before networks and clipping; nothing for a model of one piece.

    Parameters
    ----------
    model
        That held the pairs out.
    test
        Name of their test fold.
    pairs
        What is predicted.
    data
        Moments, which give errors of affine predictions exactly, over complete bins.
    """
    rows: list[Row] = []
    columns = data.columns(tuple(pairs))
    n_bins = data.s[-1, -1]
    variances = np.diag(data.s)[columns] / n_bins - np.square(data.s[-1, columns] / n_bins)
    with one_blas_thread():
        for member, own in model.alone(pairs).items():
            errors = squared_errors(data.s, own.weights, own.intercept, data.columns(model.train), columns)
            with np.errstate(divide="ignore", invalid="ignore"):
                relative = errors / variances
            rows += [
                dict(zip(COLUMNS, (*pair, test, member, mse, error), strict=True))
                for pair, mse, error in zip(pairs, errors.tolist(), relative.tolist(), strict=True)
            ]
    return rows
