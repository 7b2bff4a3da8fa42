"""Solvers by name. Workflows ask them, never which they are; only plans know kinds of them (`planning`)."""

from predictd.model.stack.stack import MEMBERS
from predictd.workflows.training.solvers.als import Als
from predictd.workflows.training.solvers.em import Em
from predictd.workflows.training.solvers.sgd import Sgd
from predictd.workflows.training.solvers.solver import Solver
from predictd.workflows.training.solvers.stack import Stack

__all__ = ["SOLVERS", "Solver"]

SOLVERS: dict[str, Solver] = {
    solver.name: solver
    for solver in (
        Stack("stack", MEMBERS),
        Stack("donors", ("donors",)),
        Stack("kriging", ("kriging",)),
        Em(),
        Als(),
        Sgd(),
    )
}
# What is taken where no other is named.
SOLVERS["auto"] = SOLVERS["stack"]
