"""Models that nothing was fitted to."""

from __future__ import annotations

import numpy as np

from predictd.io.tensor.store import Tensor
from predictd.model.cp.factors import CPModel


def trained_for(tensor: Tensor, seed: int = 0, *, cells: int = 0, rank: int = 2) -> CPModel:
    """A model of random factors that reads all experiments of a tensor; some cell types more than it has."""
    rng = np.random.default_rng(seed)
    names = sorted({e.cell_type for e in tensor.experiments} | {f"N{i}" for i in range(cells)})
    assays = sorted({e.assay for e in tensor.experiments})
    c, a = rng.normal(size=(len(names), rank)), rng.normal(size=(len(assays), rank))
    p, q = 0.1 * rng.normal(size=len(names)), 0.1 * rng.normal(size=len(assays))
    return CPModel(tuple(names), tuple(assays), c, a, p, q, 0.4, 1.0, tuple(tensor.experiments))
