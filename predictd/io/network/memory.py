"""Tables in memory as the lines of files are read: a header, and rows of text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from predictd.errors import TableError
from predictd.io.extras import needed_for
from predictd.wording import some


def missing(values: Iterable[Any]) -> list[bool]:
    """Which values are missing: None, NaN or NA."""
    with needed_for("this", extra="frames"):
        import pandas
    return pandas.Series(list(values), dtype=object).isna().tolist()


def texts(values: Iterable[Any]) -> list[str]:
    """Values as text, empty where one is missing or blank."""
    own = list(values)
    found = ("" if is_absent else str(value) for value, is_absent in zip(own, missing(own), strict=True))
    return [text if text.strip() else "" for text in found]


def check_distinct_columns(frame: Any, name: str) -> None:
    """Raise TableError where columns of a DataFrame have the same name; `name` is what messages call it."""
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()].unique()
        raise TableError(f"{name} has columns twice: {some(map(str, twice))}; keep one of each")


def with_header(frame: Any, name: str, knows: Callable[[Sequence[str]], object]) -> tuple[Any, list[str]]:
    """A DataFrame with all that a file of it has in columns, and its header; see `lines_of`.

    Raises
    ------
    TableError
        If columns have the same name.
    """
    check_distinct_columns(frame, name)
    header = texts(frame.columns)
    names = [own for own in frame.index.names if own is not None]
    if names and not knows(header) and not set(names) & set(frame.columns):
        frame = frame.reset_index()
        header = texts(frame.columns)
    # Such as pandas numbers the columns of a file without a header.
    return frame, [] if all(own.isdecimal() for own in header) else header


def lines_of(frame: Any, name: str, knows: Callable[[Sequence[str]], object]) -> list[tuple[int, list[str]]]:
    """(line number, fields) of a DataFrame: its header, if it has one, is line 0.

    Parameters
    ----------
    frame
        The DataFrame. One whose columns have numbers for names has no header.
    name
        What messages call it.
    knows
        Whether a header has the columns that are wanted; where it has not, names of the index are columns, too.

    Raises
    ------
    TableError
        If columns have the same name.
    """
    own, header = with_header(frame, name, knows)
    columns = [texts(own.iloc[:, place]) for place in range(own.shape[1])]
    rows = [(number, list(fields)) for number, fields in enumerate(zip(*columns, strict=True), 1)]
    return [(0, header), *rows] if header else rows
