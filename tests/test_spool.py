"""Arrays that are kept on disk until they are needed once more."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import numpy as np
import pytest

from folders import names
from predictd.io.spool import Spool


@pytest.fixture
def limited() -> Iterator[int]:
    """The largest file that this process may write, in bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, before[1]))
    yield 2**16
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_arrays_come_back_in_their_order(tmp_path):
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape).astype(np.float32) for shape in ((3, 5), (0, 7), (1, 20_000), (4, 2))]
    spool = Spool(tmp_path / "room", sum(array.nbytes for array in arrays))
    # Of any layout.
    arrays.append(arrays[0].T)
    for array in arrays:
        spool.append(array)
    for _ in range(2):
        spool.rewind()
        for array in arrays:
            np.testing.assert_array_equal(spool.read(array.shape), array)
    assert spool.whole and names(tmp_path / "room") == []


# The last part of an array is the one whose loss is least likely to be noticed.
@pytest.mark.parametrize("beyond", [4, 4000, 2**16])
def test_a_file_that_cannot_grow_is_not_whole(beyond, limited, tmp_path):
    spool = Spool(tmp_path / "room", 0)
    spool.append(np.ones((1, (limited + beyond) // 4), dtype=np.float32))
    assert not spool.whole
    spool.append(np.ones((1, 5), dtype=np.float32))
    assert not spool.whole


def test_reading_more_than_was_written_is_an_error(tmp_path):
    spool = Spool(tmp_path / "room", 0)
    spool.append(np.ones((1, 5), dtype=np.float32))
    spool.rewind()
    with pytest.raises(OSError, match="less can be read than was written"):
        spool.read((1, 6))
