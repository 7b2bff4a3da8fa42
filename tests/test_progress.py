"""Bars: on terminals and in notebooks, not in logs."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from predictd import progress


def shown(capsys):
    with progress.progress_bar("shards", 3) as bar:
        bar.update(3)
        bar.refresh()
    return capsys.readouterr().err


class ZMQInteractiveShell:
    """As the shell of a notebook's kernel is called."""


@pytest.fixture
def notebook(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=ZMQInteractiveShell))
    monkeypatch.setattr(progress, "find_spec", lambda name: None)


def test_no_bar_in_a_log(capsys):
    assert shown(capsys) == ""


def test_a_bar_in_a_notebook(capsys, notebook):
    assert "shards" in shown(capsys) and progress._in_notebook()


def test_no_bar_in_a_shell_of_ipython(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: object()))
    assert shown(capsys) == ""


def test_no_bar_where_it_is_to_be_quiet(capsys, notebook):
    progress.set_quiet(True)
    try:
        assert shown(capsys) == ""
    finally:
        progress.set_quiet(False)
    with progress.no_bars():
        assert shown(capsys) == ""
