"""Alternating least squares."""

from __future__ import annotations

from predictd.workflows.training.solvers.cp import CPSolver


class Als(CPSolver):
    """The objective of docs/method.md, minimised by exact steps (Carroll, Pruzansky & Kruskal 1980)."""

    name = "als"
    objective = "J"
    em = False
    penalties = (1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
    first_penalty = 1e-2
    penalty_range = (1e-5, 1.0)
