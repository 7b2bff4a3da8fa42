"""Scores of networks against scikit-learn and cases worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from predictd.grn.links import Links, top_links
from predictd.grn.scores import average_precision, candidates_of, early_precision, roc_area, score_links

hypothesis = pytest.importorskip("hypothesis")
given = hypothesis.given
st = hypothesis.strategies

NAMES = [f"G{i}" for i in range(7)]
PAIRS = [(a, b) for a in NAMES for b in NAMES if a != b]


@st.composite
def networks_and_gold(draw):
    """A network with ties, listed in part, and a gold standard that shares names with it."""
    listed = draw(st.lists(st.sampled_from(PAIRS), min_size=1, unique=True))
    weights = draw(st.lists(st.integers(-2, 5), min_size=len(listed), max_size=len(listed)))
    judged = draw(st.lists(st.sampled_from(PAIRS), min_size=1, max_size=24, unique=True))
    n_gold = draw(st.integers(1, len(judged)))
    return dict(zip(listed, map(float, weights), strict=True)), judged[:n_gold], judged[n_gold:]


def all_candidates(weights, gold, none):
    """Every candidate with its score, plainly; what is not listed comes last."""
    regulators, targets = ({pair[i] for pair in (*gold, *none)} for i in (0, 1))
    targets = sorted(targets)
    pairs = [
        (r, t)
        for r in regulators
        for t in targets
        if (r, t) in gold or (r, t) in none or (not none and r != t)
    ]
    scores = [weights.get(pair, -1000.0) for pair in pairs]
    return np.array(scores), np.array([pair in gold for pair in pairs]), [targets.index(t) for _, t in pairs]


def links_of(weights):
    regulators, targets = zip(*weights, strict=True)
    return Links.of_list(regulators, targets, list(weights.values()))


@given(networks_and_gold(), st.integers(0, 2**32 - 1))
def test_areas_are_scikit_learns(case, seed):
    weights, *judged = case
    scores, truths, targets = all_candidates(weights, *judged)
    candidates = candidates_of(links_of(weights), *judged)
    by_target = np.random.default_rng(seed).integers(0, 3, max(targets) + 1).astype(float)
    for own in (np.ones_like(by_target), by_target):
        found, seen = candidates.counts(own)
        weight = own[targets]
        assert (found[-1], seen[-1]) == (weight[truths].sum(), weight.sum())
        if not (found[-1] > 0):
            assert np.isnan(average_precision(found, seen)) and np.isnan(roc_area(found, seen))
            continue
        expected = average_precision_score(truths, scores, sample_weight=weight)
        assert average_precision(found, seen) == pytest.approx(expected, abs=1e-12)
        if found[-1] < seen[-1]:
            expected = roc_auc_score(truths, scores, sample_weight=weight)
            assert roc_area(found, seen) == pytest.approx(expected, abs=1e-12)


@given(networks_and_gold())
def test_early_precision_is_that_of_a_random_order_of_ties(case):
    weights, *judged = case
    scores, truths, _ = all_candidates(weights, *judged)
    k = truths.sum()
    edge = np.sort(scores)[::-1][k - 1]
    above, tied = scores > edge, scores == edge
    expected = (truths[above].sum() + (k - above.sum()) * truths[tied].mean()) / k
    got = early_precision(*candidates_of(links_of(weights), *judged).counts())
    assert got == pytest.approx(expected, abs=1e-12)


def test_a_case_worked_by_hand():
    # Candidates: a→x, a→y, a→b, b→x, b→y; b→b is none.
    gold = [("a", "x"), ("b", "y"), ("a", "b")]
    links = Links.of_list(["a", "b", "a", "z"], ["x", "x", "y", "x"], [0.9, 0.5, 0.1, 9.0])
    scores = score_links(links, gold, n_bootstraps=200, seed=1)
    assert (scores.n_gold, scores.n_candidates) == (3, 5)
    # Ranks: a→x (gold), b→x, a→y, then b→y and a→b together, both gold.
    assert scores.aupr == pytest.approx((1 / 1 + 2 * 3 / 5) / 3)
    assert scores.auroc == pytest.approx((2 + 0 + 0) / 6)
    assert scores.early_precision == pytest.approx(1 / 3)
    assert 0 < scores.aupr_low < scores.aupr < scores.aupr_high <= 1


def test_the_interval_is_that_of_the_bootstrap_and_seeded():
    rng = np.random.default_rng(0)
    pairs = [(f"R{i}", f"T{j}") for i in range(5) for j in range(60)]
    gold = [pair for pair in pairs if rng.random() < 0.2]
    weights = {pair: rng.normal() + (pair in gold) for pair in pairs}
    links = links_of(weights)
    one, again, other = (score_links(links, gold, seed=seed) for seed in (0, 0, 1))
    assert one == again and one.aupr == other.aupr and one.aupr_low != other.aupr_low
    targets = sorted({t for _, t in gold})
    samples = []
    for _ in range(300):
        counts = np.bincount(rng.integers(len(targets), size=len(targets)), minlength=len(targets))
        times = dict(zip(targets, counts, strict=True))
        kept = [p for p in pairs if p[1] in times]
        weight = [times[t] for _, t in kept]
        truths, scores = [p in gold for p in kept], [weights[p] for p in kept]
        samples.append(average_precision_score(truths, scores, sample_weight=weight))
    low, high = np.percentile(samples, [2.5, 97.5])
    assert one.aupr_low == pytest.approx(low, abs=0.02) and one.aupr_high == pytest.approx(high, abs=0.02)


def test_the_top_links_of_a_target():
    indices, importances = top_links(np.array([0.1, 0.0, 0.5, 0.5, 0.2]), top=3)
    assert indices.tolist() == [2, 3, 4] and importances.tolist() == [0.5, 0.5, 0.2]
    indices, _ = top_links(np.array([0.1, 0.0, 0.5, 0.5, 0.2]), top=9, min_importance=0.2)
    assert indices.tolist() == [2, 3, 4]
    assert len(top_links(np.zeros(4), top=2)[0]) == 0


def test_links_are_ranked_and_joined():
    one = Links.of_rows(
        "ab", ["x", "y"], [top_links(np.array([0.2, 0.4]), top=2), top_links(np.zeros(2), top=2)]
    )
    other = Links.of_rows("ab", ["z"], [top_links(np.array([0.4, 0.0]), top=2)])
    links = Links.joined([one, other])
    assert links.indptr.tolist() == [0, 2, 2, 3] and len(links) == 3
    order = links.ranked()
    named = [(links.regulators[links.indices[i]], links.targets[links.rows()[i]]) for i in order]
    assert named == [("b", "x"), ("a", "z"), ("a", "x")]
    again = Links.from_arrays(links.to_arrays())
    assert again.targets == ("x", "y", "z") and again.regulators == ("a", "b")


@pytest.mark.parametrize(
    "change",
    [{"indptr": np.array([0, 1])}, {"indices": np.array([0, 5])}, {"indptr": np.array([0, 2, 1, 2])}],
)
def test_arrays_that_do_not_fit_are_refused(change):
    arrays = Links.of_list(["a", "b"], ["x", "y"], [1.0, 2.0]).to_arrays() | change
    with pytest.raises(ValueError, match=r"do not match|does not name"):
        Links.from_arrays(arrays)
