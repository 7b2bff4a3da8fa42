"""`predictd recommend`: the next experiments to run."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt

from predictd.engine import Engine
from predictd.engine.base import one_blas_thread
from predictd.errors import ConfigError, DataError
from predictd.io.costs import read_costs
from predictd.io.files import checksums, make_directory
from predictd.io.results import write_rows, write_run_json
from predictd.io.tensor.store import Tensor
from predictd.model.labels.design import choose_experiments, conditional_covariance
from predictd.pairs import Experiment, axes, rows_of
from predictd.provenance import RunRecord, given
from predictd.workflows.tensor.coverage import require_complete
from predictd.workflows.tensor.moments import TensorMoments, ensure_moments, read_moments

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

    def cells(self) -> tuple[str | int | float, ...]:
        """What the table has of it."""
        return (
            self.rank,
            *self.pair,
            self.gain,
            "." if self.gain_per_dollar is None else self.gain_per_dollar,
        )


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
    output: Path | None,
    engine: Engine,
    *,
    k: int = 5,
    costs: Path | None = None,
    focus: str | None = None,
    moments: Path | None = None,
) -> RecommendReport:
    """Choose the next experiments and write them as a table.

    Parameters
    ----------
    tensor_path, output
        Directory of the tensor; table to write, or None.
    engine
        What computes the moments.
    k
        How many to choose.
    costs
        Table of costs: the choice is by gain per cost, among pairs that have one.
    focus
        Name of the cell type or the assay whose missing pairs count; None: all.
    moments
        Moments file; None: in the tensor's directory.

    Raises
    ------
    PredictdError
        If names are unknown, or k pairs are not missing.
    """
    record = RunRecord.of("recommend", engine, settings={"k": k, "for": focus} | given(moments=moments))
    tensor = Tensor(tensor_path)
    missing = _missing_pairs(tensor, costs, focus)
    n_candidates, n_targets = int(missing.candidates.sum()), int(missing.targets.sum())
    if k > n_candidates:
        which = "missing from" if costs is None else f"priced by {costs} and missing from"
        raise ConfigError(f"`k` {k}: only {n_candidates} pairs are {which} {tensor_path}; ask for fewer")
    _check_number(missing, tensor_path)
    require_complete(tensor)
    if output is not None:
        make_directory(output.parent)
    with record.stage("moments"):
        data = read_moments(ensure_moments(tensor, engine, moments))
    with record.stage("choose"), one_blas_thread():
        rows, before = _choose(missing, data, k)
    after = before - sum(row.gain for row in rows)
    record.inputs = {str(tensor_path): tensor.manifest.checksum, **checksums(costs)}
    record.results = {
        "candidates": n_candidates,
        "targets": n_targets,
        "expected_error_before": before,
        "expected_error_after": after,
    }
    if output is not None:
        write_rows(output, COLUMNS, (row.cells() for row in rows))
        write_run_json(record, output, sidecar=True)
    return RecommendReport(tuple(rows), n_candidates, n_targets, before, after)


@dataclass(frozen=True)
class _Missing:
    """The pairs without a track: which of them count, and which can be measured at what price."""

    pairs: list[Experiment]
    targets: npt.NDArray[np.bool_]
    candidates: npt.NDArray[np.bool_]
    prices: list[float | None] | None


def _missing_pairs(tensor: Tensor, costs: Path | None, focus: str | None) -> _Missing:
    cell_types, assays = axes(tensor.experiments)
    table = None if costs is None else read_costs(costs, cell_types, assays)
    observed = set(tensor.experiments)
    pairs = [pair for pair in (Experiment(*p) for p in product(cell_types, assays)) if pair not in observed]
    targets = np.array([focus is None or focus in pair for pair in pairs], dtype=bool)
    _check_focus(focus, cell_types, assays, int(targets.sum()), tensor.path)
    prices = None if table is None else [table.of(pair) for pair in pairs]
    candidates = [True] * len(pairs) if prices is None else [price is not None for price in prices]
    return _Missing(pairs, targets, np.array(candidates, dtype=bool), prices)


def _check_number(missing: _Missing, tensor_path: Path) -> None:
    if len(missing.pairs) > _MOST_PAIRS:
        raise DataError(
            f"{tensor_path}: {len(missing.pairs):,} pairs are missing, more than the {_MOST_PAIRS:,} that can be "
            "compared; leave out cell types or assays that do not matter"
        )


def _choose(missing: _Missing, data: TensorMoments, k: int) -> tuple[list[Recommendation], float]:
    """The recommended pairs, and the summed expected error before them."""
    cell_types, assays = axes(data.experiments)
    covariance = conditional_covariance(
        data.s,
        rows_of(data.experiments, cell_types, assays),
        rows_of(missing.pairs, cell_types, assays),
        len(cell_types),
        len(assays),
    )
    prices = missing.prices
    costs = None if prices is None else np.array([price or np.inf for price in prices])
    rows = []
    for rank, pick in enumerate(
        choose_experiments(covariance, missing.targets, missing.candidates, k, costs=costs), start=1
    ):
        price = None if prices is None else prices[pick.index]
        gain_per_dollar = None if price is None else pick.gain / price
        rows.append(Recommendation(rank, missing.pairs[pick.index], pick.gain, gain_per_dollar))
    return rows, float(np.diag(covariance)[missing.targets].sum())


def _check_focus(
    focus: str | None, cell_types: list[str], assays: list[str], n_targets: int, tensor_path: Path
) -> None:
    if focus is not None:
        if focus not in cell_types and focus not in assays:
            raise ConfigError(
                f"`focus` {focus}: {tensor_path} has no such cell type or assay; 'predictd info' lists those it has"
            )
        if focus in cell_types and focus in assays:
            raise ConfigError(f"`focus` {focus} names both a cell type and an assay; rename one of them")
    if n_targets == 0:
        of = "" if focus is None else f" of {focus}"
        raise DataError(f"{tensor_path} has every experiment{of}: nothing is left to recommend")
