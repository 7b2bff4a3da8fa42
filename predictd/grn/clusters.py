"""Genes that are regulated alike: clusters of their profiles of importances."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from predictd.grn.graph import numbered
from predictd.grn.links import Links

COMPONENTS = 20
MOST_CLUSTERS = 50
_STARTS = 4


def regulation_profiles(links: Links, *, n_components: int = COMPONENTS) -> NDArray[np.float64]:
    """Targets in the space of the leading components of who regulates them.

    A target's importances, scaled to unit length, so that it matters in which proportions its regulators act, are
    projected on the largest singular vectors of all targets'.

    Returns
    -------
    ndarray
        (n_targets, at most n_components) float64, zeros for targets without links. The sign of a component is that of
        its largest entry.
    """
    # Commands that find no clusters import this module, too; and before threads are limited.
    from scipy.sparse.linalg import svds

    shape = len(links.targets), len(links.regulators)
    matrix = csr_matrix((links.importances, links.indices, links.indptr), shape=shape)
    lengths = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    scale = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    matrix = csr_matrix(matrix.multiply(scale[:, np.newaxis]))
    count = min(n_components, *shape)
    with threadpool_limits(1):
        if min(shape) <= 2 * count:
            left, values, _ = np.linalg.svd(matrix.toarray(), full_matrices=False)
        else:
            left, values, _ = svds(matrix, k=count, v0=np.ones(min(shape)))
    order = np.argsort(-values, kind="stable")[:count]
    profiles = left[:, order] * values[order]
    signs = np.sign(profiles[np.argmax(np.abs(profiles), axis=0), np.arange(count)])
    return np.ascontiguousarray(profiles * np.where(signs == 0, 1, signs))


def cluster_targets(links: Links, *, n_clusters: int | None = None, seed: int = 0) -> NDArray[np.int64]:
    """Clusters of targets by `regulation_profiles`, by k-means.

    Parameters
    ----------
    links
        The network.
    n_clusters
        How many; None: the square root of half the number of targets, 50 at most. There are no more than there are
        different profiles.
    seed
        Of the starts.

    Returns
    -------
    ndarray
        (n_targets,) int64 from 1, the largest first, equals by their first gene; 0 for targets without links.
    """
    linked = np.diff(links.indptr) > 0
    profiles = regulation_profiles(links)[linked]
    wanted = n_clusters or min(MOST_CLUSTERS, max(2, round(math.sqrt(linked.sum() / 2))))
    membership = np.zeros(len(links.targets), np.int64)
    membership[linked] = k_means(profiles, wanted, seed)
    return numbered(membership, linked)


def k_means(points: NDArray[np.float64], n_clusters: int, seed: int) -> NDArray[np.int64]:
    """Cluster of each point: (n,) int64, the same on any number of cores."""
    from sklearn.cluster import KMeans

    count = min(n_clusters, len(np.unique(points.round(9), axis=0)))
    with threadpool_limits(1):
        found = KMeans(count, n_init=_STARTS, random_state=seed % 2**32).fit(points)
    return np.asarray(found.labels_, np.int64)
