"""Averages of models: one affine map for complete bins, each member by itself in the others."""

from __future__ import annotations

import numpy as np
import pytest

from predictd.constants import MIN_OBSERVED
from predictd.errors import DataError
from predictd.model.cp.factors import CPModel
from predictd.model.cp.reference import closed_form_genome
from predictd.model.ensemble import Ensemble
from predictd.pairs import Experiment

pytestmark = pytest.mark.numeric

hypothesis = pytest.importorskip("hypothesis")
given, settings = hypothesis.given, hypothesis.settings
st = hypothesis.strategies

CELLS = tuple(f"C{i}" for i in range(6))
ASSAYS = tuple(f"A{i}" for i in range(5))
PAIRS = tuple(Experiment(c, a) for c in CELLS for a in ASSAYS)


def model(seed, *, n_train=16, rank=2):
    rng = np.random.default_rng(seed)
    train = tuple(PAIRS[i] for i in rng.permutation(len(PAIRS))[:n_train])
    return CPModel(
        CELLS,
        ASSAYS,
        rng.normal(size=(len(CELLS), rank)),
        rng.normal(size=(len(ASSAYS), rank)),
        0.3 * rng.normal(size=len(CELLS)),
        0.3 * rng.normal(size=len(ASSAYS)),
        0.5,
        rng.gamma(4.0, 0.25),
        train,
    )


def ensemble(n=3):
    """Members that differ in training experiments, rank and λ_G."""
    return Ensemble(tuple(model(seed, n_train=14 + seed, rank=1 + seed % 3) for seed in range(n)))


def signal(n_bins, seed=0):
    """Values of all pairs."""
    return np.random.default_rng(seed).standard_exponential((n_bins, len(PAIRS))).astype(np.float32)


def inputs(imputer, values):
    """The inputs' values."""
    return values[:, [PAIRS.index(e) for e in imputer.inputs]]


def solve(member, targets, values):
    """Predictions (bins × m) of one model, each bin solved on what it has; NaN where that is less than half."""
    z, o = member.design(member.train)
    z_targets, o_targets = member.design(targets)
    values = values[:, [PAIRS.index(e) for e in member.train]].astype(np.float64)
    predicted = np.full((len(values), len(targets)), np.nan)
    for g, row in enumerate(values):
        known = ~np.isnan(row)
        if known.mean() >= MIN_OBSERVED:
            genome = closed_form_genome(z[:, known], member.lambda_g, (row - o)[np.newaxis, known])
            predicted[g] = genome[0] @ z_targets + o_targets
    return predicted


def solve_all(members, targets, values):
    return np.mean([solve(member, targets, values) for member in members.members], axis=0)


def test_complete_bins_get_the_mean_of_the_members():
    members, values = ensemble(), signal(300)
    imputer = members.imputer(PAIRS)
    predicted = imputer(inputs(imputer, values))
    wanted = solve_all(members, PAIRS, values)
    assert predicted.dtype == np.float32
    np.testing.assert_allclose(predicted, wanted, rtol=0, atol=1e-6 * np.abs(wanted).max())


def test_weights_are_the_members_padded_and_averaged():
    members = ensemble()
    imputer = members.imputer(PAIRS[::2])
    assert imputer.targets == PAIRS[::2]
    assert imputer.inputs == tuple(members.train)
    assert members.train == tuple(sorted(set(members.train)))
    assert set(members.train) == {e for member in members.members for e in member.train}
    weights, intercept = np.zeros((15, len(imputer.inputs))), np.zeros(15)
    for member in members.members:
        own = member.imputer(PAIRS[::2])
        for column, read in enumerate(own.inputs):
            weights[:, imputer.inputs.index(read)] += own.affine.weights[:, column] / 3
        intercept += own.affine.intercept / 3
    np.testing.assert_allclose(imputer.affine.weights, weights, rtol=1e-13, atol=1e-16)
    np.testing.assert_allclose(imputer.affine.intercept, intercept, rtol=1e-13)
    # With r free a shift of all signal shifts what is imputed.
    np.testing.assert_allclose(imputer.affine.weights.sum(axis=1), 1, rtol=1e-12)


def random_gaps(rng, shape):
    return rng.random(shape) < 0.25 * rng.random((shape[0], 1))


def blocks_of_gaps(rng, shape):
    """A stretch of bins in each of some tracks, as uncovered regions are."""
    gaps = np.zeros(shape, dtype=bool)
    for track in rng.permutation(shape[1])[:8]:
        first = rng.integers(shape[0])
        gaps[first : first + rng.integers(1, 40), track] = True
    return gaps


def gaps_by_chromosome(rng, shape):
    """Tracks that lack one whole chromosome each."""
    chromosome = np.arange(shape[0]) * 4 // shape[0]
    lacking = rng.integers(0, 12, shape[1])
    return chromosome[:, np.newaxis] == lacking


@pytest.mark.parametrize("gaps", [random_gaps, blocks_of_gaps, gaps_by_chromosome])
@pytest.mark.parametrize("n_members", [1, 2, 3])
def test_incomplete_bins_get_the_mean_of_the_members_own_solutions(gaps, n_members):
    members, values = ensemble(n_members), signal(120, seed=1)
    values[gaps(np.random.default_rng(2), values.shape)] = np.nan
    incomplete = np.isnan(values).any(axis=1)
    assert incomplete.sum() > 10
    imputer = members.imputer(PAIRS[3:])
    predicted, wanted = imputer(inputs(imputer, values)), solve_all(members, PAIRS[3:], values)
    np.testing.assert_allclose(predicted, wanted, rtol=0, atol=2e-6 * np.nanmax(np.abs(wanted)))


@given(seed=st.integers(0, 2**31), share=st.floats(0, 0.9))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_any_pattern_of_gaps(seed, share):
    members, values = ensemble(2), signal(8, seed=3)
    values[np.random.default_rng(seed).random(values.shape) < share] = np.nan
    imputer = members.imputer(PAIRS)
    predicted, wanted = imputer(inputs(imputer, values)), solve_all(members, PAIRS, values)
    # Bins of which a member sees less than half stay empty.
    np.testing.assert_array_equal(np.isnan(predicted), np.isnan(wanted))
    np.testing.assert_allclose(predicted, wanted, rtol=0, atol=1e-4)


def test_a_gap_in_a_track_that_one_member_does_not_read():
    members, values = ensemble(2), signal(5)
    only_first = next(e for e in members.members[0].train if e not in members.members[1].train)
    values[2, PAIRS.index(only_first)] = np.nan
    imputer = members.imputer(PAIRS)
    predicted, wanted = imputer(inputs(imputer, values)), solve_all(members, PAIRS, values)
    np.testing.assert_allclose(predicted, wanted, rtol=0, atol=1e-5)
    second = members.members[1].imputer(PAIRS)
    np.testing.assert_allclose(
        2 * predicted[2] - solve(members.members[0], PAIRS, values)[2],
        second(inputs(second, values))[2],
        atol=1e-5,
    )


def test_one_member_is_imputed_by_itself():
    member, values = model(4), signal(50)
    alone, own = Ensemble((member,)).imputer(PAIRS), member.imputer(PAIRS)
    assert alone.inputs == own.inputs
    assert alone.members == ()
    np.testing.assert_array_equal(alone(inputs(alone, values)), own(inputs(own, values)))


def test_members_alike_are_as_good_as_one():
    member, values = model(5), signal(40)
    values[::3, PAIRS.index(member.train[2])] = np.nan
    many, one = Ensemble((member,) * 3).imputer(PAIRS), member.imputer(PAIRS)
    np.testing.assert_allclose(many(inputs(many, values)), one(inputs(one, values)), rtol=1e-4, atol=1e-5)


def test_names_and_places_are_the_members():
    members = ensemble()
    assert (members.cell_types, members.assays) == (CELLS, ASSAYS)
    cells, assays = members.indices([Experiment("C3", "A1"), Experiment("C0", "A4")])
    assert (cells.tolist(), assays.tolist()) == ([3, 0], [1, 4])
    with pytest.raises(DataError, match="no assay 'A9'"):
        members.imputer([Experiment("C0", "A9")])
