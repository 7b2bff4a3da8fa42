"""What `predictd network infer` is given, read and checked."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from predictd.constants import EXPRESSION_TSV, TRACKS_TSV
from predictd.errors import ConfigError, DataError
from predictd.grn.methods import Problem
from predictd.grn.quality import LEAST_SAMPLES as LEAST_FOR_QUALITY
from predictd.io.files import sha256_of, sha256_of_json
from predictd.io.network.expression import Expression, MatrixChoice, numeric_names
from predictd.io.network.matrices import files_of, read_matrix
from predictd.io.network.text import write_expression
from predictd.io.tensor.store import Tensor
from predictd.kernels import MAX_SAMPLES
from predictd.matrix import blocks, varies
from predictd.wording import some
from predictd.workflows.network.activity import Activity, region_activity
from predictd.workflows.network.regulators import find_genes

log = logging.getLogger(__name__)

LEAST_SAMPLES = 3
# What a matrix that is in no file is called.
_IN_MEMORY = "the matrix"
WHOLE = MatrixChoice()
# Sums of counts, of the most over the least, and of the most, from which on they are taken for not normalised.
_UNEVEN, _MANY_COUNTS = 1.1, 1000


@dataclass(frozen=True)
class InferenceInputs:
    """What a network is inferred from, read and checked.

    Attributes
    ----------
    source, choice, listed
        Where it is from; see `read_inputs`; `listed` is its `regulators`.
    expression
        The matrix.
    checksum
        SHA-256 of the matrix: of its file, of the checksums of its files, or of values in memory.
    checksums
        Of each of its files.
    regulators
        (n_regulators,) int64: positions of the regulators among the genes, ascending.
    missing
        Listed regulators that are not among the genes.
    constant
        Genes that do not vary.
    """

    source: Path | Activity | Expression
    choice: MatrixChoice
    listed: Path | Sequence[str] | None
    expression: Expression
    checksum: str
    checksums: dict[str, str]
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
            files, checksums = [], {str(file): found for file, found in self.checksums.items()}
        if isinstance(self.listed, Path):
            files.append(self.listed)
        return checksums | {str(file): sha256_of(file) for file in files}


def choose_source(
    expression: Path | None,
    tensor: Path | None,
    *,
    regions: Path | None = None,
    assay: str | None = None,
    imputed: Path | None = None,
    choice: MatrixChoice = WHOLE,
) -> Path | Activity:
    """A matrix of expression, or what activity is computed from.

    Parameters
    ----------
    expression, choice
        The file of the matrix, and what is read of it.
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
    if expression is not None or choice != WHOLE:
        given = ["`expression`"] * (expression is not None) + [f"`{name}`" for name in choice.named]
        given += ["`orientation`"] * (choice.orientation is not None)
        raise ConfigError(f"with `tensor` there is no {' and no '.join(given)}")
    if regions is None or assay is None:
        raise ConfigError("`tensor` needs `regions` and `assay`")
    return Activity(tensor, regions, assay, imputed)


def read_inputs(
    source: Path | Activity | Expression,
    *,
    regulators: Path | Sequence[str] | None = None,
    choice: MatrixChoice = WHOLE,
    quality: bool = False,
) -> InferenceInputs:
    """Read and check what a network is to be inferred from.

    Parameters
    ----------
    source, regulators, choice
        See `predictd.workflows.network.infer.Inference`.
    quality
        Whether samples are to be left out to test the network.

    Raises
    ------
    PredictdError
        If a file cannot be read, or matrix and regulators do not fit together.
    """
    path = _place(source)
    expression = load_expression(source, choice)
    places: NDArray[np.int64] = np.arange(len(expression.genes))
    missing: list[str] = []
    if regulators is not None:
        places, missing = find_genes(expression, path, regulators, "regulators")
    constant = check_samples(expression, path)
    if not isinstance(source, Activity):
        warn_of_counts(expression, path)
    n_samples = expression.values.shape[1]
    if quality and n_samples < LEAST_FOR_QUALITY:
        raise DataError(f"{path} has {n_samples} samples, too few to leave some out; leave out `quality`")
    checksums = {} if isinstance(source, (Activity, Expression)) else _checksums(source)
    checksum = next(iter(checksums.values()), None) if len(checksums) < 2 else sha256_of_json(checksums)
    return InferenceInputs(
        source,
        choice,
        regulators,
        expression,
        checksum or _checksum(expression),
        checksums,
        places,
        missing,
        constant,
    )


def _checksum(expression: Expression) -> str:
    """SHA-256 of a matrix in memory, as it is stored there."""
    digest = hashlib.sha256(sha256_of_json([expression.genes, expression.samples]).encode())
    own = expression.values
    for stored in (own.indptr, own.indices, own.data) if isinstance(own, csr_array) else (own,):
        digest.update(f"{stored.dtype} {stored.shape}".encode())
        digest.update(np.ascontiguousarray(stored).data)
    return digest.hexdigest()


def _checksums(path: Path) -> dict[str, str]:
    return {str(file): sha256_of(file) for file in files_of(path)}


def _place(source: Path | Activity | Expression) -> Path | str:
    """What messages call it."""
    if isinstance(source, Activity):
        return source.regions
    return _IN_MEMORY if isinstance(source, Expression) else source


def load_expression(source: Path | Activity | Expression, choice: MatrixChoice) -> Expression:
    """The matrix: of a file, the activity of regions, or itself where it is in memory."""
    if isinstance(source, Expression):
        return source
    if isinstance(source, Activity):
        return region_activity(source)
    return read_matrix(source, choice)


def find_targets(
    inputs: InferenceInputs, listed: Path | Sequence[str] | None
) -> tuple[NDArray[np.int64], list[str]]:
    """Positions of the listed targets, or of all genes, ascending, and those that are not among the genes."""
    if listed is None:
        return np.arange(len(inputs.expression.genes)), []
    return find_genes(inputs.expression, _place(inputs.source), listed, "targets")


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
            "%d gene names look like numbers (%s): check that no spreadsheet has changed them",
            len(numeric),
            some(numeric),
        )
    return constant


def warn_of_counts(expression: Expression, path: Path | str) -> None:
    """Warn where all values are whole and their sums differ between samples, as of counts that are not normalised."""
    own = expression.values
    parts = [own.data] if isinstance(own, csr_array) else (values for _, values in blocks(own))
    if any(part.size and (part.min() < 0 or not np.array_equal(part, np.rint(part))) for part in parts):
        return
    sums = np.asarray(own.sum(axis=0), np.float64)
    least, most = sums.min(), sums.max()
    if most >= _MANY_COUNTS and most > _UNEVEN * least:
        log.warning(
            "%s holds whole numbers, whose sums differ between samples (%.0f to %.0f): they look like raw "
            "counts, and links would reflect the depth of sequencing; divide them by these sums and take logarithms "
            "(in scanpy pp.normalize_total and pp.log1p)",
            path,
            least,
            most,
        )
