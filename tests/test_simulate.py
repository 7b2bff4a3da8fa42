"""Simulated data sets: the same signal as tracks, as shards and from the settings alone."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pyBigWig
import pytest

from commands import call_predictd
from made_tensors import stored_signal
from predictd import interrupt
from predictd.engine import Engine
from predictd.errors import Interrupted, OutputError
from predictd.io.files import sha256_of
from predictd.io.hdf5 import read_arrays
from predictd.io.tables import Interval, read_tracks
from predictd.io.tensor.store import Tensor
from predictd.io.tracks.genomes import Genome
from predictd.model.simulate import Simulation
from predictd.pairs import Experiment
from predictd.workflows.tensor.ingest import IngestOptions, ingest
from predictd.workflows.tensor.simulate import PARAMETERS_FORMAT, SimulatedGenome, SimulationOptions, simulate

SMALL = Simulation.for_shape(4, 3, share=0.7, rank=2, seed=3)
PLACE = SimulatedGenome.of_bins(9001, chromosomes=2)


def contents(folder: Path) -> dict[str, bytes]:
    """All files but the records of runs, which hold times."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.name != "run.json")
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def all_signal(simulation: Simulation, pairs: list[Experiment]) -> np.ndarray:
    return np.concatenate(
        [simulation.signal(pairs, run=run, first=0, n=n) for run, n in enumerate((4500, 4501))]
    )


@pytest.fixture(scope="module")
def as_tracks(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Path:
    path = tmp_path_factory.mktemp("simulated") / "tracks"
    simulate(path, SMALL, PLACE, engine)
    return path


@pytest.fixture(scope="module")
def as_tensor(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Path:
    path = tmp_path_factory.mktemp("simulated") / "tensor"
    simulate(path, SMALL, PLACE, engine, form="tensor")
    return path


# -- the same signal --------------------------------------------------------------------------------------------------


def test_shards_hold_the_signal(as_tensor):
    for name, pairs in (("tensor", list(SMALL.experiments)), ("truth", missing_pairs())):
        tensor = Tensor(as_tensor / name)
        assert tensor.experiments == pairs
        expected = all_signal(SMALL, pairs).astype(np.float16)
        np.testing.assert_array_equal(stored_signal(tensor), expected.astype(np.float32))
        assert tensor.n_complete == tensor.n_bins == 9001


def missing_pairs() -> list[Experiment]:
    every = {Experiment(*pair) for pair in product(SMALL.cell_types, SMALL.assays)}
    return sorted(every - set(SMALL.experiments))


def test_tracks_hold_the_signal_in_their_own_unit(as_tracks):
    for table, pairs in (("tracks.tsv", list(SMALL.experiments)), ("truth.tsv", missing_pairs())):
        tracks = read_tracks(as_tracks / table)
        assert [track.experiment for track in tracks] == pairs
        expected = np.sinh(all_signal(SMALL, pairs))
        for column, track in enumerate(tracks):
            with pyBigWig.open(track.path) as file:
                assert file.chroms() == {"chr1": 112_500, "chr2": 112_525}
                whole = [np.array(file.values(chrom, 0, length)) for chrom, length in file.chroms().items()]
            values = np.concatenate([v.reshape(-1, 25) for v in whole])
            assert (values == values[:, :1]).all()
            np.testing.assert_allclose(values[:, 0], expected[:, column], rtol=1e-6, atol=1e-9)


def test_ingested_tracks_are_the_shards(as_tracks, as_tensor, engine, tmp_path):
    options = IngestOptions(genome=str(as_tracks / "genome.chrom.sizes"))
    tensor = ingest(as_tracks / "tracks.tsv", tmp_path / "t", options, engine)
    made = Tensor(as_tensor / "tensor")
    assert tensor.experiments == made.experiments
    assert tensor.manifest.genome.chromosomes == made.manifest.genome.chromosomes
    one, other = stored_signal(tensor), stored_signal(made)
    # There and back through sinh a value may end on the other side of a rounding border of float16.
    assert (one == other).mean() > 0.999
    np.testing.assert_allclose(one, other, rtol=2**-10, atol=2**-24)


def test_the_files_say_how_it_was_made(as_tracks, as_tensor):
    for path in (as_tracks, as_tensor):
        assert Simulation.from_dict(json.loads((path / "simulation.json").read_text())) == SMALL
        assert (path / "genome.chrom.sizes").read_text() == "chr1\t112500\nchr2\t112525\n"
        header, arrays = read_arrays(path / "parameters.h5", format=PARAMETERS_FORMAT, version=1)
        truth = SMALL.parameters
        assert header == {"cell_types": SMALL.cell_types, "assays": SMALL.assays, "mu": truth.mu}
        for name in ("C", "A", "p", "q"):
            np.testing.assert_array_equal(arrays[name], getattr(truth, name))
        assert not (path / ".partial").exists()


@pytest.mark.parametrize("form", ["tracks", "tensor"])
def test_any_number_of_workers_makes_the_same_bytes(form, as_tracks, as_tensor, single, tmp_path):
    simulate(tmp_path / "again", SMALL, PLACE, single, form=form)
    assert contents(tmp_path / "again") == contents(as_tracks if form == "tracks" else as_tensor)


def test_a_part_of_a_genome_has_the_signal_of_the_whole(engine, tmp_path):
    genome = Genome("two", {"chr1": 200_010, "chr2": 150_000})
    regions = [
        Interval("chr2", 1000, 1030),
        Interval("chr1", 100_001, 140_000),
        Interval("chr1", 200_000, 200_010),
    ]
    simulate(
        tmp_path / "part",
        SMALL,
        SimulatedGenome(genome, regions),
        engine,
        form="tensor",
        truth=False,
    )
    assert not (tmp_path / "part" / "truth").exists()
    tensor = Tensor(tmp_path / "part" / "tensor")
    pairs = list(SMALL.experiments)
    expected = np.concatenate(
        [
            SMALL.signal(pairs, run=run, first=first, n=n)
            for run, first, n in ((0, 4000, 1600), (0, 8000, 1), (1, 40, 2))
        ]
    )
    np.testing.assert_array_equal(stored_signal(tensor), expected.astype(np.float16).astype(np.float32))


def test_more_tracks_than_may_be_open_at_once(engine, tmp_path):
    wide = Simulation.for_shape(11, 7, share=0.9, rank=1, seed=0)
    assert len(wide.experiments) > 64
    simulate(tmp_path / "s", wide, SimulatedGenome.of_bins(100, chromosomes=1), engine)
    tracks = read_tracks(tmp_path / "s" / "tracks.tsv")
    assert [track.experiment for track in tracks] == list(wide.experiments)
    expected = np.sinh(wide.signal(wide.experiments, run=0, first=0, n=100))
    for column, track in enumerate(tracks):
        with pyBigWig.open(track.path) as file:
            np.testing.assert_allclose(
                file.values("chr1", 0, 2500)[::25], expected[:, column], rtol=1e-6, atol=1e-9
            )


# -- going on, and refusing -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["tracks", "tensor"])
def test_a_stopped_simulation_goes_on(form, as_tracks, as_tensor, engine, tmp_path):
    out = tmp_path / "s"
    with interrupt.catching():
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted):
            simulate(out, SMALL, PLACE, engine, form=form)
    assert not (out / "simulation.json").exists()
    other = Simulation.for_shape(4, 3, share=0.7, rank=2, seed=4)
    with pytest.raises(
        OutputError, match=r"holds an unfinished job that was begun differently \(simulation\."
    ):
        simulate(out, other, PLACE, engine, form=form)
    simulate(out, SMALL, PLACE, engine, form=form)
    assert contents(out) == contents(as_tracks if form == "tracks" else as_tensor)


def test_what_stands_is_not_made_again(as_tracks, as_tensor, engine, tmp_path):
    for form, whole in (("tracks", as_tracks), ("tensor", as_tensor)):
        before = contents(whole)
        simulate(whole, SMALL, PLACE, engine, form=form)
        assert contents(whole) == before
        with pytest.raises(
            OutputError, match="holds a whole data set already; remove it, or name another directory"
        ):
            simulate(whole, replace(SMALL, seed=99), PLACE, engine, form=form)
        assert contents(whole) == before
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"):
        simulate(tmp_path / "file" / "s", SMALL, PLACE, engine)


# -- the command line -------------------------------------------------------------------------------------------------


def test_the_command_line(tmp_path):
    shape = ["--cells", 4, "--assays", 3, "--share", 0.7, "--rank", 2, "--bins", 9001, "--seed", 3]
    done = call_predictd("simulate", "s", *shape, "--as", "tensor", cwd=tmp_path)
    assert done.returncode == 0 and not done.stderr
    assert done.stdout == "s: 8 of 12 experiments as tensor, the other 4 in truth\n"
    np.testing.assert_array_equal(
        stored_signal(Tensor(tmp_path / "s" / "tensor")),
        all_signal(SMALL, list(SMALL.experiments)).astype(np.float16).astype(np.float32),
    )


def test_pairs_of_a_table_on_a_real_genome(tmp_path):
    (tmp_path / "pairs.tsv").write_text("cell_type\tassay\tnote\nE003\tH3K4me3\tx\nE017\tH3K4me1\ty\n")
    (tmp_path / "r.bed").write_text("chr21\t10000000\t10005000\n")
    done = call_predictd(
        "simulate",
        "s",
        "--pairs",
        "pairs.tsv",
        "--genome",
        "hg19",
        "--regions",
        "r.bed",
        "--no-truth",
        cwd=tmp_path,
    )
    assert done.returncode == 0 and done.stdout == "s: 2 of 4 experiments as tracks\n"
    with pyBigWig.open(str(tmp_path / "s" / "tracks" / "E003-H3K4me3.bw")) as file:
        assert len(file.chroms()) > 20
        spans = file.intervals("chr21")
    assert (spans[0][0], spans[-1][1], len(spans)) == (10_000_000, 10_005_000, 200)


def test_what_run_json_says_of_the_place(as_tracks, engine, tmp_path):
    made_up = json.loads((as_tracks / "run.json").read_text())
    assert made_up["inputs"] == {}
    assert {name: made_up["settings"][name] for name in ("genome", "chromosomes", "regions", "bin_size")} == {
        "genome": "simulated",
        "chromosomes": {"chr1": 112_500, "chr2": 112_525},
        "regions": None,
        "bin_size": 25,
    }
    files = {name: tmp_path / name for name in ("pairs.tsv", "r.bed", "own.chrom.sizes")}
    for path, text in zip(
        files.values(), ("cell_type\tassay\nC\tA\nC\tB\n", "c1\t0\t900\n", "c1\t2000\n"), strict=True
    ):
        path.write_text(text)
    pairs, regions, genome = files.values()
    options = SimulationOptions(pairs=pairs, genome=str(genome), regions=regions, bin_size=50)
    simulate(tmp_path / "s", options.simulation(), options.place(), engine, form="tensor")
    run = json.loads((tmp_path / "s" / "run.json").read_text())
    assert run["inputs"] == {str(path): sha256_of(path) for path in files.values()}
    assert (run["settings"]["genome"], run["settings"]["bin_size"]) == ("own", 50)
    assert run["settings"]["regions"] == str(regions) and run["settings"]["chromosomes"] == {"c1": 2000}
    # Regions that are in no file.
    place = SimulatedGenome(Genome("own", {"c1": 2000}), [Interval("c1", 0, 900)])
    simulate(tmp_path / "t", options.simulation(), place, engine, form="tensor")
    assert json.loads((tmp_path / "t" / "run.json").read_text())["settings"]["regions"] == [["c1", 0, 900]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--regions", "r.bed"], "--regions needs --genome: a made-up genome has none"),
        (
            ["--cells", 9, "--assays", 2, "--share", 0.1],
            "too few to observe each of 9 cell types and 2 assays",
        ),
        (["--genome", "hg17"], "unknown genome 'hg17'"),
        (["--pairs", "gone.tsv"], "cannot read gone.tsv"),
    ],
)
def test_settings_that_make_no_sense(options, message, tmp_path):
    done = call_predictd("simulate", "s", *options, cwd=tmp_path)
    assert done.returncode == 1 and not done.stdout
    assert (
        done.stderr.startswith("predictd: error: ")
        and message in done.stderr
        and done.stderr.count("\n") == 1
    )
    assert not (tmp_path / "s").exists()
