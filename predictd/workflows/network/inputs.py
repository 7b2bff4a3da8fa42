"""What `predictd network infer` is given, read and checked."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from predictd.errors import DataError
from predictd.io.network.expression import (
    Expression,
    Orientation,
    numeric_names,
    read_expression,
    read_names,
)
from predictd.io.network.h5ad import SUFFIX, read_h5ad
from predictd.kernels import MAX_SAMPLES
from predictd.wording import some
from predictd.workflows.network.activity import Activity, region_activity

log = logging.getLogger(__name__)

LEAST_SAMPLES = 3


def load_expression(source: Path | Activity, orientation: Orientation | None) -> Expression:
    """The matrix: of a file, or the activity of regions."""
    if isinstance(source, Activity):
        return region_activity(source)
    read = read_h5ad if source.name.endswith(SUFFIX) else read_expression
    return read(source, orientation=orientation)


def find_regulators(
    expression: Expression, expression_path: Path, path: Path
) -> tuple[NDArray[np.int64], list[str]]:
    """Positions of the listed regulators among the genes, ascending, and those that are not among them."""
    names = read_names(path)
    places = {gene: i for i, gene in enumerate(expression.genes)}
    present = sorted(places[name] for name in names if name in places)
    samples = set(names) & set(expression.samples or ())
    if len(samples) > len(present):
        other = "columns" if expression.orientation == "rows" else "rows"
        raise DataError(
            f"{len(samples)} of the {len(names)} regulators in {path} are among what was taken for samples of "
            f"{expression_path} ({some(sorted(samples))}), {len(present)} among its genes; give --genes {other}"
        )
    if not present:
        raise DataError(
            f"none of the {len(names)} regulators in {path} ({some(names)}) is a gene of {expression_path} "
            f"({some(expression.genes)}); use the same names"
        )
    missing = [name for name in names if name not in places]
    if missing:
        log.warning(
            "%d of the %d regulators are not in %s and left out: %s",
            len(missing),
            len(names),
            expression_path,
            ", ".join(missing),
        )
    return np.array(present, dtype=np.int64), missing


def check_samples(expression: Expression, path: Path) -> list[str]:
    """Refuse what nothing can be inferred from, warn of what is suspicious; the names of constant genes."""
    n_genes, n_samples = expression.values.shape
    if not LEAST_SAMPLES <= n_samples < MAX_SAMPLES:
        raise DataError(
            f"{path} has {n_samples} samples of {n_genes} genes, which is too "
            f"{'few' if n_samples < LEAST_SAMPLES else 'many'} to infer links from; is --genes right?"
        )
    if n_genes < 2:
        raise DataError(f"{path} has a single gene; links need two")
    constant = [
        gene
        for gene, varies in zip(expression.genes, np.ptp(expression.values, axis=1) > 0, strict=True)
        if not varies
    ]
    if len(constant) == n_genes:
        raise DataError(f"{path}: all genes are constant; there is nothing to infer")
    if constant:
        log.warning("%d genes are constant and get no links: %s", len(constant), some(constant))
    if numeric := numeric_names(expression.genes):
        log.warning(
            "%d gene names read as numbers (%s): see that no spreadsheet has changed them",
            len(numeric),
            some(numeric),
        )
    return constant
