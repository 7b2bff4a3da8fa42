"""The main job on real tracks: a few of the pilot regions, every command as a user types it."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pybigtools
import pytest

from tests.conftest import run_predictd

REGIONS = 6


@pytest.fixture(scope="module")
def work(pilot: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the first pilot regions of the 20 real tracks as bigWigs, their BED, and the tensor."""
    path = tmp_path_factory.mktemp("pilot")
    script = pilot / "tools" / "pilot_bigwigs.py"
    subprocess.run(
        [sys.executable, script, path / "bw", "--regions", str(REGIONS)],
        check=True,
        capture_output=True,
        timeout=120,
    )
    bed = (pilot / "data" / "genomes" / "encode-pilot.hg19.bed").read_text().splitlines()
    autosomal = [line for line in bed if not line.startswith("chrX")]
    (path / "regions.bed").write_text("\n".join(autosomal[:REGIONS]) + "\n")
    done = run_predictd(
        "ingest", "bw/tracks.tsv", "T", "--genome", "hg19", "--regions", "regions.bed", cwd=path
    )
    assert done.returncode == 0, done.stderr
    return path


def signal(path: Path, bed: Path) -> np.ndarray:
    """All covered bin values of a track over the regions."""
    reader = pybigtools.open(str(path))
    parts = []
    for line in bed.read_text().splitlines():
        chrom, start, end = line.split()[:3]
        first, stop = int(start) // 25, -(-int(end) // 25)
        parts.append(reader.values(chrom, first * 25, stop * 25, bins=stop - first, exact=True, fillna=None))
    return np.concatenate(parts)


@pytest.mark.parametrize("solver", ["sgd", "em"])
def test_missing_tracks_are_plausible(work: Path, solver: str) -> None:
    model, output = f"{solver}.h5", f"out-{solver}"
    assert (
        run_predictd("train", "T", "-o", model, "--solver", solver, "--rank", "3", cwd=work).returncode == 0
    )
    done = run_predictd("impute", model, "T", "-o", output, "--pairs", "missing", cwd=work)
    assert done.returncode == 0, done.stderr

    def table(path: Path) -> dict[tuple[str, str], Path]:
        rows = csv.DictReader(path.read_text().splitlines(), delimiter="\t")
        return {(row["cell_type"], row["assay"]): path.parent / row["path"] for row in rows}

    imputed = table(work / output / "tracks.tsv")
    observed = table(work / "bw" / "tracks.tsv")
    assert set(imputed) == {
        ("E003", "H3K4me1"),
        ("E017", "H3K4me3"),
        ("E065", "H3K36me3"),
        ("E116", "H3K27me3"),
        ("E117", "H3K9me3"),
    }
    for (_, assay), path in imputed.items():
        values = signal(path, work / "regions.bed")
        same_assay = [signal(p, work / "regions.bed").mean() for (_, a), p in observed.items() if a == assay]
        assert np.isfinite(values).all()
        assert values.min() >= 0
        assert min(same_assay) / 4 < values.mean() < max(same_assay) * 4
        assert values.max() > 3 * values.mean()


def test_cross_validation_beats_the_same_assay_mean(work: Path) -> None:
    done = run_predictd("cv", "T", "-o", "cv", cwd=work)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader((work / "cv" / "metrics.tsv").read_text().splitlines(), delimiter="\t"))
    means = {
        method: np.mean([float(row["MSEglobal"]) for row in rows if row["method"] == method])
        for method in ("model", "assay_mean")
    }
    assert sum(row["method"] == "model" for row in rows) == 20
    assert means["model"] < means["assay_mean"]
    done = run_predictd("impute", "cv", "T", "-o", "all", "--pairs", "all", cwd=work)
    assert done.returncode == 0, done.stderr
    assert len(list((work / "all").glob("*.bw"))) == 25
