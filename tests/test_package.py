"""The package as it is installed: what importing it loads, and what happens where its kernels are missing."""

from __future__ import annotations

import inspect
import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest

import predictd
from predictd import errors

pytestmark = pytest.mark.processes

HEAVY = ("h5py", "mpi4py", "pyspark", "matplotlib", "scipy", "pandas", "pyBigWig", "pybigtools")


def run_python(
    code: str, cwd: Path, *arguments: str, path: Path | None = None
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        env=environment,
    )


@pytest.mark.parametrize(
    "code", ["import predictd", "import predictd.cli", "import predictd.errors, predictd.pairs"]
)
def test_importing_is_light(code, tmp_path):
    told = f"{code}\nimport sys\nprint([name for name in {HEAVY} if name in sys.modules])"
    done = run_python(told, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


@pytest.mark.parametrize(
    "name",
    [
        "tensor.ingest",
        "tensor.qc",
        "training.train",
        "training.crossval",
        "training.tune",
        "imputing.impute",
        "evaluation.evaluate",
    ],
)
def test_parts_of_libraries_load_when_they_are_first_used(name, tmp_path):
    """They are most of what a process takes to start, and each worker is one."""
    parts = ("scipy.linalg", "scipy.special", "scipy.stats", "scipy.optimize", "sklearn")
    told = f"import predictd.workflows.{name}\nimport sys\nprint([name for name in {parts} if name in sys.modules])"
    done = run_python(told, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


def test_a_task_that_uses_scipy_first_has_one_thread_of_its_blas(tmp_path):
    told = (
        "import os, sys\nfor name in list(os.environ):\n    'NUM_THREADS' in name and os.environ.pop(name)\n"
        "from predictd.engine.base import run_task\nassert 'scipy.linalg' not in sys.modules\n"
        "sys.path.append(sys.argv[1])\nimport engine_tasks\n"
        "print(run_task(engine_tasks.blas_threads, 0, None))"
    )
    done = run_python(told, tmp_path, str(Path(__file__).parent / "helpers"))
    assert done.returncode == 0 and set(json.loads(done.stdout)) == {1}


def test_what_is_said_of_software_does_not_depend_on_what_was_used(tmp_path):
    told = (
        "from predictd.provenance import software\nfirst = software()\n"
        "import scipy.linalg, scipy.special, sklearn.cluster\nprint(first['blas'], first == software())"
    )
    done = run_python(told, tmp_path)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.endswith("] True\n")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_looking_around_is_light(arguments, tmp_path):
    told = (
        "import sys\nfrom predictd.cli import main\nmain()\n"
        f"print([name for name in {(*HEAVY, 'numpy')} if name in sys.modules])"
    )
    done = run_python(told, tmp_path, *arguments)
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "[]"


def test_one_version():
    assert predictd.__version__ == version("predictd")


def test_the_program_is_installed(tmp_path):
    (script,) = (entry for entry in entry_points(group="console_scripts") if entry.name == "predictd")
    assert script.value == "predictd.cli:main"
    program = Path(sys.executable).with_name("predictd")
    if not program.exists():
        pytest.skip("the program's folder is not that of this Python")
    done = subprocess.run([program, "--version"], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == f"predictd, version {predictd.__version__}\n"


def test_what_belongs_to_the_package_is_in_it():
    folder = Path(str(predictd.__file__)).parent
    assert (folder / "py.typed").exists()
    for name in (
        "hg19.chrom.sizes",
        "hg38.chrom.sizes",
        "hg19-blacklist.v2.bed.gz",
        "hg38-blacklist.v2.bed.gz",
        "hg19-genes.bed.gz",
        "igv.min.js",
        "igv.LICENSE.txt",
        "view.js",
    ):
        assert (folder / "data" / name).stat().st_size > 1000


def test_every_error_is_told_alike():
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
    assert len(kinds) > 5
    for kind in kinds:
        assert issubclass(kind, errors.PredictdError) and kind.__doc__
        assert kind.exit_code == {errors.Interrupted: 75, errors.AlreadyFinished: 0}.get(kind, 1)


# -- without the compiled kernels -------------------------------------------------------------------------------------


@pytest.fixture
def broken(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A folder with a copy of the package whose kernels are missing, or do not load."""
    installed = Path(str(predictd.__file__)).parent
    copy = Path(shutil.copytree(installed, tmp_path / "site" / "predictd"))
    for kernel in (copy / "_ext").glob("*.so"):
        if request.param == "missing":
            kernel.unlink()
        else:
            kernel.write_bytes(b"\x7fELF, but no more than that")
    return copy.parent


@pytest.mark.parametrize("broken", ["missing", "damaged"], indirect=True)
def test_missing_kernels_are_told_in_one_line(broken, tmp_path):
    main = "from predictd.cli import main; main()"
    done = run_python(main, tmp_path, "train", "t", "-o", "m.h5", path=broken)
    assert done.returncode == 1 and not done.stdout
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(
        f"predictd: error: the compiled kernels of the predictd package in {broken / 'predictd'} do not load ("
    )
    assert "run `pip install .` in predictd's source directory" in done.stderr
    assert run_python(main, tmp_path, "--help", path=broken).returncode == 0
    doctor = run_python(main, tmp_path, "doctor", path=broken)
    assert doctor.returncode == 0 and not doctor.stderr
    (line,) = (line for line in doctor.stdout.splitlines() if line.startswith("kernels"))
    assert "BROKEN: the compiled kernels" in line
