"""Figures of how well experiments were imputed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from predictd.constants import BASELINES
from predictd.report.drawing import BASELINE, GREY, MODEL, SECOND, elided, new_figure, points
from predictd.report.scores import Row, Score, by_group, finite
from predictd.report.svg import tip

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Assays whose signal is drawn; a page has room for so many.
MOST_DENSITIES = 24
# Assays or cell types that one figure has lines for.
MOST_GROUPS = 60
# Titles of the panels by assay and by cell type.
CORRELATION = "correlation with what was observed"
WIDTH = "predicted sd / sd of the track"
GAIN = "MSEglobal / that of the better baseline"
_NAMES = {"assay_mean": "assay mean", "assay_mean_scaled": "assay mean, scaled"}


@dataclass(frozen=True)
class Density:
    """Observed against imputed signal of an assay.

    Attributes
    ----------
    low, high
        Range of both axes, in transformed space.
    counts
        int64 (observed × imputed): bins in even steps over the range.
    """

    low: float
    high: float
    counts: npt.NDArray[np.int64]


def groups_figure(scores: Sequence[Score], what: str) -> Figure:
    """Correlations, widths of intervals and errors by assay or cell type, the most trustworthy at the top."""
    names = [str(row[0]) for row in by_group(scores, what).rows]
    place = {name: -index for index, name in enumerate(names)}
    y = np.array([place[getattr(score.pair, what)] for score in scores], dtype=float)
    # Points of a line are moved apart by their order, not by chance.
    order = np.zeros(len(y))
    for row in place.values():
        own = np.flatnonzero(y == row)
        order[own] = np.linspace(-0.25, 0.25, own.size) if own.size > 1 else 0
    panels = group_panels(scores)
    figure = new_figure(3 + 2.5 * len(panels), 1.1 + 0.24 * len(names))
    axes: Any = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    tips = [_tip(score) for score in scores]
    for ax, (title, values) in zip(axes, panels, strict=True):
        if title == GAIN:
            ax.set_xscale("log")
            ax.axvline(1, color=BASELINE, lw=1)
        points(ax, values, y + order, tips, colour=MODEL)
        ax.set_xlabel(title)
        ax.grid(axis="y", color="#eeeeee")
        ax.tick_params(axis="y", length=0)
        if title == GAIN:
            _plain_numbers([ax], "x")
        else:
            # From no trust to full trust, so that small differences look small.
            low, high = ax.get_xlim()
            ax.set_xlim(min(low, 0), max(high, 1))
    axes[0].set_yticks(list(place.values()), [elided(name) for name in names])
    for label, name in zip(axes[0].get_yticklabels(), names, strict=True):
        label.set_url(tip(name))
    axes[0].set_ylim(-len(names) + 0.4, 0.6)
    return figure


def group_panels(scores: Sequence[Score]) -> list[tuple[str, list[float]]]:
    """Titles and values of what `groups_figure` can show of more than one experiment."""
    panels = [
        (CORRELATION, [score.correlation for score in scores]),
        (WIDTH, [score.width for score in scores]),
        (GAIN, [score.ratio for score in scores]),
    ]
    return [(title, values) for title, values in panels if finite(values).size > 1]


def shown_scores(scores: Sequence[Score], what: str) -> Sequence[Score]:
    """Scores of the assays or cell types that are drawn: of very many the best and the worst."""
    names = [str(row[0]) for row in by_group(scores, what).rows]
    if len(names) <= MOST_GROUPS:
        return scores
    shown = {*names[: MOST_GROUPS // 2], *names[-MOST_GROUPS // 2 :]}
    return [score for score in scores if getattr(score.pair, what) in shown]


def _tip(score: Score) -> str:
    """What a point says where the pointer rests on it."""
    lines = [
        f"{score.pair.cell_type}  {score.pair.assay}"
        + (f"  (fold {score.fold})" if score.fold != "." else ""),
        f"correlation {score.correlation:.3g}, MSEglobal {score.mse:.3g}",
    ]
    if np.isfinite(score.ratio):
        lines.append(f"better baseline: MSEglobal {score.best_baseline:.3g}, ratio {score.ratio:.3g}")
    if np.isfinite(score.width):
        lines.append(f"predicted sd {score.width:.3g} of what is expected of the track")
    if score.training is not None:
        lines.append(f"trained on {score.training[0]} of its cell type, {score.training[1]} of its assay")
    if score.flags:
        lines.append(f"quality control: {score.flags}")
    return "\n".join(lines)


def baseline_figure(scores: Sequence[Score]) -> Figure:
    """Each experiment's error against those of the baselines."""
    figure = new_figure(8, 4)
    axes: Any = figure.subplots(1, 2, sharex=True, sharey=True)
    mse = np.array([score.mse for score in scores])
    tips = [_tip(score) for score in scores]
    for ax, name in zip(axes, BASELINES, strict=True):
        other = np.array([score.baselines.get(name, {}).get("MSEglobal", np.nan) for score in scores])
        known = np.isfinite(other) & (other > 0) & (mse > 0)
        ax.set(xscale="log", yscale="log", xlabel=f"MSEglobal of the {_NAMES[name]}", aspect="equal")
        points(ax, np.where(known, other, np.nan), mse, tips, colour=MODEL, alpha=0.7)
        if known.any():
            ends = [min(mse[known].min(), other[known].min()), max(mse[known].max(), other[known].max())]
            ax.plot(ends, ends, color=GREY, lw=1)
        share = f"{np.mean(mse[known] < other[known]):.0%}" if known.any() else "none"
        ax.set_title(f"better in {share} of {known.sum()}")
    axes[0].set_ylabel("MSEglobal of the model")
    _plain_numbers(axes, "x")
    _plain_numbers(axes[:1], "y")
    return figure


def training_counts(scores: Sequence[Score]) -> list[tuple[int, str]]:
    """Places in `Score.training`, and their names, of the numbers of training experiments that are not all the same."""
    counts = np.array([score.training for score in scores if score.training is not None]).reshape(-1, 2)
    named = enumerate(("cell type", "assay"))
    return [(index, what) for index, what in named if np.unique(counts[:, index]).size > 1]


def training_figure(scores: Sequence[Score]) -> Figure:
    """Correlation against how many experiments of the cell type, and of the assay, were trained on."""
    from matplotlib.ticker import MaxNLocator

    known = [score for score in scores if score.training is not None]
    panels = training_counts(scores)
    figure = new_figure(4 * len(panels), 3.4)
    axes: Any = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    correlation = np.array([score.correlation for score in known])
    tips = [_tip(score) for score in known]
    for ax, (index, what) in zip(axes, panels, strict=True):
        counts = np.array([score.training[index] for score in known if score.training is not None])
        points(ax, counts, correlation, tips, colour=MODEL, alpha=0.6, label="an experiment")
        places = np.unique(counts)
        known_at = [finite(correlation[counts == place]) for place in places]
        medians = [float(np.median(own)) if own.size else np.nan for own in known_at]
        ax.plot(places, medians, "-", color=BASELINE, lw=1.2, label="median")
        ax.set_xlabel(f"training experiments of the same {what}")
        ax.set_xlim(counts.min() - 0.5, counts.max() + 0.5)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0].set_ylabel(CORRELATION)
    axes[-1].legend()
    return figure


def density_figure(densities: Mapping[str, Density]) -> Figure:
    """Observed against imputed signal of each assay, in hexagons, colour by the logarithm of their bins."""
    from matplotlib.colors import LogNorm

    by_bins = sorted(densities, key=lambda assay: (-int(densities[assay].counts.sum()), assay))
    shown = sorted(by_bins[:MOST_DENSITIES])
    columns = min(5, len(shown))
    rows = -(-len(shown) // columns)
    figure = new_figure(2.1 * columns + 0.6, 2.15 * rows + 0.4)
    axes: Any = figure.subplots(rows, columns, squeeze=False)
    norm = LogNorm(1, max(2, *(int(densities[assay].counts.max()) for assay in shown)))
    drawn: Any = None
    for ax, assay in zip(axes.flat, shown, strict=False):
        own = densities[assay]
        middles = own.low + (np.arange(len(own.counts)) + 0.5) * (own.high - own.low) / len(own.counts)
        y, x = (grid.ravel() for grid in np.meshgrid(middles, middles, indexing="ij"))
        bins = own.counts.ravel()
        there = bins > 0
        drawn = ax.hexbin(
            x[there],
            y[there],
            C=bins[there],
            reduce_C_function=np.sum,
            gridsize=36,
            extent=(own.low, own.high, own.low, own.high),
            cmap="viridis",
            norm=norm,
            linewidths=0.1,
            mincnt=1,
            rasterized=True,
        )
        ax.axline((own.low, own.low), slope=1, color=BASELINE, lw=0.8)
        ax.set_title(elided(assay, 22), fontweight="normal", url=tip(assay))
        ax.set_aspect("equal")
    for ax in axes.flat[len(shown) :]:
        ax.set_axis_off()
    figure.supxlabel("imputed (transformed)", size=9)
    figure.supylabel("observed (transformed)", size=9)
    figure.colorbar(drawn, ax=axes, label="bins", shrink=min(1.0, 0.8), aspect=20 * rows)
    return figure


def reliability_figure(covered: Sequence[Mapping[str, float]], by_signal: Sequence[Row]) -> Figure:
    """How often calibrated intervals hold: by nominal share, and along predicted signal."""
    figure = new_figure(10, 3.6)
    axes: Any = figure.subplots(1, 3)
    columns = sorted(
        (name for name in covered[0] if name.startswith("within_") and name != "within_1sd"), key=_nominal
    )
    nominal = np.array([_nominal(name) for name in columns])
    shares = np.array([[own[name] for name in columns] for own in covered])
    shares = shares[np.isfinite(shares).all(axis=1)]
    axes[0].plot([0, 1], [0, 1], color=GREY, lw=1)
    if len(shares):
        low, middle, high = np.percentile(shares, (10, 50, 90), axis=0)
        axes[0].fill_between(nominal, low, high, color=MODEL, alpha=0.2, lw=0, label="8 in 10 experiments")
        axes[0].plot(nominal, middle, "o-", color=MODEL, ms=4, label="median experiment")
        axes[0].plot(nominal, shares.mean(axis=0), "x", color=BASELINE, label="mean")
        axes[0].legend(loc="upper left")
    axes[0].set(
        xlabel="nominal share", ylabel="share of bins within", title="Intervals", xlim=(0, 1), ylim=(0, 1.01)
    )
    axes[0].set_aspect("equal")
    steps = [row for row in by_signal if float(row["bins"]) >= 100]
    middles = np.arcsinh([(_end(row, "predicted_from") + _end(row, "predicted_to")) / 2 for row in steps])
    for name, colour in (("within_95", MODEL), ("within_68.27", SECOND)):
        axes[1].axhline(_nominal(name), color=colour, lw=0.8, ls=":")
        label = f"nominal {100 * _nominal(name):g} %"
        axes[1].plot(middles, [float(row[name]) for row in steps], ".-", color=colour, label=label)
    axes[1].set(ylim=(0, 1.01), ylabel="share of bins within", title="Intervals along the signal")
    axes[1].legend(loc="lower left")
    axes[2].plot(
        middles, [float(row["rmse"]) for row in steps], ".-", color=BASELINE, label="error (root mean square)"
    )
    axes[2].plot(middles, [float(row["sd"]) for row in steps], ".-", color=MODEL, label="predicted sd")
    axes[2].set(ylabel="in units of the track's expected sd", title="Error and predicted sd")
    axes[2].set_ylim(bottom=0)
    axes[2].legend(loc="best")
    for ax in axes[1:]:
        ax.set_xlabel("imputed signal (sd above the track's mean)")
        ticks = [
            t
            for t in (-5, -1, 0, 1, 2, 5, 10, 20)
            if len(middles) and middles.min() <= np.arcsinh(t) <= middles.max()
        ]
        ax.set_xticks(np.arcsinh(ticks), [f"{t:g}" for t in ticks])
    return figure


def _end(row: Row, name: str) -> float:
    """An end of a step of predicted signal; of those that are open, a step's width away."""
    value = float(row[name])
    if np.isfinite(value):
        return value
    other = np.arcsinh(float(row["predicted_to" if name == "predicted_from" else "predicted_from"]))
    return float(np.sinh(other + (0.25 if name == "predicted_to" else -0.25)))


def _nominal(column: str) -> float:
    return float(column.removeprefix("within_")) / 100


def _plain_numbers(axes: Any, which: str) -> None:
    """0.1 instead of 10⁻¹ on logarithmic axes."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for ax in axes:
        axis = getattr(ax, f"{which}axis")
        low, high = axis.get_view_interval()
        narrow = 0 < high < 5 * low
        subs = (1.0, 1.2, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0) if narrow else (1.0, 2.0, 5.0)
        axis.set_major_locator(LogLocator(subs=subs, numticks=8))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
