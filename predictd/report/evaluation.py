"""The report of an evaluation: what it is made of, and the page, figures and tables that come of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from predictd.report.glossary import meanings_of
from predictd.report.multiqc import multiqc_files
from predictd.report.page import Section, page
from predictd.report.region_figures import Example
from predictd.report.score_figures import Density
from predictd.report.scores import Known, Row, Score, Table, by_group, experiments_table, scores_of, summary
from predictd.report.sections import (
    Figures,
    baselines,
    examples,
    groups,
    quality,
    recommended,
    reliability,
    signal,
    training,
    worst,
)

_WORST = 20


@dataclass(frozen=True)
class Evaluation:
    """What a report is made of; what is empty has no section.

    Attributes
    ----------
    name, method
        What was evaluated, and the method of metrics.tsv that is reported on.
    rows
        Of metrics.tsv.
    known
        Of the experiments, besides their scores.
    about, choices
        What is reported and how it was made; why the settings of each fold were chosen: rows of text.
    by_signal
        Rows of coverage_by_signal.tsv.
    densities
        By assay.
    examples, about_examples
        Stretches of tracks, and by which rule they were taken, or why there are none.
    quality, recommended
        What 'predictd qc' and 'predictd recommend' wrote.
    """

    name: str
    method: str
    rows: Sequence[Row]
    known: Known
    about: Sequence[Sequence[str]] = ()
    choices: Sequence[Sequence[str]] = ()
    by_signal: Sequence[Row] = ()
    densities: Mapping[str, Density] = field(default_factory=dict)
    examples: Sequence[Example] = ()
    about_examples: str = ""
    quality: Table | None = None
    recommended: Table | None = None


@dataclass(frozen=True)
class Report:
    """A report: the page, and the content of its figures, tables and JSON files by file name."""

    page: str
    figures: dict[str, bytes]
    tables: dict[str, Table]
    multiqc: dict[str, dict[str, Any]]


def build(evaluation: Evaluation) -> Report:
    """Draw and write a report; the same evaluation gives the same bytes.

    Raises
    ------
    ConfigError
        If matplotlib is not installed.
    """
    method = evaluation.method
    scores = scores_of(evaluation.rows, method, evaluation.known)
    everything = experiments_table(scores)
    tables = {
        "summary.tsv": summary(method, scores),
        "by_assay.tsv": by_group(scores, "assay"),
        "by_cell_type.tsv": by_group(scores, "cell_type"),
        "worst.tsv": Table(everything.columns, everything.rows[:_WORST]),
        "experiments.tsv": everything,
    }
    figures = Figures({})
    found = [
        _about(evaluation),
        groups(scores, "assay", tables["by_assay.tsv"], figures),
        groups(scores, "cell_type", tables["by_cell_type.tsv"], figures),
        examples(evaluation.examples, evaluation.about_examples, figures),
        baselines(scores, tables["summary.tsv"], figures),
        signal(evaluation.densities, figures),
        reliability(scores, evaluation.by_signal, figures),
        training(scores, figures),
        worst(tables["worst.tsv"], len(scores)),
        quality(evaluation.quality),
        recommended(evaluation.recommended),
    ]
    sections = [section for section in found if section is not None]
    sections.append(_glossary(sections))
    title = f"Imputed tracks of {evaluation.name}"
    return Report(
        page(title, _introduction(method, scores), sections),
        figures.files,
        tables,
        multiqc_files(method, scores),
    )


def _about(evaluation: Evaluation) -> Section | None:
    if not evaluation.about:
        return None
    details = ("How the settings were chosen", evaluation.choices) if evaluation.choices else None
    return Section("about", "What is reported", facts=evaluation.about, details=details)


def _glossary(sections: Sequence[Section]) -> Section:
    columns = [name for section in sections for _, table in section.tables for name in table.columns]
    meanings = meanings_of(columns)
    return Section(
        "glossary",
        "What the numbers mean",
        ("Point at the name of a column, or at a point of a figure, to see what it is.",),
        facts=[
            (name, meaning.text + (f" Best: {meaning.best}." if meaning.best else ""))
            for name, meaning in meanings.items()
        ],
    )


def _introduction(method: str, scores: Sequence[Score]) -> list[str]:
    cells, assays = ({score.pair[axis] for score in scores} for axis in (0, 1))
    text = [
        f"{counted(len(scores), 'experiment')} of {counted(len(cells), 'cell type')} and "
        f"{counted(len(assays), 'assay')} {'was' if len(scores) == 1 else 'were'} imputed by '{method}' and compared "
        "with what was observed."
    ]
    correlations = np.array([score.correlation for score in scores])
    correlations = correlations[np.isfinite(correlations)]
    if correlations.size:
        text.append(f"The correlation with the observed signal is {_spread(correlations)}.")
    ratios = np.array([score.ratio for score in scores])
    ratios = ratios[np.isfinite(ratios)]
    if ratios.size:
        text.append(
            f"In {np.mean(ratios < 1):.0%} of them the mean squared error is below that of the better of two simple "
            f"baselines; the median ratio is {np.median(ratios):.3g}."
        )
    return [" ".join(text), *_left_out(method, scores)]


def _spread(values: np.ndarray[Any, np.dtype[np.float64]]) -> str:
    """Where some numbers lie, in words."""
    if values.size < 3:
        return " and ".join(f"{value:.2f}" for value in sorted(values.tolist()))
    return f"{np.median(values):.2f} in the median, from {values.min():.2f} to {values.max():.2f}"


def _left_out(method: str, scores: Sequence[Score]) -> list[str]:
    """Which share of the observed bins the method left out, where it did."""
    absent = [score for score in scores if score.model["absent"] > 0]
    if not absent:
        return []
    most = max(absent, key=lambda score: (score.model["absent"], score.pair))
    return [
        f"'{method}' has no value in some of the observed bins of {counted(len(absent), 'experiment')}: up to "
        f"{most.model['absent']:,.0f} bins ({most.pair.cell_type} {most.pair.assay}; scored on "
        f"{most.model['bins']:,.0f}). See 'absent' in the tables."
    ]


def counted(number: int, name: str) -> str:
    """A number of things in words."""
    return f"{number:,} {name}" if number == 1 else f"{number:,} {name}s"
