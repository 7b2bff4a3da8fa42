"""Scores for MultiQC's reports: files of its custom content (https://docs.seqera.io/multiqc/custom_content)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from predictd.constants import MEASURES, MORE_IS_BETTER
from predictd.report.glossary import MEANINGS
from predictd.report.scores import Score, Table, by_group

# What every sample of a MultiQC report gets; the other numbers have a table of their own.
_GENERAL = ("GWcorrasinh", "relative_sd", "MSEglobal")
_RANGES = {"GWcorrasinh": (-1, 1), "GWcorr": (-1, 1), "GWspear": (-1, 1), "within_95": (0, 1)}
_SHARES = ("Match1", "Catch", "Auc", "Aupr")
_PARENT = {
    "parent_id": "predictd",
    "parent_name": "predictd",
    "parent_description": "Imputed tracks, compared with what was observed.",
}


def multiqc_files(method: str, scores: Sequence[Score]) -> dict[str, dict[str, Any]]:
    """Content of files by their names: general statistics, a table of all measures, and correlations by assay.

    A sample is an experiment, CELL:ASSAY.
    """
    several = len({score.pair for score in scores}) < len(scores)
    numbers = {
        f"{score.pair}{f' {score.fold}' if several else ''}": _known(
            {
                **{name: score.model[name] for name in MEASURES},
                "relative_sd": score.width,
                "within_95": score.covered.get("within_95", np.nan),
                "ratio": score.ratio,
            }
        )
        for score in scores
    }
    columns = {name for own in numbers.values() for name in own}
    general = [name for name in _GENERAL if name in columns]
    rest = [name for name in ("within_95", "ratio", *MEASURES) if name in columns and name not in general]
    files = {
        "predictd_general_mqc.json": {
            "id": "predictd_general",
            "plot_type": "generalstats",
            "headers": {name: _header(name) for name in general},
            "data": _columns(numbers, general),
        },
        "predictd_measures_mqc.json": {
            "id": "predictd_measures",
            **_PARENT,
            "section_name": "Measures",
            "description": f"Scores of '{method}' for each experiment. A ratio below 1 is better than the baselines.",
            "plot_type": "table",
            "pconfig": {
                "id": "predictd_measures_table",
                "title": "predictd: measures",
                "col1_header": "Experiment",
            },
            "headers": {name: _header(name) for name in rest},
            "data": _columns(numbers, rest),
        },
    }
    assays = by_group(scores, "assay")
    if len(assays.rows) > 1 and "GWcorrasinh" in assays.columns:
        files["predictd_assays_mqc.json"] = _bars(assays)
    return files


def _bars(assays: Table) -> dict[str, Any]:
    """Mean correlation of each assay as a bar."""
    place = assays.columns.index("GWcorrasinh")
    values = {str(row[0]): _known({"GWcorrasinh": float(row[place])}) for row in assays.rows}
    return {
        "id": "predictd_assays",
        **_PARENT,
        "section_name": "Correlation by assay",
        "description": "Mean correlation of imputed and observed signal (transformed) over an assay's experiments.",
        "plot_type": "bargraph",
        "pconfig": {
            "id": "predictd_assays_plot",
            "title": "predictd: correlation by assay",
            "ylab": "correlation",
            "cpswitch": False,
            "tt_decimals": 3,
        },
        "data": {assay: own for assay, own in values.items() if own},
    }


def _header(name: str) -> dict[str, Any]:
    """How MultiQC shows a column."""
    bounds = _RANGES.get(name, (0, 1) if name.startswith(_SHARES) else (0, None))
    low, high = bounds
    best_is_low = name not in MORE_IS_BETTER and name != "within_95"
    return {
        "title": name,
        "description": MEANINGS[name].text,
        "min": low,
        **({} if high is None else {"max": high}),
        "format": "{:,.3f}",
        "scale": "OrRd" if best_is_low else "GnBu",
    }


def _known(numbers: Mapping[str, float]) -> dict[str, float]:
    return {name: float(f"{value:.6g}") for name, value in numbers.items() if np.isfinite(value)}


def _columns(numbers: Mapping[str, Mapping[str, float]], names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Some columns of the experiments that have any of them."""
    kept = {key: {name: own[name] for name in names if name in own} for key, own in numbers.items()}
    return {key: own for key, own in kept.items() if own}
