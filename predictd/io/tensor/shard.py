"""One shard of a tensor, opened for reading; see `predictd.io.tensor.store` for what is in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from predictd.constants import BLOCK_BINS, TENSOR_FORMAT
from predictd.errors import TensorFormatError
from predictd.io.files import refuse_unreadable
from predictd.io.hdf5 import UNREADABLE, ForeignFileError, check_format
from predictd.io.tensor.layout import Contig, Places, Runs
from predictd.io.tensor.manifest import Manifest, ShardEntry, version_of
from predictd.kernels import columns_as_rows, widen
from predictd.wording import some

Float32 = npt.NDArray[np.float32]


class Shard:
    """One open shard.

    Attributes
    ----------
    name
        In the tensor.
    places
        Where its bins lie, in runs or as regions.
    summary
        float64 (n_experiments × 4): observed bins, sum, sum of squares, maximum of the stored signal.
    n_bins
        Bins in all.
    """

    def __init__(self, file: h5py.File, path: Path, entry: ShardEntry, manifest: Manifest) -> None:
        self._path, self.name = path, entry.name
        n_experiments, bin_size = len(manifest.experiments), manifest.bin_size
        try:
            check_format(file, format=TENSOR_FORMAT, version=version_of([entry]))
            self._signal = file["signal"]
            self.summary: npt.NDArray[np.float64] = file["summary"][:]
            runs = read_runs(file)
            regions = file["regions"][:] if bin_size is None else None
            n_bins, width = self._signal.shape
            fits = (
                tuple(runs) == entry.chroms
                and (n_bins, width) == (entry.n_bins, n_experiments)
                and sum(own[:, 1].sum() for own in runs.values()) == n_bins
                and self.summary.shape == (width, 4)
                and (regions is None or regions.shape == (n_bins, 2))
            )
        except ForeignFileError as err:
            reason = f"{path} is not a shard that can be read: {err}; ingest the tracks again"
            raise TensorFormatError(reason) from err
        except UNREADABLE as err:
            raise TensorFormatError(f"{path} is damaged; ingest the tracks again") from err
        if not fits:
            raise TensorFormatError(
                f"{path} does not belong to this tensor: it holds {n_bins} bins × {width} experiments of {some(runs)}, "
                f"the manifest says {entry.n_bins} × {n_experiments} of {some(entry.chroms)}; ingest the tracks again"
            )
        self.n_bins = n_bins
        lengths = dict(manifest.genome.chromosomes)
        contigs = tuple(Contig(chrom, lengths[chrom], own) for chrom, own in runs.items())
        self.places = Places(contigs, bin_size, regions)

    def read(self, start: int = 0, stop: int | None = None) -> Float32:
        """Signal of bins [start, stop) of the shard, float32 (bins × experiments).

        Raises
        ------
        TensorFormatError
            If the stored bytes are damaged.
        """
        stop = self.n_bins if stop is None else min(stop, self.n_bins)
        return _widened(self._stored(start, max(stop - start, 0)))

    def block_rows(self, size: int = BLOCK_BINS) -> int:
        """Bins of a block: whole chunks, at least `size` bins."""
        return max(size, int(self._signal.chunks[0]))

    def blocks(self, size: int = BLOCK_BINS, *, reuse: bool = False) -> Iterator[tuple[int, Float32]]:
        """Yield (first row, signal) over the shard; whole chunks are read at a time, at least `size` bins are given.

        With `reuse` all blocks are views of one array, each valid until the next is asked for.
        """
        room = np.empty(self._block_shape(size), dtype=np.float32) if reuse else None
        for start, stored in self._stored_blocks(size, reuse=reuse):
            yield start, _widened(stored, None if room is None else room[: len(stored)])

    def row_blocks(
        self, columns: npt.NDArray[np.int64], size: int = BLOCK_BINS
    ) -> Iterator[tuple[int, Float32, Float32, Float32]]:
        """Yield blocks as `blocks` with `reuse`, but with the signal of some columns as rows, and its ends.

        These are first row, signal (k × bins), and the lowest and highest value of each column, (k,), NaN where one is
        missing.
        """
        room = np.empty((len(columns), self._block_shape(size)[0]), dtype=np.float32)
        for start, stored in self._stored_blocks(size, reuse=True):
            if len(stored) < room.shape[1]:
                room = np.empty((len(columns), len(stored)), dtype=np.float32)
            yield start, room, *columns_as_rows(stored, columns, room)

    def _block_shape(self, size: int) -> tuple[int, int]:
        """Of the largest block."""
        return min(self.block_rows(size), self.n_bins), self._signal.shape[1]

    def _stored_blocks(self, size: int, *, reuse: bool) -> Iterator[tuple[int, npt.NDArray[Any]]]:
        """Yield (first row, signal as it is stored) over the shard."""
        step = self.block_rows(size)
        room = np.empty(self._block_shape(size), dtype=self._signal.dtype) if reuse else None
        for start in range(0, self.n_bins, step):
            yield start, self._stored(start, min(step, self.n_bins - start), room)

    def _stored(self, start: int, count: int, room: npt.NDArray[Any] | None = None) -> npt.NDArray[Any]:
        """Signal of so many bins as it is stored, in the first rows of `room` if there is one."""
        shape = count, self._signal.shape[1]
        stored = np.empty(shape, dtype=self._signal.dtype) if room is None else room[:count]
        try:
            if count:
                self._signal.read_direct(stored, np.s_[start : start + count])
        except UNREADABLE as err:
            refuse_unreadable(self._path, err)
            reason = f"{self._path} is damaged (bins {start} to {start + count}); ingest the tracks again"
            raise TensorFormatError(reason) from err
        return stored

    def sample(self, stride: int, size: int = BLOCK_BINS) -> Iterator[npt.NDArray[np.float32]]:
        """Yield the signal of every `stride`th block, the first one at least; whole chunks as in `blocks`."""
        step = self.block_rows(size)
        for start in range(0, self.n_bins, step * stride):
            yield self.read(start, start + step)


def read_runs(file: h5py.File) -> dict[str, Runs]:
    """Runs of a shard by chromosome."""
    runs = file["runs"][:]
    if "contigs" not in file:
        return {str(file.attrs["chrom"]): runs}
    chroms = [chrom.decode() for chrom in file["contigs"][:]]
    borders = np.cumsum(file["contig_runs"][:])
    return dict(zip(chroms, np.split(runs, borders[:-1]), strict=True))


def _widened(stored: npt.NDArray[Any], out: Float32 | None = None) -> Float32:
    """Stored signal in float32."""
    return widen(stored, out) if stored.dtype == np.float16 else stored
