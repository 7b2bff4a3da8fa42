"""The report of an evaluation: what is drawn, what is listed, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from predictd.pairs import Experiment
from predictd.report.drawing import rendered
from predictd.report.page import Section, page
from predictd.report.score_figures import (
    MOST_DENSITIES,
    Density,
    baseline_figure,
    density_figure,
    groups_figure,
    reliability_figure,
    training_figure,
)
from predictd.report.scores import (
    Row,
    Score,
    Table,
    by_group,
    experiments_table,
    scores_of,
    summary,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WORST = 20


@dataclass(frozen=True)
class Evaluation:
    """What a report is made of.

    Attributes
    ----------
    name
        What was evaluated.
    rows
        Of metrics.tsv.
    scored
        Experiments and their folds.
    training
        See `predictd.report.scores.scores_of`; empty where it is not known.
    covered, by_signal
        Numbers of coverage.tsv by experiment, and rows of coverage_by_signal.tsv; empty where there are none.
    densities
        By assay; empty where there are none.
    """

    name: str
    rows: Sequence[Row]
    scored: Set[tuple[Experiment, str]]
    training: Mapping[tuple[Experiment, str], tuple[int, int]]
    covered: Mapping[Experiment, Mapping[str, float]]
    by_signal: Sequence[Row]
    densities: Mapping[str, Density]


@dataclass(frozen=True)
class Report:
    """A report: the page, and the content of its figures and tables by file name."""

    page: str
    figures: dict[str, bytes]
    tables: dict[str, Table]


def build(evaluation: Evaluation) -> Report:
    """Draw and write a report; the same evaluation gives the same bytes.

    Raises
    ------
    DataError
        If the rows are of no single method.
    ConfigError
        If matplotlib is not installed.
    """
    method, scores = scores_of(evaluation.rows, evaluation.training, evaluation.covered)
    everything = experiments_table(scores)
    tables = {
        "summary.tsv": summary(method, scores),
        "by_assay.tsv": by_group(scores, "assay"),
        "by_cell_type.tsv": by_group(scores, "cell_type"),
        "worst.tsv": Table(everything.columns, everything.rows[:_WORST]),
        "experiments.tsv": everything,
    }
    figures = _Figures({})
    sections = [
        _by_assay(scores, tables["by_assay.tsv"], figures),
        _by_cell_type(scores, tables["by_cell_type.tsv"], figures),
        _baselines(scores, tables["summary.tsv"], figures),
    ]
    if evaluation.densities:
        sections.append(_signal(evaluation.densities, figures))
    if _has_coverage(evaluation):
        sections.append(_reliability(evaluation, scores, figures))
    if any(score.training for score in scores):
        sections.append(_training(scores, figures))
    sections.append(_worst(tables["worst.tsv"]))
    title = f"Imputed tracks of {evaluation.name}"
    return Report(page(title, _introduction(method, scores), sections), figures.files, tables)


@dataclass(frozen=True)
class _Figures:
    """Content of the figures by file name."""

    files: dict[str, bytes]

    def draw(self, name: str, function: Callable[[], Figure]) -> bytes:
        """Draw a figure, keep its files, and return the SVG."""
        made = rendered(function)
        self.files.update({f"{name}.{suffix}": content for suffix, content in made.items()})
        return made["svg"]


def _by_assay(scores: Sequence[Score], table: Table, figures: _Figures) -> Section:
    return Section(
        "assays",
        "Which assays can be trusted",
        (
            "Each blue point is an experiment. Left: its error, and those of the two baselines: the mean of the same "
            "assay in other cell types (grey), and that mean scaled to the cell type (orange). Middle: its error "
            "relative to the better of the two; left of the line the model adds something to what is common to all "
            "cell types. Right: correlation with what was observed. The most trustworthy assays are at the top.",
        ),
        figures.draw("by_assay", lambda: groups_figure(scores, "assay")),
        "Errors, errors relative to the better baseline, and correlations of experiments by assay.",
        [("By assay", table)],
    )


def _by_cell_type(scores: Sequence[Score], table: Table, figures: _Figures) -> Section:
    return Section(
        "cell-types",
        "Which cell types can be trusted",
        ("The same by cell type.",),
        figures.draw("by_cell_type", lambda: groups_figure(scores, "cell_type")),
        "Errors, errors relative to the better baseline, and correlations of experiments by cell type.",
        [("By cell type", table)],
    )


def _baselines(scores: Sequence[Score], table: Table, figures: _Figures) -> Section:
    drawn = any(score.baselines for score in scores)
    return Section(
        "baselines",
        "Compared with the baselines",
        (
            "Below the line the model is better. Means over the experiments that all methods have a value for:",
        ),
        figures.draw("baselines", lambda: baseline_figure(scores)) if drawn else None,
        "Error of the model against that of each baseline.",
        [("Means of all measures", table)],
    )


def _signal(densities: Mapping[str, Density], figures: _Figures) -> Section:
    left_out = len(densities) - MOST_DENSITIES
    rest = f" {left_out} assays with fewer bins are not drawn." if left_out > 0 else ""
    return Section(
        "signal",
        "Observed against imputed",
        (
            "All counted bins of the held-out experiments of an assay, in transformed space; the colour is the "
            f"logarithm of their number. On the line both agree.{rest}",
        ),
        figures.draw("observed_imputed", lambda: density_figure(densities)),
        "Observed against imputed signal of each assay.",
    )


def _reliability(evaluation: Evaluation, scores: Sequence[Score], figures: _Figures) -> Section:
    covered = list(evaluation.covered.values())
    return Section(
        "reliability",
        "Do the intervals hold",
        (
            "Intervals of each test fold were calibrated on the experiments of the others. Left: the share of "
            "bins that lie within the interval of a nominal share; on the line they hold. Middle: the same "
            "along the imputed signal. Right: the error that was made, and the standard deviation that was "
            "predicted for it.",
            _coverage(scores),
        ),
        figures.draw("reliability", lambda: reliability_figure(covered, evaluation.by_signal)),
        "Coverage of intervals against their nominal share, and along the imputed signal.",
    )


def _training(scores: Sequence[Score], figures: _Figures) -> Section:
    return Section(
        "training",
        "How many experiments it takes",
        (
            "Error against the number of experiments of the same cell type, and of the same assay, that were "
            "trained on. Assays differ in scale: read along a line of points rather than across.",
        ),
        figures.draw("training", lambda: training_figure(scores)),
        "Error against the number of training experiments.",
    )


def _worst(table: Table) -> Section:
    return Section(
        "worst",
        "Worst experiments",
        (
            "By error relative to the better baseline. A bad score may be the model's fault or the track's: "
            "'predictd qc' shows suspicious tracks.",
        ),
        tables=[(f"The worst {len(table.rows)}", table)],
    )


def _has_coverage(evaluation: Evaluation) -> bool:
    return bool(evaluation.by_signal) and any(
        np.isfinite(own["within_95"]) for own in evaluation.covered.values()
    )


def _introduction(method: str, scores: Sequence[Score]) -> list[str]:
    ratios = np.array([score.ratio for score in scores])
    known = ratios[np.isfinite(ratios)]
    cells, assays = ({score.pair[axis] for score in scores} for axis in (0, 1))
    text = (
        f"{len(scores)} experiments of {len(cells)} cell types and {len(assays)} assays were imputed by '{method}' "
        "and compared with what was observed."
    )
    if known.size:
        text += (
            f" In {np.mean(known < 1):.0%} of them the mean squared error is below that of the better of two "
            f"baselines; the median ratio is {np.median(known):.3g}."
        )
    return [text]


def _coverage(scores: Sequence[Score]) -> str:
    """What the intervals came to, in a sentence."""
    parts = []
    for column, name in (
        ("within_1sd", "±1 sd"),
        ("within_68.27", "the 68 % interval"),
        ("within_95", "the 95 % interval"),
    ):
        shares = np.array([score.covered.get(column, np.nan) for score in scores])
        shares = shares[np.isfinite(shares)]
        low, high = np.percentile(shares, (10, 90))
        parts.append(
            f"{name} holds {shares.mean():.1%} of the bins (8 in 10 experiments: {low:.1%} to {high:.1%})"
        )
    return f"Over the held-out experiments {'; '.join(parts)}."
