"""The table that ENCODE's portal offers with its files."""

from __future__ import annotations

from pathlib import Path

# The portal's columns that matter here, in its order.
COLUMNS = (
    "File accession",
    "File format",
    "File type",
    "Output type",
    "File assembly",
    "Experiment accession",
    "Assay",
    "Biosample term name",
    "Biosample treatments",
    "Biosample treatments amount",
    "Biosample treatments duration",
    "Biosample genetic modifications categories",
    "Experiment target",
    "Biological replicate(s)",
    "File download URL",
    "File Status",
)
PVAL = "signal p-value"


def row(accession: str, **values: str) -> dict[str, str]:
    """A released histone track, but for what is given."""
    given = {
        "File accession": accession,
        "File format": "bigWig",
        "File type": "bigWig",
        "Output type": PVAL,
        "File assembly": "GRCh38",
        "Experiment accession": f"ENCSR{accession[-3:]}",
        "Assay": "Histone ChIP-seq",
        "Biosample term name": "K562",
        "Experiment target": "H3K4me3-human",
        "Biological replicate(s)": "1, 2",
        "File download URL": f"https://www.encodeproject.org/files/{accession}/@@download/{accession}.bigWig",
        "File Status": "released",
    }
    return {
        **dict.fromkeys(COLUMNS, ""),
        **given,
        **{key.replace("_", " "): value for key, value in values.items()},
    }


def write(folder: Path, *rows: dict[str, str]) -> Path:
    path = folder / "metadata.tsv"
    lines = ["\t".join(COLUMNS), *("\t".join(row[column] for column in COLUMNS) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path
