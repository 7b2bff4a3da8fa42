"""Signal files as stored signal: first look, binning, transform. What ingest stores and evaluation compares."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from predictd.constants import REFUSE_COMPLETE
from predictd.engine import Engine
from predictd.errors import TrackError
from predictd.io.files import exists, sha256_of
from predictd.io.names import is_bedgraph, is_bigwig, without_secrets
from predictd.io.remote import as_path, is_remote
from predictd.io.tables import Track, Transform
from predictd.io.tensor.layout import Places
from predictd.io.tensor.manifest import SourceFile
from predictd.io.tensor.store import Shard
from predictd.io.tracks.bedgraph import bedgraph_to_bigwig
from predictd.io.tracks.bigwig import BigWigReader, Uncovered
from predictd.io.tracks.bigwig_writer import BigWigWriter
from predictd.io.tracks.genomes import Genome
from predictd.model.transforms import TRANSFORMS
from predictd.wording import some

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Probe:
    """What the first look at a track found.

    Attributes
    ----------
    path
        The bigWig to read: the track itself, or what its bedGraph became.
    chromosomes
        Lengths in bp by name, of those that are the genome's.
    left_out
        Contigs that are not.
    source
        The file's size, and its checksum where one is taken.
    """

    path: str
    chromosomes: dict[str, int]
    left_out: tuple[str, ...]
    source: SourceFile


def check_there(track: Track) -> None:
    """Raise TrackError unless the track's file is there; URLs are looked at when they are opened."""
    if track.is_url or exists(path := as_path(track.path)):
        return
    if not is_remote(track.path) and path.is_symlink():
        raise TrackError(
            f"{track.where}: {track.path} is a link to {path.readlink()}, which is not there; fetch that file"
        )
    raise TrackError(f"{track.where}: {track.path} does not exist; correct its path")


@dataclass(frozen=True)
class NumberedTrack:
    """A track and a number that is unique among the tracks that are looked at."""

    index: int
    track: Track


@dataclass(frozen=True)
class Probing:
    """What all first looks have in common.

    Attributes
    ----------
    scratch
        Directory for converted bedGraphs.
    genome
        That tracks are of.
    read
        Its chromosomes that are read; None: all.
    checksums
        Whether a checksum of each file is taken, for which it is read from beginning to end.
    """

    scratch: Path
    genome: Genome
    read: frozenset[str] | None = None
    checksums: bool = False


def probe_tracks(tracks: Sequence[Track], shared: Probing, engine: Engine) -> list[Probe]:
    """Look at tracks, each in a task, and warn once of what all leave out; see `probe_track`."""
    keys = [NumberedTrack(index, track) for index, track in enumerate(tracks)]
    probes = engine.map(probe_track, keys, shared, label="tracks")
    left_out = dict.fromkeys(chrom for probe in probes for chrom in probe.left_out)
    if left_out:
        log.warning(
            "%d of %d tracks have contigs that %s lacks or has with another length: %s; their signal there is left "
            "out",
            sum(bool(probe.left_out) for probe in probes),
            len(probes),
            shared.genome.name,
            some(left_out),
        )
    return probes


def probe_track(key: NumberedTrack, shared: Probing) -> Probe:
    """Look at one track: whether it is whole and of this genome. A bedGraph becomes a bigWig.

    Raises
    ------
    TrackError
        If the track cannot be read or does not fit the genome.
    """
    track, path = key.track, key.track.path
    left_out: tuple[str, ...] = ()
    check_there(track)
    source = _source(track, shared.checksums)
    if is_bedgraph(path):
        if track.is_url:
            raise TrackError(
                f"{track.where}: {track.shown} is a bedGraph behind a URL; download it, or use a bigWig"
            )
        converted = shared.scratch / f"track-{key.index}.bw"
        if not converted.exists():
            left_out = bedgraph_to_bigwig(as_path(path), converted, shared.genome)
        path = str(converted)
    elif not is_bigwig(path):
        raise TrackError(
            f"{track.where}: {track.shown} is neither bigWig nor bedGraph by its name; use the suffix .bw, .bigWig, "
            ".bedGraph or .wig (the last two also .gz)"
        )
    reader = BigWigReader(path)
    reader.path = track.shown
    reader.check_signal()
    chromosomes = reader.chromosomes
    reader.close()
    fitting = shared.genome.fitting(track.shown, chromosomes, shared.read)
    left_out += tuple(chrom for chrom in chromosomes if chrom not in fitting)
    if shared.read is not None:
        left_out = tuple(chrom for chrom in left_out if chrom in shared.read)
    return Probe(path, fitting, left_out, source)


def check_chromosomes(tracks: Sequence[Track], probes: Sequence[Probe], places: Iterable[Places]) -> None:
    """Log a warning of tracks without some chromosome that is read, where what is uncovered counts as 0.

    Parameters
    ----------
    tracks, probes
        The tracks, and what `probe_tracks` found.
    places
        The bins that are read.

    Raises
    ------
    TrackError
        If a track lacks the chromosomes of more than half of these bins, as a partial download does.
    """
    read: Counter[str] = Counter()
    for own in places:
        for _, contig in own.parts():
            read[contig.chrom] += contig.n_bins
    incomplete = []
    for track, probe in zip(tracks, probes, strict=True):
        absent = {chrom: n for chrom, n in read.items() if chrom not in probe.chromosomes}
        share = 1 - sum(absent.values()) / read.total()
        if share < REFUSE_COMPLETE:
            raise TrackError(
                f"{track.where}: {track.shown} lacks {some(absent)}: only {share:.1%} of the bins are on chromosomes "
                f"that it has, and at least {REFUSE_COMPLETE:.0%} are needed where uncovered positions count as zero; "
                "download or make the file again, leave it out, or ingest with uncovered positions as missing"
            )
        if absent:
            incomplete.append(f"{track.experiment} ({some(absent, 3)})")
    if incomplete:
        log.warning(
            "the files of %d of %d tracks lack chromosomes, where their signal counts as zero, since all that is "
            "uncovered does: %s; if a file is only a part of its track, download or make it again",
            len(incomplete),
            len(tracks),
            some(incomplete, 3),
        )


def _source(track: Track, checksum: bool) -> SourceFile:
    if track.is_url:
        return SourceFile(path=track.shown)
    file = as_path(track.path)
    try:
        if is_remote(track.path):
            # A checksum would take as long as all that is read of it.
            return SourceFile(path=track.path, bytes=file.stat().st_size)
        # To open it shows that it may be read.
        with file.open("rb"):
            sha256 = sha256_of(file) if checksum else None
        return SourceFile(path=track.path, bytes=file.stat().st_size, sha256=sha256)
    except OSError as err:
        raise TrackError(
            f"{track.where}: {track.path} cannot be read: {err.strerror}; see that it is a file you may read"
        ) from err


@dataclass(frozen=True)
class SignalSource:
    """An experiment's bigWigs; several are replicates, averaged where they have signal.

    Attributes
    ----------
    label
        The pair, for messages.
    paths
        bigWig files or URLs.
    transform
        Applied to the binned means.
    sources
        What the user calls the files, for messages, where it is not `paths`.
    """

    label: str
    paths: tuple[str, ...]
    transform: Transform
    sources: tuple[str, ...] = ()

    @property
    def named(self) -> str:
        """The files, for messages."""
        return ", ".join(map(without_secrets, self.sources or self.paths))

    def read(self, places: Places, *, uncovered: Uncovered) -> npt.NDArray[np.float32]:
        """Transformed means over bins, or regions: float32 (bins,), NaN where missing. Each file is opened once.

        Raises
        ------
        TrackError
            If a file cannot be read, or its signal is outside of what the transform takes.
        """
        replicates = [_read_means(path, places, uncovered) for path in self.paths]
        means = replicates[0] if len(replicates) == 1 else observed_mean(np.stack(replicates), axis=0)
        transform = TRANSFORMS[self.transform]
        wrong = (means < transform.lower) | (means > transform.upper) | np.isinf(means)
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            own = places.take(np.array([row]))
            start, end = own.spans()[0].tolist()
            raise TrackError(
                f"{self.named}: signal {means[row]:g} at {own.chrom}:{start}-{end} does not suit the "
                f"transform {self.transform} of {self.label}, which takes finite values from {transform.lower:g} to "
                f"{transform.upper:g}; "
                "correct the track, or give the assay another transform in the table"
            )
        return transform.forward(means.astype(np.float32))

    def read_imputed(self, places: Places, *, uncovered: Uncovered) -> npt.NDArray[np.float32]:
        """What `read` gives of imputed signal, which is absent (NaN) where no base of a bin is covered.

        Other bins follow the rule that observed signal is binned by.
        """
        signal = self.read(places, uncovered="missing")
        if uncovered == "zero":
            np.copyto(signal, self.read(places, uncovered="zero"), where=~np.isnan(signal))
        return signal


def _read_means(path: str, places: Places, uncovered: Uncovered) -> npt.NDArray[np.float64]:
    means = np.empty(places.n_bins)
    with closing(BigWigReader(path)) as reader, reader.reading():
        for rows, own in places.parts():
            # A contig of another length is another sequence.
            if reader.chromosomes.get(own.chrom) != own.length:
                reader.chromosomes.pop(own.chrom, None)
            if own.bin_size is None:
                means[rows] = reader.region_means(own.chrom, own.spans(), uncovered=uncovered)
                continue
            start = rows.start
            for first, n in own.runs.tolist():
                means[start : start + n] = reader.binned_means(
                    own.chrom, first, n, bin_size=own.bin_size, uncovered=uncovered
                )
                start += n
    return means


def observed_mean(values: npt.NDArray[Any], *, axis: int) -> npt.NDArray[Any]:
    """Mean along an axis of what is not NaN; NaN where all is."""
    observed = (~np.isnan(values)).sum(axis=axis)
    return np.nansum(values, axis=axis) / np.where(observed, observed, np.nan)


def add_rows(writer: BigWigWriter, shard: Shard, start: int, values: npt.NDArray[np.float32]) -> None:
    """Append to a bigWig what consecutive rows of a shard hold, from row `start`; float32 (rows,), NaN is uncovered."""
    for own, places in shard.places.parts(start, start + len(values)):
        low, high = max(start, own.start), min(start + len(values), own.stop)
        part = values[low - start : high - start]
        if places.regions is not None:
            writer.add_regions(places.chrom, places.regions[low - own.start : high - own.start], part)
            continue
        for first, rows in places.stretches(low - own.start, high - own.start):
            writer.add(places.chrom, first, part[rows])
