"""Expectation maximisation: the genome's factors are normally distributed, and the noise is estimated."""

from __future__ import annotations

from typing import ClassVar

from predictd.model.cp.extend import RowPrior
from predictd.workflows.training.solvers.cp import CPSolver


class Em(CPSolver):
    """Probabilistic CP (docs/method.md, EM); λ is the strength of the prior of cell and assay factors."""

    name = "em"
    objective = "likelihood"
    em = True
    penalties: ClassVar[tuple[float, ...]] = (0.03, 0.1, 0.3, 1.0, 3.0)
    first_penalty = 0.1
    penalty_range = (1e-2, 10.0)
    penalty_name = "prior strength"
    penalty_meaning = "strength of the prior of cell and assay factors"

    def row_prior(self, penalty: float, lambda_g: float) -> RowPrior:
        """Make the normal prior of a new row of C or A."""
        return RowPrior(penalty * lambda_g, em=True)
