"""Gene sets (GMT) and tables of genes' labels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from predictd.errors import TableError
from predictd.io.network.forms import check_names, packed
from predictd.io.network.lines import refuse_hidden_header, refuse_surplus, split_lines, without_headers
from predictd.io.tables import UNREADABLE_TEXT, check_tabs, is_number, open_text, reason
from predictd.wording import some


def read_gmt(path: Path) -> dict[str, frozenset[str]]:
    """Gene sets by name: a line each, of a name, a description and genes, separated by tabs (.gz allowed).

    Raises
    ------
    TableError
        If the file is not such a list, as where most genes are numbers that identify none; or a name occurs twice.
    """
    sets: dict[str, frozenset[str]] = {}
    listed: list[str] = []
    try:
        with open_text(path) as file:
            for number, line in enumerate(file, 1):
                if not line.strip() or line.startswith("#"):
                    continue
                fields = [field.strip() for field in line.rstrip("\r\n").split("\t")]
                genes = frozenset(field for field in fields[2:] if field)
                listed += fields[2:]
                if not fields[0] or not genes:
                    check_tabs(path, line)
                    raise TableError(
                        f"{path}, line {number}: expected a name, a description and genes, separated by tabs"
                    )
                if fields[0] in sets:
                    raise TableError(f"{path}, line {number}: the set {fields[0]} occurs twice; keep one")
                sets[fields[0]] = genes
    except UNREADABLE_TEXT as err:
        raise TableError(f"cannot read {path}: {reason(err)}") from err
    if not sets:
        raise TableError(f"{path} holds no gene sets: it needs a line for each")
    numbers = [gene for gene in listed if is_number(gene)]
    # Entrez identifies genes by whole numbers from 1 on.
    if 2 * len(numbers) > len(listed) and (values := [gene for gene in numbers if not _identifies(gene)]):
        raise TableError(
            f"{path} is a table of numbers ({some(values, 3)}), not of gene sets: it needs a line of name, description "
            "and genes for each set, separated by tabs (GMT)"
        )
    return sets


def _identifies(number: str) -> bool:
    return number.isdecimal() and int(number) > 0


def write_gmt(path: Path, sets: Iterable[tuple[str, str, Iterable[str]]]) -> None:
    """Write gene sets, of a name, a description and genes each, as `read_gmt` reads them (.gz allowed).

    Raises
    ------
    TableError
        If a name would be read as another one, or as none; see `predictd.io.network.forms.check_names`.
    """
    with packed(path) as file:
        for name, description, genes in sets:
            check_names(path, (name, *genes))
            file.write("\t".join((name, description, *genes)) + "\n")


def read_labels(path: Path) -> dict[str, str]:
    """Labels by gene: a table with the columns `gene` and `label`.

    Raises
    ------
    TableError
        If the file is not such a table, a line has more fields than the header, or a gene has two labels.
    """
    lines = without_headers(split_lines(path))
    refuse_hidden_header(path, lines[0][1] if lines else (), has_labels)
    return labels_of_lines(path, lines)


def has_labels(header: Sequence[str]) -> bool:
    """Whether a header names the columns of a table of labels."""
    return {"gene", "label"} <= {name.casefold() for name in header}


def labels_of_lines(path: Path | str, lines: Sequence[tuple[int, list[str]]]) -> dict[str, str]:
    """See `read_labels`: of (line number, fields); `path` is what messages call the table."""
    if not lines or not has_labels(lines[0][1]):
        raise TableError(f"{path} is not a table of labels: its header must hold gene and label")
    header = [name.casefold() for name in lines[0][1]]
    columns = header.index("gene"), header.index("label")
    labels: dict[str, str] = {}
    for number, fields in lines[1:]:
        if len(fields) <= max(columns) or not all(fields[column] for column in columns):
            raise TableError(f"{path}, line {number}: expected a gene and its label")
        refuse_surplus(f"{path}, line {number}", fields, len(header))
        gene, label = fields[columns[0]], fields[columns[1]]
        if labels.setdefault(gene, label) != label:
            raise TableError(f"{path}, line {number}: {gene} has two labels, {labels[gene]} and {label}")
    if not labels:
        raise TableError(f"{path} holds no labels: it needs lines of gene and label")
    return labels
