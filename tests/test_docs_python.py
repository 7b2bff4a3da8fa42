"""The Python that README and docs show runs as it is printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from commands import run_python

pytest.importorskip("xarray")
pytest.importorskip("matplotlib")
pytest.importorskip("zarr")
pytest.importorskip("anndata")

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("page", ["README.md", "docs/python.md"])
def test_it_runs(page, tmp_path):
    blocks = re.findall(
        r"^```python\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    assert blocks
    done = run_python("\n".join(blocks), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "region.png").stat().st_size > 10_000
