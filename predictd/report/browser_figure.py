"""A region of the genome as on a browser: a row for each pair, and genes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from predictd.report.drawing import GREY, MODEL, elided, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Float32 = npt.NDArray[np.float32]
# Names of genes are written where there are not too many.
_MOST_NAMES = 60
_ARROWS = {"+": " →", "-": " ←"}


@dataclass(frozen=True)
class Row:
    """What is drawn of a pair.

    Attributes
    ----------
    name
        Cell type and assay.
    observed, imputed, sd
        float32 (bins,) in the unit of the track; None: there is none. What is not known is NaN.
    bounds
        Least and largest signal that there can be, in this unit.
    """

    name: str
    observed: Float32 | None
    imputed: Float32 | None
    sd: Float32 | None
    bounds: tuple[float, float]


@dataclass(frozen=True)
class Gene:
    """A gene: its name, its place in bp, and its strand."""

    name: str
    start: int
    end: int
    strand: str


def browser_figure(
    chrom: str,
    edges: npt.NDArray[np.int64],
    rows: Sequence[Row],
    genes: Sequence[Gene] | None,
    *,
    scale: str,
    width: float,
    title: str | None,
) -> Figure:
    """Observed signal as areas, imputed signal as lines, its standard deviation as a band.

    Parameters
    ----------
    chrom, edges
        Where: int64 (bins + 1,), the borders of the bins in bp; what is between two regions is a bin without values.
    rows
        From above.
    genes
        Drawn below; None: none.
    scale
        Of signal: linear or arcsinh.
    width, title
        In inches; None: the place.
    """
    lanes = _lanes(genes or [], edges)
    heights = [1.0] * len(rows) + ([0.25 + 0.25 * (max(lanes, default=0) + 1)] if genes is not None else [])
    figure = new_figure(width, 0.9 + 1.1 * sum(heights))
    grid: Any = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)
    for ax, row in zip(grid[:, 0], rows, strict=False):
        _draw_row(ax, edges, row)
        if scale == "arcsinh":
            _scale_by_arcsinh(ax)
        else:
            ax.locator_params(axis="y", nbins=3)
    if genes is not None:
        _draw_genes(grid[-1, 0], genes, lanes, edges)
    last = grid[-1, 0]
    last.set_xlim(edges[0], edges[-1])
    _mark_places(last, edges)
    last.set_xlabel(f"{elided(chrom, 24)} ({_unit(edges)[1]})")
    grid[0, 0].set_title(title or f"{chrom}:{edges[0]:,}-{edges[-1]:,}", loc="left")
    handles = {
        label: handle
        for ax in grid[: len(rows), 0]
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    figure.legend(list(handles.values()), list(handles), loc="outside upper right", ncols=3)
    return figure


def _draw_row(ax: Any, edges: npt.NDArray[np.int64], row: Row) -> None:
    if row.observed is not None:
        ax.stairs(row.observed, edges, fill=True, color="#bbbbbb", label="observed")
    if row.imputed is not None:
        if row.sd is not None:
            low, high = (np.clip(row.imputed + own, *row.bounds) for own in (-row.sd, row.sd))
            ax.stairs(high, edges, baseline=low, fill=True, color=MODEL, alpha=0.25, lw=0, label="± 1 sd")
        ax.stairs(row.imputed, edges, baseline=None, color=MODEL, lw=1, label="imputed")
    ax.set_ylabel(elided(row.name, 22), rotation=0, ha="right", va="center", size=8)
    ax.axhline(0, color=GREY, lw=0.5)
    ax.margins(y=0.05)


def _scale_by_arcsinh(ax: Any) -> None:
    low, high = ax.get_ylim()
    ax.set_yscale("asinh")
    ax.set_ylim(low, high)
    marks = (0, 1, 2, 5) if high < 10 else (0, *(10**power for power in range(9)))
    shown = [mark for mark in marks if mark <= high]
    ax.set_yticks(shown, [f"{mark:g}" for mark in shown])
    ax.set_yticks([], minor=True)


def _draw_genes(ax: Any, genes: Sequence[Gene], lanes: Sequence[int], edges: npt.NDArray[np.int64]) -> None:
    for gene, lane in zip(genes, lanes, strict=True):
        start, end = max(gene.start, int(edges[0])), min(gene.end, int(edges[-1]))
        ax.barh(-lane, end - start, left=start, height=0.35, color="#444444")
        if gene.name and len(genes) <= _MOST_NAMES:
            text = f"{elided(gene.name, 18)}{_ARROWS.get(gene.strand, '')}"
            ax.text(start, -lane - 0.28, text, size=7, va="top", ha="left", clip_on=True)
    ax.set_ylim(-max(lanes, default=0) - 0.9, 0.5)
    ax.set_yticks([])
    ax.set_ylabel("genes", rotation=0, ha="right", va="center", size=8)


def _lanes(genes: Sequence[Gene], edges: npt.NDArray[np.int64]) -> list[int]:
    """Of each gene the lane in which it and its name touch no other."""
    character = (edges[-1] - edges[0]) / 110
    free: list[float] = []
    lanes = []
    for gene in genes:
        end = max(gene.end, max(gene.start, edges[0]) + (len(elided(gene.name, 18)) + 3) * character)
        lane = next((index for index, place in enumerate(free) if place <= gene.start), len(free))
        free[lane : lane + 1] = [end]
        lanes.append(lane)
    return lanes


def _unit(edges: npt.NDArray[np.int64]) -> tuple[float, str]:
    return (1e6, "Mb") if edges[-1] - edges[0] >= 1_000_000 else (1e3, "kb")


def _mark_places(ax: Any, edges: npt.NDArray[np.int64]) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    unit, _ = _unit(edges)
    ax.xaxis.set_major_locator(MaxNLocator(6))
    ax.xaxis.set_major_formatter(FuncFormatter(partial(_place, unit)))


def _place(unit: float, place: float, _: int | None) -> str:
    return f"{place / unit:,.6g}"
