"""Figures of factors: trees with heat maps, and embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.cluster.hierarchy import dendrogram

from predictd.report.drawing import GREY, MODEL, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = npt.NDArray[np.float64]
_MOST_NAMES = 60


def tree_figure(names: Sequence[str], rows: Array, tree: Array, order: npt.NDArray[np.intp]) -> Figure:
    """Rows of factors (n × L) in the order of their tree, next to the tree."""
    n, rank = rows.shape
    height = 1.2 + (0.19 if n <= 200 else 0.1) * n
    figure = new_figure(4.2 + min(0.22 * rank, 9), height)
    axes: Any = figure.subplots(1, 2, width_ratios=(1, max(1.0, 0.1 * rank)))
    if n > 1:
        drawn = dendrogram(tree, no_plot=True)
        for across, along in zip(drawn["dcoord"], drawn["icoord"], strict=True):
            # scipy puts the leaves at 5, 15, 25, …
            axes[0].plot(across, (np.array(along) - 5) / 10, color=GREY, lw=0.9)
    axes[0].invert_xaxis()
    axes[0].set(ylim=(n - 0.5, -0.5), xlabel="distance", yticks=[])
    axes[0].spines["left"].set_visible(False)
    limit = float(np.abs(rows).max()) or 1.0
    image = axes[1].imshow(
        rows[order], cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest"
    )
    axes[1].set_yticks(range(n), [names[i] for i in order], size=8 if n <= 200 else 5)
    axes[1].yaxis.tick_right()
    step = max(1, rank // 20)
    axes[1].set_xticks(range(0, rank, step), [str(i + 1) for i in range(0, rank, step)])
    axes[1].tick_params(length=0)
    axes[1].set_xlabel("factor")
    figure.colorbar(image, ax=axes[1], location="top", shrink=0.7, aspect=30, label="in units of signal")
    return figure


def embedding_figure(
    panels: Sequence[tuple[str, Sequence[str], Array, npt.NDArray[np.intp], tuple[float, float]]],
) -> Figure:
    """Principal components; each panel is a title, names, coordinates (n × 2), clusters and explained shares."""
    import matplotlib

    figure = new_figure(5.4 * len(panels), 5)
    axes: Any = figure.subplots(1, len(panels), squeeze=False)
    colours = matplotlib.colormaps["tab20"]
    for ax, (title, names, coordinates, clusters, explained) in zip(axes.flat, panels, strict=True):
        ax.axhline(0, color="#eeeeee", lw=0.8)
        ax.axvline(0, color="#eeeeee", lw=0.8)
        shades = [colours((int(number) - 1) % 20) for number in clusters] or MODEL
        ax.scatter(*coordinates.T, c=shades, s=26, edgecolors="white", linewidths=0.4, zorder=3)
        for index in range(min(len(names), len(names) if len(names) <= _MOST_NAMES else 0)):
            ax.annotate(names[index], coordinates[index], xytext=(4, 3), textcoords="offset points", size=7)
        ax.set_title(title)
        ax.set_xlabel(f"first component ({explained[0]:.0%} of the variance)")
        ax.set_ylabel(f"second component ({explained[1]:.0%})")
        ax.margins(0.12)
    return figure
