"""Figures as files: one style, and the same bytes for the same numbers."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from predictd.errors import ConfigError
from predictd.report.svg import tip, with_titles
from predictd.wording import install

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MODEL, BASELINE, SECOND, GREY = "#1f5fa8", "#d1701c", "#3a8a4d", "#8a8a8a"
# Settings under which figures are made and saved; the salt decides the names inside of SVG files.
_STYLE: Any = {
    "svg.hashsalt": "predictd",
    "svg.fonttype": "path",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}
_DPI = 150


def require_matplotlib() -> None:
    """Raise ConfigError where matplotlib is not installed."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as err:
        raise ConfigError(f"figures need matplotlib ({err}): {install('report')}") from err


def rendered(draw: Callable[[], Figure]) -> dict[str, bytes]:
    """What a function draws, as the content of files by suffix: `svg` and `png`.

    Raises
    ------
    ConfigError
        If matplotlib is not installed.
    """
    with _style():
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.backends.backend_svg import FigureCanvasSVG

        figure = draw()
        figure.set_dpi(_DPI)
        # Once for both files, which `savefig` would lay out and draw twice each.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        svg, png = io.BytesIO(), io.BytesIO()
        FigureCanvasAgg(figure).print_png(png, metadata={"Software": None})
        # Last: it leaves the figure with 72 dots an inch, the unit of SVG.
        FigureCanvasSVG(figure).print_svg(svg, metadata={"Date": None, "Creator": None})
    return {"svg": with_titles(svg.getvalue()), "png": png.getvalue()}


def styled(draw: Callable[[], Figure]) -> Figure:
    """What a function draws, in our style, to be shown or saved later.

    Raises
    ------
    ConfigError
        If matplotlib is not installed.
    """
    with _style():
        return draw()


@contextmanager
def _style() -> Iterator[None]:
    require_matplotlib()
    import matplotlib

    with matplotlib.rc_context({**matplotlib.rcParamsDefault, **_STYLE}):
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of a size in inches, which no window knows of."""
    from predictd.report.shown_figure import ShownFigure

    return ShownFigure(figsize=(width, height))


def points(
    ax: Any, x: npt.ArrayLike, y: npt.ArrayLike, tips: Sequence[str], *, colour: str, **style: Any
) -> None:
    """Draw points that say what they are where the pointer rests on them; those without finite places are left out."""
    places = np.array([x, y], dtype=np.float64).reshape(2, -1)
    for values, scale in zip(places, (ax.get_xscale(), ax.get_yscale()), strict=True):
        if scale == "log":
            values[values <= 0] = np.nan
    drawn = np.isfinite(places.sum(axis=0))
    marks = {"s": 22, "linewidths": 0 if style.get("marker", "o") == "o" else 1, **style}
    found = ax.scatter(*places[:, drawn], c=colour, **marks)
    found.set_urls([tip(text) for text, own in zip(tips, drawn.tolist(), strict=True) if own])


def elided(name: str, most: int = 28) -> str:
    """A name that fits next to an axis: the middle of a long one is left out."""
    half = (most - 1) // 2
    return name if len(name) <= most else f"{name[:half]}…{name[-half:]}"
