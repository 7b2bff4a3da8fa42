"""Rates: how fast one core does each kind of work, measured on some machine and kept as TOML."""

from __future__ import annotations

import json
from importlib.resources import as_file, files
from pathlib import Path

from pydantic import Field

from predictd.config import Settings, read_settings
from predictd.io.files import write_text

_PACKAGED = files("predictd") / "data" / "rates.toml"


class Rates(Settings):
    """Seconds of one core a unit of work, sizes a unit of data; see docs/plan.md for what is measured how."""

    cpu: str = Field(description="processor on which they were measured")
    date: str = Field(description="day of the measurement")
    predictd: str = Field(description="version of predictd")
    software: str = Field(description="versions that matter")
    data: str = Field(description="what was worked on")

    start: float = Field(gt=0, description="s to start a process and import predictd")
    efficiency: float = Field(gt=0, le=1, description="speed of a core while all are at work")
    ingest: float = Field(gt=0, description="s a value: read a bigWig's bin, transform and store it")
    read: float = Field(gt=0, description="s a value: read and decompress stored signal, and look for NaN")
    moments: float = Field(gt=0, description="s a multiplication: bins × n² / 2 of them")
    multiply: float = Field(gt=0, description="s a multiplication and addition in float32 products")
    sweep: float = Field(gt=0, description="s a sweep of a fit, whatever its size")
    fit: float = Field(gt=0, description="s an operation of a sweep, in float64")
    sweeps: float = Field(gt=0, description="sweeps of a fit until it stops, all starts together")
    ranking: float = Field(gt=0, description="s a track and method that is scored, whatever its length")
    compare: float = Field(gt=0, description="s a value and method: both sweeps of scoring")
    baseline: float = Field(gt=0, description="s a value that a mean of the same assay takes in")
    bigwig: float = Field(gt=0, description="s a value: back to the unit of the track, into a bigWig")
    update: float = Field(gt=0, description="s an update of SGD and component")
    epochs: float = Field(gt=0, description="updates of SGD a training value until it stops")

    compression: float = Field(gt=0, description="bytes of float16 signal / bytes of its shards")
    track_bytes: float = Field(gt=0, description="bytes a bin of an input bigWig")
    imputed_bytes: float = Field(gt=0, description="bytes a bin of an imputed bigWig")
    process_bytes: float = Field(gt=0, description="memory of a process before it has any data")


def load_rates(path: Path | None = None) -> Rates:
    """Rates of a file, or those that come with predictd.

    Raises
    ------
    ConfigError
        If the file cannot be read, or a rate is missing, unknown or not positive.
    """
    if path is not None:
        return read_settings(path, Rates, "rates")
    with as_file(_PACKAGED) as packaged:
        return read_settings(packaged, Rates, "rates")


def write_rates(path: Path, rates: Rates) -> None:
    """Keep rates as a TOML file that says what each is."""
    lines = ["# Rates for `predictd plan`: what one core took on this machine. See docs/plan.md."]
    for name, field in Rates.model_fields.items():
        value = getattr(rates, name)
        # A JSON string is a TOML string, too.
        shown = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else f"{value:.4g}"
        lines.append(f"{name} = {shown}  # {field.description}")
    write_text(path, "\n".join(lines) + "\n")
