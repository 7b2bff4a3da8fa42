"""What many messages and jobs share: text on one line, a few of many names, how extras are installed, even parts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

# What each extra of the package is for.
EXTRAS = {
    "report": "reports and figures",
    "tune": "the search for settings",
    "network": "measures and pages of gene networks",
    "frames": "tables and labelled arrays in Python",
    "interchange": "matrices and exports as Parquet, Zarr and AnnData",
    "cloud": "s3:// and abfs:// paths",
    "gcs": "gs:// paths",
    "mpi": "the mpi engine",
    "spark": "the spark engine",
}


def install(extra: str) -> str:
    """The line that installs an extra; in quotes, which some shells need."""
    return f"pip install 'predictd[{extra}]'"


def some(names: Iterable[object], most: int = 5) -> str:
    """The first few of many names, for messages: "a, b and 3 more"."""
    every = [str(name) for name in names]
    more = len(every) - most
    return ", ".join(every[:most]) + (f" and {more} more" if more > 0 else "")


def one_line(value: object) -> str:
    """A value as text, with single blanks in place of line breaks and of longer gaps."""
    return " ".join(str(value).split())


def short(value: object, most: int = 80) -> str:
    """A value on one line of at most so many characters, for messages."""
    return cut(one_line(value), most)


def cut(text: str, most: int = 80) -> str:
    """The first of at most so many characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def commented(row: str) -> str:
    """What is said of a row that is refused, since a comment would drop it."""
    return f"the row '{row}' begins with #, so that it is a comment; take the # away, or the line"


def plain(name: str) -> str:
    """Letters and digits of a name, in lower case: what is the same in many ways of writing it."""
    return "".join(sign for sign in name.casefold() if sign.isalnum())


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text as columns of equal width: the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))]
        ).rstrip()
        for row in rows
    )


def even_parts(n: int, n_parts: int) -> list[tuple[int, int]]:
    """First and last-plus-one positions of so many parts of n things, as even as whole numbers allow."""
    return [(n * part // n_parts, n * (part + 1) // n_parts) for part in range(n_parts)]


def even_parts_of_at_most(n: int, most: int, *, at_least: int = 1) -> list[tuple[int, int]]:
    """Even parts of at most `most` things, and `at_least` parts where there are as many things."""
    return even_parts(n, max(-(-n // most), min(at_least, n)))


def two_digits(value: float) -> str:
    """A number of at least one as a whole one, or with a digit after the point below ten."""
    return f"{value:,.0f}" if value >= 9.95 else f"{value:.1f}"


def duration(seconds: float) -> str:
    """Two digits of the unit that fits."""
    for limit, unit, name in ((90, 1, "s"), (5400, 60, "min"), (48 * 3600, 3600, "h")):
        if seconds < limit:
            return f"{two_digits(seconds / unit)} {name}"
    return f"{two_digits(seconds / 86400)} days"
