"""Solvers by name. Nothing outside a solver's own file asks which solver it is."""

from predictd.workflows.training.solvers.als import Als
from predictd.workflows.training.solvers.auto import Auto
from predictd.workflows.training.solvers.em import Em
from predictd.workflows.training.solvers.kriging import Kriging
from predictd.workflows.training.solvers.sgd import Sgd
from predictd.workflows.training.solvers.solver import Solver

__all__ = ["SOLVERS", "Solver"]

SOLVERS: dict[str, Solver] = {solver.name: solver for solver in (Em(), Als(), Sgd(), Kriging(), Auto())}
