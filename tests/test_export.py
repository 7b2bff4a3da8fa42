"""Exports: the same numbers at the same places in every format, whole or not at all."""

from __future__ import annotations

import gzip
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pyBigWig
import pytest

from commands import call_predictd
from folders import contents
from made_matrices import PAIRS, made_matrix, made_regions, write_sizes
from made_tensors import small_tensor, stored_signal, with_signal
from predictd.errors import ConfigError, DataError, OutputError, TableError, TensorFormatError, TrackError
from predictd.io.files import sha256_of
from predictd.io.tables import write_tracks
from predictd.io.tensor.store import Tensor
from predictd.io.tracks import exports
from predictd.io.tracks.bigwig_writer import BigWigWriter
from predictd.model.peaks import PeakRule
from predictd.pairs import Experiment
from predictd.workflows.tensor.ingest import IngestOptions, ingest
from predictd.workflows.tracks.export import Selection, as_anndata, export
from predictd.workflows.tracks.listed import open_listed
from predictd.workflows.tracks.peaks import PeakCalling
from read_tables import fields_of
from refusals import refused

anndata, pandas = pytest.importorskip("anndata"), pytest.importorskip("pandas")
xarray, zarr = pytest.importorskip("xarray"), pytest.importorskip("zarr")
pytest.importorskip("pyarrow")

FILES = ("s.tsv", "s.tsv.gz", "s.parquet", "s.h5ad", "s.zarr")
Found = tuple[list[tuple[str, int, int]], list[str], np.ndarray]


def read(path: Path) -> Found:
    """Places, names of experiments, and signal (places × experiments) of a file, as its own library reads it."""
    if path.name.endswith((".tsv", ".tsv.gz", ".parquet")):
        frame = pandas.read_parquet(path) if path.suffix == ".parquet" else pandas.read_csv(path, sep="\t")
        places = list(frame.iloc[:, :3].itertuples(index=False, name=None))
        return places, list(frame.columns[3:]), frame.iloc[:, 3:].to_numpy(dtype=np.float32)
    if path.suffix == ".h5ad":
        data = anndata.read_h5ad(path)
        places = list(data.var[["chrom", "start", "end"]].itertuples(index=False, name=None))
        assert list(data.var_names) == [f"{chrom}:{start}-{end}" for chrom, start, end in places]
        assert list(data.obs_names) == [
            f"{c}:{a}" for c, a in zip(data.obs.cell_type, data.obs.assay, strict=True)
        ]
        return places, list(data.obs_names), data.X.T
    with xarray.open_zarr(path, chunks=None, consolidated=True) as data:
        places = list(
            zip(data.chrom.values.tolist(), data.start.values.tolist(), data.end.values.tolist(), strict=True)
        )
        names = [f"{c}:{a}" for c, a in zip(data.cell_type.values, data.assay.values, strict=True)]
        assert data.signal.dims == ("bin", "experiment") and names == data.experiment.values.tolist()
        return places, names, data.signal.values


def write_signal(path: Path, lengths: dict[str, int], height: float = 1.0) -> Path:
    """A bigWig of the same signal everywhere."""
    with pyBigWig.open(str(path), "w") as file:
        file.addHeader(list(lengths.items()))
        for chrom, length in lengths.items():
            file.addEntries([chrom], [0], ends=[length], values=[height])
    return path


def places_of(tensor: Tensor) -> list[tuple[str, int, int]]:
    found = []
    for name in tensor.shard_names:
        with tensor.open_shard(name) as shard:
            length = dict(tensor.manifest.genome.chromosomes)[shard.places.chrom]
            for first, count in shard.places.runs.tolist():
                bins = range(first, first + count)
                found += [(shard.places.chrom, 25 * b, min(25 * b + 25, length)) for b in bins]
    return found


@pytest.fixture
def gaps(tmp_path) -> Tensor:
    """A tensor of three shards and a short last bin, with missing values."""
    signal = np.random.default_rng(3).gamma(1, size=(400, 4))
    signal[::7, 1] = np.nan
    return small_tensor(tmp_path / "gaps", signal, cut_last_bin=8)


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks and chunks of 32 rows."""
    monkeypatch.setattr(exports, "_CHUNK", 128)


@pytest.fixture
def regions(tmp_path, engine) -> Tensor:
    return ingest(made_matrix(), tmp_path / "regions", IngestOptions(genome=write_sizes(tmp_path)), engine)


class TestTensors:
    @pytest.mark.parametrize("name", FILES)
    @pytest.mark.parametrize("blocks", ["one", "several"])
    def test_values_and_places(self, name, blocks, gaps, tmp_path, request):
        if blocks == "several":
            request.getfixturevalue("small_blocks")
        report = export(gaps.path, tmp_path / name)
        places, names, values = read(tmp_path / name)
        assert (report.experiments, report.bins) == (4, 400)
        assert places == places_of(gaps)
        assert places[-1] == ("chr1", 9975, 9992)
        assert names == [str(pair) for pair in gaps.experiments]
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, np.sinh(stored_signal(gaps)), rtol=1e-6)
        assert np.isnan(values[0, 1])

    def test_transforms_are_undone(self, tmp_path, engine):
        matrix = made_matrix()
        scaled = matrix.values / matrix.values.max()
        matrix = type(matrix)(matrix.regions, matrix.experiments, scaled)
        options = IngestOptions(
            genome=write_sizes(tmp_path),
            dtype="float32",
            transform=("logit", "A0=none", "A1=log1p", "A2=arcsinh"),
        )
        tensor = ingest(matrix, tmp_path / "t", options, engine)
        found = as_anndata(tensor.path)
        np.testing.assert_allclose(found.X.T, scaled, atol=1e-6)
        assert found.obs["transform"].tolist() == ["none", "log1p", "arcsinh", "logit"] * 5

    @pytest.mark.parametrize("name", FILES)
    def test_a_matrix_comes_back(self, name, regions, tmp_path, engine):
        export(regions.path, tmp_path / name)
        assert read(tmp_path / name)[0] == [(i.chrom, i.start, i.end) for i in made_regions()]
        if name != "s.zarr":
            options = IngestOptions(genome=write_sizes(tmp_path))
            again = ingest(tmp_path / name, tmp_path / "again", options, engine)
            assert again.manifest.checksum == regions.manifest.checksum

    def test_in_memory(self, gaps, tmp_path):
        export(gaps.path, tmp_path / "s.h5ad")
        own, written = as_anndata(gaps.path), anndata.read_h5ad(tmp_path / "s.h5ad")
        np.testing.assert_array_equal(own.X, written.X)
        pandas.testing.assert_frame_equal(own.obs, written.obs)
        pandas.testing.assert_frame_equal(own.var, written.var)
        assert own.uns == written.uns

    def test_zarr_is_read_lazily_in_chunks(self, small_blocks, gaps, tmp_path):
        export(gaps.path, tmp_path / "s.zarr")
        with xarray.open_zarr(tmp_path / "s.zarr", chunks=None) as data:
            assert data.signal.encoding["chunks"] == (32, 4)
            assert not data.signal.variable._in_memory
            assert data.attrs["genome"] == "made" and data.attrs["bin_size"] == 25
            assert data.attrs["tensor"] == gaps.manifest.checksum
            inside = data.signal[(data.start >= 500) & (data.start < 700)]
            np.testing.assert_allclose(inside.values, np.sinh(stored_signal(gaps))[20:28], rtol=1e-6)

    def test_bigwigs_of_regions(self, regions, tmp_path):
        export(regions.path, tmp_path / "tracks")
        with pyBigWig.open(str(tmp_path / "tracks" / f"{PAIRS[3].file_stem}.bw")) as file:
            found = [(chrom, *entry) for chrom in file.chroms() for entry in file.intervals(chrom)]
        assert [entry[:3] for entry in found] == [(i.chrom, i.start, i.end) for i in made_regions()]
        np.testing.assert_allclose([e[3] for e in found], np.sinh(stored_signal(regions))[:, 3], rtol=1e-6)

    def test_bigwigs_make_the_same_tensor(self, gaps, tmp_path, engine):
        export(gaps.path, tmp_path / "tracks")
        (tmp_path / "sizes").write_text("chr1\t9992\n")
        again = ingest(
            tmp_path / "tracks/tracks.tsv",
            tmp_path / "again",
            IngestOptions(genome=str(tmp_path / "sizes")),
            engine,
        )
        np.testing.assert_array_equal(stored_signal(again), stored_signal(gaps))
        for place in (tmp_path / "tracks", gaps.path):
            before = contents(place)
            with refused(OutputError, f"{place} holds the output of another command"):
                export(gaps.path, place)
            assert contents(place) == before

    def test_what_bigwigs_are_of_is_recorded(self, tmp_path, engine):
        """Two stretches of 250 bp with 40 bp between: in bins of 25 bp they would be one peak."""
        with pyBigWig.open(str(tmp_path / "x.bw"), "w") as file:
            file.addHeader([("chr1", 5000)])
            starts, ends = [0, 1000, 1250, 1290, 1550], [1000, 1250, 1290, 1550, 5000]
            file.addEntries(["chr1"] * 5, starts, ends=ends, values=[0.0, 5.0, 0.0, 5.0, 0.0])
        (tmp_path / "sizes").write_text("chr1\t5000\n")
        write_tracks(tmp_path / "tracks.tsv", {Experiment("C", "A"): "x.bw"})
        options = IngestOptions(genome=str(tmp_path / "sizes"), bin_size=10, dtype="float32")
        tensor = ingest(tmp_path / "tracks.tsv", tmp_path / "fine", options, engine)
        export(tensor.path, tmp_path / "out")
        results = json.loads((tmp_path / "out/run.json").read_text())["results"]
        assert results == {
            "tensor": str(tensor.path),
            "genome": "sizes",
            "bin_size": 10,
            "experiments": 1,
            "bins": 500,
        }
        # They were not imputed from the tensor: what shows them does not call them so.
        listed = open_listed(tmp_path / "out")
        assert (listed.bin_size, listed.genome, listed.tensor) == (10, "sizes", None)
        # Whether the directory, its table or a file of it is named.
        for name, source, stem in (
            ("d", "out", "C-A"),
            ("t", "out/tracks.tsv", "C-A"),
            ("f", "out/C-A.bw", "C%2DA-signal"),
        ):
            PeakCalling(tmp_path / source, tmp_path / name, PeakRule()).make_all(engine)
            found = fields_of(tmp_path / name / f"{stem}.narrowPeak.gz")
            assert [row[:3] for row in found] == [["chr1", "1000", "1250"], ["chr1", "1290", "1550"]]
        # A file that is not in the table may be of anything.
        shutil.copy(tmp_path / "out/C-A.bw", tmp_path / "out/other.bw")
        assert open_listed(tmp_path / "out/other.bw").bin_size == 25

    def test_what_it_was_made_from_is_recorded(self, tmp_path, engine):
        lengths = {"chr1": 5000}
        files = [write_signal(tmp_path / f"{name}.bw", lengths) for name in "xy"]
        (tmp_path / "sizes").write_text("chr1\t5000\n")
        (tmp_path / "r.bed").write_text("chr1\t0\t500\n")
        table = tmp_path / "tracks.tsv"
        write_tracks(table, {Experiment("C", name): f"{name}.bw" for name in "xy"})
        options = IngestOptions(genome=str(tmp_path / "sizes"))
        tensor = ingest(table, tmp_path / "t", options, engine)
        export(table, tmp_path / "s.tsv", Selection("C:y", regions=tmp_path / "r.bed", tensor=tensor.path))
        state = files[1].stat()
        assert json.loads((tmp_path / "s.tsv.run.json").read_text())["inputs"] == {
            str(tensor.path): tensor.manifest.checksum,
            str(table): sha256_of(table),
            str(files[1]): f"bytes {state.st_size}, modified {state.st_mtime_ns}",
            str(tmp_path / "r.bed"): sha256_of(tmp_path / "r.bed"),
        }

    def test_peaks_of_exported_regions_are_refused(self, regions, tmp_path):
        export(regions.path, tmp_path / "out")
        assert json.loads((tmp_path / "out/run.json").read_text())["results"]["bin_size"] is None
        with refused(ConfigError, "a value for each region of a matrix", "`bin_size`"):
            PeakCalling(tmp_path / "out", tmp_path / "peaks", PeakRule())


class TestSelections:
    def test_of_bins_and_pairs(self, small_blocks, gaps, tmp_path):
        bed = tmp_path / "r.bed"
        bed.write_text("chr1\t30\t51\nchr1\t3000\t3001\nchr1\t9990\t9992\n")
        every = np.sinh(stored_signal(gaps))
        cases = {
            "bed": (Selection(regions=bed, pairs="C1:A0,C0:A1"), [1, 2, 120, 399]),
            "text": (
                Selection(region="chr1:1,000-1,026", pairs=[Experiment("C1", "A0"), Experiment("C0", "A1")]),
                [40, 41],
            ),
        }
        for name, (selection, rows) in cases.items():
            for suffix in (".zarr", ".h5ad", ".tsv"):
                export(gaps.path, tmp_path / f"{name}{suffix}", selection)
                places, names, values = read(tmp_path / f"{name}{suffix}")
                assert names == ["C1:A0", "C0:A1"]
                assert places == [places_of(gaps)[row] for row in rows]
                np.testing.assert_allclose(values, every[rows][:, [2, 1]], rtol=1e-6)

    def test_bigwigs(self, gaps, tmp_path):
        export(gaps.path, tmp_path / "part", Selection(region="chr1:1,000-1,026", pairs="C0:A0"))
        with pyBigWig.open(str(tmp_path / "part/C0-A0.bw")) as file:
            assert [entry[:2] for entry in file.intervals("chr1")] == [(1000, 1025), (1025, 1050)]

    def test_refusals(self, gaps, tmp_path):
        for selection, error, parts in (
            (Selection(pairs="C9:A0"), DataError, ("`pairs` C9:A0", "it has", "C0:A0")),
            (Selection(pairs=","), DataError, ("`pairs`",)),
            (Selection(region="chr7"), TableError, ("chr7",)),
            (Selection(region="chr1", regions=tmp_path), ConfigError, ("`regions`, or `region`",)),
            (Selection(tensor=gaps.path), ConfigError, ("is a tensor itself",)),
        ):
            with refused(error, *parts):
                export(gaps.path, tmp_path / "s.tsv", selection)
        with refused(ConfigError, "s.txt", ".zarr, .h5ad, .parquet"):
            export(gaps.path, tmp_path / "s.txt")
        assert not list(tmp_path.glob("s.*"))

    def test_a_region_without_bins(self, regions, tmp_path):
        place = made_regions()[3]
        for name in FILES:
            with refused(DataError, "has no bin there", "chr1, chr2"):
                export(
                    regions.path, tmp_path / name, Selection(region=(place.chrom, place.end, place.end + 1))
                )
        assert not list(tmp_path.glob("*s.*")) and not list(tmp_path.glob(".*"))


class TestTracks:
    def test_over_the_bins_of_a_tensor(self, small_blocks, gaps, regions, tmp_path):
        """Tracks of another tool, averaged over bins and over regions."""
        values = np.random.default_rng(4).gamma(1, size=60_000 // 10).astype(np.float32)
        writer = BigWigWriter(tmp_path / "x.bw", {"chr1": 60_000}, bin_size=10)
        writer.add("chr1", 0, values)
        writer.close()
        write_tracks(tmp_path / "tracks.tsv", {Experiment("X", "Y"): "x.bw"})
        with refused(ConfigError, "does not say which bins", "`tensor`"):
            export(tmp_path / "tracks.tsv", tmp_path / "s.tsv")
        export(tmp_path / "tracks.tsv", tmp_path / "s.zarr", Selection(tensor=regions.path, region="chr1"))
        places, names, found = read(tmp_path / "s.zarr")
        own = [i for i in made_regions() if i.chrom == "chr1"]
        assert names == ["X:Y"] and places == [(i.chrom, i.start, i.end) for i in own]
        bases = np.repeat(values, 10).astype(np.float64)
        np.testing.assert_allclose(found[:, 0], [bases[i.start : i.end].mean() for i in own], rtol=1e-6)

    def test_a_tensor_that_was_made_again_does_not_say_which_bins(self, gaps, tmp_path):
        export(gaps.path, tmp_path / "tracks")
        with_signal(gaps, gaps.path, 2 * stored_signal(gaps))
        with refused(TensorFormatError, f"{gaps.path} is not the tensor that", "it was made again"):
            export(tmp_path / "tracks", tmp_path / "s.tsv")
        export(tmp_path / "tracks", tmp_path / "s.tsv", Selection(tensor=gaps.path))

    def test_exported_tracks(self, gaps, tmp_path):
        """They have the bins and values of the tensor that they were exported of, and say which it is."""
        export(gaps.path, tmp_path / "tracks")
        export(gaps.path, tmp_path / "own.zarr")
        for source in ("tracks", "tracks/tracks.tsv"):
            export(tmp_path / source, tmp_path / "s.zarr")
            places, names, values = read(tmp_path / "s.zarr")
            assert (places, names) == read(tmp_path / "own.zarr")[:2] and len(places) == gaps.n_bins
            np.testing.assert_allclose(values, read(tmp_path / "own.zarr")[2], rtol=1e-6)
            shutil.rmtree(tmp_path / "s.zarr")

    def test_imputed_tracks(self, model_path, tensor_path, engine, tmp_path):
        from predictd.workflows.imputing.impute import impute

        impute(model_path, tensor_path, tmp_path / "imputed", engine)
        export(tmp_path / "imputed", tmp_path / "s.parquet")
        places, names, values = read(tmp_path / "s.parquet")
        assert places == places_of(Tensor(tensor_path))
        for column, name in enumerate(names):
            with pyBigWig.open(str(tmp_path / "imputed" / f"{Experiment.parse(name).file_stem}.bw")) as file:
                expected = [file.values(chrom, start, start + 1)[0] for chrom, start, _ in places[::501]]
            np.testing.assert_array_equal(values[::501, column], np.array(expected, dtype=np.float32))
        with refused(ConfigError, "tracks are bigWigs already"):
            export(tmp_path / "imputed", tmp_path / "tracks")

    @pytest.mark.parametrize(
        ("lengths", "parts"),
        [
            ({"chr1": 9000}, ("made gives chr1 9,992 bp, not 9,000", "of another genome?")),
            ({"1": 9992}, ("made has no chromosome '1', but 'chr1'", "with or without chr")),
        ],
    )
    def test_of_another_genome(self, lengths, parts, gaps, tmp_path):
        """Every bin would lack its value."""
        whole = write_signal(tmp_path / "whole.bw", {"chr1": 9992})
        write_signal(tmp_path / "x.bw", lengths)
        write_tracks(
            tmp_path / "tracks.tsv", {Experiment("A", "m"): whole.name, Experiment("B", "m"): "x.bw"}
        )
        with refused(TrackError, "x.bw", *parts):
            export(tmp_path / "tracks.tsv", tmp_path / "s.tsv", Selection(tensor=gaps.path))
        assert not (tmp_path / "s.tsv").exists()
        # Others are not asked.
        export(tmp_path / "tracks.tsv", tmp_path / "s.tsv", Selection("A:m", tensor=gaps.path))
        np.testing.assert_array_equal(read(tmp_path / "s.tsv")[2], np.ones((400, 1)))

    def test_small_contigs_of_another_length_are_told(self, tmp_path, engine, caplog):
        (tmp_path / "sizes").write_text("chr1\t100000\nchrM\t100\n")
        (tmp_path / "o").mkdir()
        write_signal(tmp_path / "o/x.bw", {"chr1": 100_000, "chrM": 100})
        write_tracks(tmp_path / "o/tracks.tsv", {Experiment("C", "A"): "x.bw"})
        options = IngestOptions(genome=str(tmp_path / "sizes"))
        tensor = ingest(tmp_path / "o/tracks.tsv", tmp_path / "t", options, engine)
        other = write_signal(tmp_path / "other.bw", {"chr1": 100_000, "chrM": 50, "chrX": 50})
        export(other, tmp_path / "s.tsv", Selection(tensor=tensor.path))
        assert "contigs in another length than sizes, left out: chrM" in caplog.text
        places, _, values = read(tmp_path / "s.tsv")
        np.testing.assert_array_equal(values[:, 0], [1 if place[0] == "chr1" else np.nan for place in places])


class TestFiles:
    @pytest.mark.parametrize("name", FILES)
    def test_the_same_bytes(self, name, small_blocks, gaps, tmp_path):
        found = []
        for folder in ("one", "two"):
            (tmp_path / folder).mkdir()
            export(gaps.path, tmp_path / folder / name)
            found.append({k: v for k, v in contents(tmp_path / folder).items() if "run.json" not in str(k)})
        assert found[0] == found[1] and found[0]

    @pytest.mark.parametrize("name", FILES)
    def test_whole_or_not_at_all(self, name, small_blocks, gaps, tmp_path):
        (gaps.path / "shards/chr1.0002.h5").unlink()
        before = sorted(tmp_path.iterdir())
        with refused(Exception, "chr1.0002.h5 is missing"):
            export(gaps.path, tmp_path / name)
        assert sorted(tmp_path.iterdir()) == before

    def test_a_store_that_is_there_stays(self, gaps, tmp_path):
        (tmp_path / "s.zarr").mkdir()
        with refused(OutputError, "s.zarr exists already"):
            export(gaps.path, tmp_path / "s.zarr")
        assert not list((tmp_path / "s.zarr").iterdir())

    @pytest.mark.parametrize(
        ("name", "module"), [("s.parquet", "pyarrow"), ("s.h5ad", "anndata.io"), ("s.zarr", "zarr")]
    )
    def test_a_library_that_is_absent(self, name, module, gaps, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, module, None)
        with refused(ConfigError, name, "pip install 'predictd[interchange]'"):
            export(gaps.path, tmp_path / name)

    @pytest.mark.services
    @pytest.mark.parametrize("kind", ["s3", "gs", "azure"])
    def test_in_an_object_store(self, kind, gaps, tmp_path, monkeypatch, request):
        from predictd.io.files import copy
        from predictd.io.remote import as_path

        store = request.getfixturevalue(kind)
        for name, value in store.environment().items():
            monkeypatch.setenv(name, value)
        export(gaps.path, tmp_path / "s.zarr")
        export(gaps.path, as_path(f"{store.url}/export/s.zarr"))
        export(gaps.path, as_path(f"{store.url}/export/s.tsv.gz"))
        there = as_path(f"{store.url}/export/s.zarr")
        for name in there.names():
            (tmp_path / "copy.zarr" / name).parent.mkdir(parents=True, exist_ok=True)
            copy(there / name, tmp_path / "copy.zarr" / name)
        assert contents(tmp_path / "copy.zarr") == contents(tmp_path / "s.zarr")
        text = gzip.decompress(as_path(f"{store.url}/export/s.tsv.gz").read_bytes()).decode()
        assert text.startswith("chrom\tstart\tend\tC0:A0\tC0:A1\tC1:A0\tC1:A1\nchr1\t0\t25\t")


def test_the_command_line(gaps, tmp_path):
    done = call_predictd(
        "export", gaps.path, "s.tsv", "--region", "chr1:0-50", "--pairs", "C0:A1", cwd=tmp_path
    )
    assert done.stdout == "s.tsv: 1 experiments × 2 bins\n", done.stderr
    assert (tmp_path / "s.tsv").read_text().splitlines()[:2] == [
        "chrom\tstart\tend\tC0:A1",
        "chr1\t0\t25\tNA",
    ]
