"""Splits of the experiments: balance, what must stay in training, checks and the JSON form."""

from __future__ import annotations

import itertools
import json
import logging
from collections import Counter

import pytest

from predictd.errors import ConfigError, DataError, TableError
from predictd.model import folds
from predictd.pairs import Experiment

hypothesis = pytest.importorskip("hypothesis")
given, settings = hypothesis.given, hypothesis.settings
st = hypothesis.strategies


def grid(n_cells: int, n_assays: int) -> list[Experiment]:
    return [Experiment(f"C{c}", f"A{a}") for c in range(n_cells) for a in range(n_assays)]


def roadmap_like() -> list[Experiment]:
    """127 cell types × 24 assays, 1014 observed: five assays everywhere, the others ever rarer."""
    pairs = grid(127, 5)
    rare = [98, 62, 53, 24, 23, 21, 19, *[7] * 7, *[6] * 3, 5]
    for a, n in enumerate(rare, start=5):
        pairs += [Experiment(f"C{(31 * a + 7 * i) % 127}", f"A{a}") for i in range(n)]
    extra = (e for e in grid(127, 24) if e not in set(pairs))
    return pairs + list(itertools.islice(extra, 1014 - len(pairs)))


def spread(classes: list[tuple[Experiment, ...]]) -> int:
    """The largest difference between two classes in size, overall and by cell type and by assay."""
    sizes = [len(c) for c in classes]
    worst = max(sizes) - min(sizes)
    for axis in (0, 1):
        counts = [Counter(e[axis] for e in c) for c in classes]
        for name in {name for count in counts for name in count}:
            of_name = [count[name] for count in counts]
            worst = max(worst, max(of_name) - min(of_name))
    return worst


def by_test(made: list[folds.Fold]) -> dict[str, list[folds.Fold]]:
    groups: dict[str, list[folds.Fold]] = {}
    for fold in made:
        groups.setdefault(fold.name.partition(".")[0], []).append(fold)
    return groups


def holdable(pairs: set[Experiment], *, by_assay: bool = False) -> set[Experiment]:
    return {
        e
        for e in pairs
        if (by_assay or any(o != e and o.cell_type == e.cell_type for o in pairs))
        and any(o != e and o.assay == e.assay for o in pairs)
    }


def assert_valid(made: list[folds.Fold], pairs: list[Experiment]) -> None:
    everything = set(pairs)
    alone = not holdable(everything)
    groups = by_test(made)
    tests = [group[0].test for group in groups.values()]
    assert Counter(itertools.chain(*tests)) == Counter(holdable(everything, by_assay=alone))
    assert spread(tests) <= 1
    for group in groups.values():
        test = set(group[0].test)
        valids = [fold.valid for fold in group]
        assert Counter(itertools.chain(*valids)) == Counter(holdable(everything - test, by_assay=alone))
        assert spread(valids) <= 1
        for fold in group:
            assert set(fold.test) == test and test and fold.valid
            assert len(fold.test) + len(fold.valid) + len(fold.train) == len(everything)
            folds.check_fold(fold, pairs)


def test_roadmap_shape(monkeypatch):
    pairs, splits = roadmap_like(), []

    def counted(both, halves=folds._halves):
        splits.append(both)
        # Each two of 5 test folds, and of 8 validation folds in each, are split again four times on average, at most.
        assert len(splits) <= 4 * (10 + 5 * 28)
        return halves(both)

    monkeypatch.setattr(folds, "_halves", counted)
    made = folds.make_folds(pairs, seed=3)
    assert splits and [f.name for f in made] == [f"{t}.{v}" for t in range(5) for v in range(8)]
    assert {len(f.test) for f in made} <= {202, 203}
    assert {len(f.valid) for f in made} <= {101, 102}
    assert_valid(made, pairs)


@settings(max_examples=150, deadline=None)
@given(
    st.sets(st.tuples(st.integers(0, 5), st.integers(0, 4)), min_size=1, max_size=30),
    st.integers(2, 6),
    st.integers(2, 8),
    st.integers(0, 5),
)
def test_any_shape_is_valid_or_refused(cells_assays, tests, valids, seed):
    pairs = [Experiment(f"C{c}", f"A{a}") for c, a in sorted(cells_assays)]
    alone = not holdable(set(pairs))
    can_hold = holdable(set(pairs), by_assay=alone)
    try:
        made = folds.make_folds(pairs, tests=tests, valids=valids, seed=seed)
    except DataError as err:
        assert not can_hold or "leaves no experiment for validation" in str(err)
        return
    assert_valid(made, pairs)
    groups = by_test(made)
    assert len(groups) == min(tests, len(can_hold))
    for group in groups.values():
        left = holdable(set(pairs) - set(group[0].test), by_assay=alone)
        assert len(group) == min(valids, len(left))


def test_seeded_and_independent_of_order():
    pairs = grid(6, 5)
    made = folds.make_folds(pairs, seed=1)
    assert folds.make_folds(pairs[::-1], seed=1) == made
    assert folds.make_folds(pairs, seed=2) != made
    assert folds.validation_split(pairs[::-1], seed=1) == folds.validation_split(pairs, seed=1)
    splits = {folds.validation_split(pairs, seed=seed) for seed in range(8)}
    assert len(splits) > 4


def test_every_pair_is_drawn_about_equally_often():
    pairs = grid(4, 4)
    drawn = Counter(e for seed in range(400) for e in folds.validation_split(pairs, share=4, seed=seed).valid)
    assert set(drawn) == set(pairs)
    # 400 draws with probability 1/4: standard deviation 8.7.
    assert all(abs(times - 100) < 40 for times in drawn.values())


def test_only_ones_always_train(caplog):
    # C9 has one experiment, and A9 has one.
    pairs = [*grid(4, 4), Experiment("C9", "A0"), Experiment("C0", "A9")]
    with caplog.at_level(logging.WARNING):
        made = folds.make_folds(pairs, tests=4, valids=3)
    assert "2 of 18 experiments" in caplog.text and "C0:A9, C9:A0" in caplog.text
    assert all(set(pairs[-2:]) <= set(f.train) for f in made)
    assert_valid(made, pairs)


def test_fewer_folds_where_experiments_are_few(caplog):
    # Without any one of the four pairs, only the one opposite to it keeps another of both its names.
    with caplog.at_level(logging.WARNING):
        made = folds.make_folds(grid(2, 2))
    assert [f.name for f in made] == ["0.0", "1.0", "2.0", "3.0"]
    opposite = {"C0:A0": "C1:A1", "C1:A1": "C0:A0", "C0:A1": "C1:A0", "C1:A0": "C0:A1"}
    assert {str(f.test[0]): str(f.valid[0]) for f in made} == opposite
    assert "only 4 test folds instead of 5" in caplog.text
    assert "only 1 validation folds of test fold 0 instead of 8" in caplog.text


def test_assays_alone_are_held_out_where_cell_types_have_one_experiment_each():
    pairs = [*(Experiment(f"C{i}", "A0") for i in range(5)), Experiment("C5", "A1"), Experiment("C6", "A1")]
    made = folds.make_folds(pairs, tests=3, valids=2)
    assert sorted(e for name in "012" for e in next(f for f in made if f.owner == name).test) == pairs
    for fold in made:
        assert {e.assay for e in fold.train} == {"A0", "A1"}
        folds.check_fold(fold, pairs)
    assert folds.by_assay_alone(pairs) and not folds.by_assay_alone([*pairs, Experiment("C0", "A1")])
    split = folds.validation_split(pairs)
    assert split.valid and {e.assay for e in split.train} == {"A0", "A1"}


def test_nothing_to_hold_out():
    lonely = [Experiment("C0", "A0"), Experiment("C0", "A1"), Experiment("C1", "A2")]
    with pytest.raises(DataError, match="none of the 3 experiments can be held out"):
        folds.make_folds(lonely)
    with pytest.raises(DataError, match="none of the 3 experiments can be held out"):
        folds.validation_split(lonely)
    corner = [Experiment("C0", "A0"), Experiment("C0", "A1"), Experiment("C1", "A0")]
    with pytest.raises(DataError, match=r"test fold 0 \(C0:A0\) leaves no experiment for validation"):
        folds.make_folds(corner)
    assert [str(e) for e in folds.validation_split(corner).valid] == ["C0:A0"]


@pytest.mark.parametrize("options", [{"tests": 1}, {"valids": 1}, {"tests": 0}])
def test_one_fold_is_none(options):
    with pytest.raises(ConfigError, match="must be 2 or more"):
        folds.make_folds(grid(3, 3), **options)


def test_validation_split():
    pairs = roadmap_like()
    fold = folds.validation_split(pairs)
    assert fold.name == "holdout" and fold.test == ()
    assert len(fold.valid) in (126, 127) and len(fold.train) == 1014 - len(fold.valid)
    folds.check_fold(fold, pairs)
    per_cell = Counter(e.cell_type for e in pairs)
    held = Counter(e.cell_type for e in fold.valid)
    assert all(n // 8 <= held[cell] <= -(-n // 8) for cell, n in per_cell.items())
    with pytest.raises(ConfigError, match="share"):
        folds.validation_split(pairs, share=1)


def test_check_fold_names_what_is_wrong():
    a, b, c, d = grid(2, 2)
    folds.check_fold(folds.Fold("0.3", (), (b,), (a, d)), [a, b, c, d])
    with pytest.raises(DataError, match=r"^fold 0\.3: no training experiment of assay A1 is left"):
        folds.check_fold(folds.Fold("0.3", (b,), (d,), (a, c)), [a, b, c, d])
    with pytest.raises(DataError, match=r"^fold 0\.3: no training experiment of cell type C1 is left"):
        folds.check_fold(folds.Fold("0.3", (c,), (d,), (a, b)), [a, b, c, d])
    with pytest.raises(DataError, match=r"named more than once: C0:A1"):
        folds.check_fold(folds.Fold("0.3", (b,), (b,), (a, c, d)), [a, b, c, d])
    with pytest.raises(DataError, match=r"not in the tensor: X:Y"):
        folds.check_fold(folds.Fold("0.3", (), (Experiment("X", "Y"),), (a, b, c, d)), [a, b, c, d])


def test_json_round_trip():
    made = folds.make_folds(grid(4, 4))
    data = json.loads(json.dumps(folds.folds_to_json(made)))
    assert list(data[0]) == ["name", "test", "valid", "train"]
    assert data[0]["test"] == [str(e) for e in made[0].test]
    assert folds.folds_from_json(data) == made
    data[0]["train"].reverse()
    assert folds.folds_from_json(data) == made


GOOD = {"name": "0.0", "test": ["C:A"], "valid": [], "train": ["C:B"]}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "a list of"),
        ([], "at least one fold"),
        (["x"], "entry 1: an object with name, test, valid and train is expected, this is no object"),
        ([GOOD, {"name": "x"}], "entry 2: an object .* this has 'name'"),
        ([{**GOOD, "extra": 1}], "entry 1: an object .* 'extra'"),
        ([{**GOOD, "name": 3}], "entry 1: name must be text"),
        ([{**GOOD, "name": " a"}], "entry 1: name must be text"),
        ([{**GOOD, "test": "C:A"}], r"entry 1 \(0\.0\): test must be a list of pairs"),
        ([{**GOOD, "valid": [1]}], r"valid must be a list of pairs"),
        ([{**GOOD, "train": ["C-A"]}], r"entry 1 \(0\.0\), train: 'C-A' is not a pair"),
        ([GOOD, GOOD], "2 folds are named '0.0'"),
    ],
)
def test_json_of_another_structure(data, message):
    with pytest.raises(TableError, match=message) as caught:
        folds.folds_from_json(data)
    assert "\n" not in str(caught.value)
