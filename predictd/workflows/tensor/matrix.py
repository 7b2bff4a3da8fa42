"""A matrix of regions × experiments as what a tensor is made from: its regions are the bins."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from predictd.engine import Engine
from predictd.errors import ConfigError, TableError
from predictd.io.files import checksums
from predictd.io.partition import Job
from predictd.io.tables import Interval, Transform
from predictd.io.tensor.extents import Extents, extents_of
from predictd.io.tensor.layout import Contig, Coverage, Places, ShardPlan, most_bins, plan_regions
from predictd.io.tensor.manifest import ExperimentEntry, ShardEntry
from predictd.io.tensor.store import describe_shard, shard_path, write_shard
from predictd.io.tracks.matrix import Matrix, read_matrix
from predictd.model.transforms import TRANSFORMS
from predictd.pairs import Experiment
from predictd.provenance import RunRecord
from predictd.wording import some
from predictd.workflows.tensor.inputs import IngestOptions, Made, Place
from predictd.workflows.tensor.precision import largest, warn_too_small
from predictd.workflows.tensor.sources import observed_mean

log = logging.getLogger(__name__)


class MatrixInput:
    """A matrix, in the order of the genome.

    A track has one value at each base, so that regions must not overlap. Neighbours in the list are not neighbours in
    the genome: each region is a run of its own, and the mean over any window around it is its own value.

    Parameters
    ----------
    source
        The matrix, or its file.
    options, place
        How it becomes a tensor, and where.

    Raises
    ------
    PredictdError
        If it is not a matrix, its regions overlap or are not on the genome, or its values do not suit the transforms.
    """

    bin_size = None

    def __init__(self, source: Path | Matrix, options: IngestOptions, place: Place) -> None:
        if options.bin_size is not None:
            raise ConfigError("the bins of a matrix are its regions: leave `bin_size` out")
        self._options, self._place = options, place
        self._path = None if isinstance(source, Matrix) else source
        matrix = source if isinstance(source, Matrix) else read_matrix(source, options.bins)
        self._checksum = matrix.checksum
        place.genome.check_intervals(list(matrix.regions), matrix.source)
        matrix = _in_order(matrix, place)
        # Before replicates are averaged, as of tracks: a zero counts in their mean.
        if options.uncovered == "zero":
            matrix.values[np.isnan(matrix.values)] = 0
        self._matrix = _columns(matrix, merge=options.merge is not None)
        self._transforms = _transforms_of(self._matrix, options.transform)
        self._extents = self._check_values()

    @property
    def provenance(self) -> dict[str, Any]:
        """The files."""
        paths = {"matrix": self._path, "bins": self._options.bins}
        return {name: str(path) if path else None for name, path in paths.items()}

    @property
    def checksums(self) -> dict[str, str]:
        """Of the files, or of a matrix that was in memory."""
        if self._path is None:
            return {self._matrix.source: self._checksum}
        return checksums(self._path, self._options.bins)

    def describe(self) -> dict[str, Any]:
        """What the matrix holds."""
        return {"matrix": self._checksum, "transforms": self._transforms}

    def make(self, job: Job, engine: Engine, record: RunRecord) -> Made:
        """Write the shards, all here: the matrix is in memory."""
        matrix, options = self._matrix, self._options
        most = most_bins(len(matrix.experiments), options.shard_bins)
        entries = tuple(
            ExperimentEntry(**pair._asdict(), transform=self._transforms[pair.assay])
            for pair in matrix.experiments
        )
        shards: list[ShardEntry] = []
        with record.stage("make shards"):
            first = 0
            for plan in plan_regions(self._place.genome, matrix.regions, max_bins=most):
                shards.append(self._shard(plan, matrix.values[first : first + plan.places.n_bins], job))
                first += plan.places.n_bins
        warn_too_small(matrix.experiments, self._extents, options.dtype)
        return Made(entries, tuple(shards))

    def _shard(self, plan: ShardPlan, values: npt.NDArray[np.float32], job: Job) -> ShardEntry:
        path = shard_path(job.output, plan.name)
        if job.made(path):
            return describe_shard(job.output, plan, values.shape[1])
        signal = np.empty(values.shape, dtype=self._options.dtype)
        for column, pair in enumerate(self._matrix.experiments):
            signal[:, column] = TRANSFORMS[self._transforms[pair.assay]].forward(values[:, column])
        with job.making(path):
            return write_shard(job.output, plan, signal)

    def _check_values(self) -> Extents:
        """Refuse values that a transform or the stored precision does not take, and experiments without any.

        Returns the lowest and highest transformed signal of each experiment.
        """
        matrix = self._matrix
        extents = np.empty((len(matrix.experiments), 2))
        for index, (pair, values) in enumerate(zip(matrix.experiments, matrix.values.T, strict=True)):
            name = self._transforms[pair.assay]
            transform = TRANSFORMS[name]
            if np.isnan(values).all():
                raise TableError(f"{matrix.source}: {pair} has no value; leave it out")
            wrong = np.flatnonzero((values < transform.lower) | (values > transform.upper) | np.isinf(values))
            if wrong.size:
                first = int(wrong[0])
                raise TableError(
                    f"{matrix.source}: {values[first]:g} of {pair} at {_span(matrix.regions[first])} does not suit the "
                    f"transform {name}, which takes finite values from {transform.lower:g} to {transform.upper:g} "
                    f"({wrong.size:,} such values); correct them, or give {pair.assay} another `transform`, e.g. none"
                )
            extents[index] = extents_of(transform.forward(values))
            if np.abs(extents[index]).max() > largest(self._options.dtype):
                raise TableError(
                    f"{matrix.source}: {pair} has values too large for {self._options.dtype}; use `dtype` float32, or "
                    f"another `transform`"
                )
        return extents


def _in_order(matrix: Matrix, place: Place) -> Matrix:
    """The regions that are wanted, in the order of the genome."""
    rank = {chrom: index for index, chrom in enumerate(place.genome.chromosomes)}
    spans = np.array([(rank[i.chrom], i.start, i.end) for i in matrix.regions], dtype=np.int64).reshape(-1, 3)
    order = np.lexsort(spans.T[::-1])
    order = order[_wanted(spans[order], place)]
    if not order.size:
        raise TableError(f"{matrix.source} has no region, or none is left by `regions` and `exclude`")
    own = spans[order]
    overlapping = np.flatnonzero((own[1:, 0] == own[:-1, 0]) & (own[1:, 1] < own[:-1, 2]))
    regions = [matrix.regions[row] for row in order.tolist()]
    if overlapping.size:
        first = int(overlapping[0])
        raise TableError(
            f"{matrix.source}: {overlapping.size:,} regions overlap the one before, the first "
            f"{_span(regions[first + 1])} with {_span(regions[first])}; a track has one value at each base: join such "
            "regions, or keep one of them"
        )
    # A copy, since missing values may be filled in, and the matrix is the caller's.
    return replace(matrix, regions=regions, values=np.array(matrix.values[order], dtype=np.float32))


def _wanted(spans: npt.NDArray[np.int64], place: Place) -> npt.NDArray[np.bool_]:
    """Which regions overlap what is asked for, and nothing excluded; sorted: rank of the chromosome, start, end."""
    numbers = np.searchsorted(spans[:, 0], np.arange(len(place.genome.chromosomes) + 1))
    contigs = tuple(
        Contig(chrom, length, np.array([[0, n]]))
        for (chrom, length), n in zip(
            place.genome.chromosomes.items(), np.diff(numbers).tolist(), strict=True
        )
    )
    places = Places(contigs, None, spans[:, 1:])
    wanted = np.ones(len(spans), dtype=bool)
    if place.regions is not None:
        wanted &= Coverage(place.regions).mask(places)
    if place.exclude is not None:
        wanted &= ~Coverage(place.exclude).mask(places)
    return wanted


def _columns(matrix: Matrix, *, merge: bool) -> Matrix:
    """Columns sorted by pair; those of one pair are its replicates."""
    pairs = sorted(set(matrix.experiments))
    if not pairs:
        raise TableError(f"{matrix.source} has no experiment")
    own: dict[Experiment, list[int]] = {pair: [] for pair in pairs}
    for column, pair in enumerate(matrix.experiments):
        own[pair].append(column)
    twice = [pair for pair in pairs if len(own[pair]) > 1]
    if twice and not merge:
        raise TableError(
            f"{matrix.source} has several columns of {some(twice)}; keep one, or average them with `merge` mean"
        )
    first = [own[pair][0] for pair in pairs]
    # Most are in order, and matrices are large.
    in_order = first == list(range(len(matrix.experiments)))
    values = matrix.values if in_order else matrix.values[:, first]
    for pair in twice:
        values[:, pairs.index(pair)] = observed_mean(matrix.values[:, own[pair]], axis=1)
    return replace(matrix, experiments=pairs, values=values)


def _transforms_of(matrix: Matrix, given: Sequence[str]) -> dict[str, Transform]:
    """The transform of each assay: as given for it, or as given for all, or by the matrix, or arcsinh."""
    known = get_args(Transform)
    every: Transform | None = None
    single: dict[str, Transform] = {}
    assays = sorted({pair.assay for pair in matrix.experiments})
    for text in given:
        assay, equals, name = text.rpartition("=")
        if name not in known or (equals and assay not in assays):
            wrong = f"no assay '{assay}' is in {matrix.source}"
            if name not in known:
                wrong = f"'{name}' is not one of {', '.join(known)}"
            raise ConfigError(f"`transform` {text}: {wrong}; write NAME, or ASSAY=NAME")
        if equals:
            single[assay] = name  # type: ignore[assignment]
        else:
            every = name  # type: ignore[assignment]
    return {assay: single.get(assay, every or matrix.transforms.get(assay, "arcsinh")) for assay in assays}


def _span(interval: Interval) -> str:
    return f"{interval.chrom}:{interval.start}-{interval.end}"
