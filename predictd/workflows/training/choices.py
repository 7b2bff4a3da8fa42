"""What a solver chose, kept in a file, so that an interrupted run goes on with it."""

from __future__ import annotations

from pathlib import Path

from predictd.config import TrainSettings
from predictd.constants import CHOICE_FORMAT, CHOICE_VERSION
from predictd.io.hdf5 import read_arrays, write_arrays
from predictd.workflows.training.solvers.solver import Choice


def write_choice(path: Path, choice: Choice) -> None:
    """Write settings, reason and what was learned."""
    settings = choice.settings.model_dump(mode="json", by_alias=True)
    header = {"settings": settings, "why": choice.why}
    write_arrays(
        path,
        format=CHOICE_FORMAT,
        version=CHOICE_VERSION,
        header=header,
        arrays=dict(choice.learned),
    )


def read_choice(path: Path) -> Choice:
    """Inverse of `write_choice`.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    header, arrays = read_arrays(path, format=CHOICE_FORMAT, version=CHOICE_VERSION)
    return Choice(TrainSettings.model_validate(header["settings"]), header["why"], arrays)
