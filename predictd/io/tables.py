"""Plain tables: the track table, BED intervals, metrics."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from predictd.errors import TableError
from predictd.io.names import URL_SCHEMES, path_in_table, without_secrets
from predictd.io.results import write_rows
from predictd.pairs import Experiment, check_name
from predictd.wording import plain

Transform = Literal["arcsinh", "log1p", "logit", "none"]
_GZIP = b"\x1f\x8b"
# Bytes that show UTF-16: half of them are zero.
_HEAD = 8
# Columns that tables of experiments may have besides those that they need.
_OPTIONAL = ("transform", "peaks")
# What others call these columns; whether they mean the same, only the user knows.
_SYNONYMS = {
    "cell_type": "biosample biosampletermname cell cellline cells epigenome sample sampleid samplename tissue",
    "assay": "antibody experiment experimenttarget factor feature histone mark target",
    "path": "bigwig bw file filename filepath files location uri url",
}
_BLANKS = b"\t\n\r\f\v"
# What reading a text file raises that is missing, damaged or not text.
UNREADABLE_TEXT = (OSError, EOFError, UnicodeDecodeError, zlib.error)


@dataclass(frozen=True)
class Track:
    """One row of a track table.

    Attributes
    ----------
    experiment
        The pair the signal belongs to.
    path
        Absolute path, or URL, of the signal file; in an object store, too.
    transform
        What is applied to binned means before they are stored.
    peaks
        Absolute path of the experiment's peaks (narrowPeak or BED), if the table gives one.
    where
        Table and line, for messages.
    """

    experiment: Experiment
    path: str
    transform: Transform
    peaks: str | None
    where: str

    @property
    def shown(self) -> str:
        """The path for messages and files; an address without what lets one in."""
        return without_secrets(self.path)

    @property
    def is_url(self) -> bool:
        """Whether it is on a web server, of which nothing is known but what bigWig readers ask for."""
        return self.path.startswith(URL_SCHEMES)


@contextmanager
def open_text(path: Path) -> Iterator[io.TextIOBase]:
    """Open a UTF-8 text file that may be gzipped, whatever its name; spreadsheets put a byte order mark before it."""
    with path.open("rb") as file:
        packed = file.peek(2)[:2] == _GZIP
        with gzip.open(file) if packed else file as content:
            head = content.peek(_HEAD)[:_HEAD]
            if len(head) == _HEAD and b"\0" * (_HEAD // 2) in (head[::2], head[1::2]):
                raise UnicodeDecodeError("utf-8", codecs.BOM_UTF16_LE, 0, 1, "UTF-16 without a mark")
            yield io.TextIOWrapper(content, encoding="utf-8-sig")


def read_tracks(path: Path) -> list[Track]:
    """Read a track table: `cell_type`, `assay`, `path`, and others such as `transform` and `peaks`; see `table_rows`.

    Raises
    ------
    TableError
        If the file is not such a table, names a transform that does not exist, or has no rows.
    """
    tracks = []
    for line, row in table_rows(path, required=("cell_type", "assay", "path")):
        where = f"{path}, line {line}"
        experiment = Experiment(
            check_name(row["cell_type"], what="cell type", where=where),
            check_name(row["assay"], what="assay", where=where),
        )
        if not row["path"]:
            raise TableError(f"{where}: no path is given for {experiment}")
        transform = row.get("transform") or "arcsinh"
        if transform not in get_args(Transform):
            raise TableError(
                f"{where}: unknown transform '{transform}': use {', '.join(get_args(Transform))}"
            )
        target = row["path"]
        if not target.startswith(URL_SCHEMES):
            target = path_in_table(target, path.parent, where)
        peaks = path_in_table(row["peaks"], path.parent, where) if row.get("peaks") else None
        tracks.append(Track(experiment, target, transform, peaks, where))  # type: ignore[arg-type]
    if not tracks:
        raise TableError(f"{path} lists no tracks: it needs a line per signal file below its header")
    return tracks


def read_pairs(path: Path) -> list[Experiment]:
    """Pairs of a TSV with the columns `cell_type` and `assay`; more columns are allowed.

    Raises
    ------
    TableError
        If the file is not such a table or has no rows.
    """
    pairs = [
        Experiment(
            check_name(row["cell_type"], what="cell type", where=f"{path}, line {line}"),
            check_name(row["assay"], what="assay", where=f"{path}, line {line}"),
        )
        for line, row in table_rows(path, required=("cell_type", "assay"))
    ]
    if not pairs:
        raise TableError(f"{path} lists no pairs: it needs a line per experiment below its header")
    return pairs


def read_scores(path: Path, *, text: Sequence[str], numbers: Sequence[str]) -> list[dict[str, str | float]]:
    """Rows of a TSV that has these columns of text and of numbers, such as metrics.tsv; more are allowed.

    Raises
    ------
    TableError
        If the file is not such a table, has no rows, or a number is none.
    """
    rows: list[dict[str, str | float]] = []
    for line, row in table_rows(path, required=(*text, *numbers)):
        try:
            values = {name: float(row[name]) for name in numbers}
        except ValueError as err:
            raise TableError(f"{path}, line {line}: {err}; make the table again") from err
        rows.append({**{name: row[name] for name in text}, **values})
    if not rows:
        raise TableError(f"{path} has no rows below its header; make the table again")
    return rows


def unique_pairs(tracks: list[Track], table: Path) -> dict[Experiment, Track]:
    """Index tracks by pair.

    Raises
    ------
    TableError
        If a pair is in two rows.
    """
    found: dict[Experiment, Track] = {}
    for track in tracks:
        if track.experiment in found:
            raise TableError(
                f"{track.where}: {track.experiment} is in {table} twice, first in "
                f"{found[track.experiment].where.removeprefix(f'{table}, ')}; keep one row "
                "(ingest averages replicates with `merge` mean)"
            )
        found[track.experiment] = track
    return found


def write_tracks(
    path: Path, files: dict[Experiment, str], more: Mapping[str, Mapping[Experiment, str]] | None = None
) -> None:
    """Write a track table of pairs and paths relative to it, and `more` columns by their names."""
    more = more or {}
    columns = ("cell_type", "assay", "path", *more)
    rows = (
        (*pair, file, *(column[pair] for column in more.values())) for pair, file in sorted(files.items())
    )
    write_rows(path, columns, rows)


@dataclass(frozen=True)
class Interval:
    """A stretch of a chromosome, 0-based half-open, in bp."""

    chrom: str
    start: int
    end: int


def read_bed(path: Path) -> list[Interval]:
    """Read the first three columns of a BED file (.gz allowed), in file order; see `read_named_bed`."""
    return [interval for interval, _ in read_bed_lines(path)]


def read_named_bed(path: Path) -> list[tuple[Interval, str]]:
    """Intervals of a BED file (.gz allowed) and their names, in file order; without a fourth column CHROM:START-END.

    Raises
    ------
    TableError
        If a line is not a interval or there is none at all.
    """
    return [(i, more[0] if more else f"{i.chrom}:{i.start}-{i.end}") for i, more in read_bed_lines(path)]


def read_stranded_bed(path: Path) -> list[tuple[Interval, str]]:
    """Intervals of a BED file and their strands (its sixth column), `+` or `-`; another text where it has none."""
    return [(interval, more[2] if len(more) > 2 else "") for interval, more in read_bed_lines(path)]


def _bed_fields(line: str) -> list[str]:
    """Fields of a line, between tabs, or else between blanks: names may have blanks where there are tabs."""
    fields = [field.strip() for field in line.split("\t")]
    return fields if len(fields) > 2 else line.split()


def read_bed_lines(path: Path) -> list[tuple[Interval, list[str]]]:
    """Intervals of a BED file (.gz allowed), each with the fields that follow; see `read_named_bed`."""
    intervals = []
    try:
        with open_text(path) as file:
            for number, line in enumerate(file, start=1):
                fields = _bed_fields(line.replace('"', ""))
                if not fields or fields[0].startswith("#") or fields[0] in ("track", "browser"):
                    continue
                try:
                    interval = Interval(fields[0], int(fields[1]), int(fields[2]))
                    if not is_plain(fields[1] + fields[2]):
                        raise ValueError
                except (IndexError, ValueError) as err:
                    check_tabs(path, line)
                    raise TableError(f"{path}, line {number}: expected chromosome, start and end") from err
                if not 0 <= interval.start < interval.end:
                    raise TableError(
                        f"{path}, line {number}: start {fields[1]} and end {fields[2]} enclose no base"
                    )
                intervals.append((interval, fields[3:]))
    except UNREADABLE_TEXT as err:
        raise TableError(f"cannot read {path}: {reason(err)}") from err
    if not intervals:
        raise TableError(
            f"{path} holds no intervals: it needs a line with chromosome, start and end for each"
        )
    return intervals


def check_tabs(path: Path, line: str) -> None:
    """Raise TableError for a line that commas or semicolons divide, as spreadsheets save tables, and no tab."""
    if "\t" not in line:
        for mark, name in ((";", "semicolon"), (",", "comma")):
            if mark in line:
                raise TableError(f"{path} is {name}-separated; save it tab-separated")


def table_header(path: Path, known: Sequence[str] = ()) -> list[str]:
    """Names of the columns of a table; none where it is empty. `known` ones are found as in `table_rows`."""
    lines = _lines(path)
    return called(fields_of(lines[0][1], separator(lines[0][1])), known) if lines else []


def called(header: Sequence[str], known: Sequence[str]) -> list[str]:
    """A header in which columns have the names that are known, however they are written: Cell Type is cell_type."""
    written = [plain(name) for name in header]
    names = {plain(name): name for name in known if name not in header and written.count(plain(name)) == 1}
    return [names.get(own, name) for own, name in zip(written, header, strict=True)]


def _lines(path: Path) -> list[tuple[int, str]]:
    try:
        with open_text(path) as file:
            return [(n, line) for n, line in enumerate(file, 1) if line.strip() and not line.startswith("#")]
    except UNREADABLE_TEXT as err:
        raise TableError(f"cannot read {path}: {reason(err)}") from err


def table_rows(path: Path, required: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line number, row) of a table with a header; blank lines and lines that begin with # are skipped.

    Fields are separated by tabs, or, where the header has none, by commas or semicolons. They may be quoted. Columns
    that are required are found whatever their case, with blanks, hyphens, dots or nothing for underscores.

    Raises
    ------
    TableError
        If it cannot be read, lacks a required column, or a line has more fields than the header.
    """
    lines = _lines(path)
    first = lines[0][1] if lines else ""
    mark = separator(first)
    header = called(fields_of(first, mark), (*required, *_OPTIONAL))
    missing = [name for name in required if name not in header]
    if missing:
        raise TableError(
            f"{path} lacks columns: its header must hold {', '.join(required)}, separated by tabs or commas "
            f"(missing: {', '.join(missing)}){_hint(path, header, missing)}"
        )
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise TableError(f"{path}: the header names the column {twice[0]} twice; keep one of them")
    rows = [(number, fields_of(line, mark)) for number, line in lines[1:]]
    for number, fields in rows:
        while len(fields) > len(header) and not fields[-1]:
            fields.pop()
        if len(fields) > len(header):
            named = rows and all(len(others) == len(header) + 1 for _, others in rows)
            raise TableError(
                f"{path}, line {number}: {len(fields)} fields where the header has {len(header)}"
                + (
                    "; are the first of them row names of R? leave these out (row.names=FALSE)"
                    if named
                    else ""
                )
                + ("; do numbers have decimal commas? write points, as in 0.5" if mark == "," else "")
            )
        values = fields + [""] * (len(header) - len(fields))
        yield number, dict(zip(header, values, strict=True))


def _hint(path: Path, header: Sequence[str], missing: Sequence[str]) -> str:
    """Which columns may be those that are missing, under other names or in a comment."""
    with open_text(path) as file:
        first = next((line.lstrip("# ") for line in file if line.strip()), "")
    if set(missing) <= set(called(fields_of(first, separator(first)), missing)):
        return "; take the # before its header away"
    hints = []
    for wanted in missing:
        alike = [
            name
            for name in header
            if plain(name) in _SYNONYMS.get(wanted, "").split() or plain(name) == plain(wanted)
        ]
        if alike:
            hints.append(f"if {' or '.join(repr(name) for name in alike)} is the {wanted}, call it {wanted}")
    return "".join(f"; {hint}" for hint in hints)


def separator(header: str) -> str:
    """What separates the fields of a table: a tab, or where its header has none, a comma or a semicolon."""
    mark = "\t" if "\t" in header else max(",;", key=header.count)
    return mark if mark in header else "\t"


def fields_of(line: str, mark: str) -> list[str]:
    """Fields of a line; quotes around a field are taken off, others are letters."""
    line = line.rstrip("\r\n")
    fields = line.split(mark)
    if '"' in line:
        with suppress(csv.Error, StopIteration):
            fields = next(csv.reader([line], delimiter=mark, skipinitialspace=True, strict=True))
    return [field.strip() for field in fields]


def is_number(text: str) -> bool:
    """Whether a text reads as a number, finite or not; see `is_plain`."""
    try:
        float(text)
    except ValueError:
        return False
    return is_plain(text)


def is_plain(text: str) -> bool:
    """Whether a number is written as all programs read it: Python takes 1_0 for 10, and digits of other scripts."""
    return text.isascii() and "_" not in text


def not_numbers(frame: Any) -> list[str]:
    """Texts in a DataFrame that tables would not take for numbers; pandas may take them."""
    columns = frame.select_dtypes(exclude="number").to_numpy().T
    return [text for column in columns for text in column if isinstance(text, str) and not is_number(text)]


def no_number(text: str, otherwise: str = "") -> str:
    """What to say of a text that is not a number: of a decimal comma, as Excel may write it, or else `otherwise`."""
    with_comma = text.count(",") == 1 and is_number(text.replace(",", "."))
    return "; write decimals with a point, as in 0.5, not with a comma" if with_comma else otherwise


def reason(err: Exception) -> str:
    """Why a text file could not be read, and what to do."""
    if isinstance(err, OSError) and err.strerror:
        return f"{err.strerror}; correct the path, or see that you may read it"
    if isinstance(err, UnicodeDecodeError):
        if err.object[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            return "it is UTF-16 text, as Excel's 'Unicode text'; save it as UTF-8"
        if not any(byte < 32 and byte not in _BLANKS for byte in err.object):
            near = err.object[max(0, err.start - 10) : err.end + 10].decode("cp1252", "replace")
            near = " ".join(near.split())
            return f"it is not UTF-8 text, but, it seems, Windows-1252 (near '{near}'); save it as UTF-8"
    return "it is truncated, damaged or not text; make or download it again"
