"""What `predictd network infer` is given, read and checked."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from predictd.constants import EXPRESSION_TSV, TRACKS_TSV
from predictd.errors import ConfigError, DataError
from predictd.grn.methods import Problem
from predictd.grn.quality import LEAST_SAMPLES as LEAST_FOR_QUALITY
from predictd.io.files import sha256_of, sha256_of_json
from predictd.io.network.expression import (
    Expression,
    Orientation,
    check_expression,
    numeric_names,
    read_expression,
    read_names,
    write_expression,
)
from predictd.io.network.h5ad import SUFFIX, read_h5ad
from predictd.io.tensor.store import Tensor
from predictd.kernels import MAX_SAMPLES
from predictd.matrix import varies
from predictd.wording import some
from predictd.workflows.network.activity import Activity, region_activity

log = logging.getLogger(__name__)

LEAST_SAMPLES = 3
# What a matrix that is in no file is called.
_IN_MEMORY = "the matrix"


@dataclass(frozen=True)
class InferenceInputs:
    """What a network is inferred from, read and checked.

    Attributes
    ----------
    source, regulators_path
        Where it is from; see `read_inputs`.
    expression
        The matrix.
    checksum
        SHA-256 of the matrix: of its file, or of the values that were computed.
    regulators
        (n_regulators,) int64: positions of the regulators among the genes, ascending.
    missing
        Listed regulators that are not among the genes.
    constant
        Genes that do not vary.
    """

    source: Path | Activity | Expression
    regulators_path: Path | Sequence[str] | None
    expression: Expression
    checksum: str
    regulators: NDArray[np.int64]
    missing: list[str]
    constant: list[str]

    @property
    def problem(self) -> Problem:
        """The same for `predictd.grn.methods`."""
        return Problem(self.expression.values, self.expression.genes, self.regulators)

    def write(self, output: Path) -> dict[str, str]:
        """Write the matrix where it was computed, and return the checksums of all inputs for run.json."""
        if isinstance(self.source, Activity):
            write_expression(output / EXPRESSION_TSV, self.expression)
            files = [self.source.regions]
            if self.source.imputed is not None:
                files.append(self.source.imputed / TRACKS_TSV)
            checksums = {str(self.source.tensor): Tensor(self.source.tensor).manifest.checksum}
        elif isinstance(self.source, Expression):
            files, checksums = [], {_IN_MEMORY: self.checksum}
        else:
            files, checksums = [], {str(self.source): self.checksum}
        if isinstance(self.regulators_path, Path):
            files.append(self.regulators_path)
        return checksums | {str(file): sha256_of(file) for file in files}


def choose_source(
    expression: Path | None,
    tensor: Path | None,
    *,
    regions: Path | None = None,
    assay: str | None = None,
    imputed: Path | None = None,
    orientation: Orientation | None = None,
) -> Path | Activity:
    """A matrix of expression, or what activity is computed from.

    Parameters
    ----------
    expression, orientation
        The matrix, and where it has its genes.
    tensor, regions, assay, imputed
        See `Activity`.

    Raises
    ------
    ConfigError
        If it is neither, or something of both.
    """
    if tensor is None:
        if regions is not None or assay is not None or imputed is not None:
            raise ConfigError("`regions`, `assay` and `imputed` are for `tensor`")
        if expression is None:
            raise ConfigError("give `expression`, or `tensor`")
        return expression
    if expression is not None or orientation is not None:
        raise ConfigError("with `tensor` there is no `expression`, and no `orientation`")
    if regions is None or assay is None:
        raise ConfigError("`tensor` needs `regions` and `assay`")
    return Activity(tensor, regions, assay, imputed)


def read_inputs(
    source: Path | Activity | Expression,
    *,
    regulators_path: Path | Sequence[str] | None = None,
    orientation: Orientation | None = None,
    quality: bool = False,
) -> InferenceInputs:
    """Read and check what a network is to be inferred from.

    Parameters
    ----------
    source, regulators_path, orientation
        See `predictd.workflows.network.infer.Inference`.
    quality
        Whether samples are to be left out to test the network.

    Raises
    ------
    PredictdError
        If a file cannot be read, or matrix and regulators do not fit together.
    """
    path = _place(source)
    expression = load_expression(source, orientation)
    regulators: NDArray[np.int64] = np.arange(len(expression.genes))
    missing: list[str] = []
    if regulators_path is not None:
        regulators, missing = find_regulators(expression, path, regulators_path)
    constant = check_samples(expression, path)
    n_samples = expression.values.shape[1]
    if quality and n_samples < LEAST_FOR_QUALITY:
        raise DataError(f"{path} has {n_samples} samples, too few to leave some out; leave out `quality`")
    checksum = (
        sha256_of_json([expression.genes, expression.samples, expression.values.tolist()])
        if isinstance(source, (Activity, Expression))
        else sha256_of(source)
    )
    return InferenceInputs(source, regulators_path, expression, checksum, regulators, missing, constant)


def _place(source: Path | Activity | Expression) -> Path | str:
    """What messages call it."""
    if isinstance(source, Activity):
        return source.regions
    return _IN_MEMORY if isinstance(source, Expression) else source


def load_expression(source: Path | Activity | Expression, orientation: Orientation | None) -> Expression:
    """The matrix: of a file, the activity of regions, or itself where it is in memory."""
    if isinstance(source, Expression):
        check_expression(_IN_MEMORY, source)
        return source
    if isinstance(source, Activity):
        return region_activity(source)
    read = read_h5ad if source.name.lower().endswith(SUFFIX) else read_expression
    return read(source, orientation=orientation)


def find_regulators(
    expression: Expression, expression_path: Path | str, listed: Path | Sequence[str]
) -> tuple[NDArray[np.int64], list[str]]:
    """Positions of the listed regulators among the genes, ascending, and those that are not among them."""
    if isinstance(listed, Path):
        path, names = str(listed), read_names(listed)
    else:
        path, names = "the list", list(dict.fromkeys(listed))
    places = {gene: i for i, gene in enumerate(expression.genes)}
    present = sorted(places[name] for name in names if name in places)
    samples = set(names) & set(expression.samples or ())
    if len(samples) > len(present):
        other = "columns" if expression.orientation == "rows" else "rows"
        raise DataError(
            f"{len(samples)} of the {len(names)} regulators in {path} are among what was taken for samples of "
            f"{expression_path} ({some(sorted(samples))}), {len(present)} among its genes; give `orientation` {other}"
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


def check_samples(expression: Expression, path: Path | str) -> list[str]:
    """Refuse what nothing can be inferred from, warn of what is suspicious; the names of constant genes."""
    n_genes, n_samples = expression.values.shape
    if not LEAST_SAMPLES <= n_samples < MAX_SAMPLES:
        raise DataError(
            f"{path} has {n_samples} samples of {n_genes} genes, which is too "
            f"{'few' if n_samples < LEAST_SAMPLES else 'many'} to infer links from; is `orientation` right?"
        )
    if n_genes < 2:
        raise DataError(f"{path} has a single gene; links need two")
    constant = [
        gene
        for gene, does in zip(expression.genes, varies(expression.values).tolist(), strict=True)
        if not does
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
