"""What the Spark engine costs beside the local one: `pytest bench/bench_spark.py --benchmark-only`. Asserts no time.

The same jobs of Roadmap's shape on simulated bins (PREDICTD_BENCH_BINS, 300,000 if not given) by two local workers, and
by two that Spark runs on this machine (local[2]). The seconds are those of each stage in run.json, so without starting
Python, Java and the session. A round of the benchmark runs both, one after the other; the best of three is taken. Tasks
take a second or more with as many bins. extra_info tells the overhead t_spark / t_local − 1, and the bytes of results
that tasks sent to the driver, as Spark's own event log counts them.

Needs the table of Roadmap's pairs, pyspark and Java.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from bench.roadmap import make_tensor, of_few_cell_types, roadmap_pairs

N_BINS = int(os.environ.get("PREDICTD_BENCH_BINS", "300000"))
WORKERS = 2
ENGINES = ("local", "spark")
RANK, ROUNDS = 100, 300

Stages = dict[str, dict[str, float]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the tensor T of all pairs and S of the first 24 cell types, and where Spark writes its log."""
    if find_spec("pyspark") is None:
        pytest.skip("pyspark is not here")
    pairs = roadmap_pairs()
    root = tmp_path_factory.mktemp("spark")
    make_tensor(root / "T", pairs, N_BINS, chromosomes=4)
    make_tensor(root / "S", of_few_cell_types(pairs), N_BINS, chromosomes=4)
    (root / "conf").mkdir()
    (root / "log").mkdir()
    (root / "conf" / "spark-defaults.conf").write_text(
        f"spark.eventLog.enabled true\nspark.eventLog.dir file://{root / 'log'}\nspark.ui.enabled false\n"
    )
    return root


def run(place: Path, engine: str, *command: object, record: str) -> tuple[Stages, int]:
    """Run a command: its stages by name, and the bytes that Spark's tasks sent to the driver."""
    subprocess.run(
        [
            *(sys.executable, "-m", "predictd", *map(str, command)),
            *("--engine", engine, "--workers", str(WORKERS)),
        ],
        cwd=place,
        check=True,
        stdout=subprocess.DEVNULL,
        env={
            **os.environ,
            "PYTHONSAFEPATH": "1",
            "SPARK_CONF_DIR": str(place / "conf"),
            "SPARK_LOCAL_IP": "127.0.0.1",
        },
    )
    told = 0
    for log in (place / "log").iterdir():
        for line in log.read_text(encoding="utf-8").splitlines():
            event = json.loads(line)
            if event["Event"] == "SparkListenerTaskEnd":
                told += event["Task Metrics"]["Result Size"]
        log.unlink()
    stages = json.loads((place / record).read_text())["stages"]
    return {stage["name"]: stage for stage in stages}, told


def compare(benchmark, names: tuple[str, ...], once: Callable[[str], tuple[Stages, int]]) -> list[Stages]:
    """Time stages on both engines by turns, since other work on the machine comes and goes; those of Spark."""
    taken: dict[str, list[Stages]] = {engine: [] for engine in ENGINES}
    told: list[int] = []

    def both() -> None:
        for engine, stages in taken.items():
            found, n_bytes = once(engine)
            stages.append(found)
            told.append(n_bytes)

    benchmark.pedantic(both, rounds=3)
    for name in names:
        best = {engine: min(stages[name]["seconds"] for stages in found) for engine, found in taken.items()}
        benchmark.extra_info[f"{name}, local (s)"] = best["local"]
        benchmark.extra_info[f"{name}, spark (s)"] = best["spark"]
        benchmark.extra_info[f"{name}, overhead (%)"] = round(100 * (best["spark"] / best["local"] - 1), 1)
        benchmark.extra_info[f"{name}, exchanged (MB)"] = taken["spark"][-1][name]["bytes_exchanged"] / 1e6
    benchmark.extra_info["results to the driver, whole command (MB)"] = round(told[-1] / 1e6, 3)
    return taken["spark"]


def test_moments(benchmark, place: Path) -> None:
    """One pass: sums of 8 MB, one a shard."""

    def once(engine: str) -> tuple[Stages, int]:
        (place / "T" / "moments.h5").unlink(missing_ok=True)
        return run(
            place, engine, "train", "T", "-o", "m.h5", "--rank", 2, "--lambda", 0.1, record="m.h5.run.json"
        )

    compare(benchmark, ("moments",), once)


def test_crossval(benchmark, place: Path) -> None:
    """Forty models, then the scoring of every experiment, of 24 cell types."""

    def once(engine: str) -> tuple[Stages, int]:
        shutil.rmtree(place / "cv", ignore_errors=True)
        return run(place, engine, "cv", "S", "-o", "cv", "--rank", 30, "--lambda", 0.1, record="cv/run.json")

    compare(benchmark, ("train", "score"), once)


def test_sgd_rounds(benchmark, place: Path) -> None:
    """Rounds of 5000 updates a worker, and the share of them that goes into exchanging factors."""
    # No early stop: as many rounds as are counted.
    endless = f"max_rounds = {ROUNDS}\nwindow = 1000\npatience = 1000\n"
    (place / "sgd.toml").write_text(f"[train.sgd]\nbin_fraction = 0.02\n{endless}")
    fit = ("--solver", "sgd", "--rank", RANK, "--lambda", 0.1, "--config", "sgd.toml")

    def once(engine: str) -> tuple[Stages, int]:
        return run(place, engine, "train", "T", "-o", "s.h5", *fit, record="s.h5.run.json")

    found = min(
        (stages["train"] for stages in compare(benchmark, ("train",), once)), key=lambda s: s["seconds"]
    )
    benchmark.extra_info["a round on Spark (ms)"] = round(found["seconds"] / ROUNDS * 1e3, 2)
    benchmark.extra_info["exchange a round on Spark (ms)"] = round(
        found["exchange_seconds"] / ROUNDS * 1e3, 2
    )
    benchmark.extra_info["share of the stage (%)"] = round(
        100 * found["exchange_seconds"] / found["seconds"], 1
    )
