"""The compiled kernels against their specification in predictd.model.cp.reference, and their checks."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chisquare

import predictd
from predictd import kernels
from predictd.model.cp import reference
from predictd.model.cp.sgd import Rows

RANKS = [1, 3, 15, 16, 100]


class Problem:
    """A small random problem: rows, signal and everything else that an update needs."""

    def __init__(self, rank=3, dtype=np.float64, n_cells=5, n_assays=4, n_bins=11, seed=0):
        rng = np.random.default_rng(seed)
        observed = rng.permutation(n_cells * n_assays)[: n_cells * n_assays * 2 // 3].astype(np.int32)
        self.rank = rank
        self.cells, self.assays, self.bins = (
            Rows.from_factors(rng.uniform(-1, 1, (n, rank)), rng.normal(size=n) / 2, dtype)
            for n in (n_cells, n_assays, n_bins)
        )
        self.y = rng.normal(1, 1, (n_bins, len(observed))).astype(np.float32)
        self.settings = {
            "rank": rank,
            "pair_cells": observed // n_assays,
            "pair_assays": observed % n_assays,
            "pen_cells": rng.uniform(0, 0.1, n_cells),
            "pen_assays": rng.uniform(0, 0.1, n_assays),
            "pen_bins": 0.05,
            "mu": 0.7,
            "learning_rate": 0.005,
            "beta1": 0.9,
            "beta2": 0.999,
            "epsilon": 1e-8,
            # Far larger than the default, so that a wrong power shows.
            "decay": 1e-3,
            "stream": 2**63 + 12345,
            "first": 0,
            "count": 300,
        }

    def run(self, function, **changes):
        """Return the rows after the updates, and what the function returned; the problem stays as it was."""
        rows = [part.copy() for part in (self.cells, self.assays, self.bins)]
        return rows, function(*rows, self.y, **self.arguments(**changes))

    def arguments(self, **changes):
        """The rule and the draws, as the kernel and its reference take them."""
        settings = {**self.settings, **changes}
        draws = {name: settings.pop(name) for name in ("stream", "first", "count")}
        return {"rule": kernels.UpdateRule(**settings), **draws}


def assert_same_bits(some_rows, other_rows):
    for some, other in zip(some_rows, other_rows, strict=True):
        np.testing.assert_array_equal(some.values, other.values)
        np.testing.assert_array_equal(some.scalars, other.scalars)


@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize("count", [1, 2, 400])
def test_updates_in_double_precision_follow_the_reference(rank, count):
    problem = Problem(rank)
    got, got_error = problem.run(kernels.sgd_updates, count=count)
    expected, expected_error = problem.run(reference.sgd_updates, count=count)
    for rows, wanted in zip(got, expected, strict=True):
        scale = np.abs(wanted.values).max(axis=(0, 2))[:, np.newaxis]
        np.testing.assert_array_less(np.abs(rows.values - wanted.values) / scale, 2e-12)
        np.testing.assert_allclose(rows.scalars, wanted.scalars, rtol=1e-12)
    assert got_error == pytest.approx(expected_error, rel=1e-12)


@pytest.mark.parametrize("rank", RANKS)
def test_updates_in_single_precision_follow_the_reference(rank):
    problem = Problem(rank, np.float32)
    got, got_error = problem.run(kernels.sgd_updates, count=200)
    expected, expected_error = Problem(rank, np.float64).run(reference.sgd_updates, count=200)
    for rows, wanted in zip(got, expected, strict=True):
        assert rows.values.dtype == np.float32
        scale = np.abs(wanted.values).max(axis=(0, 2))[:, np.newaxis]
        np.testing.assert_array_less(np.abs(rows.values - wanted.values) / scale, 1e-4)
        np.testing.assert_allclose(rows.scalars, wanted.scalars, rtol=1e-12)
    assert got_error == pytest.approx(expected_error, rel=1e-5)


def test_decay_follows_the_powers_for_rows_updated_millions_of_times():
    problem = Problem()
    problem.settings["decay"] = 1e-7
    for rows, touches in ((problem.cells, 123_456), (problem.assays, 98_765_432), (problem.bins, 2**31 + 17)):
        rows.scalars[:] = 0.5, 0.9, touches
        rows.values[:, 2, : problem.rank + 1] = 0.1
    got, _ = problem.run(kernels.sgd_updates, count=100)
    expected, _ = problem.run(reference.sgd_updates, count=100)
    for rows, wanted in zip(got, expected, strict=True):
        np.testing.assert_allclose(rows.values, wanted.values, rtol=1e-11, atol=1e-14)


def test_a_row_updated_more_often_than_the_powers_reach_stands_still_in_its_decay():
    powers = kernels.sgd._decay_powers(1e-6)
    assert powers.shape == (4, 256)
    problem = Problem()
    for rows in (problem.cells, problem.assays, problem.bins):
        rows.scalars[:] = 1, 1, 2.0**40
    got, _ = problem.run(kernels.sgd_updates, decay=1e-6)
    np.testing.assert_array_equal(got[0].values[:, 0], problem.cells.values[:, 0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("function", [kernels.sgd_updates, reference.sgd_updates])
def test_two_calls_equal_one_of_twice_the_count(dtype, function):
    problem = Problem(7, dtype)
    together, total = problem.run(function, count=60)
    rows, first_half = problem.run(function, count=30)
    second_half = function(*rows, problem.y, **problem.arguments(first=30, count=30))
    assert_same_bits(rows, together)
    assert first_half + second_half == pytest.approx(total, rel=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rank", RANKS)
def test_padding_stays_zero(rank, dtype):
    problem = Problem(rank, dtype)
    rows, _ = problem.run(kernels.sgd_updates, count=500)
    for part in rows:
        assert part.values.shape[2] % 16 == 0
        assert not part.values[:, :, rank + 1 :].any()
        assert (part.values[part.scalars[:, 2] > 0, :, : rank + 1] != 0).all()


def test_no_updates_change_nothing():
    problem = Problem()
    rows, error = problem.run(kernels.sgd_updates, count=0)
    assert error == 0
    assert_same_bits(rows, (problem.cells, problem.assays, problem.bins))


def test_draws_are_those_of_splitmix64():
    # The first numbers of splitmix64 from the state 1234567, as other implementations give them.
    numbers = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    pairs, bins = reference.draws(1234567, 0, 4, 2**32 - 1, 2**32 - 1)
    assert pairs.tolist() == [(n >> 32) * (2**32 - 1) >> 32 for n in numbers]
    assert bins.tolist() == [(n & 0xFFFFFFFF) * (2**32 - 1) >> 32 for n in numbers]
    later = reference.draws(1234567, 2, 2, 2**32 - 1, 2**32 - 1)
    np.testing.assert_array_equal(later[0], pairs[2:])
    np.testing.assert_array_equal(later[1], bins[2:])


def test_draws_are_uniform_and_independent():
    n_pairs, n_bins = 7, 13
    pairs, bins = reference.draws(2024, 10**9, 91_000, n_pairs, n_bins)
    counts = np.bincount(pairs * n_bins + bins, minlength=n_pairs * n_bins)
    assert chisquare(counts).pvalue > 0.001
    # Neighbouring draws as well.
    counts = np.bincount(pairs[:-1] * n_pairs + pairs[1:], minlength=n_pairs**2)
    assert chisquare(counts).pvalue > 0.001


@pytest.mark.parametrize("first", [0, 1000, 2**40])
def test_the_kernel_makes_the_reference_s_draws(first):
    problem = Problem()
    rows, _ = problem.run(kernels.sgd_updates, first=first, count=1000)
    pairs, bins = reference.draws(
        problem.settings["stream"], first, 1000, problem.y.shape[1], problem.y.shape[0]
    )
    for part, drawn in (
        (rows[0], problem.settings["pair_cells"][pairs]),
        (rows[1], problem.settings["pair_assays"][pairs]),
        (rows[2], bins),
    ):
        np.testing.assert_array_equal(part.scalars[:, 2], np.bincount(drawn, minlength=len(part)))


def test_threads_do_not_disturb_each_other():
    problems = [Problem(20, np.float32, n_bins=200, seed=seed) for seed in (1, 2)]
    alone = [problem.run(kernels.sgd_updates, count=20_000) for problem in problems]
    together = [None, None]

    def work(i):
        together[i] = problems[i].run(kernels.sgd_updates, count=20_000)

    threads = [threading.Thread(target=work, args=(i,)) for i in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for (rows, error), (wanted_rows, wanted_error) in zip(together, alone, strict=True):
        assert error == wanted_error
        assert_same_bits(rows, wanted_rows)


def test_divergence_shows_in_the_returned_error():
    problem = Problem(3, np.float32)
    problem.cells.values[:, 0, 0] = 1e30
    problem.bins.values[:, 0, 0] = 1e30
    assert not np.isfinite(problem.run(kernels.sgd_updates, count=10)[1])


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"rank": 0}, ValueError, "rank must be at least 1, not 0"),
        ({"rank": 16}, ValueError, r"cells.values must have the shape \(any, 3, 32\), not \(5, 3, 16\)"),
        ({"rank": 3.0}, TypeError, "float"),
        ({"stream": -1}, ValueError, "stream"),
        ({"first": 2**64}, ValueError, "first"),
        ({"count": -1}, ValueError, "count"),
        ({"beta1": 1.0}, ValueError, r"beta1 must lie in \[0, 1\), not 1.0"),
        ({"beta2": -0.1}, ValueError, "beta2"),
        ({"decay": float("nan")}, ValueError, "decay"),
        ({"epsilon": 0.0}, ValueError, "epsilon must be positive"),
        ({"learning_rate": float("inf")}, ValueError, "learning_rate must be finite"),
        ({"mu": float("nan")}, ValueError, "mu must be finite"),
        (
            {"pair_cells": np.full(13, 5, np.int32)},
            ValueError,
            r"pair_cells must lie in \[0, 5\), not in \[5, 5\]",
        ),
        ({"pair_assays": np.full(13, -1, np.int32)}, ValueError, "pair_assays must lie in"),
        ({"pair_assays": np.zeros(13, np.int64)}, TypeError, "pair_assays must be int32, not int64"),
        ({"pair_assays": np.zeros(12, np.int32)}, ValueError, r"pair_assays must have the shape \(13\)"),
        ({"pen_cells": np.zeros(4)}, ValueError, "pen_cells must have the shape"),
        ({"pen_assays": [0.0] * 4}, TypeError, "pen_assays must be a NumPy array, not list"),
    ],
)
def test_updates_refuse_wrong_settings(changes, error, text):
    problem = Problem()
    with pytest.raises(error, match=text):
        problem.run(kernels.sgd_updates, **changes)


@pytest.mark.parametrize(
    ("y", "error", "text"),
    [
        (np.zeros((11, 13)), TypeError, "y must be float32, not float64"),
        (np.zeros((12, 13), np.float32), ValueError, r"bins.values must have the shape \(12, 3, 16\)"),
        (np.zeros((13, 11), np.float32).T, ValueError, "y must be C-contiguous"),
        (np.zeros((11, 0), np.float32), ValueError, "not 11 and 0"),
        (np.zeros(13, np.float32), ValueError, r"y must have the shape \(any, any\), not \(13,\)"),
    ],
)
def test_updates_refuse_wrong_signal(y, error, text):
    problem = Problem()
    problem.y = y
    with pytest.raises(error, match=text):
        problem.run(kernels.sgd_updates)


def test_updates_refuse_rows_that_do_not_fit():
    problem = Problem()
    cells, assays, bins = problem.cells, problem.assays, problem.bins
    single = Rows.zeros(4, 3, np.float32)
    frozen = assays.copy()
    frozen.values.flags.writeable = False
    whole = Rows.zeros(16, 3, np.float64)
    part, rest = (Rows(whole.values[i], whole.scalars[i]) for i in (slice(0, 5), slice(4, 8)))
    for rows, error, text in (
        ((cells, single, bins), TypeError, "assays.values must be float64, not float32"),
        ((cells, frozen, bins), ValueError, "assays.values must be writeable"),
        ((part, rest, bins), ValueError, "cells.values and assays.values share memory"),
        ((Rows(cells.values.astype(np.float16), cells.scalars), assays, bins), TypeError, "not float16"),
        (
            (cells, assays, Rows(bins.values[::-1], bins.scalars)),
            ValueError,
            "bins.values must be C-contiguous",
        ),
    ):
        with pytest.raises(error, match=text):
            kernels.sgd_updates(*rows, problem.y, **problem.arguments())


def test_widen_is_exact_for_every_half():
    half = np.arange(2**16, dtype=np.uint16).view(np.float16)
    got, expected = kernels.widen(half), half.astype(np.float32)
    numbers = ~np.isnan(half)
    np.testing.assert_array_equal(got.view(np.uint32)[numbers], expected.view(np.uint32)[numbers])
    # NaN stays NaN of the same sign; whether a signalling one becomes quiet is left to the processor.
    np.testing.assert_array_equal(np.isnan(got), ~numbers)
    np.testing.assert_array_equal(np.signbit(got), np.signbit(half))


@pytest.mark.parametrize("shape", [(), (0,), (1,), (37,), (5, 0), (3, 7, 11)])
def test_widen_takes_any_shape(shape):
    half = np.random.default_rng(1).normal(size=shape).astype(np.float16)
    half = np.asarray(half)
    expected = half.astype(np.float32)
    out = np.full(shape, 9, np.float32)
    assert kernels.widen(half, out) is out
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(kernels.widen(half), expected)


def test_widen_takes_read_only_arrays_and_writes_nothing_beside_out():
    half = np.ones(33, np.float16)
    half.flags.writeable = False
    memory = np.zeros(50, np.float32)
    kernels.widen(half, memory[1:34])
    np.testing.assert_array_equal(memory, np.r_[0, np.ones(33), np.zeros(16)])


@pytest.mark.parametrize(
    ("half", "out", "error", "text"),
    [
        (np.zeros(3, np.float32), None, TypeError, "half must be float16, not float32"),
        (np.zeros(3, ">f2"), None, TypeError, "half must be float16, not >f2"),
        (np.zeros(6, np.float16)[::2], None, ValueError, "half must be C-contiguous"),
        (
            np.zeros((2, 3), np.float16),
            np.zeros(6, np.float32),
            ValueError,
            r"the shape \(2, 3\), not \(6,\)",
        ),
        (np.zeros(3, np.float16), np.zeros(3), TypeError, "out must be float32"),
    ],
)
def test_widen_refuses_what_it_cannot_take(half, out, error, text):
    if half.dtype.byteorder == ">" and sys.byteorder == "big":
        pytest.skip("native here")
    with pytest.raises(error, match=text):
        kernels.widen(half, out)


def test_widen_refuses_to_write_over_its_input():
    memory = np.zeros(8, np.float32)
    with pytest.raises(ValueError, match="share memory"):
        kernels.widen(memory[:4].view(np.float16), memory)


@pytest.mark.processes
def test_missing_extensions_are_told_in_one_line_that_names_the_package(tmp_path):
    package = tmp_path / "predictd"
    (package / "_ext").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "_ext" / "__init__.py").touch()
    own = Path(predictd.__file__).parent
    for name in ("errors.py", "wording.py"):
        shutil.copy(own / name, package)
    shutil.copytree(own / "kernels", package / "kernels")
    program = (
        "import predictd.errors\n"
        "try:\n"
        "    import predictd.kernels\n"
        "except predictd.errors.ExtensionError as err:\n"
        "    print(err)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert len(run.stdout.splitlines()) == 1
    assert str(package.resolve()) in run.stdout
    assert "run `pip install .`" in run.stdout
