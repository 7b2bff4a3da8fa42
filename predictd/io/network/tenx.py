"""Expression matrices of 10x Genomics' Cell Ranger, and of tools that write like it: .h5 and folders of .mtx."""

from __future__ import annotations

import gzip
import logging
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from scipy.sparse import csc_array, csr_array

from predictd.errors import TableError
from predictd.io.network.expression import Expression, MatrixChoice, assembled
from predictd.io.network.stored import texts
from predictd.io.tables import UNREADABLE_TEXT, open_text, reason

log = logging.getLogger(__name__)

_EXPRESSION = "Gene Expression"
_MATRIX = re.compile(r"(?P<stem>.*?)(matrix)?\.mtx(\.gz)?")
_PARTS = {
    "features": re.compile(r"(features|genes)\.(tsv|txt)(\.gz)?"),
    "barcodes": re.compile(r"barcodes\.(tsv|txt)(\.gz)?"),
}


@dataclass(frozen=True)
class Features:
    """What the rows of a matrix are: names, numbers and, where there are such, types.

    Attributes
    ----------
    columns
        `name`, the symbols, and `id`, the Ensembl numbers: texts of equal number.
    types
        Of each; None: all are genes.
    """

    columns: dict[str, list[str]]
    types: list[str] | None


def tenx_group(path: Path, file: h5py.File) -> str | None:
    """Name of the group of an HDF5 file that is a matrix of 10x: `matrix`, or in version 2 the genome's.

    Raises
    ------
    TableError
        If there are several genomes.
    """
    if "matrix" in file and isinstance(file["matrix"], h5py.Group) and "features" in file["matrix"]:
        return "matrix"
    genomes = [name for name, item in file.items() if isinstance(item, h5py.Group) and "gene_names" in item]
    if len(genomes) > 1:
        raise TableError(f"{path} has several genomes ({', '.join(genomes)}); give a file of one of them")
    return genomes[0] if genomes else None


def read_tenx_h5(path: Path, group: h5py.Group, choice: MatrixChoice) -> Expression:
    """Read the matrix of an open file of Cell Ranger 3 and later, or 2.

    Raises
    ------
    TableError
        If it holds no expression of genes, or names or values that a matrix may not hold.
    """
    shape = tuple(int(n) for n in group["shape"][()])
    values = csc_array(tuple(group[name][()] for name in ("data", "indices", "indptr")), shape=shape)
    if "features" in group:
        rows = group["features"]
        features = Features(
            {"name": texts(rows["name"]), "id": texts(rows["id"])}, texts(rows["feature_type"])
        )
    else:
        features = Features({"name": texts(group["gene_names"]), "id": texts(group["genes"])}, None)
    return _of_genes(path, values, features, texts(group["barcodes"]), choice)


def matrix_files(path: Path) -> tuple[Path, Path, Path]:
    """Matrix, features and barcodes of a folder, or beside a .mtx file, all of one prefix.

    Raises
    ------
    TableError
        If there is none of one of them, or more.
    """
    folder = path if path.is_dir() else path.parent
    try:
        # Not those that macOS puts beside files on foreign disks.
        names = sorted(item.name for item in folder.iterdir() if not item.name.startswith("."))
    except OSError as err:
        raise TableError(f"cannot read {folder}: {reason(err)}") from err
    found = [name for name in names if _MATRIX.fullmatch(name)] if path.is_dir() else [path.name]
    if len(found) != 1:
        what = (
            f"has {', '.join(found)}: give one of them" if found else "holds no matrix.mtx or matrix.mtx.gz"
        )
        raise TableError(f"the folder {path} {what}")
    match = _MATRIX.fullmatch(found[0])
    assert match is not None
    files = [folder / found[0]]
    for part, pattern in _PARTS.items():
        # As of kallisto | bustools, whose other files begin with the matrix's name and a dot.
        fits = [
            name
            for name in names
            if name.startswith(match["stem"]) and pattern.fullmatch(name[len(match["stem"]) :].lstrip("._-"))
        ]
        if len(fits) != 1:
            which = f"one of {', '.join(fits)}" if fits else f"{part}.tsv"
            raise TableError(f"{files[0]} needs {which} in its folder, which names its rows or columns")
        files.append(folder / fits[0])
    return files[0], files[1], files[2]


def read_mtx(path: Path, choice: MatrixChoice) -> Expression:
    """Read a folder of matrix, features (or genes) and barcodes, or a .mtx file that has these beside it.

    Features are the rows, as of 10x, or the columns, as of kallisto | bustools, by what fits their number.

    Raises
    ------
    TableError
        If one of them is missing or damaged, or they do not fit together.
    """
    # Few matrices are of this kind.
    from scipy.io import mmread

    matrix, features_path, barcodes_path = matrix_files(path)
    try:
        with matrix.open("rb") as file:
            packed = file.peek(2)[:2] == b"\x1f\x8b"
            with gzip.open(file) if packed else file as content:
                found: Any = mmread(content)
        rows, barcodes = _columns(features_path), [fields[0] for fields in _columns(barcodes_path)]
    except UNREADABLE_TEXT as err:
        raise TableError(f"cannot read {path}: {reason(err)}") from err
    except ValueError as err:
        raise TableError(f"{matrix} is damaged or no Matrix Market file ({err}); make it again") from err
    n, m = len(rows), len(barcodes)
    values = csr_array(found) if hasattr(found, "tocsr") else found
    if values.shape == (m, n) != (n, m):
        values = values.T
    if values.shape != (n, m):
        raise TableError(
            f"{matrix} is {' × '.join(map(str, values.shape))}, but {features_path.name} has {n} lines and "
            f"{barcodes_path.name} {m}; are they of one matrix?"
        )
    columns = {"id": [fields[0] for fields in rows], "name": [fields[:2][-1] for fields in rows]}
    typed = all(len(fields) > 2 for fields in rows)
    features = Features(columns, [fields[2] for fields in rows] if typed else None)
    return _of_genes(path, values, features, barcodes, choice)


def _columns(path: Path) -> list[list[str]]:
    with open_text(path) as file:
        return [[field.strip() for field in line.rstrip("\r\n").split("\t")] for line in file if line.strip()]


def _of_genes(
    path: Path, values: Any, features: Features, barcodes: list[str], choice: MatrixChoice
) -> Expression:
    """Leave out what is not a gene, such as antibodies and peaks."""
    choice.check(path, "a matrix of 10x", "gene_column")
    names = features.columns[choice.pick(path, features.columns, ("name",))]
    if features.types is not None and set(features.types) != {_EXPRESSION}:
        genes = [i for i, kind in enumerate(features.types) if kind == _EXPRESSION]
        others = Counter(kind for kind in features.types if kind != _EXPRESSION)
        others_found = ", ".join(f"{count} of {kind}" for kind, count in others.most_common())
        if not genes:
            raise TableError(
                f"{path} has no features of {_EXPRESSION}, but {others_found}; give a matrix of genes"
            )
        log.warning("%s: features that are not genes are left out: %s", path, others_found)
        values, names = csr_array(values)[np.array(genes)], [names[i] for i in genes]
    return assembled(path, values, names, barcodes, "rows", choice)
