"""Prices: one TOML file of machines and of what a cloud takes besides."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

from pydantic import Field

from predictd.config import Settings, read_settings
from predictd.errors import ConfigError

_PACKAGED = files("predictd") / "data" / "prices.toml"


class Machine(Settings):
    """A kind of machine that can be rented.

    `cores` are physical: hyperthreads are not counted on. `speed` is that of a core, relative to the core on which the
    rates were measured.
    """

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
    """What stored, moved and asked-for data cost."""

    object_month: float = Field(ge=0, description="GB and month in the object store")
    disk_month: float = Field(ge=0, description="GB and month of a machine's disk")
    put_thousand: float = Field(ge=0, description="a thousand writing requests")
    get_thousand: float = Field(ge=0, description="a thousand reading requests")
    transfer_out: float = Field(ge=0, description="GB out of the cloud")


class Prices(Settings):
    """A whole price file."""

    date: str = Field(description="when they were true")
    source: str
    region: str
    currency: str = "USD"
    spot: float = Field(
        gt=0, le=1, description="share of the on-demand price that spot machines typically cost"
    )
    emr: Cluster
    storage: Storage
    machines: dict[str, Machine] = Field(min_length=1)

    def machine(self, name: str) -> Machine:
        """A kind of machine by its name.

        Raises
        ------
        ConfigError
            If there is no price of it.
        """
        if name not in self.machines:
            raise ConfigError(
                f"no price of machine '{name}': there are {', '.join(self.machines)}; add it to a copy of the prices "
                "and name that with --prices"
            )
        return self.machines[name]


def load_prices(path: Path | None = None) -> Prices:
    """Prices of a file, or those that come with predictd.

    Raises
    ------
    ConfigError
        If the file cannot be read, a price is missing or unknown, or the cluster's primary machine has none.
    """
    if path is None:
        with as_file(_PACKAGED) as packaged:
            return load_prices(packaged)
    prices = read_settings(path, Prices, "prices")
    if prices.emr.primary not in prices.machines:
        raise ConfigError(f"prices in {path}: 'emr.primary': there is no [machines.\"{prices.emr.primary}\"]")
    return prices
