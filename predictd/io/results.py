"""Tables of results (tabs, a header, numbers as %.6g), and the record of a run beside them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from predictd.constants import RUN_JSON
from predictd.io.files import replacing, write_json
from predictd.provenance import RunRecord


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str | int | float]]) -> None:
    """Replace `path` by a table; the same rows give the same bytes."""
    with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        file.write("\t".join(columns) + "\n")
        for row in rows:
            file.write("\t".join(map(told, row)) + "\n")


def write_run_json(record: RunRecord, output: Path, *, sidecar: bool = False) -> None:
    """Write `run.json` into the directory `output`; `sidecar`: `OUTPUT.run.json` next to the file `output`."""
    path = output.with_name(f"{output.name}.{RUN_JSON}") if sidecar else output / RUN_JSON
    write_json(path, record.to_dict())


def told(value: str | int | float) -> str:
    """A value as tables have it."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
