"""Forms that links are written in: columns by tabs or commas, adjacencies as pySCENIC reads them, SIF."""

from __future__ import annotations

import gzip
import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import IO, Literal, cast

from predictd.errors import ConfigError, TableError
from predictd.io.files import replacing
from predictd.wording import some

# Regulator, target and weight, as the list has them, and where it says them the sign: +, − or . where it is not known.
Link = tuple[str, ...]
COLUMNS = ("regulator", "target", "importance", "sign")
Form = Literal["list", "pyscenic", "sif", "graphml"]

_LISTS = (".tsv", ".txt", ".csv")
# What pySCENIC calls the columns, and by which names of files it knows what separates them.
_ADJACENCIES = ("TF", "target", "importance")
_OF_ADJACENCIES = (".tsv", ".csv")
_ACTIONS = {"+": "activates", "-": "inhibits"}
# Control characters, and what else XML 1.0 cannot hold.
_FORBIDDEN = re.compile("[\x00-\x1f\ud800-\udfff\ufffe\uffff]")


def form_of(output: Path, given: Form | None = None) -> Form | None:
    """The form of an output: as given, else by the end of its name; None: a network's directory.

    Raises
    ------
    ConfigError
        If pySCENIC could not read a file of this name.
    """
    if given == "pyscenic" and output.suffix.lower() not in _OF_ADJACENCIES:
        raise ConfigError(
            f"{output}: pySCENIC recognises adjacencies by the end of the name; let `output` end with .tsv or .csv"
        )
    if given is not None:
        return given
    suffix = Path(output.name.lower().removesuffix(".gz")).suffix
    named: dict[str, Form] = {**dict.fromkeys(_LISTS, "list"), ".sif": "sif", ".graphml": "graphml"}
    return named.get(suffix)


def write_links(path: Path, links: Iterable[Link], form: Form = "list") -> int:
    """Write links, packed where the name ends with .gz, and return how many there are.

    The same links give the same bytes.

    Parameters
    ----------
    path
        The file; by commas where its name ends with .csv (or .csv.gz), else by tabs.
    links
        Of `COLUMNS`, all with signs or all without.
    form
        `list`: with the names of the columns; `pyscenic`: as TF, target and importance; `sif`: regulator, then
        activates, inhibits, or regulates where the sign is not known, then target, without a header.

    Raises
    ------
    TableError
        If a name holds what separates columns, or a line would be a comment.
    """
    separator = "," if path.name.lower().removesuffix(".gz").endswith(".csv") else "\t"
    own = iter(links)
    first = next(own, None)
    header, row = _layout(form, COLUMNS[: 3 if first is None else len(first)])
    count = 0
    with packed(path) as file:
        if header:
            file.write(separator.join(header) + "\n")
        for link in chain([] if first is None else [first], own):
            fields = row(link)
            line = separator.join(fields)
            if separator == "," and (line.count(",") >= len(fields) or '"' in line):
                raise TableError(
                    f"{path}: a comma or a quotation mark in the names {some(link[:2])}; write a list that ends with "
                    ".tsv"
                )
            if line[0] == "#":
                raise TableError(
                    f"{path}: the name {link[0]} begins with #, as a comment does; rename this gene"
                )
            file.write(line + "\n")
            count += 1
    return count


def _layout(form: Form, columns: Sequence[str]) -> tuple[Sequence[str], Callable[[Link], Sequence[str]]]:
    """Header, and what makes a line's fields of a link."""
    if form == "pyscenic":
        return _ADJACENCIES, lambda link: link[:3]
    if form == "sif":
        return (), lambda link: (link[0], _ACTIONS.get("".join(link[3:]), "regulates"), link[1])
    return columns, lambda link: link


@contextmanager
def packed(path: Path) -> Iterator[IO[str]]:
    """Yield a new text file, packed where its name ends with .gz; see `predictd.io.files.replacing`."""
    with replacing(path) as partial, ExitStack() as undo:
        raw: IO[bytes] = undo.enter_context(partial.open("wb"))
        if path.suffix.lower() == ".gz":
            # Without its name and the time, which would be other bytes every time.
            raw = undo.enter_context(cast(IO[bytes], gzip.GzipFile("", "wb", 6, raw, mtime=0)))
        yield undo.enter_context(io.TextIOWrapper(raw, encoding="utf-8", newline="\n"))


def check_names(where: Path | str, genes: Iterable[str]) -> None:
    """Raise TableError where lists or GraphML could not hold names, or lists would be read with other ones.

    Such are names with control characters, those that begin with #, as comments do, and those with blanks or quotation
    marks at an end, which readers take off.
    """
    every = list(genes)
    if bad := [ascii(gene) for gene in every if _FORBIDDEN.search(gene)]:
        raise TableError(f"{where}: names of genes with control characters ({some(bad)}); rename these genes")
    if bad := [repr(gene) for gene in every if gene.startswith("#") or gene != gene.strip().strip('"')]:
        raise TableError(
            f"{where}: names of genes that lists of links cannot hold ({some(bad)}): they begin with #, or have a "
            "blank or a quotation mark at an end; rename these genes"
        )
