"""The scripts that put predictd on the nodes of clusters in clouds: run for real, but for the copying from a store."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from wheels import wheelhouse

ROOT = Path(__file__).resolve().parents[1]
CLOUD = ROOT / "cloud"
UNPACK = CLOUD / "unpack.sh"
INSTALL = CLOUD / "parallelcluster" / "install.sh"


def run(*command: object, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, **variables},
        check=False,
    )


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize("script", sorted(CLOUD.rglob("*.sh")), ids=lambda path: path.name)
def test_shellcheck(script, tmp_path):
    done = run("shellcheck", script, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert os.access(script, os.X_OK)


@pytest.mark.skipif(shutil.which("yamllint") is None, reason="yamllint is not installed")
def test_yamllint():
    files = sorted(CLOUD.rglob("*.yaml"))
    assert files
    done = run("yamllint", "--strict", *files, cwd=ROOT)
    assert done.returncode == 0, done.stdout


# -- unpack.sh --------------------------------------------------------------------------------------------------------


def make_environment(path: Path, *, whole: bool = True) -> Path:
    """A real virtual environment that finds what is installed here, if it is to be whole."""
    made = run(sys.executable, "-m", "venv", "--without-pip", path, cwd=path.parent)
    assert made.returncode == 0, made.stderr
    if whole:
        (site,) = path.glob("lib/python*/site-packages")
        # As site-packages: what is installed there in editable mode is found, too.
        here = sysconfig.get_path("purelib")
        (site / "here.pth").write_text(f"import site; site.addsitedir({here!r})\n")
    return path


def pack(environment: Path, archive: Path) -> Path:
    with tarfile.open(archive, "w:gz", compresslevel=1) as file:
        file.add(environment, ".")
    return archive


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("packed")
    return pack(make_environment(directory / "env"), directory / "env.tar.gz")


def test_unpacked_environment_runs_and_replaces_the_last(archive, tmp_path):
    target = tmp_path / "opt" / "predictd"
    target.mkdir(parents=True)
    (target / "of-the-last").touch()
    done = run(UNPACK, archive, target, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"{target}: Python 3." in done.stdout and "predictd, version" in done.stdout
    assert not (target / "of-the-last").exists()
    assert [path.name for path in target.parent.iterdir()] == ["predictd"]
    # A folder of the same name where a job is started does not matter.
    (tmp_path / "predictd").mkdir()
    (tmp_path / "predictd" / "__init__.py").write_text("raise ImportError('not this one')\n")
    asked = run(
        target / "bin" / "python", "-I", "-c", "import predictd, sys; print(sys.prefix)", cwd=tmp_path
    )
    assert asked.stdout.strip() == str(target), asked.stderr
    # Others than who unpacked it have to read it.
    assert (target.stat().st_mode & 0o777) == 0o755


def truncated(archive: Path, directory: Path) -> Path:
    broken = directory / "truncated.tar.gz"
    broken.write_bytes(archive.read_bytes()[:-2000])
    return broken


def without_predictd(archive: Path, directory: Path) -> Path:
    return pack(make_environment(directory / "bare", whole=False), directory / "bare.tar.gz")


def with_absent_python(archive: Path, directory: Path) -> Path:
    environment = make_environment(directory / "foreign")
    (environment / "bin" / "python").unlink()
    (environment / "bin" / "python").symlink_to("/nowhere/bin/python3")
    return pack(environment, directory / "foreign.tar.gz")


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (truncated, "not whole"),
        (without_predictd, "does not run on this node: ModuleNotFoundError: No module named 'predictd'"),
        (with_absent_python, "is not there, or leads to one that this node does not have"),
        (lambda archive, directory: directory / "absent.tar.gz", "there is no file"),
        (lambda archive, directory: "ftp://host/env.tar.gz", "give s3://, abfs:// or a path"),
    ],
)
def test_what_does_not_run_leaves_the_last(spoil, problem, archive, tmp_path):
    target = tmp_path / "opt" / "predictd"
    target.mkdir(parents=True)
    (target / "of-the-last").touch()
    done = run(UNPACK, spoil(archive, tmp_path), target, cwd=tmp_path)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("unpack.sh: error: ") and problem in last
    assert (target / "of-the-last").exists()
    assert [path.name for path in target.parent.iterdir()] == ["predictd"]


def test_unpack_refuses_a_relative_place(archive, tmp_path):
    assert "absolute path" in run(UNPACK, archive, "predictd", cwd=tmp_path).stderr
    assert run(UNPACK, cwd=tmp_path).returncode == 2


# -- install.sh -------------------------------------------------------------------------------------------------------


@pytest.mark.services
@pytest.mark.skipif(
    any(find_spec(name) is None for name in ("pip", "mpi4py", "packaging")),
    reason="needs pip, mpi4py and packaging installed with this Python",
)
def test_install_makes_an_environment_that_the_slurm_scripts_use(tmp_path):
    wheels = tmp_path / "wheels.tar.gz"
    wheelhouse(wheels, "predictd[mpi]", "mpich", "pip")
    target = tmp_path / "shared" / "predictd"
    # Without compiling Python to bytecode, which takes longest.
    done = run(INSTALL, wheels, target, sys.executable, cwd=tmp_path, PIP_NO_COMPILE="1")
    assert done.returncode == 0, done.stderr
    assert "predictd, version" in done.stdout and "MPICH" in done.stdout
    site = target / "predictd-site.sh"
    finish = run("bash", ROOT / "slurm" / "finish.sbatch", "cv", "-h", cwd=tmp_path, PREDICTD_SITE=str(site))
    assert finish.returncode == 0 and "predictd cv" in finish.stdout, finish.stderr
    two = f'source "{site}"; mpiexec -n 2 "${{PREDICTD[@]}}" doctor'
    ranks = run("bash", "-c", two, cwd=tmp_path)
    assert ranks.returncode == 0, ranks.stderr


def test_install_says_what_is_missing(tmp_path):
    target = tmp_path / "shared"
    absent = run(INSTALL, tmp_path / "absent.tar.gz", target, sys.executable, cwd=tmp_path)
    assert absent.returncode == 1 and "install.sh: error: there is no file" in absent.stderr
    with tarfile.open(tmp_path / "empty.tar.gz", "w:gz"):
        pass
    empty = run(INSTALL, tmp_path / "empty.tar.gz", target, sys.executable, cwd=tmp_path)
    assert empty.returncode == 1 and "has no wheel of pip" in empty.stderr
    assert not (target / "predictd-site.sh").exists()
    python = run(INSTALL, tmp_path / "empty.tar.gz", target, "python0", cwd=tmp_path)
    assert python.returncode == 1 and "there is no python0 here" in python.stderr


# -- ParallelCluster's own schema, in the environment that it needs for itself ----------------------------------------

SCHEMA = """
import json, sys
from pcluster.schemas.cluster_schema import ClusterSchema
cluster = ClusterSchema(cluster_name="predictd").load(json.load(sys.stdin))
print(json.dumps([[queue.name, queue.capacity_type.value] for queue in cluster.scheduling.queues]))
"""
PCLUSTER = os.environ.get("PREDICTD_CLOUDS_PYTHON", "")


@pytest.mark.skipif(
    not PCLUSTER, reason="PREDICTD_CLOUDS_PYTHON names no Python that has aws-parallelcluster"
)
def test_parallelcluster_takes_the_cluster_file(tmp_path):
    yaml = "import json, sys, yaml; print(json.dumps(yaml.safe_load(sys.stdin)))"
    text = (CLOUD / "parallelcluster" / "cluster.yaml").read_text()
    for unfilled, own in (("subnet-CHANGE-ME", "subnet-0123456789abcdef0"), ("CHANGE-ME", "own-name")):
        text = text.replace(unfilled, own)

    def pcluster(code: str, given: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}
        return subprocess.run(
            [PCLUSTER, "-c", code],
            input=given,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )

    cluster = json.loads(pcluster(yaml, text).stdout)
    loaded = pcluster(SCHEMA, json.dumps(cluster))
    assert loaded.returncode == 0, loaded.stderr
    assert json.loads(loaded.stdout) == [["spot", "SPOT"], ["ondemand", "ONDEMAND"]]
    cluster["Scheduling"]["SlurmQueues"][0]["CapacityType"] = "CHEAP"
    refused = pcluster(SCHEMA, json.dumps(cluster))
    assert refused.returncode != 0 and "CapacityType" in refused.stderr
