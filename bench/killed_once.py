"""One job by local workers, Slurm and Spark, also with a kill in each stage: `python bench/killed_once.py FOLDER`.

The default solver's `cv` and `impute` of a simulated tensor: by two local workers, by the arrays of `slurm/` on a Slurm
of this machine that gives them two processors, and on a Spark cluster of two workers. On the latter two the job is run
twice: undisturbed, and with one process killed (SIGKILL) in each stage as soon as the stage is seen in a log. Under
Slurm it is a task's `predictd`, and the failed task is then submitted again, as slurm/README.md says; on Spark it is an
executor, and Spark itself runs its tasks anew.

All outputs are compared byte by byte with those of the local workers. Printed are seconds, and the efficiency: those of
the local workers over those of the engine. Both start more processes than a local run; on a short job that shows most.

Needs Slurm and munge, the extra `spark`, and Linux. The Slurm and the Spark clusters are those of the tests.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "helpers"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import slurm_cluster
import spark_cluster
from folders import same_files
from predictd.progress import PACE_VARIABLE
from predictd.wording import aligned

ROOT = Path(__file__).resolve().parents[1]
STAGES = ("moments", "choose", "train", "score", "impute")
WORKERS = 2
PREDICTD = (sys.executable, "-m", "predictd")
TENSOR = "data/tensor"
# A stage is seen by the lines that tell how far it is.
PACE_SECONDS = "0.2"
_TOLD = re.compile(rb"^predictd: info: (?:part \d+ of \d+, )?(\w+)[,:]", re.MULTILINE)


class Killer:
    """Kills one process in each stage that is seen, in a thread of its own.

    Parameters
    ----------
    logs
        The files that tell of stages, which may become more.
    victims
        Processes of which the first is killed.
    """

    def __init__(self, logs: Callable[[], list[Path]], victims: Callable[[Path], list[int]]) -> None:
        self._logs, self._victims = logs, victims
        self._over = threading.Event()
        self.killed: list[str] = []

    def __enter__(self) -> Killer:
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            for log in self._logs():
                told = _TOLD.findall(log.read_bytes())
                stage = told[-1].decode() if told else ""
                if stage in STAGES and stage not in self.killed:
                    for victim in self._victims(log)[:1]:
                        with suppress(ProcessLookupError):
                            os.kill(victim, signal.SIGKILL)
                            self.killed.append(stage)
                            print(f"{log.name}: killed in {stage}", file=sys.stderr)


def processes(wanted: Callable[[list[bytes], list[bytes]], bool]) -> list[int]:
    """Processes that are wanted by the words of their command lines and their environments, the oldest first."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                words, known = ((entry / name).read_bytes().split(b"\0") for name in ("cmdline", "environ"))
                if wanted(words, known):
                    found.append(int(entry.name))
    return sorted(found)


def timed(work: Callable[[], object]) -> float:
    """Seconds on the clock."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def call(*arguments: str, cwd: Path, log: str = "bench.log", **variables: str) -> None:
    """Run a predictd command; SystemExit if it fails."""
    with (cwd / log).open("ab") as out:
        status = subprocess.run(
            [*PREDICTD, *arguments], cwd=cwd, stdout=out, stderr=out, env=os.environ | variables, check=False
        ).returncode
    if status:
        tail = (cwd / log).read_text(errors="replace")[-2000:]
        sys.exit(f"predictd {arguments[0]} ended with {status}:\n{tail}")


def commands(options: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """What is run."""
    return [
        ("cv", TENSOR, "-o", "cv", *options),
        ("impute", "cv", TENSOR, "-o", "imputed", *options),
    ]


# -- Slurm ------------------------------------------------------------------------------------------------------------


def by_slurm(cluster: slurm_cluster.SlurmCluster, folder: Path) -> None:
    """Both arrays and what finishes them; tasks that fail are submitted again."""
    (folder / "predictd-site.sh").write_text(f'PREDICTD=("{sys.executable}" -m predictd)\n')
    for script, paths, command in (
        ("cv-array.sbatch", {"TENSOR": TENSOR, "OUTPUT": "cv"}, commands()[0]),
        ("impute-array.sbatch", {"TENSOR": TENSOR, "MODEL": "cv", "OUTPUT": "imputed"}, commands()[1]),
    ):
        variables = paths | {"PYTHONSAFEPATH": "1", PACE_VARIABLE: PACE_SECONDS}
        parts = subprocess.run(
            [*PREDICTD, *command, "--parts"], cwd=folder, capture_output=True, text=True, check=True
        )
        left = [str(part) for part in range(int(parts.stdout))]
        # A killed task fails; who submits it again may be killed in the next stage.
        for _ in range(1 + len(STAGES)):
            options = (f"--chdir={folder}", "--cpus-per-task=1", f"--array={','.join(left)}")
            job = cluster.submit(ROOT / "slurm" / script, options=options, **variables)
            shown = zip(left, cluster.wait(*[f"{job}_{part}" for part in left], seconds=36_000), strict=True)
            left = [part for part, task in shown if task["JobState"] != "COMPLETED"]
            if not left:
                break
        else:
            sys.exit(f"{script}: tasks {', '.join(left)} fail; see {folder}")
        call(*command, "--finish", cwd=folder)


def task_of(log: Path) -> list[int]:
    """The predictd of the task that writes a log; srun's command line has the same words behind its own."""
    job, task = log.stem.split("-")[-1].split("_")
    own = {f"SLURM_ARRAY_JOB_ID={job}".encode(), f"SLURM_ARRAY_TASK_ID={task}".encode()}
    python = sys.executable.encode()
    return processes(lambda words, known: words[0] == python and b"--part" in words and own <= set(known))


@contextmanager
def a_slurm() -> Iterator[slurm_cluster.SlurmCluster]:
    """One of two processors, in a directory whose name is short."""
    with (
        tempfile.TemporaryDirectory() as folder,
        slurm_cluster.SlurmCluster(Path(folder) / "slurm", cpus=WORKERS) as cluster,
    ):
        yield cluster


# -- Spark ------------------------------------------------------------------------------------------------------------


def by_spark(cluster: spark_cluster.SparkCluster, folder: Path) -> None:
    """Both commands, each an application of its own."""
    options = ("--workers", str(WORKERS), "--master", cluster.url)
    variables = spark_cluster.environment(**{PACE_VARIABLE: PACE_SECONDS})
    for command in commands(options):
        call(*command, cwd=folder, log=f"{command[0]}.log", **variables)


def executors_of(daemons: Path) -> list[int]:
    """The processes of Java that run tasks of a cluster, whose directories lie in that of its workers."""
    running = processes(lambda words, _: b"org.apache.spark.executor.CoarseGrainedExecutorBackend" in words)
    found = []
    for process in running:
        with suppress(OSError):
            if Path(f"/proc/{process}/cwd").readlink().is_relative_to(daemons):
                found.append(process)
    return found


def newest(folder: Path) -> list[Path]:
    """The log of the command that runs: those before it are over."""
    logs = [folder / f"{command[0]}.log" for command in commands(())]
    return [log for log in logs if log.exists()][-1:]


# -- all --------------------------------------------------------------------------------------------------------------


def fresh(base: Path, name: str) -> Path:
    """An empty folder that sees the tensor as its own, without moments."""
    folder = base / name
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "data").mkdir(parents=True)
    shutil.copytree(base / TENSOR, folder / TENSOR, copy_function=os.link)
    return folder


def compare(base: Path, folder: Path) -> str:
    """What is the same as the local workers'."""
    n_files = sum(len(same_files(base / "local" / name, folder / name)) for name in ("cv", "imputed"))
    return f"{n_files} files the same"


def main(arguments: list[str] | None = None) -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bins", type=int, default=100_000, help="[100,000]")
    given = parser.parse_args(arguments)
    # So that clusters are stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if absent := slurm_cluster.missing_programs() or spark_cluster.missing():
        sys.exit(f"not installed here: {absent}")
    base = given.folder.resolve() / f"b{given.bins}"
    base.mkdir(parents=True, exist_ok=True)
    if not (base / TENSOR).exists():
        shape = (
            "--cells",
            "10",
            "--assays",
            "10",
            "--share",
            "0.6",
            "--rank",
            "8",
            "--bins",
            str(given.bins),
        )
        call("simulate", "data", *shape, "--as", "tensor", "--no-truth", cwd=base)
    local = fresh(base, "local")
    usual = timed(lambda: [call(*command, cwd=local) for command in commands(("--workers", str(WORKERS)))])
    rows = [("", "seconds", "efficiency", "killed in", "bytes"), ("local", f"{usual:.0f}", "1", "", "")]

    def add(name: str, work: Callable[[Path], object], killer: Callable[[Path], Killer] | None) -> None:
        folder = fresh(base, name.replace(", ", "-"))
        killed: list[str] = []
        if killer is None:
            seconds = timed(lambda: work(folder))
        else:
            with killer(folder) as own:
                seconds = timed(lambda: work(folder))
            killed = own.killed
            if missed := [stage for stage in STAGES if stage not in killed]:
                print(f"{name}: over before they could be killed: {', '.join(missed)}", file=sys.stderr)
        efficiency = f"{usual / seconds:.2f}"
        rows.append((name, f"{seconds:.0f}", efficiency, " ".join(killed), compare(base, folder)))

    with a_slurm() as slurm:
        add("Slurm", lambda folder: by_slurm(slurm, folder), None)
        logs = "predictd-*.log"
        add(
            "Slurm, killed",
            lambda folder: by_slurm(slurm, folder),
            lambda folder: Killer(lambda: sorted(folder.glob(logs)), task_of),
        )
    daemons = base / "spark-daemons"
    daemons.mkdir(exist_ok=True)
    with spark_cluster.SparkCluster(daemons, WORKERS) as spark:
        add("Spark", lambda folder: by_spark(spark, folder), None)
        add(
            "Spark, killed",
            lambda folder: by_spark(spark, folder),
            lambda folder: Killer(lambda: newest(folder), lambda _log: executors_of(daemons)),
        )
    print(f"{given.bins:,} bins, {WORKERS} workers\n{aligned(rows)}")


if __name__ == "__main__":
    main()
