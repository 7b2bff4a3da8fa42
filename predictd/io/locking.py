"""Whether HDF5's file locks work on a file system: some network file systems have none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py

from predictd.io.temporary import temporary_folder

_READ = "import sys, h5py; h5py.File(sys.argv[1], 'r').close()"


def check_hdf5_locking(path: Path) -> str:
    """Write a file, read it twice at once, and see that a reader is refused while it is open for writing.

    Raises
    ------
    OSError
        If files cannot be written or read there.
    """
    with temporary_folder(path) as folder:
        file = folder / "probe.h5"
        with h5py.File(file, "w") as writing:
            writing["probe"] = 1
            writing.flush()
            # Within one process HDF5 shares the open file; only another one meets the lock.
            reader = subprocess.run(
                [sys.executable, "-c", _READ, str(file)], capture_output=True, check=False
            )
            guarded = reader.returncode != 0
        with h5py.File(file, "r") as one, h5py.File(file, "r") as two:
            if one["probe"][()] != two["probe"][()]:
                raise OSError("two readers see different data")
    return "work" if guarded else "files can be read while they are written (locks are off, or absent)"
