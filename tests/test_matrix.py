"""Tensors of matrices: what is read, what is refused, and that all that follows treats regions as it should."""

from __future__ import annotations

import gzip
import logging
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyBigWig
import pytest

from commands import call_predictd
from given_up import put_once_begun
from made_folds import FEW_SWEEPS_TOML, FEWEST_SWEEPS, few_folds
from made_matrices import LENGTHS, PAIRS, made_matrix, made_regions, made_values, write_sizes
from made_tensors import stored_signal
from made_tracks import write_bases
from places import SHARED
from predictd.config import TrainSettings
from predictd.constants import METRICS_TSV
from predictd.errors import ConfigError, DataError, OutputError, TableError, TrackError
from predictd.io.tables import Interval
from predictd.io.tensor.layout import Places, ShardPlan
from predictd.io.tensor.manifest import ExperimentEntry, GenomeEntry, Manifest, ShardEntry
from predictd.io.tensor.store import Tensor, write_shard
from predictd.io.tracks.bigwig import BigWigReader
from predictd.io.tracks.genomes import Genome
from predictd.io.tracks.matrix import Matrix, matrix_of_anndata, matrix_of_frame
from predictd.model.measures.metrics import evaluate_track
from predictd.model.transforms import TRANSFORMS
from predictd.pairs import Experiment
from predictd.workflows.evaluation.evaluate import evaluate
from predictd.workflows.imputing.impute import impute
from predictd.workflows.tensor.context import ensure_window_sample, read_window_sample
from predictd.workflows.tensor.fetch import fetch, locate
from predictd.workflows.tensor.ingest import IngestOptions, ingest
from predictd.workflows.tracks.export import export
from predictd.workflows.training.crossval import crossval
from refusals import refused

NAMES = [f"{i.chrom}:{i.start}-{i.end}" for i in made_regions()]
COLUMNS = [str(pair) for pair in PAIRS]


@pytest.fixture
def make(tmp_path, engine):
    """A tensor of a matrix, in memory or in a file, with options."""
    genome = write_sizes(tmp_path)

    def made(source: Path | Matrix, name: str = "tensor", **options: object) -> Tensor:
        return ingest(source, tmp_path / name, IngestOptions(**{"genome": genome, **options}), engine)

    return made


def table(path: Path, columns: list[str], rows: list[list[object]], separator: str = "\t") -> Path:
    text = "\n".join(separator.join(map(str, row)) for row in [columns, *rows]) + "\n"
    path.write_bytes(gzip.compress(text.encode()) if path.suffix.lower() == ".gz" else text.encode())
    return path


def rows_of(leading: list[list[object]], values: np.ndarray) -> list[list[object]]:
    return [
        [*names, *map(repr, row)] for names, row in zip(leading, values.astype(float).tolist(), strict=True)
    ]


def places(tensor: Tensor) -> list[Interval]:
    found = []
    for name in tensor.shard_names:
        with tensor.open_shard(name) as shard:
            found += [Interval(shard.places.chrom, *span) for span in shard.places.spans().tolist()]
    return found


class TestReading:
    @pytest.fixture
    def expected(self, make):
        return make(made_matrix(), "expected").manifest.checksum

    def test_values_and_places(self, make):
        matrix = made_matrix()
        order = np.random.default_rng(0).permutation(len(matrix.regions))
        mixed = replace(
            matrix,
            regions=[matrix.regions[i] for i in order],
            values=matrix.values[order][:, ::-1],
            experiments=PAIRS[::-1],
        )
        before = mixed.values.copy()
        tensor = make(mixed, dtype="float32", uncovered="zero")
        assert tensor.experiments == PAIRS
        assert places(tensor) == made_regions()
        np.testing.assert_array_equal(stored_signal(tensor), np.arcsinh(made_values()))
        assert tensor.manifest.bin_size is None
        np.testing.assert_array_equal(mixed.values, before)

    def test_tables(self, make, tmp_path, expected):
        regions, values = made_regions(), made_values()
        spans = [[i.chrom, i.start, i.end] for i in regions]
        named = [[name] for name in NAMES]
        genes = [[f"gene{i}"] for i in range(len(regions))]
        bed = tmp_path / "genes.bed"
        bed.write_text("".join(f"{c}\t{s}\t{e}\t{g[0]}\n" for (c, s, e), g in zip(spans, genes, strict=True)))
        # As deepTools writes it.
        quoted = ["#'chr'", "'start'", "'end'", *(f"'{name}'" for name in COLUMNS)]
        forms = {
            "spans.tsv": (["chrom", "start", "end", *COLUMNS], rows_of(spans, values), "\t", None),
            "QUOTED.TSV": (quoted, rows_of(spans, values), "\t", None),
            "named.tsv.gz": (["", *COLUMNS], rows_of(named, values)[::-1], "\t", None),
            "short.tsv": (COLUMNS, rows_of(named, values), "\t", None),
            "NAMED.CSV": (["region", *COLUMNS], rows_of(named, values), ",", None),
            "genes.tsv": (["gene", *COLUMNS], rows_of(genes, values)[::-1], "\t", bed),
            "order.tsv": (COLUMNS, rows_of([[] for _ in named], values), "\t", bed),
            "Turned.Csv.Gz": (["", *NAMES], rows_of([[c] for c in COLUMNS], values.T), ",", None),
        }
        for name, (columns, rows, separator, bins) in forms.items():
            path = table(tmp_path / name, columns, rows, separator)
            made = make(path, f"t-{name}", bins=bins)
            assert made.manifest.checksum == expected, name

    def test_frames_and_anndata(self, make, tmp_path, expected):
        pandas = pytest.importorskip("pandas")
        anndata = pytest.importorskip("anndata")
        pytest.importorskip("pyarrow")
        values = made_values()
        frame = pandas.DataFrame(values, index=NAMES, columns=COLUMNS)
        spans = pandas.DataFrame(
            [[i.chrom, i.start, i.end] for i in made_regions()], columns=["chr", "start", "end"]
        )
        levels = frame.set_axis(pandas.MultiIndex.from_tuples(PAIRS), axis=1).set_axis(
            pandas.MultiIndex.from_frame(spans), axis=0
        )
        joined = pandas.concat([frame.reset_index(drop=True), spans], axis=1)
        cells, assays = zip(*PAIRS, strict=True)
        labels = pandas.DataFrame({"Cell Type": pandas.Categorical(cells), "assay": assays}, index=COLUMNS)
        own = spans.set_index(pandas.Index([f"peak{i}" for i in range(len(spans))]))
        by_obs = anndata.AnnData(values.T.copy(), obs=labels, var=pandas.DataFrame(index=NAMES))
        by_var = anndata.AnnData(values, obs=own, var=labels)
        frame.to_parquet(tmp_path / "M.PARQUET")
        by_obs.write_h5ad(tmp_path / "M.H5AD")
        sources = {
            "frame": matrix_of_frame(frame[::-1]),
            "levels": matrix_of_frame(levels),
            "joined": matrix_of_frame(joined),
            "obs": matrix_of_anndata(by_obs),
            "var": matrix_of_anndata(by_var),
            "parquet": tmp_path / "M.PARQUET",
            "h5ad": tmp_path / "M.H5AD",
        }
        for name, source in sources.items():
            assert make(source, f"t-{name}").manifest.checksum == expected, name

    def test_sparse_anndata(self):
        anndata, pandas = pytest.importorskip("anndata"), pytest.importorskip("pandas")
        from scipy.sparse import csr_matrix

        dense = np.array([[0, 2.5], [1, 0]], dtype=np.float32)
        data = anndata.AnnData(
            csr_matrix(dense),
            obs=pandas.DataFrame(index=["A:x", "B:x"]),
            var=pandas.DataFrame(index=["c-1-5", "c_9_12"]),
        )
        matrix = matrix_of_anndata(data)
        np.testing.assert_array_equal(matrix.values, dense.T)
        assert matrix.regions == [Interval("c", 1, 5), Interval("c", 9, 12)]

    def test_missing_values(self, make, tmp_path):
        values = made_values(4)
        rows = rows_of([[name] for name in NAMES[:2] + NAMES[-2:]], values)
        rows[0][1], rows[1][2], rows[2][3], rows[3][4] = "NA", "", "nan", "."
        path = table(tmp_path / "gaps.tsv", ["", *COLUMNS], rows)
        expected = np.arcsinh(values)
        expected[range(4), range(4)] = np.nan
        missing = make(path, "missing", dtype="float32")
        np.testing.assert_array_equal(stored_signal(missing), expected)
        assert (missing.n_bins, missing.n_complete) == (4, 0)
        zero = make(path, "zero", dtype="float32", uncovered="zero")
        np.testing.assert_array_equal(stored_signal(zero), np.nan_to_num(expected))

    def test_a_library_that_is_absent(self, monkeypatch, tmp_path, make):
        (tmp_path / "m.h5ad").write_bytes(b"x")
        monkeypatch.setitem(sys.modules, "anndata", None)
        with refused(ConfigError, "m.h5ad", "pip install 'predictd[interchange]'"):
            make(tmp_path / "m.h5ad")


class TestTensor:
    def test_the_checksum_is_of_regions_too(self, make):
        matrix = made_matrix(40)
        first = make(matrix, "first")
        moved = [*matrix.regions]
        moved[3] = Interval("chr1", moved[3].start, moved[3].end + 1)
        second = make(replace(matrix, regions=moved), "second")
        np.testing.assert_array_equal(stored_signal(first), stored_signal(second))
        assert first.manifest.checksum != second.manifest.checksum

    def test_tensors_of_bins_are_what_they_were(self):
        manifest = Manifest(
            genome=GenomeEntry(name="g", chromosomes=(("c", 1000),)),
            experiments=(ExperimentEntry(cell_type="C", assay="A"),),
            shards=(ShardEntry(name="c.0000", chrom="c", n_bins=40, n_complete=39, sha256="0" * 64),),
        )
        assert manifest.checksum == "1bd0a186ab954b4e6772651f20744cc6a70a15d8517bb379dd252e50becb2f95"

    def test_shards(self, make):
        tensor = make(made_matrix(), shard_bins=64)
        assert [(entry.chrom, entry.n_bins) for entry in tensor.manifest.shards] == [("chr1", 60)] * 2 + [
            ("chr2", 60)
        ] * 2
        assert places(tensor) == made_regions()
        for name in tensor.shard_names:
            with tensor.open_shard(name) as shard:
                runs = [rows for _, rows in shard.places.stretches(10, 13)]
                assert runs == [slice(0, 1), slice(1, 2), slice(2, 3)]

    def test_a_shard_that_another_job_puts_there_is_made_anew(self, make, tmp_path, monkeypatch):
        expected = make(made_matrix(), "expected", shard_bins=64).manifest.checksum
        changed = replace(made_matrix(), values=made_values() + 1)
        foreign = make(changed, "foreign", shard_bins=64).shard_path("chr1.0001")
        put_once_begun(monkeypatch, foreign, tmp_path / "tensor" / "shards" / foreign.name)
        assert make(made_matrix(), shard_bins=64).manifest.checksum == expected

    def test_the_same_command_goes_on(self, make, tmp_path, monkeypatch):
        expected = make(made_matrix(), "expected", shard_bins=64).manifest.checksum
        with monkeypatch.context() as patch:
            patch.setattr(Manifest, "write", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                make(made_matrix(), "tensor", shard_bins=64)
        times = {path: path.stat().st_mtime_ns for path in (tmp_path / "tensor/shards").iterdir()}
        changed = replace(made_matrix(), values=made_values() + 1)
        with refused(OutputError, "matrix"):
            make(changed, "tensor", shard_bins=64)
        assert make(made_matrix(), "tensor", shard_bins=64).manifest.checksum == expected
        assert {path: path.stat().st_mtime_ns for path in (tmp_path / "tensor/shards").iterdir()} == times

    def test_regions_and_exclude(self, make, tmp_path):
        every = made_regions()
        (tmp_path / "keep.bed").write_text(f"chr1\t0\t{every[9].end}\nchr2\t{every[200].start}\t60007\n")
        (tmp_path / "drop.bed").write_text(f"chr1\t{every[3].end - 1}\t{every[5].start + 1}\n")
        tensor = make(made_matrix(), regions=tmp_path / "keep.bed", exclude=str(tmp_path / "drop.bed"))
        assert places(tensor) == [*every[:3], *every[6:10], *every[200:]]

    def test_transforms(self, make, tmp_path):
        matrix = made_matrix()
        values = matrix.values.copy()
        values[:, 0::4] -= 3
        values[:, 1::4] /= values[:, 1::4].max()
        changed = replace(matrix, values=values, transforms={"A0": "none", "A1": "logit", "A2": "arcsinh"})
        tensor = make(changed, dtype="float32", transform=("A2=log1p",))
        used = ["none", "logit", "log1p", "arcsinh"]
        assert [entry.transform for entry in tensor.manifest.experiments] == used * 5
        expected = [TRANSFORMS[used[i % 4]].forward(column) for i, column in enumerate(values.T)]
        np.testing.assert_array_equal(stored_signal(tensor), np.stack(expected, axis=1))
        # What is given for all counts more than what the matrix says.
        tensor = make(changed, "given", transform=("none", "A3=arcsinh"))
        assert [entry.transform for entry in tensor.manifest.experiments] == [*["none"] * 3, "arcsinh"] * 5

    @pytest.mark.parametrize(
        ("uncovered", "expected"), [("zero", [4, 4, 0, 1]), ("missing", [8, 8, np.nan, 1])]
    )
    def test_gaps_of_replicates_are_those_of_tracks(self, uncovered, expected, make, tmp_path):
        starts = range(0, 100, 25)
        replicates = np.array([[8, np.nan], [np.nan, 8], [np.nan, np.nan], [1, 1]])
        options = {"merge": "mean", "uncovered": uncovered, "dtype": "float32"}
        pair = Experiment("C", "A")
        matrix = Matrix([Interval("chr1", start, start + 25) for start in starts], [pair, pair], replicates)
        merged = stored_signal(make(matrix, "regions", transform=("none",), **options))
        np.testing.assert_array_equal(merged[:, 0], expected)
        rows = []
        for number, values in enumerate(replicates.T):
            bases = {"chr1": np.repeat(values, 25).astype(np.float32)}
            rows.append([*pair, write_bases(tmp_path / f"{number}.bw", bases), "none"])
        tracks = table(tmp_path / "tracks.tsv", ["cell_type", "assay", "path", "transform"], rows)
        (tmp_path / "r.sizes").write_text("chr1\t100\n")
        binned = make(tracks, "bins", genome=str(tmp_path / "r.sizes"), **options)
        np.testing.assert_array_equal(stored_signal(binned), merged)

    def test_replicates(self, make):
        matrix = made_matrix(40)
        values = np.hstack([matrix.values, matrix.values[:, :1] * 3])
        values[7, 0] = np.nan
        twice = replace(matrix, experiments=[*PAIRS, PAIRS[0]], values=values)
        with refused(TableError, "several columns of C0:A0", "`merge` mean"):
            make(twice)
        merged = stored_signal(make(twice, merge="mean", dtype="float32"))
        expected = np.arcsinh(matrix.values[:, 0] * 2)
        expected[7] = np.arcsinh(matrix.values[7, 0] * 3)
        np.testing.assert_allclose(merged[:, 0], expected, rtol=1e-6)


BAD = {
    "overlap": ([["chr1", 5, 9], ["chr1", 8, 12]], "1 regions overlap", "chr1:8-12 with chr1:5-9"),
    "twice": ([["chr1", 5, 9], ["chr1", 5, 9]], "chr1:5-9 with chr1:5-9"),
    "empty": ([["chr1", 5, 9], ["chr1", 8, 8]], "line 3", "chr1:8-8 is empty"),
    "beyond": ([["chr1", 5, 60_001]], "gives it 60,000 bp"),
    "chromosome": ([["chrZ", 5, 9]], "has no such chromosome"),
    "text": ([["chr1", "x", 9]], "line 2", "whole numbers"),
}


class TestNames:
    def test_regions_and_experiments_are_told_apart(self, tmp_path, make):
        names = ["chr1:1,000-2,000", "chr1-3000-3005", "chr2_7_9", "chr2:59000-60007"]
        columns = ["K562:rep_1_2", "HLA-A*02:CD4-1-x", "C 1:H3K4me3 (2)"]
        path = table(tmp_path / "m.tsv", ["", *columns], [[name, 1, 2, 3] for name in names])
        tensor = make(path, dtype="float32")
        assert {str(pair) for pair in tensor.experiments} == set(columns)
        spans = [("chr1", 1000, 2000), ("chr1", 3000, 3005), ("chr2", 7, 9), ("chr2", 59_000, 60_007)]
        assert places(tensor) == [Interval(*span) for span in spans]

    def test_a_table_of_tracks_with_commas_is_no_matrix(self, tmp_path, make):
        path = table(tmp_path / "TRACKS.CSV", ["Cell Type", "assay", "Path"], [["C", "A", "x.bw"]], ",")
        with refused(TrackError, "TRACKS.CSV, line 2", "x.bw does not exist"):
            make(path)
        path = table(tmp_path / "tracks.csv", ["biosample", "assay", "Path"], [["C", "A", "x.bw"]], ",")
        with refused(TableError, "missing: cell_type", "if 'biosample' is the cell_type"):
            make(path)

    def test_numbers_may_be_names(self, tmp_path, make):
        """Whatever holds the matrix: by name where all are names of regions, else by place."""
        bed = tmp_path / "b.bed"
        bed.write_text("chr1\t0\t100\t5\nchr1\t100\t200\t7\nchr1\t200\t300\t10\n")
        names, values = ["C0:A", "C1:A", "C0:B", "C1:B"], np.arange(12.0).reshape(3, 4)
        pd = pytest.importorskip("pandas")
        frame = pd.DataFrame(values, index=[10, 5, 7], columns=names)
        table(tmp_path / "m.tsv", ["", *names], rows_of([[10], [5], [7]], values))
        for source in (tmp_path / "m.tsv", matrix_of_frame(frame, bed)):
            made = make(source, f"t-{type(source).__name__}", bins=bed, transform=("none",))
            assert stored_signal(made)[:, 0].tolist() == [4, 8, 0]
        for labels in ([0, 1, 2], None):
            numbered = pd.DataFrame(values, index=labels, columns=names)
            assert matrix_of_frame(numbered, bed).regions == [
                Interval("chr1", i, i + 100) for i in (0, 100, 200)
            ]
        bed.write_text("chr1\t0\t100\t2\nchr1\t100\t200\t0\nchr1\t200\t300\t1\n")
        named = matrix_of_frame(pd.DataFrame(values, columns=names), bed)
        assert [region.start for region in named.regions] == [100, 200, 0]

    def test_what_is_no_number(self, tmp_path, make):
        pd = pytest.importorskip("pandas")
        frame = pd.DataFrame({"chrom": ["chr1"], "start": [100.7], "end": [200], "C:A": [1.0]})
        for changed, parts in (
            (frame, ("chr1:100.7-200 is not a region", "whole numbers")),
            (frame.assign(start=np.inf), ("is not a region",)),
            (frame.assign(start=None), ("is not a region",)),
            (frame.assign(start="1_0"), ("is not a region",)),
            (frame.assign(start=100, **{"C:A": pd.Timestamp("2020")}), ("column C:A holds datetime64",)),
            (frame.assign(start=100, **{"C:A": "1_0"}), ("'1_0' is not a number",)),
            (frame.assign(start=100, **{"C:A": pd.Categorical(["1_0"])}), ("'1_0' is not a number",)),
            (frame.assign(start=100, **{"C:A": "\uff11"}), ("'\uff11' is not a number",)),
            (frame.assign(start=100, **{"C:A": 1 + 2j}), ("column C:A holds complex",)),
        ):
            with refused(TableError, *parts):
                matrix_of_frame(changed)
        assert matrix_of_frame(frame.assign(start=100, **{"C:A": "1.5"})).values.tolist() == [[1.5]]
        whole = matrix_of_frame(frame.assign(start=100.0))
        assert whole.regions == [Interval("chr1", 100, 200)]
        path = table(tmp_path / "m.tsv", ["chrom", "start", "end", "C:A"], [["chr1", 1, 9, "1_0"]])
        with refused(TableError, "m.tsv, line 2", "'1_0' is not a number"):
            make(path)


class TestRefusals:
    def test_rows_that_begin_like_comments(self, make, tmp_path):
        path, head, row = tmp_path / "m.tsv", "chrom\tstart\tend\tC:A\n", "chr1\t{}00\t{}50\t1\n"
        wanted = "the row '#chr1' begins with #, so that it is a comment; take the # away, or the line"
        for number, lines in ((3, [row, f"#{row}"]), (2, [f"#{row}", row])):
            path.write_text(head + "".join(line.format(i, i) for i, line in enumerate(lines)))
            with refused(TableError, f"{path}, line {number}: {wanted}"):
                make(path)
        path.write_text("C:A\tC:B\n#chr1:0-50\t1\t2\nchr1:70-80\t1\t2\n")
        with refused(TableError, f"{path}, line 2: the row '#chr1:0-50' begins with #"):
            make(path)
        # A header once more, as of files that were put one after the other, and notes.
        path.write_text("".join([f"#{head}", row.format(1, 1), "# by me\t1\n", f"#{head}", row.format(2, 2)]))
        assert make(path).n_bins == 2

    @pytest.mark.parametrize("name", BAD)
    def test_regions(self, name, make, tmp_path):
        spans, *parts = BAD[name]
        path = table(tmp_path / "m.tsv", ["chrom", "start", "end", "C:A"], [[*span, 1] for span in spans])
        with refused(TableError, "m.tsv", *parts):
            make(path)

    @pytest.mark.parametrize(
        ("value", "parts"),
        [
            ("-1", ["-1 of C:A at chr1:5-9", "transform arcsinh", "another `transform`"]),
            ("inf", ["inf of C:A"]),
            ("1e39", ["inf of C:A"]),
            ("x", ["line 2", "x"]),
            ("NA", ["C:A has no value"]),
        ],
    )
    def test_values(self, value, parts, make, tmp_path):
        path = table(
            tmp_path / "m.tsv", ["", "C:A", "C:B"], [["chr1:5-9", value, 1], ["chr1:20-30", value, 2]]
        )
        with refused(TableError, "m.tsv", *parts):
            make(path)

    def test_values_too_large_to_be_stored(self, make, tmp_path):
        path = table(tmp_path / "m.tsv", ["", "C:A"], [["chr1:5-9", 1e6]])
        with refused(TableError, "C:A has values too large for float16", "`dtype` float32"):
            make(path, transform=("none",))

    def test_values_too_small_to_be_stored(self, make, caplog):
        """Over all regions: neither a shard of small values nor zeros are told."""
        n = 240
        small = np.linspace(1e-9, 4e-7, n)
        columns = {"small": small, "negative": -small * 1000, "zero": small * 0, "shard": small.copy()}
        columns["shard"][0] = 0.5
        columns["gaps"] = np.where(np.arange(n) % 2, np.nan, small)
        columns["enough"] = small / small.max() * 2.0**-10
        pairs = [Experiment("C", name) for name in columns]
        matrix = Matrix(made_regions(n), pairs, np.stack([*columns.values()], axis=1))
        with caplog.at_level(logging.WARNING):
            make(matrix, "half", transform=("none",), shard_bins=64)
        (told,) = [message for message in caplog.messages if "too small" in message]
        assert told == (
            "signal too small for float16 in C:gaps (at most 4e-07), C:negative (at most 0.0004), C:small (at most "
            "4e-07): it keeps 3 digits of values from 6e-05 (transformed), and rounds smaller ones to multiples of "
            "6e-08; ingest with `dtype` float32, or scale these tracks"
        )
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            single = make(matrix, "single", transform=("none",), shard_bins=64, dtype="float32")
        assert not [message for message in caplog.messages if "too small" in message]
        of_small = stored_signal(single)[:, sorted(columns).index("small")]
        np.testing.assert_array_equal(of_small, small.astype(np.float32))

    def test_names(self, make, tmp_path):
        def of(columns: list[str], rows: list[list[object]], **options: object) -> None:
            make(table(tmp_path / "m.csv", columns, rows, ","), **options)

        with refused(TableError, "'strand' names no experiment"):
            of(["", "strand", "C:A"], [["chr1:5-9", 1, 1]])
        with refused(TableError, "'geneX' is not a region", "`bins`"):
            of(["", "C:A"], [["geneX", 1]])
        with refused(TableError, "does not say where its regions are"):
            of(["C:A", "C:B"], [[1, 2]])
        with refused(TableError, "line 3: 3 fields where the header has 2"):
            of(["", "C:A"], [["chr1:5-9", 1], ["chr1:10-19", 1, 2]])
        with refused(TableError, "holds no matrix"):
            of(["", "C:A"], [])
        bed = tmp_path / "b.bed"
        bed.write_text("chr1\t5\t9\tgeneX\nchr1\t15\t19\tgeneY\n")
        with refused(TableError, "1 of the 1 rows", "geneZ"):
            of(["", "C:A"], [["geneZ", 1]], bins=bed)
        with refused(TableError, "1 rows", "2 regions"):
            of(["C:A", "C:B"], [[1, 2]], bins=bed)
        with refused(TableError, "say where its regions are", "`bins`"):
            of(["chrom", "start", "end", "C:A"], [["chr1", 5, 9, 1]], bins=bed)
        bed.write_text("chr1\t5\t9\tgeneX\nchr1\t15\t19\tgeneX\n")
        with refused(TableError, "two regions of the name geneX"):
            of(["", "C:A"], [["geneX", 1]], bins=bed)

    def test_anndata_without_experiments(self):
        anndata, pandas = pytest.importorskip("anndata"), pytest.importorskip("pandas")
        data = anndata.AnnData(
            np.ones((1, 1)), obs=pandas.DataFrame(index=["one"]), var=pandas.DataFrame(index=["chr1:5-9"])
        )
        with refused(TableError, "neither obs nor var names experiments"):
            matrix_of_anndata(data)

    def test_options(self, make, tmp_path):
        with refused(ConfigError, "bins of a matrix are its regions", "`bin_size`"):
            make(made_matrix(40), bin_size=25)
        with refused(ConfigError, "`transform` A9=none", "no assay 'A9'"):
            make(made_matrix(40), transform=("A9=none",))
        with refused(ConfigError, "`transform` sqrt"):
            make(made_matrix(40), transform=("sqrt",))
        tracks = table(tmp_path / "tracks.tsv", ["cell_type", "assay", "path"], [["C", "A", "x.bw"]])
        with refused(ConfigError, "`transform` is for a matrix"):
            make(tracks, transform=("none",))
        with refused(TableError, "3 × 2 values for 1 regions"):
            Matrix([Interval("c", 0, 1)], PAIRS[:2], np.ones((3, 2)))


def as_bins(path: Path, matrix: Matrix) -> Tensor:
    """The same signal in every other bin of 25 bp, so that each bin is a run of its own."""
    genome = Genome("bins", {chrom: 25 * 2 * len(matrix.regions) for chrom in LENGTHS})
    shards = []
    for chrom in LENGTHS:
        rows = [row for row, region in enumerate(matrix.regions) if region.chrom == chrom]
        runs = np.array([[2 * k, 1] for k in range(len(rows))])
        shards.append(
            write_shard(
                path,
                ShardPlan(f"{chrom}.0000", Places.of(chrom, genome.chromosomes[chrom], 25, runs)),
                np.arcsinh(matrix.values[rows]).astype(np.float16),
            )
        )
    Manifest(
        genome=GenomeEntry.of(genome),
        experiments=tuple(ExperimentEntry(**pair._asdict()) for pair in matrix.experiments),
        shards=tuple(shards),
    ).write(path)
    return Tensor(path)


@pytest.fixture(scope="module")
def known() -> Matrix:
    """Fifteen of the twenty pairs."""
    matrix = made_matrix()
    return replace(
        matrix,
        experiments=[p for i, p in enumerate(PAIRS) if i % 4 != i // 4 % 4],
        values=np.delete(matrix.values, [i for i in range(20) if i % 4 == i // 4 % 4], axis=1),
    )


@pytest.fixture(scope="module")
def both(tmp_path_factory, known, engine) -> Path:
    """A folder of tensors of regions and of bins, their cross-validations, and what these imputed. Read only."""
    folder = tmp_path_factory.mktemp("both")
    tensor = ingest(known, folder / "regions", IngestOptions(genome=write_sizes(folder)), engine)
    as_bins(folder / "bins", known)
    folds, settings = folder / "folds.json", TrainSettings(networks=1, als=FEWEST_SWEEPS)
    few_folds(tensor, folds, tests=2)
    for name in ("regions", "bins"):
        crossval(folder / name, folder / f"cv-{name}", settings, engine, folds=folds)
        impute(folder / f"cv-{name}", folder / name, folder / f"imputed-{name}", engine, sd=True)
    return folder


def intervals(path: Path) -> dict[str, list[tuple[int, int, float]]]:
    with pyBigWig.open(str(path)) as file:
        return {chrom: list(file.intervals(chrom)) for chrom in file.chroms()}


class TestWhatFollows:
    def test_as_bins_without_neighbours(self, both):
        """Networks and windows see in a region what they see in a bin that stands alone."""
        metrics = [(both / f"cv-{name}" / METRICS_TSV).read_bytes() for name in ("regions", "bins")]
        assert metrics[0] == metrics[1]
        tracks = sorted(path.name for path in (both / "imputed-bins").glob("*.bw"))
        assert len(tracks) == 10
        for name in tracks:
            own, other = (intervals(both / f"imputed-{kind}" / name) for kind in ("regions", "bins"))
            spans = [Interval(chrom, *entry[:2]) for chrom, found in own.items() for entry in found]
            assert spans == made_regions()
            values = [[e[2] for found in kind.values() for e in found] for kind in (own, other)]
            assert values[0] == values[1]

    def test_windows_hold_a_region_alone(self, both, engine, tmp_path):
        path = ensure_window_sample(Tensor(both / "regions"), engine, tmp_path / "m.h5", named=True)
        values = read_window_sample(path).values
        assert values.shape[1:] == (240, 15)
        for wide in values[1:]:
            np.testing.assert_array_equal(wide, values[0])

    def test_scores_of_withheld_experiments(self, both, known, engine, tmp_path):
        matrix = made_matrix()
        held = [i for i, pair in enumerate(PAIRS) if pair not in known.experiments]
        truth = replace(matrix, experiments=[PAIRS[i] for i in held], values=matrix.values[:, held])
        ingest(
            truth, tmp_path / "truth", IngestOptions(genome=write_sizes(tmp_path), dtype="float32"), engine
        )
        export(tmp_path / "truth", tmp_path / "tracks")
        report = evaluate(
            both / "imputed-regions", tmp_path / "tracks/tracks.tsv", tmp_path / "m.tsv", engine
        )
        scored = {(row["cell_type"], row["assay"]): row for row in report.rows if row["method"] == "model"}
        for i in held:
            own = intervals(both / "imputed-regions" / f"{PAIRS[i].file_stem}.bw")
            imputed = np.array([entry[2] for found in own.values() for entry in found], dtype=np.float32)
            expected = evaluate_track(
                np.arcsinh(matrix.values[:, i]), np.arcsinh(imputed), transform=TRANSFORMS["arcsinh"]
            )
            row = scored[tuple(PAIRS[i])]
            assert row["bins"] == 240
            for measure in ("MSEglobal", "GWcorrasinh", "GWspear", "AucObs1"):
                assert row[measure] == pytest.approx(expected[measure], rel=1e-5), measure

    def test_tracks_are_read_over_regions(self, both):
        name = f"{PAIRS[0].file_stem}.bw"
        with Tensor(both / "regions").open_shard("chr2.0000") as shard:
            spans = shard.places.spans()[5:90]
        reader = BigWigReader(str(both / "imputed-regions" / name))
        wide = np.column_stack([spans[:, 0] - 50, spans[:, 1] + 20])
        with pyBigWig.open(reader.path) as file:
            expected = [np.nanmean(file.values("chr2", *span)) for span in wide.tolist()]
            zeros = [np.nan_to_num(file.values("chr2", *span)).mean() for span in wide.tolist()]
        np.testing.assert_allclose(
            reader.region_means("chr2", wide, uncovered="missing"), expected, rtol=1e-6
        )
        np.testing.assert_allclose(reader.region_means("chr2", wide, uncovered="zero"), zeros, rtol=1e-6)
        assert np.isnan(reader.region_means("chrX", wide, uncovered="missing")).all()
        reader.close()

    def test_regions_of_an_interval(self, both):
        tensor = Tensor(both / "regions")
        regions = [i for i in made_regions() if i.chrom == "chr2"]
        window = locate(tensor, ("chr2", regions[7].end - 1, regions[11].start + 1))
        assert [Interval("chr2", *span) for span in window.spans.tolist()] == regions[7:12]
        signal = fetch(tensor, window, [PAIRS[1]])
        np.testing.assert_allclose(signal[:, 0], made_values()[127:132, 1], rtol=2e-3)
        between = ("chr2", regions[7].end, regions[8].start)
        with refused(DataError, "has no bin in chr2"):
            locate(tensor, between)

    def test_commands(self, both, tmp_path, blank_figures):
        def call(*arguments: object) -> str:
            done = call_predictd(*arguments, cwd=tmp_path)
            assert done.returncode == 0, done.stderr
            return done.stdout

        assert "240 regions on made, 100.0% complete" in call("info", both / "regions")
        (tmp_path / "few.toml").write_text(FEW_SWEEPS_TOML)
        call("qc", both / "regions", "-o", "qc.tsv", "--moments", tmp_path / "m.h5")
        call(
            "train",
            both / "regions",
            "-o",
            "model.h5",
            "--solver",
            "em",
            "--rank",
            2,
            "--moments",
            tmp_path / "m.h5",
            "--config",
            "few.toml",
        )
        assert "report.html" in call("report", both / "cv-regions", "-o", "report.html")
        assert "regions, not stretches of the genome" in (tmp_path / "report.html").read_text()
        call("factors", "model.h5", both / "regions", "-o", "factors", "--top", 20)
        lines = (tmp_path / "factors/top/factor-1.bed").read_text().splitlines()
        found = [Interval(chrom, int(start), int(end)) for chrom, start, end, *_ in map(str.split, lines)]
        assert len(found) == 20 and set(found) <= set(made_regions())
        done = call_predictd("peaks", both / "imputed-regions", "-o", "peaks", cwd=tmp_path)
        assert (
            done.returncode == 1 and "a value for each region" in done.stderr and "--bin-size" in done.stderr
        )
        call("peaks", both / "imputed-regions", "-o", "peaks", "--bin-size", 50)

    def test_activity_of_regions(self, both, tmp_path, engine):
        from predictd.workflows.network.activity import Activity, region_activity

        regions = made_regions()
        bed = tmp_path / "genes.bed"
        bed.write_text(
            "".join(f"{i.chrom}\t{i.start}\t{i.end}\tg{k // 2}\n" for k, i in enumerate(regions[:8]))
        )
        found = region_activity(Activity(both / "regions", bed, "A1", both / "imputed-regions"))
        column = Tensor(both / "regions").experiments.index(Experiment("C0", "A1"))
        stored = stored_signal(Tensor(both / "regions"))[:8, column].astype(float)
        np.testing.assert_allclose(found.values[:, 0], stored.reshape(4, 2).mean(axis=1), rtol=1e-6)
        assert found.samples == ("C0", "C1", "C2", "C3", "C4")


@pytest.mark.data
def test_real_regions_as_a_matrix_and_as_tracks(make, engine, tmp_path):
    """Log ratios and methylation of mouse tissues, directly and by way of bigWigs."""
    data, script = SHARED / "data/mouse-regions", SHARED / "tools/matrix_bigwigs.py"
    if not data.is_dir():
        pytest.skip("the real matrix is not here (shared/data/mouse-regions)")
    subprocess.run([sys.executable, script, data, tmp_path / "bw"], check=True, capture_output=True)
    tracks = (tmp_path / "bw/tracks.tsv").read_text().splitlines()
    rows = [f"{row}\t{'logit' if 'Meth' in row else 'none'}" for row in tracks[1:]]
    (tmp_path / "bw/tracks.tsv").write_text("\n".join([f"{tracks[0]}\ttransform", *rows]) + "\n")
    genome = str(tmp_path / "bw/chrom.sizes")
    options = IngestOptions(genome=genome, bin_size=200, dtype="float32")
    by_tracks = ingest(tmp_path / "bw/tracks.tsv", tmp_path / "by_tracks", options, engine)
    columns, values = [], []
    for path in sorted(data.glob("*.npz")):
        with np.load(path) as arrays:
            columns += [Experiment(path.stem, assay) for assay in arrays.files]
            values += [arrays[assay].astype(np.float32) for assay in arrays.files]
    regions = [Interval("regions", 200 * i, 200 * i + 200) for i in range(len(values[0]))]
    matrix = Matrix(regions, columns, np.stack(values, axis=1))
    tensor = make(matrix, genome=genome, dtype="float32", transform=("none", "Meth=logit"))
    assert tensor.experiments == by_tracks.experiments and len(tensor.experiments) == 63
    np.testing.assert_array_equal(stored_signal(tensor), stored_signal(by_tracks))


def test_the_command_line(tmp_path):
    write_sizes(tmp_path)
    path = table(tmp_path / "m.tsv", ["", *COLUMNS], rows_of([[name] for name in NAMES], made_values() - 2))
    done = call_predictd("ingest", path, "tensor", "--genome", "made.sizes", cwd=tmp_path)
    assert done.returncode == 1 and "--transform" in done.stderr
    done = call_predictd(
        "ingest", path, "tensor", "--genome", "made.sizes", "--transform", "none", cwd=tmp_path
    )
    assert done.stdout == "tensor: 20 experiments, 240 regions (100.0% complete), 2 shards\n"
