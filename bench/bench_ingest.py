"""Ingest against what it cannot do without, and of many contigs: `pytest bench/bench_ingest.py --benchmark-only`.

The least possible is reading the same bins with pybigtools' binned means and writing them as the same HDF5 datasets, in
one process without checks, transforms or checksums. Needs the real tracks; skipped without them.

Ten made-up tracks on 4,000 contigs of 20 to 100 kb are compared with as many bases on one contig: ingest, training,
imputing (two workers). No time is asserted.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pybigtools
import pyBigWig
import pytest

from predictd.config import TrainSettings
from predictd.engine import LocalEngine
from predictd.io.tensor.store import Tensor
from predictd.workflows.imputing.impute import impute
from predictd.workflows.tensor.ingest import IngestOptions, ingest
from predictd.workflows.training.train import train

SHARED = Path(__file__).resolve().parents[2] / "shared"
REGIONS = SHARED / "data" / "genomes" / "encode-pilot.hg19.bed"


@pytest.fixture(scope="module")
def bigwigs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not REGIONS.is_file():
        pytest.skip("the real pilot tracks are not here")
    path = tmp_path_factory.mktemp("bigwigs")
    subprocess.run([sys.executable, SHARED / "tools" / "pilot_bigwigs.py", path], check=True)
    return path


def run_ingest(bigwigs: Path, output: Path, engine: LocalEngine) -> Tensor:
    shutil.rmtree(output, ignore_errors=True)
    options = IngestOptions(genome="hg19", regions=REGIONS)
    return ingest(bigwigs / "tracks.tsv", output, options, engine)


def least_possible(bigwigs: Path, tensor: Tensor, output: Path) -> float:
    """Seconds to read the bins of all tracks and to write them, nothing else."""
    tracks = sorted(bigwigs.glob("*.bw"))
    output.mkdir(exist_ok=True)
    start = time.perf_counter()
    readers = [pybigtools.open(str(track)) for track in tracks]
    for name in tensor.shard_names:
        with tensor.open_shard(name) as shard:
            chrom, runs, n_bins = shard.places.chrom, shard.places.runs.tolist(), shard.n_bins
        signal = np.empty((n_bins, len(tracks)), dtype=np.float16)
        for column, reader in enumerate(readers):
            signal[:, column] = np.concatenate(
                [
                    reader.values(chrom, first * 25, (first + n) * 25, bins=n, exact=True, fillna=None)
                    for first, n in runs
                ]
            )
        with h5py.File(output / f"{name}.h5", "w") as file:
            file.create_dataset(
                "signal",
                data=signal,
                chunks=(min(16384, n_bins), len(tracks)),
                compression=hdf5plugin.Blosc2(cname="zstd", clevel=1, filters=hdf5plugin.Blosc2.SHUFFLE),
            )
    return time.perf_counter() - start


@pytest.mark.parametrize("workers", [1, 2])
def test_ingest(benchmark, bigwigs: Path, tmp_path: Path, workers: int) -> None:
    """Seconds of a whole ingest with warm workers, as a ratio to the least possible in one process."""
    with LocalEngine(workers) as engine:
        tensor = run_ingest(bigwigs, tmp_path / "tensor", engine)
        least = min(least_possible(bigwigs, tensor, tmp_path / "bare") for _ in range(3))
        benchmark.pedantic(
            run_ingest, args=(bigwigs, tmp_path / "tensor", engine), rounds=3, iterations=1, warmup_rounds=0
        )
    benchmark.extra_info["least possible, one process (s)"] = round(least, 2)
    benchmark.extra_info["ratio"] = round(benchmark.stats.stats.min / least, 2)


def write_tracks(path: Path, lengths: dict[str, int]) -> Path:
    """Ten tracks of random signal in every bin of these contigs."""
    path.mkdir()
    rows = ["cell_type\tassay\tpath"]
    for track in range(10):
        rng = np.random.default_rng(track)
        file = pyBigWig.open(str(path / f"{track}.bw"), "w")
        file.addHeader(list(lengths.items()))
        for chrom, length in lengths.items():
            for start in range(0, length // 25 * 25, 2_500_000):
                n = min(length - start, 2_500_000) // 25
                values = rng.exponential(1 + track % 3, n).astype(np.float32).round(2)
                file.addEntries(chrom, start, values=values, span=25, step=25)
        file.close()
        rows.append(f"C{track // 3}\tA{track % 3}\t{track}.bw")
    (path / "tracks.tsv").write_text("\n".join(rows) + "\n")
    (path / "made.chrom.sizes").write_text("".join(f"{chrom}\t{n}\n" for chrom, n in lengths.items()))
    return path


def test_many_contigs(benchmark, tmp_path: Path) -> None:
    """Seconds of 4,000 contigs, as a ratio to one contig of the same length, measured in turns in one session."""
    lengths = np.random.default_rng(0).integers(20_000, 100_000, 4000).tolist()
    genomes = {"one": {"one": sum(lengths)}, "many": {f"contig{i}": n for i, n in enumerate(lengths)}}
    sources = {name: write_tracks(tmp_path / name, genome) for name, genome in genomes.items()}
    seconds: dict[str, list[dict[str, float]]] = {name: [] for name in sources}

    def run(name: str, engine: LocalEngine) -> None:
        source, output = sources[name], tmp_path / f"out-{name}"
        shutil.rmtree(output, ignore_errors=True)
        took = {}
        start = time.perf_counter()
        options = IngestOptions(genome=str(source / "made.chrom.sizes"))
        ingest(source / "tracks.tsv", output / "tensor", options, engine)
        took["ingest"] = time.perf_counter() - start
        settings = TrainSettings(solver="em", rank=2, regularisation=1.0)
        train(output / "tensor", output / "model.h5", settings, engine)
        took["train"] = time.perf_counter() - start - took["ingest"]
        impute(output / "model.h5", output / "tensor", output / "imputed", engine)
        took["impute"] = time.perf_counter() - start - took["ingest"] - took["train"]
        seconds[name].append(took)

    with LocalEngine(2) as engine:
        for name in ("one", "many", "one"):
            run(name, engine)
        benchmark.pedantic(run, args=("many", engine), rounds=1, iterations=1)
    for step in ("ingest", "train", "impute"):
        one, many = (min(took[step] for took in seconds[name]) for name in sources)
        benchmark.extra_info[f"{step} of 4,000 contigs (s)"] = round(many, 2)
        benchmark.extra_info[f"{step}, ratio to one contig"] = round(many / one, 2)
        print(f"{step}: 4,000 contigs {many:.1f} s, one contig {one:.1f} s, ratio {many / one:.2f}")
