"""Tracks that a table lists, imputed or observed: what people look at, and call peaks in."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from predictd.constants import BIN_SIZE, FOLDS_JSON, MANIFEST, MODELS, TRACKS_TSV
from predictd.errors import TableError, TensorFormatError, TrackError
from predictd.io.files import checksums, exists, sha256_of, state_of
from predictd.io.names import is_bedgraph, is_bigwig, without_secrets
from predictd.io.partition import Job, read_job
from predictd.io.remote import as_path
from predictd.io.results import read_run_json, run_json_of
from predictd.io.tables import Track, table_rows, unique_pairs
from predictd.io.temporary import temporary_folder
from predictd.io.tensor.manifest import read_manifest
from predictd.io.tracks.bedgraph import bedgraph_extents, bedgraph_to_bigwig
from predictd.io.tracks.bigwig import BigWigReader
from predictd.io.tracks.genomes import Genome
from predictd.io.tracks.metadata import read_track_table
from predictd.pairs import Experiment
from predictd.wording import some
from predictd.workflows.tensor.sources import check_there

log = logging.getLogger(__name__)

# See `ListedTracks`: genome, bin_size, tensor and bins.
_Origin = tuple[str | None, int | None, Path | None, Path | None]


@dataclass(frozen=True)
class ListedTracks:
    """Tracks by pair.

    Attributes
    ----------
    source
        Where they are listed.
    tracks
        One a pair, sorted by pair; all are there, and bigWigs unless bedGraphs may be, too.
    sds
        Files of the standard deviation of imputed signal, where there are any.
    genome
        Name of the genome that predictd imputed them on, or exported them of; None: not known.
    bin_size
        Of the bins they were imputed or exported in, in bp; 25 where that is not known; None: they are of regions.
    tensor
        That they were imputed from, as predictd says; None: not known, or they were not imputed.
    bins
        Tensor whose bins they have, which is that one, or the one that they were exported of; None: not known.
    """

    source: Path
    tracks: dict[Experiment, Track]
    sds: dict[Experiment, str]
    genome: str | None = None
    bin_size: int | None = BIN_SIZE
    tensor: Path | None = None
    bins: Path | None = None


def open_listed(source: Path, *, bedgraphs: bool = False) -> ListedTracks:
    """Tracks of a directory with a tracks.tsv, of a track table, or a single file of signal.

    A single file is the experiment STEM:signal, STEM being its name without the suffix. Where `bedgraphs`, files may be
    bedGraph and wiggle, too; see `open_signal`.

    Raises
    ------
    TableError
        If there is no such table, or it has a pair twice.
    TrackError
        If a file is not there, or is not a bigWig by its name.
    """
    if is_bigwig(source) or is_bedgraph(source):
        stem = Path(source.stem).stem if is_bedgraph(source.stem) else source.stem
        experiment = Experiment(stem.replace(":", "_"), "signal")
        tracks = {experiment: Track(experiment, str(source.absolute()), "arcsinh", None, str(source))}
        listed = ListedTracks(source, tracks, {}, *_origin_beside(source))
    elif not exists(source):
        raise TableError(
            f"{source} does not exist; name a directory with a {TRACKS_TSV}, a table of tracks, or a bigWig"
        )
    elif source.is_dir():
        listed = _open_directory(source)
    else:
        tracks = _sorted(read_track_table(source), source)
        listed = ListedTracks(source, tracks, {}, *_origin_beside(source))
    for track in listed.tracks.values():
        if bedgraphs and is_bedgraph(track.path) and not track.is_url:
            check_there(track)
        else:
            _check_bigwig(track)
    return listed


@contextmanager
def open_signal(path: str, chromosomes: Mapping[str, int] | None = None) -> Iterator[BigWigReader]:
    """Open a bigWig, or a bedGraph, which becomes one in the system's temporary directory for as long as it is open.

    `chromosomes` are their lengths in bp; None: in a bedGraph they end where the last interval does.
    """
    with temporary_folder() if is_bedgraph(path) else nullcontext() as folder:
        shown, place = without_secrets(path), path
        if folder is not None:
            lengths = dict(chromosomes or bedgraph_extents(as_path(path)))
            place = str(Path(folder, "signal.bw"))
            bedgraph_to_bigwig(as_path(path), Path(place), Genome("the table", lengths))
        reader = BigWigReader(place)
        reader.path = shown
        try:
            yield reader
        finally:
            reader.close()


def signal_lengths(listed: ListedTracks) -> dict[str, int]:
    """Lengths in bp of the chromosomes of all tracks; see `common_chromosomes`.

    Those that only bedGraphs have end where the last interval of any does.

    Raises
    ------
    TrackError
        If two tracks are of different genomes, or name chromosomes differently, or one cannot be read.
    """
    paths = [track.path for track in listed.tracks.values()]
    known = common_chromosomes(path for path in paths if not is_bedgraph(path))
    found = dict(known)
    for path in filter(is_bedgraph, paths):
        extents = bedgraph_extents(as_path(path))
        _check_names(path, extents, found)
        for chrom, end in extents.items():
            if end > known.get(chrom, end):
                raise TrackError(
                    f"{path}: {chrom} has signal up to {end:,} bp, but {known[chrom]:,} bp in other tracks; is one of "
                    "them of another genome?"
                )
            found[chrom] = max(end, found.get(chrom, 0))
    return found


def described(track: Track) -> dict[str, Any]:
    """What a job depends on of a track."""
    return {
        "pair": str(track.experiment),
        "path": track.shown,
        **({} if track.is_url else state_of(as_path(track.path))),
    }


def inputs_of(source: Path, tracks: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Tracks, and what lists them, as run.json has its inputs.

    A checksum of each track would take as long as reading whole genomes: in its place is what changes when the file is
    replaced, such as `bytes 1234, modified 1760000000000000000`. Of addresses on web servers it is not known.

    Parameters
    ----------
    source
        A directory, which has the checksum of its tracks.tsv, and whose run.json is an input, too; a track table; or a
        single track.
    tracks
        Those that are read, as `described`.
    """
    found = {}
    if source.is_dir():
        found[str(source)] = sha256_of(source / TRACKS_TSV)
        run = run_json_of(source)
        found |= checksums(run if exists(run) else None)
    elif not (is_bigwig(source) or is_bedgraph(source)):
        found |= checksums(source)
    for track in tracks:
        state = [f"{name} {track[name]}" for name in ("bytes", "modified") if name in track]
        found[str(track["path"])] = ", ".join(state) or "unknown"
    return found


def refuse_replaced(track: Track, job: Job) -> None:
    """Raise TrackError unless a track is one of those that a job depends on, as they were when it was planned."""
    found = None
    with suppress(OSError):
        found = described(track)
    if found not in job.description["tracks"]:
        raise TrackError(
            f"{track.shown} was removed, or made again, after the run began; run the command again"
        )


def _open_directory(directory: Path) -> ListedTracks:
    table = directory / TRACKS_TSV
    if not table.is_file():
        if read_job(directory) is not None:
            raise TableError(f"{directory} is unfinished; run the command that began it again, to continue")
        raise TableError(f"{directory} {_no_tracks(directory)}")
    tracks = _sorted(read_track_table(table), table)
    sds = {}
    for line, row in table_rows(table, required=("cell_type", "assay", "path")):
        if row.get("sd_path"):
            path = directory / row["sd_path"]
            if not exists(path):
                raise TrackError(f"{table}, line {line}: {path} does not exist; correct its path")
            sds[Experiment(row["cell_type"], row["assay"])] = str(path.absolute())
    return ListedTracks(directory, tracks, sds, *_origin(directory))


def _no_tracks(directory: Path) -> str:
    """What a directory without a table of tracks is, and what to do."""
    if (directory / MANIFEST).is_file():
        return (
            f"is a tensor: 'predictd export {directory} DIRECTORY' writes its tracks, which can be named here"
        )
    if (directory / FOLDS_JSON).is_file() and (directory / MODELS).is_dir():
        return f"is a cross-validation: 'predictd impute {directory} TENSOR' writes tracks, which can be named here"
    return f"has no {TRACKS_TSV}: list its tracks there (cell_type, assay, path)"


def _sorted(tracks: list[Track], table: Path) -> dict[Experiment, Track]:
    return dict(sorted(unique_pairs(tracks, table).items()))


def _check_bigwig(track: Track) -> None:
    if not is_bigwig(track.path):
        raise TrackError(
            f"{track.where}: {track.shown} is not a bigWig by its name; use one with the suffix .bw or .bigWig"
        )
    check_there(track)


def _origin_beside(file: Path) -> _Origin:
    """See `_origin`: of a directory's table, or of a file that this table lists; of others nothing is known."""
    table, known = file.with_name(TRACKS_TSV), file.name == TRACKS_TSV
    if not known and table.is_file():
        with suppress(TableError):
            known = str(file.absolute()) in {track.path for track in read_track_table(table)}
    return _origin(file.parent) if known else (None, BIN_SIZE, None, None)


def _origin(directory: Path) -> _Origin:
    """Genome, bin size, tensor and bins, as our own output says, or the tensor that it was made from."""
    tensor = made_from = None
    try:
        run = read_run_json(directory)
        results, made_from = run["results"], as_path(str(run["results"]["tensor"]))
        # A directory of exported tracks is what was observed.
        tensor = None if run.get("workflow") == "export" else made_from
        if "genome" in results and "bin_size" in results:
            return str(results["genome"]), results["bin_size"], tensor, made_from
        manifest = read_manifest(made_from)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, TensorFormatError):
        return None, BIN_SIZE, tensor, made_from
    return manifest.genome.name, manifest.bin_size, tensor, made_from


def _check_names(path: str, own: Mapping[str, int], others: Mapping[str, int]) -> None:
    """Raise TrackError for a chromosome that others have under a name that differs by `chr` alone; contigs may."""
    genome, known = Genome(path, dict(own)), Genome("other tracks", dict(others))
    for chrom, length in own.items():
        other = None if chrom in others else known.other_name(chrom)
        if other is not None and other not in own and not genome.is_small(length):
            raise TrackError(
                f"{path} has a chromosome '{chrom}', and other tracks have '{other}': give all the same names, with or "
                "without chr"
            )


def common_chromosomes(paths: Iterable[str], genome: Genome | None = None) -> dict[str, int]:
    """Lengths in bp of the chromosomes of some bigWigs, in the order of the genome, or in which they come.

    Contigs that the genome does not have, and small ones of several lengths, are left out, with a warning.

    Raises
    ------
    TrackError
        If two files, or a file and the genome, give a chromosome different lengths, or names that differ by `chr`; or a
        file cannot be read.
    """
    found: dict[str, tuple[int, str]] = {}
    left_out: dict[str, None] = {}
    for path in paths:
        reader = BigWigReader(path)
        chromosomes = reader.chromosomes
        reader.close()
        own = genome or Genome(reader.path, chromosomes)
        fitting = chromosomes if genome is None else genome.fitting(reader.path, chromosomes)
        left_out |= dict.fromkeys(chrom for chrom in chromosomes if chrom not in fitting)
        if genome is None:
            _check_names(reader.path, chromosomes, {chrom: length for chrom, (length, _) in found.items()})
        for chrom, length in fitting.items():
            expected, first = found.setdefault(chrom, (length, reader.path))
            if expected != length:
                if not own.is_small(max(expected, length)):
                    raise TrackError(
                        f"{reader.path}: {chrom} has {length:,} bp, but {expected:,} in {first}; is one of them of "
                        "another genome?"
                    )
                left_out[chrom] = None
    if left_out:
        log.warning(
            "the tracks have contigs of another genome, or of several lengths, left out: %s", some(left_out)
        )
    names = genome.chromosomes if genome is not None else found
    order = [chrom for chrom in names if chrom in found and (genome is not None or chrom not in left_out)]
    return {chrom: found[chrom][0] for chrom in order}
