"""`predictd plan`: what a job will take here, on a Slurm cluster or in the cloud, before it is begun."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import inf
from typing import Any, Literal

from predictd.errors import ConfigError
from predictd.workflows.planning.paper import PAPER, same_by_predictd
from predictd.workflows.planning.places import (
    GIB,
    Cost,
    Fleet,
    Site,
    candidates,
    cost,
    disk_bytes,
    fewest,
    job_seconds,
    stage_seconds,
)
from predictd.workflows.planning.prices import Prices
from predictd.workflows.planning.rates import Rates
from predictd.workflows.planning.shape import Shape
from predictd.workflows.planning.slurm import Submission, submissions
from predictd.workflows.planning.work import Job, Stage, stages, storage

Place = Literal["local", "slurm", "emr"]


@dataclass(frozen=True)
class StageEstimate:
    """One stage: tasks that can run at once, seconds of one core, seconds on the clock, memory of a worker."""

    name: str
    command: str
    tasks: int
    core_seconds: float
    seconds: float
    workers: int
    worker_bytes: float


@dataclass(frozen=True)
class Offer:
    """A fleet of rented machines with its time, and its costs on demand and with spot machines."""

    fleet: str
    machine: str
    count: int
    cluster: bool
    workers: int
    seconds: float
    disk_bytes: float
    on_demand: Cost
    spot: Cost

    @property
    def price(self) -> float:
        return self.on_demand.total


@dataclass(frozen=True)
class Plan:
    """What a job will take; `to_dict` is what `--json` prints."""

    on: Place
    shape: Shape
    job: Job
    rank: int
    targets: int
    stages: tuple[StageEstimate, ...]
    seconds: float
    memory_bytes: float
    storage: dict[str, float]
    submissions: tuple[Submission, ...]
    offer: Offer | None
    offers: tuple[Offer, ...]
    paper: dict[str, Any]
    warnings: tuple[str, ...]
    rates: Rates
    prices: Prices

    @property
    def core_seconds(self) -> float:
        return sum(stage.core_seconds for stage in self.stages)

    def to_dict(self) -> dict[str, Any]:
        """Plain values: bytes, seconds, and prices in the currency of the price file."""
        offers = [_offer_dict(offer) for offer in self.offers]
        return {
            "estimate": True,
            "on": self.on,
            "shape": asdict(self.shape),
            "job": {
                "kind": self.job.kind,
                "solver": self.job.settings.solver,
                "rank": self.rank,
                "pairs": self.job.pairs,
                "targets": self.targets,
            },
            "stages": [asdict(stage) for stage in self.stages],
            "seconds": self.seconds,
            "core_seconds": self.core_seconds,
            "memory_bytes": self.memory_bytes,
            "storage_bytes": self.storage,
            "submissions": [asdict(submission) for submission in self.submissions],
            "offer": None if self.offer is None else _offer_dict(self.offer),
            "offers": offers,
            "paper": self.paper,
            "warnings": list(self.warnings),
            "rates": self.rates.model_dump(),
            "prices": {
                key: getattr(self.prices, key) for key in ("date", "source", "region", "currency", "spot")
            },
        }


@dataclass(frozen=True)
class Here:
    """This machine: CPUs that may be used, bytes of memory, bytes free where the job would write."""

    workers: int
    memory: float
    disk: float


@dataclass(frozen=True)
class Wanted:
    """Machines that are asked for.

    Attributes
    ----------
    workers
        local: tasks at once; slurm: CPUs of a task.
    machine, machines
        emr: kind and number; None: the cheapest that are quick enough.
    within
        Hours in which clusters are to end.
    compare
        Whether all kinds of machines are compared.
    """

    workers: int = 1
    machine: str | None = None
    machines: int | None = None
    within: float = 12.0
    compare: bool = False


def make_plan(
    shape: Shape, job: Job, on: Place, here: Here, wanted: Wanted, rates: Rates, prices: Prices
) -> Plan:
    """Estimate a job.

    Parameters
    ----------
    shape, job
        The tensor, and what is done to it.
    on, here, wanted
        Where; what this machine has; what is asked for.
    rates, prices
        How fast and for how much.

    Raises
    ------
    ConfigError
        If a machine has no price, the job fits into none, or no cluster is quick enough.
    """
    work, stored = stages(shape, rates, job), storage(shape, rates, job)
    warnings: list[str] = []
    asked: tuple[Submission, ...] = ()
    offer = None
    if on == "emr":
        fleet = _choose_fleet(work, stored, wanted, rates, prices)
        site = fleet.site(prices)
        offer = _offer(work, stored, fleet, rates, prices)
    else:
        site = Site(1, wanted.workers, inf)
        if on == "local":
            warnings = _warnings(work, stored, site, here)
        else:
            asked = submissions(shape, rates, job, wanted.workers)
    estimates = tuple(
        StageEstimate(
            stage.name,
            stage.command,
            stage.tasks,
            stage.core_seconds,
            stage_seconds(stage, site, rates),
            site.workers(stage.memory) * site.machines,
            stage.memory,
        )
        for stage in work
    )
    offers: tuple[Offer, ...] = ()
    if wanted.compare:
        found = candidates(work, prices, rates, within=wanted.within)
        offers = tuple(
            sorted((_offer(work, stored, fleet, rates, prices) for fleet in found), key=lambda o: o.price)
        )
    return Plan(
        on,
        shape,
        job,
        job.rank(shape.observed),
        shape.targets(job.pairs),
        estimates,
        job_seconds(work, site, rates),
        max(min(site.workers(stage.memory), stage.tasks) * stage.memory for stage in work),
        stored,
        asked,
        offer,
        offers,
        PAPER | {"ours": same_by_predictd(job.settings, rates, prices)},
        tuple(warnings),
        rates,
        prices,
    )


def _choose_fleet(
    work: Sequence[Stage], stored: dict[str, float], wanted: Wanted, rates: Rates, prices: Prices
) -> Fleet:
    """The cluster that is asked for, or the cheapest that ends in time."""
    if wanted.machine is not None and wanted.machines is not None:
        return Fleet(wanted.machine, prices.machine(wanted.machine), wanted.machines, cluster=True)
    names = list(prices.machines) if wanted.machine is None else [wanted.machine]
    if wanted.machines is not None:
        fleets = [Fleet(name, prices.machine(name), wanted.machines, cluster=True) for name in names]
        quick = [fleet for fleet in fleets if fleet.site(prices).fits(work)]
    else:
        found = [fewest(work, name, prices, rates, within=wanted.within) for name in names]
        quick = [fleet for fleet in found if fleet is not None]
    if not quick:
        what = wanted.machine or "the machines in the prices"
        raise ConfigError(
            f"no cluster of {what} holds this job and ends within {wanted.within:g} hours; allow more with --within, "
            "or add larger machines to the prices"
        )
    return min(quick, key=lambda fleet: cost(work, stored, fleet, prices, rates, spot=False).total)


def _offer(
    work: Sequence[Stage], stored: dict[str, float], fleet: Fleet, rates: Rates, prices: Prices
) -> Offer:
    site = fleet.site(prices)
    on_demand, spot = (cost(work, stored, fleet, prices, rates, spot=spot) for spot in (False, True))
    return Offer(
        fleet.kind,
        fleet.name,
        fleet.count,
        fleet.cluster,
        min(site.workers(stage.memory) for stage in work),
        job_seconds(work, site, rates),
        disk_bytes(work, fleet.count),
        on_demand,
        spot,
    )


def _warnings(work: Sequence[Stage], stored: dict[str, float], site: Site, here: Here) -> list[str]:
    """What of a job does not fit on this machine."""
    found = []
    for stage in work:
        busy = min(site.cores, stage.tasks)
        if busy * stage.memory > here.memory:
            most = int(here.memory // stage.memory)
            remedy = f"use --workers {most}" if most else "use a machine with more"
            found.append(
                f"{stage.name}: {busy} workers take {busy * stage.memory / GIB:.1f} GiB of the "
                f"{here.memory / GIB:.1f} GiB here; {remedy}"
            )
    written = sum(stage.writes for stage in work)
    if written > here.disk:
        found.append(
            f"the job writes {written / 1e9:,.1f} GB, and {here.disk / 1e9:,.1f} GB are free in this directory"
        )
    return found


def _offer_dict(offer: Offer) -> dict[str, Any]:
    values = asdict(offer)
    for name in ("on_demand", "spot"):
        values[name]["total"] = getattr(offer, name).total
    return values
