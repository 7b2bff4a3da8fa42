"""The notebook of the documentation: it runs, and shows what it showed when it was committed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from places import HELPERS

NOTEBOOK = Path(__file__).parents[1] / "docs" / "notebooks" / "predictd.ipynb"


# Typed before its cells: its calls share workers. The helpers' folder comes in place of {}.
_SHARING = """import sys
sys.path.append({!r})
from commands import lend_engine
from predictd.api import inputs
inputs.LocalEngine = lend_engine
"""
_NUMBER = re.compile(r"-?\d[\d,]*\.?\d*(?:e[-+]\d+)?")


def shown(notebook: Any) -> list[tuple[int, list[str], str]]:
    """Each output with the number of its cell, its kinds, and its text."""
    return [
        (number, sorted(output.get("data", {})), output.get("data", {}).get("text/plain") or output["text"])
        for number, cell in enumerate(notebook.cells)
        for output in cell.get("outputs", ())
        if output.get("name") != "stderr"
    ]


def without_numbers(text: str) -> str:
    return " ".join(_NUMBER.sub("#", text).split())


def numbers(text: str) -> list[float]:
    return [float(number.replace(",", "")) for number in _NUMBER.findall(text)]


@pytest.mark.services
def test_it_runs_as_it_stands(tmp_path):
    nbformat = pytest.importorskip("nbformat", reason="nbclient is not installed")
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    for module in ("ipykernel", "pandas", "xarray", "matplotlib"):
        pytest.importorskip(module)
    committed, notebook = (nbformat.read(NOTEBOOK, as_version=4) for _ in range(2))
    notebook.cells.insert(0, nbformat.v4.new_code_cell(_SHARING.format(str(HELPERS))))
    nbclient.NotebookClient(notebook, resources={"metadata": {"path": str(tmp_path)}}).execute()
    del notebook.cells[0]
    for now, before in zip(shown(notebook), shown(committed), strict=True):
        assert (*now[:2], without_numbers(now[2])) == (*before[:2], without_numbers(before[2]))
        assert numbers(now[2]) == pytest.approx(numbers(before[2]), rel=0.1, abs=0.02)


def test_its_outputs_are_small():
    assert NOTEBOOK.stat().st_size < 300_000
