"""What a tensor is made from: options, and the surface that tracks and matrices share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from predictd.constants import MAX_SHARD_BINS
from predictd.engine import Engine
from predictd.io.partition import Job
from predictd.io.tables import Interval
from predictd.io.tensor.manifest import ExperimentEntry, ShardEntry
from predictd.io.tracks.bigwig import Uncovered
from predictd.io.tracks.genomes import Genome
from predictd.io.tracks.metadata import OUTPUT_TYPE
from predictd.provenance import RunRecord

Dtype = Literal["float16", "float32"]


@dataclass(frozen=True)
class IngestOptions:
    """How tracks, or a matrix, become a tensor; the defaults are the command line's.

    Attributes
    ----------
    genome
        hg38, hg19, mm10, mm39, dm6, ce11, or the path of a file of chromosome sizes.
    regions, exclude
        BED files: only bins that overlap the one, none that overlap the other; `auto`: the genome's blacklist.
    uncovered
        What positions of tracks without signal mean, and values that a matrix lacks.
    bin_size
        Width of a bin in bp; None: 25, and for a matrix, whose bins are its regions, none.
    dtype
        Stored precision.
    merge
        Whether several tracks, or columns, of one pair are averaged.
    shard_bins
        Most bins of a shard.
    output_type
        Which files of ENCODE's or Roadmap's tables are taken; several types are taken together.
    bins
        BED file of the regions of a matrix; None: it says itself where they are.
    transform
        Of a matrix: `NAME` for all assays, and `ASSAY=NAME` for one; others have what the matrix says, or arcsinh.
    """

    genome: str
    regions: Path | None = None
    exclude: str | None = None
    uncovered: Uncovered = "missing"
    bin_size: int | None = None
    dtype: Dtype = "float16"
    merge: Literal["mean"] | None = None
    shard_bins: int = MAX_SHARD_BINS
    output_type: str | tuple[str, ...] = OUTPUT_TYPE
    bins: Path | None = None
    transform: tuple[str, ...] = ()


@dataclass(frozen=True)
class Place:
    """The genome, and which parts of it are wanted; None: all, and none is excluded."""

    genome: Genome
    regions: list[Interval] | None
    exclude: list[Interval] | None


class Made(NamedTuple):
    """Columns and shards of a tensor."""

    experiments: tuple[ExperimentEntry, ...]
    shards: tuple[ShardEntry, ...]


class Input(Protocol):
    """Signal that a tensor is made from; making one checks it, and writes nothing."""

    @property
    def bin_size(self) -> int | None:
        """Width of the tensor's bins; None: they are regions."""

    @property
    def provenance(self) -> dict[str, Any]:
        """Where the signal is from, for the manifest."""

    @property
    def checksums(self) -> dict[str, str]:
        """Of the files that are read whole, for run.json."""

    def describe(self) -> dict[str, Any]:
        """All that the tensor depends on besides genome and options, as plain values."""

    def make(self, job: Job, engine: Engine, record: RunRecord) -> Made:
        """Write the shards that do not exist yet."""
