"""Where a job runs: the time that its stages take on machines, and what rented ones cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, inf

from predictd.errors import ConfigError
from predictd.workflows.planning.prices import Prices
from predictd.workflows.planning.rates import Rates
from predictd.workflows.planning.work import PlannedStage, Wave

GIB = 2**30
_MONTH_HOURS = 730.0
# More machines are not looked at.
MOST_MACHINES = 256


@dataclass(frozen=True)
class Site:
    """Equal machines.

    Attributes
    ----------
    machines, cores
        How many work, with so many cores each.
    memory
        Bytes of each that tasks may use.
    network
        Bytes a second to each, of everything that is read and written.
    speed
        Of a core, relative to that of the rates.
    """

    machines: int
    cores: int
    memory: float = inf
    network: float = inf
    speed: float = 1.0

    @classmethod
    def rented(cls, name: str, count: int, prices: Prices) -> Site:
        """A cluster of one kind of machine."""
        machine = prices.machine(name)
        memory = machine.memory * GIB * prices.emr.usable_memory
        return cls(count, machine.cores, memory, machine.network * 1e9 / 8, machine.speed)

    def workers(self, stage: PlannedStage) -> int:
        """Workers of a stage that one machine holds, at most one a core."""
        return int(min(self.cores, self.memory // stage.memory))

    def moved(self, stage: PlannedStage) -> float:
        """Bytes that a machine reads, the tensor once at most, and writes."""
        return min(stage.reads / self.machines, stage.source) + stage.writes / self.machines

    def seconds(self, stages: Sequence[PlannedStage], rates: Rates) -> float:
        """Seconds of stages, one after the other; infinite where not even one worker fits into the memory."""
        total = 0.0
        for stage in stages:
            each = self.workers(stage)
            if not each:
                return inf
            speed = self.speed * (rates.efficiency if each > 1 else 1.0)
            working = sum(_makespan(wave, each * self.machines) for wave in stage.waves)
            total += working / speed + stage.start / self.speed + self.moved(stage) / self.network
        return total


@dataclass(frozen=True)
class Wanted:
    """Machines that are asked for.

    Attributes
    ----------
    workers
        local: tasks at once; slurm: CPUs of a task; None: the CPUs that may be used, 2 for slurm.
    machine, machines
        emr: kind and number; None: the cheapest, and as few as end in time.
    within
        Hours in which a cluster is to end.
    """

    workers: int | None = None
    machine: str | None = None
    machines: int | None = None
    within: float = 12.0


def _makespan(wave: Wave, workers: int) -> float:
    """Rounds of tasks of mean length; no less than the longest of them."""
    return max(ceil(wave.tasks / workers) * wave.seconds / wave.tasks, wave.longest)


@dataclass(frozen=True)
class Offer:
    """A cluster of one kind of machine, and what a job costs there in the currency of the prices.

    Attributes
    ----------
    machine, count, workers
        Kind and number of the machines; workers at least in all.
    hours
        With the start of the cluster.
    disk_bytes
        Each machine needs: copies of the shards that it reads, and what it writes at a time.
    on_demand, spot
        Price of machines, the primary one, the surcharge and disks, where the machines that work are on demand or spot.
    keep_month, download
        Keeping tensor, models and imputed tracks for a month, and taking the imputed tracks out of the cloud.
    """

    machine: str
    count: int
    workers: int
    hours: float
    disk_bytes: float
    on_demand: float
    spot: float
    keep_month: float
    download: float


def offers(
    stages: Sequence[PlannedStage], stored: dict[str, float], wanted: Wanted, prices: Prices, rates: Rates
) -> list[Offer]:
    """Clusters to choose from by price: what is asked for, or the smallest of each kind that ends in time.

    Raises
    ------
    ConfigError
        If a machine has no price, or there is no such cluster.
    """
    found = []
    limit = inf if wanted.machines else wanted.within * 3600
    for name in [wanted.machine] if wanted.machine else prices.machines:
        for count in [wanted.machines] if wanted.machines else range(1, MOST_MACHINES + 1):
            site = Site.rented(name, count, prices)
            seconds = site.seconds(stages, rates)
            if seconds <= limit and seconds < inf:
                found.append(_offer(stages, stored, site, seconds, name, prices))
                break
    if not found:
        most = max(stage.memory for stage in stages) / GIB
        raise ConfigError(
            f"no cluster of {wanted.machine or 'the machines in the prices'} has {most:.1f} GiB for each worker and "
            f"ends within {wanted.within:g} hours; allow more hours as `within`, or add larger machines to the prices"
        )
    return sorted(found, key=lambda offer: offer.on_demand)


def _offer(
    stages: Sequence[PlannedStage],
    stored: dict[str, float],
    site: Site,
    seconds: float,
    name: str,
    prices: Prices,
) -> Offer:
    hours = seconds / 3600 + prices.emr.start_minutes / 60
    working, primary = site.machines * prices.machine(name).price, prices.machine(prices.emr.primary).price
    disk = 10e9 + max(site.moved(stage) for stage in stages)
    disks = site.machines * disk / 1e9 * prices.storage.disk_month / _MONTH_HOURS
    besides = primary + prices.emr.surcharge * (working + primary) + disks
    kept = sum(size for what, size in stored.items() if what != "tracks") / 1e9
    return Offer(
        machine=name,
        count=site.machines,
        workers=min(site.workers(stage) for stage in stages) * site.machines,
        hours=hours,
        disk_bytes=disk,
        on_demand=hours * (working + besides),
        spot=hours * (working * prices.spot + besides),
        keep_month=kept * prices.storage.object_month,
        download=stored["imputed"] / 1e9 * prices.storage.transfer_out,
    )
