"""`predictd impute`: a model and a tensor in, imputed tracks out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np

from predictd.constants import MAX_OPEN_TRACKS, RUN_JSON, TRACKS_TSV
from predictd.engine import Engine
from predictd.errors import DataError
from predictd.io.bigwig import BigWigWriter
from predictd.io.files import standing, write_json
from predictd.io.partition import Job
from predictd.io.store import Tensor
from predictd.io.tables import write_tracks
from predictd.model.ensemble import Ensemble
from predictd.model.transforms import TRANSFORMS, SignalTransform
from predictd.pairs import Experiment
from predictd.provenance import RunRecord
from predictd.workflows._apply import Application
from predictd.workflows._estimators import load_estimator, load_judges
from predictd.workflows._parts import InParts

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


class Imputation(InParts[ImputeReport]):
    """Imputed tracks of pairs as bigWigs in the unit of the input tracks; a part is up to 64 pairs over all shards.

    Parameters
    ----------
    model_path, tensor_path
        Model file, or the directory of a cross-validation, and the tensor that has the training experiments.
    output
        Directory for `CELL-ASSAY.bw` and `tracks.tsv`.
    pairs
        all, missing, observed, or `CELL:ASSAY,…`.
    scratch
        Directory of each node for copies of shards; None: they are read where they stand.

    Raises
    ------
    PredictdError
        If model, tensor and pairs do not fit.
    """

    def __init__(
        self,
        model_path: Path,
        tensor_path: Path,
        output: Path,
        *,
        pairs: str = "missing",
        scratch: Path | None = None,
    ) -> None:
        self._loaded = load_estimator(model_path)
        self._model, self._tensor = model_path, Tensor(tensor_path, scratch=scratch)
        everyone = self._loaded.estimator.everyone
        self._train = everyone.train
        self._tensor.columns(self._train)
        self._pairs = choose_pairs(pairs, everyone, self._tensor)
        _transforms(self._tensor, self._pairs)
        self._groups = _groups(self._pairs)
        description = {
            "command": "impute",
            "model": self._loaded.checksum,
            "tensor": self._tensor.manifest.checksum,
            "pairs": [str(pair) for pair in self._pairs],
        }
        super().__init__(Job(output, description), len(self._groups), TRACKS_TSV)

    def _begin(self) -> None:
        self._refuse_foreign(list(map(track_name, self._pairs)))
        self.job.begin()

    def _make(self, parts: Sequence[int], engine: Engine, record: RunRecord) -> None:
        engine.require_sight(self.job.witness, self._tensor.witness)
        keys = [(index, self._groups[index]) for index in parts]
        shared = _Shared(self._model, self._tensor, self.job, engine.name, engine.workers, engine.ranks)
        with record.stage("impute"):
            engine.map(_impute_part, keys, shared, label="tracks")

    def _finish(self, parts: Sequence[dict[str, Any]], record: RunRecord) -> ImputeReport:
        empty = max(part["empty_bins"] for part in parts)
        tensor, output = self._tensor, self.job.output
        record.inputs = {str(self._model): self._loaded.checksum, str(tensor.path): tensor.manifest.checksum}
        record.train = [str(e) for e in self._train]
        record.results = {
            "tensor": str(tensor.path.resolve()),
            "genome": tensor.manifest.genome.name,
            "bin_size": tensor.manifest.bin_size,
            "fold": self._loaded.fold,
            "pairs": len(self._pairs),
            "empty_bins": empty,
        }
        if empty:
            log.warning(
                "%d bins were left empty: under half of the model's experiments have signal there", empty
            )
        write_json(output / RUN_JSON, record.to_dict())
        write_tracks(output / TRACKS_TSV, {pair: track_name(pair) for pair in self._pairs})
        return ImputeReport(tuple(self._pairs), empty)


def impute(
    model_path: Path,
    tensor_path: Path,
    output: Path,
    engine: Engine,
    record: RunRecord,
    *,
    pairs: str = "missing",
    scratch: Path | None = None,
) -> ImputeReport:
    """Impute all parts and finish; see `Imputation` and `InParts.make_all`."""
    return Imputation(model_path, tensor_path, output, pairs=pairs, scratch=scratch).make_all(engine, record)


def track_name(pair: Experiment) -> str:
    """File name of a pair's imputed track."""
    return f"{pair.file_stem}.bw"


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


@dataclass(frozen=True)
class _Shared:
    """What the parts have in common; what is to be known of the engine goes on record."""

    model: Path
    tensor: Tensor
    job: Job
    engine: str
    workers: int
    ranks: int


def _impute_part(part: tuple[int, tuple[Experiment, ...]], shared: _Shared) -> None:
    """Impute a part's pairs over all shards into finished bigWigs; those that stand already are left."""
    index, pairs = part
    tensor, output = shared.tensor, shared.job.output
    record = RunRecord([], shared.engine, shared.workers, ranks=shared.ranks)
    with record.stage("impute"):
        application = Application(load_judges(shared.model, pairs), pairs, tensor)
        empty = _write_bigwigs(pairs, application, tensor, output)
    files = [output / track_name(pair) for pair in pairs]
    shared.job.keep_part(index, {"empty_bins": empty, "run": record.run_of([index])}, files)


def _write_bigwigs(
    pairs: Sequence[Experiment], application: Application, tensor: Tensor, output: Path
) -> int:
    """Write the bigWigs of pairs that do not stand; returns empty bins."""
    transforms = _transforms(tensor, pairs)
    used = {entry.chrom for entry in tensor.manifest.shards}
    lengths = {chrom: n for chrom, n in tensor.manifest.load_genome().chromosomes.items() if chrom in used}
    made = set(standing(output, list(map(track_name, pairs))))
    todo = [index for index, pair in enumerate(pairs) if track_name(pair) not in made]
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
