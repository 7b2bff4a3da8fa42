"""What engines run of `predictd network infer`: blocks of targets, and what goes before them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from predictd import interrupt, progress
from predictd.config import NetworkSettings
from predictd.constants import EXPRESSION_FORMAT, EXPRESSION_VERSION
from predictd.engine.base import one_blas_thread
from predictd.errors import OutputError, PredictdError, WorkerError
from predictd.grn.design import SampleDesign
from predictd.grn.links import Links, SignedRow, top_links
from predictd.grn.methods import Method, Prepared, Problem, make_method, prepare
from predictd.grn.quality import held_out_r2
from predictd.grn.signs import LEADING
from predictd.io.hdf5 import ForeignFileError, read_arrays, write_arrays
from predictd.io.kept import kept
from predictd.io.network.networks import write_network
from predictd.io.partition import Job
from predictd.matrix import Values
from predictd.provenance import EngineInfo, RunRecord
from predictd.wording import one_line
from predictd.workflows.network.blocks import TargetBlock

PILOT_TARGETS = 20
# Parts of a sparse matrix, and what names of prepared arrays and of the targets' matrix begin with in the file.
_SPARSE = ("data", "indices", "indptr")
_PREPARED, _TARGETS = "prepared/", "targets/"


@dataclass(frozen=True)
class InferenceTask:
    """What the blocks of an inference have in common.

    Attributes
    ----------
    prepared
        File of the problem, as `Inference` prepares it.
    job
        Where the blocks go.
    settings, seed
        Of the inference.
    engine
        What runs it, for the record.
    """

    prepared: Path
    job: Job
    settings: NetworkSettings
    seed: int
    engine: EngineInfo


def infer_block(block: TargetBlock, shared: InferenceTask) -> None:
    """Infer the links of a block of targets into its own file."""
    record = RunRecord("network infer", shared.engine)
    with record.stage("infer"):
        problem, order, prepared = read_prepared(shared.prepared)
        names = [problem.genes[gene] for gene in problem.regulators]
        targets = order[block.start : block.stop].tolist()
        rows = infer_rows(problem, targets, shared.settings, prepared, seed=shared.seed)
        links = Links.of_rows(names, [problem.genes[gene] for gene in targets], rows)
    path = block_path(shared.job, block.index)
    arrays = {
        name: array for name, array in links.to_arrays().items() if name not in ("regulators", "targets")
    }
    if shared.settings.quality:
        with record.stage("quality"):
            arrays["quality"] = quality_of(problem, targets, shared.settings, seed=shared.seed)
    write_network(path, {"block": block.index}, arrays)
    shared.job.keep_part(block.index, {"links": len(links), "run": record.run_of([block.index])}, [path])


def infer_rows(
    problem: Problem,
    targets: Sequence[int],
    settings: NetworkSettings,
    prepared: Prepared | None = None,
    *,
    seed: int,
) -> list[SignedRow]:
    """Links of some targets, with signs; see `predictd.grn.methods.make_method` for `prepared`.

    Raises
    ------
    WorkerError
        If a target fails; it names it.
    """
    method = make_method(settings.method, problem, prepared, n_trees=settings.trees or 0, seed=seed)
    rows = []
    for done, gene in enumerate(targets):
        interrupt.give_up_if_asked()
        progress.task_share(done / len(targets))
        try:
            importances = method.importances(gene)
            if not np.isfinite(importances).all():
                raise ArithmeticError("importances that are not finite")
            # Those that signs depend on, whatever is kept of them.
            leading, ranked = top_links(importances, top=max(LEADING, settings.top))
            signs = method.signs(gene, leading)
        except PredictdError:
            raise
        except Exception as err:
            raise WorkerError(
                f"{settings.method} failed at the gene {problem.genes[gene]}: {type(err).__name__}: {one_line(err)}"
            ) from err
        kept = min(settings.top, int((ranked >= settings.min_importance).sum()))
        rows.append((leading[:kept], ranked[:kept], signs[:kept]))
    return rows


def quality_of(
    problem: Problem, targets: Sequence[int], settings: NetworkSettings, *, seed: int
) -> NDArray[np.float64]:
    """Held-out R² of some targets; see `held_out_r2`."""

    def make(part: Problem) -> Method:
        return make_method(settings.method, part, n_trees=settings.trees or 0, seed=seed)

    return held_out_r2(problem, targets, make, seed=seed)


def time_pilot(n_trees: int, shared: InferenceTask) -> float:
    """Seconds that genes spread over all take with so many trees."""
    problem, order, prepared = read_prepared(shared.prepared)
    method = make_method(shared.settings.method, problem, prepared, n_trees=n_trees, seed=shared.seed)
    chosen = order[np.linspace(0, order.size - 1, PILOT_TARGETS).astype(int)].tolist()
    start = time.perf_counter()
    for gene in chosen:
        method.importances(gene)
    return time.perf_counter() - start


def write_prepared(path: Path, problem: Problem, order: NDArray[np.int64], method: str) -> None:
    """Write the problem, the order of targets in the blocks, and what the method makes of the regulators, for tasks."""
    arrays: dict[str, NDArray[Any]] = {
        "genes": np.array(problem.genes, dtype=str),
        "regulators": problem.regulators,
        "order": order,
    }
    if problem.groups is not None:
        arrays["groups"] = problem.groups
    design = {"batches": problem.design.batches, "weights": problem.design.weights}
    arrays |= {name: array for name, array in design.items() if array is not None}
    arrays |= _arrays_of(problem.expression)
    if problem.targets is not None:
        arrays |= _arrays_of(problem.targets, _TARGETS)
    with one_blas_thread():
        prepared = prepare(method, problem)
    arrays |= {f"{_PREPARED}{name}": array for name, array in prepared.items()}
    write_arrays(
        path,
        format=EXPRESSION_FORMAT,
        version=EXPRESSION_VERSION,
        header={"method": method},
        arrays=arrays,
    )


@kept()
def read_prepared(path: Path) -> tuple[Problem, NDArray[np.int64], Prepared]:
    """What `write_prepared` wrote, as maps of the file, once for all blocks of a worker: those of a machine share them.

    Raises
    ------
    OutputError
        If the file is missing or damaged.
    """
    try:
        _, arrays = read_arrays(path, format=EXPRESSION_FORMAT, version=EXPRESSION_VERSION, mapped=True)
    except (FileNotFoundError, ForeignFileError) as err:
        raise OutputError(f"{path} is missing or damaged; remove it and run the command again") from err
    problem = Problem(
        _values_of(arrays),
        tuple(arrays["genes"].tolist()),
        arrays["regulators"],
        arrays.get("groups"),
        _values_of(arrays, _TARGETS) if any(name.startswith(_TARGETS) for name in arrays) else None,
        SampleDesign(arrays.get("batches"), arrays.get("weights")),
    )
    prepared = {
        name.removeprefix(_PREPARED): array for name, array in arrays.items() if name.startswith(_PREPARED)
    }
    return problem, arrays["order"], prepared


def _arrays_of(values: Values, before: str = "") -> dict[str, NDArray[Any]]:
    """A matrix as arrays of a file, whose names begin with some text."""
    if not isinstance(values, csr_array):
        return {f"{before}expression": values}
    return {f"{before}{name}": getattr(values, name) for name in _SPARSE} | {
        f"{before}shape": np.array(values.shape)
    }


def _values_of(arrays: Mapping[str, NDArray[Any]], before: str = "") -> Values:
    if f"{before}shape" not in arrays:
        return arrays[f"{before}expression"]
    parts = tuple(arrays[f"{before}{name}"] for name in _SPARSE)
    return csr_array(parts, shape=tuple(arrays[f"{before}shape"].tolist()))


def block_path(job: Job, index: int) -> Path:
    """Where the links of a block of targets are kept until all blocks are there."""
    return job.workspace / "blocks" / f"{index}.h5"
