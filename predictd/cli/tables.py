"""Small tables for the terminal."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from math import inf, isfinite
from statistics import mean, median
from typing import TYPE_CHECKING

from predictd.wording import aligned, some
from predictd.workflows.evaluation.evaluate import known_measures, mean_measures
from predictd.workflows.evaluation.score import Row

if TYPE_CHECKING:
    from predictd.model.measures.comparison import Comparison

# Main measures, those of the challenge where a table has these: which of them it has are shown.
_SHOWN = ("MSEglobal", "MSE1obs", "GWcorrasinh", "GWspear", "AucObs1")
_SHOWN_CHALLENGE = ("mse", "mse1obs", "msevar", "gwcorr", "gwspear")


def measures_table(rows: Sequence[Row]) -> str:
    """Means over experiments of the main measures, a line a method."""
    shown = _SHOWN if _SHOWN[0] in rows[0] else _SHOWN_CHALLENGE
    means = mean_measures(rows, shown)
    tracks = {method: sum(row["method"] == method for row in rows) for method in means}
    lines = [["method", "tracks", *shown]]
    lines += [
        [method, str(tracks[method]), *(f"{own[m]:.4f}" for m in shown)] for method, own in means.items()
    ]
    fewer = [
        f"{measure} of {method} over {number} of {tracks[method]}"
        for method, own in known_measures(rows, shown).items()
        for measure, number in own.items()
        if number < tracks[method]
    ]
    note = f"\nMeans are over the tracks that have a value: {some(fewer, 3)}." if fewer else ""
    return aligned(lines) + note


def comparison_table(comparison: Comparison) -> str:
    """Mean ranks, and by how much the first measure differs from that of the method with the best mean rank."""
    measure = comparison.differences[0].measure
    places = [rank if isfinite(rank) else inf for rank in comparison.ranks[:, 0].tolist()]
    best = comparison.methods[places.index(min(places))]
    lines = [["method", "mean rank", "(genome)", f"{measure} minus {best}'s", "(tracks)", "better", "worse"]]
    for method, (rank, low, high) in zip(comparison.methods, comparison.ranks.tolist(), strict=True):
        cells = ["", "", "", ""]
        for d in comparison.differences:
            if d.measure == measure and {d.method, d.other} == {method, best}:
                sign = 1 if d.method == method else -1
                ends = sorted(sign * end for end in d.clusters)
                won = (d.wins, d.losses)[::sign]
                interval = f"{_signed(ends[0])} to {_signed(ends[1])}" if isfinite(ends[0]) else "-"
                cells = [_signed(sign * d.difference), interval, *map(str, won)]
        shown = [f"{rank:.2f}", f"{low:.2f} to {high:.2f}"] if isfinite(rank) else ["-", "-"]
        lines.append([method, *shown, *cells])
    note = (
        "\nRanks are over the measures of the ENCODE Imputation Challenge. 95 % intervals of ranks are over stretches "
        f"of the genome, those of {measure} over tracks, robust to clusters of cell types and assays (- where all "
        f"tracks are of one cell type, or of one assay). better, worse: on how many tracks than {best}."
    )
    return aligned(lines) + note


def _signed(value: float) -> str:
    """Four decimals with their sign; what rounds to 0 is +0."""
    return f"{round(value, 4) + 0.0:+.4f}"


def members_table(rows: Sequence[Row]) -> str:
    """Mean and median error of each member of a stack, of all together, and of the model with its networks."""
    by_member: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        # Of a constant track no error is relative to its variance.
        if isfinite(float(row["error"])):
            by_member[str(row["member"])].append(float(row["error"]))
    lines = [["error", "mean", "median"]]
    lines += [[name, f"{mean(own):.4f}", f"{median(own):.4f}"] for name, own in by_member.items()]
    return (
        f"{aligned(lines)}\nErrors are squared errors over the variance of the track; only those of the model are with "
        "networks, and cut off below 0."
    )
