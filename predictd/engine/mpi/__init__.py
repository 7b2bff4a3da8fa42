"""The MPI engine: rank 0 runs the command, and every rank, rank 0 too, does its share of the tasks."""

from predictd.engine.mpi.engine import MpiEngine
from predictd.engine.mpi.world import join

__all__ = ["MpiEngine", "join"]
