"""Commands in their order, each measured and resumable: what the programs of whole jobs have in common."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.measuring import Usage, run
from predictd.io.files import remove_tree, sha256_of_json, write_json


@dataclass(frozen=True)
class Step:
    """A command: its arguments after `predictd`, and what it writes."""

    name: str
    arguments: tuple[str, ...]
    output: str


class Record:
    """What was measured of steps, in `measured.json` of their folder.

    A step is done where its result is there and was made by the same commands from the same `inputs`, of which a
    checksum is kept.
    """

    def __init__(self, folder: Path, steps: list[Step], inputs: Any) -> None:
        self.folder, self._inputs, self._all = folder, inputs, steps
        self._path = folder / "measured.json"
        self._known: dict[str, dict[str, Any]] = {}
        if self._path.exists():
            self._known = json.loads(self._path.read_text())

    def __iter__(self) -> Iterator[tuple[Step, str]]:
        """Steps, each with a checksum of everything that its result comes from."""
        key = sha256_of_json(self._inputs)
        for step in self._all:
            key = sha256_of_json([key, step.arguments])
            yield step, key

    def todo(self) -> list[tuple[Step, str]]:
        """What is not done."""
        return [(step, key) for step, key in self if not self._done(step, key)]

    def _done(self, step: Step, key: str) -> bool:
        known = self._known.get(step.name, {})
        return known.get("key") == key and known["state"] == "done" and (self.folder / step.output).exists()

    def usage(self, name: str) -> Usage:
        """What a step has taken."""
        return Usage(**self._known[name]["usage"])

    def run(self, step: Step, key: str) -> None:
        """Run a step, or go on with it; SystemExit where its command fails, or it is to stop."""
        known = self._known.get(step.name, {})
        usage = Usage()
        if known.get("key") == key and known["state"] == "stopped":
            usage = self.usage(step.name)
        else:
            _remove(self.folder / step.output)
        self._note(step, key, usage, state="running")
        print(f"{self.folder.name}: predictd {' '.join(step.arguments)}", file=sys.stderr)
        log = self.folder / f"{step.name}.log"
        command = [sys.executable, "-m", "predictd", *step.arguments]
        taken, status, stopped = run(command, log, cwd=self.folder)
        usage += taken
        self._note(step, key, usage, state="done" if status == 0 else "stopped")
        if status and not stopped:
            text = log.read_text(errors="replace").splitlines()[-5:]
            sys.exit("\n".join([f"predictd {step.name} ended with {status} (all it said: {log}):", *text]))
        if stopped:
            sys.exit(f"stopped in {step.name}; the same command goes on")

    def _note(self, step: Step, key: str, usage: Usage, *, state: str) -> None:
        self._known[step.name] = {
            "key": key,
            "command": " ".join(("predictd", *step.arguments)),
            "state": state,
            "usage": asdict(usage),
        }
        write_json(self._path, self._known)


def _remove(path: Path) -> None:
    for left in (path, path.with_name(f"{path.stem}_files")):
        if left.is_dir():
            remove_tree(left)
        else:
            left.unlink(missing_ok=True)
