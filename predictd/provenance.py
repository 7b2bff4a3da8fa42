"""What ran, on what, with what: the contents of run.json and of the provenance fields in the formats.

Times and memory are in run.json only, so that every other output is the same bytes when it is made again.
"""

from __future__ import annotations

import os
import platform
import resource
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from functools import cache
from pathlib import Path, PurePath
from typing import Any, Protocol

from predictd import progress

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
    """What an engine says of itself; see `predictd.engine.Engine`."""

    name: str
    workers: int
    ranks: int
    bytes_sent: int
    peak_memory_bytes: int


@dataclass(frozen=True)
class EngineInfo:
    """What runs the tasks; small, so that tasks can record it."""

    name: str = "local"
    workers: int = 1
    ranks: int = 1

    @classmethod
    def of(cls, engine: Usage) -> EngineInfo:
        """Describe an engine."""
        return cls(engine.name, engine.workers, engine.ranks)


_command_line: ContextVar[list[str] | None] = ContextVar("command line", default=None)


@contextmanager
def command_line(arguments: Sequence[str]) -> Iterator[None]:
    """Within the block, run records name this command."""
    token = _command_line.set(list(arguments))
    try:
        yield
    finally:
        _command_line.reset(token)


@dataclass
class RunRecord:
    """Collects what run.json holds while a workflow runs.

    Attributes
    ----------
    workflow
        Name of the workflow, such as `train`.
    engine
        What ran its tasks.
    seed
        Of everything random; None where nothing is.
    job
        Checksum of everything that an output made in parts depends on, by which it is known again; None for others.
    inputs
        Checksum of each input, by path.
    settings
        The parameters of the workflow.
    train
        Experiments that were trained on.
    results
        What is worth knowing of the outcome.
    stages, runs
        Timed steps; for outputs made in parts, the making of each part.
    resumed
        Whether an earlier command has made some of it, which `stages` then lack.
    """

    workflow: str
    engine: EngineInfo = EngineInfo()
    seed: int | None = None
    job: str | None = None
    inputs: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    train: list[str] = field(default_factory=list)
    results: dict[str, Any] = field(default_factory=dict)
    stages: list[Stage] = field(default_factory=list)
    runs: list[dict[str, Any]] = field(default_factory=list)
    resumed: bool = False
    _usage: Usage | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls,
        workflow: str,
        engine: Usage,
        *,
        seed: int | None = None,
        settings: dict[str, Any] | None = None,
    ) -> RunRecord:
        """A record that reads what each stage used off the engine that runs it."""
        return cls(workflow, EngineInfo.of(engine), seed, settings=settings or {}, _usage=engine)

    @contextmanager
    def stage(self, name: str) -> Iterator[Stage]:
        """Time a block; the stage counts only when the block ends well."""
        stage = Stage(name)
        start = time.perf_counter()
        sent = self._usage.bytes_sent if self._usage else 0
        with progress.stage(name):
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
            **_flat(self.engine),
            "stages": [asdict(stage) for stage in self.stages],
        }

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values for JSON; `command` is None where Python called the workflow.

        `finished` is the time of the call.
        """
        command = _command_line.get()
        return {
            "command": None if command is None else shlex.join(command),
            "workflow": self.workflow,
            "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            **_flat(self.engine),
            "seed": self.seed,
            "job": self.job,
            "inputs": self.inputs,
            "settings": {name: _plain(value) for name, value in self.settings.items()},
            "train": self.train,
            "results": self.results,
            "stages": [asdict(stage) for stage in self.stages],
            "runs": self.runs,
            "resumed": self.resumed,
            "software": software() | {name: package_version(name) for name in _ENGINE_PACKAGES},
        }


def given(**settings: Any) -> dict[str, Any]:
    """Settings without those that were left out, which are None."""
    return {name: value for name, value in settings.items() if value is not None}


def _flat(engine: EngineInfo) -> dict[str, Any]:
    return {"engine": engine.name, "workers": engine.workers, "ranks": engine.ranks}


def _plain(value: Any) -> Any:
    """A setting as JSON has it: paths as text."""
    return str(value) if isinstance(value, PurePath) else value


def peak_memory() -> int:
    """Largest resident set of this process or of one of its finished children, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    own, children = (
        resource.getrusage(who).ru_maxrss * unit for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    # On Linux a process counts as its own what its parent had when it was started.
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        own = int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) * 1024
    return max(own, children)


def physical_memory() -> int | None:
    """Memory of this machine in bytes; None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


@cache
def package_version(name: str) -> str | None:
    """Installed version of a distribution, None where it is absent; looked up once, for it takes milliseconds."""
    # Not needed where help is shown.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name)
    except PackageNotFoundError:
        return None


def cpu_model() -> str:
    """The processor's name as the system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def software() -> dict[str, Any]:
    """Versions, BLAS and processor: what "the same bits" depends on."""
    # Loads SciPy's BLAS, whether something has been computed with it or not.
    import scipy.linalg  # noqa: F401
    from threadpoolctl import threadpool_info

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
