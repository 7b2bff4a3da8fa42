"""An engine without workers: what tests run by it imports nothing again, and can be looked at."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import Any

from predictd.engine import LocalEngine


class Here(LocalEngine):
    """Runs tasks in the process itself."""

    def run(
        self, task: Callable[..., Any], keys: Sequence[Any], shared: Any, **options: Any
    ) -> dict[int, Any]:
        return {index: task(key, shared) for index, key in enumerate(keys)}


class Between(Here):
    """Hands tasks what they share as workers get it, and does something after the first of them."""

    def __init__(self, act: Callable[[], object]) -> None:
        super().__init__(1)
        self._act = act

    def run(
        self, task: Callable[..., Any], keys: Sequence[Any], shared: Any, **options: Any
    ) -> dict[int, Any]:
        packed, found = pickle.dumps(shared), {}
        for index, key in enumerate(keys):
            found[index] = task(key, pickle.loads(packed))
            if index == 0:
                self._act()
        return found
