"""Stages that predict signal: scoring, and imputed tracks."""

from __future__ import annotations

from math import ceil

from predictd.constants import MAX_OPEN_TRACKS
from predictd.io.tensor.store import chunk_rows
from predictd.model.folds import TESTS, VALIDS
from predictd.workflows.evaluation.score import CASE_BYTES, KEPT_BYTES, bundle, fold_groups
from predictd.workflows.evaluation.signal import sooner_kept
from predictd.workflows.imputing.apply import SAMPLED_SHARDS
from predictd.workflows.imputing.impute import track_groups
from predictd.workflows.imputing.residuals import counted_part
from predictd.workflows.planning.work import PlannedStage, Wave, Workload

# The model, and two baselines.
_METHODS = 3
# A scored pair's bin: observed signal, that of the methods, and a variance.
_SIGNAL_BYTES = 4 * (1 + _METHODS + 1)
# A bigWig that grows: pyBigWig's buffers, and the index of what is written. And a bin of one that is finished, when
# pyBigWig makes zoom levels: 2.9, and 11 more of the longest chromosome.
_WRITER_BYTES, _ZOOM_BYTES = 2**20, 4.0
# Multiplications of a track's value that lead networks at a pair, about; bytes of what these read of a track and of a
# pair in a bin.
_MAPS, _A_TRACK, _A_PAIR = 10, 60.0, 500.0


def score(load: Workload) -> PlannedStage:
    """Every experiment by the models of its test fold, and by two baselines; few workers take several groups."""
    shape, rates, size = load.shape, load.rates, load.tensor_bytes
    groups = _held_out(load) * load.job.tests
    tasks = bundle(groups, load.job.workers or len(groups))
    sizes = [sum(map(len, task)) for task in tasks]
    pairs = sum(sizes)
    # What is too large for memory is read and predicted for each of two sweeps, unless disk keeps it: all that is
    # compared where many tracks are read, or predictions alone where these are dear.
    held = [_SIGNAL_BYTES * n * shape.bins for n in sizes]
    wide = [sooner_kept(shape.observed, _SIGNAL_BYTES // 4 * n, shape.bins) for n in sizes]
    sweeps = [1 if n_bytes <= KEPT_BYTES or wide[i] else 2 for i, n_bytes in enumerate(held)]
    dear = bool(load.networks or load.featured)
    known = shape.observed - pairs / load.job.tests
    a_pair = known * (rates.multiply + rates.baseline / shape.assays) + _refining(load)
    a_pair += len(groups) / pairs * _leading(load)
    comparing = _METHODS * (rates.ranking + shape.bins * rates.compare)
    # How far predictions are off is counted at some bins of some shards.
    some, stride = counted_part(shape.bins, shape.shards)
    comparing += len(range(shape.shards)[some]) / shape.shards * shape.bins * rates.count / stride
    seconds = [
        shape.bins * (again * shape.observed * rates.read + (1 if dear else again) * n * a_pair)
        + n * comparing
        for n, again in zip(sizes, sweeps, strict=True)
    ]
    each = [n * CASE_BYTES + held[i] * (held[i] <= KEPT_BYTES) for i, n in enumerate(sizes)]
    memory = _held_out_bytes(load, max(sizes)) + max(each)
    wave = Wave(len(tasks), sum(seconds), max(seconds))
    reads = (sum(sweeps) + len(tasks) * _sampled(load)) * size
    return PlannedStage("score", "cv", (wave,), memory, reads=reads, source=size)


def impute(load: Workload) -> PlannedStage:
    """A part is some pairs over all shards, by all models at once or by the factors of a single one."""
    shape, rates, targets, n = load.shape, load.rates, load.job.targets, load.shape.observed
    sd = load.job.sd
    written = 1 + sd
    groups = [len(group) for group in track_groups(range(targets), MAX_OPEN_TRACKS // written)]
    pairs = max(groups)
    products = pairs * n
    if load.job.kind == "train" and load.holds_out:
        products = min(products, (load.rank + 1) * (pairs + n))
    a_bin = n * rates.read + products * rates.multiply + _leading(load)
    a_bin += targets / len(groups) * (written * rates.bigwig + sd * rates.deviation + _refining(load))
    models = load.models if load.holds_out else 1
    wave = Wave.of(len(groups), shape.bins * a_bin + (models + 1) * rates.model)
    memory = _imputing_bytes(load, models, pairs) + pairs * written * (_WRITER_BYTES + 8.0 * load.block_rows)
    # One after the other is finished.
    memory += _ZOOM_BYTES * shape.bins
    reads = len(groups) * ((1 + sd * _sampled(load)) * load.tensor_bytes + models * load.model_bytes())
    writes = load.storage()["imputed"]
    return PlannedStage(
        "impute", "impute", (wave,), memory, reads=reads, source=load.tensor_bytes, writes=writes
    )


def _held_out(load: Workload) -> list[tuple[int, ...]]:
    """Experiments of a test fold in groups that are predicted together."""
    return fold_groups(range(max(1, ceil(load.shape.observed / TESTS))))


def _leading(load: Workload) -> float:
    """Seconds a bin of curves and features of all tracks, however many pairs are predicted together."""
    return load.shape.observed * load.rates.curve * (bool(load.networks) + load.featured)


def _refining(load: Workload) -> float:
    """Seconds a bin of what networks add to a pair."""
    if not load.networks:
        return 0.0
    maps = load.shape.observed * _MAPS * load.rates.multiply
    return load.rates.around + load.networks * load.rates.refine + maps


def _sampled(load: Workload) -> float:
    """Share of the tensor that is read to find where the models that predict a pair differ, if several do."""
    if not load.holds_out:
        return 0.0
    chunk = chunk_rows(load.shape.itemsize, load.shape.observed)
    return min(1.0, min(load.shape.shards, SAMPLED_SHARDS) * chunk / load.shape.bins)


def _held_out_bytes(load: Workload, pairs: int) -> float:
    """By the models of a test fold, in a process that may have fitted them, and keeps the sample."""
    models = VALIDS if load.holds_out else 1
    return _imputing_bytes(load, models, pairs) + load.keeps_sample * load.sample_bytes


def _imputing_bytes(load: Workload, models: int, pairs: int) -> float:
    """A block, the imputers of models, their weights for pairs, and what networks read of the block."""
    n = load.n_train
    imputers = 8.0 * models * n * (n + 2.0 * (load.rank + 1)) + 12.0 * pairs * load.shape.observed
    leading = _A_TRACK * load.shape.observed + _A_PAIR if load.networks else 0.0
    return load.streaming_bytes() + imputers + leading * load.block_rows
