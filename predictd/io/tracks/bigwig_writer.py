"""Imputed tracks written as bigWig files, with pyBigWig.

It writes fixed steps, which are half the size of the intervals that pybigtools writes, and lets many files grow at
once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyBigWig

from predictd.errors import OutputError, TrackError
from predictd.io.files import cannot_write, give_up, put_in_place, require_size, require_space, staging
from predictd.io.tracks.bigwig import BigWigReader

# Kept free on the disk while a track grows: pyBigWig does not survive a failed write, so none may fail.
_SPARE_BYTES = 32 * 2**20
# Four bytes a value, before compression, and less than as much again for the zoom levels.
_VALUE_BYTES = 8
# With a start and an end, too.
_REGION_BYTES = 24


class BigWigWriter:
    """A bigWig that grows run by run in the order of its header and takes its name when it is whole.

    Parameters
    ----------
    path
        The finished file; until `close` it grows under a temporary name; see `staging`.
    chromosomes
        Names and lengths in bp, in the order in which signal will come.
    bin_size
        Width of a bin in bp; not needed for regions.

    Raises
    ------
    OutputError
        If the file cannot be made or the disk is (nearly) full.
    """

    def __init__(self, path: Path, chromosomes: dict[str, int], *, bin_size: int | None = None) -> None:
        self.path = path
        self._lengths = chromosomes
        self._bin_size = bin_size or 1
        self._bases = self._values = 0
        try:
            # pybigtools, which checks the finished file, goes by the suffix.
            self._partial = staging(path, suffix=".bw")
        except OSError as err:
            raise cannot_write(path, err) from err
        try:
            self._require_room(0)
        except OutputError:
            give_up(self._partial, path)
            raise
        self._file: Any = pyBigWig.open(str(self._partial), "w")
        self._file.addHeader(list(chromosomes.items()))

    def add(self, chrom: str, first: int, values: npt.NDArray[np.float32]) -> None:
        """Append consecutive bins; NaN bins are left uncovered.

        Parameters
        ----------
        chrom
            Chromosome of the header; chromosomes come in header order.
        first
            First bin; bins come in ascending order.
        values
            float32 (n,): signal of n consecutive bins in the unit of the track.
        """
        self._require_room(_VALUE_BYTES * values.size)
        for start, stop in _finite_stretches(values):
            self._append(chrom, first + start, values[start:stop])

    def add_regions(
        self, chrom: str, regions: npt.NDArray[np.int64], values: npt.NDArray[np.float32]
    ) -> None:
        """Append regions (int64, n × 2: start and end in bp; ascending, disjoint), each with its value; see `add`."""
        self._require_room(_REGION_BYTES * values.size)
        known = np.isfinite(values)
        if known.any():
            starts, ends = regions[known].T
            self._file.addEntries(
                [chrom] * starts.size, starts.tolist(), ends=ends.tolist(), values=values[known].tolist()
            )
            self._bases += int((ends - starts).sum())
            self._values += starts.size

    def _append(self, chrom: str, first: int, values: npt.NDArray[np.float32]) -> None:
        size, length = self._bin_size, self._lengths[chrom]
        cut = (first + values.size) * size > length
        whole = values.size - cut
        if whole:
            self._file.addEntries(chrom, first * size, values=values[:whole], span=size, step=size)
        if cut:
            start = (first + whole) * size
            self._file.addEntries([chrom], [start], ends=[length], values=values[whole:])
        self._bases += min((first + values.size) * size, length) - first * size
        self._values += values.size

    def close(self) -> None:
        """Finish the file, see that all signal is in it, and give it its name."""
        self._require_room(_VALUE_BYTES * self._values)
        self._file.close()
        self._file = None
        try:
            written = _covered_bases(self._partial) if self._bases else 0
            if written != self._bases:
                raise OutputError(
                    f"{self.path}: {written} of {self._bases} bases were written; is the disk full?"
                )
            put_in_place(self._partial, self.path)
        except OSError as err:
            raise cannot_write(self.path, err) from err
        finally:
            give_up(self._partial, self.path)

    def _require_room(self, n_bytes: int) -> None:
        """See that the file may grow by so much, since pyBigWig does not survive a failed write."""
        require_room(self.path, n_bytes)
        # Besides, it holds back a block of some kilobytes.
        require_size(self._partial, self.path, n_bytes + 2**16)

    def discard(self) -> None:
        """Give the file up, unless it is finished."""
        if self._file is not None:
            self._file.close()
            self._file = None
            give_up(self._partial, self.path)


def require_room(path: Path, n_bytes: int) -> None:
    """See that the disk has room for so much more of the bigWig at `path`, and some to spare.

    Raises
    ------
    OutputError
        If it has not.
    """
    require_space(path, _SPARE_BYTES + n_bytes)


def _covered_bases(path: Path) -> int:
    try:
        reader = BigWigReader(str(path))
    except TrackError:
        return 0
    try:
        return reader.covered_bases
    finally:
        reader.close()


def _finite_stretches(values: npt.NDArray[np.float32]) -> list[tuple[int, int]]:
    """Half-open index ranges of consecutive finite values."""
    finite = np.isfinite(values)
    if finite.all():
        return [(0, values.size)] if values.size else []
    edges = np.flatnonzero(np.diff(np.concatenate([[False], finite, [False]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
