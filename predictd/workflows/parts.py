"""Outputs that are made in parts: by one command, or by many processes that share nothing but a file system."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import nullcontext, suppress
from typing import Any, Generic, TypeVar

from predictd import progress
from predictd.engine import Engine
from predictd.errors import AlreadyFinished, ConfigError, OutputError
from predictd.io.files import standing
from predictd.io.partition import Job, first_difference, ranges, read_job
from predictd.provenance import RunRecord

Report = TypeVar("Report")


class InParts(ABC, Generic[Report]):
    """One output that is planned, made part by part in any order, and finished when all parts exist.

    Planning it, which is what constructors do, checks the input and writes nothing.

    Parameters
    ----------
    job
        The making of the directory.
    n_parts
        How many parts there are; nothing but the job's description may decide.
    marker
        Name of the file that declares the output whole.
    settings, seed
        Parameters of the workflow, for run.json.
    """

    def __init__(
        self, job: Job, n_parts: int, marker: str, *, settings: dict[str, Any], seed: int | None = None
    ) -> None:
        self.job = job
        self.n_parts = n_parts
        self._marker = marker
        self._settings_on_record, self._seed_on_record = settings, seed

    @property
    def finished(self) -> bool:
        """Whether this very job has made the whole output already."""
        whole = (self.job.output / self._marker).exists() and self.job.finished
        return whole and self._missing_file() is None

    def _missing_file(self) -> str | None:
        """Name of a file that the finished output should have and has not."""
        names = self._files()
        there = set(standing(self.job.output, names))
        return next((name for name in names if name not in there), None)

    def _files(self) -> Sequence[str]:
        """Names of files, below the output, without which it is not whole."""
        return ()

    def make(self, parts: Iterable[int], engine: Engine) -> list[int]:
        """Make parts, and return those that did not exist yet.

        Parameters
        ----------
        parts
            Their numbers, from 0.
        engine
            What runs it.

        Raises
        ------
        PredictdError
            If there is no such part, or the output is finished, of another job, or cannot be written. What was made by
            then is kept, and the same call goes on from there.
        """
        return self._make_missing(parts, engine, self._record(engine))

    def _make_missing(self, parts: Iterable[int], engine: Engine, record: RunRecord) -> list[int]:
        wanted = list(parts)
        for index in wanted:
            if not 0 <= index < self.n_parts:
                raise ConfigError(
                    f"there is no part {index}: parts are numbered from 0 to {self.n_parts - 1}"
                )
        self._refuse_finished()
        with self.job.made_by_many():
            self._begin()
            missing = [index for index in wanted if self.job.part(index) is None]
            if missing:
                some_parts = len(wanted) < self.n_parts
                with progress.stage(self.named(wanted)) if some_parts else nullcontext():
                    self._make(missing, engine, record)
        if not self.job.begun:
            self._refuse_finished()
        return missing

    def named(self, parts: Sequence[int]) -> str:
        """Some of the parts in words: part 1 of 3."""
        return f"part{'s' if len(parts) > 1 else ''} {ranges(sorted(set(parts)))} of {self.n_parts}"

    def finish(self, engine: Engine) -> Report:
        """Write what declares the output whole, and remove the traces of its making.

        Raises
        ------
        OutputError
            If parts are missing, which it names, or the output is finished, of another job, or cannot be written.
        """
        return self._finish_whole(self._record(engine))

    def _finish_whole(self, record: RunRecord) -> Report:
        self._refuse_finished()
        with self.job.made_by_many():
            self.job.refuse_another()
            parts = self.job.whole_parts(self.n_parts)
            # Parts that were made together have the same entry.
            record.job = self.job.checksum
            record.runs = list({str(part["run"]): part["run"] for part in parts}.values())
            report = self._finish(parts, record)
            self.job.finish()
        return report

    def make_all(self, engine: Engine) -> Report:
        """Make all parts that do not exist yet, and finish: what one machine does in one go."""
        record = self._record(engine)
        self._make_missing(range(self.n_parts), engine, record)
        record.resumed = self.job.resumed
        return self._finish_whole(record)

    def ensure(self, engine: Engine) -> None:
        """See that the output is whole; see `make_all`."""
        if not self.finished:
            with suppress(AlreadyFinished):
                self.make_all(engine)

    def _record(self, engine: Engine) -> RunRecord:
        workflow = str(self.job.description["command"])
        return RunRecord.of(workflow, engine, seed=self._seed_on_record, settings=self._settings_on_record)

    def _refuse_finished(self) -> None:
        """Raise AlreadyFinished where this very job has made the output, OutputError where another has."""
        output = self.job.output
        # Where a job is left as well as the marker, it was stopped before it had tidied up.
        if not (output / self._marker).exists() or read_job(output) is not None:
            return
        if self.job.finished:
            if gone := self._missing_file():
                raise OutputError(
                    f"{output} is finished, but {gone} is gone; remove the directory and run this again"
                )
            self.job.tidy()
            raise AlreadyFinished(
                f"{output} is finished already, from the same input and settings: nothing was done"
            )
        made = self.job.run_json()
        workflow = self.job.description["command"]
        if made.get("workflow") != workflow:
            how = f"made by 'predictd {made['workflow']}'" if "workflow" in made else "of unknown origin"
        else:
            before = {name: made.get(name) for name in ("settings", "seed")}
            own = RunRecord(workflow, seed=self._seed_on_record, settings=self._settings_on_record).to_dict()
            now = json.loads(json.dumps({name: own[name] for name in before}))
            how = (
                f"made differently ({first_difference(before, now) if before != now else 'from other input'})"
            )
        raise OutputError(
            f"{output} holds {self._marker} already, {how}; remove the directory, or name another"
        )

    def _refuse_foreign(self, names: Sequence[str]) -> None:
        """Raise OutputError if files of these names exist in a directory where no job was begun."""
        found = standing(self.job.output, names)
        # Looked at in this order, since another process begins the job before it makes files.
        if found and read_job(self.job.output) is None:
            raise OutputError(
                f"{self.job.output} holds {found[0]} already; remove the directory, or name another"
            )

    @abstractmethod
    def _begin(self) -> None:
        """Begin the job, or go on with it, unless something prevents it."""

    @abstractmethod
    def _make(self, parts: Sequence[int], engine: Engine, record: RunRecord) -> None:
        """Make parts that do not exist, and keep of each with `job.keep_part` what `_finish` needs, and its `run`."""

    @abstractmethod
    def _finish(self, parts: Sequence[dict[str, Any]], record: RunRecord) -> Report:
        """Write run.json, and the marker last, from what was kept of all parts."""
