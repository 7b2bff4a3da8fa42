"""`predictd network infer`: an expression matrix in, links out; targets in blocks that any engine runs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictd import interrupt
from predictd.config import NetworkSettings
from predictd.constants import (
    LINKS_TSV,
    MAX_LISTED_LINKS,
    NETWORK_H5,
    QUALITY_TSV,
    RUN_JSON,
)
from predictd.engine import Engine
from predictd.errors import ConfigError, NetworkFormatError, OutputError
from predictd.grn.links import Links
from predictd.grn.methods import DEFAULT_TREES
from predictd.io.files import sha256_of, sha256_of_json
from predictd.io.network.expression import Expression, MatrixChoice
from predictd.io.network.forms import check_names
from predictd.io.network.networks import read_network, write_network
from predictd.io.partition import Job
from predictd.io.results import write_rows, write_run_json
from predictd.provenance import EngineInfo, RunRecord, software
from predictd.workflows.network.activity import Activity
from predictd.workflows.network.blocks import divide_targets
from predictd.workflows.network.inputs import WHOLE, find_targets, read_inputs
from predictd.workflows.network.links import write_ranked
from predictd.workflows.network.samples import SampleChoice, design_samples
from predictd.workflows.network.tasks import (
    PILOT_TARGETS,
    InferenceTask,
    block_path,
    infer_block,
    time_pilot,
    write_prepared,
)
from predictd.workflows.parts import InParts

log = logging.getLogger(__name__)

# From so many genes on, regressing each on all others is warned of.
_MANY_GENES = 1000
_PILOT_SHARE = 50


@dataclass(frozen=True)
class InferReport:
    """What inferring came to.

    Attributes
    ----------
    n_links, n_targets, n_regulators
        Links that were kept; genes whose regulators were inferred, and genes that may regulate.
    listed
        Whether there are few enough links for links.tsv.
    samples
        What was taken from the table of samples, in a line; empty without one.
    """

    n_links: int
    n_targets: int
    n_regulators: int
    listed: bool
    samples: str


class Inference(InParts[InferReport]):
    """Links of every gene of a matrix from its regulators; a part is a block of up to 64 targets.

    Parameters
    ----------
    source
        File of a matrix, see `predictd.io.network.matrices`; or one in memory, checked; or whose activity is to make
        one, see `predictd.workflows.network.activity`.
    output
        Directory for `network.h5`, `links.tsv` and `run.json`; `quality.tsv` where quality is asked for, and the
        `expression.tsv` that an activity makes.
    settings
        Method, trees, what is kept.
    regulators
        Names of the genes that may regulate: a file with one a line, or a list; None: all genes.
    choice
        What is read of the file.
    targets
        Names of the genes whose regulators are inferred: a file with one a line, or a list; None: all genes.
    samples
        Time series, batches and weights of the samples; None: all are alike.
    seed
        Of everything random: each target draws from its own stream, by its name.

    Raises
    ------
    PredictdError
        If matrix, regulators and settings do not fit together.
    """

    def __init__(
        self,
        source: Path | Activity | Expression,
        output: Path,
        settings: NetworkSettings,
        *,
        regulators: Path | Sequence[str] | None = None,
        choice: MatrixChoice = WHOLE,
        targets: Path | Sequence[str] | None = None,
        samples: SampleChoice | None = None,
        seed: int = 0,
    ) -> None:
        if settings.trees is not None and settings.method not in DEFAULT_TREES:
            raise ConfigError(f"the method {settings.method} grows no trees; leave `trees` out")
        trees = settings.trees or DEFAULT_TREES.get(settings.method)
        self._settings, self._seed = settings.model_copy(update={"trees": trees}), seed
        self._inputs = read_inputs(source, regulators=regulators, choice=choice, quality=settings.quality)
        check_names("the matrix", self._inputs.problem.genes)
        chosen, self._absent = find_targets(self._inputs, targets)
        self._targets_path = targets if isinstance(targets, Path) else None
        self._designed = (
            design_samples(self._inputs, samples, settings, targets=chosen) if samples is not None else None
        )
        problem = self._inputs.problem if self._designed is None else self._designed.problem
        self._targets = divide_targets(problem, chosen, grouped=settings.method == "multi", seed=seed)
        self._problem = replace(problem, groups=self._targets.groups)
        description = self._description()
        super().__init__(
            Job(output, description),
            len(self._targets.blocks),
            NETWORK_H5,
            settings=description["settings"] | ({} if samples is None else samples.settings),
            seed=seed,
        )

    def _description(self) -> dict[str, Any]:
        genes = self._problem.genes
        description = {
            "command": "network infer",
            "expression": self._inputs.checksum,
            "genes": self._inputs.expression.orientation,
            "regulators": sha256_of_json([genes[i] for i in self._problem.regulators]),
            "settings": self._settings.model_dump(mode="json"),
            "seed": self._seed,
        }
        if self._inputs.choice.named:
            description["matrix"] = self._inputs.choice.named
        if self._designed is not None:
            description["samples"] = self._designed.checksum
        if self._targets.order.size < len(genes):
            description["targets"] = sha256_of_json([genes[i] for i in sorted(self._targets.order.tolist())])
        if self._targets.groups is not None:
            description["groups"] = sha256_of_json(self._targets.order.tolist())
        return description

    def _begin(self) -> None:
        self._refuse_foreign((LINKS_TSV, RUN_JSON))
        # Blocks of this job or of another one.
        self.job.begin(nothing_made=not any(self.job.scratch.glob("*/blocks/*.h5")))

    def _make(self, parts: Sequence[int], engine: Engine, record: RunRecord) -> None:
        engine.check_shared_paths(self.job.marker_file)
        prepared = self.job.workspace / "expression.h5"
        shared = InferenceTask(prepared, self.job, self._settings, self._seed, EngineInfo.of(engine))
        with record.stage("prepare"):
            if not prepared.exists():
                write_prepared(prepared, self._problem, self._targets.order, self._settings.method)
        if len(parts) > 1:
            self._warn_of_cost(engine, shared)
        with record.stage("infer"), interrupt.after(soon="the genes at work"):
            engine.map(infer_block, [self._targets.blocks[index] for index in parts], shared, label="blocks")

    def _warn_of_cost(self, engine: Engine, shared: InferenceTask) -> None:
        """Where trees are grown for all genes against all, say what that is going to take, by a pilot."""
        trees = self._settings.trees
        n_genes = self._targets.order.size
        if self._inputs.listed is not None or trees is None or n_genes < _MANY_GENES:
            return
        fewer = max(1, trees // _PILOT_SHARE)
        (seconds,) = engine.map(time_pilot, [fewer], shared)
        hours = seconds / PILOT_TARGETS * trees / fewer * n_genes / 3600
        log.warning(
            "no `regulators`: each of the %d genes is regressed on all others, about %.2g hours of one core "
            "(%.2g with %d workers) by a pilot of %d genes; a list of regulators takes far less, and finds better "
            "links",
            n_genes,
            hours,
            hours / (engine.workers * engine.ranks),
            engine.workers * engine.ranks,
            PILOT_TARGETS,
        )

    def _finish(self, parts: Sequence[dict[str, Any]], record: RunRecord) -> InferReport:
        output, problem = self.job.output, self._problem
        blocks = [self._links_of_block(index) for index in range(self.n_parts)]
        back = np.argsort(self._targets.order)
        links = Links.joined([links for links, _ in blocks]).by_target(back)
        if not len(links):
            log.warning(
                "the network has no links: no importance is above 0 and %g or more",
                self._settings.min_importance,
            )
        listed = len(links) <= MAX_LISTED_LINKS
        if listed:
            write_ranked(output / LINKS_TSV, links)
        else:
            log.warning("%d links are too many for %s: they are in %s", len(links), LINKS_TSV, NETWORK_H5)
        arrays = links.to_arrays()
        if self._settings.quality:
            arrays["quality"] = np.concatenate([quality for _, quality in blocks])[back]
            write_rows(
                output / QUALITY_TSV,
                ("target", "r2"),
                zip(links.targets, arrays["quality"].tolist(), strict=True),
            )
        record.inputs = self._inputs.write(output)
        if self._targets_path is not None:
            record.inputs[str(self._targets_path)] = sha256_of(self._targets_path)
        record.results = {
            "links": len(links),
            "targets": len(links.targets),
            "regulators": problem.regulators.size,
            "samples": problem.expression.shape[1],
            "genes": self._inputs.expression.orientation,
            "missing_regulators": self._inputs.missing,
            "missing_targets": self._absent,
            "constant_genes": self._inputs.constant,
        }
        if self._inputs.choice.named:
            record.results["matrix"] = self._inputs.choice.named
        if self._designed is not None:
            record.inputs |= self._designed.write(output)
            record.results |= self._designed.results()
        write_run_json(record, output)
        info = {
            "method": self._settings.method,
            "settings": self._settings.model_dump(mode="json"),
            "seed": self._seed,
            "expression": self._inputs.checksum,
            "n_samples": problem.expression.shape[1],
            "software": software(),
        }
        write_network(output / NETWORK_H5, info, arrays)
        described = "" if self._designed is None else self._designed.described
        return InferReport(len(links), len(links.targets), problem.regulators.size, listed, described)

    def _links_of_block(self, index: int) -> tuple[Links, NDArray[np.float64]]:
        """A block's links and quality; its file has no names, since all genes may be regulators of each block."""
        path, genes = block_path(self.job, index), self._problem.genes
        block = self._targets.blocks[index]
        targets = self._targets.order[block.start : block.stop].tolist()
        names = {
            "regulators": np.array([genes[gene] for gene in self._problem.regulators], dtype=str),
            "targets": np.array([genes[gene] for gene in targets], dtype=str),
        }
        try:
            arrays = read_network(path)[1]
            return Links.from_arrays({**arrays, **names}), arrays.get("quality", np.empty(0))
        except (NetworkFormatError, KeyError, ValueError) as err:
            raise OutputError(
                f"{path} is damaged; remove it and run the command again, or part {index}"
            ) from err
