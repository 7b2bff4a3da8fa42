"""Arrays that are too large for memory and are needed once more in the order in which they were made."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

import numpy as np
import numpy.typing as npt

log = logging.getLogger(__name__)

Float32 = npt.NDArray[np.float32]
# Bytes that are always left free on the disk for whatever else is written there.
SPARE_BYTES = 2**31


class Spool:
    """A file without a name, which is gone when its process ends, however that ends.

    Nobody depends on it: where its disk has no room, or runs full meanwhile, it gives the room back, and `whole` is
    false.

    Parameters
    ----------
    place
        A local directory; it is made where it is not there, but what it is in is not.
    n_bytes
        What is going to be appended in all.
    """

    def __init__(self, place: Path, n_bytes: int) -> None:
        self._place = place
        self._file: FileIO | None = None
        with self._giving_up():
            # Not what it is in: that is gone where another process has finished the same job meanwhile.
            place.mkdir(exist_ok=True)
            self._require(n_bytes)
            self._file = tempfile.TemporaryFile(dir=place, buffering=0)  # noqa: SIM115

    @property
    def whole(self) -> bool:
        """Whether all arrays that were appended are there."""
        return self._file is not None

    def append(self, array: Float32) -> None:
        """Write an array behind those before it."""
        if self._file is not None:
            with self._giving_up():
                self._require(array.nbytes)
                left = _bytes_of(np.ascontiguousarray(array))
                while left:
                    left = left[self._file.write(left) :]

    def read(self, shape: tuple[int, int]) -> Float32:
        """The array behind the one that was read last."""
        assert self._file is not None
        array = np.empty(shape, dtype=np.float32)
        left = _bytes_of(array)
        while left:
            n_bytes = self._file.readinto(left)
            if not n_bytes:
                raise OSError(errno.EIO, "less can be read than was written", str(self._place))
            left = left[n_bytes:]
        return array

    def rewind(self) -> None:
        """Let the first array be read next."""
        if self._file is not None:
            self._file.seek(0)

    def _require(self, n_bytes: int) -> None:
        if shutil.disk_usage(self._place).free < n_bytes + SPARE_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    @contextmanager
    def _giving_up(self) -> Iterator[None]:
        """Let the file go where something cannot be written."""
        try:
            yield
        except OSError as err:
            log.info(
                "%s: there is no room to keep what is needed twice: %s",
                self._place,
                err,
            )
            if self._file is not None:
                self._file.close()
            self._file = None


def _bytes_of(array: Float32) -> memoryview:
    """The memory of a contiguous array."""
    return array.reshape(-1).view(np.uint8).data
