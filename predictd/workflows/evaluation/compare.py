"""Several methods side by side: what comparison.tsv says."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from predictd.constants import MAPPED, METRICS_TSV
from predictd.io.results import write_rows
from predictd.model.measures.comparison import DRAWS, Array, Comparison, block_weights, compare_methods
from predictd.model.measures.metrics import resampled_measures
from predictd.pairs import Experiment
from predictd.workflows.evaluation.score import Scored

_COMPARISON_TSV = "comparison.tsv"
# Blocks of the genome that the bootstrap draws from, and how many bins each has at least.
_MOST_BLOCKS, _LEAST_BINS = 100, 200
COLUMNS = (
    *("measure", "method", "other", "tracks", "mean", "other_mean", "difference"),
    *("clusters_low", "clusters_high", "blocks_low", "blocks_high", "wins", "losses"),
)


def comparison_path(metrics: Path) -> Path:
    """Where the comparison goes that belongs to a file of scores: comparison.tsv next to metrics.tsv."""
    name = _COMPARISON_TSV if metrics.name == METRICS_TSV else f"{metrics.stem}.{_COMPARISON_TSV}"
    return metrics.with_name(name)


def n_blocks(n_bins: int) -> int:
    """How many blocks a genome of so many bins is cut into."""
    return max(2, min(_MOST_BLOCKS, n_bins // _LEAST_BINS))


def compare(scored: Sequence[Scored], measures: Sequence[str]) -> Comparison:
    """Compare the methods of scored pairs; those whose values were mapped are compared with each other."""
    own, mapped = (
        [s for s in scored if str(s.row["method"]).endswith(MAPPED) == which] for which in (False, True)
    )
    found = [_compare(some, measures) for some in (own, mapped) if some]
    return Comparison(
        tuple(method for one in found for method in one.methods),
        np.concatenate([one.ranks for one in found]),
        [difference for one in found for difference in one.differences],
    )


def _compare(scored: Sequence[Scored], measures: Sequence[str]) -> Comparison:
    by_pair: dict[Experiment, dict[str, Scored]] = {}
    for one in scored:
        pair = Experiment(str(one.row["cell_type"]), str(one.row["assay"]))
        by_pair.setdefault(pair, {})[str(one.row["method"])] = one
    methods = list(dict.fromkeys(str(one.row["method"]) for one in scored))
    pairs = sorted(by_pair)
    shape = len(pairs), len(methods)
    scores = {measure: np.full(shape, np.nan) for measure in measures}
    draws: dict[str, Array] = {}
    weights = block_weights(len(scored[0].sums)).astype(np.float64)
    for i, pair in enumerate(pairs):
        for j, method in enumerate(methods):
            found = by_pair[pair].get(method)
            if found is None or not found.row["bins"]:
                continue
            for measure in measures:
                scores[measure][i, j] = float(found.row[measure])
            # Without BLAS, whose bits depend on its number of threads.
            sums = np.einsum("db,bc->dc", weights, found.sums)
            for measure, values in resampled_measures(sums, int(found.row["bins"]), measures).items():
                draws.setdefault(measure, np.full((DRAWS, *shape), np.nan))[:, i, j] = values
    return compare_methods(pairs, methods, scores, draws)


def comparison_rows(comparison: Comparison) -> list[tuple[str | int | float, ...]]:
    """A row for each measure and pair of methods; see `COLUMNS`."""
    return [
        (
            *(d.measure, d.method, d.other, d.tracks, d.mean, d.other_mean, d.difference),
            *(*d.clusters, *d.blocks, d.wins, d.losses),
        )
        for d in comparison.differences
    ]


def write_comparison(path: Path, comparison: Comparison) -> None:
    """Write comparison.tsv: a line for each measure and pair of methods."""
    write_rows(path, COLUMNS, comparison_rows(comparison))
