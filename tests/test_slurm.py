"""The scripts in slurm/, as they are shipped, on a real Slurm of one node."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import page_programs
from commands import call_predictd
from desk import QUICK as QUICK_PAGES
from desk import Asked, Desk, put_predictd
from example_folder import make_examples
from pages import scripts
from places import PYTHONPATH, ROOT
from predictd.engine import Engine
from slurm_cluster import ENDED, SEARCH, SlurmCluster, missing_programs
from waiting import until

SCRIPTS = Path(__file__).resolve().parents[1] / "slurm"
RESUMABLE = ("train.sbatch", "cv-array.sbatch", "impute-array.sbatch")
# An SGD that takes seconds on the small genome, so that there is time for a signal.
SLOW = """
[train]
rank = 3
[train.sgd]
updates_per_round = 20000
window = 200
patience = 300
"""
QUICK = """
[train]
solver = "als"
rank = 2
lambda = 0.1
[train.als]
starts = 1
max_sweeps = 30
"""
SHORT = """
[train]
rank = 3
[train.sgd]
updates_per_round = 500
max_rounds = 30
"""
SLOW_SGD = ("--solver", "sgd", "--config", "slow.toml")
SHORT_SGD = ("--solver", "sgd", "--config", "short.toml")
SMALL = ("--cpus-per-task=1", "--mem-per-cpu=100M")


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize("script", sorted(path.name for path in SCRIPTS.iterdir() if path.suffix != ".md"))
def test_shellcheck(script):
    done = subprocess.run(["shellcheck", script], cwd=SCRIPTS, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_what_stops_and_requeues_is_the_same_in_every_script():
    parts = [
        re.split(r"^# -{2}.*-{60}$", (SCRIPTS / name).read_text(), flags=re.MULTILINE) for name in RESUMABLE
    ]
    assert [len(split) for split in parts] == [3, 3, 3]
    assert len({split[1] for split in parts}) == 1


@pytest.mark.parametrize("script", [*RESUMABLE, "finish.sbatch"])
def test_a_container_without_what_runs_it(script, tmp_path):
    """The rest of CONTAINER is tested by containers/test.sh, with Apptainer."""
    programs = tmp_path / "bin"
    programs.mkdir()
    done = subprocess.run(
        [shutil.which("bash"), SCRIPTS / script],
        cwd=tmp_path,
        env={"PATH": str(programs), "CONTAINER": "predictd.sif", "SLURM_ARRAY_TASK_ID": "0"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr == (
        "CONTAINER=predictd.sif: neither apptainer nor singularity is on this node's PATH\n"
    )


@pytest.mark.parametrize("script", RESUMABLE)
@pytest.mark.parametrize(
    ("squeue", "scontrol", "told", "requeued"),
    [
        (0, 0, "stopped and queued again, to go on from here", 1),
        (3, 0, "stopped and queued again, to go on from here", 1),
        (0, 4, "stopped and queued again, to go on from here", 5),
        (9, 0, "stopped, and Slurm does not say whether it was cancelled; submit it again", 0),
        (0, 9, "stopped, and Slurm would not queue it again; submit it again", 5),
        ("COMPLETING", 0, "cancelled; submit it again", 0),
    ],
)
def test_a_controller_that_does_not_answer(script, squeue, scontrol, told, requeued, tmp_path):
    """A number: so many times it fails before it answers."""
    state, fails = ("RUNNING", squeue) if isinstance(squeue, int) else (squeue, 0)
    programs = tmp_path / "bin"
    programs.mkdir()
    counted = "echo >>$0.calls\n(($(wc -l <$0.calls) > {})) || {{ echo Socket timed out >&2; exit 1; }}\n"
    for name, text in (
        ("srun", "exit 75\n"),
        ("sleep", ""),
        ("squeue", f"{counted.format(fails)}echo {state}\n"),
        ("scontrol", f"[[ $* == 'requeue 7_2' ]]\n{counted.format(scontrol)}"),
    ):
        (programs / name).write_text(f"#!/bin/bash\nset -e\n{text}")
        (programs / name).chmod(0o755)
    done = subprocess.run(
        ["bash", SCRIPTS / script],
        cwd=tmp_path,
        env={
            "PATH": f"{programs}:{os.environ['PATH']}",
            "SLURM_JOB_ID": "9",
            "SLURM_ARRAY_JOB_ID": "7",
            "SLURM_ARRAY_TASK_ID": "2",
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 75
    assert told in done.stderr.splitlines()[-1]
    calls = programs / "scontrol.calls"
    assert (len(calls.read_text().splitlines()) if calls.exists() else 0) == requeued


@pytest.fixture(scope="module")
def slurm_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    if missing := missing_programs():
        pytest.skip(f"no Slurm here: {', '.join(missing)} not installed")
    with SlurmCluster(tmp_path_factory.mktemp("slurm") / "c") as cluster:
        yield cluster


@pytest.fixture
def work(tmp_path: Path, tensor_path: Path) -> Path:
    """Where jobs run: a folder with the site's file and a tensor, whose names are hard on shell scripts."""
    path = tmp_path / "my $work"
    path.mkdir()
    (path / "my tensor").symlink_to(tensor_path)
    (path / "slow.toml").write_text(SLOW)
    (path / "short.toml").write_text(SHORT)
    (path / "quick.toml").write_text(QUICK)
    site(path)
    return path


def site(work: Path, *lines: str) -> None:
    """Write the file that makes predictd run there; `lines` are its first."""
    program = Path(sys.executable).parent
    text = "\n".join([*lines, f"PATH={program}:$PATH", "echo $UNSET_VARIABLE >/dev/null", ""])
    (work / "predictd-site.sh").write_text(text)


def log(work: Path, name: str, job: str) -> str:
    path = work / f"predictd-{name}-{job}.log"
    return path.read_text() if path.exists() else ""


def submit(
    cluster: SlurmCluster,
    work: Path,
    script: str,
    *arguments: object,
    slurm: tuple[str, ...] = (),
    **variables: str,
) -> str:
    variables = {"TENSOR": "my tensor", **variables}
    return cluster.submit(
        SCRIPTS / script, *arguments, options=(f"--chdir={work}", *SMALL, *slurm), **variables
    )


def signal(cluster: SlurmCluster, job: str) -> None:
    """What Slurm does ahead of a time limit."""
    sent = cluster.run("scancel", "--batch", "--signal=USR1", job)
    assert sent.returncode == 0, sent.stderr


def hurry_requeued(cluster: SlurmCluster, job: str) -> None:
    """Spare a job that was queued again the two minutes that it would wait.

    Not all of it: a node refuses a job whose new credential is not younger, in whole seconds, than its last one's end.
    """

    def requeued() -> bool:
        shown = cluster.show(job)
        return shown["Restarts"] == "1" and shown["JobState"] == "PENDING"

    until(requeued, f"job {job} to be queued again")
    hurried = cluster.run("scontrol", "update", f"JobId={job}", "StartTime=now+3")
    assert hurried.returncode == 0, hurried.stderr


def succeeded(shown: dict[str, str], *logs: str) -> None:
    assert (shown["JobState"], shown["ExitCode"]) == ("COMPLETED", "0:0"), logs


def contents(path: Path) -> dict[str, bytes]:
    """Every file but those that tell times."""
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in sorted(path.rglob("*"))
        if file.is_file() and not file.name.endswith("run.json")
    }


# -- train ------------------------------------------------------------------------------------------------------------


def model_of_two_workers(work: Path, *options: object) -> bytes:
    """What two workers on one machine train, without Slurm."""
    done = call_predictd("train", "my tensor", "-o", "local.h5", *options, "--workers", 2, cwd=work)
    assert done.returncode == 0, done.stderr
    return (work / "local.h5").read_bytes()


def test_two_ranks_train_the_model_of_two_workers(slurm_cluster, work):
    job = submit(slurm_cluster, work, "train.sbatch", *SHORT_SGD, OUTPUT="my model.h5")
    (shown,) = slurm_cluster.wait(job)
    succeeded(shown, log(work, "train", job))
    assert (work / "my model.h5").read_bytes() == model_of_two_workers(work, *SHORT_SGD)
    run = json.loads((work / "my model.h5.run.json").read_text())
    assert (run["engine"], run["workers"]) == ("mpi", 2)


def test_a_signalled_training_is_queued_again_and_ends_with_the_same_model(slurm_cluster, work):
    job = submit(slurm_cluster, work, "train.sbatch", *SLOW_SGD)
    until((work / "model.h5.checkpoint").exists, "the training's beginning")
    signal(slurm_cluster, job)
    hurry_requeued(slurm_cluster, job)
    assert (work / "model.h5.checkpoint" / "latest.json").exists() and not (work / "model.h5").exists()
    (shown,) = slurm_cluster.wait(job)
    told = log(work, "train", job)
    succeeded(shown, told)
    assert re.search(r"predictd: error: stopped by SIGUSR1 after round \d+; the state is saved", told)
    assert told.index("stopped and queued again") < told.index("model.h5: rank 3")
    assert (work / "model.h5").read_bytes() == model_of_two_workers(work, *SLOW_SGD)


def test_a_cancelled_training_is_saved_and_does_not_come_back(slurm_cluster, work):
    job = submit(slurm_cluster, work, "train.sbatch", *SLOW_SGD)
    until((work / "model.h5.checkpoint").exists, "the training's beginning")
    slurm_cluster.run("scancel", job)
    (shown,) = slurm_cluster.wait(job)
    assert (shown["JobState"], shown["Restarts"]) == ("CANCELLED", "0")
    assert not (work / "model.h5").exists()


def test_the_last_requeue(slurm_cluster, work):
    """Asked by hand, which reaches the ranks and not the script."""
    job = submit(slurm_cluster, work, "train.sbatch", *SLOW_SGD, MAX_REQUEUES="0")
    until((work / "model.h5.checkpoint").exists, "the training's beginning")
    sent = slurm_cluster.run("scancel", "--signal=USR1", job)
    assert sent.returncode == 0, sent.stderr
    (shown,) = slurm_cluster.wait(job)
    assert (shown["JobState"], shown["ExitCode"]) == ("FAILED", "75:0")
    assert "stopped after 0 requeues" in log(work, "train", job)


def test_the_wrong_mpi_is_explained(slurm_cluster, work):
    job = submit(slurm_cluster, work, "train.sbatch", *SLOW_SGD, MPI_TYPE="none")
    (shown,) = slurm_cluster.wait(job)
    assert (shown["JobState"], shown["ExitCode"]) == ("FAILED", "1:0")
    told = log(work, "train", job)
    assert "predictd: error: " in told and "--mpi" in told and "2 tasks" in told
    assert not (work / "model.h5").exists()


def test_a_rank_that_cannot_start_fails_the_job(slurm_cluster, work):
    """The other one, whose status is higher where TERM ends it, has not begun to heed signals."""
    (work / "launch").write_text(
        '[[ $SLURM_PROCID == 0 ]] || exec sleep 100\necho "a bad node" >&2\nexit 1\n'
    )
    site(work, "PREDICTD=(bash ./launch)")
    job = submit(slurm_cluster, work, "train.sbatch", SLURM_WAIT="1")
    (shown,) = slurm_cluster.wait(job)
    assert (shown["JobState"], shown["ExitCode"], shown["Restarts"]) == ("FAILED", "137:0", "0")
    told = log(work, "train", job)
    assert "a bad node" in told and "queued again" not in told


# -- arrays -----------------------------------------------------------------------------------------------------------


def count_parts(work: Path, *command: object) -> int:
    done = call_predictd(*command, "--parts", cwd=work)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_a_failed_task_is_run_again_alone(slurm_cluster, work):
    few = ("--tests", 3, "--valids", 2)
    assert call_predictd("folds", "my tensor", "-o", "folds.json", *few, cwd=work).returncode == 0
    options = ("--config", "quick.toml", "--folds", "folds.json")
    whole = call_predictd("cv", "my tensor", "-o", "whole", *options, cwd=work)
    assert whole.returncode == 0, whole.stderr
    command = ("cv", "my tensor", "-o", "cv", *options)
    parts = count_parts(work, *command)
    assert parts == 3

    site(work, '[[ ${SLURM_ARRAY_TASK_ID:-} != 1 ]] || { echo "a bad node" >&2; exit 1; }')
    array = submit(slurm_cluster, work, "cv-array.sbatch", *options, slurm=(f"--array=0-{parts - 1}",))
    waiting = submit(slurm_cluster, work, "finish.sbatch", *command, slurm=(f"--dependency=afterok:{array}",))
    early = submit(slurm_cluster, work, "finish.sbatch", *command, slurm=(f"--dependency=afterany:{array}",))
    tasks = slurm_cluster.wait(*[f"{array}_{part}" for part in range(parts)])
    assert [task["JobState"] for task in tasks] == ["COMPLETED", "FAILED", "COMPLETED"]
    assert "a bad node" in log(work, "cv", f"{array}_1")
    finishes = slurm_cluster.wait(waiting, early)
    assert [job["JobState"] for job in finishes] == ["CANCELLED", "FAILED"]
    told = log(work, "finish", early)
    assert "predictd: error: " in told and "part 1 of 3 is missing" in told
    assert not (work / "cv" / "metrics.tsv").exists()

    site(work)
    # As in a second array, where there are more parts than one may have tasks.
    shifted = ("--array=0", "--export=ALL,FIRST_PART=1")
    again = submit(slurm_cluster, work, "cv-array.sbatch", *options, slurm=shifted)
    finish = submit(slurm_cluster, work, "finish.sbatch", *command, slurm=(f"--dependency=afterok:{again}",))
    for shown in slurm_cluster.wait(f"{again}_0", finish):
        succeeded(shown, log(work, "cv", f"{again}_0"), log(work, "finish", finish))
    assert contents(work / "cv") == contents(work / "whole")


def test_a_signalled_task_alone_is_queued_again_and_what_depends_on_the_array_waits(
    slurm_cluster, work, model_path
):
    command = ("impute", model_path, "my tensor", "-o")
    whole = call_predictd(*command, "whole", cwd=work)
    assert whole.returncode == 0, whole.stderr
    parts = count_parts(work, *command, "imputed")
    assert parts > 1
    # The last task bears the array's own id. It is held back while the site's modules load, until the
    # signal has arrived.
    last = parts - 1
    held = f"[[ $SLURM_ARRAY_TASK_ID != {last} || ${{SLURM_RESTART_COUNT:-0}} != 0 ]]"
    site(work, f"touch begun-$SLURM_ARRAY_TASK_ID; until {held} || [[ $asked ]]; do sleep 0.1; done")
    array = submit(
        slurm_cluster, work, "impute-array.sbatch", slurm=(f"--array=0-{last}",), MODEL=str(model_path)
    )
    site_of_finish = work / "finish"
    site_of_finish.mkdir()
    site(site_of_finish)
    finish = submit(
        slurm_cluster,
        work,
        "finish.sbatch",
        *command,
        "imputed",
        slurm=(f"--dependency=afterok:{array}",),
        PREDICTD_SITE=str(site_of_finish / "predictd-site.sh"),
    )
    until((work / f"begun-{last}").exists, "the last task's beginning")
    signal(slurm_cluster, f"{array}_{last}")
    hurry_requeued(slurm_cluster, f"{array}_{last}")
    tasks = slurm_cluster.wait(*[f"{array}_{part}" for part in range(parts)])
    assert [task["Restarts"] for task in tasks] == ["0"] * last + ["1"]
    (finished,) = slurm_cluster.wait(finish)
    logs = [log(work, "impute", f"{array}_{part}") for part in range(parts)]
    for shown in [*tasks, finished]:
        succeeded(shown, *logs, log(work, "finish", finish))
    assert contents(work / "imputed") == contents(work / "whole")


# -- the pages --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pages_folder(tmp_path_factory: pytest.TempPathFactory, engine: Engine, tensor_path: Path) -> Path:
    """A folder with what the pages name, and a predictd that its jobs find."""
    path = tmp_path_factory.mktemp("pages")
    make_examples(path, engine, "hg38")
    (path / "quick.toml").write_text(QUICK_PAGES)
    page_programs.lay_out(path)
    (path / "path" / "to" / "venv" / "bin").mkdir(parents=True)
    (path / "path" / "to" / "tensor").symlink_to(tensor_path)
    (path / "bin").mkdir()
    put_predictd(path / "bin" / "predictd")
    site = f"PATH={path}/bin:$PATH"
    for name in ("predictd-site.sh", "path/to/venv/bin/activate"):
        (path / name).write_text(f"{site}\n")
    return path


@pytest.fixture
def desk(slurm_cluster: SlurmCluster, pages_folder: Path, tmp_path: Path) -> Desk:
    """Programs of Slurm that wait for the end of what they start; jobs are as small as those of the other tests."""

    def started(program: str, asked: Asked, words: list[str]) -> str:
        # The desk takes one command at a time: neither this one nor the programs of its job are to ask it again.
        path = os.pathsep.join([str(pages_folder / "bin"), SEARCH])
        own = slurm_cluster.environment(**{**asked.variables, "PATH": path, "PYTHONPATH": PYTHONPATH})
        own["SLURM_CONF"] = str(slurm_cluster.configuration)
        done = subprocess.run(
            [shutil.which(program, path=path), *words],
            cwd=asked.cwd,
            env=own,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def sbatch(asked: Asked) -> str:
        place = next(i for i, word in enumerate(asked.words) if word == "--wrap" or word.endswith(".sbatch"))
        small = SMALL[: 1 if "--wrap" in asked.words else 2]
        told = started("sbatch", asked, [*asked.words[:place], *small, *asked.words[place:]])
        job = re.findall(r"\d+", told)[0]

        def states() -> set[str]:
            shown = slurm_cluster.run("scontrol", "--oneliner", "show", "job", job).stdout
            return set(re.findall(r"JobState=(\S+)", shown))

        until(lambda: states() <= ENDED, f"the end of job {job}")
        logs = [path.read_text() for path in asked.cwd.glob(f"*{job}*")]
        assert states() == {"COMPLETED"}, logs
        return told

    def launched(program: str) -> Callable[[Asked], str]:
        return lambda asked: started(program, asked, asked.words)

    mpiexec = str(Path(sys.executable).with_name("mpiexec"))
    own = {
        "sbatch": sbatch,
        "srun": launched("srun"),
        "mpiexec": launched(mpiexec),
        "module": page_programs.words_only,
    }
    return Desk(tmp_path / "desk", {**page_programs.CHECKED, **own})


def test_commands_run_as_printed(desk, pages_folder):
    for shell, script in scripts(ROOT / "slurm/README.md"):
        printed = script.replace("/path/to/", f"{pages_folder}/path/to/").replace("--ntasks=4", "--ntasks=2")
        desk.run(shell, printed, pages_folder)
    assert (pages_folder / "imputed" / "run.json").exists()


def test_commands_of_mpi_run_as_printed(desk, tmp_path, tensor_path):
    (tmp_path / "tensor").symlink_to(tensor_path)
    (tmp_path / "quick.toml").write_text(QUICK_PAGES)
    for shell, script in scripts(ROOT / "docs/mpi.md"):
        desk.run(shell, script, tmp_path)
    # srun has one rank, and finds it finished.
    run = json.loads((tmp_path / "cv" / "run.json").read_text())
    assert (run["engine"], run["ranks"]) == ("mpi", 4)
