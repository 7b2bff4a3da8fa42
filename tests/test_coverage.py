"""What is said of tensors that are poor in signal."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from made_tensors import small_tensor
from predictd.errors import DataError
from predictd.pairs import Experiment
from predictd.workflows.tensor.coverage import require_complete, warn_suspicious
from predictd.workflows.tensor.moments import ensure_moments, read_moments


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


def test_an_artefact_in_a_single_bin_is_named(tmp_path, caplog):
    values = signal(2000)
    values[99, 1] = 1000.0
    with caplog.at_level(logging.WARNING):
        require_complete(small_tensor(tmp_path, values))
    (record,) = caplog.records
    assert "a single bin far beyond all others in C0:A1 (1000, 4" in record.getMessage()


def test_one_signal_under_two_labels_is_named(tmp_path, caplog, engine):
    """Also where it is scaled, and not where two tracks have an artefact in the same bin."""
    values = signal(2000)
    values[:, 3] = 0.5 * values[:, 0]
    values[99, 1:3] = 1000.0
    tensor = small_tensor(tmp_path, values)
    data = read_moments(ensure_moments(tensor, engine))
    with caplog.at_level(logging.WARNING):
        warn_suspicious(tensor, data)
    (record,) = caplog.records
    assert "under two labels: C0:A0 and C1:A1 (r 1.0000); one label is wrong" in record.getMessage()


def grid(cells: int, assays: int, seed: int) -> tuple[list[Experiment], np.ndarray]:
    """Pairs, and tracks (bins × pairs) of strengths that are those of cell type times assay."""
    rng = np.random.default_rng(seed)
    pairs = [Experiment(f"C{c}", f"A{a}") for c in range(cells) for a in range(assays)]
    strength = np.exp(rng.normal(0.0, 0.5, (cells, 1)) + rng.normal(0.0, 0.5, assays)).ravel()
    return pairs, rng.gamma(0.5, 1.0, (2000, len(pairs))) * strength


def suspected(path, pairs, values, engine, caplog):
    tensor = small_tensor(path, np.arcsinh(values).astype(np.float32), experiments=pairs)
    data = read_moments(ensure_moments(tensor, engine))
    with caplog.at_level(logging.WARNING):
        warn_suspicious(tensor, data)
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize(("times", "named"), [(1000.0, True), (50.0, True), (1 / 50, True), (2.0, False)])
def test_a_track_in_another_unit_is_named(tmp_path, caplog, engine, times, named):
    pairs, values = grid(6, 4, 1)
    values[:, 6] *= times
    found = suspected(tmp_path, pairs, values, engine, caplog)
    assert len(found) == named
    if named:
        text = found[0].split("transform: ")[1].split(";")[0]
        pair, factor = text.removesuffix(" times)").split(" (")
        assert pair == "C1:A2" and (float(factor) > 3) == (times > 1)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_strong_assay_of_a_few_cell_types_is_not_named(tmp_path, caplog, engine, count):
    pairs, values = grid(10, 6, 2)
    few = grid(count, 1, 3)[1] * 30
    others = [Experiment(f"C{c}", "strong") for c in range(count)]
    assert not suspected(tmp_path, [*pairs, *others], np.hstack([values, few]), engine, caplog)


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
