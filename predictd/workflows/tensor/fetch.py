"""Some bins of a tensor by their place in the genome, in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from predictd.constants import BLOCK_BINS
from predictd.errors import DataError
from predictd.io.tables import Interval
from predictd.io.tensor.layout import Places, Spans
from predictd.io.tensor.store import Shard, Tensor
from predictd.io.tracks.genomes import parse_interval
from predictd.model.transforms import TRANSFORMS
from predictd.pairs import Experiment
from predictd.wording import some

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Window:
    """The bins of a tensor's grid that overlap an interval; or its regions, where it has regions.

    Attributes
    ----------
    chrom
        Chromosome.
    first, n_bins
        First bin, and how many there are.
    bin_size
        Width of a bin in bp; None: they are regions.
    spans
        int64 (n_bins × 2): where bins begin and end, in bp.
    """

    chrom: str
    first: int
    n_bins: int
    bin_size: int | None
    spans: Spans

    @classmethod
    def of(cls, tensor: Tensor, interval: Interval) -> Window:
        """The bins of an interval that lies on the tensor's genome."""
        size, chrom = tensor.manifest.bin_size, interval.chrom
        length = dict(tensor.manifest.genome.chromosomes)[chrom]
        if size is None:
            own = [places.spans() for _, _, places in _places_on(tensor, chrom)]
            spans = np.concatenate([np.empty((0, 2), np.int64), *own])
            first = int(np.searchsorted(spans[:, 1], interval.start, side="right"))
            spans = spans[first : np.searchsorted(spans[:, 0], interval.end)]
        else:
            first, end = interval.start // size, -(-interval.end // size)
            runs = np.array([[first, end - first]], dtype=np.int64)
            spans = Places.of(chrom, length, size, runs).spans()
        return cls(chrom, first, len(spans), size, spans)

    @property
    def starts(self) -> npt.NDArray[np.int64]:
        """Where bins begin: int64 (n_bins,), in bp from 0."""
        return self.spans[:, 0]

    @property
    def ends(self) -> npt.NDArray[np.int64]:
        """Where bins end, exclusive: int64 (n_bins,)."""
        return self.spans[:, 1]


@dataclass(frozen=True)
class Piece:
    """Rows of a shard, and the places of the window that they fill: int64 (rows,)."""

    rows: slice
    places: npt.NDArray[np.int64]


def locate(tensor: Tensor, region: str | tuple[str, int, int]) -> Window:
    """The bins that overlap a region.

    Parameters
    ----------
    tensor
        On whose genome it lies.
    region
        `chr1:1,000-2,000` (0-based, half-open), `chr1` for a whole chromosome, or (chromosome, start, end).

    Raises
    ------
    ConfigError
        If it is not such a text.
    TableError
        If it does not lie on the genome.
    DataError
        If the tensor has no bin there.
    """
    interval = parse_interval(region, tensor.manifest.load_genome())
    window = Window.of(tensor, interval)
    if next(_shards(tensor, window), None) is None:
        held = tensor.manifest.chroms
        where = f"it has {some(held)}" if window.chrom not in held else "it has other parts of the chromosome"
        raise DataError(
            f"{tensor.path} has no bin in {interval.chrom}:{interval.start}-{interval.end}; {where}"
        )
    return window


def gather(
    tensor: Tensor, window: Window, read: Callable[[Shard, int, int], Sequence[Float32]]
) -> list[Float32]:
    """Arrays over a window, made from what `read` gives of shards; bins that the tensor has not are NaN.

    Parameters
    ----------
    tensor, window
        What is read.
    read
        Of a shard, its first row and the last plus one: arrays (rows × m).

    Returns
    -------
    list of float32 (n_bins × m)
        One for each array.
    """
    found: list[Float32] = []
    for name, piece in _shards(tensor, window):
        with tensor.open_shard(name) as shard:
            for start in range(piece.rows.start, piece.rows.stop, BLOCK_BINS):
                stop = min(start + BLOCK_BINS, piece.rows.stop)
                places = piece.places[start - piece.rows.start : stop - piece.rows.start]
                for index, values in enumerate(read(shard, start, stop)):
                    if index == len(found):
                        found.append(np.full((window.n_bins, values.shape[1]), np.nan, dtype=np.float32))
                    found[index][places] = values
    return found


def fetch(tensor: Tensor, window: Window, experiments: Sequence[Experiment]) -> Float32:
    """Observed signal of experiments in a window: float32 (n_bins × m), in the unit of the tracks; NaN is missing."""
    (signal,) = gather(
        tensor, window, lambda shard, start, stop: [observed_rows(tensor, shard, start, stop, experiments)]
    )
    return signal


def observed_rows(
    tensor: Tensor, shard: Shard, start: int, stop: int, experiments: Sequence[Experiment]
) -> Float32:
    """Observed signal of the rows [start, stop) of a shard, in the unit of the tracks: float32 (rows × m)."""
    signal = shard.read(start, stop)[:, tensor.columns(experiments)]
    transforms = {entry.experiment: TRANSFORMS[entry.transform] for entry in tensor.manifest.experiments}
    for column, experiment in enumerate(experiments):
        signal[:, column] = transforms[experiment].inverse(signal[:, column])
    return signal


def _shards(tensor: Tensor, window: Window) -> Iterator[tuple[str, Piece]]:
    """The shards that hold bins of a window, with their rows, which are consecutive."""
    end = window.first + window.n_bins
    for name, start, places in _places_on(tensor, window.chrom):
        bins = places.bins()
        low, high = np.searchsorted(bins, [window.first, end]).tolist()
        if low < high:
            yield name, Piece(slice(start + low, start + high), bins[low:high] - window.first)


def _places_on(tensor: Tensor, chrom: str) -> Iterator[tuple[str, int, Places]]:
    """Shards that have rows on a chromosome: name, first such row, and where these rows lie."""
    for entry in tensor.manifest.shards:
        if chrom in entry.chroms:
            for rows, places in tensor.places(entry.name).parts():
                if places.chrom == chrom:
                    yield entry.name, rows.start, places
