"""Outputs of many parts: begun once, resumed as often as needed, whole only at the end.

While the parts are made, `.partial/job.json` inside the output says what is being made from what. The same command
finds its finished parts there; another command, or another version of predictd, is refused rather than mixed in. Many
processes on many machines may make parts of one output at once: all they share is the directory, and nothing relies on
locks. In an object store, where nothing can be renamed, it is the creation of `job.json` that only one of them
succeeds in.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from predictd.constants import PARTIAL, RUN_JSON
from predictd.errors import AlreadyFinished, OutputError, PredictdError
from predictd.io.files import (
    cannot_write,
    make_directory,
    remove_tree,
    sha256_of_json,
    standing,
    write_json,
)
from predictd.io.remote import RemotePath
from predictd.io.results import known_run
from predictd.io.temporary import new_folder, release, remove_left
from predictd.provenance import package_version
from predictd.wording import cut

_JOB = "job.json"
_PARTS = "parts"
_MADE = "made"


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
        self.description = json.loads(json.dumps(description))
        # Until it is finished; then it does not matter which version has made it.
        self._in_making = self.description | {"predictd": package_version("predictd")}
        self.resumed = False

    def begin(self, *, nothing_made: bool = False) -> None:
        """Start the job, or go on with it where it was left.

        Of several processes that begin the same job at once one starts it, and the others go on with it.

        Parameters
        ----------
        nothing_made
            No part exists yet: another unfinished job may be given up, so that whoever corrects what ended it at its
            beginning need not remove anything.

        Raises
        ------
        OutputError
            If the directory cannot be written, or holds another unfinished job.
        """
        make_directory(self.output)
        begun = read_job(self.output)
        if begun is None and (self.output / RUN_JSON).exists():
            raise OutputError(f"{self.output} holds the output of another command; name another directory")
        given_up = nothing_made and begun != self._in_making
        self.resumed = not ((begun is None or given_up) and self._start(begun))
        if self.resumed:
            self.refuse_another()

    def refuse_another(self) -> None:
        """Raise OutputError if the directory holds another unfinished job."""
        self._refuse(read_job(self.output))

    def require_begun(self) -> None:
        """Raise OutputError unless this very job is being made there, as it is between `begin` and `finish`."""
        begun = read_job(self.output)
        self._refuse(begun)
        if begun is None:
            raise OutputError(
                f"{self.output} was finished or removed meanwhile by another command; run this one again"
            )

    def _refuse(self, begun: dict[str, Any] | None) -> None:
        if begun is not None and begun != self._in_making:
            difference = first_difference(begun, self._in_making)
            raise OutputError(
                f"{self.output} holds an unfinished job that was begun differently ({difference}); "
                "finish it with the command that began it, or remove the directory"
            )

    @cached_property
    def checksum(self) -> str:
        """Identity of the job: everything that the result depends on."""
        return sha256_of_json(self.description)

    @cached_property
    def _checksum_in_making(self) -> str:
        return sha256_of_json(self._in_making)

    @property
    def finished(self) -> bool:
        """Whether this very job has made the whole output, as that says itself."""
        return read_job(self.output) is None and self.run_json().get("job") == self.checksum

    def run_json(self) -> dict[str, Any]:
        """What the output says of how it was made; nothing where there is none."""
        return known_run(self.output)

    @property
    def workspace(self) -> Path:
        """Directory for files that this very job needs until it is finished; what another job left is elsewhere."""
        return self.scratch / self._checksum_in_making[:16]

    @property
    def marker_file(self) -> Path:
        """The file that all who take part must see, from `begin` to `finish`."""
        return self.scratch / _JOB

    @property
    def begun(self) -> bool:
        """Whether this very job has been begun and not finished."""
        return read_job(self.output) == self._in_making

    def keep(self, name: str, content: Any) -> None:
        """Keep plain JSON values of this job until it is finished."""
        value = {"job": self._checksum_in_making, "content": content}
        write_json(self._kept_path(name), value)

    def kept(self, name: str) -> Any:
        """What `keep` kept under this name; None where that is nothing, damaged, or another job's."""
        try:
            value = json.loads(self._kept_path(name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        if not isinstance(value, dict) or value.get("job") != self._checksum_in_making:
            return None
        return value.get("content")

    @contextmanager
    def making(self, path: Path) -> Iterator[None]:
        """Put a file of the output in place in this block; `made` knows of it then.

        Raises
        ------
        OutputError
            If this job is not being made any more; see `require_begun`.
        """
        self.require_begun()
        yield
        self.keep(self._made_name(path), {})

    def made(self, path: Path) -> bool:
        """Whether this very job has put a file of the output in place, not another job that left it there.

        Raises
        ------
        OutputError
            If this job is not being made any more; see `require_begun`.
        """
        self.require_begun()
        return self.kept(self._made_name(path)) is not None and path.exists()

    def _made_name(self, path: Path) -> str:
        return f"{_MADE}/{path.relative_to(self.output)}"

    def keep_part(self, index: int, content: dict[str, Any], files: Sequence[Path]) -> None:
        """Declare a part whole: what is to be known of it, and its files below the output.

        Raises
        ------
        OutputError
            If this job is not being made any more; see `require_begun`.
        """
        self.require_begun()
        names = [str(path.relative_to(self.output)) for path in files]
        self.keep(f"{_PARTS}/{index}", {**content, "files": names})

    def part(self, index: int) -> dict[str, Any] | None:
        """What is known of a part; None where it is not whole, or some of its files have gone."""
        content: dict[str, Any] | None = self.kept(f"{_PARTS}/{index}")
        if content is None or len(standing(self.output, content["files"])) < len(content["files"]):
            return None
        return content

    def whole_parts(self, n_parts: int) -> list[dict[str, Any]]:
        """What is known of all parts.

        Raises
        ------
        OutputError
            If parts are missing; it names them.
        """
        parts = [self.part(index) for index in range(n_parts)]
        missing = [index for index, part in enumerate(parts) if part is None]
        if missing:
            what = (
                f"part {missing[0]} of {n_parts} is"
                if len(missing) == 1
                else f"parts {ranges(missing)} of {n_parts} are"
            )
            raise OutputError(
                f"{what} missing in {self.output}; make {'it' if len(missing) == 1 else 'them'} first (`part` "
                f"{missing[0]}{' and so on' if len(missing) > 1 else ''}), then `finish` again"
            )
        return [part for part in parts if part is not None]

    @contextmanager
    def made_by_many(self) -> Iterator[None]:
        """Make the output in this block, beside other runs of the same job.

        One that ends sooner finishes the output, and removes what the others work with.

        Raises
        ------
        AlreadyFinished
            If something failed in the block, and the output has been finished since it began.
        """
        finished = self._seems_finished()
        try:
            yield
        except AlreadyFinished:
            raise
        except (PredictdError, OSError) as err:
            if finished or not self._seems_finished():
                raise
            self.tidy()
            raise AlreadyFinished(
                f"{self.output} was finished meanwhile by another run of this command"
            ) from err

    def _seems_finished(self) -> bool:
        """Whether it is finished, as far as that can be read."""
        try:
            return self.finished
        except PredictdError:
            return False

    def finish(self) -> None:
        """Remove the traces of the making; call it after the file that declares the output whole."""
        try:
            (self.scratch / _JOB).unlink(missing_ok=True)
        except OSError as err:
            raise cannot_write(self.scratch, err) from err
        self.tidy()

    def tidy(self) -> None:
        """Remove what `finish`, or another run of the same job, has left of a finished output if it was killed."""
        remove_tree(self.scratch)
        if not isinstance(self.output, RemotePath):
            remove_left(self.output)

    def _kept_path(self, name: str) -> Path:
        # Of this very job: what another one still writes there cannot be taken for it.
        return self.workspace / f"{name}.json"

    def _start(self, given_up: dict[str, Any] | None) -> bool:
        """Put a fresh `.partial` in the place of what is there without a job or with the one that is given up.

        It is made under another name and renamed, which fails where something exists: of all that try, one succeeds.
        Returns False where another job has been begun there meanwhile.
        """
        if isinstance(self.scratch, RemotePath):
            return self._create(self.scratch / _JOB, given_up)
        try:
            own = new_folder(self.scratch)
        except OSError as err:
            raise cannot_write(self.scratch, err) from err
        try:
            write_json(own / _JOB, self._in_making)
            while True:
                try:
                    own.rename(self.scratch)
                    return True
                except OSError as err:
                    if err.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                        raise cannot_write(self.scratch, err) from err
                found = read_job(self.output)
                if found is not None and found != given_up:
                    return False
                self._clear(given_up)
        finally:
            remove_tree(own)
            release(own)

    def _create(self, path: RemotePath, given_up: dict[str, Any] | None) -> bool:
        """`_start` in an object store: of all that create the object, one succeeds.

        What else a job has left there stays, since everything is kept under the description that it belongs to.
        """
        while True:
            try:
                path.create(json.dumps(self._in_making).encode())
                return True
            except FileExistsError:
                found = read_job(self.output)
            if found is not None and found != given_up:
                return False
            if found is not None:
                path.unlink(missing_ok=True)

    def _clear(self, given_up: dict[str, Any] | None) -> None:
        """Empty a `.partial` that is of no job or of the one that is given up.

        Through a handle on the directory itself, since another process may have renamed its own to that place since we
        looked, or may do so any moment.
        """
        try:
            with ExitStack() as undo:
                handle = os.open(self.scratch, os.O_RDONLY | os.O_DIRECTORY)
                undo.callback(os.close, handle)
                found = _read_description(self.scratch / _JOB, handle)
                if found is not None and found != given_up:
                    return
                for _, folders, files, place in os.fwalk(topdown=False, dir_fd=handle):
                    for name in files:
                        os.unlink(name, dir_fd=place)
                    for name in folders:
                        os.rmdir(name, dir_fd=place)
        except FileNotFoundError:
            # Another process is at the same.
            pass
        except OSError as err:
            raise cannot_write(self.scratch, err) from err


def read_job(output: Path) -> dict[str, Any] | None:
    """Description of the unfinished job in a directory; None where there is none."""
    return _read_description(output / PARTIAL / _JOB)


def _read_description(path: Path, folder: int | None = None) -> dict[str, Any] | None:
    """Description in a file; with `folder`, a handle, in the file of its name there."""
    try:
        if folder is None:
            value = json.loads(path.read_text(encoding="utf-8"))
        else:
            with os.fdopen(os.open(path.name, os.O_RDONLY, dir_fd=folder), encoding="utf-8") as file:
                value = json.load(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as err:
        raise OutputError(f"cannot read {path}: {err.strerror}; see that you may read it") from err
    except ValueError as err:
        raise OutputError(f"{path} is damaged; remove {path.parents[1]} and run the command again") from err
    return value if isinstance(value, dict) else {}


def ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers as a job array takes them: 1,3-5."""
    stretches: list[list[int]] = []
    for number in numbers:
        if stretches and number == stretches[-1][1] + 1:
            stretches[-1][1] = number
        else:
            stretches.append([number, number])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in stretches)


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
    return f"{where}: {cut(str(before))}, now {cut(str(after))}"
