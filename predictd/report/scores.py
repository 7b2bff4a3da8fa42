"""Scores of experiments, arranged as a report shows them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from predictd.constants import MEASURES
from predictd.errors import DataError
from predictd.pairs import Experiment

BASELINES = ("assay_mean", "assay_mean_scaled")
Row = Mapping[str, str | float]
Cells = list[str | float]


@dataclass(frozen=True)
class Table:
    """A table: names of columns, and rows of text and numbers."""

    columns: tuple[str, ...]
    rows: list[Cells]


@dataclass(frozen=True)
class Score:
    """How well one experiment was imputed.

    Attributes
    ----------
    pair, fold
        Which it is.
    model
        Measures of the imputed track.
    baselines
        Measures by baseline, of those that there are.
    training
        Numbers of training experiments of its cell type and of its assay; None where they are not known.
    covered
        Shares of bins within the intervals, by column of coverage.tsv; empty where they are not known.
    """

    pair: Experiment
    fold: str
    model: Mapping[str, float]
    baselines: Mapping[str, Mapping[str, float]]
    training: tuple[int, int] | None = None
    covered: Mapping[str, float] = field(default_factory=dict)

    @property
    def mse(self) -> float:
        return self.model["MSEglobal"]

    @property
    def best_baseline(self) -> float:
        """The smaller MSEglobal of the baselines; NaN where there are none."""
        known = [own["MSEglobal"] for own in self.baselines.values() if np.isfinite(own["MSEglobal"])]
        return min(known, default=np.nan)

    @property
    def ratio(self) -> float:
        """MSEglobal divided by that of the better baseline; NaN where there is none."""
        return self.mse / self.best_baseline if self.best_baseline > 0 else np.nan


def scores_of(
    rows: Sequence[Row],
    training: Mapping[tuple[Experiment, str], tuple[int, int]],
    covered: Mapping[Experiment, Mapping[str, float]],
) -> tuple[str, list[Score]]:
    """The name of the method that is reported on, and the scores by experiment, sorted.

    Parameters
    ----------
    rows
        Of metrics.tsv.
    training
        Numbers of training experiments by experiment and fold.
    covered
        By experiment: numbers of coverage.tsv.

    Raises
    ------
    DataError
        If there is no method besides the baselines, or more than one.
    """
    methods = sorted({str(row["method"]) for row in rows} - set(BASELINES))
    if len(methods) != 1:
        found = ", ".join(methods) or "none"
        raise DataError(
            f"metrics of one method besides the baselines are reported, but there are {len(methods)} ({found}); keep "
            "the rows of one"
        )
    by_key: dict[tuple[Experiment, str], dict[str, dict[str, float]]] = defaultdict(dict)
    for row in rows:
        key = Experiment(str(row["cell_type"]), str(row["assay"])), str(row["fold"])
        by_key[key][str(row["method"])] = {name: float(row[name]) for name in MEASURES}
    scores = [
        Score(
            pair,
            fold,
            own[methods[0]],
            {name: own[name] for name in BASELINES if name in own},
            training.get((pair, fold)),
            covered.get(pair, {}),
        )
        for (pair, fold), own in sorted(by_key.items())
        if methods[0] in own
    ]
    return methods[0], scores


def summary(method: str, scores: Sequence[Score]) -> Table:
    """Mean of each measure by method, over the experiments for which all methods have it."""
    names = (method, *(name for name in BASELINES if any(name in score.baselines for score in scores)))
    columns, rows = ["method"], [[name] for name in names]
    for measure in MEASURES:
        values = np.array(
            [
                [score.model[measure], *(score.baselines.get(n, {}).get(measure, np.nan) for n in names[1:])]
                for score in scores
            ]
        )
        shared = values[np.isfinite(values).all(axis=1)]
        if len(shared):
            columns.append(measure)
            for row, mean in zip(rows, shared.mean(axis=0).tolist(), strict=True):
                row.append(mean)
    return Table(tuple(columns), [list(row) for row in rows])


def by_group(scores: Sequence[Score], what: str) -> Table:
    """A line for each assay or cell type, the most trustworthy first: smallest error relative to the better baseline.

    Parameters
    ----------
    scores
        Of experiments.
    what
        `assay` or `cell_type`.
    """
    groups: dict[str, list[Score]] = defaultdict(list)
    for score in scores:
        groups[getattr(score.pair, what)].append(score)
    regions = [name for name in ("MSEprom", "MSEgene", "MSEenh") if _any(scores, name)]
    intervals = ["within_95"] if any(score.covered for score in scores) else []
    rows: list[Cells] = []
    for name, own in groups.items():
        ratios = _finite([score.ratio for score in own])
        rows.append(
            [
                name,
                len(own),
                _mean([score.mse for score in own]),
                _mean([score.best_baseline for score in own]),
                float(np.exp(np.log(ratios).mean())) if ratios.size and (ratios > 0).all() else np.nan,
                float((ratios < 1).mean()) if ratios.size else np.nan,
                *(_mean([score.model[m] for score in own]) for m in ("GWcorrasinh", "AucObs1", *regions)),
                *(_mean([score.covered.get(column, np.nan) for score in own]) for column in intervals),
            ]
        )
    rows.sort(key=lambda row: (np.nan_to_num(float(row[4]), nan=np.inf), row[0]))
    columns = (what, "experiments", "MSEglobal", "best_baseline", "ratio", "better", "GWcorrasinh", "AucObs1")
    return Table((*columns, *regions, *intervals), rows)


def experiments_table(scores: Sequence[Score]) -> Table:
    """A line for each experiment, the worst relative to its better baseline first."""
    measures = [name for name in MEASURES if _any(scores, name)]
    intervals = ["within_1sd", "within_95"] if any(score.covered for score in scores) else []
    trained = ["training_cell_type", "training_assay"] if any(score.training for score in scores) else []
    rows: list[Cells] = [
        [
            *score.pair,
            score.fold,
            score.ratio,
            score.best_baseline,
            *(score.model[name] for name in measures),
            *(score.covered.get(column, np.nan) for column in intervals),
            *((score.training or (np.nan, np.nan)) if trained else ()),
        ]
        for score in scores
    ]
    rows.sort(key=lambda row: (-np.nan_to_num(float(row[3]), nan=-np.inf), str(row[0]), str(row[1])))
    fixed = ("cell_type", "assay", "fold", "ratio", "best_baseline")
    return Table((*fixed, *measures, *intervals, *trained), rows)


def _any(scores: Sequence[Score], measure: str) -> bool:
    return any(np.isfinite(score.model[measure]) for score in scores)


def _finite(values: Sequence[float]) -> npt.NDArray[np.float64]:
    array = np.array(values, dtype=np.float64)
    return array[np.isfinite(array)]


def _mean(values: Sequence[float]) -> float:
    finite = _finite(values)
    return float(finite.mean()) if finite.size else np.nan
