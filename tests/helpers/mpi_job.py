"""What runs under `mpiexec` for the tests of the MPI engine: rank 0 does what it is told, the others serve it."""

from __future__ import annotations

import sys

import pytest

from predictd.engine.mpi import join

if __name__ == "__main__":
    join()
    # The tests of every engine, here on the world that has been joined.
    sys.exit(pytest.main(sys.argv[1:]))
