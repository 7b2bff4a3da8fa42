"""What started this process: an MPI launcher or a batch system that announces it as one of several, or spark-submit."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

# Where launchers tell each process its rank and the number of processes: MPICH and what follows its PMI (Intel MPI,
# MVAPICH, srun --mpi=pmi2), Open MPI, MVAPICH's own, Cray PALS, and srun for any step.
_VARIABLES = (
    ("PMI_RANK", "PMI_SIZE"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE"),
    ("PALS_RANKID", "PALS_SIZE"),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
)
# Where schedulers tell each task of a job array its index, from 0, and how many tasks there are where they tell it. AWS
# Batch comes before Kubernetes, on which it may run.
_ARRAYS = (
    ("AWS Batch", "AWS_BATCH_JOB_ARRAY_INDEX", "AWS_BATCH_JOB_ARRAY_SIZE"),
    ("Kubernetes", "JOB_COMPLETION_INDEX", ""),
    ("Slurm", "SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT"),
)
ARRAY_VARIABLES = tuple(index for _, index, _ in _ARRAYS)
# What only a job of the platform has. Those that have no variable of their own get PREDICTD_PLATFORM from their
# definitions in cloud/.
_PLATFORMS = (
    ("AWS Batch", "AWS_BATCH_JOB_ID"),
    ("Slurm", "SLURM_JOB_ID"),
    ("Dataproc", "DATAPROC_IMAGE_VERSION"),
    ("Kubernetes", "KUBERNETES_SERVICE_HOST"),
)
SPARK_PLATFORMS = ("EMR Serverless", "Dataproc")
# Where Amazon SageMaker tells the containers of training and of processing jobs its hosts, and where each writes why it
# failed; below the folder that SageMaker's own toolkits call by this variable.
_SAGEMAKER = {
    "input/config/resourceconfig.json": "output/failure",
    "config/resourceconfig.json": "output/message",
}
_SAGEMAKER_FOLDER = ("SAGEMAKER_BASE_DIR", "/opt/ml")
# What of it SageMaker shows, in bytes.
_SAGEMAKER_REASON = 1024
# Beginnings of the variables with which a process finds its place in an MPI job, which its children have not.
LAUNCHER_PREFIXES = (
    "PMI_",
    "PMI2_",
    "PMIX_",
    "HYDI_",
    "MPI_LOCAL",
    "OMPI_",
    "MV2_",
    "PALS_",
    "SLURM_STEP_NUM_",
)


@dataclass(frozen=True)
class Announced:
    """What a launcher says of this process.

    Attributes
    ----------
    rank, size
        Its number among all, and how many there are.
    source
        The variable that says so.
    """

    rank: int
    size: int
    source: str


def announced(environment: Mapping[str, str] | None = None) -> Announced | None:
    """What the launcher says; None where this process is alone.

    A process that is alone in its MPI world needs no MPI, and what it starts in turn inherits such variables.
    """
    variables = os.environ if environment is None else environment
    found = [
        Announced(int(variables[rank]), int(variables[size]), size)
        for rank, size in _VARIABLES
        if variables.get(rank, "").isdigit() and variables.get(size, "").isdigit()
    ]
    # The launcher's own word comes first: in a batch job it may itself have been started once a node by srun.
    return found[0] if found and found[0].size > 1 else None


@dataclass(frozen=True)
class ArrayTask:
    """What a scheduler says of a task of a job array.

    Attributes
    ----------
    scheduler
        Its name.
    index
        The task's number.
    size
        Tasks of the array; None where the scheduler does not say.
    divides
        Whether the tasks, which are hosts, divide all parts among them; else each makes one part.
    """

    scheduler: str
    index: int
    size: int | None
    divides: bool = False


def array_task(environment: Mapping[str, str] | None = None) -> ArrayTask | None:
    """What the scheduler says; None where this process is neither a task of a job array nor on one of several hosts."""
    variables = os.environ if environment is None else environment
    for scheduler, index, size in _ARRAYS:
        if (found := variables.get(index, "")).isdigit():
            tasks = variables.get(size, "")
            return ArrayTask(scheduler, int(found), int(tasks) if tasks.isdigit() else None)
    return sagemaker_host(variables)


def sagemaker_host(environment: Mapping[str, str] | None = None) -> ArrayTask | None:
    """Which of the hosts of a job of SageMaker this is; None where it is none."""
    root = _sagemaker_folder(environment)
    for name in _SAGEMAKER:
        with suppress(OSError, ValueError, KeyError, TypeError):
            resources = json.loads((root / name).read_text(encoding="utf-8"))
            hosts = sorted(resources["hosts"])
            return ArrayTask(
                "Amazon SageMaker", hosts.index(resources["current_host"]), len(hosts), divides=True
            )
    return None


def report_failure(reason: str, environment: Mapping[str, str] | None = None) -> None:
    """Leave the reason where SageMaker looks for it, to show it with the job; elsewhere do nothing."""
    root = _sagemaker_folder(environment)
    for name, place in _SAGEMAKER.items():
        if (root / name).is_file():
            # An image that does not run as root may not write there. The log has the reason too.
            with suppress(OSError):
                (root / place).parent.mkdir(parents=True, exist_ok=True)
                text = reason.encode()[:_SAGEMAKER_REASON].decode(errors="ignore")
                (root / place).write_text(text, encoding="utf-8")


def _sagemaker_folder(environment: Mapping[str, str] | None) -> Path:
    variables = os.environ if environment is None else environment
    return Path(variables.get(*_SAGEMAKER_FOLDER))


def platform(environment: Mapping[str, str] | None = None) -> str | None:
    """What runs this process, as a job; None where it is none that is known."""
    variables = os.environ if environment is None else environment
    if named := variables.get("PREDICTD_PLATFORM"):
        return named
    if host := sagemaker_host(variables):
        return host.scheduler
    return next((name for name, variable in _PLATFORMS if variables.get(variable)), None)


def allotted(environment: Mapping[str, str] | None = None) -> int:
    """Tasks that a batch job was given, whether or not they have been started; 1 outside of one."""
    variables = os.environ if environment is None else environment
    tasks = variables.get("SLURM_NTASKS", "")
    return int(tasks) if tasks.isdigit() else 1


def longest_array() -> int | None:
    """Tasks of the longest job array that Slurm takes here (MaxArraySize); None where there is no Slurm to ask."""
    command = ["scontrol", "show", "config"]
    with suppress(OSError, subprocess.SubprocessError):
        printed = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout
        if found := re.search(r"^MaxArraySize\s*=\s*(\d+)", printed, re.MULTILINE):
            return int(found[1])
    return None


def submitted_to_spark(environment: Mapping[str, str] | None = None) -> bool:
    """Whether spark-submit has started this process, and waits for it with a session's configuration."""
    variables = os.environ if environment is None else environment
    return "PYSPARK_GATEWAY_PORT" in variables
