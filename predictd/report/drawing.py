"""Figures as files: one style, and the same bytes for the same numbers."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from predictd.errors import ConfigError

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
        raise ConfigError(f"figures need matplotlib ({err}): pip install 'predictd[report]'") from err


def rendered(draw: Callable[[], Figure]) -> dict[str, bytes]:
    """What a function draws, as the content of files by suffix: `svg` and `png`.

    Raises
    ------
    ConfigError
        If matplotlib is not installed.
    """
    require_matplotlib()
    import matplotlib

    with matplotlib.rc_context({**matplotlib.rcParamsDefault, **_STYLE}):
        figure = draw()
        files = {}
        for suffix, metadata in (("svg", {"Date": None, "Creator": None}), ("png", {"Software": None})):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=suffix, dpi=_DPI, metadata=metadata)
            files[suffix] = buffer.getvalue()
    return files


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of a size in inches, which no window knows of."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height))
