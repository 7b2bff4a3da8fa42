"""Files that hold no matrix of expression, or not in a format that is read: what they are, and what to do."""

from __future__ import annotations

from pathlib import Path

import h5py

from predictd.errors import TableError
from predictd.wording import some

_R = "an R object", "write its matrix in R as a table (write.csv), or as .h5ad (zellkonverter::writeH5AD)"
_SEURAT = "a file of Seurat", 'convert it to .h5ad in R: SeuratDisk::Convert(file, dest = "h5ad")'
_SHEET = "a spreadsheet", "save it as .csv, and see that no gene names were changed to dates"
_MUDATA = "MuData of several modalities", 'write one of them: mudata.read(file)["rna"].write_h5ad("rna.h5ad")'
_ZARR = "a Zarr store", "write it as .h5ad: anndata.read_zarr(store).write_h5ad(file)"
_SIGNAL = "signal along the genome", "make a tensor of it by 'predictd ingest', and give `tensor`"
_READS = "reads of a sequencer", "count them by gene first"
_PLACES = "a list of places in the genome", "give a matrix of genes and samples"
_PYTHON = "an array or object of another program", "write it as a table with names of genes and samples"
_ARCHIVE = "an archive", "unpack it and give what is in it"
_GCT = "a GCT file", "remove its first two lines and the column Description"
_SETS = "a list of gene sets", "give a matrix of genes and samples"
_BY_SUFFIX = {
    (".rds", ".rdata", ".rda", ".robj", ".qs"): _R,
    (".h5seurat",): _SEURAT,
    (".xlsx", ".xls", ".xlsm", ".xlsb", ".ods"): _SHEET,
    (".h5mu",): _MUDATA,
    (".zarr",): _ZARR,
    (".bw", ".bigwig", ".bedgraph", ".bdg", ".wig", ".wiggle"): _SIGNAL,
    (".bam", ".cram", ".sam", ".fastq", ".fq"): _READS,
    (".bed", ".bb", ".bigbed", ".narrowpeak", ".broadpeak", ".gtf", ".gff", ".gff3", ".vcf", ".bcf"): _PLACES,
    (".npy", ".npz", ".pkl", ".pickle", ".feather", ".arrow", ".json"): _PYTHON,
    (".zip", ".tar", ".tgz", ".7z", ".rar", ".bz2", ".xz", ".zst"): _ARCHIVE,
    (".gct",): _GCT,
    (".gmt",): _SETS,
}
# A spreadsheet of today is a zip archive, too.
_BY_START = {
    b"PK\x03\x04": ("a spreadsheet or an archive", "save the sheet as .csv, or unpack the archive"),
    b"\xd0\xcf\x11\xe0": _SHEET,
    b"\x26\xfc\x8f\x88": _SIGNAL,
    b"MATLAB": _PYTHON,
    b"#1.2": _GCT,
    b"#1.3": _GCT,
}


def refuse_suffix(path: Path) -> None:
    """Refuse a file whose name says that it is of another kind.

    Raises
    ------
    TableError
        Which says of what kind.
    """
    name = path.name.lower().removesuffix(".gz")
    for suffixes, what in _BY_SUFFIX.items():
        if name.endswith(suffixes):
            raise _is(path, what)


def refuse_content(path: Path, start: bytes) -> None:
    """Refuse a file whose first bytes say that it is of another kind; see `refuse_suffix`."""
    for magic, what in _BY_START.items():
        if start.startswith(magic):
            raise _is(path, what)


def refuse_folder(path: Path) -> None:
    """Refuse a folder that is a network, a tensor, or a Zarr store; see `refuse_suffix`."""
    known = {
        "network.h5": ("a network", "give the matrix that links are to be inferred from"),
        "manifest.json": ("a tensor", "give it as `tensor`"),
        ".zgroup": _ZARR,
        "zarr.json": _ZARR,
    }
    for name, what in known.items():
        if (path / name).is_file():
            raise _is(path, what)


def no_matrix(path: Path, file: h5py.File) -> TableError:
    """Make the error of an HDF5 file without a matrix that is read."""
    if "format" in file.attrs:
        return _is(path, (f"a {file.attrs['format']}", "give a matrix of genes and samples"))
    if "mod" in file:
        return _is(path, _MUDATA)
    if "cell.names" in file or "meta.data" in file:
        return _is(path, _SEURAT)
    if "barcode_idx" in file or "molecule_info" in file:
        return _is(path, ("10x's list of molecules", "give filtered_feature_bc_matrix.h5"))
    return TableError(
        f"{path} is HDF5, but not a file of AnnData, loom or 10x: it holds {some(file) or 'nothing'}; write its "
        "matrix as .h5ad, or as a table"
    )


def _is(path: Path, what: tuple[str, str]) -> TableError:
    return TableError(f"{path} is {what[0]}, which is not read as a matrix of expression: {what[1]}")
