"""Outputs of many parts: begun once, resumed as often as needed, whole only at the end.

While the parts are made, `.partial/job.json` inside the output tells what is being made from what. The same command
finds its finished parts there; another command is refused rather than mixed in.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from predictd.constants import PARTIAL
from predictd.errors import OutputError
from predictd.io.files import cannot_write, make_directory, remove_tree, write_json

_JOB = "job.json"


class Job:
    """The making of one output directory.

    Parameters
    ----------
    output
        The directory that is made.
    description
        Everything the result depends on, as plain JSON values.
    """

    def __init__(self, output: Path, description: dict[str, Any]) -> None:
        self.output = output
        self.scratch = output / PARTIAL
        self._description = json.loads(json.dumps(description))
        self.resumed = False

    def begin(self, *, nothing_made: bool = False) -> None:
        """Start the job, or go on with it where it was left.

        Parameters
        ----------
        nothing_made
            No part stands yet: another unfinished job may be given up, so that whoever corrects what ended it at its
            beginning need not remove anything.

        Raises
        ------
        OutputError
            If the directory cannot be written, or holds another unfinished job.
        """
        make_directory(self.output)
        begun = read_job(self.output)
        if begun != self._description and nothing_made:
            begun = None
        if begun is not None and begun != self._description:
            difference = first_difference(begun, self._description)
            raise OutputError(
                f"{self.output} holds an unfinished job that was begun otherwise ({difference}); "
                "finish it with its own command, or remove the directory"
            )
        self.resumed = begun is not None
        if begun is None:
            # What stands there without a job is of nobody knows what.
            remove_tree(self.scratch)
            make_directory(self.scratch)
            write_json(self.scratch / _JOB, self._description)

    @property
    def begun(self) -> bool:
        """Whether this very job has been begun and not finished."""
        return read_job(self.output) == self._description

    def finish(self) -> None:
        """Remove the traces of the making; call it after the file that declares the output whole."""
        try:
            (self.scratch / _JOB).unlink(missing_ok=True)
        except OSError as err:
            raise cannot_write(self.scratch, err) from err
        remove_tree(self.scratch)


def read_job(output: Path) -> dict[str, Any] | None:
    """Description of the unfinished job in a directory; None where there is none."""
    path = output / PARTIAL / _JOB
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as err:
        raise OutputError(f"cannot read {path}: {err.strerror}; see that you may read it") from err
    except ValueError as err:
        raise OutputError(f"{path} is damaged; remove {output} and run the command again") from err
    return value if isinstance(value, dict) else {}


def first_difference(before: Any, after: Any, where: str = "") -> str:
    """Name the first place where two JSON values differ, for error messages."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            if before.get(key) != after.get(key):
                return first_difference(before.get(key), after.get(key), f"{where}.{key}".lstrip("."))
    if isinstance(before, list) and isinstance(after, list):
        for index, (old, new) in enumerate(zip(before, after, strict=False)):
            if old != new:
                return first_difference(old, new, f"{where}[{index}]")
        return f"{where}: {len(before)} entries, now {len(after)}"
    return f"{where}: {_short(before)}, now {_short(after)}"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
