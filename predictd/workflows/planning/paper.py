"""What the original PREDICTD took, and what predictd would for the same data."""

from __future__ import annotations

from typing import Any

from predictd.config import TrainSettings
from predictd.workflows.planning.places import Fleet, cost
from predictd.workflows.planning.prices import Prices
from predictd.workflows.planning.rates import Rates
from predictd.workflows.planning.shape import parse_shape
from predictd.workflows.planning.work import Job, JobKind, stages, storage

# What the original PREDICTD (Durham et al. 2018) took on Roadmap's experiments for 1 % of the genome. Nobody has run it
# for the whole genome, and how its costs would grow is not known: they are shown as they are.
PAPER = {
    "shape": "127 cell types × 24 assays, 1014 experiments, 1 % of the genome",
    "train_hours": 5.0,
    "train_cores": 64,
    "train_price": 10.0,
    "cv_price": 80.0,
    "cv_days": [2, 3],
    "output_bytes": 750e9,
    "memory_bytes": 500e9,
}
_SAME_SHAPE = "roadmap-1percent"


def same_by_predictd(settings: TrainSettings, rates: Rates, prices: Prices) -> dict[str, Any]:
    """The paper's own job by predictd: for training and for cross-validation, from tracks to imputed tracks."""
    shape = parse_shape(_SAME_SHAPE)
    found: dict[str, Any] = {"rank": Job("cv", settings).rank(shape.observed)}
    kinds: tuple[JobKind, ...] = ("train", "cv")
    for kind in kinds:
        same = Job(kind, settings)
        work, stored = stages(shape, rates, same), storage(shape, rates, same)
        alone = [
            Fleet(name, machine, 1, cluster=False)
            for name, machine in prices.machines.items()
            if Fleet(name, machine, 1, cluster=False).site(prices).fits(work)
        ]
        best = min(
            ((cost(work, stored, fleet, prices, rates, spot=False), fleet) for fleet in alone),
            key=lambda priced: priced[0].total,
            default=None,
        )
        found[kind] = {
            "core_hours": sum(stage.core_seconds for stage in work) / 3600,
            "machine": best and best[1].name,
            "hours": best and best[0].hours,
            "price": best and best[0].total,
            "worker_bytes": max(stage.memory for stage in work),
            "output_bytes": sum(stage.writes for stage in work),
        }
    return found
