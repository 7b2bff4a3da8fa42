"""The Python library: what it gives is what is in the files, and what the command line gives."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import predictd
from made_folds import few_folds
from made_tensors import read_signal, with_signal
from predictd.errors import (
    ConfigError,
    DataError,
    ModelFormatError,
    OutputError,
    TableError,
    TensorFormatError,
)
from predictd.io.tensor import store
from predictd.io.tracks.bigwig import BigWigReader
from predictd.io.tracks.genes import read_genes
from predictd.pairs import Experiment
from predictd.workflows.evaluation.evaluate import evaluate
from predictd.workflows.imputing.impute import impute
from predictd.workflows.tensor.qc import qc
from predictd.workflows.tensor.recommend import recommend
from predictd.workflows.training.train import train
from read_tables import fields_of
from refusals import refused

pd = pytest.importorskip("pandas")
xr = pytest.importorskip("xarray")

REGION = "chr1:1,010-20,000"


@pytest.fixture(scope="module")
def opened(tensor_path):
    return predictd.open_tensor(str(tensor_path))


@pytest.fixture(scope="module")
def model(opened, engine):
    return predictd.train(opened, solver="em", rank=2, penalty=1.0, engine=engine)


@pytest.fixture(scope="module")
def validated(opened, engine, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cv")
    few_folds(store.Tensor(opened.path), folder / "folds.json")
    return predictd.cross_validate(
        opened, folder / "cv", solver="em", rank=2, penalty=1.0, folds=folder / "folds.json", engine=engine
    )


def cells(frame):
    """A frame as a table in a file has it."""
    told = lambda value: f"{value:.6g}" if isinstance(value, float) else str(value)  # noqa: E731
    return [[told(value) for value in row] for row in frame.itertuples(index=False)]


class TestTensor:
    def test_what_it_holds(self, opened, tensor):
        assert opened.genome == "genome" and opened.bin_size == 25 and opened.n_bins == 20_000
        assert opened.chromosomes == {"chr1": 250_000, "chr2": 250_000}
        assert opened.pairs == tensor.experiments
        assert len(opened.cell_types) == 6 and len(opened.assays) == 4
        every = {Experiment(c, a) for c in opened.cell_types for a in opened.assays}
        assert set(opened.missing) == every - set(opened.pairs) and opened.missing == sorted(opened.missing)
        table = opened.experiments
        assert table.index.tolist() == [str(pair) for pair in opened.pairs]
        signal = read_signal(tensor)
        np.testing.assert_allclose(table["mean"], signal.mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(table["sd"], signal.std(axis=0), rtol=1e-5)
        assert (table["observed"] == 1).all()

    @pytest.mark.parametrize(
        ("region", "first", "end"),
        [
            ("chr1:0-25", 0, 1),
            ("chr1:1,010-2,001", 40, 81),
            (("chr1", 99_999, 100_001), 3999, 4001),
            ("chr1:99,000-101,000", 3960, 4040),
            ("chr1:249990-250000", 9999, 10_000),
            ("chr1", 0, 10_000),
            (("chr1", np.int64(25), np.int32(50)), 1, 2),
        ],
    )
    def test_bins_of_a_region(self, opened, tensor, region, first, end):
        pairs = [opened.pairs[3], opened.pairs[0]]
        found = opened.fetch(region, pairs)
        assert found.dtype == np.float32
        # The genome's first chromosome is the tensor's first rows.
        expected = np.sinh(read_signal(tensor)[first:end][:, [3, 0]])
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        labelled = opened.to_xarray(region, pairs)
        np.testing.assert_array_equal(labelled.to_numpy(), found)
        assert labelled.dims == ("bin", "experiment")
        assert labelled["start"].to_numpy().tolist() == list(range(25 * first, 25 * end, 25))
        assert (labelled["end"] - labelled["start"] == 25).all() and (labelled["chrom"] == "chr1").all()
        assert labelled["experiment"].to_numpy().tolist() == [str(pair) for pair in pairs]
        assert labelled["assay"].to_numpy().tolist() == [pair.assay for pair in pairs]
        assert labelled.attrs["genome"] == "genome"

    def test_pairs_in_every_form(self, opened):
        pair = opened.pairs[1]
        one = opened.fetch(REGION, str(pair))
        for form in (pair, tuple(pair), [tuple(pair)], (str(pair),), [str(pair)]):
            np.testing.assert_array_equal(opened.fetch(REGION, form), one)
        two = opened.fetch(REGION, (str(pair), str(opened.pairs[0])))
        np.testing.assert_array_equal(two[:, :1], one)
        table = opened.experiments.iloc[[1, 0]]
        np.testing.assert_array_equal(opened.fetch(REGION, table), two)
        np.testing.assert_array_equal(opened.fetch(REGION, pd.Series(table.index)), two)
        assert opened.fetch(REGION).shape == (760, len(opened.pairs))

    def test_bins_that_are_not_there_are_missing(self, data, engine, tmp_path):
        bed = tmp_path / "regions.bed"
        bed.write_text("chr1\t1000\t2000\nchr1\t3000\t3500\nchr2\t100\t200\n")
        part = predictd.ingest(
            data / "tracks.tsv",
            tmp_path / "part",
            genome=str(data / "genome.chrom.sizes"),
            regions=bed,
            engine=engine,
        )
        whole = predictd.ingest(
            data / "tracks.tsv",
            str(tmp_path / "whole"),
            genome=str(data / "genome.chrom.sizes"),
            engine=engine,
        )
        found, expected = part.fetch("chr1:1500-4000"), whole.fetch("chr1:1500-4000")
        known = np.zeros(100, dtype=bool)
        known[:20] = known[60:80] = True
        np.testing.assert_array_equal(found[known], expected[known])
        assert np.isnan(found[~known]).all()
        with refused(DataError, "no bin in chr1:5000-6000", "other parts of the chromosome"):
            part.fetch("chr1:5000-6000")
        expected_regions = [["chr1", 1000, 2000], ["chr1", 3000, 3500], ["chr2", 100, 200]]
        assert part.regions.to_numpy().tolist() == expected_regions
        assert whole.regions.to_numpy().tolist() == [["chr1", 0, 250_000], ["chr2", 0, 250_000]]

    @pytest.mark.parametrize(
        ("region", "error", "parts"),
        [
            ("chr9:0-100", TableError, ("chr9:0-100", "no chromosome 'chr9'; it has chr1, chr2")),
            ("1:0-100", TableError, ("did you mean chr1?",)),
            ("Chr2", TableError, ("did you mean chr2?",)),
            (5, ConfigError, ("is not an interval",)),
            (None, ConfigError, ("is not an interval",)),
            (("chr1", 0.5, 10), ConfigError, ("is not an interval",)),
            (("chr1", 0), ConfigError, ("is not an interval",)),
            ("chr1:0-250001", TableError, ("gives it 250,000 bp",)),
            ("chr1:100-100", ConfigError, ("is empty",)),
            ("chr1:200-100", ConfigError, ("is empty",)),
            ("chr1:a-b", ConfigError, ("chr1:1,000-2,000", "half-open")),
            (("chr1", -5, 10), ConfigError, ("is empty",)),
            ("chr1:1000", ConfigError, ("is not an interval",)),
            ("", TableError, ("no chromosome ''",)),
        ],
    )
    def test_what_is_no_region(self, opened, region, error, parts):
        with refused(error, *parts):
            opened.fetch(region)

    def test_what_is_no_pair(self, opened):
        with refused(DataError, "has no track of nobody:nothing: it has C1:"):
            opened.fetch(REGION, "nobody:nothing")
        pair, missing = opened.pairs[0], opened.missing[0]
        with refused(DataError, f"did you mean {pair}?"):
            opened.fetch(REGION, str(pair).lower())
        with refused(DataError, f"did you mean {pair}?"):
            opened.fetch(REGION, (pair.assay, pair.cell_type))
        with refused(DataError, f"no track of {missing}: which nobody measured"):
            opened.fetch(REGION, missing)
        for form in (3, ["x"], ("a", "b", "c"), None):
            with refused(ConfigError, "`pairs`"):
                opened.fetch(REGION, [form])
        with refused(TableError, "is not a pair"):
            opened.fetch(REGION, ["C1"])
        with refused(ConfigError, "`pairs` is empty"):
            opened.fetch(REGION, [])

    def test_a_frame_of_tracks(self, data, engine, tmp_path, monkeypatch, opened):
        table = pd.read_csv(data / "tracks.tsv", sep="\t")
        table["path"] = [os.path.relpath(data / path, tmp_path) for path in table["path"]]
        monkeypatch.chdir(tmp_path)
        made = predictd.ingest(table, "own", genome=str(data / "genome.chrom.sizes"), engine=engine)
        np.testing.assert_array_equal(made.fetch("chr2"), opened.fetch("chr2"))
        with refused(ConfigError, "a path was expected, not a list"):
            predictd.ingest([1], "other", genome="hg19", engine=engine)
        with refused(ConfigError, "the DataFrame has no column cell_type"):
            predictd.ingest(table.drop(columns="cell_type"), "other", genome="hg19", engine=engine)
        with refused(TableError, "is in the DataFrame twice"):
            twice = pd.concat([table[:1], table[:1]])
            predictd.ingest(twice, "other", genome=str(data / "genome.chrom.sizes"), engine=engine)

    def test_a_matrix_in_memory(self, engine, tmp_path, monkeypatch):
        rng = np.random.default_rng(0)
        names = [f"{cell}:{assay}" for cell in "abc" for assay in "xyz"]
        values = rng.gamma(1.0, 3.0, size=(50, 9)).astype(np.float32)
        starts = np.arange(50) * 1000 + rng.integers(0, 300, 50)
        rows = [f"chr1:{start}-{start + 400 + index}" for index, start in enumerate(starts)]
        frame = pd.DataFrame(values, index=rows, columns=names)
        made = predictd.ingest(frame, tmp_path / "t", genome="hg19", transform={"x": "none"}, engine=engine)
        assert made.n_bins == 50 and made.bin_size is None and "50 regions on hg19" in repr(made)
        assert made.experiments["transform"].tolist() == ["none", "arcsinh", "arcsinh"] * 3
        found = made.to_xarray(f"chr1:{starts[10] + 399}-{starts[20] + 1}")
        np.testing.assert_allclose(found, values[10:21], rtol=5e-3)
        assert found["start"].to_numpy().tolist() == starts[10:21].tolist()
        assert found["end"].to_numpy().tolist() == [s + 400 + i for i, s in enumerate(starts)][10:21]
        anndata = pytest.importorskip("anndata")
        own = anndata.AnnData(
            values.T,
            obs=pd.DataFrame({"cell_type": list("aaabbbccc"), "assay": list("xyz") * 3}, index=names),
            var=pd.DataFrame(index=rows),
        )
        again = predictd.ingest(own, tmp_path / "a", genome="hg19", transform={"x": "none"}, engine=engine)
        np.testing.assert_array_equal(again.fetch("chr1"), made.fetch("chr1"))
        with refused(OutputError, "is a whole tensor already"):
            predictd.ingest(frame * 2, tmp_path / "t", genome="hg19", transform={"x": "none"}, engine=engine)

        opened = []
        read = store.Tensor.open_shard
        monkeypatch.setattr(
            store.Tensor, "open_shard", lambda self, name: opened.append(name) or read(self, name)
        )
        assert made.fetch("chr1").shape == (50, 9) and len(opened) == 1

    def test_one_that_was_made_anew_is_opened_anew(self, data, engine, tmp_path):
        genome = data / "genome.chrom.sizes"
        before = predictd.ingest(data / "tracks.tsv", tmp_path / "t", genome=genome, engine=engine)
        shutil.rmtree(before.path)
        with refused(TensorFormatError, "was removed, or made again", "open it again"):
            before.fetch(REGION)
        predictd.ingest(data / "tracks.tsv", tmp_path / "t", genome=genome, dtype="float32", engine=engine)
        for use in (lambda: before.fetch(REGION), lambda: before.pairs, lambda: before.experiments):
            with refused(TensorFormatError, "was removed, or made again"):
                use()

    def test_a_finished_one_that_lacks_a_shard(self, data, engine, tmp_path):
        genome = data / "genome.chrom.sizes"
        made = predictd.ingest(data / "tracks.tsv", tmp_path / "t", genome=genome, engine=engine)
        shard = next((made.path / "shards").iterdir())
        shard.unlink()
        with refused(OutputError, f"shard {shard.stem} is gone", "ingest again"):
            predictd.ingest(data / "tracks.tsv", tmp_path / "t", genome=genome, engine=engine)

    def test_where_it_is_stays_where_it_was(self, opened, tmp_path, monkeypatch):
        monkeypatch.chdir(opened.path.parent)
        relative = predictd.open_tensor(opened.path.name)
        monkeypatch.chdir(tmp_path)
        np.testing.assert_array_equal(relative.fetch(REGION), opened.fetch(REGION))

    def test_settings_that_there_are_not(self, data, engine, tmp_path):
        for options in ({"uncovered": "zeros"}, {"dtype": "int8"}, {"merge": "median"}, {"bin_size": 0}):
            with refused(ConfigError, f"`{next(iter(options))}`"):
                predictd.ingest(data / "tracks.tsv", tmp_path / "t", genome="hg19", engine=engine, **options)
        assert not (tmp_path / "t").exists()

    def test_other_tools_formats(self, opened, tmp_path):
        pair = opened.pairs[2]
        expected = opened.to_xarray(REGION, pair)
        zarr = pytest.importorskip("zarr")
        assert zarr.__version__
        path = opened.to_zarr(tmp_path / "own.zarr", pair, region=REGION)
        with xr.open_zarr(path) as stored:
            np.testing.assert_array_equal(stored["signal"], expected)
            assert stored["start"].to_numpy().tolist() == expected["start"].to_numpy().tolist()
        pytest.importorskip("anndata")
        own = opened.to_anndata([pair], region=REGION)
        np.testing.assert_array_equal(own.X.T, expected)
        assert own.var["end"].tolist() == expected["end"].to_numpy().tolist()
        assert own.obs["assay"].tolist() == [pair.assay]
        written = predictd.export(opened.path, str(tmp_path / "own.tsv"), pair, region=REGION)
        table = pd.read_csv(written, sep="\t")
        np.testing.assert_allclose(table[str(pair)], expected[:, 0], rtol=1e-5)

    def test_a_finished_one_is_opened(self, data, engine, tmp_path):
        genome = str(data / "genome.chrom.sizes")
        first = predictd.ingest(data / "tracks.tsv", tmp_path / "own", genome=genome, engine=engine)
        times = {path: path.stat().st_mtime_ns for path in first.path.rglob("*")}
        predictd.ingest(data / "tracks.tsv", tmp_path / "own", genome=genome, engine=engine)
        assert {path: path.stat().st_mtime_ns for path in first.path.rglob("*")} == times
        with refused(OutputError, "is a whole tensor already"):
            predictd.ingest(
                data / "tracks.tsv", tmp_path / "own", genome=genome, uncovered="zero", engine=engine
            )

    def test_it_travels_shows_itself_and_leaves_nothing_open(self, opened):
        before = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").is_dir() else 0
        again = pickle.loads(pickle.dumps(opened))
        np.testing.assert_array_equal(again.fetch(REGION), opened.fetch(REGION))
        with ThreadPoolExecutor(8) as pool:
            for found in pool.map(opened.fetch, [REGION] * 24):
                np.testing.assert_array_equal(found, again.fetch(REGION))
        if before:
            assert len(list(Path("/proc/self/fd").iterdir())) == before
        assert repr(opened) == (
            f"<predictd.Tensor '{opened.path}': 18 experiments of 6 cell types × 4 assays, 20,000 bins of 25 bp on "
            "genome>"
        )
        assert "<b>predictd.Tensor</b>" in opened._repr_html_()

    def test_quality_and_recommendations(self, opened, engine, tmp_path):
        found = predictd.qc(opened, engine=engine)
        qc(opened.path, tmp_path / "qc.tsv", engine)
        header, *rows = fields_of(tmp_path / "qc.tsv")
        assert list(found.columns) == header
        empty = [["." if cell == "" else cell for cell in row] for row in cells(found)]
        assert empty == rows
        best = predictd.recommend(str(opened.path), tmp_path / "api.tsv", k=3, engine=engine)
        recommend(opened.path, tmp_path / "next.tsv", engine, k=3)
        assert (tmp_path / "api.tsv").read_bytes() == (tmp_path / "next.tsv").read_bytes()
        assert [["." if cell == "nan" else cell for cell in row] for row in cells(best)] == fields_of(
            tmp_path / "next.tsv"
        )[1:]
        priced = predictd.recommend(
            opened, k=3, costs=pd.DataFrame({"assay": opened.assays, "cost": [1, 2, 4, 8]}), engine=engine
        )
        assert (priced["gain_per_dollar"] > 0).all()
        assert set(zip(best["cell_type"], best["assay"], strict=True)) < set(opened.missing)


def imputed_track(path, pair, table, first, end):
    """Bins of a written track: float32."""
    row = table[(table["cell_type"] == pair.cell_type) & (table["assay"] == pair.assay)].iloc[0]
    reader = BigWigReader(row[path])
    try:
        return reader.binned_means("chr1", first, end - first, bin_size=25, uncovered="missing")
    finally:
        reader.close()


class TestModels:
    def test_it_is_what_the_command_trains(self, model, opened, engine, tmp_path):
        settings = predictd.api.model.settings_of("em", 2, 1.0, None)
        train(opened.path, tmp_path / "command.h5", settings, engine)
        assert model.save(tmp_path / "api.h5") is model
        assert (tmp_path / "api.h5").read_bytes() == (tmp_path / "command.h5").read_bytes()
        assert (tmp_path / "api.h5.run.json").exists()
        again = predictd.load_model(str(tmp_path / "api.h5"))
        assert again.info == model.info and again.train == model.train == opened.pairs
        assert (again.solver, again.cell_types, again.assays) == ("em", opened.cell_types, opened.assays)
        assert repr(again).startswith("<predictd.Model: em, trained on 18 experiments of 6 cell types × 4 ")
        with refused(ModelFormatError, "does not exist"):
            predictd.load_model(tmp_path / "other.h5")

    def test_a_region_is_what_the_tracks_hold(self, model, opened, engine, tmp_path):
        table = model.impute(opened, write=tmp_path / "imputed", engine=engine)
        assert (
            list(map(Experiment._make, zip(table["cell_type"], table["assay"], strict=True)))
            == opened.missing
        )
        region = model.impute(str(opened.path), region=REGION)
        assert region["experiment"].to_numpy().tolist() == [str(pair) for pair in opened.missing]
        for column, pair in enumerate(opened.missing):
            np.testing.assert_allclose(
                region[:, column], imputed_track("path", pair, table, 40, 800), rtol=2e-5, atol=1e-6
            )
        # Once more: nothing is made anew.
        times = {path: path.stat().st_mtime_ns for path in (tmp_path / "imputed").iterdir()}
        assert model.impute(opened, write=tmp_path / "imputed", engine=engine).equals(table)
        assert all(Path(path).is_absolute() for path in table["path"])
        assert {path: path.stat().st_mtime_ns for path in (tmp_path / "imputed").iterdir()} == times
        Path(table["path"][0]).unlink()
        with refused(OutputError, f"but {Path(table['path'][0]).name} is gone"):
            model.impute(opened, write=tmp_path / "imputed", engine=engine)

    def test_one_pair(self, model, opened):
        chosen = [opened.missing[2], opened.pairs[0]]
        two = model.impute(opened, [str(chosen[0]), tuple(chosen[1])], region=REGION)
        assert two["experiment"].to_numpy().tolist() == list(map(str, chosen))
        one = model.impute(opened, str(chosen[0]), region=REGION)
        np.testing.assert_allclose(one[:, 0], two[:, 0], rtol=1e-5)
        every = model.impute(opened, "all", region=REGION)
        assert every.shape == (760, 24)

    def test_what_it_needs(self, model, opened, tmp_path):
        with refused(ConfigError, "give a `region`", "`write`"):
            model.impute(opened)
        with refused(ConfigError, "not both"):
            model.impute(opened, region=REGION, write=tmp_path / "x")
        with refused(DataError, "no cell type 'nobody'"):
            model.impute(opened, "nobody:A1", region=REGION)
        with refused(ConfigError, "'rank': a rank is at least 1"):
            predictd.train(opened, solver="em", rank=0)
        with refused(ConfigError, "`seed` -1"):
            predictd.train(opened, seed=-1)
        with refused(ConfigError, "`sd`: a single model does not know its errors"):
            model.impute(opened, region=REGION, sd=True)
        with refused(ConfigError, "`pairs` 'mising': write missing, observed, all"):
            model.impute(opened, "mising", region=REGION)
        with refused(ConfigError, "is not a tensor; give pairs and regions by name"):
            model.impute("chr1:0-100")
        with refused(ConfigError, "`engine` 2"):
            predictd.qc(opened, engine=2)
        with refused(ConfigError, "`workers` 0"):
            predictd.LocalEngine(0)
        with refused(ConfigError, "a path was expected, not a Model"):
            predictd.evaluate(model, "truth.tsv")
        with refused(ConfigError, "`k` 0"):
            predictd.recommend(opened, k=0)

    def test_whole_numbers_of_numpy(self, opened, engine, model, tmp_path):
        again = predictd.train(
            opened, solver="em", rank=np.int64(2), penalty=np.float64(1.0), seed=np.int64(0), engine=engine
        )
        again.save(tmp_path / "again.h5")
        model.save(tmp_path / "model.h5")
        assert (tmp_path / "again.h5").read_bytes() == (tmp_path / "model.h5").read_bytes()
        made = predictd.simulate(tmp_path / "s", cells=np.int64(3), bins=np.int32(640), engine=engine)
        assert made.tracks.is_file()

    def test_factors(self, model, opened, engine, tmp_path, blank_figures):
        from predictd.workflows.evaluation.factors import explain_factors

        pytest.importorskip("matplotlib")
        found = model.factors()
        model.save(tmp_path / "m.h5")
        explain_factors(tmp_path / "m.h5", tmp_path / "factors")
        for kind in found._fields:
            header, *rows = fields_of(tmp_path / "factors" / f"{kind}.tsv")
            assert list(getattr(found, kind).columns) == header
            assert cells(getattr(found, kind)) == rows
        stack = predictd.train(opened, networks=0, engine=engine)
        with refused(DataError, "has no factors"):
            stack.factors()
        np.testing.assert_array_equal(
            pickle.loads(pickle.dumps(stack)).impute(opened, region=REGION),
            stack.impute(opened, region=REGION),
        )

    def test_new_cell_types(self, opened, engine, tmp_path, data):
        tracks = pd.read_csv(data / "tracks.tsv", sep="\t").assign(
            path=lambda table: [str(data / path) for path in table["path"]]
        )
        known = predictd.ingest(
            tracks[tracks["cell_type"] != "C6"],
            tmp_path / "known",
            genome=str(data / "genome.chrom.sizes"),
            engine=engine,
        )
        model = predictd.train(known, solver="em", rank=2, penalty=1.0, engine=engine)
        larger = predictd.extend(model, opened, engine=engine)
        assert set(larger.cell_types) - set(model.cell_types) == {"C6"}
        assert larger.impute(opened, region=REGION).shape == (760, len(opened.missing))


class TestCrossValidation:
    def test_scores(self, validated, opened):
        header, *rows = fields_of(validated.path / "metrics.tsv")
        assert list(validated.metrics.columns) == header and len(rows) == 3 * 18
        assert cells(validated.metrics) == rows
        assert validated.metrics["fold"].map(type).eq(str).all()
        assert validated.members is None and list(validated.choices) == ["0", "1", "2"]
        assert set(validated.coverage["cell_type"]) == set(opened.cell_types)
        assert validated.tensor.pairs == opened.pairs
        assert repr(pickle.loads(pickle.dumps(validated))) == repr(validated)
        assert "6 models, 3 test folds" in validated._repr_html_()

    def test_a_finished_one_is_opened(self, validated, opened, engine):
        times = {path: path.stat().st_mtime_ns for path in validated.path.rglob("*")}
        folds = validated.path.parent / "folds.json"
        settings = {"solver": "em", "penalty": 1.0, "folds": folds, "engine": engine}
        predictd.cross_validate(opened, validated.path, rank=2, **settings)
        assert {path: path.stat().st_mtime_ns for path in validated.path.rglob("*")} == times
        with refused(OutputError, "holds metrics.tsv already, made differently (settings.rank: 2, now 3)"):
            predictd.cross_validate(opened, validated.path, rank=3, **settings)

    def test_a_region_with_deviations_is_what_the_tracks_hold(self, validated, opened, engine, tmp_path):
        pairs = [opened.missing[0], opened.pairs[5]]
        table = validated.impute(pairs=pairs, write=tmp_path / "out", sd=True, engine=engine)
        both = validated.impute(opened, pairs, region=REGION, sd=True)
        assert isinstance(both, xr.Dataset)
        alone = validated.impute(opened, pairs, region=REGION)
        np.testing.assert_allclose(both["signal"], alone, rtol=1e-5)
        for column, pair in enumerate(pairs):
            for name, path in (("signal", "path"), ("sd", "sd_path")):
                expected = imputed_track(path, pair, table, 40, 800)
                np.testing.assert_allclose(both[name][:, column], expected, rtol=2e-4, atol=1e-5)

    def test_one_that_was_made_anew_is_read_anew(self, validated, opened, engine, tmp_path):
        place, pair = tmp_path / "cv", opened.pairs[5]
        shutil.copytree(validated.path, place)
        found = predictd.load_cross_validation(place)
        before = found.impute(opened, [pair], region=REGION, sd=True)
        xr.testing.assert_equal(before, validated.impute(opened, [pair], region=REGION, sd=True))
        shutil.rmtree(place)
        with refused(ModelFormatError, f"{place} is not a finished cross-validation any more"):
            found.impute(opened, [pair], region=REGION)
        folds = validated.path.parent / "folds.json"
        again = predictd.cross_validate(
            opened, place, solver="em", rank=1, penalty=3.0, folds=folds, engine=engine
        )
        after = found.impute(opened, [pair], region=REGION, sd=True)
        xr.testing.assert_equal(after, again.impute(opened, [pair], region=REGION, sd=True))
        assert float(abs(after["signal"] - before["signal"]).mean()) > 1e-3

    def test_a_tensor_that_was_made_again_is_another(self, validated, opened, tmp_path):
        for source, name in ((validated.path, "cv"), (opened.path, "tensor")):
            shutil.copytree(source, tmp_path / name)
        kept = json.loads((tmp_path / "cv" / "run.json").read_text())
        kept["results"]["tensor"] = str(tmp_path / "tensor")
        (tmp_path / "cv" / "run.json").write_text(json.dumps(kept))
        found = predictd.load_cross_validation(tmp_path / "cv")
        assert found.tensor.path == tmp_path / "tensor"
        tensor = store.Tensor(opened.path)
        with_signal(tensor, tmp_path / "tensor", read_signal(tensor)[:, ::-1])
        told = (
            f"{tmp_path / 'tensor'} is not the tensor that {tmp_path / 'cv'} was made from: it was made again"
        )
        for use in (lambda: found.tensor, lambda: found.impute(region=REGION)):
            with refused(TensorFormatError, told):
                use()
        assert found.impute(tmp_path / "tensor", region=REGION).shape == (760, len(opened.missing))
        shutil.rmtree(tmp_path / "tensor")
        with refused(
            TensorFormatError, f"from the tensor {tmp_path / 'tensor'}, which does not exist any more"
        ):
            found.impute(region=REGION)

    def test_what_is_none(self, validated, tmp_path):
        with refused(ModelFormatError, "is not a cross-validation"):
            predictd.load_cross_validation(tmp_path)
        (tmp_path / "folds.json").write_bytes((validated.path / "folds.json").read_bytes())
        with refused(ModelFormatError, "is unfinished"):
            predictd.load_cross_validation(tmp_path)


def test_scores_of_imputed_tracks(model, opened, data, engine, tmp_path):
    impute(model.save(tmp_path / "m.h5") and tmp_path / "m.h5", opened.path, tmp_path / "imputed", engine)
    evaluate(tmp_path / "imputed", data / "truth.tsv", tmp_path / "metrics.tsv", engine)
    found = predictd.evaluate(tmp_path / "imputed", data / "truth.tsv", engine=engine)
    header, *rows = fields_of(tmp_path / "metrics.tsv")
    assert list(found.metrics.columns) == header and sorted(cells(found.metrics)) == sorted(rows)
    header, *rows = fields_of(tmp_path / "comparison.tsv")
    assert list(found.comparison.columns) == header and cells(found.comparison) == rows
    again = predictd.evaluate([str(tmp_path / "imputed")], data / "truth.tsv", tensor=opened, engine=engine)
    assert again.metrics.equals(found.metrics)
    truth = pd.read_csv(data / "truth.tsv", sep="\t").assign(
        path=lambda table: [str(data / path) for path in table["path"]]
    )
    framed = predictd.evaluate(tmp_path / "imputed", truth, engine=engine)
    assert framed.metrics.equals(found.metrics)
    assert repr(found).startswith("<predictd.Evaluation: metrics and comparison of model, assay_mean, ")
    # One of the 6 pairs may have no baselines.
    first = found.metrics[["cell_type", "assay"]].eq(found.metrics.loc[0, ["cell_type", "assay"]]).all(axis=1)
    some = found._replace(metrics=found.metrics[~first | (found.metrics["method"] == "model")])
    assert len(some.metrics) == 16 and all(repr(one).endswith(" on 6 experiments>") for one in (found, some))


def test_peaks_of_tracks(data, engine, tmp_path):
    found = predictd.peaks(data / "tracks.tsv", tmp_path / "peaks", engine=engine)
    written = []
    for path in sorted((tmp_path / "peaks").glob("*.narrowPeak.gz")):
        with gzip.open(path, "rt") as file:
            written += [line.split("\t")[:3] for line in file]
    assert len(found) == len(written) > 100
    places = zip(found["chrom"], found["start"].map(str), found["end"].map(str), strict=True)
    assert sorted(map(list, places)) == sorted(written)
    assert predictd.peaks(data / "tracks.tsv", engine=engine).equals(found)
    assert all(isinstance(chrom, str) for chrom in found["chrom"])
    none = predictd.peaks(data / "tracks.tsv", threshold=1e6, engine=engine)
    assert len(none) == 0 and list(none.columns) == list(found.columns)


def test_simulated_data(engine, tmp_path):
    made = predictd.simulate(tmp_path / "sim", cells=4, assays=3, bins=2000, engine=engine)
    tensor = predictd.ingest(made.tracks, tmp_path / "t", genome=str(made.genome), engine=engine)
    assert (len(tensor.cell_types), len(tensor.assays), tensor.n_bins) == (4, 3, 2000)
    assert predictd.simulate(tmp_path / "sim", cells=4, assays=3, bins=2000, engine=engine) == made
    with refused(OutputError, "holds a whole data set already"):
        predictd.simulate(tmp_path / "sim", cells=4, assays=3, bins=4000, engine=engine)


class TestFigures:
    @pytest.fixture(autouse=True)
    def _needs_matplotlib(self):
        pytest.importorskip("matplotlib")

    def test_a_region(self, opened, validated, tmp_path):
        genes = tmp_path / "genes.bed"
        genes.write_text("chr1\t2000\t6000\tGENE1\t0\t+\nchr1\t5000\t9000\tGENE2\t0\t-\nchr2\t1\t9\tother\n")
        pairs = [opened.pairs[0], opened.missing[0]]
        figure = predictd.plot.region(opened, validated, REGION, pairs, genes=genes)
        first, second, last = figure.axes
        observed, band, imputed = (patch.get_data() for patch in first.patches)
        np.testing.assert_allclose(observed.values, opened.fetch(REGION, pairs[0])[:, 0])
        both = validated.impute(opened, pairs, region=REGION, sd=True)
        np.testing.assert_allclose(imputed.values, both["signal"][:, 0])
        np.testing.assert_allclose(band.values, both["signal"][:, 0] + both["sd"][:, 0])
        assert (band.baseline >= 0).all()
        assert observed.edges[[0, -1]].tolist() == [1000, 20_000]
        # Of what nobody measured there is nothing to fill.
        assert len(second.patches) == 2
        assert [text.get_text() for text in last.texts] == ["GENE1 →", "GENE2 ←"]
        assert [axis.get_ylabel() for axis in (first, second)] == list(map(str, pairs))
        assert pickle.loads(pickle.dumps(figure))._repr_png_().startswith(b"\x89PNG")

    def test_without_deviations_or_a_model(self, opened, model, tmp_path):
        pair = str(opened.pairs[0])
        assert len(predictd.plot.region(opened, model, REGION, pair).axes[0].patches) == 2
        model.save(tmp_path / "m.h5")
        assert (
            len(predictd.plot.region(opened.path, str(tmp_path / "m.h5"), REGION, pair).axes[0].patches) == 2
        )
        plain = predictd.plot.region(opened, None, REGION, pair, scale="arcsinh").axes[0]
        assert len(plain.patches) == 1 and plain.get_yscale() == "asinh"
        assert [text.get_text() for text in plain.get_yticklabels()][:2] == ["0", "1"]
        with refused(ConfigError, "`sd` needs a cross-validation"):
            predictd.plot.region(opened, model, REGION, pair, sd=True)

    def test_between_regions_nothing_is_drawn(self, engine, tmp_path):
        spans = [(1000, 1200), (1500, 1600), (1600, 2000)]
        rows = [f"chr1:{start}-{end}" for start, end in spans]
        names = [f"{cell}:{assay}" for cell in "abc" for assay in "xy"]
        signal = np.random.default_rng(0).gamma(1.0, 3.0, size=(3, 6))
        frame = pd.DataFrame(signal, index=rows, columns=names)
        tensor = predictd.ingest(frame, tmp_path / "t", genome="hg19", engine=engine)
        (area,) = predictd.plot.region(tensor, None, "chr1:0-5,000", "b:x").axes[0].patches
        assert area.get_data().edges.tolist() == [1000, 1200, 1500, 1600, 2000]
        first, *others = tensor.fetch("chr1", "b:x")[:, 0].tolist()
        np.testing.assert_array_equal(area.get_data().values, [first, np.nan, *others])

    @pytest.mark.parametrize(
        ("transform", "least", "most"), [("logit", 0, 1), ("none", None, None), ("log1p", 0, None)]
    )
    def test_a_band_ends_where_signal_does(self, opened, monkeypatch, tmp_path, transform, least, most):
        """Whatever the signal of this region: here it is from 0.01 to 0.99, and its deviation 0.1."""
        tensor, pair = store.Tensor(opened.path), opened.pairs[0]
        entries = [entry.model_copy(update={"transform": transform}) for entry in tensor.manifest.experiments]
        shutil.copytree(opened.path, tmp_path / "t")
        tensor.manifest.model_copy(update={"experiments": tuple(entries)}).write(tmp_path / "t")
        signal = np.linspace(0.01, 0.99, 760, dtype=np.float32)[:, None]
        monkeypatch.setattr(predictd.plot, "_imputed", lambda *_: (signal, np.full_like(signal, 0.1)))
        figure = predictd.plot.region(tmp_path / "t", None, REGION, pair)
        band = figure.axes[0].patches[1].get_data()
        np.testing.assert_allclose(band.baseline, np.clip(signal[:, 0] - 0.1, least, None), atol=1e-6)
        np.testing.assert_allclose(band.values, np.clip(signal[:, 0] + 0.1, None, most), atol=1e-6)

    def test_genes_of_a_gtf(self, tmp_path):
        from predictd.io.tables import Interval

        path = tmp_path / "genes.gtf"
        path.write_text(
            '#!genome\nchr1\tx\tgene\t101\t200\t.\t-\t.\tgene_id "E1"; gene_name "ABC";\n'
            'chr1\tx\texon\t101\t150\t.\t-\t.\tgene_id "E1";\n'
            'chr1\tx\tgene\t301\t400\t.\t+\t.\tgene_id "E2";\n'
        )
        assert [gene[:4] for gene in read_genes(path, Interval("chr1", 0, 250))] == [("ABC", 100, 200, "-")]
        assert [gene[:4] for gene in read_genes(path, Interval("chr1", 200, 301))] == [("E2", 300, 400, "+")]


@pytest.mark.processes
def test_a_script_needs_no_guard(tensor_path, tmp_path):
    from commands import run_python

    done = run_python(
        "import predictd\nt = predictd.open_tensor('" + str(tensor_path) + "')\nt.verify()\nprint(t.n_bins)",
        cwd=tmp_path,
    )
    assert (done.returncode, done.stdout) == (0, "20000\n")


def test_every_name_is_documented_and_there():
    for name in predictd.__all__:
        assert name in dir(predictd)
        assert getattr(predictd, name).__doc__
    for name in (*predictd.network.__all__,):
        assert getattr(predictd.network, name).__doc__
    with pytest.raises(AttributeError, match="nothing"):
        predictd.nothing  # noqa: B018
