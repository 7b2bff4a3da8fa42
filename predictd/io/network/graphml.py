"""Networks as GraphML, which Cytoscape, Gephi, igraph and NetworkX read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from predictd.io.network.forms import check_names, packed
from predictd.io.results import as_text

_TYPES = {str: "string", int: "long", float: "double"}
_HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<graphml xmlns="http://graphml.graphdrawing.org/xmlns">
"""


def write_graphml(
    path: Path,
    genes: Mapping[str, Sequence[str | int | float]],
    ends: Iterable[tuple[int, int]],
    links: Mapping[str, Sequence[str | int | float]],
) -> None:
    """Write a directed graph, whole or not at all.

    Parameters
    ----------
    path
        The file, packed where its name ends with .gz.
    genes
        Attributes of the genes by name, in their order; `name` must be among them.
    ends
        Positions of each link's regulator and target among the genes.
    links
        Attributes of the links by name, in their order; with other names than those of the genes.

    Raises
    ------
    TableError
        If a name of a gene has characters that XML 1.0 forbids.
    """
    check_names(path, map(str, genes["name"]))
    with packed(path) as file:
        file.write(_HEAD)
        for what, attributes in (("node", genes), ("edge", links)):
            for name, values in attributes.items():
                kind = _TYPES[type(values[0])] if values else "string"
                file.write(f'<key id="{name}" for="{what}" attr.name="{name}" attr.type="{kind}"/>\n')
        file.write('<graph edgedefault="directed">\n')
        for number, values in enumerate(zip(*genes.values(), strict=True)):
            file.write(f'<node id="n{number}">{_data(genes, values)}</node>\n')
        for (source, target), values in zip(ends, zip(*links.values(), strict=True), strict=True):
            file.write(f'<edge source="n{source}" target="n{target}">{_data(links, values)}</edge>\n')
        file.write("</graph>\n</graphml>\n")


def _data(names: Iterable[str], values: Iterable[str | int | float]) -> str:
    return "".join(
        f"<data key={quoteattr(name)}>{escape(as_text(value))}</data>"
        for name, value in zip(names, values, strict=True)
    )
