"""Scores of experiments, arranged as a report shows them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from predictd.constants import BASELINES, MAPPED, MEASURES
from predictd.errors import DataError
from predictd.pairs import Experiment

# Whole numbers of metrics.tsv, which older files lack.
COUNTS = ("bins", "absent")
Row = Mapping[str, str | float]
Cells = list[str | float]


@dataclass(frozen=True)
class Table:
    """A table: names of columns, and rows of text and numbers."""

    columns: tuple[str, ...]
    rows: list[Cells]


@dataclass(frozen=True)
class Known:
    """What is known of experiments besides their scores; each is empty where nothing is.

    Attributes
    ----------
    training
        Numbers of training experiments of the same cell type and of the same assay, by experiment and fold.
    covered
        Numbers of coverage.tsv.
    widths
        Predicted standard deviations relative to those that other tracks let expect of the tracks' signal.
    flags
        What quality control says of observed tracks.
    """

    training: Mapping[tuple[Experiment, str], tuple[int, int]] = field(default_factory=dict)
    covered: Mapping[Experiment, Mapping[str, float]] = field(default_factory=dict)
    widths: Mapping[Experiment, float] = field(default_factory=dict)
    flags: Mapping[Experiment, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Score:
    """How well one experiment was imputed.

    Attributes
    ----------
    pair, fold
        Which it is.
    model
        Numbers of metrics.tsv of the imputed track; NaN is what is not known.
    baselines
        The same by baseline, of those that there are.
    training, covered, width, flags
        See `Known`; None, empty or NaN where nothing is known.
    """

    pair: Experiment
    fold: str
    model: Mapping[str, float]
    baselines: Mapping[str, Mapping[str, float]]
    training: tuple[int, int] | None = None
    covered: Mapping[str, float] = field(default_factory=dict)
    width: float = np.nan
    flags: str = ""

    @property
    def mse(self) -> float:
        """MSEglobal of the imputed track; NaN where it is not known."""
        return self.model["MSEglobal"]

    @property
    def correlation(self) -> float:
        """Correlation of imputed and observed arcsinh signal (GWcorrasinh); NaN where it is not known."""
        return self.model["GWcorrasinh"]

    @property
    def best_baseline(self) -> float:
        """The smaller MSEglobal of the baselines; NaN where there are none."""
        known = [own["MSEglobal"] for own in self.baselines.values() if np.isfinite(own["MSEglobal"])]
        return min(known, default=np.nan)

    @property
    def ratio(self) -> float:
        """MSEglobal divided by that of the better baseline; NaN where there is none."""
        return self.mse / self.best_baseline if self.best_baseline > 0 else np.nan


def chosen_method(rows: Sequence[Row], name: str | None = None) -> str:
    """The method that is reported on: the one of that name, or the only one besides the baselines.

    Raises
    ------
    DataError
        If there is no such method, or several to choose from.
    """
    methods = sorted(
        {str(row["method"]) for row in rows} - {n + end for n in BASELINES for end in ("", MAPPED)}
    )
    listed = ", ".join(f"'{method}'" for method in methods)
    if not methods:
        raise DataError("the scores are those of the baselines alone; a report needs those of a method")
    plain = [method for method in methods if not method.endswith(MAPPED)]
    if name is None and len(plain) != 1:
        raise DataError(f"the scores are of several methods; name one as `method`: {listed}")
    if name is not None and name not in methods:
        raise DataError(
            f"`method` '{name}': the scores have no such method besides the baselines; they have {listed}"
        )
    return name or plain[0]


def scores_of(rows: Sequence[Row], method: str, known: Known) -> list[Score]:
    """The scores of a method by experiment, sorted; `rows` are those of metrics.tsv.

    The baselines are those of the same fold, or of the method that was scored with it; mapped ones for a mapped method.
    """
    ending = MAPPED if method.endswith(MAPPED) else ""
    by_key: dict[tuple[Experiment, str], dict[str, dict[str, float]]] = defaultdict(dict)
    baselines: dict[Experiment, dict[str, dict[str, float]]] = defaultdict(dict)
    for row in rows:
        pair = Experiment(str(row["cell_type"]), str(row["assay"]))
        values = {name: float(row.get(name, np.nan)) for name in (*MEASURES, *COUNTS)}
        if row["method"] == method:
            by_key[pair, str(row["fold"])][method] = values
        for name in BASELINES:
            if row["method"] == name + ending:
                baselines[pair].setdefault(name, values)
                by_key[pair, str(row["fold"])][name] = values
    return [
        Score(
            pair,
            fold,
            own[method],
            {name: own.get(name, found) for name, found in baselines[pair].items()},
            known.training.get((pair, fold)),
            known.covered.get(pair, {}),
            known.widths.get(pair, np.nan),
            known.flags.get(pair, ""),
        )
        for (pair, fold), own in sorted(by_key.items())
        if method in own
    ]


def by_correlation(scores: Sequence[Score]) -> list[Score]:
    """Scores from the worst correlation to the best; those without come first."""
    return sorted(
        scores, key=lambda score: (np.nan_to_num(score.correlation, nan=-2.0), score.pair, score.fold)
    )


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
    """A line for each assay or cell type, the most trustworthy first: by mean correlation with what was observed.

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
    rows: list[Cells] = []
    for name, own in groups.items():
        correlations = finite([score.correlation for score in own])
        ratios = finite([score.ratio for score in own])
        rows.append(
            [
                name,
                len(own),
                mean(correlations),
                float(correlations.min()) if correlations.size else np.nan,
                mean([score.width for score in own]),
                mean([score.covered.get("within_95", np.nan) for score in own]),
                mean([score.mse for score in own]),
                mean([score.best_baseline for score in own]),
                float(np.exp(np.log(ratios).mean())) if ratios.size and (ratios > 0).all() else np.nan,
                float((ratios < 1).mean()) if ratios.size else np.nan,
                *(mean([score.model[m] for score in own]) for m in _GROUP_MEASURES),
            ]
        )
    rows.sort(key=lambda row: (-np.nan_to_num(float(row[2]), nan=-2.0), row[0]))
    trust = ("GWcorrasinh", "lowest", "relative_sd", "within_95")
    columns = (what, "experiments", *trust, "MSEglobal", "best_baseline", "ratio", "better", *_GROUP_MEASURES)
    return _without_empty(Table(columns, rows))


_GROUP_MEASURES = ("AucObs1", "MSEprom", "MSEgene", "MSEenh")


def experiments_table(scores: Sequence[Score]) -> Table:
    """A line for each experiment, the worst correlation first."""
    others = [name for name in MEASURES if name != "GWcorrasinh"]
    intervals = ("within_1sd", "within_95")
    rows: list[Cells] = [
        [
            *score.pair,
            score.fold,
            score.flags,
            score.correlation,
            score.width,
            *(score.covered.get(column, np.nan) for column in intervals),
            score.ratio,
            score.best_baseline,
            *(score.model[name] for name in others),
            *(_whole(score.model[name]) for name in COUNTS),
            *(score.training or (np.nan, np.nan)),
        ]
        for score in by_correlation(scores)
    ]
    first = (
        "cell_type",
        "assay",
        "fold",
        "qc",
        "GWcorrasinh",
        "relative_sd",
        *intervals,
        "ratio",
        "best_baseline",
    )
    return _without_empty(Table((*first, *others, *COUNTS, "training_cell_type", "training_assay"), rows))


def _without_empty(table: Table) -> Table:
    """The table without columns in which nothing is known of any row."""
    kept = [
        place
        for place in range(len(table.columns))
        if any(row[place] != "" and not _is_nan(row[place]) for row in table.rows)
    ]
    return Table(
        tuple(table.columns[place] for place in kept), [[row[place] for place in kept] for row in table.rows]
    )


def _is_nan(cell: str | float) -> bool:
    return isinstance(cell, float) and bool(np.isnan(cell))


def _whole(value: float) -> float:
    """A count as a whole number, where it is known."""
    return int(value) if np.isfinite(value) else value


def finite(values: Sequence[float] | npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Those of some numbers that are known."""
    array = np.array(values, dtype=np.float64)
    return array[np.isfinite(array)]


def mean(values: Sequence[float] | npt.NDArray[np.float64]) -> float:
    """Mean of those that are known; NaN where none is."""
    known = finite(values)
    return float(known.mean()) if known.size else np.nan
