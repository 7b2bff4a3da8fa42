"""Expression in the formats of single-cell tools, each the right way round; and what is not such a file."""

from __future__ import annotations

import gzip
import sys

import h5py
import numpy as np
import pytest
from scipy.sparse import csr_array, issparse

import predictd
from commands import call_predictd
from made_expression import (
    CELLS,
    COUNTS,
    GENES,
    IDS,
    VALUES,
    made_anndata,
    write_h5ad,
    write_layer,
    write_loom,
    write_mtx,
    write_parquet,
    write_tenx_h5,
)
from made_networks import N_REGULATORS, simulate_expression, write_matrix
from predictd.config import NetworkSettings
from predictd.errors import ConfigError, TableError
from predictd.io.network import stored
from predictd.io.network.expression import MatrixChoice
from predictd.io.network.frames import expression_of
from predictd.io.network.matrices import files_of, read_matrix
from predictd.matrix import rows
from predictd.workflows.network.infer import Inference
from refusals import refused

pytest.importorskip("anndata")
pytest.importorskip("pyarrow")
WHOLE = MatrixChoice()


def dense(expression):
    return rows(expression.values, slice(None))


def by_loompy(folder):
    pytest.importorskip("loompy")
    return write_loom(folder, by_loompy=True)


FORMATS = {
    "h5ad": (write_h5ad, VALUES, "columns"),
    "h5ad by columns": (lambda folder: write_h5ad(folder, "csc"), VALUES, "columns"),
    "h5ad, dense": (lambda folder: write_h5ad(folder, "dense"), VALUES, "columns"),
    "h5ad, names as categories": (lambda folder: write_h5ad(folder, index="categories"), VALUES, "columns"),
    "h5ad, nullable names": (lambda folder: write_h5ad(folder, index="nullable"), VALUES, "columns"),
    "loom": (write_loom, VALUES, "rows"),
    "loom by loompy": (by_loompy, VALUES, "rows"),
    "10x 3": (write_tenx_h5, COUNTS, "rows"),
    "10x 2": (lambda folder: write_tenx_h5(folder, 2), COUNTS, "rows"),
    "mtx 3": (write_mtx, COUNTS, "rows"),
    "mtx 2": (lambda folder: write_mtx(folder, 2), COUNTS, "rows"),
    "mtx with a prefix": (lambda folder: write_mtx(folder, 3, "GSM1_"), COUNTS, "rows"),
    "mtx with a prefix, one file": (
        lambda folder: write_mtx(folder, 2, "a_") / "a_matrix.mtx",
        COUNTS,
        "rows",
    ),
    "mtx file": (lambda folder: write_mtx(folder) / "matrix.mtx.gz", COUNTS, "rows"),
    "mtx of cells by genes": (lambda folder: write_mtx(folder, 2, "cells.", turned=True), COUNTS, "rows"),
    "parquet": (write_parquet, VALUES, "rows"),
    "parquet with a column": (lambda folder: write_parquet(folder, "genes first"), VALUES, "rows"),
    "parquet of samples": (lambda folder: write_parquet(folder, "samples named"), VALUES, "columns"),
    "parquet, cells first": (lambda folder: write_parquet(folder, "samples first"), VALUES, "columns"),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_the_right_way_round(name, tmp_path):
    write, values, orientation = FORMATS[name]
    path = write(tmp_path)
    read = read_matrix(path, WHOLE)
    assert (read.genes, read.samples, read.orientation) == (GENES, CELLS, orientation)
    np.testing.assert_array_equal(dense(read), values)
    assert all(file.is_file() for file in files_of(path))
    # What is sparse in the file stays so.
    sparse = ("10x", "mtx", "h5ad")
    assert issparse(read.values) == (name.startswith(sparse) and "dense" not in name)
    other = "rows" if orientation == "columns" else "columns"
    turned = read_matrix(path, MatrixChoice(other))
    assert (turned.genes, turned.samples) == (CELLS, GENES)
    np.testing.assert_array_equal(dense(turned), values.T)


def test_one_matrix_of_several(tmp_path):
    path, loom = write_h5ad(tmp_path), write_loom(tmp_path)
    for source in (path, loom):
        counts = read_matrix(source, MatrixChoice(layer="counts"))
        assert counts.genes == GENES
        np.testing.assert_array_equal(dense(counts), COUNTS)
    raw = read_matrix(path, MatrixChoice(raw=True))
    assert raw.genes == (*GENES, "Actb") and raw.samples == CELLS and raw.values.dtype == np.float32
    np.testing.assert_array_equal(dense(raw), [*COUNTS, [0, 0, 0, 0, 6]])
    columns = [
        (path, "gene_ids"),
        (loom, "Accession"),
        (write_tenx_h5(tmp_path), "id"),
        (write_mtx(tmp_path), "id"),
    ]
    for source, column in columns:
        read = read_matrix(source, MatrixChoice(gene_column=column))
        assert read.genes == IDS and read.samples == CELLS


def test_matrices_that_are_not_there(tmp_path):
    path, loom = write_h5ad(tmp_path), write_loom(tmp_path)
    with refused(TableError, "has no layer log; give `layer` counts, `raw`"):
        read_matrix(path, MatrixChoice(layer="log"))
    with refused(TableError, "has no layer log; give `layer`: counts"):
        read_matrix(loom, MatrixChoice(layer="log"))
    with refused(TableError, "has no column symbol of genes; give `gene_column`: gene_ids"):
        read_matrix(path, MatrixChoice(gene_column="symbol"))
    with refused(TableError, "has no column symbol of genes; give `gene_column`: Accession, Gene"):
        read_matrix(loom, MatrixChoice(gene_column="symbol"))
    with refused(ConfigError, "which has no `raw`"):
        read_matrix(loom, MatrixChoice(raw=True))
    with refused(ConfigError, "is a matrix of 10x, which has no `layer`"):
        read_matrix(write_tenx_h5(tmp_path), MatrixChoice(layer="counts"))
    with refused(ConfigError, "give `layer` or `raw`"):
        MatrixChoice(layer="counts", raw=True)
    with h5py.File(path, "r+") as file:
        del file["X"]
    with refused(TableError, "has no matrix X; give `layer` counts, `raw`"):
        read_matrix(path, WHOLE)


def test_dense_matrices_are_read_in_pieces_and_kept_sparse_where_mostly_zero(tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "_BYTES", 8 * 7 * 3)
    rng = np.random.default_rng(0)
    for share in (0.1, 0.9):
        values = rng.random((11, 7)) * (rng.random((11, 7)) < share)
        with h5py.File(tmp_path / f"{share}.h5", "w") as file:
            for number, chunks in enumerate([None, (2, 3), (5, 7)]):
                found = stored.read_dense("m", file.create_dataset(str(number), data=values, chunks=chunks))
                assert issparse(found) == (share < 0.25)
                np.testing.assert_array_equal(found.toarray() if issparse(found) else found, values)


def test_objects_in_memory_and_backed_by_a_file(tmp_path):
    import anndata

    backed = anndata.read_h5ad(write_h5ad(tmp_path), backed="r")
    objects = [
        (made_anndata(), True),
        (made_anndata("csc"), True),
        (made_anndata("dense"), False),
        (backed, True),
    ]
    for data, sparse in objects:
        read = expression_of(data, WHOLE)
        assert (read.genes, read.samples) == (GENES, CELLS)
        assert issparse(read.values) == sparse
        np.testing.assert_array_equal(dense(read), VALUES)
        np.testing.assert_array_equal(dense(expression_of(data, MatrixChoice(layer="counts"))), COUNTS)
        assert expression_of(data, MatrixChoice(raw=True)).genes == (*GENES, "Actb")
        assert expression_of(data, MatrixChoice(gene_column="gene_ids")).genes == IDS
    backed.file.close()
    with refused(TableError, "the matrix has no layer log; give `layer` counts, `raw`"):
        expression_of(made_anndata(), MatrixChoice(layer="log"))
    with refused(ConfigError, "is a DataFrame, which has no `raw`"):
        expression_of(made_anndata().to_df(), MatrixChoice(raw=True))


def test_the_users_own_matrix_is_not_changed():
    data = made_anndata()
    twice = csr_array(
        (np.array([1.0, 2, 3]), np.array([2, 0, 2]), np.array([0, 3, 3, 3, 3, 3])), shape=(5, 3)
    )
    data.X = twice
    read = expression_of(data, WHOLE)
    np.testing.assert_array_equal(dense(read)[:, 0], [2, 0, 4])
    np.testing.assert_array_equal(data.X.indices, [2, 0, 2])


def test_genes_without_a_symbol_keep_their_index(tmp_path, caplog):
    data = made_anndata()
    data.var["symbol"] = ["a", None, "c"]
    data.write_h5ad(tmp_path / "m.h5ad")
    for source in (data, tmp_path / "m.h5ad"):
        read = expression_of if source is data else read_matrix
        assert read(source, MatrixChoice(gene_column="symbol")).genes == ("a", "Pax6", "c")
    assert caplog.text.count("1 genes have no name in symbol and keep that of the index: Pax6") == 2


def test_genes_that_occur_twice(tmp_path):
    data = made_anndata()
    data.var["symbol"] = ["a", "c", "c"]
    data.write_h5ad(tmp_path / "m.h5ad")
    with refused(TableError, "has genes twice: c; name genes by a column without repeats (`gene_column`"):
        read_matrix(tmp_path / "m.h5ad", MatrixChoice(gene_column="symbol"))


def test_features_that_are_no_genes(tmp_path, caplog):
    types = ("Gene Expression", "Antibody Capture", "Gene Expression")
    read = read_matrix(write_tenx_h5(tmp_path, types=types), WHOLE)
    assert read.genes == (GENES[0], GENES[2])
    np.testing.assert_array_equal(dense(read), COUNTS[[0, 2]])
    assert "not genes are left out: 1 of Antibody Capture" in caplog.text
    with refused(TableError, "no features of Gene Expression, but 3 of Peaks"):
        read_matrix(write_tenx_h5(tmp_path, types=("Peaks",) * 3), WHOLE)


def test_folders_of_mtx_that_do_not_fit(tmp_path):
    path = write_mtx(tmp_path)
    whole = (path / "barcodes.tsv.gz").read_bytes()
    (path / "barcodes.tsv.gz").write_bytes(gzip.compress(b"a\nb\n"))
    with refused(TableError, "is 3 × 5, but features.tsv.gz has 3 lines and barcodes.tsv.gz 2"):
        read_matrix(path, WHOLE)
    (path / "barcodes.tsv.gz").write_bytes(whole[:20])
    with refused(TableError, f"cannot read {path}: it is truncated"):
        read_matrix(path, WHOLE)
    (path / "barcodes.tsv.gz").unlink()
    with refused(TableError, "matrix.mtx.gz needs barcodes.tsv in its folder"):
        read_matrix(path, WHOLE)
    (path / "other_matrix.mtx").write_text("")
    with refused(TableError, "has matrix.mtx.gz, other_matrix.mtx: give one of them"):
        read_matrix(path, WHOLE)
    with refused(TableError, "holds no matrix.mtx"):
        read_matrix(tmp_path, WHOLE)
    for absent in ("absent.mtx", "absent/matrix.mtx"):
        with refused(TableError, "absent"):
            read_matrix(tmp_path / absent, WHOLE)


HDF5 = {
    "MuData": ["mod"],
    "Seurat": ["assays", "cell.names"],
    "10x's list of molecules": ["barcode_idx"],
    "has several genomes (hg19, mm10); give a file of one": ["hg19/gene_names", "mm10/gene_names"],
    "not a file of AnnData, loom or 10x: it holds some": ["some"],
}


@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        ("m.rds", b"", ("an R object", "zellkonverter")),
        ("m.h5Seurat", b"", ("a file of Seurat", "SeuratDisk::Convert")),
        ("m.xlsx", b"", ("a spreadsheet", ".csv")),
        ("m.h5mu", b"", ("MuData", "write_h5ad")),
        ("m.bigWig", b"", ("signal along the genome", "give `tensor`")),
        ("m.bedGraph.gz", b"", ("signal along the genome",)),
        ("m.tar.gz", b"", ("an archive", "unpack")),
        ("m.gct", b"", ("a GCT file", "first two lines")),
        ("m.tsv", b"PK\x03\x04", ("a spreadsheet or an archive",)),
        ("m.h5ad", b"gene\n", ("has the name of an HDF5 file, but is not one",)),
        ("m.h5ad", b"\x89HDF\r\n\x1a\nxxxxxxxxx", ("is truncated or damaged",)),
        ("m.parquet", b"PAR1xxxx", ("is damaged or no Parquet file",)),
        ("m.tsv", b"TF\ttarget\timportance\nA\tB\t1\n", ("is a list of links",)),
        ("m.csv", b"Gene1,Gene2,EdgeWeight\nA,B,1\n", ("is a list of links",)),
        ("m.txt", b"A\tB\t0.5\n", ("is a list of links",)),
    ],
)
def test_what_is_not_read_is_named(name, content, parts, tmp_path):
    (tmp_path / name).write_bytes(content)
    with refused(TableError, str(tmp_path / name), *parts):
        read_matrix(tmp_path / name, WHOLE)


def test_files_and_folders_of_others_are_named(tmp_path):
    for what, groups in HDF5.items():
        with h5py.File(tmp_path / "m.h5", "w") as file:
            for name in groups:
                file.create_group(name)
        with refused(TableError, what):
            read_matrix(tmp_path / "m.h5", WHOLE)
    for name, parts in (
        ("manifest.json", ("is a tensor", "give it as `tensor`")),
        ("network.h5", ("is a network",)),
    ):
        (tmp_path / name).touch()
        with refused(TableError, *parts):
            read_matrix(tmp_path, WHOLE)
        (tmp_path / name).unlink()
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_dataset("X", data=VALUES.T)
        for name, index in (("obs", CELLS), ("var", GENES)):
            file[name] = np.array([(text,) for text in index], [("index", "S10")])
    with refused(TableError, "was written by a version of AnnData before 0.7"):
        read_matrix(tmp_path / "m.h5", WHOLE)
    with refused(TableError, "No such file"):
        read_matrix(tmp_path / "absent.h5ad", WHOLE)


def test_values_that_a_matrix_may_not_hold(tmp_path):
    data = made_anndata()
    data.X[3, 0] = np.nan
    data.write_h5ad(tmp_path / "m.h5ad")
    with refused(TableError, "gene Sox2 has no finite number in sample AACC-1 (1 such values in all)"):
        read_matrix(tmp_path / "m.h5ad", WHOLE)
    with h5py.File(write_tenx_h5(tmp_path), "r+") as file:
        del file["matrix/barcodes"]
        file["matrix/barcodes"] = np.array(CELLS[1:], "S")
    with refused(TableError, "is of 3 genes and 5 samples, but 3 genes and 4 samples are named"):
        read_matrix(tmp_path / "m.h5", WHOLE)


def test_a_library_that_is_absent(tmp_path, monkeypatch):
    path, parquet = write_h5ad(tmp_path), write_parquet(tmp_path)
    monkeypatch.setitem(sys.modules, "anndata", None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for source in (path, parquet):
        with refused(ConfigError, str(source), "pip install 'predictd[interchange]'"):
            read_matrix(source, WHOLE)
    # These need none.
    assert read_matrix(write_loom(tmp_path), WHOLE).genes == GENES


# -- the whole way -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def annotated(tmp_path_factory):
    """An expression.tsv, and an h5ad that holds it as a layer, with symbols in a column. Read only."""
    folder = tmp_path_factory.mktemp("annotated")
    genes, expression, _ = simulate_expression()
    write_matrix(folder / "expression.tsv", genes, expression)
    write_layer(folder / "cells.h5ad", genes, expression, layer="lognorm")
    (folder / "tfs.txt").write_text("".join(f"{gene}\n" for gene in genes[:N_REGULATORS]))
    return folder


def test_a_layer_and_a_column_give_the_links_of_the_table(annotated, tmp_path, engine):
    infer = ("network", "infer", "--method", "ridge", "--regulators", annotated / "tfs.txt", "--workers", 1)
    chosen = ("--layer", "lognorm", "--gene-column", "symbol")
    for name, more in (("expression.tsv", ()), ("cells.h5ad", chosen)):
        done = call_predictd(*infer, annotated / name, "-o", name, *more, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
    texts = [(tmp_path / name / "links.tsv").read_text() for name in ("expression.tsv", "cells.h5ad")]
    assert texts[0] == texts[1] and texts[0].count("\n") > 50
    done = call_predictd(*infer, annotated / "cells.h5ad", "-o", "none", "--layer", "log", cwd=tmp_path)
    assert done.returncode == 1 and "has no layer log; give --layer lognorm" in done.stderr
    given = {"method": "ridge", "regulators": annotated / "tfs.txt", "engine": engine}
    choice = {"layer": "lognorm", "gene_column": "symbol"}
    frames = [
        predictd.network.infer(annotated / "expression.tsv", **given),
        predictd.network.infer(annotated / "cells.h5ad", **choice, **given),
    ]
    assert frames[0].equals(frames[1])


def test_folders_are_inputs_and_sparse_objects_too(tmp_path, engine):
    path = write_mtx(tmp_path)
    for name, source in (("file", path), ("memory", read_matrix(path, WHOLE))):
        Inference(source, tmp_path / name, NetworkSettings(method="pearson")).make_all(engine)
    texts = [(tmp_path / name / "links.tsv").read_text() for name in ("file", "memory")]
    assert texts[0] == texts[1] and texts[0].count("\n") == 7
    told = (tmp_path / "file" / "run.json").read_text()
    assert all(str(file) in told for file in files_of(path)) and len(files_of(path)) == 3
