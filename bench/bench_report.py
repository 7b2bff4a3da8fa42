"""A report of Roadmap's 1014 experiments: `pytest bench/bench_report.py --benchmark-only`. No time is asserted.

The scores are simulated; needs the table of pairs, skipped without it. extra_info tells the size of the page.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np

from bench.roadmap import roadmap_pairs
from predictd.constants import MEASURES
from predictd.io.results import write_metrics
from predictd.model.intervals.residuals import DENSITY_STEPS, SHAPE, Scale, Span
from predictd.model.intervals.uncertainty import Pool, calibrate
from predictd.pairs import Experiment, axes
from predictd.workflows.evaluation.report import report
from predictd.workflows.imputing.calibration import Residuals, write_calibration


def simulated_metrics(pairs: list[Experiment], rng: np.random.Generator) -> list[dict[str, str | float]]:
    """Rows of metrics.tsv of the pairs: errors around an assay's own, baselines a little worse."""
    rows: list[dict[str, str | float]] = []
    assays = {assay: rng.lognormal(-1.5, 0.6) for assay in sorted({pair.assay for pair in pairs})}
    for number, pair in enumerate(pairs):
        for method, factor in (("model", 0.9), ("assay_mean", 1.2), ("assay_mean_scaled", 1.0)):
            values = {name: float(rng.uniform(0.2, 0.9)) for name in MEASURES}
            values["MSEglobal"] = float(assays[pair.assay] * factor * rng.lognormal(0, 0.3))
            counts = {"bins": 1_000_000, "absent": 0}
            rows.append({**pair._asdict(), "fold": str(number % 5), "method": method, **counts, **values})
    return rows


def simulated_residuals(pairs: list[Experiment], rng: np.random.Generator) -> Residuals:
    """Counts of a thousand cells each, as cross-validation collects them."""
    residuals = Residuals({}, {}, {}, {})
    for number, pair in enumerate(pairs):
        counts = np.zeros(SHAPE, dtype=np.int64)
        cells = (rng.integers(6, 22, 1000), rng.integers(2, 12, 1000), rng.integers(5, 35, 1000))
        np.add.at(counts, cells, rng.integers(1, 500, 1000))
        residuals.fold[pair], residuals.counts[pair] = str(number % 5), counts
        residuals.scales[pair] = Scale(0.4, 0.6)
        if pair.assay not in residuals.density:
            residuals.density[pair.assay] = rng.poisson(3, (DENSITY_STEPS, DENSITY_STEPS)).astype(np.int64)
    return residuals


def make_directory(path: Path) -> tuple[Residuals, dict[str, Span]]:
    """What a finished cross-validation has of scores."""
    pairs, rng = roadmap_pairs(), np.random.default_rng(0)
    path.mkdir()
    write_metrics(path / "metrics.tsv", simulated_metrics(pairs, rng))
    residuals = simulated_residuals(pairs, rng)
    return residuals, {pair.assay: Span(0.0, 8.0) for pair in pairs}


def every_scale() -> dict[Experiment, Scale]:
    """Of all pairs."""
    return {Experiment(*pair): Scale(0.4, 0.6) for pair in product(*axes(roadmap_pairs()))}


def test_report(benchmark, tmp_path: Path) -> None:
    """Reading, drawing and writing all figures, tables and the page."""
    residuals, spans = make_directory(tmp_path / "cv")
    write_calibration(tmp_path / "cv", residuals, every_scale(), spans)
    benchmark.pedantic(report, args=(tmp_path / "cv", tmp_path / "r.html"), rounds=1)
    benchmark.extra_info["page (MB)"] = round((tmp_path / "r.html").stat().st_size / 1e6, 1)


def test_calibration(benchmark, tmp_path: Path) -> None:
    """What `predictd cv` does with the counts when all parts are made."""
    residuals, spans = make_directory(tmp_path / "cv")
    benchmark.pedantic(write_calibration, args=(tmp_path / "cv", residuals, every_scale(), spans), rounds=1)


def test_one_calibration(benchmark, tmp_path: Path) -> None:
    """Of all assays at once."""
    residuals, _ = make_directory(tmp_path / "cv")
    pools: dict[str, Pool] = {}
    for pair, counts in residuals.counts.items():
        own = Pool(counts, 1)
        pools[pair.assay] = pools[pair.assay] + own if pair.assay in pools else own
    benchmark.pedantic(calibrate, args=(pools, residuals.scales), rounds=1)
