"""The shape of a job: all of the data that time, memory and storage depend on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from predictd.constants import MAX_OPEN_TRACKS, MAX_SHARD_BINS, MAX_SHARD_VALUES
from predictd.errors import ConfigError
from predictd.io.tensor.layout import plan_shards
from predictd.io.tensor.manifest import Manifest
from predictd.io.tracks.genomes import BUILT_IN, load_genome
from predictd.pairs import axes

Pairs = Literal["missing", "observed", "all"]

# `bins` may name a genome. Roadmap: Durham et al. 2018; encode3: Schreiber et al. 2020 (400 biosamples, 84 assays).
PRESETS = {
    "roadmap": {"cells": "127", "assays": "24", "observed": "1014", "bins": "hg19"},
    "roadmap-1percent": {"cells": "127", "assays": "24", "observed": "1014", "bins": "1126469"},
    "encode3": {"cells": "400", "assays": "84", "observed": "3814", "bins": "hg38"},
}
_KEYS = ("cells", "assays", "observed", "bins")
_EXAMPLE = "cells=127,assays=24,observed=1014,bins=hg19"


@dataclass(frozen=True)
class Shape:
    """A tensor's shape, known or supposed.

    Attributes
    ----------
    cells, assays
        Cell types and assays.
    observed
        n: experiments, with signal in all bins.
    bins
        B.
    shards
        Files of the tensor.
    largest_shard
        Bins of the largest.
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
        if min(self.cells, self.assays, self.observed, self.bins) < 1:
            raise ConfigError("a shape has at least one cell type, assay, experiment and bin")
        if self.observed > self.cells * self.assays:
            raise ConfigError(
                f"{self.observed} experiments are more than {self.cells} cell types × {self.assays} assays"
            )

    @property
    def values(self) -> int:
        """Stored values: bins × experiments."""
        return self.bins * self.observed

    def targets(self, pairs: Pairs) -> int:
        """How many pairs `predictd impute --pairs` means."""
        every = self.cells * self.assays
        return {"missing": every - self.observed, "observed": self.observed, "all": every}[pairs]


def parse_shape(text: str) -> Shape:
    """A shape from `KEY=NUMBER,…`, from a preset, or from a preset with changes, `PRESET,KEY=NUMBER,…`.

    Parameters
    ----------
    text
        Keys are cells, assays, observed and bins; `bins` may be hg19 or hg38: all bins of the genome.

    Raises
    ------
    ConfigError
        If a key is unknown, missing or no whole number, or the shape cannot be.
    """
    first, *rest = [part.strip() for part in text.split(",")]
    values: dict[str, str] = {}
    if "=" in first:
        rest = [first, *rest]
    elif first in PRESETS:
        values = dict(PRESETS[first])
    else:
        raise ConfigError(f"--shape {text}: '{first}' is no preset ({', '.join(PRESETS)}); or say {_EXAMPLE}")
    for part in rest:
        key, equals, value = part.partition("=")
        if not equals or key not in _KEYS:
            raise ConfigError(f"--shape {text}: '{part}' is not one of {', '.join(_KEYS)} and its number")
        values[key] = value
    missing = [key for key in _KEYS if key not in values]
    if missing:
        raise ConfigError(f"--shape {text}: {' and '.join(missing)} missing; say for example {_EXAMPLE}")
    cells, assays, observed = (_number(text, key, values[key]) for key in _KEYS[:3])
    limit = shard_limit(observed)
    if values["bins"] in BUILT_IN:
        genome = load_genome(values["bins"])
        sizes = [
            plan.n_bins
            for plan in plan_shards(genome, bin_size=25, max_bins=limit, chromosomes=genome.chromosomes)
        ]
    else:
        bins = _number(text, "bins", values["bins"])
        shards = max(1, -(-bins // limit))
        sizes = [-(-bins // shards)] * (shards - 1) + [bins - -(-bins // shards) * (shards - 1)]
    return Shape(cells, assays, observed, sum(sizes), len(sizes), max(sizes))


def shape_of(manifest: Manifest) -> Shape:
    """The shape of a tensor, from its manifest alone."""
    cell_types, assays = axes([entry.experiment for entry in manifest.experiments])
    sizes = [entry.n_bins for entry in manifest.shards]
    return Shape(
        len(cell_types),
        len(assays),
        len(manifest.experiments),
        sum(sizes),
        len(sizes),
        max(sizes),
        4 if manifest.dtype == "float32" else 2,
    )


def shard_limit(observed: int) -> int:
    """Most bins of a shard of so many experiments, as `predictd ingest` makes them."""
    return min(MAX_SHARD_BINS, max(1, MAX_SHARD_VALUES // max(1, observed)))


def impute_parts(targets: int) -> int:
    """Parts of `predictd impute` for so many pairs."""
    return max(-(-targets // MAX_OPEN_TRACKS), min(16, targets))


def _number(text: str, key: str, value: str) -> int:
    try:
        number = float(value.replace("_", ""))
        if number != int(number) or number < 1:
            raise ValueError
    except (ValueError, OverflowError) as err:
        known = f", or {' or '.join(BUILT_IN)}" if key == "bins" else ""
        raise ConfigError(f"--shape {text}: {key} is a whole number from 1{known}, not '{value}'") from err
    return int(number)
