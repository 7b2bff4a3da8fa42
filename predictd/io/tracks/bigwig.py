"""Signal tracks read from bigWig files: binned means, with pybigtools, several times faster than pyBigWig."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pybigtools

from predictd.errors import TrackError
from predictd.io.files import exists
from predictd.io.names import URL_SCHEMES, without_secrets
from predictd.io.remote import RangeReader, RemotePath, as_path

# Ends of names that pybigtools opens; other files it takes opened.
_SUFFIXES = (".bw", ".bigWig", ".bigwig")
Uncovered = Literal["missing", "zero"]
_MAGIC = 0x888FFC26
# Of files that cover less than one base in so many, blocks of so many bins are looked at first.
_SPARSE, _BLOCK = 20, 4096


class BigWigReader:
    """Binned means of one bigWig file or URL; of an object in a store only the pieces that are needed are read.

    Raises
    ------
    TrackError
        If it cannot be opened or read as a bigWig.
    RemoteError
        If an object store fails.
    """

    def __init__(self, path: str) -> None:
        self.path = without_secrets(path)
        self._ranges: RangeReader | None = None
        self._within = False
        self._opened = ExitStack()
        # Servers do not see a fragment.
        place: Any = f"{path}#.bw"
        if not path.startswith(URL_SCHEMES):
            self._ranges = _check_frame(as_path(path))
            place = self._ranges or path
            if self._ranges is None and not path.endswith(_SUFFIXES):
                place = self._opened.enter_context(Path(path).open("rb"))  # noqa: SIM115
        with self.reading():
            self._file: Any = pybigtools.open(place)
            self.chromosomes: dict[str, int] = dict(self._file.chroms())
            self._summary: dict[str, float] = self._file.info()["summary"]

    @property
    def covered_bases(self) -> int:
        """Bases that have a value."""
        return int(self._summary["basesCovered"])

    def check_signal(self) -> None:
        """Raise TrackError if the file's own summary shows no values, or NaN or infinite ones."""
        if not self.covered_bases:
            raise TrackError(f"{self.path} holds no signal; make or download it again")
        # Of finite values the sum may be infinite, since it is kept in single precision.
        if np.isnan(self._summary["sum"]) or np.isinf([self._summary["min"], self._summary["max"]]).any():
            raise TrackError(
                f"{self.path} holds NaN or infinite values (its summary says so); leave such positions out of the file"
            )

    def binned_means(
        self, chrom: str, first: int, n_bins: int, *, bin_size: int, uncovered: Uncovered
    ) -> npt.NDArray[np.float64]:
        """Means over bins, weighted by covered bases.

        Parameters
        ----------
        chrom
            Chromosome; one that the file does not have is uncovered.
        first, n_bins
            First bin and number of bins; the last bin of a chromosome may be cut by its end.
        bin_size
            Width of a bin in bp.
        uncovered
            `missing`: a bin's mean is over its covered bases, NaN where there are none.
            `zero`: uncovered bases count as 0.

        Returns
        -------
        float64 (n_bins,)

        Raises
        ------
        TrackError
            If the data cannot be decoded.
        """
        length = self.chromosomes.get(chrom)
        if length is None:
            return np.full(n_bins, 0.0 if uncovered == "zero" else np.nan)
        start, end = first * bin_size, (first + n_bins) * bin_size
        whole = n_bins if end <= length else n_bins - 1
        means = np.full(n_bins, 0.0 if uncovered == "zero" else np.nan)
        for begin, stop in self._stretches(chrom, start, whole, bin_size):
            means[begin:stop] = self._values(
                chrom, start + begin * bin_size, start + stop * bin_size, stop - begin, uncovered
            )
        if whole < n_bins:
            means[whole:] = self._values(chrom, start + whole * bin_size, length, 1, uncovered)
        return means

    def _stretches(self, chrom: str, start: int, n_bins: int, bin_size: int) -> list[tuple[int, int]]:
        """Where bins may have values: of a file that covers little, only blocks of bins that it covers somewhere."""
        n_blocks = n_bins // _BLOCK
        if n_blocks < 2 or self.covered_bases * _SPARSE > sum(self.chromosomes.values()):
            return [(0, n_bins)] if n_bins else []
        read = n_blocks * _BLOCK
        highest = self._values(chrom, start, start + read * bin_size, n_blocks, "missing", summary="max")
        edges = np.flatnonzero(np.diff(np.concatenate([[True], np.isnan(highest), [True]]))) * _BLOCK
        found = list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
        return found if read == n_bins else [*found, (read, n_bins)]

    def _values(
        self, chrom: str, start: int, end: int, n_bins: int, uncovered: Uncovered, summary: str = "mean"
    ) -> Any:
        with self.reading():
            return self._file.values(
                chrom,
                start,
                end,
                bins=n_bins,
                summary=summary,
                exact=True,
                uncovered=0.0 if uncovered == "zero" else None,
                fillna=None,
            )

    def region_means(
        self, chrom: str, regions: npt.NDArray[np.int64], *, uncovered: Uncovered
    ) -> npt.NDArray[np.float64]:
        """Means over regions of a chromosome, weighted by covered bases; see `binned_means`.

        Parameters
        ----------
        regions
            int64 (n × 2): start and end of each in bp, within the chromosome.

        Returns
        -------
        float64 (n,)
        """
        if chrom not in self.chromosomes:
            return np.full(len(regions), 0.0 if uncovered == "zero" else np.nan)
        options = {"summary": "mean", "exact": True, "fillna": None}
        options["uncovered"] = 0.0 if uncovered == "zero" else None
        with self.reading():
            means = [self._file.values(chrom, *span, bins=1, **options)[0] for span in regions.tolist()]
        return np.array(means, dtype=np.float64)

    def rough_means(self, chrom: str, n_bins: int, *, bin_size: int) -> npt.NDArray[np.float64]:
        """Means over the first bins of a chromosome as the file's zoom levels give them; fast, and not exact.

        They are float64 (n_bins,), NaN where nothing is covered.
        """
        with self.reading():
            means: npt.NDArray[np.float64] = self._file.values(
                chrom, 0, n_bins * bin_size, bins=n_bins, summary="mean", exact=False, fillna=None
            )
        return means

    def close(self) -> None:
        """Close the file, or the connection to it."""
        self._file.close()
        self._opened.close()
        if self._ranges is not None:
            self._ranges.close()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Turn what goes wrong in the reader into one line; its panics print a trace, which is held back.

        To hold it back takes as long as to read a short contig: thousands are read within one such block.
        """
        if self._within:
            yield
            return
        self._within = True
        try:
            with _native_stderr_held_back():
                yield
        except BaseException as err:
            if self._ranges is not None and self._ranges.error is not None:
                raise self._ranges.error from None
            if isinstance(err, Exception) or type(err).__name__ == "PanicException":
                raise _no_bigwig(self.path) from err
            raise
        finally:
            self._within = False


def _no_bigwig(path: str) -> TrackError:
    if path.startswith(URL_SCHEMES):
        return TrackError(
            f"{path} cannot be read as a bigWig: it is not there, its server does not answer or cannot send parts "
            "of files, or the file is damaged; correct the address, or download the file and name it in the table"
        )
    return TrackError(
        f"{path} is not a complete bigWig file: it is cut off, damaged or of another format; download or make it again"
    )


def _check_frame(path: Path) -> RangeReader | None:
    """Raise TrackError unless the file begins and ends as a bigWig (Kent et al. 2010, supplement) does.

    An object in a store is returned as it was opened for that, with what has been read of it.

    pybigtools does not miss the end of a truncated file that it need not read, and a damaged number of chromosomes
    makes it ask for more memory than there is, which ends the process.
    """
    if isinstance(path, RemotePath):
        return _framed_object(path)
    if not exists(path):
        raise _no_track(path)
    if not path.is_file() or path.stat().st_size == 0:
        raise TrackError(f"{path} is {'empty' if path.is_file() else 'no file'}; make or download it again")
    try:
        with path.open("rb") as file:
            framed = _framed(file)
    except OSError as err:
        raise TrackError(f"{path} cannot be read: {err.strerror}; see that you may read it") from err
    if not framed:
        raise _no_bigwig(str(path))
    return None


def _framed_object(path: RemotePath) -> RangeReader:
    try:
        ranges = path.ranges()
    except FileNotFoundError as err:
        raise _no_track(path) from err
    if not _framed(ranges):
        raise _no_bigwig(str(path))
    ranges.seek(0)
    return ranges


def _no_track(path: Path) -> TrackError:
    return TrackError(f"{path} does not exist; correct its path in the table of tracks")


def _framed(file: io.RawIOBase | io.BufferedIOBase) -> bool:
    try:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        header = file.read(16) or b""
        order = "<" if header[:4] == struct.pack("<I", _MAGIC) else ">"
        magic, _, _, tree = struct.unpack(f"{order}IHHQ", header)
        file.seek(min(tree, size))
        _, _, key_bytes, value_bytes, n_chromosomes = struct.unpack(f"{order}IIIIQ", file.read(24) or b"")
        file.seek(size - 4)
        (end,) = struct.unpack(f"{order}I", file.read(4) or b"")
    except struct.error:
        return False
    whole: bool = magic == end == _MAGIC and n_chromosomes * (key_bytes + value_bytes) <= size
    return whole


@contextmanager
def _native_stderr_held_back() -> Iterator[None]:
    """Send file descriptor 2 to nowhere while native code runs that prints its own traces."""
    saved = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)
