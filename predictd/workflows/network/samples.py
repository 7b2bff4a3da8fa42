"""What a table of samples makes of an inference: steps of time series, batches, weights."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictd.config import NetworkSettings
from predictd.constants import DECAY_TSV
from predictd.errors import ConfigError, DataError
from predictd.grn.design import SampleDesign
from predictd.grn.dynamics import TimeSteps, decay_rates, observed_production
from predictd.grn.methods import WITHOUT_TIME, WITHOUT_WEIGHTS, Problem
from predictd.io.files import sha256_of, sha256_of_json
from predictd.io.network.samples import RATES, SampleTable, read_rates, read_samples
from predictd.io.results import write_rows
from predictd.matrix import blocks, of_samples
from predictd.wording import some
from predictd.workflows.network.inputs import LEAST_SAMPLES, InferenceInputs
from predictd.workflows.network.sample_facts import SampleFacts, read_facts

log = logging.getLogger(__name__)

# What a table is called that is in no file.
_IN_MEMORY = "the samples"


@dataclass(frozen=True)
class SampleChoice:
    """What is known of the samples of a matrix.

    Attributes
    ----------
    table
        Series, times, batches and weights, or their file.
    decay
        Decay rates of genes: one for all, by name, or their file; None: estimated from the time series.
    """

    table: Path | SampleTable
    decay: float | Mapping[str, float] | Path | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """What run.json says of the rates, where they are given."""
        if self.decay is None:
            return {}
        if isinstance(self.decay, Mapping):
            return {"decay": "by gene"}
        return {"decay": str(self.decay) if isinstance(self.decay, Path) else self.decay}


def choose_samples(
    table: Path | SampleTable | None, decay: float | Mapping[str, float] | Path | None
) -> SampleChoice | None:
    """What was given of the samples, if anything; ConfigError for rates alone."""
    if table is None and decay is not None:
        raise ConfigError("`decay` is for time series; give their times in `samples`")
    return None if table is None else SampleChoice(table, decay)


@dataclass(frozen=True)
class DesignedSamples:
    """A problem as a table of samples has it.

    Attributes
    ----------
    choice
        The table.
    problem
        Its samples are those of weight above 0, or the steps between them and their steady states.
    rates
        (n_genes,) decay rates; None: there are no times.
    checksum
        SHA-256 of all that was taken from the table and the rates.
    counts
        How many samples are taken, and how many batches, series, steps and steady states there are.
    constant
        Genes of which nothing varies that is to be predicted.
    described
        The same in a line.
    """

    choice: SampleChoice
    problem: Problem
    rates: NDArray[np.float64] | None
    checksum: str
    counts: dict[str, int]
    constant: list[str]
    described: str

    def write(self, output: Path) -> dict[str, str]:
        """Write the decay rates, and return the checksums of what was given of the samples, for run.json."""
        if self.rates is not None:
            write_rows(
                output / DECAY_TSV,
                RATES,
                zip(self.problem.genes, map(repr, self.rates.tolist()), strict=True),
            )
        given = [self.choice.table, self.choice.decay]
        files = {str(own): sha256_of(own) for own in given if isinstance(own, Path)}
        return files if isinstance(self.choice.table, Path) else {_IN_MEMORY: self.checksum} | files

    def results(self) -> dict[str, Any]:
        """The same for the results of run.json."""
        weighted = self.problem.design.weights is not None
        return self.counts | {"weighted": weighted, "constant_genes": self.constant}


def design_samples(
    inputs: InferenceInputs,
    choice: SampleChoice,
    settings: NetworkSettings,
    *,
    targets: NDArray[np.int64],
) -> DesignedSamples:
    """Apply a table of samples to a problem.

    Parameters
    ----------
    inputs
        The matrix, with all samples.
    choice
        The table.
    settings
        How links are to be inferred.
    targets
        Positions of the genes whose regulators are; each needs a decay rate.

    Raises
    ------
    PredictdError
        If table, matrix and method do not fit together.
    """
    problem, table = inputs.problem, choice.table
    facts = read_facts(read_samples(table) if isinstance(table, Path) else table, inputs.expression.samples)
    _check_settings(facts, choice, settings)
    if not facts.kept.all():
        problem = replace(problem, expression=of_samples(problem.expression, facts.kept))
    weights, batches, rates, steps = facts.weights, None, None, None
    counts = {"samples": weights.size}
    if facts.batches is not None:
        batches = np.unique(facts.batches, return_inverse=True)[1]
        counts["batches"] = int(batches.max()) + 1
    if facts.series:
        rates = _rates(problem, facts, choice.decay, batches, targets)
        steps = TimeSteps.of(facts.series, facts.times)
        weights = np.sqrt(weights[steps.now] * weights[steps.after])
        batches = None if batches is None else batches[steps.now]
        production = observed_production(problem.expression, steps, rates, batches)
        problem = replace(problem, expression=of_samples(problem.expression, steps.now), targets=production)
        steady = int(np.isnan(facts.times).sum())
        counts |= {"series": len(facts.series), "steps": weights.size - steady, "steady_states": steady}
    _check_rows(facts, weights.size, batches)
    design = SampleDesign(
        batches if counts.get("batches", 1) > 1 else None,
        weights / weights.mean() if np.ptp(weights) else None,
    )
    problem = replace(problem, design=design)
    constant = _constant(problem, inputs.constant, facts.name)
    described = _described(facts, counts, design, steps, rates)
    return DesignedSamples(choice, problem, rates, _checksum(facts, rates), counts, constant, described)


def _described(
    facts: SampleFacts,
    counts: dict[str, int],
    design: SampleDesign,
    steps: TimeSteps | None,
    rates: NDArray[np.float64] | None,
) -> str:
    """What was taken from the table, and how long steps and what rates of decay are, in a line."""
    parts = [f"{counts['samples']} samples"]
    if steps is not None and rates is not None:
        lengths = steps.lengths[np.isfinite(steps.lengths)]
        parts += [
            f"{counts['series']} time series of {counts['steps']} steps ({lengths.min():g} to {lengths.max():g} long)",
            f"decay rates {rates.min():.2g} to {rates.max():.2g} (median {np.median(rates):.2g})",
            f"{counts['steady_states']} steady states",
        ]
    parts.append(f"{counts.get('batches', 1)} batches" if design.batches is not None else "one batch")
    parts.append("weighted" if design.weights is not None else "all of the same weight")
    unused = f"; columns that are not used: {some(facts.unused)}" if facts.unused else ""
    return f"{facts.name}: {', '.join(parts)}{unused}"


def _check_settings(facts: SampleFacts, choice: SampleChoice, settings: NetworkSettings) -> None:
    method = settings.method
    if settings.quality:
        raise ConfigError(
            "`quality` leaves out samples at random, which is wrong for samples that belong together as `samples` "
            "says; "
            "leave out `quality` or `samples`"
        )
    if facts.series and method in WITHOUT_TIME:
        raise ConfigError(
            f"the method {method} compares genes at the same time and takes no time series; give another `method`, "
            f"such as et or ridge, or leave the column time out of {facts.name}"
        )
    if method in WITHOUT_WEIGHTS and np.ptp(facts.weights):
        raise ConfigError(
            f"the method {method} cannot weigh samples, only leave them out by the weight 0; give another "
            f"`method`, or leave the column weight out of {facts.name}"
        )
    if not facts.series and choice.decay is not None:
        raise ConfigError(f"`decay` is for time series, and {facts.name} has no column time; leave it out")


def _check_rows(facts: SampleFacts, n_rows: int, batches: NDArray[np.int64] | None) -> None:
    """Refuse too few samples, and batches of which nothing is left without their mean."""
    what = "steps and steady states" if facts.series else "samples"
    if n_rows < LEAST_SAMPLES:
        raise DataError(f"{facts.name} leaves {n_rows} {what}, too few to infer links from")
    if batches is not None and facts.batches is not None:
        names, sizes = np.unique(facts.batches), np.bincount(batches, minlength=batches.max() + 1)
        single = [name for name, size in zip(names.tolist(), sizes.tolist(), strict=False) if size < 2]
        if single and len(names) > 1:
            raise DataError(
                f"{facts.name}: a batch has only one sample or step ({some(single)}): subtracting its mean leaves "
                "zeros; give it weight 0, or join it with another batch"
            )


def _rates(
    problem: Problem,
    facts: SampleFacts,
    decay: float | Mapping[str, float] | Path | None,
    batches: NDArray[np.int64] | None,
    targets: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Decay rates of all genes; 0 of those that are no targets and have none."""
    if decay is None:
        rates = decay_rates(problem.expression, facts.series, facts.times, batches)
        unknown = [problem.genes[gene] for gene in targets.tolist() if rates[gene] == 0]
        if unknown:
            log.warning(
                "%d genes do not vary in any time series, so that their decay rates are set to 0: %s; give `decay`",
                len(unknown),
                some(unknown),
            )
        return rates
    if not isinstance(decay, (Path, Mapping)):
        if not 0 <= decay < math.inf:
            raise ConfigError(f"`decay` must be a number of 0 or more, not {decay:g}")
        return np.full(len(problem.genes), float(decay))
    by_gene = read_rates(decay) if isinstance(decay, Path) else decay
    place = str(decay) if isinstance(decay, Path) else "`decay`"
    absent = [problem.genes[gene] for gene in targets.tolist() if problem.genes[gene] not in by_gene]
    if absent:
        raise DataError(
            f"{place} has no rate of {some(absent)}, which is {len(absent)} of the {targets.size} targets; add their "
            "rates, or infer only the genes that have one, by `targets`"
        )
    rates = np.array([by_gene.get(gene, 0.0) for gene in problem.genes], np.float64)
    if bad := [
        gene for gene, rate in zip(problem.genes, rates.tolist(), strict=True) if not 0 <= rate < math.inf
    ]:
        raise DataError(f"{place}: the rate of {some(bad)} has to be a number of 0 or more")
    return rates


def _constant(problem: Problem, before: list[str], name: str) -> list[str]:
    """Genes of which nothing varies that is to be predicted; those that were not constant before are warned of."""
    values = problem.expression if problem.targets is None else problem.targets
    centred = (problem.design.centred(some) for _, some in blocks(values))
    varying = np.concatenate([np.ptp(some, axis=1) > 0 for some in centred])
    constant = [gene for gene, does in zip(problem.genes, varying.tolist(), strict=True) if not does]
    if len(constant) == len(problem.genes):
        raise DataError(
            f"all genes are constant in the samples, batches and series of {name}: there is nothing to infer"
        )
    if new := sorted(set(constant) - set(before)):
        log.warning(
            "%d genes are constant in the batches and series of %s and get no links: %s",
            len(new),
            name,
            some(new),
        )
    return constant


def _checksum(facts: SampleFacts, rates: NDArray[np.float64] | None) -> str:
    """SHA-256 of all that decides."""
    batches = None if facts.batches is None else facts.batches.tolist()
    series = [own.tolist() for own in facts.series]
    times = [[facts.times[place] for place in own] for own in series]
    known = [facts.kept.tolist(), facts.weights.tolist(), batches, series, times]
    return sha256_of_json([*known, None if rates is None else rates.tolist()])
