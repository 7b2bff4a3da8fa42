"""Scoring of imputed signal against observed signal and two baselines: two sweeps over the shards for many pairs.

What a task holds does not grow with the number of bins: counts of rank keys, and one shard's signal of its pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from predictd.constants import BASELINES, MAPPED, MAX_SHARD_BINS
from predictd.model.measures.metrics import TrackComparison
from predictd.model.measures.ranks import KeyCounts, distribution_map, rank_keys
from predictd.model.transforms import SignalTransform
from predictd.pairs import Experiment
from predictd.wording import even_parts_of_at_most
from predictd.workflows.evaluation.cases import Case, Scoring
from predictd.workflows.evaluation.signal import CaseBlock, ComparedSignal, transforms_of

Row = dict[str, str | float]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
_Item = TypeVar("_Item")
# What is kept of a track's ranks, about: 4 MiB by key, and ranks and a few numbers of the keys that occur.
_RANKS_BYTES = 5 * 2**20
# A method's part of what a task holds: its ranks and a shard's signal.
_METHOD_BYTES = _RANKS_BYTES + 4 * MAX_SHARD_BINS
# A pair's part, besides: the observed track's, and a shard's variance and regions.
_PAIR_BYTES = _METHOD_BYTES + 8 * MAX_SHARD_BINS
CASE_BYTES = 3 * _METHOD_BYTES + _PAIR_BYTES
# The parts of all pairs of a task; Python, libraries and temporaries come to about 200 MiB more.
TASK_BYTES = 5 * 2**27
# Signal up to this size is kept for the second sweep, to read and predict it once: 23 pairs on 1 % of the human genome.
KEPT_BYTES = 2**29
# Groups of a test fold, at least: so many that workers end at about the same time; each standardises all tracks again.
_FOLD_GROUPS = 2


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


def fold_groups(cases: Sequence[_Item]) -> list[tuple[_Item, ...]]:
    """Cases of a test fold that are predicted together, whatever the number of workers: it shows in the last bits."""
    return group_cases(cases, _FOLD_GROUPS)


def bundle(groups: Sequence[tuple[_Item, ...]], workers: int) -> list[tuple[tuple[_Item, ...], ...]]:
    """Groups of cases that one task scores: fewer tasks read the tensor less often.

    Every worker has as many tasks, as long as there are groups; which groups are together does not change a result.
    """
    workers = max(1, workers)
    n_tasks = min(len(groups), workers)
    while True:
        tasks: list[list[int]] = [[] for _ in range(n_tasks)]
        sizes = [0] * n_tasks
        for index in sorted(range(len(groups)), key=lambda index: -len(groups[index])):
            least = sizes.index(min(sizes))
            tasks[least].append(index)
            sizes[least] += len(groups[index])
        if n_tasks == len(groups) or max(sizes) <= TASK_BYTES // CASE_BYTES:
            return [tuple(groups[index] for index in sorted(task)) for task in tasks]
        n_tasks = min(len(groups), n_tasks + workers)


@dataclass(frozen=True)
class _Method:
    """What one row of metrics.tsv compares.

    Attributes
    ----------
    name, fold
        In metrics.tsv.
    row
        Of the case's signal.
    mapped
        Whether its values are mapped to the distribution of the observed track.
    """

    name: str
    fold: str
    row: int
    mapped: bool


@dataclass(frozen=True)
class _Pair:
    """The methods of a case, and what compares them.

    Attributes
    ----------
    index
        Of the case.
    pair
        Cell type and assay.
    methods
        Rows of metrics.tsv.
    signed
        Whether signal may be negative.
    comparison
        Of all methods.
    """

    index: int
    pair: Experiment
    methods: Sequence[_Method]
    signed: bool
    comparison: TrackComparison


@dataclass(frozen=True)
class ScoreTask:
    """Groups of cases, those of a group predicted together."""

    groups: tuple[tuple[Case, ...], ...]


def score(task: ScoreTask, shared: Scoring) -> list[Scored]:
    """Compare some pairs' signal in two sweeps over all shards."""
    cases = tuple(chain.from_iterable(task.groups))
    pairs = [
        _pair(index, case, shared, transform)
        for index, (case, transform) in enumerate(zip(cases, transforms_of(cases, shared), strict=True))
    ]
    signal = ComparedSignal(task.groups, shared)
    if signal.n_bytes <= KEPT_BYTES:
        # One after the other: the counts of one pair stay in the processor's cache, those of all do not.
        blocks = list(signal)
        found = [one for pair in pairs for one in _measure([pair], blocks)]
    else:
        signal.sweeps = 2 + shared.quantiles
        found = _measure(pairs, signal)
    if signal.residuals is not None:
        signal.residuals.write()
    return found


def _pair(index: int, case: Case, shared: Scoring, transform: SignalTransform) -> _Pair:
    methods, signed = _methods_of(case, shared), not transform.clipped
    comparison = TrackComparison(
        None if shared.challenge else transform.inverse,
        signed=signed,
        n_blocks=shared.n_blocks,
        n_imputed=len(methods),
    )
    return _Pair(index, case.pair, methods, signed, comparison)


def _methods_of(case: Case, shared: Scoring) -> list[_Method]:
    """The imputed signal, and the baselines where there are any."""
    names = shared.names + (BASELINES if case.baseline is not None else ())
    # A baseline is of what the first method learned from.
    folds = case.folds + case.folds[:1] * (len(names) - len(case.folds))
    methods = [_Method(name, folds[i], 1 + i, mapped=False) for i, name in enumerate(names)]
    if shared.quantiles:
        methods += [_Method(name + MAPPED, folds[i], 1 + i, mapped=True) for i, name in enumerate(names)]
    return methods


def _measure(pairs: Sequence[_Pair], blocks: Iterable[list[CaseBlock]]) -> list[Scored]:
    """What is found of each pair's methods, in two sweeps over all blocks, and one before where values are mapped."""
    maps = _maps(pairs, blocks)
    absent: dict[int, int | npt.NDArray[np.int64]] = dict.fromkeys((pair.index for pair in pairs), 0)
    for sweep in (TrackComparison.survey, TrackComparison.compare):
        for block in blocks:
            for pair in pairs:
                own = block[pair.index]
                mapped = [
                    maps[pair.index, method.name][rank_keys(own.signal[method.row], signed=pair.signed)]
                    for method in pair.methods
                    if method.mapped
                ]
                tracks = np.concatenate([own.signal, mapped]) if mapped else own.signal
                for number, part in own.pieces:
                    weights = {name: values[part] for name, values in own.weights.items()}
                    sweep(pair.comparison, np.ascontiguousarray(tracks[:, part]), weights, number)
                if sweep is TrackComparison.survey:
                    absent[pair.index] += own.absent
    return [one for pair in pairs for one in _scored(pair, np.asarray(absent[pair.index]))]


def _scored(pair: _Pair, absent: npt.NDArray[np.int64]) -> Iterator[Scored]:
    """Rows of metrics.tsv, with sums of blocks."""
    found = zip(pair.methods, pair.comparison.measures(), pair.comparison.block_sums(), strict=True)
    for method, measures, sums in found:
        keys = {
            "cell_type": pair.pair.cell_type,
            "assay": pair.pair.assay,
            "fold": method.fold,
            "method": method.name,
        }
        row: Row = {
            **keys,
            "bins": pair.comparison.n_bins,
            "absent": int(absent[method.row - 1]),
            **measures,
        }
        yield Scored(row, sums)


def _maps(pairs: Sequence[_Pair], blocks: Iterable[list[CaseBlock]]) -> dict[tuple[int, str], Float32]:
    """What gives each mapped method's track the distribution of the observed one, by case and method."""
    mapped = [(pair, method) for pair in pairs for method in pair.methods if method.mapped]
    counts = {pair.index: KeyCounts(1 + len(pair.methods) // 2, signed=pair.signed) for pair, _ in mapped}
    if counts:
        for block in blocks:
            for index, own in counts.items():
                own.add(np.ascontiguousarray(block[index].signal))
    rankings = {index: own.rank() for index, own in counts.items()}
    return {
        (pair.index, method.name): distribution_map(
            rankings[pair.index][method.row], rankings[pair.index][0], signed=pair.signed
        )
        for pair, method in mapped
    }
