"""Figures of networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from predictd.report.drawing import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def degrees_figure(degrees: Mapping[str, npt.NDArray[np.integer[Any]]]) -> Figure:
    """Which share of genes has so many links or more, on logarithmic axes; a curve a kind of degree (genes,)."""
    figure = new_figure(6, 4.5)
    axes: Any = figure.subplots()
    for label, degree in degrees.items():
        own = np.sort(degree[degree > 0])
        if own.size:
            axes.step(own, 1 - np.arange(own.size) / own.size, where="post", label=label)
    axes.set(
        xscale="log", yscale="log", xlabel="number of links", ylabel="share of genes with so many or more"
    )
    axes.legend()
    return figure
