"""Which gene sets a group of genes holds more of than chance would give it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix


@dataclass(frozen=True)
class Enrichment:
    """A group and a gene set that have genes in common; numbers are of genes of the background.

    Attributes
    ----------
    group, gene_set
        Their names.
    n_group, n_set, n_both, n_background
        Genes of the group, of the set, of both, and in all.
    fold
        How many times as many in common as is expected of as many genes drawn at random.
    p, q
        Chance of so many or more in common (hypergeometric); its false discovery rate among all pairs of group and set
        that were tested (Benjamini & Hochberg 1995).
    genes
        Those in common, by name.
    """

    group: str
    gene_set: str
    n_group: int
    n_set: int
    n_both: int
    n_background: int
    fold: float
    p: float
    q: float
    genes: tuple[str, ...]


def enrich(
    groups: Mapping[str, Collection[str]],
    sets: Mapping[str, Collection[str]],
    background: Collection[str],
    *,
    least: int = 5,
    most: int = 500,
) -> list[Enrichment]:
    """Test every group for every set.

    Parameters
    ----------
    groups, sets
        Genes by name; those that are not of the background do not count.
    background
        Genes that could have been in either.
    least, most
        Sets with fewer or more genes of the background are not tested.

    Returns
    -------
    list of Enrichment
        Of pairs with genes in common, from the smallest p on; equals by the order of groups, then of sets.
    """
    places = {gene: i for i, gene in enumerate(sorted(set(background)))}
    group_matrix = _membership(groups, places)
    set_matrix = _membership(sets, places)
    set_sizes = set_matrix.sum(axis=1).A1.astype(np.int64)
    tested = np.flatnonzero((set_sizes >= least) & (set_sizes <= most))
    set_names, group_names = [list(sets)[i] for i in tested.tolist()], list(groups)
    set_matrix, set_sizes = set_matrix[tested], set_sizes[tested]
    group_sizes = group_matrix.sum(axis=1).A1.astype(np.int64)
    both = (group_matrix @ set_matrix.T).toarray().astype(np.int64)
    n_all = len(places)
    fold, p = overlap(group_sizes[:, np.newaxis], set_sizes[np.newaxis], both, n_all)
    q = false_discovery_rates(p.ravel()).reshape(p.shape)
    genes = list(places)
    found = []
    for row, column in zip(*np.nonzero(both), strict=True):
        common = group_matrix[row].multiply(set_matrix[column]).indices
        found.append(
            Enrichment(
                group_names[row],
                set_names[column],
                int(group_sizes[row]),
                int(set_sizes[column]),
                int(both[row, column]),
                n_all,
                float(fold[row, column]),
                float(p[row, column]),
                float(q[row, column]),
                tuple(genes[i] for i in sorted(common.tolist())),
            )
        )
    return sorted(found, key=lambda enrichment: enrichment.p)


def overlap(
    n_group: NDArray[np.int64], n_set: NDArray[np.int64], n_both: NDArray[np.int64], n_background: Any
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """`fold` and `p` of `Enrichment` by its counts, of the shape of `n_both`; fold is 0 where none is expected."""
    from scipy.stats import hypergeom

    expected = n_group * n_set / n_background
    fold = np.divide(n_both, expected, out=np.zeros(n_both.shape), where=expected > 0)
    return fold, np.asarray(hypergeom.sf(n_both - 1, n_background, n_set, n_group))


def false_discovery_rates(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """False discovery rate q of each p (Benjamini & Hochberg 1995): float64 (n,)."""
    order = np.argsort(-p, kind="stable")
    ranks = np.arange(p.size, 0, -1)
    q = np.empty(p.size)
    q[order] = np.minimum(1.0, np.minimum.accumulate(p[order] * p.size / ranks))
    return q


def _membership(groups: Mapping[str, Collection[str]], places: Mapping[str, int]) -> csr_matrix:
    """Which genes are in which group: (n_groups, n_genes) float64 of 0 and 1."""
    columns = [sorted({places[gene] for gene in own if gene in places}) for own in groups.values()]
    indptr = np.concatenate([[0], np.cumsum([len(own) for own in columns])])
    indices = np.array([i for own in columns for i in own], np.int64)
    return csr_matrix((np.ones(indices.size), indices, indptr), shape=(len(groups), len(places)))
