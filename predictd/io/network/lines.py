"""Lines of link lists, gold standards and tables of labels: their fields, and what a comment hides of their header."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from predictd.constants import WHITE_SPACE
from predictd.errors import TableError
from predictd.io.tables import UNREADABLE_TEXT, check_tabs, is_number, open_text, reason
from predictd.wording import some

# Spark reads by the same expressions, in Java's dialect. Text in quotation marks; a mark in it is written twice.
_QUOTED = '"[^"]*(?:""[^"]*)*"'
# Such text that is a whole field of a line without tabs: commas and blanks in it do not separate.
QUOTED_FIELD = rf"(?<![^{WHITE_SPACE},]){_QUOTED}(?![^{WHITE_SPACE},])"
# What separates a field from the one before it, and the field; a line needs such a separator before its first field.
FIELDS = {
    ",": rf",([{WHITE_SPACE}]*{_QUOTED}[{WHITE_SPACE}]*(?![^,])|[^,]*)",
    " ": rf"[{WHITE_SPACE}]+({_QUOTED}(?![^{WHITE_SPACE}])|[^{WHITE_SPACE}]+)",
}
_WHOLE = re.compile(QUOTED_FIELD)
_FIELDS = {mark: re.compile(pattern) for mark, pattern in FIELDS.items()}


def split_lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line number, fields) of a file, without blank lines and those that begin with #; see `split_line`."""
    try:
        with open_text(path) as file:
            for number, line in enumerate(file, 1):
                if not line.strip() or line.startswith("#"):
                    continue
                fields = split_line(line)
                if len(fields) == 1:
                    check_tabs(path, _WHOLE.sub("", line))
                yield number, fields
    except UNREADABLE_TEXT as err:
        raise TableError(f"cannot read {path}: {reason(err)}") from err


def split_line(line: str) -> list[str]:
    """Fields that are separated by tabs, by commas where there are none, or else by blanks.

    Commas and blanks of a field in quotation marks do not separate; the marks are taken off.
    """
    line = line.rstrip("\r\n")
    if '"' not in line:
        parts = line.split("\t" if "\t" in line else "," if "," in line else None)
        return [part.strip() for part in parts]
    if "\t" in line:
        return [_unquoted(part) for part in line.split("\t")]
    mark = "," if "," in _WHOLE.sub("", line) else " "
    return [_unquoted(part) for part in _FIELDS[mark].findall(mark + line)]


def _unquoted(part: str) -> str:
    own = part.strip()
    if len(own) > 1 and own[0] == own[-1] == '"':
        own = own[1:-1].replace('""', '"')
    return own.strip('"').strip()


def without_headers(lines: Iterable[tuple[int, list[str]]]) -> list[tuple[int, list[str]]]:
    """Lines of a table but those that repeat its first one, as of tables that were put one after the other.

    The first line of a table without a header holds numbers, and may be there again.
    """
    every = list(lines)
    header = every[0][1] if every and not any(map(is_number, every[0][1])) else None
    return every[:1] + [line for line in every[1:] if line[1] != header]


def refuse_surplus(where: str, fields: Sequence[str], most: int) -> None:
    """Raise TableError where fields after the first `most` hold something; `where` is what messages call the line."""
    if any(fields[most:]):
        raise surplus(where, max(place for place, field in enumerate(fields, 1) if field), most)


def surplus(where: str, found: int, most: int) -> TableError:
    """Make the error of a line that has `found` fields where at most `most` belong."""
    return TableError(
        f"{where}: {found} fields where the table has {most} columns; put quotation marks around text that holds a "
        "comma or a blank, write decimals with a point, as in 0.5, and leave out row names (in R row.names=FALSE)"
    )


def comment_above(path: Path) -> str:
    """The comment that stands last above the first line that is none, without its #; empty where there is none.

    Raises
    ------
    TableError
        If the file cannot be read.
    """
    comment = ""
    try:
        with open_text(path) as file:
            for line in file:
                if line.startswith("#"):
                    comment = line.lstrip("# ").rstrip()
                elif line.strip():
                    break
    except UNREADABLE_TEXT as err:
        raise TableError(f"cannot read {path}: {reason(err)}") from err
    return comment


def refuse_hidden_header(path: Path, first: Sequence[str], knows: Callable[[Sequence[str]], object]) -> None:
    """Raise TableError where the header is a comment; `first`: the fields of the line that is no comment.

    `knows` says whether fields are those of a header: where `first` is one, nothing is hidden.
    """
    if not first or knows(first):
        return
    hidden = split_line(comment_above(path))
    # Lines may begin with the name of the row, which headers of R do not name.
    if len(hidden) in (len(first) - 1, len(first)) and knows(hidden):
        raise hidden_header(path, hidden)


def hidden_header(path: Path, header: Sequence[str]) -> TableError:
    """Make the error of a table whose header is a comment."""
    return TableError(
        f"{path}: the header ({some(header)}) begins with #, so that it is a comment; take the # before its header away"
    )
