"""`predictd export`: the signal of a tensor, or imputed tracks, as files of other tools."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from predictd import interrupt
from predictd.constants import MANIFEST, MAX_OPEN_TRACKS, PARTIAL, RUN_JSON, TRACKS_TSV
from predictd.errors import ConfigError, DataError, OutputError
from predictd.io.extras import needed_for
from predictd.io.files import checksums, exists, make_directory, standing
from predictd.io.results import read_run_json, write_run_json
from predictd.io.tables import Track, read_bed, write_tracks
from predictd.io.tensor.layout import Coverage
from predictd.io.tensor.manifest import Manifest
from predictd.io.tensor.store import Shard, Tensor
from predictd.io.tracks.bigwig import BigWigReader
from predictd.io.tracks.bigwig_writer import BigWigWriter
from predictd.io.tracks.exports import WRITERS, Block, Columns, obs_of, var_of, writer_of
from predictd.io.tracks.genomes import Genome, parse_interval
from predictd.io.tracks.matrix import EXTRA
from predictd.pairs import Experiment
from predictd.progress import progress_bar
from predictd.provenance import RunRecord, given
from predictd.wording import even_parts_of_at_most, some
from predictd.workflows.tensor.fetch import observed_rows
from predictd.workflows.tensor.origin import made_from
from predictd.workflows.tensor.sources import SignalSource, add_rows
from predictd.workflows.tracks.listed import ListedTracks, described, inputs_of, open_listed

log = logging.getLogger(__name__)

# Values read at once from files of tracks: 64 MB.
_TRACK_VALUES = 2**24


@dataclass(frozen=True)
class ExportReport:
    """How many experiments, and bins or regions, were written."""

    experiments: int
    bins: int


class Piece(NamedTuple):
    """Rows of an open shard, which of them are wanted (bool), and their signal (float32, rows × pairs)."""

    shard: Shard
    rows: slice
    wanted: npt.NDArray[np.bool_]
    values: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Selection:
    """What of the signal is exported.

    Attributes
    ----------
    pairs
        `CELL:ASSAY,…`, or pairs; None: all.
    regions
        BED file: only bins that overlap it.
    region
        `chr1:1,000-2,000` (0-based, half-open), `chr1`, or (chromosome, start, end): only bins that overlap it.
    tensor
        Whose bins are written of tracks; None: the one that they were imputed from, or exported of.
    """

    pairs: str | Sequence[Experiment] | None = None
    regions: Path | None = None
    region: str | tuple[str, int, int] | None = None
    tensor: Path | None = None


class Exported:
    """Signal over the bins of a tensor, in the unit of the tracks: what is exported.

    Parameters
    ----------
    source
        A tensor; or a directory of imputed tracks, a track table, or a bigWig.
    selection
        What of it.

    Raises
    ------
    PredictdError
        If there is no such signal, or a track is of another genome than the tensor.
    """

    def __init__(self, source: Path, selection: Selection) -> None:
        self._listed: ListedTracks | None = None
        if exists(source / MANIFEST):
            if selection.tensor is not None:
                raise ConfigError(f"`tensor` is for tracks: {source} is a tensor itself")
            self.tensor = Tensor(source)
            every = list(self.tensor.experiments)
        else:
            self._listed = open_listed(source)
            self.tensor = _tensor_of(self._listed, selection.tensor)
            every = list(self._listed.tracks)
        self.of_tracks = self._listed is not None
        self.pairs = _chosen(selection.pairs, every, source)
        if self._listed is not None:
            _check_genome([self._listed.tracks[pair] for pair in self.pairs], self.tensor.manifest)
        self._coverage = _coverage(selection, self.tensor.manifest.load_genome())

    @property
    def inputs(self) -> dict[str, str]:
        """What the signal and its bins are read from, as run.json has its inputs."""
        found = {str(self.tensor.path): self.tensor.manifest.checksum}
        if self._listed is not None:
            found |= inputs_of(
                self._listed.source, (described(self._listed.tracks[pair]) for pair in self.pairs)
            )
        return found

    @property
    def columns(self) -> Columns:
        """Names and transforms of what is exported."""
        manifest = self.tensor.manifest
        by_assay: dict[str, str] = {entry.assay: entry.transform for entry in manifest.experiments}
        if self._listed is not None:
            own = {pair.assay: track.transform for pair, track in self._listed.tracks.items()}
            by_assay = {**own, **by_assay}
        about: dict[str, str | int] = {"genome": manifest.genome.name, "uncovered": manifest.uncovered}
        about["bins"] = manifest.rows
        if manifest.bin_size is not None:
            about["bin_size"] = manifest.bin_size
        about |= {"intervals": "0-based, half-open", "tensor": manifest.checksum}
        transforms = [by_assay[pair.assay] for pair in self.pairs]
        return Columns(self.pairs, transforms, manifest.chroms, about)

    def blocks(self) -> Iterator[Block]:
        """Yield the rows that are wanted, block by block in the order of the genome.

        Raises
        ------
        DataError
            At the end, if there was none.
        """
        for shard, rows, wanted, values in self.pieces(self.pairs):
            places = shard.places.take(rows)
            yield Block(places.names()[wanted], places.spans()[wanted], values[wanted])

    def pieces(self, pairs: Sequence[Experiment]) -> Iterator[Piece]:
        """Yield the signal of some pairs in whole stretches of rows, and which of these rows are wanted."""
        found = False
        size = Columns(pairs, (), (), {}).chunk[0]
        if self.of_tracks:
            size = max(min(size, _TRACK_VALUES // len(pairs)), 1)
        names = self.tensor.shard_names
        with progress_bar("shards", len(names)) as bar:
            for name in names:
                with self.tensor.open_shard(name) as shard:
                    every = np.ones(shard.n_bins, dtype=bool)
                    if self._coverage is not None:
                        every = self._coverage.mask(shard.places)
                    for start in range(0, shard.n_bins, size):
                        interrupt.stop_if_asked()
                        rows = slice(start, min(start + size, shard.n_bins))
                        if every[rows].any():
                            found = True
                            yield Piece(shard, rows, every[rows], self._read(shard, rows, pairs))
                bar.update()
        if not found:
            held = some(self.columns.chromosomes)
            raise DataError(f"{self.tensor.path} has no bin there: its bins are on {held}, or parts of them")

    def _read(self, shard: Shard, rows: slice, pairs: Sequence[Experiment]) -> npt.NDArray[np.float32]:
        """Signal of rows in the unit of the tracks, float32 (rows × pairs)."""
        if self._listed is not None:
            places = shard.places.take(rows)
            paths = [self._listed.tracks[pair].path for pair in pairs]
            sources = [
                SignalSource(str(pair), (path,), "none") for pair, path in zip(pairs, paths, strict=True)
            ]
            return np.stack([source.read(places, uncovered="missing") for source in sources], axis=1)
        return observed_rows(self.tensor, shard, rows.start, rows.stop, pairs)


def export(source: Path, output: Path, selection: Selection | None = None) -> ExportReport:
    """Write signal as a file of another tool, whole or not at all.

    Parameters
    ----------
    source
        A tensor; or a directory of imputed tracks, a track table, or a bigWig.
    output
        By its suffix: `.zarr`, a store that xarray opens; `.h5ad`, AnnData with experiments in obs and bins in var;
        `.tsv`, `.tsv.gz`, `.parquet`, a matrix with chrom, start and end. Without a suffix, of a tensor: a directory of
        bigWigs with their tracks.tsv.
    selection
        What of the signal; None: all.

    Raises
    ------
    PredictdError
        If there is no such signal, a track is of another genome than the tensor, a library is missing, or the output
        cannot be written.
    """
    selection = selection or Selection()
    write = writer_of(output) if output.suffix else None
    signal = Exported(source, selection)
    record = RunRecord("export", settings=given(**vars(selection)))
    record.inputs = signal.inputs | checksums(selection.regions)
    n_bins = 0

    def counted() -> Iterator[Block]:
        nonlocal n_bins
        for block in signal.blocks():
            n_bins += len(block.spans)
            yield block

    with record.stage("export"):
        if write is None:
            n_bins = _write_bigwigs(signal, output)
        else:
            write(output, signal.columns, counted())
    record.results = {
        "tensor": str(signal.tensor.path.resolve()),
        "genome": signal.tensor.manifest.genome.name,
        "bin_size": signal.tensor.manifest.bin_size,
        "experiments": len(signal.pairs),
        "bins": n_bins,
    }
    write_run_json(record, output, sidecar=write is not None)
    if write is None:
        transforms = dict(zip(signal.pairs, signal.columns.transforms, strict=True))
        names = {pair: f"{pair.file_stem}.bw" for pair in signal.pairs}
        write_tracks(output / TRACKS_TSV, names, {"transform": transforms})
    return ExportReport(len(signal.pairs), n_bins)


def as_anndata(source: Path, selection: Selection | None = None) -> Any:
    """Signal as an anndata.AnnData in memory, experiments × bins; see `export`."""
    with needed_for("AnnData", extra=EXTRA):
        import anndata
    signal = Exported(source, selection or Selection())
    blocks = list(signal.blocks())
    columns = signal.columns
    values = np.concatenate([block.values for block in blocks])
    return anndata.AnnData(values.T.copy(), obs=obs_of(columns), var=var_of(blocks), uns=dict(columns.about))


def _write_bigwigs(signal: Exported, output: Path) -> int:
    """Write a bigWig a pair; returns how many bins each has."""
    if signal.of_tracks:
        raise ConfigError(
            f"{output}: tracks are bigWigs already; use one of the suffixes {', '.join(WRITERS)}"
        )
    if exists(output / PARTIAL) or exists(output / MANIFEST) or standing(output, (TRACKS_TSV, RUN_JSON)):
        raise OutputError(
            f"{output} holds the output of another command; remove it, or name another directory"
        )
    make_directory(output)
    manifest = signal.tensor.manifest
    known = manifest.load_genome().chromosomes
    lengths = {chrom: known[chrom] for chrom in signal.columns.chromosomes}
    n_bins = 0
    for low, high in even_parts_of_at_most(len(signal.pairs), MAX_OPEN_TRACKS):
        pairs = signal.pairs[low:high]
        n_bins = 0
        with ExitStack() as undo:
            writers = []
            for pair in pairs:
                writer = BigWigWriter(output / f"{pair.file_stem}.bw", lengths, bin_size=manifest.bin_size)
                undo.callback(writer.discard)
                writers.append(writer)
            for shard, rows, wanted, values in signal.pieces(pairs):
                values[~wanted] = np.nan
                n_bins += int(wanted.sum())
                for column, writer in enumerate(writers):
                    add_rows(writer, shard, rows.start, np.ascontiguousarray(values[:, column]))
            for writer in writers:
                writer.close()
    return n_bins


def _coverage(selection: Selection, genome: Genome) -> Coverage | None:
    if selection.regions is not None and selection.region is not None:
        raise ConfigError("give `regions`, or `region`")
    if selection.regions is not None:
        intervals = read_bed(selection.regions)
        genome.check_intervals(intervals, selection.regions)
        return Coverage(intervals)
    return None if selection.region is None else Coverage([parse_interval(selection.region, genome)])


def _chosen(
    pairs: str | Sequence[Experiment] | None, every: list[Experiment], source: Path
) -> list[Experiment]:
    if pairs is None:
        return every
    if isinstance(pairs, str):
        pairs = [Experiment.parse(text.strip()) for text in pairs.split(",") if text.strip()]
    chosen = list(dict.fromkeys(pairs))
    unknown = [pair for pair in chosen if pair not in every]
    if unknown or not chosen:
        wanted = some(unknown) or "names none"
        raise DataError(f"`pairs` {wanted}: {source} has no such experiment; it has {some(every)}")
    return chosen


def _check_genome(tracks: Iterable[Track], manifest: Manifest) -> None:
    """Raise TrackError for a track that is not of the tensor's genome; its bins would all lack values."""
    genome, read = manifest.load_genome(), set(manifest.chroms)
    left_out: dict[str, None] = {}
    for track in tracks:
        with closing(BigWigReader(track.path)) as reader:
            chromosomes = reader.chromosomes
        fitting = genome.fitting(track.shown, chromosomes, read)
        left_out |= dict.fromkeys(chrom for chrom in chromosomes if chrom in read and chrom not in fitting)
    if left_out:
        log.warning(
            "the tracks have contigs in another length than %s, left out: %s", genome.name, some(left_out)
        )


def _tensor_of(listed: ListedTracks, given: Path | None) -> Tensor:
    if given is not None:
        return Tensor(given)
    if listed.bins is None:
        raise ConfigError(
            f"{listed.source} does not say which bins its tracks have: name a `tensor` of these bins"
        )
    directory = listed.source if listed.source.is_dir() else listed.source.parent
    return made_from(read_run_json(directory), directory)
