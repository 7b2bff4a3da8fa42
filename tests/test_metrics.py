"""Measures against SciPy, scikit-learn and cases worked by hand."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from predictd.constants import MEASURES, METRIC_KEYS
from predictd.errors import DataError
from predictd.model import metrics


def track_pair(n: int = 5000, *, decimals: int | None = 1, dtype: str = "float32", seed: int = 0):
    """Two skewed, correlated tracks, rounded so that there are many ties."""
    rng = np.random.default_rng(seed)
    shared = rng.standard_exponential(n)
    pair = [np.arcsinh(shared * rng.gamma(4, 0.25, n)) for _ in range(2)]
    if decimals is not None:
        pair = [p.round(decimals) for p in pair]
    return tuple(p.astype(dtype) for p in pair)


def top(values: np.ndarray, size: int) -> np.ndarray:
    """The mask of the largest values: by value descending, then position ascending."""
    mask = np.zeros(values.size, dtype=bool)
    mask[np.lexsort((np.arange(values.size), -values))[:size]] = True
    return mask


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("decimals", [1, None])
def test_all_measures_against_scipy_and_sklearn(dtype, decimals):
    y, x = track_pair(dtype=dtype, decimals=decimals)
    rng = np.random.default_rng(1)
    masks = {name: rng.random(y.size) < 0.1 for name in ("peaks", "promoters", "genes", "enhancers")}
    got = metrics.evaluate_track(y, x, inverse=np.sinh, **masks)
    y, x = y.astype(float), x.astype(float)
    y1, x1, y5, x5 = top(y, 50), top(x, 50), top(y, 250), top(x, 250)
    error = (y - x) ** 2
    expected = {
        "MSEglobal": error.mean(),
        "MSE1obs": error[y1].mean(),
        "MSE1imp": error[x1].mean(),
        "GWcorrasinh": stats.pearsonr(y, x).statistic,
        "GWcorr": stats.pearsonr(np.sinh(y), np.sinh(x)).statistic,
        "GWspear": stats.spearmanr(y, x).statistic,
        "Match1": (y1 & x1).sum() / 50,
        "Catch1obs": (y1 & x5).sum() / 50,
        "Catch1imp": (x1 & y5).sum() / 50,
        "AucObs1": roc_auc_score(y1, x),
        "AucImp1": roc_auc_score(x1, y),
        "CatchPeakObs": roc_auc_score(masks["peaks"], x),
        "MSEprom": error[masks["promoters"]].mean(),
        "MSEgene": error[masks["genes"]].mean(),
        "MSEenh": error[masks["enhancers"]].mean(),
    }
    assert list(got) == list(MEASURES)
    assert all(type(value) is float for value in got.values())
    assert got == pytest.approx(expected, rel=1e-11)


def test_hand_worked():
    # Ten bins: the top 1 % and the top 5 % are one bin each. The observed maximum is shared by bins 2 and 5:
    # bin 2 counts. The imputed maximum is bin 5.
    y = np.array([0, 1, 3, 0, 0, 3, 1, 0, 0, 0], dtype=float)
    x = np.array([0, 1, 2, 0, 1, 4, 0, 0, 0, 0], dtype=float)
    got = metrics.evaluate_track(y, x, inverse=np.sinh, peaks=y >= 3)
    assert got["MSEglobal"] == pytest.approx(4 / 10)
    assert got["MSE1obs"] == 1 and got["MSE1imp"] == 1
    assert got["Match1"] == got["Catch1obs"] == got["Catch1imp"] == 0
    # Imputed: 8 of the 9 other bins are below bin 2's.
    assert got["AucObs1"] == pytest.approx(8 / 9)
    # Observed: 8 of the 9 other bins are below bin 5's, and one is equal.
    assert got["AucImp1"] == pytest.approx(8.5 / 9)
    assert got["CatchPeakObs"] == 1
    assert math.isnan(got["MSEprom"]) and math.isnan(got["MSEgene"]) and math.isnan(got["MSEenh"])


def test_top_ties_go_to_the_start():
    values = np.array([1, 2, 2, 0, 2, 3, 2], dtype=np.float32)
    assert np.flatnonzero(metrics._top(values, 3)).tolist() == [1, 2, 5]
    assert metrics._top(values, 7).all()
    constant = np.zeros(300)
    assert np.flatnonzero(metrics._top(constant, 3)).tolist() == [0, 1, 2]


@pytest.mark.parametrize("n", [1, 2, 7, 1000])
def test_ranks(n):
    rng = np.random.default_rng(n)
    for values in (rng.integers(0, 5, n), rng.standard_normal(n), np.zeros(n)):
        assert np.array_equal(metrics._twice_ranks(values), 2 * stats.rankdata(values))


def test_negative_values_count_as_zero():
    y, x = track_pair(500, decimals=None)
    moved = metrics.evaluate_track(y - 0.3, x - 0.3, inverse=np.sinh)
    clipped = metrics.evaluate_track(np.maximum(y - 0.3, 0), np.maximum(x - 0.3, 0), inverse=np.sinh)
    assert moved == pytest.approx(clipped, rel=1e-12, nan_ok=True)


def test_only_bins_with_both_values_count():
    y, x = track_pair(600)
    peaks = np.arange(600) % 7 == 0
    holes_y, holes_x = y.copy(), x.copy()
    holes_y[5:50] = np.nan
    holes_x[40:100] = np.inf
    kept = np.r_[0:5, 100:600]
    got = metrics.evaluate_track(holes_y, holes_x, inverse=np.sinh, peaks=peaks, genes=peaks)
    expected = metrics.evaluate_track(y[kept], x[kept], inverse=np.sinh, peaks=peaks[kept], genes=peaks[kept])
    assert got == pytest.approx(expected, rel=1e-12, nan_ok=True)
    assert np.isnan(holes_y).sum() == 45, "the input is left as it was"


def test_what_is_not_defined_is_nan():
    y, x = track_pair(400)
    nothing = np.zeros(400, dtype=bool)
    got = metrics.evaluate_track(np.full(400, 0.1), x, inverse=np.sinh, peaks=nothing, promoters=nothing)
    assert all(
        math.isnan(got[name]) for name in ("GWcorrasinh", "GWcorr", "GWspear", "CatchPeakObs", "MSEprom")
    )
    # Ranking by a constant is no better than chance.
    assert got["AucImp1"] == 0.5
    assert math.isnan(metrics.evaluate_track(y, x, inverse=np.sinh, peaks=~nothing)["CatchPeakObs"])
    single = metrics.evaluate_track(y[:1], x[:1], inverse=np.sinh)
    assert math.isnan(single["AucObs1"]) and single["Match1"] == 1


def test_perfect_imputation():
    y, _ = track_pair(1000)
    got = metrics.evaluate_track(y, y, inverse=np.sinh)
    assert got["MSEglobal"] == got["MSE1obs"] == 0
    assert got["Match1"] == got["Catch1obs"] == got["Catch1imp"] == 1
    assert got["GWcorr"] == pytest.approx(1) and got["GWspear"] == pytest.approx(1)


def test_blocks_do_not_matter(monkeypatch):
    y, x = track_pair(1000)
    mask = np.arange(1000) % 3 == 0
    whole = metrics.evaluate_track(y, x, inverse=np.sinh, genes=mask)
    monkeypatch.setattr(metrics, "_BLOCK", 37)
    assert metrics.evaluate_track(y, x, inverse=np.sinh, genes=mask) == pytest.approx(whole, nan_ok=True)


def test_half_precision_input():
    y, x = (t.astype(np.float16) for t in track_pair(1000))
    got = metrics.evaluate_track(y, x, inverse=np.sinh)
    expected = metrics.evaluate_track(y.astype(float), x.astype(float), inverse=np.sinh)
    assert got == pytest.approx(expected, rel=1e-12, nan_ok=True)


def test_memory_per_bin(monkeypatch):
    y, x = track_pair(400_000, decimals=None)
    monkeypatch.setattr(metrics, "_BLOCK", 1024)
    tracemalloc.start()
    metrics.evaluate_track(y, x, inverse=np.sinh)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # As documented, and a little for the blocks in float64, which do not grow with the track.
    assert peak < 25 * y.size + 100_000


@pytest.mark.parametrize(
    ("y", "x", "options", "message"),
    [
        (np.zeros(3), np.zeros(4), {}, r"observed \(3,\) and imputed \(4,\)"),
        (np.zeros((3, 2)), np.zeros((3, 2)), {}, "single tracks"),
        (np.zeros(3), np.full(3, np.nan), {}, "no bin has a value in both"),
        (np.zeros(0), np.zeros(0), {}, "no bin has a value in both"),
        (np.zeros(3), np.zeros(3), {"genes": np.zeros(2, dtype=bool)}, "genes: one bool for each of the 3"),
        (np.zeros(3), np.zeros(3), {"peaks": np.zeros(3)}, "peaks: one bool"),
    ],
)
def test_input_that_does_not_fit(y, x, options, message):
    with pytest.raises(DataError, match=message):
        metrics.evaluate_track(y, x, inverse=np.sinh, **options)


def row(cell: str, fold: str, method: str, value: float) -> dict[str, str | float]:
    keys = dict(zip(METRIC_KEYS, (cell, "A", fold, method), strict=True))
    return {**keys, **dict.fromkeys(MEASURES, value)}


def test_metrics_tsv():
    rows = [row("B", "0", "model", 1 / 3), row("A", "1", "model", -0.0), row("A", "0", "model", math.nan)]
    rows.append(row("A", "0", "assay_mean", 123456789.0))
    text = metrics.metrics_tsv(rows)
    assert text == metrics.metrics_tsv(reversed(rows))
    lines = [line.split("\t") for line in text.split("\n")]
    assert lines[0] == ["cell_type", "assay", "fold", "method", *MEASURES]
    assert [line[:5] for line in lines[1:-1]] == [
        ["A", "A", "0", "assay_mean", "1.23457e+08"],
        ["A", "A", "0", "model", "nan"],
        ["A", "A", "1", "model", "0"],
        ["B", "A", "0", "model", "0.333333"],
    ]
    assert lines[-1] == [""]
    assert metrics.metrics_tsv([]) == "\t".join((*METRIC_KEYS, *MEASURES)) + "\n"


def test_metrics_tsv_refuses_wrong_rows():
    with pytest.raises(DataError, match="two rows of metrics for A A 0 model"):
        metrics.metrics_tsv([row("A", "0", "model", 1), row("A", "0", "model", 2)])
    with pytest.raises(DataError, match="other columns than expected: MSEglobal"):
        metrics.metrics_tsv([{k: v for k, v in row("A", "0", "model", 1).items() if k != "MSEglobal"}])
