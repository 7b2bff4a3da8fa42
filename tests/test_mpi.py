"""The MPI engine under a real launcher: the same numbers, and what happens when something goes wrong."""

from __future__ import annotations

import functools
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import engine_tasks as tasks
from commands import PREDICTD, call_predictd, choices_logged, run_predictd
from contained import CALLS
from folders import same_files
from made_networks import write_network_case
from made_tensors import small_tensor
from places import HELPERS, PYTHONPATH, TESTS
from predictd import interrupt
from predictd.config import TrainSettings
from predictd.engine.base import usable_cpus
from predictd.engine.mpi.memory import prepare
from predictd.io.files import write_json
from predictd.io.tensor.store import Tensor
from predictd.launcher import LAUNCHER_PREFIXES
from predictd.model.folds import folds_to_json, make_folds
from predictd.model.peaks import PeakRule
from predictd.workflows.imputing.impute import impute
from predictd.workflows.tracks.binarise import Binarisation
from predictd.workflows.tracks.peaks import PeakCalling
from predictd.workflows.training.crossval import crossval
from predictd.workflows.training.train import train
from waiting import alive

MPIEXEC = Path(sys.executable).with_name("mpiexec")
pytestmark = [
    pytest.mark.engines,
    pytest.mark.skipif(
        find_spec("mpi4py") is None or not MPIEXEC.exists(),
        reason="mpi4py and mpich are not installed with this Python",
    ),
]
ENVIRONMENT = {**os.environ, "PYTHONSAFEPATH": "1", "PYTHONPATH": PYTHONPATH}


def mpiexec(ranks: int, *command: object, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(MPIEXEC), "-n", str(ranks), *map(str, command)],
        cwd=cwd,
        capture_output=True,
        text=True,
        env=ENVIRONMENT | variables,
        check=False,
    )


def alone(*arguments: object, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, under whatever the variables say of a launcher."""
    return subprocess.run(
        [*PREDICTD, *map(str, arguments)],
        cwd=cwd,
        env=ENVIRONMENT | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def told(done: subprocess.CompletedProcess[str]) -> str:
    """Standard error without the warning that ranks share CPUs, which depends on the machine."""
    lines = done.stderr.splitlines(keepends=True)
    return "".join(
        line
        for line in lines
        if not (line.startswith("predictd: warning: ") and "more workers than CPUs" in line)
    )


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a job as a process group of its own, which is ended with the test."""
    started = []

    def start(ranks: int, *command: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [str(MPIEXEC), "-n", str(ranks), *map(str, command)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            start_new_session=True,
            env=ENVIRONMENT,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


# -- every engine's behaviour ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_the_engine_does_what_every_engine_must(ranks, tmp_path):
    report = tmp_path / "report.xml"
    options = ("-q", "-p", "no:cacheprovider", f"--junitxml={report}", f"--basetemp={tmp_path / 'own'}")
    job = (sys.executable, HELPERS / "mpi_job.py", *options, TESTS / "test_engine.py")
    done = mpiexec(ranks, *job, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout and "skipped" not in done.stdout
    assert report.read_text().count("[mpi-of-2]") >= 15


# -- the same numbers ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory, engine, tensor_path) -> Path:
    """What the local engine makes: a tensor's cross-validation, imputed tracks, peaks and binarised tracks."""
    root = tmp_path_factory.mktemp("whole")
    tensor = fresh(tensor_path, root)
    write_json(root / "folds.json", folds_to_json(make_folds(Tensor(tensor).experiments, tests=2, valids=2)))
    crossval(tensor, root / "cv", TrainSettings(rank=2), engine, folds=root / "folds.json")
    impute(root / "cv", tensor, root / "tracks", engine)
    PeakCalling(root / "tracks", root / "peaks", PeakRule(0.5)).make_all(engine)
    Binarisation(root / "tracks", root / "binarised").make_all(engine)
    return root


def fresh(tensor: Path, folder: Path) -> Path:
    """A copy of a tensor as it was ingested, without what other tests have left there."""
    ignored = shutil.ignore_patterns("moments*")
    return Path(shutil.copytree(tensor, folder / "T", ignore=ignored))


@pytest.mark.parametrize(("ranks", "workers"), [(1, 1), (2, 1), (2, 2), (3, 1), (4, 1)])
def test_all_files_have_the_same_bits(ranks, workers, whole, tensor_path, tmp_path):
    fresh(tensor_path, tmp_path)
    commands = [
        ("cv", "T", "-o", "cv", "--rank", 2, "--folds", str(whole / "folds.json")),
        ("impute", "cv", "T", "-o", "tracks"),
        ("peaks", "tracks", "-o", "peaks", "--threshold", 0.5),
        ("binarise", "tracks", "-o", "binarised"),
    ]
    engine = ("--engine", "mpi", "--workers", workers)
    (tmp_path / "commands.json").write_text(json.dumps([(*command, *engine) for command in commands]))
    # One after the other in one MPI job.
    job = (sys.executable, HELPERS / "engine_jobs.py", "commands", tmp_path)
    done = mpiexec(ranks, *job, cwd=tmp_path)
    assert done.returncode == 0 and told(done) == choices_logged(done.stdout), done.stderr
    assert done.stdout.count("models; all measures in") == 1
    for name in ("T", "cv", "tracks", "peaks", "binarised"):
        assert len(same_files(whole / name, tmp_path / name)) > 3
    for name in ("cv", "tracks", "peaks", "binarised"):
        run = json.loads((tmp_path / name / "run.json").read_text())
        assert (run["engine"], run["ranks"], run["workers"]) == ("mpi", ranks, ranks * workers)
        assert {part["ranks"] for part in run["runs"]} == {ranks}
    run = json.loads((tmp_path / "cv" / "run.json").read_text())
    moments = next(stage for stage in run["stages"] if stage["name"] == "moments")
    # At least one sum from each rank but the first; a few where ranks are no power of two.
    n = len(run["train"]) + 1
    assert (ranks - 1) * n * n * 8 <= moments["bytes_exchanged"] <= 4 * (ranks - 1) * n * n * 8


SGD = """[train.sgd]
updates_per_round = 500
max_rounds = 30
min_bins = 1000
"""
FIT = ("--solver", "sgd", "--rank", 2, "--lambda", 0.001, "--config", "sgd.toml")


@pytest.fixture(scope="module")
def local_sgd(tmp_path_factory, tensor_path) -> Callable[[int], tuple[bytes, str]]:
    """The model a.h5 by so many workers of the local engine, and what the command prints."""
    root = tmp_path_factory.mktemp("sgd")
    (root / "sgd.toml").write_text(SGD)

    @functools.cache
    def train(workers: int) -> tuple[bytes, str]:
        done = run_predictd("train", tensor_path, "-o", "a.h5", *FIT, "--workers", workers, cwd=root)
        assert done.returncode == 0, done.stderr
        return (root / "a.h5").read_bytes(), done.stdout

    return train


@pytest.mark.parametrize(("ranks", "workers"), [(2, 1), (4, 1), (2, 2)])
def test_sgd_has_the_same_bits_for_as_many_workers(ranks, workers, local_sgd, tensor_path, tmp_path):
    (tmp_path / "sgd.toml").write_text(SGD)
    model, printed = local_sgd(ranks * workers)
    # Under a launcher the engine is chosen by itself.
    command = ("train", tensor_path, "-o", "b.h5", *FIT, "--workers", workers)
    done = mpiexec(ranks, *PREDICTD, *command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.replace("b.h5", "a.h5") == printed and ": rank 2, " in printed
    assert (tmp_path / "b.h5").read_bytes() == model
    assert json.loads((tmp_path / "b.h5.run.json").read_text())["ranks"] == ranks


def test_networks_have_the_same_bits(tmp_path):
    write_network_case(tmp_path)
    infer = ("network", "infer", "expression.tsv", "--regulators", "regulators.txt", "--trees", 20)
    local = call_predictd(*infer, "-o", "one", "--workers", 1, cwd=tmp_path)
    assert local.returncode == 0, local.stderr
    done = mpiexec(2, *PREDICTD, *infer, "-o", "two", cwd=tmp_path, PREDICTD_LOG_SECONDS="0")
    assert done.returncode == 0, done.stderr
    # One rank tells how far all are: blocks are counted once, from the first to the last.
    lines = told(done).splitlines()
    assert all(re.match("predictd: info: (prepare|infer): ", line) for line in lines)
    counted = [tuple(map(int, found)) for found in re.findall(r"infer: blocks (\d+)/(\d+) ", told(done))]
    assert counted[0][0] == 0 and counted[-1][0] == counted[-1][1] > 1 and counted == sorted(counted)
    assert same_files(tmp_path / "one", tmp_path / "two") == ["links.tsv", "network.h5", "run.json"]
    assert json.loads((tmp_path / "two" / "run.json").read_text())["ranks"] == 2


@pytest.mark.skipif(
    platform.machine() not in CALLS or sys.platform != "linux", reason="Linux on x86-64 or ARM64"
)
def test_ranks_that_may_not_read_each_others_memory(engine, tmp_path):
    """As in containers, with more experiments than short messages hold."""
    rng = np.random.default_rng(3)
    signal = rng.gamma(1, size=(600, 72)) @ rng.dirichlet(np.ones(72), 72)
    tensor = small_tensor(tmp_path / "T", signal).path
    train(tensor, tmp_path / "alone.h5", TrainSettings(rank=2, regularisation=0.1), engine)
    (tensor / "moments.h5").unlink()
    command = (*PREDICTD, "train", tensor, "-o", "m.h5", "--rank", 2, "--lambda", 0.1, "--workers", 1)
    contained = (sys.executable, HELPERS / "contained.py", MPIEXEC, "-n", 2)
    done = subprocess.run(
        [*map(str, (*contained, *command))],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "m.h5").read_bytes() == (tmp_path / "alone.h5").read_bytes()


@pytest.mark.parametrize(("ranks", "megabytes", "warned"), [(2, 15, True), (2, 17, False), (1, 1, False)])
def test_little_shared_memory_is_warned_of_before_mpi_starts(ranks, megabytes, warned, monkeypatch, caplog):
    for name in list(os.environ):
        if name.startswith(LAUNCHER_PREFIXES):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PMI_RANK", "0"), monkeypatch.setenv("PMI_SIZE", str(ranks))
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_bavail=megabytes, f_frsize=2**20))
    prepare()
    assert len(caplog.messages) == warned
    if warned:
        assert caplog.messages[0].startswith(
            "/dev/shm has 15 MB free for 2 ranks, and MPI may crash with less than 16"
        )
    caplog.clear()
    # All but the first say nothing.
    monkeypatch.setenv("PMI_RANK", "1")
    prepare()
    assert not caplog.messages


def test_a_rank_that_cannot_open_what_it_is_sent_ends_all_with_one_line(tensor_path, tmp_path):
    """A tensor is opened where it arrives: here the second rank looks for it in a directory of its own."""
    job = (
        "import os; from pathlib import Path; from predictd.launcher import announced\n"
        "from predictd.engine.mpi import join, MpiEngine; from predictd.io.tensor.store import Tensor\n"
        "import engine_tasks\n"
        "join(prepare=lambda: os.chdir('elsewhere'))\n"
        "MpiEngine(1).map(engine_tasks.power, [1, 2], Tensor(Path('T')))"
    )
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "T").symlink_to(tensor_path)
    done = mpiexec(2, sys.executable, "-c", job, cwd=tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "predictd: error: T is not a directory; make one with 'predictd ingest'\n" in done.stderr


# -- the command line under a launcher -------------------------------------------------------------------------------


@pytest.mark.parametrize("ranks", [1, 3])
def test_commands_and_errors_are_told_once(ranks, tensor_path, tmp_path):
    done = mpiexec(ranks, *PREDICTD, "info", tensor_path, cwd=tmp_path)
    assert done.returncode == 0 and done.stdout == call_predictd("info", tensor_path, cwd=tmp_path).stdout
    done = mpiexec(ranks, *PREDICTD, "info", "nowhere", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("nowhere") == 1 and done.stderr.startswith("predictd: error: ")
    done = mpiexec(ranks, *PREDICTD, "train", "--nonsense", cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.count("nonsense") == 1


def test_an_error_on_another_rank_ends_all_with_its_message(own_tensor, tmp_path):
    (own_tensor / "moments.h5").unlink(missing_ok=True)
    # Of several shards on two ranks the last is the other rank's.
    gone = sorted((own_tensor / "shards").glob("*.h5"))[-1]
    gone.unlink()
    done = mpiexec(2, *PREDICTD, "train", own_tensor, "-o", "m.h5", "--rank", 2, cwd=tmp_path)
    assert done.returncode == 1 and not done.stdout
    assert told(done) == f"predictd: error: {gone} is missing; ingest the tracks again\n"
    assert not (tmp_path / "m.h5").exists() and not (own_tensor / "moments.h5").exists()
    # The same in the midst of a program, where the others wait for the one that fails.
    fit = ("--solver", "sgd", "--rank", 2, "--lambda", 0.1)
    done = mpiexec(3, *PREDICTD, "train", own_tensor, "-o", "m.h5", *fit, cwd=tmp_path)
    assert done.returncode == 1
    assert told(done) == f"predictd: error: {gone} is missing; ingest the tracks again\n"


def test_worlds_of_one_are_noticed(tensor_path, tmp_path):
    """As srun with the wrong --mpi starts them: several tasks, each in a world of its own."""
    announced = {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2"}
    done = alone("info", str(tensor_path), cwd=tmp_path, **announced)
    assert done.returncode == 1 and not done.stdout
    (line,) = done.stderr.splitlines()
    assert "2 tasks were started (SLURM_STEP_NUM_TASKS), but MPI sees 1" in line and "--mpi=pmi2" in line
    # Of the two one tells.
    announced["SLURM_PROCID"] = "1"
    done = alone("info", str(tensor_path), cwd=tmp_path, **announced)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


def test_tasks_that_were_not_started_are_noticed(tensor_path, tmp_path):
    done = alone("cv", str(tensor_path), "-o", "cv", "--engine", "mpi", cwd=tmp_path, SLURM_NTASKS="4")
    assert done.returncode == 1
    assert "the job has 4 tasks, but only this one was started: start predictd with srun" in done.stderr


def test_the_local_engine_under_a_launcher_says_who_is_idle(tensor_path, tmp_path):
    command = ("info", tensor_path, "--verify", "--engine", "local")
    done = mpiexec(2, *PREDICTD, *command, cwd=tmp_path)
    assert done.returncode == 0
    assert (
        done.stderr
        == "predictd: warning: --engine local: only one of the 2 processes that were started does the work\n"
    )


def test_more_ranks_than_cpus_are_warned_of_once(tensor_path, tmp_path):
    cpus = usable_cpus()
    for ranks, workers, warned in ((cpus + 1, 1, True), (2, cpus, True), (1, 1, False)):
        done = mpiexec(ranks, *PREDICTD, "info", tensor_path, "--verify", "--workers", workers, cwd=tmp_path)
        assert done.returncode == 0
        lines = done.stderr.splitlines()
        assert len(lines) == warned
        if warned:
            assert f"{ranks * workers} (ranks: {ranks}, workers of each: {workers}) for {cpus}" in lines[0]


def test_without_mpi4py_the_extra_is_named(tensor_path, tmp_path):
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "mpi4py.py").write_text("raise ImportError(\"No module named 'mpi4py'\")\n")
    done = alone(
        "info", str(tensor_path), "--verify", "--engine", "mpi", cwd=tmp_path, PYTHONPATH=str(hidden)
    )
    assert done.returncode == 1
    assert done.stderr == (
        "predictd: error: the mpi engine needs mpi4py (No module named 'mpi4py'): pip install 'predictd[mpi]'\n"
    )


# -- signals and kills -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_a_signal_lets_tasks_finish_and_ends_with_75(number, start, tmp_path):
    process = start(2, sys.executable, HELPERS / "engine_jobs.py", "mpi-map", tmp_path)
    marks = [tmp_path / f"begun-{key}" for key in (0, 1)]
    tasks.wait_until(lambda: all(mark.exists() for mark in marks), "a task on each rank")
    os.kill(process.pid, number)
    # One rank tells of it, while the tasks still wait.
    told = f"predictd: {number.name}: stopping after the marks at work; SIGINT to stop now\n"
    assert process.stderr.readline() == told
    (tmp_path / "go").touch()
    out, err = process.communicate()
    assert process.returncode == 75, err
    assert out == f"stopped by {number.name}; run the same command again to go on from here\n" and not err
    assert len(list(tmp_path.glob("done-*"))) == 2 and not (tmp_path / "begun-2").exists()
    process = start(2, sys.executable, HELPERS / "engine_jobs.py", "mpi-map", tmp_path)
    assert process.wait() == 0
    assert len(list(tmp_path.glob("done-*"))) == 5


def test_a_second_interrupt_ends_all_ranks_at_once(start, tmp_path):
    process = start(2, sys.executable, HELPERS / "engine_jobs.py", "mpi-map", tmp_path)
    marks = [tmp_path / f"begun-{key}" for key in (0, 1)]
    tasks.wait_until(lambda: all(mark.exists() and mark.read_text() for mark in marks), "a task on each rank")
    first, *_ = pids = [int(mark.read_text()) for mark in marks]
    os.kill(first, signal.SIGINT)
    assert (
        process.stderr.readline() == "predictd: stopping after the marks at work; Ctrl-C again to stop now\n"
    )
    os.kill(first, signal.SIGINT)
    process.communicate()
    assert process.returncode == interrupt.STOPPED_NOW and not list(tmp_path.glob("done-*"))
    tasks.wait_until(lambda: not any(map(alive, pids)), "the ranks to end")


def test_a_signal_to_one_rank_alone_stops_all(start, tmp_path):
    process = start(3, sys.executable, HELPERS / "engine_jobs.py", "mpi-map", tmp_path)
    marks = [tmp_path / f"begun-{key}" for key in (0, 1, 2)]
    tasks.wait_until(lambda: all(mark.exists() and mark.read_text() for mark in marks), "a task on each rank")
    os.kill(int(marks[1].read_text()), signal.SIGUSR1)
    (tmp_path / "go").touch()
    out, err = process.communicate()
    assert process.returncode == 75, err
    assert out == "stopped by SIGUSR1; run the same command again to go on from here\n"
    assert err.endswith("predictd: SIGUSR1: stopping after the marks at work; SIGINT to stop now\n")


@pytest.mark.parametrize("ranks", [2, 3])
def test_an_interrupted_descent_goes_on_as_if_nothing_had_been(
    ranks, start, local_sgd, tensor_path, tmp_path
):
    (tmp_path / "sgd.toml").write_text(SGD)
    command = ("train", tensor_path, "-o", "m.h5", *FIT, "--workers", 1)
    last = 0
    for _ in range(2):
        # Rank 1 waits in its tenth round for the signal, which mpiexec passes on to all.
        job = (HELPERS / "engine_jobs.py", "mpi-wait", tmp_path, "sgd_updates:10")
        process = start(ranks, sys.executable, *job, *command)
        tasks.wait_until((tmp_path / "reached").exists, "the tenth round")
        (tmp_path / "reached").unlink()
        os.kill(process.pid, signal.SIGUSR1)
        _, err = process.communicate()
        assert process.returncode == 75 and "predictd: error: stopped by SIGUSR1 after round" in err, err
        assert not (tmp_path / "m.h5").exists()
        saved = json.loads((tmp_path / "m.h5.checkpoint" / "latest.json").read_text())["name"]
        assert int(saved) >= last + 9
        last = int(saved)
        assert len(list((tmp_path / "m.h5.checkpoint" / f"state-{saved}").iterdir())) == ranks
    other = mpiexec(ranks + 1, *PREDICTD, *command, cwd=tmp_path)
    assert other.returncode == 1 and f"workers: {ranks}, now {ranks + 1}" in other.stderr
    done = mpiexec(ranks, *PREDICTD, *command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "m.h5").read_bytes() == local_sgd(ranks)[0]


def kill(start: Callable[..., subprocess.Popen[str]], folder: Path, moment: str, *command: object) -> None:
    """Run a command on two ranks of which one is killed at a moment, as `engine_jobs.py` understands it."""
    job = (sys.executable, HELPERS / "engine_jobs.py", "mpi-kill", folder, moment, *command)
    process = start(2, *job)
    _, err = process.communicate()
    assert process.returncode not in (0, 1, 75), err
    (folder / "reached").unlink()


# In which tasks rank 1 is killed, one time after the other.
KILLED = {
    "ingest": ["_make_shard:1"],
    "cv": ["_shard_moments:2", "train_fold:2", "score:1"],
    "impute": ["_impute_part:2"],
}


@pytest.mark.parametrize("name", KILLED)
def test_a_killed_rank_ends_the_job_and_the_same_command_goes_on(
    name, whole, data, start, tensor_path, tmp_path
):
    """Rank 1 is killed in the midst of a stage; what existed then is used, and nothing half-written counts."""
    source = (data / "tracks.tsv", "T", "--genome", data / "genome.chrom.sizes", "--shard-bins", 4000)
    # The command, its output, what declares that whole.
    command, made, declares = {
        "ingest": (("ingest", *source), "T", "manifest.json"),
        "cv": (("cv", "T", "-o", "cv", "--rank", 2, "--folds", whole / "folds.json"), "cv", "metrics.tsv"),
        "impute": (("impute", whole / "cv", "T", "-o", "tracks"), "tracks", "tracks.tsv"),
    }[name]
    expected = fresh(tensor_path, tmp_path / "expected") if name == "ingest" else whole / made
    if name != "ingest":
        fresh(tensor_path, tmp_path)
    for moment in KILLED[name]:
        kill(start, tmp_path, moment, *command, "--workers", 1)
        assert not (tmp_path / made / declares).exists()
    # With another number of ranks, which decides nothing here.
    done = mpiexec(3, *PREDICTD, *command, "--workers", 1, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(same_files(expected, tmp_path / made)) > 3


def test_a_rank_killed_in_a_descent_ends_the_job_and_the_same_command_starts_it_again(
    start, local_sgd, tensor_path, tmp_path
):
    (tmp_path / "sgd.toml").write_text(SGD)
    command = ("train", tensor_path, "-o", "m.h5", *FIT, "--workers", 1)
    kill(start, tmp_path, "sgd_updates:3", *command)
    assert not (tmp_path / "m.h5").exists()
    done = mpiexec(2, *PREDICTD, *command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "m.h5").read_bytes() == local_sgd(2)[0]


@pytest.mark.parametrize(("given", "expected"), [("1", 1), ("", max(1, len(os.sched_getaffinity(0)) // 2))])
def test_ranks_take_the_cpus_that_slurm_gives_or_share_those_of_the_node(
    given, expected, tensor_path, tmp_path
):
    fit = ("--rank", 2, "--lambda", 0.1, "--moments", "moments.h5")
    command = ("train", tensor_path, "-o", "m.h5", *fit)
    done = mpiexec(2, *PREDICTD, *command, cwd=tmp_path, SLURM_CPUS_PER_TASK=given)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "m.h5.run.json").read_text())["workers"] == 2 * min(expected, usable_cpus())
