"""Expression matrices of loom files (version 1 to 3, linnarssonlab.org/loompy/format): genes in rows."""

from __future__ import annotations

from pathlib import Path

import h5py

from predictd.errors import TableError
from predictd.io.network.expression import Expression, MatrixChoice, assembled
from predictd.io.network.stored import read_dense, texts
from predictd.wording import some

# Attributes that name genes and cells: of loompy, velocyto and SCope, and of AnnData's write_loom.
_GENES = ("Gene", "gene", "Genes", "GeneName", "gene_names", "var_names", "Accession")
_CELLS = ("CellID", "cell_id", "obs_names", "CellName", "Cell", "barcode", "barcodes")


def read_loom(path: Path, file: h5py.File, choice: MatrixChoice) -> Expression:
    """Read the main matrix or a layer of an open loom file.

    Raises
    ------
    TableError
        If it lacks the layer, or names of genes or cells, or these are not what a matrix may hold.
    """
    choice.check(path, "loom", "layer", "gene_column")
    layers = file.get("layers", {})
    if choice.layer and choice.layer not in layers:
        raise TableError(f"{path} has no layer {choice.layer}; give `layer`: {some(layers) or 'it has none'}")
    matrix = layers[choice.layer] if choice.layer else file["matrix"]
    rows, columns = file["row_attrs"], file["col_attrs"]
    genes = rows[choice.pick(path, rows, _GENES)]
    cells = next((columns[name] for name in _CELLS if name in columns), None)
    samples = [f"cell {i + 1}" for i in range(matrix.shape[1])] if cells is None else texts(cells)
    return assembled(path, read_dense(path, matrix), texts(genes), samples, "rows", choice)
