"""The shape of a tensor, known or supposed: all of the data that time, memory and storage depend on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from predictd.constants import BIN_SIZE, MAX_SHARD_BINS
from predictd.errors import ConfigError
from predictd.io.tensor.layout import most_bins, plan_shards
from predictd.io.tensor.manifest import Manifest
from predictd.io.tracks.genomes import BUILT_IN, Genome, load_genome
from predictd.pairs import axes

Pairs = Literal["missing", "observed", "all"]

# `bins` may name a genome. Roadmap: Durham et al. 2018; encode3: Schreiber et al. 2020 (400 biosamples, 84 assays).
PRESETS = {
    "roadmap": "cells=127,assays=24,observed=1014,bins=hg19",
    "roadmap-1percent": "cells=127,assays=24,observed=1014,bins=1126469",
    "encode3": "cells=400,assays=84,observed=3814,bins=hg38",
}
_KEYS = ("cells", "assays", "observed", "bins")


@dataclass(frozen=True)
class Shape:
    """A tensor's shape.

    Attributes
    ----------
    cells, assays
        Cell types and assays.
    observed
        n: experiments.
    bins
        B.
    shards, largest_shard
        Files of the tensor, and bins of the largest.
    itemsize
        Bytes of a stored value.
    """

    cells: int
    assays: int
    observed: int
    bins: int
    shards: int
    largest_shard: int
    itemsize: int = 2

    def __post_init__(self) -> None:
        if self.observed > self.cells * self.assays:
            raise ConfigError(
                f"{self.observed} experiments are more than {self.cells} cell types × {self.assays} assays"
            )

    @property
    def values(self) -> int:
        """Stored values: bins × experiments."""
        return self.bins * self.observed

    def targets(self, pairs: Pairs) -> int:
        """How many pairs are imputed where these are asked for."""
        every = self.cells * self.assays
        return {"missing": every - self.observed, "observed": self.observed, "all": every}[pairs]


def parse_shape(text: str) -> Shape:
    """A shape from `KEY=NUMBER,…`, from a preset, or from a preset with changes, `PRESET,KEY=NUMBER,…`.

    Parameters
    ----------
    text
        Keys are cells, assays, observed and bins; `bins` may be a genome that comes with predictd: all its bins.

    Raises
    ------
    ConfigError
        If a key is unknown, missing or no whole number, or there are more experiments than pairs.
    """
    first, *rest = text.split(",")
    if "=" not in first and first not in PRESETS:
        raise ConfigError(f"`shape` {text}: '{first}' is not one of {', '.join(PRESETS)}, nor KEY=NUMBER")
    values: dict[str, str] = {}
    for part in [*PRESETS.get(first, first).split(","), *rest]:
        key, equals, value = part.strip().partition("=")
        if not equals or key not in _KEYS:
            raise ConfigError(f"`shape` {text}: '{part}' is not one of {', '.join(_KEYS)} and its number")
        values[key] = value
    missing = [key for key in _KEYS if key not in values]
    if missing:
        raise ConfigError(f"`shape` {text}: {' and '.join(missing)} missing")
    cells, assays, observed = (_number(text, key, values[key]) for key in _KEYS[:3])
    if values["bins"] in BUILT_IN:
        genome = load_genome(values["bins"])
    else:
        genome = Genome("supposed", {"chr1": _number(text, "bins", values["bins"]) * BIN_SIZE})
    plans = plan_shards(
        genome,
        bin_size=BIN_SIZE,
        max_bins=most_bins(observed, MAX_SHARD_BINS),
        chromosomes=genome.chromosomes,
    )
    sizes = [plan.places.n_bins for plan in plans]
    return Shape(cells, assays, observed, sum(sizes), len(sizes), max(sizes))


def shape_of(manifest: Manifest) -> Shape:
    """The shape of a tensor, from its manifest alone."""
    cell_types, assays = axes([entry.experiment for entry in manifest.experiments])
    sizes = [entry.n_bins for entry in manifest.shards]
    itemsize = 4 if manifest.dtype == "float32" else 2
    n_observed = len(manifest.experiments)
    return Shape(len(cell_types), len(assays), n_observed, sum(sizes), len(sizes), max(sizes), itemsize)


def _number(text: str, key: str, value: str) -> int:
    try:
        number = float(value.replace("_", ""))
        if number != int(number) or number < 1:
            raise ValueError
    except (ValueError, OverflowError) as err:
        known = f", or one of {', '.join(BUILT_IN)}," if key == "bins" else ""
        raise ConfigError(f"`shape` {text}: {key} is a whole number from 1{known}, not '{value}'") from err
    return int(number)
