"""Libraries that predictd works without, imported where they are needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from predictd.errors import ConfigError
from predictd.wording import install


@contextmanager
def needed_for(what: str, *, extra: str) -> Iterator[None]:
    """Raise ConfigError, which names the extra to install, where an import within the block fails."""
    try:
        yield
    except ImportError as err:
        raise ConfigError(f"{what} needs more libraries ({err}): {install(extra)}") from err
