"""Averaging divided among workers gives what averaging everybody's rows at once gives."""

from __future__ import annotations

import numpy as np
import pytest

import engine_tasks as tasks
from predictd.engine import LocalEngine
from predictd.model.cp.sgd import merge


@pytest.mark.parametrize("workers", [1, 2, 3, 5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_divided_averaging_has_the_bits_of_merge(workers, dtype):
    n_cells, n_assays, rank = 7, 3, 5
    with LocalEngine(workers) as engine:
        results = engine.spmd(tasks.average, [], (n_cells, n_assays, rank, dtype))
    before, made = tasks.rows_of_workers(workers, n_cells, n_assays, rank, dtype)
    for averaged, _ in results:
        for block, rows in enumerate(averaged):
            expected = merge([own[block] for own in made], before[block])
            np.testing.assert_array_equal(rows.values, expected.values)
            np.testing.assert_array_equal(rows.scalars, expected.scalars)
            assert rows.values.dtype == dtype and rows.values.flags.writeable


def test_a_worker_sends_little():
    workers, shape = 4, (14, 6, 5)
    with LocalEngine(workers) as engine:
        results = engine.spmd(tasks.average, [], (*shape, np.float32))
    (averaged, sent), *_ = results
    row = averaged[0].values[0].nbytes + averaged[0].scalars[0].nbytes
    # Twenty rows, five a worker: each sends three shares of its own rows, and its averaged share three times.
    assert sent == 2 * 3 * 5 * row


@pytest.mark.parametrize("n_rows", [1, 5, 8])
def test_matrices_are_added_in_the_order_of_ranks_and_sent_twice(n_rows):
    matrices = np.random.default_rng(0).normal(size=(4, n_rows, 3)) * 10.0 ** np.arange(4)[:, None, None]
    with LocalEngine(4) as engine:
        results = engine.spmd(tasks.add, [], matrices)
    share = -(-n_rows // 4) * 3 * 8
    for added, sent in results:
        np.testing.assert_array_equal(added, matrices[0] + matrices[1] + matrices[2] + matrices[3])
        assert sent == 2 * 3 * share
