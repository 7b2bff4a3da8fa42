"""Tables that come with downloads as track tables: ENCODE's metadata.tsv, and Roadmap's list of epigenomes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from predictd.errors import TableError
from predictd.io.files import exists
from predictd.io.names import URL_SCHEMES, has_suffix, path_in_table
from predictd.io.tables import Track, read_tracks, table_header, table_rows
from predictd.io.tracks.genomes import canonical
from predictd.pairs import Experiment, check_name

OUTPUT_TYPE = "signal p-value"
_ACCESSION, _EPIGENOME = "File accession", "EID"
_ENCODE = (_ACCESSION, "File format", "Output type", "File assembly", "Assay", "Biosample term name")
# As a download may be called.
_BIGWIG_SUFFIXES = (".bigWig", ".bw", ".bigwig", ".BigWig", ".BW", ".BIGWIG")
# Roadmap published all signal on one assembly, under names that say what they hold.
_ROADMAP_ASSEMBLY = "hg19"
_ROADMAP_SUFFIXES = {
    OUTPUT_TYPE: ".pval.signal.bigwig",
    "fold change over control": ".fc.signal.bigwig",
}
# The target alone names the assay; of others the protocol does, too.
_NAMED_BY_TARGET = ("ChIP-seq", "Histone ChIP-seq", "TF ChIP-seq")


def read_track_table(
    path: Path, *, genome: str | None = None, output_type: str | Sequence[str] = OUTPUT_TYPE
) -> list[Track]:
    """Read a track table, or one of ENCODE's or Roadmap's, recognised by its header.

    ENCODE's metadata.tsv, as the portal's download gives it: a row a file. Of its rows those are taken that are
    released bigWigs of the output type, and of an experiment's those of most biological replicates. `cell_type` is the
    biosample with its treatments, `assay` the target of ChIP-seq, else assay and target; the file is ACCESSION.bigWig
    next to the table, or, where that does not exist, behind the download URL.

    Roadmap's table of epigenomes: a row an epigenome, with a column `EID`. Its files are those next to the table that
    are called EID-ASSAY.pval.signal.bigwig (or .fc.signal.bigwig).

    Parameters
    ----------
    path
        The table.
    genome
        Assembly that the tracks have to be of; None: any, but one.
    output_type
        Which of the files of these tables are taken, in ENCODE's words; several types are taken together.

    Raises
    ------
    TableError
        If the file is not such a table, or none of its files is of one of the types, or some are of another assembly.
    """
    header = table_header(path)
    types = [output_type] if isinstance(output_type, str) else list(dict.fromkeys(output_type))
    if _ACCESSION in header:
        return _encode(path, genome, types)
    if _EPIGENOME in header and "path" not in header:
        return [track for one in types for track in _roadmap(path, genome, one)]
    return read_tracks(path)


def is_track_table(path: Path) -> bool:
    """Whether the header of a text file is that of a table that `read_track_table` knows."""
    columns = ("cell_type", "assay")
    header = table_header(path, columns)
    return set(columns) <= set(header) or _ACCESSION in header or _EPIGENOME in header


def _encode(path: Path, genome: str | None, types: Sequence[str]) -> list[Track]:
    rows = [
        (line, row)
        for line, row in table_rows(path, required=_ENCODE)
        if row["File format"] == "bigWig"
        and row.get("File Status", row.get("File status")) in (None, "", "released")
    ]
    chosen = [(line, row) for line, row in rows if row["Output type"] in types]
    there = sorted({row["Output type"] for _, row in rows})
    absent = [name for name in types if name not in there]
    if absent:
        raise TableError(
            f"{path} lists no released bigWig of output type '{absent[0]}': "
            + (f"choose an `output_type` from {', '.join(there)}" if there else "download signal, too")
        )
    _check_assembly(path, {row["File assembly"]: row[_ACCESSION] for _, row in reversed(chosen)}, genome)
    tracks = []
    for line, row in _of_most_replicates(chosen):
        where = f"{path}, line {line} ({row[_ACCESSION]})"
        experiment = Experiment(
            check_name(_biosample(row), what="cell type", where=where),
            check_name(_assay(row), what="assay", where=where),
        )
        tracks.append(Track(experiment, _encode_file(path, line, row), "arcsinh", None, where))
    return tracks


def _of_most_replicates(rows: list[tuple[int, dict[str, str]]]) -> list[tuple[int, dict[str, str]]]:
    """Of each experiment's files, those that pool most biological replicates; the portal lists the single ones, too."""

    def pooled(row: dict[str, str]) -> int:
        return len([name for name in row.get("Biological replicate(s)", "").split(",") if name.strip()])

    def signal(row: dict[str, str]) -> tuple[str, str]:
        return row.get("Experiment accession") or row[_ACCESSION], row["Output type"]

    most: dict[tuple[str, str], int] = {}
    for _, row in rows:
        most[signal(row)] = max(most.get(signal(row), 0), pooled(row))
    return [(line, row) for line, row in rows if pooled(row) == most[signal(row)]]


def _biosample(row: dict[str, str]) -> str:
    """Biosample, and what was done to it: such samples are no replicates of the untreated."""
    parts = ("Biosample treatments", "Biosample treatments amount", "Biosample treatments duration")
    treatment = " ".join(row[part] for part in parts if row.get(part))
    modified = row.get("Biosample genetic modifications categories", "")
    said = [row["Biosample term name"], treatment, modified]
    return _name(", ".join(part for part in said if part))


def _assay(row: dict[str, str]) -> str:
    # The portal writes TARGET-ORGANISM.
    target = row.get("Experiment target", "").rpartition("-")[0] or row.get("Experiment target", "")
    if target and row["Assay"] in _NAMED_BY_TARGET:
        return _name(target)
    return _name(f"{row['Assay']} {target}" if target else row["Assay"])


def _name(text: str) -> str:
    """A name as pairs take it."""
    return " ".join(text.replace(":", " ").split())


def _encode_file(table: Path, line: int, row: dict[str, str]) -> str:
    accession = row[_ACCESSION]
    for suffix in _BIGWIG_SUFFIXES:
        file = table.parent / f"{accession}{suffix}"
        if "/" not in accession and exists(file):
            return path_in_table(file.name, table.parent)
    url = row.get("File download URL", "")
    if url.startswith(URL_SCHEMES):
        return url
    raise TableError(
        f"{table}, line {line}: {accession}.bigWig is not next to the table, which gives no download URL either; "
        "download it there"
    )


def _roadmap(path: Path, genome: str | None, output_type: str) -> list[Track]:
    suffix = _ROADMAP_SUFFIXES.get(output_type)
    if suffix is None:
        raise TableError(
            f"{path} is a table of Roadmap, which has no '{output_type}': choose an `output_type` from "
            f"{', '.join(_ROADMAP_SUFFIXES)}"
        )
    files = sorted(file.name for file in path.parent.iterdir() if has_suffix(file.name, (suffix,)))
    tracks = []
    for line, row in table_rows(path, required=(_EPIGENOME,)):
        start = f"{row[_EPIGENOME]}-"
        tracks += [
            Track(
                Experiment(row[_EPIGENOME], name.removeprefix(start)[: -len(suffix)]),
                path_in_table(name, path.parent),
                "arcsinh",
                None,
                f"{path}, line {line} ({name})",
            )
            for name in files
            if row[_EPIGENOME] and name.startswith(start)
        ]
    if not tracks:
        raise TableError(
            f"{path} is a table of Roadmap, but no file EID-ASSAY{suffix} of its epigenomes is in the same folder; "
            "download them there"
        )
    _check_assembly(path, {_ROADMAP_ASSEMBLY: Path(tracks[0].path).name}, genome)
    return tracks


def _check_assembly(path: Path, found: dict[str, str], genome: str | None) -> None:
    """Raise TableError unless all files are of the one assembly; `found` has the first file of each."""
    wanted = canonical(genome) if genome is not None else None
    # Of a genome that ENCODE has no name for the lengths of chromosomes will decide.
    if wanted is None:
        wrong = found if len({canonical(name) or name for name in found}) > 1 else {}
        should = "of one assembly"
    else:
        wrong = {name: file for name, file in found.items() if canonical(name) != wanted}
        should = f"of {genome}"
    if wrong:
        named = ", ".join(f"{name or 'no assembly'} ({file})" for name, file in sorted(wrong.items()))
        raise TableError(
            f"{path} lists files of {named}, but all have to be {should}; keep the rows of that assembly"
        )
