"""Stores that tests use: found by this process, filled, and read."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from object_stores import clean
from predictd.io import clients
from predictd.io.remote import RemotePath


def use(patch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    """Let this process, and those that it starts, find a store by these variables alone."""
    for name in os.environ.keys() - clean().keys():
        patch.delenv(name)
    for name, value in variables.items():
        patch.setenv(name, value)
    patch.setattr(clients, "_clients", {})


def copied(source: Path, target: Path) -> Path:
    assert isinstance(target, RemotePath)
    for file in sorted(source.rglob("*")):
        if file.is_file():
            (target / str(file.relative_to(source))).upload(file)
    return target


def stored_contents(path: Path) -> dict[str, bytes]:
    """Everything but the files that tell of times and places."""
    assert isinstance(path, RemotePath)
    names = [name for name in path.names() if Path(name).name not in ("run.json", "manifest.json")]
    return {name: (path / name).read_bytes() for name in names}
