"""`predictd network infer`: an expression matrix in, links out; targets in blocks that any engine runs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictd.config import NetworkSettings
from predictd.constants import (
    EXPRESSION_FORMAT,
    EXPRESSION_VERSION,
    LINKS_TSV,
    MAX_LISTED_LINKS,
    NETWORK_H5,
    RUN_JSON,
)
from predictd.engine import Engine
from predictd.errors import (
    ConfigError,
    DataError,
    NetworkFormatError,
    OutputError,
)
from predictd.io.expression import Expression, Orientation, numeric_names, read_expression, read_names, some
from predictd.io.files import sha256_of, sha256_of_json, write_json
from predictd.io.hdf5 import write_arrays
from predictd.io.networks import read_network, write_link_list, write_network
from predictd.io.partition import Job
from predictd.kernels import MAX_SAMPLES
from predictd.network.boosting import require_scikit_learn
from predictd.network.links import Links
from predictd.network.methods import DEFAULT_TREES, Problem
from predictd.provenance import RunRecord, software
from predictd.workflows._network_tasks import (
    PILOT_TARGETS,
    Shared,
    background_of,
    block_path,
    infer_block,
    time_pilot,
)
from predictd.workflows._parts import InParts

log = logging.getLogger(__name__)

_MOST_TARGETS = 64
_LEAST_BLOCKS = 16
_LEAST_SAMPLES = 3
# From so many genes on, regressing each on all others is warned of.
_MANY_GENES = 1000
_PILOT_SHARE = 50


@dataclass(frozen=True)
class InferReport:
    """What inferring came to.

    Attributes
    ----------
    n_links, n_targets, n_regulators
        Links that were kept; genes, and those of them that may regulate.
    listed
        Whether there are few enough links for links.tsv.
    """

    n_links: int
    n_targets: int
    n_regulators: int
    listed: bool


class Inference(InParts[InferReport]):
    """Links of every gene of a matrix from its regulators; a part is a block of up to 64 targets.

    Parameters
    ----------
    expression_path
        Matrix of numbers; see `predictd.io.expression.read_expression`.
    output
        Directory for `network.h5`, `links.tsv` and `run.json`.
    settings
        Method, trees, what is kept.
    regulators_path
        Names of the genes that may regulate, one a line; None: all genes.
    orientation
        Where the matrix has its genes; None: as its header says.
    seed
        Of everything random: each target draws from its own stream, by its name.

    Raises
    ------
    PredictdError
        If matrix, regulators and settings do not fit together.
    """

    def __init__(
        self,
        expression_path: Path,
        output: Path,
        settings: NetworkSettings,
        *,
        regulators_path: Path | None = None,
        orientation: Orientation | None = None,
        seed: int = 0,
    ) -> None:
        if settings.method == "grnboost":
            require_scikit_learn()
        if settings.trees is not None and settings.method not in DEFAULT_TREES:
            raise ConfigError(f"the method {settings.method} grows no trees; leave --trees out")
        trees = settings.trees or DEFAULT_TREES.get(settings.method)
        self._settings, self._seed = settings.model_copy(update={"trees": trees}), seed
        self._path, self._regulators_path = expression_path, regulators_path
        expression = read_expression(expression_path, orientation=orientation)
        self._missing: list[str] = []
        regulators = np.arange(len(expression.genes))
        if regulators_path is not None:
            regulators, self._missing = _find_regulators(expression, expression_path, regulators_path)
        self._constant = _check(expression, expression_path)
        self._problem = Problem(expression.values, expression.genes, regulators)
        self._orientation = expression.orientation
        self._blocks = _blocks(len(expression.genes))
        self._checksum = sha256_of(expression_path)
        description = {
            "command": "network infer",
            "expression": self._checksum,
            "genes": expression.orientation,
            "regulators": sha256_of_json([expression.genes[i] for i in regulators]),
            "settings": self._settings.model_dump(mode="json"),
            "seed": seed,
        }
        super().__init__(Job(output, description), len(self._blocks), NETWORK_H5)

    def _begin(self) -> None:
        self._refuse_foreign((LINKS_TSV, RUN_JSON))
        self.job.begin(nothing_made=not any(block_path(self.job, i).exists() for i in range(self.n_parts)))

    def _make(self, parts: Sequence[int], engine: Engine, record: RunRecord) -> None:
        engine.require_sight(self.job.witness)
        shared = Shared(
            self.job.scratch / "expression.h5",
            self.job,
            self._settings,
            self._seed,
            engine.name,
            engine.workers,
            engine.ranks,
        )
        with record.stage("prepare"):
            self._prepare(shared.prepared, engine)
        if len(parts) > 1:
            self._warn_of_cost(engine, shared)
        with record.stage("infer"):
            engine.map(
                infer_block, [(index, *self._blocks[index]) for index in parts], shared, label="blocks"
            )

    def _prepare(self, path: Path, engine: Engine) -> None:
        """Write what the tasks read, unless it stands."""
        if path.exists():
            return
        arrays = {
            "expression": self._problem.expression,
            "genes": np.array(self._problem.genes, dtype=str),
            "regulators": self._problem.regulators,
        }
        if self._settings.method == "clr":
            (arrays["background"],) = engine.map(background_of, [0], self._problem)
        write_arrays(
            path,
            format=EXPRESSION_FORMAT,
            version=EXPRESSION_VERSION,
            header={},
            arrays=arrays,
            many_writers=True,
        )

    def _warn_of_cost(self, engine: Engine, shared: Shared) -> None:
        """Where trees are grown for all genes against all, say what that is going to take, by a pilot."""
        trees = self._settings.trees
        n_genes = len(self._problem.genes)
        if self._regulators_path is not None or trees is None or n_genes < _MANY_GENES:
            return
        fewer = max(1, trees // _PILOT_SHARE)
        (seconds,) = engine.map(time_pilot, [fewer], shared)
        hours = seconds / PILOT_TARGETS * trees / fewer * n_genes / 3600
        log.warning(
            "no --regulators: each of the %d genes is regressed on all others, about %.2g hours of one core (%.2g with "
            "%d workers) by a pilot of %d genes; a list of regulators takes far less, and finds better links",
            n_genes,
            hours,
            hours / (engine.workers * engine.ranks),
            engine.workers * engine.ranks,
            PILOT_TARGETS,
        )

    def _finish(self, parts: Sequence[dict[str, Any]], record: RunRecord) -> InferReport:
        output, problem = self.job.output, self._problem
        links = Links.joined([self._links_of_block(index) for index in range(self.n_parts)])
        listed = len(links) <= MAX_LISTED_LINKS
        if listed:
            order = links.ranked()
            write_link_list(
                output / LINKS_TSV,
                np.array(links.regulators, dtype=str)[links.indices[order]],
                np.array(links.targets, dtype=str)[links.rows()[order]],
                links.importances[order],
            )
        else:
            log.warning("%d links are too many for %s: they stand in %s", len(links), LINKS_TSV, NETWORK_H5)
        record.inputs = {str(self._path): self._checksum}
        if self._regulators_path is not None:
            record.inputs[str(self._regulators_path)] = sha256_of(self._regulators_path)
        record.results = {
            "links": len(links),
            "targets": len(problem.genes),
            "regulators": problem.regulators.size,
            "samples": problem.expression.shape[1],
            "genes": self._orientation,
            "missing_regulators": self._missing,
            "constant_genes": self._constant,
        }
        write_json(output / RUN_JSON, record.to_dict())
        info = {
            "method": self._settings.method,
            "settings": self._settings.model_dump(mode="json"),
            "seed": self._seed,
            "expression": self._checksum,
            "n_samples": problem.expression.shape[1],
            "software": software(),
        }
        write_network(output / NETWORK_H5, info, links.to_arrays())
        return InferReport(len(links), len(problem.genes), problem.regulators.size, listed)

    def _links_of_block(self, index: int) -> Links:
        """A block's links; names stand in no block, since all genes may be regulators of each."""
        path, genes = block_path(self.job, index), self._problem.genes
        start, stop = self._blocks[index]
        names = {
            "regulators": np.array([genes[gene] for gene in self._problem.regulators], dtype=str),
            "targets": np.array(genes[start:stop], dtype=str),
        }
        try:
            return Links.from_arrays({**read_network(path)[1], **names})
        except (NetworkFormatError, KeyError, ValueError) as err:
            raise OutputError(
                f"{path} is damaged; remove it and run the command again, or part {index}"
            ) from err


def _blocks(n_targets: int) -> list[tuple[int, int]]:
    """Even stretches of at most 64 targets, and 16 of them where there are as many targets."""
    n_blocks = max(-(-n_targets // _MOST_TARGETS), min(_LEAST_BLOCKS, n_targets))
    return list(pairwise(n_targets * i // n_blocks for i in range(n_blocks + 1)))


def _find_regulators(
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


def _check(expression: Expression, path: Path) -> list[str]:
    """Refuse what nothing can be inferred from, warn of what is suspicious; the names of constant genes."""
    n_genes, n_samples = expression.values.shape
    if not _LEAST_SAMPLES <= n_samples < MAX_SAMPLES:
        raise DataError(
            f"{path} has {n_samples} samples of {n_genes} genes, which is too "
            f"{'few' if n_samples < _LEAST_SAMPLES else 'many'} to infer links from; is --genes right?"
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
