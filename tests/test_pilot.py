"""The main job on real tracks: 20 Roadmap experiments, six ENCODE pilot regions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyBigWig
import pytest

from made_folds import FEW_SWEEPS
from made_tensors import small_tensor, stored_signal
from predictd.config import TrainSettings
from predictd.engine import Engine
from predictd.io.files import write_json
from predictd.io.tables import read_tracks
from predictd.io.tensor.store import Tensor
from predictd.model.folds import folds_to_json, make_folds
from predictd.model.transforms import TRANSFORMS
from predictd.pairs import Experiment
from predictd.workflows.imputing.impute import impute
from predictd.workflows.tensor.ingest import IngestOptions, ingest
from predictd.workflows.training.crossval import crossval
from predictd.workflows.training.train import train

N_REGIONS = 6


@pytest.fixture(scope="module")
def tracks(pilot: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the bigWigs, with their tracks.tsv and the regions that they cover."""
    folder = tmp_path_factory.mktemp("pilot") / "tracks"
    script = pilot / "tools" / "pilot_bigwigs.py"
    subprocess.run(
        [sys.executable, str(script), str(folder), "--regions", str(N_REGIONS)],
        check=True,
        capture_output=True,
    )
    lines = (pilot / "data" / "genomes" / "encode-pilot.hg19.bed").read_text().splitlines()
    regions = [line for line in lines if not line.startswith("chrX")][:N_REGIONS]
    (folder / "regions.bed").write_text("\n".join(regions) + "\n")
    return folder


@pytest.fixture(scope="module")
def tensor(tracks: Path, engine: Engine) -> Tensor:
    options = IngestOptions(genome="hg19", regions=tracks / "regions.bed")
    return ingest(tracks / "tracks.tsv", tracks.parent / "tensor", options, engine)


def test_ingested_signal_is_that_of_the_tracks(pilot, tracks, tensor):
    assert len(tensor.experiments) == 20 and tensor.n_complete == tensor.n_bins
    bins = [
        (chrom, start // 25, -(-end // 25))
        for chrom, start, end in (
            (f[0], int(f[1]), int(f[2]))
            for f in map(str.split, (tracks / "regions.bed").read_text().splitlines())
        )
    ]
    assert tensor.n_bins == sum(stop - first for _, first, stop in bins)
    # The published arrays start at the same bins and have a bin or so more at each region's end.
    covered, offset = {}, 0
    for chrom, first, stop in bins:
        covered[chrom, first] = (offset, stop - first)
        offset += int((pilot_end(pilot, chrom, first)) // 25 - first + 2)
    signal = stored_signal(tensor)
    for experiment in (tensor.experiments[0], tensor.experiments[-1]):
        name = f"{experiment.cell_type}-{experiment.assay}.npz"
        published = np.load(pilot / "data" / "roadmap-pilot" / name)["signal"].astype(np.float64)
        row = 0
        for shard_name in tensor.shard_names:
            with tensor.open_shard(shard_name) as shard:
                for first, length in shard.places.runs.tolist():
                    begin, whole = covered[shard.places.chrom, first]
                    assert length == whole
                    column = tensor.experiments.index(experiment)
                    np.testing.assert_allclose(
                        signal[row : row + length, column],
                        published[begin : begin + length],
                        rtol=1e-3,
                        atol=2e-5,
                    )
                    row += length


def pilot_end(pilot: Path, chrom: str, first: int) -> int:
    """End of the pilot region that begins in a bin."""
    for line in (pilot / "data" / "genomes" / "encode-pilot.hg19.bed").read_text().splitlines():
        fields = line.split()
        if fields[0] == chrom and int(fields[1]) // 25 == first:
            return int(fields[2])
    raise AssertionError(f"no region begins at {chrom} bin {first}")


@pytest.mark.parametrize("solver", ["sgd", "em"])
def test_missing_tracks_are_plausible(solver, tensor, engine, tmp_path):
    model = tmp_path / "model.h5"
    report = train(tensor.path, model, TrainSettings(solver=solver, rank=3), engine)
    signal = stored_signal(tensor)
    # Better than the assay's own mean would be.
    assert report.validation_mse < np.mean(signal.var(axis=0))
    imputed = impute(model, tensor.path, tmp_path / "imputed", engine)
    assert {str(pair) for pair in imputed.pairs} == {
        "E003:H3K4me1",
        "E017:H3K4me3",
        "E065:H3K36me3",
        "E116:H3K27me3",
        "E117:H3K9me3",
    }
    assert len(list((tmp_path / "imputed").glob("*.bw"))) == 5
    to_track = TRANSFORMS["arcsinh"].to_track
    for track in read_tracks(tmp_path / "imputed" / "tracks.tsv"):
        with pyBigWig.open(track.path) as file:
            values = np.concatenate(
                [[value for _, _, value in file.intervals(chrom)] for chrom in file.chroms()]
            )
        assert values.size == tensor.n_bins and np.isfinite(values).all() and (values >= 0).all()
        same = [i for i, e in enumerate(tensor.experiments) if e.assay == track.experiment.assay]
        means = to_track(signal[:, same].astype(np.float64)).mean(axis=0)
        assert means.min() / 3 < values.mean() < 3 * means.max()
        # It has peaks, where the same mark has them in other cell types.
        others = signal[:, same].mean(axis=1)
        assert values.max() > 5 * values.mean()
        assert np.corrcoef(np.arcsinh(in_order(track.path, tensor)), others)[0, 1] > 0.3


def in_order(path: str, tensor: Tensor) -> np.ndarray:
    """A track's values in the order of the tensor's bins."""
    values = []
    with pyBigWig.open(path) as file:
        for name in tensor.shard_names:
            with tensor.open_shard(name) as shard:
                for first, length in shard.places.runs.tolist():
                    stop = min((first + length) * 25, file.chroms(shard.places.chrom))
                    values += file.values(shard.places.chrom, first * 25, stop)[::25]
    return np.array(values)


def test_pairs_are_those_of_the_table(tracks, tensor):
    listed = [
        Experiment(*line.split("\t")[:2]) for line in (tracks / "tracks.tsv").read_text().splitlines()[1:]
    ]
    assert tensor.experiments == sorted(listed)


def test_the_stack_is_better_than_the_assays_mean(pilot, tmp_path, engine):
    """The first 100,000 bins of the 20 pilot tracks, as one chromosome."""
    files = sorted((pilot / "data" / "roadmap-pilot").glob("*.npz"))
    signal = np.stack([np.load(file)["signal"][:100_000] for file in files], axis=1)
    pairs = [Experiment(*file.stem.split("-")) for file in files]
    tensor = small_tensor(tmp_path / "t", signal, experiments=pairs, n_shards=2)
    folds, settings = tmp_path / "folds.json", TrainSettings(networks=1, als=FEW_SWEEPS)
    write_json(folds, folds_to_json(make_folds(pairs, tests=5, valids=2)))
    report = crossval(tensor.path, tmp_path / "cv", settings, engine, folds=folds)
    means = {
        method: [
            np.mean([row[name] for row in report.rows if row["method"] == method])
            for name in ("MSEglobal", "GWcorrasinh", "GWspear")
        ]
        for method in ("model", "assay_mean", "assay_mean_scaled")
    }
    assert means["model"][0] < 0.85 * means["assay_mean"][0]
    assert means["model"][0] < 0.9 * means["assay_mean_scaled"][0]
    assert means["model"][1] > means["assay_mean"][1] + 0.03
    assert means["model"][2] > means["assay_mean"][2] + 0.1
