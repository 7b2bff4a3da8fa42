"""How the MPI engine scales: `pytest bench/bench_scaling.py --benchmark-only`. No time is asserted.

Jobs of Roadmap's shape on simulated bins (PREDICTD_BENCH_BINS, 300,000 if not given) with `mpiexec -n 1` and `-n 2`,
one worker a rank: strong scaling by the seconds of each stage in run.json, so without starting Python. A round of the
benchmark runs the job on one rank, two such jobs side by side, and the job on two ranks; the best of REPEATS is taken.
extra_info tells the efficiency t₁ / 2 t₂; the machine's own, t₁ by the time of two jobs that have nothing to do with
each other, which share memory and whatever else is at work on the machine; the bytes that were sent beside the least
possible; and a projection to 64 ranks, which is arithmetic from these figures and a model of two networks, not a
measurement.

Needs the table of Roadmap's pairs and the extras `mpi` and mpich.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from operator import itemgetter
from pathlib import Path

import pytest

from bench.roadmap import make_tensor, of_few_cell_types, roadmap_pairs
from predictd.io.tensor.store import Tensor
from predictd.model.cp.sgd import row_width

N_BINS = int(os.environ.get("PREDICTD_BENCH_BINS", "300000"))
MPIEXEC = Path(sys.executable).with_name("mpiexec")
ENGINE = ("--engine", "mpi", "--workers", "1")
RANK, ROUNDS = 100, 300
REPEATS = int(os.environ.get("PREDICTD_BENCH_REPEATS", "5"))
# Seconds a message and bytes a second: 10-gigabit Ethernet, and InfiniBand of 100 gigabits.
NETWORKS = {"10 GbE": (30e-6, 1.1e9), "InfiniBand": (2e-6, 11e9)}
MANY = 64

Stages = dict[str, dict[str, float]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the tensor T of all pairs, and S of the first 24 cell types."""
    if not MPIEXEC.exists():
        pytest.skip("mpiexec is not here")
    pairs = roadmap_pairs()
    root = tmp_path_factory.mktemp("scaling")
    make_tensor(root / "T", pairs, N_BINS, chromosomes=16)
    make_tensor(root / "S", of_few_cell_types(pairs), N_BINS, chromosomes=16)
    return root


def run(place: Path, ranks: int, *command: object, record: str) -> Stages:
    """Run a command under mpiexec: its stages by name."""
    subprocess.run(
        [str(MPIEXEC), "-n", str(ranks), sys.executable, "-m", "predictd", *map(str, command), *ENGINE],
        cwd=place,
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONSAFEPATH": "1"},
    )
    stages = json.loads((place / record).read_text())["stages"]
    return {stage["name"]: stage for stage in stages}


def scale(benchmark, names: tuple[str, ...], once: Callable[[int, str], Stages]) -> dict[str, float]:
    """Time stages on one rank, in two jobs of one, and on two ranks, by turns, since other work comes and goes.

    Parameters
    ----------
    names
        Stages.
    once
        Runs the job on so many ranks, with outputs of this name.

    Returns
    -------
    Bytes exchanged in each stage on two ranks, and `seconds` of the last on one.
    """
    taken: dict[str, list[Stages]] = {"alone": [], "beside": [], "shared": []}

    def all_three() -> None:
        taken["alone"].append(once(1, "a"))
        with ThreadPoolExecutor(2) as pool:
            slower = list(pool.map(partial(once, 1), ("a", "b")))
        taken["beside"].append(
            {name: max((one[name] for one in slower), key=itemgetter("seconds")) for name in names}
        )
        taken["shared"].append(once(2, "a"))

    benchmark.pedantic(all_three, rounds=REPEATS)
    best = {
        how: {name: min(stages[name]["seconds"] for stages in found) for name in names}
        for how, found in taken.items()
    }
    for name in names:
        alone, beside, shared = (best[how][name] for how in ("alone", "beside", "shared"))
        benchmark.extra_info[f"{name} on 1 rank (s)"] = alone
        benchmark.extra_info[f"{name}, efficiency on 2"] = round(alone / (2 * shared), 2)
        benchmark.extra_info[f"{name}, the machine's own"] = round(alone / beside, 2)
    return {name: taken["shared"][-1][name]["bytes_exchanged"] for name in names} | {
        "seconds": best["alone"][names[-1]]
    }


def test_moments(benchmark, place: Path) -> None:
    """One pass, each rank its shards."""

    def once(ranks: int, name: str) -> Stages:
        moments, model = f"{name}.moments.h5", f"{name}.h5"
        (place / moments).unlink(missing_ok=True)
        fit = ("train", "T", "-o", model, "--moments", moments, "--rank", 2, "--lambda", 0.1)
        return run(place, ranks, *fit, record=f"{model}.run.json")

    found = scale(benchmark, ("moments",), once)
    n_bytes = (len(Tensor(place / "T").experiments) + 1) ** 2 * 8
    benchmark.extra_info["bytes, times the least possible"] = found["moments"] / n_bytes
    for network, (latency, bandwidth) in NETWORKS.items():
        joining = math.ceil(math.log2(MANY)) * (latency + n_bytes / bandwidth)
        projected = found["seconds"] / MANY + joining
        benchmark.extra_info[f"projection, efficiency on {MANY} ({network})"] = round(
            found["seconds"] / MANY / projected, 2
        )


def test_crossval(benchmark, place: Path) -> None:
    """Forty models, then the scoring of every experiment, of 24 cell types."""

    def once(ranks: int, name: str) -> Stages:
        output = f"cv-{name}"
        shutil.rmtree(place / output, ignore_errors=True)
        fit = ("cv", "S", "-o", output, "--rank", 30, "--lambda", 0.1)
        return run(place, ranks, *fit, record=f"{output}/run.json")

    scale(benchmark, ("train", "score"), once)


def test_impute(benchmark, place: Path) -> None:
    """Sixty-four pairs by forty models, written as bigWigs."""
    if not (place / "cv").exists():
        run(place, 2, "cv", "S", "-o", "cv", "--rank", 30, "--lambda", 0.1, record="cv/run.json")
    experiments = Tensor(place / "S").experiments
    cells, assays = (sorted({e[i] for e in experiments}) for i in (0, 1))
    missing = [
        f"{cell}:{assay}" for cell in cells for assay in assays if (cell, assay) not in set(experiments)
    ]

    def once(ranks: int, name: str) -> Stages:
        output = f"out-{name}"
        shutil.rmtree(place / output, ignore_errors=True)
        chosen = ("impute", "cv", "S", "-o", output, "--pairs", ",".join(missing[:64]))
        return run(place, ranks, *chosen, record=f"{output}/run.json")

    scale(benchmark, ("impute",), once)


def test_sgd_rounds(benchmark, place: Path) -> None:
    """Rounds of 5000 updates a worker (twice the work on two ranks), and what they exchange."""
    # No early stop: as many rounds as are counted.
    endless = f"max_rounds = {ROUNDS}\nwindow = 1000\npatience = 1000\n"
    (place / "sgd.toml").write_text(f"[train.sgd]\nbin_fraction = 0.02\n{endless}")
    fit = ("--solver", "sgd", "--rank", RANK, "--lambda", 0.1, "--config", "sgd.toml")

    def once(ranks: int) -> Stages:
        return run(place, ranks, "train", "T", "-o", "s.h5", *fit, record="s.h5.run.json")

    stages: dict[int, list[dict[str, float]]] = {1: [], 2: []}

    def both() -> None:
        for ranks in (1, 2):
            stages[ranks].append(once(ranks)["train"])

    benchmark.pedantic(both, rounds=REPEATS)
    found = {ranks: min(own, key=lambda stage: stage["seconds"]) for ranks, own in stages.items()}
    experiments = Tensor(place / "T").experiments
    rows = sum(len({e[i] for e in experiments}) for i in (0, 1))
    n_bytes = rows * (3 * row_width(RANK) * 4 + 3 * 8)
    seconds = found[1]["seconds"] / ROUNDS
    benchmark.extra_info["a round on 1 rank (ms)"] = round(seconds * 1e3, 2)
    benchmark.extra_info["a round on 2 ranks (ms)"] = round(found[2]["seconds"] / ROUNDS * 1e3, 2)
    # Two ranks: each sends half of its rows, then its averaged half.
    benchmark.extra_info["bytes a round, times the least possible"] = round(
        found[2]["bytes_exchanged"] / ROUNDS / (2 * n_bytes), 3
    )
    for network, (latency, bandwidth) in NETWORKS.items():
        # Two exchanges, each after an agreement of log₂ messages; the first sends to everybody.
        messages = MANY + 3 * math.ceil(math.log2(MANY))
        exchange = messages * latency + 2 * (MANY - 1) / MANY * n_bytes / bandwidth
        benchmark.extra_info[f"projection, efficiency on {MANY} ({network})"] = round(
            seconds / (seconds + exchange), 2
        )
