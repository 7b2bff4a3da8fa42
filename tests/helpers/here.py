"""An engine without workers: what tests run by it imports nothing again, and can be looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from predictd.engine import LocalEngine


class Here(LocalEngine):
    """Runs tasks in the process itself."""

    def run(
        self, task: Callable[..., Any], keys: Sequence[Any], shared: Any, **options: Any
    ) -> dict[int, Any]:
        return {index: task(key, shared) for index, key in enumerate(keys)}
