"""Commands and scripts in processes of their own, as a user runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# Not the predictd/ that may be in the current directory.
PREDICTD = (sys.executable, "-P" if sys.version_info >= (3, 11) else "-s", "-m", "predictd")


def run_predictd(*arguments: object, cwd: Path, **options: object) -> subprocess.CompletedProcess[str]:
    """Run the installed command line as a user would, in a directory that has no predictd/ of its own."""
    return subprocess.run(
        [*PREDICTD, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=200,
        env={**os.environ, "PYTHONSAFEPATH": "1"},
        **options,  # type: ignore[call-overload]
    )


def run_python(script: str, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a script in a process of its own, in a directory that has no predictd/ of its own."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=100, check=False)
