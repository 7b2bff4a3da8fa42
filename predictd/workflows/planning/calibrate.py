"""Rates of this machine: the real kernels and workflows on a little simulated signal, each for a second or so."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from predictd.constants import BLOCK_BINS
from predictd.engine import Engine
from predictd.engine.base import one_blas_thread, tree_sum, usable_cpus
from predictd.io.files import cannot_write
from predictd.io.tensor.store import Tensor
from predictd.io.tracks.bigwig import BigWigWriter
from predictd.kernels import UpdateRule, sgd_updates
from predictd.model.cp.als import CPProblem, descend
from predictd.model.cp.sgd import Rows, initial_factors, penalties
from predictd.model.measures.metrics import TrackComparison
from predictd.model.moments import moments
from predictd.model.simulate import Simulation
from predictd.model.transforms import TRANSFORMS
from predictd.pairs import Experiment
from predictd.provenance import cpu_model, package_version
from predictd.workflows.planning.rates import Rates, load_rates
from predictd.workflows.planning.work import fit_operations
from predictd.workflows.tensor.ingest import IngestOptions, ingest
from predictd.workflows.tensor.moments import TensorMoments, split_moments
from predictd.workflows.tensor.simulate import SimulatedGenome, simulate
from predictd.workflows.tensor.sources import observed_mean

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Effort:
    """Sizes of the measurements; the defaults take about a quarter of a minute."""

    bins: int = 60_000
    cells: int = 10
    assays: int = 6
    wide: int = 768
    fit_cells: int = 48
    fit_assays: int = 16
    rank: int = 48
    updates: int = 100_000
    repeats: int = 3


def calibrate(effort: Effort = Effort()) -> Rates:
    """Measure this machine.

    One core is measured alone, on one BLAS thread as in tasks, best of a few times; then all cores at once, which
    gives `efficiency`. What depends on the data and not on the machine is taken from the packaged rates. What counts is
    the processor's time: waiting for disks does not show, nor does other work on the machine but by what it does to
    caches. Nothing is left on disk.

    Raises
    ------
    OutputError
        If there is no place or room for a few MB of temporary files.
    """
    try:
        with TemporaryDirectory(prefix="predictd-plan-") as folder, one_blas_thread():
            measured = (
                _reading(Path(folder), effort)
                | _products(effort)
                | _fits(effort)
                | _scoring(effort)
                | _writing(Path(folder), effort)
                | _updates(effort)
                | _processes(effort)
            )
    except OSError as err:
        raise cannot_write(Path(err.filename or "temporary files"), err) from err
    versions = ", ".join(
        f"{name} {package_version(name)}" for name in ("numpy", "scipy", "h5py", "pybigtools")
    )
    about = {
        "cpu": cpu_model(),
        "date": datetime.now(timezone.utc).date().isoformat(),
        "predictd": package_version("predictd") or "?",
        "software": f"Python {sys.version.split()[0]}, {versions}",
        "data": "simulated signal; sweeps, epochs and bytes are those packaged with predictd",
    }
    return load_rates().model_copy(update=about | measured)


class _Here(Engine):
    """Runs tasks one by one in this process, so that its seconds are theirs."""

    name = "here"
    workers = 1

    def map(self, task: Any, keys: Sequence[Any], shared: Any, **options: Any) -> list[Any]:
        return [task(key, shared) for key in keys]

    def reduce(self, task: Any, keys: Sequence[Any], shared: Any, **options: Any) -> Any:
        return tree_sum(lambda index: task(keys[index], shared), 0, len(keys))

    def spmd(self, program: Any, keys: Sequence[Any], shared: Any) -> list[Any]:
        raise NotImplementedError("calibration runs no programs")

    def close(self) -> None:
        pass


def _best(function: Callable[[], Any], repeats: int) -> float:
    """Fewest seconds of several times: of the processor, which other work on the machine hardly changes."""
    taken = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        taken.append(time.process_time() - start)
    return max(min(taken), 1e-9)


def _reading(folder: Path, effort: Effort) -> dict[str, float]:
    """Ingest simulated tracks, and read what that made."""
    simulation = Simulation.for_shape(effort.cells, effort.assays, share=0.5, rank=5)
    with _Here() as engine:
        data = folder / "data"
        genome = SimulatedGenome.of_bins(effort.bins)
        simulate(data, simulation, genome, engine, truth=False)
        options = IngestOptions(genome=str(data / "genome.chrom.sizes"))
        made: list[Tensor] = []

        def ingest_once() -> None:
            output = folder / f"tensor-{len(made)}"
            made.append(ingest(data / "tracks.tsv", output, options, engine))

        ingesting = _best(ingest_once, effort.repeats)
    tensor = made[0]
    values = tensor.n_bins * len(tensor.experiments)
    return {"ingest": ingesting / values, "read": _best(lambda: _read(tensor), effort.repeats) / values}


def _read(tensor: Tensor) -> None:
    for name in tensor.shard_names:
        with tensor.open_shard(name) as shard:
            for _, block in shard.blocks():
                np.isnan(block).any(axis=1)


def _products(effort: Effort) -> dict[str, float]:
    """The moments of a block, and a block times the weights of 64 pairs."""
    rng = np.random.default_rng(0)
    block = rng.random((2 * BLOCK_BINS, effort.wide), dtype=np.float32)
    weights = rng.random((effort.wide, 64), dtype=np.float32)
    squares = _best(lambda: moments(block), effort.repeats) / (len(block) * effort.wide**2 / 2)
    products = _best(lambda: block @ weights, effort.repeats) / (block.size * weights.shape[1])
    return {"moments": squares, "multiply": products}


def _moments_of(simulation: Simulation, bins: int) -> TensorMoments:
    experiments = simulation.experiments
    signal = simulation.signal(experiments, run=0, first=0, n=bins)
    return split_moments(moments(np.ascontiguousarray(signal, dtype=np.float32)), experiments)


def _fits(effort: Effort) -> dict[str, float]:
    """Sweeps of EM of two sizes, which tell a sweep's own seconds from those of its operations."""
    small = _moments_of(Simulation.for_shape(6, 4, share=0.75, rank=3), 4096)
    large = _moments_of(
        Simulation.for_shape(effort.fit_cells, effort.fit_assays, share=0.5, rank=10), BLOCK_BINS
    )
    few, many = _sweep_seconds(small, 3, 200), _sweep_seconds(large, effort.rank, 10)
    operations = [
        fit_operations(len(d.experiments), rank, *_axes(d), 0, len(d.experiments), 5)
        for d, rank in ((small, 3), (large, effort.rank))
    ]
    # At least a tenth of the large sweep is its operations, whatever the clock says.
    rate = max(many - few, 0.1 * many) / (operations[1] - operations[0])
    return {"sweep": max(few - operations[0] * rate, 1e-6), "fit": rate}


def _axes(data: TensorMoments) -> tuple[int, int]:
    return len({e.cell_type for e in data.experiments}), len({e.assay for e in data.experiments})


def _sweep_seconds(data: TensorMoments, rank: int, sweeps: int) -> float:
    experiments: list[Experiment] = list(data.experiments)
    problem = CPProblem(data.s, experiments, data.experiments, regularisation=0.1, em=True)
    path = descend(problem, problem.start(rank, np.random.default_rng(0), lambda_g=1.0))
    next(path)

    def some() -> None:
        for _ in range(sweeps):
            next(path)

    return _best(some, 2) / sweeps


def _track(effort: Effort) -> Float32:
    """One simulated track in arcsinh space: float32 (bins,)."""
    simulation = Simulation.for_shape(2, 2, share=1.0, rank=2)
    signal = simulation.signal(simulation.experiments[:1], run=0, first=0, n=effort.bins)
    return np.ascontiguousarray(signal[:, 0], dtype=np.float32)


def _scoring(effort: Effort) -> dict[str, float]:
    """Both sweeps over a track, what a track of any length takes, and the mean of columns of a block."""
    # Two tracks in a row are as long as a shard, which is what scoring takes at once.
    observed = np.tile(_track(effort), 2)
    imputed = observed * np.float32(0.9)
    inverse = TRANSFORMS["arcsinh"].inverse

    times = 4

    def compare(bins: int) -> None:
        comparison = TrackComparison(inverse)
        for sweep in (comparison.survey, comparison.compare):
            for _ in range(times):
                sweep(observed[:bins], imputed[:bins])
        comparison.measures()

    # Ranking takes the same for a track of any length.
    ranking = _best(lambda: compare(1), effort.repeats)
    comparing = _best(lambda: compare(observed.size), effort.repeats)
    block = np.random.default_rng(0).random((BLOCK_BINS, effort.wide), dtype=np.float32)
    columns = list(range(0, effort.wide, 16))
    averaging = _best(lambda: observed_mean(block[:, columns], axis=1), effort.repeats)
    return {
        "ranking": ranking,
        "compare": max(comparing - ranking, 0.1 * comparing) / (times * observed.size),
        "baseline": averaging / (len(block) * len(columns)),
    }


def _writing(folder: Path, effort: Effort) -> dict[str, float]:
    """A simulated track back into its unit and into a bigWig."""
    signal = _track(effort)
    to_track = TRANSFORMS["arcsinh"].to_track
    times = 4

    def write() -> None:
        writer = BigWigWriter(folder / "track.bw", {"chr1": times * signal.size * 25}, bin_size=25)
        for first in range(0, times * signal.size, signal.size):
            for start in range(0, signal.size, BLOCK_BINS):
                writer.add("chr1", first + start, to_track(signal[start : start + BLOCK_BINS]))
        writer.close()

    return {"bigwig": _best(write, effort.repeats) / (times * signal.size)}


def _updates(effort: Effort) -> dict[str, float]:
    """Updates of SGD on signal of a tensor's shape."""
    rng = np.random.default_rng(0)
    rank, n_cells, n_assays, n_bins = 100, effort.fit_cells, effort.fit_assays, 8000
    pairs = rng.permutation(n_cells * n_assays)[: n_cells * n_assays // 2].astype(np.int32)
    cells, assays = pairs // n_assays, pairs % n_assays
    y = rng.random((n_bins, pairs.size), dtype=np.float32)
    cell_rows, assay_rows, bin_rows = (
        Rows.from_factors(initial_factors(n, rank, 0.33, rng), np.zeros(n), "float32")
        for n in (n_cells, n_assays, n_bins)
    )
    pens = penalties(1e-3, 1e-3, 1.0, cells, assays, n_cells, n_assays)

    def update() -> None:
        sgd_updates(
            cell_rows,
            assay_rows,
            bin_rows,
            y,
            UpdateRule(
                rank=rank,
                pair_cells=cells,
                pair_assays=assays,
                pen_cells=pens.cells,
                pen_assays=pens.assays,
                pen_bins=pens.bins,
                mu=0.5,
                learning_rate=0.005,
                beta1=0.9,
                beta2=0.999,
                epsilon=1e-8,
                decay=1e-6,
            ),
            stream=1,
            first=0,
            count=effort.updates,
        )

    return {"update": _best(update, effort.repeats) / effort.updates / (rank + 1)}


# Of the child itself: what the system keeps as its largest may still be its parent's.
_CHILD = """
import sys, time
import predictd.workflows.training.crossval, predictd.workflows.imputing.impute
try:
    lines = open("/proc/self/status").read().splitlines()
    size = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
except (OSError, StopIteration):
    import resource
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print(size, time.process_time())
"""


def _processes(effort: Effort) -> dict[str, float]:
    """The start of a process, its memory, and what cores lose to each other when all are at work."""
    # Not where the user stands: a folder there may have the name of a module.
    done = subprocess.run([sys.executable, "-c", _CHILD], capture_output=True, text=True, check=True, cwd="/")
    size, start = done.stdout.split()
    cpus = usable_cpus()
    block = np.random.default_rng(0).random((2 * BLOCK_BINS, effort.wide), dtype=np.float32)

    def work(_: int) -> float:
        """Products and passes over memory, outside the interpreter's lock: seconds of this thread's processor."""
        begun = time.thread_time()
        moments(block)
        np.sinh(block)
        return time.thread_time() - begun

    with ThreadPoolExecutor(cpus) as pool:
        alone = min(work(0) for _ in range(effort.repeats))
        together = min(sum(pool.map(work, range(cpus))) / cpus for _ in range(effort.repeats))
    return {
        "start": float(start),
        "process_bytes": float(size),
        "efficiency": min(1.0, alone / together),
    }
