"""Rates: how fast one core does each kind of work, as packaged, and corrected by what past runs took."""

from __future__ import annotations

import json
from importlib.resources import as_file, files
from pathlib import Path
from typing import TypeVar

from pydantic import Field, PositiveFloat

from predictd.config import Settings, read_settings
from predictd.io.files import write_text

Group = TypeVar("Group", bound=Settings)


class Rates(Settings):
    """Seconds of one core a unit of work, and bytes a unit of data."""

    source: str = Field(description="where and when this was measured")

    start: float = Field(gt=0, description="s to start a process and import predictd")
    efficiency: float = Field(gt=0, le=1, description="speed of a core while all are at work")
    ingest: float = Field(gt=0, description="s a value: read a bigWig's bin, transform and store it")
    read: float = Field(gt=0, description="s a value: read and decompress stored signal, and look for NaN")
    moments: float = Field(gt=0, description="s a multiplication: bins × n² / 2 of them")
    multiply: float = Field(gt=0, description="s a multiplication and addition in float32 products")
    sweep: float = Field(gt=0, description="s a sweep of a fit, whatever its size")
    fit: float = Field(gt=0, description="s an operation of a sweep, in float64")
    sweeps: float = Field(gt=0, description="sweeps of a fit until it stops, all starts together")
    model: float = Field(gt=0, description="s to read a model, or what it makes of a few pairs")
    feature: float = Field(gt=0, description="s a multiplication: moments of a sample's features")
    learn: float = Field(gt=0, description="s a bin that a network learns from")
    exercise: float = Field(gt=0, description="s a bin of a sample that a network reads")
    window: float = Field(gt=0, description="s a value and window of such a bin")
    curve: float = Field(gt=0, description="s a value: curves that networks read, and features as well")
    around: float = Field(gt=0, description="s a bin and pair: means over windows that networks read")
    refine: float = Field(gt=0, description="s a bin, pair and network: what it adds to a stack")
    ranking: float = Field(gt=0, description="s a track and method that is scored, whatever its length")
    compare: float = Field(gt=0, description="s a value and method: both sweeps of scoring")
    baseline: float = Field(gt=0, description="s a value that a mean of the same assay takes in")
    count: float = Field(gt=0, description="s a bin and pair: how far a prediction is off")
    bigwig: float = Field(gt=0, description="s a value: back to the unit of the track, into a bigWig")
    deviation: float = Field(gt=0, description="s a value of a track of deviations, besides")
    update: float = Field(gt=0, description="s an update of SGD and component")
    epochs: float = Field(gt=0, description="updates of SGD a training value until it stops")

    compression: float = Field(gt=0, description="bytes of float16 signal / bytes of its shards")
    track_bytes: float = Field(gt=0, description="bytes a bin of an input bigWig")
    imputed_bytes: float = Field(gt=0, description="bytes a bin of an imputed bigWig")
    start_bytes: float = Field(gt=0, description="bytes that a process reads to start")
    process_bytes: float = Field(gt=0, description="memory of a process before it has any data")
    learned_bytes: float = Field(gt=0, description="memory of a bin that a network learns from")

    seconds: dict[str, PositiveFloat] = Field(
        {}, description="what stages took, / what the rates above make it"
    )
    memory: dict[str, PositiveFloat] = Field({}, description="the same for memory")


def load(group: type[Group], what: str, path: Path | None = None) -> Group:
    """Rates or prices of a TOML file, or those that come with predictd.

    Raises
    ------
    ConfigError
        If the file cannot be read, or an entry is missing, unknown or out of range.
    """
    with as_file(files("predictd") / "data" / f"{what}.toml") as packaged:
        return read_settings(path or packaged, group, what)


def load_rates(path: Path | None = None) -> Rates:
    """Rates of a file, or the packaged ones; see `load`."""
    return load(Rates, "rates", path)


def write_rates(path: Path, rates: Rates) -> None:
    """Keep rates as a TOML file that says what each is."""
    lines = ["# Rates for `predictd plan`; see docs/plan.md."]
    for name, field in Rates.model_fields.items():
        value = getattr(rates, name)
        if isinstance(value, dict):
            lines += ["", f"[{name}]  # {field.description}"]
            lines += [f"{json.dumps(stage)} = {factor:.4g}" for stage, factor in value.items()]
        else:
            # A JSON string is a TOML string, too.
            shown = json.dumps(value, ensure_ascii=False) if isinstance(value, str) else f"{value:.4g}"
            lines.append(f"{name} = {shown}  # {field.description}")
    write_text(path, "\n".join(lines) + "\n")
