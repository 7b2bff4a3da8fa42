"""Stretches of the genome: imputed signal over observed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from predictd.report.drawing import GREY, MODEL, elided, new_figure
from predictd.report.svg import tip

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SMALL: Any = {"loc": "left", "size": 8, "fontweight": "normal"}
Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Stretch:
    """Consecutive bins of a chromosome, with transformed signal.

    Attributes
    ----------
    chrom, start, end
        0-based half-open, in bp.
    observed, imputed
        float32 (bins,); NaN where there is none.
    """

    chrom: str
    start: int
    end: int
    observed: Float32
    imputed: Float32

    @property
    def correlation(self) -> float:
        """Pearson correlation within the stretch; NaN where one of both does not vary."""
        known = np.isfinite(self.observed) & np.isfinite(self.imputed)
        one, other = self.observed[known].astype(float), self.imputed[known].astype(float)
        if one.size < 2 or not (one.std() and other.std()):
            return np.nan
        return float(np.corrcoef(one, other)[0, 1])


@dataclass(frozen=True)
class Example:
    """A track and stretches of it.

    Attributes
    ----------
    rank, name
        Such as `best`; cell type and assay.
    correlation
        Over the whole track.
    unit
        Of the axis.
    floor
        Transformed signal from which observed signal is filled; None: the lowest that is drawn.
    ticks
        Places in transformed signal, and what is written there; None: numbers as they are.
    stretches
        Of one number for all examples of a figure.
    """

    rank: str
    name: str
    correlation: float
    unit: str
    floor: float | None
    ticks: Sequence[tuple[float, str]] | None
    stretches: Sequence[Stretch]


def regions_figure(examples: Sequence[Example]) -> Figure:
    """Observed signal as areas, imputed signal as lines: a row a track, a column a stretch."""
    columns = max(len(example.stretches) for example in examples)
    figure = new_figure(10, 0.5 + 1.9 * len(examples))
    rows: Any = figure.subplots(len(examples), columns, sharey="row", squeeze=False)
    for axes, example in zip(rows, examples, strict=True):
        for ax, stretch in zip(axes, example.stretches, strict=False):
            _draw(ax, example, stretch)
        own = f"{example.rank}: {elided(example.name, 36)}, correlation {example.correlation:.2f}"
        axes[0].set_title(f"{own}, {_agreement(example.stretches[0])}", url=tip(example.name), **_SMALL)
        for ax in axes[len(example.stretches) :]:
            ax.set_axis_off()
        axes[0].set_ylabel(example.unit, size=8)
        if example.ticks is not None:
            low, high = axes[0].get_ylim()
            shown = [(place, text) for place, text in example.ticks if low <= place <= high]
            axes[0].set_yticks([place for place, _ in shown], [text for _, text in shown])
    handles, labels = rows[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=2)
    return figure


def _agreement(stretch: Stretch) -> str:
    r = stretch.correlation
    return f"here {r:.2f}" if np.isfinite(r) else "here one of both is constant"


def _draw(ax: Any, example: Example, stretch: Stretch) -> None:
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    steps = np.linspace(stretch.start, stretch.end, len(stretch.observed) + 1) / 1e6
    known = np.concatenate([stretch.observed, stretch.imputed])
    known = known[np.isfinite(known)]
    floor = example.floor if example.floor is not None else float(known.min()) if known.size else 0.0
    ax.stairs(stretch.observed, steps, baseline=floor, fill=True, color="#bbbbbb", label="observed")
    ax.stairs(stretch.imputed, steps, baseline=None, color=MODEL, lw=1, label="imputed")
    if example.floor is not None and known.size and known.min() < floor:
        ax.axhline(floor, color=GREY, lw=0.6)
    ax.set_title(_agreement(stretch), **_SMALL)
    ax.set_xlim(steps[0], steps[-1])
    ax.set_xlabel(f"{elided(stretch.chrom, 16)} (Mb)", size=8)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    span = steps[-1] - steps[0]
    digits = int(np.clip(np.ceil(-np.log10(span)) + 1, 0, 6))
    ax.xaxis.set_major_formatter(StrMethodFormatter(f"{{x:.{digits}f}}"))
