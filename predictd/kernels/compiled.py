"""The compiled extensions, or one line that says why they do not load."""

from __future__ import annotations

from pathlib import Path

from predictd.errors import ExtensionError
from predictd.wording import one_line

try:
    import predictd._ext.half as half
    import predictd._ext.networks as networks
    import predictd._ext.scores as scores
    import predictd._ext.sgd as sgd
    import predictd._ext.trees as trees
    import predictd._ext.windows as windows
except ImportError as err:
    raise ExtensionError(
        f"the compiled kernels of the predictd package in {Path(__file__).resolve().parents[1]} do not load "
        f"({one_line(err)}): run `pip install .` in predictd's source directory, "
        "and start Python elsewhere"
    ) from err

__all__ = ["half", "networks", "scores", "sgd", "trees", "windows"]
