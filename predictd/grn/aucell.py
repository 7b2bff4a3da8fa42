"""How active sets of genes, such as regulons, are in each cell (AUCell)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from predictd.matrix import Values, sample_blocks


def ranks_that_count(threshold: float, n_genes: int) -> int:
    """The rank from which on genes no longer count: the share of all genes, rounded up, as AUCell's `aucMaxRank`."""
    # Without the last digits, by which 0.07 · 100 is more than 7.
    return math.ceil(round(threshold * n_genes, 9))


def aucell(values: Values, sets: Sequence[NDArray[np.int64]], limit: int) -> Iterator[NDArray[np.float64]]:
    """AUCell's statistic of each set in each cell (Aibar et al. 2017), block by block.

    A cell's genes are ranked from the highest value on. A set's recovery curve says at each rank how many of its genes
    have been met; the statistic is the area under it over the ranks before `limit`, divided by that of a set whose
    genes lead the ranking, so that 1 is the most. That is the norm of Bioconductor's AUCell; pySCENIC divides by
    n_set · limit.

    Genes of equal value have no order of their own, and AUCell draws one at random. Here each of them has the mean
    over all orders, in closed form: no random numbers are drawn.

    Parameters
    ----------
    values
        (n_genes, n_cells).
    sets
        Positions of the genes of each set: (n,) int64, all distinct, at least one.
    limit
        See `ranks_that_count`; 2 or more.

    Yields
    ------
    ndarray of float64, (n, n_sets)
        Of consecutive cells, from the first one on.
    """
    n_genes = values.shape[0]
    sizes = np.array([genes.size for genes in sets])
    indptr = np.concatenate([[0], np.cumsum(sizes)])
    of_sets = csr_array((np.ones(indptr[-1]), np.concatenate(sets), indptr), shape=(len(sets), n_genes))
    members = of_sets.T.tocsr()
    largest = _area(0, limit) - _area(sizes, limit)
    for block in sample_blocks(values):
        shares, of_zero = _shares(block, limit)
        yield ((shares @ members).toarray() + np.outer(of_zero, sizes)) / largest


def _shares(block: Any, limit: int) -> tuple[Any, NDArray[np.float64]]:
    """Area that each gene adds in each cell, less what one of value 0 adds: sparse (n, n_genes), and (n,).

    Parameters
    ----------
    block
        (n, n_genes) csr_array without zeros.
    limit
        See `aucell`.
    """
    n_cells, n_genes = block.shape
    of_zero = np.zeros(n_cells)
    genes, shares = [], []
    for cell in range(n_cells):
        own = slice(block.indptr[cell], block.indptr[cell + 1])
        found, where = block.data[own], block.indices[own]
        n_zero, n_above = n_genes - found.size, int(np.count_nonzero(found > 0))
        if n_zero and n_above < limit:
            of_zero[cell] = _mean_area(n_above, n_zero, limit)
        elif found.size > limit:
            # Those that cannot be among the first ones add nothing.
            kept = found >= np.partition(found, found.size - limit)[found.size - limit]
            found, where = found[kept], where[kept]
        levels, level, counts = np.unique(-found, return_inverse=True, return_counts=True)
        before = np.cumsum(counts) - counts + np.where(levels > 0, n_zero, 0)
        genes.append(where)
        shares.append(_mean_area(before, counts, limit)[level] - of_zero[cell])
    indptr = np.concatenate([[0], np.cumsum([own.size for own in genes])])
    return csr_array((np.concatenate(shares), np.concatenate(genes), indptr), shape=block.shape), of_zero


def _mean_area(before: Any, count: Any, limit: int) -> Any:
    """Area that each of `count` genes of equal value adds, after `before` genes of higher values."""
    return (_area(before, limit) - _area(before + count, limit)) / count


def _area(before: Any, limit: int) -> Any:
    """Area of as many genes as there are ranks after the first `before`: Σ (limit − rank)."""
    left = np.maximum(limit - before, 1)
    return left * (left - 1) / 2
