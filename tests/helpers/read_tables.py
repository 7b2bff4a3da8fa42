"""Tables as tests compare them."""

from __future__ import annotations

import gzip
from pathlib import Path


def fields_of(path: Path | str, mark: str = "\t") -> list[list[str]]:
    """The fields of each line of a table, which may be compressed."""
    path = Path(path)
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
    return [line.split(mark) for line in text.splitlines()]
