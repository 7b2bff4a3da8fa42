"""The Python that README and docs show runs as it is printed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from commands import lend_engine
from made_folds import FEW_SWEEPS
from predictd.api import inputs
from predictd.api.model import settings_of
from predictd.config import TrainSettings

pytest.importorskip("xarray")
pytest.importorskip("matplotlib")
pytest.importorskip("zarr")
pytest.importorskip("anndata")

ROOT = Path(__file__).parents[1]


def quick_settings(*given: Any) -> TrainSettings:
    """As given, with few sweeps, and of networks one that learns from all tracks and one from a few."""
    settings = settings_of(*given)
    return settings.model_copy(update={"networks": min(settings.networks, 2), "als": FEW_SWEEPS})


@pytest.mark.docs
@pytest.mark.parametrize("page", ["README.md", "docs/python.md"])
def test_it_runs(page, tmp_path, monkeypatch):
    """In this process, on workers that all calls share; the page of Python starts some of its own, too."""
    blocks = re.findall(
        r"^```python\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    assert blocks
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(inputs, "LocalEngine", lend_engine)
    for module in ("model", "crossval"):
        monkeypatch.setattr(f"predictd.api.{module}.settings_of", quick_settings)
    exec(compile("\n".join(blocks), page, "exec"), {"__name__": "__main__"})
    assert (tmp_path / "region.png").stat().st_size > 10_000
