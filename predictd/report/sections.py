"""Sections of a report: what is drawn, what is listed, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from predictd.report.drawing import rendered
from predictd.report.page import Section
from predictd.report.region_figures import Example, regions_figure
from predictd.report.score_figures import (
    CORRELATION,
    GAIN,
    MOST_DENSITIES,
    MOST_GROUPS,
    WIDTH,
    Density,
    baseline_figure,
    density_figure,
    group_panels,
    groups_figure,
    reliability_figure,
    shown_scores,
    training_counts,
    training_figure,
)
from predictd.report.scores import Row, Score, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Tracks that quality control does not suspect are listed up to so many rows.
_SUSPICIOUS = 10


@dataclass(frozen=True)
class Figures:
    """Content of the figures by file name."""

    files: dict[str, bytes]

    def draw(self, name: str, function: Callable[[], Figure]) -> bytes:
        """Draw a figure, keep its files, and return the SVG."""
        made = rendered(function)
        self.files.update({f"{name}.{suffix}": content for suffix, content in made.items()})
        return made["svg"]


def groups(scores: Sequence[Score], what: str, table: Table, figures: Figures) -> Section | None:
    """Trust by assay or cell type; None where there is one cell type only."""
    noun = what.replace("_", " ")
    several = len(table.rows) > 1
    if what == "cell_type" and not several:
        return None
    shown = shown_scores(scores, what)
    titles = [title for title, _ in group_panels(shown)]
    if not titles:
        said = ["Too few experiments have a value for a figure."]
    else:
        said = _about_groups(titles) if what == "assay" else ["The same by cell type."]
    if titles and len(table.rows) > MOST_GROUPS:
        said.append(
            f"Of {len(table.rows)} {noun}s the best {MOST_GROUPS // 2} and the worst {MOST_GROUPS // 2} are drawn; the "
            "table has all."
        )
    name = f"by_{what}"
    return Section(
        f"{noun.replace(' ', '-')}s",
        f"Which {noun}s can be trusted" if several else f"How far the {noun} can be trusted",
        said,
        figures.draw(name, lambda: groups_figure(shown, what)) if titles else None,
        f"Correlations, widths of intervals and errors of experiments by {noun}.",
        tables=[(f"By {noun}", table)],
    )


def _about_groups(titles: Sequence[str]) -> list[str]:
    """What the panels of the figure of `groups` show."""
    said = {
        CORRELATION: "correlation of imputed and observed signal (transformed).",
        WIDTH: "how sure the model is (the width of its intervals): the standard deviation that it predicts for its "
        "error, relative to that expected of the track's signal; near 0 it is sure, near 1 it knows little.",
        GAIN: "the gain over the baselines, which does not decide the order. Left of the line the error is smaller "
        "than that of the better baseline. An assay that is alike in all cell types gains little and can still be "
        "trusted.",
    }
    places = {1: ("Here",), 2: ("Left", "Right"), 3: ("Left", "Middle", "Right")}[len(titles)]
    panels = [f"{place}: {said[title]}" for place, title in zip(places, titles, strict=True)]
    first = "Ordered by correlation: what is at the top can be trusted most. Each point is an experiment."
    return [" ".join([first, "Point at one to see which.", *panels])]


def examples(found: Sequence[Example], rule: str, figures: Figures) -> Section | None:
    """Stretches of the best, the median and the worst track."""
    if not found:
        return Section("examples", "Imputed tracks to look at", [rule]) if rule else None
    return Section(
        "examples",
        "Imputed tracks to look at",
        [
            "Observed signal as grey areas, imputed signal as blue lines, for the tracks of "
            f"{listed([example.rank for example in found])} correlation. {rule}",
        ],
        figures.draw("examples", lambda: regions_figure(found)),
        "Imputed over observed signal in stretches of the genome.",
    )


def baselines(scores: Sequence[Score], table: Table, figures: Figures) -> Section:
    """Errors next to those of the baselines, and means of all measures."""
    drawn = sum(bool(score.baselines) for score in scores) > 1
    return Section(
        "baselines",
        "Compared with the baselines",
        ["Below the line the error of the model is smaller. Each point is an experiment."] if drawn else [],
        figures.draw("baselines", lambda: baseline_figure(scores)) if drawn else None,
        "Error of the model against that of each baseline.",
        tables=[("Means over the experiments that all methods have a value for", table)],
    )


def signal(densities: Mapping[str, Density], figures: Figures) -> Section | None:
    """Observed against imputed signal."""
    if not densities:
        return None
    left_out = len(densities) - MOST_DENSITIES
    rest = f" {left_out} assays with fewer bins are not drawn." if left_out > 0 else ""
    return Section(
        "signal",
        "Observed against imputed",
        [
            "All counted bins of the held-out experiments of an assay, in transformed space; the colour is the "
            f"logarithm of their number. On the line both agree.{rest}",
        ],
        figures.draw("observed_imputed", lambda: density_figure(densities)),
        "Observed against imputed signal of each assay.",
    )


def reliability(scores: Sequence[Score], by_signal: Sequence[Row], figures: Figures) -> Section | None:
    """How often intervals hold; None where there are none."""
    covered = [score.covered for score in scores if np.isfinite(score.covered.get("within_95", np.nan))]
    if not by_signal or not covered:
        return None
    return Section(
        "reliability",
        "Do the intervals hold",
        [
            "Intervals of each test fold were calibrated on the experiments of the others. Left: the share of "
            "bins that lie within the interval of a nominal share; on the line they hold. Middle: the same "
            "along the imputed signal. Right: the error that was made, and the standard deviation that was "
            "predicted for it.",
            _coverage(scores),
        ],
        figures.draw("reliability", lambda: reliability_figure(covered, by_signal)),
        "Coverage of intervals against their nominal share, and along the imputed signal.",
    )


def training(scores: Sequence[Score], figures: Figures) -> Section | None:
    """Correlation by number of training experiments; None where all have the same."""
    if not training_counts(scores):
        return None
    return Section(
        "training",
        "How many experiments it takes",
        [
            "Correlation against the number of experiments of the same cell type, and of the same assay, that were "
            "trained on. Assays differ in how well they can be imputed at all, so that a line that rises is a hint, no "
            "proof.",
        ],
        figures.draw("training", lambda: training_figure(scores)),
        "Correlation against the number of training experiments.",
    )


def worst(table: Table, total: int) -> Section | None:
    """The experiments of the lowest correlation; None where there is one only."""
    if total < 2:
        return None
    listed = len(table.rows)
    return Section(
        "worst",
        "Worst experiments",
        [
            "By correlation with the observed signal. A bad score may be the model's fault or the track's: "
            "'predictd qc' shows suspicious tracks."
        ],
        tables=[
            (f"The worst {listed} of {total}" if listed < total else f"All {total}, the worst first", table)
        ],
    )


def quality(table: Table | None) -> Section | None:
    """What quality control suspects."""
    if table is None:
        return None
    place = table.columns.index("flags")
    flagged = [row for row in table.rows if row[place] != "."]
    shown = Table(table.columns, table.rows[: max(len(flagged), _SUSPICIOUS)])
    return Section(
        "quality",
        "Observed tracks that look wrong",
        [
            f"{len(flagged)} of {len(table.rows)} observed tracks are flagged by 'predictd qc': as swapped, dead, "
            "saturated or of an odd amplitude. The most suspicious come first, also where none is flagged. Look at "
            "their files before you trust their scores, or what was learned from them."
        ],
        tables=[(f"The first {len(shown.rows)} of {len(table.rows)}", shown)],
    )


def recommended(table: Table | None) -> Section | None:
    """Experiments to run next."""
    if table is None:
        return None
    return Section(
        "recommended",
        "Which experiments next",
        [
            "What 'predictd recommend' advises: the experiments that lower the expected error of the missing tracks "
            "the most, each chosen as if those before it were done."
        ],
        tables=[("Recommended experiments", table)],
    )


def listed(words: Sequence[str]) -> str:
    """Words as a sentence lists them."""
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


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
        if shares.size:
            low, high = np.percentile(shares, (10, 90))
            among = f" (8 in 10 experiments: {low:.1%} to {high:.1%})" if shares.size > 1 else ""
            parts.append(f"{name} holds {shares.mean():.1%} of the bins{among}")
    return f"Over the held-out experiments {'; '.join(parts)}."
