"""What ran, on what, with what: the contents of run.json and of the provenance fields in the formats.

Times and memory stand in run.json only, so that every other output is the same bytes when it is made again.
"""

from __future__ import annotations

import os
import platform
import resource
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

from threadpoolctl import threadpool_info

_PACKAGES = (
    "predictd",
    "numpy",
    "scipy",
    "scikit-learn",
    "h5py",
    "hdf5plugin",
    "pybigtools",
    "pyBigWig",
)
# They carry work to where it is done, and have no part in the numbers.
_ENGINE_PACKAGES = ("mpi4py", "pyspark")


@dataclass
class Stage:
    """One timed step of a run.

    Attributes
    ----------
    name
        Of the step.
    seconds
        It took.
    exchange_seconds
        Of these, what workers of sgd spent with exchanging factors and waiting for each other, on average.
    bytes_exchanged, peak_memory_bytes
        See `predictd.engine.Engine`.
    """

    name: str
    seconds: float = 0.0
    exchange_seconds: float = 0.0
    bytes_exchanged: int = 0
    peak_memory_bytes: int = 0


class Usage(Protocol):
    """What an engine tells of itself; see `predictd.engine.Engine`."""

    name: str
    workers: int
    ranks: int
    bytes_sent: int
    peak_memory_bytes: int


@dataclass
class RunRecord:
    """Collects what run.json holds while a workflow goes on."""

    command: list[str]
    engine: str = "local"
    workers: int = 1
    seed: int | None = None
    ranks: int = 1
    inputs: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    train: list[str] = field(default_factory=list)
    results: dict[str, Any] = field(default_factory=dict)
    stages: list[Stage] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)
    _usage: Usage | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls,
        command: list[str],
        engine: Usage,
        *,
        seed: int | None = None,
        settings: dict[str, Any] | None = None,
    ) -> RunRecord:
        """A record of what an engine runs, that reads off it what each stage used."""
        return cls(
            command, engine.name, engine.workers, seed, engine.ranks, settings=settings or {}, _usage=engine
        )

    @contextmanager
    def stage(self, name: str) -> Iterator[Stage]:
        """Time a block; the stage counts only when the block ends well."""
        stage = Stage(name)
        start = time.perf_counter()
        sent = self._usage.bytes_sent if self._usage else 0
        yield stage
        stage.seconds = round(time.perf_counter() - start, 3)
        stage.peak_memory_bytes = peak_memory()
        if self._usage:
            stage.bytes_exchanged = self._usage.bytes_sent - sent
            stage.peak_memory_bytes = max(stage.peak_memory_bytes, self._usage.peak_memory_bytes)
        self.stages.append(stage)

    def run_of(self, parts: Sequence[int]) -> dict[str, Any]:
        """What is to be known of the making of parts, which other processes may finish: an entry of `runs`."""
        return {
            "parts": list(parts),
            "engine": self.engine,
            "workers": self.workers,
            "ranks": self.ranks,
            "stages": [asdict(stage) for stage in self.stages],
        }

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values for JSON."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "_usage"}
        return {
            **values,
            "stages": [asdict(stage) for stage in self.stages],
            "command": shlex.join(self.command),
            "software": software() | {name: package_version(name) for name in _ENGINE_PACKAGES},
        }


def current_command() -> list[str]:
    """The command line of this process, however the program was started."""
    return ["predictd", *sys.argv[1:]]


def peak_memory() -> int:
    """Largest resident set of this process or of one of its finished children, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    usages = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return max(usages) * unit


def physical_memory() -> int | None:
    """Memory of this machine in bytes; None where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


def package_version(name: str) -> str | None:
    """Installed version of a distribution, None where it is absent."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def cpu_model() -> str:
    """The processor's name as the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def software() -> dict[str, Any]:
    """Versions, BLAS and processor: what "the same bits" depends on."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": cpu_model(),
        # Other thread pools that some import has loaded have no part in the numbers.
        "blas": sorted(
            {f"{p['internal_api']} {p.get('version')}" for p in threadpool_info() if p["user_api"] == "blas"}
        ),
        **{name: package_version(name) for name in _PACKAGES},
    }
