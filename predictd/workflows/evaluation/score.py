"""Scoring of imputed signal against observed signal and two baselines: two sweeps over the shards for many pairs.

What a task holds does not grow with the number of bins: counts of rank keys, and one shard's signal of its pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from predictd.constants import BASELINES, MAPPED, MAX_SHARD_BINS
from predictd.model.measures.metrics import TrackComparison
from predictd.model.measures.ranks import KeyCounts, distribution_map, rank_keys
from predictd.wording import even_parts_of_at_most
from predictd.workflows.evaluation.cases import Case, Scoring
from predictd.workflows.evaluation.signal import CaseBlock, ComparedSignal, transforms_of

Row = dict[str, str | float]
Float64 = npt.NDArray[np.float64]
_Item = TypeVar("_Item")
# A method's part of what a task holds, about: a comparison of 8 MiB and a shard's signal.
_METHOD_BYTES = 2**23 + 4 * MAX_SHARD_BINS
# A pair's part, besides: a shard's observed signal, variance and regions, and temporaries.
_PAIR_BYTES = 12 * MAX_SHARD_BINS
CASE_BYTES = 3 * _METHOD_BYTES + _PAIR_BYTES
# The parts of all pairs of a task; Python, libraries and temporaries come to about 200 MiB more.
TASK_BYTES = 5 * 2**27
# Signal up to this size is kept for the second sweep, to read and predict it once: 22 pairs on 1 % of the human genome.
KEPT_BYTES = 7 * 2**26


@dataclass(frozen=True)
class Scored:
    """What is found of one pair and method.

    Attributes
    ----------
    row
        Of metrics.tsv.
    sums
        See `TrackComparison.block_sums`.
    """

    row: Row
    sums: Float64


def group_cases(
    cases: Sequence[_Item], workers: int, *, n_methods: int = 1, quantiles: bool = False
) -> list[tuple[_Item, ...]]:
    """Cases that one task scores together: as few tasks as memory allows, one for every worker, of about one size."""
    comparisons = (n_methods + len(BASELINES)) * (2 if quantiles else 1)
    most = max(1, TASK_BYTES // (comparisons * _METHOD_BYTES + _PAIR_BYTES))
    parts = even_parts_of_at_most(len(cases), most, at_least=workers)
    return [tuple(cases[start:end]) for start, end in parts]


@dataclass(frozen=True)
class _Method:
    """What one row of metrics.tsv compares.

    Attributes
    ----------
    index
        Of the case.
    name, fold
        In metrics.tsv.
    row
        Of the case's signal.
    mapped
        Whether its values are mapped to the distribution of the observed track.
    """

    index: int
    name: str
    fold: str
    row: int
    mapped: bool


def score(cases: tuple[Case, ...], shared: Scoring) -> list[Scored]:
    """Compare some pairs' signal in two sweeps over all shards."""
    methods = [method for index, case in enumerate(cases) for method in _methods_of(index, case, shared)]
    signal = ComparedSignal(cases, shared)
    if signal.n_bytes <= KEPT_BYTES:
        # One after the other: the counts of one method stay in the processor's cache, those of all do not.
        blocks = list(signal)
        found = [one for method in methods for one in _measure([method], blocks, cases, shared)]
    else:
        signal.sweeps = 2 + shared.quantiles
        found = _measure(methods, signal, cases, shared)
    return found


def _methods_of(index: int, case: Case, shared: Scoring) -> list[_Method]:
    """The imputed signal, and the baselines where there are any."""
    names = shared.names + (BASELINES if case.baseline is not None else ())
    # A baseline is of what the first method learned from.
    folds = case.folds + case.folds[:1] * (len(names) - len(case.folds))
    methods = [_Method(index, name, folds[i], 1 + i, mapped=False) for i, name in enumerate(names)]
    if shared.quantiles:
        methods += [
            _Method(index, name + MAPPED, folds[i], 1 + i, mapped=True) for i, name in enumerate(names)
        ]
    return methods


def _measure(
    methods: Sequence[_Method], blocks: Iterable[list[CaseBlock]], cases: Sequence[Case], shared: Scoring
) -> list[Scored]:
    """What is found of each method, in two sweeps over all blocks, and one before where values are mapped."""
    transforms = transforms_of(cases, shared)
    signed = [not transforms[method.index].clipped for method in methods]
    maps = _maps(methods, blocks, signed)
    comparisons = [
        TrackComparison(
            None if shared.challenge else transforms[method.index].inverse,
            signed=sign,
            n_blocks=shared.n_blocks,
        )
        for method, sign in zip(methods, signed, strict=True)
    ]
    absent = [0] * len(methods)
    for sweep in (TrackComparison.survey, TrackComparison.compare):
        for block in blocks:
            for place, (method, comparison) in enumerate(zip(methods, comparisons, strict=True)):
                own = block[method.index]
                imputed = own.signal[method.row]
                if place in maps:
                    imputed = maps[place][rank_keys(imputed, signed=signed[place])]
                for number, part in own.pieces:
                    weights = {name: values[part] for name, values in own.weights.items()}
                    sweep(comparison, own.signal[0, part], imputed[part], weights, number)
                if sweep is TrackComparison.survey:
                    absent[place] += int(own.absent[method.row - 1])
    found = []
    for method, comparison, missing in zip(methods, comparisons, absent, strict=True):
        pair = cases[method.index].pair
        keys = {"cell_type": pair.cell_type, "assay": pair.assay, "fold": method.fold, "method": method.name}
        row: Row = {**keys, "bins": comparison.n_bins, "absent": missing, **comparison.measures()}
        found.append(Scored(row, comparison.block_sums()))
    return found


def _maps(
    methods: Sequence[_Method], blocks: Iterable[list[CaseBlock]], signed: Sequence[bool]
) -> dict[int, npt.NDArray[np.float32]]:
    """What gives each mapped method's track the distribution of the observed one, by its place among the methods."""
    counts = {place: (KeyCounts(), KeyCounts()) for place, method in enumerate(methods) if method.mapped}
    if counts:
        for block in blocks:
            for place, tracks in counts.items():
                own = block[methods[place].index].signal
                for row, track in zip((methods[place].row, 0), tracks, strict=True):
                    track.add(rank_keys(own[row], signed=signed[place]))
    return {place: distribution_map(*tracks, signed=signed[place]) for place, tracks in counts.items()}
