"""Link lists too long for memory: read as a stream, sorted in pieces on disk, written as a stream.

DuckDB sorts such a list in 64 seconds of the processor instead of 86; it would add 66 MB to every installation.
"""

from __future__ import annotations

import heapq
import math
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from predictd.constants import LINK_SIGNS, LINK_WEIGHT
from predictd.errors import TableError
from predictd.io.files import cannot_write
from predictd.io.network.columns import LinkColumns, list_columns, named_columns
from predictd.io.network.forms import Link
from predictd.io.network.lines import refuse_hidden_header, refuse_surplus, split_lines
from predictd.io.tables import no_number
from predictd.io.temporary import temporary_folder

_WEIGHT = re.compile(LINK_WEIGHT)
# Text that is sorted in memory at once, and how many pieces there are at most: each is an open file.
_PIECE_BYTES = 16 * 2**20
_MOST_PIECES = 200
# How many times its size a list grows that is unpacked.
_PACKED = 8
# Of sums in 64 bits.
_UNIT_BITS = 62


def stream_links(path: Path) -> Iterator[Link]:
    """Links of a list in file order: three columns, by name where there is a header, else in order (.gz allowed).

    A column `sign` is the fourth of each link, written as `predictd.constants.LINK_SIGNS` has it. A line that repeats
    the header is passed over, as of lists that were put one after the other.

    Raises
    ------
    TableError
        If the file is not such a list, or a line has more fields than its header, or than three where there is none.
    """
    columns = columns_of(path)
    places = columns.regulator, columns.target, columns.weight
    header, most = columns.header, columns.most
    for number, fields in split_lines(path):
        if header is not None and tuple(fields) == header:
            continue
        if len(fields) < columns.width:
            raise _not_a_link(path, number, fields)
        if len(fields) > most:
            refuse_surplus(f"{path}, line {number}", fields, most)
        link: Link = tuple(fields[place] for place in places if place is not None)
        if not (link[0] and link[1]):
            raise _not_a_link(path, number)
        if not is_weight(link[2]):
            raise TableError(
                f"{path}, line {number}: the weight '{link[2]}' is not a finite number{no_number(link[2])}"
            )
        if columns.sign is not None:
            sign = fields[columns.sign] if columns.sign < len(fields) else ""
            if sign not in LINK_SIGNS:
                raise not_a_sign(f"{path}, line {number}", sign)
            link += (LINK_SIGNS[sign],)
        yield link


def columns_of(path: Path) -> LinkColumns:
    """Columns of a list by its first line; see `predictd.io.network.columns.list_columns`.

    Raises
    ------
    TableError
        If the header does not name all that is needed, or is a comment.
    """
    lines = (fields for _, fields in split_lines(path))
    first, second = next(lines, []), next(lines, [])
    refuse_hidden_header(path, first, _is_header)
    return list_columns(path, first, second)


def _is_header(fields: Sequence[str]) -> bool:
    found = named_columns(fields)
    return found is not None and found.weight is not None


def not_a_sign(where: str, text: str) -> TableError:
    """Make the error of a line whose sign is none."""
    return TableError(f"{where}: the sign '{text}' is not one of +, - and . (or 1, -1 and 0)")


def _not_a_link(path: Path, number: int, fields: Sequence[str] = ()) -> TableError:
    if len(fields) == 2 and fields[0].count(";") == 2:
        return TableError(f"{path} is semicolon-separated; save it tab-separated, and decimals as in 0.5")
    return TableError(f"{path}, line {number}: expected regulator, target and weight")


def read_link_list(path: Path) -> tuple[list[str], list[str], list[float], list[str] | None]:
    """Regulators, targets, weights and signs of a list that fits in memory; see `stream_links`.

    Raises
    ------
    TableError
        If the file is not such a list, is empty, or has a link twice.
    """
    regulators: list[str] = []
    targets: list[str] = []
    weights: list[float] = []
    signs: list[str] = []
    seen: set[tuple[str, str]] = set()
    for regulator, target, weight, *sign in stream_links(path):
        if (regulator, target) in seen:
            raise twice(path, regulator, target)
        seen.add((regulator, target))
        regulators.append(regulator)
        targets.append(target)
        weights.append(float(weight))
        signs += sign
    if not weights:
        raise no_links(path)
    return regulators, targets, weights, signs or None


def is_weight(text: str) -> bool:
    """Whether it is a finite number, written plainly."""
    return _WEIGHT.fullmatch(text) is not None and math.isfinite(float(text))


@dataclass(frozen=True)
class Units:
    """In what sums of weights are exact, in whatever order they are made.

    Attributes
    ----------
    exponent
        A unit is 2^−exponent.
    low
        Whole units of a weight divided by 2^low, and what is left of them: sums of either are less than 2^63.
    """

    exponent: int
    low: int

    @classmethod
    def of(cls, count: int, largest: float) -> Units:
        """For so many weights of at most `largest`: each keeps its digits down to 2^−(2 · low) of that."""
        low = _UNIT_BITS - count.bit_length()
        return cls(min(1000 + low, 2 * low - math.frexp(largest)[1]), low)

    def weight(self, units: int) -> float:
        """A sum as a weight; infinite where it is too large for a float."""
        try:
            return math.ldexp(units, -self.exponent)
        except OverflowError:
            return math.inf


class StreamedLinks:
    """A link list that is read again for each question; see `predictd.workflows.network.links.LinkTable`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def chosen(
        self, *, min_importance: float | None, top_per_target: int | None, top: int | None
    ) -> Iterator[Link]:
        """See `LinkTable.chosen`; links are sorted in pieces on the disk and merged."""
        with temporary_folder() as folder:
            pieces = self._spread(folder, min_importance)
            for piece in pieces:
                _sort(self._path, piece, top_per_target)
            yield from islice(heapq.merge(*map(_read_piece, pieces), key=rank), top)

    def extent(self) -> tuple[int, float]:
        """See `LinkTable.extent`."""
        count, largest = 0, 0.0
        for _, _, weight, *_ in stream_links(self._path):
            count += 1
            largest = max(largest, abs(float(weight)))
        return count, largest

    def degrees(self, units: Units) -> Iterator[tuple[str, int, int, int, int]]:
        """See `LinkTable.degrees`; only genes are kept in memory."""
        found: dict[str, list[int]] = {}
        for regulator, target, weight, *_ in stream_links(self._path):
            size = round(math.ldexp(abs(float(weight)), units.exponent))
            for gene, place in ((target, 0), (regulator, 1)):
                counts = found.setdefault(gene, [0, 0, 0, 0])
                counts[place] += 1
                counts[place + 2] += size
        for gene in sorted(found):
            into, out, size_in, size_out = found[gene]
            yield gene, into, out, size_in, size_out

    def _spread(self, folder: Path, min_importance: float | None) -> list[Path]:
        """Links of at least `min_importance` in files by target, so that one holds all of a target's."""
        size = self._path.stat().st_size * (_PACKED if self._path.suffix.lower() == ".gz" else 1)
        count = min(_MOST_PIECES, 1 + size // _PIECE_BYTES)
        pieces = [folder / f"{number}.tsv" for number in range(count)]
        try:
            with ExitStack() as undo:
                files = [
                    undo.enter_context(piece.open("w", encoding="utf-8", newline="\n")) for piece in pieces
                ]
                for link in stream_links(self._path):
                    if min_importance is None or float(link[2]) >= min_importance:
                        files[zlib.crc32(link[1].encode()) % count].write("\t".join(link) + "\n")
        except OSError as err:
            raise cannot_write(folder, err) from err
        return pieces


def rank(link: Link) -> tuple[float, str, str]:
    """What links are ordered by: from the highest weight on, equals by the names of target and regulator."""
    return -float(link[2]), link[1], link[0]


def _sort(path: Path, piece: Path, top_per_target: int | None) -> None:
    """Order a piece, and leave each target its first links."""
    links = sorted(_read_piece(piece), key=rank)
    seen: set[tuple[str, str]] = set()
    for regulator, target, *_ in links:
        if (regulator, target) in seen:
            raise twice(path, regulator, target)
        seen.add((regulator, target))
    counts: dict[str, int] = {}
    try:
        with piece.open("w", encoding="utf-8", newline="\n") as file:
            for link in links:
                counts[link[1]] = counts.get(link[1], 0) + 1
                if top_per_target is None or counts[link[1]] <= top_per_target:
                    file.write("\t".join(link) + "\n")
    except OSError as err:
        raise cannot_write(piece, err) from err


def _read_piece(piece: Path) -> Iterator[Link]:
    with piece.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            yield tuple(line.rstrip("\n").split("\t"))


def no_links(path: Path) -> TableError:
    """Make the error of a list without any."""
    return TableError(f"{path} holds no links: it needs lines of regulator, target and weight")


def twice(path: Path | str, regulator: str, target: str) -> TableError:
    """Make the error of a link that a list has more than once."""
    return TableError(f"{path} has the link {regulator} to {target} twice; keep one of them")
