"""What is said of tensors that are poor in signal."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from made_tensors import small_tensor
from predictd.errors import DataError
from predictd.workflows.tensor.coverage import require_complete


def signal(n_bins: int = 300) -> np.ndarray:
    return np.random.default_rng(0).gamma(1.0, 0.5, (n_bins, 4)).astype(np.float32)


def test_nothing_is_said_of_a_good_tensor(tmp_path, caplog):
    require_complete(small_tensor(tmp_path, signal()))
    assert not caplog.records


def test_a_constant_track_is_named(tmp_path, caplog):
    values = signal()
    values[:, 2] = 0.25
    with caplog.at_level(logging.WARNING):
        require_complete(small_tensor(tmp_path, values))
    (record,) = caplog.records
    assert "every bin of C1:A0:" in record.getMessage()


@pytest.mark.parametrize("empty", [10, 100])
def test_the_least_covered_track_is_named(tmp_path, caplog, empty):
    values = signal()
    values[: 2 * empty, 1] = np.nan
    values[:5, 0] = np.nan
    tensor = small_tensor(tmp_path, values)
    share = 1 - 2 * empty / 300
    if share < 0.5:
        with pytest.raises(
            DataError, match=rf"C0:A1 \({share:.1%}\), C0:A0 \(98\.3%\).*at least 50% are needed"
        ):
            require_complete(tensor)
    else:
        require_complete(tensor)
        assert f"the least covered are C0:A1 ({share:.1%}), C0:A0 (98.3%)" in caplog.text
