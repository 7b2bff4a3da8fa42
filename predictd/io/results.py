"""Tables of results: tabs, a header, numbers as %.6g."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from predictd.io.files import replacing


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str | int | float]]) -> None:
    """Replace `path` by a table; the same rows give the same bytes."""
    with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        file.write("\t".join(columns) + "\n")
        for row in rows:
            file.write("\t".join(map(told, row)) + "\n")


def told(value: str | int | float) -> str:
    """A value as tables have it."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
