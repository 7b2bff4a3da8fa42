"""An engine whose workers tests share: they read this file when they start, and so it imports little."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from predictd.engine import LocalEngine


@dataclass(frozen=True)
class In:
    """A task that runs in a directory, whatever the one its worker was in."""

    directory: Path
    task: Callable[..., Any]

    @property
    def __name__(self) -> str:
        return self.task.__name__

    def __call__(self, *arguments: Any) -> Any:
        return self.task(*arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return _at, (self.directory, self.task)


def _at(directory: Path, task: Callable[..., Any]) -> In:
    """A task as it arrives at its worker, before what it works on: paths of tensors may be relative."""
    os.chdir(directory)
    return In(directory, task)


class SharedEngine(LocalEngine):
    """Its workers outlive what uses it, so that tests need not wait for new ones, and follow it to its directory."""

    def run(self, task: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        return super().run(In(Path.cwd(), task), *arguments, **options)

    def close(self) -> None:
        """Keep the workers, for what comes next."""

    def end(self) -> None:
        super().close()
