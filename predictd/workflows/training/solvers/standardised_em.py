"""EM of standardised tracks, as the stack has it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from predictd.config import TrainSettings
from predictd.model.folds import Fold
from predictd.model.moments import CONSTANT
from predictd.workflows.tensor.moments import TensorMoments
from predictd.workflows.training.solvers.cp import ranks_for
from predictd.workflows.training.solvers.em import Em
from predictd.workflows.training.solvers.solver import Choice, Fit

_RANKS = (1, 2, 3, 5, 8, 12, 20, 32, 50)


class StandardisedEm(Em):
    """EM on tracks of mean 0 and variance 1, so that none counts more for its unit.

    Where it is one of several, its rank and prior need not be exact: fewer are compared.
    """

    penalties = (0.1, 0.3, 1.0)
    first_penalty = 0.3

    def grid(self, settings: TrainSettings, n_train: int) -> tuple[Sequence[int], Sequence[float], float]:
        """See `CPSolver.grid`; fewer ranks are compared."""
        return ranks_for(n_train, _RANKS), self.penalties, self.first_penalty

    def fit_moments(
        self, data: TensorMoments, fold: Fold, choice: Choice, *, seed: int, sweeps: int | None = None
    ) -> Fit:
        """See `MomentsSolver.fit_moments`; the fit is to standardised tracks."""
        return super().fit_moments(_standardised(data), fold, choice, seed=seed, sweeps=sweeps)


def _standardised(data: TensorMoments) -> TensorMoments:
    """Moments of tracks of mean 0 and variance 1; constant tracks are 0."""
    n_bins = data.s[-1, -1]
    means = data.s[-1, :-1] / n_bins
    squares = np.diag(data.s)[:-1] / n_bins
    variances = squares - means**2
    factor = np.where(variances > CONSTANT * squares, 1 / np.sqrt(np.maximum(variances, 1e-300)), 0.0)
    s = np.zeros_like(data.s)
    s[:-1, :-1] = (data.s[:-1, :-1] - n_bins * np.outer(means, means)) * np.outer(factor, factor)
    s[-1, -1] = n_bins
    return TensorMoments(s, data.experiments)
