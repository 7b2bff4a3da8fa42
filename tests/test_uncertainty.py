"""Uncertainty: the models' spread, calibration and coverage against NumPy, and sd tracks by cross-validation."""

from __future__ import annotations

import csv
import json
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from commands import call_predictd
from folders import same_files
from made_folds import FEW_SWEEPS, FEWEST_SWEEPS
from made_models import trained_for
from made_tensors import small_tensor, stored_signal
from made_tracks import read_track
from predictd.config import TrainSettings
from predictd.engine import Engine
from predictd.errors import DataError, ModelFormatError
from predictd.io.files import sha256_of, write_json
from predictd.io.tensor.store import Tensor
from predictd.model.ensemble import Committee, Ensemble
from predictd.model.folds import folds_to_json, make_folds
from predictd.model.intervals.residuals import PREDICTED_EDGES, SHAPE, ResidualCounts, Scale, Span, bins_below
from predictd.model.intervals.spread import Spread
from predictd.model.intervals.uncertainty import LEVELS, Calibration, Pool, calibrate, coverage_sums
from predictd.model.transforms import TRANSFORMS
from predictd.pairs import Experiment
from predictd.workflows.imputing.apply import SpreadApplication
from predictd.workflows.imputing.calibration import expected_scales
from predictd.workflows.imputing.estimators import load_held_out, load_model
from predictd.workflows.imputing.impute import impute, sd_name, track_name
from predictd.workflows.imputing.residuals import Counting, HeldOutResiduals, read_residuals
from predictd.workflows.tensor.folds import read_folds
from predictd.workflows.tensor.moments import TensorMoments, read_moments
from predictd.workflows.training.crossval import crossval

# Bounds of some percent are of sampling: seeds fix what is drawn, and no BLAS moves it by a thousandth.
SCALE, SPAN = Scale(mean=0.5, sd=0.8), Span(low=0.0, high=6.0)
# Tracks of these assays, all expected alike.
A, B = Experiment("c", "A"), Experiment("c", "B")
SCALES = {A: SCALE, B: SCALE}


def counted(y: np.ndarray, x: np.ndarray, s: np.ndarray, scale: Scale = SCALE) -> ResidualCounts:
    counts = ResidualCounts(scale, SPAN, clipped=False)
    half = len(y) // 2
    for part in (slice(None, half), slice(half, None)):
        counts.add(*(values[part].astype(np.float32) for values in (y, x, s)))
    return counts


# -- spread -----------------------------------------------------------------------------------------------------------


@pytest.mark.numeric
def test_spread_is_the_standard_deviation_over_members(tensor):
    ensemble = Ensemble(tuple(trained_for(tensor, seed) for seed in range(12)))
    targets = [
        tensor.experiments[0],
        Experiment(tensor.experiments[0].cell_type, tensor.experiments[-1].assay),
    ]
    imputer = ensemble.imputer(targets)
    signal = stored_signal(tensor)[:, tensor.columns(list(ensemble.train))]
    each = [model.imputer(targets)(signal) for model in ensemble.members]
    expected = np.std(np.array(each, dtype=np.float64), axis=0, ddof=1)
    found = Spread(imputer, signal)(signal)
    # Over the sample the variance is exact; bin by bin what is left out shows.
    np.testing.assert_allclose((found.astype(float) ** 2).mean(axis=0), (expected**2).mean(axis=0), rtol=1e-4)
    for one, other in zip(found.T, expected.T, strict=True):
        assert np.corrcoef(one, other)[0, 1] > 0.95
        assert np.median(np.abs(one / other - 1)) < 0.2


def test_two_members_are_exact(tensor):
    ensemble = Ensemble(tuple(trained_for(tensor, seed) for seed in range(2)))
    signal = stored_signal(tensor)[:, tensor.columns(list(ensemble.train))]
    signal[5, 2] = np.nan
    signal[6, 1:] = np.nan
    targets = tensor.experiments[:3]
    each = [model.imputer(targets)(signal) for model in ensemble.members]
    found = Spread(ensemble.imputer(targets), signal[100:300])(signal)
    expected = np.std(np.array(each, dtype=np.float64), axis=0, ddof=1)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
    assert np.isnan(found[6]).all() and np.isfinite(found[5]).all()


def test_one_model_has_no_spread(tensor):
    imputer = Ensemble((trained_for(tensor),)).imputer(tensor.experiments[:2])
    signal = stored_signal(tensor)[:50]
    assert (Spread(imputer, signal)(signal) == 0).all()


def test_nothing_is_read_for_the_spread_of_one_model(tensor, monkeypatch):
    monkeypatch.setattr("predictd.workflows.imputing.apply._sample", None)
    pairs = list(tensor.experiments[:2])
    application = SpreadApplication(Committee((trained_for(tensor),)), pairs, tensor)
    with tensor.open_shard(tensor.shard_names[0]) as shard:
        signal, predicted, spread = application.rows_with_spread(shard, 0, 50)
    assert (spread == 0).all() and spread.shape == predicted.shape
    expected = Ensemble((trained_for(tensor),)).imputer(pairs)(signal)
    np.testing.assert_allclose(predicted, expected, rtol=1e-5)


# -- counts and calibration -------------------------------------------------------------------------------------------


def test_counts_tell_how_many_residuals_are_below_a_limit():
    rng = np.random.default_rng(0)
    y, x = rng.gamma(1, 0.5, 60_000), rng.gamma(1, 0.5, 60_000)
    counts = counted(y, x, np.full(60_000, 0.1)).counts
    assert counts.sum() == 60_000
    for limit in (0.001, 0.05, 0.4, 1.3, 50.0):
        (found,) = bins_below(counts, [np.full(SHAPE[:2], limit)])
        assert found.sum() / 60_000 == pytest.approx(np.mean(np.abs(y - x) / SCALE.sd < limit), abs=0.004)


def test_bins_without_a_value_and_beyond_the_range_are_in_their_place():
    counts = ResidualCounts(SCALE, SPAN, clipped=True)
    y, x, s = np.array([[1.0, np.nan, 99.0], [-3.0, 1.0, 0.1], [0.0, 0.1, 0.1]], dtype=np.float32)
    counts.add(y, x, s)
    assert counts.counts.sum() == counts.density.sum() == 2
    # Clipped at 0, and beyond the range in the last step.
    assert counts.density[13, 0] == 1 and counts.density[79, 1] == 1


def test_calibration_finds_what_the_residuals_were_made_with():
    rng = np.random.default_rng(1)
    n = 400_000
    x, s = rng.gamma(1, 0.8, n), 0.05 * np.exp(rng.normal(0, 1, n))
    true = np.sqrt(np.square(0.2 + 0.3 * x) + 1.5 * s**2)
    y = x + true * rng.normal(size=n)
    pools = {"A": Pool(counted(y, x, s).counts, 3)}
    found = calibrate(pools, SCALES)
    assert found.weight == pytest.approx(1.5, rel=0.25)
    some = (x > 0.05) & (x < 3)
    ratio = found.sd(A, x.astype(np.float32), s.astype(np.float32)) / true
    assert np.abs(np.median(ratio[some]) - 1) < 0.03 and np.percentile(np.abs(ratio[some] - 1), 90) < 0.15
    steps = np.unique(np.searchsorted(PREDICTED_EDGES, (x[some] - SCALE.mean) / SCALE.sd, side="right"))
    for level in LEVELS:
        normal = norm.ppf(0.5 + level / 2)
        np.testing.assert_allclose(found.of("A").factors[level][steps], normal, rtol=0.08, atol=0.02)
    sums = coverage_sums(pools["A"].counts, found, "A").sum(axis=0)
    np.testing.assert_allclose(sums[4:] / sums[0], LEVELS, atol=0.01)
    assert sums[3] / sums[0] == pytest.approx(0.6827, abs=0.01)
    np.testing.assert_allclose(np.sqrt(sums[1] / n) * SCALE.sd, np.sqrt(np.mean((y - x) ** 2)), rtol=0.02)
    np.testing.assert_allclose(sums[2], sums[1], rtol=0.02)
    # An assay that nothing was held out of has the common level.
    np.testing.assert_allclose(
        found.sd(B, x.astype(np.float32), s.astype(np.float32)) / true, ratio, rtol=0.1
    )
    again = Calibration.from_json(json.loads(json.dumps(found.to_json())))
    assert again.to_json() == found.to_json()


def test_an_assay_is_drawn_towards_all():
    rng = np.random.default_rng(2)
    x, s = rng.gamma(1, 0.8, 50_000), np.zeros(50_000)
    small, large = (counted(x + f * rng.normal(size=x.size), x, s).counts for f in (0.1, 1.0))
    found = calibrate({"A": Pool(small, 1), "B": Pool(20 * large, 20)}, SCALES)
    one = np.ones(1, dtype=np.float32)
    a, b = (float(found.sd(pair, one, 0 * one)[0]) for pair in (A, B))
    # One experiment against the weight of four of all: (0.1² + 4·(0.1² + 20·1²)/21) / 5.
    assert a == pytest.approx(np.sqrt((0.01 + 4 * (0.01 + 20) / 21) / 5), rel=0.05)
    assert b == pytest.approx(1.0, rel=0.05)


def test_factors_follow_the_shape_of_errors_and_hold_far_in_the_tail():
    # In the background errors are nearly 0 but for rare peaks; at strong signal they are even; few bins are stronger.
    rng = np.random.default_rng(3)
    n = 200_000
    x = np.concatenate([np.full(n, 0.1), rng.uniform(4, 12, 20_000), np.full(20, 40.0)])
    rare = rng.uniform(size=n) < 0.01
    errors = np.concatenate([np.where(rare, 5, 0.01 * rng.normal(size=n)), rng.uniform(-4, 4, 20_020)])
    counts = counted(x + errors, x, 0 * x).counts
    found = calibrate({"A": Pool(counts, 1)}, SCALES)
    sums = coverage_sums(counts, found, "A")
    many = sums[:, 0] > 1000
    held = sums[many, 4:] / sums[many, :1]
    assert len(held) > 4
    np.testing.assert_allclose(held, [LEVELS] * len(held), atol=0.03)
    (few,) = sums[sums[:, 0] == 20]
    assert few[4 + LEVELS.index(0.95)] > 16
    quiet, strong, strongest = (
        found.of("A").factors[0.95][np.searchsorted(PREDICTED_EDGES, (at - SCALE.mean) / SCALE.sd)]
        for at in (0.1, 8, 40)
    )
    # Of a uniform error 95 % lie within 0.95 √3 of its standard deviation.
    assert quiet < 0.1 and strong == pytest.approx(0.95 * np.sqrt(3), rel=0.05)
    assert strongest == pytest.approx(strong, rel=0.15)


def test_factors_are_those_of_the_assay_where_it_has_many_experiments():
    # Uniform and normal errors of one size: 95 % lie within 0.95 √3 and within 1.96 of their standard deviation.
    rng = np.random.default_rng(4)
    x = rng.uniform(1, 3, 100_000)
    even, normal = (
        counted(x + e, x, 0 * x).counts for e in (rng.uniform(-1, 1, x.size), rng.normal(0, 0.58, x.size))
    )
    found = calibrate({"A": Pool(60 * even, 60), "B": Pool(60 * normal, 60), "C": Pool(normal, 1)}, SCALES)
    step = np.searchsorted(PREDICTED_EDGES, (2 - SCALE.mean) / SCALE.sd)
    a, b, c, d = (found.of(assay).factors[0.95][step] for assay in "ABCD")
    assert a == pytest.approx(0.95 * np.sqrt(3), rel=0.03) and b == pytest.approx(1.96, rel=0.03)
    # One experiment is drawn to all; an assay without one is as all are.
    assert a < d < c < b


def test_intervals_of_an_assay_without_held_out_experiments_hold_as_in_all():
    """Its level is that of all, with the differences between assays in it, and so are its factors."""
    rng = np.random.default_rng(6)
    x = rng.uniform(1, 3, 100_000)
    pools = {
        assay: Pool(2 * counted(x + size * rng.normal(size=x.size), x, 0 * x).counts, 2)
        for assay, size in (("A", 0.1), ("B", 1.0))
    }
    found = calibrate(pools, SCALES)
    sums = coverage_sums(pools["A"].counts + pools["B"].counts, found, "C").sum(axis=0)
    np.testing.assert_allclose(sums[4:] / sums[0], LEVELS, atol=0.02)


def test_nothing_to_calibrate_on():
    with pytest.raises(DataError, match="no held-out experiments"):
        calibrate({}, {A: SCALE})
    with pytest.raises(DataError, match="hardly any bins"):
        calibrate({"A": Pool(np.zeros(SHAPE, dtype=np.int64), 1)}, {A: SCALE})


@pytest.mark.parametrize("name", sorted(TRANSFORMS))
def test_slopes_are_derivatives(name):
    transform = TRANSFORMS[name]
    x = np.linspace(0.1, 4, 20)
    numeric = (transform.inverse(x + 1e-5) - transform.inverse(x - 1e-5)) / 2e-5
    np.testing.assert_allclose(transform.slope(x), numeric, rtol=1e-6)


# -- in units that other tracks tell ----------------------------------------------------------------------------------


def test_a_track_is_no_part_of_what_is_expected_of_it(tensor):
    signal = np.column_stack([stored_signal(tensor), np.ones(tensor.n_bins)]).astype(np.float64)
    experiments = tensor.experiments
    judged, known = experiments[:3], experiments[3:]
    expected = expected_scales(TensorMoments(signal.T @ signal, experiments), known, experiments)
    sds = signal[:, :-1].std(axis=0)
    for pair, sd in zip(experiments, sds, strict=True):
        assert expected[pair].sd == pytest.approx(sd, rel=0.6 if pair in judged else 0.15)
    signal[:, :3] = 7 * signal[:, 2::-1] - 2
    moments = TensorMoments(signal.T @ signal, experiments)
    assert expected_scales(moments, known, experiments) == expected
    assert expected_scales(moments, experiments, judged) != {pair: expected[pair] for pair in judged}


def test_an_assay_without_another_track_has_a_scale(tensor):
    signal = np.column_stack([stored_signal(tensor), np.ones(tensor.n_bins)]).astype(np.float64)
    known = [pair for pair in tensor.experiments if pair.assay != tensor.experiments[0].assay]
    moments = TensorMoments(signal.T @ signal, tensor.experiments)
    (found,) = expected_scales(moments, known, tensor.experiments[:1]).values()
    sds = signal[:, [e in known for e in (*tensor.experiments, None)]].std(axis=0)
    assert sds.min() <= found.sd <= sds.max() and np.isfinite(found.mean)


# -- by cross-validation ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cv(tmp_path_factory: pytest.TempPathFactory, engine: Engine, tensor_path: Path) -> Path:
    """3 × 3 folds. Read only."""
    folder = tmp_path_factory.mktemp("cv")
    write_json(
        folder / "folds.json", folds_to_json(make_folds(Tensor(tensor_path).experiments, tests=3, valids=3))
    )
    settings = TrainSettings(rank=3, regularisation=0.1, als=FEW_SWEEPS)
    crossval(tensor_path, folder / "cv", settings, engine, folds=folder / "folds.json")
    return folder / "cv"


@pytest.fixture(scope="module")
def imputed(tmp_path_factory: pytest.TempPathFactory, engine: Engine, tensor_path: Path, cv: Path) -> Path:
    path = tmp_path_factory.mktemp("sd") / "imputed"
    impute(cv, tensor_path, path, engine, pairs="all", sd=True)
    return path


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_the_calibration_is_an_input(cv, imputed, tensor):
    inputs = json.loads((imputed / "run.json").read_text())["inputs"]
    assert sorted(inputs) == sorted(map(str, (cv, cv / "uncertainty.json", tensor.path)))
    assert inputs[str(cv / "uncertainty.json")] == sha256_of(cv / "uncertainty.json")


def test_sd_tracks_hold_spread_and_level(cv, imputed, tensor):
    calibration = Calibration.from_json(json.loads((cv / "uncertainty.json").read_text()))
    cells, assays = ({e[i] for e in tensor.experiments} for i in (0, 1))
    missing = min(set(map(Experiment._make, product(cells, assays))) - set(tensor.experiments))
    for pair, n_models in ((missing, 9), (tensor.experiments[2], 3)):
        committee = load_held_out(cv, [pair])
        members = [committee.members[i] for i in committee.held_out.get(pair, range(len(committee.members)))]
        assert len(members) == n_models
        blocks = []
        for name in tensor.shard_names:
            with tensor.open_shard(name) as shard:
                each = SpreadApplication(committee, [pair], tensor).blocks_with_spread(shard)
                blocks += [(predicted[:, 0], spread[:, 0]) for _, _, predicted, spread in each]
        mean, spread = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
        x = np.maximum(mean, 0).astype(np.float32)
        expected = np.cosh(x) * calibration.sd(pair, x, spread)
        found = read_track(imputed / sd_name(pair), tensor)
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)


def test_residuals_are_of_every_fourth_bin_of_some_shards_however_they_come(
    cv, tensor, tmp_path, monkeypatch
):
    monkeypatch.setattr("predictd.workflows.imputing.residuals._MANY_BINS", 0)
    monkeypatch.setattr("predictd.workflows.imputing.residuals._MOST_BINS", tensor.n_bins // 2)
    pairs = next(iter(read_folds(cv / "folds.json", tensor).values())).test[:3]
    application = SpreadApplication(load_held_out(cv, pairs), pairs, tensor)
    scales = expected_scales(read_moments(tensor.path / "moments.h5"), tensor.experiments, pairs)
    spans = {pair.assay: SPAN for pair in pairs}
    files = {tmp_path / "a.h5": pairs[1:], tmp_path / "b.h5": (pairs[0],), tmp_path / "others.h5": (A,)}
    residuals = HeldOutResiduals(application, pairs, tensor, Counting(spans, scales, files))
    expected = {pair: ResidualCounts(scales[pair], SPAN, clipped=True) for pair in pairs}
    columns = tensor.columns(pairs)
    assert len(tensor.shard_names) > 3
    for number, name in enumerate(tensor.shard_names):
        with tensor.open_shard(name) as shard:
            for start, rows, predicted in application.row_blocks(shard):
                for low, high in pairwise(range(0, rows.shape[1] + 37, 37)):
                    residuals.add(shard, start + low, rows[:, low:high], predicted[:, low:high])
            if number % 2:
                signal, predicted, spread = application.rows_with_spread(shard, 0, shard.n_bins)
                for index, (pair, column) in enumerate(zip(pairs, columns, strict=True)):
                    parts = signal[::4, column], predicted[::4, index], spread[::4, index]
                    expected[pair].add(*parts)
    residuals.write()
    assert not (tmp_path / "others.h5").exists()
    found = read_residuals([("0", tmp_path / "a.h5"), ("1", tmp_path / "b.h5")])
    assert found.fold == {pairs[1]: "0", pairs[2]: "0", pairs[0]: "1"}
    assert found.scales == {pair: pytest.approx(scales[pair]) for pair in pairs}
    for pair in pairs:
        assert found.counts[pair].sum() == pytest.approx(tensor.n_bins / 8, rel=0.1)
        # A value at a border may fall on either side of it: predictions of blocks differ in their last bits.
        assert np.abs(found.counts[pair] - expected[pair].counts).sum() <= 4


def test_held_out_tracks_have_scales_that_the_other_folds_tell(cv, tensor):
    scales = Calibration.from_json(json.loads((cv / "uncertainty.json").read_text())).scales
    moments = read_moments(tensor.path / "moments.h5")
    folds = {fold.owner: fold.whole() for fold in read_folds(cv / "folds.json", tensor).values()}
    assert len(folds) == 3
    for fold in folds.values():
        for pair, scale in expected_scales(moments, fold.train, fold.test).items():
            assert scales[pair] == pytest.approx(scale, rel=1e-9)
    never = set(scales) - set(tensor.experiments)
    assert never
    for pair, scale in expected_scales(moments, tensor.experiments, never).items():
        assert scales[pair] == pytest.approx(scale, rel=1e-9)


def test_intervals_hold(cv, imputed, tensor):
    calibration = Calibration.from_json(json.loads((cv / "uncertainty.json").read_text()))
    signal = stored_signal(tensor)
    held = []
    for column, pair in enumerate(tensor.experiments):
        track, sd = (read_track(imputed / name(pair), tensor) for name in (track_name, sd_name))
        # Back in the transformed space, as the documentation says.
        x, s = np.arcsinh(track), sd / np.sqrt(1 + track**2)
        scale = calibration.scales[pair]
        step = np.searchsorted(PREDICTED_EDGES, (x - scale.mean) / scale.sd, side="right")
        factors = calibration.of(pair.assay).factors.values()
        held.append([np.mean(np.abs(signal[:, column] - x) <= own[step] * s) for own in factors])
    np.testing.assert_allclose(np.mean(held, axis=0), LEVELS, atol=0.03)
    rows = table(cv / "coverage.tsv")
    assert [(row["cell_type"], row["assay"]) for row in rows] == sorted(tensor.experiments)
    assert {row["fold"] for row in rows} == {"0", "1", "2"}
    judged = np.array([[float(row[f"within_{100 * level:g}"]) for level in LEVELS] for row in rows])
    # Judged by the other folds: near, not the same.
    np.testing.assert_allclose(judged.mean(axis=0), np.mean(held, axis=0), atol=0.05)
    by_pair = {Experiment(r["cell_type"], r["assay"]): float(r["rmse"]) for r in rows}
    for row in table(cv / "metrics.tsv"):
        if row["method"] == "model":
            mse = by_pair[Experiment(row["cell_type"], row["assay"])] ** 2
            assert mse == pytest.approx(float(row["MSEglobal"]), rel=0.05)


def test_tracks_are_listed_with_their_sd_and_intervals(cv, imputed, tensor):
    rows = table(imputed / "tracks.tsv")
    assert len(rows) == 24
    assert all(row["sd_path"] == row["path"].removesuffix(".bw") + ".sd.bw" for row in rows)
    assert all((imputed / row["sd_path"]).is_file() for row in rows)
    calibration = Calibration.from_json(json.loads((cv / "uncertainty.json").read_text()))
    intervals = table(imputed / "intervals.tsv")
    steps = len(PREDICTED_EDGES) + 1
    assert [row["assay"] for row in intervals[::steps]] == sorted({e.assay for e in tensor.experiments})
    for row, step in zip(intervals, [*range(steps)] * (len(intervals) // steps), strict=True):
        factors = [own[step] for own in calibration.of(row["assay"]).factors.values()]
        assert [float(row[f"factor_{100 * level:g}"]) for level in LEVELS] == pytest.approx(factors, rel=1e-5)
        assert float(row["predicted_to"]) == pytest.approx([*PREDICTED_EDGES, np.inf][step], rel=1e-5)
    for row in rows:
        scale = calibration.scales[Experiment(row["cell_type"], row["assay"])]
        assert (float(row["signal_mean"]), float(row["signal_sd"])) == pytest.approx(scale, rel=1e-5)


def test_tracks_are_those_without_sd(cv, imputed, tensor, engine, tmp_path):
    pair = tensor.experiments[0]
    impute(cv, tensor.path, tmp_path / "out", engine, pairs=str(pair))
    track, plain = (read_track(path / track_name(pair), tensor) for path in (imputed, tmp_path / "out"))
    np.testing.assert_allclose(track, plain, rtol=1e-5, atol=1e-6)
    assert not (tmp_path / "out" / sd_name(pair)).exists()


def test_other_workers_give_the_same_bytes(cv, imputed, tensor, tmp_path):
    arguments = [
        "impute",
        cv,
        tensor.path,
        "-o",
        tmp_path / "out",
        "--pairs",
        "all",
        "--sd",
        "--workers",
        "1",
        "--quiet",
    ]
    done = call_predictd(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(same_files(imputed, tmp_path / "out")) == 2 * 24 + 3


def test_a_single_model_is_refused(model_path, tensor, engine, tmp_path):
    with pytest.raises(ModelFormatError, match="is a single model, which has no error estimates"):
        impute(model_path, tensor.path, tmp_path / "out", engine, sd=True)
    assert load_model(model_path) and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "uncertainty.json does not exist"),
        ("{", "uncertainty.json is damaged or foreign"),
        ('{"format": "x", "version": 1}', "it is no predictd-uncertainty"),
        (
            '{"format": "predictd-uncertainty", "version": 1}',
            r"another version of predictd \(format 1, this one reads 2\); run 'predictd cv' into another directory",
        ),
    ],
)
def test_a_calibration_that_cannot_be_read(cv, tensor, engine, tmp_path, content, told):
    copy = tmp_path / "cv"
    copy.mkdir()
    for name in ("folds.json", "models", "metrics.tsv"):
        (copy / name).symlink_to(cv / name)
    if content is not None:
        (copy / "uncertainty.json").write_text(content)
    with pytest.raises(ModelFormatError, match=told):
        impute(copy, tensor.path, tmp_path / "out", engine, sd=True)


def test_a_single_test_fold_is_judged_experiment_by_experiment(engine, tensor, tmp_path):
    folds = [fold for fold in make_folds(tensor.experiments, tests=3, valids=2) if fold.name.startswith("0.")]
    write_json(tmp_path / "folds.json", folds_to_json(folds))
    settings = TrainSettings(rank=2, regularisation=0.1, als=FEWEST_SWEEPS)
    crossval(tensor.path, tmp_path / "cv", settings, engine, folds=tmp_path / "folds.json")
    rows = table(tmp_path / "cv" / "coverage.tsv")
    assert len(rows) == len(folds[0].test) > 1
    assert all(0.5 < float(row["within_95"]) <= 1 for row in rows)


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory, single: Engine) -> dict[tuple[str, float], Path]:
    """Cross-validations of tracks with means of 0 and of -4, by transform and mean. Read only."""
    rng = np.random.default_rng(5)
    pairs = [Experiment(f"C{i}", f"A{j}") for i in range(4) for j in range(3)]
    base = rng.normal(0, 1, (1000, 1)) * rng.uniform(0.7, 1.3, 12) + rng.normal(0, 0.3, (1000, 12))
    made = {}
    for transform, mean in (("none", 0.0), ("none", -4.0), ("logit", -4.0)):
        folder = tmp_path_factory.mktemp("far")
        tensor = small_tensor(folder / "tensor", base + mean, experiments=pairs)
        entries = tuple(e.model_copy(update={"transform": transform}) for e in tensor.manifest.experiments)
        tensor.manifest.model_copy(update={"experiments": entries}).write(tensor.path)
        write_json(folder / "folds.json", folds_to_json(make_folds(pairs, tests=2, valids=2)))
        settings = TrainSettings(rank=1, regularisation=0.1, als=FEWEST_SWEEPS)
        crossval(tensor.path, folder / "cv", settings, single, folds=folder / "folds.json")
        impute(folder / "cv", tensor.path, folder / "imputed", single, pairs="observed", sd=True)
        made[transform, mean] = folder
    return made


def test_signal_below_zero_is_judged_as_any_other(far):
    of = {key: table(folder / "cv" / "coverage.tsv") for key, folder in far.items()}
    assert of["logit", -4.0] == of["none", -4.0]
    columns = ("rmse", "sd", "within_95")
    higher, lower = (
        np.array([[float(row[name]) for name in columns] for row in of["none", mean]]) for mean in (0.0, -4.0)
    )
    np.testing.assert_allclose(lower, higher, rtol=0.05)
    assert (lower[:, 0] < 1).all() and lower[:, 2].mean() > 0.9


@pytest.mark.parametrize("transform", ["none", "logit"])
def test_deviations_of_signal_below_zero(far, transform):
    sds = []
    for key in (("none", 0.0), (transform, -4.0)):
        tensor, own = Tensor(far[key] / "tensor"), TRANSFORMS[key[0]]
        for pair in tensor.experiments:
            track, sd = (
                read_track(far[key] / "imputed" / name(pair), tensor) for name in (track_name, sd_name)
            )
            x = own.forward(track.astype(np.float64))
            assert np.median(x) == pytest.approx(key[1], abs=0.3)
            sds.append(sd / own.slope(x))
    half = len(sds) // 2
    np.testing.assert_allclose(np.median(sds[half:], axis=1), np.median(sds[:half], axis=1), rtol=0.1)
