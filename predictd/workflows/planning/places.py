"""Where a job runs: the time that its stages take on machines with memory and a network, and the price of these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log2

from predictd.errors import ConfigError
from predictd.workflows.planning.prices import Machine, Prices
from predictd.workflows.planning.rates import Rates
from predictd.workflows.planning.work import Stage, Tasks

GIB = 2**30
# Left to the system on a machine that nobody manages.
_RESERVE = 1.0 * GIB
_MONTH_HOURS = 730.0
# Objects are written and read in pieces of about this size.
_REQUEST_BYTES = 8 * 2**20
# More machines are not looked at.
MOST_MACHINES = 256


@dataclass(frozen=True)
class Site:
    """Equal machines.

    Attributes
    ----------
    machines
        How many work.
    cores
        Of each.
    memory
        Bytes of each that tasks may use.
    network
        Bytes a second to each, of everything that is read and written; None: the disk of the machine, not counted.
    speed
        Of a core, relative to that of the rates.
    """

    machines: int
    cores: int
    memory: float
    network: float | None = None
    speed: float = 1.0

    def workers(self, memory: float) -> int:
        """Workers of this memory in bytes that one machine holds, at most one a core."""
        return max(0, int(min(self.cores, self.memory // memory)))

    def fits(self, stages: Sequence[Stage]) -> bool:
        return all(self.workers(stage.memory) for stage in stages)


def makespan(wave: Sequence[Tasks], workers: int) -> float:
    """Seconds for a group of tasks on equal workers: whole rounds of equal tasks, or what cannot be beaten."""
    if len(wave) == 1:
        return ceil(wave[0].count / workers) * wave[0].seconds
    total = sum(tasks.count * tasks.seconds for tasks in wave)
    return max(total / workers, max((tasks.seconds for tasks in wave if tasks.count), default=0.0))


def stage_seconds(stage: Stage, site: Site, rates: Rates) -> float:
    """Seconds of a stage.

    Every wave of tasks is computed by as many workers as memory allows. Over a network what is read and written is
    added, each machine reading the tensor once at most (`--scratch`), and sums are joined in log₂ steps. The start of
    workers is added where a command begins.

    Raises
    ------
    ConfigError
        If not even one worker fits into the memory of a machine.
    """
    a_machine = site.workers(stage.memory)
    if not a_machine:
        raise ConfigError(
            f"a worker of stage {stage.name} takes {stage.memory / GIB:.1f} GiB, and a machine has "
            f"{site.memory / GIB:.1f} GiB for it; choose machines with more memory"
        )
    workers = a_machine * site.machines
    efficiency = rates.efficiency if a_machine > 1 else 1.0
    seconds = sum(makespan(wave, workers) for wave in stage.waves) / (site.speed * efficiency)
    if stage.starts:
        seconds += rates.start / site.speed
    if site.network is not None:
        moved = min(stage.reads / site.machines, stage.source) + stage.writes / site.machines
        moved += stage.joined * ceil(log2(site.machines))
        seconds += moved / site.network
    return seconds


def job_seconds(stages: Sequence[Stage], site: Site, rates: Rates) -> float:
    """Seconds of all stages, one after the other."""
    return sum(stage_seconds(stage, site, rates) for stage in stages)


@dataclass(frozen=True)
class Fleet:
    """Rented machines: some of one kind, and with `cluster` a managed cluster's primary machine.

    Attributes
    ----------
    name, machine, count
        Kind of the machines and how many work.
    cluster
        Whether a managed cluster makes them work together; a single machine needs none.
    """

    name: str
    machine: Machine
    count: int
    cluster: bool

    @property
    def kind(self) -> str:
        return f"{self.count} × {self.name}" + ("" if self.cluster else ", no cluster")

    def site(self, prices: Prices) -> Site:
        memory = self.machine.memory * GIB
        usable = memory * prices.emr.usable_memory if self.cluster else max(0.0, memory - _RESERVE)
        network = self.machine.network * 1e9 / 8
        return Site(self.count, self.machine.cores, usable, network, self.machine.speed)


@dataclass(frozen=True)
class Cost:
    """What a job costs, in the currency of the prices; a month's keeping and downloading are apart from `total`.

    Attributes
    ----------
    hours
        Of the machines, with the start of a cluster.
    machines, surcharge, disks, requests
        The machines that work and the primary one; the cluster's share; their disks; asking the object store.
    keep_month, download
        Keeping tensor, models and imputed tracks for a month, and taking the imputed tracks out of the cloud.
    """

    hours: float
    machines: float
    surcharge: float
    disks: float
    requests: float
    keep_month: float
    download: float

    @property
    def total(self) -> float:
        return self.machines + self.surcharge + self.disks + self.requests


def cost(
    stages: Sequence[Stage],
    stored: dict[str, float],
    fleet: Fleet,
    prices: Prices,
    rates: Rates,
    *,
    spot: bool,
) -> Cost:
    """Price of a job on a fleet.

    Parameters
    ----------
    stages, stored
        The work, and bytes of what it leaves (`storage`).
    fleet, prices, rates
        Where, for how much, how fast.
    spot
        Whether the machines that work are spot machines, which may be taken away; the primary one never is.

    Raises
    ------
    ConfigError
        If not even one worker fits into the memory of a machine.
    """
    seconds = job_seconds(stages, fleet.site(prices), rates)
    hours = seconds / 3600 + (prices.emr.start_minutes / 60 if fleet.cluster else 0.0)
    on_demand = fleet.count * fleet.machine.price
    primary = prices.machine(prices.emr.primary).price if fleet.cluster else 0.0
    machines = hours * (on_demand * (prices.spot if spot else 1.0) + primary)
    surcharge = hours * (on_demand + primary) * prices.emr.surcharge if fleet.cluster else 0.0
    store = prices.storage
    disks = disk_bytes(stages, fleet.count) * fleet.count / 1e9 * store.disk_month * hours / _MONTH_HOURS
    puts = sum(ceil(stage.writes / _REQUEST_BYTES) for stage in stages)
    gets = sum(
        fleet.count * ceil(min(stage.reads / fleet.count, stage.source) / _REQUEST_BYTES) for stage in stages
    )
    requests = puts / 1e3 * store.put_thousand + gets / 1e3 * store.get_thousand
    kept = sum(size for what, size in stored.items() if what != "tracks") / 1e9
    return Cost(
        hours,
        machines,
        surcharge,
        disks,
        requests,
        kept * store.object_month,
        stored["imputed"] / 1e9 * store.transfer_out,
    )


def disk_bytes(stages: Sequence[Stage], machines: int) -> float:
    """Bytes of disk that each machine needs: copies of the shards that it reads, and what it writes at a time."""
    return 10e9 + max(min(stage.reads / machines, stage.source) + stage.writes / machines for stage in stages)


def fewest(
    stages: Sequence[Stage], name: str, prices: Prices, rates: Rates, *, within: float
) -> Fleet | None:
    """The smallest cluster of one kind of machine that ends within so many hours; None: there is none."""
    machine = prices.machine(name)
    for count in range(1, MOST_MACHINES + 1):
        fleet = Fleet(name, machine, count, cluster=True)
        site = fleet.site(prices)
        if not site.fits(stages):
            return None
        if job_seconds(stages, site, rates) <= within * 3600:
            return fleet
    return None


def candidates(stages: Sequence[Stage], prices: Prices, rates: Rates, *, within: float) -> list[Fleet]:
    """Fleets to compare: of every kind of machine that the job fits into, one alone, and the smallest cluster."""
    found = []
    for name, machine in prices.machines.items():
        alone = Fleet(name, machine, 1, cluster=False)
        if alone.site(prices).fits(stages):
            found.append(alone)
        cluster = fewest(stages, name, prices, rates, within=within)
        if cluster is not None and cluster.count > 1:
            found.append(cluster)
    return found
