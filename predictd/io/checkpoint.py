"""Checkpoints: the state of every worker at one round, taken up by the same command.

A directory beside the output holds `.partial/job.json` (what is being computed, see partition.py), one folder a
saved round with a file a worker, and `latest.json`, which is replaced when all workers have written. What lies there
without a `job.json` is nobody's, and removed.
"""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

from predictd import interrupt
from predictd.constants import CHECKPOINT_FORMAT, CHECKPOINT_VERSION
from predictd.errors import Interrupted, OutputError
from predictd.io.files import cannot_write, make_directory, refuse_unreadable, remove_tree, write_json
from predictd.io.hdf5 import Arrays, ForeignFileError, read_arrays, write_arrays
from predictd.io.partition import Job, read_job
from predictd.io.remote import RemotePath
from predictd.io.temporary import hold_alone, release

log = logging.getLogger(__name__)

_LATEST = "latest.json"
_LOCK = "lock"
_POLL_SECONDS = 0.5


class Checkpoint:
    """Saved state of one computation.

    Parameters
    ----------
    path
        Directory of the checkpoint.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._begun = False

    def begin(self, description: dict[str, Any]) -> bool:
        """Start, or go on with the computation of this description; `hold` comes first.

        Returns
        -------
        resumed
            Whether it was begun before.

        Raises
        ------
        OutputError
            If the directory belongs to a computation with another description.
        """
        make_directory(self.path)
        if read_job(self.path) is None:
            self._clear()
        job = Job(self.path, description)
        job.begin()
        self._begun = True
        return job.resumed

    def refuse_unfinished(self) -> None:
        """Raise OutputError if a computation was stopped here, for whoever would make the same output without it."""
        if read_job(self.path) is not None:
            raise OutputError(
                f"{self.path} holds the state of an unfinished training of the same output; finish it with the command "
                "that began it, or remove the directory"
            )

    def hold(self) -> None:
        """Be the only process that computes this, until `release`; wait while another one does.

        Object stores have no locks: there nobody waits.

        Raises
        ------
        Interrupted
            If a stop was asked for meanwhile.
        """
        if isinstance(self.path, RemotePath):
            return
        make_directory(self.path)
        waited = False

        def waiting() -> None:
            nonlocal waited
            if not waited:
                log.warning("%s is in use by another run of the same command: waiting for its end", self.path)
            waited = True
            if interrupt.requested():
                raise Interrupted(f"stopped by {interrupt.received()}; run the command again to go on")
            time.sleep(_POLL_SECONDS)
            make_directory(self.path)

        try:
            hold_alone(self.path / _LOCK, waiting)
        except FileNotFoundError:
            # The other one has just ended, and removed it.
            self.hold()
        except OSError as err:
            raise cannot_write(self.path, err) from err

    def release(self) -> None:
        """Let others compute this; see `hold`."""
        release(self.path / _LOCK)

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
        """Remove everything, once the output exists, if this is what has begun it; what another has begun is its own.

        What says whose it is goes last, so that a killed removal leaves nothing that another takes up.
        """
        if self._begun:
            self._clear()
            remove_tree(Job(self.path, {}).scratch)
            remove_tree(self.path)

    def _clear(self) -> None:
        """Remove what was saved and kept; first what says that a state is whole."""
        try:
            for path in [self.path / _LATEST, *self.path.glob("*.json")]:
                path.unlink(missing_ok=True)
        except OSError as err:
            raise cannot_write(self.path, err) from err
        for folder in self.path.glob("state-*"):
            remove_tree(folder)

    def _file(self, name: str, worker: int) -> Path:
        return self.path / f"state-{name}" / f"worker-{worker}.h5"
