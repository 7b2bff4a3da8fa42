"""A small matrix of expression in every format that is read, written as its own tools write it."""

from __future__ import annotations

import gzip
from pathlib import Path

import h5py
import numpy as np
from scipy.io import mmwrite
from scipy.sparse import coo_array, csc_matrix, csr_matrix

GENES, IDS = (
    ("Sox2", "Pax6", "Gata1"),
    ("ENSMUSG00000074637.8", "ENSMUSG00000027168.22", "ENSMUSG00000031162.15"),
)
CELLS = ("AAAC-1", "AAAG-1", "AACA-1", "AACC-1", "AAGT-1")
# Genes × cells, of different numbers, and no two rows or columns alike.
VALUES = np.array([[1.0, 0, 0, 2.5, 0], [0, 0, 3, 0, 0], [0, 4, 0, 0.5, 0]])
COUNTS = np.array([[9, 0, 1, 3, 0], [0, 2, 0, 0, 5], [700, 0, 20, 4, 0]])


def made_anndata(kind="csr"):
    """Cells × genes, with counts as a layer, and a raw of one gene more."""
    import anndata
    import pandas

    make = {"csr": csr_matrix, "csc": csc_matrix, "dense": np.array}[kind]
    obs = pandas.DataFrame(index=list(CELLS))
    raw = anndata.AnnData(csr_matrix(np.vstack([COUNTS, [[0, 0, 0, 0, 6]]]).T.astype(np.float32)), obs=obs)
    raw.var_names = [*GENES, "Actb"]
    data = anndata.AnnData(
        make(VALUES.T), obs=obs, var=pandas.DataFrame({"gene_ids": IDS}, index=list(GENES))
    )
    data.layers["counts"] = make(COUNTS.T)
    data.raw = raw
    return data


def write_layer(path: Path, genes, expression, *, layer: str) -> Path:
    """AnnData that holds expression (genes × samples) as a layer, and names of genes in a column `symbol` only."""
    import anndata
    import pandas

    var = pandas.DataFrame({"symbol": pandas.Categorical(genes)}, index=[f"E{i}" for i in range(len(genes))])
    obs = pandas.DataFrame(index=[f"S{i}" for i in range(expression.shape[1])])
    data = anndata.AnnData(np.zeros(expression.T.shape), obs=obs, var=var, layers={layer: expression.T})
    data.write_h5ad(path)
    return path


def write_h5ad(folder: Path, kind="csr", index="string") -> Path:
    """The names as text, as categories (which AnnData writes of columns only), or as nullable text."""
    import pandas
    from anndata.io import write_elem

    path, data = folder / "m.h5ad", made_anndata(kind)
    data.write_h5ad(path)
    if index != "string":
        values = {
            "categories": pandas.Categorical(list(CELLS)),
            "nullable": pandas.array(list(CELLS), dtype="string[python]"),
        }
        with h5py.File(path, "r+") as file:
            name = file["obs"].attrs["_index"]
            del file["obs"][name]
            import anndata

            with anndata.settings.override(allow_write_nullable_strings=True):
                write_elem(file["obs"], name, values[index])
    return path


def write_loom(folder: Path, *, by_loompy=False) -> Path:
    """As loompy 3 writes it."""
    path, rows, columns = folder / "m.loom", {"Gene": GENES, "Accession": IDS}, {"CellID": CELLS}
    if by_loompy:
        import loompy

        named = [{name: np.array(own) for name, own in axis.items()} for axis in (rows, columns)]
        loompy.create(str(path), {"": VALUES, "counts": COUNTS}, *named)
        return path
    with h5py.File(path, "w") as file:
        file.create_dataset("matrix", data=VALUES, chunks=(2, 5), compression="gzip")
        file.create_dataset("layers/counts", data=COUNTS, chunks=(2, 5), compression="gzip")
        file.create_dataset("attrs/LOOM_SPEC_VERSION", data="3.0.0", dtype=h5py.string_dtype())
        for axis, attributes in (("row_attrs", rows), ("col_attrs", columns)):
            for name, own in attributes.items():
                file.create_dataset(f"{axis}/{name}", data=np.array(own, object), dtype=h5py.string_dtype())
        file.create_group("row_graphs")
        file.create_group("col_graphs")
    return path


def write_tenx_h5(folder: Path, version=3, types=("Gene Expression",) * 3) -> Path:
    """As Cell Ranger writes it: columns are barcodes, names of fixed length."""
    path, matrix = folder / "m.h5", csc_matrix(COUNTS)
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix" if version == 3 else "mm10")
        for name in ("data", "indices", "indptr"):
            group[name] = getattr(matrix, name)
        group["shape"] = np.array(matrix.shape, np.int32)
        group["barcodes"] = np.array(CELLS, "S")
        if version == 3:
            group["features/id"], group["features/name"] = np.array(IDS, "S"), np.array(GENES, "S")
            group["features/feature_type"] = np.array(types, "S")
            group["features/genome"] = np.array(["mm10"] * 3, "S")
        else:
            group["genes"], group["gene_names"] = np.array(IDS, "S"), np.array(GENES, "S")
    return path


def write_mtx(folder: Path, version=3, prefix="", *, turned=False) -> Path:
    """Folder of matrix, features and barcodes: packed, with types, of version 3; of version 2 plain."""
    path = folder / "mtx"
    path.mkdir()
    columns = [IDS, GENES, ["Gene Expression"] * 3][:version]
    texts = {
        "features.tsv" if version == 3 else "genes.tsv": [
            "\t".join(row) for row in zip(*columns, strict=True)
        ],
        "barcodes.tsv": CELLS,
    }
    contents = {name: ("\n".join(lines) + "\n").encode() for name, lines in texts.items()}
    mmwrite(path / "matrix.mtx", coo_array(COUNTS.T if turned else COUNTS), field="integer")
    contents["matrix.mtx"] = (path / "matrix.mtx").read_bytes()
    (path / "matrix.mtx").unlink()
    for name, content in contents.items():
        packed = (f"{name}.gz", gzip.compress(content)) if version == 3 else (name, content)
        (path / f"{prefix}{packed[0]}").write_bytes(packed[1])
    return path


def write_parquet(folder: Path, form="genes named") -> Path:
    """Genes or samples in rows, with the names as pandas' index or in a column."""
    import pandas

    path = folder / "m.parquet"
    frame = pandas.DataFrame(VALUES, index=list(GENES), columns=list(CELLS))
    if form.startswith("samples"):
        frame = frame.T
    frame.index.name = {"genes": "gene", "samples": "cell"}[form.split()[0]]
    frame = frame if form.endswith("named") else frame.reset_index()
    frame.to_parquet(path)
    return path
