"""bedGraph and wiggle tracks: checked line by line and turned into bigWig, so that all else reads one format."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyBigWig

from predictd.errors import TableError, TrackError
from predictd.io.files import exists, replacing
from predictd.io.tables import UNREADABLE_TEXT, check_tabs, open_text, reason
from predictd.io.tracks.bigwig_writer import require_room
from predictd.io.tracks.genomes import Genome

_LINES = 100_000
# Of an entry in the file, before compression, and of its share of the zoom levels.
_ENTRY_BYTES = 24
_LARGEST = float(np.finfo(np.float32).max)
_SKIPPED = ("track", "browser", "#")
_DECLARED = ("fixedStep", "variableStep")
_COLUMNS = 4


def bedgraph_to_bigwig(source: Path, target: Path, genome: Genome) -> tuple[str, ...]:
    """Write a bedGraph or a wiggle file, gzipped or not, as a bigWig.

    Parameters
    ----------
    source
        Four columns: chromosome, start, end, value; sorted by start within each chromosome, chromosomes in
        one piece each, nothing overlapping. Or wiggle: stretches of fixedStep and variableStep, in the same order.
    target
        The bigWig to write.
    genome
        Whose chromosomes it must fit; contigs that the genome does not have are left out.

    Returns
    -------
    What is left out.

    Raises
    ------
    TrackError
        If the file is missing, empty, damaged, unsorted, overlapping, off the genome, or has a value that is no
        finite number; names the line.
    OutputError
        If the target cannot be written.
    """
    if not exists(source):
        raise TrackError(f"{source} does not exist; correct its path in the table of tracks")
    order, left_out = _chromosomes_in_order(source, genome)
    if not order:
        raise TrackError(f"{source} holds no signal; make or download it again")
    lines = _lines(source)
    if left_out:
        lines = (line for line in lines if line[1].split(maxsplit=1)[0] in genome.chromosomes)
    with replacing(target) as partial:
        require_room(target, 0)
        out = pyBigWig.open(str(partial), "w")
        out.addHeader([(chrom, genome.chromosomes[chrom]) for chrom in order])
        last, n_entries = ("", 0, 0), 0
        for numbers, block in _blocks(source, lines, max(map(len, order))):
            _check_block(source, numbers, block, last, genome)
            require_room(target, _ENTRY_BYTES * block.size)
            out.addEntries(
                block["chrom"].tolist(),
                block["start"],
                ends=block["end"],
                values=block["value"].astype(np.float64),
            )
            last = block[["chrom", "start", "end"]][-1].item()
            n_entries += block.size
        require_room(target, _ENTRY_BYTES * n_entries)
        out.close()
    return left_out


@dataclass
class _Steps:
    """A stretch of a wiggle file: the chromosome, the next start (0-based; None: lines say it), step and span in bp."""

    chrom: str
    start: int | None
    step: int
    span: int

    @classmethod
    def declared(cls, source: Path, number: int, line: str) -> _Steps:
        """What a line `fixedStep chrom=chr1 start=1 step=25 span=25`, or variableStep, says.

        Without a span values of fixedStep reach to the next one, as UCSC's wigToBigWig has it; others are of one base.
        """
        kind, *words = line.split()
        given = dict(word.split("=", 1) for word in words if "=" in word)
        try:
            start = int(given["start"]) - 1 if kind == "fixedStep" else None
            step = int(given.get("step", 1))
            span = int(given.get("span", step if start is not None else 1))
            return cls(given["chrom"], start, step, span)
        except (KeyError, ValueError) as err:
            raise TrackError(
                f"{source}, line {number}: expected {kind} chrom=NAME"
                f"{' start=N step=N' if kind == 'fixedStep' else ''} span=N"
            ) from err

    def interval(self, source: Path, number: int, line: str) -> str:
        """A line of the stretch as a bedGraph has it."""
        fields = line.split()
        if len(fields) != 1 + (self.start is None):
            raise TrackError(
                f"{source}, line {number}: expected {'a value' if self.start is not None else 'position and value'}"
            )
        if self.start is not None:
            start, self.start = self.start, self.start + self.step
        elif fields[0].isdecimal():
            # Wiggle counts from 1.
            start = int(fields[0]) - 1
        else:
            raise TrackError(f"{source}, line {number}: expected position and value")
        return f"{self.chrom}\t{start}\t{start + self.span}\t{fields[-1]}"


def _lines(source: Path) -> Iterator[tuple[int, str]]:
    """(line number, line as of a bedGraph), without what says how a track is drawn."""
    steps = None
    try:
        with open_text(source) as file:
            for number, line in enumerate(file, start=1):
                if not line.strip() or line.startswith(_SKIPPED):
                    continue
                if line.startswith(_DECLARED):
                    steps = _Steps.declared(source, number, line)
                elif steps is not None and len(line.split()) < _COLUMNS:
                    yield number, steps.interval(source, number, line)
                else:
                    yield number, line.replace('"', "")
    except UNREADABLE_TEXT as err:
        raise TrackError(f"cannot read {source}: {reason(err)}") from err


def bedgraph_extents(source: Path) -> dict[str, int]:
    """Chromosomes as they come, and the end of the last interval of each in bp.

    Raises
    ------
    TrackError
        If the file is missing or damaged, or a chromosome is not in one piece.
    """
    return {chrom: end for chrom, (_, end) in _extents(source).items()}


def _extents(source: Path) -> dict[str, tuple[int, int]]:
    """Of each chromosome its first line, and the end of its last."""
    found: dict[str, tuple[int, int]] = {}
    chrom = last = ""
    for number, line in _lines(source):
        if line.split(maxsplit=1)[0] != chrom:
            if chrom:
                found[chrom] = (found[chrom][0], _end_of(last))
            chrom, before = line.split(maxsplit=1)[0], chrom
            if chrom in found:
                raise TrackError(
                    f"{source}, line {number}: unsorted, {chrom} comes back after {before}; sort the file"
                )
            found[chrom] = (number, 0)
        last = line
    if chrom:
        found[chrom] = (found[chrom][0], _end_of(last))
    return found


def _chromosomes_in_order(source: Path, genome: Genome) -> tuple[list[str], tuple[str, ...]]:
    """Chromosomes of the genome as they come, each in one piece; and those that it does not have."""
    found = _extents(source)
    order = [chrom for chrom in found if chrom in genome.chromosomes]
    left_out = tuple(chrom for chrom in found if chrom not in genome.chromosomes)
    known = sum(found[chrom][1] for chrom in order)
    whole = min(sum(end for _, end in found.values()), sum(genome.chromosomes.values()))
    if left_out and (not order or 2 * known < whole):
        try:
            check_tabs(source, left_out[0])
        except TableError as err:
            raise TrackError(str(err)) from err
        raise TrackError(f"{source}, line {found[left_out[0]][0]}: {genome.strange(left_out)}")
    return order, left_out


def _end_of(line: str) -> int:
    """The end of an interval; 0 where the line is none, which is reported when it is parsed."""
    fields = line.split()
    return int(fields[2]) if len(fields) > 2 and fields[2].isdecimal() else 0


def _blocks(
    source: Path, lines: Iterator[tuple[int, str]], width: int
) -> Iterator[tuple[list[int], npt.NDArray[np.void]]]:
    """Blocks of parsed lines with their line numbers; names of chromosomes have at most `width` letters."""
    record = np.dtype([("chrom", f"U{width}"), ("start", "i8"), ("end", "i8"), ("value", "f8")])
    while piece := list(islice(lines, _LINES)):
        numbers = [number for number, _ in piece]
        texts = [line for _, line in piece]
        try:
            block = _parsed(texts, record)
        except ValueError as err:
            raise TrackError(
                f"{source}, line {numbers[_first_wrong(texts, record)]}: expected chromosome, start, end and a number"
            ) from err
        yield numbers, block


def _parsed(lines: list[str], record: np.dtype[np.void]) -> npt.NDArray[np.void]:
    return np.loadtxt(lines, dtype=record, comments=None, usecols=range(_COLUMNS), ndmin=1)


def _first_wrong(lines: list[str], record: np.dtype[np.void]) -> int:
    """Index of the first line that cannot be parsed, where there is one: by halves."""
    low, high = 0, len(lines)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            _parsed(lines[low:middle], record)
            low = middle
        except ValueError:
            high = middle
    return low


def _check_block(
    source: Path,
    numbers: list[int],
    block: npt.NDArray[np.void],
    last: tuple[str, int, int],
    genome: Genome,
) -> None:
    """Raise TrackError for the first line that is unsorted, overlaps, leaves its chromosome or has no finite value.

    `last` is the interval before the block.
    """
    chrom, start, end = last
    chroms, starts, ends = block["chrom"], block["start"], block["end"]
    previous_chroms = np.concatenate([[chrom], chroms[:-1]])
    previous_starts = np.concatenate([[start], starts[:-1]])
    previous_ends = np.where(chroms == previous_chroms, np.concatenate([[end], ends[:-1]]), 0)
    names, codes = np.unique(chroms, return_inverse=True)
    lengths = np.array([genome.chromosomes[str(name)] for name in names])[codes]
    unsorted = (starts < previous_starts) & (chroms == previous_chroms)
    wrong: list[tuple[npt.NDArray[np.bool_], str]] = [
        ((starts < 0) | (starts >= ends), "start and end enclose no base"),
        (
            ends > lengths,
            f"the end lies beyond the chromosome's end in {genome.name}; is the track of another genome?",
        ),
        (unsorted, "unsorted, it begins before the line above; sort the file"),
        (starts < previous_ends, "overlaps the line above; merge overlapping intervals"),
        (~np.isfinite(block["value"]), "the value is NaN or infinite; leave such positions out"),
        # bigWig holds it in single precision.
        (np.abs(block["value"]) > _LARGEST, f"the value is beyond {_LARGEST:.3g}; leave such positions out"),
    ]
    bad = np.array([mask for mask, _ in wrong])
    if bad.any():
        index = int(np.flatnonzero(bad.any(axis=0))[0])
        reason = wrong[int(np.flatnonzero(bad[:, index])[0])][1]
        raise TrackError(f"{source}, line {numbers[index]}: {reason}")
