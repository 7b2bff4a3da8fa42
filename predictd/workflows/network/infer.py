"""`predictd network infer`: an expression matrix in, links out; targets in blocks that any engine runs."""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictd.config import NetworkSettings
from predictd.constants import (
    EXPRESSION_FORMAT,
    EXPRESSION_TSV,
    EXPRESSION_VERSION,
    LINKS_TSV,
    MAX_LISTED_LINKS,
    NETWORK_H5,
    QUALITY_TSV,
    RUN_JSON,
    TRACKS_TSV,
)
from predictd.engine import Engine
from predictd.errors import (
    ConfigError,
    DataError,
    NetworkFormatError,
    OutputError,
)
from predictd.io.files import sha256_of, sha256_of_json
from predictd.io.hdf5 import write_arrays
from predictd.io.network.expression import Orientation, write_expression
from predictd.io.network.networks import read_network, write_link_list, write_network
from predictd.io.partition import Job
from predictd.io.results import write_rows, write_run_json
from predictd.io.tensor.store import Tensor
from predictd.network.linear import standardised
from predictd.network.links import Links
from predictd.network.methods import DEFAULT_TREES, Problem
from predictd.network.multi import group_targets
from predictd.network.quality import LEAST_SAMPLES
from predictd.provenance import EngineInfo, RunRecord, software
from predictd.wording import even_parts_of_at_most
from predictd.workflows.network.activity import Activity
from predictd.workflows.network.inputs import check_samples, find_regulators, load_expression
from predictd.workflows.network.tasks import (
    PILOT_TARGETS,
    Shared,
    background_of,
    block_path,
    infer_block,
    time_pilot,
)
from predictd.workflows.parts import InParts

log = logging.getLogger(__name__)

_MOST_TARGETS = 64
_LEAST_BLOCKS = 16
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
    source
        Matrix of numbers, see `predictd.io.network.expression` and `predictd.io.network.h5ad`; or whose activity is to
        make one, see `predictd.workflows.network.activity`.
    output
        Directory for `network.h5`, `links.tsv` and `run.json`; `quality.tsv` where quality is asked for, and the
        `expression.tsv` that an activity makes.
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
        source: Path | Activity,
        output: Path,
        settings: NetworkSettings,
        *,
        regulators_path: Path | None = None,
        orientation: Orientation | None = None,
        seed: int = 0,
    ) -> None:
        if settings.trees is not None and settings.method not in DEFAULT_TREES:
            raise ConfigError(f"the method {settings.method} grows no trees; leave --trees out")
        trees = settings.trees or DEFAULT_TREES.get(settings.method)
        self._settings, self._seed = settings.model_copy(update={"trees": trees}), seed
        self._source, self._regulators_path = source, regulators_path
        path = source.regions if isinstance(source, Activity) else source
        expression = self._expression = load_expression(source, orientation)
        self._missing: list[str] = []
        regulators = np.arange(len(expression.genes))
        if regulators_path is not None:
            regulators, self._missing = find_regulators(expression, path, regulators_path)
        self._constant = check_samples(expression, path)
        if settings.quality and expression.values.shape[1] < LEAST_SAMPLES:
            raise DataError(
                f"{path} has {expression.values.shape[1]} samples, too few to leave some out; leave out --quality"
            )
        self._problem = Problem(expression.values, expression.genes, regulators)
        self._orientation = expression.orientation
        self._order = np.arange(len(expression.genes))
        self._blocks = even_parts_of_at_most(len(expression.genes), _MOST_TARGETS, at_least=_LEAST_BLOCKS)
        self._checksum = (
            sha256_of_json([expression.genes, expression.samples, expression.values.tolist()])
            if isinstance(source, Activity)
            else sha256_of(source)
        )
        description: dict[str, Any] = {
            "command": "network infer",
            "expression": self._checksum,
            "genes": expression.orientation,
            "regulators": sha256_of_json([expression.genes[i] for i in regulators]),
            "settings": self._settings.model_dump(mode="json"),
            "seed": seed,
        }
        if settings.method == "multi":
            self._group()
            description["groups"] = sha256_of_json(self._order.tolist())
        super().__init__(
            Job(output, description),
            len(self._blocks),
            NETWORK_H5,
            settings=description["settings"],
            seed=seed,
        )

    def _group(self) -> None:
        """Put targets that vary alike beside each other, in blocks of whole groups."""
        groups = group_targets(
            standardised(self._problem.expression), self._problem.regulators, seed=self._seed
        )
        numbers = np.empty(len(self._problem.genes), np.int64)
        for number, group in enumerate(groups):
            numbers[group] = number
        self._problem = replace(self._problem, groups=numbers)
        self._order = np.concatenate(groups)
        ends = np.cumsum([len(group) for group in groups]).tolist()
        self._blocks = _whole_groups(self._blocks, ends)

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
            EngineInfo.of(engine),
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
            "order": self._order,
        }
        if self._problem.groups is not None:
            arrays["groups"] = self._problem.groups
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
        blocks = [self._links_of_block(index) for index in range(self.n_parts)]
        back = np.argsort(self._order)
        links = Links.joined([links for links, _ in blocks]).by_target(back)
        if not len(links):
            log.warning(
                "the network has no links: no importance is above 0 and %g or more",
                self._settings.min_importance,
            )
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
        arrays = links.to_arrays()
        if self._settings.quality:
            arrays["quality"] = np.concatenate([quality for _, quality in blocks])[back]
            write_rows(
                output / QUALITY_TSV,
                ("target", "r2"),
                zip(links.targets, arrays["quality"].tolist(), strict=True),
            )
        record.inputs = self._write_inputs()
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
        write_run_json(record, output)
        info = {
            "method": self._settings.method,
            "settings": self._settings.model_dump(mode="json"),
            "seed": self._seed,
            "expression": self._checksum,
            "n_samples": problem.expression.shape[1],
            "software": software(),
        }
        write_network(output / NETWORK_H5, info, arrays)
        return InferReport(len(links), len(problem.genes), problem.regulators.size, listed)

    def _write_inputs(self) -> dict[str, str]:
        """What run.json tells of the input, of which a matrix that was made here is written, too."""
        if not isinstance(self._source, Activity):
            return {str(self._source): self._checksum}
        write_expression(self.job.output / EXPRESSION_TSV, self._expression)
        inputs = {
            str(self._source.tensor): Tensor(self._source.tensor).manifest.checksum,
            str(self._source.regions): sha256_of(self._source.regions),
        }
        if self._source.imputed is not None:
            table = self._source.imputed / TRACKS_TSV
            inputs[str(table)] = sha256_of(table)
        return inputs

    def _links_of_block(self, index: int) -> tuple[Links, NDArray[np.float64]]:
        """A block's links and quality; names stand in no block, since all genes may be regulators of each."""
        path, genes = block_path(self.job, index), self._problem.genes
        start, stop = self._blocks[index]
        names = {
            "regulators": np.array([genes[gene] for gene in self._problem.regulators], dtype=str),
            "targets": np.array([genes[gene] for gene in self._order[start:stop].tolist()], dtype=str),
        }
        try:
            arrays = read_network(path)[1]
            return Links.from_arrays({**arrays, **names}), arrays.get("quality", np.empty(0))
        except (NetworkFormatError, KeyError, ValueError) as err:
            raise OutputError(
                f"{path} is damaged; remove it and run the command again, or part {index}"
            ) from err


def _whole_groups(blocks: list[tuple[int, int]], ends: list[int]) -> list[tuple[int, int]]:
    """Blocks whose borders are moved on to the ends of groups."""
    borders = sorted({0, *(ends[bisect_left(ends, stop)] for _, stop in blocks)})
    return list(pairwise(borders))
