"""`predictd impute`: a model and a tensor in, imputed tracks out."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from predictd import interrupt, progress
from predictd.constants import INTERVALS_TSV, MAX_OPEN_TRACKS, TRACKS_TSV, UNCERTAINTY_JSON
from predictd.engine import Engine
from predictd.errors import DataError
from predictd.io.files import sha256_of, standing
from predictd.io.partition import Job
from predictd.io.results import write_run_json
from predictd.io.tables import write_tracks
from predictd.io.tensor.store import Shard, Tensor
from predictd.io.tracks.bigwig_writer import BigWigWriter
from predictd.model.ensemble import Ensemble
from predictd.model.intervals.uncertainty import Calibration
from predictd.pairs import Experiment
from predictd.provenance import EngineInfo, RunRecord
from predictd.wording import even_parts_of_at_most, some
from predictd.workflows.imputing.apply import BLOCK_AT_WORK, Application, SpreadApplication
from predictd.workflows.imputing.calibration import read_calibration, write_intervals
from predictd.workflows.imputing.estimators import load_estimator, load_held_out
from predictd.workflows.imputing.outputs import Float32, OutputTrack, output_tracks, sd_name, track_name
from predictd.workflows.imputing.status import NOT_HELD_OUT_FOLDS, TRAINED, statuses
from predictd.workflows.parts import InParts
from predictd.workflows.tensor.origin import check_origin
from predictd.workflows.tensor.sources import add_rows

log = logging.getLogger(__name__)

_Item = TypeVar("_Item")
_LEAST_GROUPS = 16


@dataclass(frozen=True)
class ImputeReport:
    """What imputing came to.

    Attributes
    ----------
    pairs
        Imputed, each with a bigWig.
    empty_bins
        Left empty, since fewer than half of the experiments that a model reads have signal there; models of a
        cross-validation read others, and this is the largest number that a track has.
    """

    pairs: tuple[Experiment, ...]
    empty_bins: int


def choose_pairs(spec: str | Sequence[Experiment], model: Ensemble, tensor: Tensor) -> list[Experiment]:
    """Pairs that a word or a text means: all, missing, observed, or `CELL:ASSAY,…`; or these pairs themselves.

    Raises
    ------
    DataError
        If the model does not know a pair, or there is nothing to impute.
    """
    every = [Experiment(cell, assay) for cell, assay in product(model.cell_types, model.assays)]
    observed = set(tensor.experiments)
    if not isinstance(spec, str):
        chosen = list(dict.fromkeys(spec))
        model.indices(chosen)
    elif spec == "all":
        chosen = every
    elif spec == "missing":
        chosen = [pair for pair in every if pair not in observed]
    elif spec == "observed":
        chosen = [pair for pair in every if pair in observed]
    else:
        chosen = sorted({Experiment.parse(text.strip()) for text in spec.split(",") if text.strip()})
        model.indices(chosen)
    if not chosen and spec == "missing":
        raise DataError(
            f"`pairs` missing: {tensor.path} has every assay of every cell type, so that there is nothing to impute; "
            "with `pairs` observed each track is predicted from the others"
        )
    if not chosen:
        raise DataError(f"`pairs` {spec or 'is empty'}: there is no such pair among those of {tensor.path}")
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
        all, missing, observed, or `CELL:ASSAY,…`; or a list of pairs.
    sd
        Write `CELL-ASSAY.sd.bw` as well: the standard deviation in the unit of the track, to first order. For a
        cross-validation only, which calibrated it.
    scratch
        Directory of each node for copies of shards; None: they are read where they are.

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
        pairs: str | Sequence[Experiment] = "missing",
        sd: bool = False,
        scratch: Path | None = None,
    ) -> None:
        self._loaded = load_estimator(model_path)
        self._model, self._tensor = model_path, Tensor(tensor_path, scratch=scratch)
        everyone = self._loaded.estimator.everyone
        self._train = everyone.train
        self._tensor.columns(self._train)
        check_origin(self._loaded.info, model_path, self._tensor)
        self._pairs = choose_pairs(pairs, everyone, self._tensor)
        self._calibration = read_calibration(model_path) if sd else None
        self._names = [track.name for track in output_tracks(self._pairs, self._tensor, self._calibration)]
        self._groups = track_groups(self._pairs, MAX_OPEN_TRACKS // 2 if sd else MAX_OPEN_TRACKS)
        self._inputs = {
            str(model_path): self._loaded.checksum,
            str(self._tensor.path): self._tensor.manifest.checksum,
        }
        description: dict[str, Any] = {
            "command": "impute",
            "model": self._loaded.checksum,
            "tensor": self._tensor.manifest.checksum,
            "pairs": [str(pair) for pair in self._pairs],
        }
        if sd:
            description["sd"] = sha256_of(model_path / UNCERTAINTY_JSON)
            self._inputs[str(model_path / UNCERTAINTY_JSON)] = description["sd"]
        super().__init__(
            Job(output, description),
            len(self._groups),
            TRACKS_TSV,
            settings={"pairs": pairs if isinstance(pairs, str) else description["pairs"], "sd": sd},
        )

    def _files(self) -> Sequence[str]:
        return self._names

    def _begin(self) -> None:
        self._refuse_foreign(self._names)
        self.job.begin()

    def _make(self, parts: Sequence[int], engine: Engine, record: RunRecord) -> None:
        engine.check_shared_paths(self.job.marker_file, self._tensor.marker_file)
        keys = [_PairsPart(index, self._groups[index]) for index in parts]
        files, info = self._loaded.files, EngineInfo.of(engine)
        shared = _Imputing(self._model, files, self._tensor, self.job, self._calibration, info)
        with record.stage("impute"), interrupt.after(soon=BLOCK_AT_WORK):
            engine.map(_impute_part, keys, shared, label="groups of tracks")

    def _finish(self, parts: Sequence[dict[str, Any]], record: RunRecord) -> ImputeReport:
        empty = max(part["empty_bins"] for part in parts)
        tensor, output, loaded = self._tensor, self.job.output, self._loaded
        record.inputs = self._inputs
        record.train = [str(e) for e in self._train]
        record.results = {
            "tensor": str(tensor.path.resolve()),
            "genome": tensor.manifest.genome.name,
            "bin_size": tensor.manifest.bin_size,
            "fold": loaded.fold,
            "models": loaded.cost,
            "pairs": len(self._pairs),
            "empty_bins": empty,
            "held_out": {name: [str(e) for e in own] for name, own in loaded.held_out.items()},
            "left_out": {name: [str(e) for e in own] for name, own in loaded.left_out.items()},
        }
        if empty:
            log.warning(
                "%d bins were left empty%s: under half of the model's experiments have signal there",
                empty,
                " in the track that has most of them" if loaded.held_out else "",
            )
        status = statuses(loaded.estimator, self._pairs, tensor.experiments, loaded.validation)
        _warn_of_fits([pair for pair in self._pairs if status[pair] == TRAINED], len(self._pairs))
        folds = {pair: name for name, own in loaded.held_out.items() for pair in own}
        transforms = {entry.assay: entry.transform for entry in tensor.manifest.experiments}
        more: dict[str, dict[Experiment, str]] = {
            "transform": {pair: transforms[pair.assay] for pair in self._pairs},
            "status": status,
            "fold": {
                pair: NOT_HELD_OUT_FOLDS.get(status[pair]) or folds.get(pair, loaded.fold)
                for pair in self._pairs
            },
        }
        expected = loaded.estimator.expected_errors(self._pairs)
        if expected is not None:
            texts = (f"{error:.3g}" for error in expected.tolist())
            more["expected_error"] = dict(zip(self._pairs, texts, strict=True))
        if self._calibration is not None:
            more["sd_path"] = {pair: sd_name(pair) for pair in self._pairs}
            scales = {pair: self._calibration.scales[pair] for pair in self._pairs}
            more["signal_mean"] = {pair: f"{scale.mean:.6g}" for pair, scale in scales.items()}
            more["signal_sd"] = {pair: f"{scale.sd:.6g}" for pair, scale in scales.items()}
            write_intervals(output / INTERVALS_TSV, self._calibration, {pair.assay for pair in self._pairs})
        write_run_json(record, output)
        write_tracks(output / TRACKS_TSV, {pair: track_name(pair) for pair in self._pairs}, more)
        return ImputeReport(tuple(self._pairs), empty)


def impute(
    model_path: Path,
    tensor_path: Path,
    output: Path,
    engine: Engine,
    *,
    pairs: str | Sequence[Experiment] = "missing",
    sd: bool = False,
    scratch: Path | None = None,
) -> ImputeReport:
    """Impute all parts and finish; see `Imputation` and `InParts.make_all`."""
    plan = Imputation(model_path, tensor_path, output, pairs=pairs, sd=sd, scratch=scratch)
    return plan.make_all(engine)


def _warn_of_fits(pairs: Sequence[Experiment], n_pairs: int) -> None:
    """Say that tracks of pairs that the model was trained on are fits."""
    if pairs:
        log.warning(
            "%d of the %d pairs were trained on (%s): their tracks show how well the model fits, not how well it "
            "predicts; impute them with the directory of 'predictd cv', whose models never saw them",
            len(pairs),
            n_pairs,
            some(pairs),
        )


def track_groups(pairs: Sequence[_Item], most: int) -> list[tuple[_Item, ...]]:
    """Even groups of at most so many pairs, and 16 groups where there are as many pairs.

    A group is a pass over the tensor and a product of its own shape, so the number of workers must not decide: the last
    bit of a matrix product can depend on its number of columns.
    """
    parts = even_parts_of_at_most(len(pairs), most, at_least=_LEAST_GROUPS)
    return [tuple(pairs[low:high]) for low, high in parts]


@dataclass(frozen=True)
class _PairsPart:
    """A part: its number and its pairs."""

    index: int
    pairs: tuple[Experiment, ...]


@dataclass(frozen=True)
class _Imputing:
    """What the parts have in common; `files` are the checksums of the model's files."""

    model: Path
    files: dict[Path, str]
    tensor: Tensor
    job: Job
    calibration: Calibration | None
    engine: EngineInfo


def _impute_part(part: _PairsPart, shared: _Imputing) -> None:
    """Impute a part's pairs over all shards into finished bigWigs; those that exist already are left."""
    tensor, output = shared.tensor, shared.job.output
    record = RunRecord("impute", shared.engine)
    tracks = output_tracks(part.pairs, tensor, shared.calibration)
    with record.stage("impute"):
        models = load_held_out(shared.model, part.pairs, shared.files)
        kind = Application if shared.calibration is None else SpreadApplication
        empty = _write_missing(tracks, kind(models, part.pairs, tensor), tensor, output)
    files = [output / track.name for track in tracks]
    shared.job.keep_part(part.index, {"empty_bins": empty, "run": record.run_of([part.index])}, files)


def _write_missing(
    tracks: Sequence[OutputTrack], application: Application, tensor: Tensor, output: Path
) -> int:
    """Write the bigWigs that do not exist; returns the empty bins of the pair that has most of them."""
    known = tensor.manifest.load_genome().chromosomes
    lengths = {chrom: known[chrom] for chrom in tensor.manifest.chroms}
    made = set(standing(output, [track.name for track in tracks]))
    todo = [track for track in tracks if track.name not in made]
    imputed = 0
    if not todo and tensor.n_complete == tensor.n_bins:
        return 0
    empty = np.zeros(1 + max(track.column for track in tracks), dtype=np.int64)
    with ExitStack() as undo:
        writers = []
        for track in todo:
            writer = BigWigWriter(output / track.name, lengths, bin_size=tensor.manifest.bin_size)
            undo.callback(writer.discard)
            writers.append((track, writer))
        for shard_name in tensor.shard_names:
            with tensor.open_shard(shard_name) as shard:
                for start, predicted, spread in _predictions(application, shard):
                    empty += np.isnan(predicted).sum(axis=0)
                    for track, writer in writers:
                        values = track.values(predicted, spread)
                        add_rows(writer, shard, start, values)
                    imputed += len(predicted)
                    progress.task_share(imputed / tensor.n_bins)
        for _, writer in writers:
            writer.close()
    return int(empty.max())


def _predictions(application: Application, shard: Shard) -> Iterator[tuple[int, Float32, Float32]]:
    """Yield (first row, predictions, their spread) over a shard; without a spread, the predictions twice."""
    if isinstance(application, SpreadApplication):
        for start, _, predicted, spread in application.blocks_with_spread(shard):
            yield start, predicted, spread
    else:
        for start, _, predicted in application.blocks(shard):
            yield start, predicted, predicted
