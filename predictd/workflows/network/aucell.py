"""`predictd network aucell`: how active regulons, or other gene sets, are in each cell."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from predictd.errors import ConfigError, DataError
from predictd.grn.aucell import aucell, ranks_that_count
from predictd.interrupt import stop_if_asked
from predictd.io.files import sha256_of
from predictd.io.network.cells import check_cells, write_cells
from predictd.io.network.expression import Expression, MatrixChoice
from predictd.io.network.genesets import read_gmt
from predictd.io.network.matrices import files_of, read_matrix
from predictd.io.results import write_run_json
from predictd.progress import progress_bar
from predictd.provenance import RunRecord
from predictd.wording import some
from predictd.workflows.network.inputs import WHOLE
from predictd.workflows.network.regulators import spelling_hint

log = logging.getLogger(__name__)

THRESHOLD = 0.05
# Sets with a smaller share of their genes in the matrix are left out, as AUCell does.
_LEAST_SHARE = 0.2


@dataclass(frozen=True)
class CellActivity:
    """AUCell's statistic of sets of genes in cells.

    Attributes
    ----------
    cells, sets
        Names.
    values
        (n_cells, n_sets) float64, from 0 to 1.
    sizes
        Genes of each set that the matrix has.
    """

    cells: tuple[str, ...]
    sets: tuple[str, ...]
    values: NDArray[np.float64]
    sizes: tuple[int, ...]


def score_cells(
    expression: Expression,
    sets: Mapping[str, Collection[str]],
    *,
    auc_threshold: float = THRESHOLD,
    source: Path | str = "the matrix",
) -> CellActivity:
    """AUCell's statistic of each set in each cell; see `predictd.grn.aucell.aucell`.

    Parameters
    ----------
    expression
        The matrix; its samples are the cells.
    sets
        Genes by name of the set; those that the matrix lacks do not count.
    auc_threshold
        Share of the genes, from a cell's highest on, that counts.
    source
        What messages call the matrix.

    Raises
    ------
    DataError
        If the matrix has too few genes, or none of the sets.
    """
    if not 0 < auc_threshold <= 1:
        raise ConfigError(f"`auc_threshold` has to be above 0 and at most 1, not {auc_threshold:g}")
    n_genes, n_cells = expression.values.shape
    limit = ranks_that_count(auc_threshold, n_genes)
    if limit < 2:
        raise DataError(
            f"{source} has {n_genes} genes, of which {auc_threshold:g} is too few; raise `auc_threshold`"
        )
    found = _places(expression, sets, source)
    _warn_of_empty_cells(expression, limit)
    if large := [name for name, genes in found.items() if genes.size > limit]:
        log.warning(
            "%d sets have more than %d genes (%s), but only a cell's first %d ranks count: raise `auc_threshold`",
            len(large),
            limit,
            some(large),
            limit,
        )
    values = np.empty((n_cells, len(found)))
    done = 0
    with progress_bar("cells", n_cells) as bar:
        for block in aucell(expression.values, list(found.values()), limit):
            stop_if_asked()
            values[done : done + len(block)] = block
            done += len(block)
            bar.update(len(block))
    cells = expression.samples or tuple(f"cell {i + 1}" for i in range(n_cells))
    return CellActivity(cells, tuple(found), values, tuple(genes.size for genes in found.values()))


def write_activity(
    expression_path: Path,
    sets_path: Path,
    output: Path,
    *,
    auc_threshold: float = THRESHOLD,
    choice: MatrixChoice = WHOLE,
) -> CellActivity:
    """Write AUCell's statistic of each set in each cell, with `OUTPUT.run.json` next to it.

    Parameters
    ----------
    expression_path, choice
        A matrix, see `predictd.io.network.matrices.read_matrix`, and what is read of it.
    sets_path
        Gene sets (GMT).
    output
        What to write; see `predictd.io.network.cells.write_cells`.
    auc_threshold
        See `score_cells`.

    Raises
    ------
    PredictdError
        If a file cannot be read or written, or the sets are not of the matrix's genes.
    """
    check_cells(output)
    settings = {"auc_threshold": auc_threshold, **choice.named}
    record = RunRecord("network aucell", settings=settings)
    sets = read_gmt(sets_path)
    expression = read_matrix(expression_path, choice)
    with record.stage("aucell"):
        found = score_cells(expression, sets, auc_threshold=auc_threshold, source=expression_path)
    with record.stage("write"):
        write_cells(output, found.cells, found.sets, found.values, found.sizes)
    record.inputs = {str(path): sha256_of(path) for path in (*files_of(expression_path), sets_path)}
    record.results = {
        "cells": len(found.cells),
        "sets": len(found.sets),
        "sets_left_out": [name for name in sets if name not in found.sets],
        "genes": expression.orientation,
        "ranks": ranks_that_count(auc_threshold, len(expression.genes)),
    }
    write_run_json(record, output, sidecar=True)
    return found


def _places(
    expression: Expression, sets: Mapping[str, Collection[str]], source: Path | str
) -> dict[str, NDArray[np.int64]]:
    """Positions of each set's genes, ascending, of the sets that have enough of them in the matrix."""
    places = {gene: i for i, gene in enumerate(expression.genes)}
    own = {name: sorted(places[gene] for gene in set(genes) & places.keys()) for name, genes in sets.items()}
    kept = {
        name: np.array(found, np.int64)
        for name, found in own.items()
        if found and len(found) >= _LEAST_SHARE * len(set(sets[name]))
    }
    genes = sorted(set().union(*sets.values()))
    if not kept:
        hint = spelling_hint(genes, places)
        if set(genes) & set(expression.samples or ()):
            hint = "they are among its samples: give `orientation`"
        raise DataError(
            f"no set has {_LEAST_SHARE:.0%} of its genes ({some(genes)}) among those of {source} "
            f"({some(expression.genes)}); {hint or 'use the same names'}"
        )
    if left_out := [name for name in sets if name not in kept]:
        log.warning(
            "%d of the %d sets have fewer than %.0f %% of their genes in %s and are left out: %s",
            len(left_out),
            len(sets),
            100 * _LEAST_SHARE,
            source,
            some(left_out),
        )
    if absent := [gene for gene in genes if gene not in places]:
        log.warning(
            "%d of the %d genes of the sets are not in %s and do not count: %s",
            len(absent),
            len(genes),
            source,
            some(absent),
        )
    return kept


def _warn_of_empty_cells(expression: Expression, limit: int) -> None:
    """Warn where most cells have a value for fewer genes than count: genes of value 0 fill the ranks."""
    own = expression.values
    if isinstance(own, csr_array):
        counts = np.bincount(own.indices[own.data != 0], minlength=own.shape[1])
    else:
        counts = np.count_nonzero(own, axis=0)
    few = int((counts < limit).sum())
    if 2 * few > counts.size:
        log.warning(
            "in %d of the %d cells fewer genes than the %d that count have a value other than 0, and genes of 0 fill "
            "their ranks; lower `auc_threshold`",
            few,
            counts.size,
            limit - 1,
        )
