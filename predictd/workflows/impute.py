"""`predictd impute`: a model and a tensor in, imputed tracks out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path

import numpy as np

from predictd.constants import MAX_OPEN_TRACKS, RUN_JSON, TRACKS_TSV
from predictd.engine import Engine
from predictd.errors import DataError, OutputError
from predictd.io.bigwig import BigWigWriter
from predictd.io.files import write_json
from predictd.io.partition import Job, read_job
from predictd.io.store import Tensor
from predictd.io.tables import write_tracks
from predictd.model.ensemble import Ensemble
from predictd.model.transforms import TRANSFORMS, SignalTransform
from predictd.pairs import Experiment
from predictd.provenance import RunRecord
from predictd.workflows._apply import Application
from predictd.workflows._estimators import load_estimator

log = logging.getLogger(__name__)

_LEAST_GROUPS = 16


@dataclass(frozen=True)
class ImputeReport:
    """What imputing came to.

    Attributes
    ----------
    pairs
        Imputed, each with a bigWig.
    empty_bins
        Left empty, since fewer than half of the model's experiments have signal there.
    """

    pairs: tuple[Experiment, ...]
    empty_bins: int


def choose_pairs(spec: str, model: Ensemble, tensor: Tensor) -> list[Experiment]:
    """Pairs that `--pairs` means: all, missing, observed, or `CELL:ASSAY,…`.

    Raises
    ------
    DataError
        If the model does not know a pair, or there is nothing to impute.
    """
    every = [Experiment(cell, assay) for cell, assay in product(model.cell_types, model.assays)]
    observed = set(tensor.experiments)
    if spec == "all":
        chosen = every
    elif spec == "missing":
        chosen = [pair for pair in every if pair not in observed]
    elif spec == "observed":
        chosen = [pair for pair in every if pair in observed]
    else:
        chosen = sorted({Experiment.parse(text.strip()) for text in spec.split(",") if text.strip()})
        model.indices(chosen)
    if not chosen:
        raise DataError(f"--pairs {spec}: there is no such pair among those of {tensor.path}")
    return chosen


def impute(
    model_path: Path,
    tensor_path: Path,
    output: Path,
    engine: Engine,
    record: RunRecord,
    *,
    pairs: str = "missing",
) -> ImputeReport:
    """Write imputed tracks of pairs as bigWigs in the unit of the input tracks.

    Parameters
    ----------
    model_path, tensor_path
        Model file, or the directory of a cross-validation, and the tensor that has the training experiments.
    output
        Directory for `CELL-ASSAY.bw` and `tracks.tsv`.
    engine, record
        What runs it (a task is up to 64 pairs over all shards); where stages are timed.
    pairs
        all, missing, observed, or `CELL:ASSAY,…`.

    Raises
    ------
    PredictdError
        If model, tensor and pairs do not fit, or the output cannot be written. Finished tracks are kept, and the same
        command goes on from there.
    """
    loaded = load_estimator(model_path)
    everyone, checksum = loaded.estimator.everyone, loaded.checksum
    tensor = Tensor(tensor_path)
    tensor.columns(everyone.train)
    chosen = choose_pairs(pairs, everyone, tensor)
    _transforms(tensor, chosen)
    if read_job(output) is None:
        _refuse_standing(output, chosen)
    job = Job(
        output,
        {
            "command": "impute",
            "model": checksum,
            "tensor": tensor.manifest.checksum,
            "pairs": [str(pair) for pair in chosen],
        },
    )
    job.begin()
    with record.stage("impute"):
        empty = engine.map(_impute_group, _groups(chosen), (model_path, tensor_path, output), label="tracks")
    record.inputs = {str(model_path): checksum, str(tensor_path): tensor.manifest.checksum}
    record.train = [str(e) for e in everyone.train]
    record.results = {
        "tensor": str(tensor_path.resolve()),
        "fold": loaded.fold,
        "pairs": len(chosen),
        "empty_bins": max(empty),
    }
    if max(empty):
        log.warning(
            "%d bins were left empty: under half of the model's experiments have signal there", max(empty)
        )
    write_json(output / RUN_JSON, record.to_dict())
    write_tracks(output / TRACKS_TSV, {pair: track_name(pair) for pair in chosen})
    job.finish()
    return ImputeReport(tuple(chosen), max(empty))


def track_name(pair: Experiment) -> str:
    """File name of a pair's imputed track."""
    return f"{pair.file_stem}.bw"


def _refuse_standing(output: Path, pairs: Sequence[Experiment]) -> None:
    """Raise OutputError where a new job would take tracks for its own that another one has made."""
    for name in (TRACKS_TSV, *map(track_name, pairs)):
        if (output / name).exists():
            raise OutputError(f"{output} holds {name} already; remove the directory, or name another")


def _groups(pairs: Sequence[Experiment]) -> list[tuple[Experiment, ...]]:
    """Even groups of at most 64 pairs, and 16 groups where there are as many pairs.

    A group is a pass over the tensor and a product of its own shape, so the number of workers must not decide: the last
    bit of a matrix product can depend on its number of columns.
    """
    n_groups = max(-(-len(pairs) // MAX_OPEN_TRACKS), min(_LEAST_GROUPS, len(pairs)))
    borders = [len(pairs) * i // n_groups for i in range(n_groups + 1)]
    return [tuple(pairs[low:high]) for low, high in pairwise(borders)]


def _transforms(tensor: Tensor, pairs: Sequence[Experiment]) -> list[SignalTransform]:
    """Transform of each pair's assay."""
    by_assay = {entry.assay: TRANSFORMS[entry.transform] for entry in tensor.manifest.experiments}
    unknown = sorted({pair.assay for pair in pairs} - by_assay.keys())
    if unknown:
        raise DataError(
            f"{tensor.path} has no experiment of assay {unknown[0]}, so that its unit is not known"
        )
    return [by_assay[pair.assay] for pair in pairs]


def _impute_group(pairs: tuple[Experiment, ...], shared: tuple[Path, Path, Path]) -> int:
    """Impute pairs over all shards into finished bigWigs; those that stand already are left. Returns empty bins."""
    model_path, tensor_path, output = shared
    tensor = Tensor(tensor_path)
    application = Application(load_estimator(model_path).estimator, pairs, tensor)
    transforms = _transforms(tensor, pairs)
    used = {entry.chrom for entry in tensor.manifest.shards}
    lengths = {chrom: n for chrom, n in tensor.manifest.load_genome().chromosomes.items() if chrom in used}
    todo = [index for index, pair in enumerate(pairs) if not (output / track_name(pair)).exists()]
    empty = 0
    if not todo and tensor.n_complete == tensor.n_bins:
        return empty
    with ExitStack() as undo:
        writers = {}
        for index in todo:
            writer = BigWigWriter(
                output / track_name(pairs[index]), lengths, bin_size=tensor.manifest.bin_size
            )
            undo.callback(writer.discard)
            writers[index] = writer
        for name in tensor.shard_names:
            with tensor.open_shard(name) as shard:
                for start, _, predicted in application.blocks(shard):
                    empty += int(np.isnan(predicted[:, 0]).sum())
                    for index, writer in writers.items():
                        signal = transforms[index].to_track(np.ascontiguousarray(predicted[:, index]))
                        for first, rows in shard.stretches(start, start + len(signal)):
                            writer.add(shard.chrom, first, signal[rows])
        for writer in writers.values():
            writer.close()
    return empty
