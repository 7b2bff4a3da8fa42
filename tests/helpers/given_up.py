"""A job that was given up while it ran, and still puts a file in place."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from predictd.io.partition import Job


def put_once_begun(monkeypatch: pytest.MonkeyPatch, file: Path, place: Path) -> None:
    """As soon as the next job is begun, put a copy of a file of another job there."""
    begin = Job.begin

    def begun(self: Job, *, nothing_made: bool = False) -> None:
        begin(self, nothing_made=nothing_made)
        place.parent.mkdir(exist_ok=True)
        shutil.copyfile(file, place)
        monkeypatch.setattr(Job, "begin", begin)

    monkeypatch.setattr(Job, "begin", begun)
