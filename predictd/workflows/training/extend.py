"""`predictd extend`: rows for new cell types and assays in a fitted model, without training again."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from predictd.constants import REFUSE_COMPLETE
from predictd.engine import Engine
from predictd.engine.base import one_blas_thread
from predictd.errors import ConfigError, DataError, ModelFormatError, TableError
from predictd.io.files import checksums, make_directory
from predictd.io.models import ModelFile, write_model
from predictd.io.results import write_run_json
from predictd.io.tables import Track, read_tracks, unique_pairs
from predictd.io.temporary import temporary_folder
from predictd.io.tensor.store import Tensor
from predictd.model.cp.extend import RowPrior, extended, genome_map, genome_moments, new_names
from predictd.model.cp.factors import CPModel
from predictd.model.moments import moments
from predictd.pairs import Experiment
from predictd.provenance import RunRecord, given, software
from predictd.wording import some
from predictd.workflows.imputing.estimators import load_cp_model
from predictd.workflows.tensor.coverage import require_complete
from predictd.workflows.tensor.moments import ensure_moments, read_moments
from predictd.workflows.tensor.origin import check_origin
from predictd.workflows.tensor.precision import as_stored
from predictd.workflows.tensor.ranges import ends_of, ranges_of
from predictd.workflows.tensor.sources import Probing, SignalSource, check_chromosomes, probe_tracks
from predictd.workflows.training.solvers import SOLVERS

log = logging.getLogger(__name__)

# Solvers that have a λ of rows. Every file of a model with factors names the one that fitted it, in all versions.
_WITH_ROWS = {name: solver for name, solver in SOLVERS.items() if solver.penalty_range is not None}

Array = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ExtendReport:
    """What extending came to.

    Attributes
    ----------
    cell_types, assays
        New names, sorted.
    new
        The experiments that they were placed by.
    bins
        Over which.
    regressors
        Whether the model reads the new experiments when it imputes.
    """

    cell_types: tuple[str, ...]
    assays: tuple[str, ...]
    new: tuple[Experiment, ...]
    bins: int
    regressors: bool


def extend(
    model_path: Path,
    tensor_path: Path,
    table: Path | None,
    output: Path,
    engine: Engine,
    *,
    penalty: float | None = None,
    moments: Path | None = None,
    scratch: Path | None = None,
) -> ExtendReport:
    """Write a model that knows the new cell types and assays as well.

    Parameters
    ----------
    model_path
        Model file of `predictd train` or of a fold.
    tensor_path
        Tensor that has the model's training experiments.
    table
        Track table of the new experiments; None: those of the tensor whose cell type or assay the model has not.
        The tensor's own become regressors, too.
    output
        Model file to write.
    engine
        What runs it.
    penalty
        λ of the new rows; None: that of the model's training.
    moments
        Moments file, where there is no table; None: next to the tensor.
    scratch
        Directory of each node for copies of shards; None: they are read where they are.

    Raises
    ------
    PredictdError
        If model, tensor and tracks do not fit.
    """
    record = RunRecord.of("extend", engine, settings={"lambda": penalty} | given(moments=moments))
    model, file = load_cp_model(model_path)
    tensor = Tensor(tensor_path, scratch=scratch)
    tensor.columns(model.train)
    check_origin(file.info, model_path, tensor)
    prior = _prior(model, file, model_path, penalty)
    make_directory(output.parent)
    base = _Base(model_path, model, tensor)
    record.inputs = checksums(model_path, table) | {str(tensor_path): tensor.manifest.checksum}
    if table is None:
        new = _new_of_tensor(base)
        names = new_names(model, new)
        with record.stage("moments"):
            s = _moments_of_tensor(base, new, engine, moments)
    else:
        tracks = unique_pairs(read_tracks(table), table)
        new = tuple(sorted(tracks))
        names = new_names(model, new)
        with record.stage("moments"):
            s = _moments_of_table(base, table, [tracks[e] for e in new], names[1], engine)
    with record.stage("rows"), one_blas_thread():
        larger = extended(model, s, new, prior, regressors=table is None)
    report = ExtendReport(tuple(names[0]), tuple(names[1]), new, int(s[-1, -1]), table is None)
    info = file.info | {
        "extended": {
            "from": record.inputs[str(model_path)],
            "cell_types": names[0],
            "assays": names[1],
            "experiments": [str(e) for e in new],
            "penalty": prior.penalty,
            "bins": report.bins,
            "software": software(),
        }
    }
    larger = larger.within(ranges_of(tensor, larger.assays, larger.train))
    write_model(output, ModelFile("cp", larger.to_arrays(), info))
    record.train = [str(e) for e in larger.train]
    record.results = {
        "cell_types": names[0],
        "assays": names[1],
        "new": [str(e) for e in new],
        "bins": report.bins,
    }
    write_run_json(record, output, sidecar=True)
    return report


@dataclass(frozen=True)
class _Base:
    """What is extended: the model, its file, and the tensor that has its training experiments."""

    path: Path
    model: CPModel
    tensor: Tensor


def _new_of_tensor(base: _Base) -> tuple[Experiment, ...]:
    """Experiments of the tensor whose cell type or assay the model does not know."""
    model = base.model
    new = tuple(
        e
        for e in base.tensor.experiments
        if e.cell_type not in model.cell_types or e.assay not in model.assays
    )
    if not new:
        raise DataError(
            f"{base.tensor.path} has no experiment of a cell type or assay that {base.path} does not know; name a "
            "table of new tracks, or a tensor that has them"
        )
    return new


def _moments_of_tensor(
    base: _Base, new: tuple[Experiment, ...], engine: Engine, moments: Path | None
) -> Array:
    """Moments of [G r Y_new 1], by those of the tensor."""
    require_complete(base.tensor)
    data = read_moments(ensure_moments(base.tensor, engine, moments))
    train = base.tensor.columns(base.model.train)
    with one_blas_thread():
        return genome_moments(base.model, data.s, train, data.columns(new))


def _moments_of_table(
    base: _Base, table: Path, tracks: Sequence[Track], new_assays: Sequence[str], engine: Engine
) -> Array:
    """Moments of [G r Y_new 1], by a pass over the genome."""
    tensor = base.tensor
    if new_assays:
        raise DataError(
            f"{table}: the model never saw the assay {new_assays[0]}, and {tensor.path} does not say its unit; ingest "
            "all tracks together with these, and extend by that tensor alone"
        )
    _check_transforms(tracks, tensor)
    engine.check_shared_paths(tensor.marker_file)
    with temporary_folder() as temporary:
        s = _pass_over(base.model, tensor, tracks, engine, temporary)
    if s[-1, -1] < REFUSE_COMPLETE * tensor.n_bins:
        raise DataError(
            f"only {s[-1, -1]:.0f} of {tensor.n_bins} bins have a value in every track of {table} and of "
            f"{tensor.path}, and at least {REFUSE_COMPLETE:.0%} are needed; leave out tracks with gaps"
        )
    return s


def _prior(model: CPModel, file: ModelFile, path: Path, penalty: float | None) -> RowPrior:
    """What held the rows in training, or the penalty that was given."""
    name = str(file.info.get("solver", "unknown"))
    if name not in _WITH_ROWS:
        raise ModelFormatError(
            f"{path} was fitted by the solver '{name}', none of {', '.join(_WITH_ROWS)}: by which prior new rows are "
            "placed is not known; train it again"
        )
    settings: dict[str, Any] = file.info.get("settings", {})
    if penalty is None:
        penalty = settings.get("lambda")
        if settings.get("predictd_constants") or not isinstance(penalty, (int, float)):
            raise ConfigError(
                f"{path} was trained with fixed penalties, or its penalty is not recorded; give a `penalty`"
            )
    return _WITH_ROWS[name].row_prior(penalty, model.lambda_g)


def _check_transforms(tracks: Sequence[Track], tensor: Tensor) -> None:
    """New tracks are stored as the tensor stores their assay."""
    known = {entry.assay: entry.transform for entry in tensor.manifest.experiments}
    for track in tracks:
        expected = known.get(track.experiment.assay)
        if expected is not None and track.transform != expected:
            raise TableError(
                f"{track.where}: transform {track.transform}, but {tensor.path} has {track.experiment.assay} with "
                f"{expected}; give it in a column 'transform'"
            )


@dataclass(frozen=True)
class GenomePass:
    """What a pass over the genome for new tracks reads.

    `ends` cut artefacts off the tensor's tracks; None: they have none. `high`, (n_sources,), cut them off the new ones.
    """

    model: CPModel
    tensor: Tensor
    sources: tuple[SignalSource, ...]
    ends: Float32 | None
    high: Float32


def _pass_over(
    model: CPModel, tensor: Tensor, tracks: Sequence[Track], engine: Engine, temporary: Path
) -> Array:
    """Moments of [G r Y_new 1] over the bins where the model's and all new tracks have values."""
    genome = tensor.manifest.load_genome()
    used = set(tensor.manifest.chroms)
    probes = probe_tracks(tracks, Probing(temporary, genome, frozenset(used)), engine)
    sources = tuple(
        SignalSource(str(track.experiment), (probe.path,), track.transform, (track.path,))
        for track, probe in zip(tracks, probes, strict=True)
    )
    for track, probe in zip(tracks, probes, strict=True):
        if not used & set(probe.chromosomes):
            raise TableError(f"{track.where}: {track.shown} has none of the chromosomes of {tensor.path}")
    if tensor.manifest.uncovered == "zero":
        check_chromosomes(tracks, probes, map(tensor.places, tensor.shard_names))
    sizes = [entry.n_bins for entry in tensor.manifest.shards]
    shared = GenomePass(model, tensor, sources, ends_of(tensor), _high_of(tensor, tracks))
    total = engine.reduce(_shard_moments, tensor.shard_names, shared, label="shards", sizes=sizes)
    *s, cut = total
    _warn_of_cut(tracks, cut[-1 - len(tracks) : -1], shared.high)
    return np.array(s)


def _high_of(tensor: Tensor, tracks: Sequence[Track]) -> Float32:
    """The highest value that counts in tracks, (n,): the end of the range that their assay has in the tensor.

    Of a new assay it is the furthest end of those with the same transform, or infinity where there is none.
    """
    transforms = {entry.assay: entry.transform for entry in tensor.manifest.experiments}
    assays = sorted(transforms)
    high = dict(zip(assays, ranges_of(tensor, assays, tensor.experiments).high.tolist(), strict=True))
    furthest = {kind: max(high[a] for a in assays if transforms[a] == kind) for kind in transforms.values()}
    ends = [high.get(t.experiment.assay, furthest.get(t.transform, np.inf)) for t in tracks]
    return np.array(ends, dtype=np.float32)


def _warn_of_cut(tracks: Sequence[Track], cut: Array, high: Float32) -> None:
    """Log a warning of tracks with bins above what counts, by the number of such bins in each."""
    beyond = [
        f"{track.experiment} (bins above {end:g}: {n:,.0f})"
        for track, end, n in zip(tracks, high, cut, strict=True)
        if n
    ]
    if beyond:
        log.warning(
            "new tracks go far beyond the range that their assay has in the tensor: %s; they are cut off there: see "
            "whether these bins are artefacts, and correct or leave out such tracks",
            some(beyond, 3),
        )


def _shard_moments(name: str, shared: GenomePass) -> Array:
    """Moments, and below them, in the columns of new tracks, how many bins are cut off."""
    model, tensor, manifest = shared.model, shared.tensor, shared.tensor.manifest
    columns = tensor.columns(model.train)
    solution, intercept = genome_map(model)
    weights, constant = solution.T.astype(np.float32), intercept.astype(np.float32)
    n = len(solution) + len(shared.sources)
    total, cut = np.zeros((n + 1, n + 1)), np.zeros(n + 1)
    with tensor.open_shard(name) as shard:
        own = np.empty((shard.n_bins, len(shared.sources)), dtype=np.float32)
        for index, source in enumerate(shared.sources):
            signal = source.read(shard.places, uncovered=manifest.uncovered)
            own[:, index] = as_stored(signal, manifest.dtype, source, shard.places)
        cut[-1 - len(shared.sources) : -1] = (own > shared.high).sum(axis=0)
        np.minimum(own, shared.high, out=own)
        for start, block in shard.blocks():
            signal = block[:, columns]
            if shared.ends is not None:
                np.minimum(signal, shared.ends[columns], out=signal)
            genome = signal @ weights + constant
            joint = np.concatenate([genome, own[start : start + len(block)]], axis=1)
            total += moments(joint[~np.isnan(joint).any(axis=1)])
    return np.vstack([total, cut])
