"""Where tests find things, and how processes that they start find the modules of this folder."""

from __future__ import annotations

import os
from pathlib import Path

HELPERS = Path(__file__).resolve().parent
TESTS = HELPERS.parent
ROOT = TESTS.parent
SHARED = ROOT.parent / "shared"
# Workers of other engines import tasks by name, from where this variable says; those of the local engine need none.
PYTHONPATH = os.pathsep.join(filter(None, [str(HELPERS), os.environ.get("PYTHONPATH")]))
