"""Prices: one TOML file of machines, and of what a managed cluster and stored data cost besides."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from predictd.config import Settings
from predictd.errors import ConfigError
from predictd.workflows.planning.rates import load


class Machine(Settings):
    """A kind of machine that can be rented; `cores` are physical, `speed` is relative to the core of the rates."""

    cores: int = Field(ge=1)
    memory: float = Field(gt=0, description="GiB")
    network: float = Field(gt=0, description="Gbit/s that it has all the time")
    price: float = Field(ge=0, description="an hour, on demand")
    speed: float = Field(1.0, gt=0)


class Cluster(Settings):
    """What a managed Spark cluster takes besides the machines that work."""

    surcharge: float = Field(ge=0, description="share of the on-demand price, for spot machines too")
    primary: str = Field(description="kind of the machine that manages and works not")
    start_minutes: float = Field(ge=0, description="paid before the first task")
    usable_memory: float = Field(gt=0, le=1, description="share of a machine's memory that tasks get")


class Storage(Settings):
    """What data cost."""

    object_month: float = Field(ge=0, description="GB and month in the object store")
    disk_month: float = Field(ge=0, description="GB and month of a machine's disk")
    transfer_out: float = Field(ge=0, description="GB out of the cloud")


class Prices(Settings):
    """A whole price file."""

    date: str = Field(description="when they were true")
    source: str
    region: str
    currency: str = "USD"
    spot: float = Field(gt=0, le=1, description="share of the on-demand price that spot machines cost")
    emr: Cluster
    storage: Storage
    machines: dict[str, Machine] = Field(min_length=1)

    def machine(self, name: str) -> Machine:
        """A kind of machine by its name; raises ConfigError if there is no price of it."""
        if name not in self.machines:
            raise ConfigError(
                f"no price of machine '{name}': there are {', '.join(self.machines)}; add it to a copy of the prices, "
                "and give that as `prices`"
            )
        return self.machines[name]


def load_prices(path: Path | None = None) -> Prices:
    """Prices of a file, or the packaged ones; see `predictd.workflows.planning.rates.load`."""
    prices = load(Prices, "prices", path)
    prices.machine(prices.emr.primary)
    return prices
