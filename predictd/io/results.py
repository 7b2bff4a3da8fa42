"""Tables of results (tabs, a header, numbers as %.6g), and the record of the run that made them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from predictd.constants import MEASURES, METRIC_COUNTS, METRIC_KEYS, RUN_JSON
from predictd.errors import DataError
from predictd.io.files import replacing, write_json
from predictd.provenance import RunRecord

_DICTIONARIES = ("results", "settings", "inputs", "software")


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str | int | float]]) -> None:
    """Replace `path` by a table, without a header where there are no `columns`; same rows, same bytes."""
    with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        if columns:
            file.write("\t".join(columns) + "\n")
        for row in rows:
            file.write("\t".join(map(as_text, row)) + "\n")


def write_metrics(
    path: Path, rows: Iterable[Mapping[str, str | float]], *, measures: Sequence[str] = MEASURES
) -> None:
    """Replace `path`, a `metrics.tsv`, by rows sorted by their keys.

    Parameters
    ----------
    path
        The file.
    rows
        Each with exactly `constants.METRIC_KEYS` (text), `constants.METRIC_COUNTS` (whole numbers) and the measures.
    measures
        Names of measures.

    Raises
    ------
    DataError
        If a row has other columns, or two rows have the same keys.
    """
    columns = (*METRIC_KEYS, *METRIC_COUNTS, *measures)
    by_key: dict[tuple[str, ...], list[int | float]] = {}
    for row in rows:
        if set(row) != set(columns):
            wrong = ", ".join(sorted(set(row).symmetric_difference(columns)))
            raise DataError(f"a row of metrics has other columns than expected: {wrong}")
        key = tuple(str(row[name]) for name in METRIC_KEYS)
        if key in by_key:
            raise DataError(f"two rows of metrics for {' '.join(key)}")
        # Adding 0 turns -0 into 0.
        values = [float(row[name]) + 0.0 for name in measures]
        by_key[key] = [*(int(row[name]) for name in METRIC_COUNTS), *values]
    write_rows(path, columns, ((*key, *by_key[key]) for key in sorted(by_key)))


def run_json_of(output: Path, *, sidecar: bool = False) -> Path:
    """`run.json` in the directory `output`; `sidecar`: `OUTPUT.run.json` next to the file `output`."""
    return output.with_name(f"{output.name}.{RUN_JSON}") if sidecar else output / RUN_JSON


def write_run_json(record: RunRecord, output: Path, *, sidecar: bool = False) -> None:
    """Write the run.json of an output; see `run_json_of`."""
    write_json(run_json_of(output, sidecar=sidecar), record.to_dict())


def read_run_json(output: Path, *, sidecar: bool = False) -> dict[str, Any]:
    """What the run.json of an output says, see `run_json_of`; empty if it is another tool's.

    Raises
    ------
    OSError, ValueError
        If there is none, or it cannot be read.
    """
    run = json.loads(run_json_of(output, sidecar=sidecar).read_text(encoding="utf-8"))
    ours = isinstance(run, dict) and all(isinstance(run.get(key, {}), dict) for key in _DICTIONARIES)
    return run if ours else {}


def known_run(output: Path, *, sidecar: bool = False) -> dict[str, Any]:
    """As `read_run_json`; empty where there is none, or it cannot be read."""
    with suppress(OSError, ValueError):
        return read_run_json(output, sidecar=sidecar)
    return {}


def as_text(value: str | int | float) -> str:
    """A value as tables have it."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
