"""Checkpoints: the state of every worker at one round, taken up by the same command.

A directory beside the output holds `.partial/job.json` (what is being computed, see partition.py), one folder a
saved round with a file a worker, and `latest.json`, which is replaced when all workers have written.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from predictd.constants import CHECKPOINT_FORMAT, CHECKPOINT_VERSION
from predictd.errors import OutputError
from predictd.io.files import make_directory, refuse_unreadable, remove_tree, write_json
from predictd.io.hdf5 import Arrays, ForeignFileError, read_arrays, write_arrays
from predictd.io.partition import Job

_LATEST = "latest.json"


class Checkpoint:
    """Saved state of one computation.

    Parameters
    ----------
    path
        Directory of the checkpoint.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, description: dict[str, Any]) -> None:
        """Start, or go on with the computation of this description.

        Raises
        ------
        OutputError
            If the directory belongs to a computation with another description.
        """
        Job(self.path, description).begin()

    @property
    def marker_file(self) -> Path:
        """The file that all workers must see, once it has begun."""
        return Job(self.path, {}).marker_file

    def save(self, name: str, worker: int, header: dict[str, Any], arrays: Arrays) -> None:
        """Write one worker's state of the round `name`; nothing counts before `commit`."""
        write_arrays(
            self._file(name, worker),
            format=CHECKPOINT_FORMAT,
            version=CHECKPOINT_VERSION,
            header=header,
            arrays=arrays,
        )

    def commit(self, name: str) -> None:
        """Make `name` the state to resume from, after every worker has saved it; older ones are removed."""
        make_directory(self.path)
        write_json(self.path / _LATEST, {"name": name})
        for folder in self.path.glob("state-*"):
            if folder.name != f"state-{name}":
                remove_tree(folder)

    def load(self, worker: int) -> tuple[dict[str, Any], Arrays] | None:
        """Header and arrays that a worker saved last; None where nothing was.

        Raises
        ------
        OutputError
            If what was saved cannot be read.
        """
        latest = self.path / _LATEST
        if not latest.is_file():
            return None
        try:
            name = json.loads(latest.read_text(encoding="utf-8"))["name"]
            return read_arrays(self._file(name, worker), format=CHECKPOINT_FORMAT, version=CHECKPOINT_VERSION)
        except (OSError, ValueError, KeyError, TypeError, ForeignFileError) as err:
            refuse_unreadable(latest, err)
            raise OutputError(
                f"the checkpoint in {self.path} is damaged ({err}); remove it to start afresh"
            ) from err

    def keep(self, name: str, result: dict[str, Any]) -> None:
        """Keep what a finished phase came to, as plain values."""
        write_json(self.path / f"{name}.json", result)

    def kept(self, name: str) -> dict[str, Any] | None:
        """What `keep` kept under this name; None where it has not been called."""
        try:
            value: dict[str, Any] = json.loads((self.path / f"{name}.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as err:
            refuse_unreadable(self.path / f"{name}.json", err)
            raise OutputError(
                f"the checkpoint in {self.path} is damaged ({err}); remove it to start afresh"
            ) from err
        return value

    def remove(self) -> None:
        """Remove everything, once the output stands."""
        remove_tree(self.path)

    def _file(self, name: str, worker: int) -> Path:
        return self.path / f"state-{name}" / f"worker-{worker}.h5"
