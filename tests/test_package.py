"""The package as it is installed: light to import, plain about missing kernels."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import predictd

HEAVY = ("h5py", "hdf5plugin", "mpi4py", "pyspark", "matplotlib", "scipy", "numpy", "optuna", "click")


def run_python(code: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONSAFEPATH": "1", **variables},
    )


def test_import_is_light(tmp_path: Path) -> None:
    code = f"import sys, predictd; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = run_python(code, tmp_path)
    assert done.stdout.strip() == "[]", done.stderr


def test_listing_the_commands_imports_no_numerics(tmp_path: Path) -> None:
    code = (
        "import sys\nsys.argv = ['predictd', '--help']\nfrom predictd.cli import main\n"
        "try:\n    main()\nfinally:\n    print([name for name in ('numpy', 'h5py', 'scipy') if name in sys.modules])"
    )
    done = run_python(code, tmp_path)
    assert done.stdout.strip().endswith("[]"), done.stdout + done.stderr


def test_the_tests_run_the_installed_package() -> None:
    clone = Path(__file__).resolve().parents[1]
    assert clone not in Path(predictd.__file__).resolve().parents


def test_missing_kernels_are_told_in_one_line(tmp_path: Path) -> None:
    """A copy without its compiled modules stands in for a clone that shadows the installed package."""
    source = Path(predictd.__file__).parent
    copy = tmp_path / "clone" / "predictd"
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    code = "import sys; sys.argv = ['predictd', 'info', 'nowhere']; from predictd.cli import main; main()"
    done = run_python(code, tmp_path, PYTHONPATH=str(copy.parent))
    assert done.returncode == 1
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1
    assert str(copy) in lines[0]
    assert "pip install ." in lines[0]
