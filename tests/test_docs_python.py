"""The Python that README and docs show runs as it is printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from commands import lend_engine
from predictd.api import inputs

pytest.importorskip("xarray")
pytest.importorskip("matplotlib")
pytest.importorskip("zarr")
pytest.importorskip("anndata")

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("page", ["README.md", "docs/python.md"])
def test_it_runs(page, tmp_path, monkeypatch):
    """In this process, on workers that all calls share; the page of Python starts some of its own, too."""
    blocks = re.findall(
        r"^```python\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    assert blocks
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(inputs, "LocalEngine", lend_engine)
    exec(compile("\n".join(blocks), page, "exec"), {"__name__": "__main__"})
    assert (tmp_path / "region.png").stat().st_size > 10_000
