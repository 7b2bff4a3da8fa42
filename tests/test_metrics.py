"""Measures against SciPy, scikit-learn and cases worked by hand."""

from __future__ import annotations

import itertools
import math
import tracemalloc
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score, roc_auc_score

from predictd.constants import CHALLENGE_MEASURES, MEASURES, METRIC_COUNTS, METRIC_KEYS
from predictd.errors import DataError
from predictd.io.results import write_metrics
from predictd.model.measures import metrics
from predictd.model.measures.ranks import N_KEYS, rank_keys
from predictd.model.transforms import TRANSFORMS, SignalTransform

pytestmark = pytest.mark.numeric


ARCSINH = TRANSFORMS["arcsinh"]


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


def rounded(values: np.ndarray, digits: int = 13) -> np.ndarray:
    """Values to so many significant binary digits: as far as ranks tell them apart."""
    mantissa, exponent = np.frexp(values)
    nearest = np.sign(mantissa) * np.floor(abs(mantissa) * 2**digits + 0.5)
    return np.ldexp(nearest / 2**digits, exponent).astype(values.dtype)


def plain_measures(
    y: np.ndarray,
    x: np.ndarray,
    weights: Mapping[str, np.ndarray],
    transform: SignalTransform = ARCSINH,
) -> dict[str, float]:
    """All measures from their definitions, of values as they are."""
    y, x = y.astype(float), x.astype(float)
    n1, n5 = max(1, y.size // 100), max(1, y.size // 20)
    y1, x1, y5, x5 = top(y, n1), top(x, n1), top(y, n5), top(x, n5)
    error = (y - x) ** 2
    return {
        "MSEglobal": error.mean(),
        "MSE1obs": error[y1].mean(),
        "MSE1imp": error[x1].mean(),
        "GWcorrasinh": stats.pearsonr(y, x).statistic,
        "GWcorr": stats.pearsonr(transform.inverse(y), transform.inverse(x)).statistic,
        "GWspear": stats.spearmanr(y, x).statistic,
        "Match1": (y1 & x1).sum() / n1,
        "Catch1obs": (y1 & x5).sum() / n1,
        "Catch1imp": (x1 & y5).sum() / n1,
        "AucObs1": roc_auc_score(y1, x),
        "AucImp1": roc_auc_score(x1, y),
        "AuprObs1": average_precision_score(y1, x),
        "AuprImp1": average_precision_score(x1, y),
        "CatchPeakObs": roc_auc_score(weights["peaks"], x),
        "AuprPeakObs": average_precision_score(weights["peaks"], x),
        "MSEprom": error[weights["promoters"]].mean(),
        "MSEgene": error[weights["genes"]].mean(),
        "MSEenh": error[weights["enhancers"]].mean(),
        "MSEvar": np.average(error, weights=weights["variance"]),
    }


def challenge_measures(y: np.ndarray, x: np.ndarray, weights: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The challenge's measures of signal in the unit of the track; regions count how many intervals hold a bin."""
    y, x = y.astype(float), x.astype(float)
    n1 = max(1, y.size // 100)
    error = (y - x) ** 2
    return {
        "mse": error.mean(),
        "gwcorr": stats.pearsonr(y, x).statistic,
        "gwspear": stats.spearmanr(y, x).statistic,
        "mseprom": np.repeat(error, weights["promoters"]).mean(),
        "msegene": np.repeat(error, weights["genes"]).mean(),
        "mseenh": np.repeat(error, weights["enhancers"]).mean(),
        "msevar": np.average(error, weights=weights["variance"]),
        "mse1obs": error[y >= np.sort(y)[-n1]].mean(),
        "mse1imp": error[x >= np.sort(x)[-n1]].mean(),
    }


def some_weights(n: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    masks = {name: rng.random(n) < 0.1 for name in ("peaks", "promoters", "genes", "enhancers")}
    return {**masks, "variance": rng.standard_exponential(n).astype(np.float32)}


def signal_pair(kind: str, n: int = 5000) -> tuple[np.ndarray, np.ndarray]:
    """Two correlated tracks in the space of a transform, with ties; what can be negative is so in half the bins."""
    y, x = track_pair(n)
    if kind == "log1p":
        return y, x
    if kind == "arcsinh":
        return np.where(y < 0.7, 0, y), np.where(x < 0.7, 0, x)
    y, x = y - np.median(y), x - np.median(x)
    if kind == "none":
        return y, x
    # Fractions of methylation, exactly 0 and 1 among them.
    first, second = (TRANSFORMS["logit"].forward(np.clip(t / 2 + 0.4, 0, 1)) for t in (y, x))
    return first, second


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("kind", list(TRANSFORMS))
def test_all_measures_of_each_transform_against_scipy_and_sklearn(kind, gaps):
    transform = TRANSFORMS[kind]
    y, x = (rounded(t.astype(np.float32), 13 if transform.clipped else 12) for t in signal_pair(kind))
    weights = some_weights(y.size)
    assert transform.clipped or min((y < 0).mean(), (x < 0).mean()) > 0.3
    kept = np.ones(y.size, dtype=bool)
    if gaps:
        y[20:300], x[250:700] = np.nan, np.nan
        kept[20:700] = False
    got = metrics.evaluate_track(y, x, transform=transform, weights=weights)
    own = {name: values[kept] for name, values in weights.items()}
    assert got == pytest.approx(plain_measures(y[kept], x[kept], own, transform), rel=1e-9)


@pytest.mark.parametrize("kind", list(TRANSFORMS))
def test_the_challenges_measures_from_their_definitions(kind):
    transform = TRANSFORMS[kind]
    y, x = signal_pair(kind)
    rng = np.random.default_rng(3)
    regions = {name: rng.integers(0, 4, y.size) for name in ("promoters", "genes", "enhancers")}
    weights = some_weights(y.size) | regions
    got = metrics.evaluate_track(y, x, transform=transform, challenge=True, weights=weights)
    assert list(got) == list(CHALLENGE_MEASURES)
    # Values of one key are tied: of these tracks no two that differ have the same.
    raw = [transform.inverse(t) for t in (y, x)]
    for track in raw:
        keys = rank_keys(track, signed=not transform.clipped)
        assert np.unique(keys).size == np.unique(track).size
    assert got == pytest.approx(challenge_measures(*raw, weights), rel=1e-6)


def test_a_permuted_methylation_track_is_not_perfect():
    # Mostly unmethylated, so that nearly all transformed values are negative.
    rng = np.random.default_rng(0)
    y = TRANSFORMS["logit"].forward(np.clip(rng.beta(0.5, 8, 20_000), 0, 1).astype(np.float32))
    got = metrics.evaluate_track(y, rng.permutation(y), transform=TRANSFORMS["logit"])
    assert got["MSEglobal"] == pytest.approx(2 * y.var(dtype=float), rel=0.05)
    assert abs(got["GWcorrasinh"]) < 0.03


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("decimals", [1, None])
@pytest.mark.parametrize("floor", [0.0, 0.7])
def test_all_measures_against_scipy_and_sklearn(dtype, decimals, floor):
    # With a floor more than half of the bins are 0.
    y, x = (rounded(np.where(t < floor, 0, t)) for t in track_pair(dtype=dtype, decimals=decimals))
    weights = some_weights(y.size)
    got = metrics.evaluate_track(y, x, transform=ARCSINH, weights=weights)
    assert list(got) == list(MEASURES)
    assert all(type(value) is float for value in got.values())
    assert got == pytest.approx(plain_measures(y, x, weights), rel=1e-12)


def test_rounding_of_ranks_hardly_shows():
    # About 32,000 keys of 200,000 values that all differ.
    y, x = track_pair(200_000, decimals=None)
    masks = some_weights(y.size)
    got = metrics.evaluate_track(y, x, transform=ARCSINH, weights=masks)
    expected = plain_measures(y, x, masks)
    for name in ("MSEglobal", "GWcorrasinh", "GWcorr", "MSEprom", "MSEgene", "MSEenh"):
        assert got[name] == pytest.approx(expected[name], rel=1e-11)
    # Averaging ranks within keys takes the share s = Σ(c/n)³ out of a track's variance of ranks, c bins having a key;
    # by Cauchy and Schwarz a correlation changes by no more than √s of either track, in first order.
    shares = [(np.unique(rank_keys(t), return_counts=True)[1] / t.size) for t in (y, x)]
    bound = sum(np.sqrt((share**3).sum()) for share in shares)
    assert bound < 2e-4
    assert abs(got["GWspear"] - expected["GWspear"]) < bound
    # An AUC counts pairs of one key as half.
    keys = rank_keys(x)
    in_peaks = np.bincount(keys[masks["peaks"]], minlength=N_KEYS) / masks["peaks"].sum()
    elsewhere = np.bincount(keys[~masks["peaks"]], minlength=N_KEYS) / (~masks["peaks"]).sum()
    bound = (in_peaks * elsewhere).sum() / 2
    assert bound < 1e-4
    assert abs(got["CatchPeakObs"] - expected["CatchPeakObs"]) <= bound
    # Top sets differ only within the key of their smallest value, by no more bins than have it (at most 7 here).
    for name in ("Match1", "Catch1obs", "Catch1imp", "AucObs1", "AucImp1"):
        assert abs(got[name] - expected[name]) <= 7 / 2000
    for name in ("MSE1obs", "MSE1imp"):
        assert got[name] == pytest.approx(expected[name], rel=7 / 2000)


def test_hand_worked():
    # Ten bins: the top 1 % and the top 5 % are one bin each. The observed maximum is shared by bins 2 and 5:
    # bin 2 counts. The imputed maximum is bin 5.
    y = np.array([0, 1, 3, 0, 0, 3, 1, 0, 0, 0], dtype=float)
    x = np.array([0, 1, 2, 0, 1, 4, 0, 0, 0, 0], dtype=float)
    got = metrics.evaluate_track(y, x, transform=ARCSINH, weights={"peaks": y >= 3})
    assert got["MSEglobal"] == pytest.approx(4 / 10)
    assert got["MSE1obs"] == 1 and got["MSE1imp"] == 1
    assert got["Match1"] == got["Catch1obs"] == got["Catch1imp"] == 0
    # Imputed: 8 of the 9 other bins are below bin 2's.
    assert got["AucObs1"] == pytest.approx(8 / 9)
    # Observed: 8 of the 9 other bins are below bin 5's, and one is equal.
    assert got["AucImp1"] == pytest.approx(8.5 / 9)
    assert got["CatchPeakObs"] == 1
    assert math.isnan(got["MSEprom"]) and math.isnan(got["MSEgene"]) and math.isnan(got["MSEenh"])


def test_negative_values_count_as_zero():
    y, x = track_pair(500, decimals=None)
    moved = metrics.evaluate_track(y - 0.3, x - 0.3, transform=ARCSINH)
    clipped = metrics.evaluate_track(np.maximum(y - 0.3, 0), np.maximum(x - 0.3, 0), transform=ARCSINH)
    assert moved == pytest.approx(clipped, rel=1e-12, nan_ok=True)


def test_only_bins_with_both_values_count():
    y, x = track_pair(600)
    peaks = np.arange(600) % 7 == 0
    holes_y, holes_x = y.copy(), x.copy()
    holes_y[5:50] = np.nan
    holes_x[40:100] = np.inf
    kept = np.r_[0:5, 100:600]
    got = metrics.evaluate_track(
        holes_y, holes_x, transform=ARCSINH, weights={"peaks": peaks, "genes": peaks}
    )
    expected = metrics.evaluate_track(
        y[kept], x[kept], transform=ARCSINH, weights={"peaks": peaks[kept], "genes": peaks[kept]}
    )
    assert got == pytest.approx(expected, rel=1e-12, nan_ok=True)
    assert np.isnan(holes_y).sum() == 45, "the input is left as it was"


def test_what_is_not_defined_is_nan():
    y, x = track_pair(400)
    nothing = np.zeros(400, dtype=bool)
    got = metrics.evaluate_track(
        np.full(400, 0.1), x, transform=ARCSINH, weights={"peaks": nothing, "promoters": nothing}
    )
    assert all(
        math.isnan(got[name]) for name in ("GWcorrasinh", "GWcorr", "GWspear", "CatchPeakObs", "MSEprom")
    )
    # Ranking by a constant is no better than chance.
    assert got["AucImp1"] == 0.5
    assert math.isnan(
        metrics.evaluate_track(y, x, transform=ARCSINH, weights={"peaks": ~nothing})["CatchPeakObs"]
    )
    single = metrics.evaluate_track(y[:1], x[:1], transform=ARCSINH)
    assert math.isnan(single["AucObs1"]) and single["Match1"] == 1


def test_perfect_imputation():
    y, _ = track_pair(1000)
    got = metrics.evaluate_track(y, y, transform=ARCSINH)
    assert got["MSEglobal"] == got["MSE1obs"] == 0
    assert got["Match1"] == got["Catch1obs"] == got["Catch1imp"] == 1
    assert got["GWcorr"] == pytest.approx(1) and got["GWspear"] == pytest.approx(1)


@pytest.mark.parametrize("sizes", [[1], [1, 40, 0, 7], [999, 1, 5000]])
def test_blocks_do_not_matter(sizes):
    # Many ties, so that top sets end between equal bins of different blocks.
    y, x = (np.minimum(t, 0.8) for t in track_pair(3000))
    y[100:150] = x[130:160] = x[-1] = np.nan
    masks = some_weights(y.size)
    whole = metrics.evaluate_track(y, x, transform=ARCSINH, weights=masks)
    comparison = metrics.TrackComparison(np.sinh)
    for sweep in (comparison.survey, comparison.compare):
        start = 0
        for size in itertools.cycle(sizes):
            part = slice(start, start + size)
            both = np.isfinite(y[part]) & np.isfinite(x[part])
            weights = {name: mask[part][both] for name, mask in masks.items()}
            sweep(np.stack([y[part][both], x[part][both]]), weights)
            start += size
            if start >= y.size:
                break
    assert comparison.measures()[0] == pytest.approx(whole, rel=1e-12)
    kept = np.isfinite(y) & np.isfinite(x)
    expected = plain_measures(y[kept], x[kept], {name: mask[kept] for name, mask in masks.items()})
    assert whole == pytest.approx(expected, rel=1e-12)


def test_correlations_of_large_values_that_hardly_vary():
    rng = np.random.default_rng(0)
    y, x = 1e6 + rng.standard_normal((2, 3000))
    x += y - 1e6
    comparison = metrics.TrackComparison(lambda values: values - 1e6)
    for sweep in (comparison.survey, comparison.compare):
        for start in range(0, 3000, 100):
            sweep(np.stack([t[start : start + 100] for t in (y, x)]))
    (got,) = comparison.measures()
    expected = stats.pearsonr(y - 1e6, x - 1e6).statistic
    assert got["GWcorrasinh"] == pytest.approx(expected, rel=1e-9)
    assert got["GWcorr"] == pytest.approx(expected, rel=1e-12)


def test_no_bin_to_compare():
    got = metrics.evaluate_track(np.zeros(3), np.full(3, np.nan), transform=ARCSINH)
    assert list(got) == list(MEASURES) and all(math.isnan(value) for value in got.values())


def test_sums_of_blocks_give_the_measures_of_any_of_them():
    y, x = track_pair(4000, decimals=None)
    weights = some_weights(y.size)
    comparison = metrics.TrackComparison(np.sinh, n_blocks=8)
    for sweep in (comparison.survey, comparison.compare):
        for number in range(8):
            part = slice(500 * number, 500 * number + 500)
            own = {name: values[part] for name, values in weights.items()}
            sweep(np.stack([y[part], x[part]]), own, number)
    (whole,) = comparison.measures()
    assert whole == pytest.approx(metrics.evaluate_track(y, x, transform=ARCSINH, weights=weights), rel=1e-9)
    drawn = np.array([2, 0, 1, 1, 0, 3, 1, 0])
    bins = np.repeat(np.arange(4000).reshape(8, 500), drawn, axis=0).ravel()
    got = metrics.resampled_measures(drawn @ comparison.block_sums()[0], 4000, MEASURES)
    assert set(MEASURES) - set(got) == {"AuprObs1", "AuprImp1", "AuprPeakObs"}
    own = {name: values[bins] for name, values in weights.items()}
    expected = plain_measures(y[bins], x[bins], own)
    for name in ("MSEglobal", "GWcorrasinh", "GWcorr", "MSEprom", "MSEgene", "MSEenh", "MSEvar"):
        assert got[name] == pytest.approx(expected[name], rel=1e-9)
    # Top sets and ranks are those of the whole track.
    y1, x1 = top(y, 40)[bins], top(x, 40)[bins]
    assert got["MSE1obs"] == pytest.approx(np.square(y - x)[bins][y1].mean(), rel=0.05)
    assert got["Match1"] == pytest.approx((y1 & x1).sum() / y1.sum(), abs=0.05)
    ranks = [stats.rankdata(t)[bins] for t in (y, x)]
    assert got["GWspear"] == pytest.approx(stats.pearsonr(*ranks).statistic, abs=1e-3)
    assert got["AucObs1"] == pytest.approx(roc_auc_score(y1, x[bins]), abs=0.01)


def test_tracks_compared_together_are_compared_as_each_alone():
    y, x = track_pair(3000)
    others = [x, np.zeros_like(x), x[::-1].astype(float)]
    comparison = metrics.TrackComparison(np.sinh, n_imputed=3)
    for sweep in (comparison.survey, comparison.compare):
        sweep(np.stack([y, *others]), some_weights(y.size))
    for got, other in zip(comparison.measures(), others, strict=True):
        alone = metrics.evaluate_track(y, other, transform=ARCSINH, weights=some_weights(y.size))
        assert got == pytest.approx(alone, rel=1e-12, nan_ok=True)


def test_half_precision_input():
    y, x = (t.astype(np.float16) for t in track_pair(1000))
    got = metrics.evaluate_track(y, x, transform=ARCSINH)
    expected = metrics.evaluate_track(y.astype(float), x.astype(float), transform=ARCSINH)
    assert got == pytest.approx(expected, rel=1e-12, nan_ok=True)


def test_memory_does_not_grow_with_the_track():
    def peak(n_blocks: int) -> int:
        tracemalloc.start()
        comparison = metrics.TrackComparison(np.sinh)
        for sweep in (comparison.survey, comparison.compare):
            for seed in range(n_blocks):
                y, x = track_pair(10_000, decimals=None, seed=seed % 4)
                sweep(np.stack([y, x]))
        comparison.measures()
        traced = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return traced

    small = peak(4)
    # Two tracks' counts of 2^20 keys, and what turns one of them into ranks.
    assert small < 50e6
    # Thirty-six more blocks of two float32 tracks would be 2.9 MB; what else the process does is traced, too.
    assert peak(40) == pytest.approx(small, abs=1e6)


@pytest.mark.parametrize(
    ("y", "x", "options", "message"),
    [
        (np.zeros(3), np.zeros(4), {}, r"observed \(3,\) and imputed \(4,\)"),
        (np.zeros((3, 2)), np.zeros((3, 2)), {}, "single tracks"),
        (np.zeros(3), np.zeros(3), {"genes": np.zeros(2, dtype=bool)}, "genes: one value for each of the 3"),
        (np.zeros(3), np.zeros(3), {"peaks": np.zeros(3)}, "peaks: one value .* not float64"),
    ],
)
def test_input_that_does_not_fit(y, x, options, message):
    with pytest.raises(DataError, match=message):
        metrics.evaluate_track(y, x, transform=ARCSINH, weights=options)


def row(cell: str, fold: str, method: str, value: float) -> dict[str, str | float]:
    keys = dict(zip(METRIC_KEYS, (cell, "A", fold, method), strict=True))
    return {**keys, "bins": 1_126_426, "absent": 0, **dict.fromkeys(MEASURES, value)}


def written(rows: Iterable[Mapping[str, str | float]], folder: Path) -> str:
    write_metrics(folder / "metrics.tsv", rows)
    return (folder / "metrics.tsv").read_text()


def test_metrics_tsv(tmp_path):
    rows = [row("B", "0", "model", 1 / 3), row("A", "1", "model", -0.0), row("A", "0", "model", math.nan)]
    rows.append(row("A", "0", "assay_mean", 123456789.0))
    text = written(rows, tmp_path)
    assert text == written(reversed(rows), tmp_path)
    lines = [line.split("\t") for line in text.split("\n")]
    assert lines[0] == ["cell_type", "assay", "fold", "method", "bins", "absent", *MEASURES]
    assert all(line[4:6] == ["1126426", "0"] for line in lines[1:-1])
    assert [line[:4] + line[6:7] for line in lines[1:-1]] == [
        ["A", "A", "0", "assay_mean", "1.23457e+08"],
        ["A", "A", "0", "model", "nan"],
        ["A", "A", "1", "model", "0"],
        ["B", "A", "0", "model", "0.333333"],
    ]
    assert lines[-1] == [""]
    assert written([], tmp_path) == "\t".join((*METRIC_KEYS, *METRIC_COUNTS, *MEASURES)) + "\n"


def test_metrics_tsv_refuses_wrong_rows(tmp_path):
    with pytest.raises(DataError, match="two rows of metrics for A A 0 model"):
        written([row("A", "0", "model", 1), row("A", "0", "model", 2)], tmp_path)
    with pytest.raises(DataError, match="other columns than expected: MSEglobal"):
        written([{k: v for k, v in row("A", "0", "model", 1).items() if k != "MSEglobal"}], tmp_path)
