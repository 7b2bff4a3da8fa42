"""Scoring of many pairs in two sweeps over the shards: what it holds, and that how it is cut does not show."""

from __future__ import annotations

import math
import shutil
import tracemalloc
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path

import numpy as np
import pytest

from folders import names
from made_folds import FEW_SWEEPS
from made_tensors import small_tensor
from predictd.config import TrainSettings
from predictd.constants import MEASURES
from predictd.engine import Engine
from predictd.io import spool
from predictd.io.tables import Interval
from predictd.io.tensor.store import Shard
from predictd.pairs import Experiment
from predictd.workflows.evaluation import score, signal
from predictd.workflows.evaluation.cases import Baseline, Case, Scoring
from predictd.workflows.evaluation.score import ScoreTask, bundle, fold_groups, group_cases
from predictd.workflows.imputing.apply import Application
from predictd.workflows.training.train import train

PAIRS = [Experiment(f"C{i // 2}", f"A{i % 2}") for i in range(6)]
# Ranks of 2^15 bins or more take 4 bytes.
SHARD = 15_000


@pytest.fixture(scope="module")
def scoring(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> dict[int, Scoring]:
    """The same model on tensors of so many equal shards."""
    folder = tmp_path_factory.mktemp("score")
    rng = np.random.default_rng(0)
    signal = (rng.gamma(1, 1, (SHARD, 1)) * rng.gamma(4, 0.25, (SHARD, 6))).astype(np.float32)
    regions = {"genes": [Interval("chr1", 25 * start, 25 * start + 700) for start in range(0, SHARD, 90)]}
    found = {}
    for n_shards in (3, 12):
        tensor = small_tensor(
            folder / f"t{n_shards}", np.tile(signal, (n_shards, 1)), experiments=PAIRS, n_shards=n_shards
        )
        found[n_shards] = Scoring(tensor, folder / "model.h5", regions)
    train(found[3].tensor.path, folder / "model.h5", TrainSettings(solver="em", rank=1), engine)
    return found


def some_cases(peaks: Path | None = None) -> tuple[Case, ...]:
    """Each of two pairs, with the mean of the other cell types beside it."""
    return tuple(
        Case(PAIRS[i], ("0",), None, (None,), str(peaks) if peaks else None, Baseline((i + 2, i + 4), 0.7))
        for i in (0, 1)
    )


def test_memory_does_not_grow_with_the_tensor(scoring, monkeypatch):
    monkeypatch.setattr(score, "KEPT_BYTES", 0)

    def peak(n_shards: int) -> int:
        tracemalloc.start()
        score.score(ScoreTask((some_cases(),)), scoring[n_shards])
        traced = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return traced

    # Once before, for what is loaded and made once.
    peak(3)
    small = peak(3)
    n_cases = len(some_cases())
    assert small < n_cases * score.CASE_BYTES + 50e6
    # One whole track of float32 would be 540 kB more.
    assert peak(12) == pytest.approx(small, abs=100_000)


def test_whether_signal_is_kept_or_read_again_does_not_show(scoring, monkeypatch, tmp_path):
    peaks = tmp_path / "peaks.bed"
    peaks.write_text("chr1\t100\t9000\nchr2\t0\t50\nchr1\t900000\t901000\n")
    cases = some_cases(peaks)
    kept = score.score(ScoreTask((cases,)), scoring[3])
    assert [one.row["method"] for one in kept] == ["model", "assay_mean", "assay_mean_scaled"] * 2
    for one in kept:
        undefined = {name for name in MEASURES if math.isnan(float(one.row[name]))}
        assert undefined == {"MSEprom", "MSEenh"}
    monkeypatch.setattr(score, "KEPT_BYTES", 0)
    # repr, since NaN is not equal to itself.
    assert repr(score.score(ScoreTask((cases,)), scoring[3])) == repr(kept)


@pytest.mark.numeric
def test_what_is_scored_beside_a_group_does_not_show(scoring):
    parts = PAIRS[:1], PAIRS[1:3], PAIRS[3:]
    groups = tuple(tuple(Case(pair, ("0",), None, (None,), None, None) for pair in some) for some in parts)
    apart = [one for group in groups for one in score.score(ScoreTask((group,)), scoring[3])]
    assert repr(score.score(ScoreTask(groups), scoring[3])) == repr(apart)


@pytest.fixture(scope="module")
def dear(tmp_path_factory: pytest.TempPathFactory, scoring: dict[int, Scoring], engine: Engine) -> Scoring:
    """A model that reads what is around bins."""
    path = tmp_path_factory.mktemp("dear") / "model.h5"
    train(
        scoring[3].tensor.path, path, TrainSettings(solver="stack", networks=0, als=FEW_SWEEPS), engine,
        moments=path.parent / "moments.h5",
    )  # fmt: skip
    return replace(scoring[3], estimator=path)


@pytest.mark.parametrize("room", ["enough", "none", "too little", "gone meanwhile", "a disk that fails"])
def test_dear_predictions_are_made_once_where_there_is_room(room, dear, monkeypatch, tmp_path):
    kept = score.score(ScoreTask((some_cases(),)), dear)
    monkeypatch.setattr(score, "KEPT_BYTES", 0)
    place = tmp_path / "room"
    usage = shutil.disk_usage(tmp_path)
    # Before the first block, and then once for each.
    free = {
        "too little": iter([4 * 2 * 3 * SHARD + spool.SPARE_BYTES - 1]),
        "gone meanwhile": chain([2 * spool.SPARE_BYTES] * 3, repeat(spool.SPARE_BYTES)),
    }.get(room, repeat(2 * spool.SPARE_BYTES))
    monkeypatch.setattr(spool.shutil, "disk_usage", lambda _: usage._replace(free=next(free)))
    if room == "a disk that fails":
        place.write_text("not a directory")
    predicted: list[Shard] = []
    usual = Application.row_blocks
    monkeypatch.setattr(
        Application, "row_blocks", lambda self, shard: predicted.append(shard) or usual(self, shard)
    )
    shares: list[float] = []
    monkeypatch.setattr(signal.progress, "task_share", shares.append)
    found = score.score(ScoreTask((some_cases(),)), dear if room == "none" else replace(dear, room=place))
    assert repr(found) == repr(kept)
    assert shares[-1] == pytest.approx(1)
    if room in ("enough", "none"):
        # Both sweeps take as long where the second one predicts anew.
        assert shares == sorted(shares)
        assert shares[len(shares) // 2 - 1] == pytest.approx(0.5 if room == "none" else 1 / 1.1)
    assert len(predicted) == (3 if room == "enough" else 6)
    assert names(place) == [] if place.is_dir() else room in ("none", "a disk that fails")


@pytest.mark.parametrize("free_blocks", [3, 1, 0], ids=["room for all", "full midway", "no room"])
def test_what_is_kept_serves_three_sweeps_with_and_without_baseline(free_blocks, dear, monkeypatch, tmp_path):
    cases = (some_cases()[0], replace(some_cases()[1], baseline=None))
    shared = replace(dear, quantiles=True)
    wanted = score.score(ScoreTask((cases,)), shared)
    # Each method, and once more with its values mapped; baselines of one of the two.
    assert len(wanted) == 6 + 2
    monkeypatch.setattr(score, "KEPT_BYTES", 0)
    monkeypatch.setattr(signal, "TRACKS_A_ROW", 0)
    usage = shutil.disk_usage(tmp_path)
    free = chain([2 * spool.SPARE_BYTES] * (1 + free_blocks), repeat(spool.SPARE_BYTES))
    monkeypatch.setattr(spool.shutil, "disk_usage", lambda _: usage._replace(free=next(free)))
    assert repr(score.score(ScoreTask((cases,)), replace(shared, room=tmp_path / "room"))) == repr(wanted)


@pytest.mark.parametrize(
    ("rows_with_room", "read"),
    # Two pairs of five rows each; predictions alone are one row each.
    [(10, 3), (9, 3), (1, 6)],
    ids=["all is kept", "predictions are kept", "nothing is kept"],
)
def test_what_takes_long_to_read_is_read_once_where_there_is_room(
    rows_with_room, read, dear, monkeypatch, tmp_path
):
    wanted = score.score(ScoreTask((some_cases(),)), dear)
    monkeypatch.setattr(score, "KEPT_BYTES", 0)
    monkeypatch.setattr(signal, "TRACKS_A_ROW", 0)
    usage = shutil.disk_usage(tmp_path)
    free = 4 * rows_with_room * 3 * SHARD + spool.SPARE_BYTES
    monkeypatch.setattr(spool.shutil, "disk_usage", lambda _: usage._replace(free=free))
    opened: list[Shard] = []
    usual = Application.row_blocks
    monkeypatch.setattr(
        Application, "row_blocks", lambda self, shard: opened.append(shard) or usual(self, shard)
    )
    columns: list[int] = []
    reading = Shard.row_blocks
    monkeypatch.setattr(
        Shard, "row_blocks", lambda self, some: columns.append(len(some)) or reading(self, some)
    )
    found = score.score(ScoreTask((some_cases(),)), replace(dear, room=tmp_path / "room"))
    assert repr(found) == repr(wanted)
    assert len(opened) == read
    # Where predictions alone are kept, observed tracks and those of the assays are read once more.
    assert bool(columns) == (rows_with_room == 9)
    assert names(tmp_path / "room") == []


def test_a_scaled_track_is_ranked_by_itself(scoring):
    plain, scaled = (one.row for one in score.score(ScoreTask((some_cases()[:1],)), scoring[3])[1:])
    assert scaled["MSEglobal"] != plain["MSEglobal"]
    # Scaled values round to other keys.
    for name in ("GWspear", "AucObs1", "Match1"):
        assert scaled[name] == pytest.approx(plain[name], abs=5e-3)
    assert scaled["GWspear"] != plain["GWspear"]


def test_groups_fit_into_memory_and_serve_all_workers():
    def sizes(n: int, workers: int) -> list[int]:
        cases = list(some_cases()[:1]) * n
        groups = group_cases(cases, workers)
        assert [case for group in groups for case in group] == cases
        return [len(group) for group in groups]

    most = score.TASK_BYTES // score.CASE_BYTES
    assert 15 < most < 40
    assert len(group_cases(list(some_cases()) * most, 1, n_methods=4, quantiles=True)) > 4
    assert sizes(0, 1) == []
    assert sizes(7, 1) == [7]
    assert sizes(7, 3) == [2, 2, 3]
    assert sizes(2, 8) == [1, 1]
    assert sizes(most, 1) == [most]
    assert sizes(2 * most, 1) == [most, most]
    one_too_many = sizes(2 * most + 1, 1)
    assert len(one_too_many) == 3 and max(one_too_many) - min(one_too_many) <= 1


def test_a_test_fold_is_divided_as_its_cases_alone_say():
    cases = list(some_cases()[:1]) * 12
    assert [len(group) for group in fold_groups(cases)] == [6, 6]
    assert fold_groups(cases[:1]) == [(cases[0],)] and fold_groups([]) == []


def test_tasks_hold_whole_groups_and_no_more_than_memory_allows():
    cases = list(some_cases()) * 30
    groups = [tuple(cases[:n]) for n in (8, 7, 7, 7, 7)]

    def sizes(groups: list[tuple[Case, ...]], workers: int) -> list[int]:
        return sorted(sum(map(len, task)) for task in bundle(groups, workers))

    assert sizes(groups, 2) == [15, 21]
    assert sizes(groups, 4) == [7, 7, 8, 14]
    assert sizes(groups, 16) == [7, 7, 7, 7, 8]
    # Where two tasks would be too large, four keep two workers as long.
    assert sizes([tuple(cases[:6])] * 10, 2) == [12, 12, 18, 18]
    most = score.TASK_BYTES // score.CASE_BYTES
    assert all(size <= most for size in sizes(groups * 4, 1))
    assert sizes([tuple(cases[:most])] * 3, 1) == [most] * 3
    assert sizes([], 2) == []
