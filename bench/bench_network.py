"""Gene networks: speed beside scikit-learn, and a genome's size. No time is asserted.

    python bench/bench_network.py speed                 seconds a target and core, scikit-learn's in the same run
    python bench/bench_network.py boosting [PYTHON]     GRNBoost2 beside scikit-learn, and arboreto if PYTHON has it
    python bench/bench_network.py multi                 targets in groups, on B. subtilis of the shared folder
    python bench/bench_network.py cells FOLDER          20,000 cells × 10,000 genes: loading, a target, two workers
    python bench/bench_network.py scale FOLDER          49,000 genes, 1,600 regulators, 300 samples: time and memory
    python bench/bench_network.py scaling FOLDER [ENGINE...]   two workers and one; two jobs at once, which tell what
                                                        the machine gives; wants two idle cores

Times are CPU seconds of one thread; of scaling, wall time.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from sklearn.ensemble import ExtraTreesRegressor, GradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import RidgeCV

from predictd.config import NetworkSettings
from predictd.engine import LocalEngine
from predictd.engine.base import one_blas_thread
from predictd.grn.consensus import rank_average
from predictd.grn.linear import PENALTIES, standardised
from predictd.grn.links import Links
from predictd.grn.methods import METHODS, Problem, make_method
from predictd.grn.scores import score_links
from predictd.io.network.networks import read_gold
from predictd.workflows.network.blocks import divide_targets
from predictd.workflows.network.infer import Inference
from predictd.workflows.network.inputs import read_inputs
from predictd.workflows.network.tasks import infer_rows, read_prepared, write_prepared

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "grn" / "bsubtilis"
TREES, TARGETS = 200, 5
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
# Regulators and samples of DREAM4's networks, of B. subtilis, and of a human matrix.
SHAPES = ((100, 100), (239, 266), (1600, 300))


def cpu_seconds(function: Callable[[], Any]) -> tuple[float, Any]:
    with one_blas_thread():
        start = time.process_time()
        result = function()
        return time.process_time() - start, result


def simulated(n_genes: int, n_regulators: int, n_samples: int) -> Problem:
    """Genes that follow three regulators each, with noise."""
    rng = np.random.default_rng(0)
    expression = rng.normal(size=(n_genes, n_samples))
    for gene in range(n_regulators, n_genes):
        expression[gene] += expression[rng.choice(n_regulators, 3, replace=False)].sum(axis=0)
    return Problem(expression, tuple(f"G{i}" for i in range(n_genes)), np.arange(n_regulators))


def by_scikit_learn(method: str, problem: Problem, gene: int, seed: int) -> np.ndarray:
    """Importances by scikit-learn at the settings of our own method."""
    x, y = problem.expression[problem.regulators].T.astype(np.float32), standardised(problem.expression[gene])
    if method == "ridge":
        z = standardised(problem.expression[problem.regulators])
        # The mean eigenvalue of ZᵀZ is its trace over the samples.
        return np.abs(RidgeCV(PENALTIES * np.square(z).sum() / z.shape[1]).fit(z.T, y).coef_)
    kind = {"rf": RandomForestRegressor, "et": ExtraTreesRegressor}[method]
    forest = kind(TREES, max_features="sqrt", random_state=seed, n_jobs=1).fit(x, y)
    trees = [tree.tree_.compute_feature_importances(normalize=False) for tree in forest.estimators_]
    return np.mean(trees, axis=0)


def beside_scikit_learn(name: str, problem: Problem, genes: range) -> str:
    """A line of the table: seconds a target, and how far importances agree."""
    method = make_method(name, problem, n_trees=TREES, seed=0)
    own, ours = cpu_seconds(lambda: [method.importances(gene) for gene in genes])
    line = f"{name:9} {problem.regulators.size:10} {problem.expression.shape[1]:8} {own / TARGETS:10.5f}"
    if name not in ("rf", "et", "ridge"):
        return line
    taken, theirs = cpu_seconds(
        lambda: [[by_scikit_learn(name, problem, gene, seed) for seed in (0, 1)] for gene in genes]
    )
    taken /= 2
    r = [np.corrcoef([mine, *other]) for mine, other in zip(ours, theirs, strict=True)]
    between = np.mean([[c[0, 1], c[1, 2]] for c in r], axis=0)
    return f"{line} {taken / TARGETS:10.5f} {taken / own:6.1f} {between[0]:6.3f} {between[1]:6.3f}"


def speed() -> None:
    print(
        f"{TREES} trees, {TARGETS} targets, CPU seconds a target; r: of importances, ours to theirs, theirs to theirs"
    )
    print(
        f"{'method':9} {'regulators':>10} {'samples':>8} {'predictd':>10} {'sklearn':>10} {'times':>6} {'r':>12}"
    )
    for n_regulators, n_samples in SHAPES:
        problem = simulated(n_regulators + TARGETS, n_regulators, n_samples)
        genes = range(n_regulators, n_regulators + TARGETS)
        for name in METHODS:
            if name == "multi":
                continue  # Single targets are not its unit.
            print(beside_scikit_learn(name, problem, genes), flush=True)


def boosting(python: Path | None = None) -> None:
    """GRNBoost2 of a target: CPU seconds and trees; of scikit-learn as many trees, of arboreto its own."""
    settings = {"learning_rate": 0.01, "max_features": 0.1, "subsample": 0.9, "random_state": 0}
    print("regulators  samples  by            CPU s   trees  ms a tree  times  r")
    for n_regulators, n_samples, most in ((239, 266, 5000), (1000, 5000, 50)):
        problem = simulated(n_regulators + 1, n_regulators, n_samples)
        regulators, target = problem.expression[:n_regulators], standardised(problem.expression[n_regulators])
        method = make_method("grnboost", problem, n_trees=5000, seed=0)
        own, ours = cpu_seconds(lambda: method.importances(n_regulators))  # noqa: B023
        n_trees = round(ours.sum())
        rows = [("predictd", own, n_trees, ours)]
        some = min(n_trees, most)
        model = GradientBoostingRegressor(n_estimators=some, **settings)
        taken, _ = cpu_seconds(lambda: model.fit(regulators.T.astype(np.float32), target))  # noqa: B023
        rows.append(("scikit-learn", taken, some, model.feature_importances_))
        if python is not None:
            with tempfile.TemporaryDirectory() as folder:
                np.savez(Path(folder) / "target.npz", regulators=regulators, target=target)
                program = [python, Path(__file__).with_name("by_arboreto.py"), Path(folder) / "target.npz"]
                answer = subprocess.run(
                    program, check=True, capture_output=True, text=True, env=ONE_THREAD
                ).stdout
            told = json.loads(answer.splitlines()[-1])
            rows.append(("arboreto", told["seconds"], told["trees"], told["importances"]))
        for name, seconds, trees, importances in rows:
            times = seconds / trees / (own / n_trees)
            r = np.corrcoef(ours, importances)[0, 1]
            print(
                f"{n_regulators:10} {n_samples:8}  {name:12} {seconds:6.2f} {trees:7} {seconds / trees * 1e3:10.3f} "
                f"{times:6.1f} {r:6.3f}",
                flush=True,
            )


def multi(trees: int = 100) -> None:
    """Extra trees of several targets on B. subtilis: CPU seconds, and AUPR, alone and by mean rank with ridge."""
    problem = read_inputs(SHARED / "expression.tsv.gz", regulators=SHARED / "regulators.txt").problem
    every = np.arange(len(problem.genes))
    gold = [(r, t) for r, t in read_gold(SHARED / "gold.tsv") if r != t]
    networks = {}
    for name in ("multi", "ridge"):
        divided = divide_targets(problem, every, grouped=name == "multi", seed=0)
        own, order = replace(problem, groups=divided.groups), divided.order.tolist()
        settings = NetworkSettings(method=name, trees=trees)
        taken, rows = cpu_seconds(partial(infer_rows, own, order, settings, seed=0))
        print(
            f"{name}: {taken:.0f} CPU s for {every.size} targets, {taken / every.size:.4f} a target",
            flush=True,
        )
        regulators = [problem.genes[gene] for gene in problem.regulators.tolist()]
        networks[name] = Links.of_rows(regulators, [problem.genes[gene] for gene in order], rows)
    networks["both"] = rank_average([*networks.values()])
    for name, links in networks.items():
        scores = score_links(links, gold)
        print(f"{name}: AUPR {scores.aupr:.3f} ({scores.aupr_low:.3f}-{scores.aupr_high:.3f})")


def cells(folder: Path, n_cells: int = 20_000, n_genes: int = 10_000, n_regulators: int = 1_500) -> None:
    """A made-up matrix of single cells: what loading takes beside anndata, and a target by each method."""
    import anndata
    from scipy import sparse

    rng = np.random.default_rng(0)
    counts = sparse.random(n_cells, n_genes, density=0.05, format="csr", random_state=rng, dtype=np.float32)
    counts.data = np.log1p(rng.poisson(2, size=counts.nnz) + 1).astype(np.float32)
    matrix = anndata.AnnData(counts)
    matrix.var_names = [f"G{i}" for i in range(n_genes)]
    path, listed = folder / "cells.h5ad", folder / "regulators.txt"
    matrix.write_h5ad(path)
    listed.write_text("".join(f"G{i}\n" for i in range(n_regulators)))
    for name, program in (
        ("anndata", "import anndata, sys; anndata.read_h5ad(sys.argv[1])"),
        (
            "predictd",
            "import anndata, sys; from pathlib import Path; from predictd.workflows.network.inputs import read_inputs; "
            "read_inputs(Path(sys.argv[1]), regulators=Path(sys.argv[2]))",
        ),
    ):
        # Of the program alone: what getrusage tells is never less than what this process took.
        told = (
            "; print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
        )
        taken = subprocess.run(
            [sys.executable, "-c", program + told, path, listed], check=True, capture_output=True, text=True
        )
        print(f"loading by {name}: {int(taken.stdout) / 1024:.0f} MB at most")
    problem = read_inputs(path, regulators=listed).problem
    print("method     trees  prepare s  CPU s a target  all targets, core hours")
    for name, trees, targets in (
        ("rf", 100, 5),
        ("et", 100, 5),
        ("grnboost", 5000, 5),
        ("ridge", 0, 20),
        ("clr", 0, 50),
        ("pearson", 0, 50),
    ):
        prepared = folder / f"{name}.h5"
        taken, _ = cpu_seconds(partial(write_prepared, prepared, problem, np.arange(n_genes), name))
        own, _, ready = read_prepared(prepared)
        method = make_method(name, own, ready, n_trees=trees, seed=0)
        chosen = np.linspace(n_regulators, n_genes - 1, targets).astype(int).tolist()
        each, _ = cpu_seconds(lambda: [method.importances(gene) for gene in chosen])  # noqa: B023
        each /= targets
        print(
            f"{name:9} {trees or '':>6} {taken:10.1f} {each:15.3f} {each * n_genes / 3600:24.2f}", flush=True
        )
        prepared.unlink()
    (folder / "targets.txt").write_text("".join(f"G{i}\n" for i in range(n_regulators, n_regulators + 32)))
    for name in ("rf", "et"):
        print(f"{name}, 32 targets with 50 trees, by workers; medians of three turns")
        given = [path.name, "--regulators", listed.name, "--targets", "targets.txt", "--trees", "50"]
        by_workers(folder, [*given, "--method", name], ["local"], turns=3, of=median)


def scale(folder: Path, trees: int = 1000, targets: int = 40) -> None:
    """The memory of a whole run of ridge, and forests of a few targets, projected to all."""
    n_genes, n_regulators, n_samples = 49_000, 1_600, 300
    problem = simulated(n_genes, n_regulators, n_samples)
    path = folder / "expression.tsv"
    with path.open("w") as file:
        file.write("\t".join(["gene", *(f"S{i}" for i in range(n_samples))]) + "\n")
        for gene, row in zip(problem.genes, problem.expression, strict=True):
            file.write(gene + "\t" + "\t".join(f"{value:.5g}" for value in row.tolist()) + "\n")
    (folder / "regulators.txt").write_text("".join(f"{gene}\n" for gene in problem.genes[:n_regulators]))
    chosen = np.linspace(0, n_genes - 1, targets).astype(int).tolist()
    for name in ("rf", "et"):
        settings = NetworkSettings(method=name, trees=trees)
        start = time.perf_counter()
        taken, _ = cpu_seconds(partial(infer_rows, problem, chosen, settings, seed=0))
        wall = time.perf_counter() - start
        hours = taken / targets * n_genes / 3600
        print(
            f"{name}: {taken / targets:.3f} CPU s a target ({wall:.1f} s wall), {hours:.1f} core hours for all"
        )
    start = time.perf_counter()
    with LocalEngine() as engine:
        plan = Inference(
            path, folder / "net", NetworkSettings(method="ridge"), regulators=folder / "regulators.txt"
        )
        report = plan.make_all(engine)
    print(f"ridge, all: {time.perf_counter() - start:.0f} s wall, {report.n_links} links")
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"peak memory: {most:.2f} GB, the simulation included; `/usr/bin/time -v predictd network infer` tells its own"
    )


def scaling(folder: Path, *engines: Path, trees: int = 200) -> None:
    """One worker and two on a small matrix, by each engine; best of two turns."""
    problem = simulated(1_000, 300, 200)
    with (folder / "expression.tsv").open("w") as file:
        file.write("\t".join(["gene", *(f"S{i}" for i in range(200))]) + "\n")
        for gene, row in zip(problem.genes, problem.expression, strict=True):
            file.write(gene + "\t" + "\t".join(f"{value:.5g}" for value in row.tolist()) + "\n")
    (folder / "regulators.txt").write_text("".join(f"{gene}\n" for gene in problem.genes[:300]))
    given = ["expression.tsv", "--regulators", "regulators.txt", "--trees", str(trees)]
    by_workers(folder, given, [str(name) for name in engines] or ["local", "mpi", "spark"], turns=2, of=min)


def by_workers(
    folder: Path, given: list[str], engines: list[str], *, turns: int, of: Callable[[list[float]], float]
) -> None:
    """Seconds of the stage that infers in whole commands: one worker, two such at once, two workers, by turns."""

    def seconds(engine: str, workers: int, output: str) -> float:
        shutil.rmtree(folder / output, ignore_errors=True)
        program = [sys.executable, "-m", "predictd", "network", "infer", *given, "--quiet"]
        launcher = [str(Path(sys.executable).with_name("mpiexec")), "-n", str(workers)]
        each = 1 if engine == "mpi" else workers
        command = [*program, "-o", output, "--engine", engine, "--workers", str(each)]
        subprocess.run(
            [*launcher, *command] if engine == "mpi" else command,
            cwd=folder,
            check=True,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PYTHONSAFEPATH": "1"},
        )
        stages = json.loads((folder / output / "run.json").read_text())["stages"]
        return sum(stage["seconds"] for stage in stages if stage["name"] == "infer")

    print(f"{'engine':6} {'1 worker':>9} {'2 workers':>10} {'times':>6} {'two jobs at once':>17}")
    for engine in engines:
        alone, beside, shared = [], [], []
        for _ in range(turns):
            alone.append(seconds(engine, 1, "a"))
            with ThreadPoolExecutor(2) as pool:
                beside.append(max(pool.map(partial(seconds, engine, 1), ("a", "b"))))
            shared.append(seconds(engine, 2, "a"))
        one, other, two = of(alone), of(beside), of(shared)
        print(f"{engine:6} {one:8.1f}s {two:9.1f}s {one / two:6.2f} {2 * one / other:17.2f}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["speed", "boosting", "multi", "cells", "scale", "scaling"])
    parser.add_argument(
        "folders",
        type=Path,
        nargs="*",
        help="cells, scale: a folder; scaling: a folder, and engines if not all",
    )
    given = parser.parse_args()
    commands = {
        "speed": speed,
        "boosting": boosting,
        "multi": multi,
        "cells": cells,
        "scale": scale,
        "scaling": scaling,
    }
    commands[given.what](*given.folders)
