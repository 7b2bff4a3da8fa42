"""narrowPeak, ENCODE's format of peaks (BED6+4), gzipped."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from predictd.io.files import replacing

SUFFIX = ".narrowPeak.gz"
_TOP_SCORE = 1000


@dataclass(frozen=True)
class NarrowPeak:
    """One line.

    Attributes
    ----------
    chrom, start, end
        0-based half-open, in bp.
    mean, highest
        Mean signal, and signal at the summit.
    summit
        Bases from `start` to the summit.
    """

    chrom: str
    start: int
    end: int
    mean: float
    highest: float
    summit: int


def write_narrow_peaks(path: Path, peaks: Iterable[NarrowPeak], *, p_values: bool) -> None:
    """Write peaks as they come; the same peaks make the same bytes.

    `name` counts the peaks, `score` is ten times the highest signal as an integer from 0 to 1000, `strand` a dot,
    `signalValue` the mean signal, `qValue` -1, which means not computed.

    Parameters
    ----------
    path
        The file.
    peaks
        In the order of the lines.
    p_values
        Whether signal is −log10 p: then `pValue` is the highest signal, else -1.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    with (
        replacing(path) as partial,
        partial.open("wb") as raw,
        gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as file,
    ):
        for number, peak in enumerate(peaks, start=1):
            score = min(_TOP_SCORE, max(0, int(10 * peak.highest)))
            fields = (
                peak.chrom,
                peak.start,
                peak.end,
                f"peak{number}",
                score,
                ".",
                f"{peak.mean:.6g}",
                f"{peak.highest:.6g}" if p_values else -1,
                -1,
                peak.summit,
            )
            file.write(("\t".join(map(str, fields)) + "\n").encode())
