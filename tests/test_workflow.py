"""The Snakemake workflow, run by a real Snakemake on the demo's simulated tracks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from predictd.io.tables import read_tracks

WORKFLOW = Path(__file__).resolve().parents[1] / "workflow"
PROGRAM = shutil.which("snakemake")

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(PROGRAM is None, reason="snakemake is not on the PATH"),
]


def snakemake(
    folder: Path, *arguments: object, cores: tuple[str, ...] = ("--cores", "2")
) -> subprocess.CompletedProcess[str]:
    """Run it with the predictd that is tested."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [PROGRAM, "-s", WORKFLOW / "Snakefile", *cores, *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": path, "PYTHONSAFEPATH": "1", "HOME": str(folder)},
    )


def test_the_demo_runs_from_tracks_to_hub(tmp_path):
    demo = ("--configfile", WORKFLOW / "demo.yaml")
    done = snakemake(tmp_path, *demo)
    assert done.returncode == 0, done.stderr
    imputed = {track.experiment for track in read_tracks(tmp_path / "imputed" / "tracks.tsv")}
    assert imputed == {track.experiment for track in read_tracks(tmp_path / "data" / "truth.tsv")}
    parts = len(list((tmp_path / "parts").glob("*.done")))
    assert parts == int((tmp_path / "parts" / "n").read_text()) > 1
    scored = {tuple(line.split("\t")[:2]) for line in (tmp_path / "metrics.tsv").read_text().splitlines()[1:]}
    assert scored == set(map(tuple, imputed))
    assert {track.experiment for track in read_tracks(tmp_path / "peaks" / "peaks.tsv")} == imputed
    hub = (tmp_path / "hub" / "hub.txt").read_text()
    assert hub.count("bigDataUrl imputed/") == len(imputed)
    assert hub.count("bigDataUrl observed/") == len(read_tracks(tmp_path / "data" / "tracks.tsv"))
    again = snakemake(tmp_path, *demo)
    assert again.returncode == 0 and "Nothing to be done" in again.stderr


def test_a_configuration_that_lacks_something(tmp_path):
    done = snakemake(tmp_path, "--config", "tracks=t.tsv")
    assert done.returncode == 1 and "the configuration needs 'genome'" in done.stderr


def test_a_killed_run_is_unlocked_as_snakemake_says(tmp_path):
    """It names no other option, not even `--cores`."""
    locks = tmp_path / ".snakemake" / "locks"
    locks.mkdir(parents=True)
    (locks / "0.output.lock").write_text("hub/hub.txt\n")
    done = snakemake(tmp_path, "--configfile", WORKFLOW / "demo.yaml", "--unlock", cores=())
    assert done.returncode == 0, done.stderr
    assert not locks.exists() or not list(locks.iterdir())
