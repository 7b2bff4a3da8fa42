"""Errors as a user reads them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from predictd.errors import PredictdError


@contextmanager
def refused(error: type[PredictdError], *parts: str) -> Iterator[None]:
    """Expect an error told in one line that holds all the parts."""
    with pytest.raises(error) as caught:
        yield
    text = str(caught.value)
    assert "\n" not in text
    for part in parts:
        assert part in text
