"""A program that writes HDF5 where files may not grow, and prints what it is told."""

from __future__ import annotations

# HDF5 that meets a failed write may end the process, even at its very end, or say nothing at all.
FILL = """
import resource, sys
from pathlib import Path
import numpy as np
from predictd.errors import OutputError
from predictd.io.hdf5 import creating, write_arrays

path, limit = Path(sys.argv[1]), int(sys.argv[2])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
path.write_bytes(b"old")
numbers = np.random.default_rng(0).random(100_000)
for size in (10, 1000, 100_000):
    try:
        write_arrays(path, format="x", version=1, header={}, arrays={"a": numbers[:size]})
    except OutputError as err:
        print(size, err)
    try:
        with creating(path, format="x", version=1) as file:
            file.create_dataset("a", data=numbers[:size], chunks=(min(size, 512),), fletcher32=True)
    except OutputError as err:
        print(size, err)
"""
