"""Which experiments to run next: greedy choice on the conditional covariance of the pairs' signals.

Knowing the signal of pair x lowers the expected squared error of every other pair p by Cov(p, x)² / Var(x), given what
is known already, and its own to 0. Choosing x one after the other by the largest sum of these over the pairs that
matter is A-optimal design, greedily (Krause, Singh & Guestrin 2008 study such choices of sensors).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy

from predictd.errors import DataError
from predictd.model.labels.labels import fit_effects, fit_similarity, standardise

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]
# Share of a pair's variance under which nothing is left to learn of it.
_KNOWN = 1e-9


@dataclass(frozen=True)
class Pick:
    """A chosen pair and by how much it lowers the summed expected squared error of the targets."""

    index: int
    gain: float


def choose_experiments(
    covariance: Array,
    targets: npt.NDArray[np.bool_],
    candidates: npt.NDArray[np.bool_],
    k: int,
    *,
    costs: Array | None = None,
) -> list[Pick]:
    """The next k experiments, the best first.

    Parameters
    ----------
    covariance
        float64 (N × N): covariance over bins of the pairs' signals given the experiments that exist.
    targets
        (N,): the pairs whose expected squared error counts.
    candidates
        (N,): the pairs that can be measured.
    k
        How many to choose, at most the number of candidates.
    costs
        float64 (N,), positive where `candidates`: the choice is by gain per cost; None: by gain.

    Returns
    -------
    list of Pick
        Each gain is that of the pair after those before it are known.
    """
    left = covariance.copy()
    open_ = candidates.copy()
    least = _KNOWN * np.diag(covariance)
    picks: list[Pick] = []
    for _ in range(k):
        variances = np.diag(left).copy()
        sums = np.einsum("px,px->x", left[targets], left[targets])
        gains = np.divide(sums, variances, out=np.zeros_like(sums), where=variances > least)
        worth = gains if costs is None else gains / costs
        best = int(np.argmax(np.where(open_, worth, -np.inf)))
        picks.append(Pick(best, float(gains[best])))
        open_[best] = False
        if variances[best] > least[best]:
            column = left[:, best].copy()
            left -= np.outer(column, column / variances[best])
    return picks


def conditional_covariance(
    s: Array, observed: tuple[Index, Index], pairs: tuple[Index, Index], n_cells: int, n_assays: int
) -> Array:
    """Covariance over bins of the signals of pairs given those of the observed tracks, as far as labels predict it.

    Parameters
    ----------
    s
        Moments of the n observed tracks, (n+1 × n+1).
    observed, pairs
        Rows of cell type and of assay, of the n tracks and of N pairs without a track.
    n_cells, n_assays
        How many there are.

    Returns
    -------
    float64 (N × N)
        In the unit of the transformed signal, squared. The diagonal is the expected squared error of predicting a pair.

    Raises
    ------
    DataError
        If every track is constant.
    """
    standard = standardise(s)
    used = ~standard.constant
    if not used.any():
        raise DataError("every track is constant over the complete bins: there is nothing to learn from them")
    logs = np.log(np.where(used, standard.deviations, 1.0))
    scale = np.exp(fit_effects(logs, *observed, n_cells, n_assays, used=used).of(*pairs))
    similarity = fit_similarity(
        standard.correlations, *observed, n_cells, n_assays, weights=used.astype(np.float64)
    )
    tracks = observed[0][used], observed[1][used]
    known = similarity.covariance(*tracks)
    across = similarity.between(*tracks, *pairs)
    half = scipy.linalg.solve_triangular(scipy.linalg.cholesky(known, lower=True), across, lower=True)
    given = similarity.covariance(*pairs) - half.T @ half
    return np.asarray(given * np.outer(scale, scale))
