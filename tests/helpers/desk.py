"""A desk for commands that are typed in a shell: `predictd` is called in this process, other programs as is told.

A script runs as it is printed, by a real shell. On its PATH lie small programs that hand their words, their directory
and the variables to the test, which answers what is to be printed and the exit code. No time is lost by starting Python
for every command.
"""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from commands import PREDICTD, call_predictd
from predictd.model.folds import make_folds

# Makes it cheaper; the last of an option that is given twice wins.
CHEAPER = {
    "ingest": ["--regions", "regions.bed"],
    "simulate": ["--bins", "5000"],
    "train": ["--config", "quick.toml"],
    "cv": ["--config", "quick.toml"],
    "tune": ["--trials", "2", "--config", "quick.toml"],
    "network infer": ["--trees", "20"],
}
QUICK = "[train]\nnetworks = 0\n[train.als]\nstarts = 1\nstart_sweeps = 3\nmax_sweeps = 10\n"

_SHIM = f"""#!{sys.executable} -IS
import json, os, socket, sys
if "_PREDICTD_COMPLETE" in os.environ:
    os.execv({PREDICTD[0]!r}, {PREDICTD!r})
with socket.socket(socket.AF_UNIX) as desk:
    desk.connect(os.environ["DESK"].replace("@", "\\0"))
    asked = dict(program=sys.argv[0], words=sys.argv[1:], cwd=os.getcwd(), variables=dict(os.environ))
    desk.sendall(json.dumps(asked).encode())
    desk.shutdown(socket.SHUT_WR)
    with desk.makefile() as answer:
        told = json.load(answer)
sys.stdout.write(told["stdout"])
sys.stderr.write(told["stderr"])
sys.exit(told["code"])
"""
# For what starts processes of its own: the program itself, made cheaper.
_PROGRAM = f"""#!{sys.executable}
import sys
from predictd.cli import main
if __name__ == "__main__":
    main(sys.argv[1:] + {CHEAPER!r}.get(sys.argv[1], []) + MORE)
"""


@dataclass(frozen=True)
class Asked:
    """A command as a shell has run it."""

    program: str
    words: list[str]
    cwd: Path
    variables: Mapping[str, str]

    def __str__(self) -> str:
        return shlex.join([self.program, *self.words])


@dataclass
class Desk:
    """What takes the commands of scripts.

    Attributes
    ----------
    folder
        New; for the programs.
    programs
        What takes the words of a program, and says what it prints; of predictd, in place of running it.
    taken
        The commands so far.
    """

    folder: Path
    programs: Mapping[str, Callable[[Asked], str]] = field(default_factory=dict)
    taken: list[Asked] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        for name in {"predictd", *self.programs}:
            if "/" not in name:
                put_shim(self.folder / name)

    def run(self, shell: str, script: str, cwd: Path, **variables: str) -> None:
        """Run a script; none of its commands may fail."""
        # A socket's path has at most 107 bytes.
        place = (
            f"\0predictd-{os.getpid()}-{id(self)}" if sys.platform == "linux" else str(self.folder / "desk")
        )
        with socket.socket(socket.AF_UNIX) as desk:
            desk.bind(place)
            desk.listen()
            desk.settimeout(0.05)
            with (
                (self.folder / "told").open("w+") as told,
                subprocess.Popen(
                    [shell, "-ec", script],
                    cwd=cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=told,
                    stderr=subprocess.STDOUT,
                    env=self.environment(DESK=place.replace("\0", "@"), **variables),
                ) as typed,
            ):
                try:
                    while typed.poll() is None:
                        with suppress(TimeoutError):
                            caller, _ = desk.accept()
                            caller.settimeout(None)
                            self._answer(caller)
                except BaseException:
                    typed.kill()
                    raise
                told.seek(0)
                assert typed.returncode == 0, f"{self.taken[-1:]}\n{told.read()}"

    def environment(self, **variables: str) -> dict[str, str]:
        own = {**os.environ, "HOME": str(self.folder), **variables}
        path = os.pathsep.join([str(self.folder), str(Path(sys.executable).parent), own["PATH"]])
        return {**own, "PATH": path}

    def _answer(self, caller: socket.socket) -> None:
        with caller, caller.makefile("rw") as stream:
            told = json.load(stream)
            asked = Asked(told["program"], told["words"], Path(told["cwd"]), told["variables"])
            self.taken.append(asked)
            answer = {"stdout": "", "stderr": "", "code": 0}
            name = Path(asked.program).name
            if name == "predictd" and name not in self.programs:
                done = call_predictd(*asked.words, *cheaper(asked.words), cwd=asked.cwd)
                answer = {"stdout": done.stdout, "stderr": done.stderr, "code": done.returncode}
            else:
                try:
                    take = self.programs.get(name) or self.programs[asked.program]
                    answer["stdout"] = take(asked)
                except Exception as err:
                    answer |= {"stderr": f"{asked}: {err}\n", "code": 1}
            json.dump(answer, stream)


def cheaper(words: list[str]) -> list[str]:
    """What is put behind the words of predictd so that they cost less."""
    return next((more for name, more in CHEAPER.items() if words[: len(name.split())] == name.split()), [])


@contextmanager
def quickened() -> Iterator[mock.Mock]:
    """Demos have few bins, cross-validations few folds unless they are told, and nothing waits for a browser.

    Gives what is called in place of opening one.
    """
    with (
        mock.patch("predictd.workflows.demo.BINS", 5000),
        mock.patch.dict(make_folds.__kwdefaults__, tests=3, valids=2),
        mock.patch("predictd.io.tracks.serve.RangeServer.serve_until"),
        mock.patch("webbrowser.open") as opened,
    ):
        yield opened


def put_shim(path: Path) -> None:
    """Write a program that asks at the desk."""
    put_program(path, _SHIM)


def put_program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def put_predictd(path: Path, *more: str) -> None:
    """Write a program that is predictd in a process of its own, with more words behind its own."""
    put_program(path, _PROGRAM.replace("MORE", repr(list(more))))
