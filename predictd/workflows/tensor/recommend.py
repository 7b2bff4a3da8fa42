"""`predictd recommend`: the next experiments to run."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from predictd.engine import Engine
from predictd.engine.base import one_blas_thread
from predictd.errors import ConfigError, DataError
from predictd.io.costs import read_costs
from predictd.io.files import make_directory, sha256_of, write_text
from predictd.io.results import write_run_json
from predictd.io.tensor.store import Tensor
from predictd.model.labels.design import choose_experiments, conditional_covariance
from predictd.pairs import Experiment, axes
from predictd.provenance import RunRecord
from predictd.workflows.tensor.coverage import require_complete
from predictd.workflows.tensor.moments import ensure_moments, read_moments

COLUMNS = ("rank", "cell_type", "assay", "gain", "gain_per_dollar")
# Pairs without a track whose covariance is held, of 8 bytes squared: 3.2 GB.
_MOST_PAIRS = 20_000


@dataclass(frozen=True)
class Recommendation:
    """A line of the output.

    Attributes
    ----------
    rank
        From 1.
    pair
        To measure.
    gain
        By how much it lowers the expected squared error, summed over the pairs that count, after those before it.
    gain_per_dollar
        None without costs.
    """

    rank: int
    pair: Experiment
    gain: float
    gain_per_dollar: float | None

    def line(self) -> str:
        """Tab-separated."""
        per_dollar = "." if self.gain_per_dollar is None else f"{self.gain_per_dollar:.6g}"
        return f"{self.rank}\t{self.pair.cell_type}\t{self.pair.assay}\t{self.gain:.6g}\t{per_dollar}"


@dataclass(frozen=True)
class RecommendReport:
    """What recommending came to.

    Attributes
    ----------
    rows
        The best first.
    candidates
        Missing pairs that could be chosen.
    targets
        Missing pairs whose error counts.
    before, after
        Their expected squared error, summed, before and after the recommended experiments.
    """

    rows: tuple[Recommendation, ...]
    candidates: int
    targets: int
    before: float
    after: float


def recommend(
    tensor_path: Path,
    output: Path,
    engine: Engine,
    *,
    k: int = 5,
    costs_path: Path | None = None,
    focus: str | None = None,
    moments_path: Path | None = None,
) -> RecommendReport:
    """Choose the next experiments and write them as a table.

    Parameters
    ----------
    tensor_path, output
        Directory of the tensor; table to write.
    engine
        What computes the moments.
    k
        How many to choose.
    costs_path
        Table of costs: the choice is by gain per cost, among pairs that have one.
    focus
        Name of the cell type or the assay whose missing pairs count; None: all.
    moments_path
        Moments file; None: beside the tensor.

    Raises
    ------
    PredictdError
        If names are unknown, or k pairs are not missing.
    """
    record = RunRecord.of("recommend", engine, settings={"k": k, "for": focus})
    tensor = Tensor(tensor_path)
    cell_types, assays = axes(tensor.experiments)
    costs = None if costs_path is None else read_costs(costs_path, cell_types, assays)
    observed = set(tensor.experiments)
    missing = [pair for pair in (Experiment(*p) for p in product(cell_types, assays)) if pair not in observed]
    targets = np.array([focus is None or focus in pair for pair in missing], dtype=bool)
    _check_focus(focus, cell_types, assays, int(targets.sum()), tensor_path)
    prices = [None if costs is None else costs.of(pair) for pair in missing]
    candidates = np.array([costs is None or price is not None for price in prices], dtype=bool)
    if k > candidates.sum():
        which = "missing from" if costs is None else f"priced by {costs_path} and missing from"
        raise ConfigError(f"-k {k}: only {candidates.sum()} pairs are {which} {tensor_path}; ask for fewer")
    if len(missing) > _MOST_PAIRS:
        raise DataError(
            f"{tensor_path}: {len(missing):,} pairs are missing, more than the {_MOST_PAIRS:,} that can be compared; "
            "leave out cell types or assays that do not matter"
        )
    require_complete(tensor)
    make_directory(output.parent)
    with record.stage("moments"):
        data = read_moments(ensure_moments(tensor, engine, moments_path))

    def rows_of(pairs: list[Experiment]) -> tuple[np.ndarray, np.ndarray]:
        cells, columns = (dict(zip(names, range(len(names)), strict=True)) for names in (cell_types, assays))
        return (
            np.array([cells[pair.cell_type] for pair in pairs], dtype=np.intp),
            np.array([columns[pair.assay] for pair in pairs], dtype=np.intp),
        )

    with record.stage("choose"), one_blas_thread():
        covariance = conditional_covariance(
            data.s, rows_of(list(data.experiments)), rows_of(missing), len(cell_types), len(assays)
        )
        picks = choose_experiments(
            covariance,
            targets,
            candidates,
            k,
            costs=None if costs is None else np.array([price or np.inf for price in prices]),
        )
    before = float(np.diag(covariance)[targets].sum())
    rows = []
    for rank, pick in enumerate(picks, start=1):
        price = prices[pick.index]
        rows.append(
            Recommendation(rank, missing[pick.index], pick.gain, None if price is None else pick.gain / price)
        )
    write_text(output, "\n".join(["\t".join(COLUMNS), *(row.line() for row in rows)]) + "\n")
    after = before - sum(row.gain for row in rows)
    record.inputs = {str(tensor_path): tensor.manifest.checksum}
    if costs_path is not None:
        record.inputs[str(costs_path)] = sha256_of(costs_path)
    record.results = {
        "candidates": int(candidates.sum()),
        "targets": int(targets.sum()),
        "expected_error_before": before,
        "expected_error_after": after,
    }
    write_run_json(record, output, sidecar=True)
    return RecommendReport(tuple(rows), int(candidates.sum()), int(targets.sum()), before, after)


def _check_focus(
    focus: str | None, cell_types: list[str], assays: list[str], n_targets: int, tensor_path: Path
) -> None:
    if focus is not None:
        if focus not in cell_types and focus not in assays:
            raise ConfigError(
                f"--for {focus}: {tensor_path} has no such cell type or assay; 'predictd info {tensor_path}' lists them"
            )
        if focus in cell_types and focus in assays:
            raise ConfigError(f"--for {focus} names both a cell type and an assay; rename one of them")
    if n_targets == 0:
        of = "" if focus is None else f" of {focus}"
        raise DataError(f"{tensor_path} has every experiment{of}: nothing is left to recommend")
