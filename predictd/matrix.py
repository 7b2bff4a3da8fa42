"""Expression matrices in memory, genes × samples: dense, or sparse where most values are zero, as of single cells."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

# (n_genes, n_samples); what is sparse has no value stored twice.
Values: TypeAlias = "NDArray[np.float64] | csr_array"
# What is made dense at once.
_BYTES = 32 * 2**20


def rows(values: Values, genes: NDArray[np.integer] | slice) -> NDArray[np.float64]:
    """Some genes' values: (n, n_samples) float64, of their own memory."""
    if isinstance(values, csr_array):
        return np.ascontiguousarray(values[genes].toarray(), dtype=np.float64)
    return np.array(values[genes], dtype=np.float64, order="C")


def row(values: Values, gene: int) -> NDArray[np.float64]:
    """A gene's values: (n_samples,) float64."""
    return rows(values, slice(gene, gene + 1))[0]


def blocks(values: Values) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """All genes in order, some megabytes at a time: which, and their values as of `rows`."""
    n_genes, n_samples = values.shape
    step = max(1, _BYTES // (8 * max(1, n_samples)))
    for start in range(0, n_genes, step):
        some = slice(start, min(start + step, n_genes))
        yield some, rows(values, some)


def sample_blocks(values: Values) -> Iterator[csr_array]:
    """All samples in order, some at a time: (n, n_genes), sparse and without zeros, of their own memory."""
    n_genes, n_samples = values.shape
    by_sample = values.tocsc() if isinstance(values, csr_array) else values
    step = max(1, _BYTES // (8 * max(1, n_genes)))
    for start in range(0, n_samples, step):
        block = csr_array(by_sample[:, start : start + step].T)
        block.eliminate_zeros()
        yield block


def varies(values: Values) -> NDArray[np.bool_]:
    """Which genes do not have the same value in all samples: (n_genes,)."""
    if not isinstance(values, csr_array):
        return np.asarray(np.ptp(values, axis=1) > 0)
    highest, lowest = (np.ravel(found.toarray()) for found in (values.max(axis=1), values.min(axis=1)))
    return np.asarray(highest > lowest)


def of_samples(values: Values, samples: NDArray[np.bool_] | NDArray[np.int64]) -> Values:
    """The values in some samples: a mask, or positions."""
    if isinstance(values, csr_array):
        return values[:, np.flatnonzero(samples) if samples.dtype == np.bool_ else samples]
    return np.ascontiguousarray(values[:, samples])


def not_finite(values: Values) -> NDArray[np.int64]:
    """Gene and sample of each value that is not a finite number: (n, 2), in the order of genes."""
    if not isinstance(values, csr_array):
        return np.argwhere(~np.isfinite(values))
    bad = np.flatnonzero(~np.isfinite(values.data))
    genes = np.searchsorted(values.indptr, bad, side="right") - 1
    return np.stack([genes, values.indices[bad]], axis=1).astype(np.int64)
