"""manifest.json: what a tensor holds. It is written last; a directory without one is no (whole) tensor."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from predictd.constants import BIN_SIZE, MANIFEST, SHARED_VERSION, TENSOR_FORMAT, TENSOR_VERSION
from predictd.errors import TensorFormatError
from predictd.io.files import sha256_of_json, write_json
from predictd.io.partition import read_job
from predictd.io.tables import Transform
from predictd.io.tracks.bigwig import Uncovered
from predictd.io.tracks.genomes import Genome
from predictd.pairs import Experiment


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SourceFile(_Entry):
    """A signal file that went into the tensor; objects in stores have no checksum, other URLs no size either."""

    path: str
    bytes: int | None = None
    sha256: str | None = None


class ExperimentEntry(_Entry):
    """A column of the tensor."""

    cell_type: str
    assay: str
    transform: Transform = "arcsinh"
    sources: tuple[SourceFile, ...] = ()

    @property
    def experiment(self) -> Experiment:
        """The (cell type, assay) pair of this column."""
        return Experiment(self.cell_type, self.assay)


class ShardEntry(_Entry):
    """A shard of the tensor, `shards/NAME.h5`; `chrom` is a list where several chromosomes share it."""

    name: str = Field(pattern=r"^[^/\\]+$")
    chrom: str | tuple[str, ...]
    n_bins: int = Field(ge=1)
    n_complete: int = Field(ge=0)
    sha256: str

    @property
    def chroms(self) -> tuple[str, ...]:
        """Its chromosomes, in the order of the genome."""
        return (self.chrom,) if isinstance(self.chrom, str) else self.chrom


def version_of(shards: Iterable[ShardEntry]) -> Literal[1, 2]:
    """Format version of a tensor of these shards: 2 where chromosomes share one."""
    return SHARED_VERSION if any(len(entry.chroms) > 1 for entry in shards) else TENSOR_VERSION


class GenomeEntry(_Entry):
    """The genome that the bins lie on; chromosomes and their lengths in bp in genome order."""

    name: str
    chromosomes: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, genome: Genome) -> GenomeEntry:
        """Describe a genome for the manifest."""
        return cls(name=genome.name, chromosomes=tuple(genome.chromosomes.items()))


class Manifest(_Entry):
    """Contents of manifest.json; without a `bin_size`, bins are regions that have a start and an end each."""

    format: Literal["predictd-tensor"] = TENSOR_FORMAT
    version: Literal[1, 2] = TENSOR_VERSION
    genome: GenomeEntry
    bin_size: int | None = Field(BIN_SIZE, ge=1)
    dtype: Literal["float16", "float32"] = "float16"
    uncovered: Uncovered = "missing"
    experiments: tuple[ExperimentEntry, ...] = Field(min_length=1)
    shards: tuple[ShardEntry, ...] = Field(min_length=1)
    provenance: dict[str, Any] = {}

    @property
    def chroms(self) -> list[str]:
        """Chromosomes that the tensor has bins of, in the order of the genome."""
        return list(dict.fromkeys(chrom for entry in self.shards for chrom in entry.chroms))

    @property
    def transforms(self) -> dict[str, Transform]:
        """The transform of each assay."""
        return {entry.assay: entry.transform for entry in self.experiments}

    @property
    def checksum(self) -> str:
        """Identity of the tensor: everything but where and how it was made."""
        value = self.model_dump(
            mode="json", exclude={"provenance": True, "experiments": {"__all__": {"sources"}}}
        )
        return sha256_of_json(value)

    @property
    def rows(self) -> str:
        """What the bins are, for messages: `bins of 25 bp`, or `regions`."""
        return "regions" if self.bin_size is None else f"bins of {self.bin_size} bp"

    def load_genome(self) -> Genome:
        """The genome with its chromosomes' lengths in bp."""
        return Genome(self.genome.name, dict(self.genome.chromosomes))

    def write(self, tensor: Path) -> None:
        """Declare the tensor in this directory whole."""
        write_json(tensor / MANIFEST, self.model_dump(mode="json"))


def read_manifest(tensor: Path) -> Manifest:
    """Read and check the manifest of a tensor.

    Raises
    ------
    TensorFormatError
        If the directory is missing, unfinished or no tensor, or its format version is not ours.
    """
    path = tensor / MANIFEST
    try:
        whole = path.is_file()
        directory = whole or tensor.is_dir()
    except OSError as err:
        raise TensorFormatError(f"{path} cannot be read: {err.strerror}; see that you may read it") from err
    if not whole:
        if read_job(tensor) is not None:
            raise TensorFormatError(
                f"{tensor} is unfinished; run the command that began it again, to continue"
            )
        what = "holds no tensor (no manifest.json)" if directory else "is not a directory"
        raise TensorFormatError(f"{tensor} {what}; make one with 'predictd ingest'")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as err:
        raise TensorFormatError(f"{path} cannot be read: {err.strerror}; see that you may read it") from err
    except ValueError as err:
        raise TensorFormatError(f"{path} is truncated or damaged; make the tensor again") from err
    # Before all else, since another version may have other fields.
    ours = isinstance(value, dict) and value.get("format") == TENSOR_FORMAT
    known = TENSOR_VERSION, SHARED_VERSION
    if ours and (version := value.get("version", TENSOR_VERSION)) not in known:
        raise TensorFormatError(
            f"{path} has format version {version}, this predictd reads versions 1 and 2; "
            "ingest the tracks again, or use the predictd that made it"
        )
    try:
        return Manifest.model_validate(value)
    except ValidationError as err:
        first = err.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise TensorFormatError(
            f"{path} is not a manifest of a tensor ({place}: {first['msg'].lower()}); make the tensor again"
        ) from err
