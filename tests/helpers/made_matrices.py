"""Matrices of a test's own making: signal over regions of odd lengths, the last one up to a chromosome's last base."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from predictd.io.tables import Interval
from predictd.io.tracks.matrix import Matrix
from predictd.pairs import Experiment

LENGTHS = {"chr1": 60_000, "chr2": 60_007}
PAIRS = [Experiment(f"C{cell}", f"A{assay}") for cell in range(5) for assay in range(4)]


def made_regions(n: int = 240) -> list[Interval]:
    """In the order of the genome, half of them on each chromosome."""
    rng = np.random.default_rng(5)
    regions = []
    for chrom, length in LENGTHS.items():
        starts = np.cumsum(rng.integers(230, 450, n // 2))
        ends = starts + rng.integers(1, 220, n // 2)
        ends[-1] = length
        regions += [Interval(chrom, *span) for span in zip(starts.tolist(), ends.tolist(), strict=True)]
    return regions


def made_values(n: int = 240) -> np.ndarray:
    """Signal of PAIRS over n regions, of rank 2 and some noise, from 0: float32 (n × 20)."""
    rng = np.random.default_rng(6)
    cells, assays, places = rng.gamma(2, size=(5, 2)), rng.gamma(2, size=(4, 2)), rng.gamma(1, size=(n, 2))
    values = np.einsum("ck,ak,gk->gca", cells, assays, places).reshape(n, len(PAIRS))
    return (values + rng.gamma(1, 0.2, size=values.shape)).astype(np.float32)


def made_matrix(n: int = 240) -> Matrix:
    return Matrix(made_regions(n), PAIRS, made_values(n))


def write_sizes(folder: Path) -> str:
    """A file of the lengths of chromosomes."""
    path = folder / "made.sizes"
    path.write_text("".join(f"{chrom}\t{length}\n" for chrom, length in LENGTHS.items()))
    return str(path)
