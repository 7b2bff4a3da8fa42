"""A folder of small tracks to ingest, and what their tensor must hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from made_tracks import BIN, Bases, binned_by_hand, write_bases
from predictd.engine import Engine
from predictd.io.tables import Interval
from predictd.io.tensor.store import Tensor
from predictd.workflows.tensor.ingest import IngestOptions, ingest

HEADER = "cell_type\tassay\tpath"

# Neither chr1 nor chr2 ends at the end of a bin; chr3 is shorter than one.
LENGTHS = {"chr1": 10_013, "chr2": 2601, "chr3": 11}

PAIRS = [("C2", "A1"), ("C1", "A2"), ("C1", "A1")]


class Workbench:
    """A folder with tracks, their genome and their table."""

    def __init__(self, path: Path, engine: Engine) -> None:
        self.path = path
        self.engine = engine
        self.rows: list[str] = []
        self.genome = path / "small.chrom.sizes"
        self.genome.write_text("".join(f"{chrom}\t{n}\n" for chrom, n in LENGTHS.items()))

    def add(self, pair: tuple[str, str], track: Bases | None, name: str | None = None, *more: str) -> Path:
        """Put a track into the table; written, unless it is None."""
        path = self.path / (name or f"track{len(self.rows)}.bw")
        if track is not None:
            write_bases(path, track)
        self.rows.append("\t".join([*pair, path.name, *more]))
        return path

    @property
    def table(self) -> Path:
        path = self.path / "tracks.tsv"
        path.write_text("\n".join([f"{HEADER}\ttransform\tpeaks", *self.rows]) + "\n")
        return path

    def bed(self, *intervals: Interval, name: str = "a.bed") -> Path:
        path = self.path / name
        path.write_text("".join(f"{i.chrom}\t{i.start}\t{i.end}\n" for i in intervals))
        return path

    def ingest(self, output: str = "tensor", engine: Engine | None = None, **options: Any) -> Tensor:
        chosen = IngestOptions(**({"genome": str(self.genome), "dtype": "float32"} | options))
        return ingest(self.table, self.path / output, chosen, engine or self.engine)


def stored(tensor: Tensor) -> dict[str, tuple[list[int], np.ndarray]]:
    """Bins and signal of every chromosome."""
    found: dict[str, tuple[list[int], list[np.ndarray]]] = {}
    for name in tensor.shard_names:
        with tensor.open_shard(name) as shard:
            bins, blocks = found.setdefault(shard.places.chrom, ([], []))
            bins.extend(shard.places.bins().tolist())
            blocks.append(shard.read())
    return {chrom: (bins, np.concatenate(blocks)) for chrom, (bins, blocks) in found.items()}


def by_hand(
    tracks: dict[tuple[str, str], Bases], chrom: str, uncovered: str = "missing", bin_size: int = BIN
) -> Any:
    """arcsinh of the binned means of all tracks, in the order of pairs."""
    columns = [binned_by_hand(tracks[pair][chrom], uncovered, bin_size) for pair in sorted(tracks)]
    return np.arcsinh(np.stack(columns, axis=1))
