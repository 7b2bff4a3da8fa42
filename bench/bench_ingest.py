"""Ingest of real bigWigs against what it cannot do without: `pytest bench/bench_ingest.py --benchmark-only`.

The least possible is reading the same bins with pybigtools' binned means and writing them as the same HDF5 datasets, in
one process without checks, transforms or checksums. Needs the real tracks; skipped without them. No time is asserted.
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
import pytest

from predictd.engine import LocalEngine
from predictd.io.tensor.store import Tensor
from predictd.workflows.tensor.ingest import IngestOptions, ingest

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
            chrom, runs, n_bins = shard.chrom, shard.runs.tolist(), shard.n_bins
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
