"""Small tables for the terminal."""

from __future__ import annotations

from predictd.workflows.evaluation.evaluate import mean_measures
from predictd.workflows.evaluation.score import Row

_SHOWN = ("MSEglobal", "MSE1obs", "GWcorrasinh", "GWspear", "AucObs1")


def measures_table(rows: list[Row]) -> str:
    """Means over experiments of the main measures, a line a method."""
    means = mean_measures(rows, _SHOWN)
    width = max(map(len, means))
    header = f"{'method':{width}}  " + "  ".join(f"{measure:>11}" for measure in _SHOWN)
    lines = [
        f"{method:{width}}  " + "  ".join(f"{own[m]:11.4f}" for m in _SHOWN) for method, own in means.items()
    ]
    return "\n".join([header, *lines])
