"""How well tracks match what is expected by their labels, each and each two of them left out, in closed form.

With K the covariance of standardised tracks by their labels and P = K⁻¹, the residuals of tracks S predicted by all
others are P_SS⁻¹ (P x)_S (the leave-one-out formula of ridge regression and of Gaussian processes, for one or two
tracks). Their covariances with any track follow from P, P R and P R P, with R the tracks' correlations: all n²
pairs cost a few matrix products.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
_LEAST_VARIANCE = 1e-12


@dataclass(frozen=True)
class Single:
    """Predictions x̂ of standardised tracks by the other tracks.

    Attributes
    ----------
    covariance, variance
        Cov(x, x̂) and Var(x̂), (n,).
    """

    covariance: Array
    variance: Array

    @property
    def r(self) -> Array:
        """Pearson correlations (n,)."""
        return self.covariance / np.sqrt(np.maximum(self.variance, _LEAST_VARIANCE))


def leave_one_out(k: Array, r: Array) -> Single:
    """Each track predicted by all others.

    Parameters
    ----------
    k, r
        Covariance by labels and correlations of the n tracks (n × n).
    """
    p = np.linalg.inv(k)
    pr = p @ r
    own = np.diag(p)
    half = np.diag(pr) / own
    full = np.einsum("ij,ij->i", pr, p) / np.square(own)
    return Single(1.0 - half, 1.0 - 2.0 * half + full)


def leave_two_out(k: Array, r: Array) -> tuple[Array, Array]:
    """Correlations of tracks i with predictions of the labels of tracks j by all tracks but i and j.

    Returns
    -------
    match, own
        (n × n): of track i with the prediction of j's label, and with that of its own. Equal on the diagonal, where
        only i is left out.
    """
    p = np.linalg.inv(k)
    pr = p @ r
    prp = pr @ p
    d, u, v = np.diag(p), np.diag(pr), np.diag(prp)
    det = np.outer(d, d) - np.square(p)
    np.fill_diagonal(det, 1.0)
    # Entry [i, j]; x̂_j = x_j − (P_ii (P x)_j − P_ij (P x)_i) / det.
    residual_i = (d[:, np.newaxis] * pr.T - p * u[:, np.newaxis]) / det
    residual_j = (d[:, np.newaxis] * u - p * pr) / det
    squares = (
        np.square(d)[:, np.newaxis] * v - 2.0 * d[:, np.newaxis] * p * prp + np.square(p) * v[:, np.newaxis]
    )
    variance = 1.0 - 2.0 * residual_j + squares / np.square(det)
    scale = np.sqrt(np.maximum(variance, _LEAST_VARIANCE))
    match, own = (r - residual_i) / scale, ((1.0 - residual_j) / scale).T
    single = leave_one_out(k, r).r
    np.fill_diagonal(match, single)
    np.fill_diagonal(own, single)
    return match, own


def matches(k: Array, r: Array, to_pairs: Array, to_tracks: Array) -> tuple[Array, Array]:
    """Predictions of any pairs, none of which has a track among the predictors, for any tracks.

    Parameters
    ----------
    k, r
        Of the n predicting tracks (n × n).
    to_pairs
        Covariance by labels of the predicting tracks with m pairs (n × m).
    to_tracks
        Correlations of the predicting tracks with q tracks that are none of them (n × q).

    Returns
    -------
    covariance, variance
        Cov(x_i, x̂_j), (q × m), and Var(x̂_j), (m,).
    """
    weights = np.linalg.solve(k, to_pairs)
    return to_tracks.T @ weights, np.einsum("ij,ij->j", weights, r @ weights)


def matches_of_predictors(k: Array, r: Array, to_pairs: Array) -> Array:
    """Correlations (n × m) of the predicting tracks with predictions of pairs without tracks by the other tracks."""
    p = np.linalg.inv(k)
    weights = p @ to_pairs
    mapped = r @ weights
    pr = p @ r
    d, u, v = np.diag(p), np.diag(pr), np.einsum("ij,ij->i", pr, p)
    # Without track i the weights are w − P_·i w_i / P_ii.
    share = weights / d[:, np.newaxis]
    covariance = mapped - share * u[:, np.newaxis]
    variance = (
        np.einsum("ij,ij->j", weights, mapped)
        - 2.0 * share * (p @ mapped)
        + np.square(share) * v[:, np.newaxis]
    )
    return np.asarray(covariance / np.sqrt(np.maximum(variance, _LEAST_VARIANCE)))


def matches_left_out(k: Array, r: Array, to_tracks: Array) -> Array:
    """Correlations (q × n) of q tracks that are none of the n predicting ones with leave-one-out predictions of these.

    Parameters
    ----------
    k, r
        Of the n predicting tracks (n × n).
    to_tracks
        Their correlations with the q tracks (n × q).
    """
    p = np.linalg.inv(k)
    # x̂_j = x_j − (P x)_j / P_jj.
    covariance = to_tracks.T - to_tracks.T @ (p / np.diag(p))
    return np.asarray(covariance / np.sqrt(np.maximum(leave_one_out(k, r).variance, _LEAST_VARIANCE)))
