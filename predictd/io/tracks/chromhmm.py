"""Binarised signal as ChromHMM reads it (Ernst & Kellis, Nature Methods 9:215, 2012)."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from predictd.io.files import replacing

ABSENT, PRESENT, MISSING = 0, 1, 2
_LINES = 2**16


def binary_name(cell: str, chrom: str, *, zipped: bool) -> str:
    """Name of a file as ChromHMM looks for it."""
    return f"{cell}_{chrom}_binary.txt{'.gz' if zipped else ''}"


def write_binary(
    path: Path, cell: str, chrom: str, marks: Sequence[str], states: npt.NDArray[np.uint8]
) -> None:
    """Write one cell type's chromosome; gzipped where the name ends so.

    Parameters
    ----------
    path
        The file, see `binary_name`.
    cell, chrom
        First line.
    marks
        Second line: names of the columns.
    states
        uint8 (bins, marks): 0 absent, 1 present, 2 missing.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    with replacing(path) as partial, ExitStack() as opened:
        file: Any = opened.enter_context(partial.open("wb"))
        if path.suffix == ".gz":
            file = opened.enter_context(gzip.GzipFile("", "wb", fileobj=file, mtime=0))
        columns = "\t".join(marks)
        file.write(f"{cell}\t{chrom}\n{columns}\n".encode())
        for start in range(0, len(states), _LINES):
            block = states[start : start + _LINES]
            lines = np.full((len(block), 2 * len(marks)), ord("\t"), dtype=np.uint8)
            lines[:, ::2] = block + ord("0")
            lines[:, -1] = ord("\n")
            file.write(lines.tobytes())
